use super::*;
use crate::connection::Timeouts;
use crate::ids::{PortId, PortRef, PortSlot, WorkerId};
use crate::packet::{Address, Family, Kind, Protocol};

const POD: EndpointId = EndpointId(7);

fn table(capacity: usize) -> Translations {
    let bounds = crate::connection::Bounds::of(u32::try_from(capacity).unwrap());
    let timeouts = Timeouts::default();
    Translations::new(&Settings { capacity, bounds, seed: [3, 4], timeouts })
}

fn holder() -> Holder {
    let at = PortRef { port: PortId(1), worker: WorkerId(0), slot: PortSlot(1) };
    Holder { endpoint: POD, seat: Seat::of(at), opens: true }
}

fn key(target: [u8; 4], source_port: u16, target_port: u16) -> FlowKey {
    FlowKey {
        source: Address::from_v4([10, 0, 0, 1]),
        target: Address::from_v4(target),
        source_port,
        target_port,
        number: 17,
        protocol: Protocol::Udp,
    }
}

fn front(port: u16) -> FlowKey {
    key([10, 96, 0, 1], port, 53)
}

fn back(port: u16) -> FlowKey {
    key([10, 0, 0, 9], port, 5353)
}

fn headers(key: FlowKey) -> Headers {
    Headers { key, family: Family::V4, kind: Kind::Udp, ..Headers::BLANK }
}

fn open(table: &mut Translations, port: u16, now: u64) -> Result<(), DropReason> {
    table.open(&headers(front(port)), &back(port), [Some(POD), None], holder(), (1, Tick(now)))
}

fn find(table: &mut Translations, port: u16, client: EndpointId) -> Option<Translation> {
    table.find(&headers(front(port)), Some(client), holder(), Tick(2)).unwrap()
}

/// Nobody goes away.
fn expire(table: &mut Translations, now: u64) {
    table.expire(Tick(now), None::<fn(Seat) -> Option<EndpointId>>);
}

#[test]
fn a_translation_is_found_from_both_ends_until_its_time_is_up() {
    let mut table = table(1024);
    open(&mut table, 1, 1).unwrap();
    let found = find(&mut table, 1, POD).unwrap();
    assert_eq!((found.front, found.back), (front(1), back(1)));
    assert_eq!(table.find_back(&back(1)), Some(found));
    assert_eq!(table.find_front(&front(1)), Some(found));
    assert_eq!(table.find_back(&back(1).reversed()), None, "a backend's own flow is another");
    assert!(find(&mut table, 2, POD).is_none() && table.find_back(&back(2)).is_none());
    for now in 0..1_000 {
        expire(&mut table, now * 100);
    }
    assert!(table.is_empty());
    assert_eq!(table.find_back(&back(1)), None, "what is left of it finds nothing");
    assert!(find(&mut table, 1, POD).is_none());
}

#[test]
fn who_has_the_address_next_inherits_nothing() {
    let mut table = table(1024);
    open(&mut table, 1, 1).unwrap();
    assert!(find(&mut table, 1, EndpointId(8)).is_none());
    assert!(table.is_empty());
}

#[test]
fn a_place_used_again_leaves_no_lane_behind() {
    let mut table = table(256);
    for port in 0..40_000 {
        // Some do not fit, for what gives way in a millisecond is bounded.
        let _ = open(&mut table, port, u64::from(port));
        expire(&mut table, u64::from(port));
    }
    let lanes = table.backs.records().count();
    assert!(lanes <= table.records.len(), "{lanes} lanes for {}", table.records.len());
    let alive = (0..40_000).filter(|&port| table.find_back(&back(port)).is_some()).count();
    assert_eq!(alive, table.len(), "each that lives is found by what its backend sees");
}

#[test]
fn a_full_table_opens_nothing_and_says_so() {
    let mut table = table(256);
    let opened = (0..1_000).filter(|&port| open(&mut table, port, 5).is_ok()).count();
    assert!(opened > 0 && table.len() <= 64, "{opened}");
    let refused = (0..1_000).find_map(|port| open_new(&mut table, port));
    assert_eq!(refused, Some(DropReason::TranslationsFull));
}

fn open_new(table: &mut Translations, port: u16) -> Option<DropReason> {
    let port = port + 2_000;
    open(table, port, 5).err()
}

#[test]
fn what_was_refused_is_forgotten_unless_it_was_answered() {
    let mut table = table(1024);
    open(&mut table, 1, 1).unwrap();
    open(&mut table, 2, 1).unwrap();
    let id = find(&mut table, 2, POD).unwrap().id;
    table.touch(id, Way::Reply, &headers(front(2).reversed()), Tick(2));
    table.take_back(&back(1));
    table.take_back(&back(2));
    assert_eq!(table.find_back(&back(1)), None);
    assert!(table.find_back(&back(2)).is_some());
}

#[test]
fn each_worker_translates_its_part_of_the_clients_and_of_the_services() {
    let address = |last: u32| Address::from_v4(last.to_be_bytes());
    for workers in [1, 2, 3, 16] {
        let mut parts = [[0_u32; 16]; 2];
        for n in 0..1600 {
            let [one, other] = [(n, 7), (7, n)].map(|(client, service)| {
                translator(address(client), address(0x0a60_0000 + service), workers)
            });
            parts[0][one.index()] += 1;
            parts[1][other.index()] += 1;
        }
        let even = 1600 / u32::from(workers);
        for part in parts {
            let (used, unused) = part.split_at(usize::from(workers));
            assert!(used.iter().all(|&n| n > even / 2 && n < even * 2), "{part:?}");
            assert!(unused.iter().all(|&n| n == 0), "{part:?}");
        }
    }
}
