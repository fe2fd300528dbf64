//! One inventory in the place of another, of the same cluster at an earlier time.

use std::collections::BTreeSet;

use lockgate_dataplane::ids::EndpointId;

use super::Inventory;
use crate::manifest::ObjectKey;

impl Inventory {
    /// Takes the place of another: what differs from it, and what of it nobody took note of, has
    /// changed. A pod that is still the same keeps its identity, and no other ever gets it (NP-54).
    pub fn succeed(&mut self, before: &mut Self) {
        let mut changed: BTreeSet<ObjectKey> = before.take_changes();
        let all = self.objects.keys().chain(before.objects.keys());
        let differs = |key: &&ObjectKey| self.in_force(key) != before.in_force(key);
        changed.extend(all.filter(differs).cloned());
        let mut given = before.endpoints_given;
        for key in self.endpoints.keys().cloned().collect::<Vec<_>>() {
            let uid = self.in_force(&key).and_then(|pod| pod.metadata().uid.clone());
            let known = before.identity(&key).filter(|(old, _)| *old == uid);
            let identity = known.as_ref().map_or(EndpointId(given), |(_, same)| *same);
            if known.is_none() {
                given = given.saturating_add(1);
                changed.insert(key.clone());
            }
            self.endpoints.insert(key, identity);
        }
        self.endpoints_given = given;
        self.changed = changed;
    }
}
