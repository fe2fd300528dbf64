//! What is told of a node, composed of what the agent knows. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use super::in_force::{InForce, Times};
use super::node::{
    EnforcementTimes, LockgateNodeStatus, NodeCondition, ObjectError, Place, READ, ResourceStatus,
};
use super::time;
use crate::cluster::{Cluster, Standing, State};
use crate::manifest::{Problem, Severity};
use crate::watch::RESOURCES;

/// Errors that a report names. An object of the API server holds a megabyte; this is a part of it,
/// and who has more errors than these does not read on.
const ERRORS_MAX: usize = 50;
/// Characters of a message, or of a field.
const TEXT_MAX: usize = 300;

/// What a report is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) in_force: &'a InForce,
    pub(super) problems: &'a [Problem],
    /// Whether packets are judged by what the cluster said at some time.
    pub(super) is_ready: bool,
    pub(super) started: SystemTime,
}

/// Composes reports; remembers since when conditions are as they are.
#[derive(Debug, Default)]
pub(super) struct Composer {
    conditions: BTreeMap<&'static str, (bool, SystemTime)>,
}

impl Composer {
    /// The report as of now. Nobody has written it yet: `reported` is empty.
    pub(super) fn compose(&mut self, parts: Parts<'_>, now: SystemTime) -> LockgateNodeStatus {
        let (epoch, generation) = parts.in_force.numbers();
        let (errors, errors_left_out) = errors(parts.problems);
        LockgateNodeStatus {
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            started: time::text(parts.started),
            reported: String::new(),
            policy_epoch: epoch.0,
            snapshot_generation: generation.0,
            resources: resources(parts.cluster, parts.in_force),
            enforcement: parts.in_force.times().map(enforcement),
            errors,
            errors_left_out,
            conditions: vec![self.ready(parts, now), self.reachable(parts.cluster, now)],
        }
    }

    fn ready(&mut self, parts: Parts<'_>, now: SystemTime) -> NodeCondition {
        let (reason, message) = match (parts.cluster.unread(), parts.cluster.stale_since()) {
            (Some(resource), Some(since)) => {
                let since = time::text(since);
                (
                    "LastGood",
                    format!("{resource} was not read yet: what was known at {since} is enforced"),
                )
            }
            (Some(resource), None) => {
                ("Unread", format!("{resource} was not read yet: nothing is enforced before it is"))
            }
            (None, _) if !parts.is_ready => {
                ("NotInForce", "no snapshot is in force with every worker yet".to_owned())
            }
            (None, _) => ("InForce", "every worker judges by what the cluster says".to_owned()),
        };
        self.condition("Ready", (reason == "InForce", reason, message), now)
    }

    fn reachable(&mut self, cluster: &Cluster, now: SystemTime) -> NodeCondition {
        let server = cluster.server();
        let said = match (server.answered(), server.silent_since()) {
            (_, Some(since)) => {
                let message = format!("it does not answer since {}", time::text(since));
                (false, "Silent", message)
            }
            (None, None) => (false, "NotAsked", "it has not answered yet".to_owned()),
            (Some(_), None) => (true, "Answers", "it answers".to_owned()),
        };
        self.condition("ApiServerReachable", said, now)
    }

    fn condition(
        &mut self,
        kind: &'static str,
        (is_true, reason, message): (bool, &str, String),
        now: SystemTime,
    ) -> NodeCondition {
        let known = self.conditions.entry(kind).or_insert((is_true, now));
        if known.0 != is_true {
            *known = (is_true, now);
        }
        NodeCondition {
            kind: kind.to_owned(),
            status: if is_true { "True" } else { "False" }.to_owned(),
            reason: reason.to_owned(),
            message,
            last_transition_time: time::text(known.1),
        }
    }
}

fn resources(cluster: &Cluster, in_force: &InForce) -> Vec<ResourceStatus> {
    let all = RESOURCES.iter().zip(in_force.versions());
    let told = all.map(|(resource, (version, since))| {
        let standing = cluster.standings().find(|(kind, _)| *kind == resource.kind);
        let standing = standing.map(|(_, standing)| standing);
        ResourceStatus {
            resource: resource.spoken(),
            state: standing.map_or("Unread", state).to_owned(),
            resource_version: (version > 0).then(|| version.to_string()),
            since: since.map(time::text),
            objects: standing.map_or(0, |standing| number(standing.objects())),
        }
    });
    told.collect()
}

fn state(standing: &Standing) -> &'static str {
    match standing.state() {
        State::Unread => "Unread",
        State::Read if standing.failing_since().is_some() => "Failing",
        State::Read => READ,
        State::Absent => "Absent",
    }
}

fn enforcement(times: Times) -> EnforcementTimes {
    // Tenths of a millisecond: more would be noise that differs with each report.
    let ms = |time: Duration| (time.as_secs_f64() * 1e4).round() / 10.0;
    EnforcementTimes {
        changes: number(times.changes),
        median_milliseconds: ms(times.median),
        p99_milliseconds: ms(times.p99),
    }
}

/// The objects that are not enforced as written, each with its first error, and how many objects
/// found no room. One of each: else a single object with many errors would crowd out the others.
fn errors(problems: &[Problem]) -> (Vec<ObjectError>, u64) {
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error);
    let mut all: Vec<ObjectError> = errors.filter_map(error).collect();
    all.sort_by(|a, b| rank(a).cmp(&rank(b)));
    let of_objects = all.chunk_by(|a, b| a.place() == b.place());
    let mut firsts: Vec<ObjectError> = of_objects.filter_map(first).collect();
    let left_out = firsts.len().saturating_sub(ERRORS_MAX);
    firsts.truncate(ERRORS_MAX);
    (firsts, number(left_out))
}

/// The first error of an object, which says how many there are.
fn first(of_object: &[ObjectError]) -> Option<ObjectError> {
    let mut first = of_object.first()?.clone();
    if of_object.len() > 1 {
        let (said, count) = (&first.message, of_object.len());
        first.message = format!("{said} (the first of {count} errors of this object)");
    }
    Some(first)
}

/// Policies before all else: of many pods in error the policy must not be crowded out. Whoever asks
/// for an object trusts this order: see [`ObjectError::place`].
fn rank(error: &ObjectError) -> (Place<'_>, Option<&str>) {
    (error.place(), error.field.as_deref())
}

fn error(problem: &Problem) -> Option<ObjectError> {
    let (kind, path) = problem.object.split_once(' ')?;
    let (namespace, name) = match path.split_once('/') {
        Some((namespace, name)) => (Some(namespace.to_owned()), name),
        None => (None, path),
    };
    // `API server` and the switch itself are no objects.
    let is_object = kind == "Node" || RESOURCES.iter().any(|one| one.kind.spoken() == kind);
    is_object.then(|| ObjectError {
        kind: kind.to_owned(),
        namespace,
        name: name.to_owned(),
        field: (!problem.field.is_empty()).then(|| cut(&problem.field)),
        message: cut(&problem.message),
    })
}

/// Not longer than a report bears.
fn cut(text: &str) -> String {
    let mut letters = text.chars();
    let head: String = letters.by_ref().take(TEXT_MAX).collect();
    if letters.next().is_some() { head + "…" } else { head }
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use lockgate_dataplane::ids::{Epoch, Generation};

    use super::*;
    use crate::manifest::ObjectKind;
    use crate::watch::{Heard, Trouble, What};

    fn problem(object: &str, field: &str) -> Problem {
        Problem::of_object(Severity::Error, (None, None), object, field, "is bad", "mend it")
    }

    fn compose(cluster: &Cluster, composer: &mut Composer, at: u64) -> LockgateNodeStatus {
        let mut in_force = InForce::default();
        in_force.settle(Epoch(4), Generation(9));
        in_force.took(Duration::from_micros(12_340));
        let problems = [problem("NetworkPolicy demo/web", "spec.ingress[0]")];
        let (problems, started, is_ready) = (&problems[..], UNIX_EPOCH, true);
        let parts = Parts { cluster, in_force: &in_force, problems, is_ready, started };
        composer.compose(parts, UNIX_EPOCH + Duration::from_secs(at))
    }

    #[test]
    fn a_report_says_what_is_in_force_and_what_is_not_enforced_as_written() {
        let status = compose(&Cluster::new("here"), &mut Composer::default(), 0);
        assert_eq!((status.policy_epoch, status.snapshot_generation), (4, 9));
        let median = status.enforcement.unwrap().median_milliseconds;
        assert!((median - 12.3).abs() < 1e-9, "{median}");
        assert_eq!(status.resources.len(), RESOURCES.len());
        assert_eq!(status.errors.len(), 1);
        let error = &status.errors[0];
        assert_eq!((error.kind.as_str(), error.name.as_str()), ("NetworkPolicy", "web"));
        assert_eq!(error.namespace.as_deref(), Some("demo"));
        assert_eq!(error.field.as_deref(), Some("spec.ingress[0]"));
    }

    #[test]
    fn a_condition_keeps_its_time_until_its_status_changes() {
        let (mut cluster, mut composer) = (Cluster::new("here"), Composer::default());
        let ready = |status: &LockgateNodeStatus| {
            let condition = &status.conditions[0];
            (condition.status.clone(), condition.last_transition_time.clone())
        };
        let first = compose(&cluster, &mut composer, 1);
        assert_eq!(ready(&first), ("False".into(), "1970-01-01T00:00:01Z".into()));
        assert_eq!(ready(&compose(&cluster, &mut composer, 2)), ready(&first));
        for resource in RESOURCES {
            let _ = cluster.take(Heard::Of(resource.kind, What::Whole), UNIX_EPOCH);
        }
        let read = compose(&cluster, &mut composer, 3);
        assert_eq!(ready(&read), ("True".into(), "1970-01-01T00:00:03Z".into()));
    }

    #[test]
    fn a_kind_that_was_read_and_fails_is_told_as_such_and_one_that_is_absent_has_no_version() {
        let mut cluster = Cluster::new("here");
        let kind = RESOURCES[7].kind;
        let mut state = |what| {
            let _ = cluster.take(Heard::Of(kind, what), UNIX_EPOCH);
            let status = compose(&cluster, &mut Composer::default(), 5);
            assert_eq!(cluster.versions()[7], 0);
            status.resources[7].state.clone()
        };
        let failed = || {
            let trouble = Trouble { message: "no".into(), remedy: "see".into() };
            What::Failed(trouble, Duration::ZERO)
        };
        assert_eq!([state(failed()), state(What::Whole)], ["Unread", "Read"]);
        assert_eq!([state(failed()), state(What::Steady)], ["Failing", "Read"]);
        assert_eq!([state(What::Absent), state(failed())], ["Absent", "Absent"]);
    }

    #[test]
    fn a_node_that_enforces_the_last_good_state_says_so_and_is_not_ready() {
        let mut cluster = Cluster::new("here");
        let _ = cluster.fall_back(Box::new(Cluster::new("here")), UNIX_EPOCH);
        let ready = compose(&cluster, &mut Composer::default(), 5).conditions[0].clone();
        assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", "LastGood"));
        assert!(ready.message.contains("known at 1970-01-01T00:00:00Z"), "{}", ready.message);
        assert!(!ready.message.contains("nothing is enforced"), "{}", ready.message);
    }

    #[test]
    fn a_silent_api_server_is_a_condition_of_its_own() {
        let mut cluster = Cluster::new("here");
        let trouble = Trouble { message: "no".into(), remedy: "see".into() };
        let mut state = |pulse| {
            let _ = cluster.take(Heard::Pulse(pulse), UNIX_EPOCH);
            let reachable = compose(&cluster, &mut Composer::default(), 5).conditions[1].clone();
            (reachable.kind, reachable.status, reachable.reason)
        };
        let told = |status: &str, reason: &str| {
            ("ApiServerReachable".to_owned(), status.to_owned(), reason.to_owned())
        };
        assert_eq!(state(Ok(())), told("True", "Answers"));
        assert_eq!(state(Err(trouble)), told("False", "Silent"));
    }

    #[test]
    fn errors_are_bounded_policies_first_and_what_is_no_object_is_left_out() {
        let mut all: Vec<Problem> =
            (0..60).map(|n| problem(&format!("Pod demo/p{n}"), "")).collect();
        all.push(problem("NetworkPolicy demo/web", ""));
        all.push(problem("API server", ""));
        all.push(problem("lockgate", ""));
        all.push(Problem { severity: Severity::Notice, ..problem("Pod demo/q", "") });
        let (errors, left_out) = errors(&all);
        assert_eq!((errors.len(), left_out), (ERRORS_MAX, 11));
        assert_eq!(errors[0].kind, "NetworkPolicy");
        let long = Problem { message: "x".repeat(400), ..problem("Pod demo/p", "") };
        assert_eq!(error(&long).unwrap().message.chars().count(), TEXT_MAX + 1);
    }

    #[test]
    fn an_object_with_many_errors_takes_the_room_of_one() {
        let mut all: Vec<Problem> = (0..60)
            .map(|n| problem("NetworkPolicy demo/a", &format!("spec.ingress[{n}]")))
            .collect();
        all.push(problem("NetworkPolicy demo/b", "spec"));
        let (errors, left_out) = errors(&all);
        let told: Vec<_> = errors.iter().map(|one| (one.name.as_str(), &*one.message)).collect();
        let first = "is bad (the first of 60 errors of this object)";
        assert_eq!((told, left_out), (vec![("a", first), ("b", "is bad")], 0));
    }

    #[test]
    fn a_report_of_broken_objects_without_end_is_a_small_part_of_what_an_object_may_be() {
        let long = "ß".repeat(5_000);
        let all = (0..10_000).map(|n| Problem {
            message: long.clone(),
            field: long.clone(),
            ..problem(&format!("NetworkPolicy {}/{n}", "n".repeat(63)), "")
        });
        let all: Vec<Problem> = all.collect();
        let cluster = Cluster::new("here");
        let (in_force, started) = (InForce::default(), UNIX_EPOCH);
        let parts = Parts {
            cluster: &cluster,
            in_force: &in_force,
            problems: &all,
            is_ready: true,
            started,
        };
        let report = Composer::default().compose(parts, UNIX_EPOCH);
        assert_eq!((report.errors.len(), report.errors_left_out), (ERRORS_MAX, 9_950));
        let bytes = serde_json::to_vec(&report).unwrap().len();
        assert!(bytes < 128 * 1024, "{bytes} bytes");
        // What is mended is out of it with the next one.
        let mended = Parts { problems: &[], ..parts };
        let report = Composer::default().compose(mended, UNIX_EPOCH);
        assert_eq!((report.errors.len(), report.errors_left_out), (0, 0));
    }

    #[test]
    fn each_resource_is_told_with_what_of_it_is_in_force() {
        let mut in_force = InForce::default();
        in_force.rest(&RESOURCES.map(|one| if one.kind == ObjectKind::Pod { 7 } else { 0 }));
        let told = resources(&Cluster::new("here"), &in_force);
        assert_eq!(told[1].resource, "pods");
        assert_eq!(told[1].resource_version.as_deref(), Some("7"));
        assert!(told[1].since.is_some());
        assert_eq!((told[0].resource_version.clone(), told[0].state.as_str()), (None, "Unread"));
    }
}
