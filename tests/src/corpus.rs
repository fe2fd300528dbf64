//! The evasion corpus: frames that a pod makes to get past a switch, and what becomes of each.
//!
//! One table, a file of it for each topic. Every entry is built for a [`Scene`], so that the same
//! entry meets the parser, the simulated node and real sockets. The sender is a pod, the target
//! another pod of its node to which policy lets everything through, unless the test closes it: what
//! does not arrive was stopped by the one rule that the entry is about.
//!
//! What is let through is let through to policy: a protocol without ports by rules without ports
//! only, everything else by its ports. A tunnel that a pod begins is such a protocol or a UDP port
//! as any other; what is inside is for the pod at its other end to believe.

// An entry that can't be built fails its test by panicking: the table is wrong.
#![allow(clippy::missing_panics_doc, clippy::unwrap_used, clippy::cast_possible_truncation)]

mod addresses;
mod build;
mod fragments;
mod icmp;
mod ipv4;
mod ipv6;
mod link;
mod neighbours;
mod spoofing;
mod transport;

use std::net::{Ipv4Addr, Ipv6Addr};

use lockgate_dataplane::counters::DropReason;
use lockgate_dataplane::ids::Mac;
use lockgate_dataplane::packet::answer::GATEWAY_MAC;

use crate::packets::Ends;

/// One pod, as its packets name it.
#[derive(Clone, Copy, Debug)]
pub struct Host {
    /// Its MAC.
    pub mac: Mac,
    /// Its IPv4 address.
    pub v4: Ipv4Addr,
    /// Its IPv6 address.
    pub v6: Ipv6Addr,
}

/// Who is there when an entry is sent.
#[derive(Clone, Copy, Debug)]
pub struct Scene {
    /// The pod that sends it.
    pub sender: Host,
    /// The pod that it is for.
    pub target: Host,
    /// A third pod, whom the sender would be.
    pub other: Host,
    /// An address of the node itself.
    pub node: Ipv4Addr,
    /// The number of its datagrams in pieces: what came before of another is not of the same.
    pub datagram: u16,
}

impl Scene {
    /// From the sender to the target, by the gateway: IPv4.
    #[must_use]
    pub fn v4(&self) -> Ends {
        self.ends(self.sender.v4.into(), self.target.v4.into())
    }

    /// The same in IPv6.
    #[must_use]
    pub fn v6(&self) -> Ends {
        self.ends(self.sender.v6.into(), self.target.v6.into())
    }

    /// From the sender's wire to the gateway, between any two addresses.
    #[must_use]
    pub fn ends(&self, source: std::net::IpAddr, target: std::net::IpAddr) -> Ends {
        Ends { source_mac: self.sender.mac, target_mac: GATEWAY_MAC, source, target }
    }
}

/// What becomes of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every frame of it is dropped for this reason.
    Dropped(DropReason),
    /// Policy judges it by its ports: every frame arrives where policy lets it.
    Judged,
    /// Policy judges it by its addresses and protocol number: no rule with ports lets it through.
    Portless,
    /// A datagram in pieces that nobody can put together: so many arrive, so many wait for a
    /// first that does not come, and the others are dropped for this reason.
    Parts {
        /// How many arrive.
        arrive: usize,
        /// How many wait.
        wait: usize,
        /// Why the others are dropped.
        reason: DropReason,
    },
}

/// One trick.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Its name, of lower-case words with dashes.
    pub id: &'static str,
    /// What it is, in one line.
    pub what: &'static str,
    /// What becomes of it.
    pub outcome: Outcome,
    /// Why no raw socket can send it; `None` for nearly all.
    pub unsent: Option<&'static str>,
    build: fn(&Scene) -> Vec<Vec<u8>>,
}

impl Entry {
    const fn new(
        id: &'static str,
        what: &'static str,
        outcome: Outcome,
        build: fn(&Scene) -> Vec<Vec<u8>>,
    ) -> Self {
        Self { id, what, outcome, unsent: None, build }
    }

    const fn dropped(
        id: &'static str,
        what: &'static str,
        reason: DropReason,
        build: fn(&Scene) -> Vec<Vec<u8>>,
    ) -> Self {
        Self::new(id, what, Outcome::Dropped(reason), build)
    }

    const fn judged(
        id: &'static str,
        what: &'static str,
        build: fn(&Scene) -> Vec<Vec<u8>>,
    ) -> Self {
        Self::new(id, what, Outcome::Judged, build)
    }

    const fn portless(
        id: &'static str,
        what: &'static str,
        build: fn(&Scene) -> Vec<Vec<u8>>,
    ) -> Self {
        Self::new(id, what, Outcome::Portless, build)
    }

    const fn unsent(self, why: &'static str) -> Self {
        Self { unsent: Some(why), ..self }
    }

    /// Its frames, in the order in which they are sent.
    #[must_use]
    pub fn frames(&self, scene: &Scene) -> Vec<Vec<u8>> {
        (self.build)(scene)
    }
}

/// The whole table.
pub fn entries() -> impl Iterator<Item = &'static Entry> {
    let topics: [&[Entry]; 9] = [
        link::ENTRIES,
        spoofing::ENTRIES,
        addresses::ENTRIES,
        ipv4::ENTRIES,
        ipv6::ENTRIES,
        fragments::ENTRIES,
        transport::ENTRIES,
        icmp::ENTRIES,
        neighbours::ENTRIES,
    ];
    topics.into_iter().flatten()
}
