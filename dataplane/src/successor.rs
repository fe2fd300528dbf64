//! Who owns today what a predecessor's workers had. Cold: once for each connection, at the start of a
//! switch.
//!
//! Pods have other names, ports and workers than they had. So a connection is taken from its owner
//! and given to the worker that packets of it come to now, by the same laws that `worker` goes by. Its
//! ends must be who they were: whoever asks says which pod of today is one of then, and a pod that is
//! there must have the address. What does not fit is dropped: better a connection cut than one that
//! somebody else gets (NP-54).

use std::net::IpAddr;

use hashbrown::HashMap;

use crate::clock::Tick;
use crate::connection::translation::translator;
use crate::connection::{Adoption, Holder, Survivor};
use crate::endpoint::{Endpoints, Kind, Local};
use crate::handoff::owner;
use crate::ids::{EndpointId, PortRef, WorkerId};
use crate::packet::{Address, FlowKey, Protocol};
use crate::seat::Seat;
use crate::service::own::{as_itself, asker, is_asking};
use crate::service::{Extent, FrontKey};

/// What is known of a pod that a predecessor knew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It is there, under this name.
    As(EndpointId),
    /// It has no port, and may have one later.
    NotYet,
    /// It is another pod, or none.
    Gone,
}

/// Why a connection is not given to a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// A pod of it has no port yet.
    NotYet,
    /// One of its ends is not who it was.
    Gone,
}

/// One end of today: a pod of this node, or whoever is beyond the host port.
type End<'e> = Option<&'e Local>;

/// What clients beyond the host port wrote to Services, by who translated it and what its backend
/// sees: a connection says that alone, and who translates today follows from what the client wrote.
#[derive(Clone, Debug, Default)]
pub struct Fronts(HashMap<(WorkerId, FlowKey), FlowKey>);

impl Fronts {
    /// Those of one predecessor.
    #[must_use]
    pub fn of(survivors: &[Survivor]) -> Self {
        let outside = survivors.iter().filter(|one| matches!(one.ends(), [None, _]));
        let backs = outside.filter_map(|one| Some(((one.worker(), one.back()?), one.opening())));
        Self(backs.collect())
    }
}

/// Where clients ask Services by connections that go on when these go, in the order in which they were
/// last seen.
#[must_use]
pub fn asked(survivors: &[Survivor]) -> Vec<FrontKey> {
    let is_lasting = |key: &FlowKey| matches!(key.protocol, Protocol::Tcp | Protocol::Sctp);
    let translations = survivors.iter().filter(|one| one.back().is_some());
    let mut last: HashMap<FrontKey, Tick> = HashMap::new();
    for one in translations.filter(|one| is_lasting(&one.opening())) {
        let seen = last.entry(FrontKey::of(&one.opening())).or_insert(one.seen());
        *seen = one.seen().max(*seen);
    }
    let mut asked: Vec<(Tick, FrontKey)> = last.into_iter().map(|(key, at)| (at, key)).collect();
    asked.sort_unstable();
    asked.into_iter().map(|(_, key)| key).collect()
}

/// Gives a connection or a translation to the worker that owns it now.
///
/// # Errors
/// Why it fits nowhere, or does not yet.
pub fn place(
    survivor: &Survivor,
    endpoints: &Endpoints,
    workers: u8,
    fronts: &Fronts,
    known: impl Fn(EndpointId) -> Known,
) -> Result<(WorkerId, Adoption), Misfit> {
    let key = survivor.opening();
    let [source, target] = survivor.ends();
    let same = |one: Option<EndpointId>| one.map_or(Ok(None), |id| now(known(id)).map(Some));
    let (source, target) = (same(source)?, same(target)?);
    // A pod that a Service gave itself as a backend sees the switch in its place.
    let is_itself = target == source && key.source == as_itself(key.target);
    let opener = match source {
        Some(pod) if is_itself => Some(of(endpoints, pod, key.target)?),
        Some(pod) => Some(of(endpoints, pod, key.source)?),
        None => nobody(endpoints, key.source)?,
    };
    let translator = |front: &FlowKey| match opener {
        Some(opener) => opener.at.worker,
        None => translator(front.source, front.target, workers.into()),
    };
    if let Some(back) = survivor.back() {
        let by = translator(&key);
        let ends = [opener, backend(endpoints, opener, &back)?];
        let holder = holder(endpoints, &key, by, ends)?;
        return Ok((by, survivor.adopted([source, target], holder, None)));
    }
    let other = match target {
        Some(pod) => Some(of(endpoints, pod, key.target)?),
        None => nobody(endpoints, key.target)?,
    };
    let owner = match (opener, other) {
        (Some(one), Some(other)) => owner(one.at, other.at),
        (Some(pod), None) | (None, Some(pod)) => pod.at.worker,
        (None, None) => asked_by(&key, workers).ok_or(Misfit::Gone)?,
    };
    // What nobody knows any more no reply can be given back.
    let by = |was: WorkerId| match opener {
        Some(opener) => Ok(opener.at.worker),
        None => fronts.0.get(&(was, key)).map(translator).ok_or(Misfit::Gone),
    };
    let translator = survivor.translator().map(by).transpose()?;
    let holder = holder(endpoints, &key, owner, [opener, other])?;
    Ok((owner, survivor.adopted([source, target], holder, translator)))
}

/// Who owns what the switch itself asked of who is elsewhere, for who is elsewhere too.
fn asked_by(key: &FlowKey, workers: u8) -> Option<WorkerId> {
    is_asking(key.source).then(|| asker(key.source_port, workers.into()))
}

fn now(known: Known) -> Result<EndpointId, Misfit> {
    match known {
        Known::As(id) => Ok(id),
        Known::NotYet => Err(Misfit::NotYet),
        Known::Gone => Err(Misfit::Gone),
    }
}

/// The pod of an address, if it is this one.
fn of(endpoints: &Endpoints, pod: EndpointId, address: Address) -> Result<&Local, Misfit> {
    match endpoints.place(address).kind {
        Kind::Local(index) => {
            Some(endpoints.local(index)).filter(|local| local.endpoint == pod).ok_or(Misfit::Gone)
        }
        Kind::Outside | Kind::Service(Extent::Fronts) => Err(Misfit::NotYet),
        Kind::Node(_) | Kind::Service(Extent::Whole) => Err(Misfit::Gone),
    }
}

/// An end that was no pod of this node is none now.
fn nobody(endpoints: &Endpoints, address: Address) -> Result<End<'_>, Misfit> {
    match endpoints.place(address).kind {
        Kind::Local(_) | Kind::Service(Extent::Whole) => Err(Misfit::Gone),
        Kind::Outside | Kind::Node(_) | Kind::Service(Extent::Fronts) => Ok(None),
    }
}

/// The backend of a translation: a pod of this node, or who is elsewhere. Where its client is elsewhere
/// too, the switch asks in its place.
fn backend<'e>(
    endpoints: &'e Endpoints,
    opener: End<'e>,
    back: &FlowKey,
) -> Result<End<'e>, Misfit> {
    match endpoints.place(back.target).kind {
        Kind::Local(index) => Ok(Some(endpoints.local(index))),
        _ if opener.is_some() || is_asking(back.source) => Ok(None),
        _ => Err(Misfit::Gone),
    }
}

/// Whom it counts for: see `worker::route`. What the switch asked for others counts as theirs who are
/// outside: whether the node was it, only the translation says.
fn holder(
    endpoints: &Endpoints,
    key: &FlowKey,
    owner: WorkerId,
    [opener, other]: [End<'_>; 2],
) -> Result<Holder, Misfit> {
    let is_node = matches!(endpoints.place(key.source).kind, Kind::Node(_));
    let (endpoint, at, opens) = match (opener, other) {
        (Some(pod), _) => (pod.endpoint, pod.at, true),
        (None, Some(pod)) => (pod.endpoint, pod.at, is_node),
        (None, None) => (EndpointId::NODE, host_at(endpoints, owner)?, is_node),
    };
    Ok(Holder { endpoint, seat: Seat::of(at), opens })
}

/// The host port of a worker.
fn host_at(endpoints: &Endpoints, worker: WorkerId) -> Result<PortRef, Misfit> {
    let host = endpoints.host().ok_or(Misfit::NotYet)?;
    let slot = host.slots.get(worker.index()).copied().ok_or(Misfit::Gone)?;
    Ok(PortRef { port: host.port, worker, slot })
}

/// The addresses of a connection, for whoever tells people of it.
#[must_use]
pub fn addresses(survivor: &Survivor) -> [IpAddr; 2] {
    let key = survivor.opening();
    [key.source.into(), key.target.into()]
}
