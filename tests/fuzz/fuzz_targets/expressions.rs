//! Calico's selectors: a text, and after a zero byte sets of labels, `a=1,b=2;a=3`.
//!
//! Ours against the oracle's reading: which texts are selectors, and whom they match. What is printed
//! is read again as the same, why it does not match is told exactly where it does not, and what an
//! index is told to look for is there wherever it matches.

#![no_main]
#![allow(clippy::panic, clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use lockgate_control::expression::{DEPTH_MAX, Expression, LENGTH_MAX, Needs};
use lockgate_control::selector::Labels;
use lockgate_tests::oracle::selects_by_expression;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (text, worn) = text.split_once('\0').unwrap_or((text, ""));
    // Where it may stand is for whoever reads an object to say.
    if text.contains("global") {
        return;
    }
    let sets: Vec<BTreeMap<String, String>> = worn.split(';').take(4).map(labels).collect();
    let ours = text.parse::<Expression>();
    let is_long = text.chars().count() > LENGTH_MAX || text.matches('(').count() > DEPTH_MAX;
    if is_long && ours.is_err() {
        return;
    }
    assert_eq!(ours.is_ok(), selects_by_expression(text, &sets[0]).is_ok(), "{text:?} {ours:?}");
    let Ok(ours) = ours else { return };
    let printed = ours.to_string();
    // Printed with spaces and parentheses, the longest texts are longer than may be read.
    if printed.chars().count() <= LENGTH_MAX {
        assert_eq!(printed.parse(), Ok(ours.clone()), "{text:?}");
    }
    for set in &sets {
        matches(text, &ours, set);
    }
});

fn labels(written: &str) -> BTreeMap<String, String> {
    let pairs = written.split(',').filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn matches(text: &str, ours: &Expression, set: &BTreeMap<String, String>) {
    let worn: Labels = set.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    let expected = selects_by_expression(text, set).unwrap();
    assert_eq!(ours.matches(&worn), expected, "{text:?} {set:?}");
    let label = |key: &str| set.get(key).map(String::as_str);
    assert_eq!(ours.misses(&label).is_empty(), expected, "{text:?} {set:?}");
    let has = match ours.needs() {
        None => true,
        Some(Needs::Key(key)) => set.contains_key(key),
        Some(Needs::Values(key, values)) => set.get(key).is_some_and(|one| values.contains(one)),
    };
    assert!(has || !expected, "{text:?} {set:?}");
}
