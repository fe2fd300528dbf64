//! When a packet was seen, and what the policies as they are now say of its flow.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use lockgate_dataplane::clock::Tick;
use lockgate_dataplane::event::Sample;
use lockgate_dataplane::packet::FlowKey;

use crate::dataplane::Dataplane;
use crate::explain::{Explainer, Explanation, Request};
use crate::sync::Sync;

/// Tells it of many samples.
pub(super) struct Teller<'i> {
    explainer: Explainer<'i>,
    /// Policy seldom asks for the source port, and one flow is sampled again and again.
    by_source: bool,
    known: HashMap<FlowKey, Option<Explanation>>,
    /// Now, by both clocks.
    now: (SystemTime, Tick),
}

impl<'i> Teller<'i> {
    pub(super) fn new<D: Dataplane>(sync: &'i Sync<D>) -> Self {
        let explainer = Explainer::new(sync.source().inventory());
        let explainer = explainer.with_own_node(sync.placed().own_node);
        let by_source = explainer.asks_source_ports();
        let now = (SystemTime::now(), sync.now());
        Self { explainer, by_source, known: HashMap::new(), now }
    }

    /// When a packet was seen, in UTC.
    pub(super) fn time(&self, sample: &Sample) -> String {
        let (now, ticks) = self.now;
        let ago = Duration::from_millis(ticks.since_ms(sample.at));
        let then = now.checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH);
        humantime::format_rfc3339_millis(then).to_string()
    }

    /// What is said of a flow; `None` where its ends are not there any more.
    pub(super) fn explain(&mut self, key: &FlowKey) -> Option<&Explanation> {
        let source_port = if self.by_source { key.source_port } else { 0 };
        let asked = FlowKey { source_port, ..*key };
        let explainer = &self.explainer;
        let told = self.known.entry(asked);
        told.or_insert_with(|| explainer.explain(&Request::of(&asked)).ok()).as_ref()
    }
}
