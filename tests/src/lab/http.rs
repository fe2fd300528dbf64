//! The least of HTTP: one GET from inside a namespace, and a door to it from outside.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use super::error::LabError;
use super::namespace::Namespace;

/// An answer: status and body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status, 200 where all is well.
    pub status: u16,
    /// The body.
    pub body: String,
}

/// Asks for a path.
///
/// # Errors
/// When no one listens, or the answer is not HTTP.
pub fn get(namespace: &Namespace, at: SocketAddr, path: &str) -> Result<Answer, LabError> {
    let text = namespace
        .enter(|| exchange(at, path))?
        .map_err(LabError::io(format!("GET http://{at}{path} in {}", namespace.name())))?;
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
    let status = status.ok_or_else(|| LabError::Unexpected(format!("not HTTP: {head:?}")))?;
    Ok(Answer { status, body: body.to_owned() })
}

/// Lets a listener of the caller's namespace lead to `to` inside `namespace`, as long as the
/// process lives.
pub fn open_door(listener: TcpListener, namespace: Namespace, to: SocketAddr) {
    thread::spawn(move || {
        for visitor in listener.incoming().flatten() {
            if let Ok(Ok(inside)) = namespace.enter(|| TcpStream::connect(to)) {
                thread::spawn(move || pass(&visitor, &inside));
            }
        }
    });
}

fn exchange(at: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&at, Duration::from_secs(2))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// Carries bytes both ways until either side ends.
fn pass(one: &TcpStream, other: &TcpStream) {
    let carry = |mut from: &TcpStream, mut to: &TcpStream| {
        // Either side may break off; the other is told by the shutdown.
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    };
    thread::scope(|scope| {
        scope.spawn(|| carry(one, other));
        carry(other, one);
    });
}
