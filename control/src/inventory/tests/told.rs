//! What is told of ordered policies with all objects in view, and of annotations.

use crate::inventory::{Effect, Inventory};
use crate::manifest::Severity::{self, Error, Notice, Warning};
use crate::manifest::read_text;
use crate::sample::{inventory, policy, small};

/// Severity, object and field of what is told whose message holds a text.
fn told(text: &str, of: &str) -> Vec<(Severity, String, String)> {
    let problems = inventory(&(small() + text)).problems();
    let about = problems.into_iter().filter(|one| one.message.contains(of));
    about.map(|one| (one.severity, one.object, one.field)).collect()
}

fn calico(kind: &str, name: &str, metadata: &str, spec: &str) -> String {
    format!(
        "apiVersion: projectcalico.org/v3\nkind: {kind}\nmetadata: {{name: {name}{metadata}}}\nspec: \
         {{{spec}}}\n---\n"
    )
}

fn cluster(name: &str, tier: &str, priority: u32) -> String {
    format!(
        "apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: \
         {{name: {name}}}\nspec: {{tier: {tier}, priority: {priority}, subject: {{namespaces: {{}}}}}}\n---\n"
    )
}

#[test]
fn cnp_1_equal_priorities_are_told() {
    let equal = |text: &str| told(text, "its order is that of");
    let one = cluster("a", "Admin", 5);
    let wanted =
        |name: &str| [(Notice, format!("ClusterNetworkPolicy {name}"), "spec.priority".to_owned())];
    assert_eq!(equal(&(cluster("b", "Admin", 5) + &one)), wanted("b"));
    assert_eq!(equal(&(cluster("b", "Admin", 6) + &one)), []);
    assert_eq!(equal(&(cluster("b", "Baseline", 5) + &one)), []);
    let calico = |name: &str, space: &str, order: &str| {
        let (kind, metadata) = match space {
            "" => ("GlobalNetworkPolicy", String::new()),
            space => ("NetworkPolicy", format!(", namespace: {space}")),
        };
        calico(kind, name, &metadata, order)
    };
    let told = |name: &str| [(Notice, name.to_owned(), "spec.order".to_owned())];
    let all = calico("b", "", "order: 5");
    assert_eq!(equal(&(calico("a", "", "order: 5") + &all)), told("GlobalNetworkPolicy b"));
    assert_eq!(equal(&(calico("a", "x", "order: 5") + &all)), told("GlobalNetworkPolicy b"));
    let later = "NetworkPolicy.projectcalico.org x/c";
    assert_eq!(equal(&(calico("c", "x", "order: 5") + &all)), told(later));
    assert_eq!(equal(&(calico("a", "x", "order: 5") + &calico("a", "y", "order: 5"))), []);
    assert_eq!(equal(&(calico("a", "", "") + &calico("b", "", ""))), [], "none is stated");
    assert_eq!(equal(&(calico("a", "", "order: 5, tier: kube-admin") + &all)), []);
    // Of one name by kind, as they are asked.
    let named = calico("a", "", "order: 5, tier: kube-admin") + &cluster("a", "Admin", 5);
    assert_eq!(equal(&named), told("GlobalNetworkPolicy a"));
}

#[test]
fn a_policy_of_no_tier_is_said_to_come_last() {
    let text = calico("GlobalNetworkPolicy", "p", "", "tier: t, ingress: [{action: Allow}]");
    let after = told(&text, "is asked after those of every tier that is there");
    assert_eq!(after, [(Error, "GlobalNetworkPolicy p".to_owned(), "spec.tier".to_owned())]);
    assert_eq!(told(&(text + &calico("Tier", "t", "", "order: 1")), "no Tier"), []);
}

#[test]
fn what_is_to_be_taken_away_must_be_there() {
    for (kind, enforced, metadata) in [
        ("StagedNetworkPolicy", "NetworkPolicy", ", namespace: x"),
        ("StagedGlobalNetworkPolicy", "GlobalNetworkPolicy", ""),
    ] {
        let gone = calico(kind, "p", metadata, "stagedAction: Delete");
        let none = |text: &str| told(text, "and there is none").len();
        assert_eq!(none(&gone), 1, "{kind}");
        assert_eq!(none(&(gone + &calico(enforced, "p", metadata, ""))), 0, "{kind}");
    }
    let gone =
        calico("StagedKubernetesNetworkPolicy", "p", ", namespace: x", "stagedAction: Delete");
    assert_eq!(told(&(gone + &policy("x/p", "")), "and there is none"), []);
}

#[test]
fn an_annotation_stages_only_what_kubernetes_has_no_kind_for() {
    let staged = ", annotations: {lockgate.dev/staged: 'true'}";
    for (kind, remedy) in
        [("NetworkPolicy", "write a StagedN"), ("GlobalNetworkPolicy", "write a StagedG")]
    {
        let text = calico(kind, "p", staged, "");
        let problems = inventory(&text).problems();
        let one = problems.iter().find(|one| one.message.contains("by an annotation")).unwrap();
        assert_eq!((one.severity, one.remedy.starts_with(remedy)), (Warning, true), "{one}");
        assert!(one.field.starts_with("metadata.annotations"), "{one}");
        let unread = calico(kind, "p", ", annotations: [x]", "");
        assert_eq!(told(&unread, "annotations").len(), 1, "{kind}");
    }
    assert_eq!(told(&calico("Tier", "t", "", ""), "annotation"), []);
}

#[test]
fn what_may_have_been_a_policy_takes_no_policys_place() {
    let deny = calico("GlobalNetworkPolicy", "lockdown", "", "ingress: [{action: Deny}]");
    let stray = calico("Odd", "lockdown", "", "selector: has(x), types: [Egress]") + &small();
    let files = [("a.yaml", &deny), ("z.yaml", &stray)];
    for order in [[0, 1], [1, 0]] {
        let mut inventory = Inventory::new();
        for (file, text) in order.map(|at| files[at]) {
            let _: Effect = inventory.set_file(file, read_text(file, text).unwrap());
        }
        let [policy] = inventory.ordered_policies().collect::<Vec<_>>()[..] else { panic!() };
        assert_eq!(&*policy.metadata.origin.file, "a.yaml");
        assert!(policy.ingress.is_some() && policy.egress.is_none(), "{policy:?}");
        // Alone it stands for what it may have been.
        let _: Effect = inventory.remove_file("a.yaml");
        let [policy] = inventory.ordered_policies().collect::<Vec<_>>()[..] else { panic!() };
        assert!(policy.ingress.is_none() && policy.egress.is_some(), "{policy:?}");
    }
}
