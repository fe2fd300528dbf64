//! Whatever is found to decide nothing may go: in random small worlds of all three APIs, one finding
//! alone and all of them together are taken out, and no verdict is another.

use std::net::IpAddr;

use lockgate_dataplane::packet::Protocol;
use lockgate_dataplane::policy::ruleset::{Party, PodIndex, Question};

use super::{calico, cluster};
use crate::inventory::{Change, Inventory};
use crate::lint::{Finding, lint};
use crate::manifest::Object;
use crate::policy::{Listed, Side};
use crate::resolve::{Resolved, resolve};
use crate::sample::{inventory, namespace, pod, pod_with, policy, ports};

/// Worlds tried.
const WORLDS: u64 = 400;
/// Findings that these have at least.
const FOUND_MIN: usize = 400;

/// Numbers that look random (`SplitMix64`).
struct Dice(u64);

impl Dice {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let count = u64::try_from(count).unwrap();
        usize::try_from((mixed ^ (mixed >> 31)) % count).unwrap()
    }

    fn pick<'t>(&mut self, from: &[&'t str]) -> &'t str {
        from[self.below(from.len())]
    }

    /// Up to three of these, as a list.
    fn some(&mut self, from: &[&str]) -> String {
        (0..=self.below(3)).map(|_| self.pick(from)).collect::<Vec<_>>().join(", ")
    }
}

const NETS: [&str; 8] = [
    "10.0.0.0/8",
    "10.0.1.0/24",
    "10.0.1.1/32",
    "192.0.0.0/8",
    "192.0.2.0/24",
    "192.0.2.128/25",
    "0.0.0.0/0",
    "192.0.2.0/25",
];
const APPS: [&str; 3] = ["a", "b", "z"];
const PORTS: [&str; 4] = ["80", "81", "web", "80"];

fn calico_rule(dice: &mut Dice) -> String {
    let action = dice.pick(&["Allow", "Allow", "Deny", "Pass"]);
    let mut rule = format!("action: {action}");
    let peer = match dice.below(4) {
        0 => format!("nets: [{}]", dice.some(&NETS)),
        1 => format!("nets: [{}], notNets: [{}]", dice.some(&NETS), dice.pick(&NETS[1..6])),
        2 => format!("selector: app == '{}'", dice.pick(&APPS)),
        _ => String::new(),
    };
    let target = match dice.below(3) {
        0 => format!("ports: [{}]", dice.some(&PORTS)),
        _ => String::new(),
    };
    if !target.is_empty() {
        rule += ", protocol: TCP";
    }
    rule + &format!(", source: {{{peer}}}, destination: {{{target}}}")
}

fn kubernetes_rule(dice: &mut Dice) -> String {
    let peers: Vec<String> = (0..=dice.below(3))
        .map(|_| match dice.below(3) {
            0 => format!("{{podSelector: {{matchLabels: {{app: {}}}}}}}", dice.pick(&APPS)),
            1 => "{ipBlock: {cidr: 192.0.0.0/8, except: [192.0.2.0/25]}}".to_owned(),
            _ => format!("{{ipBlock: {{cidr: {}}}}}", dice.pick(&NETS)),
        })
        .collect();
    let from =
        if dice.below(5) == 0 { String::new() } else { format!("from: [{}]", peers.join(", ")) };
    let ports = match dice.below(2) {
        0 => format!(", ports: [{{port: {}}}, {{port: {}}}]", dice.pick(&PORTS), dice.pick(&PORTS)),
        _ => String::new(),
    };
    let rule = format!("{from}{ports}");
    format!("{{{}}}", rule.trim_start_matches(", "))
}

fn cluster_rule(dice: &mut Dice) -> String {
    let action = dice.pick(&["Accept", "Deny", "Pass"]);
    let to = match dice.below(2) {
        0 => format!("{{networks: [{}]}}", dice.some(&NETS)),
        _ => "{namespaces: {}}".to_owned(),
    };
    let more = dice.pick(&[
        "",
        ", protocols: [{tcp: {destinationPort: {number: 80}}}]",
        ", protocols: [{udp: {}}]",
    ]);
    format!("{{action: {action}, to: [{to}]{more}}}")
}

fn world(dice: &mut Dice) -> String {
    let web = |port: u16| ports(&format!("{{name: web, containerPort: {port}}}"));
    let mut text = namespace("x", "")
        + &namespace("y", "")
        + &pod_with("x/a", "10.0.1.1", "app: a", &web(80))
        + &pod_with("x/b", "10.0.1.2", "app: b", &web(81))
        + &pod("y/a", "10.0.2.1", "app: a");
    let end = dice.pick(&["Deny", "Pass"]);
    text += &calico("Tier", "t", &format!("order: 1, defaultAction: {end}"));
    for number in 0..3 + dice.below(5) {
        let rules = |rule: fn(&mut Dice) -> String, dice: &mut Dice| {
            (0..=dice.below(3)).map(|_| rule(dice)).collect::<Vec<_>>()
        };
        text += &match dice.below(4) {
            0 => {
                let listed = rules(kubernetes_rule, dice).join(", ");
                let subject = dice.pick(&["", "matchLabels: {app: a}"]);
                policy(
                    &format!("x/p{number}"),
                    &format!("podSelector: {{{subject}}}, ingress: [{listed}]"),
                )
            }
            1 => {
                let listed = rules(cluster_rule, dice).join(", ");
                let tier = dice.pick(&["Admin", "Baseline"]);
                let spec = format!("subject: {{namespaces: {{}}}}, egress: [{listed}]");
                cluster(&format!("p{number}"), tier, u32::try_from(dice.below(2)).unwrap(), &spec)
            }
            _ => {
                let listed: Vec<String> =
                    rules(calico_rule, dice).iter().map(|one| format!("{{{one}}}")).collect();
                let direction = dice.pick(&["ingress", "egress"]);
                let selector = dice.pick(&["all()", "app == 'a'", "app == 'b'"]);
                let tier = dice.pick(&["default", "t"]);
                let spec = format!(
                    "tier: {tier}, order: {}, selector: \"{selector}\", {direction}: [{}]",
                    dice.below(3),
                    listed.join(", ")
                );
                calico("GlobalNetworkPolicy", &format!("p{number}"), &spec)
            }
        };
    }
    text
}

/// Every number in a path, and whether it is of ingress.
fn path(field: &str) -> (bool, Vec<usize>) {
    let numbers = field.split(['[', ']']).filter_map(|part| part.parse().ok());
    (field.starts_with("spec.ingress"), numbers.collect())
}

fn without_part(rules: &mut [Listed], numbers: &[usize], field: &str) {
    let [first, rest @ ..] = numbers else { return rules.fill(Listed::Nothing) };
    let Listed::Rule(rule) = &mut rules[*first] else { return };
    // Places stay what they are: a net that is gone is an address that nobody has.
    let nobody: ipnet::IpNet = "255.255.255.255/32".parse().unwrap();
    let (peer, net) = match rest {
        [] => {
            rules[*first] = Listed::Nothing;
            return;
        }
        [net] if field.contains(".nets") => (0, *net),
        [peer] => (*peer, 0),
        [peer, net, ..] => (*peer, *net),
    };
    let Side { nets: Some(nets), .. } = &mut rule.peers[peer] else { panic!("{field}") };
    nets[net] = nobody;
}

/// The inventory without what a finding is about.
fn without(inventory: &mut Inventory, finding: &Finding) {
    let (is_ingress, numbers) = path(&finding.problem.field);
    let is_it = |key: &crate::manifest::ObjectKey| key.to_string() == finding.problem.object;
    let found = inventory.policies().find(|one| is_it(&one.metadata.key)).cloned();
    if let Some(mut policy) = found {
        let rules = policy.ingress.as_mut().unwrap();
        match numbers.as_slice() {
            [] => rules.fill(None),
            [rule] => rules[*rule] = None,
            [rule, peer, ..] => {
                let peers = &mut rules[*rule].as_mut().unwrap_or_else(|| panic!("{finding}")).peers;
                let cidr = "255.255.255.255/32".parse().unwrap();
                peers[*peer] = crate::manifest::Peer::Block { cidr, except: vec![] };
            }
        }
        let _: crate::inventory::Effect = inventory.apply(Change::Set(Object::Policy(policy)));
        return;
    }
    let found = inventory.ordered_policies().find(|one| is_it(&one.metadata.key)).cloned();
    let mut policy = found.unwrap();
    let side = if is_ingress { &mut policy.ingress } else { &mut policy.egress };
    without_part(side.as_mut().unwrap(), &numbers, &finding.problem.field);
    let _: crate::inventory::Effect =
        inventory.apply(Change::Set(Object::Ordered(Box::new(policy))));
}

fn verdicts(resolved: &Resolved) -> Vec<(bool, bool)> {
    let mut ends: Vec<Party> =
        ["192.0.2.1", "192.0.2.200", "192.9.9.9", "8.8.8.8", "10.0.1.9", "fd00::1"]
            .map(|one| Party {
                address: one.parse::<IpAddr>().unwrap(),
                pod: None,
                own_node: false,
            })
            .to_vec();
    for (place, pod) in (0..).zip(&resolved.ruleset.pods) {
        ends.push(Party { address: pod.addresses[0], pod: Some(PodIndex(place)), own_node: false });
    }
    let mut all = Vec::new();
    for (source, target) in ends.iter().flat_map(|one| ends.iter().map(move |other| (*one, *other)))
    {
        for (protocol, port) in
            [(Protocol::Tcp, 80), (Protocol::Tcp, 81), (Protocol::Udp, 80), (Protocol::Icmp, 0)]
        {
            let answer = resolved.ruleset.decide(&Question {
                source,
                target,
                service: Service::to(protocol, port),
            });
            all.push((answer.egress.allows(), answer.ingress.allows()));
        }
    }
    all
}

#[test]
fn what_decides_nothing_may_go() {
    let mut count = 0;
    for seed in 0..WORLDS {
        let text = world(&mut Dice(seed));
        let inventory = inventory(&text);
        let before = verdicts(&resolve(&inventory));
        let idle = ["unreached", "shadowed", "redundant-range", "never-matches", "missing-set"];
        let mut found: Vec<_> =
            lint(&inventory).into_iter().filter(|one| idle.contains(&one.code)).collect();
        // An end or a port that nobody is may be one of several: the rule stays then.
        let is_rule = |field: &str| field.ends_with(']') && path(field).1.len() == 1;
        found.retain(|one| one.code != "never-matches" || is_rule(&one.problem.field));
        count += found.len();
        let mut all = inventory.clone();
        for one in &found {
            let mut alone = inventory.clone();
            without(&mut alone, one);
            assert_eq!(verdicts(&resolve(&alone)), before, "SEED={seed} {one}\n{text}");
            without(&mut all, one);
        }
        assert_eq!(verdicts(&resolve(&all)), before, "SEED={seed} {found:#?}\n{text}");
    }
    assert!(count >= FOUND_MIN, "only {count} findings");
}
