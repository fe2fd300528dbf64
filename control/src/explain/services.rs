//! What is to be known where somebody asks for a Service's address: policy never sees it.

use std::net::IpAddr;

use lockgate_dataplane::policy::ruleset::Service as Packet;
use lockgate_dataplane::service::{Backend, Extent, FrontKey, Serving};

use crate::inventory::Inventory;
use crate::services::{Asked, Here, addresses, asked_at, number_of};

/// Backends that are named; of more there is only said how many.
const NAMED_MAX: usize = 5;

/// That an address is a Service's, and who serves there instead: what policy judges.
pub(super) fn caveat(inventory: &Inventory, address: IpAddr, packet: Packet) -> Option<String> {
    let at =
        FrontKey { address: address.into(), port: packet.port, number: number_of(packet.protocol) };
    let claims = inventory.services().filter_map(|service| {
        let claim = addresses(service).filter(|(_, one)| *one == address).map(|one| one.0).min()?;
        let key = &service.metadata.key;
        let slices = inventory.backends(&key.namespace, &key.name).slices;
        let id = |_, _, _| lockgate_dataplane::service::ServingId(0);
        let asked = asked_at(service, &slices, &Here::default(), id);
        let serving = asked.into_iter().find(|asked: &Asked| asked.key == at);
        Some((serving.is_none(), claim, key.clone(), serving))
    });
    let (_, claim, key, asked) =
        claims.min_by(|one, other| (one.0, one.1, &one.2).cmp(&(other.0, other.1, &other.2)))?;
    if asked.is_none() && claim.extent() == Extent::Fronts {
        // The rest of such an address is no Service's.
        return None;
    }
    let path = key.path();
    let Some(Asked { front, .. }) = asked else {
        return Some(format!(
            "{address} is the address of Service {path}, where nobody serves this: the switch \
             refuses it whatever policy says"
        ));
    };
    let (who, whom) = backends(&front.serving);
    Some(if who.is_empty() {
        format!(
            "{address} is the address of Service {path}, which has no backends: the switch refuses \
             what is sent there whatever policy says"
        )
    } else {
        format!(
            "{address} is the address of Service {path}: policy judges its backends{whom} instead, \
             {who}: ask about those"
        )
    })
}

/// The backends, and of whom they are where not of everybody.
fn backends(serving: &Serving) -> (String, &'static str) {
    let (list, whom) = if serving.chosen.is_empty() {
        (&serving.serving, " on the client's node, or those that end,")
    } else {
        (&serving.chosen, "")
    };
    let named = list.iter().take(NAMED_MAX).map(|Backend { address, port }| {
        std::net::SocketAddr::new((*address).into(), *port).to_string()
    });
    let mut shown: Vec<String> = named.collect();
    if list.len() > NAMED_MAX {
        shown.push(format!("{} more", list.len() - NAMED_MAX));
    }
    (shown.join(", "), whom)
}
