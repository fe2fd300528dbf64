//! What to do about what is found. Whoever takes a remedy by its word opens nothing: a list that is
//! left empty would mean everyone, and types that are not stated follow the rules that are there.

use super::spell::{Blamed, Dialect, Field, dialect};
use crate::policy::Kind;

/// How to mend what means nobody.
pub(super) fn mending(kind: Kind, field: Field) -> String {
    match field {
        // What stands beside it is meant; without it a rule may mean everybody.
        Field::NotSelector(..) | Field::NotPort(..) | Field::Selector(_) => "mend it".to_owned(),
        Field::Subject(Blamed::Name) => "mend the name, or remove the Profile".to_owned(),
        Field::Subject(_) => "mend the selector, or remove the policy".to_owned(),
        field => format!("mend it, or {}", removal(kind, field)),
    }
}

/// How to take a part of a policy out.
pub(super) fn removal(kind: Kind, field: Field) -> &'static str {
    let spoken = dialect(kind);
    // A profile has no types: its rules are all that it says.
    let has_types = spoken != Dialect::Cluster && kind != Kind::Profile;
    match field {
        Field::Net(_) if spoken == Dialect::Cluster => {
            "remove it, the last of its list with the whole peer, the last peer with the whole rule"
        }
        // Calico has one peer to a rule.
        Field::Peer(_) if spoken == Dialect::Calico => whole_rule(has_types),
        Field::Net(_) | Field::Port(..) | Field::Peer(_) if has_types => {
            "state the policy's types and remove it, the last of its list with the whole rule"
        }
        Field::Net(_) | Field::Port(..) | Field::Peer(_) => {
            "remove it, the last of its list with the whole rule"
        }
        Field::Rules(_) if has_types => "state the policy's types and remove the rules",
        Field::Rules(_) => "remove the rules",
        _ => whole_rule(has_types),
    }
}

fn whole_rule(has_types: bool) -> &'static str {
    if has_types {
        "state the policy's types and remove the whole rule"
    } else {
        "remove the whole rule"
    }
}
