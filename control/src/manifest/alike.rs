//! What many objects have alike, kept once.
//!
//! Pods of one template have the same labels, ports and account, pods of one node its addresses;
//! and each version of an object has the same key. Where objects come one by one, each brings all that
//! anew: here it is exchanged for what is there. What nobody has any more goes when there is twice
//! as much as was of use the last time.

use std::collections::HashSet;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;

use super::{Called, NamedPort, Object, ObjectKey, Pod};
use crate::selector::Labels;

/// What is looked through for what nobody has any more, at least.
const FEW: usize = 1024;

/// Everything that objects may have alike.
#[derive(Debug, Default)]
pub struct Alike {
    keys: Pool<Called>,
    texts: Pool<str>,
    labels: Pool<Labels>,
    ports: Pool<[NamedPort]>,
    addresses: Pool<[IpAddr]>,
}

/// Pieces of one sort.
#[derive(Debug)]
struct Pool<T: ?Sized> {
    pieces: HashSet<Arc<T>>,
    most: usize,
}

impl<T: ?Sized> Default for Pool<T> {
    fn default() -> Self {
        Self { pieces: HashSet::new(), most: FEW }
    }
}

impl<T: ?Sized + Eq + Hash> Pool<T> {
    /// Exchanges a piece for the one that is there.
    fn share(&mut self, piece: &mut Arc<T>) {
        if let Some(known) = self.pieces.get(&**piece) {
            *piece = Arc::clone(known);
            return;
        }
        if self.pieces.len() >= self.most {
            self.pieces.retain(|piece| Arc::strong_count(piece) > 1);
            self.pieces.shrink_to(2 * self.pieces.len());
            self.most = FEW.max(2 * self.pieces.len());
        }
        self.pieces.insert(Arc::clone(piece));
    }
}

impl Alike {
    /// Gives an object what others have alike.
    pub fn share(&mut self, object: &mut Object) {
        let metadata = object.metadata_mut();
        self.texts.share(&mut metadata.origin.file);
        self.share_key(&mut metadata.key);
        if let Object::Pod(pod) = object {
            self.share_pod(pod);
        }
    }

    fn share_key(&mut self, key: &mut ObjectKey) {
        if let Some(called) = Arc::get_mut(key.called_mut()) {
            self.texts.share(&mut called.namespace);
        }
        self.keys.share(key.called_mut());
    }

    fn share_pod(&mut self, pod: &mut Pod) {
        self.texts.share(&mut pod.account);
        self.ports.share(&mut pod.ports);
        self.addresses.share(&mut pod.host_ips);
        if let Some(labels) = &mut pod.labels {
            self.labels.share(labels);
        }
    }
}
