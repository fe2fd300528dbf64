//! Objects beside pods, namespaces and policies: there, replaced, written twice, gone.

use super::*;
use crate::policy::{Kind, Known, Listed};

fn written(api_version: &str, kind: &str, name: &str, rest: &str) -> String {
    format!("apiVersion: {api_version}\nkind: {kind}\nmetadata: {{{name}}}\n{rest}\n---\n")
}

fn calico(kind: &str, name: &str, spec: &str) -> String {
    written("projectcalico.org/v3", kind, name, &format!("spec: {{{spec}}}"))
}

fn slice(name: &str, service: &str, address: &str) -> String {
    let name = format!("namespace: x, name: {name}, labels: {{{service}}}");
    let rest = format!("addressType: IPv4\nendpoints: [{{addresses: [{address}]}}]");
    written("discovery.k8s.io/v1", "EndpointSlice", &name, &rest)
}

const OF_S: &str = "kubernetes.io/service-name: s";

/// Each kind as it is, and as it is after a change.
fn each() -> Vec<[String; 2]> {
    let in_x = "namespace: x, name: o";
    let cluster = |kind: &str, version: &str, spec: [&str; 2]| {
        let version = format!("policy.networking.k8s.io/{version}");
        spec.map(|spec| written(&version, kind, "name: default", &format!("spec: {{{spec}}}")))
    };
    let admin =
        ["priority: 1, subject: {namespaces: {}}", "priority: 2, subject: {namespaces: {}}"];
    let orders = ["order: 1", "order: 2"];
    let nets = ["nets: [10.0.0.0/8]", "nets: [10.0.0.0/9]"];
    let staged = ["podSelector: {}", "podSelector: {}, stagedAction: Learn"];
    vec![
        ["app: a", "app: b"]
            .map(|one| written("v1", "Service", in_x, &format!("spec: {{selector: {{{one}}}}}"))),
        ["10.0.0.1", "10.0.0.2"].map(|one| slice("o", OF_S, one)),
        ["a", "b"].map(|one| {
            written("v1", "ServiceAccount", &format!("{in_x}, labels: {{app: {one}}}"), "")
        }),
        ["192.0.2.1", "192.0.2.2"].map(|one| {
            let status = format!("status: {{addresses: [{{type: InternalIP, address: {one}}}]}}");
            written("v1", "Node", "name: o", &status)
        }),
        orders.map(|one| calico("NetworkPolicy", in_x, one)),
        orders.map(|one| calico("GlobalNetworkPolicy", "name: o", one)),
        orders.map(|one| calico("StagedNetworkPolicy", in_x, one)),
        orders.map(|one| calico("StagedGlobalNetworkPolicy", "name: o", one)),
        staged.map(|one| calico("StagedKubernetesNetworkPolicy", in_x, one)),
        orders.map(|one| calico("Tier", "name: o", one)),
        nets.map(|one| calico("NetworkSet", in_x, one)),
        nets.map(|one| calico("GlobalNetworkSet", "name: o", one)),
        ["ingress: []", "ingress: [{action: Allow}]"].map(|one| calico("Profile", "name: o", one)),
        ["name: o, uid: a", "name: o, uid: b"].map(|one| calico("HostEndpoint", one, "node: n")),
        cluster("ClusterNetworkPolicy", "v1alpha2", admin)
            .map(|text| text.replace("priority", "tier: Admin, priority")),
        cluster("AdminNetworkPolicy", "v1alpha1", admin),
        cluster(
            "BaselineAdminNetworkPolicy",
            "v1alpha1",
            ["subject: {namespaces: {}}", "subject: {namespaces: {matchLabels: {a: b}}}"],
        ),
    ]
}

#[test]
fn every_kind_is_set_replaced_written_twice_and_removed() {
    let mut kinds = BTreeSet::new();
    for [text, other] in each() {
        let (first, second) = (object(&text), object(&other));
        let key = first.metadata().key.clone();
        assert_eq!(key, second.metadata().key);
        assert!(kinds.insert(key.kind));
        let mut inventory = Inventory::new();
        let told = |inventory: &mut Inventory, effect: Effect| {
            let changed = inventory.take_changes();
            assert_eq!(effect == Effect::Changed, !changed.is_empty(), "{key}");
            assert!(changed.iter().all(|one| *one == key), "{key}: {changed:?}");
            effect == Effect::Changed
        };
        let in_force = |inventory: &Inventory| inventory.in_force(&key).cloned();
        // From a cluster.
        let effect = inventory.apply(Change::Set(first.clone()));
        assert!(told(&mut inventory, effect), "{key}");
        let effect = inventory.apply(Change::Set(first.clone()));
        assert!(!told(&mut inventory, effect), "{key}");
        let effect = inventory.apply(Change::Set(second.clone()));
        assert!(told(&mut inventory, effect), "{key}");
        assert_eq!(in_force(&inventory), Some(second), "{key}");
        let effect = inventory.apply(Change::Remove(key.clone()));
        assert!(told(&mut inventory, effect) && in_force(&inventory).is_none(), "{key}");
        // From files.
        let effect = set(&mut inventory, "a.yaml", &text);
        assert!(told(&mut inventory, effect), "{key}");
        let effect = set(&mut inventory, "a.yaml", &format!("# a word\n{text}"));
        assert!(!told(&mut inventory, effect), "{key}: only lines moved");
        let effect = set(&mut inventory, "b.yaml", &other);
        assert!(told(&mut inventory, effect), "{key}");
        let said = inventory.problems();
        let is_twice = |one: &Problem| one.message.contains("b.yaml:1, which counts");
        assert!(said.iter().any(is_twice), "{key}: {said:?}");
        let effect = inventory.remove_file("b.yaml");
        assert!(told(&mut inventory, effect), "{key}");
        // What is no object any more may have been this one.
        let effect =
            set(&mut inventory, "a.yaml", &format!("- nothing\n---\n{}", pod("x/a", "", "")));
        assert!(in_force(&inventory).is_some(), "{key}");
        assert!(effect == Effect::Changed && !inventory.take_changes().contains(&key), "{key}");
        let _ = inventory.remove_file("a.yaml");
        assert!(inventory.take_changes().contains(&key) && in_force(&inventory).is_none(), "{key}");
    }
    assert_eq!(kinds.len(), 17);
}

#[test]
fn what_ordered_policy_is_made_of_is_found() {
    let texts = each();
    let inventory =
        crate::sample::inventory(&texts.iter().map(|[text, _]| &**text).collect::<String>());
    let kinds: Vec<_> = inventory.ordered_policies().map(|one| one.kind.label()).collect();
    let wanted = [
        "NetworkPolicy",
        "GlobalNetworkPolicy",
        "StagedNetworkPolicy",
        "StagedGlobalNetworkPolicy",
        "StagedKubernetesNetworkPolicy",
        "ClusterNetworkPolicy",
        "AdminNetworkPolicy",
        "BaselineAdminNetworkPolicy",
    ];
    assert_eq!(kinds, wanted);
    for policy in inventory.ordered_policies() {
        assert_eq!(inventory.ordered_policy(&policy.metadata.key), Some(policy));
    }
    let sets: Vec<_> = inventory.network_sets().map(|one| one.metadata.key.to_string()).collect();
    assert_eq!(sets, ["NetworkSet x/o", "GlobalNetworkSet o", "HostEndpoint o"]);
    let set = inventory.network_sets().next().unwrap();
    assert_eq!(inventory.network_set(&set.metadata.key), Some(set));
    assert_eq!(inventory.tiers().count(), 1);
    assert!(inventory.tier("o").is_some() && inventory.tier("p").is_none());
    assert!(inventory.profile("o").is_some() && inventory.service("x", "o").is_some());
    assert!(inventory.account("x", "o").is_some() && inventory.account("y", "o").is_none());
    assert_eq!(inventory.nodes().count(), 1);
    assert!(inventory.node("o").is_some());
    assert_eq!(inventory.policies().count(), 0, "those of Kubernetes are others");
}

#[test]
fn two_policies_of_one_name_and_two_apis_do_not_replace_each_other() {
    let mut inventory = Inventory::new();
    let _ = set(&mut inventory, "a.yaml", &policy("x/p", "ingress: []"));
    let _ =
        set(&mut inventory, "b.yaml", &calico("NetworkPolicy", "namespace: x, name: p", "ordr: 1"));
    let (plain, other) =
        (inventory.policies().next().unwrap(), inventory.ordered_policies().next().unwrap());
    assert_eq!(inventory.problems_of(&plain.metadata).count(), 0);
    assert_eq!(inventory.problems_of(&other.metadata).count(), 1);
    let _ = inventory.remove_file("a.yaml");
    assert_eq!((inventory.policies().count(), inventory.ordered_policies().count()), (0, 1));
}

#[test]
fn who_backs_a_service_is_known_only_where_every_slice_of_it_is() {
    let addresses = |text: &str| {
        let inventory = crate::sample::inventory(&(text.to_owned() + &namespace("x", "")));
        let backends = inventory.backends("x", "s");
        let addresses: Vec<_> = backends.slices.iter().flat_map(|one| &one.addresses).collect();
        let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        (addresses.join(" "), backends.is_whole)
    };
    let two = slice("a", OF_S, "10.0.0.1") + &slice("b", OF_S, "10.0.0.2");
    let other =
        slice("c", "kubernetes.io/service-name: t", "10.0.0.3") + &slice("d", "", "10.0.0.4");
    let (both, one) = ("10.0.0.1 10.0.0.2".to_owned(), "10.0.0.1".to_owned());
    assert_eq!(addresses(""), (String::new(), true));
    assert_eq!(addresses(&(two.clone() + &other)), (both.clone(), true));
    assert_eq!(addresses(&two.replace("10.0.0.2", "10.0.0.256")), (one.clone(), false));
    assert_eq!(addresses(&(two.clone() + &other.replace("10.0.0.3", "x"))), (both.clone(), true));
    let of_any = other.replace("service-name: t", "service-name: [t]");
    assert_eq!(addresses(&(two.clone() + &of_any)), (both.clone(), false));
    let lost = slice("e", "kubernetes.io/service-name: t", "10.0.0.5").replace(": x,", ": X,");
    assert_eq!(addresses(&(two.clone() + &lost)), (both.clone(), false));
    let elsewhere = two.replace("namespace: x, name: b", "namespace: y, name: b");
    assert_eq!(addresses(&elsewhere), (one, true));
}

#[test]
fn the_labels_of_an_account_are_not_known_where_it_may_be_one_that_cannot_be_read() {
    let account = |name: &str, labels: &str| {
        written("v1", "ServiceAccount", &format!("{name}, labels: {labels}"), "")
    };
    let web = account("namespace: x, name: web", "{team: a}");
    let labels = |accounts: &str, of: &str| {
        let pods =
            crate::sample::pod_with("x/p", "10.0.0.1", "", &format!("serviceAccountName: {of}"));
        let inventory = crate::sample::inventory(&(pods + accounts));
        let labels = inventory.account_labels("x", &inventory.pod("x", "p").unwrap().account)?;
        Some(labels.get("team").unwrap_or("-").to_owned())
    };
    assert_eq!(labels(&web, "web").as_deref(), Some("a"));
    assert_eq!(labels(&web, "db").as_deref(), Some("-"));
    assert_eq!(labels(&web.replace("{team: a}", "{team: [a]}"), "web"), None);
    let elsewhere = account("namespace: y, name: A_", "{}");
    assert_eq!(labels(&(web.clone() + &elsewhere), "db").as_deref(), Some("-"));
    for lost in ["namespace: X, name: a", "namespace: x, name: A_", "namespace: x, nam: db"] {
        let lost = web.clone() + &account(lost, "{}");
        assert_eq!(labels(&lost, "web").as_deref(), Some("a"));
        assert_eq!(labels(&lost, "db"), None);
    }
}

#[test]
fn np_55_a_policy_of_calico_that_goes_before_its_pods_denies_as_it_did_and_opens_nothing() {
    let rules = "ingress: [{action: Deny}, {action: Allow}, {action: Pass}]";
    for (kind, left) in [("NetworkPolicy", true), ("StagedNetworkPolicy", false)] {
        let mut inventory = Inventory::new();
        let policy = calico(kind, "namespace: x, name: p", rules);
        let _ = set(&mut inventory, "a.yaml", &(terminating("x") + &pod("x/a", "10.0.0.1", "")));
        let _ = set(&mut inventory, "b.yaml", &policy);
        let before = inventory.ordered_policies().next().unwrap().clone();
        assert_eq!(inventory.remove_file("b.yaml"), Effect::Changed);
        let after = inventory.ordered_policies().next().cloned();
        assert_eq!(after.is_some(), left, "{kind}");
        if let Some(after) = after {
            let listed = [before.ingress.unwrap().remove(0), Listed::Nothing, Listed::DenyAll];
            assert_eq!(after.ingress.as_deref(), Some(&listed[..]));
            assert_eq!((after.tier, after.order, after.egress), (before.tier, before.order, None));
        }
        let _ = inventory.remove_file("a.yaml");
        assert_eq!(inventory.ordered_policies().count(), 0, "{kind}");
    }
    // One of the cluster stands in no namespace that could go.
    let mut inventory = Inventory::new();
    let _ = set(&mut inventory, "a.yaml", &(terminating("x") + &pod("x/a", "10.0.0.1", "")));
    let _ = set(&mut inventory, "b.yaml", &calico("GlobalNetworkPolicy", "name: p", rules));
    let _ = inventory.remove_file("b.yaml");
    assert_eq!(inventory.ordered_policies().count(), 0);
}

#[test]
fn a_policy_of_a_tier_that_is_not_there_is_told() {
    let of = |tier: &str| calico("GlobalNetworkPolicy", "name: p", &format!("tier: {tier}"));
    let errors = |text: &str| -> Vec<String> {
        let said = problems(text).into_iter();
        let errors = said.filter(|one| one.severity == Severity::Error);
        errors.map(|one| format!("{}: {}", one.object, one.field)).collect()
    };
    assert_eq!(errors(&of("application")), ["GlobalNetworkPolicy p: spec.tier"]);
    assert_eq!(
        errors(&(of("application") + &calico("Tier", "name: application", "order: 1"))),
        [""; 0]
    );
    for fixed in ["default", "kube-admin", "kube-baseline"] {
        assert_eq!(errors(&of(fixed)), [""; 0], "{fixed}");
    }
    let key = ObjectKind::Ordered(Known::Policy(Kind::GlobalNetworkPolicy));
    assert_eq!(object(&of("default")).metadata().key.kind, key);
}
