//! All ports given away at once, for another process to take, and workers that rest. Cold.
//!
//! ```text
//!   programs told of no socket ─ workers send what they have ─ queues back ─ sockets closed ─ rest
//! ```
//!
//! A queue is bound by one packet memory at a time, so between the close here and the bind there
//! nothing passes: that time is what a hand-over costs. The kernel waits for its readers at each
//! close, 10 to 30 ms, whether one socket closes or a hundred: they are closed by as many threads.
//!
//! Workers rest with all that they hold: connections, memory, the anchor's socket. Whoever was
//! promised the ports may not take them, and then they go on ([`Switch::resume`]).

use std::time::Duration;

use super::desk::Open;
use super::thread::Thread;
use super::{Desk, Switch, SwitchError};
use crate::frame::Closed;
use crate::ids::PortRef;
use crate::port::SocketHandle;

/// How long workers have for what they received: some turns under load.
const DRAIN: Duration = Duration::from_millis(2);

/// The most threads that close sockets.
const CLOSERS_MAX: usize = 64;

impl Switch {
    /// Gives all ports away: what was received is sent, every queue is free, every program drops,
    /// and no worker turns any more.
    ///
    /// # Errors
    /// When a worker does not answer; its queues are free when this process ends.
    pub fn give(&mut self) -> Result<(), SwitchError> {
        let mut ports = self.ports.take_all();
        for (program, queues) in &mut ports {
            for queue in (0_u32..).take(queues.len()) {
                // An interface that has just gone has no queue to be told of.
                let _gone = program.unset_socket(queue);
            }
        }
        std::thread::sleep(DRAIN);
        self.workers.iter_mut().for_each(|worker| worker.desk.hold());
        for queue in ports.into_iter().flat_map(|(_, queues)| queues) {
            if let Some(worker) = self.workers.get_mut(queue.at.worker.index()) {
                worker.desk.take_back(queue.at, queue.socket);
            }
        }
        let mut open = Vec::new();
        for worker in &mut self.workers {
            open.extend(worker.wait(Desk::take_open)?);
        }
        for (at, closed) in close_together(open) {
            if let Some(worker) = self.workers.get_mut(at.worker.index()) {
                worker.desk.closed(at, closed);
            }
        }
        for worker in &mut self.workers {
            worker.resting = worker.thread.stop(&worker.bell);
        }
        Ok(())
    }

    /// Lets workers go on that rest, without ports.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn resume(&mut self) -> Result<(), SwitchError> {
        for worker in &mut self.workers {
            if let Some(turns) = worker.resting.take() {
                worker.thread = Thread::start(worker.id, worker.core, turns)?;
            }
        }
        Ok(())
    }
}

/// Closes sockets side by side.
fn close_together(open: Vec<Open<SocketHandle>>) -> Vec<(PortRef, Closed)> {
    let share = open.len().div_ceil(CLOSERS_MAX).max(1);
    let mut open = open.into_iter().peekable();
    std::thread::scope(|scope| {
        let mut closers = Vec::new();
        while open.peek().is_some() {
            let some: Vec<_> = open.by_ref().take(share).collect();
            closers.push(scope.spawn(move || {
                let close = |(at, half, port): Open<SocketHandle>| (at, half.close(port));
                some.into_iter().map(close).collect::<Vec<_>>()
            }));
        }
        // With `panic = "abort"` a thread that panicked has taken the process with it.
        closers.into_iter().flat_map(|closer| closer.join().unwrap_or_default()).collect()
    })
}
