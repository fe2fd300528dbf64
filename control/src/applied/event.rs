//! The event on a policy that is not enforced as written. Pure.
//!
//! An object has one event, which says its first fault and how many there are: who broke a policy sixty
//! times is told once, and does not stand before others.
//!
//! Every node finds the same faults. The name of the event follows from the object and the faults
//! alone, so all of them mean one event, and the API server lets the first one make it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::SystemTime;

use serde_json::{Value, json};

use crate::manifest::{ObjectKind, Problem, Severity};
use crate::watch::{RESOURCES, Resource};

/// Why the event is.
pub(super) const REASON: &str = "PolicyNotEnforcedAsWritten";
/// Who says so.
const REPORTER: &str = "lockgate.dev/agent";
/// Bytes that the note of an event may have.
const NOTE_MAX: usize = 1024;
/// Objects that are kept in mind: with more, a policy of some template is wrong, and these tell it.
pub(super) const FINDINGS_MAX: usize = 500;
/// Bytes of an object's name in an event's; a name has 253.
const NAME_MAX: usize = 200;

/// A policy with its first fault: one event says it, however many there are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Finding {
    problem: Problem,
    /// How many more there are in the same object.
    more: usize,
}

/// The object that an event is about, as the API server has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Regarding {
    pub(super) api_version: String,
    pub(super) uid: String,
    pub(super) resource_version: String,
}

/// What of problems is to be said on a policy: errors of policies, of tiers and of sets, one for each
/// object. What is wrong with a pod its own node tells in its report.
///
/// No more than are kept in mind, the same on every node. Each namespace has its first before any has
/// its second, and what is in no namespace counts as one: who may break many objects keeps nobody
/// else's from being told.
pub(super) fn findings(problems: &[Problem]) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for problem in problems.iter().filter(|problem| problem.severity == Severity::Error) {
        match places.entry(&problem.object) {
            Entry::Occupied(place) => found[*place.get()].more += 1,
            Entry::Vacant(place) => {
                let finding = Finding { problem: problem.clone(), more: 0 };
                if finding.resource().is_some() {
                    place.insert(found.len());
                    found.push(finding);
                }
            }
        }
    }
    let mut ranks: HashMap<String, usize> = HashMap::new();
    let mut ranked: Vec<(usize, Finding)> = Vec::new();
    for finding in found {
        let rank = ranks.entry(finding.namespace().to_owned()).or_default();
        ranked.push((*rank, finding));
        *rank += 1;
    }
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, finding)| finding).take(FINDINGS_MAX).collect()
}

impl Finding {
    /// The resource of its object, where that is one of policy.
    pub(super) fn resource(&self) -> Option<&'static Resource> {
        let (kind, _) = self.problem.object.split_once(' ')?;
        let is_of_policy =
            |one: &&Resource| matches!(one.kind, ObjectKind::Policy | ObjectKind::Ordered(_));
        RESOURCES.iter().filter(is_of_policy).find(|one| one.kind.spoken() == kind)
    }

    /// The namespace of its object; empty where it has none.
    pub(super) fn namespace(&self) -> &str {
        self.path().split_once('/').map_or("", |(namespace, _)| namespace)
    }

    /// The name of its object.
    pub(super) fn name(&self) -> &str {
        self.path().split_once('/').map_or(self.path(), |(_, name)| name)
    }

    fn path(&self) -> &str {
        self.problem.object.split_once(' ').map_or("", |(_, path)| path)
    }

    /// The name of its event, the same on every node.
    pub(super) fn event_name(&self, uid: &str) -> String {
        let Problem { field, message, remedy, .. } = &self.problem;
        // With another number of faults it is another event: one that is there is not written anew.
        let more = self.more.to_string();
        let parts = [uid, field, message, remedy, &more];
        let hash = hash(if self.more > 0 { &parts } else { &parts[..4] });
        let name = &self.name()[..self.name().floor_char_boundary(NAME_MAX)];
        let name = name.trim_end_matches(['.', '-']);
        format!("{name}.{hash:016x}")
    }

    /// The event.
    pub(super) fn event(&self, regarding: &Regarding, node: &str, now: SystemTime) -> Value {
        // Events about what is in no namespace are in this one, as Kubernetes has it.
        let within = if self.namespace().is_empty() { "default" } else { self.namespace() };
        let kind = self.resource().map_or("", |resource| resource.kind.label());
        let mut about = json!({
            "apiVersion": regarding.api_version, "kind": kind, "name": self.name(),
            "uid": regarding.uid, "resourceVersion": regarding.resource_version,
        });
        if let (Value::Object(fields), false) = (&mut about, self.namespace().is_empty()) {
            fields.insert("namespace".to_owned(), self.namespace().into());
        }
        json!({
            "apiVersion": "events.k8s.io/v1", "kind": "Event",
            "metadata": {"name": self.event_name(&regarding.uid), "namespace": within},
            "eventTime": humantime::format_rfc3339_micros(now).to_string(),
            "type": "Warning", "reason": REASON, "action": "Enforce", "note": self.note(),
            "regarding": about, "reportingController": REPORTER,
            "reportingInstance": node.get(..node.floor_char_boundary(128)).unwrap_or(node),
        })
    }

    /// Field, message and remedy of the first fault, and how many there are besides, within what a note may be.
    fn note(&self) -> String {
        let Problem { field, message, remedy, .. } = &self.problem;
        let field = if field.is_empty() { String::new() } else { format!("{field}: ") };
        let remedy = if remedy.is_empty() { String::new() } else { format!(" ({remedy})") };
        let (mut note, others) = (format!("{field}{message}{remedy}"), self.others());
        if note.len() + others.len() > NOTE_MAX {
            note.truncate(note.floor_char_boundary(NOTE_MAX - others.len() - '…'.len_utf8()));
            note.push('…');
        }
        note + &others
    }

    /// How many faults the object has besides; nothing where it has none.
    fn others(&self) -> String {
        let of_all = "all are in `lockgate validate` and, on a node, `lockgate status`";
        match self.more {
            0 => String::new(),
            1 => format!("; and 1 fault more: {of_all}"),
            more => format!("; and {more} faults more: {of_all}"),
        }
    }
}

/// FNV-1a: written out, for nodes of all versions must find the same number.
fn hash(parts: &[&str]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn problem(object: &str, message: &str) -> Problem {
        let error = Severity::Error;
        Problem::of_object(error, (None, None), object, "spec.ingress[0]", message, "mend it")
    }

    fn finding(object: &str, message: &str) -> Finding {
        findings(&[problem(object, message)]).remove(0)
    }

    fn regarding(uid: &str) -> Regarding {
        let (api_version, resource_version) = ("networking.k8s.io/v1".into(), "7".into());
        Regarding { api_version, uid: uid.to_owned(), resource_version }
    }

    #[test]
    fn errors_of_policies_are_said_on_them_and_nothing_of_pods() {
        let warning = Problem { severity: Severity::Warning, ..problem("NetworkPolicy a/b", "x") };
        let all = [
            problem("NetworkPolicy a/b", "x"),
            problem("NetworkPolicy.projectcalico.org a/b", "x"),
            problem("Tier t", "x"),
            problem("Pod a/b", "x"),
            problem("API server", "x"),
            warning,
        ];
        let found = findings(&all);
        let plurals: Vec<_> = found.iter().filter_map(Finding::resource).collect();
        let spoken: Vec<String> = plurals.iter().map(|one| one.spoken()).collect();
        assert_eq!(
            spoken,
            [
                "networkpolicies.networking.k8s.io",
                "tiers.projectcalico.org",
                "networkpolicies.projectcalico.org"
            ]
        );
    }

    #[test]
    fn an_object_has_one_event_which_says_the_first_fault_and_how_many_there_are() {
        let mut all: Vec<Problem> =
            (0..60).map(|n| problem("GlobalNetworkPolicy aaa", &format!("fault {n}"))).collect();
        all.push(problem("GlobalNetworkPolicy zzz", "x"));
        let found = findings(&all);
        assert_eq!(found.iter().map(Finding::name).collect::<Vec<_>>(), ["aaa", "zzz"]);
        let note = found[0].note();
        assert!(
            note.starts_with("spec.ingress[0]: fault 0 (mend it); and 59 faults more"),
            "{note}"
        );
        assert!(!found[1].note().contains("more"), "{}", found[1].note());
        // Of another number of faults another event.
        let fewer = findings(&all[1..]);
        assert_ne!(found[0].event_name("u"), fewer[0].event_name("u"));
        let long = vec![problem("Tier t", &"é".repeat(700)); 2];
        let note = findings(&long)[0].note();
        assert!(note.len() <= NOTE_MAX && note.contains("1 fault more"), "{}", note.len());
    }

    #[test]
    fn who_breaks_many_objects_keeps_no_other_namespace_from_being_told() {
        let mut all: Vec<Problem> =
            (0..600).map(|n| problem(&format!("NetworkPolicy a/p{n:05}"), "x")).collect();
        all.push(problem("NetworkPolicy b/last", "x"));
        all.push(problem("Tier t", "x"));
        let found = findings(&all);
        let first: Vec<&str> = found.iter().take(4).map(Finding::name).collect();
        assert_eq!((first, found.len()), (vec!["p00000", "last", "t", "p00001"], FINDINGS_MAX));
    }

    #[test]
    fn of_faults_without_end_a_bounded_number_is_kept_in_mind() {
        let all: Vec<Problem> =
            (0..10_000).map(|n| problem(&format!("NetworkPolicy a/p{n:05}"), "x")).collect();
        let found = findings(&all);
        assert_eq!((found.len(), found[0].name()), (FINDINGS_MAX, "p00000"));
    }

    #[test]
    fn all_nodes_name_one_event_and_other_faults_and_objects_have_others() {
        let one = finding("NetworkPolicy demo/web", "x");
        assert_eq!(one.event_name("u"), finding("NetworkPolicy demo/web", "x").event_name("u"));
        assert_ne!(one.event_name("u"), one.event_name("v"));
        assert_ne!(one.event_name("u"), finding("NetworkPolicy demo/web", "y").event_name("u"));
        // Whatever the version of the agent: the number itself is a promise.
        assert_eq!(hash(&["a"]), 0x089b_e207_b544_f1e4);
        let (here, there) = (one.event(&regarding("u"), "a", UNIX_EPOCH), "b");
        let there = one.event(&regarding("u"), there, UNIX_EPOCH);
        assert_eq!(here["metadata"], there["metadata"]);
    }

    #[test]
    fn an_event_says_field_message_and_remedy_on_its_object() {
        let event = finding("NetworkPolicy demo/web", "x").event(&regarding("u"), "a", UNIX_EPOCH);
        assert_eq!(event["note"], "spec.ingress[0]: x (mend it)");
        assert_eq!(event["regarding"]["name"], "web");
        assert_eq!(event["regarding"]["namespace"], "demo");
        assert_eq!(event["metadata"]["namespace"], "demo");
        assert_eq!(event["reason"], REASON);
        assert_eq!(event["eventTime"], "1970-01-01T00:00:00.000000Z");
        let tier = finding("Tier t", "x").event(&regarding("u"), "a", UNIX_EPOCH);
        assert_eq!(tier["metadata"]["namespace"], "default");
        assert_eq!(tier["regarding"].get("namespace"), None);
    }

    #[test]
    fn a_note_is_not_longer_than_it_may_be() {
        let long = finding("Tier t", &"é".repeat(700));
        let note = long.note();
        assert!(note.len() <= NOTE_MAX && note.ends_with('…'), "{}", note.len());
        let name = finding(&format!("Tier {}", "t".repeat(253)), "x").event_name("u");
        assert!(name.len() <= 253, "{name}");
    }
}
