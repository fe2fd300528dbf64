//! An agent that is killed again and again while the API server is gone: it goes by what was kept.
//! `RESTARTS` says how often, if not a few times.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use lockgate_tests::kubernetes::{Cluster, Network, Node, Options, agent};
use lockgate_tests::lab::Place;
use lockgate_tests::lab::flood::{Flood, Limit};
use lockgate_tests::lab::namespace::run;
use lockgate_tests::lab::sniffer::{Sniffer, between};

use super::conversation::Talk;
use super::nodes::pod_text;
use super::{Case, Outcome, layout, say, until};

pub(crate) const CASES: &[Case] = &[(
    "restarts: an agent that is killed again and again without an API server goes by what was kept",
    again,
)];

/// Times that the agent is killed, unless `RESTARTS` says another number.
const RESTARTS: u32 = 3;

/// How long an agent may take until it goes by what was kept: it waits two seconds for the API
/// server.
const BEGIN: Duration = Duration::from_secs(30);

/// How long an answer over the connection may take: TCP sends again as late as it was silent.
const ANSWER: Duration = Duration::from_mins(1);

/// Only `client` may call `web`.
pub(crate) const ONLY_CLIENT: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: only-client}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Ingress]
  ingress: [{from: [{podSelector: {matchLabels: {app: client}}}]}]
";

/// Pods of the first node: `client` talks to `web`, `other` floods it and may not.
pub(crate) struct Load {
    pub(crate) talk: Talk,
    flood: Flood,
    sniffer: Sniffer,
}

impl Load {
    pub(crate) fn begin(cluster: &Cluster) -> Result<Self, Box<dyn std::error::Error>> {
        cluster.apply(ONLY_CLIENT)?;
        for pod in ["web", "client", "other"] {
            cluster.apply(&pod_text(pod, "node-a"))?;
        }
        cluster.kubectl(&["wait", "--for=condition=Ready", "--timeout=90s", "pod", "--all"])?;
        let (web, client, other) =
            (place(cluster, "web")?, place(cluster, "client")?, place(cluster, "other")?);
        let [target, forbidden] = [&web, &other].map(|place| place.addresses[0]);
        let limit = Limit { packets: u64::MAX, time: Duration::from_mins(45) };
        let at = SocketAddr::new(target, 8080);
        Ok(Self {
            talk: client.namespace.enter(|| Talk::begin(at, ANSWER))??,
            flood: Flood::start(&other, SocketAddr::new(target, 9001), limit)?,
            sniffer: Sniffer::start(&web.namespace, between(forbidden, target, None))?,
        })
    }

    /// Nothing forbidden has passed, and the connection has gone on: the longest that it took.
    pub(crate) fn end(self) -> Result<(u64, Duration), Box<dyn std::error::Error>> {
        assert!(self.flood.is_running(), "the load stopped by itself");
        assert!(self.flood.sent() > 1000, "there was hardly a load");
        assert_eq!(self.sniffer.count(), 0, "a forbidden packet arrived");
        let answers = self.talk.answers();
        Ok((answers, self.talk.end()?))
    }
}

fn again() -> Outcome {
    let times = std::env::var("RESTARTS").map_or(Ok(RESTARTS), |text| text.parse())?;
    let layout = layout()?;
    let cluster = Cluster::up(&layout, &Options { nodes: 1, network: Network::Switch })?;
    let mut load = Load::begin(&cluster)?;
    let (node, kubeconfig) = (cluster.node(0), layout.kubeconfig(agent::CLIENT));
    let addresses = given(&node)?;
    cluster.kill_api_server()?;
    let begun = Instant::now();
    for round in 0..times {
        node.agent()?.kill()?;
        node.begin_agent(&kubeconfig, &[])?;
        until("the agent to go by what was kept", BEGIN, || {
            let said = node.agent_says("status")?;
            let is_stale = said["cluster"]["stale_since"].is_string();
            Ok((is_stale && said["pods_attached"] == 3).then_some(()))
        })?;
        load.talk.await_answers(ANSWER).map_err(|error| format!("{error}, round {round}"))?;
    }
    let took = begun.elapsed();
    assert_eq!(given(&node)?, addresses, "what pods have is not what it was");
    cluster.start_api_server()?;
    until("the agent to hear the API server", ANSWER, || {
        Ok((node.agent_says("status")?["ready"] == true).then_some(()))
    })?;
    load.talk.await_answers(ANSWER)?;
    // Who comes now gets none of the addresses that are in use.
    cluster.apply(&pod_text("late", "node-a"))?;
    cluster.kubectl(&["wait", "--for=condition=Ready", "--timeout=90s", "pod", "--all"])?;
    let late = place(&cluster, "late")?.addresses[0];
    assert!(!addresses.contains(&format!("{late}\n")), "{late} is another's: {addresses}");
    let (answers, longest) = load.end()?;
    say(&format!(
        "restarts: {times} in {took:?}, {answers} answers, the longest after {longest:?}"
    ));
    Ok(cluster.down()?)
}

/// The addresses that are given on a node, and to whom.
fn given(node: &Node) -> Result<String, Box<dyn std::error::Error>> {
    let line = "cd /run/lockgate; find ipam -name '*.*.*.*' -printf '%f\\n' | sort; \
                cat attachments/*";
    let said = run(node.command("sh").args(["-ec", line]))?;
    let said = String::from_utf8(said.stdout)?;
    assert!(said.lines().count() >= 4, "pods have no addresses: {said}");
    Ok(said)
}

/// Where a pod of the first node is, with its IPv4 address.
fn place(cluster: &Cluster, pod: &str) -> Result<Place, Box<dyn std::error::Error>> {
    let address = ["get", "pod", pod, "--output", "jsonpath={.status.podIP}"];
    let addresses: Vec<IpAddr> = vec![cluster.kubectl(&address)?.parse()?];
    let namespace = cluster.node(0).pod_namespace(pod)?;
    Ok(Place { namespace: namespace.ok_or_else(|| format!("{pod} is not attached"))?, addresses })
}
