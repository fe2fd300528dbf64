//! Packets taken apart and put together again, as the ends of a network do.

use etherparse::{IpFragOffset, Ipv4Header};

/// IPv6's fragment header, as a next header.
const FRAGMENT: u8 = 44;
const ETHERNET: usize = 14;
const IPV6: usize = 40;

/// One part of a packet, to be changed before it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where it begins in the packet, in bytes: a multiple of 8.
    pub offset: u16,
    /// Whether more follow.
    pub more: bool,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// What lies above the IP header of a whole packet, in parts of at most `bytes_max` bytes.
///
/// # Panics
/// When `bytes_max` is less than 8.
#[must_use]
pub fn pieces(frame: &[u8], bytes_max: usize) -> Vec<Piece> {
    let upper = &frame[upper_at(frame)..];
    let each = bytes_max / 8 * 8;
    assert!(each > 0, "a part has at least 8 bytes");
    let last = upper.len().div_ceil(each) - 1;
    let part = |(at, bytes): (usize, &[u8])| {
        let offset = u16::try_from(at * each).expect("less than 64 KiB");
        Piece { offset, more: at < last, bytes: bytes.to_vec() }
    };
    upper.chunks(each).enumerate().map(part).collect()
}

/// A part as a frame: the headers of the whole `frame`, and its place in datagram `identification`.
#[must_use]
pub fn fragment(frame: &[u8], identification: u32, piece: &Piece) -> Vec<u8> {
    if frame[12..14] == [0x08, 0x00] {
        return fragment_v4(frame, identification, piece);
    }
    let mut head = frame[..ETHERNET + IPV6].to_vec();
    let number = std::mem::replace(&mut head[ETHERNET + 6], FRAGMENT);
    let length = u16::try_from(piece.bytes.len() + 8).expect("less than 64 KiB");
    head[ETHERNET + 4..ETHERNET + 6].copy_from_slice(&length.to_be_bytes());
    let place = piece.offset | u16::from(piece.more);
    head.extend([number, 0]);
    head.extend(place.to_be_bytes());
    head.extend(identification.to_be_bytes());
    [head, piece.bytes.clone()].concat()
}

fn fragment_v4(frame: &[u8], identification: u32, piece: &Piece) -> Vec<u8> {
    let (mut header, _) = Ipv4Header::from_slice(&frame[ETHERNET..]).expect("an IPv4 header");
    header.identification = u16::try_from(identification).expect("16 bits");
    header.fragment_offset = IpFragOffset::try_new(piece.offset / 8).expect("13 bits");
    header.more_fragments = piece.more;
    header.dont_fragment = false;
    header.set_payload_len(piece.bytes.len()).expect("less than 64 KiB");
    header.header_checksum = header.calc_header_checksum();
    [&frame[..ETHERNET], &header.to_bytes(), &piece.bytes].concat()
}

/// The frames of a whole packet that is sent in parts.
#[must_use]
pub fn fragments(frame: &[u8], identification: u32, bytes_max: usize) -> Vec<Vec<u8>> {
    pieces(frame, bytes_max).iter().map(|piece| fragment(frame, identification, piece)).collect()
}

/// What a receiver makes of the fragments that came, in whatever order: the upper layer, if all of
/// it is there once. `None` where something is missing or came twice.
#[must_use]
pub fn joined(frames: &[Vec<u8>]) -> Option<Vec<u8>> {
    let mut pieces: Vec<Piece> = frames.iter().map(|frame| piece_of(frame)).collect();
    pieces.sort_by_key(|piece| piece.offset);
    let last = pieces.last().is_some_and(|piece| !piece.more);
    let mut whole = Vec::new();
    for piece in pieces {
        if usize::from(piece.offset) != whole.len() {
            return None;
        }
        whole.extend(piece.bytes);
    }
    last.then_some(whole)
}

fn piece_of(frame: &[u8]) -> Piece {
    if frame[12..14] == [0x08, 0x00] {
        let (header, rest) = Ipv4Header::from_slice(&frame[ETHERNET..]).expect("an IPv4 header");
        let bytes = usize::from(header.payload_len().expect("a length"));
        let offset = header.fragment_offset.value() * 8;
        return Piece { offset, more: header.more_fragments, bytes: rest[..bytes].to_vec() };
    }
    let at = ETHERNET + IPV6;
    let place = u16::from_be_bytes([frame[at + 2], frame[at + 3]]);
    Piece { offset: place & !7, more: place & 1 == 1, bytes: frame[at + 8..].to_vec() }
}

/// Where the upper layer of a packet without options and extension headers begins.
fn upper_at(frame: &[u8]) -> usize {
    if frame[12..14] == [0x08, 0x00] { ETHERNET + 20 } else { ETHERNET + IPV6 }
}
