//! The objects in the documents of a text.
//!
//! A document or an item of a list that is no object is a *stray*: reported by its place, and no
//! reason to leave the others out. Nobody can tell what a stray was meant to be, so it may have
//! been a policy: one that looks like it is also read as a policy that opens nothing.

use std::sync::Arc;

use super::fields::{Place, closest};
use super::policy::SPEC_FIELDS;
use super::problem::quoted;
use super::tree::{Document, Node, Value};
use super::{
    FileObjects, Metadata, Namespace, NetworkPolicy, Object, ObjectKind, Origin, Pod, Problem,
    Severity,
};

/// Reads the objects of a file.
///
/// # Errors
/// There is none, but something else.
pub(super) fn read(file: &str, documents: &[Document]) -> Result<FileObjects, Problem> {
    let (file, found) = (file.into(), FileObjects::default());
    let mut reader = Reader { file, found, next: 0, holds_objects: false };
    for document in documents {
        reader.document(&Spot { node: &document.root, document: document.number, path: "" });
    }
    match reader.found.problems.first() {
        Some(first) if !reader.holds_objects && !reader.found.strays.is_empty() => {
            Err(Problem { object: String::new(), ..first.clone() })
        }
        _ => Ok(reader.found),
    }
}

/// What an `apiVersion` and kind mean here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// A kind that is used, and whether in the version that is.
    Used(ObjectKind, bool),
    /// A list of objects.
    List,
    /// Anything else.
    Unused,
}

impl Known {
    fn of(called: Called<'_>) -> Self {
        let (used, current) = match called.kind.to_ascii_lowercase().as_str() {
            "list" | "networkpolicylist" | "podlist" | "namespacelist" => {
                return if is_ours(called.api_version) { Self::List } else { Self::Unused };
            }
            "pod" => (ObjectKind::Pod, "v1"),
            "namespace" => (ObjectKind::Namespace, "v1"),
            "networkpolicy" => (ObjectKind::Policy, "networking.k8s.io/v1"),
            // Without it every namespace that it may be would have no labels.
            other if closest(other, &["Namespace"]).is_some() => (ObjectKind::Namespace, "v1"),
            _ => return Self::Unused,
        };
        if !is_ours(called.api_version) {
            return Self::Unused;
        }
        Self::Used(used, called.api_version == current && called.kind == used.label())
    }
}

/// Whether an `apiVersion` can have been meant for Kubernetes itself. A group of another domain
/// (`projectcalico.org/v3`) has kinds of its own that only happen to share a name.
fn is_ours(api_version: &str) -> bool {
    let group = group(api_version);
    !group.contains('.') || group.ends_with("k8s.io") || is_policies(&group)
}

/// The group of an `apiVersion` as if it were well written: no group differs by case alone.
fn group(api_version: &str) -> String {
    api_version.split_once('/').map_or("", |(group, _)| group).to_ascii_lowercase()
}

/// Whether a group is that of policies, perhaps misspelt.
fn is_policies(group: &str) -> bool {
    closest(group, &["networking.k8s.io"]).is_some()
}

/// Whether what has no known kind may be a policy that has lost it. Other groups of Kubernetes
/// have kinds with some of its fields, such as `ClusterNetworkPolicy`.
fn looks_like_a_policy(node: &Node, called: Called<'_>) -> bool {
    let group = group(called.api_version);
    let has = |spec: &Node| SPEC_FIELDS.iter().any(|name| spec.field(name).is_some());
    let is_near = closest(called.kind, &["NetworkPolicy"]).is_some();
    (!group.contains('.') || is_policies(&group))
        && (is_near || node.field("spec").is_some_and(has))
}

/// What an object calls itself.
#[derive(Clone, Copy)]
struct Called<'n> {
    kind: &'n str,
    api_version: &'n str,
}

/// Where an object must be.
struct Spot<'n> {
    node: &'n Node,
    /// The number of its document.
    document: u32,
    /// The way to it from there: `items[3]`.
    path: &'n str,
}

struct Reader {
    file: Arc<str>,
    found: FileObjects,
    next: u32,
    /// Something was an object, if perhaps of a kind that is not used.
    holds_objects: bool,
}

impl Reader {
    fn document(&mut self, spot: &Spot<'_>) {
        let Value::Map(_) = spot.node.value else {
            let what = format!("{} where an object must be", spot.node.kind());
            return self.stray(spot, &what);
        };
        let word = |name: &str| spot.node.field(name).and_then(Node::text);
        let api_version = word("apiVersion").unwrap_or_default();
        let Some(kind) = word("kind") else {
            let called = Called { kind: "", api_version };
            return self.misfit(spot, "an object without a kind", called);
        };
        let called = Called { kind, api_version };
        match Known::of(called) {
            Known::List => self.list(spot, called),
            Known::Used(used, is_current) => self.used(spot.node, used, is_current, called),
            Known::Unused if looks_like_a_policy(spot.node, called) => {
                self.misfit(spot, &format!("a {}", quoted(kind)), called);
            }
            Known::Unused => self.unused(spot.node, called),
        }
    }

    /// A list's items are objects; those of `PodList` and the like may leave out their kind.
    fn list(&mut self, spot: &Spot<'_>, called: Called<'_>) {
        let Some(items) = spot.node.field("items") else {
            return self.stray(spot, "a List without items");
        };
        let joint = if spot.path.is_empty() { "" } else { "." };
        let path = format!("{}{joint}items", spot.path);
        let Value::List(nodes) = &items.value else {
            let at = Spot { node: items, document: spot.document, path: &path };
            return self.stray(&at, "a List whose items are no list");
        };
        let Called { kind, api_version } = called;
        let implied = kind.get(..kind.len().saturating_sub(4)).unwrap_or_default();
        let implied = Called { kind: implied, api_version };
        for (index, node) in nodes.iter().enumerate() {
            let is_bare = matches!(node.value, Value::Map(_)) && node.field("kind").is_none();
            match Known::of(implied) {
                Known::Used(used, is_current) if is_bare => {
                    self.used(node, used, is_current, implied);
                }
                _ => {
                    let path = format!("{path}[{index}]");
                    self.document(&Spot { node, document: spot.document, path: &path });
                }
            }
        }
    }

    fn used(&mut self, node: &Node, kind: ObjectKind, is_current: bool, called: Called<'_>) {
        self.holds_objects = true;
        let (object, problems) = self.object(node, kind, is_current, called);
        self.found.objects.push(object);
        self.found.problems.extend(problems);
    }

    fn object(
        &mut self,
        node: &Node,
        kind: ObjectKind,
        is_current: bool,
        called: Called<'_>,
    ) -> (Object, Vec<Problem>) {
        let at = &Place::root(node);
        let origin = Origin { file: self.file.clone(), index: self.next, line: node.line };
        self.next = self.next.saturating_add(1);
        let (metadata, mut report) = Metadata::read(at, kind, origin, &self.file);
        if !is_current {
            let wanted = if kind == ObjectKind::Policy { "networking.k8s.io/v1" } else { "v1" };
            let label = kind.label();
            let message = format!(
                "{} {} is not {wanted} {label}{}",
                quoted(called.api_version),
                quoted(called.kind),
                match kind {
                    ObjectKind::Policy => ": it isolates as stated and opens nothing",
                    _ => ": it is read as if it were",
                }
            );
            let name = if called.kind == label { "apiVersion" } else { "kind" };
            let place = at.field(name).unwrap_or_else(|| at.missing(name));
            report.error(&place, &message, &format!("write apiVersion: {wanted}, kind: {label}"));
        }
        let object = match kind {
            ObjectKind::Pod => Object::Pod(Pod::read(at, metadata, &mut report)),
            ObjectKind::Namespace => Object::Namespace(Namespace::read(at, metadata, &mut report)),
            ObjectKind::Policy => {
                Object::Policy(NetworkPolicy::read(at, metadata, is_current, &mut report))
            }
        };
        (object, report.into_problems())
    }

    fn unused(&mut self, node: &Node, called: Called<'_>) {
        self.holds_objects = true;
        let name = node.field("metadata").and_then(|meta| meta.field("name"));
        let name = name.and_then(Node::text).unwrap_or("(no name)");
        let Called { kind, api_version } = called;
        let message = format!("{api_version} {kind} is a kind that is not used");
        self.next = self.next.saturating_add(1);
        self.found.problems.push(Problem::of_object(
            Severity::Notice,
            (Some(&self.file), Some(node.line)),
            &format!("{kind} {name}"),
            "",
            &message,
            "nothing to do, unless it was meant to be enforced",
        ));
    }

    /// A map that is no object of any kind there is.
    fn misfit(&mut self, spot: &Spot<'_>, what: &str, called: Called<'_>) {
        if !looks_like_a_policy(spot.node, called) {
            return self.stray(spot, what);
        }
        self.stray(spot, &format!("{what}, but looks like a NetworkPolicy"));
        // What is wrong inside it can wait until it is known to be a policy.
        let (object, _) = self.object(spot.node, ObjectKind::Policy, false, called);
        self.found.stand_ins.push(object);
    }

    fn stray(&mut self, spot: &Spot<'_>, what: &str) {
        self.found.strays.push(spot.document);
        self.found.problems.push(Problem::of_object(
            Severity::Error,
            (Some(&self.file), Some(spot.node.line)),
            &format!("document {}", spot.document),
            spot.path,
            &format!("holds {what}"),
            "write a Kubernetes object with apiVersion, kind and metadata",
        ));
    }
}
