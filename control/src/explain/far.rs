//! How far a rule of an ordered policy is from matching, in the words it was written in.
//!
//! Whether it matches is known from its sets (`lowered`); this only says why not.

use std::net::IpAddr;

use lockgate_dataplane::packet::Protocol;
use lockgate_dataplane::policy::judge::Fit;
use lockgate_dataplane::policy::ruleset::{self, Direction};

use super::nearest::{Miss, Part};
use crate::inventory::Inventory;
use crate::manifest::{ObjectKey, Pod, SlicePort};
use crate::policy::calico::NetworkSet;
use crate::policy::kubernetes::number;
use crate::policy::{
    EVERY, Family, Icmp, Numbers, Rule, Selection, Service, Side, Span, Told, Traffic, Within, tell,
};
use crate::resolve::{Wearer, Wears};

/// One end of a packet.
#[derive(Debug)]
pub(super) struct Met<'q, 'i> {
    /// What it wears, if selectors see it.
    pub(super) wearer: Option<Wearer<'i>>,
    pub(super) address: IpAddr,
    /// The sets of networks, and host endpoints, that have the address.
    pub(super) sets: Vec<(Wearer<'i>, &'i ObjectKey)>,
    pub(super) shown: &'q str,
}

/// A packet, from the side of whose rule it is.
#[derive(Debug)]
pub(super) struct Packet<'q, 'i> {
    pub(super) inventory: &'i Inventory,
    pub(super) direction: Direction,
    pub(super) own: Met<'q, 'i>,
    pub(super) other: Met<'q, 'i>,
    /// The receiving pod, whose named ports count.
    pub(super) target: Option<&'i Pod>,
    /// The sending pod, whose names for ports of the source count.
    pub(super) sender: Option<&'i Pod>,
    pub(super) service: ruleset::Service,
}

impl<'i> Packet<'_, 'i> {
    /// The sets of networks that have an address.
    pub(super) fn sets(
        inventory: &'i Inventory,
        address: IpAddr,
    ) -> Vec<(Wearer<'i>, &'i ObjectKey)> {
        let has = |set: &&NetworkSet| set.nets.iter().any(|net| net.contains(&address));
        let sets = inventory.network_sets().filter(has);
        sets.map(|set| (Wearer::set(inventory, set), &set.metadata.key)).collect()
    }
}

/// Why a rule does not match, where this is all that fits; `None` is nothing.
pub(super) fn misses(rule: &Rule, fit: Option<Fit>, packet: &Packet<'_, '_>) -> Vec<Miss> {
    let fails = |part: fn(Fit) -> bool| fit.is_none_or(|fit| !part(fit));
    let mut missed = Vec::new();
    if fails(|fit| fit.own) {
        missed.extend(of_own(rule, packet));
    }
    if fails(|fit| fit.peer) {
        missed.extend(of_peer(rule, packet));
        // Addresses of another version of IP are left out of the peers.
        let families = rule.traffic.iter().map(|traffic| of_family(traffic, packet));
        if missed.is_empty() && fit.is_some_and(|fit| fit.port) {
            missed.extend(families.min_by_key(Vec::len).unwrap_or_default());
        }
    }
    if fails(|fit| fit.port) {
        missed.extend(of_kind(rule, packet));
    }
    // A name of a port is as much a matter of who has it.
    if missed.is_empty() {
        missed = [of_own(rule, packet), of_peer(rule, packet), of_kind(rule, packet)].concat();
    }
    if missed.is_empty() {
        let detail = "it is not known for certain that the rule means this packet".to_owned();
        missed.push(Miss::new(Part::Unknown, detail));
    }
    missed
}

fn of_own(rule: &Rule, packet: &Packet<'_, '_>) -> Vec<Miss> {
    let missed = of_side(&rule.own, &packet.own, packet.inventory);
    missed.into_iter().map(|miss| miss.of(Part::Own)).collect()
}

fn of_peer(rule: &Rule, packet: &Packet<'_, '_>) -> Vec<Miss> {
    let peers = rule.peers.iter().map(|peer| of_side(peer, &packet.other, packet.inventory));
    peers.min_by_key(Vec::len).unwrap_or_default()
}

fn of_kind(rule: &Rule, packet: &Packet<'_, '_>) -> Vec<Miss> {
    let kinds = rule.traffic.iter().map(|traffic| of_traffic(traffic, packet));
    let mut missed = kinds.min_by_key(Vec::len).unwrap_or_default();
    if packet.direction == Direction::Egress {
        let services = rule.peers.iter().filter_map(|peer| peer.service.as_ref());
        missed.extend(services.filter_map(|service| of_backend(service, packet)));
    }
    missed
}

/// Ports that a backend of a service has, where it is asked at another.
fn of_backend(service: &Service, packet: &Packet<'_, '_>) -> Option<Miss> {
    let backends = packet.inventory.backends(&service.namespace, &service.name);
    let mut own =
        backends.slices.iter().filter(|slice| slice.addresses.contains(&packet.other.address));
    own.clone().next()?;
    let ports: Vec<_> = own.by_ref().flat_map(|slice| &slice.ports).collect();
    let ruleset::Service { protocol, port, .. } = packet.service;
    let is_it = |one: &&SlicePort| {
        one.protocol == protocol && one.number.is_none_or(|number| number == port)
    };
    if ports.iter().any(is_it) {
        return None;
    }
    let written = |one: &&SlicePort| {
        let port = one.number.map_or("every port".to_owned(), |port| port.to_string());
        format!("{} {port}", number(one.protocol))
    };
    let mut wanted: Vec<String> = ports.iter().map(written).collect();
    wanted.dedup();
    let wanted = if wanted.is_empty() { "no port".to_owned() } else { wanted.join(" or ") };
    let is = match protocol {
        Protocol::Other => port.to_string(),
        known if known.has_ports() => format!("{} {port}", number(known)),
        known => number(known).to_string(),
    };
    let (namespace, name) = (&service.namespace, &service.name);
    Some(Miss::new(Part::Port, format!("{wanted} of {namespace}/{name} wanted, is {is}")))
}

fn of_side(side: &Side, met: &Met<'_, '_>, inventory: &Inventory) -> Vec<Miss> {
    let mut missed = Vec::new();
    let address = met.address;
    if let Some(selection) = &side.selection {
        missed.extend(of_selection(selection, met));
    }
    if let Some(nets) =
        side.nets.as_ref().filter(|nets| !nets.iter().any(|net| net.contains(&address)))
    {
        let nets = nets.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ");
        let nets = if nets.is_empty() { "any net that can be read".to_owned() } else { nets };
        missed.push(Miss::new(Part::Cidr, format!("{address} is not in {nets}")));
    }
    if let Some(net) = side.not_nets.iter().find(|net| net.contains(&address)) {
        missed.push(Miss::new(Part::Except, format!("{address} is in {net}, which is left out")));
    }
    if let Some(expression) = &side.not_selector {
        let out = |known: Option<bool>, who: &str| {
            let matches = match known {
                Some(false) => return None,
                Some(true) => "matches",
                None => "may match",
            };
            Some(format!("{expression} {matches} {who}, and is left out"))
        };
        let own = met.wearer.as_ref().and_then(|one| out(one.judge(expression), met.shown));
        let of_set = |(set, key): &(Wearer<'_>, &ObjectKey)| {
            out(set.judge(expression), &format!("{key}, which has {address}"))
        };
        let details = own.into_iter().chain(met.sets.iter().find_map(of_set));
        missed.extend(details.map(|detail| Miss::new(Part::Except, detail)));
    }
    if let Some(service) = &side.service {
        let backends = inventory.backends(&service.namespace, &service.name);
        if !backends.slices.iter().any(|slice| slice.addresses.contains(&address)) {
            let (namespace, name) = (&service.namespace, &service.name);
            let detail = format!("a backend of {namespace}/{name} wanted, {address} is none");
            missed.push(Miss::new(Part::Service, detail));
        }
    }
    if let Some(labels) = &side.nodes {
        let detail = format!("an address of a node with {labels} wanted, is {address}");
        missed.push(Miss::new(Part::Node, detail));
    }
    missed
}

fn of_selection(selection: &Selection, met: &Met<'_, '_>) -> Vec<Miss> {
    let mut sets = met.sets.iter().filter(|_| selection.takes_sets);
    if sets.any(|(set, _)| set.is_selected(selection) == Some(true)) {
        return Vec::new();
    }
    let Some(wearer) = &met.wearer else {
        let what = if selection.takes_sets { "a pod or a network set" } else { "a pod" };
        let detail = format!("{what} wanted, {} is none that this selects", met.shown);
        return vec![Miss::new(Part::PodLabels, detail)];
    };
    let mut missed = Vec::new();
    if wearer.is_within(&selection.within) != Some(true) {
        missed.push(Miss::new(Part::Namespace, of_namespace(&selection.within, wearer)));
    }
    let labels = wearer.misses(&selection.labels);
    if !labels.is_empty() {
        missed.push(Miss::new(Part::PodLabels, labels.join("; ")));
    }
    if let Some(accounts) = &selection.accounts
        && wearer.acts_as(accounts) != Some(true)
    {
        let mut wanted: Vec<String> =
            accounts.labels.iter().flat_map(|one| wearer.misses(one)).collect();
        if !accounts.names.is_empty() {
            wanted.insert(0, format!("{} wanted", accounts.names.join(" or ")));
        }
        missed.push(Miss::new(Part::Account, wanted.join("; ")));
    }
    missed
}

fn of_namespace(within: &Within, wearer: &Wearer<'_>) -> String {
    let is = wearer.namespace().unwrap_or("in none");
    match within {
        Within::Namespace(name) => format!("{name} wanted, is {is}"),
        Within::Namespaces(expression) => wearer.misses(expression).join("; "),
        Within::Global | Within::Anywhere => format!("a global network set wanted, is {is}"),
    }
}

fn of_family(traffic: &Traffic, packet: &Packet<'_, '_>) -> Vec<Miss> {
    let family = if packet.other.address.is_ipv4() { Family::V4 } else { Family::V6 };
    let missed = traffic
        .family
        .filter(|wanted| *wanted != family)
        .map(|wanted| Miss::new(Part::Family, format!("{wanted} wanted, is {family}")));
    missed.into_iter().collect()
}

fn of_traffic(traffic: &Traffic, packet: &Packet<'_, '_>) -> Vec<Miss> {
    let mut missed = of_family(traffic, packet);
    let Some(told) = tell(traffic) else { return missed };
    match told.iter().find(|one| one.protocol == packet.service.protocol) {
        Some(told) => missed.extend(of_numbers(told, traffic, packet)),
        None => missed.push(of_protocol(traffic, packet.service)),
    }
    missed
}

fn of_protocol(traffic: &Traffic, service: ruleset::Service) -> Miss {
    let wanted = match (traffic.protocol, traffic.not_protocol) {
        (Some(wanted), _) => format!("{wanted} wanted"),
        (None, Some(not)) => format!("any but {not} wanted"),
        (None, None) => "a protocol with ports wanted".to_owned(),
    };
    let is = match service.protocol {
        Protocol::Other => service.port.to_string(),
        known => number(known).to_string(),
    };
    Miss::new(Part::Protocol, format!("{wanted}, is {is}"))
}

/// Ports, or what stands for them.
fn of_numbers(told: &Told<'_>, traffic: &Traffic, packet: &Packet<'_, '_>) -> Vec<Miss> {
    let ruleset::Service { protocol, port, source_port } = packet.service;
    let bears = |pod: Option<&Pod>, name: &str, port| {
        pod.is_some_and(|pod| pod.port(name, protocol) == Some(port))
    };
    let mut missed = Vec::new();
    if !told.target.has(port, |name| bears(packet.target, name, port)) {
        let [kind, code] = port.to_be_bytes();
        missed.push(match protocol {
            Protocol::Other => of_protocol(traffic, packet.service),
            Protocol::Icmp | Protocol::IcmpV6 => {
                Miss::new(Part::Message, of_message(traffic, (kind, code)))
            }
            Protocol::Tcp | Protocol::Udp | Protocol::Sctp => {
                let wanted = written(&told.target, (packet.target, protocol));
                Miss::new(Part::Port, format!("{wanted} wanted, is {port}"))
            }
        });
    }
    if protocol.has_ports()
        && !told.source.has(source_port, |name| bears(packet.sender, name, source_port))
    {
        let wanted = written(&told.source, (packet.sender, protocol));
        missed.push(Miss::new(Part::SourcePort, format!("{wanted} wanted, is {source_port}")));
    }
    missed
}

fn of_message(traffic: &Traffic, (kind, code): (u8, u8)) -> String {
    let name = |Icmp { kind, code }: Icmp| match code {
        Some(code) => format!("type {kind} code {code}"),
        None => format!("type {kind}"),
    };
    let only = traffic.icmp.map(|icmp| format!("{} wanted", name(icmp)));
    let not = traffic.not_icmp.map(|icmp| format!("{} is left out", name(icmp)));
    let wanted: Vec<String> = only.into_iter().chain(not).collect();
    format!("{}, is type {kind} code {code}", wanted.join(", "))
}

/// Ports as they are wanted, with what the pod calls by their names.
fn written(numbers: &Numbers<'_>, (pod, protocol): (Option<&Pod>, Protocol)) -> String {
    let span = |span: &Span| match *span {
        EVERY => "any".to_owned(),
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}-{last}"),
    };
    let name = |name: &&str| {
        let known = pod.map(|pod| pod.port(name, protocol));
        match known {
            Some(Some(number)) => format!("{name} ({number})"),
            Some(None) => format!("{name} (none of the pod's)"),
            None => format!("{name} (of no pod)"),
        }
    };
    let mut wanted: Vec<String> = numbers.spans.iter().map(span).collect();
    wanted.extend(numbers.named.iter().map(name));
    let not: Vec<String> = numbers.not_named.iter().map(name).collect();
    let wanted = if wanted.is_empty() { "no port".to_owned() } else { wanted.join(" or ") };
    if not.is_empty() { wanted } else { format!("{wanted} but not {}", not.join(" or ")) }
}
