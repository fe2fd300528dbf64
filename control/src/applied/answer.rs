//! Which nodes have something in force: from what nodes reported to what is said of it. Pure.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::json;

use super::node::{LockgateNode, LockgateNodeStatus, ObjectError, READ, place};
use super::time;
use crate::manifest::{ObjectKind, is_staged, staged_by};
use crate::show::{Column, table};
use crate::watch::Resource;

/// A report that is older says nothing any more: three that should have come did not.
const STALE: Duration = Duration::from_mins(3);

const NODES: [Column; 6] = [
    ("NODE", "node"),
    ("STANDING", "standing"),
    ("VERSION", "version"),
    ("EPOCH", "epoch"),
    ("RESOURCE VERSION", "resource_version"),
    ("REPORTED", "reported"),
];

const ERRORS: [Column; 4] =
    [("NODE", "node"), ("OBJECT", "object"), ("FIELD", "field"), ("ERROR", "message")];

/// What a node says of what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It is in force; where nothing was asked for, everything that the node has read.
    InForce,
    /// It is in force, and something of it is not enforced as written.
    InForceWithErrors,
    /// It is in force; whether all of it as written cannot be said: the report names errors of as
    /// many objects as it has room for, and this one may be among those that it leaves out.
    NotKnown,
    /// It was read and is staged: it decides nothing. What is wrong with it is among the errors.
    Staged,
    /// Not yet.
    NotYet,
    /// The last report is old: the agent is gone, or cannot reach the API server.
    Stale,
    /// There is no report.
    NeverReported,
}

/// An object that is asked for, as the API server has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Asked {
    /// `NetworkPolicy demo/web`.
    pub object: String,
    /// Its resource, as reports name it.
    pub resource: String,
    /// Its `metadata.resourceVersion`.
    pub resource_version: String,
    /// Whether it is staged: then it decides nothing wherever it was read.
    pub is_staged: bool,
    #[serde(skip)]
    kind: &'static str,
    #[serde(skip)]
    namespace: String,
    #[serde(skip)]
    name: String,
}

impl Asked {
    /// An object of a resource.
    #[must_use]
    pub fn new(resource: &Resource, namespace: &str, name: &str, version: &str) -> Self {
        let kind = resource.kind.spoken();
        let slash = if namespace.is_empty() { "" } else { "/" };
        Self {
            object: format!("{kind} {namespace}{slash}{name}"),
            resource: resource.spoken(),
            resource_version: version.to_owned(),
            is_staged: is_staged(resource.kind),
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    /// The same with its annotations, by which it may be staged: what is wrong with it is then told
    /// of the kind that it is read as.
    #[must_use]
    pub fn annotated(mut self, annotations: &BTreeMap<String, String>) -> Self {
        let written = ObjectKind::Policy;
        let kind = staged_by(written, annotations);
        if self.kind == written.spoken() && kind != written {
            (self.kind, self.is_staged) = (kind.spoken(), true);
        }
        self
    }

    /// Whether an error is of this one.
    fn is_of(&self, error: &ObjectError) -> bool {
        let namespace = error.namespace.as_deref().unwrap_or_default();
        error.kind == self.kind && namespace == self.namespace && error.name == self.name
    }

    /// Whether it may be among the errors that a report has no room for: those after its last one.
    fn may_be_left_out(&self, status: &LockgateNodeStatus) -> bool {
        let namespace = (!self.namespace.is_empty()).then_some(self.namespace.as_str());
        let own = place(self.kind, namespace, &self.name);
        status.errors_left_out > 0 && status.errors.last().is_none_or(|last| own >= last.place())
    }
}

/// What is said of one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeAnswer {
    /// Its name.
    pub node: String,
    /// How it stands.
    pub standing: Standing,
    /// Version of its agent.
    pub version: Option<String>,
    /// Epoch of its policy.
    pub epoch: Option<u64>,
    /// The newest resourceVersion in force of the resource that was asked for.
    pub resource_version: Option<String>,
    /// When it last reported.
    pub reported: Option<String>,
    /// What is not enforced as written: of what was asked for, or of everything.
    pub errors: Vec<ObjectError>,
    /// How many more objects have errors, whichever they are.
    pub errors_left_out: u64,
}

/// The answer. Its fields are a promise: add, do not rename.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// What was asked for, where something was.
    pub policy: Option<Asked>,
    /// How many nodes have it in force, all of it as written.
    pub in_force: usize,
    /// Every node, by name.
    pub nodes: Vec<NodeAnswer>,
}

impl Answer {
    /// Answers for these nodes, as of now.
    #[must_use]
    pub fn new(
        nodes: &[String],
        reports: &[LockgateNode],
        policy: Option<Asked>,
        now: SystemTime,
    ) -> Self {
        let report = |name: &String| {
            let named = |one: &&LockgateNode| one.metadata.name.as_ref() == Some(name);
            reports.iter().find(named).and_then(|one| one.status.as_ref())
        };
        let answer = |name: &String| of_node(name, report(name), policy.as_ref(), now);
        let mut nodes: Vec<NodeAnswer> = nodes.iter().map(answer).collect();
        nodes.sort_by(|a, b| a.node.cmp(&b.node));
        let in_force = nodes.iter().filter(|one| one.standing == Standing::InForce).count();
        Self { policy, in_force, nodes }
    }

    /// Whether every node has it in force as written. A cluster without nodes has nobody to say so.
    #[must_use]
    pub fn is_everywhere(&self) -> bool {
        self.in_force == self.nodes.len() && self.in_force > 0
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let what = self.policy.as_ref().map_or_else(
            || "what was read".to_owned(),
            |asked| format!("{} at resourceVersion {}", asked.object, asked.resource_version),
        );
        let mut text = String::new();
        let nodes = self.nodes.len();
        // Writing into a text does not fail.
        let _ = if self.policy.as_ref().is_some_and(|asked| asked.is_staged) {
            let staged = self.nodes.iter().filter(|one| one.standing == Standing::Staged).count();
            writeln!(text, "{what}: staged on {staged} of {nodes} nodes, in force on none")
        } else {
            writeln!(text, "{what}: in force on {} of {nodes} nodes", self.in_force)
        };
        let rows: Vec<_> = self.nodes.iter().map(|node| json!(node)).collect();
        text.push_str(&table(&NODES, &rows));
        let errors = self.nodes.iter().flat_map(|node| {
            node.errors.iter().map(|error| {
                let namespace = error.namespace.as_ref().map(|one| format!("{one}/"));
                let object = [&error.kind, " ", &namespace.unwrap_or_default(), &error.name];
                let (field, message) = (&error.field, &error.message);
                let object = object.map(|part: &str| part).concat();
                json!({"node": node.node, "object": object, "field": field, "message": message})
            })
        });
        let errors: Vec<_> = errors.collect();
        if !errors.is_empty() {
            text.push('\n');
            text.push_str(&table(&ERRORS, &errors));
        }
        for node in self.nodes.iter().filter(|node| node.errors_left_out > 0) {
            let _ = writeln!(
                text,
                "{} has errors of {} objects more.",
                node.node, node.errors_left_out
            );
        }
        text
    }
}

fn of_node(
    name: &str,
    status: Option<&LockgateNodeStatus>,
    asked: Option<&Asked>,
    now: SystemTime,
) -> NodeAnswer {
    let mut answer = NodeAnswer {
        node: name.to_owned(),
        standing: Standing::NeverReported,
        version: None,
        epoch: None,
        resource_version: None,
        reported: None,
        errors: Vec::new(),
        errors_left_out: 0,
    };
    let Some(status) = status else { return answer };
    let resource = |asked: &Asked| {
        let resource = status.resources.iter().find(|one| one.resource == asked.resource);
        resource.and_then(|one| one.resource_version.clone())
    };
    answer.version = Some(status.agent_version.clone());
    answer.epoch = Some(status.policy_epoch);
    answer.reported = Some(status.reported.clone());
    answer.resource_version = asked.and_then(resource);
    let is_meant = |error: &&ObjectError| asked.is_none_or(|asked| asked.is_of(error));
    answer.errors = status.errors.iter().filter(is_meant).cloned().collect();
    answer.errors_left_out = status.errors_left_out;
    answer.standing = standing(status, asked, &answer, now);
    answer
}

fn standing(
    status: &LockgateNodeStatus,
    asked: Option<&Asked>,
    answer: &NodeAnswer,
    now: SystemTime,
) -> Standing {
    // What bears no time was not written by an agent. One of the future is of another clock.
    let Some(reported) = time::parse(&status.reported) else { return Standing::NeverReported };
    if now.duration_since(reported).unwrap_or_default() > STALE {
        return Standing::Stale;
    }
    let is_in_force = if let Some(asked) = asked {
        // What a node cannot read, or does not see at all, it may lack whatever it had reached.
        is_read(status, asked)
            && has_reached(answer.resource_version.as_deref(), &asked.resource_version)
    } else {
        let ready = status.conditions.iter().find(|condition| condition.kind == "Ready");
        ready.is_some_and(|condition| condition.status == "True")
    };
    let may_be_left_out =
        asked.map_or(status.errors_left_out > 0, |asked| asked.may_be_left_out(status));
    let is_staged = asked.is_some_and(|asked| asked.is_staged);
    match (is_in_force, answer.errors.is_empty()) {
        (false, _) => Standing::NotYet,
        (true, _) if is_staged => Standing::Staged,
        (true, false) => Standing::InForceWithErrors,
        (true, true) if may_be_left_out => Standing::NotKnown,
        (true, true) => Standing::InForce,
    }
}

/// Whether a node has read what the kind of an object is now.
fn is_read(status: &LockgateNodeStatus, asked: &Asked) -> bool {
    status.resources.iter().any(|one| one.resource == asked.resource && one.state == READ)
}

/// Whether a version is at least another of the same resource (KEP-5504: they are whole numbers).
/// What is none is reached by nothing: better a node too many that is waited for.
fn has_reached(has: Option<&str>, wanted: &str) -> bool {
    let number = |text: &str| text.parse::<u64>().ok();
    match (has.and_then(number), number(wanted)) {
        (Some(has), Some(wanted)) => has >= wanted,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::super::node::{LockgateNodeSpec, NodeCondition, ResourceStatus};
    use super::*;
    use crate::watch::RESOURCES;

    const MINUTE: Duration = Duration::from_mins(1);

    fn report(name: &str, version: &str, at: Duration) -> LockgateNode {
        let mut node = LockgateNode::new(name, LockgateNodeSpec {});
        let condition = |kind: &str, status: &str| NodeCondition {
            kind: kind.to_owned(),
            status: status.to_owned(),
            ..NodeCondition::default()
        };
        node.status = Some(LockgateNodeStatus {
            reported: time::text(UNIX_EPOCH + at),
            resources: vec![ResourceStatus {
                resource: "networkpolicies.networking.k8s.io".to_owned(),
                state: READ.to_owned(),
                resource_version: Some(version.to_owned()),
                ..ResourceStatus::default()
            }],
            conditions: vec![condition("Ready", "True")],
            ..LockgateNodeStatus::default()
        });
        node
    }

    fn policy(version: &str) -> Asked {
        Asked::new(&RESOURCES[2], "demo", "web", version)
    }

    fn standings(reports: &[LockgateNode], asked: Option<Asked>) -> (Vec<Standing>, bool) {
        let names: Vec<String> = ["a", "b"].map(str::to_owned).to_vec();
        let answer = Answer::new(&names, reports, asked, UNIX_EPOCH + 10 * MINUTE);
        (answer.nodes.iter().map(|node| node.standing).collect(), answer.is_everywhere())
    }

    #[test]
    fn a_node_has_it_when_its_version_is_reached_compared_as_a_number() {
        let at = 10 * MINUTE;
        let both = [report("a", "100", at), report("b", "99", at)];
        let (found, everywhere) = standings(&both, Some(policy("100")));
        assert_eq!(found, [Standing::InForce, Standing::NotYet]);
        assert!(!everywhere);
        let (found, everywhere) = standings(&both, Some(policy("99")));
        assert_eq!(found, [Standing::InForce, Standing::InForce]);
        assert!(everywhere);
        assert!(!has_reached(None, "1") && !has_reached(Some("2"), "x"));
    }

    #[test]
    fn what_a_node_does_not_read_is_not_said_to_be_in_force_whatever_it_had_reached() {
        for state in ["Absent", "Unread", "Failing", ""] {
            let mut nodes = [report("a", "100", 10 * MINUTE), report("b", "100", 10 * MINUTE)];
            nodes[0].status.as_mut().unwrap().resources[0].state = state.to_owned();
            let (found, everywhere) = standings(&nodes, Some(policy("99")));
            assert_eq!(found, [Standing::NotYet, Standing::InForce], "{state}");
            assert!(!everywhere);
        }
    }

    #[test]
    fn who_never_reported_and_who_is_silent_are_told_apart() {
        let old = [report("a", "100", Duration::from_secs(7 * 60 - 1))];
        let (found, everywhere) = standings(&old, Some(policy("1")));
        assert_eq!(found, [Standing::Stale, Standing::NeverReported]);
        assert!(!everywhere);
        // What bears no time no agent wrote.
        let mut bare = report("a", "100", 10 * MINUTE);
        bare.status = Some(LockgateNodeStatus::default());
        assert_eq!(standings(&[bare], None).0[0], Standing::NeverReported);
    }

    #[test]
    fn what_is_staged_is_in_force_nowhere_and_its_errors_are_those_of_its_staged_kind() {
        let mut nodes = [report("a", "5", 10 * MINUTE), report("b", "4", 10 * MINUTE)];
        let error = ObjectError {
            kind: "StagedKubernetesNetworkPolicy".to_owned(),
            namespace: Some("demo".to_owned()),
            name: "web".to_owned(),
            message: "no port".to_owned(),
            ..ObjectError::default()
        };
        nodes[0].status.as_mut().unwrap().errors.push(error);
        let annotated = |says: &str| {
            let all = [("lockgate.dev/staged".to_owned(), says.to_owned())];
            policy("5").annotated(&BTreeMap::from(all))
        };
        let names = ["a".to_owned(), "b".to_owned()];
        let now = UNIX_EPOCH + 10 * MINUTE;
        let answer = Answer::new(&names, &nodes, Some(annotated("true")), now);
        let found: Vec<_> = answer.nodes.iter().map(|node| node.standing).collect();
        assert_eq!(found, [Standing::Staged, Standing::NotYet]);
        assert_eq!((answer.in_force, answer.is_everywhere()), (0, false));
        let text = answer.text();
        assert!(text.contains("staged on 1 of 2 nodes, in force on none\n"), "{text}");
        assert!(text.contains("no port"), "{text}");
        // Whoever says no, or neither, is enforced.
        for says in ["false", "perhaps"] {
            assert_eq!(standings(&nodes, Some(annotated(says))).0[0], Standing::InForce, "{says}");
        }
        let kind = RESOURCES.iter().find(|one| one.plural == "stagednetworkpolicies").unwrap();
        assert!(Asked::new(kind, "demo", "web", "5").is_staged);
    }

    #[test]
    fn errors_of_the_policy_are_no_success_and_others_are_not_its_own() {
        let mut nodes = [report("a", "5", 10 * MINUTE), report("b", "5", 10 * MINUTE)];
        let error = |name: &str| ObjectError {
            kind: "NetworkPolicy".to_owned(),
            namespace: Some("demo".to_owned()),
            name: name.to_owned(),
            message: "no port".to_owned(),
            ..ObjectError::default()
        };
        for (node, name) in nodes.iter_mut().zip(["web", "other"]) {
            node.status.as_mut().unwrap().errors.push(error(name));
        }
        let (found, everywhere) = standings(&nodes, Some(policy("5")));
        assert_eq!(found, [Standing::InForceWithErrors, Standing::InForce]);
        assert!(!everywhere);
        let names = ["a".to_owned(), "b".to_owned()];
        let now = UNIX_EPOCH + 10 * MINUTE;
        let text = Answer::new(&names, &nodes, Some(policy("5")), now).text();
        assert!(text.contains("at resourceVersion 5: in force on 1 of 2 nodes\n"), "{text}");
        assert!(text.contains("a     NetworkPolicy demo/web  -      no port"), "{text}");
        assert!(!text.contains("demo/other"), "{text}");
    }

    #[test]
    fn a_policy_that_may_be_among_the_errors_left_out_is_not_said_to_be_in_force() {
        let error = |name: &str| ObjectError {
            kind: "NetworkPolicy".to_owned(),
            namespace: Some("demo".to_owned()),
            name: name.to_owned(),
            ..ObjectError::default()
        };
        let mut nodes = [report("a", "5", 10 * MINUTE), report("b", "5", 10 * MINUTE)];
        for (node, last) in nodes.iter_mut().zip(["v", "x"]) {
            let status = node.status.as_mut().unwrap();
            status.errors = vec![error("a"), error(last)];
            status.errors_left_out = 1;
        }
        // What `a` has left out comes after `v`, as `web` does; what `b` has, after `x`.
        let (found, everywhere) = standings(&nodes, Some(policy("5")));
        assert_eq!(found, [Standing::NotKnown, Standing::InForce]);
        assert!(!everywhere);
        // Where not even the first of them is named, nothing is known.
        nodes[1].status.as_mut().unwrap().errors.clear();
        assert_eq!(standings(&nodes, Some(policy("5"))).0[1], Standing::NotKnown);
        assert_eq!(standings(&nodes, None).0[1], Standing::NotKnown);
    }

    #[test]
    fn where_nothing_is_asked_for_ready_nodes_count() {
        let mut nodes = [report("a", "5", 10 * MINUTE), report("b", "5", 10 * MINUTE)];
        assert!(standings(&nodes, None).1);
        nodes[1].status.as_mut().unwrap().conditions[0].status = "False".to_owned();
        assert_eq!(standings(&nodes, None).0, [Standing::InForce, Standing::NotYet]);
        assert!(!Answer::new(&[], &[], None, UNIX_EPOCH).is_everywhere());
    }
}
