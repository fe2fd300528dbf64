//! What the sender of a denied packet hears where the setting is `reject`; and that nobody else
//! hears anything, that it ends, and that it costs no other pod anything.

use std::net::{IpAddr, Ipv4Addr};

use etherparse::{SlicedPacket, TransportSlice};
use lockgate_dataplane::counters::DropReason::{self, EgressDenied, IngressDenied};
use lockgate_dataplane::limits::ANSWERS_PER_SECOND;
use lockgate_dataplane::packet::TcpFlags;
use lockgate_dataplane::packet::answer::GATEWAY_MAC;
use lockgate_dataplane::worker::Denial;
use lockgate_tests::packets::{self, Ends, has_right_checksums};
use lockgate_tests::world::{HOST, HOST_MAC, Shape, World};
use proptest::prelude::*;

use super::{CLIENT, CLOSED, CLUSTER, OTHER, WEB, open, shape, syn, v4, v6};
use lockgate_tests::shop::under;

/// Nobody may receive anything.
const ALL_SHUT: &str = "podSelector: {}, ingress: []";
/// Nobody may send or receive anything.
const ALL_MUTE: &str = "podSelector: {}, policyTypes: [Ingress, Egress]";

const LIMIT: u64 = ANSWERS_PER_SECOND as u64;

fn rejecting(workers: u8) -> Shape {
    Shape { denial: Denial::Reject, ..shape(workers) }
}

fn sent(world: &World) -> u64 {
    world.total(|cells| cells.rejects_sent.load())
}

fn withheld(world: &World) -> u64 {
    world.total(|cells| cells.rejects_withheld.load())
}

/// What the sender hears of one packet, which must be dropped for this reason and go nowhere.
fn heard(world: &mut World, from: &str, frame: &[u8], reason: DropReason) -> Vec<Vec<u8>> {
    let before = world.drops();
    world.inject(from, frame).unwrap();
    world.settle();
    let mut expected = before;
    expected[reason as usize] += 1;
    assert_eq!(world.drops(), expected, "{reason:?} alone");
    for name in world.names() {
        assert!(name == from || world.received(&name).is_empty(), "{name} heard of it");
    }
    world.received(from)
}

/// Reset or error; and of a reset its numbers.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Reset { sequence: u32, acknowledgment: Option<u32> },
    Prohibited,
}

/// What a frame says, sound in every sum, to whom it must be for and from whom.
fn said(frame: &[u8], asked: Ends) -> Said {
    assert!(has_right_checksums(frame));
    assert_eq!((&frame[..6], &frame[6..12]), (&asked.source_mac.0[..], &GATEWAY_MAC.0[..]));
    let packet = SlicedPacket::from_ethernet(frame).unwrap();
    let (source, target) = addresses(frame);
    assert_eq!(target, asked.source);
    // To the host's MAC it is for whoever is beyond, where no address of a link's scope comes.
    let is_beyond = asked.source_mac == HOST_MAC;
    let of_v6 = if is_beyond { "fd4c:6f63:6b67::3" } else { "fe80::1" };
    let gateway: IpAddr = if source.is_ipv4() { "169.254.1.1" } else { of_v6 }.parse().unwrap();
    match packet.transport.unwrap() {
        TransportSlice::Tcp(tcp) => {
            assert!(tcp.rst() && !tcp.syn() && source == asked.target);
            let acknowledgment = tcp.ack().then(|| tcp.acknowledgment_number());
            Said::Reset { sequence: tcp.sequence_number(), acknowledgment }
        }
        TransportSlice::Icmpv4(icmp) => {
            assert_eq!(((icmp.type_u8(), icmp.code_u8()), source), ((3, 13), gateway));
            Said::Prohibited
        }
        TransportSlice::Icmpv6(icmp) => {
            assert_eq!(((icmp.type_u8(), icmp.code_u8()), source), ((1, 1), gateway));
            Said::Prohibited
        }
        other => panic!("{other:?}"),
    }
}

fn addresses(frame: &[u8]) -> (IpAddr, IpAddr) {
    let v4 = |at: usize| <[u8; 4]>::try_from(&frame[at..at + 4]).unwrap().into();
    let v6 = |at: usize| <[u8; 16]>::try_from(&frame[at..at + 16]).unwrap().into();
    if frame[12] == 8 { (v4(26), v4(30)) } else { (v6(22), v6(38)) }
}

/// Packets of each kind that no policy of these tests allows.
fn denied(ends: Ends) -> [(Vec<u8>, Said); 4] {
    let reset = Said::Reset { sequence: 0, acknowledgment: Some(2) };
    [
        (syn(ends, 40_000, 81), reset),
        (packets::udp(ends, (40_000, 54), b"who"), Said::Prohibited),
        (packets::echo(ends, false, 7, 1, b"ping"), Said::Prohibited),
        (packets::sctp(ends, (40_000, 81), 0, 1, &[0; 16]), Said::Prohibited),
    ]
}

const WAYS: [(&str, &str, DropReason); 4] = [
    (CLIENT, WEB, IngressDenied),
    (WEB, OTHER, EgressDenied),
    (HOST, WEB, IngressDenied),
    (WEB, HOST, EgressDenied),
];

#[test]
fn who_is_denied_hears_it_at_once_and_nobody_else_does() {
    for (workers, outside) in [(1, v4()), (1, v6()), (2, v4()), (2, v6()), (3, v4())] {
        for (from, to, reason) in WAYS {
            let mut world = World::of(rejecting(workers), CLUSTER);
            let ends = world.ends(from, to, outside);
            for (number, (frame, expected)) in (1..).zip(denied(ends)) {
                let answers = heard(&mut world, from, &frame, reason);
                assert_eq!(answers.len(), 1, "{from} to {to}: {expected:?}");
                assert_eq!(said(&answers[0], ends), expected, "{from} to {to}");
                assert_eq!((sent(&world), withheld(&world)), (number, 0));
                assert_eq!(world.total(|cells| cells.originated.load()), number);
                assert_eq!(world.connections(), 0);
            }
            assert_law(&world);
        }
    }
}

/// The law of packets, over all workers together; each worker asserts its own.
fn assert_law(world: &World) {
    let came = world.total(|c| c.received.load() + c.handed_in.load() + c.originated.load());
    let went = world.total(|c| c.sent.load() + c.answered.load() + c.handed_out.load());
    let dropped: u64 = world.drops().iter().sum();
    assert_eq!(came, went + dropped + world.total(|c| c.held.load()));
}

#[test]
fn unless_it_is_set_the_denied_hear_nothing() {
    for workers in [1, 2] {
        for (from, to, reason) in WAYS {
            let mut world = World::of(shape(workers), CLUSTER);
            for (frame, _) in denied(world.ends(from, to, v4())) {
                assert!(heard(&mut world, from, &frame, reason).is_empty());
            }
            assert_eq!((sent(&world), withheld(&world)), (0, 0));
            assert_eq!(world.total(|cells| cells.originated.load()), 0);
        }
    }
}

/// NP-57: each end expects another number, and says which.
#[test]
fn both_ends_of_a_connection_that_is_cut_are_reset_where_they_stand() {
    for (workers, outside) in [(1, v4()), (2, v6())] {
        let mut world = World::of(rejecting(workers), CLUSTER);
        let (there, back) = open(&mut world, outside, 40_000);
        world.set_file("cluster.yaml", CLOSED);
        let segment = |ends, ports: (u16, u16), numbers: (u32, u32)| {
            let mut header = etherparse::TcpHeader::new(ports.0, ports.1, numbers.0, 100);
            (header.ack, header.acknowledgment_number) = (true, numbers.1);
            packets::tcp_segment(ends, &header, b"more")
        };
        let reset = |sequence| Said::Reset { sequence, acknowledgment: None };
        for expected in [7001, 7002] {
            let forth = segment(there, (40_000, 80), (3, expected));
            let answers = heard(&mut world, CLIENT, &forth, IngressDenied);
            assert_eq!((answers.len(), said(&answers[0], there)), (1, reset(expected)));
            let reply = segment(back, (80, 40_000), (7001, expected));
            let answers = heard(&mut world, WEB, &reply, IngressDenied);
            assert_eq!((answers.len(), said(&answers[0], back)), (1, reset(expected)));
        }
        assert_eq!(world.connections(), 1, "the record stays, marked denied");
    }
}

#[test]
fn what_says_no_itself_is_not_answered() {
    for (workers, outside) in [(1, v4()), (2, v6())] {
        let mut world = World::of(rejecting(workers), CLUSTER);
        let (there, back) = open(&mut world, outside, 40_000);
        let asked = packets::udp(there, (5000, 53), b"who");
        assert!(world.fate(CLIENT, WEB, &asked).is_sent());
        world.set_file("cluster.yaml", CLOSED);
        let unreachable = if outside.is_ipv6() { (1, 4) } else { (3, 3) };
        let error = packets::icmp_error(back, unreachable.0, unreachable.1, &asked);
        let resets = [TcpFlags::RST, TcpFlags::RST.with(TcpFlags::ACK)];
        let resets = resets.map(|flags| packets::tcp(back, (80, 40_000), flags, b""));
        for silent in resets.iter().chain([&error]) {
            assert!(heard(&mut world, WEB, silent, IngressDenied).is_empty());
        }
        for _ in 0..LIMIT {
            assert!(heard(&mut world, WEB, &resets[0], IngressDenied).is_empty());
        }
        assert_eq!((sent(&world), withheld(&world)), (0, 0));
        let more = packets::tcp(back, (80, 40_000), TcpFlags::ACK, b"more");
        let answers = heard(&mut world, WEB, &more, IngressDenied).len();
        assert_eq!(answers, 1, "what is never said takes nothing from what may be");
    }
    let open = under("podSelector: {matchLabels: {app: web}}, ingress: [{}]");
    let mut world = World::of(rejecting(1), &open);
    let there = world.ends(CLIENT, WEB, v4());
    let chunk = |kind| packets::sctp(there, (7, 8), u32::from(kind != 1), kind, &[0; 16]);
    assert!(world.fate(CLIENT, WEB, &chunk(1)).is_sent());
    world.set_file("cluster.yaml", &under(ALL_SHUT));
    assert!(heard(&mut world, CLIENT, &chunk(6), IngressDenied).is_empty(), "an abort");
    assert_eq!(heard(&mut world, CLIENT, &chunk(0), IngressDenied).len(), 1, "data");
}

#[test]
fn a_datagram_in_pieces_is_rejected_once() {
    for (workers, outside) in [(1, v4()), (2, v6())] {
        for is_reversed in [false, true] {
            let mut world = World::of(rejecting(workers), CLOSED);
            let ends = world.ends(CLIENT, WEB, outside);
            let mut pieces = packets::fragments(&packets::udp(ends, (5, 53), &[7; 6000]), 7, 1448);
            if is_reversed {
                pieces.reverse();
            }
            for piece in &pieces {
                world.inject(CLIENT, piece).unwrap();
                world.settle();
            }
            assert_eq!(world.dropped(IngressDenied), pieces.len() as u64);
            let answers = world.received(CLIENT);
            assert_eq!(answers.len(), 1);
            assert_eq!(said(&answers[0], ends), Said::Prohibited);
        }
    }
}

#[test]
fn the_rest_of_a_datagram_whose_permission_goes_hears_nothing() {
    for (workers, outside) in [(1, v4()), (2, v6())] {
        let mut world = World::of(rejecting(workers), CLUSTER);
        let ends = world.ends(CLIENT, WEB, outside);
        let pieces = packets::fragments(&packets::udp(ends, (5, 53), &[7; 6000]), 7, 1448);
        assert!(world.fate(CLIENT, WEB, &pieces[0]).is_sent());
        world.set_file("cluster.yaml", CLOSED);
        for piece in &pieces[1..] {
            assert!(heard(&mut world, CLIENT, piece, IngressDenied).is_empty());
        }
        assert_eq!((sent(&world), withheld(&world)), (0, 0));
    }
}

/// More pods, each isolated; some on the worker that polls web's port, some not.
fn crowd() -> String {
    let pod = CLUSTER.split("---\n").find(|text| text.contains("name: other")).unwrap();
    let more = (1..5).map(|number| {
        let pod = pod.replace("name: other", &format!("name: x{number}"));
        let pod = pod.replace("veth-other", &format!("veth-x{number}"));
        pod.replace("10.1.0.12", &format!("10.1.0.2{number}"))
            .replace("fd00::12", &format!("fd00::2{number}"))
    });
    more.chain([under(ALL_SHUT)]).collect::<Vec<_>>().join("---\n")
}

/// How many answers `from` has after it sent so many packets that are denied.
fn flood(world: &mut World, from: &str, to: &str, packets: u64) -> u64 {
    let frame = syn(world.ends(from, to, v4()), 40_000, 81);
    let mut answers = 0;
    for _ in 0..packets {
        world.inject(from, &frame).unwrap();
        world.settle();
        answers += world.discard(from) as u64;
        world.discard(to);
    }
    answers
}

#[test]
fn a_pod_that_floods_loses_its_own_rejects_and_nothing_else() {
    let mut world = World::of(rejecting(2), &crowd());
    let web = world.worker_of(WEB);
    let far: Vec<String> = (1..5)
        .map(|number| format!("shop/x{number}"))
        .filter(|name| world.worker_of(name) != web && world.port(name) > world.port(WEB))
        .collect();
    let [greedy, modest, ..] = &far[..] else { panic!("{far:?}: web's worker judges for two") };
    assert_eq!(flood(&mut world, greedy, WEB, LIMIT + 10), LIMIT);
    assert_eq!((sent(&world), withheld(&world)), (LIMIT, 10));
    assert_eq!(world.dropped(IngressDenied), LIMIT + 10, "denied all the same");
    // Others of the same port's worker, judged by the same one, have theirs.
    assert_eq!(flood(&mut world, modest, WEB, LIMIT + 1), LIMIT);
    assert_eq!(flood(&mut world, CLIENT, WEB, 3), 3);
    // So has the greedy one its answers: ARP, and time exceeded.
    let IpAddr::V4(own) = world.address(greedy, false).unwrap() else { panic!() };
    let arp = packets::arp_request(world.mac(greedy), own, Ipv4Addr::new(169, 254, 1, 1));
    assert!(world.fate(greedy, greedy, &arp).is_sent());
    world.set_file("cluster.yaml", &crowd().replace("ingress: []", "ingress: [{}]"));
    let late = packets::with_ttl(syn(world.ends(greedy, WEB, v4()), 1, 81), 1);
    world.inject(greedy, &late).unwrap();
    world.settle();
    assert_eq!(world.received(greedy).len(), 1, "time exceeded");
    world.set_file("cluster.yaml", &crowd());
    world.advance_ms(1000);
    assert_eq!(flood(&mut world, greedy, WEB, 1), 1, "the next second is new");
    assert_law(&world);
}

#[test]
fn from_outside_each_pod_has_its_own_rejects_and_the_gateway_is_found() {
    for workers in [1, 2] {
        let mut world = World::of(rejecting(workers), &under(ALL_SHUT));
        assert_eq!(flood(&mut world, HOST, WEB, LIMIT + 10), LIMIT);
        assert_eq!(flood(&mut world, HOST, OTHER, 5), 5, "who calls another pod hears");
        assert_eq!(flood(&mut world, WEB, OTHER, 5), 5, "and so does the pod that is scanned");
        let arp = packets::arp_request(
            HOST_MAC,
            Ipv4Addr::new(10, 9, 0, 1),
            Ipv4Addr::new(169, 254, 1, 1),
        );
        assert!(world.fate(HOST, HOST, &arp).is_sent());
        assert_eq!(withheld(&world), 10);
    }
}

/// How many errors `from` hears of so many packets that die on the way.
fn late(world: &mut World, from: &str, to: &str, packets: u64) -> u64 {
    let frame = packets::with_ttl(syn(world.ends(from, to, v4()), 40_000, 80), 1);
    let hear = |world: &mut World| {
        world.inject(from, &frame).unwrap();
        world.settle();
        world.discard(from) as u64
    };
    (0..packets).map(|_| hear(world)).sum()
}

/// Too big is limited as well, apart from time exceeded: each is another's means to be heard.
#[test]
fn who_floods_with_packets_that_die_still_hears_what_is_too_big() {
    let shape = Shape { mtu: 1400, ..shape(2) };
    let mut world = World::of(shape, &crowd().replace("ingress: []", "ingress: [{}]"));
    let big = |world: &World| {
        let ends = world.ends("shop/x1", WEB, v4());
        packets::tcp(ends, (40_000, 80), TcpFlags::SYN, &[0; 1401])
    };
    let mut hear = |packets: u64| -> u64 {
        let heard = |world: &mut World| {
            world.inject("shop/x1", &big(world)).unwrap();
            world.settle();
            world.discard("shop/x1") as u64
        };
        (0..packets).map(|_| heard(&mut world)).sum()
    };
    assert_eq!(hear(LIMIT + 10), LIMIT);
    world.advance_ms(1000);
    assert_eq!(late(&mut world, "shop/x1", WEB, LIMIT + 10), LIMIT);
    world.inject("shop/x1", &big(&world)).unwrap();
    world.settle();
    assert_eq!(world.discard("shop/x1"), 1);
}

#[test]
fn who_is_denied_much_still_hears_what_is_too_big() {
    let mut world = World::of(Shape { mtu: 1400, ..rejecting(1) }, CLUSTER);
    assert_eq!(flood(&mut world, CLIENT, WEB, LIMIT + 10), LIMIT);
    let ends = world.ends(CLIENT, WEB, v4());
    world.inject(CLIENT, &packets::tcp(ends, (40_000, 80), TcpFlags::SYN, &[0; 1401])).unwrap();
    world.settle();
    assert_eq!(world.received(CLIENT).len(), 1, "path MTU discovery lives by it");
}

/// RFC 1122 section 3.2.2: an error is about a first fragment, or about none.
#[test]
fn of_pieces_that_die_the_first_is_told_of() {
    for (workers, outside) in [(1, v4()), (2, v6())] {
        let mut world = World::of(shape(workers), CLUSTER);
        let ends = world.ends(CLIENT, WEB, outside);
        let whole = packets::udp(ends, (5, 53), &[7; 6000]);
        let [first, pieces] = [7, 8].map(|number| packets::fragments(&whole, number, 1448));
        let mut send = |frame: Vec<u8>| {
            world.inject(CLIENT, &frame).unwrap();
            world.settle();
            world.received(CLIENT).len()
        };
        assert_eq!(send(packets::with_ttl(first[0].clone(), 1)), 1, "the first");
        // One that passes lets its rest be judged, which dies on its way.
        assert_eq!(send(pieces[0].clone()), 0);
        for piece in &pieces[1..] {
            assert_eq!(send(packets::with_ttl(piece.clone(), 1)), 0, "a later one");
        }
        assert_eq!(world.dropped(DropReason::TtlExpired), pieces.len() as u64);
    }
}

/// Errors are limited as rejects are: whoever makes packets die costs nobody else an error, and no
/// port its ARP.
#[test]
fn who_floods_with_packets_that_die_loses_its_own_errors_and_nothing_else() {
    for workers in [1, 2] {
        let mut world = World::of(shape(workers), &crowd().replace("ingress: []", "ingress: [{}]"));
        for (greedy, others) in [("shop/x1", ["shop/x2", HOST]), (HOST, ["shop/x2", "shop/x3"])] {
            assert_eq!(late(&mut world, greedy, WEB, LIMIT + 10), LIMIT);
            for other in others {
                assert_eq!(late(&mut world, other, WEB, 5), 5, "{other} beside {greedy}");
            }
            world.advance_ms(1000);
        }
        late(&mut world, HOST, WEB, LIMIT + 10);
        let node = Ipv4Addr::new(10, 9, 0, 1);
        let arp = packets::arp_request(HOST_MAC, node, Ipv4Addr::new(169, 254, 1, 1));
        assert!(world.fate(HOST, HOST, &arp).is_sent());
        assert_law(&world);
    }
}

/// What somebody sends.
#[derive(Clone, Copy, Debug)]
struct Word {
    kind: u8,
    detail: u8,
    is_v6: bool,
}

fn words() -> impl Strategy<Value = Vec<Word>> {
    let word = (0_u8..5, any::<u8>(), any::<bool>());
    let word = word.prop_map(|(kind, detail, is_v6)| Word { kind, detail, is_v6 });
    prop::collection::vec(word, 1..20)
}

impl Word {
    fn frame(self, world: &World, from: &str, to: &str, outside: [IpAddr; 2]) -> Vec<u8> {
        let ends = world.ends(from, to, outside[usize::from(self.is_v6)]);
        let quoted = packets::udp(ends.reversed(), (54, 40_000), b"who");
        match self.kind {
            0 => packets::tcp(ends, (40_000, 81), TcpFlags(self.detail & 63), b"text"),
            1 => packets::udp(ends, (40_000, 54), b"who"),
            2 => packets::sctp(ends, (40_000, 81), 1, self.detail & 15, &[0; 16]),
            3 => packets::icmp(ends, self.detail, self.detail >> 5, [0; 4], &quoted[14..]),
            _ => packets::ip(ends, self.detail, &[7; 40]),
        }
    }
}

/// Sent back where it came from: as it is, or with its addresses and ports turned round.
fn reflected(frame: &[u8], is_turned: bool) -> Vec<u8> {
    let mut back = frame.to_vec();
    back[..6].copy_from_slice(&frame[6..12]);
    back[6..12].copy_from_slice(&frame[..6]);
    if is_turned {
        let (at, length, upper) = if frame[12] == 8 { (26, 4, 34) } else { (22, 16, 54) };
        let turn = |back: &mut [u8], at: usize, length: usize| {
            back[at..at + length].copy_from_slice(&frame[at + length..at + 2 * length]);
            back[at + length..at + 2 * length].copy_from_slice(&frame[at..at + length]);
        };
        turn(&mut back, at, length);
        if [6, 17, 132].contains(&frame[if frame[12] == 8 { 23 } else { 20 }]) {
            turn(&mut back, upper, 2);
        }
    }
    back
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A pod that sends back all that it gets, or the node's stack, hears one answer at most to
    /// each packet of its own, and none to what it sends back.
    #[test]
    fn nothing_that_is_reflected_is_answered(words in words(), is_turned: bool, host: bool) {
        for workers in [1, 2] {
            let mut world = World::of(rejecting(workers), &under(ALL_MUTE));
            let from = if host { HOST } else { CLIENT };
            for word in &words {
                let frame = word.frame(&world, from, WEB, [v4(), v6()]);
                world.inject(from, &frame).unwrap();
                world.settle();
            }
            let answers = world.received(from);
            prop_assert!(answers.len() <= words.len());
            prop_assert_eq!(answers.len() as u64, sent(&world));
            for answer in &answers {
                world.inject(from, &reflected(answer, is_turned)).unwrap();
                world.settle();
                prop_assert_eq!(world.received(from).len(), 0, "{:?}", answer);
            }
            assert_law(&world);
        }
    }

    /// Two nodes whose host ports face each other, each pod sending back all that it gets: the
    /// talk ends, and neither says more than once no to each packet that a pod began with.
    #[test]
    fn two_switches_that_face_each_other_do_not_talk_for_ever(
        words in words(),
        is_turned: bool,
        is_mute: bool,
    ) {
        let text = under(if is_mute { ALL_MUTE } else { ALL_SHUT });
        let there = text.replace("10.1.0.", "10.3.0.").replace("fd00::", "fd03::");
        let mut worlds = [World::of(rejecting(1), &text), World::of(rejecting(2), &there)];
        let web = [false, true].map(|v6| worlds[1].address(WEB, v6).unwrap());
        for word in &words {
            let frame = word.frame(&worlds[0], CLIENT, HOST, web);
            worlds[0].inject(CLIENT, &frame).unwrap();
            worlds[0].settle();
        }
        let mut is_quiet = false;
        // A packet, its no, and that no sent back: the fourth time there is nothing left.
        for _ in 0..4 {
            is_quiet = true;
            for [here, other] in [[0, 1], [1, 0]] {
                for mut frame in worlds[here].received(HOST) {
                    is_quiet = false;
                    frame[..6].copy_from_slice(&GATEWAY_MAC.0);
                    frame[6..12].copy_from_slice(&HOST_MAC.0);
                    worlds[other].inject(HOST, &frame).unwrap();
                    worlds[other].settle();
                }
                for pod in [CLIENT, WEB, OTHER] {
                    for frame in worlds[here].received(pod) {
                        is_quiet = false;
                        worlds[here].inject(pod, &reflected(&frame, is_turned)).unwrap();
                        worlds[here].settle();
                    }
                }
            }
        }
        prop_assert!(is_quiet, "they still talk");
        let said = sent(&worlds[0]) + sent(&worlds[1]);
        prop_assert!(said <= words.len() as u64, "{said} times no to {} packets", words.len());
        worlds.iter().for_each(assert_law);
    }
}
