//! The cluster as the API server tells it. Pure.
//!
//! ```text
//!   Heard --> Standing (per resource: what is held, what a list has shown)
//!               `--> Pods (which node, who has an address) --> Inventory
//! ```
//!
//! Nothing is enforced before every resource has been read once (NP-58): a policy that is not read
//! yet denies nobody. From then on what is known stays in force, whatever becomes of the API server:
//! an object goes when a list that has ended does not hold it, or when it is said to be gone, and
//! never because nobody answers.

mod last;
mod pods;
mod server;
mod standing;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use crate::applied::Versions;
use crate::inventory::{Change, Effect, Inventory};
use crate::last_good::Kept;
use crate::manifest::{Object, ObjectKey, ObjectKind, Pod, Problem};
use crate::watch::{Heard, RESOURCES, Resource, There, What};
use last::Last;
pub use pods::Attached;
use pods::Pods;
pub use server::Server;
pub use standing::{Standing, State};

/// What the API server has told.
#[derive(Debug)]
pub struct Cluster {
    inventory: Inventory,
    pods: Pods,
    standings: BTreeMap<ObjectKind, Standing>,
    server: Server,
    /// What is enforced until everything was read.
    last: Option<Last>,
    kept: Kept,
}

impl Cluster {
    /// With nothing heard yet, on the node of this name.
    #[must_use]
    pub fn new(node: &str) -> Self {
        let standing = |resource| (resource, Standing::default());
        Self {
            inventory: Inventory::new(),
            pods: Pods::new(node),
            standings: RESOURCES.iter().map(|one| standing(one.kind)).collect(),
            server: Server::default(),
            last: None,
            kept: Kept::default(),
        }
    }

    /// Takes in what was heard.
    pub fn take(&mut self, heard: Heard, now: SystemTime) -> Effect {
        let effect = self.hear(heard, now);
        if self.last.is_none() {
            return effect;
        }
        if self.is_whole() { self.take_over() } else { Effect::Nothing }
    }

    fn hear(&mut self, heard: Heard, now: SystemTime) -> Effect {
        let (kind, what) = match heard {
            Heard::Of(kind, what) => (kind, what),
            Heard::Pulse(pulse) => {
                self.server.feel(pulse, now);
                return Effect::Nothing;
            }
        };
        match what {
            What::Begun(version) => {
                self.standing(kind).begin(version);
                Effect::Nothing
            }
            What::There(there) => self.put(kind, *there, now),
            What::Gone(key) => {
                let gone = self.standing(kind).forms(&key);
                self.standing(kind).note(now);
                self.remove(kind, gone)
            }
            What::Whole => {
                let gone = self.standing(kind).end(now);
                self.remove(kind, gone)
            }
            What::Absent => {
                let gone = self.standing(kind).vanish(now);
                self.remove(kind, gone)
            }
            What::Steady => {
                self.standing(kind).steady(now);
                Effect::Nothing
            }
            What::Failed(trouble, lasts) => {
                self.standing(kind).fail(trouble, now, lasts);
                Effect::Nothing
            }
        }
    }

    fn standing(&mut self, kind: ObjectKind) -> &mut Standing {
        self.standings.entry(kind).or_default()
    }

    fn put(&mut self, kind: ObjectKind, there: There, now: SystemTime) -> Effect {
        let There { object, problems, facts, version } = there;
        let key = object.metadata().key.clone();
        let standing = self.standing(kind);
        standing.note(now);
        standing.version_seen(version);
        // What was enforced and is staged now is another object, and so the other way round.
        let other = standing.hold(&key);
        let effect = self.remove(kind, other.into_iter().collect());
        let told = match object {
            Object::Pod(pod) => {
                let changed = self.pods.put(pod, facts, &self.inventory);
                self.dress(changed, Some((&key, &problems)))
            }
            object => self.inventory.tell(object, problems),
        };
        effect.or(told)
    }

    /// Puts pods as they are now; `said` is what is to be said of the one that was told.
    fn dress(&mut self, changed: Vec<Pod>, said: Option<(&ObjectKey, &[Problem])>) -> Effect {
        let mut effect = Effect::Nothing;
        for pod in changed {
            let told = said.filter(|(key, _)| **key == pod.metadata.key);
            let now = match told {
                Some((_, problems)) => self.inventory.tell(Object::Pod(pod), problems.to_vec()),
                None => self.inventory.apply(Change::Set(Object::Pod(pod))),
            };
            effect = effect.or(now);
        }
        effect
    }

    fn remove(&mut self, kind: ObjectKind, gone: BTreeSet<ObjectKey>) -> Effect {
        let mut effect = Effect::Nothing;
        for key in gone {
            if !self.standing(kind).let_go(&key) {
                continue;
            }
            let changed = match kind {
                ObjectKind::Pod => self.pods.remove(&key, &self.inventory),
                _ => Vec::new(),
            };
            effect = effect.or(self.inventory.apply(Change::Remove(key)));
            effect = effect.or(self.dress(changed, None));
        }
        effect
    }

    /// A pod of this node has an interface and addresses from now on, whatever its status says
    /// yet.
    pub fn attach(&mut self, pod: &ObjectKey, attached: Attached) -> Effect {
        let last = self.last.as_mut().map(|last| last.cluster.attach(pod, attached.clone()));
        let changed = self.pods.attach(pod, attached, &self.inventory);
        let told = self.dress(changed, None);
        last.unwrap_or(told)
    }

    /// A pod's interface is no more, and its addresses are nobody's: they may be given to another
    /// at once (NP-54).
    pub fn detach(&mut self, pod: &ObjectKey, interface: &str) -> Effect {
        let last = self.last.as_mut().map(|last| last.cluster.detach(pod, interface));
        let changed = self.pods.detach(pod, interface, &self.inventory);
        let told = self.dress(changed, None);
        last.unwrap_or(told)
    }

    /// Whether the pod of a name is the one that a container runtime calls so.
    #[must_use]
    pub fn has_pod(&self, pod: &ObjectKey, uid: &str) -> bool {
        let last = self.last.as_ref().map(|last| last.cluster.pods.has(pod, uid));
        last.unwrap_or_else(|| self.pods.has(pod, uid))
    }

    /// What is known, and enforced.
    #[must_use]
    pub fn inventory(&self) -> &Inventory {
        self.known()
    }

    /// The objects that mean something else since this was last called.
    pub fn take_changes(&mut self) -> BTreeSet<ObjectKey> {
        match &mut self.last {
            Some(last) => last.cluster.take_changes(),
            None => self.inventory.take_changes(),
        }
    }

    /// Whether every resource has been read once.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.standings.values().all(Standing::is_read)
    }

    /// A resource that was not read yet, as roles name it.
    #[must_use]
    pub fn unread(&self) -> Option<String> {
        let unread = |one: &&Resource| {
            self.standings.get(&one.kind).is_none_or(|standing| !standing.is_read())
        };
        RESOURCES.iter().find(unread).map(Resource::spoken)
    }

    /// How each resource stands.
    pub fn standings(&self) -> impl Iterator<Item = (ObjectKind, &Standing)> {
        self.standings.iter().map(|(kind, standing)| (*kind, standing))
    }

    /// The newest `metadata.resourceVersion` of each resource, in the order of [`RESOURCES`], up to
    /// which everything was taken in.
    #[must_use]
    pub fn versions(&self) -> Versions {
        if let Some(last) = &self.last {
            return last.cluster.versions();
        }
        RESOURCES.map(|one| self.standings.get(&one.kind).map_or(0, Standing::newest))
    }

    /// Whether the API server answers.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Everything to be said of objects, and of the API server.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = self.known().problems();
        let is_stale = self.last.is_some();
        let of_standing =
            |(kind, standing): (&ObjectKind, &Standing)| standing.problem(*kind, is_stale);
        problems.extend(self.standings.iter().filter_map(of_standing));
        problems.extend(self.server.problem(self.may_be_enforced()));
        problems.extend(self.stale());
        problems.sort();
        problems
    }
}
