//! How often each verdict was given: cells beside a table. Hot path.
//!
//! ```text
//!   verdict --/ PAGE--> a page for each worker --% PAGE--> [egress, ingress], now and next
//! ```
//!
//! Invariants
//! - A cell has one writer: the worker whose page it is in. Reading is control's.
//! - A verdict's number means the same policies for as long as anybody holds its pages; where
//!   numbers begin to mean something else, there are new pages (`compile::kept`).
//! - What has no cell is not counted: a table that was compiled for no workers has none.

use std::mem::size_of;
use std::sync::Arc;

use super::ruleset::{Direction, View};
use super::table::VerdictId;
use crate::counters::Cell;
use crate::ids::WorkerId;

/// Verdicts of one page: 4 KiB.
const PAGE: usize = 128;

/// What of a verdict is counted: as which side's, and whether it was given or would be. What is
/// recorded is not counted.
pub(super) type Counts = (View, Direction);

/// One worker's cells of some verdicts, by [`Counts`]. Aligned, so that no line has two writers.
#[derive(Debug)]
#[repr(align(64))]
struct Page([[Cell; 4]; PAGE]);

/// The cells of a table's verdicts, shared between tables whose numbers mean the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Tallies {
    workers: usize,
    /// By page, then by worker.
    pages: Arc<[Arc<Page>]>,
}

impl Tallies {
    /// Counts a verdict once. Only this worker may call this for itself.
    #[inline]
    pub(super) fn count(&self, worker: WorkerId, counts: Counts, verdict: VerdictId) {
        if let Some(cell) = self.cell(worker.index(), counts, verdict.place()) {
            cell.add(1);
        }
    }

    #[inline]
    fn cell(&self, worker: usize, counts: Counts, verdict: usize) -> Option<&Cell> {
        if worker >= self.workers {
            return None;
        }
        let at = (verdict / PAGE).wrapping_mul(self.workers).wrapping_add(worker);
        let (view, direction) = counts;
        let place = (direction as usize) | (view as usize) << 1;
        self.pages.get(at)?.0.get(verdict % PAGE)?.get(place)
    }

    /// Without cells yet.
    pub(super) fn new(workers: u8) -> Self {
        Self { workers: usize::from(workers), pages: Arc::default() }
    }

    /// Whether anybody counts.
    pub(super) fn is_off(&self) -> bool {
        self.workers == 0
    }

    /// Makes cells for so many verdicts; those there are stay.
    pub(super) fn grow(&mut self, verdicts: usize) {
        let wanted = verdicts.div_ceil(PAGE).saturating_mul(self.workers);
        let more = wanted.saturating_sub(self.pages.len());
        if more > 0 {
            let page = || Arc::new(Page(std::array::from_fn(|_| <[Cell; 4]>::default())));
            let fresh = std::iter::repeat_with(page).take(more);
            self.pages = self.pages.iter().cloned().chain(fresh).collect();
        }
    }

    /// How often all workers together gave a verdict.
    pub(super) fn sum(&self, counts: Counts, verdict: usize) -> u64 {
        let cells = (0..self.workers).filter_map(|worker| self.cell(worker, counts, verdict));
        cells.map(Cell::load).sum()
    }

    /// Whether nobody else can count here any more: no other copy is left, nor a part of one.
    pub(super) fn is_alone(&mut self) -> bool {
        if self.pages.is_empty() {
            return true; // all empty lists are one
        }
        // `get_mut` acquires: what was written before the last other copy went is seen.
        let pages = Arc::get_mut(&mut self.pages);
        pages.is_some_and(|pages| pages.iter_mut().all(|page| Arc::get_mut(page).is_some()))
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.pages.len().saturating_mul(size_of::<Page>() + size_of::<Arc<Page>>())
    }
}
