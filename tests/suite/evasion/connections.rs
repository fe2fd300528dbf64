//! Attacks on connections that stand, and on what a connection might open.

use etherparse::TcpHeader;
use lockgate_dataplane::counters::DropReason::{IngressDenied, NoConnection, SpoofedSource};
use lockgate_dataplane::packet::TcpFlags;
use lockgate_tests::packets::{self, Ends, segment};
use lockgate_tests::shop::{OPEN, SHUT, under};
use lockgate_tests::world::{HOST, Shape, World};

use crate::simulation::{CLIENT, CLUSTER, OTHER, WEB, dropped, friend, shape, syn, v4, v6};

const ACK: TcpFlags = TcpFlags::ACK;

const PORT: u16 = 40_000;

/// A handshake by its numbers: the opener's are 1000 on, the other's 5000 on.
fn established(world: &mut World, from: &str, to: &str) -> (Ends, Ends) {
    let outside = friend();
    let (there, back) = (world.ends(from, to, outside), world.ends(to, from, outside));
    let syn = segment(there, (PORT, 80), TcpFlags::SYN, (1000, 0));
    let syn_ack = segment(back, (80, PORT), TcpFlags::SYN.with(ACK), (5000, 1001));
    let ack = segment(there, (PORT, 80), ACK, (1001, 5001));
    assert!(world.fate(from, to, &syn).is_sent());
    assert!(world.fate(to, from, &syn_ack).is_sent());
    assert!(world.fate(from, to, &ack).is_sent());
    (there, back)
}

/// Who is outside can forge a reset of a connection, but not know its numbers.
#[test]
fn a_reset_out_of_the_window_ends_no_connection_and_an_exact_one_does() {
    for workers in [1, 2] {
        let mut world = World::of(shape(workers), CLUSTER);
        let (there, back) = established(&mut world, HOST, WEB);
        for number in [0, 1000, 1002, 1001 + 0xffff, 1001_u32.wrapping_add(1 << 31)] {
            let forged = segment(there, (PORT, 80), TcpFlags::RST, (number, 0));
            assert!(world.fate(HOST, WEB, &forged).is_sent(), "it is the target's to judge");
            let forged = segment(back, (80, PORT), TcpFlags::RST, (number, 0));
            assert!(world.fate(WEB, HOST, &forged).is_sent());
        }
        world.advance_ms(60_000);
        assert_eq!(world.connections(), 1, "a forged reset ended it");
        assert!(world.fate(HOST, WEB, &segment(there, (PORT, 80), ACK, (1001, 5001))).is_sent());
        assert!(world.fate(WEB, HOST, &segment(back, (80, PORT), ACK, (5001, 1001))).is_sent());
        let exact = segment(there, (PORT, 80), TcpFlags::RST, (1001, 0));
        assert!(world.fate(HOST, WEB, &exact).is_sent());
        world.advance_ms(60_000);
        assert_eq!(world.connections(), 0, "an exact reset did not end it");
    }
}

#[test]
fn an_error_from_a_third_pod_ends_no_connection() {
    let mut world = World::of(shape(2), &under(OPEN));
    let (there, back) = established(&mut world, CLIENT, WEB);
    let cause = segment(there, (PORT, 80), ACK, (1001, 5001));
    let forged = packets::icmp_error(world.ends(OTHER, CLIENT, v4()), 3, 3, &cause);
    assert_eq!(dropped(&mut world, OTHER, CLIENT, &forged), SpoofedSource);
    let cause = segment(back, (80, PORT), ACK, (5001, 1001));
    let forged = packets::icmp_error(world.ends(OTHER, WEB, v4()), 3, 4, &cause);
    assert_eq!(dropped(&mut world, OTHER, WEB, &forged), SpoofedSource);
    // One outside may report an error, as routers do, but not about two pods of this node.
    let cause = segment(there, (PORT, 80), ACK, (1001, 5001));
    let forged = packets::icmp_error(world.ends(HOST, CLIENT, v4()), 3, 4, &cause);
    assert_eq!(dropped(&mut world, HOST, CLIENT, &forged), NoConnection);
    // As one of the two it cannot speak either.
    let as_web = Ends { source_mac: world.mac(OTHER), ..back };
    let forged = segment(as_web, (80, PORT), TcpFlags::RST, (5001, 0));
    assert_eq!(dropped(&mut world, OTHER, CLIENT, &forged), SpoofedSource);
    assert!(world.fate(CLIENT, WEB, &segment(there, (PORT, 80), ACK, (1001, 5001))).is_sent());
    assert!(world.fate(WEB, CLIENT, &segment(back, (80, PORT), ACK, (5001, 1001))).is_sent());
}

#[test]
fn a_pod_that_fills_the_table_pushes_out_no_established_connection() {
    let small = Shape { connections: 64, frames: 8192, ..shape(1) };
    let mut world = World::of(small, &under(OPEN));
    let (there, back) = established(&mut world, CLIENT, WEB);
    let flood = world.ends(OTHER, WEB, v4());
    for port in 1..2000 {
        world.inject(OTHER, &syn(flood, port, 80)).unwrap();
        world.settle();
        world.discard(WEB);
    }
    assert!(world.connections() <= 64);
    assert!(world.fate(CLIENT, WEB, &segment(there, (PORT, 80), ACK, (1001, 5001))).is_sent());
    assert!(world.fate(WEB, CLIENT, &segment(back, (80, PORT), ACK, (5001, 1001))).is_sent());
}

/// What one end is allowed ends with the connection: another way round it is judged anew.
#[test]
fn who_was_called_may_not_call_back_on_the_ports_of_a_connection_that_is_over() {
    let shut = under("podSelector: {matchLabels: {app: client}}, ingress: []");
    let fin = TcpFlags::FIN.with(ACK);
    let reset: &[_] = &[(true, TcpFlags::RST, (1001, 0))];
    let ended = &[(true, fin, (1001, 5001)), (false, fin, (5001, 1002)), (true, ACK, (1002, 5002))];
    for last in [reset, ended] {
        let mut world = World::of(shape(1), &shut);
        let (there, back) = established(&mut world, CLIENT, WEB);
        for &(is_forth, flags, numbers) in last {
            let (from, to, ends, ports) = if is_forth {
                (CLIENT, WEB, there, (PORT, 80))
            } else {
                (WEB, CLIENT, back, (80, PORT))
            };
            assert!(world.fate(from, to, &segment(ends, ports, flags, numbers)).is_sent());
        }
        assert_eq!(dropped(&mut world, WEB, CLIENT, &syn(back, 80, PORT)), IngressDenied);
    }
    let mut world = World::of(shape(1), &shut);
    let (there, back) = (world.ends(CLIENT, WEB, v4()), world.ends(WEB, CLIENT, v4()));
    let (init, abort) = (1, 6);
    let opens = packets::sctp(there, (PORT, 80), 0, init, &[0; 16]);
    assert!(world.fate(CLIENT, WEB, &opens).is_sent());
    assert!(world.fate(WEB, CLIENT, &packets::sctp(back, (80, PORT), 9, abort, &[])).is_sent());
    let back = packets::sctp(back, (80, PORT), 0, init, &[0; 16]);
    assert_eq!(dropped(&mut world, WEB, CLIENT, &back), IngressDenied);
}

/// Every type of ICMP, and every code of those that routers send.
#[test]
fn no_icmp_message_passes_a_default_deny() {
    let mut world = World::of(Shape { frames: 8192, ..shape(1) }, &under(SHUT));
    for (outside, number) in [(v4(), 1), (v6(), 58)] {
        let ends = world.ends(CLIENT, WEB, outside);
        for kind in 0..=255_u8 {
            for code in 0..=4 {
                let load = packets::udp(ends.reversed(), (80, 80), b"x")[14..].to_vec();
                let message = packets::icmp(ends, kind, code, [0, 7, 0, 1], &load);
                world.inject(CLIENT, &message).unwrap();
                let bare = packets::ip(ends, number, &[kind, code, 0, 0, 0, 0, 0, 0]);
                world.inject(CLIENT, &bare).unwrap();
                world.settle();
                assert!(world.received(WEB).is_empty(), "type {kind} code {code} {outside}");
            }
        }
    }
    assert_eq!(world.connections(), 0);
}

/// There are no helpers: an address and a port that an application names mean nothing here.
#[test]
fn what_an_application_says_opens_no_port() {
    let mut world = World::of(shape(1), CLUSTER);
    let (there, back) = established(&mut world, CLIENT, WEB);
    for (port, words) in [
        (80, "PORT 10,1,0,11,31,144\r\n"),
        (80, "EPRT |2|fd00::11|8080|\r\n"),
        (80, "PRIVMSG a :\x01DCC SEND f 167837707 8080 1\x01\r\n"),
        (
            80,
            "INVITE sip:a SIP/2.0\r\nContact: <sip:a@10.1.0.11:8080>\r\n\r\nc=IN IP4 10.1.0.11\r\n",
        ),
    ] {
        let mut header = TcpHeader::new(PORT, port, 1001, 0xffff);
        (header.ack, header.acknowledgment_number) = (true, 5001);
        let said = packets::tcp_segment(there, &header, words.as_bytes());
        assert!(world.fate(CLIENT, WEB, &said).is_sent(), "{words}");
    }
    let to_client = syn(back, 20, 8080);
    assert!(matches!(
        dropped(&mut world, WEB, CLIENT, &to_client),
        lockgate_dataplane::counters::DropReason::EgressDenied
    ));
    let other = world.ends(OTHER, WEB, v4());
    assert_eq!(dropped(&mut world, OTHER, WEB, &syn(other, 20, 8080)), IngressDenied);
    let answer = segment(other, (80, PORT), TcpFlags::SYN.with(ACK), (1, 2));
    assert_eq!(dropped(&mut world, OTHER, WEB, &answer), NoConnection);
}
