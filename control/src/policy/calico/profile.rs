//! Profiles of Calico: what becomes of who met no rule in any tier.

use lockgate_dataplane::policy::ruleset::Direction;

use super::super::read::rules;
use super::super::rule::Listed;
use super::{RULES_MAX, rule};
use crate::manifest::Metadata;
use crate::manifest::fields::{Place, Report};
use crate::manifest::labels;
use crate::manifest::metadata::FIELDS;
use crate::selector::Labels;

const SHUT: &str = "until then the profile opens nothing";
const UNLABELLED: &str = "until then nobody can tell which labels it gives";

/// A profile. Those of pods are called `kns.NAMESPACE` and `ksa.NAMESPACE.ACCOUNT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Who it is.
    pub metadata: Metadata,
    /// What it adds to the labels of its endpoints; `None` where that cannot be read.
    pub labels: Option<Labels>,
    /// Its rules of ingress. None match: the next profile, and after the last denial.
    pub ingress: Vec<Listed>,
    /// Its rules of egress.
    pub egress: Vec<Listed>,
}

impl Profile {
    /// Reads a profile; this cannot fail, only close.
    pub(crate) fn read(root: &Place<'_>, metadata: Metadata, report: &mut Report<'_>) -> Self {
        let is_known = report.within(SHUT, |report| root.closed(report, "a Profile", &FIELDS));
        let Some(spec) = root.field("spec") else {
            let labels = is_known.is_ok().then(Labels::new);
            return Self { metadata, labels, ingress: Vec::new(), egress: Vec::new() };
        };
        let known = ["ingress", "egress", "labelsToApply"];
        let is_closed =
            report.within(SHUT, |report| spec.closed(report, "a Profile's spec", &known));
        let opens = is_known.is_ok() && is_closed.is_ok();
        let labels = report.within(UNLABELLED, |report| match spec.field("labelsToApply") {
            Some(at) => labels::map(&at, report).ok(),
            None => opens.then(Labels::new),
        });
        let mut read = |direction| -> Vec<Listed> {
            let read = rules(&spec, direction, &known, RULES_MAX, report, |at, report| {
                rule::listed(at, direction, None, report)
            });
            if opens { read } else { read.into_iter().map(Listed::shut).collect() }
        };
        let (ingress, egress) = (read(Direction::Ingress), read(Direction::Egress));
        Self { metadata, labels, ingress, egress }
    }
}
