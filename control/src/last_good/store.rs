//! Frames one after the other, in memory or in a file.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

/// Where frames are.
#[derive(Debug)]
pub(super) enum Store {
    Memory(Vec<u8>),
    /// With its length.
    File(File, u64),
}

impl Store {
    /// Bytes of all that was stored.
    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Memory(frames) => frames.len() as u64,
            Self::File(_, length) => *length,
        }
    }

    /// Stores frames after all others.
    ///
    /// # Errors
    /// Where a file cannot be written; nothing counts as stored then.
    pub(super) fn append(&mut self, frames: &[u8]) -> io::Result<()> {
        match self {
            Self::Memory(known) => known.extend_from_slice(frames),
            Self::File(file, length) => {
                file.write_all_at(frames, *length)?;
                *length += frames.len() as u64;
            }
        }
        Ok(())
    }

    /// A frame.
    ///
    /// # Errors
    /// It is not there, or the file cannot be read.
    pub(super) fn read(&self, at: u64, length: u32) -> io::Result<Vec<u8>> {
        let mut frame = vec![0; length as usize];
        match self {
            Self::Memory(frames) => {
                let rest = usize::try_from(at).ok().and_then(|at| frames.get(at..));
                rest.unwrap_or_default().read_exact(&mut frame)?;
            }
            Self::File(file, _) => file.read_exact_at(&mut frame, at)?,
        }
        Ok(frame)
    }
}
