//! The `source` and `destination` of a rule of Calico (CAL-14 to CAL-22).

use std::net::IpAddr;

use serde_json::Value;

use super::super::Broken;
use super::super::ends::Found;
use super::super::judge::Asked;
use super::super::reading::{field, list, only};
use super::calico::text;
use super::wearer::{Wearer, are_of};
use super::{ports, service};

const NETS_MAX: usize = 256;
const FIELDS: [&str; 9] = [
    "nets",
    "notNets",
    "selector",
    "notSelector",
    "namespaceSelector",
    "ports",
    "notPorts",
    "serviceAccounts",
    "services",
];

/// Where an entity stands.
pub(super) struct Place<'a> {
    pub(super) asked: &'a Asked<'a>,
    /// The policy's; none of a global one.
    pub(super) namespace: Option<&'a str>,
    /// The rule's, by its number.
    pub(super) protocol: Option<u64>,
    /// The one at this end of what is asked about.
    pub(super) port: u16,
    /// The end at the other side, not the subject.
    pub(super) is_peer: bool,
    /// Whether what may be meant, for all that can be read of it, is taken to be.
    pub(super) is_wide: bool,
}

/// Whether all that the entity gives holds of an end. An entity without anything is every packet.
pub(super) fn matches(
    entity: Option<&Value>,
    end: &Found<'_>,
    place: &Place<'_>,
) -> Result<bool, Broken> {
    let Some(entity) = entity else { return Ok(true) };
    only(entity, &FIELDS)?;
    let wearers = Wearer::at(place.asked.cluster, end);
    let is_in_nets = match nets(entity, "nets")? {
        Some(nets) => are_of(nets, end.address)?,
        None => true,
    };
    // Nets make their rule one of their family, those that are not meant too.
    let is_in_others = match nets(entity, "notNets")? {
        Some(nets) => are_of(nets, end.address)? || !have_family(nets, end.address),
        None => false,
    };
    let is_somebody = is_somebody(entity, &wearers, place)?;
    let is_somebody_else = is_somebody_else(entity, &wearers, place)?;
    let is_of_service = match field(entity, "services") {
        Some(services) => service::matches(services, entity, end.address, place)?,
        None => true,
    };
    let has_port = match filled(entity, "ports")? {
        Some(written) => ports::matches(written, end, place)?,
        None => true,
    };
    let has_other_port = match filled(entity, "notPorts")? {
        Some(written) => ports::matches(written, end, place)?,
        None => false,
    };
    let is_there = is_in_nets && is_somebody && is_of_service && has_port;
    Ok(is_there && !is_in_others && !is_somebody_else && !has_other_port)
}

/// Whether any of the nets is of the address's family.
fn have_family(nets: &Value, address: IpAddr) -> bool {
    let mut all = nets.as_array().into_iter().flatten().filter_map(Value::as_str);
    all.any(|net| net.contains(':') == address.is_ipv6())
}

/// A list of nets, of which an end may have so many.
fn nets<'a>(entity: &'a Value, name: &str) -> Result<Option<&'a Value>, Broken> {
    let written = filled(entity, name)?;
    match written.and_then(Value::as_array) {
        Some(nets) if nets.len() > NETS_MAX => Err(Broken("too many nets")),
        _ => Ok(written),
    }
}

/// A list that says something; an empty one is as none.
fn filled<'a>(entity: &'a Value, name: &str) -> Result<Option<&'a Value>, Broken> {
    let Some(written) = field(entity, name) else { return Ok(None) };
    let items = list(written, "must be a list")?;
    Ok((!items.is_empty()).then_some(written))
}

/// Whether one and the same pod, set or host at the address is what the selectors together mean; where
/// there is none of them, anything is.
fn is_somebody(entity: &Value, wearers: &[Wearer], place: &Place<'_>) -> Result<bool, Broken> {
    let selector = text(entity, "selector")?;
    let namespaces = text(entity, "namespaceSelector")?;
    let accounts = field(entity, "serviceAccounts");
    // In a namespace those who are not meant are of it, too (CAL-21).
    let is_scoped = place.namespace.is_some() && text(entity, "notSelector")?.is_some();
    if selector.is_none() && namespaces.is_none() && accounts.is_none() && !is_scoped {
        return Ok(true);
    }
    // All is read, though nobody may be there.
    let nobody = Wearer::default();
    let mut any = false;
    for (is_there, wearer) in wearers.iter().map(|one| (true, one)).chain([(false, &nobody)]) {
        let in_namespaces = match (namespaces, place.namespace) {
            (Some(text), _) => wearer.is_of_namespaces(text)?,
            (None, Some(own)) => wearer.is_in(own),
            (None, None) => true,
        };
        let is_selected = wearer.is_selected(selector.unwrap_or_default())?;
        let has_account = match accounts {
            Some(accounts) => has_account(accounts, wearer)?,
            None => true,
        };
        let counts = is_there && (place.is_wide || !wearer.is_doubtful);
        any |= counts && in_namespaces && is_selected && has_account;
    }
    Ok(any)
}

fn has_account(accounts: &Value, wearer: &Wearer) -> Result<bool, Broken> {
    only(accounts, &["names", "selector"])?;
    let is_named = match filled(accounts, "names")? {
        Some(written) => {
            let names: Option<Vec<&str>> =
                written.as_array().into_iter().flatten().map(Value::as_str).collect();
            wearer.has_account_of(&names.ok_or(Broken("a name is text"))?)
        }
        None => true,
    };
    let is_selected = match text(accounts, "selector")? {
        Some(selector) => wearer.is_of_accounts(selector)?,
        None => true,
    };
    Ok(is_named && is_selected)
}

/// Whether anybody at the address is what `notSelector` means. It takes away: who is in doubt counts
/// where the rule is not to be wide.
fn is_somebody_else(entity: &Value, wearers: &[Wearer], place: &Place<'_>) -> Result<bool, Broken> {
    let Some(selector) = text(entity, "notSelector")? else { return Ok(false) };
    Wearer::default().is_selected(selector)?;
    let mut any = false;
    for wearer in wearers {
        let counts = !place.is_wide || !wearer.is_doubtful;
        any |= counts && wearer.is_selected(selector)?;
    }
    Ok(any)
}
