//! Who has an address, where it is reached and what judges it. Hot path.
//!
//! One longest match answers all of what a packet's other end must be known for: its class, and
//! for a pod on this node its port and policy sets. The sender is known from its port, and its
//! few addresses are compared one by one: that is the spoof check, and gives its class.
//!
//! Invariants
//! - An address of a pod is never [`Kind::Node`], whatever the node's addresses are said to be:
//!   own-node traffic is exempt from policy (NP-40), a pod's is not. Nor is it ever
//!   [`Kind::Service`], and neither is one of the node: a Service takes nobody's address away.
//! - Policy sets are those of pods on this node only. A pod elsewhere is judged there, and here
//!   it is an outside address with the class of that pod.
//! - A stale [`PortRef`] finds nothing: the slot's port must be the one that was meant.

mod exact;
mod front;
mod kept;
mod lpm;
mod spans;
mod trie;

use std::mem::size_of;
use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::HashMap;
use ipnet::IpNet;

use crate::ids::{EndpointId, Mac, PortId, PortRef, PortSlot, WorkerId};
use crate::limits::PORTS_MAX;
use crate::packet::Address;
use crate::policy::ruleset::{PodIndex, Ruleset};
use crate::policy::{Audit, ClassId, Compiled, Sets};
use crate::seat::Seat;
use crate::service::{Extent, KeptServices, Services};
use lpm::Lpm;

pub use kept::KeptEndpoints;

/// A pod's port on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The pod.
    pub endpoint: EndpointId,
    /// Where its packets come from and go to.
    pub at: PortRef,
    /// The pod's own MAC.
    pub mac: Mac,
    /// Bytes of the longest IP packet that the pod takes.
    pub mtu: u16,
}

/// The port to the node's own stack (house D10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// The port.
    pub port: PortId,
    /// Its slot with each worker, by [`WorkerId`].
    pub slots: Vec<PortSlot>,
    /// MAC of the far end.
    pub mac: Mac,
    /// Bytes of the longest IP packet that it takes.
    pub mtu: u16,
}

/// What is attached to this switch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    /// Pods on this node, each at most once.
    pub attachments: Vec<Attachment>,
    /// The host port, if there is one.
    pub host: Option<HostPort>,
    /// Addresses of this node.
    pub node_addresses: Vec<IpAddr>,
    /// Whether policy judges what comes from them.
    pub own_node: OwnNode,
}

/// What becomes of what this node sends to its own pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OwnNode {
    /// It always comes in (NP-40).
    #[default]
    Exempt,
    /// It is judged as what comes from anywhere else (CNP-14).
    Judged,
}

/// A place in the list of local pods. Means something in its snapshot only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LocalIndex(u32);

/// Whose an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A pod on this node.
    Local(LocalIndex),
    /// Everyone else, pods of other nodes too: through the host port.
    Outside,
    /// This node: through the host port.
    Node(OwnNode),
    /// A Service: whoever of its backends is chosen.
    Service(Extent),
}

/// All that is known of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// What policies see of it.
    pub class: ClassId,
    /// Whose it is.
    pub kind: Kind,
    /// What judges it: [`Sets::NONE`] but for local pods.
    pub sets: Sets,
}

const NOWHERE: Place = Place { class: ClassId::NOTHING, kind: Kind::Outside, sets: Sets::NONE };

/// A pod on this node.
#[derive(Clone, Debug)]
pub struct Local {
    /// The pod.
    pub endpoint: EndpointId,
    /// Its port.
    pub at: PortRef,
    /// Its own MAC.
    pub mac: Mac,
    /// Bytes of the longest IP packet that it takes.
    pub mtu: u16,
    /// What judges it.
    pub sets: Sets,
    /// What its packets are asked beside that.
    pub audit: Audit,
    addresses: Arc<[(Address, ClassId)]>,
}

impl Local {
    /// Its addresses.
    pub fn addresses(&self) -> impl Iterator<Item = Address> + '_ {
        self.addresses.iter().map(|own| own.0)
    }
}

/// Every address of one snapshot. Immutable, and cheap to clone.
#[derive(Clone, Debug)]
pub struct Endpoints {
    /// Places without a pod hold [`nobody`].
    locals: Arc<[Local]>,
    /// Stands in for a pod that there is not, so that [`Endpoints::local`] cannot panic.
    nobody: Local,
    /// By worker and slot: a place in `locals`, or [`NOBODY`].
    senders: Arc<[u32]>,
    host: Option<HostPort>,
    lpm: Lpm,
    /// What the values of `lpm` stand for; 0 is [`NOWHERE`].
    places: Arc<[Place]>,
    services: Services,
}

const NOBODY: u32 = u32::MAX;

impl Endpoints {
    /// The pod whose port that is; `None` for the host port and for a port that is gone.
    #[inline]
    #[must_use]
    pub fn sender(&self, at: PortRef) -> Option<&Local> {
        let local = self.locals.get(*self.senders.get(Seat::of(at).index())? as usize)?;
        (local.at == at).then_some(local)
    }

    /// The pod whose port is in a seat; the node where it is the host port.
    #[inline]
    #[must_use]
    pub fn occupant(&self, seat: Seat) -> Option<EndpointId> {
        let place = self.senders.get(seat.index());
        let local = place.and_then(|place| self.locals.get(*place as usize));
        match local {
            Some(local) => Some(local.endpoint),
            None => self.is_host_seat(seat).then_some(EndpointId::NODE),
        }
    }

    /// The spoof check and the class in one: the class of the pod's own address, `None` where
    /// the address is not its own.
    #[inline]
    #[must_use]
    pub fn class_of_own(&self, local: &Local, address: Address) -> Option<ClassId> {
        local.addresses.iter().find(|own| own.0 == address).map(|own| own.1)
    }

    /// Whose an address is.
    #[inline]
    #[must_use]
    pub fn place(&self, address: Address) -> Place {
        self.places.get(self.lpm.find(address) as usize).copied().unwrap_or(NOWHERE)
    }

    /// The local pod of a [`Place`] of the same snapshot. For one of another snapshot it may be
    /// another pod, or one without addresses whose port is never found.
    #[inline]
    #[must_use]
    pub fn local(&self, index: LocalIndex) -> &Local {
        self.locals.get(index.0 as usize).unwrap_or(&self.nobody)
    }

    /// What packets of a pod on this node are asked beside what decides; `None` where it is not the
    /// pod's address.
    #[must_use]
    pub fn audit(&self, endpoint: EndpointId, address: Address) -> Option<Audit> {
        let Kind::Local(index) = self.place(address).kind else { return None };
        let local = self.local(index);
        (local.endpoint == endpoint).then_some(local.audit)
    }

    /// Every local pod.
    pub fn locals(&self) -> impl Iterator<Item = &Local> {
        self.locals.iter().filter(|local| !local.addresses.is_empty())
    }

    /// Who serves at the addresses that are [`Kind::Service`].
    #[inline]
    #[must_use]
    pub fn services(&self) -> &Services {
        &self.services
    }

    /// The host port.
    #[inline]
    #[must_use]
    pub fn host(&self) -> Option<&HostPort> {
        self.host.as_ref()
    }

    /// Whether the port is the host port.
    #[inline]
    #[must_use]
    pub fn is_host(&self, port: PortId) -> bool {
        self.host.as_ref().is_some_and(|host| host.port == port)
    }

    /// Builds what a snapshot needs. Cold.
    ///
    /// An attachment of an endpoint that the ruleset does not have, or has without an address,
    /// is left out: its packets find no sender.
    #[must_use]
    pub fn build(ruleset: &Ruleset, compiled: &Compiled, topology: &Topology) -> Self {
        Self::build_with(ruleset, compiled, topology, &KeptServices::default())
    }

    /// The same, where there are services. Cold.
    #[must_use]
    pub fn build_with(
        ruleset: &Ruleset,
        compiled: &Compiled,
        topology: &Topology,
        services: &KeptServices,
    ) -> Self {
        let mut builder = Builder::default();
        builder.add_locals(ruleset, compiled, topology);
        builder.add_prefixes(compiled, topology, services);
        let seats =
            builder.locals.iter().map(|local| Seat::of(local.at).index() + 1).max().unwrap_or(0);
        let mut senders = vec![NOBODY; seats];
        for (local, at) in builder.locals.iter().zip(0..) {
            senders[Seat::of(local.at).index()] = at;
        }
        Self {
            senders: senders.into(),
            nobody: nobody(),
            host: topology.host.clone(),
            lpm: Lpm::build(&builder.prefixes),
            locals: builder.locals.into(),
            places: builder.places.into(),
            services: services.now().clone(),
        }
    }

    /// Bytes of memory, allocator overhead not counted.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let own = |local: &Local| size_of::<Local>() + size_of_val(&*local.addresses);
        self.locals.iter().map(own).sum::<usize>()
            + self.senders.len() * size_of::<u32>()
            + size_of_val(&*self.places)
            + self.lpm.memory_bytes()
    }
}

/// No port and no pod has these ids before 2^32 have been made.
fn nobody() -> Local {
    let worker = WorkerId(u8::MAX);
    Local {
        endpoint: EndpointId::NODE,
        at: PortRef { port: PortId(u32::MAX), worker, slot: PortSlot(u16::MAX) },
        mac: Mac::default(),
        mtu: 0,
        sets: Sets::NONE,
        audit: Audit::default(),
        addresses: Arc::default(),
    }
}

struct Builder {
    locals: Vec<Local>,
    /// By pod that is local.
    by_pod: HashMap<PodIndex, LocalIndex>,
    prefixes: Vec<(IpNet, u32)>,
    places: Vec<Place>,
    numbers: HashMap<Place, u32>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            locals: Vec::new(),
            by_pod: HashMap::new(),
            prefixes: Vec::new(),
            places: vec![NOWHERE],
            numbers: HashMap::new(),
        }
    }
}

impl Builder {
    fn add_locals(&mut self, ruleset: &Ruleset, compiled: &Compiled, topology: &Topology) {
        let pods = ruleset.pods.iter().zip((0..).map(PodIndex));
        let by_endpoint: HashMap<EndpointId, PodIndex> =
            pods.map(|(pod, index)| (pod.endpoint, index)).collect();
        for attachment in &topology.attachments {
            let Some(&pod) = by_endpoint.get(&attachment.endpoint) else { continue };
            let hosts = compiled.classes.of_pod(pod).iter();
            let addresses: Arc<_> = hosts.map(|host| (host.address.into(), host.class)).collect();
            if addresses.is_empty() || attachment.at.slot.index() >= PORTS_MAX {
                continue;
            }
            let &Attachment { endpoint, at, mac, mtu } = attachment;
            let (sets, audit) = (compiled.sets[pod.0 as usize], compiled.audits[pod.0 as usize]);
            let index = u32::try_from(self.locals.len()).unwrap_or(NOBODY);
            self.by_pod.insert(pod, LocalIndex(index));
            self.locals.push(Local { endpoint, at, mac, mtu, sets, audit, addresses });
        }
    }

    /// Later ones count where prefixes are equal: services' addresses over blocks, the node's over
    /// both, and those of pods over all.
    fn add_prefixes(&mut self, compiled: &Compiled, topology: &Topology, services: &KeptServices) {
        for (net, class) in compiled.classes.prefixes() {
            self.add(net, Place { class, ..NOWHERE });
        }
        for (address, extent) in services.places() {
            let class = compiled.classes.of(address);
            self.add(address.into(), Place { class, kind: Kind::Service(extent), ..NOWHERE });
        }
        for &address in &topology.node_addresses {
            let class = compiled.classes.of(address);
            self.add(
                address.into(),
                Place { class, kind: Kind::Node(topology.own_node), ..NOWHERE },
            );
        }
        for host in compiled.classes.hosts() {
            let place = Place { class: host.class, ..NOWHERE };
            self.add(
                host.address.into(),
                match self.by_pod.get(&host.pod) {
                    None => place,
                    Some(&local) => Place {
                        kind: Kind::Local(local),
                        sets: compiled.sets[host.pod.0 as usize],
                        ..place
                    },
                },
            );
        }
    }

    fn add(&mut self, net: IpNet, place: Place) {
        let Self { places, numbers, .. } = self;
        let number = *numbers.entry(place).or_insert_with(|| {
            places.push(place);
            // Fewer than 2^31: each is a pod or a class.
            u32::try_from(places.len() - 1).unwrap_or(0)
        });
        self.prefixes.push((net, number));
    }
}

#[cfg(test)]
#[path = "endpoint/tests.rs"]
mod tests;
