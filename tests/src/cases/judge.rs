//! Who judges a case, and why somebody does not.

/// A judge of cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Judge {
    /// The reader of raw objects, `tests/src/oracle`.
    Oracle,
    /// `Ruleset::decide`, which reads every rule.
    Ruleset,
    /// The compiled table, and `explain`.
    Table,
    /// The simulated node.
    Node,
    /// Real sockets.
    Lab,
}

impl Judge {
    /// Every one.
    pub const ALL: [Self; 5] = [Self::Oracle, Self::Ruleset, Self::Table, Self::Node, Self::Lab];

    /// Its name in `traffic.txt`.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Oracle => "oracle",
            Self::Ruleset => "ruleset",
            Self::Table => "table",
            Self::Node => "node",
            Self::Lab => "lab",
        }
    }
}

/// Reads `without JUDGE[,JUDGE]: REASON`; `None` for another line.
///
/// # Errors
/// When a judge is unknown, or no reason is given.
pub(super) fn without(line: &str) -> Result<Option<(Vec<Judge>, String)>, String> {
    let Some(rest) = line.trim().strip_prefix("without ") else { return Ok(None) };
    let (names, reason) = rest.split_once(':').ok_or("`without` needs `: REASON`")?;
    let known = |name: &str| {
        let found = Judge::ALL.into_iter().find(|judge| judge.label() == name.trim());
        found.ok_or_else(|| format!("`{name}` is no judge"))
    };
    let judges: Vec<Judge> = names.split(',').map(known).collect::<Result<_, _>>()?;
    let reason = reason.trim();
    if reason.split_whitespace().count() < 2 {
        return Err("a reason has more than one word".to_owned());
    }
    Ok(Some((judges, reason.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_judge_has_a_reason() {
        let read = without("without node,lab: translation is not built").unwrap().unwrap();
        assert_eq!(read.0, [Judge::Node, Judge::Lab]);
        assert_eq!(read.1, "translation is not built");
        assert!(without("without lab").is_err());
        assert!(without("without lab: no").is_err());
        assert!(without("without somebody: who is unknown").is_err());
        assert!(without("x/a > x/b:80 tcp -> sent").unwrap().is_none());
    }
}
