//! Who an object is: kind, namespace, name, and where it was written.

use std::fmt;
use std::sync::Arc;

use super::fields::{Place, Report};
use super::problem::quoted;
use super::tree::Value;
use crate::selector::{is_dns_label, is_dns_subdomain};

/// The namespace of an object that names none.
pub const DEFAULT_NAMESPACE: &str = "default";

/// Where an object was written: the later of two in this order is in force.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// The file's name; empty for an object that came from the cluster.
    pub file: Arc<str>,
    /// Its place among the objects of the file, from 0.
    pub index: u32,
    /// The line it begins on, from 1; 0 if unknown.
    pub line: u32,
}

/// The kinds that are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKind {
    /// A namespace: labels.
    Namespace,
    /// A pod: labels, addresses, ports.
    Pod,
    /// A `NetworkPolicy` of `networking.k8s.io/v1`.
    Policy,
}

impl ObjectKind {
    /// Its name in manifests.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Namespace => "Namespace",
            Self::Pod => "Pod",
            Self::Policy => "NetworkPolicy",
        }
    }
}

/// Which object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// Of which kind.
    pub kind: ObjectKind,
    /// In which namespace; empty for a namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, namespace, name } = self;
        let slash = if namespace.is_empty() { "" } else { "/" };
        write!(f, "{} {namespace}{slash}{name}", kind.label())
    }
}

/// Who an object is and where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Who.
    pub key: ObjectKey,
    /// Where.
    pub origin: Origin,
    /// `metadata.uid`: tells a new object from an old one of the same name.
    pub uid: Option<String>,
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
        let written = root.field("metadata");
        let part = |name: &str| written.as_ref().and_then(|place| scalar(&place.field(name)?));
        let namespace = match kind {
            ObjectKind::Namespace => String::new(),
            _ => part("namespace").unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned()),
        };
        let name = part("name").unwrap_or_else(|| format!("{file}#{}", origin.index));
        let uid = part("uid");
        let key = ObjectKey { kind, namespace, name };
        let mut report = Report::new(file, key.to_string());
        match &written {
            Some(metadata) => check(metadata, kind, &mut report),
            None => {
                report.error(root, "the object has no metadata", "add metadata with a name");
            }
        }
        (Self { key, origin, uid }, report)
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

fn check(metadata: &Place<'_>, kind: ObjectKind, report: &mut Report<'_>) {
    if metadata.map(report, "metadata").is_err() {
        return;
    }
    match metadata.field("name") {
        None => {
            report.error(metadata, "the object has no name", "add metadata.name");
        }
        Some(at) => check_name(&at, "a name", kind == ObjectKind::Namespace, report),
    }
    // An empty namespace is how an absent one is often written.
    if let Some(at) = metadata.field("namespace").filter(|at| at.node.text() != Some("")) {
        check_name(&at, "a namespace", true, report);
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
