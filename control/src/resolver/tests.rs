//! What a delta says, event by event. That it is right is the suite's to find
//! (`tests/suite/incremental.rs`), and in small that of `twins`.

mod twins;

use lockgate_dataplane::policy::ruleset::{Action, Ruleset};

use super::*;
use crate::inventory::{Change, Effect};
use crate::manifest::{Object, read_text};
use crate::sample::{namespace, pod, pod_with, policy, ports, small};

/// A resolver, and the ruleset of all it has told.
struct Bench {
    inventory: Inventory,
    resolver: Resolver,
    ruleset: Ruleset,
}

impl Bench {
    fn new(text: &str) -> Self {
        let (inventory, resolver) = (Inventory::new(), Resolver::default());
        let mut bench = Self { inventory, resolver, ruleset: Ruleset::default() };
        bench.set(text);
        bench
    }

    fn set(&mut self, text: &str) -> Delta {
        for object in read_text("", text).unwrap().objects {
            let _: Effect = self.inventory.apply(Change::Set(object));
        }
        self.apply()
    }

    fn remove(&mut self, text: &str) -> Delta {
        let object: Object = read_text("", text).unwrap().objects.remove(0);
        let _: Effect = self.inventory.apply(Change::Remove(object.metadata().key.clone()));
        self.apply()
    }

    fn apply(&mut self) -> Delta {
        let changes = self.inventory.take_changes();
        let delta = self.resolver.apply(&self.inventory, &changes);
        self.ruleset.apply(delta.clone());
        delta
    }
}

const PEERS: &str = "ingress: [{from: [{podSelector: {matchLabels: {app: a}}}]}]";

#[test]
fn a_pod_that_nobody_asks_for_joins_no_set() {
    let mut bench = Bench::new(&(small() + &policy("x/p", PEERS)));
    let new = pod("y/new", "10.0.9.9", "app: a");
    let delta = bench.set(&new);
    assert_eq!((delta.pods.len(), delta.members.len(), delta.sets.len()), (1, 0, 0));
    assert_eq!(bench.set(&new.replace("app: a", "app: b")), Delta::default());
}

#[test]
fn a_relabelled_pod_leaves_one_set_and_joins_another() {
    let other = "podSelector: {matchLabels: {app: b}}, ingress: []";
    let text = small() + &policy("x/p", PEERS) + &policy("x/q", other);
    let mut bench = Bench::new(&(text + &pod("x/new", "10.0.9.9", "app: a")));
    let delta = bench.set(&pod("x/new", "10.0.9.9", "app: b"));
    let mut moves: Vec<bool> = delta.members.iter().map(|one| one.2).collect();
    moves.sort_unstable();
    assert_eq!((moves, delta.pods.len(), delta.policies.len()), (vec![false, true], 0, 0));
}

#[test]
fn a_place_is_used_again_but_not_in_the_change_that_empties_it() {
    let mut bench = Bench::new(&pod("x/a", "10.0.0.1", ""));
    let _: Effect =
        bench.inventory.apply(Change::Remove(ObjectKey::new(ObjectKind::Pod, "x", "a")));
    let delta = bench.set(&pod("x/b", "10.0.0.1", ""));
    let places: Vec<u32> = delta.pods.iter().map(|one| one.0.0).collect();
    assert_eq!(places.len(), 2);
    assert_ne!(places[0], places[1]);
    assert_eq!(bench.set(&pod("x/c", "10.0.0.2", "")).pods[0].0, PodIndex(0));
}

#[test]
fn sets_go_with_the_last_rule_that_means_them() {
    let mut bench = Bench::new(&(small() + &policy("x/p", PEERS)));
    let same = policy("x/q", PEERS);
    assert!(bench.set(&same).sets.is_empty());
    assert_eq!(bench.resolver.policies(), 2);
    assert!(bench.remove(&same).sets.is_empty());
    let delta = bench.remove(&policy("x/p", PEERS));
    assert!(delta.sets.len() == 2 && delta.sets.iter().all(|(_, set)| set.is_none()));
    assert!(bench.resolver.sets.known(&Meaning::Denied).is_none());
    assert_eq!(bench.resolver.policies(), 0);
}

#[test]
fn nobody_joins_a_set_in_the_change_that_drops_it() {
    let mut bench = Bench::new(&(small() + &policy("x/p", PEERS)));
    let gone = read_text("", &policy("x/p", PEERS)).unwrap().objects.remove(0);
    let _: Effect = bench.inventory.apply(Change::Remove(gone.metadata().key.clone()));
    let delta = bench.set(&pod("x/new", "10.0.9.9", "app: a"));
    assert_eq!((delta.sets.len(), delta.members.len(), delta.pods.len()), (2, 0, 1));
}

#[test]
fn np_22_a_number_that_nobody_had_is_heard_of_by_who_asked_for_the_name() {
    let rules = "ingress: [{ports: [{port: web}]}]";
    let mut bench = Bench::new(&(small() + &policy("x/p", rules)));
    let with = |number: u16| {
        let named = format!("{{name: web, containerPort: {number}}}");
        pod_with("x/new", "10.0.9.9", "", &ports(&named))
    };
    let delta = bench.set(&with(9999));
    assert_eq!((delta.policies.len(), delta.sets.len()), (1, 1));
    // The number is known by now.
    let more = with(9999).replace("x/new", "x/more").replace("name: new", "name: more");
    let delta = bench.set(&more.replace("10.0.9.9", "10.0.9.8"));
    assert_eq!((delta.policies.len(), delta.sets.len()), (0, 0));
}

#[test]
fn a_namespaces_labels_move_its_own_pods_only() {
    let peers = "ingress: [{from: [{namespaceSelector: {matchLabels: {team: new}}}]}]";
    let mut bench = Bench::new(&(small() + &policy("x/p", peers)));
    let delta = bench.set(&namespace("y", "team: new"));
    let moved: BTreeSet<&str> = delta
        .members
        .iter()
        .map(|(_, pod, joins)| {
            assert!(joins);
            &*bench.resolver.pods.get(pod.0).unwrap().key.namespace
        })
        .collect();
    assert_eq!(moved, ["y"].into());
    assert!(bench.set(&namespace("z", "team: new")).is_empty());
}

#[test]
fn two_pods_of_one_address_are_denied_until_one_goes() {
    let mut bench = Bench::new(&(small() + &policy("x/p", PEERS)));
    let twin = pod("y/twin", "10.0.1.1", "app: a");
    let delta = bench.set(&twin);
    let denied = delta.policies.iter().find_map(|(_, policy)| policy.as_ref()).unwrap();
    assert_eq!(&*denied.name, crate::inventory::DENIED_POLICY);
    assert_eq!(bench.ruleset.sets[denied.subjects.0 as usize].pods.len(), 2);
    let subjects = denied.subjects;
    let delta = bench.remove(&twin);
    assert!(delta.policies.iter().all(|(_, policy)| policy.is_none()));
    assert!(delta.sets.contains(&(subjects, None)), "{delta:?}");
    assert!(bench.resolver.sets.known(&Meaning::Denied).is_none());
}

#[test]
fn the_place_of_a_policy_is_used_again() {
    let mut bench = Bench::new(&small());
    for round in 0..20 {
        let text = policy(&format!("x/p{round}"), PEERS);
        let delta = bench.set(&text);
        assert!(delta.policies[0].0.0 < 2, "{:?} in round {round}", delta.policies[0].0);
        bench.remove(&text);
    }
}

#[test]
fn np_22_who_does_not_ask_for_a_name_any_more_hears_of_the_others() {
    let asks = |ports: &str| policy("x/p", &format!("ingress: [{{ports: [{ports}]}}]"));
    let with = |name: &str, number: u16| {
        let named = format!("{{name: {name}, containerPort: {number}}}");
        pod_with(&format!("x/{name}"), &format!("10.0.9.{}", number % 100), "", &ports(&named))
    };
    let mut bench = Bench::new(&(small() + &asks("{port: web}, {port: dns}")));
    bench.set(&asks("{port: web}"));
    assert_eq!(bench.set(&with("web", 9902)).policies.len(), 1);
    assert_eq!(bench.set(&with("dns", 9901)).policies.len(), 0);
}

#[test]
fn names_that_nobody_asks_for_any_more_are_forgotten() {
    // Another policy of the same subjects keeps their set.
    let mut bench = Bench::new(&(small() + &policy("x/q", "ingress: []")));
    for round in 0..20 {
        let named = format!("{{name: web{round}, containerPort: {}}}", 9000 + round);
        bench.set(&pod_with("x/new", "10.0.9.9", "", &ports(&named)));
        let asks = policy("x/p", &format!("ingress: [{{ports: [{{port: web{round}}}]}}]"));
        assert_eq!(bench.set(&asks).policies.len(), 1);
        bench.remove(&asks);
    }
    let sets = (0..50).filter_map(|id| bench.resolver.sets.get(SetId(id)));
    assert_eq!(sets.map(|set| set.names.len()).sum::<usize>(), 0);
}

#[test]
fn words_go_with_the_last_who_uses_them() {
    let mut bench = Bench::new(&pod("x/a", "10.0.0.1", ""));
    for round in 0..50 {
        let text = pod("x/a", "10.0.0.1", &format!("app: hash{round}"));
        bench.set(&text);
        let peers = PEERS.replace("app: a", &format!("app: hash{round}"));
        bench.set(&policy("x/p", &peers));
    }
    assert!(bench.resolver.words.len() < 20, "{} words", bench.resolver.words.len());
}

/// A policy of Calico.
fn calico(kind: &str, name: &str, spec: &str) -> String {
    let metadata = match name.split_once('/') {
        Some((namespace, name)) => format!("namespace: {namespace}, name: {name}"),
        None => format!("name: {name}"),
    };
    let api = "projectcalico.org/v3";
    format!("apiVersion: {api}\nkind: {kind}\nmetadata: {{{metadata}}}\nspec: {{{spec}}}\n---\n")
}

#[test]
fn a_pod_joins_what_ordered_policies_select_and_no_policy_is_told_again() {
    let rules = "selector: app == 'a', ingress: [{action: Deny, source: {selector: has(app)}}]";
    let mut bench = Bench::new(&(small() + &calico("GlobalNetworkPolicy", "g", rules)));
    let delta = bench.set(&pod("x/new", "10.0.9.9", "app: a"));
    let counts = (delta.members.len(), delta.sets.len(), delta.policies.len());
    assert_eq!(counts, (2, 0, 0));
    // Labels of its own namespace that nobody asks for concern nobody.
    assert!(bench.set(&namespace("x", "new: label")).is_empty());
}

#[test]
fn a_pod_that_a_list_is_made_of_has_the_policy_told_again_and_no_other_does() {
    let rules =
        "egress: [{action: Allow, destination: {selector: app == 'a', nets: [10.0.0.0/8]}}]";
    let mut bench = Bench::new(&(small() + &calico("NetworkPolicy", "x/p", rules)));
    let told = |delta: &Delta| (delta.policies.len(), delta.members.is_empty());
    assert_eq!(told(&bench.set(&pod("y/new", "10.0.9.9", "app: b"))), (0, true));
    let delta = bench.set(&pod("x/new", "10.0.9.8", "app: a"));
    assert_eq!((delta.policies.len(), delta.members.is_empty()), (1, false));
    assert_eq!(bench.set(&pod("x/new", "10.0.9.7", "app: a")).policies.len(), 1);
}

#[test]
fn who_is_read_again_and_again_listens_once() {
    let rule = |port: u32| {
        format!(
            "selector: all(), ingress: [{{action: Pass, protocol: TCP, source: {{selector: app == \
             'a'}}, destination: {{ports: [{port}]}}}}]"
        )
    };
    let stays = calico("GlobalNetworkPolicy", "stays", &rule(1));
    let mut bench = Bench::new(&(small() + &stays));
    let mut listening = |text: &str, comes: bool| {
        _ = if comes { bench.set(text) } else { bench.remove(text) };
        let sets = (0..50).filter_map(|id| bench.resolver.sets.get(SetId(id)));
        sets.map(|set| set.watchers.len()).collect::<Vec<_>>()
    };
    for round in 0..5 {
        let comes = calico("GlobalNetworkPolicy", "comes", &rule(round));
        assert_eq!(listening(&comes, true), [2, 2]);
        assert_eq!(listening(&comes, true), [2, 2]);
        assert_eq!(listening(&comes, false), [1, 1]);
    }
}

#[test]
fn a_policy_passes_again_when_the_pod_that_nobody_could_place_is_gone() {
    let rules = "namespaceSelector: team == 't', ingress: [{action: Pass}]";
    let text = namespace("x", "team: t") + &namespace("y", "team: [t]");
    let text = text + &pod("x/a", "10.0.0.1", "") + &calico("GlobalNetworkPolicy", "g", rules);
    let mut bench = Bench::new(&text);
    let action = |delta: &Delta| {
        let told = delta.policies.first().and_then(|one| one.1.clone()).unwrap();
        told.ingress.unwrap()[0].action
    };
    let doubtful = pod("y/b", "10.0.0.2", "");
    assert_eq!(action(&bench.set(&doubtful)), Action::Deny);
    assert_eq!(action(&bench.remove(&doubtful)), Action::Pass);
}
