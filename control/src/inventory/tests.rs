mod kinds;
mod told;

use super::*;
use crate::manifest::{Severity, read_text};
use crate::sample::{namespace, pod, policy, problems, small};

fn set(inventory: &mut Inventory, file: &str, text: &str) -> Effect {
    inventory.set_file(file, read_text(file, text).unwrap())
}

fn object(text: &str) -> Object {
    read_text("", text).unwrap().objects.remove(0)
}

fn endpoint(inventory: &Inventory, pod: &str) -> Option<EndpointId> {
    let (namespace, name) = pod.split_once('/').unwrap();
    inventory.endpoint(&inventory.pod(namespace, name)?.metadata.key)
}

#[test]
fn only_what_changes_what_is_in_force_is_an_effect() {
    let mut inventory = Inventory::new();
    assert_eq!(set(&mut inventory, "a.yaml", &small()), Effect::Changed);
    assert_eq!(set(&mut inventory, "a.yaml", &small()), Effect::Nothing);
    let moved = format!("# a word\n{}", small());
    assert_eq!(set(&mut inventory, "a.yaml", &moved), Effect::Nothing, "only lines moved");
    let fewer = small().replace("app: c", "app: d");
    assert_eq!(set(&mut inventory, "a.yaml", &fewer), Effect::Changed);
    assert_eq!(
        set(&mut inventory, "b.yaml", "{apiVersion: v1, kind: ConfigMap}\n"),
        Effect::Nothing
    );
    assert_eq!(inventory.remove_file("b.yaml"), Effect::Nothing);
    assert_eq!(inventory.remove_file("a.yaml"), Effect::Changed);
    assert_eq!(inventory.pods().count() + inventory.namespaces().count(), 0);
}

#[test]
fn objects_of_the_cluster_are_set_replaced_and_removed() {
    let mut inventory = Inventory::new();
    let first = object(&policy("x/p", "ingress: []"));
    let second = object(&policy("x/p", "ingress: [{}]"));
    assert_eq!(inventory.apply(Change::Set(first.clone())), Effect::Changed);
    assert_eq!(inventory.apply(Change::Set(first)), Effect::Nothing);
    assert_eq!(inventory.apply(Change::Set(second.clone())), Effect::Changed);
    assert_eq!(inventory.policies().count(), 1);
    let key = second.metadata().key.clone();
    assert_eq!(inventory.apply(Change::Remove(key.clone())), Effect::Changed);
    assert_eq!(inventory.apply(Change::Remove(key)), Effect::Nothing);
}

#[test]
fn of_two_versions_the_later_file_counts_until_it_goes() {
    let mut inventory = Inventory::new();
    let sees = |inventory: &Inventory| inventory.pod("x", "p").unwrap().addresses[0].to_string();
    let _ = set(&mut inventory, "b.yaml", &pod("x/p", "10.0.0.2", ""));
    assert_eq!(set(&mut inventory, "a.yaml", &pod("x/p", "10.0.0.1", "")), Effect::Nothing);
    assert_eq!(sees(&inventory), "10.0.0.2");
    let said = inventory.problems();
    let twice = said.iter().find(|one| one.severity == Severity::Error).unwrap();
    assert_eq!(twice.file.as_deref(), Some("a.yaml"));
    assert!(twice.message.contains("b.yaml:1, which counts"), "{twice}");
    assert_eq!(inventory.remove_file("b.yaml"), Effect::Changed);
    assert_eq!(sees(&inventory), "10.0.0.1");
    let text = pod("x/p", "10.0.0.3", "") + &pod("x/p", "10.0.0.4", "");
    let _ = set(&mut inventory, "c.yaml", &text);
    assert_eq!(sees(&inventory), "10.0.0.4");
    let listed: Vec<_> = inventory.pods().map(|pod| pod.addresses[0].to_string()).collect();
    assert_eq!(listed, ["10.0.0.4"]);
}

#[test]
fn np_54_a_pod_keeps_its_identity_and_a_new_one_gets_a_new_one() {
    let mut inventory = Inventory::new();
    let text = pod("x/a", "10.0.0.1", "") + &pod("x/b", "10.0.0.2", "");
    let _ = set(&mut inventory, "a.yaml", &text);
    let (a, b) = (endpoint(&inventory, "x/a").unwrap(), endpoint(&inventory, "x/b").unwrap());
    assert_ne!(a, b);
    let _ = set(&mut inventory, "a.yaml", &text.replace("10.0.0.1", "10.0.0.9"));
    assert_eq!(endpoint(&inventory, "x/a"), Some(a));
    let renewed = text.replace("name: a,", "name: a, uid: 7d0c,");
    let _ = set(&mut inventory, "a.yaml", &renewed);
    let new = endpoint(&inventory, "x/a").unwrap();
    assert!(new != a && new != b, "another uid is another pod");
    let _ = inventory.remove_file("a.yaml");
    assert_eq!(endpoint(&inventory, "x/b"), None);
    let _ = set(&mut inventory, "a.yaml", &text);
    let again = endpoint(&inventory, "x/b").unwrap();
    assert!(![a, b, new].contains(&again), "a number is never used twice");
}

#[test]
fn policies_are_found_by_namespace_in_the_order_of_names() {
    let mut inventory = Inventory::new();
    let text = ["y/a", "x/b", "x-y/c", "x/a"].map(|name| policy(name, "")).concat();
    let _ = set(&mut inventory, "a.yaml", &text);
    let of = |namespace| -> Vec<String> {
        inventory.policies_of(namespace).map(|one| one.metadata.key.name.to_string()).collect()
    };
    assert_eq!(of("x"), ["a", "b"]);
    assert_eq!(of("x-y"), ["c"]);
    assert_eq!(of("z"), [] as [&str; 0]);
}

#[test]
fn what_does_not_fit_between_objects_is_told() {
    let on = |name: &str, address: &str| {
        pod(name, address, "")
            .replace("labels:", "annotations: {lockgate.dev/interface: lg0}, labels:")
    };
    for (text, severity, object, wanted) in [
        (
            pod("x/a", "10.0.0.1", "") + &pod("y/b", "10.0.0.1", ""),
            Severity::Error,
            "Pod y/b",
            "10.0.0.1 is the address of x/a too",
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n".to_owned(),
            Severity::Notice,
            "Pod default/a",
            "has no address",
        ),
        (
            on("x/a", "10.0.0.1") + &on("x/b", "10.0.0.2"),
            Severity::Error,
            "Pod x/b",
            "interface lg0 is another pod's too",
        ),
        (
            pod("x/a", "192.0.2.2", "") + &pod("x/b", "10.0.0.2", "").replace("2.0.2.1", "2.0.2.2"),
            Severity::Warning,
            "Pod x/a",
            "is a node's address too",
        ),
        (pod("x/a", "10.0.0.1", ""), Severity::Notice, "Namespace x", "no object"),
    ] {
        let said = problems(&text);
        let is_told = |one: &Problem| {
            (one.severity, one.object.as_str()) == (severity, object)
                && one.message.contains(wanted)
        };
        assert!(said.iter().any(is_told), "{wanted}: {said:#?}");
        assert!(said.iter().all(|one| !one.remedy.is_empty()), "{said:#?}");
    }
    let fine = namespace("x", "") + &pod("x/a", "10.0.0.1", "");
    assert_eq!(problems(&fine), []);
}

#[test]
fn files_that_cannot_be_read_are_all_named() {
    let files = ["a: [", "{apiVersion: v1, kind: ConfigMap}\n", "# gone\n"]
        .into_iter()
        .zip(["a.yaml", "b.yaml", "c.yaml"]);
    let read = files.map(|(text, name)| (name.to_owned(), read_text(name, text))).collect();
    let refused = Inventory::of_files(read).unwrap_err();
    let names: Vec<_> = refused.iter().filter_map(|one| one.file.as_deref()).collect();
    assert_eq!(names, ["a.yaml", "c.yaml"]);
}

#[test]
fn what_a_document_that_is_no_object_may_have_been_stays_in_force_until_it_is_mended() {
    let mut inventory = Inventory::new();
    let (open, shut) = (policy("x/open", "ingress: [{}]"), policy("x/shut", "ingress: []"));
    let names = |inventory: &Inventory| -> Vec<String> {
        inventory.policies().map(|one| one.metadata.key.name.to_string()).collect()
    };
    let _ = set(&mut inventory, "a.yaml", &(open.clone() + &shut + &pod("x/p", "10.0.0.1", "")));
    let _ = set(&mut inventory, "b.yaml", &policy("x/other", ""));
    // The pod moves though a document beside it is broken, and nothing opens.
    let moved = pod("x/p", "10.0.0.2", "");
    let broken = format!("- 1\n---\n{moved}");
    assert_eq!(set(&mut inventory, "a.yaml", &broken), Effect::Changed);
    assert_eq!(names(&inventory), ["open", "other", "shut"]);
    assert_eq!(inventory.pod("x", "p").unwrap().addresses[0].to_string(), "10.0.0.2");
    let said = inventory.problems();
    let told = |object: &str| {
        said.iter().any(|one| one.object == object && one.message.contains("stays in force"))
    };
    assert!(told("NetworkPolicy x/shut") && told("NetworkPolicy x/open"), "{said:#?}");
    assert!(!told("NetworkPolicy x/other") && !told("Pod x/p"), "{said:#?}");
    // Read again, it is no different.
    assert_eq!(set(&mut inventory, "a.yaml", &broken), Effect::Nothing);
    assert_eq!(names(&inventory), ["open", "other", "shut"]);
    // Mended: what is not there any more was removed.
    assert_eq!(set(&mut inventory, "a.yaml", &(shut.clone() + &moved)), Effect::Changed);
    assert_eq!(names(&inventory), ["other", "shut"]);
    let _ = set(&mut inventory, "a.yaml", &broken);
    assert_eq!(inventory.remove_file("a.yaml"), Effect::Changed);
    assert_eq!(names(&inventory), ["other"]);
}

#[test]
fn a_document_that_looks_like_a_policy_isolates_where_no_good_one_is_known() {
    let mut inventory = Inventory::new();
    let good = policy("x/p", "ingress: [{}]");
    let lost = good.replace("kind: NetworkPolicy\n", "") + &pod("x/a", "10.0.0.1", "");
    let rules = |inventory: &Inventory| {
        let mut policies = inventory.policies_of("x");
        let policy = policies.next().map(|one| one.ingress.clone().unwrap()[0].is_some());
        assert!(policies.next().is_none());
        policy
    };
    let _ = set(&mut inventory, "a.yaml", &lost);
    assert_eq!(rules(&inventory), Some(false), "a broken rule");
    let said = inventory.problems();
    let told = said.iter().find(|one| one.object == "NetworkPolicy x/p").unwrap();
    assert!(
        told.message.contains("document 1") && told.message.contains("opens nothing"),
        "{told}"
    );
    let _ = set(&mut inventory, "a.yaml", &(good.clone() + &pod("x/a", "10.0.0.1", "")));
    assert_eq!(rules(&inventory), Some(true));
    let _ = set(&mut inventory, "a.yaml", &lost);
    assert_eq!(rules(&inventory), Some(true), "the last good one");
    let _ = set(&mut inventory, "a.yaml", &pod("x/a", "10.0.0.1", ""));
    assert_eq!(rules(&inventory), None);
    // Beside a good one of the same name in the same file it is that one's misspelt copy.
    let _ = set(&mut inventory, "a.yaml", &(good + &lost));
    assert_eq!(rules(&inventory), Some(true));
}

/// A namespace that is being deleted, as the API server says it.
fn terminating(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, deletionTimestamp: \
         '2026-01-01T00:00:00Z'}}\nstatus: {{phase: Terminating}}\n---\n"
    )
}

/// The policies of x, and how many rules each still has.
fn rules_of_x(inventory: &Inventory) -> Vec<(String, usize)> {
    let rules = |one: &NetworkPolicy| one.ingress.as_ref().map_or(0, Vec::len);
    inventory.policies_of("x").map(|one| (one.metadata.key.name.to_string(), rules(one))).collect()
}

#[test]
fn np_55_a_policy_deleted_before_the_pods_of_its_namespace_still_isolates_and_opens_nothing() {
    let mut inventory = Inventory::new();
    let policy = object(&policy("x/p", "ingress: [{}], policyTypes: [Ingress]"));
    let key = policy.metadata().key.clone();
    for text in [&pod("x/a", "10.0.0.1", ""), &pod("y/b", "10.0.0.2", ""), &namespace("x", "")] {
        let _ = inventory.apply(Change::Set(object(text)));
    }
    let _ = inventory.apply(Change::Set(policy.clone()));
    let _ = inventory.apply(Change::Set(object(&terminating("x"))));
    assert_eq!(rules_of_x(&inventory), [("p".to_owned(), 1)], "nothing is deleted yet");
    assert_eq!(inventory.apply(Change::Remove(key.clone())), Effect::Changed);
    assert_eq!(rules_of_x(&inventory), [("p".to_owned(), 0)]);
    let departed = inventory.policies().next().unwrap();
    assert!(departed.ingress.is_some() && departed.egress.is_none(), "as it isolated");
    let told = |inventory: &Inventory| {
        let said = inventory.problems();
        said.iter().any(|one| one.object == "NetworkPolicy x/p" && one.message.contains("terminat"))
    };
    assert!(told(&inventory));
    // Deleted once more, it is no different; written anew, it is itself.
    assert_eq!(inventory.apply(Change::Remove(key.clone())), Effect::Nothing);
    assert_eq!(inventory.apply(Change::Set(policy)), Effect::Changed);
    assert_eq!(rules_of_x(&inventory), [("p".to_owned(), 1)]);
    let _ = inventory.apply(Change::Remove(key));
    // The namespace object may go first; with the last pod the policy is gone.
    let namespace = |kind| if kind == ObjectKind::Pod { "x" } else { "" };
    let gone = |name: &str, kind| ObjectKey::new(kind, namespace(kind), name);
    let _ = inventory.apply(Change::Remove(gone("x", ObjectKind::Namespace)));
    assert_eq!(rules_of_x(&inventory), [("p".to_owned(), 0)]);
    assert_eq!(inventory.apply(Change::Remove(gone("a", ObjectKind::Pod))), Effect::Changed);
    assert_eq!(rules_of_x(&inventory), []);
    assert!(!told(&inventory));
}

#[test]
fn np_55_a_namespace_that_lives_keeps_nothing() {
    let mut inventory = Inventory::new();
    let pods = pod("x/a", "10.0.0.1", "");
    let policies = policy("x/p", "ingress: [{}]");
    let _ = set(&mut inventory, "a.yaml", &(namespace("x", "") + &pods + &policies));
    let _ = set(&mut inventory, "a.yaml", &(namespace("x", "") + &pods));
    assert_eq!(rules_of_x(&inventory), [], "NP-51");
    // Terminating and without its policies at once; then made anew.
    let _ = set(&mut inventory, "a.yaml", &(namespace("x", "") + &pods + &policies));
    let _ = set(&mut inventory, "a.yaml", &(terminating("x") + &pods));
    assert_eq!(rules_of_x(&inventory), [("p".to_owned(), 0)]);
    assert_eq!(set(&mut inventory, "a.yaml", &(namespace("x", "") + &pods)), Effect::Changed);
    assert_eq!(rules_of_x(&inventory), []);
    // Its pods may be heard of late: what is left waits for them, and goes with the namespace.
    let _ = set(&mut inventory, "a.yaml", &(terminating("x") + &policies));
    let _ = set(&mut inventory, "a.yaml", &terminating("x"));
    let _ = set(&mut inventory, "a.yaml", &(terminating("x") + &pods));
    assert_eq!(rules_of_x(&inventory), [("p".to_owned(), 0)]);
    let _ = set(&mut inventory, "a.yaml", &namespace("y", ""));
    assert_eq!(rules_of_x(&inventory), []);
}

#[test]
fn np_55_what_changes_at_once_counts_at_once_whatever_the_files_are_called() {
    let mut inventory = Inventory::new();
    let read = |file: &str, text: &str| (file.to_owned(), Some(read_text(file, text).unwrap()));
    let _ = inventory.take_files(vec![
        read("a.yaml", &policy("x/p", "ingress: [{}]")),
        read("b.yaml", &pod("x/a", "10.0.0.1", "")),
        read("c.yaml", &namespace("x", "")),
    ]);
    let gone = ("a.yaml".to_owned(), None);
    let changes = vec![gone, read("c.yaml", &terminating("x"))];
    assert_eq!(inventory.take_files(changes), Effect::Changed);
    assert_eq!(rules_of_x(&inventory), [("p".to_owned(), 0)]);
}
