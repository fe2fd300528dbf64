//! Packets for tests: whole Ethernet frames, built and summed by etherparse.
//!
//! Nothing here shares code with the dataplane's parser and checksums, so that a test which
//! sends one of these and looks at what comes out judges them by another's measure. Every
//! function panics on what cannot be built or read (two families in one packet, 64 KiB of
//! payload, a checksum of what is no IP packet): the test that asks for it is wrong.

#![allow(clippy::panic, clippy::missing_panics_doc)]

mod fragments;

pub use fragments::{Piece, fragment, fragments, joined, pieces};

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::checksum::Sum16BitWords;
use etherparse::{
    EtherType, Ethernet2Header, IpNumber, Ipv4Header, Ipv6Header, NetSlice, SlicedPacket,
    TcpHeader, UdpHeader,
};
use lockgate_dataplane::ids::Mac;
use lockgate_dataplane::packet::TcpFlags;

/// The TTL or hop limit of what is built here; neighbour messages have 255.
pub const TTL: u8 = 64;

const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;
const ICMP_V4: u8 = 1;
const ICMP_V6: u8 = 58;

/// Who sends a packet, and who shall get it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The sender's MAC.
    pub source_mac: Mac,
    /// The MAC that the frame is for.
    pub target_mac: Mac,
    /// The sender's address.
    pub source: IpAddr,
    /// The address that the packet is for, of the same family.
    pub target: IpAddr,
}

impl Ends {
    /// The way back.
    #[must_use]
    pub fn reversed(self) -> Self {
        Self {
            source_mac: self.target_mac,
            target_mac: self.source_mac,
            source: self.target,
            target: self.source,
        }
    }

    fn is_v4(&self) -> bool {
        self.source.is_ipv4()
    }

    /// The sum of what checksums cover of the IP header.
    fn pseudo_header(&self, number: u8, length: usize) -> Sum16BitWords {
        let length = u16::try_from(length).expect("less than 64 KiB");
        let (source, target) = (octets(self.source), octets(self.target));
        Sum16BitWords::new()
            .add_slice(&source)
            .add_slice(&target)
            .add_2bytes([0, number])
            .add_2bytes(length.to_be_bytes())
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// An Ethernet frame.
#[must_use]
pub fn frame(source: Mac, target: Mac, ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let ether_type = EtherType(ether_type);
    let header = Ethernet2Header { source: source.0, destination: target.0, ether_type };
    [&header.to_bytes(), payload].concat()
}

/// An IP packet of any protocol, with whatever payload: no checksum is put into it.
#[must_use]
pub fn ip(ends: Ends, number: u8, payload: &[u8]) -> Vec<u8> {
    ip_with_ttl(ends, number, TTL, payload)
}

fn ip_with_ttl(ends: Ends, number: u8, ttl: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).expect("less than 64 KiB");
    let number = IpNumber(number);
    let (ether_type, header) = match (ends.source, ends.target) {
        (IpAddr::V4(source), IpAddr::V4(target)) => {
            let (source, target) = (source.octets(), target.octets());
            let mut header =
                Ipv4Header::new(length, ttl, number, source, target).expect("less than 64 KiB");
            header.header_checksum = header.calc_header_checksum();
            (EtherType::IPV4, header.to_bytes().to_vec())
        }
        (IpAddr::V6(source), IpAddr::V6(target)) => {
            let header = Ipv6Header {
                payload_length: length,
                next_header: number,
                hop_limit: ttl,
                source: source.octets(),
                destination: target.octets(),
                ..Ipv6Header::default()
            };
            (EtherType::IPV6, header.to_bytes().to_vec())
        }
        (source, target) => panic!("{source} and {target} are of two families"),
    };
    frame(ends.source_mac, ends.target_mac, ether_type.0, &[&header, payload].concat())
}

/// A TCP segment with sequence number 1, acknowledgment number 1 and no options.
#[must_use]
pub fn tcp(ends: Ends, ports: (u16, u16), flags: TcpFlags, payload: &[u8]) -> Vec<u8> {
    let numbers = (1, u32::from(flags.has(TcpFlags::ACK)));
    tcp_segment(ends, &tcp_header(ports, flags, numbers), payload)
}

/// A TCP segment without payload, with sequence and acknowledgment numbers of its own.
#[must_use]
pub fn segment(ends: Ends, ports: (u16, u16), flags: TcpFlags, numbers: (u32, u32)) -> Vec<u8> {
    tcp_segment(ends, &tcp_header(ports, flags, numbers), b"")
}

fn tcp_header(ports: (u16, u16), flags: TcpFlags, numbers: (u32, u32)) -> TcpHeader {
    let mut header = TcpHeader::new(ports.0, ports.1, numbers.0, 0xffff);
    header.acknowledgment_number = numbers.1;
    header.syn = flags.has(TcpFlags::SYN);
    header.ack = flags.has(TcpFlags::ACK);
    header.fin = flags.has(TcpFlags::FIN);
    header.rst = flags.has(TcpFlags::RST);
    header.psh = flags.has(TcpFlags::PSH);
    header.urg = flags.has(TcpFlags::URG);
    header
}

/// A TCP segment with a header of the caller's; its checksum is computed here.
#[must_use]
pub fn tcp_segment(ends: Ends, header: &TcpHeader, payload: &[u8]) -> Vec<u8> {
    summed(ends, TCP, 16, &[&header.to_bytes(), payload].concat())
}

/// A UDP datagram.
#[must_use]
pub fn udp(ends: Ends, ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len() + 8).expect("less than 64 KiB");
    let (source_port, destination_port) = ports;
    let header = UdpHeader { source_port, destination_port, length, checksum: 0 };
    summed(ends, UDP, 6, &[&header.to_bytes(), payload].concat())
}

/// An SCTP packet with one chunk: INIT is 1, with tag 0; INIT ACK 2.
#[must_use]
pub fn sctp(ends: Ends, ports: (u16, u16), tag: u32, chunk: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len() + 4).expect("less than 64 KiB");
    let mut packet = [ports.0.to_be_bytes(), ports.1.to_be_bytes()].concat();
    packet.extend(tag.to_be_bytes());
    packet.extend([0, 0, 0, 0, chunk, 0]);
    packet.extend(length.to_be_bytes());
    packet.extend(value);
    packet.resize(packet.len().next_multiple_of(4), 0);
    let crc = crc32c(&packet);
    packet[8..12].copy_from_slice(&crc.to_le_bytes());
    ip(ends, SCTP, &packet)
}

/// An echo request or reply.
#[must_use]
pub fn echo(ends: Ends, is_reply: bool, identifier: u16, sequence: u16, load: &[u8]) -> Vec<u8> {
    let kind = match (ends.is_v4(), is_reply) {
        (true, false) => 8,
        (true, true) => 0,
        (false, false) => 128,
        (false, true) => 129,
    };
    let [i0, i1] = identifier.to_be_bytes();
    let [s0, s1] = sequence.to_be_bytes();
    icmp(ends, kind, 0, [i0, i1, s0, s1], load)
}

/// An ICMP message, or `ICMPv6` where the ends are; `rest` stands after the checksum.
#[must_use]
pub fn icmp(ends: Ends, kind: u8, code: u8, rest: [u8; 4], payload: &[u8]) -> Vec<u8> {
    icmp_with_ttl(ends, TTL, &[&[kind, code, 0, 0], &rest, payload].concat())
}

/// An ICMP error about the packet in `frame`: all of it is quoted.
#[must_use]
pub fn icmp_error(ends: Ends, kind: u8, code: u8, frame: &[u8]) -> Vec<u8> {
    icmp(ends, kind, code, [0; 4], &frame[14..])
}

/// A neighbour solicitation, with the sender's MAC in an option or without.
#[must_use]
pub fn neighbour_solicitation(ends: Ends, asked: Ipv6Addr, source_link: Option<Mac>) -> Vec<u8> {
    neighbour(ends, [135, 0], asked, source_link.map(|mac| (1, mac)))
}

/// A neighbour advertisement: solicited and overriding, or neither.
#[must_use]
pub fn neighbour_advertisement(
    ends: Ends,
    advertised: Ipv6Addr,
    is_solicited: bool,
    target_link: Option<Mac>,
) -> Vec<u8> {
    let flags = if is_solicited { 0x60 } else { 0 };
    neighbour(ends, [136, flags], advertised, target_link.map(|mac| (2, mac)))
}

fn neighbour(ends: Ends, kind: [u8; 2], about: Ipv6Addr, link: Option<(u8, Mac)>) -> Vec<u8> {
    let [kind, flags] = kind;
    let mut message = [&[kind, 0, 0, 0, flags, 0, 0, 0][..], &about.octets()].concat();
    if let Some((option, mac)) = link {
        message.extend([option, 1]);
        message.extend(mac.0);
    }
    icmp_with_ttl(ends, 255, &message)
}

/// An ARP request for `asked`, broadcast.
#[must_use]
pub fn arp_request(source: Mac, sender: Ipv4Addr, asked: Ipv4Addr) -> Vec<u8> {
    arp(source, Mac([0xff; 6]), 1, (source, sender), (Mac([0; 6]), asked))
}

/// An ARP packet that says anything: `sender` and `target` are what it claims.
#[must_use]
pub fn arp(
    source: Mac,
    to: Mac,
    operation: u16,
    sender: (Mac, Ipv4Addr),
    target: (Mac, Ipv4Addr),
) -> Vec<u8> {
    let mut packet = vec![0, 1, 8, 0, 6, 4];
    packet.extend(operation.to_be_bytes());
    for (mac, address) in [sender, target] {
        packet.extend(mac.0);
        packet.extend(address.octets());
    }
    frame(source, to, EtherType::ARP.0, &packet)
}

fn icmp_with_ttl(ends: Ends, ttl: u8, message: &[u8]) -> Vec<u8> {
    let (number, covered) = if ends.is_v4() {
        (ICMP_V4, Sum16BitWords::new())
    } else {
        (ICMP_V6, ends.pseudo_header(ICMP_V6, message.len()))
    };
    let mut message = message.to_vec();
    let sum = covered.add_slice(&message).ones_complement().to_be();
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    ip_with_ttl(ends, number, ttl, &message)
}

/// TCP or UDP, with its checksum at offset `at`, which must hold anything.
fn summed(ends: Ends, number: u8, at: usize, segment: &[u8]) -> Vec<u8> {
    let mut segment = segment.to_vec();
    segment[at..at + 2].fill(0);
    let sum = ends.pseudo_header(number, segment.len()).add_slice(&segment);
    let sum = sum.to_ones_complement_with_no_zero().to_be();
    segment[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    ip(ends, number, &segment)
}

/// The packet with another TTL or hop limit, its header checksum right.
#[must_use]
pub fn with_ttl(mut frame: Vec<u8>, ttl: u8) -> Vec<u8> {
    match frame[12..14] {
        [0x08, 0x00] => {
            let (mut header, _) = Ipv4Header::from_slice(&frame[14..]).expect("an IPv4 header");
            header.time_to_live = ttl;
            frame[22] = ttl;
            frame[24..26].copy_from_slice(&header.calc_header_checksum().to_be_bytes());
        }
        [0x86, 0xdd] => frame[21] = ttl,
        _ => panic!("not an IP packet"),
    }
    frame
}

/// The packet as a pod's stack leaves it for hardware to finish (`CHECKSUM_PARTIAL`): the folded
/// sum of the pseudo-header where TCP's or UDP's checksum shall be, 0 where SCTP's. Others stay.
#[must_use]
pub fn unfinished(mut frame: Vec<u8>) -> Vec<u8> {
    let upper = Upper::of(&frame);
    let l4 = upper.l4.start;
    match upper.number {
        TCP | UDP => {
            let at = if upper.number == TCP { l4 + 16 } else { l4 + 6 };
            let sum = upper.pseudo_header().ones_complement().to_be();
            frame[at..at + 2].copy_from_slice(&(!sum).to_be_bytes());
        }
        SCTP => frame[l4 + 8..l4 + 12].fill(0),
        _ => {}
    }
    frame
}

/// Whether every checksum in the packet is there and right: the IPv4 header's, and that of TCP,
/// UDP, SCTP, ICMP and `ICMPv6`. UDP over IPv4 without a checksum is not right.
#[must_use]
pub fn has_right_checksums(frame: &[u8]) -> bool {
    let upper = Upper::of(frame);
    let header_is_right = !upper.ends.is_v4() || {
        let (header, _) = Ipv4Header::from_slice(&frame[14..]).expect("an IPv4 header");
        header.header_checksum == header.calc_header_checksum()
    };
    header_is_right && upper.is_right(frame)
}

/// Whether the upper layer's checksum is right, as above. `None` where etherparse cannot read the
/// packet.
#[must_use]
pub fn has_right_upper(frame: &[u8]) -> Option<bool> {
    Upper::read(frame).map(|upper| upper.is_right(frame))
}

/// The upper layer of a frame, as etherparse finds it.
struct Upper {
    ends: Ends,
    number: u8,
    l4: std::ops::Range<usize>,
}

impl Upper {
    fn of(frame: &[u8]) -> Self {
        Self::read(frame).expect("an IP packet that etherparse reads")
    }

    fn read(frame: &[u8]) -> Option<Self> {
        let net = SlicedPacket::from_ethernet(frame).ok()?.net?;
        let payload = net.ip_payload_ref()?;
        let start = payload.payload.as_ptr() as usize - frame.as_ptr() as usize;
        let (source, target): (IpAddr, IpAddr) = match &net {
            NetSlice::Ipv4(ip) => {
                (ip.header().source_addr().into(), ip.header().destination_addr().into())
            }
            NetSlice::Ipv6(ip) => {
                (ip.header().source_addr().into(), ip.header().destination_addr().into())
            }
            NetSlice::Arp(_) => return None,
        };
        let mac = |at: usize| Mac(frame[at..at + 6].try_into().expect("six bytes"));
        let ends = Ends { source_mac: mac(6), target_mac: mac(0), source, target };
        let l4 = start..start + payload.payload.len();
        Some(Self { ends, number: payload.ip_number.0, l4 })
    }

    fn is_right(&self, frame: &[u8]) -> bool {
        let segment = &frame[self.l4.clone()];
        match self.number {
            UDP if segment[6..8] == [0, 0] => false,
            TCP | UDP | ICMP_V6 => self.pseudo_header().add_slice(segment).ones_complement() == 0,
            ICMP_V4 => Sum16BitWords::new().add_slice(segment).ones_complement() == 0,
            SCTP => {
                let zeroed = [&segment[..8], &[0; 4], &segment[12..]].concat();
                segment[8..12] == crc32c(&zeroed).to_le_bytes()
            }
            _ => true,
        }
    }

    fn pseudo_header(&self) -> Sum16BitWords {
        self.ends.pseudo_header(self.number, self.l4.len())
    }
}

/// The checksum of SCTP, a bit at a time.
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 }
        })
    })
}

#[cfg(test)]
mod tests;
