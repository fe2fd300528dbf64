//! Calico's selectors, with every operator.

use crate::worlds::Choices;

/// A selector of pods and sets.
pub(super) fn of_pods(choices: &mut Choices) -> String {
    match choices.below(6) {
        0 => "all()".to_owned(),
        _ => some(choices, &["app", "tier"], &["a", "b", ""], 2),
    }
}

/// A `namespaceSelector`.
pub(super) fn of_namespaces(choices: &mut Choices) -> String {
    let keys = ["app", "tier", "kubernetes.io/metadata.name", "projectcalico.org/name"];
    match choices.below(5) {
        0 => "all()".to_owned(),
        _ => some(choices, &keys, &["x", "y", "a"], 1),
    }
}

/// A `namespaceSelector` of a rule.
pub(super) fn of_namespaces_or_none(choices: &mut Choices) -> String {
    if choices.chance(20) { "global()".to_owned() } else { of_namespaces(choices) }
}

/// A selector of service accounts.
pub(super) fn of_accounts(choices: &mut Choices) -> String {
    some(choices, &["app", "tier", "projectcalico.org/name"], &["a", "b", "default"], 1)
}

/// Terms, joined so deep at most.
fn some(choices: &mut Choices, keys: &[&str], values: &[&str], depth: usize) -> String {
    if depth == 0 {
        return term(choices, keys, values);
    }
    let inner = |choices: &mut Choices| some(choices, keys, values, depth - 1);
    match choices.below(6) {
        0 => format!("{} && {}", inner(choices), inner(choices)),
        1 => format!("{} || {}", inner(choices), inner(choices)),
        2 => format!("!({})", inner(choices)),
        3 => format!("({}) && {}", inner(choices), inner(choices)),
        _ => inner(choices),
    }
}

fn term(choices: &mut Choices, keys: &[&str], values: &[&str]) -> String {
    let key = choices.pick(keys);
    let [one, other] = [choices.pick(values), choices.pick(values)];
    match choices.below(12) {
        0 => format!("{key} == '{one}'"),
        1 => format!("{key} != \"{one}\""),
        2 => format!("has({key})"),
        3 => format!("!has({key})"),
        4 => format!("{key} in {{'{one}', \"{other}\"}}"),
        5 => format!("{key} not in {{'{one}'}}"),
        6 => format!("{key} contains '{one}'"),
        7 => format!("{key} starts with '{one}'"),
        8 => format!("{key} ends with \"{one}\""),
        9 => format!("{key}=='{one}'"),
        10 => format!("! {key} in {{'{one}',}}"),
        _ => format!("{key} in {{}}"),
    }
}
