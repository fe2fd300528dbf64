//! Ports of this node that lead to its pods (`hostPort`), as the node's own pods ask them. Pure.
//!
//! Who is beyond the node is led there by the portmap plugin, whose rules would send back what a pod
//! sends with that pod's address: no packet that comes in at the host port may bear one. So what
//! pods send is given its pod at the client's port, as it is for node ports.

use std::net::IpAddr;
use std::sync::Arc;

use lockgate_dataplane::packet::Protocol;
use lockgate_dataplane::service::{Backend, Front, FrontKey, Lack, Serving, ServingId};

use super::{Asked, Claim, node_port_address, number_of};
use crate::manifest::Pod;

/// Every port of the node at which a pod of it is asked. `id` names them.
pub fn hosted_at(pod: &Pod, mut id: impl FnMut(Protocol, u16, bool) -> ServingId) -> Vec<Asked> {
    if pod.interface.is_none() || pod.host_network || pod.is_completed {
        return Vec::new();
    }
    let all = pod.host_ports.iter();
    let all = all.flat_map(|port| pod.addresses.iter().map(move |address| (port, *address)));
    all.map(|(port, address): (_, IpAddr)| {
        let v6 = address.is_ipv6();
        let (at, number) = (node_port_address(v6).into(), number_of(port.protocol));
        let key = FrontKey { address: at, port: port.number, number };
        let backends: Arc<[Backend]> =
            [Backend { address: address.into(), port: port.target }].into();
        let serving = Serving {
            id: id(port.protocol, port.number, v6),
            affinity_ms: 0,
            lack: Lack::Reject,
            chosen: Arc::clone(&backends),
            serving: Arc::clone(&backends),
            listed: backends,
        };
        let front = Front { serving: Arc::new(serving), beyond: None, sources: None };
        Asked { key, claim: Claim::Pod, front }
    })
    .collect()
}
