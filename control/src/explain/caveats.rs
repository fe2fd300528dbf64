//! What the verdict of policy does not say: addresses that the switch drops or answers whatever
//! policy says, packets that it never sees, and what is written twice.

use std::net::IpAddr;

use lockgate_dataplane::packet::answer::{GATEWAY_V4, GATEWAY_V6};
use lockgate_dataplane::policy::ruleset::View;

use super::ends::Met;
use crate::manifest::{Metadata, ObjectKind, why_no_pods};
use crate::policy::Known;

/// What is to be known beside the verdict; mostly nothing.
pub(super) fn of(from: &Met, to: &Met, view: View) -> Vec<String> {
    let mut caveats = Vec::new();
    if view == View::Itself {
        let (address, pod) = (from.address, &to.shown);
        caveats.push(format!(
            "from {address} a pod hears what a Service brings back to it that it sent itself: {pod} is \
             at both ends, and no policies judge it but those of the tiers kube-admin and \
             kube-baseline"
        ));
        return caveats;
    }
    if from.place.is_none() && to.place.is_none() {
        let (from, to) = (&from.shown, &to.shown);
        caveats.push(format!(
            "neither {from} nor {to} is a pod that policies select: no policy judges this"
        ));
    }
    if is_gateway(from.address) {
        let address = from.address;
        caveats
            .push(format!("{address} is the switch's gateway: it sends replies and errors only"));
    } else {
        caveats.extend(dropped(from.address));
    }
    if is_gateway(to.address) {
        let address = to.address;
        caveats.push(format!(
            "{address} is the switch's gateway: it answers echo requests whatever policy says, and \
             drops everything else"
        ));
    } else {
        caveats.extend(dropped(to.address));
    }
    caveats
}

/// What is written twice of the policies that may be for these ends, in either version, and of what
/// rules mean.
pub(super) fn of_rewritten(rewritten: &[(&Metadata, &Metadata)], ends: [&Met; 2]) -> Vec<String> {
    let is_there = |namespace: &str| {
        let mut spaces = ends.iter().filter_map(|end| Some(end.shown.split_once('/')?.0));
        namespace.is_empty() || spaces.any(|space| space == namespace)
    };
    let is_asked = |counts: &Metadata| match counts.key.kind {
        ObjectKind::Policy | ObjectKind::Ordered(Known::Policy(_)) => {
            is_there(&counts.key.namespace)
        }
        ObjectKind::Pod | ObjectKind::Service => false,
        _ => true,
    };
    let told = |(counts, earlier): &(&Metadata, &Metadata)| {
        let place = |one: &Metadata| format!("{}:{}", one.origin.file, one.origin.line);
        let (there, here) = (place(earlier), place(counts));
        format!("{} is written twice: in {there}, and in {here}, which counts", counts.key)
    };
    rewritten.iter().filter(|(counts, _)| is_asked(counts)).map(told).collect()
}

fn dropped(address: IpAddr) -> Option<String> {
    let what = never_forwarded(address)?;
    Some(format!("{address} is {what}: the switch drops such packets whatever policy says"))
}

fn is_gateway(address: IpAddr) -> bool {
    address == IpAddr::from(GATEWAY_V4) || address == IpAddr::from(GATEWAY_V6)
}

/// Why no packet from or to an address is forwarded: mostly what keeps it from being a pod's. IPv4
/// link-local is forwarded: clouds keep their metadata service there.
fn never_forwarded(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) if v4.is_link_local() => None,
        _ => why_no_pods(address),
    }
}
