//! What of policies is hardly meant, though every part of it can be read: `lockgate lint`. Pure.
//!
//! | code | what |
//! |---|---|
//! | `selects-nothing` | a policy that is for no pod |
//! | `never-matches` | a rule, an end of one or a named port that nobody can be or has, or that leaves nobody out; rules that the types leave out |
//! | `missing-set` | an end of a rule that is for, or leaves out, sets of networks which are not there |
//! | `missing-tier` | a policy of a tier that is not there |
//! | `unreached` | rules of which an earlier tier decides everything |
//! | `shadowed` | a rule, or a net of one, of which earlier rules decide everything |
//! | `redundant-range` | a net that other rules, or other parts of its own, allow already |
//! | `ambiguous-order` | two tiers of one order, or two policies of one whose names decide which is asked first, and it matters |
//! | `host-bits` | a CIDR with bits set beyond its length |
//! | `open-namespace` | a namespace in which a pod without labels is isolated for ingress by nothing |
//!
//! What is broken is `validate`'s to tell, and nothing is found because of it: it may have been
//! meant otherwise. What is meant by labels is judged by the pods, sets and nodes that are there, those
//! pods too that have no address yet; without any pod, only what no pod could be is found. Staged
//! policies decide nothing and are not looked at.

mod judge;
mod nobody;
mod open;
mod reading;
mod remedy;
mod spans;
mod spell;
mod tiers;

use std::fmt;
use std::net::Ipv4Addr;
use std::path::Path;

use lockgate_dataplane::policy::ruleset::Direction;
use serde::Serialize;

use crate::inventory::{Census, Change, Inventory};
use crate::manifest::{self, HOST_BITS, Metadata, NO_EFFECT, Object, Pod, Problem, Severity};
use crate::policy::{Action, Kind};
use crate::resolve::Ordered;
use judge::{Idle, Judge};
use nobody::Crowd;
use reading::{At, Reading, apart, written};
use remedy::removal;
use spell::Field;

/// The first of the addresses that no pod can have, for those that wait for one.
const NOBODYS: u32 = 0xf000_0000;

/// Rules that one finding names.
const NAMED_MAX: usize = 3;

/// Something that is hardly meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is, by a name that stays.
    pub code: &'static str,
    /// Where, in words, and what to do.
    #[serde(flatten)]
    pub problem: Problem,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.problem, self.code)
    }
}

/// Gives findings the lines of the fields that they are about, from the files of a directory.
pub fn place(directory: &Path, findings: &mut [Finding]) {
    manifest::place(directory, findings.iter_mut().map(|one| &mut one.problem));
    findings.sort_by(|a, b| a.problem.cmp(&b.problem));
}

/// Everything that is found, by file and line of the object.
#[must_use]
pub fn lint(inventory: &Inventory) -> Vec<Finding> {
    let settled = settled(inventory);
    let residents = Census::of(&settled).residents;
    let policies = written(&settled);
    let parts: Vec<_> = policies.iter().map(apart).collect();
    let ordered = Ordered::new(&settled, &residents);
    let reading = Reading::new(&residents, (&policies, &parts), &ordered);
    let crowd = Crowd {
        inventory: &settled,
        reading: &reading,
        ordered: &ordered,
        residents: &residents,
        is_known: !residents.is_empty() && residents.iter().all(|one| !one.is_denied),
        is_settled: inventory.pods().all(|pod| !pod.addresses.is_empty()),
    };
    let mut found = crowd.findings();
    for direction in [Direction::Ingress, Direction::Egress] {
        let idle = Judge::new(&reading, direction).idle();
        found.extend(idle.into_iter().filter_map(|(at, idle)| told(&reading, at, &idle)));
    }
    found.extend(tiers::equal(&settled));
    found.extend(open::namespaces(&settled, &reading, &ordered));
    found.extend(inventory.problems().into_iter().filter_map(|problem| {
        let code = match &problem.message {
            message if message.ends_with(HOST_BITS) => "host-bits",
            message if message.ends_with(NO_EFFECT) => "never-matches",
            _ => return None,
        };
        Some(Finding { code, problem })
    }));
    found.sort_by(|a, b| a.problem.cmp(&b.problem));
    found
}

/// The same with an address for each pod that waits for one.
fn settled(inventory: &Inventory) -> Inventory {
    let mut settled = inventory.clone();
    let waiting = inventory.pods().filter(|pod| pod.addresses.is_empty());
    for (number, pod) in (NOBODYS..).zip(waiting) {
        let addresses = vec![Ipv4Addr::from_bits(number).into()];
        let pod = Pod { addresses: addresses.into(), ..pod.clone() };
        let _: crate::inventory::Effect = settled.apply(Change::Set(Object::Pod(pod)));
    }
    settled
}

/// What decides nothing, in words.
fn told(reading: &Reading<'_>, at: At, idle: &Idle) -> Option<Finding> {
    let asked = reading.policies.get(at.policy)?;
    let written = asked.written;
    let place = if at.net.is_some() { Field::Net(at) } else { Field::Rule(at) };
    let is_plain = written.kind == Kind::NetworkPolicy;
    let removal = |field| removal(written.kind, field);
    let (code, field, message, remedy) = match idle {
        Idle::Unreached => (
            "unreached",
            Field::Rules(at),
            "earlier tiers decide of every packet of every pod that the policy selects".to_owned(),
            removal(Field::Rules(at)).to_owned(),
        ),
        Idle::Shadowed(by) if by.is_empty() => (
            "shadowed",
            place,
            "an earlier tier denies whatever it matches".to_owned(),
            removal(place).to_owned(),
        ),
        Idle::Shadowed(by) => (
            "shadowed",
            place,
            format!("whatever it matches is decided before it, by {}", names(reading, by)),
            match asked.rule(at).map(|rule| rule.action) {
                Some(Action::Deny | Action::Log) => {
                    format!("put it before them, or {}", removal(place))
                }
                _ => removal(place).to_owned(),
            },
        ),
        Idle::Redundant(by) => (
            "redundant-range",
            place,
            format!("whatever it allows is allowed by {}", names(reading, by)),
            removal(place).to_owned(),
        ),
        Idle::Ambiguous(other) => (
            "ambiguous-order",
            Field::Order,
            format!(
                "it is of the same order as {}, which decides otherwise, and comes first by its name",
                names(reading, &[*other])
            ),
            if is_plain {
                "give the other an order that is not 1000, which every NetworkPolicy has".to_owned()
            } else {
                "give them different orders".to_owned()
            },
        ),
    };
    Some(finding(code, &written.metadata, &field.of(written.kind), &message, &remedy))
}

/// Rules, each once.
fn names(reading: &Reading<'_>, parts: &[At]) -> String {
    let mut named = Vec::new();
    for at in parts {
        let Some(asked) = reading.policies.get(at.policy) else { continue };
        let (key, field) = (&asked.written.metadata.key, Field::Rule(*at).of(asked.written.kind));
        let name = format!("{key} {field}");
        if !named.contains(&name) {
            named.push(name);
        }
    }
    let rest = named.len().saturating_sub(NAMED_MAX);
    named.truncate(NAMED_MAX);
    let more = if rest == 0 { String::new() } else { format!(" and {rest} more") };
    named.join(", ") + &more
}

fn finding(
    code: &'static str,
    metadata: &Metadata,
    field: &str,
    message: &str,
    remedy: &str,
) -> Finding {
    let origin = &metadata.origin;
    let place = (Some(&*origin.file), (origin.line > 0).then_some(origin.line));
    let object = metadata.key.to_string();
    let problem = Problem::of_object(Severity::Warning, place, &object, field, message, remedy);
    Finding { code, problem }
}

#[cfg(test)]
mod tests;
