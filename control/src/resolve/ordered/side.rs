//! One end of a rule, answered: which addresses it means.
//!
//! Where it cannot be known whether somebody is meant, what opens leaves them out and what closes
//! takes them in.

use ipnet::IpNet;
use lockgate_dataplane::policy::ruleset::{Block, PodIndex};

use super::ends::{self, Ends};
use super::wearer::Wearer;
use crate::expression::Expression;
use crate::inventory::{Backends, Inventory, Resident};
use crate::policy::{Family, Selection, Service, Side};
use crate::selector::Labels;

/// How what is not known counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// It is left out: for what opens.
    Out,
    /// It is taken in: for what closes.
    In,
}

impl Doubt {
    fn settles(self, known: Option<bool>) -> bool {
        known.unwrap_or(self == Self::In)
    }
}

/// Everything that can be at an end.
#[derive(Debug)]
pub(super) struct World<'i> {
    inventory: &'i Inventory,
    pub(super) residents: &'i [Resident<'i>],
    /// By place; `None` of pods that no selector sees.
    pods: Vec<Option<Wearer<'i>>>,
    sets: Vec<(Wearer<'i>, &'i [IpNet], bool)>,
    /// Whether a set is lost: what closes takes it to be selected anywhere.
    has_lost_set: bool,
}

impl<'i> World<'i> {
    pub(super) fn new(inventory: &'i Inventory, residents: &'i [Resident<'i>]) -> Self {
        let wearer = |one: &Resident<'i>| (!one.is_denied).then(|| Wearer::pod(inventory, one));
        let sets = inventory.network_sets();
        let known = sets.filter(|set| set.labels.is_some());
        Self {
            inventory,
            residents,
            pods: residents.iter().map(wearer).collect(),
            sets: known
                .map(|set| (Wearer::set(inventory, set), set.nets.as_slice(), set.is_whole))
                .collect(),
            has_lost_set: inventory.network_sets().any(|set| set.labels.is_none()),
        }
    }

    /// The pods that are selected, ascending.
    pub(super) fn pods(&self, selection: &Selection, doubt: Doubt) -> Vec<PodIndex> {
        self.pods_where(|pod| doubt.settles(pod.is_selected(selection)))
    }

    /// Whether a pod without labels would be selected, which is in this namespace.
    pub(super) fn selects_bare(&self, namespace: &str, selection: &Selection) -> bool {
        let none = Labels::new();
        Wearer::bare(self.inventory, namespace, &none).is_selected(selection) != Some(false)
    }

    fn pods_where(&self, is_meant: impl Fn(&Wearer<'i>) -> bool) -> Vec<PodIndex> {
        let pods = (0_u32..).zip(&self.pods);
        let meant = pods.filter(|(_, pod)| pod.as_ref().is_some_and(&is_meant));
        meant.map(|(place, _)| PodIndex(place)).collect()
    }

    /// Who is meant by a side.
    pub(super) fn ends(&self, side: &Side, doubt: Doubt) -> Ends {
        let Side { nets, not_nets, selection, not_selector, service, nodes } = side;
        let mut ends = Ends::Any;
        if let Some(selection) = selection {
            ends = self.selected(selection, doubt);
        }
        if let Some(nets) = nets {
            ends = ends.and(Ends::blocks(nets.iter().copied()), self.residents);
        }
        if let Some(service) = service {
            ends = ends.and(self.backing(service, doubt), self.residents);
        }
        if let Some(labels) = nodes {
            ends = ends.and(self.nodes(labels, doubt), self.residents);
        }
        let mut out = not_nets.clone();
        if let Some(expression) = not_selector {
            out.extend(self.matching(expression, doubt));
        }
        ends.without(&out, self.residents)
    }

    /// The slices of a service, and whether they are all of it.
    pub(super) fn backends(&self, service: &'i Service) -> Backends<'i> {
        self.inventory.backends(&service.namespace, &service.name)
    }

    fn selected(&self, selection: &Selection, doubt: Doubt) -> Ends {
        let mut blocks: Vec<Block> = Vec::new();
        if selection.takes_sets {
            let mut is_everyone = self.has_lost_set && doubt == Doubt::In;
            for (set, nets, is_whole) in &self.sets {
                if doubt.settles(set.is_selected(selection)) {
                    blocks.extend(nets.iter().copied().map(ends::block));
                    is_everyone |= !is_whole && doubt == Doubt::In;
                }
            }
            if is_everyone {
                return Ends::Any;
            }
        }
        Ends::These { pods: self.pods(selection, doubt), blocks }
    }

    fn backing(&self, service: &Service, doubt: Doubt) -> Ends {
        let backends = self.inventory.backends(&service.namespace, &service.name);
        if !backends.is_whole && doubt == Doubt::In {
            return Ends::Any;
        }
        let addresses = backends.slices.iter().flat_map(|slice| &slice.addresses);
        Ends::blocks(addresses.copied().map(IpNet::from))
    }

    fn nodes(&self, labels: &Expression, doubt: Doubt) -> Ends {
        let meant = |node: &&crate::manifest::Node| doubt.settles(Wearer::node(node).judge(labels));
        let nodes: Vec<_> = self.inventory.nodes().filter(meant).collect();
        if doubt == Doubt::In && nodes.iter().any(|node| !node.is_whole) {
            return Ends::Any;
        }
        let addresses = nodes.iter().flat_map(|node| &node.addresses);
        Ends::blocks(addresses.copied().map(IpNet::from))
    }

    /// The addresses of all that matches, wherever it is: to be left out, so that doubt counts the
    /// other way.
    fn matching(&self, expression: &Expression, doubt: Doubt) -> Vec<IpNet> {
        let doubt = if doubt == Doubt::In { Doubt::Out } else { Doubt::In };
        let pods = self.pods_where(|pod| doubt.settles(pod.judge(expression)));
        let mut nets: Vec<IpNet> = ends::addresses(&pods, self.residents);
        let mut is_everyone = self.has_lost_set && doubt == Doubt::In;
        for (set, of_set, is_whole) in &self.sets {
            if doubt.settles(set.judge(expression)) {
                nets.extend(of_set.iter().map(IpNet::trunc));
                is_everyone |= !is_whole && doubt == Doubt::In;
            }
        }
        if is_everyone {
            return [Family::V4, Family::V6].map(ends::all_of).into();
        }
        nets
    }
}
