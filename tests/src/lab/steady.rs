//! Steady traffic: one connection that echoes without a pause, while something else changes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::error::LabError;
use super::node::Place;
use super::probe::{self, PATIENCE, Seen};

/// The pause between two exchanges.
const PAUSE: Duration = Duration::from_millis(2);

/// What became of the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Course {
    /// Exchanges that came back.
    pub exchanges: u64,
    /// The longest that one took.
    pub longest: Duration,
    /// Whether it was cut: an exchange did not come back in time.
    pub is_cut: bool,
}

/// Steady traffic that runs until it is ended or cut.
#[derive(Debug)]
pub struct Steady {
    ended: Arc<AtomicBool>,
    exchanges: Arc<AtomicU64>,
    thread: Option<JoinHandle<Course>>,
}

impl Steady {
    /// Connects and starts.
    ///
    /// # Errors
    /// When the connection does not come about.
    pub fn start(from: &Place, to: SocketAddr) -> Result<Self, LabError> {
        Self::patient(from, to, PATIENCE)
    }

    /// The same, where an exchange may take as long as this before the connection is taken to be cut.
    ///
    /// # Errors
    /// When the connection does not come about.
    pub fn patient(from: &Place, to: SocketAddr, patience: Duration) -> Result<Self, LabError> {
        let mut stream = probe::connect(from, to, PATIENCE)?;
        let ended = Arc::new(AtomicBool::new(false));
        let exchanges = Arc::new(AtomicU64::new(0));
        let (end, count) = (Arc::clone(&ended), Arc::clone(&exchanges));
        let thread = thread::spawn(move || {
            let mut course = Course::default();
            while !end.load(Ordering::Relaxed) && !course.is_cut {
                let start = Instant::now();
                course.is_cut = probe::echo(&mut stream, patience) != Seen::Answered;
                course.longest = course.longest.max(start.elapsed());
                course.exchanges += u64::from(!course.is_cut);
                count.store(course.exchanges, Ordering::Relaxed);
                thread::sleep(PAUSE);
            }
            course
        });
        Ok(Self { ended, exchanges, thread: Some(thread) })
    }

    /// Exchanges that have come back so far.
    #[must_use]
    pub fn exchanges(&self) -> u64 {
        self.exchanges.load(Ordering::Relaxed)
    }

    /// Whether it has been cut.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        !self.ended.load(Ordering::Relaxed)
            && self.thread.as_ref().is_some_and(JoinHandle::is_finished)
    }

    /// Ends it, and says what became of it.
    #[must_use]
    pub fn end(mut self) -> Course {
        self.ended.store(true, Ordering::Relaxed);
        let course = self.thread.take().map(JoinHandle::join);
        match course {
            Some(Ok(course)) => course,
            _ => Course { is_cut: true, ..Course::default() },
        }
    }
}

impl Drop for Steady {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}
