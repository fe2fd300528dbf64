//! What a start does with what is kept: it keeps on, and goes by what a predecessor kept where the
//! API server does not tell everything soon.

use std::future::pending;
use std::io;
use std::path::{Path, PathBuf};

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use super::{Keeper, Kept, PATIENCE, Recalled, Refused, Stamp, read};
use crate::manifest::{Problem, Severity};
use crate::source::News;

/// What says which start of the machine this is.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The last good state of a cluster.
#[derive(Debug)]
pub struct LastGood {
    path: PathBuf,
    stamp: Stamp,
    keeper: Keeper,
    /// When it is gone by.
    due: Instant,
    reading: Option<JoinHandle<Result<Recalled, Refused>>>,
    is_asked: bool,
    refused: Option<Problem>,
}

impl LastGood {
    /// Begins to keep what is heard on a node in a file.
    ///
    /// # Errors
    /// The system does not say which start of the machine this is, or gives no thread.
    pub fn start(path: &Path, node: &str) -> io::Result<Self> {
        let stamp = Stamp::new(node, &std::fs::read_to_string(BOOT_ID)?);
        let keeper = Keeper::start(path, stamp.clone())?;
        let due = Instant::now() + PATIENCE;
        let (path, is_asked) = (path.to_owned(), false);
        Ok(Self { path, stamp, keeper, due, reading: None, is_asked, refused: None })
    }

    /// What a predecessor kept, once and no sooner than it is needed. Asked for anew it goes on.
    pub async fn recalled(&mut self) -> Recalled {
        if self.is_asked {
            return pending().await;
        }
        sleep_until(self.due).await;
        let reading = self.reading.get_or_insert_with(|| {
            let (path, stamp) = (self.path.clone(), self.stamp.clone());
            tokio::task::spawn_blocking(move || read(&path, &stamp))
        });
        let read = reading.await;
        self.is_asked = true;
        let why = match read {
            Ok(Ok(recalled)) => return recalled,
            Ok(Err(refused)) => refused.to_string(),
            Err(error) => error.to_string(),
        };
        warn!(reason = %why, "nothing is enforced but denial");
        let remedy = "see that the API server can be reached from this node";
        let (severity, place) = (Severity::Error, (None, None));
        self.refused =
            Some(Problem::of_object(severity, place, "last good state", "", &why, remedy));
        pending().await
    }

    /// Keeps what is new, before it is taken in.
    pub async fn keep(&mut self, news: &News) {
        if let News::Heard(heard, _) = news {
            self.keeper.write(heard).await;
        }
    }

    /// How it stands with the file.
    #[must_use]
    pub fn kept(&self) -> Kept {
        self.keeper.kept()
    }

    /// What is to be said; `is_known`: whether anything is enforced.
    pub fn problems(&self, is_known: bool) -> impl Iterator<Item = Problem> {
        let refused = self.refused.clone().filter(|_| !is_known);
        refused.into_iter().chain(self.keeper.problem())
    }
}
