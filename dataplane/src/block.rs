//! A block of records that never grows, in memory of its own or in a file that is mapped. Hot path.
//!
//! A file outlives the process that wrote to its mapping, however that ends: what was stored is
//! there, at the cost of an ordinary store. Whoever finds the file reads bytes and believes nothing;
//! nobody maps what another process has written.
//!
//! # Why this is sound
//!
//! - B1: `start` points to `len` records that are initialised and aligned: a box was, and a mapping
//!   is filled before the block is made. Pages are aligned enough, which is asserted.
//! - B2: nobody else has the memory: a box was given up for it; a mapping is of a part of a file that
//!   the caller has just made, under a name of its own, and that no process writes to, nor shortens.
//! - B3: records are `Copy`: they own nothing, and need not be dropped.

#![allow(unsafe_code)]

use std::fmt::{Debug, Formatter};
use std::fs::File;
use std::io;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::FallocateFlags;

/// Bytes at which a mapping may begin in its file: the pages of every machine that we run on.
pub(crate) const PAGE_BYTES: u64 = 64 * 1024;

/// So many records, always.
pub(crate) struct Block<T> {
    start: NonNull<T>,
    len: usize,
    /// The mapping, where it is one: unmapped when it is dropped, after the last use of `start`.
    mapping: Option<MmapRaw>,
}

// SAFETY: B2: whoever has the block has the records, and they may be sent as such.
unsafe impl<T: Send> Send for Block<T> {}
// SAFETY: B2: through a shared block records are read only.
unsafe impl<T: Sync> Sync for Block<T> {}

impl<T: Copy> Block<T> {
    /// These records, in memory of its own.
    #[must_use]
    pub(crate) fn private(records: Box<[T]>) -> Self {
        let len = records.len();
        let start = NonNull::from(Box::leak(records)).cast();
        Self { start, len, mapping: None }
    }

    /// Records in a file that this process has just made, from `offset` on, which is a multiple of
    /// [`PAGE_BYTES`]. The room is taken at once: a full disk is an error here, and nothing later.
    ///
    /// # Errors
    /// Where the room cannot be had, or the file not be mapped.
    pub(crate) fn in_file(
        file: &File,
        offset: u64,
        records: impl ExactSizeIterator<Item = T>,
    ) -> io::Result<Self> {
        const { assert!(align_of::<T>() <= 4096 && size_of::<T>() > 0) };
        let len = records.len();
        let bytes = len.checked_mul(size_of::<T>()).filter(|&bytes| bytes > 0);
        let bytes = bytes.ok_or(io::ErrorKind::InvalidInput)?;
        rustix::fs::fallocate(file, FallocateFlags::empty(), offset, bytes as u64)?;
        let mapping = MmapOptions::new().offset(offset).len(bytes).map_raw(file)?;
        let start = NonNull::new(mapping.as_mut_ptr().cast::<T>());
        let start = start.ok_or(io::ErrorKind::OutOfMemory)?;
        if !start.is_aligned() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        for (at, record) in records.take(len).enumerate() {
            // SAFETY: B1 and B2: `at` is below `len`, and so many records fit the mapping.
            let place = unsafe { start.add(at) };
            // SAFETY: the same.
            unsafe { place.write(record) };
        }
        Ok(Self { start, len, mapping: Some(mapping) })
    }
}

impl<T> Deref for Block<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: B1; B2 and the borrow of `self` keep writers out.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for Block<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: B1; B2 and the borrow of `self` keep everybody else out.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl<T> Drop for Block<T> {
    fn drop(&mut self) {
        if self.mapping.is_none() {
            let records = NonNull::slice_from_raw_parts(self.start, self.len);
            // SAFETY: it was a box (`private`), of as many records, and nobody has it any more.
            drop(unsafe { Box::from_raw(records.as_ptr()) });
        }
    }
}

impl<T> Debug for Block<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let is_mapped = self.mapping.is_some();
        f.debug_struct("Block")
            .field("len", &self.len)
            .field("is_mapped", &is_mapped)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn a_private_block_is_what_it_was_made_of() {
        let mut block = Block::private(vec![1_u64, 2, 3].into());
        block[1] = 7;
        assert_eq!(*block, [1, 7, 3]);
        assert!(Block::<u64>::private([].into()).is_empty());
    }

    #[test]
    fn memory_of_its_own_is_given_back() {
        let pages = || {
            let text = std::fs::read_to_string("/proc/self/statm").unwrap();
            text.split(' ').next().unwrap().parse::<u64>().unwrap()
        };
        let before = pages();
        for _ in 0..32 {
            // Nobody writes to it, so that it is an address and no memory yet.
            drop(Block::private(vec![0_u8; 64 << 20].into()));
        }
        let (grown, all) = (pages().saturating_sub(before) * 4096, 32 * (64 << 20));
        assert!(grown < all / 2, "{grown} bytes more than before");
    }

    #[test]
    fn a_block_in_a_file_is_what_it_was_made_of_and_its_mapping_goes_with_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let name = file.path().file_name().unwrap().to_str().unwrap().to_owned();
        let is_mapped = || std::fs::read_to_string("/proc/self/maps").unwrap().contains(&name);
        let records = [1_u64, 2, 3].into_iter();
        let block = Block::in_file(file.as_file(), PAGE_BYTES, records).unwrap();
        assert_eq!(*block, [1, 2, 3]);
        let mut before = [7; 24];
        file.as_file().read_exact_at(&mut before, 0).unwrap();
        assert_eq!(before, [0; 24], "what is before it is somebody else's");
        assert!(is_mapped());
        drop(block);
        assert!(!is_mapped(), "the mapping has no end");
    }

    #[test]
    fn what_is_stored_is_in_the_file_at_once_and_after_the_block_is_gone() {
        let file = tempfile::tempfile().unwrap();
        let mut block = Block::in_file(&file, PAGE_BYTES, [1_u64, 2, 3].into_iter()).unwrap();
        block[2] = u64::from_ne_bytes(*b"lockgate");
        let read = || {
            let mut bytes = [0; 8];
            file.read_exact_at(&mut bytes, PAGE_BYTES + 16).unwrap();
            bytes
        };
        assert_eq!(&read(), b"lockgate");
        drop(block);
        assert_eq!(&read(), b"lockgate");
    }

    #[test]
    fn no_room_is_an_error() {
        let file = File::open("/proc/self/stat").unwrap();
        assert!(Block::in_file(&file, 0, [1_u64].into_iter()).is_err());
        let empty: [u64; 0] = [];
        assert!(Block::in_file(&file, 0, empty.into_iter()).is_err());
    }
}
