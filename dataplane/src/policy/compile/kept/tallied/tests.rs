//! Counts come out under the names that policies had, each once, whatever becomes of the tables.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::super::super::delta::Delta;
use super::super::super::super::ruleset::{
    Action, Cause, Peers, Policy, PolicyId, Ports, Question, Rule, Ruleset, SetId,
};
use super::super::super::super::table::{Decision, PolicyTable, VerdictId};
use super::super::tests::{any_event, change, questions, start};
use super::super::{Kept, Out};
use super::*;
use crate::ids::WorkerId;

/// By policy, direction and whether connections were opened, or would have been.
type Counts = BTreeMap<(String, bool, bool, bool), u64>;

fn add(counts: &mut Counts, policy: &str, as_what: (View, Direction), opened: bool, count: u64) {
    let (view, direction) = as_what;
    let key = (policy.to_owned(), direction == Direction::Ingress, opened, view == View::Next);
    *counts.entry(key).or_default() += count;
}

fn tell(counts: &mut Counts, counted: Vec<Counted>) {
    for one in counted {
        assert_ne!(one.count, 0);
        let name = format!("{} {}", one.kind, one.policy);
        add(counts, &name, (one.view, one.direction), one.opened, one.count);
    }
}

/// What a worker counts of one decision.
fn verdicts(decision: Decision) -> Vec<(Direction, VerdictId)> {
    let [egress, ingress] =
        [(Direction::Egress, decision.egress), (Direction::Ingress, decision.ingress)];
    match (decision.egress.is_allow(), decision.ingress.is_allow()) {
        (true, true) => vec![egress, ingress],
        (false, _) => vec![egress],
        (true, false) => vec![ingress],
    }
}

/// A snapshot that some worker judges by, and its answers.
struct Held {
    table: PolicyTable,
    /// By policy.
    kinds: Vec<&'static &'static str>,
    decisions: Vec<Decision>,
}

impl Held {
    fn of(kept: &Kept, asked: &[Question]) -> Self {
        let decisions = asked.iter().map(|question| kept.ask(question)).collect();
        let kinds = kept.ruleset().policies.iter().map(|one| one.kind).collect();
        Self { table: kept.table(), kinds, decisions }
    }

    fn name(&self, policy: PolicyId) -> String {
        format!("{} {}", self.kinds[policy.0 as usize], self.table.policy_name(policy))
    }

    /// A worker judges packets, some of them as they would be judged; what that says of policies is
    /// noted.
    fn judge(&self, worker: u8, expected: &mut Counts) {
        for (place, decision) in self.decisions.iter().enumerate().skip(usize::from(worker)) {
            for (direction, verdict) in verdicts(*decision) {
                let view = if place % 3 == 2 { View::Next } else { View::Now };
                match view {
                    View::Next => self.table.count_next(WorkerId(worker), direction, verdict),
                    _ => self.table.count(WorkerId(worker), direction, verdict),
                }
                let direction = (view, direction);
                match self.table.cause(verdict) {
                    Cause::Rule { policy, .. } => {
                        add(expected, &self.name(*policy), direction, true, 1);
                    }
                    Cause::DenyRule { policy, .. } => {
                        add(expected, &self.name(*policy), direction, false, 1);
                    }
                    Cause::DefaultDeny { isolating } => {
                        for policy in isolating.iter() {
                            add(expected, &self.name(*policy), direction, false, 1);
                        }
                    }
                    // What only records is no verdict of these sets.
                    Cause::NotIsolated | Cause::Itself | Cause::OwnNode | Cause::Logged { .. } => {}
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Two workers, one of which lags behind by a snapshot or two, and an agent that builds
    /// everything anew now and then and asks when it pleases.
    #[test]
    fn no_count_goes_to_a_wrong_name_or_is_lost_or_told_twice(
        batches in prop::collection::vec(
            (prop::collection::vec(any_event(), 1..4), 0..4u8, 1..3usize),
            1..10,
        )
    ) {
        let mut ruleset = start();
        let mut kept = Kept::counted_by(2);
        kept.apply(Delta::of(&ruleset));
        let (mut held, mut expected, mut told) = (Vec::new(), Counts::new(), Counts::new());
        for (events, act, lag) in batches {
            let mut delta = Delta::default();
            for event in &events {
                change(event, &ruleset, &mut delta);
            }
            ruleset.apply(delta.clone());
            kept.apply(delta);
            if act == 0 {
                kept.build(Out::Asked);
            }
            let asked: Vec<_> = questions(&ruleset).into_iter().step_by(7).collect();
            held.push(Held::of(&kept, &asked));
            let surplus = held.len().saturating_sub(lag);
            held.drain(..surplus);
            held[held.len() - 1].judge(0, &mut expected);
            held[0].judge(1, &mut expected);
            match act {
                1 => tell(&mut told, kept.take_counted()),
                2 => tell(&mut told, kept.take_settled()),
                _ => {}
            }
            held[0].judge(1, &mut expected);
        }
        drop(held);
        tell(&mut told, kept.take_settled());
        prop_assert!(kept.retired.is_empty(), "what nobody judges by goes");
        tell(&mut told, kept.take_counted());
        prop_assert_eq!(told, expected);
        prop_assert_eq!(kept.take_counted(), vec![]);
    }
}

/// A pod that one policy isolates, which lets nobody in.
fn isolated_by(name: &str) -> Ruleset {
    let nobody = Rule {
        index: 0,
        action: Action::Allow,
        subjects: None,
        peers: Peers::Sets(vec![]),
        ports: Ports::Any,
    };
    let policy = Policy::isolating(name.into(), SetId(0), Some([nobody].into()), None);
    Ruleset { policies: vec![policy], ..start() }
}

/// The verdict of a packet to the isolated pod.
fn denial(kept: &Kept) -> VerdictId {
    let asked = questions(kept.ruleset());
    let mut decisions = asked.iter().map(|question| kept.ask(question));
    decisions.find(|decision| !decision.ingress.is_allow()).unwrap().ingress
}

fn counted(policy: &str, count: u64) -> Counted {
    Counted {
        policy: policy.into(),
        kind: &"NetworkPolicy",
        direction: Direction::Ingress,
        opened: false,
        view: View::Now,
        count,
    }
}

/// A policy with so many verdicts that there are more pages.
fn widened() -> Delta {
    let rule = |index| Rule {
        index,
        action: Action::Allow,
        subjects: None,
        peers: Peers::Any,
        ports: Ports::Any,
    };
    let policy =
        Policy::isolating("demo/wide".into(), SetId(1), Some((0..600).map(rule).collect()), None);
    Delta { policies: vec![(PolicyId(1), Some(policy))], ..Delta::default() }
}

#[test]
fn a_policy_that_takes_anothers_place_inherits_no_counts() {
    let mut kept = Kept::counted_by(1);
    kept.apply(Delta::of(&isolated_by("demo/old")));
    let (old, verdict) = (kept.table(), denial(&kept));
    old.count(WorkerId(0), Direction::Ingress, verdict);
    let new = isolated_by("demo/new").policies.remove(0);
    let other = Policy { kind: &"Other", ..new.clone() };
    let takes = |policy| Delta { policies: vec![(PolicyId(0), Some(policy))], ..Delta::default() };
    kept.apply(takes(new));
    // A worker that has not taken the new table yet goes on with the old one.
    old.count(WorkerId(0), Direction::Ingress, verdict);
    kept.table().count(WorkerId(0), Direction::Ingress, denial(&kept));
    assert_eq!(kept.take_counted(), [counted("demo/old", 2), counted("demo/new", 1)]);
    // Nor does one of its name that is of another kind.
    kept.apply(takes(other));
    kept.table().count(WorkerId(0), Direction::Ingress, denial(&kept));
    assert_eq!(kept.take_counted(), [Counted { kind: &"Other", ..counted("demo/new", 1) }]);
}

#[test]
fn what_was_counted_outlives_building_anew_and_is_told_once() {
    let mut kept = Kept::counted_by(1);
    kept.apply(Delta::of(&isolated_by("demo/shut")));
    let (old, verdict) = (kept.table(), denial(&kept));
    old.count(WorkerId(0), Direction::Ingress, verdict);
    kept.build(Out::Asked);
    assert_eq!(kept.take_settled(), [], "a worker may still count there");
    assert_eq!(kept.take_counted(), [counted("demo/shut", 1)]);
    old.count(WorkerId(0), Direction::Ingress, verdict);
    drop(old);
    assert_eq!(kept.take_settled(), [counted("demo/shut", 1)]);
    assert_eq!(kept.take_counted(), []);
}

#[test]
fn a_worker_without_cells_counts_nothing_and_nothing_of_anothers() {
    let mut kept = Kept::counted_by(1);
    kept.apply(Delta::of(&isolated_by("demo/shut")));
    // There are pages behind the first.
    kept.apply(widened());
    kept.table().count(WorkerId(1), Direction::Ingress, denial(&kept));
    assert_eq!(kept.take_counted(), []);
    let mut silent = Kept::default();
    silent.apply(Delta::of(&isolated_by("demo/shut")));
    silent.table().count(WorkerId(0), Direction::Ingress, denial(&silent));
    assert_eq!(silent.take_counted(), []);
    assert!(silent.table().memory_bytes() < kept.table().memory_bytes());
}

#[test]
fn tables_share_the_cells_of_verdicts_that_mean_the_same() {
    let mut kept = Kept::counted_by(2);
    kept.apply(Delta::of(&isolated_by("demo/shut")));
    let (before, verdict) = (kept.table(), denial(&kept));
    kept.apply(widened());
    let after = kept.table();
    before.count(WorkerId(0), Direction::Ingress, verdict);
    after.count(WorkerId(0), Direction::Ingress, verdict);
    after.count(WorkerId(1), Direction::Ingress, verdict);
    assert_eq!(kept.take_counted(), [counted("demo/shut", 3)]);
    assert!(after.memory_bytes() > before.memory_bytes());
}
