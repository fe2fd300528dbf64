//! The Unix socket that `lockgate status` and its like ask: one line of JSON in, one document out.
//!
//! Mode 0600, and unless set in a directory of the switch's own: whoever may connect may see who
//! talks to whom. A request is at most [`REQUEST_BYTES_MAX`] and must come within [`CLIENT_TIMEOUT`]; at
//! most [`CLIENTS_MAX`] are served at once. Nothing here changes anything.

#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::stat::{Mode, fchmod};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixSocket};
use tokio::sync::Semaphore;
use tracing::warn;

use crate::ask::{Asker, Question, Show};
use crate::paths;

/// The longest request, its line end included.
pub const REQUEST_BYTES_MAX: usize = 4096;

/// How long a client may take to ask, and how long to read.
pub const CLIENT_TIMEOUT: Duration = Duration::from_secs(5);

/// Clients served at once.
pub const CLIENTS_MAX: usize = 16;

/// Clients that may wait in the kernel's queue.
const BACKLOG: u32 = 128;

/// How long is waited after the system refused a connection: it is short of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Somebody answers there.
    #[error(
        "lockgate is already running: somebody listens on {}; stop it first, or change the \
         setting {}",
        .1.display(), .0
    )]
    Busy(&'static str, PathBuf),
    /// Something else than a socket has the name.
    #[error("{} is there and is no socket: remove it, or change the setting {}", .1.display(), .0)]
    NotASocket(&'static str, PathBuf),
    /// The system refused.
    #[error("socket {}: {source}; {}", path.display(), paths::remedy(setting, path, source))]
    Refused {
        /// The setting that names it.
        setting: &'static str,
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A socket that listens, and is removed when this is dropped.
#[derive(Debug)]
pub struct ShowSocket {
    path: PathBuf,
    listener: UnixListener,
}

impl ShowSocket {
    /// Listens. A socket on which nobody answers any more is replaced; its directory must be
    /// there, unless it is [`DIRECTORY`](crate::paths::DIRECTORY).
    ///
    /// # Errors
    /// [`SocketError`] where somebody is there already, or the system refuses.
    pub fn listen(path: &Path) -> Result<Self, SocketError> {
        Ok(Self { path: path.to_owned(), listener: bind("socket", path)? })
    }

    /// Serves for ever.
    pub async fn serve(self, asker: Asker) {
        let places = Arc::new(Semaphore::new(CLIENTS_MAX));
        loop {
            // A place first: clients without one wait in the kernel's queue, which is bounded.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((client, _)) => {
                    let asker = asker.clone();
                    tokio::spawn(async move {
                        let (reading, writing) = client.into_split();
                        serve_client(reading, writing, &asker).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    warn!(%error, "the socket takes no connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

impl Drop for ShowSocket {
    fn drop(&mut self) {
        let _gone = fs::remove_file(&self.path);
    }
}

/// Listens on a socket of a setting, see [`ShowSocket::listen`].
pub(crate) fn bind(setting: &'static str, path: &Path) -> Result<UnixListener, SocketError> {
    let wrong = |source| SocketError::Refused { setting, path: path.to_owned(), source };
    paths::prepare(path, Path::new(paths::DIRECTORY)).map_err(wrong)?;
    remove_stale(setting, path)?;
    private(path).map_err(wrong)
}

/// A socket whose file is its owner's alone from the moment it is there: the kernel makes the file
/// with the mode of the socket. (A umask for the moment would be every thread's.)
fn private(path: &Path) -> io::Result<UnixListener> {
    let socket = UnixSocket::new_stream()?;
    fchmod(&socket, Mode::S_IRUSR | Mode::S_IWUSR)?;
    socket.bind(path)?;
    socket.listen(BACKLOG)
}

fn remove_stale(setting: &'static str, path: &Path) -> Result<(), SocketError> {
    let wrong = |source| SocketError::Refused { setting, path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(wrong(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(SocketError::NotASocket(setting, path.to_owned()));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(wrong)
        }
        Ok(_) => Err(SocketError::Busy(setting, path.to_owned())),
        Err(error) => Err(wrong(error)),
    }
}

/// Answers one client, given both ways to it, and closes.
pub async fn serve_client(
    mut reading: impl AsyncRead + Unpin,
    mut writing: impl AsyncWrite + Unpin,
    asker: &Asker,
) {
    let Ok(answer) = tokio::time::timeout(CLIENT_TIMEOUT, read_request(&mut reading)).await else {
        return; // too slow to deserve an answer
    };
    let body = match answer {
        Ok(show) => match asker.ask(Question::Show(show)).await {
            Ok(answer) => answer.body,
            Err(error) => error_document(&error.to_string()),
        },
        Err(message) => error_document(&message),
    };
    let write = async {
        writing.write_all(body.as_bytes()).await?;
        writing.write_all(b"\n").await?;
        writing.shutdown().await?;
        // What is left unread at the close would reset the connection and lose the answer.
        let rest = &mut reading.take(16 * REQUEST_BYTES_MAX as u64);
        tokio::io::copy(rest, &mut tokio::io::sink()).await
    };
    let _unread = tokio::time::timeout(CLIENT_TIMEOUT, write).await;
}

/// Reads one line and understands it. The error is for the client.
async fn read_request(reading: impl AsyncRead + Unpin) -> Result<Show, String> {
    let mut line = Vec::new();
    let mut limited = BufReader::new(reading.take(REQUEST_BYTES_MAX as u64));
    limited.read_until(b'\n', &mut line).await.map_err(|error| error.to_string())?;
    if line.last() != Some(&b'\n') && line.len() >= REQUEST_BYTES_MAX {
        return Err(format!("the request is longer than {REQUEST_BYTES_MAX} bytes"));
    }
    serde_json::from_slice(&line).map_err(|error| format!("the request is not understood: {error}"))
}

fn error_document(message: &str) -> String {
    serde_json::json!({ "error": message }).to_string()
}

/// Why a client got no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers.
    #[error("no switch answers on {}: {source}; {}", path.display(), client_remedy(source))]
    Silent {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It answered with an error.
    #[error("the switch answered: {0}")]
    Refused(String),
    /// It closed without an answer.
    #[error(
        "the switch on {} closed without an answer: it is stopping, or busy with others; ask again",
        .0.display()
    )]
    Closed(PathBuf),
    /// It is not ready.
    #[error("the switch is not ready: see `lockgate status`")]
    NotReady,
    /// It is another container's.
    #[error(
        "the switch on {} is of another container: this one waits to take over from it, or has \
         given it everything", .0.display()
    )]
    Elsewhere(PathBuf),
    /// It answered nonsense.
    #[error(
        "the switch's answer is not JSON: {0}; name the socket of a `lockgate run` of this version \
         with --socket"
    )]
    Garbled(#[from] serde_json::Error),
}

/// What a client can do where nobody answers.
fn client_remedy(refused: &io::Error) -> &'static str {
    match refused.kind() {
        io::ErrorKind::PermissionDenied => "ask as the user that runs the switch",
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            "start `lockgate run`, or name the socket that it has with --socket"
        }
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            "ask again; where that does not help, restart the switch"
        }
        _ => "name the socket of a running switch with --socket",
    }
}

/// Asks a running switch. Blocks, at most for [`CLIENT_TIMEOUT`] and the agent's own.
///
/// # Errors
/// [`ClientError`] where there is no good answer.
pub fn ask(path: &Path, show: Show) -> Result<serde_json::Value, ClientError> {
    let silent = |source| ClientError::Silent { path: path.to_owned(), source };
    exchange(path, UnixStream::connect(path).map_err(silent)?, show)
}

/// Asks whether a running switch is ready, and of this container: its process must be seen from
/// here, which shows another number, or none, to whoever is in another namespace of processes.
///
/// # Errors
/// [`ClientError`] where it is not, or does not answer.
pub fn ready(path: &Path) -> Result<String, ClientError> {
    let silent = |source| ClientError::Silent { path: path.to_owned(), source };
    let stream = UnixStream::connect(path).map_err(silent)?;
    let peer = getsockopt(&stream, PeerCredentials).map_err(|errno| silent(errno.into()))?;
    if peer.pid() <= 0 {
        return Err(ClientError::Elsewhere(path.to_owned()));
    }
    let status = exchange(path, stream, Show::Status {})?;
    match status.get("ready").and_then(serde_json::Value::as_bool) {
        Some(true) => Ok("ready\n".to_owned()),
        _ => Err(ClientError::NotReady),
    }
}

fn exchange(
    path: &Path,
    mut stream: UnixStream,
    show: Show,
) -> Result<serde_json::Value, ClientError> {
    use std::io::{Read, Write};
    let silent = |source| ClientError::Silent { path: path.to_owned(), source };
    let wait = Some(CLIENT_TIMEOUT + crate::ask::ANSWER_TIMEOUT);
    stream.set_read_timeout(wait).map_err(silent)?;
    stream.set_write_timeout(wait).map_err(silent)?;
    let mut request = serde_json::to_vec(&show)?;
    request.push(b'\n');
    stream.write_all(&request).map_err(silent)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(silent)?;
    if answer.is_empty() {
        return Err(ClientError::Closed(path.to_owned()));
    }
    let document: serde_json::Value = serde_json::from_slice(&answer)?;
    match document.get("error").and_then(|error| error.as_str()) {
        Some(message) => Err(ClientError::Refused(message.to_owned())),
        None => Ok(document),
    }
}
