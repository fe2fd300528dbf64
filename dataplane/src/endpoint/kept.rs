//! The endpoints of the newest snapshot, kept: what a change touches is changed, the rest shared.
//!
//! What an address is follows from four things, looked up in this order: the pod that has it,
//! whether it is the node's, whether it is a Service's, the block it lies in. So a change is a list
//! of addresses to be looked at again, whatever it was that changed.

use std::collections::{BTreeSet, HashSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use hashbrown::HashMap;
use ipnet::IpNet;

use super::{
    Attachment, Endpoints, Kind, Local, LocalIndex, Lpm, NOBODY, NOWHERE, PORTS_MAX, Place,
    Topology, nobody,
};
use crate::ids::EndpointId;
use crate::policy::ruleset::PodIndex;
use crate::policy::{Kept, Resident, Update};
use crate::seat::Seat;
use crate::service::{Delta, FrontKey, KeptServices, Services};

/// IPv4 blocks of at least so many bits are taken in address by address.
const FEW_BITS: u8 = 24;

/// What is to be found anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Repaint {
    /// The addresses that a change is about.
    Addresses,
    /// And what IPv6 blocks say.
    Spans,
    /// Every address.
    All,
}

/// Places that nothing needs any more, beyond as many as are used, before all are made anew.
const UNUSED_MAX: usize = 1 << 12;

/// What endpoints are made from, and the newest of them.
#[derive(Debug)]
pub struct KeptEndpoints {
    now: Endpoints,
    topology: Topology,
    /// The attachment of each pod on this node, whether or not the pod is known.
    attached: HashMap<EndpointId, Attachment>,
    pods: HashMap<EndpointId, PodIndex>,
    owners: HashMap<IpAddr, PodIndex>,
    locals: HashMap<EndpointId, u32>,
    node: BTreeSet<IpAddr>,
    /// Blocks of one address.
    blocks: HashSet<IpAddr>,
    numbers: HashMap<Place, u32>,
    /// Those not yet in a snapshot too.
    places: Vec<Place>,
    /// Places just after all were made.
    size: usize,
    services: KeptServices,
    /// Addresses that began or ended to be a Service's since the last snapshot.
    served: Vec<IpAddr>,
}

impl Default for KeptEndpoints {
    fn default() -> Self {
        Self {
            now: Endpoints {
                locals: Arc::new([]),
                nobody: nobody(),
                senders: Arc::new([]),
                host: None,
                lpm: Lpm::build(&[]),
                places: Arc::new([NOWHERE]),
                services: Services::default(),
            },
            topology: Topology::default(),
            attached: HashMap::new(),
            pods: HashMap::new(),
            owners: HashMap::new(),
            locals: HashMap::new(),
            node: BTreeSet::new(),
            blocks: HashSet::new(),
            numbers: HashMap::new(),
            places: vec![NOWHERE],
            size: 0,
            services: KeptServices::default(),
            served: Vec::new(),
        }
    }
}

impl KeptEndpoints {
    /// Takes in what changed of services: it shows with the next of [`KeptEndpoints::apply`].
    pub fn serve(&mut self, delta: Delta) {
        self.served.extend(self.services.apply(delta));
    }

    /// Takes in where a predecessor's clients ask, see [`KeptServices::inherit`]: at a node with these
    /// addresses, which leads its ports to fronts of their own.
    pub fn inherit(&mut self, asked: Vec<FrontKey>, node: &[IpAddr]) {
        let is_node = |front: &FrontKey| node.contains(&front.address.into());
        let at = |front: FrontKey| if is_node(&front) { front.at_node() } else { front };
        self.served.extend(self.services.inherit(asked.into_iter().map(at)));
    }

    /// Takes in what changed of the rules and of places.
    pub fn apply(&mut self, kept: &Kept, update: &Update, topology: &Topology) -> Endpoints {
        let is_old = self.places.len() > self.size * 2 + UNUSED_MAX;
        if update.rebuilt.is_some() || is_old {
            self.build(kept, topology);
        } else {
            self.change(kept, update, topology);
        }
        if self.now.places.len() != self.places.len() {
            self.now.places = self.places.as_slice().into();
        }
        self.served.clear();
        if self.now.services.version() != self.services.now().version() {
            self.now.services = self.services.now().clone();
        }
        self.now.clone()
    }

    fn change(&mut self, kept: &Kept, update: &Update, topology: &Topology) {
        let pods = &update.pods;
        let mut addresses: HashSet<IpAddr> = HashSet::new();
        let repaint = self.take_blocks(&update.cut, &mut addresses);
        let mut endpoints: BTreeSet<EndpointId> = BTreeSet::new();
        for (pod, was) in pods {
            for (address, _) in &was.hosts {
                addresses.insert(*address);
                if self.owners.get(address) == Some(pod) {
                    self.owners.remove(address);
                }
            }
            if let Some(endpoint) = was.endpoint {
                endpoints.insert(endpoint);
                if self.pods.get(&endpoint) == Some(pod) {
                    self.pods.remove(&endpoint);
                }
            }
        }
        for (pod, _) in pods {
            let is = kept.resident(*pod);
            self.know(*pod, is);
            addresses.extend(is.hosts.iter().map(|host| host.0));
            endpoints.extend(is.endpoint);
        }
        self.take_topology(topology, &mut addresses, &mut endpoints);
        addresses.extend(&self.served);
        for endpoint in &endpoints {
            self.take_local(*endpoint);
        }
        for endpoint in endpoints {
            addresses.extend(self.put_local(kept, endpoint));
        }
        match repaint {
            Repaint::All => return self.paint(kept),
            Repaint::Spans => {
                let spans: Vec<(IpNet, u32)> = self.blocks_of(kept).collect();
                self.now.lpm.set_spans(&spans);
            }
            Repaint::Addresses => {}
        }
        for address in addresses {
            let place = self.place(kept, address);
            // What its block says of an IPv6 address needs no entry of its own, unless the
            // block is that one address.
            let is_plain = address.is_ipv6() && place == of_block(kept, address);
            let is_plain = is_plain && !self.blocks.contains(&address);
            let number = if is_plain { 0 } else { self.number(place) };
            self.now.lpm.set(address.into(), number);
        }
    }

    fn build(&mut self, kept: &Kept, topology: &Topology) {
        let services = std::mem::take(&mut self.services);
        *self = Self { services, ..Self::default() };
        for (pod, resident) in kept.pods() {
            self.know(pod, resident);
        }
        let mut endpoints = BTreeSet::new();
        self.take_topology(topology, &mut HashSet::new(), &mut endpoints);
        for endpoint in endpoints {
            self.put_local(kept, endpoint);
        }
        self.paint(kept);
        self.size = self.places.len();
    }

    /// Finds the place of every address anew.
    fn paint(&mut self, kept: &Kept) {
        let mut prefixes: Vec<(IpNet, u32)> = self.blocks_of(kept).collect();
        self.blocks = prefixes.iter().filter_map(|(net, _)| only(*net)).collect();
        let own = self.node.iter().chain(self.owners.keys()).copied();
        let own: Vec<IpAddr> = own.chain(self.services.places().map(|one| one.0)).collect();
        for address in own {
            let place = self.place(kept, address);
            if place != of_block(kept, address) {
                prefixes.push((address.into(), self.number(place)));
            }
        }
        self.now.lpm = Lpm::build(&prefixes);
    }

    /// Blocks with the places of what is in them and nobody's.
    fn blocks_of(&mut self, kept: &Kept) -> impl Iterator<Item = (IpNet, u32)> {
        let place = |class| Place { class, ..NOWHERE };
        kept.prefixes().map(move |(net, class)| (net, self.number(place(class))))
    }

    /// Takes in blocks that tell addresses apart now: the addresses, where they are few.
    fn take_blocks(&mut self, cut: &[IpNet], addresses: &mut HashSet<IpAddr>) -> Repaint {
        let mut repaint = Repaint::Addresses;
        for net in cut {
            self.blocks.extend(only(*net));
            match net {
                IpNet::V4(net) if net.prefix_len() >= FEW_BITS => {
                    let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
                    let all = (first..=last).map(Ipv4Addr::from_bits);
                    addresses.extend(all.map(IpAddr::V4));
                }
                IpNet::V4(_) => repaint = Repaint::All,
                IpNet::V6(net) => {
                    addresses.extend(only((*net).into()));
                    let is_in = |address: &&IpAddr| IpNet::V6(*net).contains(*address);
                    addresses.extend(self.node.iter().filter(is_in));
                    addresses.extend(self.services.places_in((*net).into()));
                    repaint = repaint.max(Repaint::Spans);
                }
            }
        }
        repaint
    }

    fn know(&mut self, pod: PodIndex, resident: &Resident) {
        self.owners.extend(resident.hosts.iter().map(|host| (host.0, pod)));
        self.pods.extend(resident.endpoint.map(|endpoint| (endpoint, pod)));
    }

    /// Notes what differs in the topology, and whom that concerns.
    fn take_topology(
        &mut self,
        topology: &Topology,
        addresses: &mut HashSet<IpAddr>,
        endpoints: &mut BTreeSet<EndpointId>,
    ) {
        if *topology == self.topology {
            return;
        }
        let attached: HashMap<EndpointId, Attachment> =
            topology.attachments.iter().map(|one| (one.endpoint, *one)).collect();
        let differ = |one: &HashMap<EndpointId, Attachment>, other: &HashMap<_, _>| {
            let differing = one.iter().filter(|(id, at)| other.get(*id) != Some(*at));
            differing.map(|(id, _)| *id).collect::<Vec<_>>()
        };
        endpoints.extend(differ(&self.attached, &attached));
        endpoints.extend(differ(&attached, &self.attached));
        self.attached = attached;
        let node: BTreeSet<IpAddr> = topology.node_addresses.iter().copied().collect();
        addresses.extend(self.node.symmetric_difference(&node));
        if topology.own_node != self.topology.own_node {
            addresses.extend(&node);
        }
        self.node = node;
        self.now.host.clone_from(&topology.host);
        self.topology.clone_from(topology);
    }

    /// Takes a local pod away. Its seat finds nothing any more: who sits there has another port.
    fn take_local(&mut self, endpoint: EndpointId) {
        if let Some(at) = self.locals.remove(&endpoint) {
            Arc::make_mut(&mut self.now.locals)[at as usize] = nobody();
        }
    }

    /// Puts a pod in its place on this node, if it is there and attached; gives its addresses.
    fn put_local(&mut self, kept: &Kept, endpoint: EndpointId) -> Vec<IpAddr> {
        let Some(&pod) = self.pods.get(&endpoint) else { return Vec::new() };
        let resident = kept.resident(pod);
        let own = resident.hosts.iter().map(|host| host.0).collect();
        let Some(&Attachment { at, mac, mtu, .. }) = self.attached.get(&endpoint) else {
            return own;
        };
        if at.slot.index() >= PORTS_MAX {
            return own;
        }
        let addresses = resident.hosts.iter().map(|(address, class)| ((*address).into(), *class));
        let (sets, audit) = (resident.sets, resident.audit);
        let addresses = addresses.collect();
        let local = Local { endpoint, at, mac, mtu, sets, audit, addresses };
        let free = self.now.locals.iter().position(|one| one.addresses.is_empty());
        let index = free.unwrap_or(self.now.locals.len());
        if free.is_none() {
            let more = index / 2 + 4;
            let grown = self.now.locals.iter().cloned();
            self.now.locals = grown.chain(std::iter::repeat_n(nobody(), more)).collect();
        }
        Arc::make_mut(&mut self.now.locals)[index] = local;
        let index = u32::try_from(index).unwrap_or(NOBODY);
        self.locals.insert(endpoint, index);
        let place = Seat::of(at).index();
        if self.now.senders.len() <= place {
            let more = place + 1 - self.now.senders.len();
            let grown = self.now.senders.iter().copied();
            self.now.senders = grown.chain(std::iter::repeat_n(NOBODY, more)).collect();
        }
        Arc::make_mut(&mut self.now.senders)[place] = index;
        own
    }

    /// What an address is.
    fn place(&self, kept: &Kept, address: IpAddr) -> Place {
        let Some(pod) = self.owners.get(&address) else {
            let kind = if self.node.contains(&address) {
                Kind::Node(self.topology.own_node)
            } else if let Some(extent) = self.services.extent(address) {
                Kind::Service(extent)
            } else {
                Kind::Outside
            };
            return Place { kind, ..of_block(kept, address) };
        };
        let resident = kept.resident(*pod);
        let class = resident.hosts.iter().find(|host| host.0 == address);
        let class = class.map_or(NOWHERE.class, |host| host.1);
        let local = resident.endpoint.and_then(|endpoint| self.locals.get(&endpoint));
        match local {
            None => Place { class, ..NOWHERE },
            Some(&at) => Place { class, kind: Kind::Local(LocalIndex(at)), sets: resident.sets },
        }
    }

    fn number(&mut self, place: Place) -> u32 {
        let Self { places, numbers, .. } = self;
        *numbers.entry(place).or_insert_with(|| {
            places.push(place);
            // Fewer than 2^31: each is a pod or a class.
            u32::try_from(places.len() - 1).unwrap_or(0)
        })
    }
}

/// The address of a block of one.
fn only(net: IpNet) -> Option<IpAddr> {
    (net.prefix_len() == net.max_prefix_len()).then(|| net.addr())
}

/// What an address is that is neither a pod's nor the node's.
fn of_block(kept: &Kept, address: IpAddr) -> Place {
    Place { class: kept.outside(address), ..NOWHERE }
}
