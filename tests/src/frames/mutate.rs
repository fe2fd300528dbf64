//! Frames out of choices: packets of every sort and of the evasion corpus, as they are or damaged.

#![allow(clippy::cast_possible_truncation)] // bytes of choices, and lengths below 64 KiB

use etherparse::checksum::Sum16BitWords;

use super::sorts;
use crate::corpus::{Scene, entries};
use crate::worlds::Choices;

/// Changes of one frame, at most.
const CHANGES_MAX: usize = 6;
/// The longest frame that is made: one that a port takes.
const FRAME_BYTES_MAX: usize = 1600;

/// The frames that others are made of.
#[derive(Clone, Debug)]
pub struct Frames {
    all: Vec<Vec<u8>>,
}

impl Frames {
    /// The packets of every sort, then what the evasion corpus is made of.
    #[must_use]
    pub fn of(scene: &Scene) -> Self {
        let sorts = sorts(scene).into_iter().map(|(_, frame)| frame);
        let evading = entries().flat_map(|entry| entry.frames(scene));
        Self { all: sorts.chain(evading).collect() }
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[Vec<u8>] {
        &self.all
    }

    /// One of them.
    pub fn sound(&self, choices: &mut Choices) -> Vec<u8> {
        // More than a byte can tell apart: the first choice is of a half.
        let half = choices.below(2) * (self.all.len() / 2);
        let rest = &self.all[half..];
        rest[choices.below(rest.len())].clone()
    }

    /// One of them, damaged.
    pub fn damaged(&self, choices: &mut Choices) -> Vec<u8> {
        let mut frame = self.sound(choices);
        for _ in 0..=choices.below(CHANGES_MAX) {
            self.change(&mut frame, choices);
        }
        frame.truncate(FRAME_BYTES_MAX);
        // The other damage is to be seen: a sum that is wrong would hide it.
        if !choices.chance(10) {
            resum(&mut frame);
        }
        frame
    }

    fn change(&self, frame: &mut Vec<u8>, choices: &mut Choices) {
        let at = choices.below(frame.len().clamp(1, 256));
        match choices.below(9) {
            0 => set(frame, at, choices.below(256) as u8),
            1 => {
                let bit = 1 << choices.below(8);
                let byte = frame.get(at).map_or(0, |byte| byte ^ bit);
                set(frame, at, byte);
            }
            2 => {
                let length = frame.len().saturating_sub(at) as u16;
                let near = [0, 1, 7, 8, 0xffff, length, length.wrapping_sub(1), length + 1];
                let [high, low] = choices.pick(&near).to_be_bytes();
                set(frame, at, high);
                set(frame, at + 1, low);
            }
            3 => frame.truncate(at),
            4 => frame.resize(frame.len() + choices.below(64), choices.below(256) as u8),
            5 => {
                let more = vec![choices.below(256) as u8; choices.below(48)];
                frame.splice(at.min(frame.len())..at.min(frame.len()), more);
            }
            6 => {
                let end = (at + choices.below(48)).min(frame.len());
                frame.drain(at.min(end)..end);
            }
            // The tail of another: one header behind another's.
            7 => {
                let other = self.sound(choices);
                frame.truncate(at);
                frame.extend(&other[choices.below(other.len().min(256))..]);
            }
            _ => relength(frame),
        }
    }
}

fn set(frame: &mut [u8], at: usize, value: u8) {
    if let Some(byte) = frame.get_mut(at) {
        *byte = value;
    }
}

/// Makes the length that an IP header says that of the frame.
fn relength(frame: &mut [u8]) {
    let (before, at) = match frame.get(12..14) {
        Some([0x08, 0x00]) => (14, 16),
        Some([0x86, 0xdd]) => (54, 18),
        _ => return,
    };
    let length = frame.len().saturating_sub(before) as u16;
    let [high, low] = length.to_be_bytes();
    set(frame, at, high);
    set(frame, at + 1, low);
}

/// Makes the checksum of an IPv4 header right, as far as there is a header.
pub fn resum(frame: &mut [u8]) {
    if frame.len() < 34 || frame[12..14] != [8, 0] {
        return;
    }
    let end = (14 + usize::from(frame[14] & 0x0f) * 4).min(frame.len());
    frame[24..26].fill(0);
    let covered = frame.get(14..end).unwrap_or(&[]);
    let sum = Sum16BitWords::new().add_slice(covered).ones_complement().to_be();
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
}
