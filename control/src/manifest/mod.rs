//! Manifests: text in, objects and problems out.
//!
//! `tree` reads YAML and JSON, `reader` finds the objects in it, `kind` knows which are used, `fields`
//! reads trees closed, and one file per kind says what an object means: those of Kubernetes here,
//! those of ordered policy in [`policy`](crate::policy). Only [`read_dir`] touches the world, once.
//!
//! | what is wrong | what becomes of it |
//! |---|---|
//! | the text is empty, no YAML, or holds no object at all | `Err`: its last good objects stay |
//! | a document or list item is no object | reported as a stray; the others are read |
//! | an object is broken | enforced as far as it is understood, closed where it is not |

mod account;
mod address;
mod alike;
pub(crate) mod block;
pub(crate) mod fields;
mod fronts;
mod host_port;
mod json;
mod kind;
pub(crate) mod labels;
mod lines;
pub(crate) mod metadata;
mod namespace;
mod node;
mod object;
mod pod;
mod policy;
pub(crate) mod problem;
mod protocol;
mod reader;
pub(crate) mod rule;
mod service;
mod slice;
mod staged;
mod standing;
pub(crate) mod told;
pub(crate) mod tree;
mod uid;

use std::path::Path;

pub use account::{DEFAULT_ACCOUNT, ServiceAccount};
pub(crate) use address::why_no_pods;
pub use alike::Alike;
pub(crate) use block::HOST_BITS;
pub use fronts::Fronts;
pub use host_port::HostPort;
pub use kind::ObjectKind;
pub(crate) use lines::place;
pub(crate) use metadata::is_lost_namespace;
pub use metadata::{Called, DEFAULT_NAMESPACE, Metadata, ObjectKey, Origin};
pub use namespace::Namespace;
pub use node::Node;
pub use object::Object;
pub use pod::{INTERFACE_ANNOTATION, INTERFACE_FIELD, MAC_ANNOTATION, NamedPort, Pod};
pub(crate) use policy::NO_EFFECT;
pub use policy::NetworkPolicy;
pub use problem::{Problem, Severity, escape};
pub use rule::{Peer, PortPattern, Rule, WhichPorts};
pub use service::{Service, ServicePort, TargetPort};
pub use slice::{EndpointSlice, SlicePort};
pub use staged::{is_staged, staged_by};
pub use standing::{Hints, SliceEndpoint};
pub use uid::Uid;

use tree::Value;

/// The largest file that is read.
const FILE_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// What a file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileObjects {
    /// In the order written; lists are taken apart.
    pub objects: Vec<Object>,
    /// What is to be said about them.
    pub problems: Vec<Problem>,
    /// The numbers of the documents that are no object, or hold an item that is none. Each may
    /// have been an object that the file held before.
    pub strays: Vec<u32>,
    /// Strays that look like a policy, read as ones that open nothing: for whoever holds no last
    /// good one of the same name.
    pub stand_ins: Vec<Object>,
}

/// Reads the text of a file.
///
/// # Errors
/// The text is empty, is not YAML, or holds no Kubernetes object but something else.
pub fn read_text(file: &str, text: &str) -> Result<FileObjects, Problem> {
    let documents = tree::parse(file, &json::joined(text))
        .map_err(|problem| json::told(file, text, problem))?;
    // Comments alone are as empty: a policy file that lost its objects must not open anything.
    if documents.is_empty() {
        let remedy = "remove the file, or write its objects into it";
        return Err(Problem::of_file(file, None, "the file is empty", remedy));
    }
    reader::read(file, &documents)
}

/// Reads one YAML document that is no manifest, such as a configuration file.
pub(crate) fn read_yaml(text: &str) -> Result<serde_json::Value, Problem> {
    let documents = tree::parse("", text)?;
    match documents.as_slice() {
        [] => Ok(serde_json::Value::Object(serde_json::Map::new())),
        [document] => Ok(to_json(&document.root)),
        _ => Err(Problem::of_file("", None, "there is more than one document", "leave one")),
    }
}

fn to_json(node: &tree::Node) -> serde_json::Value {
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

/// To be known of a directory in which no file is read.
#[must_use]
pub fn nothing_in(directory: &Path) -> Problem {
    let shown = directory.display().to_string();
    let message = "no file of the directory is a manifest: no pod and no policy is known";
    let remedy = "name manifests *.yaml, *.yml or *.json, or name another directory";
    let severity = Severity::Notice;
    Problem::of_object(severity, (Some(&shown), None), "", "", message, remedy)
}

/// Whether a file of this name is read.
#[must_use]
pub fn is_manifest(name: &str) -> bool {
    let extension = Path::new(name).extension().and_then(|text| text.to_str());
    let is_one =
        |text: &str| ["yaml", "yml", "json"].iter().any(|one| text.eq_ignore_ascii_case(one));
    !name.starts_with('.') && extension.is_some_and(is_one)
}

/// Reads one file; `name` is what problems call it.
///
/// # Errors
/// As [`read_text`], or the file cannot be read.
pub fn read_file(name: &str, path: &Path) -> Result<FileObjects, Problem> {
    let refused = |message: &str| Problem::of_file(name, None, message, "mend or remove the file");
    let meta = std::fs::metadata(path).ok();
    // A pipe would be waited for, and a device never ends.
    if meta.as_ref().is_some_and(|meta| !meta.is_file()) {
        return Err(refused("it is not a regular file"));
    }
    let size = meta.map_or(0, |meta| meta.len());
    if size > FILE_BYTES_MAX {
        return Err(refused(&format!("the file has {size} bytes: too many")));
    }
    match std::fs::read(path).map(String::from_utf8) {
        Ok(Ok(text)) => read_text(name, &text),
        Ok(Err(_)) => {
            let format = if json::is_meant(name) { "JSON" } else { "YAML" };
            Err(refused(&format!("the file is not {format}: it is not UTF-8")))
        }
        Err(error) => Err(refused(&format!("cannot read the file: {error}"))),
    }
}

#[cfg(test)]
mod tests;
