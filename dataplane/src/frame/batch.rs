//! Up to `BATCH_MAX` frames, in the order they came. Hot path.

use super::Frame;
use crate::limits::BATCH_MAX;

/// A fixed row of frames: filled at its end, emptied from its front.
///
/// It is filled anew once it is empty; it does not turn round like a ring.
#[derive(Debug)]
pub struct Batch {
    frames: [Option<Frame>; BATCH_MAX],
    /// The first frame, where there is one.
    front: usize,
    /// The place after the last frame.
    back: usize,
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub const fn new() -> Self {
        Self { frames: [const { None }; BATCH_MAX], front: 0, back: 0 }
    }

    /// How many frames are in it.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.back.saturating_sub(self.front)
    }

    /// Whether it has no frame.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.front == self.back
    }

    /// How many frames may still be added.
    #[inline]
    #[must_use]
    pub fn room(&self) -> usize {
        BATCH_MAX.saturating_sub(self.back)
    }

    /// Adds a frame at the end.
    ///
    /// # Errors
    ///
    /// Gives the frame back where there is no room.
    #[inline]
    pub fn push(&mut self, frame: Frame) -> Result<(), Frame> {
        let Some(place) = self.frames.get_mut(self.back) else { return Err(frame) };
        *place = Some(frame);
        self.back = self.back.saturating_add(1);
        Ok(())
    }

    /// Takes the first frame.
    #[inline]
    pub fn pop(&mut self) -> Option<Frame> {
        let frame = self.frames.get_mut(self.front)?.take()?;
        self.front = self.front.saturating_add(1);
        if self.front == self.back {
            self.front = 0;
            self.back = 0;
        }
        Some(frame)
    }

    /// Takes the frames one by one; those not taken stay.
    #[inline]
    pub fn drain(&mut self) -> Drain<'_> {
        Drain { batch: self }
    }

    /// Looks at the frames in their order.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = &Frame> {
        // Those before the front have been taken: they are none.
        self.frames.iter().flatten()
    }

    /// Looks at the frames in their order, to change their packets.
    #[inline]
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Frame> {
        self.frames.iter_mut().flatten()
    }
}

/// Takes frames from the front of a batch.
#[derive(Debug)]
pub struct Drain<'a> {
    batch: &'a mut Batch,
}

impl Iterator for Drain<'_> {
    type Item = Frame;

    #[inline]
    fn next(&mut self) -> Option<Frame> {
        self.batch.pop()
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.batch.len(), Some(self.batch.len()))
    }
}

impl ExactSizeIterator for Drain<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{FramePool, MemoryId};

    fn numbers(batch: &Batch) -> Vec<u32> {
        batch.iter().map(Frame::index).collect()
    }

    #[test]
    fn frames_leave_a_batch_in_the_order_they_came() {
        let (mut pool, mut batch) = (FramePool::new(8, MemoryId::next()), Batch::new());
        while let Some(frame) = pool.take() {
            batch.push(frame).expect("room");
        }
        assert_eq!((batch.len(), batch.room()), (8, BATCH_MAX - 8));
        assert_eq!(batch.pop().map(|frame| frame.index()), Some(0));
        assert_eq!(numbers(&batch), [1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(batch.drain().take(2).map(|frame| frame.index()).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(numbers(&batch), [3, 4, 5, 6, 7], "what a drain did not take stays");
        assert_eq!(batch.drain().len(), 5);
        assert_eq!(batch.drain().map(|frame| frame.index()).last(), Some(7));
        assert!(batch.is_empty());
        assert!(batch.pop().is_none());
        assert_eq!(batch.room(), BATCH_MAX, "an empty batch can be filled anew");
    }

    #[test]
    fn a_full_batch_gives_the_frame_back() {
        let mut pool = FramePool::new(100, MemoryId::next());
        let mut batch = Batch::new();
        for _ in 0..BATCH_MAX {
            batch.push(pool.take().expect("free")).expect("room");
        }
        let last = batch.push(pool.take().expect("free")).expect_err("no room");
        assert_eq!(last.index(), u32::try_from(BATCH_MAX).expect("small"));
        batch.iter_mut().for_each(|frame| frame.set_length(60));
        assert!(batch.iter().all(|frame| frame.length() == 60));
        batch.drain().chain([last]).for_each(|frame| pool.put(frame));
        assert_eq!(pool.available(), 100);
    }
}
