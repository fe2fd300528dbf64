//! When a changed file is quiet. Pure: the time is told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// How long nothing must happen to a file before it is read.
pub const QUIET: Duration = Duration::from_millis(10);

/// What has changed and is quiet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The files.
    pub changed: Changed,
    /// When they were quiet: what the latency of their application is measured from.
    pub at: Instant,
}

/// Files that have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// These.
    Files(BTreeSet<String>),
    /// Any: read the whole directory.
    All,
}

/// Changes that wait for quiet, with the last time that something happened to each.
#[derive(Debug, Default)]
pub(super) struct Settling {
    files: BTreeMap<String, Instant>,
    all: Option<Instant>,
}

impl Settling {
    /// A file was closed, moved or deleted.
    pub(super) fn touch(&mut self, name: &str, now: Instant) {
        self.files.insert(name.to_owned(), now);
    }

    /// Somebody writes on a file: if it waits, it waits on, however long that takes. Read while it
    /// is half written, it would lack what isolated before; its last good objects stay meanwhile.
    pub(super) fn extend(&mut self, name: &str, now: Instant) {
        if let Some(last) = self.files.get_mut(name) {
            *last = now;
        }
    }

    /// Anything may have changed.
    pub(super) fn touch_all(&mut self, now: Instant) {
        self.all = Some(now);
    }

    /// When there will be something to take.
    pub(super) fn due(&self) -> Option<Instant> {
        self.files.values().chain(&self.all).map(|last| *last + QUIET).min()
    }

    /// What is quiet now. The whole directory comprises every file that waits.
    pub(super) fn take(&mut self, now: Instant) -> Option<Settled> {
        if let Some(at) = self.all.map(|last| last + QUIET).filter(|due| *due <= now) {
            self.all = None;
            self.files.clear();
            return Some(Settled { changed: Changed::All, at });
        }
        let is_quiet = |last: Instant| last + QUIET <= now;
        let quiet: BTreeMap<_, _> = self.files.extract_if(.., |_, last| is_quiet(*last)).collect();
        let at = quiet.values().map(|last| *last + QUIET).min()?;
        Some(Settled { changed: Changed::Files(quiet.into_keys().collect()), at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(names: &[&str]) -> Changed {
        Changed::Files(names.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_file_is_taken_once_ten_milliseconds_after_its_last_change() {
        let mut settling = Settling::default();
        let begin = Instant::now();
        let ms = |n| begin + Duration::from_millis(n);
        settling.touch("a.yaml", ms(0));
        settling.touch("a.yaml", ms(6));
        assert_eq!(settling.take(ms(15)), None);
        assert_eq!(settling.due(), Some(ms(16)));
        let expected = Settled { changed: files(&["a.yaml"]), at: ms(16) };
        assert_eq!(settling.take(ms(16)), Some(expected));
        assert_eq!((settling.take(ms(99)), settling.due()), (None, None));
    }

    #[test]
    fn writing_on_extends_the_wait_for_as_long_as_it_takes_and_begins_none() {
        let mut settling = Settling::default();
        let begin = Instant::now();
        let ms = |n| begin + Duration::from_millis(n);
        settling.extend("a.yaml", ms(0));
        assert_eq!(settling.due(), None);
        settling.touch("a.yaml", ms(0));
        for n in (0..=5000).step_by(5) {
            settling.extend("a.yaml", ms(n));
            assert_eq!(settling.take(ms(n)), None, "at {n} ms");
        }
        assert_eq!(settling.take(ms(5009)), None);
        assert!(settling.take(ms(5010)).is_some());
    }

    #[test]
    fn one_busy_file_does_not_hold_up_another() {
        let mut settling = Settling::default();
        let begin = Instant::now();
        let ms = |n| begin + Duration::from_millis(n);
        settling.touch("busy.yaml", ms(0));
        settling.touch("quiet.yaml", ms(0));
        settling.extend("busy.yaml", ms(9));
        assert_eq!(settling.take(ms(10)).map(|s| s.changed), Some(files(&["quiet.yaml"])));
        assert_eq!(settling.take(ms(19)).map(|s| s.changed), Some(files(&["busy.yaml"])));
    }

    #[test]
    fn the_whole_directory_comprises_files_that_wait() {
        let mut settling = Settling::default();
        let now = Instant::now();
        settling.touch_all(now);
        settling.touch("a.yaml", now + Duration::from_millis(5));
        let settled = settling.take(now + QUIET);
        assert_eq!(settled.map(|s| s.changed), Some(Changed::All));
        assert_eq!(settling.due(), None);
    }
}
