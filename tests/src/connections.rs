//! The table of connections from outside: what its rows say before and after each operation.
//!
//! Nothing is remembered here: the rows that [`Connections::page`] shows are the model. What is
//! found is what a search through all rows finds; an operation changes the rows that it may and no
//! other; rows go when their time is up. In a table that is never full nothing else goes. In one
//! that is, what is established and allowed stays, and whatever goes is counted.

// What does not hold fails by panicking: the input that shows it is what is looked for.
#![allow(clippy::panic, clippy::missing_panics_doc)]

use lockgate_dataplane::clock::Tick;
use lockgate_dataplane::connection::{
    Bounds, ConnectionId, Connections, Holder, Opening, Page, Row, Settings, State, Timeouts, Way,
};
use lockgate_dataplane::counters::DropReason;
use lockgate_dataplane::ids::{EndpointId, Epoch};
use lockgate_dataplane::packet::{FlowKey, Headers, Kind};
use lockgate_dataplane::seat::Seat;

/// Milliseconds by which a record may outlive its time.
const GRAIN_MS: u64 = 256;
/// Calls of `expire` after which nothing is due, however far time leapt.
const SWEEPS: usize = 200;

/// A table under watch.
#[derive(Debug)]
pub struct Rows {
    table: Connections,
    page: Page,
    capacity: usize,
    now: u64,
}

/// Whom a new connection counts for: its sender.
fn holder(key: &FlowKey) -> Holder {
    let (high, low) = key.source.to_halves();
    let pod = u16::try_from((high ^ low) & 0xff).unwrap_or(0);
    Holder { endpoint: EndpointId(pod.into()), seat: Seat(pod), opens: true }
}

impl Rows {
    /// An empty table.
    #[must_use]
    pub fn new(capacity: usize, now: u64) -> Self {
        let bounds = Bounds::of(u32::try_from(capacity).unwrap_or(u32::MAX));
        let timeouts = Timeouts::default();
        let settings = Settings { capacity, bounds, seed: [3, 4], timeouts };
        let mut rows =
            Self { table: Connections::new(&settings), page: Page::new(), capacity, now };
        rows.sweep();
        rows
    }

    /// A packet comes: it is more of a connection, opens one, or neither.
    pub fn packet(&mut self, headers: &Headers, epoch: u64) {
        let before = self.all();
        let spot = self.table.spot(&headers.key);
        let found = self.table.find(headers, spot);
        let mut seen = before.iter().enumerate().filter_map(|(at, row)| {
            let way = way_of(row, headers)?;
            Some((at, way))
        });
        let expected = seen.next();
        assert_eq!(seen.next(), None, "{headers:?} is of two connections");
        assert_eq!(found.map(|(_, way)| way), expected.map(|(_, way)| way), "{headers:?}");
        match found.zip(expected) {
            Some(((id, way), (at, _))) => {
                assert_eq!(self.table.record(id).opening, before[at].opening);
                if self.table.is_over(id) && Connections::opens(&headers.kind).is_some() {
                    match self.table.renew(id, holder(&headers.key), Tick(self.now)) {
                        Ok(()) => {
                            self.went(&before, &[at]);
                            self.packet(headers, epoch);
                        }
                        Err(reason) => {
                            assert_eq!(reason, DropReason::ConnectionsLimit, "{headers:?}");
                            assert_eq!(before, self.all(), "refused, and yet changed");
                        }
                    }
                } else {
                    self.touch((id, way), headers, (at, &before));
                }
            }
            None => self.open(headers, epoch, &before),
        }
    }

    fn touch(&mut self, (id, way): (ConnectionId, Way), headers: &Headers, at: (usize, &[Row])) {
        let (at, before) = at;
        self.table.touch(id, way, headers, Tick(self.now));
        let after = self.all();
        let (was, is) = (before[at], after[at]);
        let rest = |rows: &[Row]| [&rows[..at], &rows[at + 1..]].concat();
        assert_eq!(rest(before), rest(&after), "{headers:?} changed others");
        assert!(is.idle_ms == 0 || is.idle_ms == was.idle_ms, "{was:?} {is:?}");
        let timeout = Timeouts::default().of(is.state);
        assert_eq!(is.remaining_ms, timeout.saturating_sub(is.idle_ms), "{is:?}");
        let (state, idle_ms, remaining_ms) = (is.state, is.idle_ms, is.remaining_ms);
        assert_eq!(is, Row { state, idle_ms, remaining_ms, ..was }, "{headers:?}");
        // A later fragment says nothing of itself.
        let is_rest = headers.is_rest();
        let expected = match (was.state, way) {
            (state, _) if is_rest => state,
            (State::UdpUnreplied, Way::Reply) => State::UdpStream,
            (State::IcmpUnreplied, Way::Reply) => State::IcmpReplied,
            (State::OtherUnreplied, Way::Reply) => State::OtherReplied,
            (state, _) if sort(state) != Sort::Tcp && sort(state) != Sort::Sctp => state,
            // Their machines have tests of their own: they stay what they are, and nobody becomes
            // established without both sides' word.
            _ => {
                assert_eq!(sort(was.state), sort(is.state), "{was:?} {is:?}");
                let begins = matches!(was.state, State::SynSent) && is.state == State::Established;
                assert!(!begins, "established by one packet: {headers:?}");
                is.state
            }
        };
        assert_eq!(is.state, expected, "{headers:?}");
    }

    fn open(&mut self, headers: &Headers, epoch: u64, before: &[Row]) {
        let Some(state) = Connections::opens(&headers.kind) else { return };
        let (spot, evicted) = (self.table.spot(&headers.key), self.table.evicted());
        let opening = Opening {
            source: Some(EndpointId(7)),
            target: None,
            epoch: Epoch(epoch),
            holder: holder(&headers.key),
            state,
        };
        let opened = self.table.open(&headers.key, spot, opening, headers, Tick(self.now));
        let after = self.all();
        let is_new = |row: &&Row| row.opening == headers.key && way_of(row, headers).is_some();
        let gone: Vec<Row> = before.iter().filter(|row| !after.contains(row)).copied().collect();
        assert_eq!(self.table.evicted() - evicted, gone.len() as u64, "{gone:?} went uncounted");
        let Ok(id) = opened else {
            assert_eq!((before, &gone[..]), (&after[..], &[][..]), "refused, and yet changed");
            assert!(self.is_small(), "refused with room");
            let reasons = [DropReason::ConnectionsFull, DropReason::ConnectionsLimit];
            assert!(reasons.iter().any(|&reason| opened == Err(reason)), "{opened:?} {headers:?}");
            return;
        };
        let new = after.iter().find(is_new).unwrap_or_else(|| panic!("{headers:?} opened nothing"));
        assert_eq!(after.len(), before.len() + 1 - gone.len(), "{gone:?}");
        assert!(
            gone.iter().all(|row| row.state.is_evictable() || !row.allowed),
            "{gone:?} gave way"
        );
        assert!(gone.is_empty() || self.is_small(), "{gone:?} gave way with room");
        assert!((new.age_ms, new.idle_ms, new.allowed) == (0, 0, true), "{new:?}");
        assert_eq!((new.epoch, new.state, self.table.state(id)), (Epoch(epoch), state, state));
        assert_eq!(self.table.find(headers, spot), Some((id, Way::Opening)), "{headers:?}");
    }

    /// Whether the table is so small that it may be full.
    fn is_small(&self) -> bool {
        self.capacity < 1000
    }

    /// One of the connections is forgotten.
    pub fn remove(&mut self, which: usize) {
        let before = self.all();
        if let Some((at, id)) = self.pick(&before, which) {
            self.table.remove(id);
            self.went(&before, &[at]);
        }
    }

    /// One of the connections is judged again.
    pub fn restamp(&mut self, which: usize, epoch: u64, allowed: bool) {
        let mut rows = self.all();
        if let Some((at, id)) = self.pick(&rows, which) {
            self.table.restamp(id, Epoch(epoch), allowed);
            rows[at] = Row { epoch: Epoch(epoch), allowed, ..rows[at] };
            assert_eq!(self.all(), rows);
        }
    }

    /// Time passes: whoever's time is up goes, nobody else.
    pub fn pass(&mut self, ms: u64) {
        let before = self.all();
        let then = self.now;
        self.now += ms;
        self.sweep();
        let is_due = |row: &Row| {
            let deadline = then - row.idle_ms + Timeouts::default().of(row.state);
            deadline / GRAIN_MS < self.now / GRAIN_MS
        };
        let later = |row: &Row| {
            let (age_ms, idle_ms) = (row.age_ms + ms, row.idle_ms + ms);
            let remaining_ms = Timeouts::default().of(row.state).saturating_sub(idle_ms);
            Row { age_ms, idle_ms, remaining_ms, ..*row }
        };
        let left: Vec<Row> = before.iter().filter(|row| !is_due(row)).map(later).collect();
        assert_eq!(self.all(), left, "after {ms} ms");
    }

    fn sweep(&mut self) {
        for _ in 0..SWEEPS {
            self.table.expire(Tick(self.now));
        }
    }

    fn went(&mut self, before: &[Row], gone: &[usize]) {
        let left = before.iter().enumerate().filter(|(at, _)| !gone.contains(at));
        let left: Vec<Row> = left.map(|(_, row)| *row).collect();
        assert_eq!(self.all(), left, "removed others, or not this one");
    }

    /// One of the rows and its record, found by its own packet.
    fn pick(&self, rows: &[Row], which: usize) -> Option<(usize, ConnectionId)> {
        let at = which.checked_rem(rows.len())?;
        let (row, key) = (&rows[at], rows[at].opening);
        let kind = match sort(row.state) {
            Sort::Echo => Kind::Echo { reply: false },
            Sort::Other => Kind::Portless,
            _ => Kind::Udp,
        };
        let headers = Headers { key, kind, ..Headers::BLANK };
        let found = self.table.find(&headers, self.table.spot(&key));
        let Some((id, Way::Opening)) = found else { panic!("{row:?} is not found: {found:?}") };
        Some((at, id))
    }

    /// Every row, in an order of its own: that of their places, which do not change.
    fn all(&mut self) -> Vec<Row> {
        let (mut all, mut cursor) = (vec![], Some(0));
        while let Some(at) = cursor {
            cursor = self.table.page(at, &mut self.page);
            all.extend_from_slice(self.page.rows());
        }
        assert_eq!(all.len(), self.table.len());
        assert!(all.len() <= self.capacity, "{} of {}", all.len(), self.capacity);
        for state in State::ALL {
            let count = all.iter().filter(|row| row.state == *state).count();
            assert_eq!(self.table.counts()[state.index()], count as u64, "{}", state.label());
        }
        all
    }
}

/// What a connection is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Tcp,
    Udp,
    Echo,
    Sctp,
    Other,
}

fn sort(state: State) -> Sort {
    match state.label().split('_').next() {
        Some("udp") => Sort::Udp,
        Some("icmp") => Sort::Echo,
        Some("sctp") => Sort::Sctp,
        Some("other") => Sort::Other,
        _ => Sort::Tcp,
    }
}

/// Which way a packet goes on a connection, if it is of it at all.
fn way_of(row: &Row, packet: &Headers) -> Option<Way> {
    let way = way_by_key(&row.opening, &packet.key)?;
    let is_icmp = packet.key.protocol.has_messages();
    let belongs = match (sort(row.state), packet.kind) {
        (Sort::Echo, Kind::Echo { reply }) => reply == (way == Way::Reply),
        (Sort::Other, Kind::Portless) => way == Way::Opening || !is_icmp,
        (_, Kind::Tcp(_) | Kind::Udp | Kind::Sctp { .. } | Kind::Rest) => true,
        // An echo or what has no ports belongs to its own sort only, errors and neighbours to none.
        _ => false,
    };
    belongs.then_some(way)
}

fn way_by_key(opening: &FlowKey, key: &FlowKey) -> Option<Way> {
    let ways = [(*opening, Way::Opening), (opening.reversed(), Way::Reply)];
    ways.into_iter().find(|(known, _)| known == key).map(|(_, way)| way)
}
