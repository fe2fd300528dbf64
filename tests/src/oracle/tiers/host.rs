//! Host endpoints: what stands at addresses of a host, as rules of Calico see it.
//!
//! One is in no namespace, as a global set is, and stands for its `expectedIPs`: without any, no
//! selector means it. It is a peer of rules alone, for policies here are of pods; of its ports none
//! has a name that counts, as sets have none. The labels that its `profiles` would have it inherit
//! are left out: they are not enforced.
//!
//! What allows sees of it what can be read; what denies takes one that cannot be wholly read to have
//! every address, and any labels where those are what cannot be read.

use std::net::IpAddr;

use serde_json::Value;

use super::super::doubt;
use super::super::reading::{field, only};
use super::selector::Labels;
use super::{is_of_calico, spec, wearer};

const OF_OBJECT: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];
const OF_SPEC: [&str; 5] = ["node", "interfaceName", "expectedIPs", "profiles", "ports"];

pub(super) fn is_host(object: &Value) -> bool {
    is_of_calico(object) && object["kind"] == "HostEndpoint"
}

/// Those of its addresses that can be read. A block is none, not even of one.
pub(super) fn addresses(host: &Value) -> Vec<IpAddr> {
    let written = field(spec(host), "expectedIPs").and_then(Value::as_array);
    written.into_iter().flatten().filter_map(address).collect()
}

/// An IPv4 in the clothes of an IPv6 is IPv4 (NP-31).
fn address(written: &Value) -> Option<IpAddr> {
    Some(written.as_str()?.parse::<IpAddr>().ok()?.to_canonical())
}

/// Whether there is no field that is not known, which may be its addresses misspelt, and all of
/// them can be read.
pub(super) fn is_whole(host: &Value) -> bool {
    let spec = spec(host);
    let are_addresses = |all: &Value| {
        all.as_array().is_some_and(|all| all.iter().all(|one| address(one).is_some()))
    };
    only(host, &OF_OBJECT).is_ok()
        && (spec.is_null() || only(spec, &OF_SPEC).is_ok())
        && field(spec, "expectedIPs").is_none_or(are_addresses)
}

/// Its labels, if they can be read.
pub(super) fn labels(host: &Value) -> Option<Labels> {
    let written = wearer::written_labels(host).ok()?.filter(|written| !written.is_null());
    let is_text =
        |all: &Value| all.as_object().is_some_and(|labels| labels.values().all(Value::is_string));
    let is_known = written.as_ref().is_none_or(is_text) && !doubt::is_about_labels(host);
    is_known.then(|| wearer::as_labels(written.as_ref()))
}

#[cfg(test)]
mod tests {
    use lockgate_dataplane::packet::Protocol;
    use serde_json::json;

    use super::super::super::{By, Cluster, End, Family, Question};
    use super::*;

    const ITS: &str = "198.51.100.1";
    const OTHER: &str = "198.51.100.2";

    fn host() -> Value {
        json!({ "apiVersion": "projectcalico.org/v3", "kind": "HostEndpoint",
                "metadata": { "name": "h", "labels": { "role": "db" } },
                "spec": { "node": "n", "interfaceName": "eth0", "expectedIPs": [ITS, "fd02::1"],
                          "profiles": ["p"],
                          "ports": [{ "name": "web", "port": 80, "protocol": "TCP" }] } })
    }

    /// Host `h`, changed at a place.
    fn host_with(place: &str, value: Value) -> Value {
        let mut host = host();
        let (parent, name) = place.rsplit_once('/').unwrap();
        host.pointer_mut(parent).unwrap()[name] = value;
        host
    }

    /// What becomes of what a pod sends to port 80 of an address, by a policy of this one rule.
    fn asked(host: &Value, is_global: bool, rule: &Value, address: &str) -> By {
        let pod = json!({ "apiVersion": "v1", "kind": "Pod",
                          "metadata": { "namespace": "x", "name": "a" },
                          "spec": { "containers": [] },
                          "status": { "phase": "Running", "podIPs": [{ "ip": "10.0.0.1" },
                                                                     { "ip": "fd00::1" }] } });
        let kind = if is_global { "GlobalNetworkPolicy" } else { "NetworkPolicy" };
        let policy = json!({ "apiVersion": "projectcalico.org/v3", "kind": kind,
                             "metadata": { "namespace": "x", "name": "p" },
                             "spec": { "types": ["Egress"], "egress": [rule] } });
        let cluster = Cluster { objects: vec![pod, host.clone(), policy] };
        let address: IpAddr = address.parse().unwrap();
        let question = Question {
            source: End::Pod("x".to_owned(), "a".to_owned()),
            target: End::Address(address),
            protocol: Protocol::Tcp,
            port: 80,
            source_port: 65535,
            family: Family::of(address),
        };
        cluster.judge(&question).unwrap().egress.by
    }

    fn rule(action: &str, destination: &Value) -> Value {
        json!({ "action": action, "protocol": "TCP", "destination": destination })
    }

    fn allows(host: &Value, destination: &Value, address: &str) -> bool {
        matches!(asked(host, true, &rule("Allow", destination), address), By::Rule(_))
    }

    fn denies(host: &Value, destination: &Value, address: &str) -> bool {
        matches!(asked(host, true, &rule("Deny", destination), address), By::DenyRule(_))
    }

    #[test]
    fn a_selector_finds_it_at_its_addresses() {
        let stored = json!({ "labels": { "role": "db" } }).to_string();
        let mut of_store = host_with("/metadata/labels", Value::Null);
        of_store["apiVersion"] = "crd.projectcalico.org/v1".into();
        of_store["metadata"]["annotations"] = json!({ "projectcalico.org/metadata": stored });
        for host in [host(), of_store] {
            for selector in ["role == 'db'", "!has(app)", "all()"] {
                let entity = json!({ "selector": selector });
                assert!(allows(&host, &entity, ITS), "{selector}");
                assert!(allows(&host, &entity, "fd02::1"), "{selector}");
                assert!(!allows(&host, &entity, OTHER), "{selector}");
                assert!(denies(&host, &entity, ITS), "{selector}");
                assert!(!denies(&host, &entity, OTHER), "{selector}");
            }
            assert!(!allows(&host, &json!({ "selector": "!has(role)" }), ITS));
            assert!(!allows(&host, &json!({ "notSelector": "has(role)" }), ITS));
            assert!(allows(&host, &json!({ "notSelector": "has(role)" }), OTHER));
        }
    }

    #[test]
    fn without_addresses_it_is_nobody() {
        let none = [Value::Null, json!([])];
        let none = none.map(|value| host_with("/spec/expectedIPs", value));
        for host in none.into_iter().chain([host_with("/spec", Value::Null)]) {
            for entity in [json!({ "selector": "all()" }), json!({ "selector": "role == 'db'" })] {
                assert!(!allows(&host, &entity, ITS) && !denies(&host, &entity, ITS), "{host}");
            }
        }
    }

    /// As a global set.
    #[test]
    fn it_is_in_no_namespace() {
        for (namespaces, is_its) in [("global()", true), ("all()", false), ("has(a)", false)] {
            let entity = json!({ "namespaceSelector": namespaces, "selector": "role == 'db'" });
            assert_eq!(allows(&host(), &entity, ITS), is_its, "{namespaces}");
        }
        let of_namespace = |entity: &Value| {
            matches!(asked(&host(), false, &rule("Allow", entity), ITS), By::Rule(_))
        };
        assert!(!of_namespace(&json!({ "selector": "role == 'db'" })));
        assert!(of_namespace(&json!({ "selector": "role == 'db'",
                                      "namespaceSelector": "global()" })));
    }

    /// As a set: it is meant by who lacks a label of accounts (CAL-4), and none of its ports by
    /// name.
    #[test]
    fn it_has_no_account_and_no_named_port() {
        let names = |accounts: Value| json!({ "serviceAccounts": accounts });
        assert!(!allows(&host(), &names(json!({ "names": ["default"] })), ITS));
        assert!(!allows(&host(), &names(json!({ "selector": "role == 'db'" })), ITS));
        assert!(denies(&host(), &names(json!({ "selector": "!has(role)" })), ITS));
        let by_port = |port: Value| json!({ "selector": "role == 'db'", "ports": [port] });
        assert!(allows(&host(), &by_port(json!(80)), ITS));
        assert!(!allows(&host(), &by_port(json!("web")), ITS));
        assert!(!denies(&host(), &by_port(json!("web")), ITS));
    }

    #[test]
    fn where_its_addresses_are_in_doubt_what_denies_takes_it_to_have_all() {
        let its = json!({ "selector": "role == 'db'" });
        let others = json!({ "selector": "role == 'web'" });
        let all_but_its = json!({ "notSelector": "role == 'db'" });
        let broken = [
            (host_with("/spec/expectedIPs", json!(ITS)), false),
            (host_with("/spec/expectedIPs", json!({})), false),
            (host_with("/spec/expectedIPs", json!([ITS, 7])), true),
            (host_with("/spec/expectedIPs", json!([ITS, "198.51.100.0/32"])), true),
            (host_with("/spec/expectedIP", json!([OTHER])), true),
            (host_with("/spec", json!("none")), false),
            (host_with("/more", json!({})), true),
        ];
        for (host, is_readable) in &broken {
            assert_eq!(allows(host, &its, ITS), *is_readable, "{host}");
            assert!(!allows(host, &its, OTHER), "{host}");
            assert!(denies(host, &its, ITS) && denies(host, &its, OTHER), "{host}");
            assert!(!denies(host, &others, ITS) && !denies(host, &others, OTHER), "{host}");
            assert!(!allows(host, &all_but_its, OTHER), "{host}");
            assert!(denies(host, &all_but_its, OTHER), "{host}");
        }
    }

    #[test]
    fn where_its_labels_are_in_doubt_it_may_be_anybody() {
        let mut of_store = host_with("/metadata/annotations", json!({}));
        of_store["apiVersion"] = "crd.projectcalico.org/v1".into();
        of_store["metadata"]["annotations"]["projectcalico.org/metadata"] = "{".into();
        let mut misspelt = host_with("/metadata/label", json!({ "role": "web" }));
        misspelt["metadata"]["labels"] = Value::Null;
        let broken = [
            host_with("/metadata/labels", json!("role")),
            host_with("/metadata/labels", json!({ "role": 7 })),
            host_with("/metadata/labels", json!({ "role": "db", "app": null })),
            of_store,
            misspelt,
        ];
        for host in &broken {
            for selector in ["role == 'db'", "role == 'web'", "!has(role)"] {
                let entity = json!({ "selector": selector });
                assert!(!allows(host, &entity, ITS) && !allows(host, &entity, OTHER), "{host}");
                assert!(denies(host, &entity, ITS) && denies(host, &entity, OTHER), "{host}");
                let in_namespaces = json!({ "selector": selector, "namespaceSelector": "all()" });
                assert!(!denies(host, &in_namespaces, ITS), "{host}");
            }
        }
    }

    /// What it passed would meet rules that it was spared, or be spared some: neither is closed.
    #[test]
    fn what_passes_and_is_in_doubt_denies() {
        let pass = rule("Pass", &json!({ "selector": "role == 'db'" }));
        let broken = host_with("/spec/expectedIPs", json!([ITS, 7]));
        assert!(matches!(asked(&broken, true, &pass, OTHER), By::DenyRule(_)));
        assert_eq!(asked(&broken, true, &pass, ITS), By::NotIsolated);
    }
}
