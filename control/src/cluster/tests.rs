use std::net::IpAddr;
use std::time::{Duration, UNIX_EPOCH};

use lockgate_dataplane::ids::Mac;

use super::*;
use crate::manifest::read_text;
use crate::policy::{Kind, Known};
use crate::watch::{PodFacts, Trouble};

const NOW: SystemTime = UNIX_EPOCH;
const NODE: &str = "here";

struct Bench {
    cluster: Cluster,
}

fn read(text: &str) -> (Object, Vec<Problem>) {
    let mut found = read_text("", text).unwrap();
    (found.objects.remove(0), found.problems)
}

fn policy(staged: bool) -> String {
    let staged = if staged { "annotations: {lockgate.dev/staged: \"true\"}, " } else { "" };
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: deny, \
         {staged}namespace: demo}}\nspec: {{podSelector: {{}}}}\n"
    )
}

fn pod(name: &str, addresses: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: demo, uid: {name}-uid, \
         annotations: {{lockgate.dev/interface: stolen}}}}\nspec: {{containers: []}}\nstatus: \
         {{podIPs: [{addresses}]}}\n"
    )
}

fn key(kind: ObjectKind, name: &str) -> ObjectKey {
    ObjectKey::new(kind, "demo", name)
}

fn on(node: &str, born: u64) -> PodFacts {
    PodFacts { node: node.to_owned(), born, ..PodFacts::default() }
}

fn attached(uid: &str, interface: &str, address: &str) -> Attached {
    let addresses = vec![address.parse().unwrap()];
    Attached { uid: uid.into(), interface: interface.into(), mac: Mac([2; 6]), addresses }
}

impl Bench {
    fn new() -> Self {
        Self { cluster: Cluster::new(NODE) }
    }

    fn hear(&mut self, kind: ObjectKind, what: What) -> Effect {
        self.cluster.take(Heard::Of(kind, what), NOW)
    }

    fn there(&mut self, kind: ObjectKind, text: &str, facts: PodFacts) -> Effect {
        let (object, problems) = read(text);
        let there = There { object, problems, facts, version: "1".to_owned() };
        self.hear(kind, What::There(Box::new(there)))
    }

    fn pod(&mut self, name: &str, address: &str, facts: PodFacts) -> Effect {
        let address = if address.is_empty() { String::new() } else { format!("{{ip: {address}}}") };
        self.there(ObjectKind::Pod, &pod(name, &address), facts)
    }

    /// The addresses of a pod, and its interface.
    fn has(&self, name: &str) -> (Vec<String>, Option<String>) {
        let pod = self.cluster.inventory().pod("demo", name).unwrap();
        (
            pod.addresses.iter().map(IpAddr::to_string).collect(),
            pod.interface.as_deref().map(str::to_owned),
        )
    }

    fn addresses(&self, name: &str) -> Vec<String> {
        self.has(name).0
    }
}

fn trouble() -> Trouble {
    let (message, remedy) = ("it broke".to_owned(), "mend it".to_owned());
    Trouble { message, remedy }
}

#[test]
fn nothing_counts_before_every_resource_was_read_or_is_known_to_be_absent() {
    let mut bench = Bench::new();
    let last = RESOURCES.len() - 1;
    for (place, resource) in RESOURCES.iter().enumerate() {
        assert!(!bench.cluster.is_whole(), "{place}");
        let _ = bench.hear(resource.kind, What::Begun("v1"));
        let _ = bench.hear(resource.kind, What::Failed(trouble(), Duration::ZERO));
        assert!(!bench.cluster.is_whole(), "{place}");
        let end = if place == last { What::Absent } else { What::Whole };
        let _ = bench.hear(resource.kind, end);
    }
    assert!(bench.cluster.is_whole());
    // A list that is read anew, and a failure, leave it so.
    let _ = bench.hear(ObjectKind::Pod, What::Begun("v1"));
    let _ = bench.hear(ObjectKind::Policy, What::Failed(trouble(), Duration::ZERO));
    assert!(bench.cluster.is_whole());
}

#[test]
fn an_object_stays_until_a_whole_list_lacks_it() {
    let mut bench = Bench::new();
    let kind = ObjectKind::Policy;
    let deny = key(kind, "deny");
    let _ = bench.hear(kind, What::Begun("v1"));
    assert_eq!(bench.there(kind, &policy(false), PodFacts::default()), Effect::Changed);
    assert_eq!(bench.hear(kind, What::Whole), Effect::Nothing);
    for what in [
        What::Failed(trouble(), Duration::ZERO),
        What::Begun("v1"),
        What::Failed(trouble(), Duration::ZERO),
    ] {
        assert_eq!(bench.hear(kind, what), Effect::Nothing);
        assert!(bench.cluster.inventory().policy(&deny).is_some());
    }
    assert_eq!(bench.hear(kind, What::Whole), Effect::Changed);
    assert!(bench.cluster.inventory().policy(&deny).is_none());
}

#[test]
fn a_resource_that_vanishes_takes_its_objects_along() {
    let mut bench = Bench::new();
    let kind = ObjectKind::Policy;
    let _ = bench.there(kind, &policy(false), PodFacts::default());
    assert_eq!(bench.hear(kind, What::Absent), Effect::Changed);
    // And what was reached of them: nothing of it is in force.
    assert!(bench.cluster.standings().all(|(_, standing)| standing.newest() == 0));
    assert!(bench.cluster.inventory().policy(&key(kind, "deny")).is_none());
}

#[test]
fn an_annotation_that_comes_and_goes_leaves_one_form_of_the_policy() {
    let mut bench = Bench::new();
    let kind = ObjectKind::Policy;
    let staged =
        key(ObjectKind::Ordered(Known::Policy(Kind::StagedKubernetesNetworkPolicy)), "deny");
    let forms = |bench: &Bench| {
        let inventory = bench.cluster.inventory();
        let enforced = inventory.policy(&key(kind, "deny")).is_some();
        (enforced, inventory.ordered_policies().any(|one| one.metadata.key == staged))
    };
    for is_staged in [false, true, false, true] {
        let effect = bench.there(kind, &policy(is_staged), PodFacts::default());
        assert_eq!(effect, Effect::Changed);
        assert_eq!(forms(&bench), (!is_staged, is_staged));
    }
    // Its last form is told as gone.
    assert_eq!(bench.hear(kind, What::Gone(staged.clone())), Effect::Changed);
    assert_eq!(forms(&bench), (false, false));
    // And a list that does not hold it any more takes it, whatever its form.
    let _ = bench.there(kind, &policy(true), PodFacts::default());
    let _ = bench.hear(kind, What::Begun("v1"));
    assert_eq!(bench.hear(kind, What::Whole), Effect::Changed);
    assert_eq!(forms(&bench), (false, false));
}

#[test]
fn what_is_wrong_with_an_object_is_told_until_it_is_mended_or_gone() {
    let mut bench = Bench::new();
    let kind = ObjectKind::Policy;
    let broken = policy(false).replace("podSelector: {}", "podSelector: 7");
    let told = |bench: &Bench| {
        let problems = bench.cluster.problems();
        problems.iter().filter(|one| one.object == "NetworkPolicy demo/deny").count()
    };
    let _ = bench.there(kind, &broken, PodFacts::default());
    assert_eq!(told(&bench), 1);
    let _ = bench.there(kind, &policy(false), PodFacts::default());
    assert_eq!(told(&bench), 0);
    let _ = bench.there(kind, &broken, PodFacts::default());
    let _ = bench.hear(kind, What::Gone(key(kind, "deny")));
    assert_eq!(told(&bench), 0);
}

#[test]
fn a_failure_is_told_with_its_beginning_until_it_is_over() {
    let mut bench = Bench::new();
    let kind = ObjectKind::Policy;
    let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    let told =
        |bench: &Bench| bench.cluster.problems().into_iter().map(|one| one.to_string()).next();
    let since = |bench: &Bench| {
        bench.cluster.standings().find(|one| one.0 == kind).unwrap().1.failing_since()
    };
    let fail = |bench: &mut Bench, seconds| {
        let failed = What::Failed(trouble(), Duration::from_secs(5));
        let _ = bench.cluster.take(Heard::Of(kind, failed), at(seconds));
    };
    let there = || {
        let (object, problems) = read(&policy(false));
        let facts = PodFacts::default();
        What::There(Box::new(There { object, problems, facts, version: "1".to_owned() }))
    };
    let _ = bench.hear(kind, What::Whole);
    fail(&mut bench, 105);
    let text = told(&bench).unwrap();
    assert!(
        text.contains("networkpolicies.networking.k8s.io: it broke; since 1970-01-01T00:01:40")
    );
    assert!(text.contains("stays in force") && text.contains("mend it"), "{text}");
    // Lists of which a page comes and no more have not ended it, however long it takes.
    for seconds in [150, 200, 300] {
        let _ = bench.cluster.take(Heard::Of(kind, What::Begun("v1")), at(seconds));
        let _ = bench.cluster.take(Heard::Of(kind, there()), at(seconds));
        assert_eq!(since(&bench), Some(at(100)));
        fail(&mut bench, seconds + 40);
        assert_eq!(since(&bench), Some(at(100)));
    }
    // A list that is whole, a watch that brings something, and one that has lasted do at once.
    for what in [What::Whole, there(), What::Steady] {
        fail(&mut bench, 405);
        let _ = bench.cluster.take(Heard::Of(kind, what), at(406));
        assert_eq!((since(&bench), told(&bench)), (None, None));
    }
}

#[test]
fn a_silent_server_is_told_with_the_time_until_it_answers() {
    let mut bench = Bench::new();
    let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    let _ = bench.cluster.take(Heard::Pulse(Ok(())), at(1));
    assert_eq!(bench.cluster.problems(), []);
    for seconds in [60, 62] {
        let _ = bench.cluster.take(Heard::Pulse(Err(trouble())), at(seconds));
    }
    let server = bench.cluster.server();
    assert_eq!((server.answered(), server.silent_since()), (Some(at(1)), Some(at(60))));
    let told = bench.cluster.problems().remove(0).to_string();
    assert!(told.starts_with("error: API server: it broke; since 1970-01-01T00:01:00Z"), "{told}");
    let _ = bench.cluster.take(Heard::Pulse(Ok(())), at(64));
    assert_eq!(bench.cluster.problems(), []);
}

#[test]
fn a_pod_is_attached_by_the_agent_and_never_by_its_annotation() {
    let mut bench = Bench::new();
    let _ = bench.pod("a", "", on(NODE, 1));
    assert_eq!(bench.has("a"), (vec![], None));
    let a = key(ObjectKind::Pod, "a");
    // Another pod of that name, and one of another node, are not meant.
    let _ = bench.cluster.attach(&a, attached("old-uid", "lg0", "10.0.0.9"));
    assert_eq!(bench.has("a"), (vec![], None));
    let effect = bench.cluster.attach(&a, attached("a-uid", "lg1", "10.0.0.1"));
    assert_eq!(effect, Effect::Changed);
    assert_eq!(bench.has("a"), (vec!["10.0.0.1".to_owned()], Some("lg1".to_owned())));
    // Its status comes later, and says the same or something else.
    let _ = bench.pod("a", "10.0.0.7", on(NODE, 1));
    assert_eq!(bench.addresses("a"), ["10.0.0.1"]);
    // The old one's end is not the new one's.
    assert_eq!(bench.cluster.detach(&a, "lg0"), Effect::Nothing);
    assert_eq!(bench.cluster.detach(&a, "lg1"), Effect::Changed);
    assert_eq!(bench.has("a"), (vec![], None));
    let _ = bench.pod("a", "10.0.0.1", on(NODE, 1));
    assert_eq!(bench.addresses("a"), [""; 0], "what was given back is nobody's");
    let _ = bench.pod("b", "", on("elsewhere", 1));
    let _ = bench.cluster.attach(&key(ObjectKind::Pod, "b"), attached("b-uid", "lg2", "10.0.0.2"));
    assert_eq!(bench.has("b"), (vec![], None));
}

#[test]
fn a_pod_that_a_kubelet_got_from_a_file_is_meant_by_what_the_kubelet_calls_it() {
    let mut bench = Bench::new();
    let facts = PodFacts { mirror: "from-file".to_owned(), ..on(NODE, 1) };
    let _ = bench.pod("a", "", facts);
    let a = key(ObjectKind::Pod, "a");
    let _ = bench.cluster.attach(&a, attached("from-file", "lg1", "10.0.0.1"));
    assert_eq!(bench.addresses("a"), ["10.0.0.1"]);
    assert!(bench.cluster.has_pod(&a, "from-file") && bench.cluster.has_pod(&a, "a-uid"));
    assert!(!bench.cluster.has_pod(&a, "other"));
}

#[test]
fn of_those_who_claim_an_address_one_has_it() {
    let mut bench = Bench::new();
    let both = |bench: &Bench| (bench.addresses("a").len(), bench.addresses("b").len());
    let _ = bench.pod("a", "10.0.0.1", on("elsewhere", 5));
    let _ = bench.pod("b", "10.0.0.1", on("elsewhere", 4));
    assert_eq!(both(&bench), (1, 0), "the younger");
    let _ = bench.pod("b", "10.0.0.1", on("elsewhere", 6));
    assert_eq!(both(&bench), (0, 1), "whoever comes first");
    let _ = bench.pod("b", "10.0.0.1", PodFacts { is_leaving: true, ..on("elsewhere", 6) });
    assert_eq!(both(&bench), (1, 0), "one that stays");
    let _ = bench.pod("c", "", on(NODE, 1));
    let c = key(ObjectKind::Pod, "c");
    let _ = bench.cluster.attach(&c, attached("c-uid", "lg1", "10.0.0.1"));
    assert_eq!(both(&bench), (0, 0));
    assert_eq!(bench.addresses("c"), ["10.0.0.1"], "one that is attached");
    let _ = bench.hear(ObjectKind::Pod, What::Gone(c));
    assert_eq!(both(&bench), (1, 0), "and the next when it is gone");
    let _ = bench.hear(ObjectKind::Pod, What::Gone(key(ObjectKind::Pod, "a")));
    assert_eq!(bench.addresses("b"), ["10.0.0.1"]);
    let _ = bench.pod("a", "10.0.0.2", on("elsewhere", 1));
    let _ = bench.pod("b", "10.0.0.2", on("elsewhere", 6));
    assert_eq!(both(&bench), (0, 1), "whoever moved there");
    let _ = bench.pod("b", "10.0.0.3", on("elsewhere", 6));
    assert_eq!(both(&bench), (1, 1), "and moved away");
}

proptest::proptest! {
    /// Whatever happens in whatever order, who has an address in the end follows from what there is
    /// in the end, and no address is two pods'.
    #[test]
    fn who_has_an_address_does_not_depend_on_the_order(
        steps in proptest::collection::vec((0..4usize, 0..4u8, 0..4u64, proptest::bool::ANY), 1..24),
    ) {
        let names = ["a", "b", "c", "d"];
        let mut bench = Bench::new();
        let mut last: BTreeMap<usize, (u8, u64, bool)> = BTreeMap::new();
        for (who, address, born, is_leaving) in steps {
            if address == 0 {
                last.remove(&who);
                let _ = bench.hear(ObjectKind::Pod, What::Gone(key(ObjectKind::Pod, names[who])));
            } else {
                last.insert(who, (address, born, is_leaving));
                let facts = PodFacts { is_leaving, ..on("elsewhere", born) };
                let _ = bench.pod(names[who], &format!("10.0.0.{address}"), facts);
            }
            for (who, (address, born, is_leaving)) in &last {
                let rank = (!is_leaving, *born, *who);
                let beats = |(other, claim): (&usize, &(u8, u64, bool))| {
                    claim.0 == *address && (!claim.2, claim.1, *other) > rank
                };
                let wants = usize::from(!last.iter().any(beats));
                proptest::prop_assert_eq!(bench.addresses(names[*who]).len(), wants);
            }
        }
    }
}

#[test]
fn of_a_list_nothing_counts_before_its_end_and_of_a_watch_each_object_does() {
    let mut bench = Bench::new();
    let newest = |bench: &Bench| bench.cluster.versions()[1];
    let put = |bench: &mut Bench, name: &str, version: &str| {
        let (object, problems) = read(&pod(name, ""));
        let (facts, version) = (on(NODE, 1), version.to_owned());
        let there = There { object, problems, facts, version };
        let _ = bench.hear(ObjectKind::Pod, What::There(Box::new(there)));
    };
    let _ = bench.hear(ObjectKind::Pod, What::Begun("v1"));
    put(&mut bench, "a", "90");
    put(&mut bench, "b", "7");
    assert_eq!(newest(&bench), 0, "one of 80 may still come");
    let _ = bench.hear(ObjectKind::Pod, What::Whole);
    assert_eq!(newest(&bench), 90);
    put(&mut bench, "b", "100");
    assert_eq!(newest(&bench), 100, "as a number, not as a text");
    // A backup was restored: the API server counts from an older number.
    let _ = bench.hear(ObjectKind::Pod, What::Begun("v1"));
    put(&mut bench, "a", "50");
    assert_eq!(newest(&bench), 100, "what was known is in force yet");
    let _ = bench.hear(ObjectKind::Pod, What::Whole);
    assert_eq!(newest(&bench), 50);
}

/// A cluster that was told everything, of this policy and these pods.
fn whole(policies: &[&str], pods: &[(&str, &str, &str)]) -> Cluster {
    let mut bench = Bench::new();
    tell_all(&mut bench, policies, pods);
    bench.cluster
}

fn tell_all(bench: &mut Bench, policies: &[&str], pods: &[(&str, &str, &str)]) {
    for resource in RESOURCES {
        let _ = bench.hear(resource.kind, What::Begun("v1"));
        if resource.kind == ObjectKind::Policy {
            for name in policies {
                let text = policy(false).replace("name: deny", &format!("name: {name}"));
                let _ = bench.there(ObjectKind::Policy, &text, PodFacts::default());
            }
        }
        if resource.kind == ObjectKind::Pod {
            for (name, address, node) in pods {
                let _ = bench.pod(name, address, on(node, 1));
            }
        }
        let _ = bench.hear(resource.kind, What::Whole);
    }
}

#[test]
fn the_last_good_state_is_enforced_unmixed_until_everything_was_read() {
    let mut bench = Bench::new();
    let _ = bench.cluster.attach(&key(ObjectKind::Pod, "a"), attached("a-uid", "ea", "10.0.0.9"));
    let kept = Box::new(whole(&["deny"], &[("a", "10.0.0.1", NODE), ("b", "10.0.0.2", "other")]));
    assert!(!bench.cluster.may_be_enforced());
    assert_eq!(bench.cluster.fall_back(kept, NOW), Effect::Changed);
    assert!(bench.cluster.may_be_enforced() && !bench.cluster.is_whole());
    assert_eq!(bench.cluster.stale_since(), Some(NOW));
    assert_eq!(bench.has("a"), (vec!["10.0.0.9".to_owned()], Some("ea".to_owned())));
    assert!(bench.cluster.has_pod(&key(ObjectKind::Pod, "a"), "a-uid"));
    let said: Vec<String> = bench.cluster.problems().iter().map(ToString::to_string).collect();
    assert!(said.iter().any(|one| one.contains("the last good state, of 1970")), "{said:?}");
    assert!(!bench.cluster.take_changes().is_empty());
    // What is read anew waits until all of it is.
    let _ = bench.hear(ObjectKind::Policy, What::Begun("v1"));
    assert_eq!(bench.hear(ObjectKind::Policy, What::Whole), Effect::Nothing);
    let _ = bench.pod("c", "10.0.0.3", on(NODE, 1));
    assert!(bench.cluster.inventory().policy(&key(ObjectKind::Policy, "deny")).is_some());
    assert!(bench.cluster.inventory().pod("demo", "c").is_none());
    // What is attached and detached meanwhile counts at once.
    let _ = bench.cluster.detach(&key(ObjectKind::Pod, "a"), "ea");
    assert_eq!(bench.has("a"), (vec![], None));
    assert_eq!(bench.cluster.take_changes(), [key(ObjectKind::Pod, "a")].into());
    tell_all(&mut bench, &["other"], &[("b", "10.0.0.2", "other"), ("c", "10.0.0.3", NODE)]);
    assert!(bench.cluster.is_whole() && bench.cluster.stale_since().is_none());
    let (pod, policy) = (ObjectKind::Pod, ObjectKind::Policy);
    let changed = [key(pod, "a"), key(pod, "c"), key(policy, "deny"), key(policy, "other")].into();
    assert_eq!(bench.cluster.take_changes(), changed, "and b is as it was");
}

#[test]
fn a_pod_keeps_its_identity_and_no_other_ever_gets_it() {
    let mut bench = Bench::new();
    let pods = [("a", "10.0.0.1", NODE), ("b", "10.0.0.2", NODE), ("d", "10.0.0.4", NODE)];
    let _ = bench.cluster.fall_back(Box::new(whole(&[], &pods)), NOW);
    let identity = |bench: &Bench, name: &str| {
        bench.cluster.inventory().endpoint(&key(ObjectKind::Pod, name)).unwrap()
    };
    let before = ["a", "b", "d"].map(|name| identity(&bench, name));
    let pods = [("c", "10.0.0.3", NODE), ("b", "10.0.0.2", NODE), ("e", "10.0.0.5", NODE)];
    tell_all(&mut bench, &[], &pods);
    assert_eq!(identity(&bench, "b"), before[1]);
    for name in ["c", "e"] {
        assert!(!before.contains(&identity(&bench, name)), "{name}");
    }
    assert_ne!(identity(&bench, "c"), identity(&bench, "e"));
}

#[test]
fn what_nobody_took_note_of_yet_is_told_when_everything_was_read() {
    let mut bench = Bench::new();
    let pods = [("a", "10.0.0.1", NODE)];
    let _ = bench.cluster.fall_back(Box::new(whole(&[], &pods)), NOW);
    tell_all(&mut bench, &[], &pods);
    assert_eq!(bench.cluster.take_changes(), [key(ObjectKind::Pod, "a")].into());
    // It is no use to one that knows everything.
    let kept = Box::new(whole(&["deny"], &[]));
    assert_eq!(bench.cluster.fall_back(kept, NOW), Effect::Nothing);
    assert!(bench.cluster.stale_since().is_none());
}

#[test]
fn a_policy_that_departed_isolates_on_when_the_api_server_is_back() {
    let space = |phase: &str| {
        let meta = "apiVersion: v1\nkind: Namespace\nmetadata: {name: demo}";
        format!("{meta}\nstatus: {{phase: {phase}}}\n")
    };
    let listed = |phase: &str| {
        let mut bench = Bench::new();
        for resource in RESOURCES {
            let _ = bench.hear(resource.kind, What::Begun(resource.kind.versions()[0]));
        }
        let _ = bench.there(ObjectKind::Namespace, &space(phase), PodFacts::default());
        let _ = bench.pod("a", "10.0.0.1", on(NODE, 1));
        bench
    };
    let end = |bench: &mut Bench| {
        for resource in RESOURCES {
            let _ = bench.hear(resource.kind, What::Whole);
        }
        bench.cluster.inventory().policies().count()
    };
    for (phase, left) in [("Terminating", 1), ("Active", 0)] {
        let mut kept = listed("Terminating");
        let _ = kept.there(ObjectKind::Policy, &policy(false), PodFacts::default());
        end(&mut kept);
        let _ = kept.hear(ObjectKind::Policy, What::Gone(key(ObjectKind::Policy, "deny")));
        assert_eq!(kept.cluster.inventory().policies().count(), 1);
        let mut bench = listed(phase);
        let _ = bench.cluster.fall_back(Box::new(kept.cluster), NOW);
        assert_eq!(end(&mut bench), left, "{phase}");
        // It goes with the namespace.
        let _ = bench.hear(ObjectKind::Pod, What::Gone(key(ObjectKind::Pod, "a")));
        let _ = bench.hear(
            ObjectKind::Namespace,
            What::Gone(ObjectKey::new(ObjectKind::Namespace, "", "demo")),
        );
        assert_eq!(bench.cluster.inventory().policies().count(), 0, "{phase}");
    }
}
