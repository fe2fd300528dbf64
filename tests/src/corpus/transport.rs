//! TCP, UDP and SCTP: flags that no stack sends, lengths that lie, segments of no connection.

use lockgate_dataplane::counters::DropReason::{Malformed, NoConnection, Truncated};
use lockgate_dataplane::packet::TcpFlags;

use super::build::{UPPER_V4, UPPER_V6, edited, syn, udp};
use super::{Entry, Scene};
use crate::packets::{ip, sctp, tcp};

/// A segment with these flags over each family.
fn flags(scene: &Scene, flags: &[u8]) -> Vec<Vec<u8>> {
    let of = |&bits: &u8| {
        let [v4, v6] =
            [scene.v4(), scene.v6()].map(|ends| tcp(ends, (4000, 80), TcpFlags::SYN, b""));
        [edited(v4, &[(UPPER_V4 + 13, bits)]), edited(v6, &[(UPPER_V6 + 13, bits)])]
    };
    flags.iter().flat_map(of).collect()
}

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const PSH: u8 = 8;
const ACK: u8 = 16;
const URG: u8 = 32;

pub(super) const ENTRIES: &[Entry] = &[
    Entry::dropped("tcp-null", "no flag at all (NULL scan)", Malformed, |s| {
        flags(s, &[0, PSH, URG])
    }),
    Entry::dropped("tcp-xmas", "FIN, PSH, URG (XMAS scan), and all of them", Malformed, |s| {
        flags(s, &[FIN | PSH | URG, 0x3f, 0xff])
    }),
    Entry::dropped("tcp-syn-fin", "SYN and FIN", Malformed, |s| {
        flags(s, &[SYN | FIN, SYN | FIN | ACK, SYN | FIN | PSH])
    }),
    Entry::dropped("tcp-syn-rst", "SYN and RST", Malformed, |s| {
        flags(s, &[SYN | RST, SYN | RST | ACK])
    }),
    Entry::dropped("tcp-fin-rst", "FIN and RST", Malformed, |s| flags(s, &[FIN | RST | ACK])),
    Entry::dropped("tcp-fin", "FIN without ACK (FIN scan)", Malformed, |s| flags(s, &[FIN])),
    Entry::dropped(
        "tcp-out-of-nothing",
        "ACK, FIN, RST, SYN-ACK of no connection",
        NoConnection,
        |s| flags(s, &[ACK, ACK | PSH, FIN | ACK, RST, RST | ACK, SYN | ACK]),
    ),
    Entry::dropped(
        "tcp-offset",
        "a header below five words, and beyond the packet",
        Malformed,
        |s| {
            [0x00, 0x40, 0xf0]
                .map(|words| edited(syn(s.v4(), b""), &[(UPPER_V4 + 12, words)]))
                .to_vec()
        },
    ),
    Entry::dropped("tcp-short", "less than a header", Truncated, |s| {
        let head = [0x0f, 0xa0, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0, 0];
        vec![ip(s.v4(), 6, &head), ip(s.v6(), 6, &head[..8]), ip(s.v6(), 6, &head[..4])]
    }),
    Entry::judged("tcp-syn", "a SYN, with a load, with ECN's flags, with URG", |s| {
        let mut frames = flags(s, &[SYN, SYN | 0xc0, SYN | URG]);
        frames.push(syn(s.v4(), b"fast open"));
        frames
    }),
    Entry::dropped("udp-length", "a UDP length other than what is there", Malformed, |s| {
        let v4 = [0, 7, 8, 15, 17].map(|low| edited(udp(s.v4()), &[(UPPER_V4 + 5, low)]));
        let v6 = [0, 7, 8, 15, 17].map(|low| edited(udp(s.v6()), &[(UPPER_V6 + 5, low)]));
        [v4, v6].concat()
    }),
    Entry::dropped("udp-short", "less than a header", Truncated, |s| {
        vec![ip(s.v4(), 17, &[0, 9, 0, 53, 0, 8, 0]), ip(s.v6(), 17, &[0, 9, 0, 53])]
    }),
    Entry::dropped("udp-unsummed", "UDP without a checksum over IPv6", Malformed, |s| {
        vec![edited(udp(s.v6()), &[(UPPER_V6 + 6, 0), (UPPER_V6 + 7, 0)])]
    }),
    Entry::judged("port-0", "port 0 is a port", |s| {
        let zeroed = [0, 1, 2, 3].map(|at| (UPPER_V4 + at, 0));
        vec![edited(udp(s.v4()), &zeroed), edited(syn(s.v4(), b""), &zeroed)]
    }),
    Entry::portless("udp-lite", "UDP-Lite and DCCP: ports that no rule knows", |s| {
        [136, 33].map(|number| ip(s.v4(), number, &udp(s.v4())[UPPER_V4..])).to_vec()
    }),
    Entry::dropped("sctp-without-a-chunk", "a common header alone", Truncated, |s| {
        [s.v4(), s.v6()].map(|ends| ip(ends, 132, &[0, 9, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0])).to_vec()
    }),
    Entry::dropped(
        "sctp-chunk-lies",
        "a chunk beyond the packet, and of no length",
        Malformed,
        |s| {
            let init = sctp(s.v4(), (4000, 80), 0, 1, &[0; 16]);
            [0, 3, 21].map(|low| edited(init.clone(), &[(UPPER_V4 + 15, low)])).to_vec()
        },
    ),
    Entry::dropped(
        "sctp-init-that-is-none",
        "an INIT with a tag, too short, with data behind it",
        Malformed,
        |s| {
            let init = |tag, value: &[u8]| sctp(s.v4(), (4000, 80), tag, 1, value);
            let bundled = [&[0; 16], &[0, 3, 0, 20][..], &[0; 16]].concat();
            let bundled = edited(init(0, &bundled), &[(UPPER_V4 + 15, 20)]);
            vec![init(7, &[0; 16]), init(0, &[]), init(0, &[0; 12]), bundled]
        },
    ),
    Entry::dropped("sctp-out-of-nothing", "SCTP chunks of no association", NoConnection, |s| {
        [0, 2, 3, 6, 10, 14].map(|chunk| sctp(s.v4(), (4000, 80), 7, chunk, &[0; 16])).to_vec()
    }),
    Entry::judged("sctp-init", "the beginning of an association", |s| {
        [s.v4(), s.v6()].map(|ends| sctp(ends, (4000, 80), 0, 1, &[0; 16])).to_vec()
    }),
];
