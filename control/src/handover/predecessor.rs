//! The agent that runs, as its successor sees it.

use std::io;
use std::path::{Path, PathBuf};

use tokio::net::UnixStream;

use super::wire::Wire;
use super::{ANSWER, BUSY, GIVE, GIVEN, GIVING, GREETING, HandoverError, PREPARE, TAKEN, anchors};
use crate::attach::AnchorSet;

/// An agent that was asked for a hand-over, and serves until it is told to give.
#[derive(Debug)]
pub struct Predecessor {
    wire: Wire,
    anchors: AnchorSet,
}

impl Predecessor {
    /// Asks the agent that listens there, for one of a cluster's node or of a directory.
    ///
    /// # Errors
    /// [`HandoverError`] where nobody listens, or it is busy, of another node or of another version.
    pub async fn ask(path: &Path, node: Option<&str>) -> Result<Self, HandoverError> {
        let unasked = |source| HandoverError::Unasked { path: PathBuf::from(path), source };
        let mut wire = Wire::new(UnixStream::connect(path).await.map_err(unasked)?);
        wire.say(GREETING).await.map_err(unasked)?;
        let line = wire.hear(ANSWER).await.map_err(unasked)?;
        if line == BUSY {
            return Err(HandoverError::Busy);
        }
        let anchors = anchors(&line, node)?;
        Ok(Self { wire, anchors })
    }

    /// Its process, where that is seen from here.
    #[must_use]
    pub fn process(&self) -> Option<i32> {
        self.wire.process()
    }

    /// The anchors that it has.
    #[must_use]
    pub fn anchors(&self) -> AnchorSet {
        self.anchors
    }

    /// Waits for its end, or for the end of what it waits for us. It says nothing unasked.
    pub async fn gone(&mut self) -> io::Error {
        match self.wire.hear(PREPARE).await {
            Ok(line) => io::Error::other(format!("it said {line:?} unasked")),
            Err(error) => error,
        }
    }

    /// Tells it to give, and waits until it has: from then on nothing passes.
    ///
    /// # Errors
    /// [`HandoverError`] where it does not.
    pub async fn give(&mut self) -> Result<(), HandoverError> {
        self.wire.say(GIVE).await.map_err(HandoverError::Broken)?;
        let line = self.wire.hear(GIVING).await.map_err(HandoverError::Broken)?;
        if line == GIVEN { Ok(()) } else { Err(HandoverError::Strange(line)) }
    }

    /// Tells it that all is taken. One that has gone meanwhile need not hear it: the locks are ours.
    pub async fn taken(&mut self) {
        let _gone = self.wire.say(TAKEN).await;
    }
}

#[cfg(test)]
impl Predecessor {
    pub(super) async fn wire_say(&mut self, line: &str) {
        self.wire.say(line).await.unwrap();
    }
}
