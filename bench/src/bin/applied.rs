//! From a change of a policy to the first packet with the new verdict, through a real API server.
//!
//! A cluster of one node is started, with the switch as a process on it (`$LOCKGATE`, else the
//! binary beside this one) and two real pods; the other Pods are objects with addresses on a node
//! that is an object too. One pod sends a datagram each 0.5 ms to the other. A policy is patched to
//! and fro; measured is the time from the API server's answer to
//!
//! | change | ends with |
//! |---|---|
//! | opened | the first datagram that arrives, when it arrives |
//! | closed | the first datagram that does not, when it was sent |
//!
//! What was decided before the answer was heard counts as nothing. Root; `applied [CHANGES [PODS]]`.

#![forbid(unsafe_code)]

use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use kube::Client;
use kube::api::{
    Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams,
};
use lockgate_control::watch::connect;
use lockgate_tests::kubernetes::{Cluster, Layout, Network, Options, images};
use serde_json::{Value, json};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Changes unless said otherwise.
const CHANGES: usize = 200;
/// Pods, with the two that run, unless said otherwise.
const PODS: usize = 1000;
/// Between two datagrams.
const STEP: Duration = Duration::from_micros(500);
/// Between two changes: what came of one is over long before the next.
const REST: Duration = Duration::from_millis(400);
/// The port of the datagrams.
const PORT: u16 = 7000;
/// The node that is an object.
const FAR: &str = "node-far";

fn main() -> Outcome<()> {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<usize>());
    let changes = numbers.next().transpose()?.unwrap_or(CHANGES);
    let pods = numbers.next().transpose()?.unwrap_or(PODS);
    // Without `..`: what is mounted below it is found again by its name.
    let state = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("target/cluster-lgp");
    let layout = Layout::new("lgp", &state)?;
    let cluster = Cluster::up(&layout, &Options { nodes: 1, network: Network::Switch })?;
    for name in ["prober", "target"] {
        cluster.apply(&running(name))?;
    }
    cluster.kubectl(&["wait", "--for=condition=Ready", "--timeout=90s", "pod", "--all"])?;
    let probe = Probe::begin(&cluster)?;
    let kubeconfig = cluster.kubeconfig();
    let before = load()?;
    let measured = layout.first().namespace.enter(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let work = async {
            let client = connect(Some(&kubeconfig)).await.map_err(|error| error.to_string())?;
            fill(&client, pods.saturating_sub(2)).await.map_err(|error| error.to_string())?;
            measure(&client, &probe, changes).await.map_err(|error| error.to_string())
        };
        runtime.map_err(|error| error.to_string())?.block_on(work)
    })?;
    let text = told(&measured?, pods, &before, &load()?);
    cluster.down()?;
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(())
}

/// The machine's load.
fn load() -> Outcome<String> {
    let text = std::fs::read_to_string("/proc/loadavg")?;
    Ok(text.split(' ').take(3).collect::<Vec<_>>().join(" "))
}

/// A pod that runs.
fn running(name: &str) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: {name}}}}}
spec:
  nodeName: node-a
  terminationGracePeriodSeconds: 1
  containers: [{{name: agnhost, image: {image}, args: [pause]}}]
",
        image = images::AGNHOST
    )
}

/// What was sent and what has arrived, by number.
#[derive(Default)]
struct Log {
    sent: Mutex<Vec<Instant>>,
    arrived: Mutex<Vec<(usize, Instant)>>,
}

/// One pod sends, the other receives, until this is dropped.
struct Probe {
    log: Arc<Log>,
    is_over: Arc<AtomicBool>,
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

impl Probe {
    fn begin(cluster: &Cluster) -> Outcome<Self> {
        let path = "jsonpath={.status.podIP}";
        let address: IpAddr =
            cluster.kubectl(&["get", "pod", "target", "--output", path])?.parse()?;
        let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let node = cluster.node(0);
        let inside = |pod: &str| -> Outcome<_> {
            Ok(node.pod_namespace(pod)?.ok_or_else(|| format!("{pod} is not attached"))?)
        };
        let to = SocketAddr::new(address, PORT);
        let receiver = inside("target")?.enter(|| UdpSocket::bind(to))??;
        receiver.set_read_timeout(Some(REST))?;
        let sender = inside("prober")?.enter(|| UdpSocket::bind(any))??;
        sender.connect(to)?;
        let probe = Self { log: Arc::default(), is_over: Arc::default() };
        let (log, is_over) = (Arc::clone(&probe.log), Arc::clone(&probe.is_over));
        thread::spawn(move || send(&sender, &log, &is_over));
        let (log, is_over) = (Arc::clone(&probe.log), Arc::clone(&probe.is_over));
        thread::spawn(move || receive(&receiver, &log, &is_over));
        Ok(probe)
    }

    /// When the first datagram arrived that did since a time.
    fn opened(&self, since: Instant) -> Option<Instant> {
        let arrived = self.log.arrived.lock().ok()?;
        arrived.iter().map(|(_, at)| *at).find(|at| *at >= since)
    }

    /// When the first was sent after the last that arrived.
    fn closed(&self) -> Option<Instant> {
        let last = self.log.arrived.lock().ok()?.last()?.0;
        self.log.sent.lock().ok()?.get(last + 1).copied()
    }
}

fn send(socket: &UdpSocket, log: &Log, is_over: &AtomicBool) {
    let mut next = Instant::now();
    while !is_over.load(Ordering::Relaxed) {
        let Ok(mut sent) = log.sent.lock() else { return };
        let number = u64::try_from(sent.len()).unwrap_or(u64::MAX);
        sent.push(Instant::now());
        drop(sent);
        // Where the target's port is not open yet, an error comes back: the next one is sent.
        let _ = socket.send(&number.to_be_bytes());
        next = (next + STEP).max(Instant::now());
        thread::sleep(next.saturating_duration_since(Instant::now()).max(STEP / 2));
    }
}

fn receive(socket: &UdpSocket, log: &Log, is_over: &AtomicBool) {
    let mut bytes = [0; 8];
    while !is_over.load(Ordering::Relaxed) {
        if !matches!(socket.recv(&mut bytes), Ok(8)) {
            continue;
        }
        let number = usize::try_from(u64::from_be_bytes(bytes)).unwrap_or(usize::MAX);
        let Ok(mut arrived) = log.arrived.lock() else { return };
        arrived.push((number, Instant::now()));
    }
}

fn api(client: &Client, group: &str, version: &str, kind: &str) -> Api<DynamicObject> {
    let what = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    if kind == "Node" {
        Api::all_with(client.clone(), &what)
    } else {
        Api::namespaced_with(client.clone(), "default", &what)
    }
}

/// Makes the pods that are objects, with addresses, and the policy.
async fn fill(client: &Client, pods: usize) -> Result<(), Box<dyn Error>> {
    let object = |value: Value| serde_json::from_value::<DynamicObject>(value);
    let new = PostParams::default();
    let far = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": FAR}});
    api(client, "", "v1", "Node").create(&new, &object(far)?).await?;
    let api_of_pods = api(client, "", "v1", "Pod");
    for number in 0..pods {
        let name = format!("object-{number}");
        // It stays, whatever is found out about its node.
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "labels": {"app": format!("app-{}", number % 50)}},
            "spec": {
                "nodeName": FAR, "tolerations": [{"operator": "Exists"}],
                "containers": [{"name": "none", "image": "none"}],
            },
        });
        api_of_pods.create(&new, &object(pod)?).await?;
        let address = format!("10.250.{}.{}", number / 250, number % 250 + 1);
        let status = json!({"status": {
            "phase": "Running", "podIP": address, "podIPs": [{"ip": address}],
        }});
        let patch = Patch::Merge(&status);
        api_of_pods.patch_status(&name, &PatchParams::default(), &patch).await?;
    }
    let policy = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "gate"},
        "spec": {
            "podSelector": {"matchLabels": {"app": "target"}},
            "policyTypes": ["Ingress"], "ingress": [],
        },
    });
    let policies = api(client, "networking.k8s.io", "v1", "NetworkPolicy");
    policies.create(&new, &object(policy)?).await?;
    tokio::time::sleep(REST * 5).await;
    Ok(())
}

/// What each change took, opened and closed.
#[derive(Default)]
struct Measured {
    opened: Vec<Duration>,
    closed: Vec<Duration>,
}

async fn measure(client: &Client, probe: &Probe, changes: usize) -> Outcome<Measured> {
    let policies = api(client, "networking.k8s.io", "v1", "NetworkPolicy");
    let mut measured = Measured::default();
    for change in 0..changes {
        let is_opened = change % 2 == 0;
        let from = json!([{"from": [{"podSelector": {"matchLabels": {"app": "prober"}}}]}]);
        let ingress = if is_opened { from } else { json!([]) };
        let patch = json!({"spec": {"ingress": ingress}});
        let asked = Instant::now();
        policies.patch("gate", &PatchParams::default(), &Patch::Merge(&patch)).await?;
        let answered = Instant::now();
        // Where it takes longer, it is measured longer, and told.
        tokio::time::sleep(REST).await;
        let seen = if is_opened { probe.opened(asked) } else { probe.closed() };
        let seen = seen.ok_or("no datagram has told")?;
        let took = seen.saturating_duration_since(answered);
        if is_opened { &mut measured.opened } else { &mut measured.closed }.push(took);
    }
    Ok(measured)
}

/// The figures, with their spread.
fn told(measured: &Measured, pods: usize, before: &str, after: &str) -> String {
    let mut text = format!(
        "{pods} pods; load of the machine before {before}, after {after}\n\
         change    n    min     p25     median  p75     p90     p99     max (ms after the answer)\n"
    );
    let all: Vec<Duration> = [&measured.opened[..], &measured.closed[..]].concat();
    for (name, times) in [("opened", &measured.opened), ("closed", &measured.closed), ("all", &all)]
    {
        let mut sorted = times.clone();
        sorted.sort_unstable();
        let at = |hundredths: usize| {
            let rank = (sorted.len() * hundredths).div_ceil(100).max(1);
            sorted.get(rank - 1).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
        };
        let figures = [0, 25, 50, 75, 90, 99, 100].map(|rank| format!("{:<7.2}", at(rank)));
        // Writing into a text does not fail.
        let _ = writeln!(text, "{name:<8} {:>3}  {}", sorted.len(), figures.join(" "));
    }
    text
}
