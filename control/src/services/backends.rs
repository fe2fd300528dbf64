//! Who of a Service's endpoints is given to clients here, as kube-proxy has it.

use std::sync::Arc;

use lockgate_dataplane::service::{Backend, Lack, Serving, ServingId};

use super::Here;
use crate::manifest::{EndpointSlice, ServicePort, SliceEndpoint};

/// The endpoints of one port of a Service, in one family: each address and port once, ascending.
pub(super) struct Candidates<'s> {
    all: Vec<(Backend, &'s SliceEndpoint)>,
}

impl<'s> Candidates<'s> {
    /// Those that slices list for the port. One that is listed twice is ready if either is.
    pub(super) fn of(slices: &[&'s EndpointSlice], port: &ServicePort, v6: bool) -> Self {
        let mut all = Vec::new();
        for slice in slices {
            let is_it = |one: &&crate::manifest::SlicePort| {
                one.name == port.name && one.protocol == port.protocol
            };
            let numbers = slice.ports.iter().filter(is_it).filter_map(|one| one.number);
            for number in numbers {
                let there = slice.endpoints.iter().filter(|one| one.address.is_ipv6() == v6);
                all.extend(
                    there.map(|one| (Backend { address: one.address.into(), port: number }, one)),
                );
            }
        }
        all.sort_by_key(|(backend, one)| {
            (*backend, !one.is_ready, !one.is_serving, !one.is_terminating)
        });
        all.dedup_by_key(|(backend, _)| *backend);
        Self { all }
    }

    /// Who serves clients of this node.
    pub(super) fn serving(&self, id: ServingId, affinity_ms: u64, here: &Here) -> Serving {
        let topology = self.topology(here);
        let ready = self.list(|one| one.is_ready && topology.admits(one, here));
        let chosen = if ready.is_empty() { self.list(is_ending) } else { ready };
        self.with(id, affinity_ms, chosen, Lack::Reject)
    }

    /// The same where only those of this node are asked.
    pub(super) fn serving_near(&self, id: ServingId, affinity_ms: u64, here: &Here) -> Serving {
        let is_near = |one: &SliceEndpoint| here.node.is_some() && one.node == here.node;
        let ready = self.list(|one| one.is_ready && is_near(one));
        let ending = || self.list(|one| is_ending(one) && is_near(one));
        let chosen = if ready.is_empty() { ending() } else { ready };
        let is_elsewhere = self.all.iter().any(|(_, one)| one.is_ready || is_ending(one));
        let lack = if is_elsewhere { Lack::Drop } else { Lack::Reject };
        self.with(id, affinity_ms, chosen, lack)
    }

    fn with(&self, id: ServingId, affinity_ms: u64, chosen: Vec<Backend>, lack: Lack) -> Serving {
        let listed: Arc<[Backend]> = self.list(|_| true).into();
        let shared = |list: Vec<Backend>, with: &Arc<[Backend]>| {
            if list[..] == with[..] { Arc::clone(with) } else { list.into() }
        };
        let lasts = |one: &SliceEndpoint| one.is_ready || one.is_serving;
        let serving = shared(self.list(lasts), &listed);
        let chosen = shared(chosen, &serving);
        Serving { id, affinity_ms, lack, chosen, serving, listed }
    }

    fn list(&self, which: impl Fn(&SliceEndpoint) -> bool) -> Vec<Backend> {
        let chosen = self.all.iter().filter(|(_, one)| which(one));
        chosen.map(|(backend, _)| *backend).collect()
    }

    /// By what hints count here: by node where every endpoint that is ready has one and some are for
    /// this node, else by zone in the same way, else by none.
    fn topology(&self, here: &Here) -> Topology {
        let ready = || self.all.iter().map(|(_, one)| *one).filter(|one| one.is_ready);
        let by = |topology: Topology| {
            ready().all(|one| topology.is_hinted(one))
                && ready().any(|one| topology.admits(one, here))
        };
        let all = [Topology::Node, Topology::Zone];
        all.into_iter().find(|topology| by(*topology)).unwrap_or(Topology::Any)
    }
}

/// Whose clients endpoints are given to.
#[derive(Clone, Copy)]
enum Topology {
    Any,
    Zone,
    Node,
}

impl Topology {
    fn is_hinted(self, one: &SliceEndpoint) -> bool {
        one.hints.as_ref().is_some_and(|hints| match self {
            Self::Any => true,
            Self::Zone => !hints.zones.is_empty(),
            Self::Node => !hints.nodes.is_empty(),
        })
    }

    fn admits(self, one: &SliceEndpoint, here: &Here) -> bool {
        let Some(hints) = &one.hints else { return matches!(self, Self::Any) };
        match self {
            Self::Any => true,
            Self::Zone => here.zone.as_ref().is_some_and(|zone| hints.zones.contains(zone)),
            Self::Node => {
                here.node.as_deref().is_some_and(|node| hints.nodes.iter().any(|one| one == node))
            }
        }
    }
}

/// Whether it still serves while it ends.
fn is_ending(one: &SliceEndpoint) -> bool {
    one.is_serving && one.is_terminating && !one.is_ready
}
