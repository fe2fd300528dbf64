//! What the product cannot tell apart yet, and says so in notices: the one place where this oracle
//! departs from what policies mean.
//!
//! A rule with one of these is closed as if it could not be read: what allows matches nothing,
//! what denies or passes denies everything to whom its policy selects. Take this away, and
//! `calico.rs` must read them.

use serde_json::Value;

use super::super::Broken;
use super::super::reading::{at, field};

/// Of a rule that is closed.
pub(super) const CLOSED: Result<bool, Broken> = Err(Broken("cannot be told apart yet"));

/// Whether a rule of Calico has a part that cannot be told apart: ICMP, `notProtocol`, a protocol
/// other than TCP, UDP and SCTP, the port of the source, a port by name beside `notPorts`.
pub(super) fn is_closed(rule: &Value) -> bool {
    let has = |name| field(rule, name).is_some();
    let protocol = field(rule, "protocol");
    let ported = ["TCP", "UDP", "SCTP"].map(Value::from);
    let numbered = [6, 17, 132].map(Value::from);
    let is_known = |one: &Value| ported.contains(one) || numbered.contains(one);
    let of_source =
        |name| at(rule, name).and_then(Value::as_array).is_some_and(|all| !all.is_empty());
    has("icmp")
        || has("notICMP")
        || has("notProtocol")
        || protocol.is_some_and(|one| !is_known(one))
        || of_source("source/ports")
        || of_source("source/notPorts")
        || is_named_beside_not(rule)
}

/// Whether a port has a name where some are not meant.
fn is_named_beside_not(rule: &Value) -> bool {
    let of = |name| at(rule, name).and_then(Value::as_array).into_iter().flatten();
    let is_name = |port: &Value| {
        port.as_str().is_some_and(|text| text.chars().any(|c| c.is_ascii_alphabetic()))
    };
    let not = of("destination/notPorts");
    not.clone().count() > 0 && not.chain(of("destination/ports")).any(is_name)
}
