//! Translations in a file, as a successor finds them, and taken in from a predecessor. Cold.

use std::fs::File;
use std::io;
use std::mem::offset_of;

use super::{Record, Translations, check, settings};
use crate::block::Block;
use crate::clock::Tick;
use crate::connection::adopt::{Adoption, Refused};
use crate::connection::slab::Slab;
use crate::connection::slab::bytes::{FlowPlaces, Odd, digest, field, flow};
use crate::connection::{Connections, Settings};
use crate::packet::FlowKey;

/// Bytes of what stands beside a connection.
pub(in crate::connection) const RECORD_BYTES: usize = size_of::<Record>();

/// The table of services under which no backend was ever looked for: each is, by the next packet.
const NEVER: u64 = u64::MAX;

#[allow(clippy::arithmetic_side_effects)] // worked out by the compiler
const BACK: FlowPlaces = FlowPlaces {
    source: offset_of!(Record, back) + offset_of!(FlowKey, source),
    target: offset_of!(Record, back) + offset_of!(FlowKey, target),
    source_port: offset_of!(Record, back) + offset_of!(FlowKey, source_port),
    target_port: offset_of!(Record, back) + offset_of!(FlowKey, target_port),
    number: offset_of!(Record, back) + offset_of!(FlowKey, number),
    protocol: offset_of!(Record, back) + offset_of!(FlowKey, protocol),
};

/// A number that is another one wherever a record is written otherwise.
pub(in crate::connection) const LAYOUT: u64 = digest(&[
    RECORD_BYTES,
    BACK.source,
    BACK.target,
    BACK.source_port,
    BACK.target_port,
    BACK.number,
    BACK.protocol,
    offset_of!(Record, check),
]);

/// What a backend sees of a connection, from the bytes that stand beside its record.
pub(in crate::connection) fn back(front: &FlowKey, bytes: &[u8]) -> Result<FlowKey, Odd> {
    let back = flow(bytes, &BACK)?;
    let sum = field(bytes, offset_of!(Record, check)).map(u64::from_ne_bytes)?;
    let is_its_own = sum == check(front, &back) && back.number == front.number;
    if is_its_own { Ok(back) } else { Err(Odd) }
}

/// How many translations stand beside connections with these settings.
pub(in crate::connection) fn capacity(beside: &Settings) -> u32 {
    settings(beside).records()
}

impl Translations {
    /// An empty table in a file: connections, and what stands beside them, from these places on.
    pub(in crate::connection) fn in_file(
        beside: &Settings,
        file: &File,
        [fronts, records]: [u64; 2],
    ) -> io::Result<Self> {
        let settings = settings(beside);
        let slab = Slab::in_file(file, fronts, settings.records())?;
        let blank = (0..settings.capacity).map(|_| Record::BLANK);
        let records = Block::in_file(file, records, blank)?;
        Ok(Self::of(Connections::of(&settings, slab), records))
    }

    /// Takes in what a predecessor had. Its backend is looked for by its next packet.
    pub(crate) fn adopt(
        &mut self,
        adoption: &Adoption,
        back: &FlowKey,
        now: Tick,
    ) -> Result<(), Refused> {
        if self.is_taken(back) {
            return Err(Refused::Known);
        }
        let id = self.fronts.adopt(adoption, now)?;
        self.note(id, back, NEVER).ok_or_else(|| {
            self.fronts.remove(id);
            Refused::NoRoom
        })
    }
}
