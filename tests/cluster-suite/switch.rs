//! The switch on the nodes of a real cluster: pods of a real kubelet, and policies by kubectl.
//!
//! One cluster serves all steps, in order: each says what it leaves.

use std::error::Error;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use lockgate_tests::kubernetes::{Cluster, Network, Options, agent, layout, leftovers};
use lockgate_tests::lab::namespace::{Namespace, run};
use serde_json::Value;

use super::conversation::Conversation;
use super::nodes::pod_text;
use super::{Case, Outcome, assert_gone, layout as of_suite, until};

pub(crate) const CASES: &[Case] =
    &[("switch: real pods, policies that follow kubectl, and an API server that goes", switch)];

/// The port that pods serve.
const PORT: u16 = 8080;
/// How long a change may take to be seen: kubectl, the API server and a process on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

fn switch() -> Outcome {
    let layout = of_suite()?;
    let cluster = Cluster::up(&layout, &Options { nodes: 2, network: Network::Switch })?;
    let bench = Bench { cluster };
    for (pod, node) in [("web", "node-a"), ("client", "node-a"), ("far", "node-b")] {
        bench.cluster.apply(&pod_text(pod, node))?;
    }
    bench.cluster.kubectl(&["wait", "--for=condition=Ready", "--timeout=90s", "pod", "--all"])?;
    bench.policies_are_followed()?;
    bench.the_node_and_the_outside()?;
    bench.a_host_port_that_somebody_deletes()?;
    bench.an_api_server_that_says_nothing()?;
    bench.an_agent_that_begins_anew()?;
    bench.an_agent_that_begins_without_an_api_server()?;
    let processes = leftovers::processes(&layout);
    bench.cluster.down()?;
    assert_gone(&layout, &processes)
}

struct Bench {
    cluster: Cluster,
}

impl Bench {
    /// Policies select pods as the API server has them, and each change is in force soon. The pod
    /// stays ready: its kubelet comes in, whatever policies say.
    fn policies_are_followed(&self) -> Outcome {
        let web = self.addresses("web")?;
        assert!(web[0].is_ipv4() && web[1].is_ipv6(), "{web:?}");
        self.all_see(&["client", "far"], &web, true, "without a policy")?;
        self.cluster.apply(&deny("web"))?;
        self.all_see(&["client", "far"], &web, false, "denied by default")?;
        self.cluster.apply(ALLOW)?;
        self.all_see(&["client"], &web, false, "selected by no rule yet")?;
        self.cluster.kubectl(&["label", "pod", "client", "access=yes"])?;
        self.all_see(&["client"], &web, true, "by its new label")?;
        self.all_see(&["far"], &web, false, "without it")?;
        self.cluster.kubectl(&["label", "pod", "far", "access=yes"])?;
        self.all_see(&["far"], &web, true, "by a label on another node")?;
        self.cluster.kubectl(&["label", "pod", "client", "access-"])?;
        self.all_see(&["client"], &web, false, "its label is gone")?;
        let denied = self.cluster.node(0).agent_says("denied")?.to_string();
        assert!(denied.contains("default/deny-web"), "{denied}");
        // Probes come from the node.
        self.cluster.kubectl(&["wait", "--for=condition=Ready", "--timeout=5s", "pod", "web"])?;
        self.cluster.kubectl(&["delete", "networkpolicy", "--all"])?;
        self.all_see(&["client", "far"], &web, true, "no policy is left")
    }

    /// The node reaches its pods; pods reach the world outside, which sees the node.
    fn the_node_and_the_outside(&self) -> Outcome {
        let (out4, out6) = layout::OUTSIDE;
        let nodes = self.cluster.layout().first().addresses();
        for (outside, node) in
            [(IpAddr::from(out4), IpAddr::from(nodes.0)), (out6.into(), nodes.1.into())]
        {
            let at = SocketAddr::new(outside, 9000);
            let listener = self.cluster.layout().wire().enter(|| TcpListener::bind(at))??;
            listener.set_nonblocking(true)?;
            let line = format!("/agnhost connect {at} --timeout=3s && echo connected");
            let said = self.cluster.kubectl(&["exec", "client", "--", "sh", "-c", &line])?;
            assert_eq!(said, "connected\n", "{at}");
            let (_, from) = listener.accept()?;
            assert_eq!(from.ip(), node, "the outside sees the node");
        }
        for address in self.addresses("web")? {
            let at = SocketAddr::new(address, PORT);
            let node = &self.cluster.layout().first().namespace;
            let seen = node.enter(|| asked(at))?;
            assert!(seen, "the node reaches {at}");
        }
        Ok(())
    }

    /// It is made anew, and so are the ways that lead there: not only when the node's stack is looked
    /// at again, half a minute later.
    fn a_host_port_that_somebody_deletes(&self) -> Outcome {
        let first = self.cluster.node(0);
        let node = &self.cluster.layout().first().namespace;
        for address in self.addresses("web")? {
            run(first.command("ip").args(["link", "delete", "lockgate0"]))?;
            let at = SocketAddr::new(address, PORT);
            until(&format!("the node to reach {at} again"), PATIENCE, || {
                Ok(node.enter(|| asked(at))?.then_some(()))
            })?;
        }
        Ok(())
    }

    /// What is in force stays; readiness says since when nothing was heard; what was missed is
    /// taken in when it is back.
    fn an_api_server_that_says_nothing(&self) -> Outcome {
        let web = self.addresses("web")?;
        self.cluster.apply(&deny("web"))?;
        self.all_see(&["client"], &web, false, "denied")?;
        self.cluster.pause_api_server()?;
        let node = self.cluster.node(0);
        let silent =
            until("the agent to say that it hears nothing", Duration::from_secs(30), || {
                let said = node.agent_says("status")?;
                Ok(said["cluster"]["silent_since"].is_string().then_some(said))
            })?;
        assert_eq!(silent["ready"], true, "{silent}");
        let pod = self.pod_namespace("client")?;
        for _ in 0..10 {
            assert!(!self.from(&pod, web[0])?, "denied while nothing is heard");
        }
        self.cluster.resume_api_server()?;
        until("the agent to hear again", Duration::from_mins(1), || {
            let said = node.agent_says("status")?;
            Ok((said["cluster"]["silent_since"] == Value::Null).then_some(()))
        })?;
        self.cluster.kill_api_server()?;
        assert!(!self.from(&pod, web[0])?, "denied without an API server");
        self.cluster.start_api_server()?;
        self.cluster.kubectl(&["delete", "networkpolicy", "--all"])?;
        self.all_see(&["client"], &web, true, "heard again")
    }

    /// Pods are what they were; what is denied is denied before, between and after.
    fn an_agent_that_begins_anew(&self) -> Outcome {
        let web = self.addresses("web")?;
        self.cluster.apply(&deny("far"))?;
        let far = self.addresses("far")?;
        self.all_see(&["client"], &far, false, "denied")?;
        let (pod, node) = (self.pod_namespace("client")?, self.cluster.node(1));
        let kubeconfig = self.cluster.layout().kubeconfig(agent::CLIENT);
        let at = SocketAddr::new(web[0], PORT);
        let mut talk = self.pod_namespace("far")?.enter(|| Conversation::begin(at, PATIENCE))??;
        for is_killed in [false, true, true] {
            let process = node.agent()?;
            if is_killed {
                process.kill()?;
            } else {
                process.stop()?;
            }
            // Else the node would send what is for its pods by its default route.
            let asked = node.command("ip").args(["route", "get", &far[0].to_string()]).output()?;
            let way = String::from_utf8_lossy(&asked.stdout).into_owned();
            assert!(way.contains("dev lockgate0"), "killed {is_killed}: {way}");
            assert!(!self.from(&pod, far[0])?, "denied without an agent");
            node.begin_agent(&kubeconfig, &[])?;
            let end = Instant::now() + Duration::from_secs(4);
            while Instant::now() < end {
                assert!(!self.from(&pod, far[0])?, "denied while an agent begins");
            }
            until("the pod to be attached again", PATIENCE, || {
                Ok((node.agent_says("status")?["pods_attached"] == 1).then_some(()))
            })?;
            talk.goes_on().map_err(|error| format!("an established connection: {error}"))?;
        }
        self.cluster.kubectl(&["delete", "networkpolicy", "--all"])?;
        self.all_see(&["client"], &far, true, "its pods are what they were")?;
        self.all_see(&["far"], &web, true, "its pods are what they were")?;
        Ok(())
    }

    /// What was allowed passes, what was denied does not and is named, by what a predecessor kept;
    /// where nothing was kept nothing passes.
    fn an_agent_that_begins_without_an_api_server(&self) -> Outcome {
        let (web, first) = (self.addresses("web")?, self.cluster.node(0));
        let kubeconfig = self.cluster.layout().kubeconfig(agent::CLIENT);
        self.cluster.apply(&deny("web"))?;
        self.cluster.apply(ALLOW)?;
        self.cluster.kubectl(&["label", "--overwrite", "pod", "client", "access=yes"])?;
        self.cluster.kubectl(&["label", "pod", "far", "access-"])?;
        self.all_see(&["client"], &web, true, "by its label")?;
        self.all_see(&["far"], &web, false, "without one")?;
        self.cluster.kill_api_server()?;
        let far = self.pod_namespace("far")?;
        for _ in 0..2 {
            first.agent()?.kill()?;
            first.begin_agent(&kubeconfig, &[])?;
            let end = Instant::now() + Duration::from_secs(4);
            while Instant::now() < end {
                assert!(!self.from(&far, web[0])?, "denied while an agent begins");
            }
            self.all_see(&["client"], &web, true, "by what was kept")?;
            self.all_see(&["far"], &web, false, "by what was kept")?;
            let status = first.agent_says("status")?;
            assert_eq!(status["ready"], false, "{status}");
            assert!(status["cluster"]["stale_since"].is_string(), "{status}");
            let denied = first.agent_says("denied")?.to_string();
            assert!(denied.contains("default/deny-web"), "{denied}");
        }
        first.agent()?.kill()?;
        run(first.command("sh").args(["-c", "echo nonsense > /run/lockgate/last-good"]))?;
        first.begin_agent(&kubeconfig, &[])?;
        std::thread::sleep(Duration::from_secs(4));
        let client = self.pod_namespace("client")?;
        assert!(!self.from(&client, web[0])?, "nothing passes of which nothing is known");
        let status = first.agent_says("status")?.to_string();
        assert!(status.contains("is no last good state of Lockgate"), "{status}");
        self.cluster.start_api_server()?;
        self.all_see(&["client"], &web, true, "everything is known again")?;
        self.cluster.kubectl(&["delete", "networkpolicy", "--all"])?;
        self.all_see(&["client", "far"], &web, true, "no policy is left")
    }

    /// The addresses of a pod, as the API server has them.
    fn addresses(&self, pod: &str) -> Result<Vec<IpAddr>, Box<dyn Error>> {
        let path = "jsonpath={.status.podIPs[*].ip}";
        let said = self.cluster.kubectl(&["get", "pod", pod, "--output", path])?;
        Ok(said.split(' ').map(str::parse).collect::<Result<_, _>>()?)
    }

    /// Waits until pods reach, or do not reach, all addresses.
    fn all_see(&self, pods: &[&str], to: &[IpAddr], seen: bool, when: &str) -> Outcome {
        for pod in pods {
            let from = self.pod_namespace(pod)?;
            for address in to {
                let what = format!("{pod} to see {address}: {seen} ({when})");
                until(&what, PATIENCE, || Ok((self.from(&from, *address)? == seen).then_some(())))?;
            }
        }
        Ok(())
    }

    /// Whether a pod is answered by an address.
    #[expect(clippy::unused_self, reason = "asked of the bench as all else is")]
    fn from(&self, pod: &Namespace, address: IpAddr) -> Result<bool, Box<dyn Error>> {
        Ok(pod.enter(|| asked(SocketAddr::new(address, PORT)))?)
    }

    /// The network namespace of a pod, by what its node's agent has on disk.
    fn pod_namespace(&self, pod: &str) -> Result<Namespace, Box<dyn Error>> {
        for number in 0..2 {
            if let Some(namespace) = self.cluster.node(number).pod_namespace(pod)? {
                return Ok(namespace);
            }
        }
        Err(format!("no agent has attached {pod}").into())
    }
}

/// Whether HTTP is answered there: asked and heard, not only connected.
fn asked(at: SocketAddr) -> bool {
    let patience = Duration::from_millis(400);
    let ask = || -> std::io::Result<bool> {
        let mut stream = std::net::TcpStream::connect_timeout(&at, patience)?;
        stream.set_read_timeout(Some(patience))?;
        stream.write_all(b"GET /hostname HTTP/1.0\r\n\r\n")?;
        let mut start = [0; 4];
        stream.read_exact(&mut start)?;
        Ok(start == *b"HTTP")
    };
    ask().unwrap_or(false)
}

/// Nobody but its node may reach a pod.
fn deny(app: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: deny-{app}}}
spec: {{podSelector: {{matchLabels: {{app: {app}}}}}, policyTypes: [Ingress]}}
"
    )
}

const ALLOW: &str = "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: allow-access}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress: [{from: [{podSelector: {matchLabels: {access: \"yes\"}}}], ports: [{port: 8080}]}]
";
