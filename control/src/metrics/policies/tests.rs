use lockgate_dataplane::policy::ruleset::{Policy, SetId, View};
use prometheus::{Encoder, TextEncoder};

use super::*;

fn denied(policy: &str, count: u64) -> Counted {
    Counted {
        policy: policy.into(),
        kind: &"NetworkPolicy",
        direction: Direction::Ingress,
        opened: false,
        view: View::Now,
        count,
    }
}

fn there(names: &[&str]) -> Ruleset {
    let policy = |name: &&str| Policy::isolating((*name).into(), SetId(0), Some([].into()), None);
    Ruleset { policies: names.iter().map(policy).collect(), ..Ruleset::default() }
}

/// The series of denied packets: policy and count.
fn series(counts: &PolicyCounts) -> Vec<(String, u64)> {
    let mut families = Families::default();
    counts.families(&mut families);
    let mut text = Vec::new();
    TextEncoder::new().encode(&families.finish(), &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    let lines = text.lines().filter(|line| line.starts_with("lockgate_policy_denied"));
    let read = |line: &str| {
        let (labels, count) = line.rsplit_once(' ')?;
        let (_, policy) = labels.split_once("policy=\"")?;
        Some((policy.trim_end_matches("\"}").to_owned(), count.parse().ok()?))
    };
    lines.filter_map(read).collect()
}

fn expect(counts: &PolicyCounts, expected: &[(&str, u64)]) {
    let expected: Vec<_> = expected.iter().map(|(name, sum)| ((*name).to_owned(), *sum)).collect();
    assert_eq!(series(counts), expected);
}

#[test]
fn policies_beyond_the_bound_are_added_up_without_a_name() {
    let all = there(&["x/a", "x/b", "x/c", "x/d"]);
    let mut counts = PolicyCounts::new(2);
    counts.add(vec![denied("x/b", 1), denied("x/a", 2), denied("x/c", 3)], &all);
    expect(&counts, &[("a", 2), ("b", 1), ("", 3)]);
    counts.add(vec![denied("x/c", 4), denied("x/d", 5), denied("x/a", 6)], &all);
    expect(&counts, &[("a", 8), ("b", 1), ("", 12)]);
}

#[test]
fn a_policy_that_is_gone_keeps_its_sum_until_a_living_one_wants_the_place() {
    let mut counts = PolicyCounts::new(2);
    counts.add(vec![denied("x/a", 1), denied("x/b", 1)], &there(&["x/a", "x/b"]));
    counts.add(vec![denied("x/b", 1)], &there(&["x/b"]));
    expect(&counts, &[("a", 1), ("b", 2)]);
    let now = there(&["x/b", "x/c", "x/d"]);
    counts.add(vec![denied("x/c", 5), denied("x/d", 7)], &now);
    expect(&counts, &[("b", 2), ("c", 5), ("", 7)]);
    // What was counted without a name stays there.
    counts.add(vec![denied("x/d", 1)], &there(&["x/b", "x/d"]));
    expect(&counts, &[("b", 2), ("d", 1), ("", 7)]);
}

#[test]
fn one_that_comes_back_goes_on_from_its_sum() {
    let mut counts = PolicyCounts::new(2);
    counts.add(vec![denied("x/a", 1)], &there(&["x/a"]));
    counts.add(vec![], &there(&[]));
    counts.add(vec![denied("x/a", 1)], &there(&["x/a"]));
    expect(&counts, &[("a", 2)]);
}

#[test]
fn without_counts_there_is_no_family() {
    let mut families = Families::default();
    PolicyCounts::new(1000).families(&mut families);
    assert!(families.finish().is_empty());
}
