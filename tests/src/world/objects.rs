//! Objects of a simulated node that come and go one by one, and a switch that begins anew.

use lockgate_control::inventory::Change;

use super::World;

impl World {
    /// Takes changes in and puts them in force together.
    pub fn apply(&mut self, changes: Vec<Change>) {
        for change in changes {
            let _ = self.inventory.apply(change);
        }
        self.publish();
    }

    /// The switch dies and begins anew: its ports are there again, nothing is known and nothing
    /// in force. What it will read is what was there.
    pub fn restart(&mut self) {
        let old = std::mem::replace(self, Self::new(self.shape));
        (self.inventory, self.files, self.now) = (old.inventory, old.files, old.now);
        self.plug_local();
    }

    /// All has been read: it is in force.
    pub fn sync(&mut self) {
        self.publish();
    }
}
