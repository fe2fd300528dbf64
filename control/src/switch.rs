//! The real switch behind the agent's narrow trait.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use lockgate_dataplane::clock::Tick;
use lockgate_dataplane::connection::left::Left;
use lockgate_dataplane::connection::{self, Adoption, Bounds, Row};
use lockgate_dataplane::counters::Counters;
use lockgate_dataplane::endpoint::Endpoints;
use lockgate_dataplane::event::Sample;
use lockgate_dataplane::ids::{Epoch, Generation, PortId, PortRef, WorkerId};
use lockgate_dataplane::policy::PolicyTable;
use lockgate_dataplane::port::XdpStatistics;
use lockgate_dataplane::runtime::{
    Adopted, Detach, HostPortRef, KeptError, PortView, Switch, SwitchConfig, SwitchError,
    WorkerConfig,
};

use crate::attach::{InterfaceName, Probed};
use crate::dataplane::Dataplane;
use crate::settings::{Settings, Timeouts};

/// Makes the switch that the settings describe, on the anchors of its workers.
///
/// # Errors
/// What the switch refuses, or the system's random numbers.
pub fn start(settings: &Settings, anchors: &[InterfaceName]) -> Result<Switch, SwitchError> {
    let what = "reading random numbers for the connection table from /dev/urandom";
    let seed = random().map_err(|source| SwitchError::System { what, source })?;
    let workers = settings.cores.iter().zip(anchors).map(|(&core, anchor)| WorkerConfig {
        core: Some(core),
        anchor: anchor.as_str().to_owned(),
    });
    Switch::start(&SwitchConfig {
        workers: workers.collect(),
        frames_per_worker: settings.frames_per_worker,
        connections: connection::Settings {
            capacity: usize::try_from(settings.capacity).unwrap_or(usize::MAX),
            bounds: Bounds { per_pod: settings.per_pod, ..Bounds::of(settings.capacity) },
            seed,
            timeouts: timeouts(&settings.timeouts),
        },
        bpffs: settings.bpffs.clone(),
        polling: settings.polling,
        established: settings.established,
        denial: settings.denied,
        keep: settings.restart.keep.clone(),
    })
}

/// 128 bits that nobody can guess: whoever knows them can build collisions.
fn random() -> io::Result<[u64; 2]> {
    let mut halves = [[0; 8]; 2];
    let mut source = File::open("/dev/urandom")?;
    for half in &mut halves {
        source.read_exact(half)?;
    }
    Ok(halves.map(u64::from_ne_bytes))
}

fn timeouts(seconds: &Timeouts) -> connection::Timeouts {
    let ms = |seconds: u32| u64::from(seconds) * 1000;
    connection::Timeouts {
        tcp_syn_ms: ms(seconds.tcp_syn),
        tcp_established_ms: ms(seconds.tcp_established),
        tcp_fin_ms: ms(seconds.tcp_fin),
        tcp_time_wait_ms: ms(seconds.tcp_time_wait),
        tcp_close_ms: ms(seconds.tcp_close),
        udp_unreplied_ms: ms(seconds.udp_unreplied),
        udp_stream_ms: ms(seconds.udp_stream),
        icmp_ms: ms(seconds.icmp),
        sctp_opening_ms: ms(seconds.sctp_opening),
        sctp_established_ms: ms(seconds.sctp_established),
        sctp_closed_ms: ms(seconds.sctp_closed),
        other_ms: ms(seconds.other),
        fragments_ms: ms(seconds.fragments),
    }
}

impl Dataplane for Switch {
    type Error = SwitchError;

    fn prepare_port(&mut self, at: &Probed, queues: u32) -> Result<(), SwitchError> {
        Self::prepare_port(self, at.interface.as_str(), at.ifindex, queues)
    }

    fn add_pod_port(&mut self, at: &Probed) -> Result<PortRef, SwitchError> {
        Self::add_pod_port(self, at.interface.as_str(), at.ifindex)
    }

    fn add_host_port(&mut self, at: &Probed) -> Result<HostPortRef, SwitchError> {
        Self::add_host_port(self, at.interface.as_str(), at.ifindex)
    }

    fn remove_port(&mut self, port: PortId) -> Result<(), SwitchError> {
        Self::remove_port(self, port, Detach::Leave)
    }

    fn publish(&mut self, epoch: Epoch, policy: PolicyTable, endpoints: Endpoints) -> Generation {
        Self::publish(self, epoch, policy, endpoints)
    }

    fn in_force(&mut self) -> Generation {
        Self::in_force(self)
    }

    fn is_alive(&self) -> bool {
        Self::is_alive(self)
    }

    fn counters(&self) -> Vec<Arc<Counters>> {
        Self::counters(self)
    }

    fn ports(&self) -> Vec<PortView> {
        Self::ports(self)
    }

    fn statistics(&self, port: PortId) -> Vec<XdpStatistics> {
        Self::statistics(self, port).unwrap_or_default()
    }

    fn connections(&mut self, limit: usize) -> Result<Vec<Row>, SwitchError> {
        Self::connections(self, limit)
    }

    fn now(&self) -> Tick {
        Self::now(self)
    }

    fn samples(&mut self) -> Vec<Sample> {
        Self::samples(self)
    }

    fn stamp(&self) -> u64 {
        Self::stamp(self)
    }

    fn left(&mut self) -> Result<Vec<Left>, KeptError> {
        Self::left(self)
    }

    fn adopt(&mut self, rows: Vec<(WorkerId, Adoption)>) -> Result<Adopted, SwitchError> {
        Self::adopt(self, &rows)
    }

    fn pick_up_for(&mut self, ms: u64) -> Result<(), SwitchError> {
        Self::pick_up_for(self, ms)
    }

    fn kept_trouble(&self) -> Option<&KeptError> {
        Self::kept_trouble(self)
    }

    fn give(&mut self) -> Result<(), SwitchError> {
        Self::give(self)
    }

    fn resume(&mut self) -> Result<(), SwitchError> {
        Self::resume(self)
    }

    fn stop(self) -> Result<(), SwitchError> {
        Self::stop(self, Detach::Leave)
    }
}
