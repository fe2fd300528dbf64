//! Where two snapshots say otherwise, by names and addresses: numbers may differ.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use lockgate_dataplane::compiler::Tables;
use lockgate_dataplane::endpoint::{Endpoints, Kind, Local, Place, Topology};
use lockgate_dataplane::packet::Protocol;
use lockgate_dataplane::policy::ruleset::{Cause, Service};
use lockgate_dataplane::policy::{ClassId, PolicySetId, PolicyTable, Query, VerdictId};

use super::Edges;

/// Where two snapshots judge or route otherwise. With `by_verdict`, causes and places may differ:
/// what connections remember is whether they were allowed.
pub(super) fn difference(
    one: &Tables,
    other: &Tables,
    topology: &Topology,
    edges: &Edges,
    by_verdict: bool,
) -> Option<String> {
    let mut judge = Judge::new(one, other, edges, by_verdict);
    let locals: Vec<_> = topology.attachments.iter().map(|at| at.at).collect();
    let own = other.endpoints.locals().flat_map(Local::addresses).map(IpAddr::from);
    let addresses: BTreeSet<IpAddr> = edges.addresses.iter().copied().chain(own).collect();
    if !by_verdict && one.endpoints.host() != other.endpoints.host() {
        return Some("the host port differs".to_owned());
    }
    for &address in &addresses {
        let [a, b] = [one, other].map(|tables| told(&tables.endpoints, address));
        if a != b && !by_verdict {
            return Some(format!("{address}\n  one   {a:?}\n  other {b:?}"));
        }
    }
    if !by_verdict && one.endpoints.locals().count() != other.endpoints.locals().count() {
        return Some("there are more local pods".to_owned());
    }
    for at in locals {
        let [a, b] = [one, other].map(|tables| {
            tables.endpoints.sender(at).map(|local| {
                let own: BTreeSet<_> = local.addresses().map(IpAddr::from).collect();
                (local.endpoint, local.mac, local.mtu, own)
            })
        });
        if a != b && !by_verdict {
            return Some(format!("the sender at {at:?}\n  one   {a:?}\n  other {b:?}"));
        }
    }
    for local in other.endpoints.locals() {
        let first = IpAddr::from(local.addresses().next()?);
        let [a, b] = [one, other].map(|tables| place(tables, first).sets);
        for &address in &addresses {
            let [p, q] = [one, other].map(|tables| place(tables, address).class);
            for ((own, other_own), direction) in
                [((a.egress, b.egress), "egress"), ((a.ingress, b.ingress), "ingress")]
            {
                if let Some(what) = judge.differs((own, p), (other_own, q)) {
                    return Some(format!("{direction} of {first} with {address}: {what}"));
                }
            }
        }
    }
    None
}

fn place(tables: &Tables, address: IpAddr) -> Place {
    tables.endpoints.place(address.into())
}

/// What an address is, in words that mean the same in any snapshot.
fn told(endpoints: &Endpoints, address: IpAddr) -> String {
    match endpoints.place(address.into()).kind {
        Kind::Local(index) => {
            let local = endpoints.local(index);
            format!("{:?} at {:?}", local.endpoint, local.at)
        }
        other => format!("{other:?}"),
    }
}

type Side = (PolicySetId, ClassId);

/// Compares what two tables say of pairs of a policy set and a class, once of each.
struct Judge<'a> {
    tables: [&'a PolicyTable; 2],
    services: Vec<Service>,
    done: HashSet<(Side, Side)>,
    causes: HashMap<(VerdictId, VerdictId), bool>,
    by_verdict: bool,
}

impl<'a> Judge<'a> {
    fn new(one: &'a Tables, other: &'a Tables, edges: &Edges, by_verdict: bool) -> Self {
        // Each port from another, of each protocol from others.
        let of = |(place, protocol): (usize, Protocol)| {
            let sources = edges.ports.iter().cycle().skip(place * 3);
            edges.ports.iter().zip(sources).map(move |(&port, &source_port)| Service {
                protocol,
                port,
                source_port,
            })
        };
        let services = Protocol::ALL.into_iter().enumerate().flat_map(of).collect();
        let tables = [&one.policy, &other.policy];
        Self { tables, services, done: HashSet::new(), causes: HashMap::new(), by_verdict }
    }

    fn differs(&mut self, one: Side, other: Side) -> Option<String> {
        if !self.done.insert((one, other)) {
            return None;
        }
        for &service in &self.services {
            let ask = |table: &PolicyTable, (egress, target_class): Side| {
                let (ingress, source_class) = (PolicySetId::NONE, target_class);
                table.decide(&Query { egress, target_class, ingress, source_class, service }).egress
            };
            let [a, b] = [ask(self.tables[0], one), ask(self.tables[1], other)];
            let same = if self.by_verdict {
                a.is_allow() == b.is_allow()
            } else {
                *self.causes.entry((a, b)).or_insert_with(|| {
                    a.is_allow() == b.is_allow()
                        && cause(self.tables[0], a) == cause(self.tables[1], b)
                })
            };
            if !same {
                let [a, b] = [cause(self.tables[0], a), cause(self.tables[1], b)];
                return Some(format!("{service:?}\n  one   {a}\n  other {b}"));
            }
        }
        None
    }
}

/// A cause by names.
fn cause(table: &PolicyTable, verdict: VerdictId) -> String {
    match table.cause(verdict) {
        Cause::Rule { policy, rule } => format!("{}[{rule}]", table.policy_name(*policy)),
        Cause::DenyRule { policy, rule } => {
            format!("denied by {}[{rule}]", table.policy_name(*policy))
        }
        Cause::DefaultDeny { isolating } => {
            let names: Vec<_> =
                isolating.iter().map(|id| table.policy_name(*id).to_string()).collect();
            format!("isolated by {}", names.join(" "))
        }
        other => format!("{other:?}"),
    }
}
