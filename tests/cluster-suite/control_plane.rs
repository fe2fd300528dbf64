//! The control plane: it answers, it keeps what it is told, it can be taken away and come back.

use std::net::TcpListener;
use std::time::Duration;

use lockgate_tests::kubernetes::layout::API_PORT;
use lockgate_tests::kubernetes::{Cluster, Network, Options, leftovers};
use lockgate_tests::lab::LabError;
use lockgate_tests::lab::namespace::wait_for;

use super::{Case, Outcome, assert_gone, layout};

pub(crate) const CASES: &[Case] = &[
    ("control plane: it keeps a policy while the API server is paused, killed and back", keeps),
    ("control plane: a node's certificate may not read what is not the node's", node_is_bounded),
    ("control plane: a start that fails says why, and leaves nothing", failure_is_told),
];

const POLICY: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny-all, namespace: default}
spec: {podSelector: {}, policyTypes: [Ingress, Egress]}
";

/// The control plane alone.
const ALONE: Options = Options { nodes: 0, network: Network::None };

fn keeps() -> Outcome {
    let layout = layout()?;
    let cluster = Cluster::up(&layout, &ALONE)?;
    let policies = ["get", "networkpolicy", "--output", "name", "--request-timeout", "3s"];
    cluster.apply(POLICY)?;
    let kept = "networkpolicy.networking.k8s.io/deny-all\n";
    assert_eq!(cluster.kubectl(&policies)?, kept);
    let broken = cluster.apply(&POLICY.replace("[Ingress, Egress]", "[Sideways]"));
    assert!(
        matches!(&broken, Err(LabError::Command { output, .. }) if output.contains("Sideways"))
    );

    let numbers = |cluster: &Cluster| cluster.control_plane().processes().map(|one| one.id());
    let before = numbers(&cluster);
    Cluster::up(&layout, &ALONE)?.leave();
    assert_eq!(numbers(&cluster), before, "a second `up` started something anew");

    cluster.pause_api_server()?;
    let said = cluster.kubectl(&policies).expect_err("a paused API server answered").to_string();
    assert!(said.contains("Client.Timeout") || said.contains("deadline exceeded"), "{said}");
    cluster.resume_api_server()?;
    assert_eq!(cluster.kubectl(&policies)?, kept);

    cluster.kill_api_server()?;
    let said = cluster.kubectl(&policies).expect_err("a killed API server answered").to_string();
    assert!(said.contains("refused"), "{said}");
    cluster.start_api_server()?;
    assert_eq!(cluster.kubectl(&policies)?, kept);

    let processes = leftovers::processes(&layout);
    assert!(processes.len() >= 4, "{processes:?}");
    cluster.down()?;
    assert_gone(&layout, &processes)
}

fn node_is_bounded() -> Outcome {
    let layout = layout()?;
    let cluster = Cluster::up(&layout, &ALONE)?;
    let config = layout.kubeconfig("node-a").display().to_string();
    let as_node =
        |what: &[&str]| cluster.kubectl(&[&["--kubeconfig", config.as_str()], what].concat());
    assert!(as_node(&["auth", "whoami"])?.contains("system:node:node-a"));
    let said = as_node(&["get", "secrets"]).expect_err("a node read secrets").to_string();
    assert!(said.contains("Forbidden") && said.contains("system:node:node-a"), "{said}");
    cluster.down()?;
    assert_gone(&layout, &[])
}

fn failure_is_told() -> Outcome {
    let layout = layout()?;
    // Whoever has the API server's port before it is there.
    let first = layout.first().namespace;
    let cluster = Cluster::up(&layout, &ALONE)?;
    cluster.kill_api_server()?;
    let mut taken = None;
    // The last connections of the one that was killed may have to end first.
    wait_for("the API server's port to be free", Duration::from_secs(10), || {
        let bound = first.enter(|| TcpListener::bind(("0.0.0.0", API_PORT)));
        taken = bound.ok().and_then(Result::ok);
        taken.is_some()
    })?;
    let said = cluster.start_api_server().expect_err("it started on a taken port").to_string();
    assert!(said.contains("address already in use"), "{said}");
    assert!(said.contains("kube-apiserver.log"), "{said}");
    drop(taken);
    drop(cluster);
    assert_gone(&layout, &[])
}
