//! Which backend a new connection to a Service is given. Hot path: once for each connection.

use super::Path;
use super::client::{Client, workers};
use crate::connection::Connections;
use crate::counters::DropReason;
use crate::endpoint::{Endpoints, Kind as PlaceKind};
use crate::ids::WorkerId;
use crate::limits::{BACKEND_TRIES, SOURCE_PORT_TRIES};
use crate::packet::{Address, FlowKey, Headers};
use crate::publish::Snapshot;
use crate::service::own::{as_itself, asking, port_of};
use crate::service::{Backend, Lack};

/// Ports below this are for those who are known by them.
const PORT_FLOOR: u16 = 1024;

impl<P, M> Path<P, M> {
    /// What the backend of a new connection sees of it.
    pub(super) fn choose(
        &mut self,
        snapshot: &Snapshot,
        client: &Client,
        headers: &Headers,
    ) -> Result<FlowKey, DropReason> {
        let (endpoints, key) = (&snapshot.endpoints, &headers.key);
        let front = endpoints.services().find(&endpoints.front_of(key));
        let front = front.ok_or_else(|| nobody_at(endpoints, key.target))?;
        if !front.admits(key.source) {
            return Err(DropReason::ServiceSource);
        }
        if Connections::opens(&headers.kind).is_none() {
            return Err(DropReason::NoConnection);
        }
        let serving = front.serving_for(client.is_beyond());
        let chosen = &*serving.chosen;
        if chosen.is_empty() {
            return Err(match serving.lack {
                Lack::Reject => DropReason::NoBackend,
                Lack::Drop => DropReason::NoLocalBackend,
            });
        }
        let lot = self.translations.lot(key);
        let first = match self.last_of(serving.id, serving.affinity_ms, key.source) {
            Some(last) => chosen.binary_search(&last).unwrap_or_else(|_| drawn(lot, chosen.len())),
            None => drawn(lot, chosen.len()),
        };
        let (one, other) = (chosen.get(first..), chosen.get(..first));
        let mut all = one.into_iter().chain(other).flatten();
        let backend = *all.clone().next().ok_or(DropReason::NoBackend)?;
        // Whoever sticks to one backend, or has but one, gets another source port instead.
        let others = if serving.affinity_ms == 0 { BACKEND_TRIES } else { 1 };
        let lotted = (self.id, lot);
        let seen = |backend: &Backend| as_seen(endpoints, lotted, client, key, *backend);
        let free = all.by_ref().take(others).map(|one| (*one, seen(one)));
        let mut free = free.filter(|(_, back)| !self.is_taken(back));
        let (backend, back) = match free.next() {
            Some(found) => found,
            None => (backend, self.other_port(endpoints, client, seen(&backend), lot)?),
        };
        if serving.affinity_ms > 0 {
            let until = self.now.after_ms(serving.affinity_ms);
            self.affinities.put(serving.id, key.source, backend, until);
        }
        Ok(back)
    }

    fn last_of(
        &self,
        serving: crate::service::ServingId,
        affinity_ms: u64,
        client: Address,
    ) -> Option<Backend> {
        if affinity_ms == 0 { None } else { self.affinities.find(serving, client, self.now) }
    }

    /// The same with a source port that is free at the backend.
    #[cold]
    fn other_port(
        &self,
        endpoints: &Endpoints,
        client: &Client,
        back: FlowKey,
        lot: u64,
    ) -> Result<FlowKey, DropReason> {
        let is_apart = client.is_apart(endpoints, back.target);
        let ports = (0..SOURCE_PORT_TRIES as u64).map(|n| {
            let [.., a, b] = lot.rotate_left(16).wrapping_add(n.wrapping_mul(0x9e37)).to_be_bytes();
            let port = u16::from_be_bytes([a, b]) | PORT_FLOOR;
            if is_apart { port_of(self.id, workers(endpoints), port) } else { port }
        });
        let mut backs = ports.map(|source_port| FlowKey { source_port, ..back });
        backs.find(|back| !self.is_taken(back)).ok_or(DropReason::TranslationsFull)
    }
}

/// Why an address at which no Service is asked leads nowhere. One that was a Service's is by now as
/// any that nobody here has.
#[cold]
fn nobody_at(endpoints: &Endpoints, target: Address) -> DropReason {
    let is_departed = endpoints.services().is_departed(target);
    if is_departed { DropReason::NoRoute } else { DropReason::NoBackend }
}

/// What a backend sees of a flow: the switch as source where it is the client itself, and
/// where neither is on this node, at a port that says which worker asked.
fn as_seen(
    endpoints: &Endpoints,
    (here, lot): (WorkerId, u64),
    client: &Client,
    key: &FlowKey,
    backend: Backend,
) -> FlowKey {
    let back = FlowKey { target: backend.address, target_port: backend.port, ..*key };
    if client.is_apart(endpoints, backend.address) {
        // Not the client's: those that many clients use would meet each other.
        let [.., a, b] = lot.to_be_bytes();
        let port = u16::from_be_bytes([a, b]) | PORT_FLOOR;
        let source_port = port_of(here, workers(endpoints), port);
        return FlowKey { source: asking(key.source), source_port, ..back };
    }
    let is_itself = match endpoints.place(backend.address).kind {
        PlaceKind::Local(index) => client.endpoint() == Some(endpoints.local(index).endpoint),
        _ => false,
    };
    let source = if is_itself { as_itself(key.source) } else { key.source };
    FlowKey { source, ..back }
}

/// A place below `count`, by a number that is as likely as any other.
fn drawn(lot: u64, count: usize) -> usize {
    let scaled = u128::from(lot).wrapping_mul(count as u128) >> 64;
    usize::try_from(scaled).unwrap_or(0)
}
