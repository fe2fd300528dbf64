//! Which policy sets there are: distinct lists of parts, each for as long as a pod has it. One that is
//! asked what is recorded ends in `LOGS`, which is no part.

use hashbrown::HashMap;

use super::super::intern::{index, put, take};
use super::columns::ShapeId;
use super::model::PartId;

/// A policy set's number; 0 is "nobody isolates it". Used again.
pub(super) type SetNumber = u32;

/// All of them.
#[derive(Debug)]
pub(super) struct PolicySets {
    all: Vec<PolicySet>,
    by_parts: HashMap<Box<[PartId]>, SetNumber>,
    /// Ascending: those with a policy of the whole cluster are all that there are.
    with_part: HashMap<PartId, Vec<SetNumber>>,
    free: Vec<SetNumber>,
    /// Those without a row yet.
    new: Vec<SetNumber>,
    /// Those that may have lost their last pod.
    left: Vec<SetNumber>,
}

/// One of them.
#[derive(Debug, Default)]
pub(super) struct PolicySet {
    pub(super) parts: Box<[PartId]>,
    pods: u32,
    /// Of its row, once that is made.
    pub(super) shape: Option<ShapeId>,
}

impl PolicySets {
    /// Only the empty one.
    pub(super) fn new() -> Self {
        Self {
            all: vec![PolicySet::default()],
            by_parts: HashMap::new(),
            with_part: HashMap::new(),
            free: Vec::new(),
            new: Vec::new(),
            left: Vec::new(),
        }
    }

    /// The number of these parts, for one more pod.
    pub(super) fn enter(&mut self, parts: Vec<PartId>) -> SetNumber {
        if parts.is_empty() {
            return 0;
        }
        if let Some(&known) = self.by_parts.get(&*parts) {
            self.all[known as usize].pods += 1;
            return known;
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.all.push(PolicySet::default());
            index(self.all.len() - 1)
        });
        for part in &parts {
            put(self.with_part.entry(*part).or_default(), number);
        }
        let parts: Box<[PartId]> = parts.into();
        self.by_parts.insert(parts.clone(), number);
        self.all[number as usize] = PolicySet { parts, pods: 1, shape: None };
        self.new.push(number);
        number
    }

    /// One pod less has it.
    pub(super) fn leave(&mut self, number: SetNumber) {
        if number != 0 {
            let set = &mut self.all[number as usize];
            set.pods = set.pods.saturating_sub(1);
            if set.pods == 0 {
                self.left.push(number);
            }
        }
    }

    /// Takes away those that nobody has; gives them with their shapes. Their numbers are given
    /// again from the next change on.
    pub(super) fn sweep(&mut self) -> Vec<(SetNumber, Option<ShapeId>)> {
        let mut left = std::mem::take(&mut self.left);
        left.sort_unstable();
        left.dedup();
        left.retain(|&number| self.all[number as usize].pods == 0);
        let take = |&number: &SetNumber| {
            let set = std::mem::take(&mut self.all[number as usize]);
            self.by_parts.remove(&set.parts);
            for part in &set.parts {
                if let Some(sets) = self.with_part.get_mut(part) {
                    take(sets, number);
                    if sets.is_empty() {
                        self.with_part.remove(part);
                    }
                }
            }
            (number, set.shape)
        };
        let swept: Vec<_> = left.iter().map(take).collect();
        self.new.retain(|number| left.binary_search(number).is_err());
        self.free.extend(left);
        swept
    }

    /// Those without a row yet.
    pub(super) fn take_new(&mut self) -> Vec<SetNumber> {
        std::mem::take(&mut self.new)
    }

    /// Those that hold the part.
    pub(super) fn with_part(&self, part: PartId) -> impl Iterator<Item = SetNumber> {
        self.with_part.get(&part).into_iter().flatten().copied()
    }

    pub(super) fn get(&self, number: SetNumber) -> &PolicySet {
        &self.all[number as usize]
    }

    pub(super) fn set_shape(&mut self, number: SetNumber, shape: ShapeId) {
        self.all[number as usize].shape = Some(shape);
    }

    /// One more than the highest number.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }
}
