//! The document of denied packets: what was denied, and why, by the policies as they are now.

use std::collections::VecDeque;

use lockgate_dataplane::counters::DropReason;
use lockgate_dataplane::event::{Outcome, Sample};
use serde::Serialize;

use super::documents::{Flow, Names};
use super::told::Teller;
use crate::dataplane::Dataplane;
use crate::explain::{Explanation, Nearest, RuleName, Side, Verdict};
use crate::manifest::Problem;
use crate::sync::Sync;

#[derive(Serialize)]
pub(super) struct DeniedList {
    denied: Vec<DeniedRow>,
}

#[derive(Serialize)]
struct DeniedRow {
    /// In UTC, by the clock of the node as it is set now.
    time: String,
    #[serde(flatten)]
    flow: Flow,
    /// The drop reason: of policy in one direction, or of a table without room.
    reason: &'static str,
    /// Empty where policy allows it and there was no room.
    direction: &'static str,
    /// The policies that isolate the pod in that direction now.
    isolated_by: Vec<String>,
    /// Whether that direction would allow it now: the policies have changed since.
    allowed_now: bool,
    /// As `explain` tells it: the rule that came nearest to allowing, and what of it failed.
    nearest: Option<Nearest>,
    /// Rules of those policies that are broken and so open nothing.
    broken: Vec<RuleName>,
    /// What is wrong with those policies.
    problems: Vec<Problem>,
    generation: u64,
}

pub(super) fn denied<D: Dataplane>(seen: &VecDeque<Sample>, sync: &Sync<D>) -> DeniedList {
    let names = Names::new(sync.resolved());
    let mut teller = Teller::new(sync);
    let rows = seen.iter().filter_map(|sample| {
        let Outcome::Dropped(reason) = sample.outcome else { return None };
        let time = teller.time(sample);
        let flow = names.flow(&sample.key);
        Some(row(reason, sample.generation.0, time, flow, teller.explain(&sample.key)))
    });
    DeniedList { denied: rows.collect() }
}

fn row(
    reason: DropReason,
    generation: u64,
    time: String,
    flow: Flow,
    told: Option<&Explanation>,
) -> DeniedRow {
    let (direction, side): (_, Option<&Side>) = match reason {
        DropReason::EgressDenied => ("egress", told.map(|told| &told.egress)),
        DropReason::IngressDenied => ("ingress", told.map(|told| &told.ingress)),
        _ => ("", None),
    };
    DeniedRow {
        time,
        flow,
        reason: reason.label(),
        direction,
        isolated_by: side.map_or_else(Vec::new, |side| side.isolated_by.clone()),
        allowed_now: side.is_some_and(|side| side.verdict == Verdict::Allow),
        nearest: side.and_then(|side| side.nearest.clone()),
        broken: side.map_or_else(Vec::new, |side| side.broken.clone()),
        problems: side.map_or_else(Vec::new, |side| side.problems.clone()),
        generation,
    }
}
