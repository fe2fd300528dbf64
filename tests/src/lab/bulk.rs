//! Bulk: one TCP connection, both ways at once, hashed at both ends.

use std::hash::Hasher;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv6Addr, Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use twox_hash::XxHash3_64;

use super::error::LabError;
use super::namespace::Namespace;
use super::node::Place;
use super::{probe, serve};

/// Bytes written at once; the head of each block bears its number.
const BLOCK_BYTES: usize = 256 * 1024;

/// A direction that stands still for this long has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// What one direction carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carried {
    /// Bytes.
    pub bytes: u64,
    /// XXH3-64 over them, in order.
    pub hash: u64,
}

/// What both directions carried, as the sender and as the receiver saw it.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// From the place that connected: sent there, received here.
    pub forth: (Carried, Carried),
    /// From the place that was connected to.
    pub back: (Carried, Carried),
    /// How long it all took.
    pub took: Duration,
}

impl Report {
    /// Whether what arrived is what was sent, both ways.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.forth.0 == self.forth.1 && self.back.0 == self.back.1
    }
}

/// Sends `bytes` each way at once, over one connection from `from` to `to`'s address at `port`.
///
/// # Errors
/// When the connection does not come about, or a direction stands still.
pub fn both_ways(
    from: &Place,
    to: &Place,
    port: u16,
    v6: bool,
    bytes: u64,
) -> Result<Report, LabError> {
    let target = to.address(v6).ok_or_else(|| LabError::Unknown(to.namespace.name().to_owned()))?;
    through(from, SocketAddr::new(target, port), (&to.namespace, port), bytes)
}

/// The same where `from` asks at an address that leads to a port of another namespace.
///
/// # Errors
/// When the connection does not come about, or a direction stands still.
pub fn through(
    from: &Place,
    asked: SocketAddr,
    (to, port): (&Namespace, u16),
    bytes: u64,
) -> Result<Report, LabError> {
    let everywhere = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port);
    let listener = to
        .enter(|| serve::listen(everywhere))?
        .map_err(LabError::io(format!("listen for {asked}")))?;
    let start = Instant::now();
    let near = probe::connect(from, asked, PATIENCE)?;
    let (far, _) = listener.accept().map_err(LabError::io("accept the bulk connection"))?;
    let report = thread::scope(|scope| {
        let forth = scope.spawn(|| send(&near, 1, bytes));
        let back = scope.spawn(|| send(&far, 2, bytes));
        let arrived_forth = scope.spawn(|| receive(&far));
        let arrived_back = receive(&near)?;
        Ok(Report {
            forth: (join(forth)?, join(arrived_forth)?),
            back: (join(back)?, arrived_back),
            took: start.elapsed(),
        })
    });
    report.map_err(LabError::io(format!("bulk transfer to {asked}")))
}

fn join<T>(thread: thread::ScopedJoinHandle<'_, std::io::Result<T>>) -> std::io::Result<T> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn send(mut stream: &TcpStream, seed: u64, bytes: u64) -> std::io::Result<Carried> {
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut block = noise(seed);
    let mut hash = XxHash3_64::with_seed(0);
    let (mut sent, mut number) = (0, 0_u64);
    while sent < bytes {
        // No two blocks are equal, so that a lost, doubled or misplaced one shows.
        block[..8].copy_from_slice(&number.to_le_bytes());
        let left = usize::try_from(bytes - sent).unwrap_or(usize::MAX).min(block.len());
        stream.write_all(&block[..left])?;
        hash.write(&block[..left]);
        sent += left as u64;
        number += 1;
    }
    stream.shutdown(Shutdown::Write)?;
    Ok(Carried { bytes: sent, hash: hash.finish() })
}

fn receive(mut stream: &TcpStream) -> std::io::Result<Carried> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut room = vec![0; BLOCK_BYTES];
    let mut hash = XxHash3_64::with_seed(0);
    let mut bytes = 0;
    loop {
        let length = stream.read(&mut room)?;
        if length == 0 {
            return Ok(Carried { bytes, hash: hash.finish() });
        }
        hash.write(&room[..length]);
        bytes += length as u64;
    }
}

/// A block of bytes without a pattern (`SplitMix64`), so that shifted data never looks right.
fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let words = std::iter::repeat_with(|| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)).to_le_bytes()
    });
    words.take(BLOCK_BYTES / 8).flatten().collect()
}
