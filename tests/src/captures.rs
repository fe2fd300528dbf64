//! Captures: the frames of an input as a small pcap file, which other tools read too.
//!
//! The classic format (libpcap's savefile(5)), little-endian, microseconds, Ethernet. Times mean
//! nothing: frames are a millisecond apart.

use std::env;
use std::fs;
use std::path::Path;

const MAGIC: u32 = 0xa1b2_c3d4;
const ETHERNET: u32 = 1;
const HEAD_BYTES: usize = 24;
const RECORD_BYTES: usize = 16;

/// The frames as a capture.
#[must_use]
pub fn write(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut file = [MAGIC, 2 | 4 << 16, 0, 0, 0xffff, ETHERNET].map(u32::to_le_bytes).concat();
    for (milliseconds, frame) in (0_u32..).zip(frames) {
        let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        let microseconds = milliseconds % 1000 * 1000;
        let record = [milliseconds / 1000, microseconds, length, length];
        file.extend(record.map(u32::to_le_bytes).concat());
        file.extend(frame);
    }
    file
}

/// The frames of a capture; `None` where it is not of this format or is cut short.
#[must_use]
pub fn read(file: &[u8]) -> Option<Vec<Vec<u8>>> {
    let word = |bytes: &[u8], at: usize| {
        let word = bytes.get(at..at + 4)?;
        Some(u32::from_le_bytes(word.try_into().ok()?))
    };
    if word(file, 0)? != MAGIC || word(file, 20)? != ETHERNET {
        return None;
    }
    let (mut frames, mut rest) = (vec![], file.get(HEAD_BYTES..)?);
    while !rest.is_empty() {
        let (kept, sent) = (word(rest, 8)?, word(rest, 12)?);
        let end = RECORD_BYTES + usize::try_from(kept).ok()?;
        if kept != sent {
            return None;
        }
        frames.push(rest.get(RECORD_BYTES..end)?.to_vec());
        rest = rest.get(end..)?;
    }
    Some(frames)
}

/// Makes a capture of the frames of this input where `CAPTURE` names a file: the fuzz targets of
/// packets call it with what they are about to send.
///
/// # Panics
/// When the file cannot be written.
pub fn keep(frames: &[Vec<u8>]) {
    if let Some(path) = env::var_os("CAPTURE") {
        let written = fs::write(Path::new(&path), write(frames));
        assert!(written.is_ok(), "CAPTURE={}: {written:?}", path.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_is_cut_short_is_not() {
        let frames = vec![vec![1; 60], vec![], vec![2; 3]];
        let file = write(&frames);
        assert_eq!(read(&file), Some(frames));
        for length in 0..HEAD_BYTES {
            assert_eq!(read(&file[..length]), None);
        }
        assert_eq!(read(&file[..file.len() - 1]), None);
        assert_eq!(read(&[&file[..], &[0; 15]].concat()), None);
    }
}
