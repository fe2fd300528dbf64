//! What stands beside pods, namespaces and policies: each kind good, broken and out of its scope.

use lockgate_dataplane::packet::Protocol::Sctp;

use super::super::*;
use super::sweep::{LABELS, told};
use crate::policy::{Action, Kind, Known, Listed, Order};
use crate::sample::{pod_with, problems};

const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {namespace: x, name: s}\nspec: \
                       {type: ClusterIP, clusterIP: 10.96.0.1, selector: {app: a}, ports: [{name: \
                       web, port: 80, targetPort: http}, {protocol: SCTP, port: 9}]}\n";
const SLICE: &str = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {namespace: x, \
                     name: s-1, labels: {kubernetes.io/service-name: s}}\naddressType: IPv4\n\
                     endpoints: [{addresses: [10.0.0.1], conditions: {ready: false}}, {addresses: \
                     [10.0.0.2], nodeName: n}]\nports: [{name: web, port: 8080}, {protocol: SCTP}]\n";
const ACCOUNT: &str = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {namespace: x, name: a, \
                       labels: {team: a}}\nautomountServiceAccountToken: false\n";
const NODE: &str = "apiVersion: v1\nkind: Node\nmetadata: {name: n, labels: {team: a}}\nspec: \
                    {podCIDRs: [10.1.0.0/24, 'fd00::/64'], providerID: x}\nstatus: {addresses: \
                    [{type: InternalIP, address: 192.0.2.1}, {type: Hostname, address: n}, \
                    {type: InternalIP, address: '2001:db8::1'}, {type: Hostname, address: \
                    192.0.2.1}], capacity: {}}\n";

/// The only object of a text that nothing is wrong with.
fn sound(text: &str) -> Object {
    let found = read_text("t.yaml", text).unwrap();
    assert_eq!(found.problems, [], "{text}");
    let [object] = <[Object; 1]>::try_from(found.objects).unwrap();
    object
}

/// What is told of a text: how bad, and where.
fn said(text: &str) -> Vec<(Severity, String)> {
    let found = read_text("t.yaml", text).unwrap();
    found.problems.into_iter().map(|one| (one.severity, one.field)).collect()
}

fn written(api_version: &str, kind: &str, rest: &str) -> String {
    format!("apiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: p}}\n{rest}\n")
}

fn addresses(list: &[std::net::IpAddr]) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_service_says_whom_it_selects_and_where_it_serves() {
    let Object::Service(service) = sound(SERVICE) else { panic!() };
    assert_eq!(service.metadata.key.to_string(), "Service x/s");
    assert_eq!(service.selector.unwrap().get("app"), Some("a"));
    let [web, other] = service.ports.as_slice() else { panic!("{:?}", service.ports) };
    assert_eq!((web.name.as_deref(), web.number), (Some("web"), 80));
    assert_eq!(web.target, TargetPort::Named("http".to_owned()));
    assert_eq!((other.protocol, &other.target), (Sctp, &TargetPort::Number(9)));
    assert!(service.is_whole);
    let Object::Service(bare) = sound(&written("v1", "Service", "spec: {selector: {}}")) else {
        panic!()
    };
    assert_eq!((bare.selector, bare.ports.len(), bare.is_whole), (None, 0, true));
}

#[test]
fn np_59_what_cannot_be_read_of_a_service_leaves_nothing_of_it() {
    let ports = "ports: [{name: web, port: 80, targetPort: http}, {protocol: SCTP, port: 9}]";
    for (place, rows) in [
        (
            "selector: {app: a}",
            &[
                ("selector: a", "spec.selector"),
                ("selector: {app: 1}", "spec.selector[app]"),
                ("selectr: {app: a}", "spec.selectr"),
            ][..],
        ),
        (
            ports,
            &[
                ("ports: 80", "spec.ports"),
                ("ports: [80]", "spec.ports[0]"),
                ("ports: [{}]", "spec.ports[0].port"),
                ("ports: [{port: '80'}]", "spec.ports[0].port"),
                ("ports: [{port: 0}]", "spec.ports[0].port"),
                ("ports: [{port: 80, name: 1}]", "spec.ports[0].name"),
                ("ports: [{port: 80, protocol: tcp}]", "spec.ports[0].protocol"),
                ("ports: [{port: 80, targetPort: A_B}]", "spec.ports[0].targetPort"),
                ("ports: [{port: 80, targetPort: 65536}]", "spec.ports[0].targetPort"),
                ("ports: [{port: 80, target: 1}]", "spec.ports[0].target"),
                ("port: 80", "spec.port"),
            ],
        ),
    ] {
        for (odd, object) in told("Service x/s", SERVICE, place, rows) {
            let Object::Service(service) = object else { panic!("{odd}") };
            let left = (service.selector, service.ports.len(), service.is_whole);
            assert_eq!(left, (None, 0, false), "{odd}");
        }
    }
}

#[test]
fn a_slice_lists_who_backs_its_service_ready_or_not() {
    let Object::EndpointSlice(slice) = sound(SLICE) else { panic!() };
    assert_eq!(slice.service.as_deref(), Some("s"));
    assert_eq!(addresses(&slice.addresses), "10.0.0.1 10.0.0.2");
    let ports: Vec<_> = slice.ports.iter().map(|port| (port.protocol, port.number)).collect();
    assert_eq!(ports, [(lockgate_dataplane::packet::Protocol::Tcp, Some(8080)), (Sctp, None)]);
    assert!(slice.is_whole);
    let loose = SLICE.replace("labels: {kubernetes.io/service-name: s}", "labels: {}");
    let Object::EndpointSlice(loose) = sound(&loose) else { panic!() };
    assert_eq!((loose.service, loose.is_whole), (None, true));
}

#[test]
fn np_59_a_slice_of_which_something_cannot_be_read_is_not_whole() {
    let rows = [
        ("addressType: IPv4", "addressType: ipv4", "addressType"),
        ("addressType: IPv4", "addresType: IPv4", "addresType"),
        ("addressType: IPv4", "addressType: IPv6", "endpoints[0].addresses[0]"),
        ("[10.0.0.1]", "[10.0.0.256]", "endpoints[0].addresses[0]"),
        ("[10.0.0.1]", "[127.0.0.1]", "endpoints[0].addresses[0]"),
        ("[10.0.0.1]", "10.0.0.1", "endpoints[0].addresses"),
        ("addresses: [10.0.0.1]", "address: 10.0.0.1", "endpoints[0].addresses"),
        ("nodeName: n", "nodename: n", "endpoints[1].nodename"),
        ("endpoints: [", "endpoint: [", "endpoint"),
        ("port: 8080", "port: 808080", "ports[0].port"),
        ("port: 8080", "prot: 8080", "ports[0].prot"),
        ("protocol: SCTP", "protocol: 1", "ports[1].protocol"),
        ("\nports: [", "\nPorts: [", "Ports"),
    ];
    for (place, odd, field) in rows {
        let [(_, object)] = <[_; 1]>::try_from(told("", SLICE, place, &[(odd, field)])).unwrap();
        let Object::EndpointSlice(slice) = object else { panic!("{odd}") };
        assert_eq!((slice.service.as_deref(), slice.is_whole), (Some("s"), false), "{odd}");
    }
    let named = SLICE.replace("IPv4", "FQDN").replace("10.0.0.1", "a.example");
    assert_eq!(said(&named), [(Severity::Warning, String::new())]);
    let Some(Object::EndpointSlice(slice)) = read_text("t", &named).unwrap().objects.pop() else {
        panic!()
    };
    assert_eq!((slice.addresses.len(), slice.is_whole), (0, false));
}

#[test]
fn np_59_a_slice_that_may_be_of_any_service_lists_nobody() {
    let labels = "labels: {kubernetes.io/service-name: s}";
    for (place, odd, field) in [
        (labels, "labels: s", "metadata.labels"),
        (labels, "Labels: {kubernetes.io/service-name: s}", "metadata.Labels"),
        (
            labels,
            "labels: {kubernetes.io/service-name: 7}",
            "metadata.labels[kubernetes.io/service-name]",
        ),
        ("namespace: x", "namespace: X", "metadata.namespace"),
    ] {
        let [(_, object)] = <[_; 1]>::try_from(told("", SLICE, place, &[(odd, field)])).unwrap();
        let Object::EndpointSlice(slice) = object else { panic!("{odd}") };
        let left = (slice.service, slice.addresses.len(), slice.is_whole);
        assert_eq!(left, (None, 0, false), "{odd}");
    }
}

#[test]
fn an_account_and_a_node_have_labels_and_a_node_its_addresses() {
    let Object::ServiceAccount(account) = sound(ACCOUNT) else { panic!() };
    assert_eq!(account.labels.unwrap().get("team"), Some("a"));
    assert_eq!(account.metadata.key.to_string(), "ServiceAccount x/a");
    let Object::Node(node) = sound(NODE) else { panic!() };
    assert_eq!(node.metadata.key.to_string(), "Node n");
    assert_eq!(addresses(&node.addresses), "192.0.2.1 2001:db8::1");
    let ranges: Vec<_> = node.pod_cidrs.iter().map(ToString::to_string).collect();
    assert_eq!(ranges, ["10.1.0.0/24", "fd00::/64"]);
    assert_eq!(node.labels.unwrap().get("team"), Some("a"));
    assert!(node.is_whole);
}

#[test]
fn np_59_an_account_or_a_node_whose_labels_cannot_be_read_has_none_that_are_known() {
    for (object, whole) in [("ServiceAccount x/a", ACCOUNT), ("Node n", NODE)] {
        for (odd, object) in told(object, whole, "labels: {team: a}", &LABELS) {
            match object {
                Object::ServiceAccount(account) => assert_eq!(account.labels, None, "{odd}"),
                Object::Node(node) => {
                    assert_eq!((node.labels, node.is_whole), (None, true), "{odd}");
                }
                other => panic!("{odd}: {other:?}"),
            }
        }
    }
    let rows = [("secret: []", "secret"), ("spec: {}", "spec")];
    told("ServiceAccount x/a", ACCOUNT, "automountServiceAccountToken: false", &rows);
}

#[test]
fn np_59_a_node_whose_addresses_cannot_be_read_is_not_whole() {
    for (place, odd, field, is_whole) in [
        ("{type: InternalIP, address: 192.0.2.1}", "192.0.2.1", "status.addresses[0]", false),
        (
            "type: InternalIP, address: 192.0.2.1",
            "address: 192.0.2.1",
            "status.addresses[0].type",
            false,
        ),
        (
            "type: InternalIP, address: 192.0.2.1",
            "type: InternalIP",
            "status.addresses[0].address",
            false,
        ),
        (
            "InternalIP, address: 192.0.2.1",
            "Internal, address: 192.0.2.1",
            "status.addresses[0].type",
            false,
        ),
        (
            "InternalIP, address: 192.0.2.1",
            "InternalIP, address: 192.0.2",
            "status.addresses[0].address",
            false,
        ),
        ("status: {addresses: [", "status: {address: [", "status.address", false),
        ("status: {", "Status: {", "Status", false),
        ("10.1.0.0/24", "10.1.0.0", "spec.podCIDRs[0]", true),
        ("podCIDRs: [", "podCidrs: [", "spec.podCidrs", true),
    ] {
        let [(_, object)] =
            <[_; 1]>::try_from(told("Node n", NODE, place, &[(odd, field)])).unwrap();
        let Object::Node(node) = object else { panic!("{odd}") };
        assert_eq!(node.is_whole, is_whole, "{odd}");
        assert!(node.pod_cidrs.len() < 2 || !is_whole, "{odd}");
    }
}

#[test]
fn a_pod_acts_as_the_account_it_names_by_either_name_or_default() {
    for (spec, wanted) in [
        ("", "default"),
        ("serviceAccountName: ''", "default"),
        ("serviceAccountName: a.b", "a.b"),
        ("serviceAccount: old", "old"),
        ("serviceAccount: old, serviceAccountName: new", "new"),
    ] {
        let Object::Pod(pod) = sound(&pod_with("x/p", "10.0.0.1", "", spec)) else { panic!() };
        assert_eq!((&*pod.account, pod.labels.is_some()), (wanted, true), "{spec}");
    }
}

/// Every kind of ordered policy: its version, whether it is in a namespace, a sound spec.
const ORDERED: [(&str, &str, bool, &str); 13] = [
    ("projectcalico.org/v3", "NetworkPolicy", true, "{selector: has(a)}"),
    ("projectcalico.org/v3", "GlobalNetworkPolicy", false, "{selector: has(a)}"),
    ("projectcalico.org/v3", "StagedNetworkPolicy", true, "{selector: has(a)}"),
    ("projectcalico.org/v3", "StagedGlobalNetworkPolicy", false, "{selector: has(a)}"),
    ("projectcalico.org/v3", "StagedKubernetesNetworkPolicy", true, "{podSelector: {}}"),
    ("projectcalico.org/v3", "Tier", false, "{order: 10}"),
    ("projectcalico.org/v3", "NetworkSet", true, "{nets: [10.0.0.0/8]}"),
    ("projectcalico.org/v3", "GlobalNetworkSet", false, "{nets: [10.0.0.0/8]}"),
    ("projectcalico.org/v3", "Profile", false, "{ingress: [{action: Allow}]}"),
    ("projectcalico.org/v3", "HostEndpoint", false, "{node: n}"),
    (
        "policy.networking.k8s.io/v1alpha2",
        "ClusterNetworkPolicy",
        false,
        "{tier: Admin, priority: 1, subject: {namespaces: {}}}",
    ),
    (
        "policy.networking.k8s.io/v1alpha1",
        "AdminNetworkPolicy",
        false,
        "{priority: 1, subject: {namespaces: {}}}",
    ),
    (
        "policy.networking.k8s.io/v1alpha1",
        "BaselineAdminNetworkPolicy",
        false,
        "{subject: {namespaces: {}}}",
    ),
];

#[test]
fn every_kind_of_ordered_policy_is_read_in_its_scope() {
    for (api_version, kind, is_namespaced, spec) in ORDERED {
        let name = if kind.starts_with("Baseline") { "default" } else { "p" };
        let text = written(api_version, kind, &format!("spec: {spec}"))
            .replace("name: p", &format!("name: {name}"));
        let found = read_text("t.yaml", &text).unwrap();
        let [object] = found.objects.as_slice() else { panic!("{kind}: {found:?}") };
        let key = &object.metadata().key;
        assert_eq!(&*key.namespace, if is_namespaced { "default" } else { "" }, "{kind}");
        assert_eq!((key.kind.label(), key.kind.is_namespaced()), (kind, is_namespaced));
        // Told of: what is not enforced, who is nobody, and whose profile it is.
        let told = match kind {
            "HostEndpoint" => 2,
            "Profile" => 1,
            _ => 0,
        };
        assert_eq!(found.problems.len(), told, "{kind}: {:?}", found.problems);
        // Stored as it is written, where Calico stores it.
        if api_version == "projectcalico.org/v3" {
            let stored = text.replace(api_version, "crd.projectcalico.org/v1");
            assert_eq!(read_text("t.yaml", &stored).unwrap(), found, "{kind}");
        }
        // The namespace of one that has none is ignored, one that cannot be read is lost.
        for odd in ["x", "X_"] {
            let placed = text.replace("{name:", &format!("{{namespace: {odd}, name:"));
            let found = read_text("t.yaml", &placed).unwrap();
            let key = &found.objects[0].metadata().key;
            let told = found.problems.iter().find(|one| one.field == "metadata.namespace");
            let (wanted, severity) = match (is_namespaced, odd) {
                (false, _) => ("", Some(Severity::Warning)),
                (true, "x") => ("x", None),
                (true, _) => ("?X_", Some(Severity::Error)),
            };
            assert_eq!(&*key.namespace, wanted, "{kind}");
            assert_eq!(told.map(|one| one.severity), severity, "{kind}");
        }
        // One of another version is told of, and so is one that is misspelt.
        for odd in [
            text.replace(api_version, &format!("{api_version}0")),
            text.replace(kind, &format!("{kind}s")),
        ] {
            let found = read_text("t.yaml", &odd).unwrap();
            assert_eq!(found.objects[0].metadata().key.kind.label(), kind, "{odd}");
            let is_told =
                |one: &Problem| one.severity == Severity::Error && one.message.contains(" is not ");
            assert!(found.problems.iter().any(is_told), "{odd}");
        }
        let broken = text.replace(spec, "[]");
        let found = read_text("t.yaml", &broken).unwrap();
        let is_told = |one: &Problem| one.severity == Severity::Error && one.field == "spec";
        assert!(found.problems.iter().any(is_told), "{kind}: {:?}", found.problems);
    }
}

#[test]
fn a_kind_that_its_group_does_not_have_is_the_policy_that_it_looks_like() {
    for (api_version, kind, metadata, spec, wanted) in [
        (
            "projectcalico.org/v3",
            "GlobalPolicies",
            "",
            "selector: has(a), ingress: [{action: Deny}, {action: Allow}]",
            "GlobalNetworkPolicy p",
        ),
        (
            "crd.projectcalico.org/v1",
            "Policy",
            ", namespace: x",
            "types: [Egress]",
            "NetworkPolicy.projectcalico.org x/p",
        ),
        (
            "policy.networking.k8s.io/v1alpha2",
            "CNP",
            "",
            "tier: Admin, priority: 1, subject: {namespaces: {}}, ingress: [{action: Deny, from: \
             [{namespaces: {}}]}]",
            "ClusterNetworkPolicy p",
        ),
    ] {
        let text = crate::sample::namespace("x", "")
            + &format!(
                "apiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: p{metadata}}}\nspec: {{{spec}}}\n"
            );
        let found = read_text("t.yaml", &text).unwrap();
        let [Object::Ordered(policy)] = found.stand_ins.as_slice() else { panic!("{found:?}") };
        assert_eq!(policy.metadata.key.to_string(), wanted);
        let mut shut = policy.clone();
        shut.shut();
        assert_eq!(*policy, shut, "{kind}: it opens nothing");
        let message = format!("holds a \"{kind}\", but looks like a {}", policy.kind.label());
        assert_eq!((found.strays.len(), &found.problems[0].message), (1, &message));
    }
    let pool = "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {name: p}\nspec: {cidr: 10.0.0.0/8}\n";
    let found = read_text("t.yaml", pool).unwrap();
    assert_eq!((found.stand_ins.len(), found.strays.len()), (0, 0));
    assert_eq!(found.problems[0].severity, Severity::Notice);
}

#[test]
fn a_namespace_has_none_itself() {
    let text = "apiVersion: v1\nkind: Namespace\nmetadata: {namespace: y, name: x}\n";
    assert_eq!(said(text), [(Severity::Warning, "metadata.namespace".to_owned())]);
}

#[test]
fn a_policy_of_calico_is_another_than_one_of_kubernetes_of_its_name() {
    let text = written("networking.k8s.io/v1", "NetworkPolicy", "spec: {podSelector: {}}")
        + "---\n"
        + &written("projectcalico.org/v3", "NetworkPolicy", "spec: {ingress: [{action: deny}]}");
    let found = read_text("t.yaml", &text).unwrap();
    let keys: Vec<_> = found.objects.iter().map(|one| one.metadata().key.to_string()).collect();
    assert_eq!(keys, ["NetworkPolicy default/p", "NetworkPolicy.projectcalico.org default/p"]);
    assert!(problems(&text).iter().all(|one| one.object == keys[1]), "{:?}", problems(&text));
    let Object::Ordered(policy) = &found.objects[1] else { panic!() };
    assert_eq!(policy.ingress.as_deref(), Some(&[Listed::DenyAll][..]));
}

#[test]
fn a_list_of_calico_holds_what_may_leave_out_its_kind() {
    let text = "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicyList\nitems:\n- metadata: \
                {name: p}\n  spec: {order: 5, egress: [{action: Deny}]}\n- {apiVersion: \
                projectcalico.org/v3, kind: Tier, metadata: {name: t}}\n";
    let found = read_text("t.yaml", text).unwrap();
    let [Object::Ordered(policy), Object::Tier(_)] = found.objects.as_slice() else {
        panic!("{found:?}")
    };
    assert_eq!((policy.kind, policy.order), (Kind::GlobalNetworkPolicy, Order::of(5)));
    let rules = policy.egress.as_deref().unwrap();
    assert!(matches!(rules, [Listed::Rule(rule)] if rule.action == Action::Deny), "{rules:?}");
    let plain = text.replace("GlobalNetworkPolicyList", "List");
    assert_eq!(read_text("t.yaml", &plain).unwrap().strays, [1]);
}

#[test]
fn a_stored_set_has_the_labels_that_the_api_was_given() {
    let text = |annotation: &str| {
        format!(
            "apiVersion: crd.projectcalico.org/v1\nkind: NetworkSet\nmetadata: {{name: s, labels: \
             {{a: old, b: own}}, annotations: {{projectcalico.org/metadata: '{annotation}'}}}}\n\
             spec: {{nets: [10.0.0.0/8]}}\n"
        )
    };
    let labels = |text: &str| {
        let found = read_text("t.yaml", text).unwrap();
        let [Object::NetworkSet(set)] = found.objects.as_slice() else { panic!("{found:?}") };
        let labels = set.labels.as_ref()?;
        Some(
            labels
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect::<Vec<_>>()
                .join(" "),
        )
    };
    for (annotation, wanted) in [
        (r#"{"labels": {"a": "new", "c": "more"}}"#, Some("a=new b=own c=more")),
        (r#"{"labels": null, "creationTimestamp": null}"#, Some("a=old b=own")),
        (r#"{"labels": {"a": 1}}"#, None),
        (r#"{"labels": {"a": "b c"}}"#, None),
        (r#"{"labels": []}"#, None),
        (r#"{"labels""#, None),
        ("[]", None),
    ] {
        let text = text(annotation);
        assert_eq!(labels(&text).as_deref(), wanted, "{annotation}");
        let error = said(&text).into_iter().find(|(severity, _)| *severity == Severity::Error);
        assert_eq!(error.is_some(), wanted.is_none(), "{annotation}");
        // What users write says nothing by annotations.
        let plain = text.replace("crd.projectcalico.org/v1", "projectcalico.org/v3");
        assert_eq!(labels(&plain).as_deref(), Some("a=old b=own"));
    }
    let lost = text("{}").replace("name: s", "name: s, namespace: 7");
    assert_eq!(labels(&lost), None);
}

#[test]
fn a_lost_policy_of_calico_is_for_every_pod_and_opens_nothing() {
    let text =
        written("projectcalico.org/v3", "NetworkPolicy", "spec: {ingress: [{action: Allow}]}")
            .replace("{name:", "{namspace: x, name:");
    let found = read_text("t.yaml", &text).unwrap();
    let [Object::Ordered(policy)] = found.objects.as_slice() else { panic!("{found:?}") };
    assert!(policy.metadata.key.is_lost());
    assert_eq!(policy.metadata.key.kind, ObjectKind::Ordered(Known::Policy(policy.kind)));
    assert_eq!(policy.ingress.as_deref(), Some(&[Listed::Nothing][..]));
    assert_eq!(policy.subject.within, crate::policy::Within::Anywhere);
    let denies = text.replace("action: Allow", "action: Deny, source: {selector: has(a)}");
    let found = read_text("t.yaml", &denies).unwrap();
    let [Object::Ordered(policy)] = found.objects.as_slice() else { panic!("{found:?}") };
    let Some([Listed::Rule(rule)]) = policy.ingress.as_deref() else { panic!("{policy:?}") };
    let selection = rule.peers[0].selection.as_ref().unwrap();
    assert_eq!(selection.within, crate::policy::Within::Anywhere, "whoever it may have meant");
    let service = text.replace("action: Allow", "action: Deny, source: {services: {name: s}}");
    let found = read_text("t.yaml", &service).unwrap();
    let [Object::Ordered(policy)] = found.objects.as_slice() else { panic!("{found:?}") };
    assert_eq!(policy.ingress.as_deref(), Some(&[Listed::DenyAll][..]));
}
