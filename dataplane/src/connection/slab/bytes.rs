//! A record as another process left it: bytes, of which nothing is believed. Cold.
//!
//! Each field is looked at: what no worker can have written makes no record. What is in order but for
//! its numbers in the stream (a crash may come between two of them) is let be: see `tcp`, where a
//! track that has gone astray costs memory and nothing else.

use std::mem::offset_of;

use super::{ALLOWED, Entry, LIVE, NO_ENDPOINT, TRANSLATED};
use crate::clock::Tick;
use crate::connection::State;
use crate::connection::tcp::Track;
use crate::packet::{Address, FlowKey, Protocol};

/// Bytes of a record.
pub(in crate::connection) const ENTRY_BYTES: usize = size_of::<Entry>();

/// A number that is another one wherever a record is written otherwise.
pub(in crate::connection) const LAYOUT: u64 = digest(&[
    // To be raised where the same bytes come to mean something else.
    1,
    ENTRY_BYTES,
    State::ALL.len(),
    Protocol::ALL.len(),
    offset_of!(Entry, source),
    offset_of!(Entry, target),
    offset_of!(Entry, source_port),
    offset_of!(Entry, target_port),
    offset_of!(Entry, number),
    offset_of!(Entry, protocol),
    offset_of!(Entry, state),
    offset_of!(Entry, flags),
    offset_of!(Entry, source_endpoint),
    offset_of!(Entry, target_endpoint),
    offset_of!(Entry, seen),
    offset_of!(Entry, opened),
    offset_of!(Entry, track),
    Address::LAYOUT,
]);

/// FNV-1a, over numbers.
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)] // worked out by the compiler
pub(in crate::connection) const fn digest(numbers: &[usize]) -> u64 {
    let mut sum = 0xcbf2_9ce4_8422_2325_u64;
    let mut at = 0;
    // Cold, and a constant: iterators are not for these.
    while at < numbers.len() {
        sum = (sum ^ numbers[at] as u64).wrapping_mul(0x0100_0000_01b3);
        at += 1;
    }
    sum
}

/// Something that no worker wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::connection) struct Odd;

/// The bytes of one field.
pub(in crate::connection) fn field<const N: usize>(
    bytes: &[u8],
    at: usize,
) -> Result<[u8; N], Odd> {
    let field = bytes.get(at..).and_then(|rest| rest.first_chunk()).ok_or(Odd)?;
    Ok(*field)
}

/// A flow from its fields' places.
pub(in crate::connection) fn flow(bytes: &[u8], at: &FlowPlaces) -> Result<FlowKey, Odd> {
    let [number] = field(bytes, at.number)?;
    let [protocol] = field(bytes, at.protocol)?;
    let protocol = *Protocol::ALL.get(usize::from(protocol)).ok_or(Odd)?;
    let word = |at: usize| field(bytes, at).map(u64::from_ne_bytes);
    let address = |at| Ok(Address::from_memory([word(at)?, word(at.wrapping_add(8))?]));
    let (source, target) = (address(at.source)?, address(at.target)?);
    let is_named = match protocol {
        Protocol::Tcp => number == 6,
        Protocol::Udp => number == 17,
        Protocol::Sctp => number == 132,
        Protocol::Icmp => number == 1 && source.is_v4(),
        Protocol::IcmpV6 => number == 58 && !source.is_v4(),
        Protocol::Other => !matches!(number, 6 | 17 | 132),
    };
    let nobody = [0, 0xffff_0000_0000];
    let is_somebody = |address: Address| {
        let (high, low) = address.to_halves();
        high != 0 || !nobody.contains(&low)
    };
    let is_whole = source.is_v4() == target.is_v4() && is_somebody(source) && is_somebody(target);
    if !is_named || !is_whole {
        return Err(Odd);
    }
    Ok(FlowKey {
        source,
        target,
        source_port: u16::from_ne_bytes(field(bytes, at.source_port)?),
        target_port: u16::from_ne_bytes(field(bytes, at.target_port)?),
        number,
        protocol,
    })
}

/// Where the fields of a flow are.
pub(in crate::connection) struct FlowPlaces {
    pub(in crate::connection) source: usize,
    pub(in crate::connection) target: usize,
    pub(in crate::connection) source_port: usize,
    pub(in crate::connection) target_port: usize,
    pub(in crate::connection) number: usize,
    pub(in crate::connection) protocol: usize,
}

const OPENING: FlowPlaces = FlowPlaces {
    source: offset_of!(Entry, source),
    target: offset_of!(Entry, target),
    source_port: offset_of!(Entry, source_port),
    target_port: offset_of!(Entry, target_port),
    number: offset_of!(Entry, number),
    protocol: offset_of!(Entry, protocol),
};

impl Entry {
    /// The record that is in these bytes, as of a time; `None` where none is in use.
    pub(in crate::connection) fn read(bytes: &[u8], now: Tick) -> Result<Option<Self>, Odd> {
        let [flags] = field(bytes, offset_of!(Self, flags))?;
        if flags & LIVE == 0 {
            return Ok(None);
        }
        let opening = flow(bytes, &OPENING)?;
        let [state] = field(bytes, offset_of!(Self, state))?;
        let state = *State::ALL.get(usize::from(state)).ok_or(Odd)?;
        let tick = |at| field(bytes, at).map(|bytes| Tick(u64::from_ne_bytes(bytes)));
        let (opened, seen) = (tick(offset_of!(Self, opened))?, tick(offset_of!(Self, seen))?);
        let is_flagged = flags & TRANSLATED != 0 || flags & !(LIVE | ALLOWED) == 0;
        let is_known = flags & (TRANSLATED << 1) == 0 && is_flagged;
        if !is_known || !is_of(state, opening.protocol) || opened > seen || seen > now {
            return Err(Odd);
        }
        let endpoint = |at| field(bytes, at).map(u32::from_ne_bytes);
        Ok(Some(Self {
            source: opening.source,
            target: opening.target,
            source_port: opening.source_port,
            target_port: opening.target_port,
            number: opening.number,
            protocol: opening.protocol,
            state,
            flags,
            source_endpoint: endpoint(offset_of!(Self, source_endpoint))?,
            target_endpoint: endpoint(offset_of!(Self, target_endpoint))?,
            seen,
            opened,
            track: Track::read(bytes.get(offset_of!(Self, track)..).unwrap_or(&[]))?,
            ..Self::BLANK
        }))
    }

    /// Where its flags are.
    #[cfg(test)]
    pub(in crate::connection) const FLAGS_AT: usize = offset_of!(Self, flags);

    /// Gives its ends the names that they have now.
    pub(in crate::connection) fn rename(&mut self, ends: [Option<crate::ids::EndpointId>; 2]) {
        let [source, target] = ends.map(|end| end.map_or(NO_ENDPOINT, |id| id.0));
        (self.source_endpoint, self.target_endpoint) = (source, target);
    }
}

/// Whether a connection of a protocol comes to a state.
const fn is_of(state: State, protocol: Protocol) -> bool {
    match state {
        State::SynSent
        | State::SynReceived
        | State::Established
        | State::FinWait
        | State::TimeWait
        | State::Closed => matches!(protocol, Protocol::Tcp),
        State::UdpUnreplied | State::UdpStream => matches!(protocol, Protocol::Udp),
        State::SctpOpening | State::SctpEstablished | State::SctpClosed => {
            matches!(protocol, Protocol::Sctp)
        }
        State::IcmpUnreplied | State::IcmpReplied => protocol.has_messages(),
        State::OtherUnreplied | State::OtherReplied => {
            matches!(protocol, Protocol::Other | Protocol::Icmp | Protocol::IcmpV6)
        }
    }
}
