//! Made-up clusters, from a seed: what compiling at scale is measured on.
//!
//! Each namespace has applications of some pods each, and policies as people write them: a default
//! deny, its own pods, monitoring and DNS of other namespaces, the outside but for the cluster,
//! and one application to another. Half of them may be in tiers (`tiered`).

mod tiered;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, LazyLock};

use ipnet::IpNet;
use lockgate_control::manifest::{
    DEFAULT_ACCOUNT, Metadata, NamedPort, Namespace, NetworkPolicy, Object, ObjectKey, ObjectKind,
    Origin, Peer, Pod, PortPattern, Rule, WhichPorts,
};
use lockgate_control::selector::{LabelSelector, Labels, Operator, Requirement};
use lockgate_dataplane::packet::Protocol;

static NOWHERE: LazyLock<Arc<str>> = LazyLock::new(|| "".into());

/// How large.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Pods in all.
    pub pods: u32,
    /// Policies in all.
    pub policies: u32,
    /// Namespaces in all.
    pub namespaces: u32,
    /// Pods have IPv6 addresses too.
    pub dual: bool,
    /// Every other policy is in a tier.
    pub tiered: bool,
}

impl Size {
    /// Applications of a namespace: ten pods each, but for the smallest.
    #[must_use]
    pub fn applications(self) -> u32 {
        (self.pods / self.namespaces / 10).max(1)
    }

    /// Everything, namespaces first.
    pub fn objects(self) -> impl Iterator<Item = Object> {
        let tiers = tiered::tiers().into_iter().filter(move |_| self.tiered);
        let spaces = (0..self.namespaces).map(namespace).chain(tiers);
        let pods = (0..self.pods).map(move |number| self.pod(number));
        let policies = (0..self.policies).map(move |number| self.policy(number));
        spaces.chain(pods).chain(policies)
    }

    /// A pod of the cluster, or one more of its kind.
    #[must_use]
    pub fn pod(self, number: u32) -> Object {
        let application = number / self.namespaces % self.applications();
        self.pod_of(number, &format!("a{application}"))
    }

    /// A pod of an application of its namespace.
    #[must_use]
    pub fn pod_of(self, number: u32, application: &str) -> Object {
        let space = number % self.namespaces;
        let labels = [
            ("app", application.to_owned()),
            ("tier", format!("t{}", number / self.namespaces % 3)),
            ("pod-template-hash", format!("{application}-{}", space % 17)),
        ];
        let (node, slot) = (number / 250, number % 250);
        let v4 = Ipv4Addr::from_bits(0x0a00_0000 + node * 256 + slot + 1);
        let v6 = Ipv6Addr::from_bits(0xfd00 << 112 | u128::from(node) << 64 | u128::from(slot + 1));
        let mut addresses = vec![IpAddr::V4(v4)];
        addresses.extend(self.dual.then_some(IpAddr::V6(v6)));
        let labels = labels.into_iter().map(|(key, value)| (key.to_owned(), value));
        Object::Pod(Pod {
            metadata: metadata(ObjectKind::Pod, &name_of(space), &format!("p{number}")),
            labels: Some(Arc::new(labels.collect())),
            account: DEFAULT_ACCOUNT.into(),
            host_network: false,
            is_completed: false,
            addresses: addresses.into(),
            host_ips: [Ipv4Addr::from_bits(0xc0a8_0000 + node).into()].into(),
            ports: Arc::default(),
            host_ports: Box::default(),
            has_known_ports: true,
            // The first node's pods are local.
            interface: (node == 0).then(|| format!("lg{slot}").into()),
            mac: None,
        })
    }

    /// The same pod with a port named `web`, each tenth with another number.
    #[must_use]
    pub fn serving(self, number: u32) -> Object {
        let mut object = self.pod(number);
        if let Object::Pod(pod) = &mut object {
            let name = "web".into();
            let number = if number.is_multiple_of(10) { 8081 } else { 8080 };
            pod.ports = [NamedPort { name, protocol: Protocol::Tcp, number }].into();
        }
        object
    }

    fn policy(self, number: u32) -> Object {
        if self.tiered && number % 2 == 1 {
            return tiered::policy(self, number / 2);
        }
        let (space, kind) = (name_of(number % self.namespaces), number / self.namespaces);
        let (apps, cluster) = (self.applications(), "10.0.0.0/8");
        let app = |number: u32| one("app", &format!("a{}", number % apps));
        let (subjects, ingress, egress) = match kind {
            0 => (
                LabelSelector::default(),
                vec![rule(own(None), vec![])],
                Some(vec![
                    rule(own(None), vec![]),
                    rule(
                        across(one("role", "dns"), None),
                        vec![port(Protocol::Udp, 53), port(Protocol::Tcp, 53)],
                    ),
                ]),
            ),
            1 => (
                LabelSelector::default(),
                vec![rule(
                    across(one("role", "monitoring"), Some(one("app", "a0"))),
                    vec![port(Protocol::Tcp, 9090)],
                )],
                None,
            ),
            2 => (
                app(0),
                vec![rule(
                    across(LabelSelector::default(), Some(one("app", "a1"))),
                    vec![port(Protocol::Tcp, 443)],
                )],
                Some(vec![rule(
                    vec![block("0.0.0.0/0", &[cluster])],
                    vec![port(Protocol::Tcp, 443)],
                )]),
            ),
            _ => (
                app(kind),
                vec![
                    rule(
                        own(Some(app(kind + 1))),
                        vec![port(Protocol::Tcp, 8000 + kind_port(kind))],
                    ),
                    rule(
                        own(Some(app(kind + 2))),
                        vec![port(Protocol::Tcp, 9000 + kind_port(kind))],
                    ),
                ],
                None,
            ),
        };
        Object::Policy(NetworkPolicy {
            metadata: metadata(ObjectKind::Policy, &space, &format!("n{kind}")),
            subjects,
            ingress: Some(ingress.into_iter().map(Some).collect()),
            egress: egress.map(|rules| rules.into_iter().map(Some).collect()),
        })
    }
}

/// A policy of many rules, each with peers that there are and a port of its own; `change` is in
/// one of them.
#[must_use]
pub fn large_policy(size: Size, rules: u32, change: u16) -> Object {
    policy_about(size.applications(), rules, change)
}

/// The same, with peers of the first so many applications; of one, the same peer in every rule.
#[must_use]
pub fn policy_about(applications: u32, rules: u32, change: u16) -> Object {
    let listed = (0..rules).map(|number| {
        // Of applications that there are: a rule whose peers nobody is costs nothing to ask.
        let application = format!("a{}", number % applications);
        let peers = if applications == 1 || number % 2 == 0 {
            own(Some(one("app", &application)))
        } else {
            across(one("team", &format!("t{}", number % 10)), Some(one("app", &application)))
        };
        let shift = if number == rules / 2 { change } else { 0 };
        Some(rule(peers, vec![port(Protocol::Tcp, 1000 + kind_port(number) + shift)]))
    });
    about_the_first("large", Some(listed.collect()), None)
}

/// A policy of many rules, each about an address of nobody; `change` is one of those.
#[must_use]
pub fn large_blocks(rules: u32, change: u16) -> Object {
    let listed = (0..rules).map(|number| {
        let shift = if number == rules / 2 { u32::from(change) << 12 } else { 0 };
        let address = Ipv4Addr::from_bits(0xac10_0000 + number + shift);
        Some(rule(vec![block(&format!("{address}/32"), &[])], vec![port(Protocol::Tcp, 443)]))
    });
    about_the_first("blocks", Some(listed.collect()), None)
}

/// A policy that lets its pods reach a named port of whatever is in a block.
#[must_use]
pub fn web_in_blocks() -> Object {
    let which = WhichPorts::Named("web".to_owned());
    let ports = vec![PortPattern { protocol: Protocol::Tcp, which }];
    about_the_first("web", None, Some(vec![Some(rule(vec![block("10.0.0.0/8", &[])], ports))]))
}

/// A policy about the first application of the first namespace.
fn about_the_first(
    name: &str,
    ingress: Option<Vec<Option<Rule>>>,
    egress: Option<Vec<Option<Rule>>>,
) -> Object {
    let metadata = metadata(ObjectKind::Policy, &name_of(0), name);
    Object::Policy(NetworkPolicy { metadata, subjects: one("app", "a0"), ingress, egress })
}

/// A namespace; the first two are monitoring's and the name servers'.
#[must_use]
pub fn namespace(number: u32) -> Object {
    let mut labels = Labels::new();
    labels.insert("team", &format!("t{}", number % 10));
    let roles = ["monitoring", "dns"];
    if let Some(role) = usize::try_from(number).ok().and_then(|at| roles.get(at)) {
        labels.insert("role", role);
    }
    let metadata = metadata(ObjectKind::Namespace, "", &name_of(number));
    Object::Namespace(Namespace { metadata, labels: Some(labels), is_terminating: false })
}

fn kind_port(kind: u32) -> u16 {
    u16::try_from(kind % 20_000).unwrap_or(0)
}

fn name_of(space: u32) -> String {
    format!("ns{space}")
}

fn metadata(kind: ObjectKind, namespace: &str, name: &str) -> Metadata {
    let key = ObjectKey::new(kind, namespace, name);
    // As from an API server: of no file.
    let file = Arc::clone(&NOWHERE);
    Metadata { key, origin: Origin { file, index: 0, line: 0 }, uid: None }
}

fn one(key: &str, value: &str) -> LabelSelector {
    let operator = Operator::In(vec![value.to_owned()]);
    LabelSelector::new(vec![Requirement { key: key.to_owned(), operator }])
}

fn own(pods: Option<LabelSelector>) -> Vec<Peer> {
    vec![Peer::Pods { namespaces: None, pods: Some(pods.unwrap_or_default()) }]
}

fn across(namespaces: LabelSelector, pods: Option<LabelSelector>) -> Vec<Peer> {
    vec![Peer::Pods { namespaces: Some(namespaces), pods }]
}

fn block(cidr: &str, except: &[&str]) -> Peer {
    let net = |text: &str| text.parse::<IpNet>().unwrap_or_default();
    Peer::Block { cidr: net(cidr), except: except.iter().map(|text| net(text)).collect() }
}

fn port(protocol: Protocol, number: u16) -> PortPattern {
    PortPattern { protocol, which: WhichPorts::Range(number, number) }
}

fn rule(peers: Vec<Peer>, ports: Vec<PortPattern>) -> Rule {
    Rule { peers, ports }
}
