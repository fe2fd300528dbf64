//! Who a pod is, and one inventory in the place of another: a pod that is still the same object keeps
//! its identity.

use std::collections::BTreeSet;

use lockgate_dataplane::ids::EndpointId;

use super::{Identity, Inventory};
use crate::manifest::{Object, ObjectKey, ObjectKind};

impl Inventory {
    /// The identity of a pod: its own for as long as it is the same object (by `uid`).
    #[must_use]
    pub fn endpoint(&self, key: &ObjectKey) -> Option<EndpointId> {
        self.endpoints.get(key).copied()
    }

    /// One that knows nothing yet but who has which identity: for an agent that begins anew while
    /// its workers go on, so that connections stay their pods' (NP-58).
    #[must_use]
    pub fn successor(&self) -> Self {
        let mut inherited = self.inherited.clone();
        let now = self.endpoints.keys().filter_map(|key| Some((key.clone(), self.identity(key)?)));
        inherited.extend(now);
        Self { inherited, endpoints_given: self.endpoints_given, ..Self::default() }
    }

    /// Takes the place of another: what differs from it, and what of it nobody took note of, has
    /// changed. A pod that is still the same keeps its identity, and no other ever gets it (NP-54).
    /// Policies that departed before and whose namespace is still on its way out isolate on (NP-55).
    pub fn succeed(&mut self, before: &mut Self) {
        self.inherit_departed(before);
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

    /// Gives a new pod a new identity, and takes a gone one's away (NP-54).
    pub(super) fn identify(&mut self, key: &ObjectKey, before: Option<&Object>) {
        if key.kind == ObjectKind::Namespace && key.is_lost() {
            match self.in_force(key) {
                Some(_) => self.nameless.insert(key.clone()),
                None => self.nameless.remove(key),
            };
        }
        let inherited = self.inherited.remove(key);
        let Some(Object::Pod(pod)) = self.in_force(key) else {
            self.endpoints.remove(key);
            return;
        };
        let uid = &pod.metadata.uid;
        if before.is_some_and(|before| before.metadata().uid == *uid) {
            return;
        }
        let same = inherited.filter(|(known, _)| known == uid).map(|(_, endpoint)| endpoint);
        let given = EndpointId(self.endpoints_given);
        self.endpoints.insert(key.clone(), same.unwrap_or(given));
        self.endpoints_given = self.endpoints_given.saturating_add(u32::from(same.is_none()));
    }

    /// Who a pod is, or was.
    fn identity(&self, key: &ObjectKey) -> Option<Identity> {
        let is = self.in_force(key).zip(self.endpoint(key));
        let is = is.map(|(pod, endpoint)| (pod.metadata().uid.clone(), endpoint));
        is.or_else(|| self.inherited.get(key).cloned())
    }
}
