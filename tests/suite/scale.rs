//! What a large cluster costs. Times are ten times the goals of the bench (`scale`), so that a test
//! fails for a mistake and not for a busy machine; bytes are the goals themselves.

use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lockgate_control::explain::{Request, Subject, explain, parse_protocol};
use lockgate_control::inventory::{Change, Effect};
use lockgate_control::manifest::Object;
use lockgate_dataplane::compiler::Tables;
use lockgate_dataplane::endpoint::Topology;
use lockgate_tests::agent::{Agent, cpu_ms};
use lockgate_tests::cluster::{Size, large_blocks, large_policy, web_in_blocks};
use lockgate_tests::scale::{
    DUAL, Everything, LARGE, LARGE_TIERED, MIDDLE, Node, TIERED, WIDE, decide_ns, percentile,
};

/// One of these at a time in this process: beside a cluster that is being built nothing costs what it costs.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a test once more in a process of its own, beside which no other test runs: for what the
/// clock and the memory of the process tell.
fn by_itself(name: &str, test: impl FnOnce()) {
    const INSIDE: &str = "LOCKGATE_TEST_BY_ITSELF";
    if std::env::var_os(INSIDE).is_some() {
        return test();
    }
    let _alone = alone();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("scale::{name}"), "--nocapture"]).env(INSIDE, "1");
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].map(|one| String::from_utf8_lossy(&one).into_owned());
    let passed = output.status.success() && said[0].contains("1 passed");
    assert!(passed, "{}{}", said[0], said[1]);
}

/// An agent and the tables that it made last.
struct Measured {
    agent: Agent,
    tables: Option<Tables>,
}

impl Measured {
    /// One that has been told of everything and has compiled nothing.
    fn told_of(size: Size) -> Self {
        Self { agent: Agent::told_of(size), tables: None }
    }

    /// Milliseconds on a core to bring the tables up to date.
    fn compile(&mut self) -> f64 {
        let begun = cpu_ms();
        self.tables = Some(self.agent.apply(&Topology::default()));
        cpu_ms() - begun
    }

    fn change(&mut self, change: Change) -> f64 {
        let begun = cpu_ms();
        let _: Effect = self.agent.inventory.apply(change);
        self.compile();
        cpu_ms() - begun
    }

    fn bytes(&self) -> usize {
        let tables = self.tables.as_ref().expect("compiled");
        tables.policy.memory_bytes() + tables.endpoints.memory_bytes()
    }
}

/// Compiling everything for each event would take longer than this.
#[test]
fn a_change_in_a_large_cluster_costs_what_it_touches() {
    let _alone = alone();
    changes_cost_what_they_touch(DUAL);
}

/// The same goals where half of the policies are in tiers.
#[test]
fn a_change_beside_tiers_costs_what_it_touches() {
    let _alone = alone();
    let measured = changes_cost_what_they_touch(TIERED);
    let (inventory, size) = (&measured.agent.inventory, TIERED);
    let asked = [1, 4, 7].map(|pod| {
        let (from, to) = (size.pod(pod), size.pod(pod + 100));
        let begun = cpu_ms();
        let told = explain(inventory, &question(&from, &to)).unwrap();
        assert!(!told.ingress.walk.is_empty(), "{told:?}");
        cpu_ms() - begun
    });
    println!("explained: {asked:?} ms");
    let least = asked.into_iter().min_by(f64::total_cmp);
    assert!(least.is_some_and(|least| least < 30.0 * 10.0), "{asked:?} ms, the goal is 30");
}

fn question(from: &Object, to: &Object) -> Request {
    let subject = |object: &Object| {
        let key = &object.metadata().key;
        Subject::Pod { namespace: key.namespace.to_string(), name: key.name.to_string() }
    };
    Request {
        from: subject(from),
        to: subject(to),
        protocol: parse_protocol("TCP").unwrap(),
        port: Some(2000),
        source_port: None,
        icmp_type: None,
        icmp_code: None,
        family: None,
    }
}

#[allow(clippy::print_stdout)] // what was measured, for whoever asks
fn changes_cost_what_they_touch(size: Size) -> Measured {
    let mut measured = Measured::told_of(size);
    let everything = measured.compile();
    assert!(everything < 150.0 * 10.0, "everything: {everything} ms, the goal is 150");
    measured.agent.rebuild();
    measured.change(Change::Set(web_in_blocks()));
    let set = |object: Object| Change::Set(object);
    let added = (0..30).map(|one| set(size.pod(size.pods + one)));
    let moved = (0..30).map(|one| set(size.pod_of(one * 7, "a1")));
    let gone = (0..30).map(|one| Change::Remove(size.pod(one * 3).metadata().key.clone()));
    let policies = (0..12).map(|one| set(large_policy(size, 1000, one)));
    let blocks = (0..12).map(|one| set(large_blocks(1000, one)));
    let serving = (30..60).map(|one| set(size.serving(size.pods + one)));
    let kinds: [(&str, Vec<Change>, f64); 6] = [
        ("a pod comes", added.collect(), 0.5),
        ("a pod is relabelled", moved.collect(), 0.5),
        ("a pod goes", gone.collect(), 0.5),
        ("a policy of 1000 rules changes", policies.collect(), 5.0),
        ("a policy of 1000 blocks has another block", blocks.collect(), 5.0),
        ("a pod comes with a port that blocks ask for", serving.collect(), 2.0),
    ];
    for (name, changes, goal) in kinds {
        let mut times: Vec<f64> = changes.into_iter().map(|one| measured.change(one)).collect();
        times.sort_by(f64::total_cmp);
        let median = times[times.len() / 2];
        println!("{name}: {median:.3} ms, most {:.3}", times[times.len() - 1]);
        assert!(median < goal * 10.0, "{name}: {median} ms, the goal is {goal}");
    }
    let rebuilds = measured.agent.rebuilds();
    // At first, when told to, and for a thousand new blocks at once.
    assert!(rebuilds <= 3, "{rebuilds} times built anew");
    measured
}

#[test]
fn the_largest_cluster_compiles_in_time_and_memory() {
    by_itself("the_largest_cluster_compiles_in_time_and_memory", || compiles(LARGE, 500.0));
}

/// Its pods are in nearly twice as many policy sets, which is what memory goes by. The goal, 500 MB, is
/// of a program of one thread (`scale`): here there are two, which takes some 30 more.
#[test]
fn the_largest_cluster_with_tiers_compiles_in_time_and_memory() {
    let name = "the_largest_cluster_with_tiers_compiles_in_time_and_memory";
    by_itself(name, || compiles(LARGE_TIERED, 550.0));
}

fn compiles(size: Size, grown_max: f64) {
    let Everything { resolve_ms, compile_ms, grown_mb, .. } = Everything::of(size);
    let took = resolve_ms + compile_ms;
    assert!(took < 2_000.0 * 10.0, "{took} ms, the goal is 2000");
    assert!(grown_mb > 100.0 && grown_mb < grown_max, "{grown_mb} MB more");
}

#[test]
fn an_event_reaches_all_workers_in_time() {
    by_itself("an_event_reaches_all_workers_in_time", || {
        let (mut node, workers) = Node::running(MIDDLE, 2);
        let added = (0..150).map(|one| Change::Set(MIDDLE.pod(MIDDLE.pods + one)));
        let moved = (0..150).map(|one| Change::Set(MIDDLE.pod_of(one * 7, "a1")));
        let mut times = node.reached(workers, added.chain(moved).collect());
        let [middle, high] = [50, 99].map(|percent| percentile(&mut times, percent));
        assert!(middle < 2.0 * 10.0, "median {middle} ms, the goal is 2");
        assert!(high < 10.0 * 10.0, "99 % within {high} ms, the goal is 10");
    });
}

#[test]
fn a_hundred_pods_a_second_leave_the_core_free() {
    let _alone = alone();
    let (mut node, mut workers) = Node::running(MIDDLE, 2);
    let share = percentile(&mut node.churn(&mut workers, 10), 50);
    assert!(share < 0.05 * 10.0, "{share} of a core, the goal is 0.05");
}

/// The goal is a tenth more; ten times that is twice the time.
#[test]
fn ten_thousand_rules_are_asked_like_one() {
    by_itself("ten_thousand_rules_are_asked_like_one", || {
        let asked = |rules, applications| percentile(&mut decide_ns(rules, applications), 50);
        // About the same peers, and about everybody's. Side by side, and more than once: another
        // machine on the same core may come between two measurements, rules cost each time.
        for applications in [1, u32::MAX] {
            let pairs = [(); 3].map(|()| (asked(1, 1), asked(10_000, applications)));
            let kept = pairs.iter().any(|(one, many)| *many < one * 2.0);
            assert!(kept, "ns of one rule and of many: {pairs:?}");
        }
    });
}

#[test]
fn the_tables_of_many_pods_fit() {
    let _alone = alone();
    let mut measured = Measured::told_of(WIDE);
    measured.compile();
    let bytes = measured.bytes();
    assert!(bytes <= 64 << 20, "{bytes} bytes, the goal is 64 MB");
    let sets = measured.tables.as_ref().map_or(0, |tables| tables.policy.policy_sets());
    assert!(sets >= 2_000, "only {sets} policy sets");
}
