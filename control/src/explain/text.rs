//! Answers as text.

use std::fmt::{self, Display, Formatter};

use super::{Explanation, Reason, RuleName, Side, Step};
use crate::manifest::escape;

impl Display for Explanation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.verdict.label())?;
        write_end(f, &self.from, &self.from_address.to_string())?;
        write!(f, " -> ")?;
        write_end(f, &self.to, &self.to_address.to_string())?;
        write!(f, " {}", self.protocol)?;
        if let Some(port) = self.port {
            write!(f, " {port}")?;
        }
        if let Some(port) = self.source_port {
            write!(f, " from port {port}")?;
        }
        if let Some(kind) = self.icmp_type {
            write!(f, " type {kind}")?;
        }
        if let Some(code) = self.icmp_code {
            write!(f, " code {code}")?;
        }
        writeln!(f)?;
        write_side(f, "egress", &self.from, &self.egress)?;
        write_side(f, "ingress", &self.to, &self.ingress)?;
        if let Some(staged) = &self.staged {
            let verdict = staged.verdict.label();
            writeln!(f, "were all in force that is staged: {verdict}")?;
            write_side(f, "egress", &self.from, &staged.egress)?;
            write_side(f, "ingress", &self.to, &staged.ingress)?;
        }
        self.caveats.iter().try_for_each(|caveat| writeln!(f, "but      {}", escape(caveat)))
    }
}

fn write_end(f: &mut Formatter<'_>, name: &str, address: &str) -> fmt::Result {
    if name == address { f.write_str(name) } else { write!(f, "{} ({address})", escape(name)) }
}

fn write_side(f: &mut Formatter<'_>, direction: &str, own: &str, side: &Side) -> fmt::Result {
    write!(f, "{direction:<8} {:<6}", side.verdict.label())?;
    let own = escape(own);
    let policies = escape(&side.isolated_by.join(", "));
    match side.reason {
        Reason::NotIsolated => writeln!(f, "no policy selects {own} for {direction}"),
        Reason::Undecided => writeln!(f, "no tier decides; {own} is denied nothing"),
        Reason::Rule | Reason::DenyRule => {
            let rules: Vec<_> = side.by.iter().map(|rule| written(rule, direction)).collect();
            writeln!(f, "by {}", rules.join(", "))
        }
        Reason::DefaultDeny => writeln!(f, "no rule allows it; {own} is isolated by {policies}"),
        Reason::Itself => writeln!(f, "a pod always reaches itself"),
        Reason::OwnNode => writeln!(f, "a pod's own node always reaches it"),
        Reason::Outside => writeln!(f, "{own} is no pod that policies select"),
    }?;
    if let Some(nearest) = &side.nearest {
        let rule = RuleName { policy: nearest.policy.clone(), rule: nearest.rule };
        writeln!(f, "{:15} nearest: {}", "", written(&rule, direction))?;
        for (part, detail) in nearest.failed.iter().zip(&nearest.detail) {
            writeln!(f, "{:17} {}: {}", "", part.label(), escape(detail))?;
        }
    }
    for rule in &side.broken {
        let name = written(rule, direction);
        writeln!(f, "{:15} broken: {name} (see lockgate validate)", "")?;
    }
    side.problems.iter().try_for_each(|problem| writeln!(f, "{:15} {problem}", ""))?;
    write_walk(f, direction, &side.walk)
}

/// The walk through the tiers.
fn write_walk(f: &mut Formatter<'_>, direction: &str, walk: &[Step]) -> fmt::Result {
    for step in walk {
        let (tier, said) = (escape(&step.tier), step.said.label());
        write!(f, "{:15} tier {tier}: ", "")?;
        match (&step.policy, step.kind) {
            (Some(policy), Some(kind)) => write!(f, "{kind} {}", escape(policy))?,
            _ => write!(f, "its end")?,
        }
        let rule = step.rule.map(|rule| format!(" by {direction}[{rule}]"));
        writeln!(f, ": {said}{}", rule.unwrap_or_default())?;
    }
    Ok(())
}

/// `namespace/name ingress[2]`.
fn written(rule: &RuleName, direction: &str) -> String {
    format!("{} {direction}[{}]", escape(&rule.policy), rule.rule)
}
