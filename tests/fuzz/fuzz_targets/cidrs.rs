//! Blocks of addresses: a CIDR in the first line, exceptions in the next ones.
//!
//! Ours against the oracle's reading and plain arithmetic: which texts are none, which are odd
//! (NP-31), what is in the block and what just beside it (NP-30, NP-32, NP-34).

#![no_main]
#![allow(clippy::panic, clippy::unwrap_used, missing_docs)]

use std::net::IpAddr;

use libfuzzer_sys::fuzz_target;
use lockgate_control::manifest::{Peer, Severity};
use lockgate_dataplane::packet::Protocol;
use lockgate_tests::oracle::{Cidr, Cluster, End, Family, Question};
use lockgate_tests::product::Product;
use serde_json::{Value, json};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = str::from_utf8(bytes) {
        let mut lines = text.split('\n').take(5);
        let cidr = lines.next().unwrap_or_default();
        compare(cidr, &lines.collect::<Vec<_>>());
    }
});

fn compare(cidr: &str, except: &[&str]) {
    let whole = Cidr::read(cidr);
    let parts: Option<Vec<Cidr>> = except.iter().map(|part| Cidr::read(part)).collect();
    let parts = parts.filter(|parts| {
        whole.is_some_and(|whole| parts.iter().all(|part| whole.has_strictly(part)))
    });
    let read = whole.iter().chain(parts.iter().flatten());
    let edges: Vec<IpAddr> = read.flat_map(Cidr::boundaries).collect();
    let cluster = Cluster { objects: objects(cidr, except, edges.first()) };
    let text = cluster.to_text();
    let product = Product::of_text(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let problems: Vec<_> =
        product.problems().iter().filter(|one| one.field.contains(".ipBlock")).collect();
    let is_shut = problems.iter().any(|problem| problem.severity == Severity::Error);
    assert_eq!(is_shut, parts.is_none(), "{text}{problems:?}");
    if let (Some(whole), Some(parts)) = (whole, parts) {
        let wanted = is_odd(cidr) || except.iter().any(|part| is_odd(part));
        assert_eq!(!problems.is_empty(), wanted, "{text}{problems:?}");
        contains(&product, &whole, &parts, &edges);
    }
    for address in edges {
        for question in questions(address) {
            let what = product.disagreement(&cluster, &question);
            assert_eq!(what, None, "{question:?}\n{text}");
        }
    }
}

/// Whether it is written otherwise than it is read: bits beyond its length, zeros in front, IPv4
/// as IPv6. By the oracle's words only: the first address of the block is what should be there.
fn is_odd(text: &str) -> bool {
    let (address, length) = text.split_once('/').unwrap_or((text, ""));
    let Ok(plain) = address.parse::<IpAddr>() else { return true };
    if matches!(plain, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some()) {
        return true;
    }
    let width = if plain.is_ipv4() { 32 } else { 128 };
    let bits = match plain {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    };
    let length: u32 = length.parse().unwrap_or_default();
    (0..width - length).any(|bit| bits >> bit & 1 == 1)
}

/// The block that was read has what the oracle's has.
fn contains(product: &Product, whole: &Cidr, parts: &[Cidr], edges: &[IpAddr]) {
    let policy = product.inventory().policies().next().unwrap();
    let rule = policy.ingress.as_deref().unwrap()[0].as_ref().unwrap();
    let Peer::Block { cidr, except } = &rule.peers[0] else { panic!("no block: {rule:?}") };
    for address in edges {
        let ours = cidr.contains(address) && !except.iter().any(|part| part.contains(address));
        let theirs = whole.contains(*address) && !parts.iter().any(|part| part.contains(*address));
        assert_eq!(ours, theirs, "{address} {cidr} {except:?}");
    }
}

/// The addresses of the pod that is judged.
const JUDGED: [&str; 2] = ["10.9.0.1", "fd99::1"];

/// A pod whose policy has the block both ways, and one whose address is at an edge, unless that is
/// the first one's: what two pods claim is nobody's (NP-54).
fn objects(cidr: &str, except: &[&str], edge: Option<&IpAddr>) -> Vec<Value> {
    let peer = if except.is_empty() {
        json!({ "ipBlock": { "cidr": cidr } })
    } else {
        json!({ "ipBlock": { "cidr": cidr, "except": except } })
    };
    let pod = |name: &str, addresses: &[Value]| {
        json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
                "status": { "podIPs": addresses } })
    };
    let edge = edge.map(ToString::to_string).filter(|ip| !JUDGED.contains(&ip.as_str()));
    let edge = edge.map(|ip| json!({ "ip": ip }));
    vec![
        json!({ "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
                "metadata": { "name": "p" },
                "spec": { "podSelector": { "matchLabels": {} },
                          "policyTypes": ["Ingress", "Egress"],
                          "ingress": [{ "from": [peer] }], "egress": [{ "to": [peer] }] } }),
        pod("judged", &JUDGED.map(|ip| json!({ "ip": ip }))),
        pod("edge", edge.as_slice()),
    ]
}

fn questions(address: IpAddr) -> [Question; 2] {
    let (pod, other) = (End::Pod("default".to_owned(), "judged".to_owned()), End::Address(address));
    let ask = |source: &End, target: &End| {
        let (source, target, family) = (source.clone(), target.clone(), Family::of(address));
        Question { source, target, protocol: Protocol::Tcp, port: 80, source_port: 1, family }
    };
    [ask(&pod, &other), ask(&other, &pod)]
}
