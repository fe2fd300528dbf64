//! Has memory near before it is needed, by a read or by a hint. Hot path.
//!
//! The hint is one intrinsic, the only unsafe outside `port` (house 9). It reads nothing into the
//! program and cannot fault; elsewhere than on `x86_64` it does nothing, and only time is lost.
#![allow(unsafe_code)]

/// Reads the first byte now, so that its line and its page are near when they are needed.
///
/// Unlike a prefetch this walks the page tables, which some processors do not do for a hint:
/// with one frame a page, a hint for a packet's header was lost on a guest under AMD (measured).
/// Reads that nothing waits for overlap as hints do.
#[inline]
pub(crate) fn touch(bytes: &[u8]) {
    if let Some(first) = bytes.first() {
        std::hint::black_box(*first);
    }
}

/// Starts to bring the cache line in which `value` begins to the first-level cache.
#[inline(always)]
pub(crate) fn read<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: PREFETCHT0 is a hint that never faults, whatever the address; every x86_64 has
        // it (SSE is in the base); and `value` is a live reference besides.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}
