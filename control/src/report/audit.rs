//! What policy says of packets beside what becomes of them: that a rule records them, and what would
//! decide were all in force that is staged. As a document, and as lines of the log.

use std::collections::VecDeque;
use std::net::IpAddr;

use lockgate_dataplane::event::{Outcome, Sample};
use lockgate_dataplane::packet::FlowKey;
use serde::Serialize;
use tracing::info;

use super::documents::{Flow, Names};
use super::told::Teller;
use crate::dataplane::Dataplane;
use crate::explain::{Explanation, RuleName, Said, Side, Verdict};
use crate::manifest::escape;
use crate::sync::Sync;

/// Packets that are written to the log at once, at most.
pub(super) const PACKETS_MAX: usize = 500;

/// Directions as they are asked.
const DIRECTIONS: [&str; 2] = ["egress", "ingress"];

#[derive(Serialize)]
pub(super) struct AuditList {
    audit: Vec<AuditRow>,
}

#[derive(Serialize)]
struct AuditRow {
    /// In UTC, by the clock of the node as it is set now.
    time: String,
    #[serde(flatten)]
    flow: Flow,
    /// `opened`, or the drop reason.
    outcome: &'static str,
    /// The rules that record it, as they are asked, by the policies as they are now.
    recorded_by: Vec<Record>,
    /// What would be said of it were all in force that is staged, by the policies as they are now;
    /// nothing where its verdict would be what it is.
    staged: Option<WouldBe>,
    generation: u64,
}

/// A rule that records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Record {
    tier: String,
    kind: &'static str,
    policy: String,
    direction: &'static str,
    rule: u32,
}

/// What would decide.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct WouldBe {
    verdict: Verdict,
    /// The side that would decide so.
    direction: &'static str,
    /// The rule that would, if one would.
    by: Vec<RuleName>,
    /// Those that would isolate, where none of their rules matches.
    isolated_by: Vec<String>,
}

/// The document.
pub(super) fn audit<D: Dataplane>(seen: &VecDeque<Sample>, sync: &Sync<D>) -> AuditList {
    let names = Names::new(sync.resolved());
    let mut teller = Teller::new(sync);
    let rows = seen.iter().map(|sample| {
        let time = teller.time(sample);
        let told = teller.explain(&sample.key);
        AuditRow {
            time,
            flow: names.flow(&sample.key),
            outcome: outcome(sample.outcome),
            recorded_by: told.map_or_else(Vec::new, records),
            staged: told.and_then(would_be),
            generation: sample.generation.0,
        }
    });
    AuditList { audit: rows.collect() }
}

/// Writes what rules record to the log, and how many more packets there were.
pub(super) fn write<D: Dataplane>(logged: &[Sample], more: usize, sync: &Sync<D>) {
    if logged.is_empty() {
        return;
    }
    let mut teller = Teller::new(sync);
    for sample in logged {
        let time = teller.time(sample);
        let Some(told) = teller.explain(&sample.key) else { continue };
        let packet = escape(&packet(told, &sample.key));
        for Record { tier, kind, policy, direction, rule } in records(told) {
            let outcome = outcome(sample.outcome);
            info!(time, tier, kind, policy, direction, rule, outcome, %packet, "a rule records a packet");
        }
    }
    if more > 0 {
        info!(more, "more packets were recorded: see lockgate audit");
    }
}

/// `TCP x/a (10.0.0.1) port 4000 -> x/b (10.0.0.2) port 80`.
fn packet(told: &Explanation, key: &FlowKey) -> String {
    let end = |name: &str, address: IpAddr, port: Option<u16>| {
        let address = address.to_string();
        let name = if name == address { address } else { format!("{name} ({address})") };
        port.map_or(name.clone(), |port| format!("{name} port {port}"))
    };
    let has_ports = key.protocol.has_ports();
    let port = |port: u16| has_ports.then_some(port);
    let message = told.icmp_type.zip(told.icmp_code);
    let message = message.map_or(String::new(), |(kind, code)| format!(" type {kind} code {code}"));
    format!(
        "{}{message} {} -> {}",
        told.protocol,
        end(&told.from, told.from_address, port(key.source_port)),
        end(&told.to, told.to_address, port(key.target_port)),
    )
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Opened => "opened",
        Outcome::Dropped(reason) => reason.label(),
    }
}

/// The rules that record a packet. What the source's side drops, the target's is not asked about.
fn records(told: &Explanation) -> Vec<Record> {
    let ingress = (told.egress.verdict == Verdict::Allow).then_some(&told.ingress);
    let sides = [Some(&told.egress), ingress].into_iter().flatten().zip(DIRECTIONS);
    let of = |(side, direction): (&Side, &'static str)| {
        let logged = side.walk.iter().filter(|step| step.said == Said::Log);
        let record = logged.filter_map(|step| {
            Some(Record {
                tier: step.tier.clone(),
                kind: step.kind?,
                policy: step.policy.clone()?,
                direction,
                rule: step.rule?,
            })
        });
        record.collect::<Vec<_>>()
    };
    sides.flat_map(of).collect()
}

/// What would decide on a packet, where its verdict would be another: the side that would deny it,
/// or that denies it and would not.
fn would_be(told: &Explanation) -> Option<WouldBe> {
    let staged = told.staged.as_ref().filter(|staged| staged.verdict != told.verdict)?;
    let sides = [(&told.egress, &staged.egress), (&told.ingress, &staged.ingress)];
    let mut sides = sides.into_iter().zip(DIRECTIONS);
    let denies = |side: &Side| side.verdict == Verdict::Deny;
    let ((_, next), direction) = sides.find(|((now, next), _)| match staged.verdict {
        Verdict::Deny => denies(next),
        Verdict::Allow => denies(now),
    })?;
    let isolated_by =
        if denies(next) && next.by.is_empty() { next.isolated_by.clone() } else { Vec::new() };
    Some(WouldBe { verdict: staged.verdict, direction, by: next.by.clone(), isolated_by })
}
