use etherparse::{
    ArpOperation, Icmpv4Type, Icmpv6Type, NetSlice, SlicedPacket, TransportSlice, icmpv4, icmpv6,
};

use super::*;
use crate::packet::headers::Packet;
use crate::packet::parse::parse;
use crate::packet::sample::{
    self, A4, A6, B4, B6, FAMILIES, MAC_A, headers_of, neighbour, neighbour_message,
};

const GATEWAY_BYTES: [u8; 16] = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const SOURCE_LINK: [u8; 8] = [1, 1, 2, 0, 0, 0, 0, 0xa];

/// Asserts what holds for every answer: it is from the gateway to A, and every length and
/// checksum in it is right, by etherparse and by sums taken here.
fn assert_sound(bytes: &[u8]) -> SlicedPacket<'_> {
    let packet = SlicedPacket::from_ethernet(bytes).expect("etherparse reads the answer");
    let link = packet.link.as_ref().unwrap().to_header().unwrap().ethernet2().unwrap();
    assert_eq!((link.source, link.destination), (GATEWAY_MAC.0, MAC_A.0));
    let checksum = match packet.net.as_ref().unwrap() {
        NetSlice::Ipv4(ip) => {
            let header = ip.header().to_header();
            assert_eq!(header.header_checksum, header.calc_header_checksum());
            assert_eq!(usize::from(header.total_len) + 14, bytes.len());
            assert_eq!(header.time_to_live, 64);
            Sum::of(ip.payload().payload).fold()
        }
        NetSlice::Ipv6(ip) => {
            let header = ip.header().to_header();
            assert_eq!(usize::from(header.payload_length) + 54, bytes.len());
            let length = u16::try_from(ip.payload().payload.len()).unwrap();
            Sum::of(&[header.source, header.destination].concat())
                .with_u16(length)
                .with_u16(58)
                .with(Sum::of(ip.payload().payload))
                .fold()
        }
        NetSlice::Arp(_) => 0xffff,
    };
    assert_eq!(checksum, 0xffff, "ICMP checksum");
    packet
}

fn addresses(packet: &SlicedPacket<'_>) -> (Vec<u8>, Vec<u8>) {
    match packet.net.as_ref().unwrap() {
        NetSlice::Ipv4(ip) => (ip.header().source().to_vec(), ip.header().destination().to_vec()),
        NetSlice::Ipv6(ip) => (ip.header().source().to_vec(), ip.header().destination().to_vec()),
        NetSlice::Arp(_) => panic!("ARP"),
    }
}

#[test]
fn an_arp_request_becomes_its_reply() {
    let mut bytes = vec![0xff; 6];
    bytes.extend(MAC_A.0);
    bytes.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    bytes.extend(MAC_A.0);
    bytes.extend(A4);
    bytes.extend([0; 6]);
    bytes.extend([169, 254, 1, 1]);
    bytes.resize(60, 0xee);
    let Ok(Packet::Arp(arp)) = parse(&bytes) else { panic!("not ARP") };
    let length = arp_reply(&mut bytes, &arp, GATEWAY_MAC);
    assert_eq!(length, 42);
    let packet = assert_sound(&bytes[..length]);
    let Some(NetSlice::Arp(reply)) = packet.net else { panic!("not ARP") };
    assert_eq!(reply.operation(), ArpOperation::REPLY);
    assert_eq!(reply.sender_hw_addr(), GATEWAY_MAC.0);
    assert_eq!(reply.sender_protocol_addr(), [169, 254, 1, 1]);
    assert_eq!(reply.target_hw_addr(), MAC_A.0);
    assert_eq!(reply.target_protocol_addr(), A4);
}

/// Asks for `asked` from A6; the frame has room after the packet.
fn solicitation(asked: [u8; 16], options: &[u8]) -> (Vec<u8>, Headers) {
    let bytes = neighbour(A6, B6, &neighbour_message(135, 0, asked, options));
    let headers = headers_of(&bytes);
    let mut room = bytes;
    room.resize(200, 0xee);
    (room, headers)
}

#[test]
fn a_solicitation_of_the_gateway_becomes_an_advertisement() {
    for options in [&SOURCE_LINK[..], &[]] {
        let (mut bytes, headers) = solicitation(GATEWAY_BYTES, options);
        let length = neighbour_advertisement(&mut bytes, &headers, GATEWAY_MAC).unwrap();
        let packet = assert_sound(&bytes[..length]);
        assert_eq!(addresses(&packet), (GATEWAY_BYTES.to_vec(), A6.to_vec()));
        let Some(NetSlice::Ipv6(ip)) = &packet.net else { panic!("not IPv6") };
        assert_eq!(ip.header().hop_limit(), 255);
        let Some(TransportSlice::Icmpv6(message)) = &packet.transport else { panic!("not ICMP") };
        assert_eq!((message.type_u8(), message.code_u8()), (136, 0));
        assert_eq!(message.bytes5to8(), [0xe0, 0, 0, 0], "router, solicited, override");
        assert_eq!(message.payload()[..16], GATEWAY_BYTES);
        assert_eq!(message.payload()[16..18], [2, 1]);
        assert_eq!(message.payload()[18..], GATEWAY_MAC.0);
        let again = headers_of(&bytes[..length]);
        let target_link = Some(GATEWAY_MAC);
        let said = Neighbour::Advertisement { target: GATEWAY_V6, target_link };
        assert_eq!(again.kind, Kind::Neighbour(said), "and our own parser reads it");
    }
}

#[test]
fn other_solicitations_are_not_answered_and_stay_as_they_were() {
    let refused = |bytes: &mut Vec<u8>, headers: &Headers| {
        let before = bytes.clone();
        assert_eq!(neighbour_advertisement(bytes, headers, GATEWAY_MAC), None);
        assert_eq!(*bytes, before);
    };
    let (mut other, headers) = solicitation(B6, &SOURCE_LINK);
    refused(&mut other, &headers);

    let (mut corrupt, headers) = solicitation(GATEWAY_BYTES, &SOURCE_LINK);
    corrupt[14 + 40 + 31] ^= 1;
    refused(&mut corrupt, &headers);

    let (mut short, headers) = solicitation(GATEWAY_BYTES, &[]);
    short.truncate(85);
    refused(&mut short, &headers);

    let message = neighbour_message(136, 0, GATEWAY_BYTES, &[]);
    let mut advertisement = neighbour(A6, B6, &message);
    advertisement.resize(200, 0);
    let headers = headers_of(&advertisement);
    refused(&mut advertisement, &headers);

    let group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 1];
    let message = neighbour_message(135, 0, GATEWAY_BYTES, &[]);
    let mut detection = neighbour([0; 16], group, &message);
    detection.resize(200, 0);
    let headers = headers_of(&detection);
    refused(&mut detection, &headers);

    let mut as_gateway = neighbour(GATEWAY_BYTES, B6, &message);
    as_gateway.resize(200, 0);
    let headers = headers_of(&as_gateway);
    refused(&mut as_gateway, &headers);
}

#[test]
fn an_echo_request_becomes_its_reply() {
    for family in FAMILIES {
        let request_kind = if family == Family::V4 { 8 } else { 128 };
        let mut bytes = sample::icmp(family, request_kind, 0, b"some payload, odd");
        let request = bytes.clone();
        bytes.extend([0; 9]);
        let headers = headers_of(&bytes);
        let length = echo_reply(&mut bytes, &headers, GATEWAY_MAC).unwrap();
        assert_eq!(length, request.len());
        let packet = assert_sound(&bytes[..length]);
        let (source, target) = addresses(&SlicedPacket::from_ethernet(&request).unwrap());
        assert_eq!(addresses(&packet), (target, source));
        assert_eq!(headers_of(&bytes).kind, Kind::Echo { reply: true });
        let l4 = usize::from(headers.l4_offset);
        assert_eq!(bytes[l4 + 4..length], request[l4 + 4..], "identifier, sequence, payload");
    }
}

#[test]
fn an_echo_request_with_a_wrong_checksum_gets_a_reply_with_a_wrong_one() {
    for family in FAMILIES {
        let request_kind = if family == Family::V4 { 8 } else { 128 };
        let mut bytes = sample::icmp(family, request_kind, 0, b"payload!");
        *bytes.last_mut().unwrap() ^= 1;
        let headers = headers_of(&bytes);
        let length = echo_reply(&mut bytes, &headers, GATEWAY_MAC).unwrap();
        let headers = headers_of(&bytes[..length]);
        let message = &bytes[usize::from(headers.l4_offset)..];
        let sum = match family {
            Family::V4 => Sum::of(message),
            Family::V6 => pseudo_header(&headers, message.len()).with(Sum::of(message)),
        };
        assert_ne!(sum.fold(), 0xffff);
    }
}

#[test]
fn only_echo_requests_to_one_receiver_get_a_reply() {
    let mut to_group = sample::icmp(Family::V4, 8, 0, b"payload!");
    to_group[0] |= 1;
    let refused = [
        sample::icmp(Family::V4, 0, 0, b"payload!"),
        sample::icmp(Family::V4, 13, 0, &[0; 12]),
        sample::icmp(Family::V6, 129, 0, b"payload!"),
        sample::udp(Family::V4, &[8; 30]),
        to_group,
    ];
    for before in refused {
        let mut bytes = before.clone();
        assert_eq!(echo_reply(&mut bytes, &headers_of(&before), GATEWAY_MAC), None);
        assert_eq!(bytes, before);
    }
}

/// The errors about `original`: time exceeded, and too big with an MTU of 1400.
fn errors(original: &[u8]) -> [Option<Vec<u8>>; 2] {
    let headers = headers_of(original);
    let mut out = vec![0xee; 2000];
    let length = time_exceeded(&mut out, original, &headers, gateway(headers.key.source));
    let exceeded = length.map(|length| out[..length].to_vec());
    let length = too_big(&mut out, original, &headers, gateway(headers.key.source), 1400);
    [exceeded, length.map(|length| out[..length].to_vec())]
}

#[test]
fn errors_name_their_cause_and_quote_the_packet() {
    for family in FAMILIES {
        let original = sample::udp(family, b"hello");
        let mut padded = original.clone();
        padded.extend([0xee; 7]);
        for (bytes, is_too_big) in errors(&padded).into_iter().zip([false, true]) {
            let bytes = bytes.unwrap();
            let packet = assert_sound(&bytes);
            match packet.transport.as_ref().unwrap() {
                TransportSlice::Icmpv4(icmp) => {
                    let expected = if is_too_big {
                        Icmpv4Type::DestinationUnreachable(
                            icmpv4::DestUnreachableHeader::FragmentationNeeded {
                                next_hop_mtu: 1400,
                            },
                        )
                    } else {
                        Icmpv4Type::TimeExceeded(icmpv4::TimeExceededCode::TtlExceededInTransit)
                    };
                    assert_eq!(icmp.icmp_type(), expected);
                    assert_eq!(icmp.payload(), &original[14..]);
                    assert_eq!(addresses(&packet), (vec![169, 254, 1, 1], A4.to_vec()));
                }
                TransportSlice::Icmpv6(icmp) => {
                    let expected = if is_too_big {
                        Icmpv6Type::PacketTooBig { mtu: 1400 }
                    } else {
                        Icmpv6Type::TimeExceeded(icmpv6::TimeExceededCode::HopLimitExceeded)
                    };
                    assert_eq!(icmp.icmp_type(), expected);
                    assert_eq!(icmp.payload(), &original[14..]);
                    assert_eq!(addresses(&packet), (GATEWAY_BYTES.to_vec(), A6.to_vec()));
                }
                other => panic!("not ICMP: {other:?}"),
            }
            let inner = headers_of(&original).key;
            assert_eq!(headers_of(&bytes).kind, Kind::IcmpError { inner });
        }
    }
}

/// Who is beyond the host port is told by another address than the gateway's; nobody is told by its own.
#[test]
fn errors_are_from_whoever_speaks() {
    for (family, octets) in FAMILIES.into_iter().zip([B4.to_vec(), B6.to_vec()]) {
        let original = sample::udp(family, b"hello");
        let headers = headers_of(&original);
        let (asker, speaker) = (headers.key.source, headers.key.target);
        let told = |speaker| {
            let mut out = vec![0xee; 2000];
            let lengths = [
                time_exceeded(&mut out, &original, &headers, speaker),
                too_big(&mut out, &original, &headers, speaker, 1400),
                reject(&mut out, &original, &headers, speaker),
                unreachable(&mut out, &original, &headers, speaker),
            ];
            (lengths, out)
        };
        let (lengths, out) = told(speaker);
        assert!(lengths.iter().all(Option::is_some), "{lengths:?}");
        let packet = assert_sound(&out[..lengths[3].unwrap()]);
        assert_eq!(addresses(&packet).0, octets);
        assert_eq!(told(asker).0, [None; 4]);
    }
}

#[test]
fn errors_quote_no_more_than_every_host_takes() {
    for (family, longest) in FAMILIES.into_iter().zip([576, 1280]) {
        for payload in [longest - 80, longest - 28, longest, 1500] {
            let original = sample::udp(family, &vec![7; payload]);
            let ip_bytes = original.len() - 14;
            let header_bytes = if family == Family::V4 { 28 } else { 48 };
            for bytes in errors(&original).map(Option::unwrap) {
                assert_sound(&bytes);
                assert_eq!(bytes.len() - 14, (ip_bytes + header_bytes).min(longest));
                let quoted = &bytes[14 + header_bytes..];
                assert_eq!(*quoted, original[14..14 + quoted.len()]);
            }
            // The beginning is enough.
            let cut = &original[..QUOTED_BYTES_MAX.min(original.len())];
            let mut out = [0; 2000];
            let headers = headers_of(&original);
            let length = time_exceeded(&mut out, cut, &headers, gateway(headers.key.source));
            let [whole, _] = errors(&original);
            assert_eq!(length.map(|length| out[..length].to_vec()), whole);
        }
    }
}

#[test]
fn an_error_that_does_not_fit_is_not_sent() {
    let original = sample::udp(Family::V4, b"hello");
    let headers = headers_of(&original);
    let whole = 14 + 28 + original.len() - 14;
    assert!(
        time_exceeded(&mut vec![0; whole], &original, &headers, gateway(headers.key.source))
            .is_some()
    );
    assert!(
        time_exceeded(&mut vec![0; whole - 1], &original, &headers, gateway(headers.key.source))
            .is_none()
    );
}

#[test]
fn nothing_is_said_about_errors_groups_and_nobodies() {
    let group_v6 = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let node = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 1];
    let udp = [0, 1, 0, 2, 0, 8, 0, 1];
    let mut to_group_mac = sample::udp(Family::V4, b"");
    to_group_mac[0] |= 1;
    let mut from_group_mac = sample::udp(Family::V4, b"");
    from_group_mac[6] |= 1;
    let solicitation = neighbour_message(135, 0, GATEWAY_BYTES, &[]);
    let silent = [
        ("an error", sample::icmp(Family::V4, 3, 1, &sample::back(&sample::udp(Family::V4, b"")))),
        ("an error", sample::icmp(Family::V6, 1, 0, &sample::back(&sample::udp(Family::V6, b"")))),
        ("a redirect", sample::icmp(Family::V4, 5, 0, &[0; 28])),
        ("a redirect", sample::icmp(Family::V6, 137, 0, &[0; 32])),
        ("multicast", sample::ipv4(17, &udp, |header| header.destination = [224, 0, 0, 1])),
        ("broadcast", sample::ipv4(17, &udp, |header| header.destination = [255; 4])),
        ("multicast", sample::ipv6(17, &udp, |header| header.destination = group_v6)),
        ("an Ethernet group", to_group_mac),
        ("from an Ethernet group", from_group_mac),
        ("from nobody", neighbour([0; 16], node, &solicitation)),
        ("a neighbour", neighbour(A6, B6, &solicitation)),
        ("as the gateway", sample::ipv6(17, &udp, |header| header.source = GATEWAY_BYTES)),
    ];
    for (name, bytes) in silent {
        assert_eq!(errors(&bytes), [None, None], "{name}");
    }
    let mut headers = headers_of(&sample::udp(Family::V4, b""));
    for source in [[0; 4], [224, 0, 0, 1], [255; 4], [169, 254, 1, 1]] {
        headers.key.source = Address::from_v4(source);
        let mut out = [0; 200];
        let original = sample::udp(Family::V4, b"");
        assert_eq!(
            time_exceeded(&mut out, &original, &headers, gateway(headers.key.source)),
            None,
            "{source:?}"
        );
    }
}

#[test]
fn echo_replies_of_others_are_told_about_too() {
    for family in FAMILIES {
        let kind = if family == Family::V4 { 0 } else { 129 };
        assert!(errors(&sample::icmp(family, kind, 0, &[0; 8])).iter().all(Option::is_some));
    }
}
