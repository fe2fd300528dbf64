//! Ports as control holds them: which worker and slot, socket, program, cells. Cold.
//!
//! A port is added program first (it drops), then socket, then worker, then the socket is shown
//! to the program: there is no instant at which its packets can pass by. It is removed the other
//! way round, and its slot is free again only when the worker has all its frames back.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Handle, Switch, SwitchError, system};
use crate::counters::PortCounters;
use crate::ids::{PortId, PortRef, PortSlot, WorkerId};
use crate::limits::PORTS_MAX;
use crate::port::program::Program;
use crate::port::xsk::XskPort;
use crate::port::{SocketHandle, XdpStatistics};
use crate::worker::mailbox::{Attached, Command, Limiter, PortKind, Reply};

/// What becomes of an interface that the switch no longer serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detach {
    /// The pinned program stays and drops all its packets.
    Leave,
    /// The program is taken off and its pins are removed.
    Detach,
}

/// Where the host port is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPortRef {
    /// The port: one id for all its queues.
    pub port: PortId,
    /// Its slot with each worker, by [`WorkerId`].
    pub slots: Vec<PortSlot>,
}

/// A port, to be shown.
#[derive(Clone, Debug)]
pub struct PortView {
    /// Its id.
    pub port: PortId,
    /// Its interface.
    pub interface: String,
    /// What hangs on it.
    pub kind: PortKind,
    /// Its places: one of a pod port, one per worker of the host port.
    pub at: Vec<PortRef>,
    /// Its cells, in the order of `at`.
    pub counters: Vec<Arc<PortCounters>>,
}

/// One queue's socket, with the worker that polls it.
#[derive(Debug)]
struct Queue {
    at: PortRef,
    socket: SocketHandle,
    counters: Arc<PortCounters>,
}

#[derive(Debug)]
struct Record {
    port: PortId,
    interface: String,
    kind: PortKind,
    program: Program,
    queues: Vec<Queue>,
}

/// All ports and the slots that are taken.
#[derive(Debug)]
pub(super) struct Ports {
    records: Vec<Record>,
    taken: Vec<Vec<bool>>,
    next: u32,
    bpffs: PathBuf,
}

impl Ports {
    pub(super) fn new(workers: usize, bpffs: PathBuf) -> Self {
        Self { records: Vec::new(), taken: vec![vec![false; PORTS_MAX]; workers], next: 1, bpffs }
    }

    /// Closes every socket; then leaves the programs or takes them off.
    pub(super) fn close_all(&mut self, detach: Detach) -> Result<(), SwitchError> {
        let mut result = Ok(());
        for record in self.records.drain(..) {
            drop(record.queues);
            let ended = finish(record.program, detach);
            result = result.and(ended);
        }
        result
    }

    /// The worker with the fewest ports.
    fn least_loaded(&self) -> usize {
        let load = |taken: &Vec<bool>| taken.iter().filter(|&&taken| taken).count();
        (0..self.taken.len())
            .min_by_key(|&w| self.taken.get(w).map_or(usize::MAX, load))
            .unwrap_or(0)
    }

    fn take_slot(&mut self, worker: usize) -> Option<PortSlot> {
        let slots = self.taken.get_mut(worker)?;
        let free = slots.iter().position(|&taken| !taken)?;
        *slots.get_mut(free)? = true;
        u16::try_from(free).ok().map(PortSlot)
    }

    fn free_slot(&mut self, worker: WorkerId, slot: PortSlot) {
        if let Some(taken) =
            self.taken.get_mut(worker.index()).and_then(|slots| slots.get_mut(slot.index()))
        {
            *taken = false;
        }
    }
}

fn finish(program: Program, detach: Detach) -> Result<(), SwitchError> {
    match detach {
        Detach::Leave => program.leave(),
        Detach::Detach => program.detach()?,
    }
    Ok(())
}

impl Switch {
    /// Attaches a pod's interface (its switch side) to the worker with the fewest ports.
    ///
    /// The interface is named in the network namespace of the calling thread. From the moment the
    /// program is attached, nothing passes by the switch.
    ///
    /// # Errors
    /// When the program cannot be attached or pinned, the socket cannot be bound, or all slots
    /// are taken; the program then stays attached and drops.
    pub fn add_pod_port(&mut self, interface: &str, ifindex: u32) -> Result<PortRef, SwitchError> {
        let worker = self.ports.least_loaded();
        let record = self.attach(interface, ifindex, PortKind::Pod, &[worker])?;
        record.queues.first().map(|queue| queue.at).ok_or(SwitchError::NoPort(record.port.0))
    }

    /// Attaches the host port's interface (its switch side), which must have one queue for each
    /// worker.
    ///
    /// # Errors
    /// As [`Switch::add_pod_port`].
    pub fn add_host_port(
        &mut self,
        interface: &str,
        ifindex: u32,
    ) -> Result<HostPortRef, SwitchError> {
        let all: Vec<usize> = (0..self.workers.len()).collect();
        let record = self.attach(interface, ifindex, PortKind::Host, &all)?;
        let slots = record.queues.iter().map(|queue| queue.at.slot).collect();
        Ok(HostPortRef { port: record.port, slots })
    }

    /// Takes a port away: its worker gives it back, its socket is closed, its frames come home.
    ///
    /// # Errors
    /// When the port is not there or its worker does not answer.
    pub fn remove_port(&mut self, port: PortId, detach: Detach) -> Result<(), SwitchError> {
        let found = self.ports.records.iter().position(|record| record.port == port);
        let record = self.ports.records.swap_remove(found.ok_or(SwitchError::NoPort(port.0))?);
        let mut result = Ok(());
        for queue in record.queues {
            result = result.and(self.close(queue));
        }
        result.and(finish(record.program, detach))
    }

    /// All ports, in the order of their ids.
    #[must_use]
    pub fn ports(&self) -> Vec<PortView> {
        let mut views: Vec<_> = self.ports.records.iter().map(Record::view).collect();
        views.sort_by_key(|view| view.port);
        views
    }

    /// What the kernel counts at each queue of a port (`XDP_STATISTICS` of `if_xdp.h`).
    ///
    /// # Errors
    /// When the port is not there or the kernel refuses.
    pub fn statistics(&self, port: PortId) -> Result<Vec<XdpStatistics>, SwitchError> {
        let record = self.ports.records.iter().find(|record| record.port == port);
        let queues = &record.ok_or(SwitchError::NoPort(port.0))?.queues;
        let read = queues.iter().map(|queue| queue.socket.statistics());
        read.collect::<Result<_, _>>().map_err(system("XDP_STATISTICS"))
    }

    /// Whether every worker's thread runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.workers.iter().all(|worker| worker.thread.is_alive())
    }

    fn attach(
        &mut self,
        interface: &str,
        ifindex: u32,
        kind: PortKind,
        workers: &[usize],
    ) -> Result<&Record, SwitchError> {
        let queues = u32::try_from(workers.len()).unwrap_or(u32::MAX);
        let program = Program::attach(interface, ifindex, queues, &self.ports.bpffs)?;
        let port = PortId(self.ports.next);
        self.ports.next += 1;
        let mut record =
            Record { port, interface: interface.to_owned(), kind, program, queues: Vec::new() };
        for (queue, &worker) in (0_u32..).zip(workers) {
            match self.open(&mut record, queue, worker) {
                Ok(opened) => record.queues.push(opened),
                Err(error) => {
                    for opened in record.queues {
                        self.close(opened)?;
                    }
                    // Fail closed: what cannot be served is left dropping.
                    record.program.leave();
                    return Err(error);
                }
            }
        }
        self.ports.records.push(record);
        self.ports.records.last().ok_or(SwitchError::NoPort(port.0))
    }

    fn open(
        &mut self,
        record: &mut Record,
        queue: u32,
        worker: usize,
    ) -> Result<Queue, SwitchError> {
        let no_slot =
            || SwitchError::NoSlot { interface: record.interface.clone(), limit: PORTS_MAX };
        let handle = self.workers.get(worker).ok_or_else(no_slot)?;
        let slot = self.ports.take_slot(worker).ok_or_else(no_slot)?;
        let at = PortRef { port: record.port, worker: handle.id, slot };
        let opened = hand_out(handle, record, queue, at);
        if opened.is_err() {
            self.ports.free_slot(at.worker, at.slot);
        }
        opened
    }

    /// Takes a queue from its worker and closes its socket.
    fn close(&mut self, queue: Queue) -> Result<(), SwitchError> {
        let at = queue.at;
        let handle = self.workers.get(at.worker.index()).ok_or(SwitchError::NoPort(at.port.0))?;
        let Reply::Removed(attached) = handle.ask(Command::Remove(at.slot))? else {
            return Err(SwitchError::NoPort(at.port.0));
        };
        let closed = queue.socket.close(attached.port);
        if let Reply::Home(slot) = handle.ask(Command::Closed(closed))? {
            self.ports.free_slot(at.worker, slot);
        }
        Ok(())
    }
}

/// Binds a queue, hands it to its worker, and only then lets the program find it.
fn hand_out(
    handle: &Handle,
    record: &mut Record,
    queue: u32,
    at: PortRef,
) -> Result<Queue, SwitchError> {
    let (port, socket) = XskPort::bind(&handle.memory, &record.interface, queue, at.slot)?;
    let counters = Arc::new(PortCounters::default());
    let attached = Attached {
        at,
        kind: record.kind,
        port,
        counters: Arc::clone(&counters),
        answers: Limiter::default(),
    };
    handle.tell(Command::Add(Box::new(attached)))?;
    record.program.set_socket(queue, &socket)?;
    Ok(Queue { at, socket, counters })
}

impl Record {
    fn view(&self) -> PortView {
        PortView {
            port: self.port,
            interface: self.interface.clone(),
            kind: self.kind,
            at: self.queues.iter().map(|queue| queue.at).collect(),
            counters: self.queues.iter().map(|queue| Arc::clone(&queue.counters)).collect(),
        }
    }
}
