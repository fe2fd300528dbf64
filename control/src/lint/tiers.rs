//! Tiers of which only the name says which is asked first.

use super::{Finding, finding};
use crate::inventory::Inventory;
use crate::policy::{FIXED_TIERS, Order};

/// Each tier that has the order of another; of two with objects that which is asked later.
pub(super) fn equal(inventory: &Inventory) -> Vec<Finding> {
    let fixed = FIXED_TIERS.iter().map(|(name, order, _)| (*name, Order::of(*order)));
    let written = inventory.tiers().map(|one| (&*one.metadata.key.name, one.order));
    let all: Vec<(&str, Order)> = fixed.chain(written).collect();
    let mut found = Vec::new();
    for tier in inventory.tiers().filter(|one| one.opens) {
        let name = &*tier.metadata.key.name;
        let is_told = |other: &str| other < name || inventory.tier(other).is_none();
        let mut others = all.iter().filter(|(other, order)| *other != name && *order == tier.order);
        let Some((other, _)) = others.find(|(other, _)| is_told(other)) else { continue };
        let place = if name < *other { "before" } else { "after" };
        let message =
            format!("it is of the same order as the Tier {other} and comes {place} it by its name");
        let remedy = "give them different orders";
        found.push(finding("ambiguous-order", &tier.metadata, "spec.order", &message, remedy));
    }
    found
}
