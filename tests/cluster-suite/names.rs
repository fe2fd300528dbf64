//! Services by name, as applications use them: the cluster's own names, asked of a Service and
//! answered by a pod, under policies that allow that or forget to.

use std::time::Duration;

use lockgate_tests::kubernetes::{Cluster, Network, Options, layout};

use super::nodes::pod_text;
use super::{Case, Outcome, layout as of_suite, until};

pub(crate) const CASES: &[Case] =
    &[("names: pods of two nodes find a Service by its name, as policies allow", names)];

/// How long a change may take to be seen.
const PATIENCE: Duration = Duration::from_secs(20);

const WEB: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec:
  ipFamilyPolicy: PreferDualStack
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
";

const NOTHING: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: nothing-out, namespace: default}
spec: {podSelector: {}, policyTypes: [Egress]}
";

const NAMES: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: names, namespace: default}
spec:
  podSelector: {}
  policyTypes: [Egress]
  egress:
    - to:
        - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}
          podSelector: {matchLabels: {k8s-app: kube-dns}}
      ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
";

const TO_WEB: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: to-web, namespace: default}
spec:
  podSelector: {}
  policyTypes: [Egress]
  egress: [{to: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: 8080}]}]
";

fn names() -> Outcome {
    let layout = of_suite()?;
    let cluster = Cluster::up(&layout, &Options { nodes: 2, network: Network::Switch })?;
    cluster.start_names()?;
    for (pod, node) in [("web", "node-a"), ("near", "node-a"), ("far", "node-b")] {
        cluster.apply(&pod_text(pod, node))?;
    }
    cluster.apply(WEB)?;
    cluster.kubectl(&["wait", "--for=condition=Ready", "--timeout=90s", "pod", "--all"])?;
    all(&cluster, (true, true), "without a policy")?;
    cluster.apply(NOTHING)?;
    all(&cluster, (false, false), "nothing is allowed")?;
    let denied = cluster.node(1).agent_says("denied")?.to_string();
    assert!(denied.contains("default/nothing-out"), "{denied}");
    cluster.apply(NAMES)?;
    all(&cluster, (true, false), "names alone are allowed")?;
    cluster.apply(TO_WEB)?;
    all(&cluster, (true, true), "the Service's pods are allowed")?;
    Ok(cluster.down()?)
}

/// Waits until both pods find the name of `web`, and reach it, exactly as they may.
fn all(cluster: &Cluster, (finds, reaches): (bool, bool), when: &str) -> Outcome {
    for pod in ["near", "far"] {
        for server in layout::NAME_SERVICE {
            let question = format!("timeout 2 nslookup web.default.svc.cluster.local {server}");
            expect(cluster, pod, &question, finds, when)?;
        }
        // The name is completed by what kubelet writes for each pod. Who asks for names in vain goes
        // on for a minute.
        let line = "timeout 3 /agnhost connect web:80 --timeout=1s";
        expect(cluster, pod, line, reaches, when)?;
    }
    Ok(())
}

fn expect(cluster: &Cluster, pod: &str, line: &str, wanted: bool, when: &str) -> Outcome {
    let whole = format!("if {line} >/dev/null 2>&1; then echo yes; else echo no; fi");
    until(&format!("{pod}: `{line}` to be {wanted}: {when}"), PATIENCE, || {
        let said = cluster.kubectl(&["exec", pod, "--", "sh", "-c", &whole])?;
        Ok((said == if wanted { "yes\n" } else { "no\n" }).then_some(()))
    })
}
