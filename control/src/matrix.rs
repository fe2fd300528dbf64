//! The whole truth table between the pods that live, by the table that judges packets. Pure.
//!
//! Where `explain` reads the policies, this asks what was compiled from them: `PolicyTable`, as
//! a worker does. Every ordered pair has a row, a pod with itself too; pairs that share no
//! address family cannot meet and are left out, as are pods without an address of their own, each
//! with a notice.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;

use lockgate_dataplane::policy::ruleset::{Cause, Party, PodIndex, Question};
use lockgate_dataplane::policy::{Compiled, compile};
use serde::Serialize;

use crate::explain::{
    self, AskedProtocol, ExplainError, Family, RuleName, Verdict, serialize_protocol,
};
use crate::inventory::Inventory;
use crate::manifest::{Problem, Severity, escape};
use crate::resolve::{PodView, resolve};

/// What is asked of every pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatrixRequest {
    /// In which protocol; of ICMP, an echo request.
    pub protocol: AskedProtocol,
    /// The target port; needed for TCP, UDP and SCTP, none for others.
    pub port: Option<u16>,
    /// Which family; `None` is, for each pair, the first that both share.
    pub family: Option<Family>,
}

/// The answer for every pair, by source and then target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Matrix {
    /// The protocol.
    #[serde(serialize_with = "serialize_protocol")]
    pub protocol: AskedProtocol,
    /// The target port; `None` for protocols without.
    pub port: Option<u16>,
    /// The pairs.
    pub rows: Vec<Row>,
    /// What is to be said beside them; not in the JSON.
    #[serde(skip)]
    pub notices: Vec<Problem>,
}

/// One ordered pair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Who sends: `namespace/name`.
    pub from: String,
    /// Who receives: `namespace/name`.
    pub to: String,
    /// Allowed only where both directions allow (NP-7).
    pub verdict: Verdict,
    /// What the source's policies say.
    pub egress: Cell,
    /// What the target's policies say.
    pub ingress: Cell,
}

/// One direction of a pair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cell {
    /// What this side says.
    pub verdict: Verdict,
    /// The rule that allowed, the first by policy and place; empty when none had to.
    pub by: Vec<RuleName>,
}

/// Answers for every pair.
///
/// # Errors
/// A protocol with ports needs one, and another can have none.
pub fn matrix(inventory: &Inventory, request: &MatrixRequest) -> Result<Matrix, ExplainError> {
    let MatrixRequest { protocol, port, .. } = *request;
    explain::check_port(protocol, port)?;
    let resolved = resolve(inventory);
    let compiled = compile(&resolved.ruleset);
    let owners = owners(&resolved.pods);
    let policies = resolved.ruleset.policies.iter();
    let names: Vec<String> = policies.map(|policy| inventory.called(policy)).collect();
    let (mut rows, mut apart) = (Vec::new(), Vec::new());
    for from in &resolved.pods {
        for to in &resolved.pods {
            let Some((source, target)) = meeting(from, to, request.family) else {
                apart.push((from, to));
                continue;
            };
            let party = |address| {
                let pod = owners.get(&address).copied();
                Party { address, pod, own_node: false }
            };
            let question = Question {
                source: party(source),
                target: party(target),
                service: explain::service(protocol, Family::of(source), (port, None), (None, None)),
            };
            let is_itself = from.endpoint == to.endpoint;
            rows.push(row((from, to), is_itself, &question, (&compiled, &names)));
        }
    }
    let notices = without_row(inventory).into_iter().chain(pairs_apart(&apart)).collect();
    Ok(Matrix { protocol, port, rows, notices })
}

fn row(
    (from, to): (&PodView, &PodView),
    is_itself: bool,
    question: &Question,
    (compiled, names): (&Compiled, &[String]),
) -> Row {
    // Two pods with one address are still two, whatever the address says.
    let is_shared = !is_itself && question.source.pod == question.target.pod;
    let answer = compiled.decide(question);
    let cell = |cause: &Cause| match cause {
        _ if is_shared => Cell { verdict: Verdict::Deny, by: Vec::new() },
        Cause::Rule { policy, rule } | Cause::DenyRule { policy, rule } => {
            let policy = names.get(policy.0 as usize).cloned().unwrap_or_default();
            let by = vec![RuleName { policy, rule: *rule }];
            Cell { verdict: Verdict::of(cause.allows()), by }
        }
        other => Cell { verdict: Verdict::of(other.allows()), by: Vec::new() },
    };
    let name = |pod: &PodView| format!("{}/{}", pod.namespace, pod.name);
    Row {
        from: name(from),
        to: name(to),
        verdict: Verdict::of(answer.allows() && !is_shared),
        egress: cell(&answer.egress),
        ingress: cell(&answer.ingress),
    }
}

/// Which pod has an address: the first that claims it.
fn owners(pods: &[PodView]) -> BTreeMap<IpAddr, PodIndex> {
    let mut owners = BTreeMap::new();
    for (place, pod) in (0u32..).zip(pods) {
        for address in pod.addresses.iter() {
            owners.entry(*address).or_insert(PodIndex(place));
        }
    }
    owners
}

/// The addresses at which two pods meet.
fn meeting(from: &PodView, to: &PodView, family: Option<Family>) -> Option<(IpAddr, IpAddr)> {
    let mut sources = from.addresses.iter().map(|address| (Family::of(*address), *address));
    sources.by_ref().filter(|(of, _)| family.is_none_or(|wanted| wanted == *of)).find_map(
        |(of, source)| {
            let target = to.addresses.iter().find(|address| Family::of(**address) == of)?;
            Some((source, *target))
        },
    )
}

/// One notice for all pods that have no row: those that are not in the inventory's census.
fn without_row(inventory: &Inventory) -> Option<Problem> {
    let (mut ended, mut on_node, mut unaddressed) = (0, 0, 0);
    for pod in inventory.pods() {
        match pod {
            pod if pod.is_completed => ended += 1,
            pod if pod.host_network => on_node += 1,
            pod if pod.addresses.is_empty() => unaddressed += 1,
            _ => {}
        }
    }
    let message = format!(
        "pods without a row: {ended} ended, {on_node} on their node's network, {unaddressed} \
         without an address"
    );
    (ended + on_node + unaddressed > 0).then(|| notice(&message, "ask explain about an address"))
}

/// One notice for all pairs that cannot meet: there may be as many as there are pairs.
fn pairs_apart(apart: &[(&PodView, &PodView)]) -> Option<Problem> {
    let (from, to) = apart.first()?;
    let message = format!(
        "{} pairs share no address family and are left out, {}/{} to {}/{} first",
        apart.len(),
        from.namespace,
        from.name,
        to.namespace,
        to.name
    );
    Some(notice(&message, "give both an address of one family, or leave --family out"))
}

fn notice(message: &str, remedy: &str) -> Problem {
    Problem::of_object(Severity::Notice, (None, None), "matrix", "", message, remedy)
}

impl Display for Matrix {
    /// A line for each pair, in columns.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let width = |name: fn(&Row) -> &String| {
            self.rows.iter().map(|row| name(row).chars().count()).max().unwrap_or(0)
        };
        let (from, to) = (width(|row| &row.from), width(|row| &row.to));
        write!(f, "{}", self.protocol)?;
        match self.port {
            Some(port) => writeln!(f, " {port}")?,
            None => writeln!(f)?,
        }
        for row in &self.rows {
            write!(
                f,
                "{:from$} -> {:to$}  {:<5}",
                escape(&row.from),
                escape(&row.to),
                row.verdict.label()
            )?;
            writeln!(f, "{}", told(row).map_or_else(String::new, |text| format!("  {text}")))?;
        }
        Ok(())
    }
}

/// Which side denied, or which rules allowed.
fn told(row: &Row) -> Option<String> {
    let sides = [("egress", &row.egress), ("ingress", &row.ingress)];
    let denied = sides.iter().filter(|(_, cell)| cell.verdict == Verdict::Deny);
    let mut words: Vec<String> = denied.map(|(side, _)| format!("{side} denied")).collect();
    for (side, cell) in sides {
        words.extend(
            cell.by.iter().map(|rule| format!("{} {side}[{}]", escape(&rule.policy), rule.rule)),
        );
    }
    if words.is_empty() { None } else { Some(words.join(", ")) }
}

#[cfg(test)]
mod tests;
