//! Objects of a simulated node that come and go one by one, and a switch that begins anew.

use lockgate_control::inventory::Change;
use lockgate_control::manifest::FileObjects;

use super::World;
use crate::agent::Agent;

impl World {
    /// Takes changes in and puts them in force together.
    pub fn apply(&mut self, changes: Vec<Change>) {
        for change in changes {
            let _ = self.agent.inventory.apply(change);
        }
        self.publish();
    }

    /// Takes files in as one change, `None` for one that is gone; [`World::publish`] puts it in
    /// force.
    pub fn hear(&mut self, files: Vec<(String, Option<FileObjects>)>) {
        let _ = self.agent.inventory.take_files(files);
    }

    /// The switch dies and begins anew: its ports are there again, nothing is known and nothing
    /// in force. What it will read is what was there.
    pub fn restart(&mut self) {
        let old = std::mem::replace(self, Self::new(self.shape));
        (self.files, self.now) = (old.files, old.now);
        self.agent = Agent::of(old.agent.inventory, self.shape.workers);
        self.plug_local();
    }

    /// The agent begins anew while its workers go on: nothing is known, and what is in force
    /// stays until something else is published.
    pub fn begin_anew(&mut self) {
        self.agent = self.agent.successor();
    }

    /// All has been read: it is in force.
    pub fn sync(&mut self) {
        self.publish();
    }
}
