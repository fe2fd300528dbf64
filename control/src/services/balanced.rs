//! Where load balancers' addresses are asked, as the node's own stack has to know it. Pure.

use std::net::IpAddr;

use super::number_of;
use crate::manifest::Service;

/// A port of a load balancer's address that is a Service's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BalancedPort {
    /// The address.
    pub address: IpAddr,
    /// The number of its protocol.
    pub protocol: u8,
    /// Its own number.
    pub port: u16,
}

/// The ports of all load balancers' addresses, ascending, each once.
pub fn balanced_ports<'s>(services: impl Iterator<Item = &'s Service>) -> Vec<BalancedPort> {
    let of = |service: &'s Service| {
        let ports = service.ports.iter().map(|port| (number_of(port.protocol), port.number));
        ports.flat_map(|(protocol, port)| {
            let all = service.fronts.balanced.iter();
            all.map(move |address| BalancedPort { address: *address, protocol, port })
        })
    };
    let whole = services.filter(|service| service.fronts.is_whole);
    let mut all: Vec<BalancedPort> = whole.flat_map(of).collect();
    all.sort_unstable();
    all.dedup();
    all
}
