//! The whole node, simulated: packets in, packets out, with the counters that moved and no other.

mod answers;
mod audit;
mod cases;
mod change;
mod fragments;
mod identity;
mod node;
mod path;
mod pieces;
mod random;
mod rejects;
mod restart;
mod services;
mod time;

use std::net::IpAddr;

use lockgate_dataplane::counters::DropReason;
use lockgate_dataplane::packet::TcpFlags;
use lockgate_tests::packets::{self, Ends};
use lockgate_tests::world::{Fate, Shape, World};

pub(crate) use lockgate_tests::shop::{CLIENT, CLUSTER, OTHER, WEB};

/// The same with no policy that allows the client.
pub(crate) const CLOSED: &str = include_str!("simulation/closed.yaml");

/// Outside, allowed to web by `ipBlock`.
pub(crate) fn friend() -> IpAddr {
    "192.0.2.7".parse().unwrap()
}

pub(crate) fn v4() -> IpAddr {
    "198.51.100.1".parse().unwrap()
}

pub(crate) fn v6() -> IpAddr {
    "2001:db8:ffff::1".parse().unwrap()
}

pub(crate) fn shape(workers: u8) -> Shape {
    Shape { workers, ..Shape::default() }
}

pub(crate) fn syn(ends: Ends, from: u16, to: u16) -> Vec<u8> {
    packets::tcp(ends, (from, to), TcpFlags::SYN, &[])
}

pub(crate) fn syn_ack(ends: Ends, from: u16, to: u16) -> Vec<u8> {
    packets::tcp(ends, (from, to), TcpFlags::SYN.with(TcpFlags::ACK), &[])
}

pub(crate) fn ack(ends: Ends, from: u16, to: u16) -> Vec<u8> {
    packets::tcp(ends, (from, to), TcpFlags::ACK, b"payload")
}

/// Opens a TCP connection from the client to web's port 80 and proves that it stands.
pub(crate) fn open(world: &mut World, outside: IpAddr, port: u16) -> (Ends, Ends) {
    let there = world.ends(CLIENT, WEB, outside);
    let back = world.ends(WEB, CLIENT, outside);
    assert!(world.fate(CLIENT, WEB, &syn(there, port, 80)).is_sent());
    assert!(world.fate(WEB, CLIENT, &syn_ack(back, 80, port)).is_sent());
    assert!(world.fate(CLIENT, WEB, &ack(there, port, 80)).is_sent());
    (there, back)
}

/// What becomes of a packet, and that this is the only cell of drops that moved.
pub(crate) fn dropped(world: &mut World, from: &str, to: &str, frame: &[u8]) -> DropReason {
    let before = world.drops();
    let fate = world.fate(from, to, frame);
    let Fate::Dropped(reason) = fate else { panic!("{fate:?}") };
    let after = world.drops();
    for &other in DropReason::ALL {
        let moved = after[other as usize] - before[other as usize];
        assert_eq!(moved, u64::from(other == reason), "{other:?} beside {reason:?}");
    }
    reason
}
