//! Fragments: too small, over one another, nested, without a beginning (RFC 1858, 3128, 5722,
//! 6980, 7112, 8021, 8200).

use lockgate_dataplane::counters::DropReason::{
    ExtensionHeaders, Fragment, FragmentOverlap, FragmentTiny, Malformed, NotForUs, NotIp,
};

use super::build::{
    PADDING, UPPER_V4, UPPER_V6, edited, extended, fragment_header, part, part_at, syn, udp,
    udp_to, upper,
};
use super::{Entry, Outcome, Scene};
use crate::packets::{
    Ends, icmp, icmp_error, neighbour_advertisement, neighbour_solicitation, sctp,
};

/// A UDP datagram of 80 bytes over each family.
fn datagrams(scene: &Scene) -> [Vec<u8>; 2] {
    [scene.v4(), scene.v6()].map(|ends| udp_to(ends, 53, &[7; 72]))
}

/// The same, with another length in its UDP header.
fn datagrams_of(scene: &Scene, length: u8) -> [Vec<u8>; 2] {
    let [v4, v6] = datagrams(scene);
    [edited(v4, &[(UPPER_V4 + 5, length)]), edited(v6, &[(UPPER_V6 + 5, length)])]
}

/// A SYN of 80 bytes over each family.
fn segments(scene: &Scene) -> [Vec<u8>; 2] {
    [scene.v4(), scene.v6()].map(|ends| syn(ends, &[7; 60]))
}

/// Frames of both families.
fn both(whole: &[Vec<u8>; 2], parts: impl Fn(&[u8]) -> Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    whole.iter().flat_map(|frame| parts(frame)).collect()
}

/// A first fragment of 24 bytes behind a fragment header.
fn first_of(ends: Ends, before: &[(u8, &[u8])], number: u8, load: &[u8]) -> Vec<u8> {
    let header = fragment_header(0, true);
    let mut headers = before.to_vec();
    headers.push((44, &header));
    extended(ends, &headers, number, load)
}

/// Overlaps of which the first fragment, having come before, has arrived: one of each family.
const SPOILED: Outcome = Outcome::Parts { arrive: 2, wait: 0, reason: FragmentOverlap };

pub(super) const ENTRIES: &[Entry] = &[
    Entry::judged("pieces-in-order", "a datagram in two pieces", |s| {
        both(&datagrams(s), |f| vec![part(s, f, 0..40, true), part(s, f, 40..80, false)])
    }),
    Entry::judged("pieces-reversed", "the same, the last first: it waits for its first", |s| {
        both(&datagrams(s), |f| vec![part(s, f, 40..80, false), part(s, f, 0..40, true)])
    }),
    Entry::new(
        "piece-without-a-first",
        "a later fragment alone, and one that looks like a SYN",
        Outcome::Parts { arrive: 0, wait: 4, reason: NotIp },
        |s| {
            let later = both(&datagrams(s), |f| vec![part(s, f, 40..80, false)]);
            let disguised = both(&segments(s), |f| vec![part_at(s, f, 0..24, 8, true)]);
            [later, disguised].concat()
        },
    )
    .unsent("they wait 15 s for their first: until then there is nothing to see"),
    Entry::dropped(
        "tiny-first",
        "ports without flags in the first (RFC 1858)",
        FragmentTiny,
        |s| both(&segments(s), |f| vec![part(s, f, 0..8, true), part(s, f, 0..16, true)]),
    ),
    Entry::new(
        "offset-one",
        "flags written anew by a fragment at offset 8 (RFC 3128)",
        SPOILED,
        |s| {
            both(&segments(s), |f| {
                vec![
                    part(s, f, 0..24, true),
                    part_at(s, f, 0..16, 8, true),
                    part(s, f, 24..80, false),
                ]
            })
        },
    ),
    Entry::new("udp-length-in-pieces", "a UDP length of less than the pieces have", SPOILED, |s| {
        both(&datagrams_of(s, 48), |f| vec![part(s, f, 0..40, true), part(s, f, 40..80, false)])
    }),
    Entry::dropped(
        "udp-length-in-pieces-beyond",
        "a UDP length of more than the pieces have, the last piece first",
        FragmentOverlap,
        |s| {
            both(&datagrams_of(s, 88), |f| vec![part(s, f, 40..80, false), part(s, f, 0..40, true)])
        },
    ),
    Entry::dropped(
        "udp-unsummed-in-pieces",
        "the first piece of UDP without a checksum over IPv6",
        Malformed,
        |s| {
            let [_, v6] = datagrams(s);
            let bare = edited(v6, &[(UPPER_V6 + 6, 0), (UPPER_V6 + 7, 0)]);
            vec![part(s, &bare, 0..40, true)]
        },
    ),
    Entry::dropped("offset-one-early", "the same before the first", FragmentOverlap, |s| {
        both(&segments(s), |f| {
            vec![part_at(s, f, 0..16, 8, true), part(s, f, 0..24, true), part(s, f, 24..80, false)]
        })
    }),
    Entry::new("first-twice", "a first fragment twice, the second to other ports", SPOILED, |s| {
        let other = [s.v4(), s.v6()].map(|ends| udp_to(ends, 54, &[7; 72]));
        let [v4, v6] = datagrams(s);
        [(v4, &other[0]), (v6, &other[1])]
            .iter()
            .flat_map(|(f, again)| {
                vec![
                    part(s, f, 0..40, true),
                    part(s, again, 0..40, true),
                    part(s, f, 40..80, false),
                ]
            })
            .collect()
    }),
    Entry::new("teardrop", "a fragment inside another", SPOILED, |s| {
        both(&datagrams(s), |f| {
            vec![part(s, f, 0..40, true), part(s, f, 16..24, false), part(s, f, 40..80, false)]
        })
    }),
    Entry::new("tail-over-tail", "a fragment over the end of the one before", SPOILED, |s| {
        both(&datagrams(s), |f| {
            vec![part(s, f, 0..40, true), part(s, f, 32..72, true), part(s, f, 72..80, false)]
        })
    }),
    Entry::dropped("twice-while-waiting", "a later fragment twice", FragmentOverlap, |s| {
        both(&datagrams(s), |f| {
            vec![part(s, f, 40..80, false), part(s, f, 40..80, false), part(s, f, 0..40, true)]
        })
    }),
    Entry::dropped("two-ends", "a datagram that ends in two places", FragmentOverlap, |s| {
        both(&datagrams(s), |f| {
            vec![part(s, f, 72..80, false), part(s, f, 40..48, false), part(s, f, 0..40, true)]
        })
    }),
    Entry::dropped("beyond-the-end", "a fragment beyond the last one", FragmentOverlap, |s| {
        both(&datagrams(s), |f| {
            vec![part(s, f, 40..48, false), part(s, f, 48..80, true), part(s, f, 0..40, true)]
        })
    }),
    Entry::dropped(
        "beyond-64-kib",
        "a datagram longer than can be (ping of death)",
        Fragment,
        |s| both(&datagrams(s), |f| vec![part_at(s, f, 0..80, 65_528, false)]),
    ),
    Entry::dropped("odd-length", "more follows after 12 bytes", Fragment, |s| {
        both(&datagrams(s), |f| vec![part(s, f, 0..12, true), part(s, f, 40..52, true)])
    }),
    Entry::dropped("empty-piece", "a fragment without bytes", Fragment, |s| {
        both(&datagrams(s), |f| vec![part(s, f, 0..0, true), part(s, f, 40..40, false)])
    }),
    Entry::dropped("atomic", "an IPv6 fragment that is the whole (RFC 8021)", Fragment, |s| {
        let header = fragment_header(0, false);
        vec![extended(s.v6(), &[(44, &header)], 17, upper(&udp(s.v6())))]
    }),
    Entry::dropped("nested", "a fragment header behind one", ExtensionHeaders, |s| {
        let inner = fragment_header(0, true);
        let load = upper(&udp(s.v6())).to_vec();
        let first = [&[17, 0][..], &inner, &load].concat();
        let behind = [&[44, 0][..], PADDING, &first].concat();
        vec![first_of(s.v6(), &[], 44, &first), first_of(s.v6(), &[], 60, &behind)]
    }),
    Entry::dropped("nested-atomic", "a fragment header behind an atomic one", Fragment, |s| {
        let (outer, inner) = (fragment_header(0, false), fragment_header(0, true));
        let load = upper(&udp(s.v6())).to_vec();
        vec![extended(s.v6(), &[(44, &outer), (44, &inner)], 17, &load)]
    }),
    Entry::dropped("chain-in-pieces", "a first with options only (RFC 7112)", FragmentTiny, |s| {
        let options = [&[17, 0][..], PADDING].concat();
        let cut = [&[6, 3][..], PADDING, &[1, 6, 0, 0, 0, 0, 0, 0]].concat();
        vec![first_of(s.v6(), &[], 60, &options), first_of(s.v6(), &[], 60, &cut)]
    }),
    Entry::dropped("routing-in-pieces", "a routing header in the first", ExtensionHeaders, |s| {
        let load = [&[17, 0, 0, 0][..], &[0; 4], upper(&udp(s.v6()))].concat();
        vec![first_of(s.v6(), &[], 43, &load), first_of(s.v6(), &[(60, PADDING)], 43, &load)]
    }),
    Entry::judged(
        "next-header-lies",
        "a later fragment names another protocol: it is not read",
        |s| {
            let [_, whole] = datagrams(s);
            let mut later = part(s, &whole, 40..80, false);
            later[54] = 6;
            vec![part(s, &whole, 0..40, true), later]
        },
    ),
    Entry::dropped("ra-in-pieces", "a router advertisement in fragments", Fragment, |s| {
        let whole = icmp(s.v6(), 134, 0, [64, 0, 7, 8], &[0; 40]);
        vec![part(s, &whole, 0..24, true), part(s, &whole, 0..8, true)]
    }),
    Entry::dropped(
        "ra-chain-in-pieces",
        "options first, then the advertisement",
        FragmentTiny,
        |s| {
            let options = [&[58, 1][..], &[1, 12], &[0; 12]].concat();
            vec![first_of(s.v6(), &[], 60, &options)]
        },
    ),
    Entry::dropped("nd-in-pieces", "ND in fragments (RFC 6980)", ExtensionHeaders, |s| {
        let mac = Some(s.sender.mac);
        let all = [
            neighbour_solicitation(s.v6(), s.target.v6, mac),
            neighbour_advertisement(s.v6(), s.sender.v6, false, mac),
        ];
        all.iter().map(|whole| part(s, whole, 0..24, true)).collect()
    }),
    Entry::dropped("icmp-error-in-pieces", "an ICMP error in fragments", Fragment, |s| {
        let quoted = [s.v4(), s.v6()].map(|ends| (ends, udp_to(ends.reversed(), 53, &[7; 72])));
        quoted
            .iter()
            .map(|(ends, cause)| {
                let kind = if cause[12] == 8 { 3 } else { 1 };
                part(s, &icmp_error(*ends, kind, 0, cause), 0..64, true)
            })
            .collect()
    }),
    // In pieces nobody sees in time whether data follows, or whether the chunk ends where it says.
    Entry::dropped("sctp-init-in-pieces", "an INIT in fragments, data behind it", Malformed, |s| {
        let load = [&[0; 16], &[0, 3, 0, 40][..], &[0; 36]].concat();
        let alone = [s.v4(), s.v6()].map(|ends| sctp(ends, (4000, 80), 0, 1, &load));
        let of_length = |[high, low]: [u8; 2]| {
            let [v4, v6] = alone.clone();
            [
                edited(v4, &[(UPPER_V4 + 14, high), (UPPER_V4 + 15, low)]),
                edited(v6, &[(UPPER_V6 + 14, high), (UPPER_V6 + 15, low)]),
            ]
        };
        let (bundled, beyond) = (of_length([0, 20]), of_length([0x20, 0]));
        [bundled, beyond, alone].iter().flatten().map(|f| part(s, f, 0..40, true)).collect()
    }),
    Entry::dropped("multicast-in-pieces", "fragments to a group", NotForUs, |s| {
        let v4 = Ends { target: "224.0.0.251".parse().unwrap(), ..s.v4() };
        let v6 = Ends { target: "ff02::fb".parse().unwrap(), ..s.v6() };
        both(&[v4, v6].map(|ends| udp_to(ends, 53, &[7; 72])), |f| {
            vec![part(s, f, 0..40, true), part(s, f, 40..80, false)]
        })
    }),
];
