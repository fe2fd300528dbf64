//! The table and its model under random packets, time, removals, verdicts, and pods that come and go.

use super::model::{self, Model, Room};
use super::*;
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
enum Operation {
    Packet(Headers),
    /// So many steps of a TCP conversation between the packet's ends.
    Converse(Headers, usize),
    Wait(u64),
    Remove(usize),
    Restamp(usize, u64, bool),
    /// A pod loses its port, or gets one, in either of its seats.
    Port(u32, Option<bool>),
}

/// Where each pod's port is: two seats for each.
type Ports = BTreeMap<EndpointId, Seat>;

fn seat(pod: u32, other: bool) -> Seat {
    Seat(u16::try_from(pod).expect("few pods") + if other { 4000 } else { 0 })
}

/// Whom a packet's connection counts for: its sender, which is a pod by its address.
fn holder(ports: &Ports, packet: &Headers) -> Option<Holder> {
    let place = PODS.iter().position(|&pod| address(pod) == packet.key.source)?;
    let endpoint = EndpointId(u32::try_from(place).expect("few pods"));
    // Whether it opens itself or who is outside: as good as any other bit of the packet.
    let opens = packet.key.source_port.is_multiple_of(2);
    ports.get(&endpoint).map(|&seat| Holder { endpoint, seat, opens })
}

const PODS: [&str; 6] = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "fd00::1", "fd00::2", "fd00::3"];

fn packet() -> impl Strategy<Value = Headers> {
    // Few enough that they meet: three pods of each family, two ports.
    let ends = (0..6_usize, 0..2_usize, 0..2_u16, 0..2_u16);
    let numbers = (any::<bool>(), 99_u32..103, 99_u32..103);
    let bits = prop::sample::select(vec![0x02, 0x02, 0x12, 0x10, 0x10, 0x11, 0x04, 0x14, 0x18]);
    // INIT, INIT ACK, ABORT, SHUTDOWN COMPLETE, COOKIE ECHO, COOKIE ACK, DATA.
    let chunks = prop::sample::select(vec![1, 2, 6, 14, 10, 11, 0]);
    (ends, 0..12_u8, numbers, bits, chunks).prop_map(
        move |(ends, what, numbers, bits, first_chunk)| {
            let (a, step, a_port, b_port) = ends;
            // Another pod of the same family: a packet to its own sender has no direction.
            let b = a / 3 * 3 + (a + 1 + step) % 3;
            let (source, target) = (address(PODS[a]), address(PODS[b]));
            let icmp = if source.is_v4() { 1 } else { 58 };
            let plain = |number| key(number, (source, a_port), (target, b_port));
            let same = |number, port| key(number, (source, port), (target, port));
            let (is_reply, sequence, acknowledgment) = numbers;
            match what {
                0..=3 => headers(plain(6), tcp(TcpFlags(bits), sequence, acknowledgment)),
                4..=5 => headers(plain(17), Kind::Udp),
                6..=7 => {
                    let request = key(icmp, (source, a_port), (target, 0x800));
                    let reply = key(icmp, (source, 0x800), (target, a_port));
                    let key = if is_reply { reply } else { request };
                    headers(key, Kind::Echo { reply: is_reply })
                }
                8..=9 => {
                    let verification_tag = if first_chunk == 1 { 0 } else { sequence };
                    headers(plain(132), Kind::Sctp { first_chunk, verification_tag })
                }
                10 if is_reply => headers(same(47, 47), Kind::Portless),
                10 => headers(key(icmp, (source, 0), (target, 0x2800)), Kind::Portless),
                _ => headers(same(icmp, 0), Kind::IcmpError { inner: plain(17) }),
            }
        },
    )
}

fn operation() -> impl Strategy<Value = Operation> {
    let wait = prop_oneof![0..40_u64, 0..40_000_u64, 0..700_000_u64, 80_000_000..90_000_000_u64];
    prop_oneof![
        20 => packet().prop_map(Operation::Packet),
        2 => (packet(), 1..8_usize).prop_map(|(packet, to)| Operation::Converse(packet, to)),
        2 => wait.prop_map(Operation::Wait),
        1 => any::<usize>().prop_map(Operation::Remove),
        1 => (any::<usize>(), 1..9_u64, any::<bool>())
            .prop_map(|(at, epoch, allowed)| Operation::Restamp(at, epoch, allowed)),
        1 => (0..6_u32, any::<Option<bool>>()).prop_map(|(pod, seat)| Operation::Port(pod, seat)),
    ]
}

/// Bounds that ten records meet, each alone and all together.
fn bounds() -> impl Strategy<Value = Bounds> {
    let some = prop_oneof![Just(u32::MAX), 1..8_u32];
    let all = (some.clone(), some.clone(), 0..6_u32, some);
    all.prop_map(|(per_pod, evictable_max, reserved, turnover_per_ms)| Bounds {
        per_pod,
        evictable_max,
        reserved,
        turnover_per_ms,
    })
}

/// Opened and closed by the source of the key, with the numbers that stray packets have too.
fn conversation(of: FlowKey) -> [Headers; 7] {
    let key = FlowKey { number: 6, protocol: Protocol::Tcp, ..of };
    let there = |flags, sequence, ack| headers(key, tcp(TcpFlags(flags), sequence, ack));
    let back = |flags, sequence, ack| headers(key.reversed(), tcp(TcpFlags(flags), sequence, ack));
    [
        there(0x02, 99, 0),
        back(0x12, 100, 100),
        there(0x10, 100, 101),
        there(0x11, 100, 101),
        back(0x10, 101, 101),
        back(0x11, 101, 101),
        there(0x10, 101, 102),
    ]
}

/// Opens in both. The table chooses who gives way, where several may.
fn begin(table: &mut Connections, model: &mut Model, at: (&Ports, u64), packet: &Headers) {
    let (ports, now) = at;
    // Who has no port sends nothing.
    let Some(holder) = holder(ports, packet) else { return };
    let opened = open_as(table, holder, packet, Tick(now)).map(|_| ());
    if Connections::opens(&packet.kind).is_none() {
        assert_eq!(opened, Err(DropReason::NoConnection));
        return;
    }
    let room = model.room(holder, now, opened == Err(DropReason::ConnectionsFull));
    model.note(holder);
    match &room {
        Room::None(reason) => assert_eq!(opened, Err(*reason)),
        Room::Free => assert_eq!(opened, Ok(())),
        Room::After(some) => {
            assert_eq!(opened, Ok(()));
            let is_gone = |id: &&u64| seek(table, &model.known[*id]).is_none();
            let gone = *some.iter().find(is_gone).expect("one of these gives way");
            model.push_out(gone);
        }
    }
    if opened.is_ok() {
        model.open(packet, holder, now).expect("it opens");
    }
}

/// Does the same to both and compares all that can be seen.
fn apply(
    table: &mut Connections,
    model: &mut Model,
    ports: &mut Ports,
    now: &mut u64,
    operation: Operation,
) {
    match operation {
        Operation::Packet(packet) => {
            let (theirs, expected) = (find(table, &packet), model.find(&packet));
            assert_eq!(theirs.map(|(_, way)| way), expected.map(|(_, way)| way), "{packet:?}");
            // Whichever record was said to be it nearly always: one in use, another's, none.
            for likely in (0..12).map(ConnectionId).chain([ConnectionId(slab::NONE)]) {
                let spot = table.spot(&packet.key);
                assert_eq!(table.find_likely(&packet, spot, likely), theirs, "{likely:?}");
            }
            let Some(((id, way), (twin, _))) = theirs.zip(expected) else {
                return begin(table, model, (ports, *now), &packet);
            };
            if table.is_over(id) && Connections::opens(&packet.kind).is_some() {
                // Who has no port sends nothing.
                let Some(holder) = holder(ports, &packet) else { return };
                let renewed = table.renew(id, holder, Tick(*now));
                assert_eq!(renewed, model.renew(twin, holder, *now));
                if renewed.is_ok() {
                    begin(table, model, (ports, *now), &packet);
                }
                return;
            }
            table.touch(id, way, &packet, Tick(*now));
            model.touch(twin, way, &packet, *now);
        }
        Operation::Converse(packet, steps) => {
            for step in conversation(packet.key).into_iter().take(steps) {
                apply(table, model, ports, now, Operation::Packet(step));
            }
        }
        Operation::Wait(ms) => {
            *now += ms;
            sweep(table, Tick(*now));
            model.expire(*now);
            settle(table, ports, *now);
            model.settle(*now, ports);
        }
        Operation::Port(pod, place) => {
            let _: Option<Seat> = match place {
                Some(other) => ports.insert(EndpointId(pod), seat(pod, other)),
                None => ports.remove(&EndpointId(pod)),
            };
        }
        Operation::Remove(at) => {
            if let Some((id, twin)) = pick(table, model, at) {
                table.remove(id);
                model.known.remove(&twin);
            }
        }
        Operation::Restamp(at, epoch, allowed) => {
            if let Some((id, twin)) = pick(table, model, at) {
                table.restamp(id, Epoch(epoch), allowed);
                model.restamp(twin, Epoch(epoch), allowed);
            }
        }
    }
}

/// One of the model's connections, found in the table by its key.
fn pick(table: &Connections, model: &Model, at: usize) -> Option<(ConnectionId, u64)> {
    let (&twin, known) = model.known.iter().nth(at % model.known.len().max(1))?;
    Some((locate(table, known), twin))
}

/// Visits every share and sweeps every record.
fn settle(table: &mut Connections, ports: &Ports, now: u64) {
    let turns = 3 * usize::from(table.shares.reached()) + 3;
    for _ in 0..turns {
        table.settle(Tick(now), |seat| {
            let there = ports.iter().find(|(_, at)| **at == seat);
            there.map(|(&endpoint, _)| endpoint)
        });
    }
}

fn locate(table: &Connections, known: &model::Known) -> ConnectionId {
    let (id, way) = seek(table, known).expect("what the model knows");
    assert_eq!(way, Way::Opening);
    id
}

fn seek(table: &Connections, known: &model::Known) -> Option<(ConnectionId, Way)> {
    let kind = match known.state {
        State::IcmpUnreplied | State::IcmpReplied => Kind::Echo { reply: false },
        State::UdpUnreplied | State::UdpStream => Kind::Udp,
        State::OtherUnreplied | State::OtherReplied => Kind::Portless,
        State::SctpOpening | State::SctpEstablished | State::SctpClosed => {
            Kind::Sctp { first_chunk: 0, verification_tag: 0 }
        }
        _ => tcp(TcpFlags::ACK, 0, 0),
    };
    find(table, &headers(known.key, kind))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Ten records only, so that the table is mostly full.
    #[test]
    fn the_table_agrees_with_the_model(
        bounds in bounds(),
        operations in prop::collection::vec(operation(), 1..150),
    ) {
        let mut table = bounded(10, bounds);
        let mut model = Model::new(10, bounds);
        let mut ports: Ports = (0..6).map(|pod| (EndpointId(pod), seat(pod, false))).collect();
        let mut now = 5_000_000_000;
        sweep(&mut table, Tick(now));
        for operation in operations {
            apply(&mut table, &mut model, &mut ports, &mut now, operation);
            check(&table);
            prop_assert_eq!(table.len(), model.known.len());
            for known in model.known.values() {
                let id = locate(&table, known);
                let record = table.record(id);
                prop_assert_eq!(record.opening, known.key);
                prop_assert_eq!((record.epoch, record.allowed), (known.epoch, known.allowed));
                prop_assert_eq!((record.source, record.target), (OPENING.source, OPENING.target));
                prop_assert_eq!(table.state(id), known.state);
            }
        }
    }
}
