//! Where a Service is asked, as written: its addresses, who may ask there, and who of its backends is
//! given to them. Which backends there are is in its `EndpointSlice`s.
//!
//! What of this cannot be read is no concern of policy, so it makes nothing of the rest of a Service
//! broken: nobody serves at its addresses until it is mended.

use std::net::IpAddr;

use ipnet::IpNet;
use lockgate_dataplane::limits::SOURCES_MAX;
use serde::{Deserialize, Serialize};

use super::fields::{Broken, Place, Report, all};
use super::problem::quoted;
use super::tree::Value;
use super::{address, block, rule};

const NOBODY_BEYOND: &str = "until then nobody is let in at its load balancer's addresses";
const UNSERVED: &str = "until then nobody serves at the Service's addresses";
const FIELDS: [&str; 10] = [
    "type",
    "clusterIP",
    "clusterIPs",
    "externalIPs",
    "sessionAffinity",
    "sessionAffinityConfig",
    "internalTrafficPolicy",
    "externalTrafficPolicy",
    "loadBalancerSourceRanges",
    "healthCheckNodePort",
];
/// How long a client sticks to its backend where the Service does not say.
const AFFINITY_S: u32 = 10_800;
/// The longest that it may say: a day.
const AFFINITY_MAX_S: i64 = 86_400;

/// Where a Service is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fronts {
    /// Its addresses in the cluster; none where it is headless.
    pub cluster: Vec<IpAddr>,
    /// Its `externalIPs`.
    pub external: Vec<IpAddr>,
    /// Those of its load balancer that come without another's translation (`ipMode: VIP`).
    pub balanced: Vec<IpAddr>,
    /// Who may ask at the load balancer's, by family: a family that has none of these is let in, where
    /// there are any. `None` is everybody; none at all is nobody.
    pub sources: Option<Vec<IpNet>>,
    /// Seconds for which a client is given the backend that it had last.
    pub affinity_s: Option<u32>,
    /// Whether the cluster's addresses are given backends of the client's node alone.
    pub is_local: bool,
    /// Whether who asks from beyond the node, at any but the cluster's addresses, is given backends of
    /// this node alone.
    pub is_local_beyond: bool,
    /// The ports of nodes that lead to its own, in the order of those; none where it asks for none.
    pub node_ports: Vec<Option<u16>>,
    /// The port at which each node says whether it has backends of its own: of a load balancer's
    /// Service that is given no others.
    #[serde(default)]
    pub health_port: Option<u16>,
    /// Whether all of that could be read: where not, nobody serves there.
    pub is_whole: bool,
}

impl Fronts {
    /// Reads where a Service is asked; this cannot fail, only close.
    pub(super) fn read(root: &Place<'_>, report: &mut Report<'_>) -> Self {
        let mut fronts = Self::default();
        let is_read = report.within(UNSERVED, |report| {
            let spec = root.field("spec").map_or(Ok(()), |at| fronts.read_spec(&at, report));
            let status = root.field("status");
            spec.and(status.map_or(Ok(()), |at| fronts.read_status(&at, report)))
        });
        fronts.is_whole = is_read.is_ok();
        // As with kube-proxy: another's Service is not looked at, and one without an address of the
        // cluster is asked nowhere.
        if is_anothers(root) || (fronts.is_whole && fronts.cluster.is_empty()) {
            return Self { is_whole: fronts.is_whole, ..Self::default() };
        }
        fronts
    }

    fn read_spec(&mut self, spec: &Place<'_>, report: &mut Report<'_>) -> Result<(), Broken> {
        let mut result = spec.unmistaken(report, "spec", &FIELDS);
        let kind =
            word(spec, "type", &["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"], report);
        if kind == Ok(Some("ExternalName")) {
            // A name for DNS: nothing is sent to it.
            return result;
        }
        let has_node_ports = matches!(kind, Ok(Some("NodePort" | "LoadBalancer")));
        let is_balanced = kind == Ok(Some("LoadBalancer"));
        result = result.and(kind.map(|_| ()));
        let cluster = cluster(spec, report).map(|found| self.cluster = found);
        let external = addresses(spec, "externalIPs", report).map(|found| self.external = found);
        let affinity = affinity(spec, report).map(|found| self.affinity_s = found);
        let policy = word(spec, "internalTrafficPolicy", &["Cluster", "Local"], report);
        let policy = policy.map(|word| self.is_local = word == Some("Local"));
        let beyond = word(spec, "externalTrafficPolicy", &["Cluster", "Local"], report);
        let beyond = beyond.map(|word| self.is_local_beyond = word == Some("Local"));
        // What of this cannot be read closes the load balancer's addresses only.
        let sources = report.within(NOBODY_BEYOND, |report| sources(spec, report));
        self.sources = sources.unwrap_or_else(|Broken| Some(Vec::new()));
        let nodes = if has_node_ports { node_ports(spec, report) } else { Ok(Vec::new()) };
        let nodes = nodes.map(|found| self.node_ports = found);
        let asks = is_balanced && self.is_local_beyond;
        let health = if asks { number(spec, "healthCheckNodePort", report) } else { Ok(None) };
        let health = health.map(|found| self.health_port = found);
        result
            .and(cluster)
            .and(external)
            .and(affinity)
            .and(policy)
            .and(beyond)
            .and(nodes)
            .and(health)
    }

    fn read_status(&mut self, status: &Place<'_>, report: &mut Report<'_>) -> Result<(), Broken> {
        let ingress = status.field("loadBalancer").and_then(|at| at.field("ingress"));
        let Some(ingress) = ingress else { return Ok(()) };
        let mut result = Ok(());
        for at in ingress.items(report, "ingress")? {
            let mode = word(&at, "ipMode", &["VIP", "Proxy"], report);
            let Some(ip) = at.field("ip").filter(|ip| ip.node.text() != Some("")) else { continue };
            match (mode, address::any_address(&ip, report)) {
                (Ok(Some("Proxy")), Ok(_)) => {}
                (Ok(_), Ok(found)) => self.balanced.push(found),
                _ => result = Err(Broken),
            }
        }
        result
    }
}

/// The label of Services and slices that another proxy serves, whichever it names.
const PROXY_LABEL: &str = "service.kubernetes.io/service-proxy-name";

/// Whether a Service or slice is served by another proxy.
pub(super) fn is_anothers(root: &Place<'_>) -> bool {
    let labels = root.field("metadata").and_then(|at| at.field("labels"));
    labels.is_some_and(|at| at.field(PROXY_LABEL).is_some())
}

/// A field that may be one of these words, or left out, or empty.
fn word<'w>(
    at: &Place<'_>,
    field: &str,
    words: &[&'w str],
    report: &mut Report<'_>,
) -> Result<Option<&'w str>, Broken> {
    let Some(at) = at.field(field) else { return Ok(None) };
    let text = at.text(report, field)?;
    if text.is_empty() {
        return Ok(None);
    }
    let found = words.iter().find(|word| **word == text);
    found.map(|word| Some(*word)).ok_or_else(|| {
        let message = format!("{} is not a {field}", quoted(text));
        report.error(&at, &message, &format!("write {}", words.join(" or ")))
    })
}

/// `clusterIPs`, or `clusterIP` where there are none; none at all of a headless Service.
fn cluster(spec: &Place<'_>, report: &mut Report<'_>) -> Result<Vec<IpAddr>, Broken> {
    let items = match spec.field("clusterIPs") {
        Some(at) => at.items(report, "clusterIPs")?,
        None => spec.field("clusterIP").into_iter().collect(),
    };
    let is_headless = |at: &Place<'_>| matches!(at.node.text(), Some("None" | ""));
    if items.iter().any(is_headless) {
        return Ok(Vec::new());
    }
    all(items.iter().map(|at| address::any_address(at, report)))
}

fn addresses(
    spec: &Place<'_>,
    field: &str,
    report: &mut Report<'_>,
) -> Result<Vec<IpAddr>, Broken> {
    let Some(at) = spec.field(field) else { return Ok(Vec::new()) };
    let items = at.items(report, field)?;
    all(items.iter().map(|at| address::any_address(at, report)))
}

/// What nodes lead to each port; 0 is none, as what is left out.
fn node_ports(spec: &Place<'_>, report: &mut Report<'_>) -> Result<Vec<Option<u16>>, Broken> {
    let Some(at) = spec.field("ports") else { return Ok(Vec::new()) };
    let items = at.items(report, "ports")?;
    all(items.iter().map(|port| number(port, "nodePort", report)))
}

/// A port; 0 is none, as what is left out.
fn number(at: &Place<'_>, field: &str, report: &mut Report<'_>) -> Result<Option<u16>, Broken> {
    match at.field(field) {
        None => Ok(None),
        Some(at) if at.node.value == Value::Integer(0) => Ok(None),
        Some(at) => rule::number(&at, report).map(Some),
    }
}

fn affinity(spec: &Place<'_>, report: &mut Report<'_>) -> Result<Option<u32>, Broken> {
    if word(spec, "sessionAffinity", &["None", "ClientIP"], report)? != Some("ClientIP") {
        return Ok(None);
    }
    let client = spec.field("sessionAffinityConfig").and_then(|at| at.field("clientIP"));
    let Some(at) = client.and_then(|at| at.field("timeoutSeconds")) else {
        return Ok(Some(AFFINITY_S));
    };
    match &at.node.value {
        Value::Integer(seconds) if (1..=AFFINITY_MAX_S).contains(seconds) => {
            Ok(u32::try_from(*seconds).ok())
        }
        _ => {
            let message = "timeoutSeconds is not a time for which a client may stick to a backend";
            Err(report.error(&at, message, "write a whole number, 1 to 86400"))
        }
    }
}

fn sources(spec: &Place<'_>, report: &mut Report<'_>) -> Result<Option<Vec<IpNet>>, Broken> {
    let Some(at) = spec.field("loadBalancerSourceRanges") else { return Ok(None) };
    let items = at.items(report, "loadBalancerSourceRanges")?;
    if items.len() > SOURCES_MAX {
        let message = format!("there are {} source ranges", items.len());
        let remedy = format!("write at most {SOURCES_MAX}, wider ones");
        return Err(report.error(&at, &message, &remedy));
    }
    let read = all(items.iter().map(|at| {
        // Blanks around a range are taken off by those who balance too.
        match at.node.text().and_then(|text| block::cidr(text.trim())) {
            Some(written) => Ok(written.cidr),
            None => rule::cidr(at, report),
        }
    }))?;
    Ok(Some(read).filter(|read| !read.is_empty()))
}
