//! The services of the newest snapshot, kept: what a change touches is changed, the rest shared.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::departed::Departed;
use super::own::is_node_ports;
use super::{Extent, Front, FrontKey, Gone, Page, Services};
use crate::limits::FRONTS_PER_PAGE_MAX;
use crate::packet::Address;

/// Fronts for which there is a page, of the fewest that there may be.
const FRONTS_PER_PAGE: usize = 8;

/// What changes of services.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// Fronts that are new or differ; `None`: gone.
    pub fronts: Vec<(FrontKey, Option<Front>)>,
    /// Addresses that are a Service's from now on, to that extent, or no more (`None`). One that is
    /// wholly a Service's is so without a front too: what is sent there goes nowhere.
    pub addresses: Vec<(IpAddr, Option<Extent>)>,
}

impl Delta {
    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fronts.is_empty() && self.addresses.is_empty()
    }
}

/// Services, and the newest table of them.
#[derive(Debug, Default)]
pub struct KeptServices {
    now: Services,
    count: usize,
    addresses: BTreeMap<IpAddr, Extent>,
    /// Addresses that were a Service's.
    departed: Departed<IpAddr>,
    /// Fronts that were node ports.
    closed: Departed<FrontKey>,
}

impl KeptServices {
    /// Takes a change in; gives the addresses that are something else now.
    pub fn apply(&mut self, delta: Delta) -> Vec<IpAddr> {
        let mut moved = Vec::new();
        for (address, extent) in delta.addresses {
            self.move_address(address, extent, &mut moved);
        }
        let is_change = !delta.fronts.is_empty() || !moved.is_empty();
        let mut is_closing = false;
        for (key, front) in delta.fronts {
            is_closing |= is_node_ports(key.address);
            self.put(key, front);
        }
        self.tell_gone(!moved.is_empty(), is_closing);
        self.now.version = self.now.version.wrapping_add(u64::from(is_change));
        moved
    }

    /// Takes in where a predecessor's clients ask, who spoke last at the end: what is no Service's
    /// there went before this process began. Gives the addresses that are something else now.
    pub fn inherit(&mut self, asked: impl IntoIterator<Item = FrontKey>) -> Vec<IpAddr> {
        let mut moved = Vec::new();
        let mut is_closing = false;
        for key in asked {
            let address = IpAddr::from(key.address);
            if !self.addresses.contains_key(&address) {
                moved.extend(self.departed.put(address));
                moved.push(address);
            }
            if is_node_ports(key.address) && self.now.find(&key).is_none() {
                self.closed.put(key);
                is_closing = true;
            }
        }
        self.tell_gone(!moved.is_empty(), is_closing);
        let is_change = is_closing || !moved.is_empty();
        self.now.version = self.now.version.wrapping_add(u64::from(is_change));
        moved
    }

    /// The newest table.
    #[must_use]
    pub fn now(&self) -> &Services {
        &self.now
    }

    /// How much of an address is a Service's. Of one that was one's lately fronts alone are, of
    /// which there is none.
    #[must_use]
    pub fn extent(&self, address: IpAddr) -> Option<Extent> {
        let departed = || self.departed.has(address).then_some(Extent::Fronts);
        self.addresses.get(&address).copied().or_else(departed)
    }

    /// Every address of a Service, ascending.
    pub fn addresses(&self) -> impl Iterator<Item = (IpAddr, Extent)> + '_ {
        self.addresses.iter().map(|(address, extent)| (*address, *extent))
    }

    /// Every address of which packets must be asked whether they are for a Service: those that were
    /// one's lately too.
    pub fn places(&self) -> impl Iterator<Item = (IpAddr, Extent)> + '_ {
        self.addresses().chain(self.departed.all().map(|address| (address, Extent::Fronts)))
    }

    /// Those addresses that lie in a block.
    pub fn places_in(&self, net: IpNet) -> impl Iterator<Item = IpAddr> + '_ {
        let all = net.network()..=net.broadcast();
        let there = self.addresses.range(all.clone()).map(|(address, _)| *address);
        there.chain(self.departed.within(all))
    }

    /// Writes what is gone into the table, where that may differ: of addresses, of node ports.
    fn tell_gone(&mut self, is_moving: bool, is_closing: bool) {
        if is_closing {
            self.now.gone.node_ports = self.closed.all().collect();
        }
        if is_moving {
            self.now.gone.addresses = self.departed.all().map(Address::from).collect();
        }
    }

    /// Notes how much of an address is a Service's now, and what is something else by it.
    fn move_address(&mut self, address: IpAddr, is: Option<Extent>, moved: &mut Vec<IpAddr>) {
        let before = self.addresses.get(&address).copied();
        match is {
            Some(extent) => {
                self.departed.take(address);
                self.addresses.insert(address, extent);
            }
            None if self.addresses.remove(&address).is_some() => {
                moved.extend(self.departed.put(address));
            }
            None => {}
        }
        moved.extend((before != is).then_some(address));
    }

    fn put(&mut self, key: FrontKey, front: Option<Front>) {
        let is_new = front.is_some();
        let was_there = self.now.put(key, front);
        if is_new {
            self.closed.take(key);
        } else if was_there && is_node_ports(key.address) {
            self.closed.put(key);
        }
        self.count = self.count + usize::from(is_new) - usize::from(was_there);
        let is_full = self.count > self.now.pages.len() * FRONTS_PER_PAGE;
        let at = self.now.page_of(&key);
        if is_full || self.now.pages[at].len() > FRONTS_PER_PAGE_MAX {
            self.now = self.now.spread(self.now.pages.len() * 2);
        }
    }
}

impl Services {
    pub(super) fn empty(pages: usize) -> Self {
        let random = RandomState::new();
        let seed = [random.hash_one(0), random.hash_one(1) | 1];
        let none: Page = Arc::new([]);
        let pages: Arc<[Page]> = vec![none; pages.next_power_of_two()].into();
        let shift = u64::BITS - pages.len().trailing_zeros();
        Self { shift, pages, seed, version: 0, gone: Gone::default() }
    }

    /// Puts a front where it is looked for, or takes it away; whether there was one.
    fn put(&mut self, key: FrontKey, front: Option<Front>) -> bool {
        let at = self.page_of(&key);
        let page = &mut Arc::make_mut(&mut self.pages)[at];
        let others = page.iter().filter(|(other, _)| *other != key).cloned();
        let mut fronts: Vec<(FrontKey, Front)> = others.collect();
        let was_there = fronts.len() < page.len();
        fronts.extend(front.map(|front| (key, front)));
        *page = fronts.into();
        was_there
    }

    /// The same over that many pages, or over more where one would be too full.
    fn spread(&self, pages: usize) -> Self {
        let mut pages = pages;
        // Cold: building. Ever more pages, so that none is too full in the end.
        loop {
            let spread = Self::empty(pages);
            let mut lists = vec![Vec::new(); spread.pages.len()];
            for (key, front) in self.fronts() {
                lists[spread.page_of(key)].push((*key, front.clone()));
            }
            if lists.iter().all(|list| list.len() <= FRONTS_PER_PAGE_MAX) {
                let pages = lists.into_iter().map(Page::from).collect();
                return Self { pages, version: self.version, gone: self.gone.clone(), ..spread };
            }
            pages *= 2;
        }
    }
}
