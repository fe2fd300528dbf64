//! What policy says of packets beside what becomes of them: that a rule records them, and what would
//! decide were all in force that is staged. As a document, and as lines of the log.

use std::collections::VecDeque;

use lockgate_dataplane::event::{Outcome, Sample};
use lockgate_dataplane::policy::ruleset::Direction;
use serde::Serialize;
use tracing::info;

use super::documents::{Flow, Names};
use super::told::Teller;
use crate::dataplane::Dataplane;
use crate::explain::{Explanation, RuleName, Said, Side, Verdict};
use crate::sync::Sync;

/// Records that are written to the log each second, at most.
const LINES_MAX: usize = 100;

/// Directions as they are asked, and what they are called.
const DIRECTIONS: [(Direction, &str); 2] =
    [(Direction::Egress, "egress"), (Direction::Ingress, "ingress")];

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
    /// nothing where that would be decided as it is.
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
    /// Of the side that would decide otherwise, the first.
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

/// Writes what rules record to the log, the first of each second.
pub(super) fn write<'s, D: Dataplane>(fresh: impl Iterator<Item = &'s Sample>, sync: &Sync<D>) {
    let logged: Vec<&Sample> = fresh.filter(|sample| sample.notes.logged).collect();
    if logged.is_empty() {
        return;
    }
    let names = Names::new(sync.resolved());
    let mut teller = Teller::new(sync);
    for sample in logged.iter().take(LINES_MAX) {
        let time = teller.time(sample);
        let Some(told) = teller.explain(&sample.key) else { continue };
        let flow = names.flow(&sample.key);
        for Record { tier, kind, policy, direction, rule } in records(told) {
            info!(
                time,
                tier,
                kind,
                policy,
                direction,
                rule,
                outcome = outcome(sample.outcome),
                packet = %flow,
                "a rule records a packet"
            );
        }
    }
    let more = logged.len().saturating_sub(LINES_MAX);
    if more > 0 {
        info!(more, "more packets were recorded: see lockgate audit");
    }
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Opened => "opened",
        Outcome::Dropped(reason) => reason.label(),
    }
}

/// The rules that record a packet.
fn records(told: &Explanation) -> Vec<Record> {
    let sides = [&told.egress, &told.ingress].into_iter().zip(DIRECTIONS);
    let of = |(side, (_, direction)): (&Side, (Direction, &'static str))| {
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

/// What would decide on a packet, where that is something else than what does.
fn would_be(told: &Explanation) -> Option<WouldBe> {
    let staged = told.staged.as_ref()?;
    let sides = [(&told.egress, &staged.egress), (&told.ingress, &staged.ingress)];
    let differs = |now: &Side, next: &Side| {
        (now.verdict, now.reason, &now.by, &now.isolated_by)
            != (next.verdict, next.reason, &next.by, &next.isolated_by)
    };
    let mut sides = sides.into_iter().zip(DIRECTIONS);
    let ((_, next), (_, direction)) = sides.find(|((now, next), _)| differs(now, next))?;
    let isolated_by = if next.by.is_empty() { next.isolated_by.clone() } else { Vec::new() };
    Some(WouldBe { verdict: staged.verdict, direction, by: next.by.clone(), isolated_by })
}
