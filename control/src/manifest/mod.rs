//! Manifests: text in, objects and problems out.
//!
//! `tree` reads YAML and JSON, `fields` reads trees closed, and one file per kind says what an
//! object means. Only [`read_dir`] touches the world, once. A text that is not YAML, or is empty,
//! is an `Err`: whoever holds its last good objects keeps them. A broken object is no `Err`: it
//! is enforced as far as it is understood, closed where it is not, and reported.

mod block;
mod fields;
mod labels;
mod metadata;
mod pod;
mod policy;
mod problem;
mod rule;
mod tree;

use std::path::Path;
use std::sync::Arc;

pub use metadata::{DEFAULT_NAMESPACE, Metadata, ObjectKey, ObjectKind, Origin};
pub use pod::{INTERFACE_ANNOTATION, MAC_ANNOTATION, NamedPort, Namespace, Pod};
pub use policy::NetworkPolicy;
pub(crate) use problem::quoted;
pub use problem::{Problem, Severity, escape};
pub use rule::{Peer, PortPattern, Rule, WhichPorts};

use fields::Place;
use tree::{Node, Value};

/// The largest file that is read.
const FILE_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// An object of a kind that is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// A pod.
    Pod(Pod),
    /// A namespace.
    Namespace(Namespace),
    /// A policy.
    Policy(NetworkPolicy),
}

impl Object {
    /// Who it is and where it was written.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        match self {
            Self::Pod(pod) => &pod.metadata,
            Self::Namespace(namespace) => &namespace.metadata,
            Self::Policy(policy) => &policy.metadata,
        }
    }
}

/// What a file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileObjects {
    /// In the order written; lists are taken apart.
    pub objects: Vec<Object>,
    /// What is to be said about them.
    pub problems: Vec<Problem>,
}

/// Reads the text of a file.
///
/// # Errors
/// The text is empty, is not YAML, or holds something that is no Kubernetes object.
pub fn read_text(file: &str, text: &str) -> Result<FileObjects, Problem> {
    // Comments alone are as empty: a policy file that lost its objects must not open anything.
    let is_empty = |line: &str| {
        let line = line.trim();
        matches!(line, "" | "---" | "...") || line.starts_with('#')
    };
    if text.lines().all(is_empty) {
        let remedy = "remove the file, or write its objects into it";
        return Err(Problem::of_file(file, None, "the file is empty", remedy));
    }
    let mut reader = Reader { file: file.into(), found: FileObjects::default(), next: 0 };
    for document in &tree::parse(file, text)? {
        reader.document(&Place::root(document))?;
    }
    Ok(reader.found)
}

/// Reads one YAML document that is no manifest, such as a configuration file.
pub(crate) fn read_yaml(text: &str) -> Result<serde_json::Value, Problem> {
    let documents = tree::parse("", text)?;
    match documents.as_slice() {
        [] => Ok(serde_json::Value::Object(serde_json::Map::new())),
        [document] => Ok(to_json(document)),
        _ => Err(Problem::of_file("", None, "there is more than one document", "leave one")),
    }
}

fn to_json(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(value) => (*value).into(),
        Value::Integer(number) => (*number).into(),
        Value::Number(text) | Value::Text(text) => text.clone().into(),
        Value::List(nodes) => nodes.iter().map(to_json).collect(),
        Value::Map(fields) => {
            fields.iter().map(|(name, node)| (name.clone(), to_json(node))).collect()
        }
    }
}

/// A file's name beside what it holds, or why it cannot be read.
pub type ReadFile = (String, Result<FileObjects, Problem>);

/// Reads the manifests of a directory, once: `*.yaml`, `*.yml` and `*.json`, by name. Files
/// whose name begins with a dot are left out, as are directories in it.
///
/// # Errors
/// The directory cannot be read.
pub fn read_dir(directory: &Path) -> Result<Vec<ReadFile>, Problem> {
    let shown = directory.display().to_string();
    let refused = |error: &std::io::Error| {
        let message = format!("cannot read the directory: {error}");
        Problem::of_file(&shown, None, &message, "name a directory of manifests you may read")
    };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(|error| refused(&error))? {
        let entry = entry.map_err(|error| refused(&error))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_manifest(&name) && !entry.path().is_dir() {
            names.push((name, entry.path()));
        }
    }
    names.sort();
    Ok(names
        .into_iter()
        .map(|(name, path)| {
            let read = read_file(&name, &path);
            (name, read)
        })
        .collect())
}

/// Whether a file of this name is read.
#[must_use]
pub fn is_manifest(name: &str) -> bool {
    let extension = Path::new(name).extension().and_then(|text| text.to_str());
    !name.starts_with('.') && matches!(extension, Some("yaml" | "yml" | "json"))
}

/// Reads one file; `name` is what problems call it.
///
/// # Errors
/// As [`read_text`], or the file cannot be read.
pub fn read_file(name: &str, path: &Path) -> Result<FileObjects, Problem> {
    let refused = |message: &str| Problem::of_file(name, None, message, "mend or remove the file");
    let size = std::fs::metadata(path).map_or(0, |meta| meta.len());
    if size > FILE_BYTES_MAX {
        return Err(refused(&format!("the file has {size} bytes: too many")));
    }
    match std::fs::read(path).map(String::from_utf8) {
        Ok(Ok(text)) => read_text(name, &text),
        Ok(Err(_)) => Err(refused("the file is not YAML: it is not UTF-8")),
        Err(error) => Err(refused(&format!("cannot read the file: {error}"))),
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
    fn of(api_version: &str, kind: &str) -> Self {
        let (used, current) = match kind.to_ascii_lowercase().as_str() {
            "list" | "networkpolicylist" | "podlist" | "namespacelist" => {
                return if is_ours(api_version) { Self::List } else { Self::Unused };
            }
            "pod" => (ObjectKind::Pod, "v1"),
            "namespace" => (ObjectKind::Namespace, "v1"),
            "networkpolicy" => (ObjectKind::Policy, "networking.k8s.io/v1"),
            _ => return Self::Unused,
        };
        if !is_ours(api_version) {
            return Self::Unused;
        }
        Self::Used(used, api_version == current && kind == used.label())
    }
}

/// Whether an `apiVersion` can have been meant for Kubernetes itself. A group of another domain
/// (`projectcalico.org/v3`) has kinds of its own that only happen to share a name.
fn is_ours(api_version: &str) -> bool {
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    !group.contains('.') || group.ends_with("k8s.io")
}

struct Reader {
    file: Arc<str>,
    found: FileObjects,
    next: u32,
}

impl Reader {
    fn document(&mut self, at: &Place<'_>) -> Result<(), Problem> {
        let Value::Map(_) = at.node.value else {
            let message = format!("holds {} where an object must be", at.node.kind());
            return Err(self.refused(at.node, &message));
        };
        let word = |name: &str| at.field(name).and_then(|place| place.node.text());
        let Some(kind) = word("kind") else {
            return Err(self.refused(at.node, "holds an object without a kind"));
        };
        let api_version = word("apiVersion").unwrap_or_default();
        match Known::of(api_version, kind) {
            Known::List => self.list(at, kind, api_version),
            Known::Unused => {
                self.unused(at.node, kind, api_version);
                Ok(())
            }
            Known::Used(used, is_current) => {
                self.object(at, used, is_current, (kind, api_version));
                Ok(())
            }
        }
    }

    /// A list's items are objects; those of `PodList` and the like may leave out their kind.
    fn list(&mut self, at: &Place<'_>, kind: &str, api_version: &str) -> Result<(), Problem> {
        let Some(items) = at.field("items") else { return Ok(()) };
        let Value::List(nodes) = &items.node.value else {
            return Err(self.refused(items.node, "holds a List whose items are no list"));
        };
        let implied = kind.get(..kind.len().saturating_sub(4)).unwrap_or_default();
        for node in nodes {
            let item = Place::root(node);
            let is_bare = item.field("kind").is_none() && !implied.is_empty();
            match (is_bare, Known::of(api_version, implied)) {
                (true, Known::Used(used, is_current)) if matches!(node.value, Value::Map(_)) => {
                    self.object(&item, used, is_current, (implied, api_version));
                }
                _ => self.document(&item)?,
            }
        }
        Ok(())
    }

    fn object(
        &mut self,
        at: &Place<'_>,
        kind: ObjectKind,
        is_current: bool,
        (written, api_version): (&str, &str),
    ) {
        let origin = Origin { file: self.file.clone(), index: self.next, line: at.node.line };
        self.next = self.next.saturating_add(1);
        let file = self.file.clone();
        let (metadata, mut report) = Metadata::read(at, kind, origin, &file);
        if !is_current {
            let wanted = if kind == ObjectKind::Policy { "networking.k8s.io/v1" } else { "v1" };
            let label = kind.label();
            let message = format!(
                "{} {} is not {wanted} {label}{}",
                quoted(api_version),
                quoted(written),
                match kind {
                    ObjectKind::Policy => ": it isolates as stated and opens nothing",
                    _ => ": it is read as if it were",
                }
            );
            report.error(at, &message, &format!("write apiVersion: {wanted}, kind: {label}"));
        }
        let object = match kind {
            ObjectKind::Pod => Object::Pod(Pod::read(at, metadata, &mut report)),
            ObjectKind::Namespace => Object::Namespace(Namespace::read(at, metadata, &mut report)),
            ObjectKind::Policy => {
                Object::Policy(NetworkPolicy::read(at, metadata, is_current, &mut report))
            }
        };
        self.found.objects.push(object);
        self.found.problems.extend(report.into_problems());
    }

    fn unused(&mut self, node: &Node, kind: &str, api_version: &str) {
        let name = node.field("metadata").and_then(|meta| meta.field("name"));
        let name = name.and_then(Node::text).unwrap_or("(no name)");
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

    fn refused(&self, node: &Node, message: &str) -> Problem {
        let remedy = "write Kubernetes objects with apiVersion, kind and metadata";
        Problem::of_file(&self.file, Some(node.line), message, remedy)
    }
}

#[cfg(test)]
mod tests;
