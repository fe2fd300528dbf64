//! What is to be known where somebody asks for a Service's address, or at a port of a node that leads
//! to one: policy sees its backends.

use std::net::IpAddr;

use lockgate_dataplane::policy::ruleset::Service as Packet;
use lockgate_dataplane::service::{Backend, Extent, FrontKey, Serving};

use crate::inventory::Inventory;
use crate::manifest::ObjectKey;
use crate::services::{Asked, Claim, Here, addresses, asked_at, node_port_address, number_of};

/// Backends that are named; of more there is only said how many.
const NAMED_MAX: usize = 5;

/// A Service that claims an address, why it does, and who serves there.
type Found = (Claim, ObjectKey, Option<Asked>);

/// That an address is a Service's, or a node's that leads there, and who serves instead: what policy
/// judges.
pub(super) fn caveat(
    inventory: &Inventory,
    [from, to]: [IpAddr; 2],
    packet: Packet,
) -> Option<String> {
    of_address(inventory, [from, to], packet)
        .or_else(|| of_node_port(inventory, [from, to], packet))
}

fn found(inventory: &Inventory, here: &Here, address: IpAddr, packet: Packet) -> Option<Found> {
    let at =
        FrontKey { address: address.into(), port: packet.port, number: number_of(packet.protocol) };
    let claims = inventory.services().filter_map(|service| {
        let claim = addresses(service).filter(|(_, one)| *one == address).map(|one| one.0).min()?;
        let key = &service.metadata.key;
        let slices = inventory.backends(&key.namespace, &key.name).slices;
        let id = |_, _, _| lockgate_dataplane::service::ServingId(0);
        let asked = asked_at(service, &slices, here, id);
        let serving = asked.into_iter().find(|asked: &Asked| asked.key == at);
        Some((serving.is_none(), claim, key.clone(), serving))
    });
    let (_, claim, key, asked) =
        claims.min_by(|one, other| (one.0, one.1, &one.2).cmp(&(other.0, other.1, &other.2)))?;
    Some((claim, key, asked))
}

fn of_address(
    inventory: &Inventory,
    [from, address]: [IpAddr; 2],
    packet: Packet,
) -> Option<String> {
    let (claim, key, asked) = found(inventory, &Here::default(), address, packet)?;
    if asked.is_none() && claim.extent() == Extent::Fronts {
        // The rest of such an address is no Service's.
        return None;
    }
    let path = key.path();
    let Some(Asked { front, .. }) = asked else {
        return Some(format!(
            "{address} is the address of Service {path}, where nobody serves this: the switch \
             refuses it whatever policy says"
        ));
    };
    if !front.admits(from.into()) {
        return Some(format!(
            "{address} is the address of Service {path}, whose loadBalancerSourceRanges do not hold \
             {from}: the switch drops what it sends there whatever policy says"
        ));
    }
    let (who, whom) = backends(&front.serving);
    Some(if who.is_empty() {
        format!(
            "{address} is the address of Service {path}, which has no backends: the switch refuses \
             what is sent there whatever policy says"
        )
    } else {
        format!(
            "{address} is the address of Service {path}: policy judges its backends{whom} instead, \
             {who}: ask about those"
        )
    })
}

fn of_node_port(inventory: &Inventory, [from, to]: [IpAddr; 2], packet: Packet) -> Option<String> {
    let node = inventory.nodes().find(|node| node.addresses.contains(&to))?;
    let name = &node.metadata.key.name;
    let there = Here { node: Some(name.clone()), zone: None };
    let (_, key, asked) = found(inventory, &there, node_port_address(to.is_ipv6()), packet)?;
    let Asked { front, .. } = asked?;
    let mut pods = inventory.pods().filter(|pod| pod.addresses.contains(&from));
    let is_of_node = |address: &IpAddr| node.addresses.contains(address);
    let is_own = is_of_node(&from) || pods.any(|pod| pod.host_ips.iter().any(is_of_node));
    let (who, whom) = backends(front.serving_for(!is_own));
    let led = format!(
        "{to} is the address of node {name}, whose port {} leads to Service {}",
        packet.port,
        key.path()
    );
    Some(if who.is_empty() {
        format!(
            "{led}, which has no backends for this: the switch answers or drops it whatever policy says"
        )
    } else if is_own {
        format!("{led}: policy judges its backends{whom} instead, {who}: ask about those")
    } else {
        let as_whom = if front.beyond.is_some() { "the sender" } else { "that node" };
        format!(
            "{led}: its backends{whom}, {who}, are asked there, by {as_whom}: ask about those too"
        )
    })
}

/// The backends, and of whom they are where not of everybody.
fn backends(serving: &Serving) -> (String, &'static str) {
    let (list, whom) = if serving.chosen.is_empty() {
        (&serving.serving, " on the client's node, or those that end,")
    } else {
        (&serving.chosen, "")
    };
    let named = list.iter().take(NAMED_MAX).map(|Backend { address, port }| {
        std::net::SocketAddr::new((*address).into(), *port).to_string()
    });
    let mut shown: Vec<String> = named.collect();
    if list.len() > NAMED_MAX {
        shown.push(format!("{} more", list.len() - NAMED_MAX));
    }
    (shown.join(", "), whom)
}
