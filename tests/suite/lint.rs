//! `lockgate lint`, from a directory of manifests to what it says.

use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use lockgate_control::args::{LintArguments, Output};
use lockgate_control::offline::{OfflineError, answer_lint};

/// What a large directory may take, on a slow machine and without optimisation.
const LONG: Duration = Duration::from_mins(1);

/// One of each, and beside it what is nearly the same and is meant.
const PLANTED: &str = "\
apiVersion: v1
kind: Namespace
metadata: {name: open}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {containers: [{name: c, ports: [{name: http, containerPort: 80}]}]}
status: {phase: Running, hostIP: 192.0.2.1, podIPs: [{ip: 10.0.0.1}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: a-web, namespace: shop}
spec:
  podSelector: {}
  policyTypes: [Ingress]
  ingress:
  - ports:
    - port: http
    - port: htpp
  - from:
    - ipBlock: {cidr: 198.51.100.0/24}
    - ipBlock:
        cidr: 198.51.100.7/25
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: gone, namespace: shop}
spec:
  podSelector: {matchLabels: {app: gone}}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: first}
spec:
  order: 10
  namespaceSelector: kubernetes.io/metadata.name == 'shop'
  egress:
  - action: Allow
    destination: {namespaceSelector: global()}
  - action: Deny
    protocol: UDP
  - action: Allow
    protocol: UDP
    destination: {ports: [53]}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: later}
spec:
  order: 10
  namespaceSelector: kubernetes.io/metadata.name == 'shop'
  egress:
  - action: Allow
    protocol: UDP
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: lost}
spec: {tier: none, selector: app == 'web'}
---
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: base}
spec:
  tier: Baseline
  priority: 1
  subject: {namespaces: {}}
  ingress:
  - action: Deny
    from: [{namespaces: {}}]
";

/// Code, line and field of each.
const TOLD: &[(&str, u64, &str)] = &[
    ("open-namespace", 1, ""),
    ("never-matches", 20, "spec.ingress[0].ports[1]"),
    ("host-bits", 24, "spec.ingress[1].from[1].ipBlock.cidr"),
    ("redundant-range", 24, "spec.ingress[1].from[1].ipBlock.cidr"),
    ("selects-nothing", 30, "spec.podSelector"),
    ("missing-set", 40, "spec.egress[0].destination"),
    ("shadowed", 43, "spec.egress[2]"),
    ("ambiguous-order", 51, "spec.order"),
    ("shadowed", 54, "spec.egress[0]"),
    ("missing-tier", 60, "spec.tier"),
    ("unreached", 69, "spec.ingress"),
];

fn lint(directory: &Path, output: Output) -> Result<(String, usize, bool), OfflineError> {
    let arguments = LintArguments { manifests: directory.to_owned(), output };
    answer_lint(&arguments).map(|(text, beside, is_clean)| (text, beside.len(), is_clean))
}

#[test]
fn a_directory_with_one_of_each_has_each_told_with_its_line() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("all.yaml"), PLANTED).unwrap();
    let (json, beside, is_clean) = lint(directory.path(), Output::Json).unwrap();
    let document: serde_json::Value = serde_json::from_str(&json).unwrap();
    let findings = document["findings"].as_array().unwrap();
    let told: Vec<_> = findings
        .iter()
        .map(|one| {
            let text = |name: &str| one[name].as_str().unwrap();
            assert!(text("file") == "all.yaml" && !text("remedy").is_empty(), "{one}");
            (text("code"), one["line"].as_u64().unwrap(), text("field"))
        })
        .collect();
    assert_eq!(told, TOLD, "{json}");
    assert_eq!((beside, is_clean), (0, false), "what is broken is found, too");
    let (text, ..) = lint(directory.path(), Output::Text).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), TOLD.len() + 1);
    for ((code, line, field), told) in TOLD.iter().zip(&lines) {
        let begin = format!("warning: all.yaml:{line}: ");
        assert!(told.starts_with(&begin) && told.ends_with(&format!("[{code}]")), "{told}");
        assert!(told.contains(field), "{told}");
    }
    assert_eq!(lines.last(), Some(&format!("{} findings", TOLD.len()).as_str()));
}

#[test]
fn the_demo_has_a_namespace_that_is_open_and_nothing_else() {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/demo");
    let (text, beside, is_clean) = lint(&demo, Output::Text).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[0].contains("Namespace ops: ") && lines[0].ends_with("[open-namespace]"),
        "{text}"
    );
    assert_eq!((&lines[1..], beside, is_clean), (&["1 finding"][..], 0, false), "{text}");
}

#[test]
fn what_cannot_be_read_has_no_findings_and_what_is_broken_stands_beside() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.yaml");
    std::fs::write(&file, "a: [").unwrap();
    assert!(lint(directory.path(), Output::Text).unwrap_err().to_string().contains("a.yaml"));
    assert!(lint(&file, Output::Text).is_err(), "no directory");
    std::fs::remove_file(&file).unwrap();
    assert_eq!(lint(directory.path(), Output::Text).unwrap(), ("0 findings\n".to_owned(), 1, true));
    let broken = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p, \
                  namespace: x}\nspec: {podSelector: {}, ingress: [{form: []}]}\n";
    std::fs::write(&file, broken).unwrap();
    assert_eq!(
        lint(directory.path(), Output::Text).unwrap(),
        ("0 findings\n".to_owned(), 1, false)
    );
}

/// A thousand policies of both kinds for a thousand pods, ten namespaces; every tenth selects all.
#[test]
fn a_thousand_policies_and_pods_take_seconds() {
    let mut text = String::new();
    for pod in 0..1000 {
        let (namespace, app, high, low) = (pod % 10, pod % 97, pod / 250, pod % 250);
        writeln!(
            text,
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: p{pod}, namespace: n{namespace}, labels: {{app: a{app}}}}}\n\
             status: {{phase: Running, podIPs: [{{ip: 10.0.{high}.{low}}}]}}\n---"
        )
        .unwrap();
    }
    for policy in 0..1000 {
        let (namespace, app, port) = (policy % 10, policy % 97, 1 + policy);
        if policy % 10 == 0 {
            writeln!(
                text,
                "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {{name: g{policy}}}\n\
                 spec: {{order: {policy}, ingress: [{{action: Deny, protocol: UDP, source: {{nets: [192.0.2.{}/32, \
                 198.51.0.0/16]}}}}, {{action: Allow, protocol: TCP, source: {{selector: app == 'a{app}'}}, destination: \
                 {{ports: [{port}]}}}}]}}\n---",
                policy / 10
            )
            .unwrap();
        } else {
            writeln!(
                text,
                "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p{policy}, namespace: \
                 n{namespace}}}\nspec: {{podSelector: {{matchExpressions: [{{key: app, operator: NotIn, values: [a{app}]}}]}}, \
                 ingress: [{{from: [{{podSelector: {{matchLabels: {{app: a{app}}}}}}}, {{ipBlock: {{cidr: \
                 172.16.{}.0/24}}}}], ports: [{{port: {port}}}]}}]}}\n---",
                policy % 256
            )
            .unwrap();
        }
    }
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("all.yaml"), text).unwrap();
    let begin = Instant::now();
    let (text, ..) = lint(directory.path(), Output::Text).unwrap();
    let taken = begin.elapsed();
    println!("{taken:?}, {}", text.lines().last().unwrap_or_default());
    assert!(taken < LONG, "{taken:?}");
}
