//! The Unix socket that the CNI plugin asks: one line in, one line out. Mode 0600, for whoever may
//! ask changes what is attached.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tracing::warn;

use super::{Wish, refusal, refused};
use crate::cni::protocol::{LINE_BYTES_MAX, Question};
use crate::socket::{self, SocketError};

/// Plugins that are served at once: a node that starts attaches many pods together.
const CLIENTS_MAX: usize = 256;
/// How long a plugin may take to ask.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long is waited after the system refused a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Questions that may wait for the agent.
const WAITING_MAX: usize = CLIENTS_MAX;

/// A code of the CNI specification: what cannot be decoded.
const UNDECODED: u32 = 6;

/// Where questions come out that the socket takes in.
#[must_use]
pub fn wishes() -> (mpsc::Sender<Wish>, mpsc::Receiver<Wish>) {
    mpsc::channel(WAITING_MAX)
}

/// A socket that listens, and is removed when this is dropped.
#[derive(Debug)]
pub struct CniSocket {
    path: PathBuf,
    listener: UnixListener,
}

impl CniSocket {
    /// Listens, as [`ShowSocket::listen`](crate::socket::ShowSocket::listen) does.
    ///
    /// # Errors
    /// [`SocketError`] where somebody is there already, or the system refuses.
    pub fn listen(path: &Path) -> Result<Self, SocketError> {
        Ok(Self { path: path.to_owned(), listener: socket::bind("cni.socket", path)? })
    }

    /// Serves for ever.
    pub async fn serve(self, to: mpsc::Sender<Wish>) {
        let places = Arc::new(Semaphore::new(CLIENTS_MAX));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((client, _)) => {
                    let to = to.clone();
                    tokio::spawn(async move {
                        serve_client(client, to).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    warn!(%error, "the CNI socket takes no connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

impl Drop for CniSocket {
    fn drop(&mut self) {
        let _gone = std::fs::remove_file(&self.path);
    }
}

async fn serve_client(client: UnixStream, to: mpsc::Sender<Wish>) {
    let (reading, mut writing) = client.into_split();
    let mut line = Vec::new();
    let mut limited = BufReader::new(reading.take(LINE_BYTES_MAX as u64));
    let read = tokio::time::timeout(CLIENT_TIMEOUT, limited.read_until(b'\n', &mut line)).await;
    if !matches!(read, Ok(Ok(_))) {
        return; // too slow, or gone
    }
    let answer = match serde_json::from_slice::<Question>(&line) {
        Ok(question) => answer(question, &to).await,
        Err(error) => {
            let message = format!("the question is not understood: {error}");
            let remedy = "install the plugin of this agent's version";
            Some(refused(refusal(UNDECODED, &message, remedy)))
        }
    };
    // Closed without an answer, the plugin asks whoever comes next.
    let Some(mut answer) = answer else { return };
    answer.push('\n');
    // A plugin that has gone needs no answer: its DEL will come.
    let _gone = writing.write_all(answer.as_bytes()).await;
    let _gone = writing.shutdown().await;
}

/// The answer; `None` where the agent stops, or hands over, before it has one.
async fn answer(question: Question, to: &mpsc::Sender<Wish>) -> Option<String> {
    let (reply, answer) = oneshot::channel();
    to.send(Wish { question, reply }).await.ok()?;
    answer.await.ok()
}
