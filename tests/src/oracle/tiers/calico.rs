//! Policies of Calico: whom they select, in which directions, in which order (CAL-8 to CAL-13).

use std::collections::BTreeSet;

use lockgate_dataplane::policy::ruleset::Direction;
use serde_json::Value;

use super::super::judge::Asked;
use super::super::reading::{at, field, list, list_name, only};
use super::super::{Broken, Family, ends};
use super::entity::{self, Place};
use super::wearer::Wearer;
use super::{Action, Opinion, Tier, is_of_calico, protocol, said, spec};

/// Rules of a direction.
const RULES_MAX: usize = 1024;
const OF_EITHER: [&str; 8] = [
    "tier",
    "order",
    "selector",
    "types",
    "serviceAccountSelector",
    "ingress",
    "egress",
    "performanceHints",
];
const OF_GLOBAL: [&str; 4] = ["namespaceSelector", "doNotTrack", "preDNAT", "applyOnForward"];
const OF_RULE: [&str; 10] = [
    "action",
    "metadata",
    "ipVersion",
    "protocol",
    "notProtocol",
    "icmp",
    "notICMP",
    "http",
    "source",
    "destination",
];

/// Whether it is a policy of Calico that is enforced: staged ones are not.
pub(super) fn is_policy(object: &Value) -> bool {
    let kind = object["kind"].as_str().unwrap_or_default();
    is_of_calico(object) && matches!(kind, "NetworkPolicy" | "GlobalNetworkPolicy")
}

/// What the policy says, if it is one and selects the side in question.
pub(super) fn opinion(object: &Value, asked: &Asked<'_>) -> Option<Opinion> {
    if !is_policy(object) {
        return None;
    }
    let is_global = object["kind"] == "GlobalNetworkPolicy";
    let spec = spec(object);
    let (namespace, name) = ends::key(object);
    let namespace = (!is_global).then_some(namespace);
    let policy = Policy { spec, namespace, may_pass: true, asked };
    let selects = policy.selects();
    let types = policy.types();
    let (ingress, egress) = types.unwrap_or((true, true));
    let is_stated = match asked.direction {
        Direction::Ingress => ingress,
        Direction::Egress => egress,
    };
    if !is_stated || selects == Ok(false) {
        return None;
    }
    let tier = text(spec, "tier").ok().flatten().unwrap_or(super::DEFAULT);
    let tier = Tier::named(asked.cluster, tier);
    let order = policy.order();
    let may_open = selects.is_ok()
        && types.is_ok()
        && order.is_ok()
        && policy.has_known_fields().is_ok()
        && !tier.is_absent;
    Some(Opinion {
        said: policy.said(may_open),
        tier,
        order: order.unwrap_or(f64::NEG_INFINITY),
        sort: 0,
        namespace: policy.namespace.unwrap_or_default().to_owned(),
        name: name.to_owned(),
    })
}

/// A policy, or what is read like one.
pub(super) struct Policy<'a> {
    pub(super) spec: &'a Value,
    /// The policy's own; a global one has none.
    pub(super) namespace: Option<&'a str>,
    /// Whether anything comes after that its rules may pass to.
    pub(super) may_pass: bool,
    pub(super) asked: &'a Asked<'a>,
}

impl Policy<'_> {
    fn has_known_fields(&self) -> Result<(), Broken> {
        if self.spec.is_null() {
            return Ok(());
        }
        match self.namespace {
            Some(_) => only(self.spec, &OF_EITHER),
            None => only(self.spec, &[&OF_EITHER[..], &OF_GLOBAL].concat()),
        }
    }

    /// Whether it is about the subject. Where that cannot be read, whoever it may be about counts.
    fn selects(&self) -> Result<bool, Broken> {
        let subject = Wearer::of_pod(self.asked.cluster, self.asked.subject);
        if self.namespace.is_some_and(|namespace| !subject.is_in(namespace)) {
            return Ok(false);
        }
        // Of hosts only.
        if ["doNotTrack", "preDNAT"].iter().any(|name| field(self.spec, name) == Some(&true.into()))
        {
            return Ok(false);
        }
        let labels = subject.is_selected(text(self.spec, "selector")?.unwrap_or_default())?;
        let namespaces = match text(self.spec, "namespaceSelector")? {
            Some(selector) => subject.is_in_namespaces(selector)?,
            None => true,
        };
        let accounts = match text(self.spec, "serviceAccountSelector")? {
            Some(selector) => subject.is_of_accounts(selector)?,
            None => true,
        };
        Ok(labels && namespaces && accounts)
    }

    /// Ingress and egress. Where they are not stated: those there are rules for, and without any
    /// rule ingress. (Not as in Kubernetes: only egress rules are egress alone.)
    fn types(&self) -> Result<(bool, bool), Broken> {
        let stated = match field(self.spec, "types") {
            Some(types) => list(types, "types must be a list")?,
            None => &[],
        };
        if stated.is_empty() {
            self.has_known_fields()?;
            let has = |name| match field(self.spec, name) {
                Some(rules) => rules.as_array().is_none_or(|rules| !rules.is_empty()),
                None => false,
            };
            let (ingress, egress) = (has("ingress"), has("egress"));
            return Ok((ingress || !egress, egress));
        }
        if stated.iter().any(|one| one != "Ingress" && one != "Egress") {
            return Err(Broken("a type is Ingress or Egress"));
        }
        let is_stated = |name: &str| stated.iter().any(|one| one == name);
        Ok((is_stated("Ingress"), is_stated("Egress")))
    }

    /// Without one it is the last of its tier.
    fn order(&self) -> Result<f64, Broken> {
        match field(self.spec, "order") {
            Some(order) => order.as_f64().ok_or(Broken("order must be a number")),
            None => self.has_known_fields().map(|()| f64::INFINITY),
        }
    }

    /// What the first rule that matches does.
    pub(super) fn said(&self, may_open: bool) -> Option<(usize, Action)> {
        let rules = match field(self.spec, list_name(self.asked.direction)) {
            Some(rules) => match rules.as_array() {
                Some(rules) => rules.as_slice(),
                None => return Some((0, Action::Deny)),
            },
            None => &[],
        };
        let matches = |index, rule: &Value| {
            if index < RULES_MAX { self.matches(rule) } else { Err(Broken("too many rules")) }
        };
        let says = |index, rule: &Value| match self.action(rule) {
            Ok(action) => said(action, matches(index, rule), may_open),
            Err(_) => Some(Action::Deny),
        };
        rules.iter().enumerate().find_map(|(index, rule)| Some((index, says(index, rule)?)))
    }

    fn action(&self, rule: &Value) -> Result<Action, Broken> {
        match field(rule, "action").and_then(Value::as_str) {
            Some("Allow") => Ok(Action::Allow),
            Some("Deny") => Ok(Action::Deny),
            Some("Pass") if self.may_pass => Ok(Action::Pass),
            Some("Log") => Ok(Action::Log),
            _ => Err(Broken("no such action")),
        }
    }

    /// Whether all that the rule gives holds (CAL-13). Where that hangs on a host that cannot be
    /// wholly read, the rule cannot be read either, as far as this question goes.
    fn matches(&self, rule: &Value) -> Result<bool, Broken> {
        let [surely, perhaps] = [self.holds(rule, false)?, self.holds(rule, true)?];
        if surely == perhaps { Ok(surely) } else { Err(Broken("of a host that cannot be read")) }
    }

    /// The same; `is_wide` as in [`Place`]. All of it is read, whatever holds.
    fn holds(&self, rule: &Value, is_wide: bool) -> Result<bool, Broken> {
        only(rule, &OF_RULE)?;
        if field(rule, "http").is_some() {
            return Err(Broken("http is not enforced"));
        }
        let asked = self.asked;
        let is_of_version = match field(rule, "ipVersion") {
            None => true,
            Some(version) => match version.as_u64() {
                Some(4) => asked.family() == Family::V4,
                Some(6) => asked.family() == Family::V6,
                _ => return Err(Broken("ipVersion is 4 or 6")),
            },
        };
        if families(rule).len() > 1 {
            return Err(Broken("of both families"));
        }
        let is_of_protocol = protocol::matches(rule, asked)?;
        let protocol = protocol::given(rule, "protocol")?;
        let (source, destination) = match asked.direction {
            Direction::Ingress => (asked.other, asked.own),
            Direction::Egress => (asked.own, asked.other),
        };
        let place = |port, of_peer: Direction| {
            let is_peer = asked.direction == of_peer;
            Place { asked, namespace: self.namespace, protocol, port, is_peer, is_wide }
        };
        let source_place = place(asked.source_port, Direction::Ingress);
        let from = entity::matches(field(rule, "source"), source, &source_place)?;
        let target_place = place(asked.port, Direction::Egress);
        let to = entity::matches(field(rule, "destination"), destination, &target_place)?;
        Ok(is_of_version && is_of_protocol && from && to)
    }
}

/// Whether IPv6, of everything in a rule that is of a family.
fn families(rule: &Value) -> BTreeSet<bool> {
    let version = field(rule, "ipVersion").map(|version| *version == 6);
    let lists = ["source/nets", "source/notNets", "destination/nets", "destination/notNets"];
    let nets = lists.iter().filter_map(|list| at(rule, list)?.as_array()).flatten();
    let of_nets = nets.filter_map(|net| Some(net.as_str()?.contains(':')));
    version.into_iter().chain(of_nets).collect()
}

/// A field of text; an empty one is none.
pub(super) fn text<'a>(value: &'a Value, name: &str) -> Result<Option<&'a str>, Broken> {
    match field(value, name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
        Some(_) => Err(Broken("must be text")),
    }
}
