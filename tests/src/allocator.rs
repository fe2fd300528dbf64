//! An allocator that counts, so that tests can say "this allocates nothing" and "this takes so much".
//!
//! Counts are per thread: other tests of the same binary run beside.

#![allow(unsafe_code)] // a global allocator can be written in no other way

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
    static LIVE: Cell<i64> = const { Cell::new(0) };
}

/// The system's allocator, counted.
#[derive(Debug)]
pub struct Counting;

/// Allocations and reallocations of this thread so far.
#[must_use]
pub fn allocations() -> u64 {
    COUNT.with(Cell::get)
}

/// Bytes that this thread has taken and not given back, as the C library counts them: each piece has
/// a word before it and is a multiple of two words, at least four.
#[must_use]
pub fn live_bytes() -> i64 {
    LIVE.with(Cell::get)
}

/// `try_with`: the allocator is also called while a thread's locals are taken down.
fn count() {
    let _gone = COUNT.try_with(|count| count.set(count.get() + 1));
}

fn take(bytes: usize) {
    let _gone = LIVE.try_with(|live| live.set(live.get() + piece(bytes)));
}

fn give(bytes: usize) {
    let _gone = LIVE.try_with(|live| live.set(live.get() - piece(bytes)));
}

fn piece(bytes: usize) -> i64 {
    i64::try_from((bytes + 8).next_multiple_of(16).max(32)).unwrap_or(i64::MAX)
}

// SAFETY: every call goes to `System` with the caller's own arguments, so `System`'s contract is
// the caller's; counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        take(layout.size());
        // SAFETY: the caller keeps `GlobalAlloc::alloc`'s contract, which is `System`'s.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        give(layout.size());
        // SAFETY: the caller keeps `GlobalAlloc::dealloc`'s contract, which is `System`'s.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count();
        give(layout.size());
        take(bytes);
        // SAFETY: the caller keeps `GlobalAlloc::realloc`'s contract, which is `System`'s.
        unsafe { System.realloc(pointer, layout, bytes) }
    }
}
