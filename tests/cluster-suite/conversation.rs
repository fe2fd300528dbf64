//! One connection of a pod with another, over which that is asked again and again.

use std::io::{self, Error, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::Outcome;

/// The time between two questions of a talk.
const PACE: Duration = Duration::from_millis(5);

/// A connection with the pod `web`.
pub(crate) struct Conversation(TcpStream);

impl Conversation {
    /// Connects from the network of the calling thread. Each answer may take as long as this.
    pub(crate) fn begin(at: SocketAddr, patience: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&at, patience)?;
        stream.set_read_timeout(Some(patience))?;
        let mut begun = Self(stream);
        begun.goes_on()?;
        Ok(begun)
    }

    /// Asks once, and hears who answers.
    pub(crate) fn goes_on(&mut self) -> io::Result<()> {
        self.0.write_all(b"GET /hostname HTTP/1.1\r\nHost: web\r\n\r\n")?;
        let mut heard = Vec::new();
        while !heard.ends_with(b"\r\n\r\nweb") {
            let mut bytes = [0; 512];
            match self.0.read(&mut bytes) {
                Ok(0) => return Err(cut("ended", &heard)),
                Ok(count) => heard.extend_from_slice(&bytes[..count]),
                // A read with a time-out is not begun anew after a signal.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(cut(&error.to_string(), &heard)),
            }
        }
        Ok(())
    }
}

/// What cut a connection, and what was heard of the last answer.
fn cut(how: &str, heard: &[u8]) -> Error {
    Error::other(format!("{how}, after {:?}", String::from_utf8_lossy(heard)))
}

/// A conversation that goes on by itself until it is ended or cut.
pub(crate) struct Talk {
    ended: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
    thread: Option<JoinHandle<io::Result<Duration>>>,
}

impl Talk {
    /// Begins it, from the network of the calling thread.
    pub(crate) fn begin(at: SocketAddr, patience: Duration) -> io::Result<Self> {
        let mut conversation = Conversation::begin(at, patience)?;
        let (ended, answers) = (Arc::default(), Arc::default());
        let (end, count): (Arc<AtomicBool>, Arc<AtomicU64>) =
            (Arc::clone(&ended), Arc::clone(&answers));
        let thread = thread::spawn(move || {
            let mut longest = Duration::ZERO;
            while !end.load(Ordering::Relaxed) {
                let asked = Instant::now();
                conversation.goes_on()?;
                longest = longest.max(asked.elapsed());
                count.fetch_add(1, Ordering::Relaxed);
                thread::sleep(PACE);
            }
            Ok(longest)
        });
        Ok(Self { ended, answers, thread: Some(thread) })
    }

    /// Answers so far.
    pub(crate) fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    /// Waits for answers to questions that are asked from now on.
    pub(crate) fn await_answers(&mut self, patience: Duration) -> Outcome {
        let (before, begun) = (self.answers(), Instant::now());
        // The next one may be of a question that was asked before.
        while self.answers() < before + 2 {
            if self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
                return Err(format!("an established connection is cut: {:?}", self.stop()).into());
            }
            if begun.elapsed() > patience {
                return Err("an established connection is silent".into());
            }
            thread::sleep(PACE);
        }
        Ok(())
    }

    /// Ends it; the longest that an answer took.
    pub(crate) fn end(mut self) -> io::Result<Duration> {
        self.stop()
    }

    fn stop(&mut self) -> io::Result<Duration> {
        self.ended.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        ended.and_then(Result::ok).unwrap_or_else(|| Err(Error::other("it has no end")))
    }
}
