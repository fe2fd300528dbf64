//! TCP with data both ways at once, at a steady pace: every byte is known, and is looked at when it
//! arrives.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv6Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::error::LabError;
use super::namespace::Namespace;
use super::node::Place;
use super::{probe, serve};

/// The time between two blocks of one way.
const PACE: Duration = Duration::from_millis(2);

/// Words of a block, of eight bytes each.
const BLOCK_WORDS: u64 = 128;

/// A way that stands still for this long has failed: TCP sends again much earlier.
const PATIENCE: Duration = Duration::from_secs(20);

/// What one way carried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// Words sent.
    pub sent: u64,
    /// Words that arrived, each of them the one that was due.
    pub received: u64,
    /// The longest time that nothing arrived.
    pub longest: Duration,
    /// What broke it: a word that was not due, a reset or another error of either end.
    pub fault: Option<String>,
}

impl Way {
    /// Whether all that was sent arrived, in order, and nothing broke.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.fault.is_none() && self.sent > 0 && self.sent == self.received
    }
}

/// A connection that carries data both ways until it is ended.
#[derive(Debug)]
pub struct Duplex {
    ended: Arc<AtomicBool>,
    ways: [(JoinHandle<Way>, JoinHandle<Way>); 2],
}

impl Duplex {
    /// Connects from a place to an address, where a port of a namespace answers.
    ///
    /// # Errors
    /// When the port cannot be had, or the connection does not come about.
    pub fn start(
        from: &Place,
        to: SocketAddr,
        (server, port): (&Namespace, u16),
    ) -> Result<Self, LabError> {
        let everywhere = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port);
        let failed = || LabError::io(format!("serve {to} at port {port} of {}", server.name()));
        let listener = server.enter(|| serve::listen(everywhere))?.map_err(failed())?;
        let near = probe::connect(from, to, probe::PATIENCE)?;
        let (far, _) = listener.accept().map_err(failed())?;
        let ended = Arc::new(AtomicBool::new(false));
        let way = |number, from: &TcpStream, to: &TcpStream| -> io::Result<_> {
            let (from, to, end) = (from.try_clone()?, to.try_clone()?, Arc::clone(&ended));
            let sender = thread::spawn(move || send(from, number, &end));
            Ok((sender, thread::spawn(move || receive(&to, number))))
        };
        let ways = || -> io::Result<_> { Ok([way(0, &near, &far)?, way(1, &far, &near)?]) };
        let ways = ways().map_err(failed())?;
        Ok(Self { ended, ways })
    }

    /// Ends it, and says what each way carried: from the place that connected, and to it.
    #[must_use]
    pub fn end(self) -> [Way; 2] {
        self.ended.store(true, Ordering::Relaxed);
        self.ways.map(|(sender, receiver)| {
            let panicked =
                |_| Way { fault: Some("a thread panicked".to_owned()), ..Way::default() };
            let sent = sender.join().unwrap_or_else(panicked);
            let heard = receiver.join().unwrap_or_else(panicked);
            Way { sent: sent.sent, fault: heard.fault.or(sent.fault), ..heard }
        })
    }
}

/// The word of a number on one of the two ways.
fn word(way: u64, number: u64) -> [u8; 8] {
    (number << 1 | way).to_be_bytes()
}

/// Sends block after block until it is ended.
fn send(mut stream: TcpStream, way: u64, ended: &AtomicBool) -> Way {
    let mut sent = 0;
    let mut run = || -> io::Result<()> {
        stream.set_write_timeout(Some(PATIENCE))?;
        while !ended.load(Ordering::Relaxed) {
            let block: Vec<u8> =
                (sent..sent + BLOCK_WORDS).flat_map(|number| word(way, number)).collect();
            stream.write_all(&block)?;
            sent += BLOCK_WORDS;
            thread::sleep(PACE);
        }
        stream.shutdown(Shutdown::Write)
    };
    let fault = run().err().map(|error| format!("sending: {error}"));
    Way { sent, fault, ..Way::default() }
}

/// Receives until the other end has no more, or something is not what is due.
fn receive(stream: &TcpStream, way: u64) -> Way {
    let mut heard = Way::default();
    let mut run = || -> io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut stream = BufReader::new(stream);
        loop {
            let begun = Instant::now();
            let is_over = match stream.fill_buf() {
                Ok(bytes) => bytes.is_empty(),
                // A read with a time-out is not begun anew after a signal.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            heard.longest = heard.longest.max(begun.elapsed());
            if is_over {
                return Ok(());
            }
            let mut next = [0; 8];
            stream.read_exact(&mut next)?;
            if next != word(way, heard.received) {
                let what = format!("{next:x?} where {} was due", heard.received);
                return Err(io::Error::other(what));
            }
            heard.received += 1;
        }
    };
    heard.fault = run().err().map(|error| format!("receiving: {error}"));
    heard
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (near, listener.accept().unwrap().0)
    }

    #[test]
    fn what_is_lost_or_out_of_order_is_a_fault() {
        for (words, received) in [(&[0, 1, 2][..], 3), (&[0, 2], 1), (&[0, 1, 1], 2)] {
            let (mut near, far) = pair();
            let bytes: Vec<u8> = words.iter().flat_map(|&number| word(1, number)).collect();
            near.write_all(&bytes).unwrap();
            drop(near);
            let heard = receive(&far, 1);
            assert_eq!(heard.received, received, "{heard:?}");
            assert_eq!(heard.fault.is_some(), received < words.len() as u64, "{heard:?}");
        }
    }

    #[test]
    fn half_a_word_is_a_fault_and_another_way_too() {
        let (mut near, far) = pair();
        near.write_all(&word(0, 0)).unwrap();
        assert!(receive(&far, 1).fault.is_some());
        let (mut near, far) = pair();
        near.write_all(&[0; 5]).unwrap();
        drop(near);
        assert!(receive(&far, 0).fault.is_some());
    }
}
