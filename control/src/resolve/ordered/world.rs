//! Whom policies can mean, as they ask for it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;

use lockgate_dataplane::packet::Protocol;
use lockgate_dataplane::policy::ruleset::PodIndex;

use super::groups::Pods;
use super::wearer::{Wearer, Wears};
use crate::inventory::{Inventory, Resident};
use crate::manifest::NamedPort;
use crate::policy::{Selection, Service};

/// How what is not known counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Doubt {
    /// It is left out: for what opens.
    Out,
    /// It is taken in: for what closes.
    In,
}

impl Doubt {
    pub(crate) fn settles(self, known: Option<bool>) -> bool {
        known.unwrap_or(self == Self::In)
    }
}

/// What a policy asks for that is no pod.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outside<'p> {
    /// Sets of networks.
    Networks,
    /// Nodes.
    Nodes,
    /// The slices of a service.
    Service(&'p Service),
}

/// The pods. Whoever keeps what was answered must answer again where it differs.
pub(crate) trait World {
    /// Those that are selected. Equal where nobody can tell them apart.
    fn pods(&self, selection: &Selection, doubt: Doubt) -> Pods;

    /// Who they are, ascending.
    fn list<'p>(&self, pods: &'p Pods) -> Cow<'p, [PodIndex]>;

    /// The addresses of a pod.
    fn addresses(&self, pod: PodIndex) -> &[IpAddr];

    /// The pods that have a port of this name, ascending, by its number.
    fn bearers(&self, name: &str, protocol: Protocol) -> BTreeMap<u16, Vec<PodIndex>>;

    /// The pods that may call any port by any name, ascending.
    fn unknown_ports(&self) -> Vec<PodIndex>;

    /// Hears of what else is asked for.
    fn hear(&self, _: Outside<'_>) {}
}

/// All pods, each of them looked at for every question.
#[derive(Debug)]
pub(crate) struct Everyone<'i> {
    residents: &'i [Resident<'i>],
    /// By place; `None` of pods that no selector sees.
    pods: Vec<Option<Wearer<'i>>>,
}

impl<'i> Everyone<'i> {
    pub(super) fn new(inventory: &Inventory, residents: &'i [Resident<'i>]) -> Self {
        let wearer = |one: &Resident<'i>| (!one.is_denied).then(|| Wearer::pod(inventory, one));
        Self { residents, pods: residents.iter().map(wearer).collect() }
    }

    fn seen(&self) -> impl Iterator<Item = (PodIndex, &Resident<'i>)> {
        let pods = (0_u32..).map(PodIndex).zip(self.residents);
        pods.filter(|(_, one)| !one.is_denied)
    }
}

impl World for Everyone<'_> {
    fn pods(&self, selection: &Selection, doubt: Doubt) -> Pods {
        let is_meant = |pod: &Wearer<'_>| doubt.settles(pod.is_selected(selection));
        let pods = (0_u32..).map(PodIndex).zip(&self.pods);
        let meant = pods.filter(|(_, pod)| pod.as_ref().is_some_and(is_meant));
        Pods::Listed(meant.map(|(place, _)| place).collect())
    }

    fn list<'p>(&self, pods: &'p Pods) -> Cow<'p, [PodIndex]> {
        match pods {
            Pods::Listed(pods) => pods.into(),
            Pods::Selected(selection, doubt) => match self.pods(selection, *doubt) {
                Pods::Listed(pods) => pods.into(),
                Pods::Selected(..) => Cow::default(),
            },
        }
    }

    fn addresses(&self, pod: PodIndex) -> &[IpAddr] {
        let at = usize::try_from(pod.0).ok();
        at.and_then(|at| self.residents.get(at)).map_or(&[], |one| &one.owned)
    }

    fn bearers(&self, name: &str, protocol: Protocol) -> BTreeMap<u16, Vec<PodIndex>> {
        let mut found: BTreeMap<u16, Vec<PodIndex>> = BTreeMap::new();
        let is_it = |port: &&NamedPort| port.name == name && port.protocol == protocol;
        for (place, resident) in self.seen() {
            if let Some(port) = resident.pod.ports.iter().find(is_it) {
                found.entry(port.number).or_default().push(place);
            }
        }
        found
    }

    fn unknown_ports(&self) -> Vec<PodIndex> {
        let unknown = self.seen().filter(|(_, one)| !one.pod.has_known_ports);
        unknown.map(|(place, _)| place).collect()
    }
}
