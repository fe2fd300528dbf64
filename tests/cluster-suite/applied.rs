//! What nodes tell the cluster of what is in force, and who asks, through the real API server.
//!
//! One cluster serves all steps, in order: each says what it leaves.

use std::error::Error;
use std::time::Duration;

use lockgate_tests::kubernetes::{Cluster, Network, Options, agent, leftovers};
use lockgate_tests::lab::switch::binary;
use serde_json::Value;

use super::{Case, Outcome, assert_gone, layout as of_suite, until};

pub(crate) const CASES: &[Case] =
    &[("applied: nodes say what is in force, status asks, events are on what is broken", applied)];

/// The definition that is installed.
const DEFINITION: &str = include_str!("../../deploy/helm/lockgate/crds/lockgatenodes.yaml");
/// Longer than a definition is not looked for.
const PATIENCE: Duration = Duration::from_secs(90);

fn applied() -> Outcome {
    let layout = of_suite()?;
    let cluster = Cluster::up(&layout, &Options { nodes: 2, network: Network::Switch })?;
    let bench = Bench { cluster };
    bench.a_cluster_without_the_definition()?;
    bench.nodes_report()?;
    bench.a_node_that_is_behind()?;
    bench.a_broken_policy()?;
    bench.a_policy_that_is_mended()?;
    let processes = leftovers::processes(&layout);
    bench.cluster.down()?;
    assert_gone(&layout, &processes)
}

struct Bench {
    cluster: Cluster,
}

impl Bench {
    /// Everything is enforced; the agent says what to do, as does who asks.
    fn a_cluster_without_the_definition(&self) -> Outcome {
        until("the agent to miss the definition", PATIENCE, || {
            let said = self.cluster.node(0).agent_says("status")?;
            let is_told = said["problems"].to_string().contains("lockgatenodes.yaml");
            Ok((is_told && said["ready"] == true).then_some(()))
        })?;
        let (said, is_everywhere) = self.ask(&[])?;
        assert!(
            said.contains("kubectl apply -f deploy/helm/lockgate/crds/lockgatenodes.yaml"),
            "{said}"
        );
        assert!(!is_everywhere);
        self.cluster.apply(DEFINITION)?;
        Ok(())
    }

    /// Each by itself, owned by its node; a policy is in force on all of them soon.
    fn nodes_report(&self) -> Outcome {
        until("both nodes to report", PATIENCE, || self.is_everywhere(&[]))?;
        let get = |what: &str, path: &str| {
            self.cluster.kubectl(&["get", what, "node-a", "--output", &format!("jsonpath={path}")])
        };
        let owner = get("lockgatenode", "{.metadata.ownerReferences[0].uid}")?;
        assert_eq!(owner, get("node", "{.metadata.uid}")?);
        self.cluster.apply(&policy("Ingress"))?;
        until("the policy to be in force", PATIENCE, || {
            self.is_everywhere(&["networkpolicy/default/gate"])
        })?;
        let resource = "{.status.resources[?(@.resource=='networkpolicies.networking.k8s.io')]";
        let told: u64 = get("lockgatenode", &format!("{resource}.resourceVersion}}"))?.parse()?;
        let path = "jsonpath={.metadata.resourceVersion}";
        let own = self.cluster.kubectl(&["get", "networkpolicy", "gate", "--output", path])?;
        assert_eq!(told, own.parse::<u64>()?);
        Ok(())
    }

    /// It has an older policy, and is said to have.
    fn a_node_that_is_behind(&self) -> Outcome {
        let (last, asked) = (self.cluster.node(1), ["--policy", "networkpolicy/default/gate"]);
        last.agent()?.stop()?;
        self.cluster.apply(&policy("Egress"))?;
        let said = until("the first node to have the change", PATIENCE, || {
            let (said, is_everywhere) = self.ask(&asked)?;
            assert!(!is_everywhere, "a node without an agent cannot have it: {said}");
            let said: Value = serde_json::from_str(&said)?;
            Ok((said["nodes"][0]["standing"] == "in_force").then_some(said))
        })?;
        assert_eq!(said["nodes"][1]["standing"], "not_yet", "{said}");
        last.start_agent(&self.cluster.layout().kubeconfig(agent::CLIENT))?;
        until("both nodes to have it", PATIENCE, || self.is_everywhere(&asked[1..]))
    }

    /// One event, whoever found the fault; the reports name it.
    fn a_broken_policy(&self) -> Outcome {
        self.cluster.apply(GLOBAL)?;
        self.cluster.kubectl(&[
            "wait",
            "--for=condition=Established",
            "--timeout=30s",
            "crd",
            "globalnetworkpolicies.projectcalico.org",
        ])?;
        self.cluster.apply(BROKEN)?;
        until("an event", PATIENCE, || Ok((!self.events()?.is_empty()).then_some(())))?;
        let named = ["--policy", "globalnetworkpolicy/broken"];
        until("both nodes to report the fault", PATIENCE, || {
            let said: Value = serde_json::from_str(&self.ask(&named)?.0)?;
            let nodes = said["nodes"].as_array().cloned().unwrap_or_default();
            let has = |node: &Value| node["standing"] == "in_force_with_errors";
            Ok(nodes.iter().all(has).then_some(()))
        })?;
        // Nodes begin to post within three seconds.
        std::thread::sleep(Duration::from_secs(5));
        let all = self.events()?;
        assert_eq!(all.len(), 1, "{all:?}");
        assert_eq!(all[0]["type"], "Warning");
        assert_eq!(all[0]["involvedObject"]["name"], "broken");
        assert!(all[0]["message"].as_str().is_some_and(|it| it.contains("selector")), "{all:?}");
        Ok(())
    }

    /// The reports have nothing of it any more. The event stays as what has been, as Kubernetes has
    /// it, and none is posted again.
    fn a_policy_that_is_mended(&self) -> Outcome {
        let before = self.events()?;
        self.cluster.apply(&BROKEN.replace("has(", "has(app)"))?;
        until("the mended policy to be in force", PATIENCE, || {
            self.is_everywhere(&["globalnetworkpolicy/broken"])
        })?;
        for node in ["node-a", "node-b"] {
            let path = "jsonpath={.status.errors}{.status.errorsLeftOut}";
            let left = self.cluster.kubectl(&["get", "lockgatenode", node, "--output", path])?;
            assert!(matches!(left.as_str(), "[]0" | "0" | ""), "{node}: {left}");
        }
        std::thread::sleep(Duration::from_secs(5));
        assert_eq!(self.events()?, before, "posted again of what is mended");
        Ok(())
    }

    /// The events on broken policies.
    fn events(&self) -> Result<Vec<Value>, Box<dyn Error>> {
        let which = "reason=PolicyNotEnforcedAsWritten";
        let list = ["get", "events", "--field-selector", which, "--output", "json"];
        let said: Value = serde_json::from_str(&self.cluster.kubectl(&list)?)?;
        Ok(said["items"].as_array().cloned().unwrap_or_default())
    }

    fn is_everywhere(&self, policy: &[&str]) -> Result<Option<()>, Box<dyn Error>> {
        let arguments: Vec<&str> = policy.iter().flat_map(|one| ["--policy", one]).collect();
        Ok(self.ask(&arguments)?.1.then_some(()))
    }

    /// What `lockgate status --cluster` says, and whether its exit code is that of success.
    fn ask(&self, more: &[&str]) -> Result<(String, bool), Box<dyn Error>> {
        let program = binary()?.canonicalize()?.display().to_string();
        let mut command = self.cluster.command(&program);
        let output = command.args(["status", "--cluster", "-o", "json"]).args(more).output()?;
        let said = [output.stdout, output.stderr].concat();
        Ok((String::from_utf8_lossy(&said).into_owned(), output.status.success()))
    }
}

/// A policy that isolates in one direction; each is another version of it.
fn policy(direction: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: gate, namespace: default}}
spec: {{podSelector: {{}}, policyTypes: [{direction}]}}
"
    )
}

/// A kind of policy that takes whatever is written: what an API server checks is not broken here.
const GLOBAL: &str = "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: globalnetworkpolicies.projectcalico.org}
spec:
  group: projectcalico.org
  scope: Cluster
  names: {kind: GlobalNetworkPolicy, plural: globalnetworkpolicies, singular: globalnetworkpolicy}
  versions:
  - name: v3
    served: true
    storage: true
    schema:
      openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}
";

const BROKEN: &str = "apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: broken}
spec: {selector: \"has(\", types: [Ingress]}
";
