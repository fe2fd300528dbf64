//! A `NetworkPolicy` that an annotation stages: from here on it is a `StagedKubernetesNetworkPolicy`
//! that is to be set.

use std::collections::BTreeMap;

use super::fields::{Place, Report};
use super::problem::quoted;
use super::{ObjectKey, ObjectKind};
use crate::policy::{Kind, Known};

const ANNOTATION: &str = "lockgate.dev/staged";

/// As what an object is read that is written as a kind.
pub(super) fn read_as(root: &Place<'_>, written: ObjectKind) -> ObjectKind {
    let says_so = annotation(root).is_some_and(|at| at.node.text() == Some("true"));
    if written == ObjectKind::Policy && says_so {
        ObjectKind::Ordered(Known::Policy(Kind::StagedKubernetesNetworkPolicy))
    } else {
        written
    }
}

/// As what an object of the API server is read that is written as a kind, by its annotations.
#[must_use]
pub fn staged_by(written: ObjectKind, annotations: &BTreeMap<String, String>) -> ObjectKind {
    let says = annotations.get(ANNOTATION).map(String::as_str);
    if written == ObjectKind::Policy && says == Some("true") {
        of(Kind::StagedKubernetesNetworkPolicy)
    } else {
        written
    }
}

/// Whether a kind is a staged one: its objects decide nothing.
#[must_use]
pub fn is_staged(kind: ObjectKind) -> bool {
    STAGED.iter().any(|(_, staged)| of(*staged) == kind)
}

/// The kinds that are staged by kinds of their own, beside those.
const STAGED: [(ObjectKind, Kind); 3] = [
    (ObjectKind::Policy, Kind::StagedKubernetesNetworkPolicy),
    (of(Kind::CalicoNetworkPolicy), Kind::StagedNetworkPolicy),
    (of(Kind::GlobalNetworkPolicy), Kind::StagedGlobalNetworkPolicy),
];

const fn of(kind: Kind) -> ObjectKind {
    ObjectKind::Ordered(Known::Policy(kind))
}

impl ObjectKey {
    /// What is staged in place of this policy, by its name.
    pub(crate) fn staged(&self) -> Option<Self> {
        let (_, kind) = STAGED.iter().find(|(enforced, _)| *enforced == self.kind)?;
        Some(self.with_kind(of(*kind)))
    }

    /// The policy in whose place this one is staged, by its name.
    pub(crate) fn enforced(&self) -> Option<Self> {
        let (kind, _) = STAGED.iter().find(|(_, staged)| of(*staged) == self.kind)?;
        Some(self.with_kind(*kind))
    }
}

/// Tells of an annotation that says neither yes nor no, or stands where it says nothing.
pub(super) fn check(root: &Place<'_>, kind: ObjectKind, report: &mut Report<'_>) {
    let Some(at) = annotation(root) else { return };
    if kind != ObjectKind::Policy {
        let message = "only a NetworkPolicy of Kubernetes is staged by an annotation: here it says \
                       nothing";
        let remedy = match kind {
            ObjectKind::Ordered(Known::Policy(Kind::CalicoNetworkPolicy)) => {
                "write a StagedNetworkPolicy"
            }
            ObjectKind::Ordered(Known::Policy(Kind::GlobalNetworkPolicy)) => {
                "write a StagedGlobalNetworkPolicy"
            }
            _ => "remove it",
        };
        return report.warning(&at, message, remedy);
    }
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
