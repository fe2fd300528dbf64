//! Who is in what: arrays over classes, of numbers, of groups, and of the shapes of rows, all
//! changed together when a class enters a number.
//!
//! A *group* is a list of numbers: what one rule names as its peers. A *shape* says of each class
//! in which of its groups it is; every combination that occurred has a value, which is what the
//! cells of the shape's rows hold. Values only come, so that rows need only be made longer.

use std::ops::Range;
use std::sync::Arc;

use hashbrown::HashMap;

use super::super::super::table::Cells;
use super::super::intern::{Interner, index, put, take};
use super::super::shapes::Shapes;
use super::super::trees::{Root, Trees};
use super::Out;

/// A group's number.
pub(super) type GroupId = u32;
/// A shape's number; used again.
pub(super) type ShapeId = u32;

/// All of them.
pub(super) struct Columns {
    shapes: Shapes,
    /// By number; `None` until the number's first classes are known.
    numbers: Vec<Option<Root>>,
    /// By number.
    groups_with: Vec<Vec<GroupId>>,
    lists: Interner<[u32]>,
    groups: Vec<Group>,
    all: Vec<Shape>,
    free: Vec<ShapeId>,
    by_groups: HashMap<Box<[GroupId]>, ShapeId>,
    /// Shapes whose cells are out of date, with the values that they had when they were in date.
    touched: HashMap<ShapeId, usize>,
    /// Arrays changed, and how many may be before building anew is cheaper.
    changed: usize,
    pub(super) changed_max: usize,
}

#[derive(Debug)]
struct Group {
    root: Root,
    /// The shapes it is in, and at which place.
    shapes: Vec<(ShapeId, u32)>,
    /// Rows that name it: what rows sort their groups by.
    rows: u32,
}

/// A shape that rows have.
#[derive(Debug)]
pub(super) struct Shape {
    root: Root,
    pub(super) groups: Vec<GroupId>,
    /// By value: the places of the groups it stands for, ascending.
    pub(super) values: Vec<Box<[u32]>>,
    /// The value of each combination, once asked for.
    known: Option<HashMap<Box<[u32]>, u32>>,
    /// Ascending.
    pub(super) rows: Vec<u32>,
    pub(super) cells: Cells,
}

impl Columns {
    pub(super) fn new(span: usize) -> Self {
        Self {
            shapes: Shapes::new(Trees::new(span)),
            numbers: Vec::new(),
            groups_with: Vec::new(),
            lists: Interner::new(),
            groups: Vec::new(),
            all: Vec::new(),
            free: Vec::new(),
            by_groups: HashMap::new(),
            touched: HashMap::new(),
            changed: 0,
            changed_max: usize::MAX,
        }
    }

    /// What is kept in all, used or not.
    pub(super) fn nodes(&self) -> usize {
        self.shapes.trees.nodes() + self.shapes.len() + self.groups.len()
    }

    /// Rows' shapes in all.
    pub(super) fn shapes(&self) -> usize {
        self.all.len()
    }

    /// Another change begins.
    pub(super) fn begin(&mut self) {
        self.changed = 0;
    }

    /// The first classes of a number.
    pub(super) fn begin_number(&mut self, number: u32, mut classes: Vec<Range<u32>>) {
        super::super::regions::merge(&mut classes);
        let at = number as usize;
        if self.numbers.len() <= at {
            self.numbers.resize(at + 1, None);
            self.groups_with.resize_with(at + 1, Vec::new);
        }
        self.numbers[at] = Some(self.shapes.trees.ones(&classes));
    }

    /// Whether the number's first classes are known.
    pub(super) fn has_begun(&self, number: Option<u32>) -> bool {
        number.is_some_and(|one| matches!(self.numbers.get(one as usize), Some(Some(_))))
    }

    /// The number of the group of these numbers, ascending.
    pub(super) fn group(&mut self, numbers: &[u32]) -> GroupId {
        let id = self.lists.number(numbers);
        if id as usize == self.groups.len() {
            let roots = numbers.iter().filter_map(|&one| *self.numbers.get(one as usize)?);
            let trees = &mut self.shapes.trees;
            let root = roots.reduce(|all, one| trees.overlay(all, one, |_| 1));
            self.groups.push(Group {
                root: root.unwrap_or(Root::ZEROS),
                shapes: Vec::new(),
                rows: 0,
            });
            for &number in numbers {
                self.groups_with[number as usize].push(id);
            }
        }
        id
    }

    /// A row names these groups (true), or does no more.
    pub(super) fn weigh(&mut self, groups: &[GroupId], names: bool) {
        for &group in groups {
            let rows = &mut self.groups[group as usize].rows;
            *rows = if names { *rows + 1 } else { rows.saturating_sub(1) };
        }
    }

    /// A class enters these numbers. Those whose first classes are not known yet are left out.
    pub(super) fn enter(&mut self, class: u32, numbers: &[u32]) -> Result<(), Out> {
        let mut groups: Vec<GroupId> = Vec::new();
        for &number in numbers {
            let Some(Some(root)) = self.numbers.get_mut(number as usize) else { continue };
            *root = self.shapes.trees.with(*root, class, 1);
            groups.extend(&self.groups_with[number as usize]);
        }
        groups.sort_unstable();
        groups.dedup();
        let mut places: Vec<(ShapeId, u32)> = Vec::new();
        for id in groups {
            let group = &mut self.groups[id as usize];
            if self.shapes.trees.get(group.root, class) == 0 {
                group.root = self.shapes.trees.with(group.root, class, 1);
                places.extend(&group.shapes);
            }
        }
        places.sort_unstable();
        for places in places.chunk_by(|a, b| a.0 == b.0) {
            let beyond: Vec<u32> = places.iter().map(|place| place.1).collect();
            self.extend(places[0].0, class, &beyond)?;
        }
        Ok(())
    }

    /// Classes are in all that another is in, and in nothing else yet.
    pub(super) fn copy(&mut self, from: u32, to: &[u32]) -> Result<(), Out> {
        let Self { shapes, numbers, groups, all, touched, changed, changed_max, .. } = self;
        let trees = &mut shapes.trees;
        // Asked before each: an array is written as often as there are classes.
        let mut afford = || spend(changed, to.len(), *changed_max);
        let roots = numbers.iter_mut().flatten();
        for root in roots.chain(groups.iter_mut().map(|group| &mut group.root)) {
            let value = trees.get(*root, from);
            if value != 0 {
                afford()?;
                *root = to.iter().fold(*root, |root, &class| trees.with(root, class, value));
            }
        }
        for (id, shape) in (0..).zip(all) {
            let value = trees.get(shape.root, from);
            if value != 0 {
                afford()?;
                let each = |root, &class: &u32| trees.with(root, class, value);
                shape.root = to.iter().fold(shape.root, each);
                touched.entry(id).or_insert(shape.values.len());
            }
        }
        Ok(())
    }

    /// The class is in the groups at these places of a shape too, which it was not in.
    fn extend(&mut self, id: ShapeId, class: u32, beyond: &[u32]) -> Result<(), Out> {
        let shape = &mut self.all[id as usize];
        let trees = &mut self.shapes.trees;
        let values = &mut shape.values;
        let known = shape.known.get_or_insert_with(|| values.iter().cloned().zip(0..).collect());
        let mut places = values[trees.get(shape.root, class) as usize].to_vec();
        places.extend_from_slice(beyond);
        places.sort_unstable();
        self.touched.entry(id).or_insert(values.len());
        let value = *known.entry(places.into()).or_insert_with_key(|places| {
            values.push(places.clone());
            index(values.len() - 1)
        });
        shape.root = trees.with(shape.root, class, value);
        spend(&mut self.changed, 1, self.changed_max)
    }

    /// Brings the cells of what was touched up to date; gives the shapes, each with the number
    /// of values it had before.
    pub(super) fn refresh(&mut self) -> Vec<(ShapeId, usize)> {
        let touched: Vec<(ShapeId, usize)> = self.touched.drain().collect();
        for &(id, _) in &touched {
            let shape = &mut self.all[id as usize];
            shape.cells = self.shapes.cells(shape.root, shape.values.len());
        }
        touched
    }

    pub(super) fn shape(&self, id: ShapeId) -> &Shape {
        &self.all[id as usize]
    }

    /// The shape of these groups, ascending, for a row that had another, or none.
    pub(super) fn acquire(
        &mut self,
        groups: Vec<GroupId>,
        row: u32,
        old: Option<ShapeId>,
    ) -> ShapeId {
        let key: Box<[GroupId]> = groups.into();
        let id = match self.by_groups.get(&key) {
            Some(&known) if Some(known) == old => return known,
            Some(&known) => known,
            None => self.make(key),
        };
        put(&mut self.all[id as usize].rows, row);
        if let Some(old) = old {
            self.release(old, row);
        }
        id
    }

    /// A row has this shape no more.
    pub(super) fn release(&mut self, id: ShapeId, row: u32) {
        let shape = &mut self.all[id as usize];
        take(&mut shape.rows, row);
        if !shape.rows.is_empty() {
            return;
        }
        shape.root = Root::ZEROS;
        shape.values = vec![Box::default()];
        shape.known = None;
        let mut groups = std::mem::take(&mut shape.groups);
        for &group in &groups {
            self.groups[group as usize].shapes.retain(|place| place.0 != id);
        }
        groups.sort_unstable();
        self.by_groups.remove(&*groups);
        self.touched.remove(&id);
        self.free.push(id);
    }

    fn make(&mut self, key: Box<[GroupId]>) -> ShapeId {
        // The most widely named first: `shapes` tells why.
        let mut groups = key.to_vec();
        let weight = |&id: &GroupId| {
            let group = &self.groups[id as usize];
            (u32::MAX - group.rows, group.root, id)
        };
        groups.sort_unstable_by_key(weight);
        let roots: Vec<Root> = groups.iter().map(|&id| self.groups[id as usize].root).collect();
        let chain = self.shapes.of(&roots);
        let growth = self.shapes.growth(chain, roots.len());
        let sealed = self.shapes.seal(chain);
        let values = sealed.locals.iter().map(|&local| {
            let mut places = Vec::new();
            let mut at = local as usize;
            while at != 0 {
                let (from, place) = growth[at - 1];
                places.push(place);
                at = from as usize;
            }
            places.reverse();
            places.into_boxed_slice()
        });
        let shape = Shape {
            root: sealed.root,
            values: values.collect(),
            known: None,
            rows: Vec::new(),
            cells: Arc::clone(&sealed.cells),
            groups: groups.clone(),
        };
        let id = self.free.pop().unwrap_or(index(self.all.len()));
        match self.all.get_mut(id as usize) {
            Some(free) => *free = shape,
            None => self.all.push(shape),
        }
        for (group, place) in groups.into_iter().zip(0..) {
            self.groups[group as usize].shapes.push((id, place));
        }
        self.by_groups.insert(key, id);
        id
    }
}

/// Counts arrays that are changed; more than `max` in one change are dearer than building anew.
fn spend(changed: &mut usize, arrays: usize, max: usize) -> Result<(), Out> {
    *changed += arrays;
    if *changed > max { Err(Out::Dear) } else { Ok(()) }
}

impl std::fmt::Debug for Columns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (groups, shapes) = (self.groups.len(), self.all.len());
        let mut shown = f.debug_struct("Columns");
        shown.field("groups", &groups).field("shapes", &shapes).finish_non_exhaustive()
    }
}
