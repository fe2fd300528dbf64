//! What the running agent answers: documents for the socket, health and metrics for HTTP. What rules
//! record it writes to the log.

mod audit;
mod cluster;
mod denied;
mod documents;
mod told;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Instant;

use lockgate_dataplane::event::{Outcome, Sample};
use lockgate_dataplane::runtime::PortView;
use serde::Serialize;

use crate::ask::{Answer, Question, Show};
use crate::dataplane::Dataplane;
use crate::log;
use crate::manifest::{Problem, Severity};
use crate::metrics::{PortScrape, Scrape};
use crate::ports::Held;
use crate::settings::Settings;
use crate::sync::Sync;

/// Samples of denied packets that are kept to be shown, the newest; and of those that policy says
/// more of.
const SAMPLES_KEPT: usize = 1024;

/// The log is told every so many looks what rules record.
const LOOKS_A_LOG: u32 = 5;

/// What is seen over time and not in any one moment.
#[derive(Debug)]
pub struct Observer {
    started: Instant,
    settings: Settings,
    denied: VecDeque<Sample>,
    noted: VecDeque<Sample>,
    /// What rules record and is not in the log yet.
    logged: Vec<Sample>,
    /// How many found no room there.
    logged_more: usize,
    looks: u32,
    /// Busy and total nanoseconds of each worker at the last look, and its share since.
    busy: Vec<(u64, u64, f64)>,
}

impl Observer {
    /// Begins.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let (denied, noted) = (VecDeque::new(), VecDeque::new());
        let (logged, busy) = (Vec::new(), Vec::new());
        Self {
            started: Instant::now(),
            settings,
            denied,
            noted,
            logged,
            logged_more: 0,
            looks: 0,
            busy,
        }
    }

    /// Looks at the workers: call once a second.
    pub fn look<D: Dataplane>(&mut self, sync: &mut Sync<D>) {
        self.take_samples(sync);
        self.looks = self.looks.wrapping_add(1);
        // To tell them costs what the whole inventory does, however few they are.
        if self.looks.is_multiple_of(LOOKS_A_LOG) {
            let more = std::mem::take(&mut self.logged_more);
            audit::write(&std::mem::take(&mut self.logged), more, sync);
        }
        let counters = sync.dataplane().counters();
        self.busy.resize(counters.len(), (0, 0, 0.0));
        for (seen, cells) in self.busy.iter_mut().zip(&counters) {
            let (busy, total) = (cells.busy_nanoseconds.load(), cells.total_nanoseconds.load());
            let (spent, passed) = (busy.saturating_sub(seen.0), total.saturating_sub(seen.1));
            *seen = (busy, total, share(spent, passed));
        }
    }

    /// Takes the samples there are; what rules record goes to the log.
    fn take_samples<D: Dataplane>(&mut self, sync: &mut Sync<D>) {
        let samples = sync.dataplane().samples();
        for sample in samples.iter().filter(|sample| sample.notes.logged) {
            if self.logged.len() < audit::PACKETS_MAX {
                self.logged.push(*sample);
            } else {
                self.logged_more = self.logged_more.saturating_add(1);
            }
        }
        let is_denied = |sample: &&Sample| matches!(sample.outcome, Outcome::Dropped(_));
        self.denied.extend(samples.iter().filter(is_denied));
        self.noted.extend(samples.iter().filter(|sample| sample.notes.is_any()));
        for kept in [&mut self.denied, &mut self.noted] {
            let surplus = kept.len().saturating_sub(SAMPLES_KEPT);
            kept.drain(..surplus);
        }
    }

    fn shares(&self) -> Vec<f64> {
        self.busy.iter().map(|(_, _, share)| *share).collect()
    }

    /// Answers a question.
    pub fn answer<D: Dataplane>(&mut self, question: Question, sync: &mut Sync<D>) -> Answer {
        match question {
            Question::Live => Answer { good: true, body: "{\"live\":true}".to_owned() },
            Question::Ready => ready(sync),
            Question::Metrics => self.metrics(sync),
            Question::Show(show) => {
                let body = match show {
                    Show::Status {} => json(&documents::status(self, sync)),
                    Show::Ports {} => json(&documents::ports(sync)),
                    Show::Connections { limit } => documents::connections(sync, limit)
                        .map_or_else(|error| refusal(&error), |document| json(&document)),
                    Show::Policies {} => json(&documents::policies(sync)),
                    Show::Denied {} => {
                        self.take_samples(sync);
                        json(&denied::denied(&self.denied, sync))
                    }
                    Show::Audit {} => {
                        self.take_samples(sync);
                        json(&audit::audit(&self.noted, sync))
                    }
                    Show::Ready {} => ready(sync).body,
                    Show::Metrics {} => json(&Text { text: self.metrics(sync).body }),
                    Show::Settings {} => json(&Text { text: format!("{:#?}", self.settings) }),
                };
                Answer { good: true, body }
            }
        }
    }

    fn metrics<D: Dataplane>(&self, sync: &mut Sync<D>) -> Answer {
        let in_force = sync.dataplane().in_force();
        sync.count_policies();
        let ports = port_scrapes(sync);
        let (epoch, published) = sync.numbers();
        let counts = [Severity::Error, Severity::Warning, Severity::Notice]
            .map(|severity| (severity.label(), sync.problem_count(severity)));
        let workers = sync.dataplane().counters();
        let scrape = Scrape {
            workers: &workers,
            busy: &self.shares(),
            ports: &ports,
            epoch,
            published,
            in_force,
            pods: sync.resolver().pods(),
            policies: sync.resolver().policies(),
            policy_counts: sync.policy_counts(),
            problems: &counts,
            cluster: sync.source().cluster(),
            log_lines_lost: log::lines_lost(),
            latency: sync.latency(),
        };
        match scrape.encode() {
            Ok(body) => Answer { good: true, body },
            Err(error) => Answer { good: false, body: error.to_string() },
        }
    }
}

/// Something for people, as a document.
#[derive(Serialize)]
struct Text {
    text: String,
}

/// The part of `passed` that was spent; 0 where none has passed.
#[allow(clippy::cast_precision_loss)] // a share needs no 53 bits
fn share(spent: u64, passed: u64) -> f64 {
    if passed == 0 { 0.0 } else { (spent as f64 / passed as f64).min(1.0) }
}

#[derive(Serialize)]
struct Readiness {
    ready: bool,
    epoch: u64,
    generation: u64,
    generation_in_force: u64,
    /// Where objects are a cluster's.
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<cluster::ClusterStanding>,
    problems: Vec<Problem>,
}

fn ready<D: Dataplane>(sync: &mut Sync<D>) -> Answer {
    let (epoch, published) = sync.numbers();
    let document = Readiness {
        ready: sync.is_ready(),
        epoch: epoch.0,
        generation: published.0,
        generation_in_force: sync.dataplane().in_force().0,
        cluster: sync.source().cluster().map(cluster::standing),
        problems: sync.problems(),
    };
    Answer { good: document.ready, body: json(&document) }
}

/// The port of a pod with its cells, and whose it is; `None` is the host port.
struct PortOwner<'a> {
    held: Option<&'a Held>,
    namespace: &'a str,
    pod: &'a str,
    interface: String,
}

/// Whose a port is.
fn owner<'a, D: Dataplane>(sync: &'a Sync<D>, host: &str, port: &PortView) -> PortOwner<'a> {
    let held = sync.ports().held().iter().find(|(_, held)| held.at.port == port.port);
    let Some((interface, held)) = held else {
        let interface = host.to_owned();
        return PortOwner { held: None, namespace: "", pod: "", interface };
    };
    let pods = sync.resolver().local();
    let pod = pods.iter().find(|pod| pod.interface.as_ref() == Some(interface));
    PortOwner {
        held: Some(held),
        namespace: pod.map_or("", |pod| &pod.namespace),
        pod: pod.map_or("", |pod| &pod.name),
        interface: interface.clone(),
    }
}

fn port_scrapes<D: Dataplane>(sync: &mut Sync<D>) -> Vec<PortScrape> {
    let seen = sync.dataplane().ports();
    let statistics: Vec<_> =
        seen.iter().map(|port| sync.dataplane().statistics(port.port)).collect();
    let mut scrapes: Vec<_> = seen
        .into_iter()
        .zip(statistics)
        .map(|(port, statistics)| {
            let owner = owner(sync, &port.interface, &port);
            PortScrape {
                namespace: owner.namespace.to_owned(),
                pod: owner.pod.to_owned(),
                interface: owner.interface,
                counters: port.counters,
                statistics,
            }
        })
        .collect();
    // A port on its way out bears the labels of the one that takes its place: never both.
    scrapes.sort_by(|a, b| (&a.interface, &a.pod).cmp(&(&b.interface, &b.pod)));
    scrapes.dedup_by(|a, b| a.interface == b.interface && a.pod == b.pod);
    scrapes
}

fn json(document: &impl Serialize) -> String {
    serde_json::to_string(document).unwrap_or_else(|error| refusal(&error))
}

fn refusal(error: &impl std::fmt::Display) -> String {
    serde_json::json!({ "error": error.to_string() }).to_string()
}
