use std::fs;
use std::time::{Duration, SystemTime};

use lockgate_dataplane::clock::Tick;
use lockgate_dataplane::connection::{Row, State};
use lockgate_dataplane::counters::DropReason;
use lockgate_dataplane::event::Notes;
use lockgate_dataplane::ids::{Epoch, Generation, WorkerId};
use lockgate_dataplane::packet::{Address, FlowKey, Protocol};
use lockgate_dataplane::policy::ruleset::{Direction, Service};
use lockgate_dataplane::policy::{ClassId, PolicySetId, Query};
use serde_json::Value;

use super::*;
use crate::fake::{FakeLinks, FakeSwitch};
use crate::files::Files;
use crate::metrics::ApplyLatency;
use crate::settings::{Machine, Raw};
use crate::sync::Node;

const PODS: &str = "
apiVersion: v1
kind: Pod
metadata: {name: a, namespace: demo, labels: {app: a}, annotations: {lockgate.dev/interface: ea}}
status: {podIP: 10.0.0.1}
---
apiVersion: v1
kind: Pod
metadata: {name: b, namespace: demo, labels: {app: b}, annotations: {lockgate.dev/interface: eb}}
status: {podIP: 10.0.0.2}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny, namespace: demo}
spec: {podSelector: {matchLabels: {app: b}}, policyTypes: [Ingress]}
";

const KEY: FlowKey = FlowKey {
    source: Address::from_v4([10, 0, 0, 1]),
    target: Address::from_v4([10, 0, 0, 2]),
    source_port: 40_000,
    target_port: 80,
    number: 6,
    protocol: Protocol::Tcp,
};

/// A running agent in which only pod a has its interface.
async fn agent() -> (Observer, Sync<FakeSwitch>) {
    agent_of(PODS).await
}

async fn agent_of(manifest: &str) -> (Observer, Sync<FakeSwitch>) {
    let node = Node { ports_max: 10, workers: 1, policy_metrics_max: 10, ..Node::default() };
    agent_on(node, manifest).await
}

async fn agent_on(node: Node, manifest: &str) -> (Observer, Sync<FakeSwitch>) {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("all.yaml"), manifest).unwrap();
    let files = Files::read(directory.path()).unwrap();
    let raw = Raw { manifests: Some("/m".into()), ..Raw::default() };
    let settings = Settings::new(raw, &Machine { cores: vec![0] }).unwrap();
    let latency = ApplyLatency::new().unwrap();
    let mut sync = Sync::new(node, files, FakeSwitch::quick(), latency);
    for _ in 0..3 {
        sync.advance(&mut FakeLinks::with(&["ea"])).await;
    }
    (Observer::new(settings), sync)
}

fn document(observer: &mut Observer, sync: &mut Sync<FakeSwitch>, show: Show) -> Value {
    serde_json::from_str(&observer.answer(Question::Show(show), sync).body).unwrap()
}

#[tokio::test]
async fn ready_and_status_say_which_pod_is_not_attached() {
    let (mut observer, mut sync) = agent().await;
    let ready = observer.answer(Question::Ready, &mut sync);
    assert!(ready.good);
    assert!(ready.body.contains("Pod demo/b") && ready.body.contains("eb does not exist"));
    let status = document(&mut observer, &mut sync, Show::Status {});
    assert_eq!((&status["pods"], &status["pods_attached"]), (&2.into(), &1.into()));
    assert_eq!((&status["ready"], &status["generation_in_force"]), (&true.into(), &1.into()));
    assert!(status["problems"].to_string().contains("Pod demo/b"));
}

#[tokio::test]
async fn a_switch_whose_workers_have_no_snapshot_is_not_ready() {
    let (mut observer, mut sync) = agent().await;
    sync.dataplane().taken.store(0, std::sync::atomic::Ordering::Relaxed);
    let ready = observer.answer(Question::Ready, &mut sync);
    assert!(!ready.good && ready.body.contains("\"ready\":false"), "{}", ready.body);
    assert!(observer.answer(Question::Live, &mut sync).good);
}

#[tokio::test]
async fn ports_bear_their_pods_and_what_the_kernel_counted() {
    let (mut observer, mut sync) = agent().await;
    let ports = document(&mut observer, &mut sync, Show::Ports {});
    let port = &ports["ports"][0];
    assert_eq!((&port["namespace"], &port["pod"]), (&"demo".into(), &"a".into()));
    assert_eq!((&port["kind"], &port["mac"]), (&"pod".into(), &"02:00:00:00:00:01".into()));
    assert_eq!(port["statistics"]["rx_ring_full"], 1);
    assert!(ports["not_attached"].to_string().contains("Pod demo/b"));
}

#[tokio::test]
async fn policies_name_the_pods_that_they_select() {
    let (mut observer, mut sync) = agent().await;
    let policies = document(&mut observer, &mut sync, Show::Policies {});
    let policy = &policies["policies"][0];
    assert_eq!(policy["name"], "demo/deny");
    assert_eq!(policy["isolates"], serde_json::json!(["ingress"]));
    assert_eq!(policy["pods"], serde_json::json!(["demo/b"]));
}

#[tokio::test]
async fn ports_says_why_pods_that_name_one_interface_have_none() {
    let (mut observer, mut sync) = agent_of(&PODS.replace("interface: eb", "interface: ea")).await;
    let list = document(&mut observer, &mut sync, Show::Ports {});
    let told: Vec<&str> = list["not_attached"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|one| one["object"].as_str())
        .collect();
    assert_eq!(told, ["Pod demo/a", "Pod demo/b"], "{list}");
}

#[tokio::test]
async fn connections_are_shown_with_pods_and_verdict() {
    let (mut observer, mut sync) = agent().await;
    let row = Row {
        opening: KEY,
        state: State::Established,
        epoch: Epoch(1),
        allowed: false,
        source: None,
        target: None,
        age_ms: 5,
        idle_ms: 1,
        remaining_ms: 9,
    };
    sync.dataplane().rows = vec![row; 3];
    let list = document(&mut observer, &mut sync, Show::Connections { limit: 2 });
    assert_eq!(list["connections"].as_array().map(Vec::len), Some(2));
    assert_eq!(list["cut"], true);
    let shown = &list["connections"][0];
    assert_eq!((&shown["source_pod"], &shown["target_pod"]), (&"demo/a".into(), &"demo/b".into()));
    assert_eq!((&shown["state"], &shown["verdict"]), (&"established".into(), &"deny".into()));
}

#[tokio::test]
async fn denied_packets_name_the_isolating_policies_and_only_the_newest_are_kept() {
    let (mut observer, mut sync) = agent().await;
    let sample = |ms| Sample {
        at: Tick(ms),
        key: KEY,
        outcome: Outcome::Dropped(DropReason::IngressDenied),
        notes: Notes::default(),
        source: None,
        target: None,
        generation: Generation(1),
    };
    sync.dataplane().samples = (0..2000).map(sample).collect();
    sync.dataplane().now = Tick(2999);
    observer.look(&mut sync);
    let denied = document(&mut observer, &mut sync, Show::Denied {});
    let rows = denied["denied"].as_array().unwrap();
    assert_eq!(rows.len(), SAMPLES_KEPT);
    let times: Vec<SystemTime> = rows
        .iter()
        .map(|row| humantime::parse_rfc3339(row["time"].as_str().unwrap()).unwrap())
        .collect();
    let ago = |time: &SystemTime| SystemTime::now().duration_since(*time).unwrap();
    assert_eq!(times[1].duration_since(times[0]).unwrap(), Duration::from_millis(1));
    // The last was a second ago when the document was made.
    let last = ago(times.last().unwrap());
    assert!((Duration::from_secs(1)..Duration::from_mins(1)).contains(&last), "{last:?}");
    assert_eq!(rows[0]["direction"], "ingress");
    assert_eq!(rows[0]["isolated_by"], serde_json::json!(["demo/deny"]));
    assert_eq!(rows[0]["source_pod"], "demo/a");
}

/// What is told of one denied packet from a to b, port 80, under the rules of policy `web`.
async fn denied_under(rules: &str, reason: DropReason) -> (Value, String) {
    let web = format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: web, \
         namespace: demo}}\nspec: {{podSelector: {{}}, policyTypes: [Ingress, Egress], {rules}}}\n"
    );
    let (mut observer, mut sync) = agent_of(&(PODS.to_owned() + &web)).await;
    let (source, target, generation) = (None, None, Generation(1));
    let (outcome, notes) = (Outcome::Dropped(reason), Notes::default());
    let sample = Sample { at: Tick(1), key: KEY, outcome, notes, source, target, generation };
    sync.dataplane().samples = vec![sample];
    let document = document(&mut observer, &mut sync, Show::Denied {});
    let text = crate::show::text(Show::Denied {}, &document);
    (document["denied"][0].clone(), text)
}

#[tokio::test]
async fn a_denied_packet_is_told_with_the_nearest_rule_and_what_of_it_failed() {
    let rules = "ingress: [{form: []}, {from: [{podSelector: {matchLabels: {app: c}}}], ports: \
                 [{port: 81}]}, {ports: [{port: 82}]}], egress: [{ports: [{port: 53, protocol: \
                 UDP}]}]";
    let (row, text) = denied_under(rules, DropReason::IngressDenied).await;
    assert_eq!(row["isolated_by"], serde_json::json!(["demo/deny", "demo/web"]));
    assert_eq!((&row["reason"], &row["direction"]), (&"ingress_denied".into(), &"ingress".into()));
    assert_eq!(row["allowed_now"], false);
    let wanted = serde_json::json!({"policy": "demo/web", "rule": 2, "failed": ["port"],
        "detail": ["82 wanted, is 80"]});
    assert_eq!(row["nearest"], wanted);
    assert_eq!(row["broken"], serde_json::json!([{"policy": "demo/web", "rule": 0}]));
    let told = "demo/web ingress[2]: port: 82 wanted, is 80; broken: demo/web ingress[0]\n";
    assert!(text.ends_with(told), "{text}");
    let (row, text) = denied_under(rules, DropReason::EgressDenied).await;
    assert_eq!(row["isolated_by"], serde_json::json!(["demo/web"]));
    assert_eq!(row["nearest"]["failed"], serde_json::json!(["protocol", "port"]));
    let told = "demo/web egress[0]: protocol: UDP wanted, is TCP; port: 53 wanted, is 80\n";
    assert!(text.ends_with(told), "{text}");
}

#[tokio::test]
async fn a_denied_packet_is_told_with_what_is_broken_outside_of_rules() {
    let (row, text) = denied_under("egress: 1", DropReason::EgressDenied).await;
    assert_eq!(row["problems"][0]["field"], "spec.egress");
    assert!(
        text.ends_with("NetworkPolicy demo/web: egress must be a list, not a number\n"),
        "{text}"
    );
}

#[tokio::test]
async fn a_denied_packet_that_would_pass_now_is_told_so() {
    let (row, text) = denied_under("egress: [{}]", DropReason::EgressDenied).await;
    assert_eq!((&row["allowed_now"], &row["nearest"]), (&true.into(), &Value::Null));
    assert!(text.ends_with("it is allowed now\n"), "{text}");
    // No rule at all is near.
    let (row, text) = denied_under("egress: []", DropReason::EgressDenied).await;
    assert_eq!((&row["allowed_now"], &row["nearest"]), (&false.into(), &Value::Null));
    assert!(text.ends_with("demo/web     -\n"), "{text}");
}

#[tokio::test]
async fn a_packet_that_found_no_room_is_told_so_and_no_policy_is_blamed() {
    for reason in [DropReason::ConnectionsLimit, DropReason::ConnectionsFull] {
        let (row, text) = denied_under("egress: []", reason).await;
        assert_eq!((&row["reason"], &row["direction"]), (&reason.label().into(), &"".into()));
        assert_eq!(
            (&row["isolated_by"], &row["allowed_now"]),
            (&Value::Array(vec![]), &false.into())
        );
        assert!(text.contains(reason.label()), "{text}");
    }
}

/// A worker denies a packet to pod a.
fn deny(sync: &mut Sync<FakeSwitch>) {
    let (policy, endpoints) = sync.dataplane().tables.as_ref().unwrap();
    let target = endpoints.place(KEY.source);
    let decision = policy.decide(&Query {
        egress: PolicySetId::NONE,
        target_class: target.class,
        ingress: target.sets.ingress,
        source_class: ClassId::NOTHING,
        service: Service::to(Protocol::Tcp, 80),
    });
    assert!(!decision.ingress.is_allow());
    policy.count(WorkerId(0), Direction::Ingress, decision.ingress);
}

#[tokio::test]
async fn metrics_name_the_policies_that_deny_unless_none_are_to_be_named() {
    let manifest = PODS.replace("matchLabels: {app: b}", "");
    let series = "lockgate_policy_denied_packets_total{direction=\"ingress\",\
                  kind=\"NetworkPolicy\",namespace=\"demo\",policy=\"deny\"}";
    for (policy_metrics_max, expected) in [(10, [true, true]), (0, [false, false])] {
        let node = Node { ports_max: 10, workers: 1, policy_metrics_max, ..Node::default() };
        let (mut observer, mut sync) = agent_on(node, &manifest).await;
        let seen = [1, 2].map(|count| {
            deny(&mut sync);
            let metrics = observer.answer(Question::Metrics, &mut sync).body;
            metrics.contains(&format!("{series} {count}\n"))
        });
        let metrics = observer.answer(Question::Metrics, &mut sync).body;
        assert_eq!(metrics.contains("lockgate_policy_denied_packets"), policy_metrics_max > 0);
        assert_eq!(seen, expected, "policy_metrics_max is {policy_metrics_max}");
    }
}

#[tokio::test]
async fn the_busy_share_is_of_the_time_between_two_looks() {
    let (mut observer, mut sync) = agent().await;
    let cells = std::sync::Arc::clone(&sync.dataplane().counters);
    cells.busy_nanoseconds.set(900);
    cells.total_nanoseconds.set(1000);
    observer.look(&mut sync);
    cells.busy_nanoseconds.set(1000);
    cells.total_nanoseconds.set(2000);
    observer.look(&mut sync);
    let shares = observer.shares();
    assert!((shares[0] - 0.1).abs() < 1e-9, "{shares:?}");
    let metrics = observer.answer(Question::Metrics, &mut sync).body;
    assert!(metrics.contains("lockgate_worker_busy_ratio{worker=\"0\"} 0.1\n"), "{metrics}");
    assert!(metrics.contains("interface=\"ea\""));
}

#[tokio::test]
async fn an_audited_packet_is_told_with_what_records_it_and_what_would_decide() {
    let calico = |kind: &str, name: &str, spec: &str| {
        format!(
            "---\napiVersion: projectcalico.org/v3\nkind: {kind}\nmetadata: {{name: {name}, \
             namespace: demo}}\nspec: {{tier: default, selector: all(), types: [Egress], {spec}}}\n"
        )
    };
    let watch = "egress: [{action: Log}, {action: Allow}]";
    let stop = "order: 10, egress: [{action: Deny}]";
    let open = "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: open, \
                namespace: demo}\nspec: {podSelector: {}, ingress: [{}]}\n";
    let more = open.to_owned()
        + &calico("NetworkPolicy", "default.watch", watch)
        + &calico("StagedNetworkPolicy", "default.stop", stop);
    let (mut observer, mut sync) = agent_of(&(PODS.to_owned() + &more)).await;
    let sample = Sample {
        at: Tick(1),
        key: KEY,
        outcome: Outcome::Opened,
        notes: Notes { logged: true, staged: true },
        source: None,
        target: None,
        generation: Generation(1),
    };
    sync.dataplane().samples = vec![sample];
    let document = document(&mut observer, &mut sync, Show::Audit {});
    let row = &document["audit"][0];
    assert_eq!((&row["outcome"], &row["source_pod"]), (&"opened".into(), &"demo/a".into()));
    let record = serde_json::json!({"tier": "default", "kind": "NetworkPolicy.projectcalico.org",
        "policy": "demo/default.watch", "direction": "egress", "rule": 0});
    assert_eq!(row["recorded_by"], serde_json::json!([record]));
    let would = serde_json::json!({"verdict": "deny", "direction": "egress", "isolated_by": [],
        "by": [{"policy": "demo/default.stop", "rule": 0}]});
    assert_eq!(row["staged"], would);
    let text = crate::show::text(Show::Audit {}, &document);
    let told = "opened   demo/default.watch egress[0]  deny by demo/default.stop egress[0]\n";
    assert!(text.ends_with(told), "{text}");
    // What was opened was not denied.
    let denied = self::document(&mut observer, &mut sync, Show::Denied {});
    assert_eq!(denied["denied"], serde_json::json!([]));
}
