//! The bare `AF_XDP` forwarder: what comes in at one interface goes out at the other, unread.
//!
//! The speed baseline: the switch's own ports, batches and rings, and nothing else; what the
//! switch is slower than this is what its work costs. Hot path: `carry`.

use std::path::Path;
use std::time::{Duration, Instant};

use lockgate_dataplane::frame::{Batch, FramePool};
use lockgate_dataplane::ids::PortSlot;
use lockgate_dataplane::port::program::{Program, ProgramError};
use lockgate_dataplane::port::xsk::{WorkerMemory, XskPort};
use lockgate_dataplane::port::{Port, PortError, SocketHandle, fair_credit};

/// Frames of the one UMEM: the default of the switch.
const FRAMES: u32 = 8192;

/// Turns between two looks at the clock.
const TURNS_PER_LOOK: u32 = 4096;

/// Why the forwarder could not start or stop.
#[derive(Debug, thiserror::Error)]
pub enum BareError {
    /// No such interface.
    #[error("interface {0} does not exist")]
    NoInterface(String, #[source] nix::Error),
    /// Memory or a socket.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The XDP program.
    #[error(transparent)]
    Program(#[from] ProgramError),
}

/// What was forwarded.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    /// Packets given to a transmit ring.
    pub forwarded: u64,
    /// Packets that the other side did not take.
    pub dropped: u64,
    /// How long it ran.
    pub elapsed: Duration,
}

impl Report {
    /// Thousands of packets forwarded per second.
    #[must_use]
    pub fn kpps(&self) -> u64 {
        let micros = u64::try_from(self.elapsed.as_micros()).unwrap_or(u64::MAX);
        self.forwarded.saturating_mul(1000) / micros.max(1)
    }
}

/// Two ports, joined.
#[derive(Debug)]
pub struct Forwarder {
    pool: FramePool,
    ports: [XskPort; 2],
    batch: Batch,
    control: [(Program, SocketHandle); 2],
    counted: Report,
}

impl Forwarder {
    /// Takes over queue 0 of two interfaces; `anchor` is a third, which carries nothing.
    ///
    /// # Errors
    ///
    /// What is missing or taken, by name.
    pub fn new(interfaces: [&str; 2], anchor: &str, pin_dir: &Path) -> Result<Self, BareError> {
        let (memory, pool) = WorkerMemory::new(anchor, FRAMES)?;
        let (first, first_control) = bind(&memory, interfaces[0], PortSlot(0), pin_dir)?;
        let (other, other_control) = bind(&memory, interfaces[1], PortSlot(1), pin_dir)?;
        Ok(Self {
            pool,
            ports: [first, other],
            batch: Batch::new(),
            control: [first_control, other_control],
            counted: Report::default(),
        })
    }

    /// Forwards for some time.
    pub fn run(&mut self, time: Duration) -> Report {
        let start = Instant::now();
        while start.elapsed() < time {
            for _ in 0..TURNS_PER_LOOK {
                self.turn();
            }
        }
        Report { elapsed: start.elapsed(), ..self.counted }
    }

    /// Forwards a batch in each direction.
    pub fn turn(&mut self) {
        let Self { pool, ports: [first, other], batch, counted, .. } = self;
        carry(first, other, pool, batch, counted);
        carry(other, first, pool, batch, counted);
    }

    /// Closes the sockets and gives the interfaces back.
    ///
    /// # Errors
    ///
    /// [`BareError::Program`] where a pin could not be removed.
    pub fn close(self) -> Result<(), BareError> {
        drop(self.ports);
        self.control.into_iter().try_for_each(|(program, _)| program.detach())?;
        Ok(())
    }
}

fn carry(
    from: &mut XskPort,
    to: &mut XskPort,
    pool: &mut FramePool,
    batch: &mut Batch,
    counted: &mut Report,
) {
    to.reclaim(pool);
    from.fill(pool);
    counted.forwarded += from.receive(pool, batch) as u64;
    for frame in batch.drain() {
        if let Err(frame) = to.send(pool, frame) {
            pool.put(frame);
            counted.forwarded -= 1;
            counted.dropped += 1;
        }
    }
    to.flush();
}

type Bound = (XskPort, (Program, SocketHandle));

fn bind(
    memory: &WorkerMemory,
    name: &str,
    slot: PortSlot,
    pins: &Path,
) -> Result<Bound, BareError> {
    let ifindex = nix::net::if_::if_nametoindex(name);
    let ifindex = ifindex.map_err(|cause| BareError::NoInterface(name.to_owned(), cause))?;
    let mut program = Program::attach(name, ifindex, 1, pins)?;
    let (mut port, handle) = XskPort::bind(memory, name, 0, slot)?;
    port.set_credit(fair_credit(FRAMES, 2).unwrap_or(0));
    program.set_socket(0, &handle)?;
    Ok((port, (program, handle)))
}
