//! The agent's end of what is kept: a thread writes, and the agent waits for it a little.
//!
//! What is heard is written before it is taken in. A disk that hangs does not hold enforcement: after
//! [`WAIT`] the agent goes on, and when a few batches wait nothing more is kept until it is started
//! anew.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::oneshot;
use tracing::{info, warn};

use super::entry::{Said, Stamp, append};
use super::log::{Act, Log};
use crate::manifest::{Object, ObjectKind, Problem, Severity};
use crate::privileges::give_up_all;
use crate::watch::{Heard, There, What};

/// How long a change may wait for its file.
const WAIT: Duration = Duration::from_millis(50);
/// Batches that may wait.
const BATCHES_MAX: usize = 64;
/// How often a file that could not be written is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// What was heard at once.
struct Batch {
    acts: Vec<(ObjectKind, Act)>,
    frames: Vec<u8>,
    done: oneshot::Sender<()>,
}

/// How it stands with the file.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// Bytes of it; 0 where there is none.
    pub bytes: u64,
    /// Objects that are kept.
    pub objects: usize,
    /// When it was last written to.
    pub written: Option<SystemTime>,
    /// How often it could not be.
    pub failures: u64,
    /// Why it is not there.
    pub trouble: Option<String>,
    /// Nothing more is kept.
    is_over: bool,
}

/// Keeps what is heard.
#[derive(Debug)]
pub struct Keeper {
    path: PathBuf,
    to: SyncSender<Batch>,
    kept: Arc<Mutex<Kept>>,
}

impl Keeper {
    /// Begins to keep it in this file.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(path: &Path, stamp: Stamp) -> std::io::Result<Self> {
        let (to, batches) = sync_channel(BATCHES_MAX);
        let kept = Arc::new(Mutex::new(Kept::default()));
        let (log, seen) = (Log::new(path, stamp), Arc::clone(&kept));
        let thread = std::thread::Builder::new().name("last-good".to_owned());
        // It ends with the last sender: there is nothing to be waited for.
        let _thread = thread.spawn(move || {
            // It writes one file of the agent's own, and nothing else.
            if let Err(error) = give_up_all() {
                warn!(%error, "the thread that keeps the last good state has rights it needs not");
            }
            keep(log, &batches, &seen);
        })?;
        Ok(Self { path: path.to_owned(), to, kept })
    }

    /// Writes what was heard; waits until that is done, but not for long.
    pub async fn write(&mut self, heard: &[Heard]) {
        let (done, waits) = oneshot::channel();
        let (mut acts, mut frames) = (Vec::new(), Vec::new());
        for one in heard {
            if let Heard::Of(kind, what) = one
                && let Err(error) = note(*kind, what, &mut acts, &mut frames)
            {
                return self.end(&format!("an object cannot be written: {error}"));
            }
        }
        if acts.is_empty() || locked(&self.kept).is_over {
            return;
        }
        if self.to.try_send(Batch { acts, frames, done }).is_err() {
            return self.end("the disk takes too long");
        }
        // What comes late is on its way.
        let _late = tokio::time::timeout(WAIT, waits).await;
    }

    /// Nothing more is kept, and the file goes: it would soon say what no longer holds.
    fn end(&self, why: &str) {
        warn!(path = %self.path.display(), reason = why, "the last good state is not kept any more");
        let mut kept = locked(&self.kept);
        kept.is_over = true;
        kept.failures = kept.failures.saturating_add(1);
        kept.trouble = Some(why.to_owned());
        drop(kept);
        let _left = std::fs::remove_file(&self.path);
    }

    /// How it stands.
    #[must_use]
    pub fn kept(&self) -> Kept {
        locked(&self.kept).clone()
    }

    /// What is to be said of it.
    #[must_use]
    pub fn problem(&self) -> Option<Problem> {
        let kept = locked(&self.kept);
        let why = kept.trouble.as_ref()?;
        let message = format!(
            "{} cannot be written: {why}; an agent that starts while the API server is away denies \
             everything",
            self.path.display()
        );
        let remedy = if kept.is_over {
            "see to the disk, and restart the agent"
        } else {
            "make room there, mount it writable, or name another place with cluster.last_good"
        };
        let place = (None, None);
        let (severity, object) = (Severity::Warning, "last good state");
        Some(Problem::of_object(severity, place, object, "", &message, remedy))
    }
}

/// Adds what was heard of a resource to a batch.
pub(super) fn note(
    kind: ObjectKind,
    what: &What,
    acts: &mut Vec<(ObjectKind, Act)>,
    frames: &mut Vec<u8>,
) -> Result<(), postcard::Error> {
    let act = match what {
        What::Begun(version) => Act::Begun(version),
        What::There(there) => {
            let begin = frames.len();
            append(frames, &Said::There(kind, there))?;
            let There { object, .. } = &**there;
            Act::There {
                key: object.metadata().key.clone(),
                frame: begin..frames.len(),
                is_terminating: matches!(object, Object::Namespace(one) if one.is_terminating),
            }
        }
        What::Gone(key) => Act::Gone(key.clone()),
        What::Whole => Act::Whole,
        What::Absent => Act::Absent,
        What::Steady | What::Failed(..) => return Ok(()),
    };
    acts.push((kind, act));
    Ok(())
}

/// The thread.
fn keep(mut log: Log, batches: &Receiver<Batch>, kept: &Mutex<Kept>) {
    loop {
        let (taken, done) = match batches.recv_timeout(AGAIN) {
            Ok(batch) => (log.take(&batch.acts, &batch.frames), Some(batch.done)),
            Err(RecvTimeoutError::Timeout) => (log.mend(), None),
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let mut now = locked(kept);
        if now.is_over {
            drop(now);
            return log.give_up();
        }
        now.objects = log.objects();
        now.bytes = log.bytes();
        match taken {
            Ok(()) => {
                if now.trouble.take().is_some() {
                    info!("the last good state is kept again");
                }
                if done.is_some() && now.bytes > 0 {
                    now.written = Some(SystemTime::now());
                }
            }
            Err(error) => {
                if now.trouble.is_none() {
                    warn!(%error, "the last good state cannot be written");
                }
                now.failures = now.failures.saturating_add(1);
                now.trouble = Some(error.to_string());
            }
        }
        drop(now);
        if let Some(done) = done {
            // Who waited may have gone on.
            let _gone = done.send(());
        }
    }
}

fn locked(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}
