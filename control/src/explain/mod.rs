//! One question, its verdict and why, read from the policies as written. Pure.
//!
//! This reads what people wrote, so that the cause can name the rule and the part of it, and so that
//! it stands beside the compiled table as a second judge: tests hold the two to the same verdict.
//! Rules of ordered policies are asked by the sets that they are resolved to, and only why they do
//! not match is read from their text.

mod caveats;
mod ends;
mod far;
mod judge;
mod lowered;
mod nearest;
mod request;
mod services;
mod text;
mod walk;

use std::net::IpAddr;

use lockgate_dataplane::endpoint::OwnNode;
use lockgate_dataplane::policy::ruleset::{Direction, PodIndex, View};
use serde::Serialize;

pub use ends::Subject;
pub use nearest::{Nearest, Part};
pub use request::{AskedProtocol, Request, parse_protocol};
pub(crate) use request::{check_port, serialize_protocol, service};
pub use walk::{Said, Step};

use crate::inventory::{Census, Inventory};
use crate::manifest::{Metadata, Problem, escape};
pub use crate::policy::Family;
use ends::End;
use judge::{Asked, Judge};
use lowered::Written;

/// Why a question has no answer, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExplainError {
    /// Not a pod and not an address.
    #[error("\"{}\" is neither NAMESPACE/POD nor POD nor an address: write one", escape(.0))]
    NotASubject(String),
    /// No rule can know it.
    #[error("\"{}\" is not a protocol: write TCP, UDP, SCTP, ICMP or a number", escape(.0))]
    NotAProtocol(String),
    /// No manifest has it.
    #[error("there is no pod {}: name one of the manifests{}", escape(.name), hint(.near))]
    UnknownPod {
        /// `namespace/name`.
        name: String,
        /// Pods of that name in other namespaces.
        near: Vec<String>,
    },
    /// It has ended, so it has no address any more (NP-53).
    #[error("pod {} has ended and has no address any more: ask for one that runs", escape(.0))]
    Completed(String),
    /// It is not known by any address yet.
    #[error("pod {} has no address: set status.podIPs", escape(.0))]
    NoAddress(String),
    /// It has none of the family asked for.
    #[error("{} has no {family} address: leave --family out or ask for the other", escape(.name))]
    NotOfFamily {
        /// As asked for.
        name: String,
        /// The family.
        family: Family,
    },
    /// They cannot reach each other at all.
    #[error("{} and {} share no address family: packets cannot pass", escape(.0), escape(.1))]
    NoCommonFamily(String, String),
    /// The verdict depends on it.
    #[error("{} has ports: give --port", .0)]
    PortNeeded(AskedProtocol),
    /// A port would mean nothing.
    #[error("{} has no ports: leave --port and --source-port out", .0)]
    NoPorts(AskedProtocol),
    /// Only ICMP has types.
    #[error("{} has no ICMP type: leave --icmp-type and --icmp-code out", .0)]
    NotIcmp(AskedProtocol),
    /// A code means nothing alone.
    #[error("--icmp-code needs --icmp-type: give both or neither")]
    CodeWithoutType,
}

fn hint(near: &[String]) -> String {
    if near.is_empty() {
        return String::new();
    }
    format!(" (did you mean {}?)", escape(&near.join(" or ")))
}

/// Allow or deny.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It passes.
    Allow,
    /// It does not.
    Deny,
}

impl Verdict {
    /// From whether it passes.
    #[must_use]
    pub fn of(allows: bool) -> Self {
        if allows { Self::Allow } else { Self::Deny }
    }

    /// Of both sides (NP-7).
    fn both(egress: &Side, ingress: &Side) -> Self {
        Self::of([egress, ingress].iter().all(|side| side.verdict == Self::Allow))
    }

    /// Its name in text and JSON.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

/// Why one direction was decided as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// No policy selects the pod in this direction.
    NotIsolated,
    /// Policies select the pod, and none of their tiers has decided.
    Undecided,
    /// A rule allows it.
    Rule,
    /// A rule denies it.
    DenyRule,
    /// Policies of a tier select the pod and no rule of theirs matches: the tier ends in denial.
    DefaultDeny,
    /// A pod to itself (NP-42).
    Itself,
    /// From the target's own node (NP-40).
    OwnNode,
    /// This side is no pod that policy can select.
    Outside,
}

/// A rule, by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct RuleName {
    /// `namespace/name`; where policies of several kinds are called so, the kind before it.
    pub policy: String,
    /// Its place in the policy's list for the direction, from 0.
    pub rule: u32,
}

/// One direction's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Side {
    /// What this side says.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// The rule that allowed or denied, the first as they are asked; empty when none did.
    pub by: Vec<RuleName>,
    /// The policies that select the pod in this direction, of the tier that decides, as they are
    /// asked.
    pub isolated_by: Vec<String>,
    /// When denied: the rule with the fewest failing parts.
    pub nearest: Option<Nearest>,
    /// Rules of those policies that are broken and so open nothing.
    pub broken: Vec<RuleName>,
    /// When no rule allows: what is wrong with those policies, with object and field, as
    /// `lockgate validate` says it. A policy that is broken elsewhere than in a rule is seen here.
    pub problems: Vec<Problem>,
    /// Which policies were asked in order, what each said, and where it ended.
    pub walk: Vec<Step>,
}

/// An answer. Allowed only where both directions allow (NP-7).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The verdict.
    pub verdict: Verdict,
    /// Who sends: `namespace/name`, or an address of no pod.
    pub from: String,
    /// The address it sends from.
    pub from_address: IpAddr,
    /// Who receives.
    pub to: String,
    /// The address it receives at.
    pub to_address: IpAddr,
    /// The protocol.
    #[serde(serialize_with = "serialize_protocol")]
    pub protocol: AskedProtocol,
    /// The target port.
    pub port: Option<u16>,
    /// The source port asked for.
    pub source_port: Option<u16>,
    /// The ICMP type asked for.
    pub icmp_type: Option<u8>,
    /// The ICMP code asked for.
    pub icmp_code: Option<u8>,
    /// What the source's policies say.
    pub egress: Side,
    /// What the target's policies say.
    pub ingress: Side,
    /// What would be said once all is in force that is staged; `None` where nothing is for them.
    pub staged: Option<Staged>,
    /// What the verdict does not say, in sentences: the switch drops or answers such packets
    /// whatever policy says, or never sees them.
    pub caveats: Vec<String>,
}

/// What would be said once all is in force that is staged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Staged {
    /// The verdict.
    pub verdict: Verdict,
    /// What the source's policies would say.
    pub egress: Side,
    /// What the target's policies would say.
    pub ingress: Side,
}

/// Answers a question.
///
/// # Errors
/// The question has no answer: it names what is not there, or leaves out what is needed.
pub fn explain(inventory: &Inventory, request: &Request) -> Result<Explanation, ExplainError> {
    request.check()?;
    Explainer::new(inventory).explain(request)
}

/// Answers many questions about one inventory.
#[derive(Clone, Debug)]
pub struct Explainer<'i> {
    inventory: &'i Inventory,
    census: Census<'i>,
    ordered: Written<'i>,
    own_node: OwnNode,
    /// Which are written twice: the version that counts, and one that does not.
    rewritten: Vec<(&'i Metadata, &'i Metadata)>,
}

impl<'i> Explainer<'i> {
    /// Finds out who has which address.
    #[must_use]
    pub fn new(inventory: &'i Inventory) -> Self {
        let census = Census::of(inventory);
        let ordered = Written::of(inventory, &census.residents);
        let rewritten = inventory.rewritten().collect();
        Self { inventory, census, ordered, own_node: OwnNode::Exempt, rewritten }
    }

    /// The same for a switch that is set so.
    #[must_use]
    pub fn with_own_node(self, own_node: OwnNode) -> Self {
        Self { own_node, ..self }
    }

    /// Whether an answer may depend on the source port.
    pub(crate) fn asks_source_ports(&self) -> bool {
        self.ordered.asks_source_ports()
    }

    /// Answers one.
    ///
    /// # Errors
    /// As [`explain`].
    pub fn explain(&self, request: &Request) -> Result<Explanation, ExplainError> {
        let Self { inventory, census, ordered, own_node, rewritten } = self;
        request.check()?;
        let from = End::find(inventory, census, &request.from)?;
        let to = End::find(inventory, census, &request.to)?;
        let (from_address, to_address) = ends::addresses(&from, &to, request.family)?;
        let (from, to) = (from.at(census, from_address), to.at(census, to_address));
        let view = if from.is_switch_to(&to) { View::Itself } else { View::Now };
        let told = caveats::of(&from, &to, view);
        let from = if view == View::Itself { to.clone() } else { from };
        let service = request.service(Family::of(from_address));
        let asked = Asked { from: &from, to: &to, service };
        let ends = [from.place, to.place].into_iter().flatten();
        let ends = ends.filter_map(|place| u32::try_from(place).ok()).map(PodIndex);
        let ordered = &ordered.selecting(&census.residents, ends);
        let judge = Judge { inventory, census, ordered, own_node: *own_node };
        let [egress, ingress] = DIRECTIONS.map(|one| judge.side(&asked, view, one));
        let is_staged = view == View::Now
            && ordered.has_staged()
            && DIRECTIONS.iter().any(|one| judge.is_staged(&asked, *one));
        let staged = is_staged.then(|| {
            let [egress, ingress] = DIRECTIONS.map(|one| judge.side(&asked, View::Next, one));
            Staged { verdict: Verdict::both(&egress, &ingress), egress, ingress }
        });
        let mut caveats = told;
        caveats.extend(caveats::of_rewritten(rewritten, [&from, &to]));
        if to.place.is_none() {
            caveats.extend(services::caveat(inventory, [from_address, to_address], service));
        }
        Ok(Explanation {
            verdict: Verdict::both(&egress, &ingress),
            from: from.shown,
            from_address,
            to: to.shown,
            to_address,
            protocol: request.protocol,
            port: request.port,
            source_port: request.source_port,
            icmp_type: request.icmp_type,
            icmp_code: request.icmp_code,
            egress,
            ingress,
            staged,
            caveats,
        })
    }
}

const DIRECTIONS: [Direction; 2] = [Direction::Egress, Direction::Ingress];

#[cfg(test)]
mod tests;
