//! A `NetworkPolicy` as written, read closed (NP-59).
//!
//! | what is wrong | what is enforced |
//! |---|---|
//! | a part of a rule | the rule opens nothing; the policy isolates as stated |
//! | `podSelector` | every pod of the namespace is isolated as stated; nothing is opened |
//! | `policyTypes`, an entry of it, or a third | both directions are isolated; rules count |
//! | an unknown field of `spec`, no `policyTypes` | both directions are isolated; rules count |
//! | an unknown field of `spec`, no `podSelector` | as a broken `podSelector` |
//! | `spec` | every pod of the namespace is isolated in both directions |
//! | `apiVersion` | isolates as stated; nothing is opened |
//! | `metadata.namespace` | every pod of every namespace is isolated as stated; nothing is opened |
//! | `metadata.name` | enforced as written, under the name `file#index` |
//!
//! A misspelt field could be any of the absent ones; hence the two rows of `spec`.

use lockgate_dataplane::policy::ruleset::Direction;
use serde::{Deserialize, Serialize};

use super::fields::{Broken, Place, Report};
use super::labels;
use super::metadata::{FIELDS, Metadata};
use super::problem::quoted;
use super::rule::{self, Rule};
use super::tree::Value;
use crate::selector::LabelSelector;

/// What a policy's spec may hold.
pub(super) const SPEC_FIELDS: [&str; 4] = ["podSelector", "ingress", "egress", "policyTypes"];

const SELECTS_ALL: &str =
    "until then the policy isolates every pod of its namespace and opens nothing";
const ISOLATES_BOTH: &str = "until then the policy isolates in both directions";
/// What is said of rules of a direction that the policy is not for.
pub(crate) const NO_EFFECT: &str = "rules without effect";

const UNSAID: &str = "until then what it says is not in force";
const AS_STATED: &str = "until then only what else it says is in force";

/// A policy: whom it selects, in which directions it isolates them, and what it opens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkPolicy {
    /// Who it is.
    pub metadata: Metadata,
    /// The pods of its namespace that it isolates; of a lost one, every pod is.
    pub subjects: LabelSelector,
    /// `Some` isolates for ingress: the rules as listed, `None` for a broken one.
    pub ingress: Option<Vec<Option<Rule>>>,
    /// `Some` isolates for egress: the rules as listed, `None` for a broken one.
    pub egress: Option<Vec<Option<Rule>>>,
}

impl NetworkPolicy {
    /// What it says of a direction; `None` where it does not isolate.
    #[must_use]
    pub fn rules(&self, direction: Direction) -> Option<&[Option<Rule>]> {
        match direction {
            Direction::Ingress => self.ingress.as_deref(),
            Direction::Egress => self.egress.as_deref(),
        }
    }

    /// Reads a policy; this cannot fail, only close. `is_current` is whether its `apiVersion`
    /// is the one whose rules are known here.
    pub(crate) fn read(
        root: &Place<'_>,
        metadata: Metadata,
        is_current: bool,
        report: &mut Report<'_>,
    ) -> Self {
        let is_known =
            report.within(AS_STATED, |report| root.closed(report, "a NetworkPolicy", &FIELDS));
        let Some(spec) = root.field("spec") else {
            // As Kubernetes: nothing said selects every pod for ingress (NP-1, NP-3).
            report.warning(root, "the policy has no spec: it denies all ingress", "add spec");
            let egress = is_known.is_err().then(Vec::new);
            let subjects = LabelSelector::default();
            return Self { metadata, subjects, ingress: Some(Vec::new()), egress };
        };
        if !matches!(spec.node.value, Value::Map(_)) {
            report.within(SELECTS_ALL, |report| spec.mistyped(report, "spec", "a map"));
            let subjects = LabelSelector::default();
            return Self { metadata, subjects, ingress: Some(vec![]), egress: Some(vec![]) };
        }
        Self::read_spec(&spec, metadata, is_current, report)
    }

    fn read_spec(
        spec: &Place<'_>,
        metadata: Metadata,
        is_current: bool,
        report: &mut Report<'_>,
    ) -> Self {
        let harm = match (spec.field("podSelector"), spec.field("policyTypes")) {
            (None, _) => SELECTS_ALL,
            (_, None) => ISOLATES_BOTH,
            _ => UNSAID,
        };
        let is_known =
            report.within(harm, |report| spec.closed(report, "spec", &SPEC_FIELDS)).is_ok();
        let subjects = match spec.field("podSelector") {
            Some(at) => report.within(SELECTS_ALL, |report| labels::selector(&at, report)),
            None if is_known => Ok(LabelSelector::default()),
            None => Err(Broken),
        };
        // A lost one isolates every pod, and nobody can tell for whom its rules were meant.
        let opens = is_current && subjects.is_ok() && !metadata.key.is_lost();
        let ingress = rules(spec, Direction::Ingress, report);
        let egress = rules(spec, Direction::Egress, report);
        let isolated = isolated(spec, is_known, &egress, report);
        for (name, rules, counts) in
            [("ingress", &ingress, isolated.ingress), ("egress", &egress, isolated.egress)]
        {
            if let (Some(at), Ok([_, ..]), false) = (spec.field(name), rules.as_deref(), counts) {
                let message = format!("policyTypes leaves these {name} {NO_EFFECT}");
                let remedy = "remove them; once policyTypes has the direction, they isolate and allow \
                              as written";
                report.warning(&at, &message, remedy);
            }
        }
        let shut = |rules: Result<Vec<_>, Broken>| {
            let listed = rules.unwrap_or_default();
            if opens { listed } else { listed.iter().map(|_| None).collect() }
        };
        let is_lost = metadata.key.is_lost();
        Self {
            metadata,
            subjects: subjects.ok().filter(|_| !is_lost).unwrap_or_default(),
            ingress: isolated.ingress.then(|| shut(ingress)),
            egress: isolated.egress.then(|| shut(egress)),
        }
    }
}

/// Reads the rules of one direction; absent is none.
fn rules(
    spec: &Place<'_>,
    direction: Direction,
    report: &mut Report<'_>,
) -> Result<Vec<Option<Rule>>, Broken> {
    let name = match direction {
        Direction::Ingress => "ingress",
        Direction::Egress => "egress",
    };
    let Some(at) = spec.field(name) else { return Ok(Vec::new()) };
    let items = report.within("until then it opens nothing", |report| at.items(report, name))?;
    Ok(items.iter().map(|item| rule::rule(item, direction, report).ok()).collect())
}

struct Isolated {
    ingress: bool,
    egress: bool,
}

impl Isolated {
    const BOTH: Self = Self { ingress: true, egress: true };
}

/// The effective policy types (NP-3, NP-4), or both where they cannot be known.
fn isolated(
    spec: &Place<'_>,
    is_known: bool,
    egress: &Result<Vec<Option<Rule>>, Broken>,
    report: &mut Report<'_>,
) -> Isolated {
    let written = spec.field("policyTypes");
    let types = report.within(ISOLATES_BOTH, |report| match &written {
        None => Ok(Vec::new()),
        Some(at) => at.items(report, "policyTypes"),
    });
    let Ok(types) = types else { return Isolated::BOTH };
    if types.is_empty() {
        let has_egress = egress.as_ref().map_or(true, |rules| !rules.is_empty());
        return Isolated { ingress: true, egress: has_egress || !is_known };
    }
    let mut isolated = Isolated { ingress: false, egress: false };
    if let Some(third) = types.get(2) {
        isolated = Isolated::BOTH;
        report.within(ISOLATES_BOTH, |report| {
            report.error(third, "policyTypes has more than two entries", "write each type once")
        });
    }
    for item in &types {
        match item.node.text() {
            Some("Ingress") => isolated.ingress = true,
            Some("Egress") => isolated.egress = true,
            other => {
                isolated = Isolated::BOTH;
                let what = other.map_or_else(|| item.node.kind().to_owned(), quoted);
                report.within(ISOLATES_BOTH, |report| {
                    let message = format!("{what} is not a policy type");
                    report.error(item, &message, "write Ingress or Egress")
                });
            }
        }
    }
    isolated
}
