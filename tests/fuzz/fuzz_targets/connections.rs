//! Packets, time, removals and new verdicts on a table of connections, large or tiny.
//!
//! What is found is what a search through all rows finds; an operation changes what it may; rows
//! go when their time is up; what is established gives way to nobody; counts add up.

#![no_main]
#![allow(clippy::cast_possible_truncation, missing_docs)]

use std::net::IpAddr;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use lockgate_dataplane::packet::{
    Address, Family, FlowKey, Headers, Kind, Protocol, TcpFlags, TcpHeader,
};
use lockgate_tests::connections::Rows;
use lockgate_tests::worlds::Choices;

/// Operations of one input.
const STEPS_MAX: usize = 150;
/// Capacities: never full, and mostly full.
const CAPACITIES: [usize; 4] = [2048, 4, 10, 1];

/// Three pods of each family: they meet.
static PODS: LazyLock<Vec<Address>> = LazyLock::new(|| {
    let pods = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "fd00::1", "fd00::2", "fd00::3"];
    pods.iter().filter_map(|text| text.parse::<IpAddr>().ok()).map(Address::from).collect()
});

fuzz_target!(|bytes: &[u8]| {
    let mut choices = Choices::from_bytes(bytes);
    let mut rows = Rows::new(choices.pick(&CAPACITIES), 5_000_000_000);
    for _ in 0..STEPS_MAX.min(bytes.len() / 3) {
        match choices.below(16) {
            0..=10 => rows.packet(&packet(&mut choices), 1),
            11 => conversation(&mut rows, &mut choices),
            12 | 13 => {
                let (unit, times) = (choices.pick(&[1, 100, 9_000, 500_000, 90_000_000]), 256);
                rows.pass(unit * (1 + choices.below(times) as u64) / 8);
            }
            14 => rows.remove(choices.below(256)),
            _ => {
                let (which, epoch) = (choices.below(256), choices.below(4) as u64);
                rows.restamp(which, epoch, choices.chance(50));
            }
        }
    }
});

/// A handshake, and as much of an end as the bytes choose.
fn conversation(rows: &mut Rows, choices: &mut Choices) {
    let opening = FlowKey { number: 6, protocol: Protocol::Tcp, ..packet(choices).key };
    let steps = [
        (true, 0x02, 99, 0),
        (false, 0x12, 100, 100),
        (true, 0x10, 100, 101),
        (true, 0x11, 100, 101),
        (false, 0x10, 101, 101),
        (false, 0x11, 101, 101),
        (true, 0x10, 101, 102),
    ];
    let count = 1 + choices.below(steps.len());
    for (is_there, flags, sequence, acknowledgment) in steps.into_iter().take(count) {
        let key = if is_there { opening } else { opening.reversed() };
        rows.packet(&headers(key, tcp(flags, sequence, acknowledgment)), 1);
    }
}

fn packet(choices: &mut Choices) -> Headers {
    let (a, step) = (choices.below(6), 1 + choices.below(2));
    // Another pod of the same family: a packet to its own sender has no direction.
    let b = a / 3 * 3 + (a + step) % 3;
    let (source, target) = (PODS[a], PODS[b]);
    let key = |number, protocol, ports: (u16, u16)| {
        let (source_port, target_port) = ports;
        FlowKey { source, target, source_port, target_port, number, protocol }
    };
    let (icmp, protocol) =
        if source.is_v4() { (1, Protocol::Icmp) } else { (58, Protocol::IcmpV6) };
    let ports = (choices.below(2) as u16, choices.below(2) as u16);
    let number = |choices: &mut Choices| 99 + choices.below(4) as u32;
    match choices.below(12) {
        0..=3 => {
            let flags = choices.pick(&[0x02, 0x12, 0x10, 0x11, 0x04, 0x14, 0x18, 0x03, 0x00]);
            let kind = tcp(flags, number(choices), number(choices));
            headers(key(6, Protocol::Tcp, ports), kind)
        }
        4 | 5 => headers(key(17, Protocol::Udp, ports), Kind::Udp),
        6 | 7 => {
            let reply = choices.chance(50);
            // An answer is the reversed key of its request.
            let request = (ports.0, FlowKey::message(8, 0));
            let pair = if reply { (request.1, request.0) } else { request };
            headers(key(icmp, protocol, pair), Kind::Echo { reply })
        }
        8 => {
            let (first_chunk, verification_tag) = (choices.below(16) as u8, number(choices));
            let verification_tag = if first_chunk == 1 { 0 } else { verification_tag };
            headers(key(132, Protocol::Sctp, ports), Kind::Sctp { first_chunk, verification_tag })
        }
        9 => headers(key(47, Protocol::Other, (47, 47)), Kind::Portless),
        10 => headers(key(icmp, protocol, (0, FlowKey::message(40, 0))), Kind::Portless),
        11 if choices.chance(50) => headers(key(17, Protocol::Udp, ports), Kind::Rest),
        _ => {
            let inner = key(17, Protocol::Udp, ports).reversed();
            headers(key(icmp, protocol, (0, FlowKey::message(3, 3))), Kind::IcmpError { inner })
        }
    }
}

fn tcp(flags: u8, sequence: u32, acknowledgment: u32) -> Kind {
    let flags = TcpFlags(flags);
    Kind::Tcp(TcpHeader { flags, sequence, acknowledgment, window: 512, payload_bytes: 0 })
}

fn headers(key: FlowKey, kind: Kind) -> Headers {
    let family = if key.source.is_v4() { Family::V4 } else { Family::V6 };
    Headers { key, kind, family, ttl: 64, l4_offset: 34, end: 60, ..Headers::BLANK }
}
