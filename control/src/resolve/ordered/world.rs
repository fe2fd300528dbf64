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

/// All pods, or some as if there were no others; each of them is looked at for every question.
#[derive(Debug)]
pub(crate) struct Everyone<'r, 'i> {
    residents: &'r [Resident<'i>],
    /// Those that selectors see, ascending.
    pods: Vec<(PodIndex, Wearer<'i>)>,
}

impl<'r, 'i> Everyone<'r, 'i> {
    pub(super) fn new(inventory: &Inventory, residents: &'r [Resident<'i>]) -> Self {
        let all = (0..residents.len()).filter_map(|place| u32::try_from(place).ok());
        Self::among(inventory, residents, all.map(PodIndex))
    }

    /// These, ascending. A rule says of them what it says among all where these hold all of whom not
    /// everything is known.
    pub(crate) fn among(
        inventory: &Inventory,
        residents: &'r [Resident<'i>],
        places: impl IntoIterator<Item = PodIndex>,
    ) -> Self {
        let seen = |place: PodIndex| {
            let one = residents.get(usize::try_from(place.0).ok()?)?;
            (!one.is_denied).then(|| (place, Wearer::pod(inventory, one.pod)))
        };
        Self { residents, pods: places.into_iter().filter_map(seen).collect() }
    }

    /// Whether one of them may be selected.
    pub(crate) fn has_one(&self, selection: &Selection) -> bool {
        self.pods.iter().any(|(_, pod)| pod.is_selected(selection) != Some(false))
    }

    fn resident(&self, place: PodIndex) -> Option<&'r Resident<'i>> {
        self.residents.get(usize::try_from(place.0).ok()?)
    }
}

impl World for Everyone<'_, '_> {
    fn pods(&self, selection: &Selection, doubt: Doubt) -> Pods {
        let meant = self.pods.iter().filter(|(_, pod)| doubt.settles(pod.is_selected(selection)));
        Pods::Listed(meant.map(|one| one.0).collect())
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
        self.resident(pod).map_or(&[], |one| &one.owned)
    }

    fn bearers(&self, name: &str, protocol: Protocol) -> BTreeMap<u16, Vec<PodIndex>> {
        let mut found: BTreeMap<u16, Vec<PodIndex>> = BTreeMap::new();
        let is_it = |port: &&NamedPort| *port.name == *name && port.protocol == protocol;
        for (place, _) in &self.pods {
            let ports = self.resident(*place).into_iter().flat_map(|one| &*one.pod.ports);
            if let Some(port) = ports.into_iter().find(is_it) {
                found.entry(port.number).or_default().push(*place);
            }
        }
        found
    }

    fn unknown_ports(&self) -> Vec<PodIndex> {
        let places = self.pods.iter().map(|one| one.0);
        let is_known =
            |place: &PodIndex| self.resident(*place).is_some_and(|one| one.pod.has_known_ports);
        places.filter(|place| !is_known(place)).collect()
    }
}
