//! Which cells a row has, found once for all rows that have the same peers.
//!
//! A *shape* says of every class in which of a list of peer groups it is: each combination that
//! occurs has a *local* number, and the shape is the array from classes to those. Shapes grow by
//! one group at a time, and number 0 is the empty one, all of whose classes are local 0:
//!
//! ```text
//!   shape [A]      classes in A -> 1, others 0
//!   shape [A, B]   in B: those that were 0 -> 2, those that were 1 -> 3; others as in [A]
//! ```
//!
//! Numbers once given stay, so that all of the array outside the last group is shared with the
//! shape before, and rows that begin with the same groups share the work. Rows therefore bring
//! their most widely used groups first.
//!
//! A local that is wholly in a later group stays behind without a class. Where most have, the
//! cells of the shape are numbered anew; other shapes do not notice.

use std::sync::Arc;

use hashbrown::HashMap;

use super::super::table::{Branch, Cells, FAN, Leaf, PLANE};
use super::intern::index;
use super::trees::{Root, Trees};

/// Number of a shape.
pub(super) type ShapeId = u32;

/// All shapes of one compilation.
pub(super) struct Shapes {
    pub(super) trees: Trees,
    all: Vec<Shape>,
    known: HashMap<(ShapeId, Root), ShapeId>,
    leaves: HashMap<(u32, u32), Arc<Leaf>>,
    branches: HashMap<(u32, u32), Arc<Branch>>,
    sealed: HashMap<ShapeId, Sealed>,
}

/// A shape as a row holds it.
#[derive(Clone)]
pub(super) struct Sealed {
    /// The array of the values of the cells.
    pub(super) root: Root,
    pub(super) cells: Cells,
    /// By value of a cell: the local that it stands for.
    pub(super) locals: Arc<[u32]>,
}

/// Fewer locals are not worth a look at whether all still occur.
const RENUMBER_MIN: u32 = 256;

struct Shape {
    root: Root,
    /// The shape with one group less. The empty shape's is itself.
    parent: ShapeId,
    /// For each local that this shape added: the parent's local that it was.
    added: Vec<u32>,
    /// Locals in all.
    locals: u32,
}

impl Shapes {
    /// Only the empty shape.
    pub(super) fn new(trees: Trees) -> Self {
        let empty = Shape { root: Root::ZEROS, parent: 0, added: Vec::new(), locals: 1 };
        Self {
            trees,
            all: vec![empty],
            known: HashMap::new(),
            leaves: HashMap::new(),
            branches: HashMap::new(),
            sealed: HashMap::new(),
        }
    }

    /// The shape of these groups.
    pub(super) fn of(&mut self, groups: &[Root]) -> ShapeId {
        groups.iter().fold(0, |shape, group| self.extend(shape, *group))
    }

    fn extend(&mut self, parent: ShapeId, group: Root) -> ShapeId {
        if let Some(&known) = self.known.get(&(parent, group)) {
            return known;
        }
        let Shape { root, locals: first, .. } = self.all[parent as usize];
        let mut added: Vec<u32> = Vec::new();
        let mut numbers: HashMap<u32, u32> = HashMap::new();
        let root = self.trees.overlay(root, group, |local| {
            *numbers.entry(local).or_insert_with(|| {
                added.push(local);
                first + index(added.len()) - 1
            })
        });
        let shape = index(self.all.len());
        let locals = first + index(added.len());
        self.all.push(Shape { root, parent, added, locals });
        self.known.insert((parent, group), shape);
        shape
    }

    /// For each local but 0, ascending: the local it grew from, which is lower, and the place in
    /// the shape's list of groups of the one that it is in beyond that.
    pub(super) fn growth(&self, shape: ShapeId, groups: usize) -> Vec<(u32, u32)> {
        let mut chain = Vec::with_capacity(groups);
        let mut at = shape;
        while at != 0 {
            chain.push(&self.all[at as usize]);
            at = self.all[at as usize].parent;
        }
        let steps = chain.into_iter().rev().zip(0..);
        steps
            .flat_map(|(shape, group)| shape.added.iter().map(move |&from| (from, group)))
            .collect()
    }

    /// What a shape looks like in a table.
    pub(super) fn seal(&mut self, shape: ShapeId) -> Sealed {
        if let Some(sealed) = self.sealed.get(&shape) {
            return sealed.clone();
        }
        let Shape { root, locals, .. } = self.all[shape as usize];
        let (root, locals) = match self.renumber(root, locals) {
            Some((root, locals)) => (root, locals),
            None => (root, (0..locals).collect()),
        };
        let cells = self.cells(root, locals.len());
        let sealed = Sealed { root, cells, locals: locals.into() };
        self.sealed.insert(shape, sealed.clone());
        sealed
    }

    /// What an array of so many values looks like in a table: its cells, with a second plane of
    /// them where there are more than [`PLANE`].
    pub(super) fn cells(&mut self, root: Root, values: usize) -> Cells {
        let tops = self.trees.branches(root).to_vec();
        let mut cells: Vec<_> = tops.iter().map(|&top| self.branch(top, 0)).collect();
        if values > PLANE {
            cells.extend(tops.iter().map(|&top| self.branch(top, 16)));
        }
        cells.into()
    }

    /// How many shapes there are, those on the way to others counted.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// The array with only as many numbers as occur, and which locals they stand for; `None`
    /// where that would not halve them.
    fn renumber(&mut self, root: Root, locals: u32) -> Option<(Root, Vec<u32>)> {
        if locals < RENUMBER_MIN {
            return None;
        }
        let mut living = vec![0];
        let mut numbers: HashMap<u32, u32> = HashMap::new();
        let root = self.trees.overlay(root, root, |local| {
            *numbers.entry(local).or_insert_with(|| {
                living.push(local);
                index(living.len() - 1)
            })
        });
        (living.len() * 2 <= locals as usize).then_some((root, living))
    }

    /// A branch of 16 bits of each value, from bit `shift` on.
    fn branch(&mut self, branch: u32, shift: u32) -> Arc<Branch> {
        if let Some(known) = self.branches.get(&(branch, shift)) {
            return Arc::clone(known);
        }
        let leaves = *self.trees.leaves(branch);
        let sealed = Arc::new(std::array::from_fn::<_, FAN, _>(|at| self.leaf(leaves[at], shift)));
        self.branches.insert((branch, shift), Arc::clone(&sealed));
        sealed
    }

    fn leaf(&mut self, leaf: u32, shift: u32) -> Arc<Leaf> {
        let Self { leaves, trees, .. } = self;
        #[allow(clippy::cast_possible_truncation)] // masked: the other plane has the rest
        let cell = |value: u32| (value >> shift & 0xffff) as u16;
        let seal = || Arc::new(trees.values(leaf).map(cell));
        Arc::clone(leaves.entry((leaf, shift)).or_insert_with(seal))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_given_anew_where_half_of_many_are_out_of_use() {
        for (locals, living, is_anew) in
            [(256, 127, true), (256, 128, false), (255, 1, false), (257, 127, true)]
        {
            let mut shapes = Shapes::new(Trees::new(4096));
            let root = (1..=living)
                .fold(Root::ZEROS, |root, value| shapes.trees.with(root, value, value + 100));
            let found = shapes.renumber(root, locals);
            assert_eq!(found.is_some(), is_anew, "{living} and 0 of {locals}");
            let Some((root, locals)) = found else { continue };
            for value in 1..=living {
                let new = shapes.trees.get(root, value);
                assert_eq!(locals[new as usize], value + 100);
            }
        }
    }
}
