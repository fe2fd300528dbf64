//! Worlds of ordered policy: all three APIs mixed, and what their rules refer to.
//!
//! The same pods as other worlds have, with service accounts; nodes, network sets and services
//! beside them; some tiers, and 5 to 15 policies that stand in each other's way. One world in four
//! has profiles, and fewer policies, that those have a say; in one in four most rules of Calico are
//! of messages; two in five have host endpoints.

mod broken;
mod calico;
mod cluster;
mod objects;
mod profiles;
mod selector;
mod traffic;

use super::{Choices, World};

/// Where the policies of Calico in such a world stand.
const TIERS: [&str; 5] = ["default", "early", "open", "late", "absent"];

impl World {
    /// Makes up a world of tiers.
    #[must_use]
    pub fn tiered(choices: &mut Choices) -> Self {
        let mut all = super::cluster::objects(choices);
        let namespaces = super::cluster::namespaces_of(&all);
        objects::give_accounts(&mut all, choices);
        all.extend(objects::accounts(choices, &namespaces));
        all.extend(objects::nodes(choices));
        all.extend(objects::sets(choices, &namespaces));
        all.extend(objects::slices(choices, &namespaces));
        all.extend(objects::tiers(choices));
        let has_profiles = choices.chance(25);
        let policies = if has_profiles { 2 + choices.below(5) } else { 5 + choices.below(11) };
        for number in 0..policies {
            let policy = match choices.below(8) {
                0 => super::policy::policy(choices, &namespaces, number),
                1..=4 => calico::policy(choices, &namespaces, number),
                5 | 6 => cluster::cluster_policy(choices, number),
                _ => cluster::admin_policy(choices, number),
            };
            let place = if choices.chance(30) { 0 } else { all.len() };
            all.insert(place, policy);
        }
        if choices.chance(40) {
            all.push(cluster::baseline_policy(choices));
        }
        if has_profiles {
            all.extend(profiles::profiles(choices, &namespaces));
        }
        if choices.chance(25) {
            traffic::of_messages(&mut all, choices);
        }
        // Last, so that a seed's world is else as it was without them.
        if choices.chance(40) {
            all.extend(objects::hosts(choices));
        }
        Self { objects: all }
    }

    /// Makes up a world of tiers and then breaks some places of its policies and profiles.
    #[must_use]
    pub fn tiered_and_broken(choices: &mut Choices) -> Self {
        let mut world = Self::tiered(choices);
        for _ in 0..=choices.below(3) {
            broken::break_one(&mut world.objects, choices);
        }
        world
    }
}
