use std::fs;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lockgate_dataplane::ids::Mac;

use super::*;
use crate::attach::{HostPortPlan, InterfaceName};
use crate::fake::{Done, FakeLinks, FakeSwitch};
use crate::files::Files;
use crate::watch_dir::{Changed, Settled};

struct Bench {
    directory: tempfile::TempDir,
    sync: Sync<FakeSwitch>,
    links: FakeLinks,
    taken: Arc<AtomicU64>,
}

fn pod(name: &str, address: &str, interface: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  namespace: demo\n  labels: {{app: \
         {name}}}\n  annotations: {{lockgate.dev/interface: {interface}}}\nstatus: {{hostIP: \
         192.0.2.1, podIPs: [{{ip: {address}}}]}}\n"
    )
}

const DENY: &str = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: deny, \
                    namespace: demo}\nspec: {podSelector: {}, policyTypes: [Ingress]}\n";

impl Bench {
    /// Two pods, a and b, on interfaces ea and eb.
    fn new(switch: FakeSwitch, links: FakeLinks) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("a.yaml"), pod("a", "10.0.0.1", "ea")).unwrap();
        fs::write(directory.path().join("b.yaml"), pod("b", "10.0.0.2", "eb")).unwrap();
        let files = Files::read(directory.path()).unwrap();
        let taken = Arc::clone(&switch.taken);
        let node = Node { ports_max: 10, ..Node::default() };
        let sync = Sync::new(node, files, switch, ApplyLatency::new().unwrap());
        Self { directory, sync, links, taken }
    }

    async fn advance(&mut self) -> Vec<Done> {
        // Until nothing more happens: bounded, or a loop would hang the test.
        for _ in 0..5 {
            self.sync.advance(&mut self.links).await;
        }
        std::mem::take(&mut self.sync.dataplane().done)
    }

    fn write(&mut self, name: &str, text: &str) {
        fs::write(self.directory.path().join(name), text).unwrap();
        self.settle(name);
    }

    fn remove(&mut self, name: &str) {
        fs::remove_file(self.directory.path().join(name)).unwrap();
        self.settle(name);
    }

    fn settle(&mut self, name: &str) {
        let changed = Changed::Files([name.to_owned()].into());
        self.sync.learn(News::Settled(Settled { changed, at: Instant::now() }));
    }

    fn problems(&mut self) -> Vec<String> {
        let errors = self.sync.problems().into_iter().filter(|p| p.severity == Severity::Error);
        errors.map(|problem| problem.to_string()).collect()
    }
}

fn added(name: &str) -> Done {
    Done::Added(name.to_owned())
}

fn published(generation: u64, epoch: u64, policies: usize, attached: usize) -> Done {
    Done::Published { generation, epoch, policies, attached }
}

#[tokio::test]
async fn ports_are_added_before_the_first_snapshot_that_uses_them() {
    let mut bench = Bench::new(FakeSwitch::quick(), FakeLinks::with(&["ea", "eb"]));
    assert!(!bench.sync.is_ready());
    assert_eq!(bench.advance().await, [added("ea"), added("eb"), published(1, 1, 0, 2)]);
    assert!(bench.sync.is_ready());
    assert_eq!(bench.advance().await, []);
}

#[tokio::test]
async fn a_changed_policy_moves_the_epoch_and_its_latency_is_counted() {
    let mut bench = Bench::new(FakeSwitch::quick(), FakeLinks::with(&["ea", "eb"]));
    bench.advance().await;
    assert_eq!(bench.sync.latency().count(), 0, "the start is no change");
    bench.write("p.yaml", DENY);
    assert_eq!(bench.advance().await, [published(2, 2, 1, 2)]);
    assert_eq!(bench.sync.latency().count(), 1);
    bench.write("p.yaml", &format!("# the same\n{DENY}"));
    assert_eq!(bench.advance().await, [], "nothing that is enforced has changed");
    bench.remove("p.yaml");
    assert_eq!(bench.advance().await, [published(3, 3, 0, 2)]);
    assert_eq!(bench.sync.latency().count(), 2);
}

#[tokio::test]
async fn objects_are_looked_at_for_problems_after_the_change_is_in_force_and_for_no_scrape() {
    let mut bench = Bench::new(FakeSwitch::default(), FakeLinks::with(&["ea", "eb"]));
    bench.advance().await;
    bench.taken.store(1, Ordering::Relaxed);
    bench.advance().await;
    bench.write("p.yaml", &DENY.replace("podSelector: {}", "podSelector: 1"));
    bench.advance().await;
    assert!(bench.sync.is_pending());
    assert_eq!(bench.sync.problem_count(Severity::Error), 0, "workers wait for nobody's words");
    bench.taken.store(u64::MAX, Ordering::Relaxed);
    bench.advance().await;
    assert_eq!(bench.sync.problem_count(Severity::Error), 1);
    bench.write("p.yaml", DENY);
    bench.advance().await;
    assert_eq!(bench.sync.problem_count(Severity::Error), 1, "not a second has passed");
    assert_eq!(bench.problems(), [""; 0], "whoever asks for them gets those of now");
    assert_eq!(bench.sync.problem_count(Severity::Error), 0);
}

#[tokio::test]
async fn changes_during_a_publication_are_gathered_into_the_next() {
    let mut bench = Bench::new(FakeSwitch::default(), FakeLinks::with(&["ea", "eb"]));
    assert_eq!(bench.advance().await.len(), 3);
    assert!(bench.sync.is_pending() && !bench.sync.is_ready());
    bench.write("p.yaml", DENY);
    bench.remove("b.yaml");
    assert_eq!(bench.advance().await, [], "the first is still on its way");
    bench.taken.store(1, Ordering::Relaxed);
    assert_eq!(bench.advance().await, [published(2, 2, 1, 1)]);
    assert_eq!(bench.sync.latency().count(), 0, "not in force yet");
    bench.taken.store(2, Ordering::Relaxed);
    assert_eq!(bench.advance().await, [Done::Removed(2)]);
    assert_eq!(bench.sync.latency().count(), 1);
}

#[tokio::test]
async fn a_port_is_removed_only_when_the_snapshot_without_it_is_in_force() {
    let mut bench = Bench::new(FakeSwitch::default(), FakeLinks::with(&["ea", "eb"]));
    bench.advance().await;
    bench.taken.store(1, Ordering::Relaxed);
    bench.remove("a.yaml");
    assert_eq!(bench.advance().await, [published(2, 2, 0, 1)]);
    bench.taken.store(2, Ordering::Relaxed);
    assert_eq!(bench.advance().await, [Done::Removed(1)]);
}

#[tokio::test]
async fn a_missing_interface_is_a_problem_and_is_attached_when_it_appears() {
    let mut bench = Bench::new(FakeSwitch::quick(), FakeLinks::with(&["ea"]));
    assert_eq!(bench.advance().await, [added("ea"), published(1, 1, 0, 1)]);
    let problems = bench.problems();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].contains("Pod demo/b") && problems[0].contains("interface eb does not"));
    assert!(bench.sync.is_ready());
    bench.links.put("eb", 7);
    bench.sync.links_changed();
    assert_eq!(bench.advance().await, [added("eb"), published(2, 2, 0, 2)]);
    assert_eq!(bench.problems(), [""; 0]);
}

#[tokio::test]
async fn an_interface_made_anew_is_closed_and_waits_until_its_old_port_is_gone() {
    let mut bench = Bench::new(FakeSwitch::default(), FakeLinks::with(&["ea", "eb"]));
    bench.advance().await;
    bench.taken.store(1, Ordering::Relaxed);
    bench.links.asked();
    bench.links.put("eb", 99);
    bench.sync.links_changed();
    assert_eq!(bench.advance().await, [published(2, 2, 0, 1)]);
    assert_eq!(bench.links.asked(), ["sweep ", "close eb"]);
    bench.taken.store(u64::MAX, Ordering::Relaxed);
    let done = bench.advance().await;
    assert_eq!(done, [Done::Removed(2), added("eb"), published(3, 3, 0, 2)]);
    assert_eq!(bench.links.asked(), ["close eb", "up eb"]);
}

#[tokio::test]
async fn an_interface_that_vanishes_takes_its_pins_along() {
    let mut bench = Bench::new(FakeSwitch::quick(), FakeLinks::with(&["ea", "eb"]));
    bench.advance().await;
    bench.links.take("ea");
    bench.sync.links_changed();
    assert_eq!(bench.advance().await, [published(2, 2, 0, 1), Done::Removed(1)]);
    assert_eq!(bench.links.asked().last().map(String::as_str), Some("sweep "));
    assert!(bench.problems()[0].contains("interface ea does not exist"));
}

#[tokio::test]
async fn a_mac_that_is_said_later_moves_no_epoch() {
    let mut bench = Bench::new(FakeSwitch::quick(), FakeLinks::with(&["ea", "eb"]));
    bench.advance().await;
    let text = pod("a", "10.0.0.1", "ea, lockgate.dev/mac: \"02:00:00:00:00:09\"");
    bench.write("a.yaml", &text);
    assert_eq!(bench.advance().await, [published(2, 1, 0, 2)]);
    let macs = bench.sync.placed().attachments.iter().map(|a| a.mac).collect::<Vec<_>>();
    assert_eq!(macs[0], Mac([2, 0, 0, 0, 0, 9]));
}

#[tokio::test]
async fn a_switch_that_refuses_a_port_is_asked_again() {
    let mut refusing = FakeSwitch::quick();
    refusing.refuse_ports = true;
    let mut bench = Bench::new(refusing, FakeLinks::with(&["ea", "eb"]));
    assert_eq!(bench.advance().await, [published(1, 1, 0, 0)]);
    assert_eq!(bench.problems().len(), 2);
    bench.sync.dataplane().refuse_ports = false;
    bench.sync.links_changed();
    assert_eq!(bench.advance().await, [added("ea"), added("eb"), published(2, 2, 0, 2)]);
}

#[tokio::test]
async fn one_port_more_than_fit_is_refused_with_the_setting() {
    let mut bench = Bench::new(FakeSwitch::quick(), FakeLinks::with(&["ea", "eb"]));
    bench.sync.node.ports_max = 1;
    assert_eq!(bench.advance().await, [added("ea"), published(1, 1, 0, 1)]);
    assert!(bench.problems()[0].contains("raise ports_max"), "{:?}", bench.problems());
    assert_eq!(bench.links.asked(), ["close ea", "up ea", "close eb", "down eb"]);
}

#[tokio::test]
async fn node_addresses_are_those_set_or_those_of_local_pods() {
    let mut bench = Bench::new(FakeSwitch::quick(), FakeLinks::with(&["ea", "eb"]));
    bench.advance().await;
    assert_eq!(bench.sync.placed().node_addresses, ["192.0.2.1".parse::<IpAddr>().unwrap()]);
    let set: Vec<IpAddr> = vec!["198.51.100.1".parse().unwrap()];
    bench.sync.node.addresses.clone_from(&set);
    bench.sync.links_changed();
    assert_eq!(bench.advance().await, [published(2, 2, 0, 2)], "own-node verdicts may differ");
    assert_eq!(bench.sync.placed().node_addresses, set);
}

#[tokio::test]
async fn workers_that_take_no_snapshot_are_a_problem_and_do_not_stop_the_next() {
    let mut bench = Bench::new(FakeSwitch::default(), FakeLinks::with(&["ea", "eb"]));
    bench.advance().await;
    bench.sync.pending.as_mut().unwrap().since = Instant::now().checked_sub(STALL * 2).unwrap();
    assert!(bench.problems()[0].contains("snapshot 1 is not in force"), "{:?}", bench.problems());
    bench.write("p.yaml", DENY);
    assert_eq!(bench.advance().await, [published(2, 2, 1, 2)]);
}

#[tokio::test]
async fn a_refused_interface_is_closed_before_it_is_refused_and_down_after() {
    let mut links = FakeLinks::with(&["ea", "eb"]);
    links.link("ea").mtu = 9000;
    links.link("eb").is_veth = false;
    let mut bench = Bench::new(FakeSwitch::quick(), links);
    assert_eq!(bench.advance().await, [published(1, 1, 0, 0)]);
    assert_eq!(bench.links.asked(), ["close ea", "down ea"], "what is no veth is not touched");
    assert!(bench.problems()[0].contains("MTU 9000"), "{:?}", bench.problems());
    bench.sync.tick();
    assert_eq!(bench.advance().await, [], "nothing is new");
    assert_eq!(bench.links.asked(), ["close ea", "down ea"], "it is tried again");
    bench.links.link("ea").mtu = 1500;
    bench.sync.links_changed();
    assert_eq!(bench.advance().await, [added("ea"), published(2, 2, 0, 1)]);
    assert_eq!(bench.links.asked(), ["close ea", "up ea"]);
}

#[tokio::test]
async fn what_was_never_tried_comes_before_what_was_refused() {
    let mut links = FakeLinks::with(&["ea", "ez"]);
    links.link("ea").mtu = 9000;
    let mut bench = Bench::new(FakeSwitch::quick(), links);
    bench.advance().await;
    bench.links.asked();
    bench.write("b.yaml", &pod("b", "10.0.0.2", "ez"));
    assert_eq!(bench.advance().await, [added("ez"), published(2, 2, 0, 1)]);
    assert_eq!(bench.links.asked(), ["close ez", "up ez", "close ea", "down ea"]);
}

#[tokio::test]
async fn a_far_ends_mac_that_changes_is_seen_at_the_tick_and_moves_no_epoch() {
    let mut bench = Bench::new(FakeSwitch::quick(), FakeLinks::with(&["ea", "eb"]));
    bench.advance().await;
    let mac = Mac([2, 0, 0, 0, 0, 7]);
    bench.links.macs.insert("eb".to_owned(), mac);
    bench.sync.links_changed();
    assert_eq!(bench.advance().await, [], "no event tells of it");
    bench.sync.tick();
    assert_eq!(bench.advance().await, [published(2, 1, 0, 2)]);
    assert_eq!(bench.sync.placed().attachments[1].mac, mac);
}

#[tokio::test]
async fn an_mtu_that_changes_is_seen_at_once_and_one_too_large_ends_the_port() {
    let mut bench = Bench::new(FakeSwitch::quick(), FakeLinks::with(&["ea", "eb"]));
    bench.advance().await;
    bench.links.link("eb").mtu = 1400;
    bench.sync.links_changed();
    assert_eq!(bench.advance().await, [published(2, 1, 0, 2)]);
    assert_eq!(bench.sync.placed().attachments[1].mtu, 1400);
    bench.links.asked();
    bench.links.link("eb").mtu = 9000;
    bench.sync.links_changed();
    assert_eq!(bench.advance().await, [published(3, 2, 0, 1), Done::Removed(2)]);
    assert!(bench.problems()[0].contains("MTU 9000"), "{:?}", bench.problems());
    assert_eq!(bench.links.asked(), ["close eb", "close eb", "down eb"]);
    bench.links.link("eb").mtu = 1500;
    bench.sync.links_changed();
    assert_eq!(bench.advance().await, [added("eb"), published(4, 3, 0, 2)]);
}

#[tokio::test]
async fn an_interface_with_a_new_name_waits_until_its_old_port_is_gone() {
    let mut bench = Bench::new(FakeSwitch::quick(), FakeLinks::with(&["ea", "eb"]));
    bench.advance().await;
    bench.links.asked();
    bench.links.take("eb");
    bench.links.put("ec", 2);
    bench.write("b.yaml", &pod("b", "10.0.0.2", "ec"));
    let done = bench.advance().await;
    assert_eq!(done, [published(2, 2, 0, 1), Done::Removed(2), added("ec"), published(3, 3, 0, 2)]);
    let asked = bench.links.asked();
    assert_eq!(asked, ["close ec", "close ec", "up ec"], "nothing has gone: nothing is swept");
}

/// A host port beside the two pods.
async fn with_host() -> Bench {
    let mut bench = Bench::new(FakeSwitch::quick(), FakeLinks::with(&["ea", "eb"]));
    bench.sync.node.host = Some(HostPortPlan {
        interface: InterfaceName::new("eh").unwrap(),
        peer: InterfaceName::new("ep").unwrap(),
        netns: None,
        mtu: 1500,
    });
    bench.advance().await;
    bench
}

#[tokio::test]
async fn a_host_port_that_vanishes_is_made_anew() {
    let mut bench = with_host().await;
    let first = bench.sync.placed().host.clone().unwrap();
    bench.links.take("eh");
    bench.sync.links_changed();
    let done = bench.advance().await;
    assert_eq!(done, [published(2, 1, 0, 2), Done::Removed(1), published(3, 1, 0, 2)]);
    let second = bench.sync.placed().host.clone().unwrap();
    assert_ne!(first.port, second.port);
    assert_eq!(bench.problems(), [""; 0]);
}

#[tokio::test]
async fn a_host_port_that_fits_no_more_is_a_problem_until_it_does() {
    let mut bench = with_host().await;
    bench.links.macs.insert("eh".to_owned(), Mac([2; 6]));
    bench.sync.tick();
    assert_eq!(bench.advance().await, [published(2, 1, 0, 2)]);
    assert_eq!(bench.sync.placed().host.as_ref().map(|host| host.mac), Some(Mac([2; 6])));
    bench.links.link("eh").mtu = 9000;
    bench.sync.links_changed();
    bench.advance().await;
    assert!(bench.sync.placed().host.is_none());
    let problems = bench.problems();
    assert!(problems[0].contains("the host port is not attached"), "{problems:?}");
    bench.links.link("eh").mtu = 1500;
    bench.sync.links_changed();
    bench.advance().await;
    assert!(bench.sync.placed().host.is_some() && bench.problems().is_empty());
}

#[tokio::test]
async fn everybody_gets_a_turn_while_many_ports_are_removed() {
    let names: Vec<String> = (0..8).map(|one| format!("e{one}")).collect();
    let links: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut switch = FakeSwitch::quick();
    switch.removal = crate::ports::BUDGET / 2;
    let mut bench = Bench::new(switch, FakeLinks::with(&links));
    for (name, at) in names.iter().zip(10..) {
        bench.write(&format!("{name}.yaml"), &pod(name, &format!("10.0.0.{at}"), name));
    }
    bench.advance().await;
    for name in &names {
        bench.remove(&format!("{name}.yaml"));
    }
    bench.sync.advance(&mut bench.links).await;
    bench.sync.dataplane().done.clear();
    bench.sync.advance(&mut bench.links).await;
    let first = std::mem::take(&mut bench.sync.dataplane().done).len();
    assert!((1..8).contains(&first) && bench.sync.is_pending(), "{first} in one turn");
    let rest = bench.advance().await.len();
    assert!(first + rest == 8 && !bench.sync.is_pending(), "{first} and {rest}");
}

#[tokio::test]
async fn what_is_said_of_a_pod_that_named_the_host_port_goes_with_its_slip() {
    let mut bench = with_host().await;
    bench.write("a.yaml", &pod("a", "10.0.0.1", "eh"));
    bench.advance().await;
    assert!(bench.problems()[0].contains("Pod demo/a"), "{:?}", bench.problems());
    bench.write("a.yaml", &pod("a", "10.0.0.1", "ea"));
    bench.advance().await;
    assert_eq!(bench.problems(), [""; 0]);
    // What is said of the host port itself stays.
    bench.links.link("eh").mtu = 9000;
    bench.sync.links_changed();
    bench.advance().await;
    bench.write("a.yaml", &pod("a", "10.0.0.3", "ea"));
    bench.advance().await;
    assert_eq!(bench.problems().len(), 1, "{:?}", bench.problems());
}

#[tokio::test]
async fn no_pod_gets_an_end_of_the_host_port() {
    let mut bench = with_host().await;
    bench.links.put("ep", 50);
    bench.links.asked();
    bench.write("a.yaml", &pod("a", "10.0.0.1", "eh"));
    bench.write("b.yaml", &pod("b", "10.0.0.2", "ep"));
    bench.advance().await;
    let problems = bench.problems();
    assert!(problems.iter().all(|text| text.contains("the switch's own")), "{problems:?}");
    assert_eq!((problems.len(), bench.links.asked()), (2, vec![]));
}

/// Interfaces ea and eb, of which a predecessor serves the first.
fn half_served() -> FakeLinks {
    let mut links = FakeLinks::with(&["ea", "eb"]);
    let link = links.link("ea");
    (link.is_up, link.program) = (true, Some(7));
    links
}

fn list(links: &FakeLinks) -> Vec<crate::attach::Link> {
    links.there.values().cloned().collect()
}

#[tokio::test]
async fn what_a_predecessor_serves_is_prepared_and_taken_at_once() {
    let mut bench = Bench::new(FakeSwitch::quick(), half_served());
    bench.sync.prepare(None, &bench.links).await;
    let done = std::mem::take(&mut bench.sync.dataplane().done);
    assert_eq!(done, [Done::Prepared("ea".to_owned())]);
    assert_eq!(bench.links.asked(), [""; 0], "what is served is not touched");
    assert_eq!(bench.sync.take(None, &list(&bench.links)).unwrap(), 1);
    let done = std::mem::take(&mut bench.sync.dataplane().done);
    assert_eq!(done, [added("ea"), published(1, 1, 0, 1)]);
    assert!(bench.sync.await_in_force(Duration::ZERO).await);
    assert_eq!(bench.advance().await, [added("eb"), published(2, 2, 0, 2)]);
    assert_eq!(bench.sync.ports().held().len(), 2);
}

#[tokio::test]
async fn what_was_learned_since_the_preparation_is_in_force_with_what_is_taken() {
    let mut bench = Bench::new(FakeSwitch::quick(), half_served());
    bench.sync.prepare(None, &bench.links).await;
    bench.write("deny.yaml", DENY);
    bench.sync.dataplane().done.clear();
    assert_eq!(bench.sync.take(None, &list(&bench.links)).unwrap(), 1);
    let done = std::mem::take(&mut bench.sync.dataplane().done);
    assert_eq!(done, [added("ea"), published(1, 1, 1, 1)]);
}

#[tokio::test]
async fn an_interface_that_is_another_by_then_is_not_taken_but_closed_first() {
    let mut bench = Bench::new(FakeSwitch::quick(), half_served());
    bench.sync.prepare(None, &bench.links).await;
    bench.sync.dataplane().done.clear();
    bench.links.put("ea", 77);
    assert_eq!(bench.sync.take(None, &list(&bench.links)).unwrap(), 0);
    let done = std::mem::take(&mut bench.sync.dataplane().done);
    assert_eq!(done, [published(1, 1, 0, 0)]);
    bench.links.asked();
    assert_eq!(bench.advance().await[..2], [added("ea"), added("eb")]);
    assert_eq!(bench.links.asked()[..2], ["close ea", "up ea"]);
}

#[tokio::test]
async fn ports_that_were_given_are_added_anew_when_they_are_had_back() {
    let mut bench = Bench::new(FakeSwitch::quick(), FakeLinks::with(&["ea", "eb"]));
    bench.advance().await;
    bench.sync.give().unwrap();
    bench.sync.have_back().unwrap();
    let done = bench.advance().await;
    assert_eq!(done[..2], [added("ea"), added("eb")]);
    assert!(matches!(done[2], Done::Published { attached: 2, .. }), "{done:?}");
}

#[tokio::test]
async fn who_has_everything_back_is_who_the_next_start_believes() {
    let mut bench = Bench::new(FakeSwitch::quick(), FakeLinks::with(&["ea", "eb"]));
    let memory = tempfile::tempdir().unwrap();
    bench.sync.keep_in(Some(memory.path().to_owned()));
    bench.advance().await;
    bench.sync.give().unwrap();
    // A successor has published, and died.
    let dead = ["0000000000000001-0.connections", "0000000000000001.pods"];
    for name in dead {
        fs::write(memory.path().join(name), "{}").unwrap();
    }
    bench.sync.have_back().unwrap();
    assert!(dead.iter().all(|name| !memory.path().join(name).exists()));
    assert!(memory.path().join("0000000000000000.pods").exists(), "ours");
}

#[tokio::test]
async fn a_worker_that_does_not_use_what_was_taken_is_noticed() {
    let bench = Bench::new(FakeSwitch::default(), half_served());
    let Bench { mut sync, links, taken, directory: _directory } = bench;
    sync.prepare(None, &links).await;
    sync.take(None, &list(&links)).unwrap();
    assert!(!sync.await_in_force(Duration::from_millis(2)).await);
    taken.store(1, Ordering::Relaxed);
    assert!(sync.await_in_force(Duration::ZERO).await);
}
