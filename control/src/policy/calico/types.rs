//! The directions that a policy of Calico selects for.

use crate::manifest::NO_EFFECT;
use crate::manifest::fields::{Place, Report};
use crate::manifest::problem::quoted;
use crate::manifest::tree::Value;

const BOTH: &str = "until then the policy is for both directions and opens nothing";

/// For which directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Selects {
    pub(super) ingress: bool,
    pub(super) egress: bool,
    /// Whether that is known. If not, one of them may be none of the policy's, so that its rules
    /// there must open nothing.
    pub(super) is_known: bool,
}

impl Selects {
    const UNKNOWN: Self = Self { ingress: true, egress: true, is_known: false };
}

/// What `types` says, else what the rules do: egress rules alone are for egress only, which is
/// not what Kubernetes makes of them (NP-3).
pub(super) fn selected(spec: &Place<'_>, is_closed: bool, report: &mut Report<'_>) -> Selects {
    let types = report.within(BOTH, |report| match spec.field("types") {
        None => Ok(Vec::new()),
        Some(at) => at.items(report, "types"),
    });
    match types {
        Err(_) => Selects::UNKNOWN,
        Ok(types) if types.is_empty() => by_rules(spec, is_closed),
        Ok(types) => {
            let selects = stated(&types, report);
            tell_idle(spec, selects, report);
            selects
        }
    }
}

fn by_rules(spec: &Place<'_>, is_closed: bool) -> Selects {
    // What is no list may have been rules.
    let has = |name| {
        spec.field(name)
            .is_some_and(|at| !matches!(&at.node.value, Value::List(items) if items.is_empty()))
    };
    let (ingress, egress) = (has("ingress"), has("egress"));
    if is_closed {
        Selects { ingress: ingress || !egress, egress, is_known: true }
    } else {
        Selects::UNKNOWN
    }
}

fn stated(types: &[Place<'_>], report: &mut Report<'_>) -> Selects {
    let mut selects = Selects { ingress: false, egress: false, is_known: true };
    for (index, item) in types.iter().enumerate() {
        let known = match item.node.text() {
            Some("Ingress") => Some(&mut selects.ingress),
            Some("Egress") => Some(&mut selects.egress),
            _ => None,
        };
        if let (Some(known), true) = (known, index < 2) {
            *known = true;
            continue;
        }
        selects = Selects::UNKNOWN;
        report.within(BOTH, |report| {
            let what = item.node.text().map_or_else(|| item.node.kind().to_owned(), quoted);
            let message = format!("{what} is not a type, or one too many");
            report.error(item, &message, "write Ingress, Egress or both");
        });
    }
    selects
}

/// Tells of rules without effect.
fn tell_idle(spec: &Place<'_>, selects: Selects, report: &mut Report<'_>) {
    for (name, counts) in [("ingress", selects.ingress), ("egress", selects.egress)] {
        let listed = spec
            .field(name)
            .filter(|at| matches!(&at.node.value, Value::List(items) if !items.is_empty()));
        if let (Some(at), false) = (listed, counts) {
            let message = format!("types leaves these {name} {NO_EFFECT}");
            report.warning(
                &at,
                &message,
                "remove them; once types has the direction, they count as written",
            );
        }
    }
}
