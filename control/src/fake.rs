//! A switch and interfaces that only remember, for tests of what is above them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lockgate_dataplane::connection::Row;
use lockgate_dataplane::counters::{Counters, PortCounters};
use lockgate_dataplane::endpoint::Endpoints;
use lockgate_dataplane::event::Denied;
use lockgate_dataplane::ids::{Epoch, Generation, Mac, PortId, PortRef, PortSlot, WorkerId};
use lockgate_dataplane::policy::PolicyTable;
use lockgate_dataplane::port::XdpStatistics;
use lockgate_dataplane::runtime::{Detach, HostPortRef, PortView};
use lockgate_dataplane::worker::mailbox::PortKind;

use crate::attach::{AttachError, InterfaceName, Probed};
use crate::dataplane::Dataplane;
use crate::ports::Interfaces;

/// What was done, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    Added(String),
    Removed(u32, Detach),
    Published { generation: u64, epoch: u64, policies: usize, attached: usize },
}

/// Refuses what it is told to refuse.
#[derive(Debug, thiserror::Error)]
#[error("the fake refuses")]
pub(crate) struct Refused;

#[derive(Debug, Default)]
pub(crate) struct FakeSwitch {
    pub(crate) done: Vec<Done>,
    /// What workers have taken; `u64::MAX` takes everything at once.
    pub(crate) taken: Arc<AtomicU64>,
    pub(crate) refuse_ports: bool,
    pub(crate) rows: Vec<Row>,
    pub(crate) samples: Vec<Denied>,
    pub(crate) counters: Arc<Counters>,
    views: Vec<PortView>,
    generation: u64,
    next: u32,
}

impl FakeSwitch {
    /// One whose workers take every snapshot at once.
    pub(crate) fn quick() -> Self {
        let switch = Self::default();
        switch.taken.store(u64::MAX, Ordering::Relaxed);
        switch
    }

    fn view(&mut self, interface: &str, kind: PortKind) -> PortRef {
        self.next += 1;
        let (port, slot) = (PortId(self.next), PortSlot(u16::try_from(self.next).unwrap()));
        let at = PortRef { port, worker: WorkerId(0), slot };
        let counters = vec![Arc::new(PortCounters::default())];
        let interface = interface.to_owned();
        self.views.push(PortView { port, interface, kind, at: vec![at], counters });
        at
    }
}

impl Dataplane for FakeSwitch {
    type Error = Refused;

    fn add_pod_port(&mut self, at: &Probed) -> Result<PortRef, Refused> {
        if self.refuse_ports {
            return Err(Refused);
        }
        self.done.push(Done::Added(at.interface.to_string()));
        Ok(self.view(at.interface.as_str(), PortKind::Pod))
    }

    fn add_host_port(&mut self, at: &Probed) -> Result<HostPortRef, Refused> {
        let at = self.view(at.interface.as_str(), PortKind::Host);
        Ok(HostPortRef { port: at.port, slots: vec![at.slot] })
    }

    fn remove_port(&mut self, port: PortId, detach: Detach) -> Result<(), Refused> {
        self.done.push(Done::Removed(port.0, detach));
        self.views.retain(|view| view.port != port);
        Ok(())
    }

    fn publish(&mut self, epoch: Epoch, policy: PolicyTable, endpoints: Endpoints) -> Generation {
        self.generation += 1;
        self.done.push(Done::Published {
            generation: self.generation,
            epoch: epoch.0,
            policies: policy.policies(),
            attached: endpoints.locals().count(),
        });
        Generation(self.generation)
    }

    fn in_force(&mut self) -> Generation {
        Generation(self.generation.min(self.taken.load(Ordering::Relaxed)))
    }

    fn is_alive(&self) -> bool {
        true
    }

    fn counters(&self) -> Vec<Arc<Counters>> {
        vec![Arc::clone(&self.counters)]
    }

    fn ports(&self) -> Vec<PortView> {
        self.views.clone()
    }

    fn statistics(&self, port: PortId) -> Vec<XdpStatistics> {
        vec![XdpStatistics { rx_ring_full: u64::from(port.0), ..Default::default() }]
    }

    fn connections(&mut self, limit: usize) -> Result<Vec<Row>, Refused> {
        Ok(self.rows.iter().take(limit).copied().collect())
    }

    fn denied(&mut self) -> Vec<Denied> {
        std::mem::take(&mut self.samples)
    }

    fn stop(self, _: Detach) -> Result<(), Refused> {
        Ok(())
    }
}

/// Interfaces by name, with their numbers.
#[derive(Debug, Default)]
pub(crate) struct FakeLinks {
    pub(crate) there: RefCell<BTreeMap<String, u32>>,
    pub(crate) broken: RefCell<BTreeSet<String>>,
}

impl FakeLinks {
    pub(crate) fn with(names: &[&str]) -> Self {
        let links = Self::default();
        for (number, name) in (1..).zip(names) {
            links.put(name, number);
        }
        links
    }

    pub(crate) fn put(&self, name: &str, number: u32) {
        self.there.borrow_mut().insert(name.to_owned(), number);
    }

    pub(crate) fn take(&self, name: &str) {
        self.there.borrow_mut().remove(name);
    }
}

impl Interfaces for FakeLinks {
    async fn indexes(&self) -> Result<BTreeMap<String, u32>, AttachError> {
        Ok(self.there.borrow().clone())
    }

    async fn probe(
        &self,
        interface: &InterfaceName,
        mac: Option<Mac>,
    ) -> Result<Probed, AttachError> {
        let there = self.there.borrow();
        let ifindex = *there
            .get(interface.as_str())
            .ok_or_else(|| AttachError::Missing(interface.clone()))?;
        if self.broken.borrow().contains(interface.as_str()) {
            return Err(AttachError::NotVeth(interface.clone()));
        }
        let mac = mac.unwrap_or(Mac([2, 0, 0, 0, 0, 1]));
        Ok(Probed { interface: interface.clone(), ifindex, mac, mtu: 1500 })
    }
}
