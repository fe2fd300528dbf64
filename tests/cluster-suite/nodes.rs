//! Nodes: pods run on them, are asked, probed and taken away. Debian's plugins give them their
//! interfaces here: what is tried is the cluster, not the switch.

use std::net::IpAddr;

use lockgate_tests::kubernetes::{Cluster, Network, Options, images, leftovers};

use super::{Case, Outcome, assert_gone, layout};

pub(crate) const CASES: &[Case] =
    &[("nodes: pods of two nodes run, answer, and go; whatever is killed leaves nothing", pods)];

fn pods() -> Outcome {
    let layout = layout()?;
    let cluster = Cluster::up(&layout, &Options { nodes: 2, network: Network::Plain })?;
    for (pod, node) in [("web", "node-a"), ("client", "node-a"), ("far", "node-b")] {
        cluster.apply(&pod_text(pod, node))?;
    }
    cluster.kubectl(&["wait", "--for=condition=Ready", "--timeout=90s", "pod", "--all"])?;
    let addresses = |pod: &str| -> Result<Vec<IpAddr>, Box<dyn std::error::Error>> {
        let path = "jsonpath={.status.podIPs[*].ip}";
        let said = cluster.kubectl(&["get", "pod", pod, "--output", path])?;
        Ok(said.split(' ').map(str::parse).collect::<Result<_, _>>()?)
    };
    let (web, far) = (addresses("web")?, addresses("far")?);
    assert!(web[0].to_string().starts_with("10.244.0.") && web[1].is_ipv6(), "{web:?}");
    assert!(far[0].to_string().starts_with("10.244.1.") && far[1].is_ipv6(), "{far:?}");

    // From the other pod: over both families, by the shell that is in the image.
    for address in &web {
        let target = std::net::SocketAddr::from((*address, 8080)).to_string();
        let line = format!("/agnhost connect {target} --timeout=3s && echo connected");
        let said = cluster.kubectl(&["exec", "client", "--", "sh", "-c", &line])?;
        assert_eq!(said, "connected\n", "{target}");
    }
    assert!(cluster.kubectl(&["logs", "web"])?.contains("Started HTTP server on port 8080"));
    cluster.kubectl(&["delete", "pod", "client", "--timeout=60s"])?;
    let left = cluster.kubectl(&["get", "pods", "--output", "name"])?;
    assert_eq!(left, "pod/far\npod/web\n");

    let processes = leftovers::processes(&layout);
    // What nobody ended: shims go on without containerd, containers without a kubelet.
    cluster.node(0).kubelet().kill()?;
    cluster.node(1).containerd().kill()?;
    assert!(leftovers::list(&layout)?.len() >= 10, "{:?}", leftovers::list(&layout)?);
    cluster.down()?;
    assert_gone(&layout, &processes)
}

/// A pod that serves HTTP, and is ready once the kubelet has seen that it does.
pub(crate) fn pod_text(name: &str, node: &str) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: {name}}}}}
spec:
  nodeName: {node}
  terminationGracePeriodSeconds: 1
  containers:
  - name: agnhost
    image: {image}
    args: [netexec, --http-port=8080]
    readinessProbe: {{httpGet: {{path: /, port: 8080}}, periodSeconds: 1}}
",
        image = images::AGNHOST
    )
}
