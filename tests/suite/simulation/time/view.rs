//! What a snapshot says, as the oracle reads the objects that were told.

use std::net::IpAddr;

use lockgate_dataplane::ids::Generation;
use lockgate_tests::oracle::{Cluster, Question};
use serde_json::Value;

use super::agents::{Place, Places};

/// Addresses, each with the pods that have it, each at its place.
type Ends = Vec<(IpAddr, Vec<(String, Option<Place>)>)>;

/// What a snapshot says: of objects, and of places.
pub(super) struct View {
    pub(super) cluster: Cluster,
    pub(super) places: Places,
    pub(super) generation: Generation,
}

impl View {
    /// Who is at a wire; nobody at the host's.
    pub(super) fn place_of(&self, wire: &str) -> Option<&Place> {
        self.places.values().find(|place| place.wire == wire)
    }

    /// The addresses that a question is about, and the pods that have them, each at its place.
    pub(super) fn ends(&self, question: &Question) -> Ends {
        let place = |pod: String| (pod.clone(), self.places.get(&pod).cloned());
        let who = who(&self.cluster, question).into_iter();
        who.map(|(address, pods)| (address, pods.into_iter().map(place).collect())).collect()
    }
}

/// The addresses that a question is about, each with the pods that have it.
fn who(view: &Cluster, question: &Question) -> Vec<(IpAddr, Vec<String>)> {
    let addresses = [&question.source, &question.target]
        .into_iter()
        .filter_map(|end| view.address_of(end, question.family).ok());
    addresses.map(|address| (address, owners(view, address))).collect()
}

/// The living pods that have an address, as `namespace/name`.
pub(super) fn owners(view: &Cluster, address: IpAddr) -> Vec<String> {
    let living = view.living().into_iter();
    let owners = living.filter(|(ns, name)| view.addresses(ns, name).contains(&address));
    owners.map(|(namespace, name)| format!("{namespace}/{name}")).collect()
}

/// Whether an end's pod shares an address: until one of them has gone, nobody can tell whose
/// packets are whose, and nothing reaches or leaves either (NP-54).
pub(super) fn is_contested(view: &Cluster, question: &Question) -> bool {
    let asked = who(view, question);
    let pods = asked.iter().flat_map(|(_, owners)| owners).filter_map(|pod| pod.split_once('/'));
    let mut own = pods.flat_map(|(namespace, name)| view.addresses(namespace, name));
    own.any(|address| owners(view, address).len() > 1)
}

/// What snapshots say, to be read.
pub(super) fn told(views: &[View]) -> String {
    let lines = |view: &View| {
        let objects = view.cluster.objects.iter().map(Value::to_string);
        objects.collect::<Vec<_>>().join("\n")
    };
    views.iter().map(lines).collect::<Vec<_>>().join("\n=====\n")
}

pub(super) fn is_of_node(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.octets()[..2] == [192, 168],
        IpAddr::V6(v6) => v6.segments()[0] == 0xfd01,
    }
}
