//! What is found on disk: attachments where two agents have a hand in them, one after the other.

use std::collections::{BTreeMap, BTreeSet};

use tracing::{info, warn};

use super::{Attachments, Store, StoreError, key, seen, spoken};
use crate::cni::protocol::{Attach, Attachment};
use crate::dataplane::Dataplane;
use crate::sync::Sync;

impl Attachments {
    /// What was found on disk, of which the interfaces are still there. They are to be listed after
    /// it was read: what comes between would seem to be gone.
    #[must_use]
    pub fn open(
        store: Store,
        found: Vec<(Attachment, Attach)>,
        is_there: impl Fn(&str) -> bool,
    ) -> Self {
        let mut open = Self {
            store,
            all: BTreeMap::new(),
            going: BTreeSet::new(),
            waiting: Vec::new(),
            found: Vec::new(),
            lost: Vec::new(),
        };
        for (attachment, attach) in found {
            if is_there(attach.interface.as_str()) {
                open.found.push(attachment.clone());
                open.all.insert(attachment, attach);
                continue;
            }
            let interface = &attach.interface;
            info!(%interface, pod = %spoken(&attach), "its interface has gone: not attached any more");
            open.lost.push(attachment);
        }
        open
    }

    /// Removes from the disk what was found there and is attached no more. Only for who is the agent
    /// of its node: beside a predecessor it is that one's.
    pub fn remove_lost(&mut self) {
        for attachment in self.lost.drain(..) {
            if let Err(error) = self.store.remove(&attachment) {
                // It counts no more, and is looked at again at the next start. An agent that ended
                // here would cut off every other pod.
                warn!(%error, "what is attached no more stays on disk");
            }
        }
    }

    /// Tells the agent of everything that was found, the newest last: at its start.
    pub fn restore<D: Dataplane>(&self, sync: &mut Sync<D>) {
        for attach in self.found.iter().filter_map(|one| self.all.get(one)) {
            sync.attach(&key(attach), seen(attach));
        }
    }

    /// What is on disk now.
    ///
    /// # Errors
    /// [`StoreError`] where the directory cannot be used.
    pub fn read(&self) -> Result<Vec<(Attachment, Attach)>, StoreError> {
        self.store.read()
    }

    /// Goes by what was found on disk, where another agent was meanwhile that is gone now, and lets go
    /// of whoever waits: they ask whoever is there.
    pub fn renew<D: Dataplane>(
        &mut self,
        found: Vec<(Attachment, Attach)>,
        is_there: impl Fn(&str) -> bool,
        sync: &mut Sync<D>,
    ) {
        let before = std::mem::replace(self, Self::open(self.store.clone(), found, is_there));
        self.remove_lost();
        for (attachment, attach) in &before.all {
            if self.all.get(attachment) != Some(attach) {
                sync.detach(&key(attach), attach.interface.as_str());
            }
        }
        self.restore(sync);
    }

    /// Lets go of whoever waits: they are not answered, and ask again.
    pub fn let_go(&mut self) {
        self.waiting.clear();
    }
}
