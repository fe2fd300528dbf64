//! Lines between two agents.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::ANSWER;

/// The longest line: one with the name of a node, which has 253 bytes at most.
const LINE_BYTES_MAX: u64 = 320;

/// One end of a connection.
#[derive(Debug)]
pub(super) struct Wire(BufReader<UnixStream>);

impl Wire {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self(BufReader::new(stream))
    }

    /// Who is at the other end; `None` where that is in another namespace of processes.
    pub(super) fn process(&self) -> Option<i32> {
        self.0.get_ref().peer_cred().ok()?.pid().filter(|&pid| pid > 0)
    }

    pub(super) async fn say(&mut self, line: &str) -> io::Result<()> {
        let text = format!("{line}\n");
        timeout(ANSWER, self.0.get_mut().write_all(text.as_bytes())).await.map_err(|_| slow())?
    }

    /// The next line, within a time. An end is an error.
    pub(super) async fn hear(&mut self, within: Duration) -> io::Result<String> {
        let mut line = String::new();
        let mut limited = (&mut self.0).take(LINE_BYTES_MAX);
        let read = timeout(within, limited.read_line(&mut line)).await;
        if read.map_err(|_| slow())?? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match line.strip_suffix('\n') {
            Some(whole) => Ok(whole.to_owned()),
            None => Err(io::Error::other("a line is too long, or not whole")),
        }
    }
}

fn slow() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no answer in time")
}
