//! Services: who serves at an address and port that are no pod's. Hot path.
//!
//! A *front* is what clients write: address, port, protocol. Behind it stand *backends*, chosen by
//! control: the worker picks one for each connection and remembers it (`connection::translation`).
//!
//! ```text
//!   pages ─hash of the front─> page: a few (front, who serves) in a row
//!                                         `─> Serving: shared by all fronts of a Service's port
//! ```
//!
//! Pages are shared between snapshots: a change writes the pages that it is about. A page has at
//! most [`FRONTS_PER_PAGE_MAX`] fronts, or the build takes more pages, so a lookup is bounded
//! whatever a client writes. Seeds are random, so nobody can fill a page on purpose.

pub mod affinity;
mod departed;
mod kept;
pub mod own;

use std::mem::size_of_val;
use std::sync::Arc;

use crate::limits::FRONTS_PER_PAGE_MAX;
use crate::packet::{Address, FlowKey};
use own::{NODE_PORTS_V4, NODE_PORTS_V6};

pub use kept::{Delta, KeptServices};

/// What clients write: where a Service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrontKey {
    /// A Service's address.
    pub address: Address,
    /// A Service's port.
    pub port: u16,
    /// The number of its protocol: TCP, UDP or SCTP.
    pub number: u8,
}

impl FrontKey {
    /// The front that a packet is for, if its target is one.
    #[inline]
    #[must_use]
    pub const fn of(key: &FlowKey) -> Self {
        Self { address: key.target, port: key.target_port, number: key.number }
    }

    /// The front of the node port that a packet to a node is for, if that is one.
    #[must_use]
    pub const fn of_node_port(key: &FlowKey) -> Self {
        Self::of(key).at_node()
    }

    /// The front of the node port with this number, if the address is the node's.
    #[must_use]
    pub const fn at_node(self) -> Self {
        let address = if self.address.is_v4() { NODE_PORTS_V4 } else { NODE_PORTS_V6 };
        Self { address, ..self }
    }
}

/// How much of an address is a Service's. Where two claim one, the lesser counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Extent {
    /// All of it: what is sent to another port of it goes nowhere.
    Whole,
    /// Its fronts alone. The address may be anybody's, of a node or of a client even, for whoever
    /// writes a Service writes it: the rest of its traffic goes by.
    Fronts,
}

/// Who may be given a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Backend {
    /// A pod's address, or any.
    pub address: Address,
    /// Where it serves.
    pub port: u16,
}

/// One port of one Service in one family. Never reused in a process: clients stick to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServingId(pub u32);

/// What becomes of a packet for which there is no backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Lack {
    /// Its sender is told that nobody serves.
    #[default]
    Reject,
    /// Nothing: there are backends on other nodes, which the Service does not want asked.
    Drop,
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serving {
    /// Which of all.
    pub id: ServingId,
    /// Milliseconds for which a client is given the backend that it had last; 0: any each time.
    pub affinity_ms: u64,
    /// What becomes of what finds nobody.
    pub lack: Lack,
    /// Who is given new connections.
    pub chosen: Arc<[Backend]>,
    /// Whose UDP flows stay with them, ascending.
    pub serving: Arc<[Backend]>,
    /// Whose other connections stay with them, ascending. Those of who is listed no more may last
    /// all the same, where it lives: whoever holds the connection decides that.
    pub listed: Arc<[Backend]>,
}

impl Serving {
    /// Whether, by the Service, a connection of this protocol stays with the backend that it has.
    #[must_use]
    pub fn keeps(&self, backend: Backend, is_udp: bool) -> bool {
        let lasting = if is_udp { &self.serving } else { &self.listed };
        lasting.binary_search(&backend).is_ok()
    }
}

/// Addresses from one to another, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Range {
    /// The lowest.
    pub first: Address,
    /// The highest.
    pub last: Address,
}

/// What stands behind what clients write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Front {
    /// The Service's port.
    pub serving: Arc<Serving>,
    /// Who serves those beyond the node instead (`externalTrafficPolicy: Local`), where that differs.
    pub beyond: Option<Arc<Serving>>,
    /// Who may ask; `None` is everybody. At most [`SOURCES_MAX`](crate::limits::SOURCES_MAX).
    pub sources: Option<Arc<[Range]>>,
}

impl Front {
    /// Who serves this client; `is_beyond`: it is neither a pod of this node nor the node.
    #[must_use]
    pub fn serving_for(&self, is_beyond: bool) -> &Serving {
        match &self.beyond {
            Some(beyond) if is_beyond => beyond,
            _ => &self.serving,
        }
    }

    /// Whether this client may ask here.
    #[must_use]
    pub fn admits(&self, client: Address) -> bool {
        let Some(sources) = &self.sources else { return true };
        let mut ranges = sources.iter().take(crate::limits::SOURCES_MAX);
        ranges.any(|range| (range.first..=range.last).contains(&client))
    }
}

type Page = Arc<[(FrontKey, Front)]>;

/// Every front of one snapshot. Immutable, and cheap to clone.
#[derive(Clone, Debug)]
pub struct Services {
    /// A power of two of them.
    pages: Arc<[Page]>,
    /// Upper bits of the hash that are a page.
    shift: u32,
    seed: [u64; 2],
    version: u64,
    gone: Gone,
}

/// Where Services were asked lately and are no more; each at most
/// [`DEPARTED_MAX`](crate::limits::DEPARTED_MAX), ascending.
#[derive(Clone, Debug, Default)]
struct Gone {
    addresses: Arc<[Address]>,
    node_ports: Arc<[FrontKey]>,
}

impl Default for Services {
    fn default() -> Self {
        Self::empty(1)
    }
}

impl Services {
    /// Who serves there.
    #[inline]
    #[must_use]
    pub fn find(&self, key: &FrontKey) -> Option<&Front> {
        let page = self.pages.get(self.page_of(key))?;
        let mut fronts = page.iter().take(FRONTS_PER_PAGE_MAX);
        fronts.find(|(front, _)| front == key).map(|(_, front)| front)
    }

    /// Whether an address was a Service's lately, and is none's now: of such a place, which is
    /// [`Extent::Fronts`], there are no fronts.
    #[must_use]
    pub fn is_departed(&self, address: Address) -> bool {
        self.gone.addresses.binary_search(&address).is_ok()
    }

    /// Whether there is no such node port any more, but was lately.
    #[must_use]
    pub fn is_closed(&self, key: &FrontKey) -> bool {
        self.gone.node_ports.binary_search(key).is_ok()
    }

    /// The number of this table: another one for every change.
    #[inline]
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// Every front, in no order.
    pub fn fronts(&self) -> impl Iterator<Item = &(FrontKey, Front)> {
        self.pages.iter().flat_map(|page| page.iter())
    }

    /// Builds from all fronts. Of equal ones the last counts. Cold: the slow twin of
    /// [`KeptServices`].
    #[must_use]
    pub fn build(fronts: Vec<(FrontKey, Front)>) -> Self {
        let mut kept = KeptServices::default();
        let fronts = fronts.into_iter().map(|(key, front)| (key, Some(front))).collect();
        kept.apply(Delta { fronts, addresses: Vec::new() });
        kept.now().clone()
    }

    /// Bytes of memory of all that is reached from here, allocator overhead not counted; what
    /// several fronts share counts once.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let pages: usize = self.pages.iter().map(|page| size_of_val(&**page)).sum();
        let mut seen = std::collections::HashSet::new();
        let mut lists = 0;
        let fronts = self.fronts().map(|(_, front)| front);
        for serving in fronts.flat_map(|front| [Some(&front.serving), front.beyond.as_ref()]) {
            let Some(serving) = serving else { continue };
            if seen.insert(Arc::as_ptr(serving).cast::<u8>()) {
                lists += size_of::<Serving>();
            }
            for list in [&serving.chosen, &serving.serving, &serving.listed] {
                if seen.insert(list.as_ptr().cast::<u8>()) {
                    lists += size_of_val(&**list);
                }
            }
        }
        pages + size_of_val(&*self.pages) + lists
    }

    #[inline]
    fn page_of(&self, key: &FrontKey) -> usize {
        let place = u64::from(key.port) << 8 | u64::from(key.number);
        let mixed = key.address.mix([self.seed[0] ^ place, self.seed[1]]);
        // Below the number of pages; where there is one, all bits are shifted out.
        #[allow(clippy::cast_possible_truncation)] // 64-bit machines only
        let page = mixed.checked_shr(self.shift).unwrap_or(0) as usize;
        page
    }
}

#[cfg(test)]
mod tests;
