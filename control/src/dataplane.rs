//! The switch as the agent sees it: a narrow trait, so that `sync` is tested without packets.

use std::sync::Arc;

use lockgate_dataplane::clock::Tick;
use lockgate_dataplane::connection::left::Left;
use lockgate_dataplane::connection::{Adoption, Row};
use lockgate_dataplane::counters::Counters;
use lockgate_dataplane::endpoint::Endpoints;
use lockgate_dataplane::event::Sample;
use lockgate_dataplane::ids::{Epoch, Generation, PortId, PortRef, WorkerId};
use lockgate_dataplane::policy::PolicyTable;
use lockgate_dataplane::port::XdpStatistics;
use lockgate_dataplane::runtime::{Adopted, HostPortRef, KeptError, PortView};

use crate::attach::Probed;

/// What the agent asks of a switch.
pub trait Dataplane {
    /// Why something did not work; the message names what to do.
    type Error: std::error::Error + 'static;

    /// Does what can be done of adding a port with `queues` queues while another process serves its
    /// interface.
    ///
    /// # Errors
    /// Where the interface's pin cannot be read.
    fn prepare_port(&mut self, at: &Probed, queues: u32) -> Result<(), Self::Error>;

    /// Gives a pod's interface a port.
    ///
    /// # Errors
    /// Where it cannot have one.
    fn add_pod_port(&mut self, at: &Probed) -> Result<PortRef, Self::Error>;

    /// Gives the host port a socket with every worker.
    ///
    /// # Errors
    /// Where it cannot have them.
    fn add_host_port(&mut self, at: &Probed) -> Result<HostPortRef, Self::Error>;

    /// Removes a port that no snapshot in force uses. Its program stays and drops.
    ///
    /// # Errors
    /// Where its sockets cannot be closed.
    fn remove_port(&mut self, port: PortId) -> Result<(), Self::Error>;

    /// Publishes.
    fn publish(&mut self, epoch: Epoch, policy: PolicyTable, endpoints: Endpoints) -> Generation;

    /// The newest snapshot that every worker uses; 0 before the first.
    fn in_force(&mut self) -> Generation;

    /// Whether every worker runs.
    fn is_alive(&self) -> bool;

    /// The workers' cells, by worker.
    fn counters(&self) -> Vec<Arc<Counters>>;

    /// The ports.
    fn ports(&self) -> Vec<PortView>;

    /// What the kernel counted for each socket of a port; empty where it does not tell.
    fn statistics(&self, port: PortId) -> Vec<XdpStatistics>;

    /// At most `limit` connections.
    ///
    /// # Errors
    /// Where a worker does not answer in time.
    fn connections(&mut self, limit: usize) -> Result<Vec<Row>, Self::Error>;

    /// Now, as samples and connections count time.
    fn now(&self) -> Tick;

    /// The samples of packets since the last call.
    fn samples(&mut self) -> Vec<Sample>;

    /// Which start of the switch this is: later ones have greater numbers.
    fn stamp(&self) -> u64;

    /// What predecessors left, the newest first: asked once their workers have stopped.
    ///
    /// # Errors
    /// Where it cannot be read.
    fn left(&mut self) -> Result<Vec<Left>, KeptError>;

    /// Gives workers connections of a predecessor, and waits until they have them; says what became
    /// of all that they were ever given.
    ///
    /// # Errors
    /// Where a worker does not answer in time.
    fn adopt(&mut self, rows: Vec<(WorkerId, Adoption)>) -> Result<Adopted, Self::Error>;

    /// From now on, and for so many milliseconds, has workers pick up TCP of which nothing is known.
    ///
    /// # Errors
    /// Where a worker does not take its mail.
    fn pick_up_for(&mut self, ms: u64) -> Result<(), Self::Error>;

    /// Why connections do not outlive the process, where they should.
    fn kept_trouble(&self) -> Option<&KeptError>;

    /// Gives all ports away, for another process to take: workers rest, every program drops.
    ///
    /// # Errors
    /// Where a worker does not answer.
    fn give(&mut self) -> Result<(), Self::Error>;

    /// Lets workers that rest go on, without ports.
    ///
    /// # Errors
    /// Where they cannot be started.
    fn resume(&mut self) -> Result<(), Self::Error>;

    /// Stops the workers and closes all sockets. All programs stay and drop.
    ///
    /// # Errors
    /// Where the switch does not stop cleanly.
    fn stop(self) -> Result<(), Self::Error>;
}
