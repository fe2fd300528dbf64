//! Fragments against a model that keeps every byte.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::super::{Bounds, Connections, Settings, Timeouts};
use super::*;
use crate::frame::FramePool;
use crate::ids::{PortId, PortSlot, WorkerId};
use crate::packet::parse::Kind;
use crate::packet::{Address, Family};
use crate::port::memory::HeapMemory;

const TIMEOUT_MS: u64 = 15_000;

fn port(slot: u16) -> PortRef {
    PortRef { port: PortId(u32::from(slot) + 1), worker: WorkerId(0), slot: PortSlot(slot) }
}

fn headers(kind: Kind) -> Headers {
    let mut headers = Headers { kind, family: Family::V4, ..Headers::BLANK };
    headers.key.source = Address::from_v4([10, 0, 0, 1]);
    headers.key.target = Address::from_v4([10, 0, 0, 2]);
    headers.key.number = 17;
    headers
}

/// A table, and what a worker has beside it.
struct Bench {
    fragments: Fragments,
    connections: Connections,
    pool: FramePool,
    now: Tick,
}

impl Bench {
    fn new() -> Self {
        let (bounds, timeouts) = (Bounds::NONE, Timeouts::default());
        let settings = Settings { capacity: 16, bounds, seed: [1, 2], timeouts };
        let (_, pool) = HeapMemory::new(4096);
        let connections = Connections::new(&settings);
        Self { fragments: Fragments::new(TIMEOUT_MS), connections, pool, now: Tick(1_000) }
    }

    /// What becomes of a fragment, as the worker has it: judged, waiting or dropped. `passes` is
    /// what the judge says of first fragments.
    fn come(&mut self, from: PortRef, fragment: Fragment, passes: bool) -> Verdict {
        let is_first = fragment.is_first();
        let mut headers = headers(if is_first { Kind::Udp } else { Kind::Rest });
        if is_first {
            (headers.key.source_port, headers.key.target_port) = (1000, 2000);
        }
        let hash = self.connections.hash(&Fragments::key(&headers, &fragment));
        let verdict = self.fragments.take_in(&headers, &fragment, hash, from, self.now);
        match verdict {
            Verdict::Judge(ticket, _) => {
                let refused = (is_first && !passes).then_some(DropReason::IngressDenied);
                self.fragments.judged(ticket, is_first, refused);
            }
            Verdict::Wait(ticket) => {
                let mut frame = self.pool.take().expect("a frame");
                frame.set_length(fragment.offset / 8);
                if let Err(waited) = self.fragments.wait(ticket, Waited { frame, from, headers }) {
                    self.pool.put(waited.frame);
                    return Verdict::Drop(DropReason::FragmentLimit);
                }
            }
            Verdict::Drop(_) => {}
        }
        verdict
    }

    /// The offsets of what need not wait any more, of this datagram, and is judged; and of what
    /// waited for nothing.
    fn let_go(&mut self) -> (Vec<u16>, Vec<(u16, DropReason)>) {
        let (mut ready, mut doomed) = (vec![], vec![]);
        while let Some((waited, ticket)) = self.fragments.take_ready() {
            ready.push(waited.frame.length() * 8);
            self.pool.put(waited.frame);
            self.fragments.flow(ticket).expect("its first has passed");
            self.fragments.judged(ticket, false, None);
        }
        while let Some((waited, reason)) = self.fragments.take_doomed() {
            doomed.push((waited.frame.length() * 8, reason));
            self.pool.put(waited.frame);
        }
        doomed.sort_by_key(|(offset, _)| *offset);
        (ready, doomed)
    }
}

/// A datagram as the model has it.
#[derive(Clone, Debug, Default)]
struct Model {
    bytes: BTreeSet<u16>,
    end: Option<u16>,
    refused: Option<DropReason>,
    first: bool,
    waiting: Vec<u16>,
}

impl Model {
    fn contradicts(&self, fragment: &Fragment) -> bool {
        let overlaps = (fragment.offset..fragment.end).any(|byte| self.bytes.contains(&byte));
        let top = self.bytes.last().map_or(0, |last| last + 1);
        let ends = match self.end {
            Some(end) => fragment.end > end || !fragment.more,
            None => !fragment.more && top > fragment.end,
        };
        overlaps || ends
    }

    fn is_whole(&self) -> bool {
        self.end.is_some_and(|end| self.bytes.len() == usize::from(end))
    }
}

fn any_fragment() -> impl Strategy<Value = Fragment> {
    (0..4_u32, 0..8_u16, 1..4_u16, prop::bool::weighted(0.7)).prop_map(
        |(identification, offset, units, more)| {
            let (offset, odd) = (offset * 8, if more { 0 } else { 3 });
            Fragment { identification, offset, end: offset + units * 8 - odd, more }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_096))]

    #[test]
    fn the_table_does_as_a_model_that_keeps_every_byte(
        steps in prop::collection::vec((any_fragment(), prop::bool::weighted(0.8)), 1..60),
    ) {
        let mut bench = Bench::new();
        let mut model: BTreeMap<u32, Model> = BTreeMap::new();
        for (fragment, passes) in steps {
            let datagram = model.entry(fragment.identification).or_default();
            let verdict = bench.come(port(0), fragment, passes);
            let (ready, doomed) = bench.let_go();
            let (mut expected_ready, mut expected_doomed) = (vec![], vec![]);
            let mut gone = |datagram: &mut Model, reason| {
                let mut waiting = std::mem::take(&mut datagram.waiting);
                waiting.sort_unstable();
                expected_doomed.extend(waiting.into_iter().map(|offset| (offset, reason)));
                datagram.refused = Some(reason);
            };
            if let Some(reason) = datagram.refused {
                prop_assert_eq!(verdict, Verdict::Drop(reason));
            } else if datagram.contradicts(&fragment) {
                prop_assert_eq!(verdict, Verdict::Drop(DropReason::FragmentOverlap));
                gone(datagram, DropReason::FragmentOverlap);
            } else {
                datagram.bytes.extend(fragment.offset..fragment.end);
                datagram.end = datagram.end.or((!fragment.more).then_some(fragment.end));
                // Units are whole but for the last: so are the model's bytes.
                if fragment.is_first() {
                    prop_assert!(matches!(verdict, Verdict::Judge(..)));
                    datagram.first = true;
                    if passes {
                        expected_ready = std::mem::take(&mut datagram.waiting);
                    } else {
                        gone(datagram, DropReason::IngressDenied);
                    }
                } else if datagram.first {
                    prop_assert!(matches!(verdict, Verdict::Judge(_, flow) if flow.target_port == 2000));
                } else {
                    prop_assert!(matches!(verdict, Verdict::Wait(_)));
                    datagram.waiting.push(fragment.offset);
                }
            }
            prop_assert_eq!(ready, expected_ready);
            prop_assert_eq!(doomed, expected_doomed);
            if datagram.is_whole() && datagram.waiting.is_empty() {
                model.remove(&fragment.identification);
            }
            let waiting: usize = model.values().map(|datagram| datagram.waiting.len()).sum();
            prop_assert_eq!(bench.fragments.held(), waiting as u64);
            prop_assert_eq!(bench.fragments.datagrams(), model.len());
        }
        bench.now = bench.now.after_ms(TIMEOUT_MS);
        for _ in 0..4 {
            bench.fragments.expire(bench.now);
        }
        let (_, doomed) = bench.let_go();
        let waiting: usize = model.values().map(|datagram| datagram.waiting.len()).sum();
        prop_assert_eq!(doomed.len(), waiting);
        prop_assert_eq!((bench.fragments.datagrams(), bench.fragments.held()), (0, 0));
        prop_assert_eq!(bench.pool.available(), 4096);
    }
}
