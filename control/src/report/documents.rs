//! The documents of the Unix socket. Their fields are a promise: add, do not rename.

use std::collections::BTreeMap;
use std::net::IpAddr;

use lockgate_dataplane::connection::Row;
use lockgate_dataplane::counters::{Cell, PortCounters};
use lockgate_dataplane::packet::FlowKey;
use lockgate_dataplane::policy::ruleset::{PodIndex, Policy, Stage};
use lockgate_dataplane::port::XdpStatistics;
use serde::Serialize;

use super::cluster::ClusterStanding;
use super::{Observer, owner};
use crate::ask::CONNECTIONS_SHOWN_MAX;
use crate::dataplane::Dataplane;
use crate::manifest::{INTERFACE_FIELD, Problem, Severity};
use crate::policy::IpProtocol;
use crate::resolve::Resolved;
use crate::sync::Sync;

#[derive(Serialize)]
pub(super) struct Status {
    version: &'static str,
    pid: u32,
    uptime_seconds: u64,
    ready: bool,
    epoch: u64,
    generation: u64,
    generation_in_force: u64,
    manifests: String,
    listen: String,
    pods: usize,
    pods_attached: usize,
    policies: usize,
    changes_applied: u64,
    frames: String,
    workers: Vec<WorkerRow>,
    /// Where objects are a cluster's.
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<ClusterStanding>,
    problems: Vec<Problem>,
}

#[derive(Serialize)]
struct WorkerRow {
    worker: usize,
    core: Option<usize>,
    turns: u64,
    busy_ratio: f64,
    received_packets: u64,
    sent_packets: u64,
    dropped_packets: u64,
    connections: u64,
}

pub(super) fn status<D: Dataplane>(observer: &Observer, sync: &mut Sync<D>) -> Status {
    let (epoch, published) = sync.numbers();
    let settings = &observer.settings;
    let shares = observer.shares();
    let counters = sync.dataplane().counters();
    let workers = counters.iter().enumerate().map(|(worker, cells)| WorkerRow {
        worker,
        core: settings.cores.get(worker).copied(),
        turns: cells.turns.load(),
        busy_ratio: shares.get(worker).copied().unwrap_or(0.0),
        received_packets: cells.received.load(),
        sent_packets: cells.sent.load(),
        dropped_packets: cells.dropped_total(),
        connections: cells.connections.iter().map(Cell::load).sum(),
    });
    Status {
        version: env!("CARGO_PKG_VERSION"),
        pid: std::process::id(),
        uptime_seconds: observer.started.elapsed().as_secs(),
        workers: workers.collect(),
        ready: sync.is_ready(),
        epoch: epoch.0,
        generation: published.0,
        generation_in_force: sync.dataplane().in_force().0,
        cluster: sync.source().cluster().map(super::cluster::standing),
        manifests: settings.source.spoken(),
        listen: settings.listen.to_string(),
        pods: sync.resolver().pods(),
        pods_attached: sync.placed().attachments.len(),
        policies: sync.resolver().policies(),
        changes_applied: sync.latency().count(),
        frames: settings.budget.to_string(),
        problems: sync.problems(),
    }
}

#[derive(Serialize)]
pub(super) struct PortList {
    ports: Vec<PortRow>,
    not_attached: Vec<Problem>,
}

#[derive(Serialize)]
struct PortRow {
    kind: &'static str,
    namespace: String,
    pod: String,
    interface: String,
    port: u32,
    workers: Vec<u8>,
    mac: Option<String>,
    mtu: Option<u16>,
    received_packets: u64,
    received_bytes: u64,
    sent_packets: u64,
    sent_bytes: u64,
    dropped_packets: u64,
    statistics: BTreeMap<&'static str, u64>,
}

pub(super) fn ports<D: Dataplane>(sync: &mut Sync<D>) -> PortList {
    let seen = sync.dataplane().ports();
    let mut rows = Vec::with_capacity(seen.len());
    for port in seen {
        let mut statistics = BTreeMap::new();
        for (field, count) in
            sync.dataplane().statistics(port.port).iter().flat_map(XdpStatistics::fields)
        {
            *statistics.entry(field).or_default() += count;
        }
        let owner = owner(sync, &port.interface, &port);
        let host = sync.placed().host.as_ref().filter(|host| host.port == port.port);
        let sum = |cell: fn(&PortCounters) -> u64| {
            port.counters.iter().map(|counters| cell(counters)).sum()
        };
        rows.push(PortRow {
            kind: if host.is_some() { "host" } else { "pod" },
            namespace: owner.namespace.to_owned(),
            pod: owner.pod.to_owned(),
            mac: owner
                .held
                .map(|held| held.probed.mac)
                .or(host.map(|host| host.mac))
                .map(|mac| mac.to_string()),
            mtu: owner.held.map(|held| held.probed.mtu).or(host.map(|host| host.mtu)),
            interface: owner.interface,
            port: port.port.0,
            workers: port.at.iter().map(|at| at.worker.0).collect(),
            received_packets: sum(|c| c.received_packets.load()),
            received_bytes: sum(|c| c.received_bytes.load()),
            sent_packets: sum(|c| c.sent_packets.load()),
            sent_bytes: sum(|c| c.sent_bytes.load()),
            dropped_packets: sum(|c| c.dropped_packets.load()),
            statistics,
        });
    }
    // Two pods that name one interface are never asked for: nobody knows whose it is.
    let named_twice =
        sync.source().inventory().problems().into_iter().filter(|problem| {
            problem.severity == Severity::Error && problem.field == INTERFACE_FIELD
        });
    let not_attached = sync.ports().problems().cloned().chain(named_twice).collect();
    PortList { ports: rows, not_attached }
}

/// One end of a flow, and what it is called.
#[derive(Serialize)]
pub(super) struct Flow {
    protocol: String,
    /// Of ICMP: of the request where this is an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    icmp_type: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icmp_code: Option<u8>,
    source: IpAddr,
    source_port: u16,
    source_pod: Option<String>,
    target: IpAddr,
    target_port: u16,
    target_pod: Option<String>,
}

/// The names of pods by address.
pub(super) struct Names(BTreeMap<IpAddr, String>);

impl Names {
    pub(super) fn new(resolved: &Resolved) -> Self {
        let pods = resolved.pods.iter().zip(&resolved.ruleset.pods);
        let named = pods.flat_map(|(view, pod)| {
            let name = format!("{}/{}", view.namespace, view.name);
            pod.addresses.iter().map(move |address| (*address, name.clone()))
        });
        Self(named.collect())
    }

    pub(super) fn flow(&self, key: &FlowKey) -> Flow {
        let (source, target) = (IpAddr::from(key.source), IpAddr::from(key.target));
        let ([source_port, target_port], message) = ports_of(key);
        Flow {
            protocol: IpProtocol(key.number).to_string(),
            icmp_type: message.map(|[kind, _]| kind),
            icmp_code: message.map(|[_, code]| code),
            source,
            source_port,
            source_pod: self.0.get(&source).cloned(),
            target,
            target_port,
            target_pod: self.0.get(&target).cloned(),
        }
    }
}

/// The ports of a flow, and the type and code of its message if it has one. An echo's identifier
/// stands for both of its ports.
fn ports_of(key: &FlowKey) -> ([u16; 2], Option<[u8; 2]>) {
    if key.protocol.has_ports() {
        return ([key.source_port, key.target_port], None);
    }
    if !key.protocol.has_messages() {
        return ([0; 2], None);
    }
    let is_request = |port: u16| matches!(port.to_be_bytes()[0], 8 | 13 | 128);
    // What answers has the request's message where its source's port would be.
    let (message, identifier) = if is_request(key.source_port) && !is_request(key.target_port) {
        (key.source_port, key.target_port)
    } else {
        (key.target_port, key.source_port)
    };
    ([identifier; 2], Some(message.to_be_bytes()))
}

#[derive(Serialize)]
pub(super) struct ConnectionList {
    connections: Vec<ConnectionRow>,
    /// There may be more than were asked for.
    cut: bool,
}

#[derive(Serialize)]
struct ConnectionRow {
    #[serde(flatten)]
    flow: Flow,
    state: &'static str,
    verdict: &'static str,
    epoch: u64,
    age_ms: u64,
    idle_ms: u64,
}

pub(super) fn connections<D: Dataplane>(
    sync: &mut Sync<D>,
    limit: usize,
) -> Result<ConnectionList, D::Error> {
    let limit = limit.min(CONNECTIONS_SHOWN_MAX);
    let seen = sync.dataplane().connections(limit)?;
    let names = Names::new(sync.resolved());
    let rows = seen.iter().map(|row: &Row| ConnectionRow {
        flow: names.flow(&row.opening),
        state: row.state.label(),
        verdict: if row.allowed { "allow" } else { "deny" },
        epoch: row.epoch.0,
        age_ms: row.age_ms,
        idle_ms: row.idle_ms,
    });
    Ok(ConnectionList { cut: seen.len() >= limit, connections: rows.collect() })
}

#[derive(Serialize)]
pub(super) struct PolicyList {
    epoch: u64,
    policies: Vec<PolicyRow>,
}

#[derive(Serialize)]
struct PolicyRow {
    name: String,
    tier: String,
    /// When it is asked: `in force`, `staged`, or `leaving` where what is staged takes its place.
    stage: &'static str,
    isolates: Vec<&'static str>,
    ingress_rules: usize,
    egress_rules: usize,
    pods: Vec<String>,
}

pub(super) fn policies<D: Dataplane>(sync: &Sync<D>) -> PolicyList {
    let resolved = sync.resolved();
    let rows = resolved.ruleset.policies.iter().map(|policy| PolicyRow {
        name: policy.name.to_string(),
        tier: policy.tier.name.to_string(),
        stage: match policy.stage {
            Stage::InForce => "in force",
            Stage::Staged => "staged",
            Stage::Leaving => "leaving",
        },
        isolates: [("ingress", &policy.ingress), ("egress", &policy.egress)]
            .into_iter()
            .filter_map(|(name, rules)| rules.as_ref().map(|_| name))
            .collect(),
        ingress_rules: policy.ingress.as_ref().map_or(0, |rules| rules.len()),
        egress_rules: policy.egress.as_ref().map_or(0, |rules| rules.len()),
        pods: subjects(resolved, policy).iter().filter_map(|pod| name_of(resolved, *pod)).collect(),
    });
    PolicyList { epoch: sync.numbers().0.0, policies: rows.collect() }
}

fn subjects<'a>(resolved: &'a Resolved, policy: &Policy) -> &'a [PodIndex] {
    let place = usize::try_from(policy.subjects.0).unwrap_or(usize::MAX);
    resolved.ruleset.sets.get(place).map_or(&[], |set| &set.pods)
}

fn name_of(resolved: &Resolved, pod: PodIndex) -> Option<String> {
    let view = resolved.pods.get(usize::try_from(pod.0).ok()?)?;
    Some(format!("{}/{}", view.namespace, view.name))
}
