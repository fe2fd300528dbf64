//! The old agent's end: the socket that successors ask, and the one that is given everything.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::sync::{Semaphore, mpsc};
use tracing::{info, warn};

use super::wire::Wire;
use super::{ANSWER, BUSY, GIVE, GIVEN, GREETING, PREPARE, TAKEN, TAKING, ready};
use crate::attach::AnchorSet;
use crate::socket::{self, SocketError};

/// How long is waited after the system refused a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where successors come out that say `give`.
#[must_use]
pub fn successors() -> (mpsc::Sender<Successor>, mpsc::Receiver<Successor>) {
    // One is served at a time.
    mpsc::channel(1)
}

/// A socket that listens, and is removed when this is dropped. Mode 0600: whoever may ask may take
/// the switch.
#[derive(Debug)]
pub struct HandoverSocket {
    path: PathBuf,
    listener: UnixListener,
    /// What is said to who asks.
    ready: Arc<str>,
}

impl HandoverSocket {
    /// Listens, for an agent with these anchors: of a cluster's node, or of a directory.
    ///
    /// # Errors
    /// [`SocketError`] where somebody is there already, or the system refuses.
    pub fn listen(
        path: &Path,
        anchors: AnchorSet,
        node: Option<&str>,
    ) -> Result<Self, SocketError> {
        let ready = ready(anchors, node).into();
        Ok(Self { path: path.to_owned(), listener: socket::bind("lock", path)?, ready })
    }

    /// Serves for ever.
    pub async fn serve(self, to: mpsc::Sender<Successor>) {
        let place = Arc::new(Semaphore::new(1));
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let (place, to) = (Arc::clone(&place), to.clone());
                    let ready = Arc::clone(&self.ready);
                    tokio::spawn(async move {
                        let mut wire = Wire::new(stream);
                        match place.try_acquire() {
                            Ok(_alone) => serve_successor(wire, &ready, &to).await,
                            Err(_) => _ = wire.say(BUSY).await,
                        }
                    });
                }
                Err(error) => {
                    warn!(%error, "the socket for hand-overs takes no connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

impl Drop for HandoverSocket {
    fn drop(&mut self) {
        let _gone = std::fs::remove_file(&self.path);
    }
}

/// Waits beside a successor that prepares, until it says `give`.
async fn serve_successor(mut wire: Wire, ready: &str, to: &mpsc::Sender<Successor>) {
    let process = wire.process();
    if !matches!(wire.hear(ANSWER).await, Ok(line) if line == GREETING) {
        warn!(process, "somebody asks for a hand-over in other words");
        return;
    }
    if wire.say(ready).await.is_err() {
        return;
    }
    info!(process, "a successor prepares to take over");
    match wire.hear(PREPARE).await {
        Ok(line) if line == GIVE => _ = to.send(Successor { wire }).await,
        Ok(line) => warn!(process, line, "the successor speaks in other words"),
        Err(error) => info!(process, %error, "the successor takes nothing over"),
    }
}

/// A new agent that is ready to take all ports.
#[derive(Debug)]
pub struct Successor {
    wire: Wire,
}

/// What became of what was given.
#[derive(Debug)]
pub enum Heard {
    /// The successor has it all.
    Taken,
    /// It has gone, or was too slow.
    Nothing(io::Error),
}

impl Successor {
    /// Its process, where that is seen from here.
    #[must_use]
    pub fn process(&self) -> Option<i32> {
        self.wire.process()
    }

    /// Tells it that all is free, and waits until it has taken it.
    pub async fn given(&mut self) -> Heard {
        let heard = async {
            self.wire.say(GIVEN).await?;
            self.wire.hear(TAKING).await
        };
        match heard.await {
            Ok(line) if line == TAKEN => Heard::Taken,
            Ok(line) => Heard::Nothing(io::Error::other(format!("it said {line:?}"))),
            Err(error) => Heard::Nothing(error),
        }
    }
}
