//! The kept rules against those made from nothing, after every change of a tiny cluster. The suite
//! asks the same of larger ones, by verdicts; here a rule that is there twice, or for nobody, is
//! as good as one.

use lockgate_dataplane::policy::ruleset::{Direction, Peers, Policy, Ports};
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::resolve::resolve;

/// A ruleset without places and numbers: pods with their addresses, policies that isolate, and of
/// each rule every subject with every peer and every range of ports.
type Meaning = [BTreeSet<String>; 3];

fn meaning(ruleset: &Ruleset) -> Meaning {
    let pods = ruleset.pods.iter().filter(|pod| pod.endpoint != EndpointId(u32::MAX));
    let pods = pods.map(|pod| format!("{:?} {:?}", pod.endpoint, pod.addresses)).collect();
    let members = |set: SetId| {
        let pods = ruleset.sets[set.0 as usize].pods.iter();
        pods.map(|pod| format!("{:?}", ruleset.pods[pod.0 as usize].endpoint)).collect::<Vec<_>>()
    };
    let peers = |peers: &Peers| match peers {
        Peers::Any => vec!["any".to_owned()],
        Peers::Sets(sets) => {
            let blocks = sets.iter().flat_map(|set| &ruleset.sets[set.0 as usize].blocks);
            let blocks = blocks.map(|block| format!("{block:?}"));
            sets.iter().flat_map(|set| members(*set)).chain(blocks).collect()
        }
    };
    let ports = |ports: &Ports| match ports {
        Ports::Any => vec!["any".to_owned()],
        Ports::Ranges(ranges) => ranges.iter().map(|range| format!("{range:?}")).collect(),
    };
    let (mut isolated, mut allowed) = (BTreeSet::new(), BTreeSet::new());
    for policy in &ruleset.policies {
        for direction in [Direction::Egress, Direction::Ingress] {
            let Some(rules) = Policy::rules(policy, direction) else { continue };
            let head = format!(
                "{} {:?} {:?} {:?} {direction:?}",
                policy.name, policy.stage, policy.tier, policy.order
            );
            isolated.extend(members(policy.subjects).iter().map(|pod| format!("{head} {pod}")));
            for rule in rules {
                for subject in members(rule.subjects.unwrap_or(policy.subjects)) {
                    for peer in peers(&rule.peers) {
                        allowed.extend(ports(&rule.ports).iter().map(|ports| {
                            format!(
                                "{head} {} {:?} {subject} {peer} {ports}",
                                rule.index, rule.action
                            )
                        }));
                    }
                }
            }
        }
    }
    [pods, isolated, allowed]
}

const SPECS: [&str; 12] = [
    "ingress: []",
    "ingress: [{from: [{podSelector: {matchLabels: {app: a}}}]}]",
    "podSelector: {matchLabels: {app: b}}, ingress: [{ports: [{port: web}, {port: 9}]}]",
    "podSelector: {matchLabels: {app: a}}, ingress: [{ports: [{port: web}]}], egress: []",
    "egress: [{to: [{podSelector: {}}], ports: [{port: web}]}]",
    "egress: [{to: [{ipBlock: {cidr: 10.0.0.0/30}}], ports: [{port: web}]}]",
    "egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.2/32]}}], ports: [{port: web}]}]",
    "ingress: [{from: [{namespaceSelector: {matchLabels: {team: t}}}]}]",
    "ingress: [{from: [{namespaceSelector: {matchExpressions: [{key: team, operator: \
     DoesNotExist}]}, podSelector: {matchExpressions: [{key: app, operator: In, values: [a, b]}]}}]}]",
    "egress: [{to: [{namespaceSelector: {}, podSelector: {matchLabels: {app: a}}}], ports: \
     [{port: web}, {port: web, protocol: UDP}]}]",
    "ingress: [{from: [{podSelector: {matchExpressions: [{key: app, operator: NotIn, values: \
     [a]}]}}, {ipBlock: {cidr: 10.0.0.0/24}}]}]",
    "podSelector: {matchExpressions: [{key: app, operator: Exists}]}, egress: [{ports: [{port: \
     1, endPort: 5}]}, {to: [{namespaceSelector: {matchLabels: {team: u}}}]}]",
];

/// Of Calico's, by what their selectors may ask of.
const CALICO: [&str; 17] = [
    "selector: app == 'a', ingress: [{action: Deny, source: {selector: app == 'b'}}, {action: Allow}]",
    "order: 3, selector: all(), egress: [{action: Allow, destination: {notSelector: app == 'a'}}]",
    "selector: pcns.team == 't', types: [Ingress, Egress]",
    "selector: has(app), ingress: [{action: Pass, protocol: TCP, destination: {ports: [web, '1:5']}}]",
    "tier: t, selector: all(), ingress: [{action: Deny, source: {selector: role == 'out'}}]",
    "tier: t, selector: app != 'b', egress: [{action: Allow, protocol: TCP, source: {selector: app \
     == 'a'}, destination: {nets: [10.0.0.0/30], ports: [web]}}]",
    "selector: all(), ingress: [{action: Allow, source: {serviceAccounts: {names: [robot]}}}]",
    "selector: all(), egress: [{action: Allow, destination: {services: {name: s, namespace: x}}}]",
    "selector: pcsa.role == 'r', ingress: [{action: Deny, source: {selector: pcsa.role != 'r'}}]",
    "serviceAccountSelector: role == 'r', egress: [{action: Pass, destination: {selector: pcns.team \
     == 't' && app == 'a'}}]",
    "namespaceSelector: team == 't', ingress: [{action: Pass, source: {namespaceSelector: has(team)}}]",
    "selector: projectcalico.org/namespace == 'y' || app contains 'a', ingress: [{action: Allow, \
     source: {serviceAccounts: {selector: \"role in {'r', 's'}\"}}}]",
    "selector: \"app in {'a', 'b'}\", ingress: [{action: Allow, source: {namespaceSelector: team == 't', \
     selector: role == 'out'}}]",
    "selector: all(), egress: [{action: Deny, protocol: TCP, destination: {notPorts: [web]}}]",
    "tier: t, selector: app starts with 'b', ingress: [{action: Allow, protocol: TCP, source: \
     {notPorts: [web], selector: has(app)}}]",
    "selector: pcns.projectcalico.org/name == 'x' && has(app), ingress: [{action: Allow, source: \
     {selector: projectcalico.org/name == 'a'}}]",
    "selector: has(pcns.team), ingress: [{action: Deny, source: {selector: '!has(app)', notNets: \
     [10.0.0.4/32]}}, {action: Log}]",
];

/// Of Kubernetes' for administrators, by nodes and namespaces.
const CLUSTER: [&str; 3] = [
    "tier: Admin, priority: 1, subject: {namespaces: {matchLabels: {team: t}}}, egress: [{action: \
     Deny, to: [{nodes: {matchLabels: {role: edge}}}]}]",
    "tier: Admin, priority: 1, subject: {pods: {namespaceSelector: {}, podSelector: {matchLabels: \
     {app: a}}}}, ingress: [{action: Accept, from: [{pods: {namespaceSelector: {matchExpressions: \
     [{key: team, operator: NotIn, values: [u]}]}, podSelector: {}}}]}]",
    "tier: Baseline, priority: 1, subject: {namespaces: {}}, ingress: [{action: Deny, from: \
     [{namespaces: {matchExpressions: [{key: team, operator: DoesNotExist}]}}]}]",
];

fn calico(kind: &str, metadata: &str, spec: &str) -> String {
    let api = "projectcalico.org/v3";
    format!("apiVersion: {api}\nkind: {kind}\nmetadata: {{{metadata}}}\nspec: {{{spec}}}\n---\n")
}

/// Versions of few objects of ordered policy.
fn ordered_pool() -> Vec<String> {
    let mut pool = Vec::new();
    for spec in CALICO {
        pool.push(calico("GlobalNetworkPolicy", "name: g", spec));
        pool.push(calico("NetworkPolicy", "name: p, namespace: x", spec));
    }
    for spec in ["selector: all()", "stagedAction: Delete", "stagedAction: Learn"] {
        pool.push(calico("StagedNetworkPolicy", "name: p, namespace: x", spec));
        pool.push(calico("StagedGlobalNetworkPolicy", "name: g", spec));
    }
    for spec in ["podSelector: {}", "podSelector: {}, stagedAction: Delete"] {
        for space in ["x", "y"] {
            let metadata = format!("name: p, namespace: {space}");
            pool.push(calico("StagedKubernetesNetworkPolicy", &metadata, spec));
        }
    }
    for spec in ["order: 1", "order: 2, defaultAction: Pass", "order: [1]"] {
        pool.push(calico("Tier", "name: t", spec));
    }
    for nets in ["192.0.2.0/24", "10.0.0.0/31", "broken"] {
        let metadata = "name: s, labels: {role: out}";
        pool.push(calico("GlobalNetworkSet", metadata, &format!("nets: [{nets}]")));
    }
    for ips in ["192.0.2.1", "10.0.0.2", "192.0.2.0/24"] {
        let metadata = "name: h, labels: {role: out}";
        pool.push(calico("HostEndpoint", metadata, &format!("expectedIPs: [{ips}]")));
    }
    for (address, port) in [("10.0.0.1", 80), ("10.0.0.2", 81), ("10.0.0.3", 0)] {
        let port = if port == 0 { "x".to_owned() } else { port.to_string() };
        pool.push(format!(
            "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: s-1, namespace: \
             x, labels: {{kubernetes.io/service-name: s}}}}\naddressType: IPv4\nendpoints: \
             [{{addresses: [{address}]}}]\nports: [{{port: {port}}}]\n---\n"
        ));
    }
    for spec in CLUSTER {
        pool.push(format!(
            "apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: \
             {{name: c}}\nspec: {{{spec}}}\n---\n"
        ));
    }
    for labels in ["role: edge", "role: [edge]", "role: inner"] {
        pool.push(format!(
            "apiVersion: v1\nkind: Node\nmetadata: {{name: n, labels: {{{labels}}}}}\nstatus: \
             {{addresses: [{{type: InternalIP, address: 192.0.2.1}}]}}\n---\n"
        ));
    }
    for (space, name, labels) in [
        ("x", "robot", "role: r"),
        ("x", "robot", "role: [r]"),
        ("x", "default", "role: s"),
        ("y", "default", "role: r"),
        ("y", "RO BOT", "role: r"),
        ("Y", "robot", "role: r"),
    ] {
        pool.push(format!(
            "apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {name}, namespace: {space}, \
             labels: {{{labels}}}}}\n---\n"
        ));
    }
    for (name, spec) in [
        ("kns.x", "ingress: [{action: Allow}], egress: [{action: Allow, destination: {}}]"),
        ("kns.x", "ingress: [{action: Deny, source: {selector: app == 'a'}}, {action: Allow}]"),
        ("KNS", "ingress: [{action: Allow}]"),
        ("ksa.x.robot", "egress: [{action: Allow}]"),
        ("ksa.x.default", "egress: [{action: Allow, destination: {nets: [10.0.0.0/30]}}]"),
    ] {
        pool.push(calico("Profile", &format!("name: {name}"), spec));
    }
    for (space, labels) in [("x", "role: out"), ("y", "role: out"), ("y", "role: [out]")] {
        let metadata = format!("name: s, namespace: {space}, labels: {{{labels}}}");
        pool.push(calico("NetworkSet", &metadata, "nets: [198.51.100.0/24]"));
    }
    pool.push(pod_with("x/a", "10.0.0.1", "app: a", "serviceAccountName: robot"));
    pool.push(pod_with("x/b", "10.0.0.2", "app: b", "serviceAccountName: robot"));
    // Nobody knows what it calls its ports.
    for name in ["x/a", "y/b"] {
        let address = if name == "x/a" { "10.0.0.1" } else { "10.0.0.5" };
        pool.push(pod_with(name, address, "app: a", "containers: [{name: c, ports: 7}]"));
    }
    pool
}

/// Versions of few objects.
fn pool() -> Vec<String> {
    let mut pool = ordered_pool();
    for space in ["x", "y"] {
        let labels = ["team: t", "team: u", "", "team: [t]", "team: 1"];
        pool.extend(labels.map(|labels| namespace(space, labels)));
        // Its name cannot be read: it may be any.
        pool.push(namespace(&space.to_uppercase(), "team: t"));
        for spec in SPECS {
            pool.extend(["p", "q"].map(|name| policy(&format!("{space}/{name}"), spec)));
            pool.push(policy(&format!("{}/p", space.to_uppercase()), spec));
        }
        for (name, own) in [("a", 1), ("b", 2), ("c", 3)] {
            let name = format!("{space}/{name}");
            let own = if space == "x" { own } else { own + 3 };
            for (labels, more) in [
                ("app: a", ports("{name: web, containerPort: 80}")),
                ("app: a", ports("{name: web, containerPort: 81}")),
                ("app: b, tier: z", ports("{name: web, containerPort: 80, protocol: UDP}")),
                ("app: b", String::new()),
                ("", "hostNetwork: true".to_owned()),
                ("app: a", "hostNetwork: 'true'".to_owned()),
            ] {
                pool.push(pod_with(&name, &format!("10.0.0.{own}"), labels, &more));
            }
            // One that cannot be known; another's address, one that is done, one of this node and one of another.
            pool.push(pod(&name, "10.0.0.1", "app: a"));
            let plain = pod(&name, &format!("10.0.0.{own}"), "app: a");
            pool.push(plain.replace("Running", "Succeeded"));
            let interface = format!("annotations: {{lockgate.dev/interface: lg{own}}}, labels:");
            pool.push(plain.replace("labels:", &interface));
            pool.push(plain.replace("192.0.2.1", "192.0.2.2").replace("labels:", &interface));
        }
    }
    pool
}

/// Which of what is chosen, whether it is removed, and whether the resolver is told at once.
type Event = (Index, bool, bool);

/// Some of the pool, so that what belongs together meets, and what becomes of them.
fn any_events() -> impl Strategy<Value = (Vec<Index>, Vec<Event>)> {
    let removed = prop::bool::weighted(0.25);
    let told = prop::bool::weighted(0.7);
    let chosen = prop::collection::vec(any::<Index>(), 1..30);
    (chosen, prop::collection::vec((any::<Index>(), removed, told), 1..60))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn after_every_change_the_kept_rules_are_those_made_from_nothing((chosen, events) in any_events()) {
        let all = pool();
        let read = |text: &String| read_text("", text).unwrap().objects.remove(0);
        let pool: Vec<Object> = chosen.iter().map(|at| read(at.get(&all))).collect();
        let (inventory, resolver) = (Inventory::new(), Resolver::default());
        let mut bench = Bench { inventory, resolver, ruleset: Ruleset::default() };
        for (at, removed, told) in events {
            let object = at.get(&pool).clone();
            let key = object.metadata().key.clone();
            let change = if removed { Change::Remove(key) } else { Change::Set(object) };
            let _: Effect = bench.inventory.apply(change);
            if told {
                bench.apply();
                let fresh = resolve(&bench.inventory);
                prop_assert_eq!(meaning(&bench.ruleset), meaning(&fresh.ruleset));
                prop_assert_eq!(bench.resolver.node_addresses(), &fresh.node_addresses[..]);
                let local = fresh.pods.iter().filter(|pod| pod.interface.is_some());
                prop_assert!(bench.resolver.local().iter().eq(local));
                prop_assert_eq!(bench.resolver.pods(), fresh.ruleset.pods.len());
            }
        }
        // Who is gone leaves nothing behind.
        for object in &pool {
            let _: Effect = bench.inventory.apply(Change::Remove(object.metadata().key.clone()));
        }
        bench.apply();
        prop_assert_eq!(meaning(&bench.ruleset), Meaning::default());
        prop_assert_eq!(bench.resolver.words.len(), 0);
        prop_assert_eq!(bench.resolver.policies(), 0);
        prop_assert_eq!(&bench.resolver.asking, &Asking::default());
        prop_assert!(bench.resolver.doubtful.is_empty());
    }
}
