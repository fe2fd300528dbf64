mod impostors;
mod played;

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::*;
use crate::cluster::{Cluster, Standing, State};
use crate::policy::{Kind, Known};
use played::{Answer, Played, groups, list, resources, status};

const CLUSTER_POLICY: ObjectKind = ObjectKind::Ordered(Known::Policy(Kind::ClusterNetworkPolicy));
const KNOWN: &str = "policy.networking.k8s.io/v1alpha2";
const POLICIES: &str = "/apis/networking.k8s.io/v1/networkpolicies";
const CLUSTER_POLICIES: &str = "/apis/policy.networking.k8s.io/v1alpha2/clusternetworkpolicies";
const EVERYWHERE: [&str; 2] = ["networking.k8s.io/v1", "discovery.k8s.io/v1"];

/// What is answered to requests that hold a word.
type Laid = (&'static str, Answer);

/// A cluster that hears of a played server.
struct Bench {
    server: Played,
    watches: Watches,
    cluster: Cluster,
    began: Instant,
}

/// A server whose lists are empty and whose watches are silent, without definitions of others.
fn bare() -> Played {
    let server = Played::default();
    server.on("/api", "", list(&[], "10", ""));
    server.on("/apis", "", text(404));
    for path in ["/apis/networking.k8s.io/v1/", "/apis/discovery.k8s.io/v1/"] {
        server.on(path, "", list(&[], "10", ""));
    }
    server.on("/apis$", "", groups(&EVERYWHERE));
    server.on("/version", "", Answer::Says(200, r#"{"major":"1","minor":"35"}"#.to_owned()));
    server.on("/api", "watch=true", Answer::Watch(String::new(), Duration::from_secs(10)));
    server
}

/// The same with a policy that denies, in a version.
fn denying(version: &str, path: &'static str, page: &'static str) -> Played {
    let server = bare();
    server.on("/apis$", "", groups(&[EVERYWHERE[0], EVERYWHERE[1], version]));
    server.on(page, "", resources(version, &["clusternetworkpolicies"]));
    server.on(path, "", list(&[deny(version)], "20", ""));
    server.on(path, "watch=true", Answer::Watch(String::new(), Duration::from_secs(10)));
    server
}

fn known() -> Played {
    denying(KNOWN, CLUSTER_POLICIES, "/apis/policy.networking.k8s.io/v1alpha2$")
}

/// What a load balancer says.
fn text(code: u16) -> Answer {
    Answer::Says(code, "default backend\n".to_owned())
}

fn deny(version: &str) -> Value {
    json!({"apiVersion": version, "kind": "ClusterNetworkPolicy",
           "metadata": {"name": "deny", "resourceVersion": "20"},
           "spec": {"tier": "Admin", "priority": 1, "subject": {"namespaces": {}},
                    "ingress": [{"action": "Deny", "from": [{"namespaces": {}}]}]}})
}

fn policy(name: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": "demo", "resourceVersion": "11"},
           "spec": {"podSelector": {}}})
}

impl Bench {
    fn new(server: Played) -> Self {
        let watches = Watches::start(&server.client());
        Self { server, watches, cluster: Cluster::new("here"), began: Instant::now() }
    }

    /// Hears for so long.
    async fn run(&mut self, seconds: u64) {
        self.run_for(Duration::from_secs(seconds)).await;
    }

    async fn run_for(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while let Ok(all) = timeout_at(end, self.watches.heard()).await {
            for heard in all {
                let _ = self.cluster.take(heard, UNIX_EPOCH + self.began.elapsed());
            }
        }
    }

    /// How many requests of a path are made in two minutes.
    async fn count(&mut self, path: &str) -> usize {
        self.run(1).await;
        self.server.asked();
        self.run(120).await;
        self.server.asked().iter().filter(|what| what.starts_with(path)).count()
    }

    fn standing(&self, kind: ObjectKind) -> &Standing {
        self.cluster.standings().find(|one| one.0 == kind).unwrap().1
    }

    /// What is known of the policy of the cluster, how many there are, and whether it fails.
    fn denial(&self) -> (State, usize, bool) {
        let standing = self.standing(CLUSTER_POLICY);
        (standing.state(), standing.objects(), standing.failing_since().is_some())
    }
}

/// Answers that are none of an API server which has no such kind: where, and what.
fn misleading() -> Vec<(&'static str, Answer)> {
    let says = |text: &str| Answer::Says(200, text.to_owned());
    let page = "/apis/policy.networking.k8s.io/v1alpha2$";
    vec![
        ("/apis", text(404)),
        ("/apis", status(404)),
        ("/apis$", text(404)),
        ("/apis$", status(404)),
        ("/apis$", says("{}")),
        ("/apis$", says("<html>")),
        ("/apis$", says(r#"{"kind": "APIGroupList"}"#)),
        ("/apis$", says(r#"{"kind": "Status", "groups": []}"#)),
        ("/apis$", resources(KNOWN, &[])),
        (page, text(404)),
        (page, status(404)),
        (page, says("{}")),
        (page, groups(&[])),
        (page, resources("v1", &[])),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_denial_stays_in_force_whoever_answers_in_the_place_of_the_api_server() {
    for (path, answer) in misleading() {
        let mut bench = Bench::new(known());
        bench.run(2).await;
        assert_eq!(bench.denial(), (State::Read, 1, false));
        bench.server.on(CLUSTER_POLICIES, "watch=true", text(404));
        bench.server.on(path, "", answer);
        for _ in 0..6 {
            bench.run(20).await;
            assert_eq!((bench.denial().0, bench.denial().1), (State::Read, 1), "{path}");
        }
        assert!(bench.denial().2, "{path}: nobody is told");
        bench.server.off();
        bench.server.off();
        bench.run(60).await;
        assert_eq!(bench.denial(), (State::Read, 1, false), "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn at_a_start_a_kind_is_unread_until_the_api_server_says_whether_it_has_it() {
    for (path, answer) in misleading() {
        let server = known();
        server.on(path, "", answer);
        let mut bench = Bench::new(server);
        bench.run(60).await;
        assert_eq!(bench.denial(), (State::Unread, 0, true), "{path}");
        assert!(!bench.cluster.is_whole());
        bench.server.off();
        bench.run(31).await;
        assert_eq!(bench.denial(), (State::Read, 1, false), "{path}");
        assert!(bench.cluster.is_whole());
    }
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_begins_has_not_said_what_it_lacks() {
    // It lists no group of a definition yet, and does not say 404 of it.
    let server = known();
    server.on("/apis$", "", groups(&EVERYWHERE));
    server.on("/apis/policy.networking.k8s.io/v1alpha2$", "", text(503));
    let mut bench = Bench::new(server);
    bench.run(60).await;
    assert_eq!(bench.denial(), (State::Unread, 0, true));
}

#[tokio::test(start_paused = true)]
async fn what_the_lists_of_the_api_server_lack_is_absent_until_they_have_it() {
    let mut bench = Bench::new(known());
    bench.run(2).await;
    assert_eq!(bench.denial(), (State::Read, 1, false));
    bench.server.on("/apis/policy.networking.k8s.io/", "", text(404));
    bench.server.on("/apis$", "", groups(&EVERYWHERE));
    bench.run(15).await;
    assert_eq!(bench.denial(), (State::Absent, 0, false));
    bench.server.off();
    bench.server.off();
    bench.run(10).await;
    assert_eq!(bench.denial(), (State::Read, 1, false));
    // Its group is there, and another kind of it alone.
    let page = "/apis/policy.networking.k8s.io/v1alpha2$";
    bench.server.on(CLUSTER_POLICIES, "", status(404));
    bench.server.on(page, "", resources(KNOWN, &["others"]));
    bench.run(15).await;
    assert_eq!(bench.denial(), (State::Absent, 0, false));
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_not_known_is_watched_and_opens_nothing() {
    let version = "policy.networking.k8s.io/v1beta1";
    let server = denying(
        version,
        "/apis/policy.networking.k8s.io/v1beta1/",
        "/apis/policy.networking.k8s.io/v1beta1$",
    );
    let mut bench = Bench::new(server);
    bench.run(2).await;
    assert_eq!(bench.denial(), (State::Read, 1, false));
    assert_eq!(bench.standing(CLUSTER_POLICY).version(), version);
    let said: Vec<String> = bench.cluster.problems().iter().map(ToString::to_string).collect();
    let words = ["ClusterNetworkPolicy deny", version, KNOWN, "opens nothing"];
    let is_told = |one: &String| words.iter().all(|word| one.contains(word));
    assert!(said.iter().any(is_told), "{said:?}");
    assert_eq!(bench.cluster.inventory().ordered_policies().count(), 1);
    // Where both are served, the one that is known is.
    let path = "/apis/policy.networking.k8s.io/v1alpha2";
    bench.server.on(path, "", list(&[deny(KNOWN)], "20", ""));
    bench.server.on(
        "/apis/policy.networking.k8s.io/v1alpha2$",
        "",
        resources(KNOWN, &["clusternetworkpolicies"]),
    );
    bench.server.on("/apis$", "", groups(&[version, KNOWN]));
    let server = bench.server.clone();
    let mut bench = Bench::new(server);
    bench.run(2).await;
    assert_eq!(bench.standing(CLUSTER_POLICY).version(), KNOWN);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_expires_is_followed_by_a_list_however_it_is_told() {
    let error = json!({"type": "ERROR", "object": {"kind": "Status", "apiVersion": "v1",
        "status": "Failure", "message": "too old", "reason": "Expired", "code": 410}});
    for answer in [status(410), Answer::Watch(error.to_string(), Duration::ZERO)] {
        let mut bench = Bench::new(bare());
        bench.run(2).await;
        bench.server.on(POLICIES, "limit=500", list(&[policy("new")], "11", ""));
        bench.server.on(POLICIES, "resourceVersion=10", answer);
        bench.run(10).await;
        assert_eq!(bench.standing(ObjectKind::Policy).objects(), 1);
        assert!(bench.standing(ObjectKind::Policy).failing_since().is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_of_a_watch_is_read_by_a_list() {
    // What comes after it says nothing of what it was.
    let after = json!({"type": "ADDED", "object": policy("after")});
    let mut bench = Bench::new(bare());
    bench.run(2).await;
    bench.server.on(POLICIES, "limit=500", list(&[policy("missed"), policy("after")], "11", ""));
    let told = format!("{{\"type\": \"ADDED\", \"object\": oh}}\n{after}\n");
    bench.server.on(POLICIES, "resourceVersion=10", Answer::Watch(told, Duration::from_secs(80)));
    bench.run(20).await;
    assert_eq!(bench.standing(ObjectKind::Policy).objects(), 2);
    assert!(bench.standing(ObjectKind::Policy).failing_since().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_fails_is_told_with_what_it_was_answered() {
    // Not as one that ended early.
    let error = json!({"type": "ERROR", "object": {"kind": "Status", "code": 500}});
    for answer in [status(500), Answer::Watch(format!("{error}\n"), Duration::from_secs(1))] {
        let server = bare();
        server.on(POLICIES, "watch=true", answer);
        let mut bench = Bench::new(server);
        for _ in 0..600 {
            bench.run_for(Duration::from_millis(200)).await;
            let trouble = bench.standing(ObjectKind::Policy).trouble();
            assert!(trouble.unwrap().message.contains("500"), "{trouble:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_fails_is_asked_more_and_more_seldom_however_it_fails() {
    let error = json!({"type": "ERROR", "object": {"kind": "Status", "code": 410}});
    let brought = json!({"type": "ADDED", "object": policy("new")});
    let both = format!("{brought}\n{error}\n");
    let list_of = |next| list(&[policy("new")], "11", next);
    let ways: [(&str, [Laid; 2]); 6] = [
        ("500", [("", status(500)), ("limit", status(500))]),
        ("403", [("", status(403)), ("limit", status(403))]),
        ("page 2", [("limit", list_of("next")), ("continue", status(500))]),
        ("410", [("limit", list_of("")), ("watch=true", status(410))]),
        (
            "410 within",
            [("limit", list_of("")), ("watch=true", Answer::Watch(both, Duration::ZERO))],
        ),
        (
            "ends",
            [("limit", list_of("")), ("watch=true", Answer::Watch(String::new(), Duration::ZERO))],
        ),
    ];
    for (way, rules) in ways {
        let server = bare();
        for (word, answer) in rules {
            server.on(POLICIES, word, answer);
        }
        let mut bench = Bench::new(server);
        let count = bench.count(POLICIES).await;
        // Pauses of 1, 2, 4, 8, 16 and 30 s at most, of a half at least; up to two requests each.
        assert!((4..=36).contains(&count), "{way}: {count} in two minutes");
        assert!(bench.standing(ObjectKind::Policy).failing_since().is_some(), "{way}");
    }
    // One that does well is asked for a watch each time that one is over.
    let count = Bench::new(bare()).count(POLICIES).await;
    assert!((11..=13).contains(&count), "{count}");
}

#[tokio::test(start_paused = true)]
async fn a_single_failure_costs_less_than_a_second() {
    let server = bare();
    server.on(POLICIES, "limit", status(500));
    let mut bench = Bench::new(server);
    bench.run_for(Duration::from_millis(10)).await;
    assert!(bench.standing(ObjectKind::Policy).failing_since().is_some());
    bench.server.off();
    bench.run_for(Duration::from_millis(500)).await;
    assert_eq!(bench.standing(ObjectKind::Policy).state(), State::Read);
    // The same of a watch, once what was before is long over.
    bench.server.on(POLICIES, "watch=true", status(500));
    while bench.standing(ObjectKind::Policy).failing_since().is_none() {
        bench.run_for(Duration::from_millis(10)).await;
    }
    bench.server.off();
    bench.server.asked();
    bench.run_for(Duration::from_millis(500)).await;
    let asked = bench.server.asked();
    assert!(asked.iter().any(|one| one.starts_with(POLICIES)), "{asked:?}");
    bench.run(5).await;
    assert!(bench.standing(ObjectKind::Policy).failing_since().is_none());
}

#[tokio::test(start_paused = true)]
async fn what_hangs_fails_since_it_hung_and_without_gaps() {
    // From the first request on, and from that of a watch which follows one that has lasted 10 s.
    for (word, begins) in [("limit", 0), ("watch=true", 10)] {
        let server = bare();
        server.on(POLICIES, word, Answer::Hangs);
        let mut bench = Bench::new(server);
        if begins > 0 {
            bench.server.off();
            bench.run(5).await;
            bench.server.on(POLICIES, word, Answer::Hangs);
        }
        bench.run(45).await;
        let since = bench.standing(ObjectKind::Policy).failing_since();
        let since = since.and_then(|since| since.duration_since(UNIX_EPOCH).ok()).unwrap();
        assert_eq!(since.as_secs(), begins, "{word}");
        for _ in 0..10 {
            bench.run(20).await;
            let now = bench.standing(ObjectKind::Policy).failing_since();
            assert_eq!(now, Some(SystemTime::UNIX_EPOCH + since), "{word}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_looks_for_absent_kinds_asks_once_for_all_of_them() {
    let mut bench = Bench::new(bare());
    bench.run(2).await;
    assert!(bench.cluster.is_whole());
    assert_eq!(bench.denial(), (State::Absent, 0, false));
    // Which versions are there, and, of a group that is not listed, each known one of it.
    let first: Vec<String> = bench.server.asked();
    let count = |asked: &[String], path: &str| asked.iter().filter(|one| *one == path).count();
    assert_eq!(count(&first, "/apis"), 1, "{first:?}");
    assert_eq!(count(&first, "/apis/projectcalico.org/v3"), 1, "{first:?}");
    bench.run(60).await;
    let then = bench.server.asked();
    assert!((11..=13).contains(&count(&then, "/apis")), "{then:?}");
    assert_eq!(count(&then, "/apis/projectcalico.org/v3"), 0, "{then:?}");
}
