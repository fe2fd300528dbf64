//! Numbers for what peers are made of: the pods of a set, or the blocks of one.
//!
//! A number is never another's before everything is built anew, so that a class may go on naming
//! one that is gone: it tells classes apart that need not be, and decides nothing. Sets with
//! equal blocks share the number of those.

use hashbrown::HashMap;

use super::super::super::ruleset::{PeerSet, SetId};
use super::super::intern::index;
use super::super::regions::Geometries;
use super::Out;

/// What a number stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The pods of this set.
    Pods(SetId),
    /// The blocks of this geometry.
    Blocks(u32),
    /// Nothing any more.
    Gone,
}

/// The numbers of every set that is somebody's peer.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    /// By set: its pods, and its blocks if it has any.
    of_set: Vec<Option<(u32, Option<u32>)>>,
    of_blocks: HashMap<u32, u32>,
    kinds: Vec<Kind>,
}

impl Numbers {
    /// Numbers a set, if it has none. Regions are cut along its blocks already.
    pub(super) fn add(
        &mut self,
        id: SetId,
        set: &PeerSet,
        geometries: &Geometries,
    ) -> Result<(), Out> {
        let at = id.0 as usize;
        if self.of_set.len() <= at {
            self.of_set.resize(at + 1, None);
        }
        if self.of_set[at].is_some() {
            return Ok(());
        }
        let mut blocks = None;
        if !set.blocks.is_empty() {
            let geometry = geometries.known(&set.blocks).ok_or(Out::Regions)?;
            let kinds = &mut self.kinds;
            blocks = Some(*self.of_blocks.entry(geometry).or_insert_with(|| {
                kinds.push(Kind::Blocks(geometry));
                index(kinds.len() - 1)
            }));
        }
        self.kinds.push(Kind::Pods(id));
        self.of_set[at] = Some((index(self.kinds.len() - 1), blocks));
        Ok(())
    }

    /// The set is gone.
    pub(super) fn drop(&mut self, id: SetId) {
        if let Some(Some((pods, _))) = self.of_set.get_mut(id.0 as usize).map(Option::take) {
            self.kinds[pods as usize] = Kind::Gone;
        }
    }

    /// The number of a set's pods, if it is anybody's peer.
    pub(super) fn pods(&self, id: SetId) -> Option<u32> {
        self.of_set.get(id.0 as usize)?.map(|(pods, _)| pods)
    }

    /// The numbers of all that these sets hold, ascending.
    pub(super) fn list(&self, sets: &[SetId]) -> Vec<u32> {
        let numbered = sets.iter().filter_map(|id| *self.of_set.get(id.0 as usize)?);
        let mut all: Vec<u32> =
            numbered.flat_map(|(pods, blocks)| [Some(pods), blocks]).flatten().collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    pub(super) fn kind(&self, number: u32) -> Kind {
        self.kinds[number as usize]
    }

    pub(super) fn len(&self) -> usize {
        self.kinds.len()
    }
}
