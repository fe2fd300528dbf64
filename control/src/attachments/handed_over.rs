//! Attachments where two agents have a hand in them, one after the other.

use super::{Attachments, StoreError, key};
use crate::dataplane::Dataplane;
use crate::sync::Sync;

impl Attachments {
    /// Looks at the disk again, where another agent was meanwhile, and lets go of whoever waits:
    /// they ask whoever is there.
    ///
    /// # Errors
    /// [`StoreError`] where the directory cannot be used.
    pub fn renew<D: Dataplane>(
        &mut self,
        is_there: impl Fn(&str) -> bool,
        sync: &mut Sync<D>,
    ) -> Result<(), StoreError> {
        let before = std::mem::replace(self, Self::open(self.store.clone(), is_there)?);
        for (attachment, attach) in &before.all {
            if self.all.get(attachment) != Some(attach) {
                sync.detach(&key(attach), attach.interface.as_str());
            }
        }
        self.restore(sync);
        Ok(())
    }

    /// Lets go of whoever waits: they are not answered, and ask again.
    pub fn let_go(&mut self) {
        self.waiting.clear();
    }
}
