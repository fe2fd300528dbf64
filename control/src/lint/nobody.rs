//! Selectors, sets and ports that mean nobody: among the pods, sets and nodes of the directory, or
//! among whatever could be.

use std::collections::BTreeSet;

use lockgate_dataplane::policy::ruleset::{Direction, PodIndex};

use super::reading::{Asked, At, Reading};
use super::remedy::mending;
use super::spell::{Blamed, Field, told};
use super::{Finding, finding};
use crate::expression::{Expression, Needs, Seen};
use crate::inventory::{ADD_TIER, Inventory, Resident, absent_tier};
use crate::manifest::Pod;
use crate::policy::kubernetes::number;
use crate::policy::{IpProtocol, Kind, Listed, Ports, Rule, Selection, Side, Traffic, Within};
use crate::resolve::{Ordered, Wearer, Wears};

/// What is asked who is meant.
pub(super) struct Crowd<'r> {
    pub(super) inventory: &'r Inventory,
    pub(super) reading: &'r Reading<'r>,
    pub(super) ordered: &'r Ordered<'r>,
    pub(super) residents: &'r [Resident<'r>],
    /// Whether there are pods, and of each it is known what it is: else nobody can say who is meant.
    pub(super) is_known: bool,
    /// Whether each of them has an address.
    pub(super) is_settled: bool,
}

/// What is wrong, in a code and words.
type Wrong = (&'static str, String);

impl Crowd<'_> {
    /// Everything that means nobody.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let matching: BTreeSet<At> = self.reading.pieces.iter().map(|piece| piece.at).collect();
        let policies = self.reading.policies.iter().enumerate();
        policies.flat_map(|(place, asked)| self.of_policy(place, asked, &matching)).collect()
    }

    fn of_policy(&self, place: usize, asked: &Asked<'_>, matching: &BTreeSet<At>) -> Vec<Finding> {
        let written = asked.written;
        if !asked.has_tier {
            // One that is there and is broken is told of by what reads it.
            let absent = written.tier.as_deref().filter(|one| self.ordered.opens(one).is_none());
            let told = absent.map(|tier| {
                let (message, field) = (absent_tier(tier), "spec.tier");
                finding("missing-tier", &written.metadata, field, &message, ADD_TIER)
            });
            return told.into_iter().collect();
        }
        let subject = &written.subject;
        let is_empty = self.is_known && asked.subjects.pods.is_empty();
        if is_empty || contradiction(subject).is_some() {
            let message = self.nobody_in(subject, "pod");
            let is_profile = written.kind == Kind::Profile;
            let field =
                Field::Subject(if is_profile { Blamed::Name } else { self.blamed(subject) });
            let remedy = mending(written.kind, field);
            let field = field.of(written.kind);
            return vec![finding("selects-nothing", &written.metadata, &field, &message, &remedy)];
        }
        let mut found = Vec::new();
        for direction in [Direction::Ingress, Direction::Egress] {
            for (rule, listed) in written.rules(direction).unwrap_or_default().iter().enumerate() {
                let Listed::Rule(written_rule) = listed else { continue };
                let at = At { policy: place, direction, rule, peer: 0, net: None };
                let wrong = self.of_rule(asked, written_rule, at, matching);
                found.extend(wrong.into_iter().map(|(field, (code, message))| {
                    let remedy = mending(written.kind, field);
                    finding(code, &written.metadata, &field.of(written.kind), &message, &remedy)
                }));
            }
        }
        found
    }

    fn of_rule(
        &self,
        asked: &Asked<'_>,
        rule: &Rule,
        at: At,
        matching: &BTreeSet<At>,
    ) -> Vec<(Field, Wrong)> {
        let peers = rule.peers.iter().enumerate().filter_map(|(peer, side)| {
            Some((Field::Peer(At { peer, ..at }), self.nobody_at(side)?))
        });
        let mut found: Vec<(Field, Wrong)> = peers.collect();
        found.extend(self.nobody_at(&rule.own).map(|wrong| (Field::Own(at), wrong)));
        found.extend(self.unborne(asked, rule, at));
        if !found.is_empty() || !self.is_known || !self.is_settled {
            return found;
        }
        let parts =
            asked.parts.iter().filter(|one| (one.direction, one.rule) == (at.direction, at.rule));
        let (alive, dead): (Vec<&At>, Vec<&At>) = parts.partition(|one| matching.contains(one));
        if alive.is_empty() {
            let message = "it matches nothing: nobody is all that it asks for at once";
            return vec![(Field::Rule(at), ("never-matches", message.to_owned()))];
        }
        let nets = dead.into_iter().filter(|one| one.net.is_some());
        let message = "it matches nothing: nothing of it is left by what stands beside it";
        found.extend(nets.map(|one| (Field::Net(*one), ("never-matches", message.to_owned()))));
        found.extend(self.leaving_nobody_out(rule, at));
        found.extend(self.absent_sets(rule, at));
        found
    }

    /// Sets of networks that are not there among those that a selector means, one or another.
    fn absent_sets(&self, rule: &Rule, at: At) -> Vec<(Field, Wrong)> {
        let peers = rule.peers.iter().enumerate().filter(|_| self.is_known);
        let meant = peers.filter_map(|(peer, side)| Some((peer, side.selection.as_ref()?)));
        let of_one = |(peer, selection): (usize, &Selection)| {
            let parts = match &selection.labels {
                Expression::Or(parts) if !self.is_nobody(selection) => parts.as_slice(),
                _ => &[],
            };
            let one = |part: &Expression| Selection { labels: part.clone(), ..selection.clone() };
            let absent = parts.iter().map(one).filter(|one| {
                self.is_for_sets(one) && self.is_nobody(one) && !self.ordered.selects_a_set(one)
            });
            let wrong = |one: Selection| {
                let unseen = self.unseen(&one).unwrap_or_default();
                let message = format!("no pod and no set of networks is {}{unseen}", told(&one));
                (Field::Selector(At { peer, ..at }), ("missing-set", message))
            };
            absent.map(wrong).collect::<Vec<_>>()
        };
        meant.flat_map(of_one).collect()
    }

    /// What a rule leaves out that nobody is and nobody has: it matches what it was not to match.
    fn leaving_nobody_out(&self, rule: &Rule, at: At) -> Vec<(Field, Wrong)> {
        let mut found = Vec::new();
        let other = match at.direction {
            Direction::Ingress => Direction::Egress,
            Direction::Egress => Direction::Ingress,
        };
        let own = (at.direction, &rule.own);
        for (end, side) in rule.peers.iter().map(|peer| (other, peer)).chain([own]) {
            let Some(expression) = &side.not_selector else { continue };
            let labels = Selection::pods(Within::Anywhere, expression.clone());
            let left_out = Selection { takes_sets: true, ..labels };
            if self.is_nobody(&left_out) {
                let is_empty = self.ordered.selects_a_set(&left_out);
                let is_set = !is_empty && self.is_for_sets(&left_out);
                let code = if is_set { "missing-set" } else { "never-matches" };
                let who = told(&left_out);
                let message = if is_empty {
                    "it leaves nobody out: the sets of networks that it means are empty".to_owned()
                } else {
                    format!("it leaves nobody out: no pod and no set of networks is {who}")
                };
                found.push((Field::NotSelector(at, end), (code, message)));
            }
        }
        for traffic in &rule.traffic {
            for (place, name) in named(&traffic.not_target_ports) {
                let has = |one: &Resident<'_>| has_port(one, name, traffic);
                if !self.residents.iter().any(has) {
                    let message = format!(
                        "it leaves nothing out: no pod has a port named {name} in that protocol"
                    );
                    found.push((Field::NotPort(at, place), ("never-matches", message)));
                }
            }
        }
        found
    }

    fn is_nobody(&self, selection: &Selection) -> bool {
        let side = Side { selection: Some(selection.clone()), ..Side::default() };
        self.ordered.is_nobody(&side)
    }

    /// Which of its selectors leaves nobody of a subject that is for no pod.
    fn blamed(&self, subject: &Selection) -> Blamed {
        let there = Selection::every_pod(subject.within.clone());
        let is_elsewhere =
            contradiction(&there).is_some() || self.is_known && self.is_nobody(&there);
        if is_elsewhere && matches!(subject.within, Within::Namespaces(_)) {
            return Blamed::Namespaces;
        }
        let labels = Selection { accounts: None, ..subject.clone() };
        if subject.accounts.is_some() && self.is_known && !self.is_nobody(&labels) {
            Blamed::Accounts
        } else {
            Blamed::Labels
        }
    }

    /// Names of ports that nobody has who could.
    fn unborne(&self, asked: &Asked<'_>, rule: &Rule, at: At) -> Vec<(Field, Wrong)> {
        let mut found = Vec::new();
        let traffic = rule.traffic.iter().enumerate().filter(|_| self.is_known);
        for (place, traffic) in traffic {
            for (port, name) in named(traffic.target_ports.iter().flatten()) {
                let mut candidates = (0..).zip(self.residents).filter(|(place, _)| {
                    at.direction == Direction::Egress
                        || asked.subjects.pods.binary_search(&PodIndex(*place)).is_ok()
                });
                if candidates.any(|(_, one)| has_port(one, name, traffic)) {
                    continue;
                }
                let whose = if at.direction == Direction::Egress { "" } else { " of the policy's" };
                let message = format!("no pod{whose} has a port named {name} in that protocol");
                found.push((Field::Port(at, place, port), ("never-matches", message)));
            }
        }
        found
    }

    fn nobody_at(&self, side: &Side) -> Option<Wrong> {
        let selection = side.selection.as_ref();
        let is_global = selection.is_some_and(|one| one.within == Within::Global);
        let is_impossible = selection.is_some_and(|one| contradiction(one).is_some());
        let is_judged = self.is_known || is_global;
        let is_empty = is_impossible || is_judged && self.ordered.is_nobody(side);
        if !is_empty {
            return None;
        }
        if let Some(service) = &side.service {
            let name = format!("{}/{}", service.namespace, service.name);
            return Some(("never-matches", format!("no EndpointSlice backs the Service {name}")));
        }
        if let Some(labels) = &side.nodes {
            return Some(("never-matches", format!("no Node matches {labels}")));
        }
        // Nets that leave nothing of each other are told of where they stand.
        let selection = selection.filter(|one| is_impossible || self.is_nobody(one))?;
        if !is_impossible && self.ordered.selects_a_set(selection) {
            let message = "it selects no address: the sets of networks that it means are empty";
            return Some(("never-matches", message.to_owned()));
        }
        let code = if !is_impossible && self.is_for_sets(selection) {
            "missing-set"
        } else {
            "never-matches"
        };
        let whom = match (is_global, selection.takes_sets) {
            (true, _) => "GlobalNetworkSet",
            (_, true) => "pod and no set of networks",
            _ => "pod",
        };
        Some((code, self.nobody_in(selection, whom)))
    }

    /// Whether a selector asks for labels that only a set can have: no pod has their keys.
    fn is_for_sets(&self, selection: &Selection) -> bool {
        let is_worn = |key: &str| {
            key.starts_with("projectcalico.org/")
                || self.residents.iter().any(|one| {
                    one.pod.labels.as_ref().is_some_and(|labels| labels.get(key).is_some())
                })
        };
        let keys = selection.labels.keys();
        selection.takes_sets
            && (selection.within == Within::Global
                || !keys.is_empty() && !keys.into_iter().any(is_worn))
    }

    fn nobody_in(&self, selection: &Selection, whom: &str) -> String {
        if let Some(key) = contradiction(selection) {
            return format!("it selects nothing: what it asks of {key} excludes itself");
        }
        match &selection.within {
            Within::Namespace(name)
                if !self.residents.iter().any(|one| one.namespace() == &**name) =>
            {
                format!("it selects nothing: no {whom} is in namespace {name}")
            }
            _ => {
                let unseen = self.unseen(selection).unwrap_or_default();
                format!("it selects nothing: no {whom} is {}{unseen}", told(selection))
            }
        }
    }

    /// A pod that is selected and that policies do not see, in words.
    fn unseen(&self, selection: &Selection) -> Option<String> {
        let pods = self.inventory.pods().filter(|pod| pod.host_network || pod.is_completed);
        let is_selected =
            |pod: &&Pod| Wearer::pod(self.inventory, pod).is_selected(selection) == Some(true);
        let pod = pods.into_iter().find(is_selected)?;
        let why = if pod.is_completed { "has ended" } else { "is on its node's network" };
        Some(format!(" ({} is, but it {why})", pod.metadata.key.path()))
    }
}

/// The names of ports in a list, and their places in it.
fn named<'p>(ports: impl IntoIterator<Item = &'p Ports>) -> impl Iterator<Item = (usize, &'p str)> {
    ports.into_iter().enumerate().filter_map(|(place, ports)| match ports {
        Ports::Named(name) => Some((place, name.as_str())),
        Ports::Range(..) => None,
    })
}

/// Whether a pod calls a port so, in the protocol of this traffic.
fn has_port(pod: &Resident<'_>, name: &str, traffic: &Traffic) -> bool {
    let is_meant = |protocol: IpProtocol| traffic.protocol.is_none_or(|one| one == protocol);
    pod.pod.ports.iter().any(|port| *port.name == *name && is_meant(number(port.protocol)))
}

/// The key of which a selector asks what nothing can be at once.
fn contradiction(selection: &Selection) -> Option<String> {
    let within = match &selection.within {
        Within::Namespaces(expression) => Some(expression),
        _ => None,
    };
    let mut all = [Some(&selection.labels), within].into_iter().flatten();
    all.find_map(|expression| {
        let parts = match expression {
            Expression::And(parts) => parts.as_slice(),
            one => std::slice::from_ref(one),
        };
        expression.keys().into_iter().find(|key| excludes_itself(parts, key)).map(str::to_owned)
    })
}

/// Whether no value, nor its absence, fulfils all parts that are about one key alone.
fn excludes_itself(parts: &[Expression], key: &str) -> bool {
    let parts = || parts.iter().filter(|part| part.keys() == [key]);
    let is_possible = |seen: Seen<'_>| parts().all(|part| part.judge(&|_| seen) != Some(false));
    let listed = parts().find_map(|part| match part.needs() {
        Some(Needs::Values(_, values)) => Some(values),
        _ => None,
    });
    match listed {
        Some(values) => !values.iter().any(|value| is_possible(Seen::Value(value))),
        None => !is_possible(Seen::Absent) && parts().any(asks_absence),
    }
}

/// Whether a part asks a key to be absent.
fn asks_absence(part: &Expression) -> bool {
    matches!(part, Expression::Not(inner) if matches!(**inner, Expression::Has(_)))
}
