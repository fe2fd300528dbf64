//! What an agent takes that watches a large cluster, through a real API server.
//!
//! A cluster of one node is started; pods are objects with two addresses on a node that is an
//! object too, of the size that real ones have: labels, annotations, two containers with
//! ports and environment. The switch is started anew as a process on the node each time (`$LOCKGATE`,
//! else the binary beside this one), with more and more of them there; measured is the time until it
//! judges by them, and its memory then and at the most. Root; `watched [PODS]`.

#![forbid(unsafe_code)]

use std::error::Error;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use kube::Client;
use kube::api::{
    Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams,
};
use lockgate_control::watch::connect;
use lockgate_tests::kubernetes::{Cluster, Layout, Network, Node, Options};
use serde_json::{Value, json};
use tokio::task::JoinSet;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Pods unless said otherwise.
const PODS: usize = 100_000;
/// Pods of a namespace.
const OF_A_NAMESPACE: usize = 200;
/// Requests under way at a time.
const AT_ONCE: usize = 32;
/// The node that is an object.
const FAR: &str = "node-far";
/// How long the agent may take to judge by what is there.
const PATIENCE: Duration = Duration::from_mins(3);

fn main() -> Outcome<()> {
    let asked = std::env::args().nth(1).map(|text| text.parse::<usize>());
    let most = asked.transpose()?.unwrap_or(PODS);
    // Without `..`: what is mounted below it is found again by its name.
    let state = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("target/cluster-lgw");
    let layout = Layout::new("lgw", &state)?;
    let cluster = Cluster::up(&layout, &Options { nodes: 1, network: Network::None })?;
    let kubeconfig = cluster.kubeconfig();
    say("pods      ready s  memory MB  most MB  bytes a pod more")?;
    let mut first = None;
    let mut there = 0;
    for pods in [0, most / 10, most] {
        let range = there..pods;
        let path = kubeconfig.clone();
        layout.first().namespace.enter(move || -> Outcome<()> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let client = connect(Some(&path)).await?;
                fill(&client, range).await
            })
        })??;
        there = pods;
        let seen = started(&cluster, pods)?;
        let nobody = *first.get_or_insert(seen.memory_kib);
        let each = match pods {
            0 => "-".to_owned(),
            _ => (seen.memory_kib.saturating_sub(nobody) * 1024 / pods as u64).to_string(),
        };
        let [now, most] = [seen.memory_kib, seen.most_kib].map(|kib| kib * 1024 / 1_000_000);
        say(&format!("{pods:<9} {:<8.1} {now:<10} {most:<8} {each}", seen.ready.as_secs_f64()))?;
    }
    cluster.down()?;
    Ok(())
}

fn say(line: &str) -> std::io::Result<()> {
    writeln!(std::io::stdout().lock(), "{line}")
}

/// What is seen of an agent that was started.
struct Seen {
    ready: Duration,
    memory_kib: u64,
    most_kib: u64,
}

/// Starts the agent, waits until it judges by all pods, looks, and ends it.
fn started(cluster: &Cluster, pods: usize) -> Outcome<Seen> {
    let node: Node = cluster.node(0);
    let begun = Instant::now();
    node.begin_agent(&cluster.kubeconfig(), &[])?;
    let process = node.agent()?;
    process.await_answer(PATIENCE, || {
        node.agent_says("status").is_ok_and(|said| said["ready"] == true)
    })?;
    let ready = begun.elapsed();
    let said = node.agent_says("status")?;
    let known = said["pods"].as_u64().unwrap_or_default();
    if known < pods as u64 {
        return Err(format!("{pods} pods are there, the agent knows {known}: {said}").into());
    }
    // What was needed to begin is given back by now, if it ever is.
    std::thread::sleep(Duration::from_secs(15));
    let id = process.id().ok_or("the agent has ended")?;
    let text = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let kib = |name: &str| -> Outcome<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).ok_or("no memory")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    };
    let seen = Seen { ready, memory_kib: kib("VmRSS:")?, most_kib: kib("VmHWM:")? };
    process.stop()?;
    Ok(seen)
}

fn api(client: &Client, kind: &str, namespace: Option<&str>) -> Api<DynamicObject> {
    let group = if kind == "NetworkPolicy" { "networking.k8s.io" } else { "" };
    let what = ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", kind));
    match namespace {
        None => Api::all_with(client.clone(), &what),
        Some(name) => Api::namespaced_with(client.clone(), name, &what),
    }
}

fn object(value: Value) -> Outcome<DynamicObject> {
    Ok(serde_json::from_value(value)?)
}

/// Makes pods by their numbers, and the namespaces and policies that come with them.
async fn fill(client: &Client, pods: std::ops::Range<usize>) -> Outcome<()> {
    let new = PostParams::default();
    if pods.start == 0 && !pods.is_empty() {
        let far = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": FAR}});
        api(client, "Node", None).create(&new, &object(far)?).await?;
    }
    let mut under_way = JoinSet::new();
    for number in pods {
        if number % OF_A_NAMESPACE == 0 {
            begin_namespace(client, number / OF_A_NAMESPACE).await?;
        }
        if under_way.len() >= AT_ONCE
            && let Some(ended) = under_way.join_next().await
        {
            ended??;
        }
        let client = client.clone();
        under_way.spawn(async move { make(&client, number).await });
    }
    while let Some(ended) = under_way.join_next().await {
        ended??;
    }
    Ok(())
}

/// A namespace, its account, and a policy for what it holds.
async fn begin_namespace(client: &Client, number: usize) -> Outcome<()> {
    let name = format!("team-{number}");
    let new = PostParams::default();
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": name, "labels": {"team": name, "stage": format!("s{}", number % 3)}},
    });
    api(client, "Namespace", None).create(&new, &object(namespace)?).await?;
    let account = json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"},
    });
    // The controllers make it too: whoever comes second is told so.
    let _known = api(client, "ServiceAccount", Some(&name)).create(&new, &object(account)?).await;
    let policy = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "web"},
        "spec": {
            "podSelector": {"matchLabels": {"app.kubernetes.io/name": "app-0"}},
            "ingress": [{
                "from": [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "app-1"}}}],
                "ports": [{"port": "http"}],
            }],
        },
    });
    api(client, "NetworkPolicy", Some(&name)).create(&new, &object(policy)?).await?;
    Ok(())
}

async fn make(client: &Client, number: usize) -> Outcome<()> {
    let pods = api(client, "Pod", Some(&format!("team-{}", number / OF_A_NAMESPACE)));
    let name = format!("app-{}-6d4cf56db6-{number:05}", number % 20);
    pods.create(&PostParams::default(), &object(pod(&name, number))?).await?;
    let addresses = [
        format!("10.{}.{}.{}", 64 + (number >> 16), (number >> 8) & 255, number & 255),
        format!("fd00:64::{:x}:{:x}", number >> 16, number & 0xffff),
    ];
    let status = json!({"status": {
        "phase": "Running", "podIP": addresses[0],
        "podIPs": [{"ip": addresses[0]}, {"ip": addresses[1]}],
        "conditions": [{"type": "Ready", "status": "True"}],
    }});
    pods.patch_status(&name, &PatchParams::default(), &Patch::Merge(&status)).await?;
    Ok(())
}

/// A pod as deployments make them.
fn pod(name: &str, number: usize) -> Value {
    let app = format!("app-{}", number % 20);
    let container = |name: &str, port: u16| {
        json!({
            "name": name, "image": "none",
            "ports": [{"name": name, "containerPort": port}],
            "env": (0..8).map(|one| json!({
                "name": format!("VARIABLE_{one}"), "value": "some value of a usual length",
            })).collect::<Vec<_>>(),
            "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
        })
    };
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": {
                "app.kubernetes.io/name": app, "app.kubernetes.io/instance": format!("{app}-prod"),
                "app.kubernetes.io/version": "1.2.3", "tier": format!("tier-{}", number % 4),
                "pod-template-hash": "6d4cf56db6",
            },
            "annotations": {
                "prometheus.io/scrape": "true",
                "checksum/config": "4f7a2b0e6c1d9f3a5b8c7e2d1a0f9e8d7c6b5a4f3e2d1c0b9a8f7e6d5c4b3a21",
            },
        },
        "spec": {
            "nodeName": FAR, "tolerations": [{"operator": "Exists"}],
            "automountServiceAccountToken": false,
            "containers": [container("http", 8080), container("metrics", 9090)],
        },
    })
}
