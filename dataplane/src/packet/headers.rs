//! What can be read in a packet: plain values, no bytes. Hot path.
//!
//! A `Headers` is only true of the bytes it was read from: who changes the bytes reads again,
//! or knows what changed.

use super::flow::{Address, FlowKey, Protocol};
use crate::ids::Mac;

/// A frame's content, as far as the switch understands it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet {
    /// IPv4 or IPv6.
    Ip(Headers),
    /// A part of one.
    Fragment(Headers, Fragment),
    /// ARP for IPv4 over Ethernet.
    Arp(Arp),
}

/// Which IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// The headers of one IP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers {
    /// The five values of its flow.
    pub key: FlowKey,
    /// Which IP it is.
    pub family: Family,
    /// Who put it on the wire.
    pub source_mac: Mac,
    /// Whom the frame is for.
    pub target_mac: Mac,
    /// TTL, or hop limit. May be 0: the parser leaves the judgement to the worker.
    pub ttl: u8,
    /// Where the upper layer begins, in bytes from the start of the frame.
    pub l4_offset: u16,
    /// Where the IP packet ends, in bytes from the start of the frame. What follows is Ethernet
    /// padding: it is cut, never forwarded.
    pub end: u16,
    /// What it carries.
    pub kind: Kind,
}

impl Headers {
    /// Room for headers that are yet to be read.
    pub const BLANK: Self = Self {
        key: FlowKey {
            source: Address::from_v6([0; 16]),
            target: Address::from_v6([0; 16]),
            source_port: 0,
            target_port: 0,
            number: 0,
            protocol: Protocol::Other,
        },
        family: Family::V4,
        source_mac: Mac([0; 6]),
        target_mac: Mac([0; 6]),
        ttl: 0,
        l4_offset: 0,
        end: 0,
        kind: Kind::LinkOnly,
    };

    /// Notes what the upper layer says: all that it may.
    #[inline]
    pub(super) fn set_upper(&mut self, kind: Kind, protocol: Protocol, ports: (u16, u16)) {
        self.kind = kind;
        self.key.protocol = protocol;
        (self.key.source_port, self.key.target_port) = ports;
    }

    /// Whether it is a fragment that is not the first.
    #[inline]
    #[must_use]
    pub const fn is_rest(&self) -> bool {
        matches!(self.kind, Kind::Rest)
    }

    /// Whether it is for more than one receiver: a multicast or broadcast address, in the IP
    /// header or in the Ethernet header.
    #[inline]
    #[must_use]
    pub const fn is_multicast(&self) -> bool {
        self.target_mac.0[0] & 1 == 1 || is_group(self.key.target)
    }
}

/// Whether the address is multicast, or the IPv4 broadcast address.
#[inline]
pub(super) const fn is_group(address: Address) -> bool {
    if address.is_v4() {
        let bits = address.to_v4_bits();
        bits >> 28 == 0xe || bits == u32::MAX
    } else {
        address.to_halves().0 >> 56 == 0xff
    }
}

/// What an IP packet carries, as far as connections and answers need to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    // The control messages stand together: to tell them from the rest takes one comparison.
    /// An ICMP error: types 3, 11, 12; `ICMPv6` 1 to 4.
    IcmpError {
        /// The flow of the packet that caused it, as written in the quotation: its source is
        /// who sent that packet, and is always the target of the error.
        inner: FlowKey,
    },
    /// A neighbour solicitation or advertisement, valid by RFC 4861 §7.1 but for its checksum.
    Neighbour(Neighbour),
    /// What never leaves its link: other neighbour discovery, MLD, ICMP redirects and router
    /// discovery, the deprecated source quench, and what a DHCP server tells its client. Never
    /// forwarded, never answered.
    LinkOnly,
    /// TCP.
    Tcp(TcpHeader),
    /// UDP, its length field equal to what is there.
    Udp,
    /// SCTP with at least one chunk.
    Sctp {
        /// The first chunk's type.
        first_chunk: u8,
        /// The verification tag, 0 for INIT.
        verification_tag: u32,
    },
    /// ICMP or `ICMPv6` echo, or IPv4 timestamp. The key has the identifier in both ports.
    Echo {
        /// Whether it answers one.
        reply: bool,
    },
    /// Everything else: judged by addresses and protocol number.
    Portless,
    /// A fragment that is not the first: what it is part of stands in the first one only.
    Rest,
}

impl Kind {
    /// Whether it speaks of links and ways instead of to somebody. Such a packet never comes in
    /// pieces and is never answered by an error.
    #[inline]
    #[must_use]
    pub const fn is_control(&self) -> bool {
        matches!(self, Self::IcmpError { .. } | Self::Neighbour(_) | Self::LinkOnly)
    }
}

/// The type of the chunk that begins an SCTP association.
pub(crate) const SCTP_INIT: u8 = 1;

/// A fragment's place in its datagram (RFC 791 §3.2, RFC 8200 §4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Which datagram of its source, target and, in IPv4, protocol: 16 bits there, 32 in IPv6.
    pub identification: u32,
    /// Where its bytes begin in the datagram, in bytes: a multiple of 8.
    pub offset: u16,
    /// Where they end. A multiple of 8 where more follow.
    pub end: u16,
    /// Whether more follow.
    pub more: bool,
    /// Where the datagram ends by the UDP header of a first one, in the same bytes; 0 where none says.
    pub udp_end: u16,
}

impl Fragment {
    /// Where it says that its datagram ends; 0 where it does not.
    #[inline]
    #[must_use]
    pub const fn datagram_end(self) -> u16 {
        if self.more { self.udp_end } else { self.end }
    }

    /// Whether it begins its datagram, and has its headers.
    #[inline]
    #[must_use]
    pub const fn is_first(self) -> bool {
        self.offset == 0
    }
}

/// What a TCP header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpHeader {
    /// The control bits.
    pub flags: TcpFlags,
    /// Sequence number of the first payload byte, or of the SYN.
    pub sequence: u32,
    /// Acknowledgment number; meaningless without ACK.
    pub acknowledgment: u32,
    /// The window as written, not scaled.
    pub window: u16,
    /// Bytes after the TCP header.
    pub payload_bytes: u16,
}

impl TcpHeader {
    /// One past the last sequence number that the segment takes up: its bytes, SYN and FIN.
    #[inline]
    #[must_use]
    pub fn end(&self) -> u32 {
        let syn = u32::from(self.flags.has(TcpFlags::SYN));
        let fin = u32::from(self.flags.has(TcpFlags::FIN));
        let bytes = u32::from(self.payload_bytes).wrapping_add(syn).wrapping_add(fin);
        self.sequence.wrapping_add(bytes)
    }
}

/// TCP's control bits as they stand in the header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// No more data from the sender.
    pub const FIN: Self = Self(0x01);
    /// Opens a connection.
    pub const SYN: Self = Self(0x02);
    /// Ends a connection at once.
    pub const RST: Self = Self(0x04);
    /// Data for the application now.
    pub const PSH: Self = Self(0x08);
    /// The acknowledgment number is valid.
    pub const ACK: Self = Self(0x10);
    /// The urgent pointer is valid.
    pub const URG: Self = Self(0x20);

    /// Whether every bit of `other` is set here.
    #[inline]
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The bits of both.
    #[inline]
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether a TCP may send these bits together: at most one of SYN, FIN and RST, and ACK in
    /// everything that is neither SYN nor RST (RFC 9293 §3.10). NULL and XMAS are not.
    #[inline]
    #[must_use]
    pub const fn is_sane(self) -> bool {
        match self.0 & 0x07 {
            0x00 | 0x01 => self.has(Self::ACK),
            0x02 | 0x04 => true,
            _ => false,
        }
    }
}

/// What a neighbour message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Neighbour {
    /// "Who has this address?"
    Solicitation {
        /// The address asked for.
        target: Address,
        /// The asker's MAC, where it says so.
        source_link: Option<Mac>,
    },
    /// "I have this address."
    Advertisement {
        /// The address advertised.
        target: Address,
        /// The MAC it is said to be at.
        target_link: Option<Mac>,
    },
}

/// An ARP packet for IPv4 over Ethernet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// Who put the frame on the wire, by the Ethernet header.
    pub source_mac: Mac,
    /// Whom the frame is for, by the Ethernet header.
    pub target_mac: Mac,
    /// 1 asks, 2 answers; others occur.
    pub operation: u16,
    /// Who says to have `sender`.
    pub sender_mac: Mac,
    /// The sender's IPv4 address.
    pub sender: [u8; 4],
    /// The IPv4 address asked for, or the receiver's.
    pub target: [u8; 4],
}

impl Arp {
    /// The operation of a question.
    pub const REQUEST: u16 = 1;
    /// The operation of an answer.
    pub const REPLY: u16 = 2;
}
