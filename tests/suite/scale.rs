//! What a large cluster costs. Times are ten times the goals of the bench (`scale`), so that a test
//! fails for a mistake and not for a busy machine; bytes are the goals themselves.

use std::sync::{Mutex, MutexGuard, PoisonError};

use lockgate_control::inventory::{Change, Effect};
use lockgate_control::manifest::Object;
use lockgate_dataplane::compiler::Tables;
use lockgate_dataplane::endpoint::Topology;
use lockgate_tests::agent::{Agent, cpu_ms};
use lockgate_tests::cluster::{Size, large_policy};

/// One of these at a time: beside a cluster that is being built nothing costs what it costs.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
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
    let size = Size { pods: 10_000, policies: 1_000, namespaces: 50, dual: true };
    let mut measured = Measured::told_of(size);
    let everything = measured.compile();
    assert!(everything < 150.0 * 10.0, "everything: {everything} ms, the goal is 150");
    measured.agent.rebuild();
    let set = |object: Object| Change::Set(object);
    let added = (0..30).map(|one| set(size.pod(size.pods + one)));
    let moved = (0..30).map(|one| set(size.pod_of(one * 7, "a1")));
    let gone = (0..30).map(|one| Change::Remove(size.pod(one * 3).metadata().key.clone()));
    let policies = (0..12).map(|one| set(large_policy(1000, one)));
    let kinds: [(&str, Vec<Change>, f64); 4] = [
        ("a pod comes", added.collect(), 0.5),
        ("a pod is relabelled", moved.collect(), 0.5),
        ("a pod goes", gone.collect(), 0.5),
        ("a policy of 1000 rules changes", policies.collect(), 5.0),
    ];
    for (name, changes, goal) in kinds {
        let mut times: Vec<f64> = changes.into_iter().map(|one| measured.change(one)).collect();
        times.sort_by(f64::total_cmp);
        let median = times[times.len() / 2];
        assert!(median < goal * 10.0, "{name}: {median} ms, the goal is {goal}");
    }
    let rebuilds = measured.agent.rebuilds();
    assert!(rebuilds <= 2, "{rebuilds} times built anew");
}

#[test]
fn the_largest_cluster_compiles_in_time() {
    let _alone = alone();
    let size = Size { pods: 100_000, policies: 75_000, namespaces: 25_000, dual: false };
    let took = Measured::told_of(size).compile();
    assert!(took < 2_000.0 * 10.0, "{took} ms, the goal is 2000");
}

#[test]
fn the_tables_of_many_pods_fit() {
    let _alone = alone();
    let size = Size { pods: 100_000, policies: 2_000, namespaces: 200, dual: false };
    let mut measured = Measured::told_of(size);
    measured.compile();
    let bytes = measured.bytes();
    assert!(bytes <= 64 << 20, "{bytes} bytes, the goal is 64 MB");
    let sets = measured.tables.as_ref().map_or(0, |tables| tables.policy.policy_sets());
    assert!(sets >= 2_000, "only {sets} policy sets");
}
