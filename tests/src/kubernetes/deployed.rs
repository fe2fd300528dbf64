//! The agent as it is deployed: from the plain manifest, in an image made by hand.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use lockgate_control::watch::RESOURCES;
use serde::Deserialize;
use serde_json::Value;

use super::images::BareImage;
use crate::lab::LabError;

/// The programs of the image; the first is run.
pub const PROGRAMS: [&str; 2] = ["lockgate", "lockgate-cni"];

/// The plain manifest, in the tree.
pub const MANIFEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/lockgate.yaml");

/// The image that a manifest asks for, of the programs in a directory.
///
/// # Errors
/// When the manifest has no agent, or a program is missing.
pub fn image(manifest: &str, programs: &Path) -> Result<BareImage, LabError> {
    let documents = documents(manifest)?;
    let pod = &of_kind(&documents, "DaemonSet")?["spec"]["template"]["spec"];
    let name = pod["containers"][0]["image"].as_str().unwrap_or_default().to_owned();
    let programs: Vec<PathBuf> = PROGRAMS.iter().map(|name| programs.join(name)).collect();
    if let Some(missing) = programs.iter().find(|path| !path.is_file()) {
        return Err(LabError::Unexpected(format!(
            "{} is missing: run `scripts/image {} debug`",
            missing.display(),
            missing.parent().unwrap_or(Path::new("/")).display()
        )));
    }
    Ok(BareImage { name, programs, arguments: &["run", "--in-cluster"] })
}

/// The objects of a manifest.
///
/// # Errors
/// When it is no YAML.
pub fn documents(manifest: &str) -> Result<Vec<Value>, LabError> {
    let read = serde_yaml_ng::Deserializer::from_str(manifest).map(Value::deserialize);
    let all: Vec<Value> = read
        .collect::<Result<_, _>>()
        .map_err(|error| LabError::Unexpected(format!("the manifest is no YAML: {error}")))?;
    Ok(all.into_iter().filter(|document| !document.is_null()).collect())
}

/// The object of a kind.
///
/// # Errors
/// When there is none.
pub fn of_kind<'d>(documents: &'d [Value], kind: &str) -> Result<&'d Value, LabError> {
    let found = documents.iter().find(|document| document["kind"] == kind);
    found.ok_or_else(|| LabError::Unexpected(format!("the manifest has no {kind}")))
}

/// What the role of a manifest allows, each as [`ask`] says it.
///
/// # Errors
/// When it has no role.
pub fn allowed(manifest: &str) -> Result<BTreeSet<String>, LabError> {
    let documents = documents(manifest)?;
    let rules = of_kind(&documents, "ClusterRole")?["rules"].as_array().cloned();
    let words = |rule: &Value, name: &str| -> Vec<String> {
        let list = rule[name].as_array().cloned().unwrap_or_default();
        list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut all = BTreeSet::new();
    for rule in rules.unwrap_or_default() {
        for group in words(&rule, "apiGroups") {
            for resource in words(&rule, "resources") {
                all.extend(words(&rule, "verbs").iter().map(|verb| ask(verb, &group, &resource)));
            }
        }
    }
    Ok(all)
}

/// Groups and resources that the agent watches, in every version that it knows.
#[must_use]
pub fn watched() -> BTreeSet<(&'static str, &'static str)> {
    let group = |version: &'static str| version.split_once('/').map_or("", |(group, _)| group);
    let of = |one: &lockgate_control::watch::Resource| {
        let (versions, plural) = (one.kind.versions(), one.plural);
        versions.iter().map(move |version| (group(version), plural)).collect::<Vec<_>>()
    };
    RESOURCES.iter().flat_map(of).collect()
}

/// What the agent writes: its node's report, and events on policies that are broken.
#[must_use]
pub fn written() -> [String; 4] {
    let (own, report) = ("lockgate.dev", "lockgatenodes");
    [
        ask("create", own, report),
        ask("patch", own, report),
        ask("patch", own, "lockgatenodes/status"),
        ask("create", "events.k8s.io", "events"),
    ]
}

/// `list pods`, `watch tiers.projectcalico.org`: as a role allows it, or a client asks for it.
#[must_use]
pub fn ask(verb: &str, group: &str, resource: &str) -> String {
    match group {
        "" => format!("{verb} {resource}"),
        _ => format!("{verb} {resource}.{group}"),
    }
}
