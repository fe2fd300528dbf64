//! How findings are worded: the path of what they are about, and whom selectors mean.

use lockgate_dataplane::policy::ruleset::Direction;

use super::reading::At;
use crate::expression::{Expression, OF_NAMESPACE};
use crate::policy::{Kind, Selection, Within};

/// A part of a policy, to be named as its kind writes it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Field {
    Subject(Blamed),
    Order,
    Rules(At),
    Rule(At),
    Peer(At),
    Own(At),
    Net(At),
    /// A port, by the place of its kind of traffic and its own in that.
    Port(At, usize, usize),
    /// Whom a rule of Calico means, at its other end.
    Selector(At),
    /// Whom a rule of Calico leaves out, by the end of it.
    NotSelector(At, Direction),
    /// A port that a rule of Calico leaves out, by its place.
    NotPort(At, usize),
}

/// What of a subject's selectors leaves nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blamed {
    Labels,
    Namespaces,
    Accounts,
    /// The name of a profile.
    Name,
}

/// How a kind is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Kubernetes,
    Calico,
    Cluster,
}

pub(super) fn dialect(kind: Kind) -> Dialect {
    match kind {
        Kind::NetworkPolicy | Kind::StagedKubernetesNetworkPolicy => Dialect::Kubernetes,
        Kind::CalicoNetworkPolicy
        | Kind::GlobalNetworkPolicy
        | Kind::StagedNetworkPolicy
        | Kind::StagedGlobalNetworkPolicy
        | Kind::Profile => Dialect::Calico,
        Kind::ClusterNetworkPolicy
        | Kind::AdminNetworkPolicy
        | Kind::BaselineAdminNetworkPolicy => Dialect::Cluster,
    }
}

impl Field {
    /// Its path in an object of a kind.
    pub(super) fn of(self, kind: Kind) -> String {
        use Dialect::{Calico, Cluster, Kubernetes};
        let dialect = dialect(kind);
        let rules = |at: At| match at.direction {
            Direction::Ingress => "spec.ingress".to_owned(),
            Direction::Egress => "spec.egress".to_owned(),
        };
        let rule = |at: At| format!("{}[{}]", rules(at), at.rule);
        let peer = |at: At| match (dialect, at.direction) {
            (Calico, Direction::Ingress) => format!("{}.source", rule(at)),
            (Calico, Direction::Egress) => format!("{}.destination", rule(at)),
            (_, Direction::Ingress) => format!("{}.from[{}]", rule(at), at.peer),
            (_, Direction::Egress) => format!("{}.to[{}]", rule(at), at.peer),
        };
        match self {
            Self::Subject(blamed) => match (dialect, blamed) {
                (Kubernetes, _) => "spec.podSelector".to_owned(),
                (Calico, Blamed::Labels) => "spec.selector".to_owned(),
                (Calico, Blamed::Namespaces) => "spec.namespaceSelector".to_owned(),
                (Calico, Blamed::Accounts) => "spec.serviceAccountSelector".to_owned(),
                (Calico, Blamed::Name) => "metadata.name".to_owned(),
                (Cluster, _) => "spec.subject".to_owned(),
            },
            Self::Order if dialect == Cluster => "spec.priority".to_owned(),
            // It is always the same, and written nowhere.
            Self::Order if dialect == Kubernetes => String::new(),
            Self::Order => "spec.order".to_owned(),
            Self::Rules(at) => rules(at),
            Self::Rule(at) => rule(at),
            Self::Peer(at) => peer(at),
            Self::Own(at) => format!("{}.{}", rule(at), end(at.direction)),
            Self::Selector(at) => format!("{}.selector", peer(at)),
            Self::NotSelector(at, of) => format!("{}.{}.notSelector", rule(at), end(of)),
            Self::NotPort(at, place) => format!("{}.destination.notPorts[{place}]", rule(at)),
            Self::Net(at) => {
                let net = at.net.unwrap_or_default();
                match dialect {
                    Kubernetes => format!("{}.ipBlock.cidr", peer(at)),
                    Calico => format!("{}.nets[{net}]", peer(at)),
                    Cluster => format!("{}.networks[{net}]", peer(at)),
                }
            }
            Self::Port(at, place, port) => match (dialect, kind) {
                (Kubernetes, _) => format!("{}.ports[{place}]", rule(at)),
                (Calico, _) => format!("{}.destination.ports[{port}]", rule(at)),
                (_, Kind::ClusterNetworkPolicy) => format!("{}.protocols[{place}]", rule(at)),
                _ => format!("{}.ports[{place}]", rule(at)),
            },
        }
    }
}

/// The end of a rule that its policy's own pods are, in a direction.
fn end(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "destination",
        Direction::Egress => "source",
    }
}

/// Whom a selection means, after "is".
pub(super) fn told(selection: &Selection) -> String {
    let mut words = match &selection.within {
        Within::Anywhere | Within::Global => "there".to_owned(),
        Within::Namespace(name) => format!("in namespace {name}"),
        Within::Namespaces(expression) => {
            format!("in a namespace with {}", expression.to_string().replace(OF_NAMESPACE, ""))
        }
    };
    if selection.labels != Expression::All {
        words.push_str(" with ");
        words.push_str(&selection.labels.to_string());
    }
    if selection.accounts.is_some() {
        words += " and such a service account";
    }
    words
}
