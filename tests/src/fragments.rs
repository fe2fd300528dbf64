//! The table of fragments beside a model that keeps every byte and searches from end to end.
//!
//! A [`Twin`] takes fragments in as the worker does and compares each verdict, what need not wait
//! any more, what has waited for nothing, and how much is kept, with what the model says.

// What does not hold fails by panicking: the input that shows it is what is looked for.
#![allow(clippy::panic, clippy::missing_panics_doc)]

use lockgate_dataplane::clock::Tick;
use lockgate_dataplane::connection::fragment::{
    DATAGRAMS_MAX, Fragments, PART, PER_PORT, Ticket, Verdict, WAITING_MAX, WAITING_PER_PORT,
    Waited,
};
use lockgate_dataplane::connection::{Bounds, Connections, Holder, Settings, Timeouts};
use lockgate_dataplane::counters::DropReason;
use lockgate_dataplane::frame::FramePool;
use lockgate_dataplane::ids::{EndpointId, PortId, PortRef, PortSlot, WorkerId};
use lockgate_dataplane::packet::parse::{Fragment, Kind};
use lockgate_dataplane::packet::{Address, Family, Headers};
use lockgate_dataplane::port::memory::HeapMemory;
use lockgate_dataplane::seat::Seat;

const TIMEOUT_MS: u64 = 15_000;
const FRAMES: u32 = 1088;
/// The target port that every first fragment names.
const TARGET_PORT: u16 = 2000;
/// Datagrams that one call of `expire` gives up at most.
const EXPIRE_MAX: usize = 4;

/// Added to the slot of a port: from outside to it.
pub const OUTSIDE: u16 = 256;

/// A table, what a worker has beside it, and the model.
#[derive(Debug)]
pub struct Twin {
    table: Fragments,
    connections: Connections,
    pool: FramePool,
    now: u64,
    model: Model,
    /// How many fragments there were: each is known by its number.
    count: u16,
}

/// A fragment on its way into the table.
#[derive(Clone, Copy, Debug)]
pub struct Coming {
    /// The slot of the port where it comes in, below 256; with [`OUTSIDE`], of the one that it comes
    /// to from outside.
    pub port: u16,
    /// Its place in its datagram.
    pub fragment: Fragment,
    /// What the judge says of it, if it is a first.
    pub passes: bool,
}

/// What became of fragments, by their numbers: what waits no more, and what waited for nothing.
type LetGo = (Vec<u16>, Vec<(u16, DropReason)>);

/// What is done with a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// What its first was is known.
    Judged,
    /// It waits for its first.
    Waits,
    /// It goes no further.
    Dropped(DropReason),
}

impl Default for Twin {
    fn default() -> Self {
        let (bounds, timeouts) = (Bounds::NONE, Timeouts::default());
        let settings = Settings { capacity: 16, bounds, seed: [1, 2], timeouts };
        let (table, connections) = (Fragments::new(TIMEOUT_MS), Connections::new(&settings));
        let (_, pool) = HeapMemory::new(FRAMES);
        Self { table, connections, pool, now: 1_000, model: Model::default(), count: 0 }
    }
}

impl Twin {
    /// A fragment comes to both. At most 65,535 may come to one twin.
    pub fn come(&mut self, coming: Coming) -> Fate {
        self.count += 1;
        let fate = self.take_in(coming);
        let (expected, let_go) = self.model.come(coming, self.count, self.now);
        assert_eq!(fate, expected, "{coming:?}");
        self.compare(&let_go, &coming);
        fate
    }

    /// Time passes, and the worker turns so many times.
    pub fn pass(&mut self, ms: u64, turns: usize) {
        self.now += ms;
        for _ in 0..turns {
            self.table.expire(Tick(self.now));
            let doomed = self.model.expire(self.now);
            self.compare(&(vec![], doomed), &ms);
        }
    }

    /// Everything that is held is given back in time.
    pub fn finish(mut self) {
        self.pass(TIMEOUT_MS, self.model.datagrams.len().div_ceil(EXPIRE_MAX));
        assert_eq!((self.table.datagrams(), self.table.held()), (0, 0));
        assert_eq!(self.pool.available(), FRAMES as usize, "frames are kept for ever");
    }

    fn compare(&mut self, expected: &LetGo, what: &dyn std::fmt::Debug) {
        let let_go = self.let_go();
        assert_eq!(&let_go, expected, "ready and doomed after {what:?}");
        assert_eq!(self.table.held(), self.model.waiting(|_| true) as u64, "after {what:?}");
        assert_eq!(self.table.datagrams(), self.model.datagrams.len(), "after {what:?}");
    }

    /// What becomes of a fragment, as the worker has it.
    fn take_in(&mut self, Coming { port, fragment, passes }: Coming) -> Fate {
        let (from, is_first) = (port_at(port % OUTSIDE), fragment.is_first());
        let headers = headers(is_first);
        let hash = self.connections.hash(&Fragments::key(&headers, &fragment));
        let seat = Seat::of(from);
        let holder = Holder { endpoint: EndpointId(seat.0.into()), seat, opens: port < OUTSIDE };
        match self.table.take_in(&headers, &fragment, hash, holder, Tick(self.now)) {
            Verdict::Judge(ticket, flow) => {
                assert_eq!(flow.target_port, TARGET_PORT, "the flow is another's");
                let refused = (is_first && !passes).then_some(DropReason::IngressDenied);
                self.table.judged(ticket, is_first, refused);
                Fate::Judged
            }
            Verdict::Wait(ticket) => self.wait(ticket, from, headers),
            Verdict::Drop(reason) => Fate::Dropped(reason),
        }
    }

    fn wait(&mut self, ticket: Ticket, from: PortRef, headers: Headers) -> Fate {
        let Some(mut frame) = self.pool.take() else { panic!("more are held than may be") };
        // The number stands where a packet has its length.
        frame.set_length(self.count % LENGTHS);
        match self.table.wait(ticket, Waited { frame, from, translated: false, headers }) {
            Ok(()) => Fate::Waits,
            Err(waited) => {
                self.pool.put(waited.frame);
                Fate::Dropped(DropReason::FragmentLimit)
            }
        }
    }

    fn let_go(&mut self) -> LetGo {
        let (mut ready, mut doomed) = (vec![], vec![]);
        while let Some((waited, ticket)) = self.table.take_ready() {
            ready.push(waited.frame.length());
            self.pool.put(waited.frame);
            assert!(self.table.flow(ticket).is_ok(), "its first has passed");
            self.table.judged(ticket, false, None);
        }
        while let Some((waited, reason)) = self.table.take_doomed() {
            doomed.push((waited.frame.length(), reason));
            self.pool.put(waited.frame);
        }
        doomed.sort_by_key(|(number, _)| *number);
        (ready, doomed)
    }
}

/// Numbers of fragments that a frame's length tells apart; far fewer wait at one time.
const LENGTHS: u16 = 3000;

fn port_at(slot: u16) -> PortRef {
    PortRef { port: PortId(u32::from(slot) + 1), worker: WorkerId(0), slot: PortSlot(slot) }
}

fn headers(is_first: bool) -> Headers {
    let kind = if is_first { Kind::Udp } else { Kind::Rest };
    let mut headers = Headers { kind, family: Family::V4, ..Headers::BLANK };
    headers.key.source = Address::from_v4([10, 0, 0, 1]);
    headers.key.target = Address::from_v4([10, 0, 0, 2]);
    headers.key.number = 17;
    if is_first {
        (headers.key.source_port, headers.key.target_port) = (1000, TARGET_PORT);
    }
    headers
}

/// Every datagram under way, the oldest first.
#[derive(Debug, Default)]
struct Model {
    datagrams: Vec<Datagram>,
}

#[derive(Debug)]
struct Datagram {
    identification: u32,
    /// Where its first fragment to come came in.
    port: u16,
    since: u64,
    /// What has come: from where to where.
    parts: Vec<(u16, u16)>,
    end: Option<u16>,
    says: Option<u16>,
    refused: Option<DropReason>,
    has_first: bool,
    /// The numbers of those that wait, in the order they came.
    waiting: Vec<u16>,
    /// How many fragments there had been when the first of them came.
    waits_since: u16,
}

/// Where a fragment says that its datagram ends.
fn says_of(one: &Fragment) -> Option<u16> {
    if one.more { (one.udp_end != 0).then_some(one.udp_end) } else { Some(one.end) }
}

impl Datagram {
    fn contradicts(&self, new: &Fragment) -> bool {
        let overlaps = self.parts.iter().any(|&(from, to)| new.offset < to && from < new.end);
        let top = self.parts.iter().map(|part| part.1).max().unwrap_or(0);
        let says = says_of(new);
        let cuts = says.is_some_and(|says| top.div_ceil(8) > says.div_ceil(8));
        let ends = match self.says {
            Some(end) => new.end > end || says.is_some_and(|says| says != end),
            None => cuts,
        };
        overlaps || ends || cuts || self.end.is_some() && !new.more
    }

    fn is_whole(&self) -> bool {
        let bytes: u32 = self.parts.iter().map(|&(from, to)| u32::from(to - from)).sum();
        self.end.is_some_and(|end| bytes == u32::from(end))
    }
}

/// What a port may have of so many places, of which so many are taken, by its side so many. All
/// outside together have half of the places, and nothing of the last quarter.
fn most(port: u16, per_port: u16, places: usize, (taken, by_side): (usize, usize)) -> usize {
    let (places, left) = if port < OUTSIDE {
        (places, places - taken)
    } else {
        let left = (places - taken).saturating_sub(places / 4);
        (places / 2, left.min(places / 2 - by_side))
    };
    match left {
        0 => 0,
        few if few <= places / 4 => usize::from(PART),
        _ => usize::from(per_port),
    }
}

/// Whether it is outside that sends.
const fn side(port: u16) -> bool {
    port >= OUTSIDE
}

impl Model {
    fn waiting(&self, of: impl Fn(&Datagram) -> bool) -> usize {
        self.datagrams.iter().filter(|one| of(one)).map(|one| one.waiting.len()).sum()
    }

    /// Forgets a datagram: what waited of it, with the reason.
    fn give_up(&mut self, place: usize, reason: DropReason) -> Vec<(u16, DropReason)> {
        let gone = self.datagrams.remove(place);
        gone.waiting.into_iter().map(|number| (number, reason)).collect()
    }

    fn come(&mut self, coming: Coming, count: u16, now: u64) -> (Fate, LetGo) {
        let number = count % LENGTHS;
        let Coming { port, fragment, passes } = coming;
        let Some(mut doomed) = self.begin(port, fragment.identification, now) else {
            return (Fate::Dropped(DropReason::FragmentLimit), (vec![], vec![]));
        };
        let mut ready = vec![];
        let place = self.place_of(fragment.identification);
        let datagram = &mut self.datagrams[place];
        let mut refuse = |datagram: &mut Datagram, reason| {
            datagram.refused = Some(reason);
            doomed.extend(datagram.waiting.drain(..).map(|number| (number, reason)));
        };
        let fate = if let Some(reason) = datagram.refused {
            Fate::Dropped(reason)
        } else if datagram.contradicts(&fragment) {
            refuse(datagram, DropReason::FragmentOverlap);
            Fate::Dropped(DropReason::FragmentOverlap)
        } else {
            datagram.parts.push((fragment.offset, fragment.end));
            datagram.end = datagram.end.or((!fragment.more).then_some(fragment.end));
            datagram.says = datagram.says.or(says_of(&fragment));
            datagram.has_first |= fragment.is_first();
            if fragment.is_first() && !passes {
                refuse(datagram, DropReason::IngressDenied);
                Fate::Judged
            } else if datagram.has_first {
                ready = std::mem::take(&mut datagram.waiting);
                Fate::Judged
            } else {
                let (fate, gone) = self.wait(fragment.identification, (number, count));
                doomed.extend(gone);
                fate
            }
        };
        self.datagrams.retain(|one| !(one.is_whole() && one.waiting.is_empty()));
        doomed.sort_by_key(|(number, _)| *number);
        (fate, (ready, doomed))
    }

    fn place_of(&self, identification: u32) -> usize {
        let found = self.datagrams.iter().position(|one| one.identification == identification);
        found.unwrap_or_else(|| panic!("{identification} has begun"))
    }

    /// A new datagram of a port costs it its oldest, or its side the oldest, where there are as many
    /// as may be. `None`: neither has any.
    fn begin(
        &mut self,
        port: u16,
        identification: u32,
        now: u64,
    ) -> Option<Vec<(u16, DropReason)>> {
        if self.datagrams.iter().any(|one| one.identification == identification) {
            return Some(vec![]);
        }
        let mut doomed = vec![];
        let all = |of: &dyn Fn(&Datagram) -> bool| self.datagrams.iter().filter(|o| of(o)).count();
        let has = all(&|one| one.port == port);
        let taken = (self.datagrams.len(), all(&|one| side(one.port) == side(port)));
        if has >= most(port, PER_PORT, DATAGRAMS_MAX, taken) {
            let gives =
                |one: &Datagram| one.port == port || has == 0 && side(one.port) == side(port);
            let oldest = self.datagrams.iter().position(gives)?;
            doomed = self.give_up(oldest, DropReason::FragmentLimit);
        }
        self.datagrams.push(Datagram {
            identification,
            port,
            since: now,
            parts: vec![],
            end: None,
            says: None,
            refused: None,
            has_first: false,
            waiting: vec![],
            waits_since: 0,
        });
        Some(doomed)
    }

    /// One more waits: where the port has as many as may wait, its oldest datagram of which any
    /// waits goes; where none may and it has none, its side's that waits for longest.
    fn wait(
        &mut self,
        identification: u32,
        (number, count): (u16, u16),
    ) -> (Fate, Vec<(u16, DropReason)>) {
        let limit = DropReason::FragmentLimit;
        let port = self.datagrams[self.place_of(identification)].port;
        let mut doomed = vec![];
        let has = self.waiting(|one| one.port == port);
        let of_side = |one: &Datagram| side(one.port) == side(port);
        let taken = (self.waiting(|_| true), self.waiting(of_side));
        let mut is_full = has >= most(port, WAITING_PER_PORT, WAITING_MAX, taken);
        if is_full {
            let gives = |one: &Datagram| if has == 0 { of_side(one) } else { one.port == port };
            let all = self.datagrams.iter().enumerate();
            let mut waiting = all.filter(|(_, one)| gives(one) && !one.waiting.is_empty());
            let oldest = match has {
                0 => waiting.min_by_key(|(_, one)| one.waits_since),
                _ => waiting.next(),
            };
            if let Some((oldest, _)) = oldest {
                doomed = self.give_up(oldest, limit);
                is_full = false;
            }
        }
        let own = self.datagrams.iter_mut().find(|one| one.identification == identification);
        match own {
            Some(own) if !is_full => {
                if own.waiting.is_empty() {
                    own.waits_since = count;
                }
                own.waiting.push(number);
                (Fate::Waits, doomed)
            }
            // It may have been its own that went, or none goes.
            _ => (Fate::Dropped(limit), doomed),
        }
    }

    fn expire(&mut self, now: u64) -> Vec<(u16, DropReason)> {
        let mut doomed = vec![];
        for outside in [false, true] {
            for _ in 0..EXPIRE_MAX {
                let oldest = self.datagrams.iter().position(|one| side(one.port) == outside);
                let Some(oldest) = oldest else { break };
                if now - self.datagrams[oldest].since >= TIMEOUT_MS {
                    doomed.extend(self.give_up(oldest, DropReason::FragmentTimeout));
                }
            }
        }
        doomed.sort_by_key(|(number, _)| *number);
        doomed
    }
}
