//! What to do about what is found. Whoever takes a remedy by its word opens nothing: a list that is
//! left empty would mean everyone, and types that are not stated follow the rules that are there.

use super::spell::{Blamed, Dialect, Field, dialect};
use crate::policy::Kind;

/// How to mend what means nobody.
pub(super) fn mending(kind: Kind, field: Field) -> String {
    match field {
        // Beside it a rule means a namespace, without it everybody.
        Field::NotSelector(..) | Field::NotPort(..) => "mend it".to_owned(),
        Field::Subject(Blamed::Name) => "mend the name, or remove the Profile".to_owned(),
        Field::Subject(_) => "mend the selector, or remove the policy".to_owned(),
        field => format!("mend it, or {}", removal(kind, field)),
    }
}

/// How to take a part of a policy out.
pub(super) fn removal(kind: Kind, field: Field) -> &'static str {
    let has_types = dialect(kind) != Dialect::Cluster;
    match field {
        Field::Net(_) | Field::Port(..) => ONE_OF_LIST,
        // Calico has one peer to a rule.
        Field::Peer(_) if dialect(kind) != Dialect::Calico => ONE_OF_LIST,
        Field::Rules(_) if has_types => "state the policy's types and remove the rules",
        Field::Rules(_) => "remove the rules",
        _ if has_types => "state the policy's types and remove the whole rule",
        _ => "remove the whole rule",
    }
}

const ONE_OF_LIST: &str = "remove it, the last of its list with the whole rule";
