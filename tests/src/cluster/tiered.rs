//! Policies in tiers: some for the whole cluster, by namespace and by label, and those of each
//! namespace's own people, who leave what they do not decide to the `NetworkPolicy` objects.

use std::sync::Arc;

use super::{NOWHERE, Size, kind_port, name_of};
use lockgate_control::expression::{Comparison, Expression};
use lockgate_control::manifest::{Metadata, Object, ObjectKey, ObjectKind, Origin};
use lockgate_control::policy::{
    Action, DefaultAction, IpProtocol, KUBE_ADMIN, Kind, Known, Listed, Order, OrderedPolicy,
    Ports, Rule, Selection, Side, Tier, Traffic, Within,
};

/// Policies of the first kinds: there are never more of them, however large a cluster is. A pod is
/// under a dozen of them.
const CLUSTER_WIDE: u32 = 40;
const GLOBAL: u32 = 40;
const CLUSTER_AND_GLOBAL: u32 = CLUSTER_WIDE + GLOBAL;

/// The tiers that policies are in, beside those that are always there.
pub(super) fn tiers() -> Vec<Object> {
    [("security", 100), ("application", 200)]
        .map(|(name, order)| {
            Object::Tier(Tier {
                metadata: metadata(Known::Tier, "", name),
                order: Order::of(order),
                default_action: DefaultAction::Pass,
                opens: true,
            })
        })
        .into()
}

/// A policy of a cluster, in a tier.
pub(super) fn policy(size: Size, number: u32) -> Object {
    match number {
        0..CLUSTER_WIDE => cluster_wide(size, number),
        CLUSTER_WIDE..CLUSTER_AND_GLOBAL => global(size, number - CLUSTER_WIDE),
        _ => of_namespace(size, number - CLUSTER_AND_GLOBAL),
    }
}

/// Of administrators: each tenth for all pods, the others for an application of a team.
fn cluster_wide(size: Size, number: u32) -> Object {
    let team = format!("t{}", number % 10);
    let (within, labels) = if number.is_multiple_of(10) {
        (Within::Namespaces(Expression::All.of_namespaces()), Expression::All)
    } else {
        (Within::Namespaces(equal("team", &team).of_namespaces()), app(size, number))
    };
    let monitoring = Within::Namespaces(equal("role", "monitoring").of_namespaces());
    let others =
        Within::Namespaces(equal("team", &format!("t{}", (number + 1) % 10)).of_namespaces());
    let ingress = vec![
        rule(Action::Allow, pods(monitoring, app(size, 0)), 9100 + kind_port(number)),
        rule(Action::Deny, pods(others, Expression::All), 2000 + kind_port(number)),
    ];
    let kind = Kind::ClusterNetworkPolicy;
    object((kind, "", format!("c{number}")), (KUBE_ADMIN, number), (within, labels), ingress)
}

/// Of those who look after what is safe, by labels of pods and of their namespaces.
fn global(size: Size, number: u32) -> Object {
    let ingress = vec![
        rule(
            Action::Deny,
            anything(Within::Anywhere, app(size, number + 3)),
            3000 + kind_port(number),
        ),
        rule(Action::Pass, Side::default(), 4000 + kind_port(number)),
    ];
    let labels = Expression::all_of([
        equal("pcns.team", &format!("t{}", number % 10)),
        app(size, number),
        Expression::Compare("tier".to_owned(), Comparison::NotEqual(format!("t{}", number % 3))),
    ]);
    let kind = Kind::GlobalNetworkPolicy;
    object(
        (kind, "", format!("g{number}")),
        ("security", number),
        (Within::Anywhere, labels),
        ingress,
    )
}

/// Of the people of a namespace.
fn of_namespace(size: Size, number: u32) -> Object {
    let (space, kind) = (name_of(number % size.namespaces), number / size.namespaces);
    let own = || Within::Namespace(space.as_str().into());
    let ingress = vec![
        rule(Action::Allow, anything(own(), app(size, kind + 1)), 5000 + kind_port(kind)),
        rule(Action::Deny, anything(own(), app(size, kind + 2)), 6000 + kind_port(kind)),
    ];
    let who = (Kind::CalicoNetworkPolicy, space.as_str(), format!("a{kind}"));
    object(who, ("application", kind), (own(), app(size, kind)), ingress)
}

fn object(
    (kind, namespace, name): (Kind, &str, String),
    (tier, order): (&str, u32),
    (within, labels): (Within, Expression),
    ingress: Vec<Listed>,
) -> Object {
    Object::Ordered(Box::new(OrderedPolicy {
        kind,
        metadata: metadata(Known::Policy(kind), namespace, &name),
        tier: Some(tier.into()),
        order: Order::of(order),
        subject: Selection::pods(within, labels),
        ingress: Some(ingress),
        egress: None,
        staged: None,
    }))
}

fn rule(action: Action, peer: Side, port: u16) -> Listed {
    let traffic = Traffic {
        protocol: Some(IpProtocol::TCP),
        target_ports: Some(vec![Ports::Range(port, port)]),
        ..Traffic::default()
    };
    let (own, peers, traffic) = (Side::default(), vec![peer], vec![traffic]);
    Listed::rule(Rule { name: None, action, own, peers, traffic })
}

fn pods(within: Within, labels: Expression) -> Side {
    Side { selection: Some(Selection::pods(within, labels)), ..Side::default() }
}

/// The same and sets of networks, as Calico's rules mean both.
fn anything(within: Within, labels: Expression) -> Side {
    let selection = Selection { takes_sets: true, ..Selection::pods(within, labels) };
    Side { selection: Some(selection), ..Side::default() }
}

fn app(size: Size, number: u32) -> Expression {
    equal("app", &format!("a{}", number % size.applications()))
}

fn equal(key: &str, value: &str) -> Expression {
    Expression::Compare(key.to_owned(), Comparison::Equal(value.to_owned()))
}

fn metadata(kind: Known, namespace: &str, name: &str) -> Metadata {
    let kind = ObjectKind::Ordered(kind);
    let key = ObjectKey::new(kind, namespace, name);
    Metadata { key, origin: Origin { file: Arc::clone(&NOWHERE), index: 0, line: 0 }, uid: None }
}
