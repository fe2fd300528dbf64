//! A datagram of which not all has come. Hot path.

use std::num::NonZeroU32;

use super::super::Hash;
use super::Flow;
use super::list::{Link, Linked, List, UNLINKED};
use super::seen::Seen;
use super::waiting::Chain;
use crate::clock::Tick;
use crate::counters::DropReason;
use crate::packet::FlowKey;
use crate::packet::parse::Headers;

/// A datagram under way, or room for one.
#[derive(Debug)]
pub(super) struct Entry {
    /// Of the whole datagram: its number stands where ports would.
    pub(super) key: FlowKey,
    pub(super) hash: Hash,
    /// Which of all datagrams that were ever here.
    pub(super) serial: Option<NonZeroU32>,
    pub(super) since: Tick,
    /// Where it comes from: a place among the shares.
    pub(super) port: u16,
    /// What the first fragment says, once it has come.
    pub(super) flow: Option<Flow>,
    /// Why nothing of it passes.
    pub(super) refused: Option<DropReason>,
    /// Fragments that need not wait and are not yet judged.
    pub(super) staged: u16,
    pub(super) waiting: Chain,
    pub(super) seen: Seen,
    by_age: Link,
    by_port: Link,
    by_wait: Link,
}

impl Entry {
    pub(super) const BLANK: Self = Self {
        key: Headers::BLANK.key,
        hash: Hash(0),
        serial: None,
        since: Tick(0),
        port: 0,
        flow: None,
        refused: None,
        staged: 0,
        waiting: Chain::EMPTY,
        seen: Seen::NOTHING,
        by_age: UNLINKED,
        by_port: UNLINKED,
        by_wait: UNLINKED,
    };

    /// A datagram that begins.
    pub(super) fn new(
        key: FlowKey,
        hash: Hash,
        serial: NonZeroU32,
        since: Tick,
        port: u16,
    ) -> Self {
        Self { key, hash, serial: Some(serial), since, port, ..Self::BLANK }
    }

    /// Whether nothing more can come of it.
    pub(super) fn is_over(&self) -> bool {
        self.seen.is_all() && self.staged == 0 && self.waiting.is_empty()
    }
}

impl Linked for Entry {
    fn link(&mut self, list: List) -> &mut Link {
        match list {
            List::Age => &mut self.by_age,
            List::Port => &mut self.by_port,
            List::Waits => &mut self.by_wait,
        }
    }
}
