//! What Calico stores beside an object (`crd.projectcalico.org/v1`): the metadata that its API was
//! given, as JSON in an annotation. Only its labels matter here. They stand beside those of the
//! object itself, which older releases wrote, and count more.

use serde_json::Value as Json;

use crate::manifest::fields::{Broken, Place, Report};
use crate::manifest::labels;
use crate::manifest::tree::{Node, Value};
use crate::selector::Labels;

const GROUP: &str = "crd.projectcalico.org/";
const ANNOTATION: &str = "projectcalico.org/metadata";

/// The labels of an object whose own are these.
pub(super) fn labels(
    root: &Place<'_>,
    own: Labels,
    report: &mut Report<'_>,
) -> Result<Labels, Broken> {
    let is_stored = root.field("apiVersion").and_then(|at| at.node.text());
    if !is_stored.is_some_and(|version| version.starts_with(GROUP)) {
        return Ok(own);
    }
    let annotations = root.field("metadata").and_then(|at| at.field("annotations"));
    let Some(at) = annotations.and_then(|at| at.field(ANNOTATION)) else { return Ok(own) };
    let Ok(Json::Object(stored)) = serde_json::from_str(at.text(report, ANNOTATION)?) else {
        let remedy = "write it as Calico does, or leave it out";
        return Err(report.error(&at, "the stored metadata is no JSON of an object", remedy));
    };
    let Some(stored) = stored.get("labels").filter(|labels| !labels.is_null()) else {
        return Ok(own);
    };
    let node = node(stored, at.node.line);
    let stored = labels::map(&Place { node: &node, path: format!("{}.labels", at.path) }, report)?;
    let mut all = own;
    stored.iter().for_each(|(key, value)| all.insert(key, value));
    Ok(all)
}

/// A map of texts; whatever else it holds is nothing.
fn node(json: &Json, line: u32) -> Node {
    let value = match json {
        Json::String(text) => Value::Text(text.clone()),
        Json::Object(fields) => {
            Value::Map(fields.iter().map(|(name, json)| (name.clone(), node(json, line))).collect())
        }
        _ => Value::Null,
    };
    Node { value, line }
}
