//! What a change costs in a large cluster, from the inventory to the snapshot that is published,
//! and what compiling all of it costs.
//!
//! Time is the thread's time on a core, but where it says otherwise. `scale events`,
//! `scale large` and `scale decide` run one part.

use std::env;
use std::process::Command;

use lockgate_control::inventory::Change;
use lockgate_control::manifest::Object;
use lockgate_tests::cluster::{Size, large_blocks, large_policy, namespace, web_in_blocks};
use lockgate_tests::scale::{
    DUAL, Everything, LARGE, LARGE_TIERED, MIDDLE, Node, TIERED, WIDE, decide_ns, percentile,
};

/// Events of each kind.
const EVENTS: u32 = 300;

/// Workers that take the snapshots.
const WORKERS: usize = 2;

/// What is compiled from nothing.
const CLUSTERS: [(&str, Size); 5] = [
    ("10k/1k/50", MIDDLE),
    ("10k/1k/50, dual stack, half in tiers", TIERED),
    ("100k/2k/200", WIDE),
    ("100k/75k/25k", LARGE),
    ("100k/75k/25k, half in tiers", LARGE_TIERED),
];

/// Measures something; gives the table.
type Part = fn() -> String;

#[allow(clippy::print_stdout)] // its only output
fn main() {
    let only = env::args().nth(1);
    if let Some(&(name, size)) = CLUSTERS.iter().find(|one| only.as_deref() == Some(one.0)) {
        println!("{}", everything(name, size));
        return;
    }
    let parts: [(&str, Part); 3] = [("events", events), ("large", large), ("decide", decide)];
    for (name, part) in parts {
        if only.as_deref().is_some_and(|only| only != name) {
            continue;
        }
        println!("{}", part());
    }
}

/// Events in the middle cluster, in the dual one, and in the large one.
fn events() -> String {
    let mut rows = vec![
        "| cluster | event | ms, median | 90 % | most | built anew |\n|---|---|---|---|---|---|"
            .to_owned(),
    ];
    for (name, size) in [
        ("10k/1k/50", MIDDLE),
        ("the same, dual stack", DUAL),
        ("that, half in tiers", TIERED),
        ("100k/75k/25k", LARGE),
        ("that, half in tiers", LARGE_TIERED),
    ] {
        let (mut node, mut workers) = Node::running(size, WORKERS);
        for (event, changes) in kinds(size) {
            let before = node.agent.rebuilds();
            let mut times: Vec<f64> =
                changes.into_iter().map(|change| node.event(change, &mut workers)).collect();
            let rebuilt = node.agent.rebuilds() - before;
            rows.push(format!("| {name} | {event} | {} | {rebuilt} |", spread(&mut times)));
        }
        if size.pods == MIDDLE.pods && !size.dual {
            let mut shares = node.churn(&mut workers, 50);
            rows.push(format!("| {name} | churn, share of a core | {} | |", spread(&mut shares)));
            let changes = (0..EVENTS).map(|one| Change::Set(size.pod(size.pods + one))).collect();
            let mut times = node.reached(workers, changes);
            let told = format!("99 %: {:.3}", percentile(&mut times, 99));
            rows.push(format!(
                "| {name} | event to all of {WORKERS} workers, by the clock | {} | {told} |",
                spread(&mut times)
            ));
        }
    }
    rows.join("\n")
}

/// Changes by kind.
fn kinds(size: Size) -> Vec<(&'static str, Vec<Change>)> {
    let new = |number: u32| size.pods + number;
    let set = |object: Object| Change::Set(object);
    let moved = |number: u32| size.pod_of(number * 7, &format!("a{}", number % 3));
    let policies = |rules: u32, count: u32| {
        (0..count)
            .map(|one| set(large_policy(size, rules, u16::try_from(one % 50).unwrap_or(0))))
            .collect()
    };
    let spaces = (0..EVENTS / 10).map(|one| namespace(10 + one % 20)).map(|object| match object {
        Object::Namespace(mut namespace) => {
            let labels = namespace.labels.get_or_insert_default();
            labels.insert("team", "t3");
            set(Object::Namespace(namespace))
        }
        other => set(other),
    });
    vec![
        ("a pod like others comes", (0..EVENTS).map(|one| set(size.pod(new(one)))).collect()),
        (
            "it goes",
            (0..EVENTS)
                .map(|one| Change::Remove(size.pod(new(one)).metadata().key.clone()))
                .collect(),
        ),
        ("a pod is relabelled", (0..EVENTS).map(|one| set(moved(one))).collect()),
        (
            "a pod unlike any other comes",
            (0..EVENTS)
                .map(|one| set(size.pod_of(new(one + EVENTS), &format!("a{}", 1000 + one))))
                .collect(),
        ),
        ("a policy with 10 rules changes", policies(10, EVENTS)),
        ("a policy with 1000 rules changes", policies(1000, 30)),
        (
            "a policy of 1000 blocks has another block",
            (0..31).map(|one| set(large_blocks(1000, one))).collect(),
        ),
        (
            "a pod comes with a port that blocks ask for",
            std::iter::once(set(web_in_blocks()))
                .chain((0..EVENTS).map(|one| set(size.serving(new(one + 2 * EVENTS)))))
                .collect(),
        ),
        ("a namespace is relabelled", spaces.collect()),
    ]
}

/// Everything at once, and what it leaves: each cluster in a process of its own, for its memory.
fn large() -> String {
    let mut rows = vec![
        "| cluster | resolve, ms | compile, ms | grown, MB | peak with objects, MB | tables, MB | policy sets |\n|---|---|---|---|---|---|---|"
            .to_owned(),
    ];
    for (name, _) in CLUSTERS {
        let own = env::current_exe().and_then(|own| Command::new(own).arg(name).output());
        rows.push(match own {
            Ok(output) => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
            Err(error) => format!("| {name} | not measured: {error} |"),
        });
    }
    rows.join("\n")
}

/// One row of [`large`].
fn everything(name: &str, size: Size) -> String {
    let Everything { resolve_ms, compile_ms, grown_mb, peak_mb, tables_mb, policy_sets } =
        Everything::of(size);
    format!(
        "| {name} | {resolve_ms:.0} | {compile_ms:.0} | {grown_mb:.0} | {peak_mb:.0} | \
         {tables_mb:.1} | {policy_sets} |"
    )
}

/// What a question costs whose row has few rules or many: about one application, so that the same
/// memory is touched, and about all of them, each with its own ports.
fn decide() -> String {
    let mut rows =
        vec!["| rules of the row | ns, median | 90 % | most |\n|---|---|---|---|".to_owned()];
    for (rules, applications, name) in [
        (1, 1, "1"),
        (10_000, 1, "10 000, the same memory touched"),
        (10_000, u32::MAX, "10 000, each application with its own"),
    ] {
        let mut times = decide_ns(rules, applications);
        rows.push(format!("| {name} | {} |", spread(&mut times)));
    }
    rows.join("\n")
}

fn spread(times: &mut [f64]) -> String {
    let [median, high, most] = [50, 90, 100].map(|percent| percentile(times, percent));
    format!("{median:.3} | {high:.3} | {most:.3}")
}
