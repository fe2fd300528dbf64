//! What a predecessor left: all of it comes back, and nothing that was not there.

use std::fs::{self, OpenOptions};
use std::mem::size_of;
use std::net::IpAddr;
use std::sync::OnceLock;

use proptest::prelude::*;

use super::*;
use crate::block::PAGE_BYTES;
use crate::connection::adopt::Refused;
use crate::connection::keep::{self, places};
use crate::connection::slab::Entry;
use crate::connection::tests::check;
use crate::connection::translation::Translations;
use crate::connection::{
    Bounds, Connections, Holder, Opening, Settings, State, Timeouts, Way, tcp,
};
use crate::ids::{EndpointId, Epoch};
use crate::packet::{Address, FlowKey, Headers, Kind, Protocol, TcpFlags, TcpHeader};
use crate::seat::Seat;

const OLD: Start = Start { boot: 0x5eed, stamp: 7 };
const NEW: Start = Start { boot: 0x5eed, stamp: 8 };
const NOW: Tick = Tick(5_000);
const HOLDER: Holder = Holder { endpoint: EndpointId(3), seat: Seat(1), opens: true };

fn settings() -> Settings {
    let (bounds, timeouts) = (Bounds::NONE, Timeouts::default());
    Settings { capacity: 1024, bounds, seed: [1, 2], timeouts }
}

fn make(directory: &Path, start: Start) -> (Connections, Translations) {
    let made = keep::make(directory, start, WorkerId(1), &settings()).unwrap();
    fs::write(published(directory, start.stamp), "{}").unwrap();
    made
}

fn address(text: &str) -> Address {
    text.parse::<IpAddr>().unwrap().into()
}

fn key(state: State, n: u16) -> FlowKey {
    let label = state.label();
    let (number, protocol) = match label.split('_').next() {
        Some("udp") => (17, Protocol::Udp),
        Some("sctp") => (132, Protocol::Sctp),
        Some("icmp") => (1, Protocol::Icmp),
        Some("other") => (47, Protocol::Other),
        _ => (6, Protocol::Tcp),
    };
    let (source, target) = (address("10.0.0.1"), address("10.0.0.2"));
    FlowKey { source, target, source_port: n, target_port: 80, number, protocol }
}

fn segment(flags: TcpFlags, sequence: u32, acknowledgment: u32) -> TcpHeader {
    TcpHeader { flags, sequence, acknowledgment, window: 9, payload_bytes: 0 }
}

/// A record in a state, as an owner would have it.
fn survivor(state: State, n: u16) -> Survivor {
    let (source, target) = (Some(EndpointId(3)), Some(EndpointId(4)));
    let opening = Opening { source, target, epoch: Epoch(9), holder: HOLDER, state };
    let share = Entry::BLANK.share;
    let mut entry = Entry::new(&key(state, n), &opening, share, Tick(1_000));
    entry.seen = Tick(4_000);
    if entry.opening().protocol == Protocol::Tcp {
        let ack = TcpFlags::SYN.with(TcpFlags::ACK);
        entry.track = tcp::open(&segment(TcpFlags::SYN, 5, 0));
        tcp::step(State::SynSent, &mut entry.track, Way::Reply, &segment(ack, 70, 6));
    } else {
        entry.track.set_tags([u32::MAX, 7]);
    }
    Survivor { entry, back: None, worker: WorkerId(1) }
}

fn put(table: &mut Connections, one: &Survivor) {
    let adoption = one.adopted(one.ends(), HOLDER, Some(WorkerId(5)));
    table.adopt(&adoption, NOW).unwrap();
}

fn read_one(directory: &Path) -> Left {
    let mut all = read(directory, NEW, NOW).unwrap();
    assert_eq!(all.len(), 1, "{all:?}");
    all.pop().unwrap()
}

#[test]
fn every_state_comes_back_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let (mut table, translations) = make(directory.path(), OLD);
    let (own, _) = make(directory.path(), NEW);
    for (&state, n) in State::ALL.iter().zip(1..) {
        put(&mut table, &survivor(state, n));
    }
    // Whoever is over before the end is not there.
    put(&mut table, &survivor(State::Established, 900));
    let spot = table.spot(&key(State::Established, 900));
    let (id, _) = table.find_quoted(&key(State::Established, 900), spot).unwrap();
    table.remove(id);
    drop((table, translations, own));
    let left = read_one(directory.path());
    assert_eq!((left.stamp, left.odd, left.refused.len(), left.files.len()), (7, 0, 0, 1));
    assert_eq!(left.survivors.len(), State::ALL.len());
    let mut next = Connections::new(&settings());
    for ((&state, n), found) in State::ALL.iter().zip(1..).zip(&left.survivors) {
        let wanted = survivor(state, n);
        assert_eq!(found.opening(), wanted.opening());
        assert_eq!(found.ends(), wanted.ends());
        assert_eq!((found.worker(), found.translator()), (WorkerId(1), Some(WorkerId(5))));
        let entry = &found.entry;
        assert_eq!((entry.state, entry.track), (state, wanted.entry.track));
        assert_eq!((entry.seen, entry.opened), (Tick(4_000), Tick(1_000)));
        assert!(entry.is_allowed() && entry.is_live());
        let ends = [Some(EndpointId(30)), None];
        next.adopt(&found.adopted(ends, HOLDER, None), NOW).unwrap();
        let spot = next.spot(&found.opening());
        let (id, way) = next.find_quoted(&found.opening(), spot).unwrap();
        let record = next.record(id);
        assert_eq!((way, next.state(id)), (Way::Opening, state));
        assert_eq!((record.source, record.target, record.translator), (ends[0], None, None));
        assert_eq!(record.epoch, Epoch(u64::MAX), "it would be used unjudged");
    }
    assert_eq!(next.len(), State::ALL.len());
    // It counts for whom it should, and who may give way is in the queue of those.
    check(&next);
    // Its age went on: what was silent for long is forgotten when its time is up, and no later.
    next.expire(Tick(4_000 + 30_000 - 300));
    assert_eq!(next.counts()[State::SynSent.index()], 1);
    for at in 0..200 {
        next.expire(Tick(4_000 + 30_000 + 600 + at));
    }
    assert_eq!(next.counts()[State::SynSent.index()], 0);
    assert_eq!(next.counts()[State::Established.index()], 1);
}

#[test]
fn what_is_over_or_known_is_not_taken_in_and_nobody_gives_way() {
    let settings = Settings { capacity: 2, bounds: Bounds::of(2), ..settings() };
    let mut table = Connections::new(&settings);
    let adopt = |table: &mut Connections, n, now| {
        let one = survivor(State::Established, n);
        table.adopt(&one.adopted(one.ends(), HOLDER, None), now).map(drop)
    };
    let day = Tick(4_000 + 24 * 3_600_000);
    assert_eq!(adopt(&mut table, 1, day), Err(Refused::Over));
    assert_eq!(adopt(&mut table, 1, NOW), Ok(()));
    assert_eq!(adopt(&mut table, 1, NOW), Err(Refused::Known));
    assert_eq!(adopt(&mut table, 2, NOW), Err(Refused::NoRoom), "a pod may have a quarter");
    assert_eq!((table.len(), table.evicted()), (1, 0));
}

#[test]
fn one_of_the_same_key_between_other_ends_gives_way() {
    let mut table = Connections::new(&settings());
    let one = survivor(State::Established, 1);
    let [source, target] = one.ends();
    // It was picked up, whichever end's packet came first, when the other had no port yet.
    let mut early = one;
    early.entry.state = State::SynReceived;
    let (share, opened) = (Entry::BLANK.share, Tick(1_000));
    let (epoch, state) = (Epoch(9), State::SynReceived);
    let opening = Opening { source: None, target: source, epoch, holder: HOLDER, state };
    let mut back = early;
    back.entry = Entry::new(&one.opening().reversed(), &opening, share, opened);
    back.entry.seen = Tick(4_000);
    for (picked_up, ends) in [(early, [source, None]), (back, [None, source])] {
        table.adopt(&picked_up.adopted(ends, HOLDER, None), NOW).unwrap();
        table.adopt(&one.adopted([source, target], HOLDER, None), NOW).unwrap();
        let spot = table.spot(&one.opening());
        let (now, way) = table.find_quoted(&one.opening(), spot).unwrap();
        assert_eq!((table.len(), way, table.state(now)), (1, Way::Opening, State::Established));
        assert_eq!((table.record(now).source, table.record(now).target), (source, target));
        check(&table);
        // And between the same ends the one that is there stays, whichever way it was opened.
        let again = back.adopted([target, source], HOLDER, None);
        assert_eq!(table.adopt(&again, NOW), Err(Refused::Known));
        table.remove(now);
    }
}

#[test]
fn a_translation_comes_back_with_its_backend_and_not_with_another() {
    let directory = tempfile::tempdir().unwrap();
    let (table, mut translations) = make(directory.path(), OLD);
    let back = |n| FlowKey { target: address("10.0.0.9"), ..key(State::SynSent, n) };
    for n in 1..=2 {
        let header = segment(TcpFlags::SYN, 5, 0);
        let headers =
            Headers { key: key(State::SynSent, n), kind: Kind::Tcp(header), ..Headers::BLANK };
        let client = Some(EndpointId(3));
        translations.open(&headers, &back(n), [client, None], HOLDER, (1, NOW)).unwrap();
    }
    drop((table, translations));
    let left = read_one(directory.path());
    let found: Vec<_> = left.survivors.iter().map(|one| (one.opening(), one.back())).collect();
    let wanted = [1, 2].map(|n| (key(State::SynSent, n), Some(back(n))));
    assert_eq!(found, wanted);
    let mut next = Translations::new(&settings());
    for one in &left.survivors {
        let adoption = one.adopted([Some(EndpointId(30)), None], HOLDER, None);
        next.adopt(&adoption, &one.back().unwrap(), NOW).unwrap();
    }
    assert_eq!(next.find_back(&back(2)).unwrap().front, key(State::SynSent, 2));
    // A crash between the connection and what stands beside it: the place's last one is there yet.
    let file = OpenOptions::new().read(true).write(true).open(&left.files[0]).unwrap();
    let records = places([1024, 256])[2];
    let mut other = vec![0; RECORD_BYTES];
    file.read_exact_at(&mut other, records).unwrap();
    file.write_all_at(&other, records + RECORD_BYTES as u64).unwrap();
    let left = read_one(directory.path());
    assert_eq!((left.survivors.len(), left.odd), (1, 1));
}

#[test]
fn a_file_of_another_layout_or_start_of_the_machine_is_refused_as_a_whole() {
    let directory = tempfile::tempdir().unwrap();
    let (mut table, _translations) = make(directory.path(), OLD);
    put(&mut table, &survivor(State::Established, 1));
    let path = read_one(directory.path()).files.remove(0);
    let whole = fs::read(&path).unwrap();
    let with = |at: usize, byte: u8| {
        let mut bytes = whole.clone();
        bytes[at] ^= byte;
        bytes
    };
    for (bytes, wanted) in [
        (with(0, 1), "no table of connections"),
        (with(9, 1), "of another layout"),
        (with(20, 1), "of before the machine"),
        (with(44 + 3, 0x7f), "shorter than its header says"),
        (whole[..whole.len() - 1].to_vec(), "shorter than its header says"),
        (whole[..10].to_vec(), "no table of connections"),
        (vec![], "no table of connections"),
    ] {
        fs::write(&path, bytes).unwrap();
        let left = read_one(directory.path());
        let refused: Vec<String> = left.refused.iter().map(|one| one.1.to_string()).collect();
        assert!(refused.len() == 1 && refused[0].contains(wanted), "{wanted}: {refused:?}");
        assert_eq!(left.files.len(), 1, "it would never be removed");
    }
    fs::write(&path, &whole).unwrap();
    assert_eq!(read_one(directory.path()).survivors.len(), 1);
}

#[test]
fn a_record_that_was_being_written_is_none() {
    let directory = tempfile::tempdir().unwrap();
    let (mut table, _translations) = make(directory.path(), OLD);
    put(&mut table, &survivor(State::Established, 1));
    let left = read_one(directory.path());
    let path = &left.files[0];
    let file = OpenOptions::new().write(true).open(path).unwrap();
    // All of it but the flags, which are written last.
    let flags = places([1024, 256])[0] + Entry::FLAGS_AT as u64;
    file.write_all_at(&[0], flags).unwrap();
    let left = read_one(directory.path());
    assert_eq!((left.survivors.len(), left.odd), (0, 0));
}

#[test]
fn of_a_row_of_starts_the_newest_are_taken_and_all_are_known() {
    let directory = tempfile::tempdir().unwrap();
    for stamp in 1..=6 {
        let (mut table, _translations) = make(directory.path(), Start { stamp, ..OLD });
        put(&mut table, &survivor(State::Established, 1));
    }
    // Whoever died while it prepared is not of the row.
    for stamp in 10..=14 {
        drop(keep::make(directory.path(), Start { stamp, ..OLD }, WorkerId(1), &settings()));
    }
    fs::write(directory.path().join("0000000000000007.pods"), "{}").unwrap();
    fs::write(directory.path().join("other-1.connections"), "").unwrap();
    let all = read(directory.path(), NEW, NOW).unwrap();
    let (none, all): (Vec<_>, Vec<_>) = all.into_iter().partition(|left| left.stamp >= 10);
    let dead = |left: &Left| !left.has_published && !left.is_read && left.files.len() == 1;
    assert!(none.len() == 5 && none.iter().all(dead), "{none:?}");
    let read: Vec<_> = all.iter().map(|left| left.is_read).collect();
    assert_eq!(read, [true, true, true, true, false, false]);
    let found: Vec<_> =
        all.iter().map(|left| (left.stamp, left.survivors.len(), left.files.len())).collect();
    assert_eq!(found, [(6, 1, 1), (5, 1, 1), (4, 1, 1), (3, 1, 1), (2, 0, 1), (1, 0, 1)]);
}

#[test]
fn a_file_is_its_owners_alone_and_one_that_was_there_is_left() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let (mut table, _translations) = make(directory.path(), OLD);
    put(&mut table, &survivor(State::Established, 1));
    let path = directory.path().join("0000000000000007-1.connections");
    assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(keep::make(directory.path(), OLD, WorkerId(1), &settings()).is_err());
    assert_eq!(read_one(directory.path()).survivors.len(), 1);
}

/// Whether a record can be: what `read` is to let through, in other words.
fn can_be(one: &Survivor) -> bool {
    let FlowKey { source, target, number, protocol, .. } = one.opening();
    let label = one.entry.state.label();
    let of = match protocol {
        Protocol::Tcp => {
            const TCP: &str = "syn_sent syn_received established fin_wait time_wait closed";
            number == 6 && TCP.split(' ').any(|word| word == label)
        }
        Protocol::Udp => number == 17 && label.starts_with("udp"),
        Protocol::Sctp => number == 132 && label.starts_with("sctp"),
        Protocol::Icmp | Protocol::IcmpV6 => {
            label.starts_with("icmp") || label.starts_with("other")
        }
        Protocol::Other => label.starts_with("other"),
    };
    of && source.is_v4() == target.is_v4() && one.entry.seen <= NOW
}

/// A file with a record in each state.
fn with_all_states(directory: &Path) -> PathBuf {
    let (mut table, _translations) = make(directory, OLD);
    for (&state, n) in State::ALL.iter().zip(1..) {
        put(&mut table, &survivor(state, n));
    }
    read_one(directory).files.remove(0)
}

/// Those records as they are in memory.
fn records() -> &'static [u8] {
    static RECORDS: OnceLock<Vec<u8>> = OnceLock::new();
    RECORDS.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        let bytes = fs::read(with_all_states(directory.path())).unwrap();
        let from = usize::try_from(PAGE_BYTES).unwrap();
        bytes[from..from + State::ALL.len() * size_of::<Entry>()].to_vec()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    /// A good record with a few bytes written over, by small numbers mostly: those mean something.
    #[test]
    fn no_bytes_make_a_record_that_cannot_be(
        which in 0..State::ALL.len(),
        few in proptest::collection::vec(
            (0..size_of::<Entry>(), prop_oneof![3 => 0..20_u8, 1 => any::<u8>()]),
            1..5,
        ),
    ) {
        let from = which * size_of::<Entry>();
        let mut bytes = records()[from..from + size_of::<Entry>()].to_vec();
        for (at, byte) in few {
            bytes[at] = byte;
        }
        if let Ok(Some(entry)) = Entry::read(&bytes, NOW) {
            let one = Survivor { entry, back: None, worker: WorkerId(0) };
            prop_assert!(can_be(&one), "{one:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// A good file with some bytes written over: nothing panics, and what comes back can be taken in.
    #[test]
    fn a_damaged_file_gives_at_most_what_can_be(
        damage in proptest::collection::vec((0..15 * size_of::<Entry>(), any::<u8>()), 1..40),
        header in proptest::option::of((0..HEADER_BYTES, any::<u8>())),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let path = with_all_states(directory.path());
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        for (at, byte) in damage {
            file.write_all_at(&[byte], PAGE_BYTES + at as u64).unwrap();
        }
        if let Some((at, byte)) = header {
            file.write_all_at(&[byte], at as u64).unwrap();
        }
        let mut next = Connections::new(&settings());
        for left in read(directory.path(), NEW, NOW).unwrap() {
            prop_assert!(left.survivors.len() <= State::ALL.len());
            for one in &left.survivors {
                prop_assert!(can_be(one), "{one:?}");
                let _taken = next.adopt(&one.adopted(one.ends(), HOLDER, None), NOW);
            }
        }
        next.expire(Tick(u64::MAX));
    }
}
