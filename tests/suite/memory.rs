//! What an agent that watches a cluster keeps of a pod, in bytes.
//!
//! Counted is what is kept of each pod by whoever keeps something: the watch, what it has told, the
//! resolver, the compiler with the tables that it holds. The file of the last good state keeps no
//! more of an object than a key and a place; the bench `watched` measures all of it, through an API
//! server.

use std::fmt::Write;
use std::time::UNIX_EPOCH;

use lockgate_control::cluster::Cluster;
use lockgate_control::inventory::Effect;
use lockgate_control::manifest::{Alike, Object, ObjectKind, read_text};
use lockgate_control::resolver::Resolver;
use lockgate_control::watch::{Heard, PodFacts, There, What};
use lockgate_dataplane::compiler::Compiler;
use lockgate_dataplane::endpoint::Topology;
use lockgate_tests::allocator::live_bytes;

/// Pods that are told: hash tables of so many are three quarters full, as they are of 100,000.
const PODS: u32 = 25_000;
/// Pods of a namespace.
const OF_A_NAMESPACE: u32 = 200;
/// Pods of a template.
const OF_A_TEMPLATE: u32 = 4;
/// Pods of a node.
const OF_A_NODE: u32 = 100;

/// A pod as deployments make them and kubelets complete them, on another node.
fn pod(number: u32) -> Object {
    let (template, node) = (number / OF_A_TEMPLATE, number / OF_A_NODE);
    let (space, version) = (number / OF_A_NAMESPACE, number % 2);
    let [_, high, middle, low] = number.to_be_bytes();
    let text = format!(
        "apiVersion: v1
kind: Pod
metadata:
  name: app-{template}-6d4cf56db6-{number:05}
  namespace: team-{space}
  uid: 6fa459ea-ee8a-3ca4-894e-{number:012x}
  labels:
    app.kubernetes.io/name: app-{template}
    app.kubernetes.io/instance: app-{template}-prod
    app.kubernetes.io/version: 1.2.3
    tier: backend
    pod-template-hash: 6d4cf56db6-{template}
spec:
  serviceAccountName: app-{template}
  containers:
  - name: app
    ports: [{{name: http, containerPort: 8080}}, {{name: metrics, containerPort: 909{version}}}]
status:
  hostIPs: [{{ip: 192.168.{}.{}}}, {{ip: 'fd00::{node:x}'}}]
  podIPs: [{{ip: 10.{}.{middle}.{low}}}, {{ip: 'fd00:64::{number:x}'}}]
",
        node / 256,
        node % 256,
        64 + high,
    );
    let mut read = read_text("", &text).unwrap();
    assert_eq!(read.problems, []);
    read.objects.remove(0)
}

/// As it is heard, `version` times by now.
fn there(number: u32, version: u32, alike: &mut Alike) -> Heard {
    let mut object = pod(number);
    alike.share(&mut object);
    let facts = PodFacts { node: "far".into(), born: u64::from(number), ..PodFacts::default() };
    let there = There { object, problems: vec![], facts, version: version.to_string() };
    Heard::Of(ObjectKind::Pod, What::There(Box::new(there)))
}

/// Everything that an agent keeps of pods.
struct Kept {
    alike: Alike,
    cluster: Cluster,
    resolver: Resolver,
    compiler: Compiler,
}

impl Kept {
    fn new() -> Self {
        Self {
            alike: Alike::default(),
            cluster: Cluster::new("here"),
            resolver: Resolver::of_node(Some("here".into())),
            compiler: Compiler::counted_by(2),
        }
    }

    fn hear(&mut self, version: u32) {
        for number in 0..PODS {
            let heard = there(number, version, &mut self.alike);
            let _: Effect = self.cluster.take(heard, UNIX_EPOCH);
        }
        let changes = self.cluster.take_changes();
        let delta = self.resolver.apply(self.cluster.inventory(), &changes);
        drop(self.compiler.apply(delta, &Topology::default()));
    }
}

#[test]
fn a_pod_takes_no_more_than_a_kibibyte_and_a_half() {
    let begun = live_bytes();
    let of_each = || (live_bytes() - begun) / i64::from(PODS);
    let mut kept = Kept::new();
    kept.hear(1);
    let once = of_each();
    // Each kubelet tells of its pods again and again.
    kept.hear(2);
    let again = of_each();
    let Kept { alike, cluster, resolver, compiler } = kept;
    let mut told = format!("{once} bytes a pod, {again} when told again");
    let mut left = |of: &str| _ = write!(told, "; without the {of}: {}", of_each());
    drop(compiler);
    left("compiler");
    drop(resolver);
    left("resolver");
    drop(cluster);
    left("cluster");
    drop(alike);
    left("watch");
    assert!(once <= 1536 && again <= once, "{told}");
    assert_eq!(of_each(), 0, "{told}");
}
