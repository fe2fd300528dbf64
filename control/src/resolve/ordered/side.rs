//! One end of a rule, answered: which addresses it means.
//!
//! Where it cannot be known whether somebody is meant, what opens leaves them out and what closes
//! takes them in.

use ipnet::IpNet;
use lockgate_dataplane::policy::ruleset::Block;

use super::Ordered;
use super::ends::{self, Ends};
use super::groups::Pods;
use super::wearer::{Wearer, Wears};
use super::world::{Doubt, Outside, World};
use crate::expression::Expression;
use crate::inventory::Backends;
use crate::policy::{Family, Selection, Service, Side, Within};
use crate::selector::Labels;

impl<'i, W: World> Ordered<'i, W> {
    /// Whether nobody can be at an end, for all that is known.
    pub(crate) fn is_nobody(&self, side: &Side) -> bool {
        self.ends(side, Doubt::In).is_nobody()
    }

    /// Whether a selection may mean a set of networks, or a host endpoint, though it may be empty.
    pub(crate) fn selects_a_set(&self, selection: &Selection) -> bool {
        let mut sets = self.realm.networks.iter();
        selection.takes_sets && sets.any(|(set, ..)| set.is_selected(selection) != Some(false))
    }

    /// Whether a selection may mean a pod of this namespace that nothing else is known of.
    pub(crate) fn selects_bare(&self, namespace: &str, selection: &Selection) -> bool {
        let none = Labels::new();
        let bare = Wearer::bare(self.realm.inventory, namespace, &none);
        bare.is_selected(selection) != Some(false)
    }

    /// Who is meant by a side.
    pub(super) fn ends(&self, side: &Side, doubt: Doubt) -> Ends {
        let Side { nets, not_nets, selection, not_selector, service, nodes } = side;
        let mut ends = Ends::Any;
        if let Some(selection) = selection {
            ends = self.selected(selection, doubt);
        }
        if let Some(nets) = nets {
            ends = ends.and(Ends::blocks(nets.iter().copied()), &self.world);
        }
        if let Some(service) = service {
            ends = ends.and(self.backing(service, doubt), &self.world);
        }
        if let Some(labels) = nodes {
            ends = ends.and(self.nodes(labels, doubt), &self.world);
        }
        let mut out = not_nets.clone();
        if let Some(expression) = not_selector {
            out.extend(self.matching(expression, doubt));
        }
        ends.without(&out, &self.world)
    }

    /// The slices of a service, and whether they are all of it.
    pub(super) fn backends(&self, service: &'i Service) -> Backends<'i> {
        self.world.hear(Outside::Service(service));
        self.realm.inventory.backends(&service.namespace, &service.name)
    }

    fn selected(&self, selection: &Selection, doubt: Doubt) -> Ends {
        let mut blocks: Vec<Block> = Vec::new();
        if selection.takes_sets {
            self.world.hear(Outside::Networks);
            let mut is_everyone = self.realm.has_lost_set && doubt == Doubt::In;
            for (set, nets, is_whole) in &self.realm.networks {
                if doubt.settles(set.is_selected(selection)) {
                    blocks.extend(nets.iter().copied().map(ends::block));
                    is_everyone |= !is_whole && doubt == Doubt::In;
                }
            }
            if is_everyone {
                return Ends::Any;
            }
        }
        Ends::These { pods: self.world.pods(selection, doubt), blocks }
    }

    fn backing(&self, service: &Service, doubt: Doubt) -> Ends {
        self.world.hear(Outside::Service(service));
        let backends = self.realm.inventory.backends(&service.namespace, &service.name);
        if !backends.is_whole && doubt == Doubt::In {
            return Ends::Any;
        }
        let addresses = backends.slices.iter().flat_map(|slice| &slice.addresses);
        Ends::blocks(addresses.copied().map(IpNet::from))
    }

    fn nodes(&self, labels: &Expression, doubt: Doubt) -> Ends {
        self.world.hear(Outside::Nodes);
        let meant = |node: &&crate::manifest::Node| doubt.settles(Wearer::node(node).judge(labels));
        let nodes: Vec<_> = self.realm.inventory.nodes().filter(meant).collect();
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
        let anywhere = Selection::pods(Within::Anywhere, expression.clone());
        let pods: Pods = self.world.pods(&anywhere, doubt);
        let mut nets: Vec<IpNet> = ends::addresses(&pods, &self.world);
        self.world.hear(Outside::Networks);
        let mut is_everyone = self.realm.has_lost_set && doubt == Doubt::In;
        for (set, of_set, is_whole) in &self.realm.networks {
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
