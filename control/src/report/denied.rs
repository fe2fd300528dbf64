//! The document of denied packets: what was denied, and why, by the policies as they are now.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, SystemTime};

use lockgate_dataplane::clock::Tick;
use lockgate_dataplane::counters::DropReason;
use lockgate_dataplane::event::Denied;
use lockgate_dataplane::packet::FlowKey;
use serde::Serialize;

use super::documents::{Flow, Names};
use crate::dataplane::Dataplane;
use crate::explain::{Explainer, Explanation, Nearest, Request, RuleName, Side, Verdict};
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

pub(super) fn denied<D: Dataplane>(seen: &VecDeque<Denied>, sync: &Sync<D>) -> DeniedList {
    let names = Names::new(sync.resolved());
    let explainer = Explainer::new(sync.files().inventory());
    let now = (SystemTime::now(), sync.now());
    // One flow is sampled again and again, and policy seldom asks for the source port.
    let mut known: HashMap<FlowKey, Option<Explanation>> = HashMap::new();
    let by_source = explainer.asks_source_ports();
    let rows = seen.iter().map(|sample| {
        let source_port = if by_source { sample.key.source_port } else { 0 };
        let asked = FlowKey { source_port, ..sample.key };
        let told =
            known.entry(asked).or_insert_with(|| explainer.explain(&Request::of(&asked)).ok());
        row(sample, time(now, sample), names.flow(&sample.key), told.as_ref())
    });
    DeniedList { denied: rows.collect() }
}

/// When a packet was denied; now is told by both clocks.
fn time((now, ticks): (SystemTime, Tick), sample: &Denied) -> String {
    let ago = Duration::from_millis(ticks.since_ms(sample.at));
    let then = now.checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH);
    humantime::format_rfc3339_millis(then).to_string()
}

fn row(sample: &Denied, time: String, flow: Flow, told: Option<&Explanation>) -> DeniedRow {
    let (direction, side): (_, Option<&Side>) = match sample.reason {
        DropReason::EgressDenied => ("egress", told.map(|told| &told.egress)),
        DropReason::IngressDenied => ("ingress", told.map(|told| &told.ingress)),
        _ => ("", None),
    };
    DeniedRow {
        time,
        flow,
        reason: sample.reason.label(),
        direction,
        isolated_by: side.map_or_else(Vec::new, |side| side.isolated_by.clone()),
        allowed_now: side.is_some_and(|side| side.verdict == Verdict::Allow),
        nearest: side.and_then(|side| side.nearest.clone()),
        broken: side.map_or_else(Vec::new, |side| side.broken.clone()),
        problems: side.map_or_else(Vec::new, |side| side.problems.clone()),
        generation: sample.generation.0,
    }
}
