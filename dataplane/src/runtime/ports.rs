//! Ports as control holds them: which worker and slot, socket, program, cells. Cold.
//!
//! A port is added program first (it drops), then socket, then worker, then the socket is shown
//! to the program: there is no instant at which its packets can pass by. It is removed the other
//! way round, and its slot is free again only when the worker has all its frames back (`desk`).
//! Whatever fails on the way, the program is left dropping.

use std::path::PathBuf;
use std::sync::Arc;

use super::desk::NotHandedOut;
use super::{Handle, Switch, SwitchError, system};
use crate::counters::PortCounters;
use crate::ids::{PortId, PortRef, PortSlot};
use crate::limits::PORTS_MAX;
use crate::port::program::Program;
use crate::port::xsk::XskPort;
use crate::port::{SocketHandle, XdpStatistics};
use crate::worker::mailbox::{Attached, Limiter, PortKind};

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
    /// Its slot with each worker, by [`WorkerId`](crate::ids::WorkerId).
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
pub(super) struct Queue {
    pub(super) at: PortRef,
    pub(super) socket: SocketHandle,
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

/// All ports.
#[derive(Debug)]
pub(super) struct Ports {
    records: Vec<Record>,
    next: u32,
    bpffs: PathBuf,
    prepared: Vec<Prepared>,
}

/// A program that waits for the sockets of a port, while another process serves its interface.
#[derive(Debug)]
struct Prepared {
    ifindex: u32,
    queues: u32,
    program: Program,
}

impl Ports {
    pub(super) fn new(bpffs: PathBuf) -> Self {
        Self { records: Vec::new(), next: 1, bpffs, prepared: Vec::new() }
    }

    /// Takes out every port: its queues, which are open, and its program.
    pub(super) fn take_all(&mut self) -> Vec<(Program, Vec<Queue>)> {
        self.records.drain(..).map(|record| (record.program, record.queues)).collect()
    }

    fn take_prepared(&mut self, ifindex: u32, queues: u32) -> Option<Program> {
        let is_it = |one: &Prepared| (one.ifindex, one.queues) == (ifindex, queues);
        let place = self.prepared.iter().position(is_it)?;
        Some(self.prepared.swap_remove(place).program)
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
        let load = |worker: &usize| self.workers.get(*worker).map(|handle| handle.desk.load());
        let worker = (0..self.workers.len()).min_by_key(load).unwrap_or(0);
        let record = self.attach(interface, ifindex, PortKind::Pod, &[worker])?;
        record.queues.first().map(|queue| queue.at).ok_or(SwitchError::NoPort(record.port.0))
    }

    /// Opens the program of an interface that another process serves, for the port that it will
    /// have with `queues` queues: adding that is then the binding of its sockets and little else.
    /// What is not there yet, or of another version, is left to that.
    ///
    /// # Errors
    /// When the pin cannot be read.
    pub fn prepare_port(
        &mut self,
        interface: &str,
        ifindex: u32,
        queues: u32,
    ) -> Result<(), SwitchError> {
        let running = Program::running(interface, ifindex, queues, &self.ports.bpffs)?;
        let prepared = running.map(|program| Prepared { ifindex, queues, program });
        self.ports.prepared.extend(prepared);
        Ok(())
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
    /// When the port is not there or its worker does not answer. The port is gone all the same,
    /// what the worker has of it comes home when it answers, and the program is left dropping.
    pub fn remove_port(&mut self, port: PortId, detach: Detach) -> Result<(), SwitchError> {
        let found = self.ports.records.iter().position(|record| record.port == port);
        let record = self.ports.records.swap_remove(found.ok_or(SwitchError::NoPort(port.0))?);
        let home = self.take_back(port, record.queues);
        // Without its program an interface passes to the host what its socket does not take.
        finish(record.program, if home.is_ok() { detach } else { Detach::Leave })?;
        home
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
        let program = match self.ports.take_prepared(ifindex, queues) {
            Some(program) => program,
            None => Program::attach(interface, ifindex, queues, &self.ports.bpffs)?,
        };
        let port = PortId(self.ports.next);
        self.ports.next += 1;
        let mut record =
            Record { port, interface: interface.to_owned(), kind, program, queues: Vec::new() };
        for (queue, &worker) in (0_u32..).zip(workers) {
            match self.open(&mut record, queue, worker) {
                Ok(opened) => record.queues.push(opened),
                Err(error) => {
                    // A worker that does not answer keeps what it has until it does: the first
                    // error is the one that says what to mend.
                    let _late = self.take_back(port, record.queues);
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
        let handle = self.workers.get_mut(worker).ok_or_else(no_slot)?;
        handle.wait(|desk| desk.has_room().then_some(()))?;
        let slot = handle.desk.take_slot().ok_or_else(no_slot)?;
        let at = PortRef { port: record.port, worker: handle.id, slot };
        handle.hand_out(record, queue, at)
    }

    /// Takes a port's queues from their workers and closes their sockets.
    fn take_back(&mut self, port: PortId, queues: Vec<Queue>) -> Result<(), SwitchError> {
        for queue in queues {
            if let Some(handle) = self.workers.get_mut(queue.at.worker.index()) {
                handle.desk.take_back(queue.at, queue.socket);
            }
        }
        let mut result = Ok(());
        for handle in &mut self.workers {
            result = result.and(handle.wait(|desk| desk.is_home(port).then_some(())));
        }
        result
    }
}

impl Handle {
    /// Binds a queue, hands it to its worker, and only then lets the program find it.
    fn hand_out(
        &mut self,
        record: &mut Record,
        queue: u32,
        at: PortRef,
    ) -> Result<Queue, SwitchError> {
        let bound = XskPort::bind(&self.memory, &record.interface, queue, at.slot);
        let (port, socket) = bound.inspect_err(|_| self.desk.free_slot(at.slot))?;
        let counters = Arc::new(PortCounters::default());
        let attached = Attached {
            at,
            kind: record.kind,
            port,
            counters: Arc::clone(&counters),
            answers: Limiter::default(),
        };
        let show = |socket: &SocketHandle| record.program.set_socket(queue, socket);
        let handed_out = self.desk.hand_out(attached, socket, show);
        self.bell.ring();
        match handed_out {
            Ok(socket) => Ok(Queue { at, socket, counters }),
            Err(NotHandedOut::NotShown(error)) => Err(error.into()),
            Err(NotHandedOut::NoRoom) => {
                Err(SwitchError::Silent { worker: self.id.0, waited_ms: 0 })
            }
        }
    }
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
