//! What one object is, wherever it is written.
//!
//! Nearly always there is one version, and there are very many objects: a vector with room for
//! just that, where a map's smallest node has room for eleven.

use crate::manifest::Object;

/// Every version of an object, by where it is written; the last is in force. One that only may have
/// been this object is before all that are: it must not take a denial's place.
#[derive(Clone, Debug, Default)]
pub(super) struct Versions(Vec<Object>);

impl Versions {
    /// The version that counts.
    pub(super) fn in_force(&self) -> Option<&Object> {
        self.0.last()
    }

    /// Those that do not count.
    pub(super) fn earlier(&self) -> impl Iterator<Item = &Object> {
        self.0.iter().rev().skip(1).rev()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a version, in the place of one that was written at the same place.
    pub(super) fn put(&mut self, object: Object) {
        let place = |one: &Object| {
            let origin = one.metadata().origin.clone();
            (!origin.is_stand_in(), origin)
        };
        match self.0.binary_search_by_key(&place(&object), place) {
            Ok(place) => {
                if let Some(old) = self.0.get_mut(place) {
                    *old = object;
                }
            }
            Err(place) => {
                self.0.reserve_exact(1);
                self.0.insert(place, object);
            }
        }
    }

    /// Forgets those that a file holds.
    pub(super) fn forget(&mut self, file: &str) {
        self.0.retain(|object| *object.metadata().origin.file != *file);
    }
}
