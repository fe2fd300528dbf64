//! What operators get wrong in a cluster, and what clusters do to a node: whom the API server does
//! not let in, a node that is not as it must be, disks that are full or read-only. The agent says
//! what it is and what to do, keeps what it has, and goes on by itself when the cause is gone.
//!
//! One cluster serves all steps, in order: each says what it leaves.

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use lockgate_tests::kubernetes::{
    Cluster, Network, Node, Options, Process, agent, certificates, deployed, leftovers, programs,
};
use lockgate_tests::lab::namespace::run;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::nodes::pod_text;
use super::{Case, Outcome, assert_gone, layout as of_suite, until};

pub(crate) const CASES: &[Case] = &[(
    "refused: clients, roles, nodes and disks that are wrong are told, and all goes on when mended",
    refused,
)];

/// Longer than a token's file is not read for, and than the longest pause between two tries.
const PATIENCE: Duration = Duration::from_mins(2);

/// The agent's configuration of CNI, as the node sees it.
const CONFIG: &str = "/etc/cni/net.d/10-lockgate.conflist";

/// Where the agent remembers what is attached.
const ATTACHMENTS: &str = "/run/lockgate/attachments";

fn refused() -> Outcome {
    let layout = of_suite()?;
    let cluster = Cluster::up(&layout, &Options { nodes: 1, network: Network::None })?;
    let node = cluster.node(0);
    let bench = Bench { cluster, node };
    bench.an_authority_that_signed_nothing()?;
    bench.a_certificate_that_ran_out()?;
    bench.a_role_that_lacks_a_kind()?;
    bench.a_token_that_is_gone_and_renewed()?;
    bench.a_node_that_is_unknown_and_has_no_networks()?;
    bench.a_read_only_directory_of_configurations()?;
    bench.a_full_disk_and_a_read_only_one()?;
    let processes = leftovers::processes(&layout);
    bench.cluster.down()?;
    assert_gone(&layout, &processes)
}

struct Bench {
    cluster: Cluster,
    node: Node,
}

impl Bench {
    /// Nothing is enforced, and nothing is installed that would say otherwise.
    fn an_authority_that_signed_nothing(&self) -> Outcome {
        let stranger = self.cluster.layout().certificates().join(certificates::STRANGER);
        let config = self.kubeconfig("stranger", &json!({}), |config| {
            config["clusters"][0]["cluster"]["certificate-authority"] = json!(stranger);
        })?;
        self.node.begin_agent(&config, &[])?;
        let said = self.says(&["UnknownIssuer", "name the CA that signed"])?;
        assert_eq!(said["ready"], false, "{said}");
        // Not by the reports alone: the kinds are named.
        assert!(said["problems"].to_string().contains("networkpolicies"), "{said}");
        assert!(!self.has(CONFIG)?, "installed before anything was read");
        Ok(self.node.agent()?.stop()?)
    }

    fn a_certificate_that_ran_out(&self) -> Outcome {
        let config = self.cluster.layout().kubeconfig(certificates::EXPIRED);
        self.node.begin_agent(&config, &[])?;
        let said = self.says(&["says 401", "renew the token or certificate"])?;
        assert_eq!(said["ready"], false, "{said}");
        assert!(!self.has(CONFIG)?, "installed before anything was read");
        Ok(self.node.agent()?.stop()?)
    }

    /// The kind is named; when the role has it the agent goes on by itself. It stays.
    fn a_role_that_lacks_a_kind(&self) -> Outcome {
        self.cluster.apply(ACCOUNT)?;
        self.give_role(|resource| resource != "services")?;
        let token = self.token_file();
        self.renew(&token)?;
        let user = json!({"tokenFile": token});
        let config = self.kubeconfig("account", &user, |_| {})?;
        self.node.begin_agent(&config, &[])?;
        let said = self.says(&["services cannot be read", "list and watch services"])?;
        assert_eq!(said["ready"], false, "{said}");
        let told = said["problems"].to_string();
        assert!(!told.contains("pods cannot be read"), "a kind that can be read is named: {told}");
        self.give_role(|_| true)?;
        self.is_ready()
    }

    /// The account is gone, and its tokens with it: what was read stays. A new token in the file is
    /// found without a start.
    fn a_token_that_is_gone_and_renewed(&self) -> Outcome {
        self.cluster.kubectl(&["delete", "serviceaccount", "agent"])?;
        // Watches outlive the token that began them.
        self.cluster.kill_api_server()?;
        // The last connections of the one that was killed may have to end first.
        until("the API server to be back", PATIENCE, || {
            Ok(Some(self.cluster.start_api_server()?))
        })?;
        let said = self.says(&["says 401", "renew the token", "what was last read stays"])?;
        assert_eq!(said["ready"], true, "{said}");
        self.cluster.apply(ACCOUNT)?;
        self.renew(&self.token_file())?;
        until("the agent to read the new token", PATIENCE, || {
            let told = self.node.agent_says("status")?["problems"].to_string();
            Ok((!told.contains("401")).then_some(()))
        })?;
        self.is_ready()?;
        Ok(self.node.agent()?.stop()?)
    }

    /// What is told of the node; its networks are installed when they are known, and those that
    /// take their place too. In between the old ones stay.
    fn a_node_that_is_unknown_and_has_no_networks(&self) -> Outcome {
        // They would give every node its networks at once.
        let controllers = self.controllers()?;
        controllers.signal(Signal::SIGSTOP)?;
        self.node
            .begin_agent(&self.cluster.layout().kubeconfig(agent::CLIENT), &["--node=bare"])?;
        let unknown = ["Node bare", "no node of this name", "`kubectl get nodes`"];
        self.says(&unknown)?;
        self.cluster.apply(BARE)?;
        let said = self.says(&["Node bare", "spec.podCIDRs", "--allocate-node-cidrs"])?;
        assert_eq!(said["ready"], true, "policy does not wait for the node: {said}");
        let before = self.config()?;
        let networks = |net: &str| json!({"spec": {"podCIDR": net, "podCIDRs": [net]}}).to_string();
        self.cluster.kubectl(&["patch", "node", "bare", "--patch", &networks("10.250.1.0/24")])?;
        self.is_configured_with("10.250.1.0/24")?;
        assert!(!before.contains("10.250.1.0/24"), "{before}");
        // A Node's networks never change: it is another Node.
        self.cluster.kubectl(&["delete", "node", "bare"])?;
        self.says(&unknown)?;
        assert!(self.config()?.contains("10.250.1.0/24"), "the old ones are gone");
        self.cluster.apply(BARE)?;
        self.cluster.kubectl(&["patch", "node", "bare", "--patch", &networks("10.250.2.0/24")])?;
        self.is_configured_with("10.250.2.0/24")?;
        assert!(!self.config()?.contains("10.250.1.0/24"), "both are installed");
        self.cluster.kubectl(&["delete", "node", "bare"])?;
        self.node.agent()?.stop()?;
        Ok(controllers.signal(Signal::SIGCONT)?)
    }

    fn controllers(&self) -> Result<Process, Box<dyn Error>> {
        let all = self.cluster.control_plane().processes();
        let found = all.into_iter().find(|one| one.name() == programs::CONTROLLERS.name);
        Ok(found.ok_or("no controllers run")?)
    }

    /// Policy is enforced, the file is named, and it is put there as soon as it can be.
    fn a_read_only_directory_of_configurations(&self) -> Outcome {
        self.on_node("mount -t tmpfs -o ro closed /etc/cni/net.d")?;
        self.node.start_agent(&self.cluster.layout().kubeconfig(agent::CLIENT))?;
        self.says(&["Node node-a", "10-lockgate.conflist", "mount /etc/cni/net.d writable"])?;
        self.on_node("umount /etc/cni/net.d")?;
        self.is_configured_with("10.244.0.0/24")
    }

    /// Of the directory that remembers what is attached: the pod's events say what to do, and the
    /// runtime goes on by itself.
    fn a_full_disk_and_a_read_only_one(&self) -> Outcome {
        let ready = ["wait", "--for=condition=Ready", "--timeout=90s"];
        self.cluster.kubectl(&[&ready[..], &["node", "node-a"]].concat())?;
        let full = "mount -t tmpfs -o size=8k full {}; head -c 8192 /dev/zero > {}/filler";
        self.on_node(&full.replace("{}", ATTACHMENTS))?;
        self.cluster.apply(&pod_text("web", "node-a"))?;
        self.tells(
            "FailedCreatePodSandBox",
            &["No space left on device", "make room in /run/lockgate/attachments"],
        )?;
        self.on_node(&format!("rm {ATTACHMENTS}/filler"))?;
        self.cluster.kubectl(&[&ready[..], &["pod", "web"]].concat())?;
        self.on_node(&format!("mount -o remount,ro {ATTACHMENTS}"))?;
        self.cluster.apply(&pod_text("late", "node-a"))?;
        self.tells(
            "FailedCreatePodSandBox",
            &["Read-only file system", "mount /run/lockgate/attachments writable"],
        )?;
        self.cluster.kubectl(&["delete", "pod", "web", "--wait=false"])?;
        self.tells(
            "FailedKillPod",
            &["Read-only file system", "mount /run/lockgate/attachments writable"],
        )?;
        self.on_node(&format!("mount -o remount,rw {ATTACHMENTS}"))?;
        self.cluster.kubectl(&[&ready[..], &["pod", "late"]].concat())?;
        self.cluster.kubectl(&["wait", "--for=delete", "--timeout=60s", "pod", "web"])?;
        let left = self.on_node(&format!("ls {ATTACHMENTS} /run/lockgate/ipam/lockgate"))?;
        let leases = left.lines().filter(|line| line.starts_with("10.244.")).count();
        assert_eq!(leases, 1, "an address was lost, or one is left: {left}");
        self.cluster.kubectl(&["delete", "pod", "late", "--timeout=60s"]).map(drop)?;
        self.on_node(&format!("umount {ATTACHMENTS}")).map(drop)
    }

    /// Waits until the status of the agent has a problem with all of these words.
    fn says(&self, words: &[&str]) -> Result<Value, Box<dyn Error>> {
        let mut last = Value::Null;
        let said = until(&format!("a problem with {words:?}"), PATIENCE, || {
            last = self.node.agent_says("status")?;
            let told = last["problems"].to_string();
            Ok(words.iter().all(|word| told.contains(word)).then(|| last.clone()))
        });
        said.map_err(|error| format!("{error}: {last}").into())
    }

    fn is_ready(&self) -> Outcome {
        until("the agent to be ready", PATIENCE, || {
            let said = self.node.agent_says("status")?;
            Ok((said["ready"] == true).then_some(()))
        })
    }

    /// Waits for an event of this reason with all of these words.
    fn tells(&self, reason: &str, words: &[&str]) -> Outcome {
        let which = format!("reason={reason}");
        let list = ["get", "events", "--field-selector", &which, "--output", "json"];
        let mut said = String::new();
        let told = until(&format!("{reason} with {words:?}"), PATIENCE, || {
            said = self.cluster.kubectl(&list)?;
            let events: Value = serde_json::from_str(&said)?;
            let all = events["items"].as_array().cloned().unwrap_or_default();
            let has = |event: &Value| {
                let message = event["message"].as_str().unwrap_or_default();
                words.iter().all(|word| message.contains(word))
            };
            Ok(all.iter().any(has).then_some(()))
        });
        told.map_err(|error| format!("{error}: {said}").into())
    }

    /// What a shell on the node says.
    fn on_node(&self, line: &str) -> Result<String, Box<dyn Error>> {
        let output = run(self.node.command("sh").args(["-ec", line]))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn has(&self, path: &str) -> Result<bool, Box<dyn Error>> {
        Ok(self.on_node(&format!("ls {path} 2>/dev/null || true"))?.contains(path))
    }

    /// The agent's configuration of CNI; empty where there is none.
    fn config(&self) -> Result<String, Box<dyn Error>> {
        self.on_node(&format!("cat {CONFIG} 2>/dev/null || true"))
    }

    fn is_configured_with(&self, net: &str) -> Outcome {
        until(&format!("{net} to be configured"), PATIENCE, || {
            Ok(self.config()?.contains(net).then_some(()))
        })
    }

    /// How the administrator finds the API server, as another user where that is one.
    fn kubeconfig(
        &self,
        name: &str,
        user: &Value,
        change: impl FnOnce(&mut Value),
    ) -> Result<PathBuf, Box<dyn Error>> {
        let mut config: Value =
            serde_json::from_str(&fs::read_to_string(self.cluster.kubeconfig())?)?;
        if user.as_object().is_some_and(|user| !user.is_empty()) {
            config["users"][0]["user"] = user.clone();
        }
        change(&mut config);
        let path = self.cluster.layout().kubeconfig(name);
        fs::write(&path, config.to_string())?;
        Ok(path)
    }

    fn token_file(&self) -> PathBuf {
        self.cluster.layout().state().join("agent.token")
    }

    /// Writes a token of the agent's account, as a kubelet does.
    fn renew(&self, file: &PathBuf) -> Outcome {
        let token = self.cluster.kubectl(&["create", "token", "agent"])?;
        let beside = file.with_extension("new");
        fs::write(&beside, token.trim())?;
        Ok(fs::rename(&beside, file)?)
    }

    /// Gives the account the role of the manifest, less some resources.
    fn give_role(&self, is_given: impl Fn(&str) -> bool) -> Outcome {
        let documents = deployed::documents(&fs::read_to_string(deployed::MANIFEST)?)?;
        let mut role = deployed::of_kind(&documents, "ClusterRole")?.clone();
        role["metadata"] = json!({"name": "agent"});
        for rule in role["rules"].as_array_mut().into_iter().flatten() {
            if let Some(resources) = rule["resources"].as_array_mut() {
                resources.retain(|one| one.as_str().is_some_and(&is_given));
            }
        }
        self.cluster.apply(&role.to_string()).map(drop)?;
        Ok(())
    }
}

/// Who the agent is here, bound to its role.
const ACCOUNT: &str = "apiVersion: v1
kind: ServiceAccount
metadata: {name: agent, namespace: default}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: agent}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: agent}
subjects: [{kind: ServiceAccount, name: agent, namespace: default}]
";

/// A node that nobody runs, and that has no networks.
const BARE: &str = "apiVersion: v1
kind: Node
metadata: {name: bare}
";
