//! The objects in the documents of a text.
//!
//! A document or an item of a list that is no object is a *stray*: reported by its place, and no
//! reason to leave the others out. Nobody can tell what a stray was meant to be, so it may have
//! been a policy: one that looks like it is also read as a policy that opens nothing.

use std::sync::Arc;

use super::fields::{Place, Report, closest};
use super::kind::{group, is_policies};
use super::policy::SPEC_FIELDS;
use super::problem::quoted;
use super::tree::{Document, Node, Value};
use super::{FileObjects, Metadata, Object, ObjectKind, Origin, Problem, Severity, staged};
use crate::policy::Known;

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

/// Reads an object that an API server was asked for by its kind: items of its lists name none.
pub(super) fn read_told(
    node: &Node,
    kind: ObjectKind,
    api_version: &str,
) -> (Object, Vec<Problem>) {
    let (file, found) = ("".into(), FileObjects::default());
    let mut reader = Reader { file, found, next: 0, holds_objects: false };
    let is_current = kind.versions().contains(&api_version);
    reader.object(node, kind, is_current, Called { kind: kind.label(), api_version })
}

/// As which policy something is read that has no known kind, if it looks like one.
fn stand_in(node: &Node, called: Called<'_>) -> Option<ObjectKind> {
    let says = |name: &str| node.field("spec").is_some_and(|spec| spec.field(name).is_some());
    let group = group(called.api_version);
    if !group.contains('.') || is_policies(&group) {
        let is_near = closest(called.kind, &["NetworkPolicy"]).is_some();
        return (is_near || SPEC_FIELDS.iter().any(|name| says(name)))
            .then_some(ObjectKind::Policy);
    }
    let namespace = node.field("metadata").and_then(|at| at.field("namespace"));
    let is_in_namespace = namespace.is_some_and(|at| at.text() != Some(""));
    let meant = Known::meant(called.api_version, called.kind, is_in_namespace, says);
    meant.map(|kind| ObjectKind::Ordered(Known::Policy(kind)))
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
        if let Some(implied) = ObjectKind::listed(api_version, kind) {
            return self.list(spot, Called { kind: implied, api_version });
        }
        match ObjectKind::of(api_version, kind) {
            Some((used, is_current)) => self.used(spot.node, used, is_current, called),
            None if stand_in(spot.node, called).is_some() => {
                self.misfit(spot, &format!("a {}", quoted(kind)), called);
            }
            None => self.unused(spot.node, called),
        }
    }

    /// A list's items are objects; those of `PodList` and the like may leave out their kind, which
    /// is `implied`.
    fn list(&mut self, spot: &Spot<'_>, implied: Called<'_>) {
        let Some(items) = spot.node.field("items") else {
            return self.stray(spot, "a List without items");
        };
        let joint = if spot.path.is_empty() { "" } else { "." };
        let path = format!("{}{joint}items", spot.path);
        let Value::List(nodes) = &items.value else {
            let at = Spot { node: items, document: spot.document, path: &path };
            return self.stray(&at, "a List whose items are no list");
        };
        let used = ObjectKind::of(implied.api_version, implied.kind);
        for (index, node) in nodes.iter().enumerate() {
            let is_bare = matches!(node.value, Value::Map(_)) && node.field("kind").is_none();
            match used {
                Some((used, is_current)) if is_bare => {
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
        let read_as = staged::read_as(at, kind);
        let (metadata, mut report) = Metadata::read(at, read_as, origin, &self.file);
        if !is_current {
            tell_outdated(at, kind, called, &mut report);
        }
        staged::check(at, kind, &mut report);
        let object = Object::read(at, read_as, metadata, is_current, &mut report);
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
        let Some(kind) = stand_in(spot.node, called) else { return self.stray(spot, what) };
        self.stray(spot, &format!("{what}, but looks like a {}", kind.label()));
        // What is wrong inside it can wait until it is known to be a policy.
        let (mut object, _) = self.object(spot.node, kind, false, called);
        object.metadata_mut().origin.mark_stand_in();
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

/// What is not written as its kind must be.
fn tell_outdated(at: &Place<'_>, kind: ObjectKind, called: Called<'_>, report: &mut Report<'_>) {
    let (label, wanted) = (kind.label(), kind.versions().first().copied().unwrap_or_default());
    let message = format!(
        "{} {} is not {wanted} {label}{}",
        quoted(called.api_version),
        quoted(called.kind),
        match kind {
            ObjectKind::Policy => ": it isolates as stated and opens nothing",
            ObjectKind::Ordered(known) if known.is_policy() => ": it opens nothing",
            _ => ": it is read as if it were",
        }
    );
    let name = if called.kind == label { "apiVersion" } else { "kind" };
    let place = at.field(name).unwrap_or_else(|| at.missing(name));
    report.error(&place, &message, &format!("write apiVersion: {wanted}, kind: {label}"));
}
