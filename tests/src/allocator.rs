//! An allocator that counts, so that tests can say "this allocates nothing".
//!
//! Counts are per thread: other tests of the same binary run beside.

#![allow(unsafe_code)] // a global allocator can be written in no other way

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counted.
#[derive(Debug)]
pub struct Counting;

/// Allocations and reallocations of this thread so far.
#[must_use]
pub fn allocations() -> u64 {
    COUNT.with(Cell::get)
}

/// `try_with`: the allocator is also called while a thread's locals are taken down.
fn count() {
    let _gone = COUNT.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call goes to `System` with the caller's own arguments, so `System`'s contract is
// the caller's; counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps `GlobalAlloc::alloc`'s contract, which is `System`'s.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps `GlobalAlloc::dealloc`'s contract, which is `System`'s.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps `GlobalAlloc::realloc`'s contract, which is `System`'s.
        unsafe { System.realloc(pointer, layout, bytes) }
    }
}
