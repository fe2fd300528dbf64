//! A `NetworkPolicy` that an annotation stages: from here on it is a `StagedKubernetesNetworkPolicy`
//! that is to be set.

use super::ObjectKind;
use super::fields::{Place, Report};
use super::problem::quoted;
use crate::policy::{Kind, Known};

const ANNOTATION: &str = "lockgate.dev/staged";

/// As what an object is read that is written as a kind.
pub(super) fn read_as(root: &Place<'_>, written: ObjectKind) -> ObjectKind {
    let is_staged = annotation(root).is_some_and(|at| at.node.text() == Some("true"));
    if written == ObjectKind::Policy && is_staged {
        ObjectKind::Ordered(Known::Policy(Kind::StagedKubernetesNetworkPolicy))
    } else {
        written
    }
}

/// Tells of an annotation that says neither yes nor no.
pub(super) fn check(root: &Place<'_>, report: &mut Report<'_>) {
    let Some(at) = annotation(root) else { return };
    report.within("until then it is enforced", |report| {
        // What is no text is told as such.
        let says = at.text(report, "an annotation").unwrap_or("false");
        if !["true", "false"].contains(&says) {
            let message = format!("{} says neither yes nor no", quoted(says));
            report.error(&at, &message, "write \"true\" or \"false\"");
        }
    });
}

fn annotation<'n>(root: &Place<'n>) -> Option<Place<'n>> {
    root.field("metadata")?.field("annotations")?.field(ANNOTATION)
}
