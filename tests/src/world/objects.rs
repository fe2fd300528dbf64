//! Objects of a simulated node that come and go one by one, and a switch that begins anew.

use std::collections::BTreeSet;

use lockgate_control::inventory::{Change, Inventory};
use lockgate_control::manifest::{FileObjects, ObjectKey};
use lockgate_control::resolver::Resolver;
use lockgate_dataplane::compiler::Compiler;

use super::World;

impl World {
    /// Takes changes in and puts them in force together.
    pub fn apply(&mut self, changes: Vec<Change>) {
        for change in changes {
            let _ = self.inventory.apply(change);
        }
        self.publish();
    }

    /// Takes files in as one change, `None` for one that is gone; [`World::publish`] puts it in
    /// force.
    pub fn hear(&mut self, files: Vec<(String, Option<FileObjects>)>) {
        let _ = self.inventory.take_files(files);
    }

    /// The switch dies and begins anew: its ports are there again, nothing is known and nothing
    /// in force. What it will read is what was there.
    pub fn restart(&mut self) {
        let old = std::mem::replace(self, Self::new(self.shape));
        (self.inventory, self.files, self.now) = (old.inventory, old.files, old.now);
        self.unread = keys(&self.inventory);
        self.plug_local();
    }

    /// The agent begins anew while its workers go on: nothing is known, and what is in force
    /// stays until something else is published.
    pub fn begin_anew(&mut self) {
        self.inventory = self.inventory.successor();
        (self.resolver, self.compiler) = (Resolver::default(), Compiler::default());
    }

    /// All has been read: it is in force.
    pub fn sync(&mut self) {
        self.publish();
    }
}

/// Everything that is in force.
fn keys(inventory: &Inventory) -> BTreeSet<ObjectKey> {
    let pods = inventory.pods().map(|pod| &pod.metadata);
    let namespaces = inventory.namespaces().map(|namespace| &namespace.metadata);
    let policies = inventory.policies().map(|policy| &policy.metadata);
    pods.chain(namespaces).chain(policies).map(|metadata| metadata.key.clone()).collect()
}
