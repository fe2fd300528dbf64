//! Who an object is: kind, namespace, name, and where it was written.
//!
//! An object whose namespace cannot be read is *lost*: it may be of any, so a lost policy isolates
//! every pod, a lost pod is denied everything. Its key begins with `?`, which no namespace does.
//! An object of the cluster has no namespace, whatever it says.

use std::cmp::Ordering;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::fields::{Place, Report};
use super::kind::ObjectKind;
use super::labels;
use super::problem::quoted;
use super::tree::Value;
use super::uid::Uid;
use crate::policy::Known;
use crate::selector::{is_dns_label, is_dns_subdomain};

/// What an object may hold beside what is its kind's.
pub(crate) const FIELDS: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];

/// What `metadata` may hold.
const METADATA_FIELDS: [&str; 16] = [
    "name",
    "namespace",
    "labels",
    "annotations",
    "uid",
    "generateName",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "resourceVersion",
    "ownerReferences",
    "finalizers",
    "managedFields",
    "selfLink",
    "clusterName",
];

const NAMELESS: &str =
    "until then no namespaceSelector matches a namespace that has no object of its own";

/// Begins the namespace of what is lost.
const LOST: &str = "?";

/// The namespace of an object that names none.
pub const DEFAULT_NAMESPACE: &str = "default";

/// Where an object was written: the later of two in this order is in force.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// The file's name; empty for an object that came from the cluster.
    pub file: Arc<str>,
    /// Its place among the objects of the file, from 0; marked where it
    /// [may be none](Self::is_stand_in).
    pub index: u32,
    /// The line it begins on, from 1; 0 if unknown.
    pub line: u32,
}

/// Marks the place of what may have been an object: see [`Origin::is_stand_in`].
const STAND_IN: u32 = 1 << 31;

impl Origin {
    /// Whether nobody can tell if the object is there: one that is counts, wherever it is written.
    #[must_use]
    pub fn is_stand_in(&self) -> bool {
        self.index & STAND_IN != 0
    }

    /// The same, of what may have been an object.
    pub(super) fn mark_stand_in(&mut self) {
        self.index |= STAND_IN;
    }
}

/// Which object. There is a key of each object in a dozen places: they are one piece of memory.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ObjectKey(Arc<Called>);

/// What an object is called.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Called {
    /// Of which kind.
    pub kind: ObjectKind,
    /// In which namespace; empty where its kind has none.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

impl Deref for ObjectKey {
    type Target = Called;

    fn deref(&self) -> &Called {
        &self.0
    }
}

/// By kind, namespace and name.
impl Ord for ObjectKey {
    fn cmp(&self, other: &Self) -> Ordering {
        if Arc::ptr_eq(&self.0, &other.0) { Ordering::Equal } else { self.0.cmp(&other.0) }
    }
}

impl PartialOrd for ObjectKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.spoken(), self.path())
    }
}

/// Who an object is and where it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// Who.
    pub key: ObjectKey,
    /// Where.
    pub origin: Origin,
    /// `metadata.uid`: tells a new object from an old one of the same name.
    pub uid: Option<Uid>,
}

/// Whether this stands where the namespace of an object cannot be read.
pub(crate) fn is_lost_namespace(namespace: &str) -> bool {
    namespace.starts_with(LOST)
}

impl ObjectKey {
    /// Of a kind, in a namespace (empty where the kind has none), by name.
    #[must_use]
    pub fn new(
        kind: ObjectKind,
        namespace: impl Into<Arc<str>>,
        name: impl Into<Arc<str>>,
    ) -> Self {
        Self(Arc::new(Called { kind, namespace: namespace.into(), name: name.into() }))
    }

    /// What it is called, to be exchanged for the same.
    pub(super) fn called_mut(&mut self) -> &mut Arc<Called> {
        &mut self.0
    }

    /// The object of another kind that is called the same.
    pub(crate) fn with_kind(&self, kind: ObjectKind) -> Self {
        Self::new(kind, Arc::clone(&self.namespace), Arc::clone(&self.name))
    }

    /// `namespace/name`, or the name alone of what is in no namespace.
    pub(crate) fn path(&self) -> String {
        let slash = if self.namespace.is_empty() { "" } else { "/" };
        format!("{}{slash}{}", self.namespace, self.name)
    }

    /// Whether it is not known in which namespace it is, or which namespace.
    pub(crate) fn is_lost(&self) -> bool {
        match self.kind {
            ObjectKind::Namespace => !is_dns_label(&self.name),
            _ => is_lost_namespace(&self.namespace),
        }
    }

    /// Before the keys of all objects of a kind that are lost.
    pub(crate) fn first_lost(kind: ObjectKind) -> Self {
        Self::new(kind, LOST, "")
    }
}

impl Metadata {
    /// Reads who an object is. One without a usable name is called `file#index`, which no
    /// object of the cluster can be, so that it is still enforced and can be spoken of.
    pub(crate) fn read<'f>(
        root: &Place<'_>,
        kind: ObjectKind,
        origin: Origin,
        file: &'f str,
    ) -> (Self, Report<'f>) {
        let key = key(root, kind, &format!("{file}#{}", origin.index));
        let uid = root.field("metadata").and_then(|metadata| metadata.field("uid"));
        let uid = uid.filter(|at| at.node.text() != Some(""));
        // One that is no text still tells one object from another.
        let uid = uid.map(|at| scalar(&at).unwrap_or_else(|| format!("{:?}", at.node.value)));
        let uid = uid.map(Uid::from);
        let mut report = Report::new(file, key.to_string());
        check(root, kind, &mut report);
        (Self { key, origin, uid }, report)
    }
}

fn key(root: &Place<'_>, kind: ObjectKind, unnamed: &str) -> ObjectKey {
    let written = root.field("metadata").and_then(|metadata| metadata.field("name"));
    let name = written.as_ref().and_then(scalar).unwrap_or_else(|| unnamed.to_owned());
    match kind {
        // Which namespace a number is depends on who reads it.
        ObjectKind::Namespace => {
            let is_number = written.is_some_and(|at| at.node.text().is_none());
            let name = if is_number { format!("{LOST}{name}") } else { name };
            ObjectKey::new(kind, "", name)
        }
        _ if !kind.is_namespaced() => ObjectKey::new(kind, "", name),
        _ => ObjectKey::new(kind, namespace(root, unnamed), name),
    }
}

/// A name as written: a number is the text of it.
fn scalar(at: &Place<'_>) -> Option<String> {
    match &at.node.value {
        Value::Text(text) if !text.is_empty() => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Number(text) => Some(text.clone()),
        Value::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}

/// The namespace as written; a lost one where it cannot be read or may be under another name.
fn namespace(root: &Place<'_>, unnamed: &str) -> String {
    let written = root.field("metadata").and_then(|metadata| metadata.field("namespace"));
    match written.filter(|at| at.node.text() != Some("")) {
        None if is_whole(root) => DEFAULT_NAMESPACE.to_owned(),
        None => format!("{LOST}{unnamed}"),
        Some(at) => match at.node.text().filter(|text| is_dns_label(text)) {
            Some(text) => text.to_owned(),
            None => format!("{LOST}{}", scalar(&at).as_deref().unwrap_or(unnamed)),
        },
    }
}

/// Whether every field of `metadata` is known, so that what is absent is absent.
pub(super) fn is_whole(root: &Place<'_>) -> bool {
    match root.field("metadata").map(|metadata| &metadata.node.value) {
        Some(Value::Map(fields)) => {
            fields.iter().all(|(name, _)| METADATA_FIELDS.contains(&name.as_str()))
        }
        _ => false,
    }
}

fn check(root: &Place<'_>, kind: ObjectKind, report: &mut Report<'_>) {
    let harm = harm(kind);
    let whole = report.within(harm, |report| {
        if let Some(metadata) = root.field("metadata") {
            return metadata.map(report, "metadata").map(|_| metadata);
        }
        let at = root.missing("metadata");
        Err(report.error(&at, "the object has no metadata", "add metadata with a name"))
    });
    let Ok(metadata) = whole else { return };
    let is_namespace = kind == ObjectKind::Namespace;
    let (of_name, of_namespace) = if is_namespace { (harm, "") } else { ("", harm) };
    _ = report.within("until then it may be any field that is absent", |report| {
        metadata.closed(report, "metadata", &METADATA_FIELDS)
    });
    report.within(of_name, |report| match metadata.field("name") {
        None => {
            let at = metadata.missing("name");
            report.error(&at, "the object has no name", "add metadata.name");
        }
        Some(at) => check_name(&at, "a name", is_namespace, report),
    });
    // An empty namespace is how an absent one is often written.
    if let Some(at) = metadata.field("namespace").filter(|at| at.node.text() != Some("")) {
        if kind.is_namespaced() {
            report.within(of_namespace, |report| check_name(&at, "a namespace", true, report));
        } else {
            let message = format!("a {} is in no namespace: this is ignored", kind.label());
            report.warning(&at, &message, "remove it");
        }
    }
    if let Some(at) = metadata.field("uid") {
        _ = at.text(report, "uid");
    }
    // Nothing is found by a policy's labels, and an API server refuses what are none.
    let is_policy = matches!(kind, ObjectKind::Policy | ObjectKind::Ordered(Known::Policy(_)));
    if let Some(at) = metadata.field("labels").filter(|_| is_policy) {
        _ = labels::map(&at, report);
    }
    // Of a pod's it is told what that costs.
    if let Some(at) = metadata.field("annotations").filter(|_| kind != ObjectKind::Pod) {
        _ = at.map(report, "annotations");
    }
}

/// What a namespace that cannot be read does here, or a name of a namespace.
fn harm(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Namespace => NAMELESS,
        ObjectKind::Pod => "until then the pod is denied everything",
        ObjectKind::Policy => "until then it isolates every pod of every namespace",
        ObjectKind::Ordered(Known::Policy(kind)) if kind.is_namespaced() => {
            "until then it is for every pod of every namespace and opens nothing"
        }
        ObjectKind::Ordered(Known::NetworkSet) => {
            "until then what allows does not see the set, and what denies does"
        }
        ObjectKind::EndpointSlice => {
            "until then what allows by a service does not see it, and what denies takes it to hold \
             every address"
        }
        ObjectKind::ServiceAccount => {
            "until then the labels of no account that has no object of its own are known"
        }
        ObjectKind::Service => "until then nobody finds it",
        ObjectKind::Node | ObjectKind::Ordered(_) => "",
    }
}

fn check_name(at: &Place<'_>, what: &str, is_label: bool, report: &mut Report<'_>) {
    let Ok(name) = at.text(report, what) else { return };
    let (is_good, longest) =
        if is_label { (is_dns_label(name), 63) } else { (is_dns_subdomain(name), 253) };
    if !is_good {
        let remedy = format!("use up to {longest} lower-case letters, digits and -");
        report.error(at, &format!("{} cannot be {what}", quoted(name)), &remedy);
    }
}
