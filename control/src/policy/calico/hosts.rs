//! Policies for host endpoints alone: recognised, told of, and never enforced.

use super::super::Kind;
use crate::manifest::fields::{Broken, Place, Report};
use crate::manifest::tree::Value;

/// Whether a policy is for host endpoints alone: then it says nothing of pods.
pub(super) fn only(spec: &Place<'_>, kind: Kind, report: &mut Report<'_>) -> Result<bool, Broken> {
    if kind.is_namespaced() {
        return Ok(false);
    }
    let untracked = flag(spec, "doNotTrack", report);
    let early = flag(spec, "preDNAT", report);
    let forward = flag(spec, "applyOnForward", report);
    let (untracked, early, forward) = (untracked?, early?, forward?);
    if !untracked && !early {
        return Ok(false);
    }
    let name = if untracked { "doNotTrack" } else { "preDNAT" };
    let message = format!("{name} is not enforced: the policy is for host endpoints, not for pods");
    report.warning(&spec.missing(name), &message, "leave the host's own firewall to enforce it");
    if untracked && early {
        report.error(
            &spec.missing("preDNAT"),
            "doNotTrack and preDNAT exclude each other",
            "remove one",
        );
    }
    if !forward {
        let message = format!("{name} needs applyOnForward");
        report.error(&spec.missing(name), &message, "add applyOnForward: true");
    }
    if early && spec.field("egress").is_some() {
        report.error(&spec.missing("egress"), "preDNAT has no egress", "remove egress");
    }
    Ok(true)
}

fn flag(spec: &Place<'_>, name: &str, report: &mut Report<'_>) -> Result<bool, Broken> {
    match spec.field(name) {
        None => Ok(false),
        Some(at) => match at.node.value {
            Value::Bool(value) => Ok(value),
            _ => Err(at.mistyped(report, name, "true or false")),
        },
    }
}
