//! The agent as it is deployed: the plain manifest, its role, an image of its programs. The real
//! API server records what the agent asks, and the role allows that and nothing else.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use lockgate_control::manifest::ObjectKind;
use lockgate_control::watch::RESOURCES;
use lockgate_tests::kubernetes::layout::API_PORT;
use lockgate_tests::kubernetes::{Cluster, Layout, Network, Options, deployed, leftovers};
use lockgate_tests::lab::LabError;
use lockgate_tests::lab::namespace::{run, wait_for};
use serde_json::{Value, json};

use super::nodes::pod_text;
use super::{Case, Outcome, layout};

pub(crate) const CASES: &[Case] = &[(
    "deploy: the plain manifest starts an agent that asks what its role allows, and enforces",
    deployed,
)];

/// Who the agent is to the API server.
const AGENT: &str = "system:serviceaccount:lockgate:lockgate";

/// Calico's kinds are in one of two groups, of which a cluster has one.
const CALICO: [&str; 2] = ["crd.projectcalico.org/v1", "projectcalico.org/v3"];

/// How long the agent may take to find what was installed, or is gone. It looks every 5 s.
const PATIENCE: Duration = Duration::from_secs(90);

const BROKEN: &str = "
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: broken}
spec: {tier: Admin, priority: 1, subject: {namespaces: 7}}
";

const DENY: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny-web, namespace: default}
spec: {podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress]}
";

fn deployed() -> Outcome {
    let layout = layout()?;
    let (cluster, manifest) = install(&layout)?;
    let outcome = rolled_out(&cluster).and_then(|()| {
        is_under_a_profile(&layout)?;
        enforces(&cluster)?;
        is_evicted_by_its_budget(&cluster)?;
        asks_what_it_may(&cluster, &manifest)
    });
    told(&cluster, outcome)?;
    uninstalls(&cluster)?;
    Ok(cluster.down()?)
}

/// A cluster of one node to which the plain manifest was applied, and that.
pub(crate) fn install(layout: &Layout) -> Result<(Cluster, String), Box<dyn Error>> {
    let cluster = Cluster::up(layout, &Options { nodes: 1, network: Network::None })?;
    let manifest = fs::read_to_string(deployed::MANIFEST)?;
    let programs = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("image");
    cluster.node(0).import_bare(&deployed::image(&manifest, &programs)?)?;
    cluster.apply(&definitions(|version| version != CALICO[1]))?;
    cluster.apply(&without_kube_proxy(layout, &manifest))?;
    Ok((cluster, manifest))
}

/// The outcome; where it is a failure, the reason is in what the agents said, which is shown.
pub(crate) fn told(cluster: &Cluster, outcome: Outcome) -> Outcome {
    if outcome.is_err() {
        let log = ["--namespace", "lockgate", "logs", "--tail=40", "--prefix"];
        let of_agents = [&log[..], &["--selector=app.kubernetes.io/name=lockgate"]].concat();
        eprintln!("{}", cluster.kubectl(&of_agents).unwrap_or_else(|error| error.to_string()));
    }
    outcome
}

/// What the guide says removes what the agent leaves on a node.
fn uninstalls(cluster: &Cluster) -> Outcome {
    let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/OPERATING.md");
    let text = fs::read_to_string(guide)?;
    let (_, block) =
        text.split_once("<!-- A test runs this block as it is. -->\n```sh\n").unwrap_or_default();
    let (block, _) = block.split_once("```").unwrap_or_default();
    assert!(block.lines().count() >= 5, "{guide} does not say how it is removed");
    cluster.kubectl(&["delete", "namespace", "lockgate", "--timeout=90s"])?;
    let on_node = |line: &str| run(cluster.node(0).command("sh").args(["-ec", line]));
    let links = |which: &str| -> Result<String, LabError> {
        let line = format!("ip -o link show {which} | grep 'alias lockgate' || true");
        Ok(String::from_utf8_lossy(&on_node(&line)?.stdout).into_owned())
    };
    assert_ne!(links("up")?, "", "no pod is left that could pass");
    on_node(block)?;
    assert_eq!(links("up")?, "", "a pod that is left passes unjudged");
    let pods = "ip -o link show | sed -n 's/^[0-9]*: \\([^@:]*\\)[@:].*alias lockgate.*/\\1/p'";
    on_node(&format!("for link in $({pods}); do ip link delete $link; done"))?;
    let left = "ls -d /etc/cni/net.d/*lockgate* /opt/cni/bin/lockgate-cni /sys/fs/bpf/lockgate \
                /run/lockgate/* 2>/dev/null || true; for f in -4 -6; do \
                ip $f route show table all proto 76; ip -d $f rule show | grep 'proto 76' || true; \
                done; nft list tables | grep lockgate || true; \
                ip -o link show | grep lockgate || true";
    let left = String::from_utf8_lossy(&on_node(left)?.stdout).into_owned();
    assert_eq!(left, "", "left on the node");
    Ok(())
}

/// Waits until the agent is ready, and by it the node.
pub(crate) fn rolled_out(cluster: &Cluster) -> Outcome {
    let rollout = ["rollout", "status", "daemonset/lockgate", "--timeout=150s"];
    let outcome = cluster.kubectl(&[&["--namespace", "lockgate"], &rollout[..]].concat());
    if outcome.is_err() {
        let describe = ["--namespace", "lockgate", "describe", "pods"];
        eprintln!("{}", cluster.kubectl(&describe).unwrap_or_else(|error| error.to_string()));
    }
    outcome?;
    cluster.kubectl(&["wait", "--for=condition=Ready", "--timeout=60s", "node", "node-a"])?;
    Ok(())
}

/// The runtime's profile of system calls is in force for every thread of the agent: workers have
/// their own beside it. That the agent works under it is what the other steps see.
fn is_under_a_profile(layout: &Layout) -> Outcome {
    let programs = leftovers::processes(layout).into_iter().filter(|id| {
        let program = fs::read_link(format!("/proc/{id}/exe"));
        program.is_ok_and(|program| program == Path::new("/lockgate"))
    });
    let mut threads = 0;
    for id in programs {
        for thread in fs::read_dir(format!("/proc/{id}/task"))? {
            let Ok(status) = fs::read_to_string(thread?.path().join("status")) else { continue };
            let of = |key: &str| status.lines().find_map(|line| line.strip_prefix(key));
            assert_eq!(of("Seccomp:").map(str::trim), Some("2"), "{status}");
            threads += 1;
        }
    }
    assert!(threads >= 3, "{threads} threads of an agent were found");
    Ok(())
}

/// The chart's budget, as helm gives it: the eviction API refuses where too few would be ready, and
/// lets go where enough are. Without one it asks nobody.
fn is_evicted_by_its_budget(cluster: &Cluster) -> Outcome {
    let budget = |least: u8| -> Result<String, Box<dyn Error>> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/chart");
        let set =
            format!("podDisruptionBudget.enabled=true,podDisruptionBudget.minAvailable={least}");
        let mut chart = Command::new(script);
        chart.args(["helm", "template", "lockgate", "deploy/helm/lockgate"]);
        chart.args(["--namespace", "lockgate", "--kube-version", "1.35.0", "--set", &set]);
        let said = run(chart.args(["--show-only", "templates/poddisruptionbudget.yaml"]))?;
        Ok(cluster.apply(&String::from_utf8_lossy(&said.stdout))?)
    };
    let of = |what: &[&str]| cluster.kubectl(&[&["--namespace", "lockgate"], what].concat());
    let pod = of(&["get", "pods", "--output", "jsonpath={.items[0].metadata.name}"])?;
    budget(1)?;
    wait_for("the budget to be counted", PATIENCE, || {
        let path = "jsonpath={.status.currentHealthy} {.status.observedGeneration}";
        of(&["get", "poddisruptionbudget", "lockgate", "--output", path])
            .is_ok_and(|said| said == "1 1")
    })?;
    let evict = || {
        let eviction = json!({
            "apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": {"name": pod, "namespace": "lockgate"},
        });
        let file = cluster.layout().state().join("eviction.json");
        fs::write(&file, eviction.to_string()).map_err(LabError::io("write an eviction"))?;
        let path = format!("/api/v1/namespaces/lockgate/pods/{pod}/eviction");
        cluster.kubectl(&["create", "--raw", &path, "--filename", &file.display().to_string()])
    };
    let refused = evict().expect_err("an agent was evicted against its budget").to_string();
    assert!(refused.contains("violate the pod's disruption budget"), "{refused}");
    of(&["delete", "poddisruptionbudget", "lockgate"])?;
    evict()?;
    wait_for("another agent to be there", PATIENCE, || {
        let names = of(&["get", "pods", "--output", "name"]);
        names.is_ok_and(|names| !names.is_empty() && !names.contains(&pod))
    })?;
    rolled_out(cluster)
}

/// Pods that the agent's plugin attaches reach each other, until a policy says otherwise.
fn enforces(cluster: &Cluster) -> Outcome {
    for pod in ["web", "client"] {
        cluster.apply(&pod_text(pod, "node-a"))?;
    }
    cluster.kubectl(&["wait", "--for=condition=Ready", "--timeout=90s", "pod", "--all"])?;
    let address = ["get", "pod", "web", "--output", "jsonpath={.status.podIP}"];
    let target = format!("{}:8080", cluster.kubectl(&address)?);
    let line = format!("/agnhost connect {target} --timeout=2s && echo connected || true");
    let connect = || cluster.kubectl(&["exec", "client", "--", "sh", "-c", &line]);
    assert_eq!(connect()?, "connected\n", "{target}");
    cluster.apply(DENY)?;
    wait_for("the policy to deny", Duration::from_secs(20), || {
        connect().is_ok_and(|said| !said.contains("connected"))
    })?;
    cluster.kubectl(&["delete", "networkpolicy", "deny-web"])?;
    wait_for("the way to be open again", Duration::from_secs(20), || {
        connect().is_ok_and(|said| said.contains("connected"))
    })?;
    Ok(())
}

/// The agent asks all that the role allows, and is refused nothing.
fn asks_what_it_may(cluster: &Cluster, manifest: &str) -> Outcome {
    let may = deployed::allowed(manifest)?;
    let of_other =
        |one: &str| one.ends_with(".projectcalico.org") && !one.ends_with("crd.projectcalico.org");
    let (late, early): (BTreeSet<_>, BTreeSet<_>) =
        may.iter().cloned().partition(|one| of_other(one));
    // An event is written of a policy that is broken, and of no other.
    let is_there =
        wait_for("a broken policy to be taken", PATIENCE, || cluster.apply(BROKEN).is_ok());
    is_there?;
    await_asked(cluster, &early)?;
    let calico = definitions(|version| version == CALICO[0]);
    let names = deployed::documents(&calico)?;
    for name in names.iter().filter_map(|one| one["metadata"]["name"].as_str()) {
        cluster.kubectl(&["delete", "customresourcedefinition", name])?;
    }
    cluster.apply(&definitions(|version| version == CALICO[1]))?;
    await_asked(cluster, &late)?;
    let (asked, refused) = recorded(cluster)?;
    assert_eq!(refused, [""; 0], "the role lacks what the agent asks");
    let unused: Vec<&String> = may.difference(&asked).collect();
    assert!(unused.is_empty(), "allowed and never asked: {unused:?}");
    Ok(())
}

fn await_asked(cluster: &Cluster, what: &BTreeSet<String>) -> Outcome {
    let mut left = what.clone();
    let outcome = wait_for("the agent to ask all that it may", PATIENCE, || {
        left = recorded(cluster).map_or(left.clone(), |(asked, _)| what - &asked);
        left.is_empty()
    });
    Ok(outcome.map_err(|error| format!("{error}: {left:?}"))?)
}

/// What the API server has recorded of the agent: what it asked of resources, and what was refused.
fn recorded(cluster: &Cluster) -> Result<(BTreeSet<String>, Vec<String>), LabError> {
    let path: PathBuf = cluster.control_plane().audit_log();
    let text =
        fs::read_to_string(&path).map_err(LabError::io(format!("read {}", path.display())))?;
    let (mut asked, mut refused) = (BTreeSet::new(), Vec::new());
    // The last line may be half written.
    let events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    for event in events.filter(|event| event["user"]["username"] == AGENT) {
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (verb, of) = (word(&event["verb"]), &event["objectRef"]);
        let part = of["subresource"].as_str().map_or_else(String::new, |part| format!("/{part}"));
        if let Some(resource) = of["resource"].as_str() {
            let whole = format!("{resource}{part}");
            asked.insert(deployed::ask(&verb, &word(&of["apiGroup"]), &whole));
            // Who applies what is not there yet must be allowed to create it, too.
            if verb == "patch" && event["responseStatus"]["code"] == 201 {
                asked.insert(deployed::ask("create", &word(&of["apiGroup"]), &whole));
            }
        }
        if event["responseStatus"]["code"] == 403 {
            refused.push(format!("{verb} {}", word(&event["requestURI"])));
        }
    }
    Ok((asked, refused))
}

/// There is no kube-proxy here, so that the agent finds the API server by its address, as the
/// chart's `apiServer.host` says it.
fn without_kube_proxy(layout: &Layout, manifest: &str) -> String {
    let host = layout.first().addresses().0;
    let env = format!(
        "env:\n            - {{name: KUBERNETES_SERVICE_HOST, value: \"{host}\"}}\n            \
         - {{name: KUBERNETES_SERVICE_PORT, value: \"{API_PORT}\"}}\n"
    );
    assert_eq!(manifest.matches("env:\n").count(), 1, "the manifest has another shape");
    manifest.replacen("env:\n", &env, 1)
}

/// Definitions of the kinds of others that the agent knows, of some versions.
fn definitions(is_wanted: impl Fn(&str) -> bool) -> String {
    let ordered = RESOURCES.iter().filter(|one| matches!(one.kind, ObjectKind::Ordered(_)));
    let mut text = String::new();
    for one in ordered {
        for version in one.kind.versions().iter().filter(|version| is_wanted(version)) {
            let (group, name) = version.split_once('/').unwrap_or_default();
            let kind = one.kind.label();
            let scope = if one.kind.is_namespaced() { "Namespaced" } else { "Cluster" };
            let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
            let definition = json!({
                "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "metadata": {
                    "name": format!("{}.{group}", one.plural),
                    // Groups of Kubernetes' own ask for it.
                    "annotations": {"api-approved.kubernetes.io": "unapproved, made by a test"},
                },
                "spec": {
                    "group": group, "scope": scope,
                    "names": {"plural": one.plural, "singular": kind.to_lowercase(), "kind": kind},
                    "versions": [{
                        "name": name, "served": true, "storage": true,
                        "schema": {"openAPIV3Schema": schema},
                    }],
                },
            });
            text.extend(["---\n", &definition.to_string(), "\n"]);
        }
    }
    text
}
