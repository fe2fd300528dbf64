//! Connections to look at, for `lockgate connections`, and how many there are. Copies; bounded per
//! call; no allocation.

use super::{Connections, State};
use crate::ids::{EndpointId, Epoch};
use crate::packet::{Address, FlowKey, Protocol};

/// Records passed over by one call at most: the worker that copies has packets waiting.
const SCAN_MAX: usize = 1024;

/// One connection as people want to see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The key of the packet that opened it.
    pub opening: FlowKey,
    /// What it has come to.
    pub state: State,
    /// The epoch under which it was last judged.
    pub epoch: Epoch,
    /// How it was judged then.
    pub allowed: bool,
    /// The opener, if it is a pod.
    pub source: Option<EndpointId>,
    /// The other end, if it is a pod.
    pub target: Option<EndpointId>,
    /// Milliseconds since it was opened.
    pub age_ms: u64,
    /// Milliseconds since the last packet that showed it alive.
    pub idle_ms: u64,
    /// Milliseconds until it is forgotten, if nothing comes.
    pub remaining_ms: u64,
}

/// Room for rows, made once and filled again and again.
#[derive(Debug)]
pub struct Page {
    /// Always `CAPACITY` long.
    rows: Box<[Row]>,
    length: usize,
}

const NOBODY: Address = Address::from_v6([0; 16]);
const BLANK: Row = Row {
    opening: FlowKey {
        source: NOBODY,
        target: NOBODY,
        source_port: 0,
        target_port: 0,
        number: 0,
        protocol: Protocol::Other,
    },
    state: State::Closed,
    epoch: Epoch(0),
    allowed: false,
    source: None,
    target: None,
    age_ms: 0,
    idle_ms: 0,
    remaining_ms: 0,
};

impl Default for Page {
    fn default() -> Self {
        Self::new()
    }
}

impl Page {
    /// Rows of a page at most.
    pub const CAPACITY: usize = 256;

    /// An empty page, with all the memory it will ever need.
    #[must_use]
    pub fn new() -> Self {
        Self { rows: vec![BLANK; Self::CAPACITY].into_boxed_slice(), length: 0 }
    }

    /// The rows last copied.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        self.rows.get(..self.length).unwrap_or(&[])
    }

    /// Whether another row would not fit.
    fn is_full(&self) -> bool {
        self.length == Self::CAPACITY
    }

    fn push(&mut self, row: Row) {
        if let Some(place) = self.rows.get_mut(self.length) {
            *place = row;
            self.length = self.length.saturating_add(1);
        }
    }
}

impl Connections {
    /// Connections there are.
    #[must_use]
    pub fn len(&self) -> usize {
        let all = self.counts.iter().fold(0_u64, |all, of_state| all.saturating_add(*of_state));
        usize::try_from(all).unwrap_or(usize::MAX)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Connections that ever had to give way to new ones.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Bytes of memory, all told.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let tables = [self.index.memory_bytes(), self.slab.memory_bytes()];
        let rest = [self.wheel.memory_bytes(), self.shares.memory_bytes()];
        tables.iter().chain(&rest).sum()
    }

    /// Copies connections from `cursor` (0 at first) on to `out`, and says where to go on; `None`
    /// at the end. A page may come back empty or part full before the end. What opens or
    /// ends between two calls may be seen or not; nothing is seen twice but for a place used anew.
    /// Times are as of the last [`Connections::expire`].
    pub fn page(&self, cursor: u32, out: &mut Page) -> Option<u32> {
        out.length = 0;
        let entries = self.slab.from(cursor);
        let mut passed = 0_u32;
        for entry in entries.iter().take(SCAN_MAX) {
            if out.is_full() {
                break;
            }
            passed = passed.saturating_add(1);
            if entry.is_live() {
                let idle_ms = self.now.since_ms(entry.seen);
                out.push(Row {
                    opening: entry.opening(),
                    state: entry.state,
                    epoch: entry.epoch,
                    allowed: entry.is_allowed(),
                    source: entry.source(),
                    target: entry.target(),
                    age_ms: self.now.since_ms(entry.opened),
                    idle_ms,
                    remaining_ms: self.timeout_ms(entry.state).saturating_sub(idle_ms),
                });
            }
        }
        (entries.len() > passed as usize).then_some(cursor.saturating_add(passed))
    }
}
