//! What was counted, as Prometheus text. The only place that knows Prometheus.
//!
//! A scrape copies the workers' cells into families and encodes them: no registry is kept, since
//! every number has its one home in a cell. Labels are bounded: ports by `ports_max`, policies by
//! `policy_metrics_max`, reasons and states by their types, workers by `WORKERS_MAX`. Units are
//! seconds and bytes.

mod cluster;
mod family;
mod policies;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use lockgate_dataplane::connection::State;
use lockgate_dataplane::counters::{BATCH_BUCKETS, Cell, Counters, DropReason, PortCounters};
use lockgate_dataplane::ids::{Epoch, Generation};
use lockgate_dataplane::port::XdpStatistics;
use prometheus::core::Collector;
use prometheus::{Encoder, Histogram, HistogramOpts, TextEncoder};

use crate::cluster::Cluster;
use family::{Families, Labels};
pub use policies::PolicyCounts;

/// Upper bounds of the apply latency, in seconds: around 2 ms (the goal), 50 ms (the promise).
const LATENCY_BUCKETS: [f64; 10] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0];

/// How long changes took from a settled file event to being in force with every worker.
#[derive(Clone, Debug)]
pub struct ApplyLatency(Histogram);

impl ApplyLatency {
    /// An empty histogram.
    ///
    /// # Errors
    /// Never with the buckets above; the type is the library's.
    pub fn new() -> Result<Self, prometheus::Error> {
        let options = HistogramOpts::new(
            "lockgate_apply_latency_seconds",
            "Time from a settled file event to its snapshot being in force with every worker.",
        );
        Ok(Self(Histogram::with_opts(options.buckets(LATENCY_BUCKETS.to_vec()))?))
    }

    /// Counts one change.
    pub fn observe(&self, latency: Duration) {
        self.0.observe(latency.as_secs_f64());
    }

    /// How many changes were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.get_sample_count()
    }
}

/// A port to be scraped.
#[derive(Clone, Debug)]
pub struct PortScrape {
    /// Namespace of its pod; empty for the host port.
    pub namespace: String,
    /// Its pod's name; empty for the host port.
    pub pod: String,
    /// Its interface.
    pub interface: String,
    /// Its cells, one set for each worker.
    pub counters: Vec<Arc<PortCounters>>,
    /// What the kernel counted for each of its sockets; empty where it does not tell.
    pub statistics: Vec<XdpStatistics>,
}

/// All that a scrape shows.
#[derive(Debug)]
pub struct Scrape<'a> {
    /// The workers' cells, by worker.
    pub workers: &'a [Arc<Counters>],
    /// Share of time that each worker was busy lately, by worker.
    pub busy: &'a [f64],
    /// The ports.
    pub ports: &'a [PortScrape],
    /// The rules in force.
    pub epoch: Epoch,
    /// The newest snapshot published.
    pub published: Generation,
    /// The newest snapshot that every worker uses.
    pub in_force: Generation,
    /// Pods known, on this node or not.
    pub pods: usize,
    /// Policies in force.
    pub policies: usize,
    /// What they did.
    pub policy_counts: &'a PolicyCounts,
    /// Problems by severity's label.
    pub problems: &'a [(&'static str, usize)],
    /// The cluster, where objects are one's.
    pub cluster: Option<&'a Cluster>,
    /// Lines of the log that found no room.
    pub log_lines_lost: usize,
    /// Apply latency.
    pub latency: &'a ApplyLatency,
}

impl Scrape<'_> {
    /// The text.
    ///
    /// # Errors
    /// Where the encoder refuses a name: a broken invariant of ours.
    pub fn encode(&self) -> Result<String, prometheus::Error> {
        let mut families = Families::default();
        self.agent(&mut families);
        if let Some(cluster) = self.cluster {
            cluster::families(cluster, &mut families);
        }
        self.packets(&mut families);
        self.rejects(&mut families);
        self.connections(&mut families);
        self.services(&mut families);
        self.policy_counts.families(&mut families);
        self.turns(&mut families);
        self.port_cells(&mut families);
        self.port_statistics(&mut families);
        let mut families = families.finish();
        families.extend(self.latency.0.collect());
        let mut text = Vec::new();
        TextEncoder::new().encode(&families, &mut text)?;
        String::from_utf8(text).map_err(|error| prometheus::Error::Msg(error.to_string()))
    }

    fn agent(&self, families: &mut Families) {
        let version = Labels::new().with("version", env!("CARGO_PKG_VERSION"));
        families.gauge("build_info", "The version that runs; always 1.", [(version, 1.0)]);
        let one = |value: u64| [(Labels::new(), float(value))];
        families.gauge(
            "policy_epoch",
            "Number of the rules in force; moves when a verdict can have changed.",
            one(self.epoch.0),
        );
        families.gauge(
            "snapshot_generation",
            "Number of the newest snapshot published.",
            one(self.published.0),
        );
        families.gauge(
            "snapshot_generation_in_force",
            "Number of the newest snapshot that every worker judges by.",
            one(self.in_force.0),
        );
        families.gauge("pods", "Pods known, on this node or not.", one(self.pods as u64));
        families.gauge("policies", "Policies in force.", one(self.policies as u64));
        let problems = self.problems.iter().map(|(severity, count)| {
            (Labels::new().with("severity", severity), float(*count as u64))
        });
        families.gauge("problems", "Problems with objects, files and interfaces.", problems);
        families.counter(
            "log_lines_lost_total",
            "Lines of the log that found no room: whoever reads it is slow or stuck.",
            one(self.log_lines_lost as u64),
        );
    }

    fn packets(&self, families: &mut Families) {
        let ends = self.workers.iter().enumerate().flat_map(|(worker, cells)| {
            [
                ("received", &cells.received),
                ("handed_in", &cells.handed_in),
                ("originated", &cells.originated),
                ("sent", &cells.sent),
                ("answered", &cells.answered),
                ("handed_out", &cells.handed_out),
            ]
            .map(|(end, cell)| (worker_labels(worker).with("end", end), float(cell.load())))
        });
        families.counter(
            "worker_packets_total",
            "Packets by how they came to a worker and how they left it.",
            ends,
        );
        let drops = DropReason::ALL.iter().map(|&reason| {
            let sum = self.sum(|cells| cells.dropped(reason).load());
            (Labels::new().with("reason", reason.label()), float(sum))
        });
        families.counter("dropped_packets_total", "Packets dropped, by reason.", drops);
        let lost = [(Labels::new(), float(self.sum(|cells| cells.events_lost.load())))];
        families.counter(
            "denied_samples_lost_total",
            "Packets that were to be sampled, denied ones and such as policy says more of, and were \
             not: too many flows in one turn, or samples not taken in time.",
            lost,
        );
    }

    fn rejects(&self, families: &mut Families) {
        let ends = [
            ("sent", self.sum(|cells| cells.rejects_sent.load())),
            ("withheld", self.sum(|cells| cells.rejects_withheld.load())),
        ];
        families.counter(
            "rejects_total",
            "Denied packets whose sender was to be told so, by what came of it: withheld is beyond \
             1000 a second for a pod, or for want of a frame.",
            ends.map(|(end, sum)| (Labels::new().with("end", end), float(sum))),
        );
    }

    fn connections(&self, families: &mut Families) {
        let states = State::ALL.iter().map(|state| {
            let place = state.index();
            let count = self.sum(|cells| cells.connections.get(place).map_or(0, Cell::load));
            (Labels::new().with("state", state.label()), float(count))
        });
        families.gauge("connections", "Connections tracked, by state.", states);
        let opened = [(Labels::new(), float(self.sum(|cells| cells.opened.load())))];
        families.counter("connections_opened_total", "Connections opened.", opened);
        let evicted = [(Labels::new(), float(self.sum(|cells| cells.evicted.load())))];
        families.counter(
            "connections_evicted_total",
            "Connections, half open, unanswered, over or denied, that gave way to new ones.",
            evicted,
        );
        let picked_up = [(Labels::new(), float(self.sum(|cells| cells.picked_up.load())))];
        families.counter(
            "connections_picked_up_total",
            "TCP connections that were picked up in the middle after a restart.",
            picked_up,
        );
        let again = [(Labels::new(), float(self.sum(|cells| cells.rejudged.load())))];
        families.counter(
            "connections_rejudged_total",
            "Connections judged again because policy had changed.",
            again,
        );
    }

    fn services(&self, families: &mut Families) {
        let held = [(Labels::new(), float(self.sum(|cells| cells.translations.load())))];
        families.gauge("translations", "Connections to Services whose backend is kept.", held);
        let refused = [
            DropReason::NoBackend,
            DropReason::NoLocalBackend,
            DropReason::BackendGone,
            DropReason::ServiceSource,
            DropReason::TranslationsFull,
        ];
        let refused = refused.map(|reason| {
            (reason.label(), self.sum(|cells: &Counters| cells.dropped(reason).load()))
        });
        let translated = ("translated", self.sum(|cells| cells.translated.load()));
        let results = std::iter::once(translated).chain(refused);
        families.counter(
            "service_requests_total",
            "What came for Services, by result: connections that were given a backend, and packets \
             that were not.",
            results.map(|(result, sum)| (Labels::new().with("result", result), float(sum))),
        );
    }

    fn turns(&self, families: &mut Families) {
        let each = |cell: fn(&Counters) -> f64| {
            self.workers
                .iter()
                .enumerate()
                .map(move |(worker, cells)| (worker_labels(worker), cell(cells)))
        };
        families.counter("worker_turns_total", "Turns taken.", each(|c| float(c.turns.load())));
        families.counter(
            "worker_turns_busy_total",
            "Turns that moved at least one packet.",
            each(|c| float(c.turns_busy.load())),
        );
        families.counter(
            "worker_busy_seconds_total",
            "Time in turns that moved packets.",
            each(|c| seconds(c.busy_nanoseconds.load())),
        );
        families.counter(
            "worker_seconds_total",
            "Time since the worker began.",
            each(|c| seconds(c.total_nanoseconds.load())),
        );
        let busy = self.busy.iter().enumerate();
        families.gauge(
            "worker_busy_ratio",
            "Share of the last second spent in turns that moved packets.",
            busy.map(|(worker, share)| (worker_labels(worker), *share)),
        );
        let batches = self.workers.iter().enumerate().map(|(worker, cells)| {
            let counts = cells.batches.each_ref().map(Cell::load);
            (worker_labels(worker), counts, cells.batch_packets.load())
        });
        families.histogram("batch_packets", "Packets of one batch.", &BATCH_BUCKETS, batches);
    }

    fn port_cells(&self, families: &mut Families) {
        let both = |received: fn(&PortCounters) -> u64, sent: fn(&PortCounters) -> u64| {
            self.ports.iter().flat_map(move |port| {
                [("received", received), ("sent", sent)].map(|(direction, cell)| {
                    let labels = port_labels(port).with("direction", direction);
                    (labels, float(port.sum(cell)))
                })
            })
        };
        families.counter(
            "port_packets_total",
            "Packets of a port; received is what the pod sent.",
            both(|c| c.received_packets.load(), |c| c.sent_packets.load()),
        );
        families.counter(
            "port_bytes_total",
            "Bytes of a port, Ethernet headers included; received is what the pod sent.",
            both(|c| c.received_bytes.load(), |c| c.sent_bytes.load()),
        );
        let dropped = self
            .ports
            .iter()
            .map(|port| (port_labels(port), float(port.sum(|c| c.dropped_packets.load()))));
        families.counter(
            "port_dropped_packets_total",
            "Packets that came from a port and were dropped by the worker that polls it.",
            dropped,
        );
    }

    /// One family for each field of the kernel's statistics, whichever it has.
    fn port_statistics(&self, families: &mut Families) {
        for (place, (name, _)) in XdpStatistics::default().fields().iter().enumerate() {
            let told = self.ports.iter().filter(|port| !port.statistics.is_empty()).map(|port| {
                let of = |one: &XdpStatistics| one.fields().get(place).map_or(0, |field| field.1);
                (port_labels(port), float(port.statistics.iter().map(of).sum()))
            });
            let help = format!("Field {name} of the kernel's xdp_statistics, per port.");
            families.counter(&format!("socket_{name}_total"), &help, told);
        }
    }

    fn sum(&self, cell: impl Fn(&Counters) -> u64) -> u64 {
        self.workers.iter().map(|worker| cell(worker)).sum()
    }
}

impl PortScrape {
    fn sum(&self, cell: fn(&PortCounters) -> u64) -> u64 {
        self.counters.iter().map(|counters| cell(counters)).sum()
    }
}

fn worker_labels(worker: usize) -> Labels {
    Labels::new().with("worker", &worker.to_string())
}

fn port_labels(port: &PortScrape) -> Labels {
    Labels::new()
        .with("namespace", &port.namespace)
        .with("pod", &port.pod)
        .with("interface", &port.interface)
}

/// Prometheus counts in floats: exact to 2⁵³, then to the nearest.
#[allow(clippy::cast_precision_loss)]
fn float(value: u64) -> f64 {
    value as f64
}

fn seconds(nanoseconds: u64) -> f64 {
    float(nanoseconds) / 1e9
}
