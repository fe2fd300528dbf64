//! A switch and interfaces that only remember, for tests of what is above them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lockgate_dataplane::clock::Tick;
use lockgate_dataplane::connection::left::Left;
use lockgate_dataplane::connection::{Adoption, Row};
use lockgate_dataplane::counters::{Counters, PortCounters};
use lockgate_dataplane::endpoint::Endpoints;
use lockgate_dataplane::event::Sample;
use lockgate_dataplane::ids::{Epoch, Generation, Mac, PortId, PortRef, PortSlot, WorkerId};
use lockgate_dataplane::limits::MTU_MAX;
use lockgate_dataplane::policy::PolicyTable;
use lockgate_dataplane::port::XdpStatistics;
use lockgate_dataplane::runtime::{Adopted, HostPortRef, KeptError, PortView};
use lockgate_dataplane::worker::mailbox::PortKind;

use crate::attach::{AttachError, HostPortPlan, InterfaceName, Link, Probed};
use crate::dataplane::Dataplane;
use crate::interfaces::Interfaces;

/// What was done, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    Prepared(String),
    Added(String),
    Removed(u32),
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
    /// How long removing a port takes.
    pub(crate) removal: std::time::Duration,
    pub(crate) rows: Vec<Row>,
    pub(crate) samples: Vec<Sample>,
    pub(crate) now: Tick,
    pub(crate) counters: Arc<Counters>,
    /// What is judged by.
    pub(crate) tables: Option<(PolicyTable, Endpoints)>,
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

    fn prepare_port(&mut self, at: &Probed, _: u32) -> Result<(), Refused> {
        self.done.push(Done::Prepared(at.interface.to_string()));
        Ok(())
    }

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

    fn remove_port(&mut self, port: PortId) -> Result<(), Refused> {
        std::thread::sleep(self.removal);
        self.done.push(Done::Removed(port.0));
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
        self.tables = Some((policy, endpoints));
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

    fn now(&self) -> Tick {
        self.now
    }

    fn samples(&mut self) -> Vec<Sample> {
        std::mem::take(&mut self.samples)
    }

    /// Its connections are nowhere: it has none.
    fn stamp(&self) -> u64 {
        0
    }

    fn left(&mut self) -> Result<Vec<Left>, KeptError> {
        Ok(Vec::new())
    }

    fn adopt(&mut self, rows: Vec<(WorkerId, Adoption)>) -> Result<Adopted, Refused> {
        Ok(Adopted { adopted: rows.len() as u64, ..Adopted::default() })
    }

    fn pick_up_for(&mut self, _: u64) -> Result<(), Refused> {
        Ok(())
    }

    fn kept_trouble(&self) -> Option<&KeptError> {
        None
    }

    fn give(&mut self) -> Result<(), Refused> {
        self.views.clear();
        Ok(())
    }

    fn resume(&mut self) -> Result<(), Refused> {
        Ok(())
    }

    fn stop(self) -> Result<(), Refused> {
        Ok(())
    }
}

/// Interfaces by name; what is asked of them is remembered.
#[derive(Debug, Default)]
pub(crate) struct FakeLinks {
    pub(crate) there: BTreeMap<String, Link>,
    /// What the far ends' MACs are, if not the usual one.
    pub(crate) macs: BTreeMap<String, Mac>,
    pub(crate) asked: RefCell<Vec<String>>,
}

impl FakeLinks {
    pub(crate) fn with(names: &[&str]) -> Self {
        let mut links = Self::default();
        for (number, name) in (1..).zip(names) {
            links.put(name, number);
        }
        links
    }

    /// Puts one end of a veth pair there, down.
    pub(crate) fn put(&mut self, name: &str, number: u32) -> &mut Link {
        let link = Link {
            index: number,
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
        self.link(name)
    }

    pub(crate) fn link(&mut self, name: &str) -> &mut Link {
        self.there.get_mut(name).unwrap()
    }

    pub(crate) fn take(&mut self, name: &str) {
        self.there.remove(name);
    }

    /// What was asked since the last call.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.borrow_mut().split_off(0)
    }

    fn note(&self, what: &str, name: &str) {
        self.asked.borrow_mut().push(format!("{what} {name}"));
    }
}

impl Interfaces for FakeLinks {
    async fn links(&self) -> Result<BTreeMap<String, Link>, AttachError> {
        Ok(self.there.clone())
    }

    fn is_served(&self, _: &InterfaceName, link: &Link) -> bool {
        link.is_up && link.program.is_some()
    }

    async fn close(&self, interface: &InterfaceName, link: &Link) -> Result<(), AttachError> {
        if !link.is_veth {
            return Err(AttachError::NotVeth(interface.clone()));
        }
        self.note("close", interface.as_str());
        Ok(())
    }

    async fn check(
        &self,
        interface: &InterfaceName,
        link: &Link,
        _: u32,
        mac: Option<Mac>,
    ) -> Result<Probed, AttachError> {
        let mtu = u16::try_from(link.mtu).ok().filter(|&mtu| usize::from(mtu) <= MTU_MAX);
        let mtu = mtu.ok_or(AttachError::Mtu { interface: interface.clone(), mtu: link.mtu })?;
        let far = self.macs.get(interface.as_str()).copied();
        let mac = mac.or(far).unwrap_or(Mac([2, 0, 0, 0, 0, 1]));
        Ok(Probed { interface: interface.clone(), ifindex: link.index, mac, mtu })
    }

    async fn set_up(&self, link: &Link, up: bool) -> Result<(), AttachError> {
        self.note(if up { "up" } else { "down" }, &link.name);
        Ok(())
    }

    async fn host_port(&mut self, plan: &HostPortPlan, _: u8) -> Result<Probed, AttachError> {
        let name = plan.interface.as_str();
        if !self.there.contains_key(name) {
            let number = self.there.values().map(|link| link.index).max().unwrap_or(0) + 100;
            self.put(name, number);
            self.note("make", name);
        }
        self.check(&plan.interface, &self.there[name], 1, None).await
    }

    fn sweep(&self) -> Result<(), AttachError> {
        self.note("sweep", "");
        Ok(())
    }
}
