//! Peers of policies of the cluster (CNP-6 to CNP-8, CNP-11).

use std::net::IpAddr;

use lockgate_dataplane::policy::ruleset::Direction;
use serde_json::{Map, Value};

use super::super::judge::Asked;
use super::super::network::Cidr;
use super::super::reading::{at, field, list, only};
use super::super::{Broken, ends, label};
use super::cluster;

const PEERS_MAX: usize = 25;
const NETWORKS_MAX: usize = 25;
const OF_ADDRESSES: [&str; 3] = ["networks", "nodes", "domainNames"];

/// Whether the other end is any of the peers.
pub(super) fn matches(peers: &[Value], asked: &Asked<'_>) -> Result<bool, Broken> {
    if !(1..=PEERS_MAX).contains(&peers.len()) {
        return Err(Broken("1 to 25 peers"));
    }
    let mut any = false;
    for peer in peers {
        any |= is_peer(peer, asked)?;
    }
    Ok(any)
}

/// Whether a peer of the list is not of pods.
pub(super) fn are_addresses(peers: &Value) -> bool {
    let mut all = peers.as_array().into_iter().flatten();
    all.any(|peer| OF_ADDRESSES.iter().any(|name| field(peer, name).is_some()))
}

fn is_peer(peer: &Value, asked: &Asked<'_>) -> Result<bool, Broken> {
    only(peer, &["namespaces", "pods", "networks", "nodes", "domainNames"])?;
    let given = peer.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    let [(name, value)] = given.collect::<Vec<_>>()[..] else {
        return Err(Broken("exactly one kind of peer"));
    };
    match name.as_str() {
        "namespaces" | "pods" => cluster::is_meant(peer, asked, asked.other.pod),
        _ if asked.direction == Direction::Ingress => Err(Broken("a peer of egress")),
        "networks" => is_in_networks(value, asked.other.address),
        "nodes" => is_of_nodes(value, asked),
        _ => Err(Broken("names of domains are not enforced")),
    }
}

fn is_in_networks(written: &Value, address: IpAddr) -> Result<bool, Broken> {
    let networks = list(written, "networks must be a list")?;
    if !(1..=NETWORKS_MAX).contains(&networks.len()) {
        return Err(Broken("1 to 25 networks"));
    }
    let mut any = false;
    for network in networks {
        let network = network.as_str().and_then(Cidr::read).ok_or(Broken("not a CIDR"))?;
        any |= network.contains(address);
    }
    Ok(any)
}

/// All addresses of the nodes that the selector means (CNP-8).
fn is_of_nodes(selector: &Value, asked: &Asked<'_>) -> Result<bool, Broken> {
    label::selects(selector, &Map::new())?;
    let mut any = false;
    for node in asked.cluster.objects.iter().filter(|one| one["kind"] == "Node") {
        let listed = at(node, "status/addresses").and_then(Value::as_array).into_iter().flatten();
        let own = listed.filter_map(|one| one["address"].as_str()?.parse::<IpAddr>().ok());
        let is_its = own.into_iter().any(|address| address == asked.other.address);
        any |= is_its && label::selects(selector, ends::labels(node))?;
    }
    Ok(any)
}
