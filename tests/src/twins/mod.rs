//! Both ways to a verdict side by side: the kept resolver and compiler, and everything made anew.
//!
//! After any step both must say the same, for the same causes, of every address and port that
//! [`Edges`] names; and where the compiler says that no verdict differs, none may.

mod difference;

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;

use lockgate_control::inventory::Change;
use lockgate_control::manifest::{FileObjects, Object, ObjectKey};
use lockgate_control::resolve::{Resolved, resolve};
use lockgate_control::services::{Here, serve};
use lockgate_dataplane::compiler::Tables;
use lockgate_dataplane::endpoint::{Attachment, Endpoints, HostPort, OwnNode, Topology};
use lockgate_dataplane::ids::{Mac, PortId, PortRef, PortSlot, WorkerId};
use lockgate_dataplane::policy::compile::compile;
use lockgate_dataplane::service::{Delta, Extent, KeptServices};
use serde_json::Value;

use crate::agent::{Agent, NODE};
use crate::oracle::Cidr;
use difference::difference;

/// What happens.
#[derive(Clone, Debug)]
pub enum Event {
    /// An object is there.
    Set(Box<Object>),
    /// It is gone.
    Remove(ObjectKey),
    /// A file holds these.
    SetFile(&'static str, Vec<Object>),
    /// A file is gone.
    RemoveFile(&'static str),
    /// Everything is built anew.
    Rebuild,
    /// Nothing of the rules: somebody moves to another slot.
    Move,
}

/// What made-up objects name: where verdicts can change.
#[derive(Debug, Default)]
pub struct Edges {
    /// Addresses, and those at the edges of blocks.
    pub addresses: BTreeSet<IpAddr>,
    /// Ports, and those beside them.
    pub ports: BTreeSet<u16>,
}

impl Edges {
    /// Adds what an object names.
    pub fn collect(&mut self, node: &Value) {
        match node {
            Value::String(text) => {
                self.addresses.extend(text.parse::<IpAddr>());
                self.addresses.extend(Cidr::read(text).iter().flat_map(Cidr::boundaries));
            }
            Value::Number(number) => {
                let number = number.as_u64().and_then(|number| u16::try_from(number).ok());
                let near = |n: u16| [n.saturating_sub(1), n, n.saturating_add(1)];
                self.ports.extend(number.into_iter().flat_map(near));
            }
            Value::Array(items) => items.iter().for_each(|item| self.collect(item)),
            Value::Object(fields) => fields.values().for_each(|field| self.collect(field)),
            _ => {}
        }
    }
}

/// Both ways side by side.
#[derive(Debug, Default)]
pub struct Twins {
    /// What is kept; its inventory is what both are given. May be changed between steps.
    pub agent: Agent,
    tables: Option<Tables>,
    /// Addresses of Services after the last step, and those that were one's before and are no more.
    served: BTreeSet<IpAddr>,
    gone: BTreeSet<IpAddr>,
    /// Who moved last: counted into the places of ports.
    moves: u16,
}

impl Twins {
    /// With nothing known.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets events happen together; what differs afterwards.
    pub fn step(&mut self, events: &[Event], edges: &Edges) -> Option<String> {
        for event in events {
            self.happen(event);
        }
        let delta = self.agent.resolve();
        let full = resolve(&self.agent.inventory);
        if let Some(what) = self.misplaced(&full) {
            return Some(what);
        }
        let topology = topology(&full, self.moves);
        let mut kept = self.agent.compile(delta, &topology);
        if events.iter().any(|event| matches!(event, Event::Rebuild)) {
            let verdicts = kept.verdicts;
            kept = Tables { verdicts, ..self.agent.rebuild() };
        }
        let compiled = compile(&full.ruleset);
        let services = self.services();
        let endpoints = Endpoints::build_with(&full.ruleset, &compiled, &topology, &services);
        let fresh = Tables { policy: compiled.table, endpoints, verdicts: true, rebuilt: None };
        let differing = difference(&kept, &fresh, &topology, edges, false);
        if let Some(what) = differing {
            return Some(what);
        }
        if let Some(before) = self.tables.as_ref().filter(|_| !kept.verdicts)
            && let Some(what) = difference(before, &kept, &topology, edges, true)
        {
            return Some(format!("the epoch stays, but {what}"));
        }
        self.tables = Some(kept);
        None
    }

    /// Brings only the kept one up to date, as production does.
    pub fn apply(&mut self, topology: &Topology) {
        self.tables = Some(self.agent.apply(topology));
    }

    /// How often the compiler built everything anew.
    #[must_use]
    pub fn rebuilds(&self) -> u64 {
        self.agent.rebuilds()
    }

    /// Lets an event happen, without a step.
    pub fn happen(&mut self, event: &Event) {
        let inventory = &mut self.agent.inventory;
        let _effect = match event {
            Event::Set(object) => inventory.apply(Change::Set((**object).clone())),
            Event::Remove(key) => inventory.apply(Change::Remove(key.clone())),
            Event::SetFile(name, objects) => {
                let mut objects = objects.clone();
                for (index, object) in (0..).zip(&mut objects) {
                    let metadata = object.metadata_mut();
                    metadata.origin.file = (*name).into();
                    metadata.origin.index = index;
                }
                inventory.set_file(name, FileObjects { objects, ..FileObjects::default() })
            }
            Event::RemoveFile(name) => inventory.remove_file(name),
            Event::Move => {
                self.moves = (self.moves + 1) % 5;
                return;
            }
            Event::Rebuild => return,
        };
    }

    /// Who serves where, of everything there is, and which addresses were Services' before.
    fn services(&mut self) -> KeptServices {
        let inventory = &self.agent.inventory;
        let served = serve(inventory, &Here::of(inventory, Some(NODE.into())));
        let now: BTreeSet<IpAddr> = served.addresses.iter().map(|one| one.0).collect();
        self.gone.extend(self.served.difference(&now));
        self.gone.retain(|address| !now.contains(address));
        self.served = now;
        let fronts = served.fronts.into_iter().map(|(key, _, front)| (key, Some(front))).collect();
        let gone = self.gone.iter().map(|address| (*address, Some(Extent::Fronts)));
        let all = served.addresses.into_iter().map(|(address, extent)| (address, Some(extent)));
        let mut kept = KeptServices::default();
        kept.apply(Delta { fronts, addresses: gone.chain(all).collect() });
        kept
    }

    /// What the resolver tells of this node otherwise.
    fn misplaced(&self, full: &Resolved) -> Option<String> {
        let told: Vec<_> =
            self.agent.resolver().local().iter().filter(|pod| pod.interface.is_some()).collect();
        let wanted: Vec<_> = full.pods.iter().filter(|pod| pod.interface.is_some()).collect();
        if told != wanted {
            return Some(format!("local pods\n  kept {told:?}\n  full {wanted:?}"));
        }
        let (told, wanted) = (self.agent.resolver().node_addresses(), &full.node_addresses);
        (told != wanted).then(|| format!("node addresses\n  kept {told:?}\n  full {wanted:?}"))
    }
}

/// Most pods, in slots that follow from their names and from how often somebody moved.
fn topology(full: &Resolved, moves: u16) -> Topology {
    let slot = |text: &str| {
        text.bytes().fold(0u16, |sum, byte| sum.wrapping_mul(31) ^ u16::from(byte)) % 8191
    };
    let mut taken = HashSet::new();
    let attachments = full.pods.iter().filter_map(|pod| {
        let at = slot(&format!("{}/{}", pod.namespace, pod.name));
        let mine = (at + if at % 3 == 0 { moves } else { 0 }) % 64;
        if at % 7 == 0 || !taken.insert(mine) {
            return None;
        }
        let port = PortId(u32::from(mine) + 1);
        let at = PortRef { port, worker: WorkerId(u8::from(mine % 2 == 0)), slot: PortSlot(mine) };
        Some(Attachment { endpoint: pod.endpoint, at, mac: Mac::default(), mtu: 1500 + moves })
    });
    let attachments = attachments.collect();
    let slots = vec![PortSlot(200), PortSlot(201)];
    let host = HostPort { port: PortId(0), slots, mac: Mac::default(), mtu: 1500 };
    let node_addresses = full.node_addresses.clone();
    let own_node = if moves.is_multiple_of(2) { OwnNode::Exempt } else { OwnNode::Judged };
    Topology { attachments, host: (moves != 2).then_some(host), node_addresses, own_node }
}
