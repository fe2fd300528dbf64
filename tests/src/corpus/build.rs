//! What entries are built from: a packet that nothing is wrong with, and ways to spoil it.

use std::net::IpAddr;
use std::ops::Range;

use super::Scene;
use crate::packets::{self, Ends, Piece};

/// Where the IP header begins.
pub(super) const IP: usize = 14;
/// Where IPv4's payload begins, without options.
pub(super) const UPPER_V4: usize = 34;
/// Where IPv6's payload begins.
pub(super) const UPPER_V6: usize = 54;

/// Options of an extension header that mean nothing.
pub(super) const PADDING: &[u8] = &[1, 4, 0, 0, 0, 0];

/// A UDP datagram to the target's port 53, its upper layer of 16 bytes.
pub(super) fn udp(ends: Ends) -> Vec<u8> {
    packets::udp(ends, (4000, 53), b"evasion.")
}

/// The same to another port and with another load.
pub(super) fn udp_to(ends: Ends, port: u16, load: &[u8]) -> Vec<u8> {
    packets::udp(ends, (4000, port), load)
}

/// A SYN to the target's port 80, with `load` in it.
pub(super) fn syn(ends: Ends, load: &[u8]) -> Vec<u8> {
    packets::tcp(ends, (4000, 80), lockgate_dataplane::packet::TcpFlags::SYN, load)
}

/// A frame with bytes overwritten, IPv4's header checksum right again.
pub(super) fn edited(mut frame: Vec<u8>, edits: &[(usize, u8)]) -> Vec<u8> {
    for &(at, value) in edits {
        frame[at] = value;
    }
    resummed(frame)
}

/// IPv4's header checksum made right, as far as there is a header.
pub(super) fn resummed(mut frame: Vec<u8>) -> Vec<u8> {
    crate::frames::resum(&mut frame);
    frame
}

/// What lies above the IP header of a packet without options and extension headers.
pub(super) fn upper(frame: &[u8]) -> &[u8] {
    &frame[if frame[12..14] == [8, 0] { UPPER_V4 } else { UPPER_V6 }..]
}

/// A packet with IPv4 options; their length is a multiple of four.
pub(super) fn with_options(ends: Ends, options: &[u8]) -> Vec<u8> {
    let plain = udp(ends);
    let mut frame = [&plain[..UPPER_V4], options, &plain[UPPER_V4..]].concat();
    let total = (frame.len() - IP) as u16;
    frame[16..18].copy_from_slice(&total.to_be_bytes());
    frame[IP] += (options.len() / 4) as u8;
    resummed(frame)
}

/// An IPv6 packet behind extension headers: each its number and its bytes from the third on.
pub(super) fn extended(ends: Ends, headers: &[(u8, &[u8])], number: u8, load: &[u8]) -> Vec<u8> {
    let numbers: Vec<u8> = headers.iter().map(|header| header.0).chain([number]).collect();
    let mut payload = Vec::new();
    for ((_, bytes), next) in headers.iter().zip(&numbers[1..]) {
        payload.extend([*next, (bytes.len() / 8) as u8]);
        payload.extend(*bytes);
    }
    payload.extend(load);
    packets::ip(ends, numbers[0], &payload)
}

/// A UDP datagram behind extension headers.
pub(super) fn udp_behind(ends: Ends, headers: &[(u8, &[u8])]) -> Vec<u8> {
    extended(ends, headers, 17, upper(&udp(ends)))
}

/// Bytes put between the MACs and the `EtherType` of a frame: a tag.
pub(super) fn tagged(frame: &[u8], tag: &[u8]) -> Vec<u8> {
    [&frame[..12], tag, &frame[12..]].concat()
}

/// A frame to the gateway that holds no IP.
pub(super) fn raw(ends: Ends, ether_type: u16, payload: &[u8]) -> Vec<u8> {
    packets::frame(ends.source_mac, ends.target_mac, ether_type, payload)
}

/// The packet that an end of a tunnel would find inside: another pod's, to the same target.
pub(super) fn inner(ends: Ends, other: IpAddr) -> Vec<u8> {
    udp(Ends { source: other, ..ends })[IP..].to_vec()
}

/// A fragment of a packet: bytes of its upper layer, from an offset of their own.
pub(super) fn part(scene: &Scene, frame: &[u8], range: Range<usize>, more: bool) -> Vec<u8> {
    let offset = range.start as u16;
    part_at(scene, frame, range, offset, more)
}

/// The same, said to begin elsewhere.
pub(super) fn part_at(
    scene: &Scene,
    frame: &[u8],
    range: Range<usize>,
    offset: u16,
    more: bool,
) -> Vec<u8> {
    let bytes = upper(frame)[range].to_vec();
    packets::fragment(frame, scene.datagram.into(), &Piece { offset, more, bytes })
}

/// The extension header of an IPv6 fragment, from its third byte on: offset in bytes.
pub(super) fn fragment_header(offset: u16, more: bool) -> [u8; 6] {
    let [high, low] = (offset | u16::from(more)).to_be_bytes();
    [high, low, 0, 0, 0x0b, 0xe5]
}
