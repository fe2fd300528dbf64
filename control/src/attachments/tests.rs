use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lockgate_dataplane::ids::Mac;
use serde_json::{Value, json};
use tokio::sync::oneshot::error::TryRecvError;

use super::*;
use crate::attach::InterfaceName;
use crate::cluster::Cluster;
use crate::fake::{FakeLinks, FakeSwitch};
use crate::manifest::read_text;
use crate::metrics::ApplyLatency;
use crate::ports::Node;
use crate::source::{News, Source};
use crate::watch::{Heard, PodFacts, RESOURCES, There, What as Said};

const NODE: &str = "here";

struct Bench {
    directory: tempfile::TempDir,
    sync: Sync<FakeSwitch>,
    links: FakeLinks,
    taken: Arc<AtomicU64>,
    attachments: Attachments,
    now: Instant,
}

type Answer = oneshot::Receiver<String>;

fn sync(switch: FakeSwitch) -> Sync<FakeSwitch> {
    let node = Node { ports_max: 10, name: Some(NODE.into()), ..Node::default() };
    let source = Source::Cluster(Box::new(Cluster::new(NODE)));
    Sync::new(node, source, switch, ApplyLatency::new().unwrap())
}

fn attach(name: &str, interface: &str, address: &str) -> Attach {
    Attach {
        container: format!("sandbox-of-{name}-at-{interface}"),
        ifname: InterfaceName::new("eth0").unwrap(),
        namespace: "demo".to_owned(),
        pod: name.to_owned(),
        uid: Some(format!("{name}-uid")),
        netns: "/run/netns/x".to_owned(),
        interface: InterfaceName::new(interface).unwrap(),
        mac: Mac([2, 0, 0, 0, 0, 1]),
        addresses: vec![address.parse().unwrap()],
        timeout_ms: 1000,
    }
}

fn of(attach: &Attach) -> Attachment {
    Attachment { container: attach.container.clone(), ifname: attach.ifname.clone() }
}

/// As an agent opens it that is the one of its node.
fn opened(store: Store, is_there: impl Fn(&str) -> bool) -> Attachments {
    let found = store.read().unwrap();
    let mut opened = Attachments::open(store, found, is_there);
    opened.remove_lost();
    opened
}

impl Bench {
    /// With interfaces ea and eb, a cluster that was read, and no pod.
    fn new() -> Self {
        let mut bench = Self::unread();
        bench.read();
        bench
    }

    fn unread() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let switch = FakeSwitch::quick();
        let taken = Arc::clone(&switch.taken);
        let store = Store::open(&directory.path().join("attachments")).unwrap();
        let attachments = opened(store, |_| true);
        let (links, now) = (FakeLinks::with(&["ea", "eb"]), Instant::now());
        Self { directory, sync: sync(switch), links, taken, attachments, now }
    }

    /// Every resource has been read.
    fn read(&mut self) {
        for resource in RESOURCES {
            self.hear(resource.kind, Said::Whole);
        }
    }

    fn hear(&mut self, kind: ObjectKind, what: Said) {
        self.sync.learn(News::Heard(vec![Heard::Of(kind, what)], Instant::now()));
    }

    fn pod(&mut self, name: &str) {
        let text = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: demo, uid: {name}-uid}}"
        );
        let object = read_text("", &text).unwrap().objects.remove(0);
        let facts = PodFacts { node: NODE.to_owned(), ..PodFacts::default() };
        let there = There { object, problems: Vec::new(), facts, version: String::new() };
        self.hear(ObjectKind::Pod, Said::There(Box::new(there)));
    }

    fn ask(&mut self, question: Question) -> Answer {
        let (reply, answer) = oneshot::channel();
        self.attachments.take(Wish { question, reply }, &mut self.sync, self.now);
        answer
    }

    async fn turn(&mut self) {
        for _ in 0..5 {
            self.sync.advance(&mut self.links).await;
            self.attachments.settle(&mut self.sync, self.now);
        }
    }

    async fn attach(&mut self, wanted: Attach) -> Value {
        let mut answer = self.ask(Question::Attach(wanted));
        self.turn().await;
        said(&mut answer).unwrap()
    }

    fn on_disk(&self) -> usize {
        std::fs::read_dir(self.directory.path().join("attachments")).unwrap().count()
    }
}

/// The answer, if there is one.
fn said(answer: &mut Answer) -> Option<Value> {
    match answer.try_recv() {
        Ok(line) => Some(serde_json::from_str(&line).unwrap()),
        Err(TryRecvError::Empty) => None,
        Err(TryRecvError::Closed) => panic!("nobody will answer"),
    }
}

fn message(answer: &Value) -> &str {
    answer["error"]["message"].as_str().unwrap_or_else(|| panic!("{answer}"))
}

#[tokio::test]
async fn an_attachment_is_answered_when_every_worker_judges_by_a_snapshot_that_has_it() {
    let mut bench = Bench::new();
    bench.turn().await;
    bench.taken.store(1, Ordering::Relaxed);
    bench.pod("a");
    let mut answer = bench.ask(Question::Attach(attach("a", "ea", "10.0.0.1")));
    bench.turn().await;
    assert_eq!(said(&mut answer), None, "workers judge by the first snapshot");
    bench.taken.store(2, Ordering::Relaxed);
    bench.turn().await;
    assert_eq!(said(&mut answer), Some(json!({"generation": 2})));
    let placed = bench.sync.placed().attachments.len();
    assert_eq!((placed, bench.on_disk()), (1, 1));
}

#[tokio::test]
async fn snapshots_that_follow_each_other_do_not_keep_an_attachment_waiting() {
    let mut bench = Bench::new();
    bench.turn().await;
    bench.taken.store(1, Ordering::Relaxed);
    bench.pod("a");
    let mut answer = bench.ask(Question::Attach(attach("a", "ea", "10.0.0.1")));
    bench.turn().await;
    // The workers have taken the second when the third is published.
    bench.taken.store(2, Ordering::Relaxed);
    bench.pod("b");
    let _waits = bench.ask(Question::Attach(attach("b", "eb", "10.0.0.2")));
    bench.turn().await;
    assert_eq!(bench.sync.numbers().1, Generation(3));
    assert_eq!(said(&mut answer), Some(json!({"generation": 2})));
}

#[tokio::test]
async fn who_waits_too_long_hears_why_and_nothing_is_left() {
    let late = Duration::from_secs(2);
    let mut unread = Bench::unread();
    let mut answer = unread.ask(Question::Attach(attach("a", "ea", "10.0.0.1")));
    unread.turn().await;
    assert_eq!(said(&mut answer), None);
    unread.now += late;
    unread.turn().await;
    let said_unread = said(&mut answer).unwrap();
    assert_eq!(message(&said_unread), "the cluster's namespaces were not read yet");
    assert_eq!(said_unread["error"]["code"], 11);

    let mut unknown = Bench::new();
    let mut answer = unknown.ask(Question::Attach(attach("a", "ea", "10.0.0.1")));
    unknown.now += late;
    unknown.turn().await;
    assert!(message(&said(&mut answer).unwrap()).contains("has not told of pod demo/a"));

    let mut missing = Bench::new();
    missing.pod("a");
    let wanted = attach("a", "gone", "10.0.0.1");
    let mut answer = missing.ask(Question::Attach(wanted.clone()));
    missing.turn().await;
    missing.now += late;
    missing.turn().await;
    let answer = said(&mut answer).unwrap();
    assert!(message(&answer).contains("interface gone does not exist"), "{answer}");
    // The plugin takes back what it began.
    let mut answer = missing.ask(Question::Detach(of(&wanted)));
    missing.turn().await;
    assert_eq!(said(&mut answer), Some(json!({"interface": "gone"})));
    assert_eq!((missing.on_disk(), missing.attachments.all().count()), (0, 0));
}

#[tokio::test]
async fn a_detachment_is_answered_when_the_port_is_gone() {
    let mut bench = Bench::new();
    bench.pod("a");
    let wanted = attach("a", "ea", "10.0.0.1");
    bench.attach(wanted.clone()).await;
    bench.taken.store(1, Ordering::Relaxed);
    let mut answer = bench.ask(Question::Detach(of(&wanted)));
    bench.turn().await;
    assert_eq!(said(&mut answer), None, "workers still send there");
    assert_eq!(bench.on_disk(), 1);
    bench.taken.store(u64::MAX, Ordering::Relaxed);
    bench.turn().await;
    assert_eq!(said(&mut answer), Some(json!({"interface": "ea"})));
    assert_eq!((bench.on_disk(), bench.sync.placed().attachments.len()), (0, 0));
    // Again, it is nobody's.
    let mut answer = bench.ask(Question::Detach(of(&wanted)));
    bench.turn().await;
    assert_eq!(said(&mut answer), Some(json!({})));
}

#[tokio::test]
async fn a_check_compares_what_the_runtime_remembers() {
    let mut bench = Bench::new();
    bench.pod("a");
    let wanted = attach("a", "ea", "10.0.0.1");
    let check = Check {
        container: wanted.container.clone(),
        ifname: wanted.ifname.clone(),
        interface: wanted.interface.clone(),
        mac: wanted.mac,
        addresses: wanted.addresses.clone(),
    };
    let mut unknown = bench.ask(Question::Check(check.clone()));
    let unknown = said(&mut unknown).unwrap();
    assert_eq!(unknown["error"]["code"], 3, "{unknown}");
    bench.attach(wanted).await;
    let mut good = bench.ask(Question::Check(check.clone()));
    assert_eq!(said(&mut good), Some(json!({})));
    for (wrong, what) in [
        (Check { interface: InterfaceName::new("eb").unwrap(), ..check.clone() }, "interface"),
        (Check { mac: Mac([2; 6]), ..check.clone() }, "MAC"),
        (Check { addresses: Vec::new(), ..check.clone() }, "address"),
    ] {
        let mut answer = bench.ask(Question::Check(wrong));
        let answer = said(&mut answer).unwrap();
        assert!(message(&answer).starts_with(&format!("its {what} is ")), "{answer}");
    }
}

#[tokio::test]
async fn a_collection_takes_what_is_not_named() {
    let mut bench = Bench::new();
    bench.pod("a");
    bench.pod("b");
    let (a, b) = (attach("a", "ea", "10.0.0.1"), attach("b", "eb", "10.0.0.2"));
    bench.attach(a.clone()).await;
    bench.attach(b.clone()).await;
    let mut answer = bench.ask(Question::Gc { valid: vec![of(&a)] });
    bench.turn().await;
    let gone = json!({"container": b.container, "ifname": "eth0", "interface": "eb"});
    assert_eq!(said(&mut answer), Some(json!({"detached": [gone]})));
    let left: Vec<&str> = bench.attachments.all().map(|one| one.pod.as_str()).collect();
    assert_eq!(left, ["a"]);
}

#[tokio::test]
async fn a_successor_has_the_same_pods_where_their_interfaces_are_still_there() {
    let mut bench = Bench::new();
    bench.pod("a");
    bench.pod("b");
    bench.attach(attach("a", "ea", "10.0.0.1")).await;
    bench.attach(attach("b", "eb", "10.0.0.2")).await;
    // A write that was cut off, one that was whole and never took its place, and what is no
    // attachment. Nobody was told of the second one, and its address may be another's by now.
    let at = bench.directory.path().join("attachments");
    std::fs::write(at.join("lg0.new"), "{").unwrap();
    let untold = serde_json::to_vec(&attach("untold", "ea", "10.0.0.9")).unwrap();
    std::fs::write(at.join("lg2.new"), untold).unwrap();
    std::fs::write(at.join("lg1"), "{").unwrap();
    bench.sync = sync(FakeSwitch::quick());
    let store = Store::open(&at).unwrap();
    bench.attachments = opened(store, |name| name == "ea");
    let kept: Vec<&str> = bench.attachments.all().map(|one| one.pod.as_str()).collect();
    assert_eq!(kept, ["a"]);
    bench.attachments.restore(&mut bench.sync);
    bench.pod("a");
    bench.pod("b");
    bench.turn().await;
    assert_eq!(bench.sync.placed().attachments.len(), 0, "the cluster is not read yet");
    bench.read();
    bench.turn().await;
    assert_eq!(bench.sync.placed().attachments.len(), 1);
    assert_eq!(bench.on_disk(), 4, "what cannot be read is left, the other pod's file is gone");
}

#[test]
fn what_counts_no_more_and_cannot_be_removed_keeps_no_agent_from_starting() {
    let directory = tempfile::tempdir().unwrap();
    let (gone, stays) = (attach("gone", "ea", "10.0.0.1"), attach("stays", "eb", "10.0.0.2"));
    for (name, one) in [("one", &gone), ("two", &stays)] {
        std::fs::write(directory.path().join(name), serde_json::to_vec(one).unwrap()).unwrap();
    }
    // What stands in its file's place can be removed by nobody who removes files.
    let name = crate::cni::names::of(&of(&gone)).unwrap();
    std::fs::create_dir(directory.path().join(name.as_str())).unwrap();
    let store = Store::open(directory.path()).unwrap();
    let opened = opened(store, |interface| interface == "eb");
    let kept: Vec<&str> = opened.all().map(|one| one.pod.as_str()).collect();
    assert_eq!(kept, ["stays"]);
}

#[tokio::test]
async fn a_sandbox_that_is_made_anew_takes_the_place_of_the_old_one() {
    let mut bench = Bench::new();
    bench.pod("a");
    let (old, new) = (attach("a", "ea", "10.0.0.1"), attach("a", "eb", "10.0.0.2"));
    bench.attach(old.clone()).await;
    assert!(bench.attach(new).await["generation"].is_u64());
    let mut answer = bench.ask(Question::Detach(of(&old)));
    bench.turn().await;
    assert_eq!(said(&mut answer), Some(json!({"interface": "ea"})));
    let addresses = &bench.sync.source().inventory().pod("demo", "a").unwrap().addresses;
    assert_eq!(**addresses, ["10.0.0.2".parse::<std::net::IpAddr>().unwrap()]);
}

#[tokio::test]
async fn a_second_interface_of_one_pod_is_refused_with_the_remedy() {
    let mut bench = Bench::new();
    bench.pod("a");
    let first = attach("a", "ea", "10.0.0.1");
    bench.attach(first.clone()).await;
    let second = Attach { ifname: InterfaceName::new("net1").unwrap(), ..first };
    let mut answer = bench.ask(Question::Attach(second));
    let answer = said(&mut answer).unwrap();
    assert!(message(&answer).contains("has its port at eth0 already"), "{answer}");
}

#[tokio::test]
async fn an_address_that_an_attached_pod_has_is_refused_and_its_pod_named() {
    let mut bench = Bench::new();
    bench.pod("a");
    bench.pod("b");
    let first = attach("a", "ea", "10.0.0.1");
    assert!(bench.attach(first).await["generation"].is_u64());
    let second = attach("b", "eb", "10.0.0.1");
    let mut answer = bench.ask(Question::Attach(second.clone()));
    let answer = said(&mut answer).unwrap();
    assert_eq!(answer["error"]["code"], 11, "{answer}");
    let words = "gave demo/b the address 10.0.0.1, which pod demo/a has, attached at ea";
    assert!(message(&answer).contains(words), "{answer}");
    // What the plugin undoes then is its own alone.
    bench.ask(Question::Detach(of(&second)));
    bench.turn().await;
    assert_eq!((bench.sync.placed().attachments.len(), bench.on_disk()), (1, 1));
    assert!(bench.attachments.all().any(|one| one.pod == "a"));
    // One whose interface is gone gives way.
    bench.links.take("ea");
    bench.sync.links_changed();
    bench.turn().await;
    let answer = bench.attach(second).await;
    assert!(answer["generation"].is_u64(), "{answer}");
    assert_eq!(bench.sync.placed().attachments.len(), 1);
}

#[tokio::test]
async fn another_uid_than_the_pods_is_named() {
    let mut bench = Bench::new();
    bench.pod("a");
    let wanted = Attach { uid: Some("other".to_owned()), ..attach("a", "ea", "10.0.0.1") };
    let mut answer = bench.ask(Question::Attach(wanted));
    bench.turn().await;
    bench.now += Duration::from_secs(2);
    bench.turn().await;
    let answer = said(&mut answer).unwrap();
    assert!(message(&answer).contains("of the UID other"), "{answer}");
    assert!(message(&answer).contains("of one of the UID a-uid"), "{answer}");
    let details = answer["error"]["details"].as_str().unwrap();
    assert!(details.contains("K8S_POD_UID"), "{answer}");
}

#[tokio::test]
async fn a_disk_that_cannot_be_written_attaches_nothing() {
    let mut bench = Bench::new();
    bench.pod("a");
    std::fs::remove_dir_all(bench.directory.path().join("attachments")).unwrap();
    let mut answer = bench.ask(Question::Attach(attach("a", "ea", "10.0.0.1")));
    let answer = said(&mut answer).unwrap();
    assert_eq!(answer["error"]["code"], 5, "{answer}");
    assert!(message(&answer).contains("attachments/lg"), "{answer}");
    let details = answer["error"]["details"].as_str().unwrap();
    assert!(details.contains("setting cluster.attachments"), "{answer}");
    bench.turn().await;
    assert_eq!(bench.sync.placed().attachments.len(), 0);
}

#[tokio::test]
async fn an_agent_that_has_read_everything_is_ready() {
    let mut bench = Bench::unread();
    let mut answer = bench.ask(Question::Ready {});
    // The runtime tries an ADD again; 50 is what STATUS makes of it.
    assert_eq!(said(&mut answer).unwrap()["error"]["code"], 11);
    bench.read();
    bench.turn().await;
    let mut answer = bench.ask(Question::Ready {});
    assert_eq!(said(&mut answer), Some(json!({})));
}

#[test]
fn what_another_agent_attached_and_detached_meanwhile_is_found_again() {
    let mut bench = Bench::new();
    let store = Store::open(&bench.directory.path().join("handed-over")).unwrap();
    let [kept, gone, new] = [("a", "ea"), ("b", "eb"), ("c", "ec")]
        .map(|(name, interface)| attach(name, interface, "10.0.0.9"));
    for one in [&kept, &gone] {
        store.write(&of(one), one).unwrap();
    }
    let mut attachments = opened(store.clone(), |_| true);
    store.remove(&of(&gone)).unwrap();
    store.write(&of(&new), &new).unwrap();
    attachments.renew(store.read().unwrap(), |_| true, &mut bench.sync);
    let all: Vec<&Attach> = attachments.all().collect();
    assert_eq!(all.len(), 2);
    assert!(all.contains(&&kept) && all.contains(&&new), "{all:?}");
}

#[test]
fn a_successor_that_has_not_taken_over_removes_nothing_from_the_disk() {
    let mut bench = Bench::new();
    let store = Store::open(&bench.directory.path().join("beside")).unwrap();
    let one = attach("a", "ea", "10.0.0.1");
    store.write(&of(&one), &one).unwrap();
    let mut beside = Attachments::open(store.clone(), store.read().unwrap(), |_| false);
    assert_eq!((beside.all().count(), store.read().unwrap().len()), (0, 1));
    // Once it has, what is not there is its own to remove.
    beside.renew(store.read().unwrap(), |_| false, &mut bench.sync);
    assert_eq!(store.read().unwrap().len(), 0);
}

#[tokio::test]
async fn of_two_sandboxes_of_one_pod_the_newer_is_restored_whatever_they_are_called() {
    for (older, newer) in [("sandbox-1", "sandbox-2"), ("sandbox-2", "sandbox-1")] {
        let mut bench = Bench::new();
        bench.pod("a");
        let store = Store::open(&bench.directory.path().join("two")).unwrap();
        let named = |name: &str, one: Attach| Attach { container: name.to_owned(), ..one };
        let old = named(older, attach("a", "ea", "10.0.0.1"));
        let new = named(newer, attach("a", "eb", "10.0.0.2"));
        store.write(&of(&old), &old).unwrap();
        std::thread::sleep(Duration::from_millis(20)); // a file's time is no finer than the kernel's
        store.write(&of(&new), &new).unwrap();
        bench.attachments = opened(store, |_| true);
        bench.attachments.restore(&mut bench.sync);
        let address = |bench: &Bench| {
            bench.sync.source().inventory().pod("demo", "a").unwrap().addresses.to_vec()
        };
        assert_eq!(address(&bench), ["10.0.0.2".parse::<std::net::IpAddr>().unwrap()]);
        // The newer one is undone: the pod has the older one again.
        let _answer = bench.ask(Question::Detach(of(&new)));
        bench.turn().await;
        assert_eq!(address(&bench), ["10.0.0.1".parse::<std::net::IpAddr>().unwrap()]);
    }
}

#[tokio::test]
async fn a_pod_made_anew_has_its_own_sandbox_though_the_old_ones_is_found_later() {
    let mut bench = Bench::new();
    bench.pod("a");
    let new = attach("a", "eb", "10.0.0.2");
    let gone = Some("an-earlier-uid".to_owned());
    let old = Attach { uid: gone, ..attach("a", "ea", "10.0.0.1") };
    bench.attach(new).await;
    let _answer = bench.ask(Question::Attach(old.clone()));
    let interface = |bench: &Bench| {
        let inventory = bench.sync.source().inventory();
        inventory.pod("demo", "a").unwrap().interface.as_deref().map(str::to_owned)
    };
    assert_eq!(interface(&bench).as_deref(), Some("eb"));
    let _answer = bench.ask(Question::Detach(of(&old)));
    bench.turn().await;
    assert_eq!(interface(&bench).as_deref(), Some("eb"));
}
