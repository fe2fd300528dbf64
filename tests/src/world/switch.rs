//! A simulated node as the agent's switch: what the product's `Sync` and `Ports` ask of a dataplane
//! and of interfaces, asked of a [`World`].
//!
//! Before and after each step of the agent workers turn, as chance has it: any worker may have any
//! of the last snapshots, and packets are on their way meanwhile. The switch fails its test when
//! the agent breaks the order of its steps: a snapshot names only ports that there are, a port is
//! removed only when no worker can use a snapshot that names it, and nothing passes before the
//! first snapshot.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use lockgate_control::attach::{AttachError, HostPortPlan, InterfaceName, Link, Probed};
use lockgate_control::dataplane::Dataplane;
use lockgate_control::interfaces::Interfaces;
use lockgate_dataplane::clock::Tick;
use lockgate_dataplane::connection::left::Left;
use lockgate_dataplane::connection::{Adoption, Row};
use lockgate_dataplane::counters::{Counters, DropReason};
use lockgate_dataplane::endpoint::Endpoints;
use lockgate_dataplane::event::Sample;
use lockgate_dataplane::ids::{Epoch, Generation, Mac, PortId, PortRef, WorkerId};
use lockgate_dataplane::packet::TcpFlags;
use lockgate_dataplane::packet::answer::GATEWAY_MAC;
use lockgate_dataplane::policy::PolicyTable;
use lockgate_dataplane::port::XdpStatistics;
use lockgate_dataplane::runtime::{Adopted, HostPortRef, KeptError, PortView};
use lockgate_dataplane::worker::mailbox::PortKind;

use super::{Fate, HOST, World};
use crate::packets::{self, Ends};
use crate::worlds::Choices;

/// Runs what never waits.
///
/// # Panics
/// When it waits.
pub fn at_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits, and nothing here lets it wait"),
    }
}

/// The switch refuses.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the simulated switch has one host port")]
pub struct Refused;

/// A simulated node under an agent.
#[derive(Debug)]
pub struct Switch {
    world: World,
    chance: Choices,
    /// The ports that snapshots name which some worker may still use or take.
    named: BTreeMap<Generation, BTreeSet<PortId>>,
    unsynced: usize,
    adopted: Adopted,
    early: Option<(String, Vec<u8>)>,
}

impl Switch {
    /// Workers turn between the agent's steps as the seed has it.
    #[must_use]
    pub fn new(world: World, seed: u64) -> Self {
        Self {
            world,
            chance: Choices::from_seed(seed),
            named: BTreeMap::new(),
            unsynced: 0,
            adopted: Adopted::default(),
            early: None,
        }
    }

    /// The node.
    pub fn world(&mut self) -> &mut World {
        &mut self.world
    }

    /// How many packets were tried, and dropped, before there was a snapshot.
    #[must_use]
    pub fn unsynced(&self) -> usize {
        self.unsynced
    }

    /// A packet that comes in by a port when everything is ready for the next snapshot, just before it.
    pub fn before_next(&mut self, from: &str, frame: Vec<u8>) {
        self.early = Some((from.to_owned(), frame));
    }

    /// Some workers turn, or none.
    pub fn turn_some(&mut self) {
        for _ in 0..self.chance.below(3) {
            let worker = self.chance.below(usize::from(self.world.shape.workers));
            self.world.turn_one(worker as u8);
        }
    }

    /// Nothing passes by a port before anything is known (NP-58).
    fn try_unsynced(&mut self, name: &str) {
        for (from, to) in [(name, HOST), (HOST, name)] {
            let (source, target) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
            let (source_mac, target_mac) = (self.world.mac(from), GATEWAY_MAC);
            let ends = Ends { source_mac, target_mac, source, target };
            let frame = packets::tcp(ends, (1, 80), TcpFlags::SYN, &[]);
            let fate = self.world.fate(from, to, &frame);
            assert_eq!(fate, Fate::Dropped(DropReason::Unsynced), "{from} to {to}, nothing known");
            self.unsynced += 1;
        }
    }
}

impl Dataplane for Switch {
    type Error = Refused;

    fn prepare_port(&mut self, _: &Probed, _: u32) -> Result<(), Self::Error> {
        Ok(())
    }

    fn add_pod_port(&mut self, at: &Probed) -> Result<PortRef, Refused> {
        self.turn_some();
        let name = at.interface.as_str();
        assert!(self.world.port(name).is_none(), "a second port on {name}");
        let worker = usize::from(self.world.least_loaded());
        self.world.plug(name, PortKind::Pod, at.mac, &[worker]);
        if self.world.newest() == Generation(0) {
            self.try_unsynced(name);
        }
        self.turn_some();
        Ok(self.world.wire(name).ends[0].0)
    }

    fn add_host_port(&mut self, _: &Probed) -> Result<HostPortRef, Refused> {
        let wire = self.world.wires.get(HOST).ok_or(Refused)?;
        Ok(HostPortRef { port: wire.port, slots: wire.ends.iter().map(|one| one.0.slot).collect() })
    }

    fn remove_port(&mut self, port: PortId) -> Result<(), Refused> {
        self.turn_some();
        let in_force = self.world.in_force();
        for (generation, named) in self.named.range(in_force..) {
            let is_named = named.contains(&port);
            assert!(!is_named, "{port:?} is removed, and {generation:?} may be used and names it");
        }
        let mut wires = self.world.wires.iter();
        let (name, _) = wires.find(|(_, wire)| wire.port == port).expect("a port that is there");
        let name = name.clone();
        self.world.unplug(&name);
        self.turn_some();
        Ok(())
    }

    fn publish(&mut self, epoch: Epoch, policy: PolicyTable, endpoints: Endpoints) -> Generation {
        self.turn_some();
        if let Some((from, frame)) = self.early.take() {
            self.world.inject(&from, &frame).unwrap();
            self.world.settle();
        }
        let host = endpoints.host().map(|host| host.port);
        let named: BTreeSet<PortId> =
            endpoints.locals().map(|local| local.at.port).chain(host).collect();
        let there: BTreeSet<PortId> = self.world.wires.values().map(|wire| wire.port).collect();
        assert!(named.is_subset(&there), "a snapshot names {named:?}, there are {there:?}");
        let generation = self.world.publisher.publish(epoch, policy, endpoints);
        self.named.insert(generation, named);
        self.turn_some();
        generation
    }

    fn in_force(&mut self) -> Generation {
        self.turn_some();
        let in_force = self.world.in_force();
        self.named.retain(|generation, _| *generation >= in_force);
        in_force
    }

    fn is_alive(&self) -> bool {
        true
    }

    fn counters(&self) -> Vec<Arc<Counters>> {
        self.world.seats.iter().map(|seat| Arc::clone(&seat.counters)).collect()
    }

    /// None: nobody asks a simulated node for metrics.
    fn ports(&self) -> Vec<PortView> {
        Vec::new()
    }

    fn statistics(&self, _: PortId) -> Vec<XdpStatistics> {
        Vec::new()
    }

    fn connections(&mut self, _: usize) -> Result<Vec<Row>, Refused> {
        Ok(Vec::new())
    }

    fn now(&self) -> Tick {
        self.world.now()
    }

    fn samples(&mut self) -> Vec<Sample> {
        self.world.samples()
    }

    fn stamp(&self) -> u64 {
        self.world.stamp()
    }

    fn left(&mut self) -> Result<Vec<Left>, KeptError> {
        Ok(self.world.left())
    }

    fn adopt(&mut self, rows: Vec<(WorkerId, Adoption)>) -> Result<Adopted, Refused> {
        let Adopted { adopted, no_room, known, over } = self.world.adopt(&rows);
        self.adopted.adopted += adopted;
        self.adopted.no_room += no_room;
        self.adopted.known += known;
        self.adopted.over += over;
        Ok(self.adopted)
    }

    fn pick_up_for(&mut self, ms: u64) -> Result<(), Refused> {
        self.world.pick_up_for(ms);
        Ok(())
    }

    fn kept_trouble(&self) -> Option<&KeptError> {
        None
    }

    fn give(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }

    fn resume(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }

    fn stop(self) -> Result<(), Refused> {
        Ok(())
    }
}

/// The interfaces of a simulated node: veth pairs that come, go and are made anew.
#[derive(Debug, Default)]
pub struct Links {
    there: BTreeMap<String, Link>,
    made: u32,
}

impl Links {
    /// Makes an interface, anew if it is there.
    pub fn make(&mut self, name: &str) {
        self.made += 1;
        let link = Link {
            index: self.made,
            name: name.to_owned(),
            mac: Mac([2, 0, 0, 0, 0, 9]),
            mtu: 1500,
            is_veth: true,
            is_up: false,
            alias: None,
            program: None,
            peer_index: None,
            peer_netns: None,
        };
        self.there.insert(name.to_owned(), link);
    }

    /// Takes one away, to be put back as it was.
    ///
    /// # Panics
    /// When there is none.
    pub fn take(&mut self, name: &str) -> Link {
        self.there.remove(name).unwrap_or_else(|| panic!("no interface {name}"))
    }

    /// Puts one there, as it is.
    pub fn put(&mut self, link: Link) {
        self.there.insert(link.name.clone(), link);
    }

    /// Whether there is one of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.there.contains_key(name)
    }

    /// All their names.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.there.keys().cloned().collect()
    }
}

impl Interfaces for Links {
    async fn links(&self) -> Result<BTreeMap<String, Link>, AttachError> {
        Ok(self.there.clone())
    }

    fn is_served(&self, _: &InterfaceName, _: &Link) -> bool {
        false
    }

    async fn close(&self, _: &InterfaceName, _: &Link) -> Result<(), AttachError> {
        Ok(())
    }

    async fn check(
        &self,
        interface: &InterfaceName,
        link: &Link,
        _: u32,
        mac: Option<Mac>,
    ) -> Result<Probed, AttachError> {
        let [.., high, low] = link.index.to_be_bytes();
        let mac = mac.unwrap_or(Mac([2, 0, 0, 1, high, low]));
        Ok(Probed { interface: interface.clone(), ifindex: link.index, mac, mtu: link.mtu as u16 })
    }

    async fn set_up(&self, _: &Link, _: bool) -> Result<(), AttachError> {
        Ok(())
    }

    async fn host_port(&mut self, plan: &HostPortPlan, _: u8) -> Result<Probed, AttachError> {
        Err(AttachError::Missing(plan.interface.clone()))
    }

    fn sweep(&self) -> Result<(), AttachError> {
        Ok(())
    }
}
