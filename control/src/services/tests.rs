//! Who serves where, against an oracle written from kube-proxy's rules over a model that is no
//! manifest; and the kept services against those read anew, after every change.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use lockgate_dataplane::service::{Backend, KeptServices, Lack, Services};
use proptest::prelude::*;

use super::*;
use crate::inventory::{Change, Inventory};
use crate::manifest::{ObjectKind, read_text};
use crate::resolver::Resolver;

/// An endpoint as the model has it; `None` is left out of the manifest.
#[derive(Clone, Debug)]
struct Endpoint {
    last: u8,
    ready: Option<bool>,
    serving: Option<bool>,
    terminating: Option<bool>,
    node: Option<&'static str>,
    zone_hint: Option<&'static str>,
    node_hint: Option<&'static str>,
}

#[derive(Clone, Debug)]
enum Step {
    /// Service, its address, an external one, whether it is local.
    Service(u8, u8, Option<u8>, bool),
    Gone(u8),
    /// Service, which of its slices, its endpoints, whether its port has the right name.
    Slice(u8, u8, Vec<Endpoint>, bool),
    SliceGone(u8, u8),
}

#[derive(Clone, Debug, Default)]
struct Model {
    services: BTreeMap<u8, (u8, Option<u8>, bool)>,
    slices: BTreeMap<(u8, u8), (Vec<Endpoint>, bool)>,
}

impl Model {
    /// Who is given new connections to a Service, and what becomes of them where nobody is.
    fn chosen(&self, service: u8, is_local: bool) -> (BTreeSet<u8>, Lack) {
        let mut best: BTreeMap<u8, (bool, bool, &Endpoint)> = BTreeMap::new();
        let of = self.slices.iter().filter(|((of, _), (_, named))| *of == service && *named);
        for endpoint in of.flat_map(|(_, (endpoints, _))| endpoints) {
            let ready = endpoint.ready.unwrap_or(true);
            let serving = endpoint.serving.unwrap_or(true);
            let ending = serving && endpoint.terminating.unwrap_or(false) && !ready;
            let rank = |one: &(bool, bool, &Endpoint)| {
                (one.0, one.2.serving.unwrap_or(true), one.2.terminating.unwrap_or(false))
            };
            let new = (ready, ending, endpoint);
            match best.get(&endpoint.last) {
                Some(old) if rank(old) >= rank(&new) => {}
                _ => _ = best.insert(endpoint.last, new),
            }
        }
        let ready: Vec<&Endpoint> = best.values().filter(|one| one.0).map(|one| one.2).collect();
        let ending = || best.values().filter(|one| one.1).map(|one| one.2);
        let names = |list: Vec<&Endpoint>| list.iter().map(|one| one.last).collect();
        if is_local {
            let here = |one: &&Endpoint| one.node == Some("here");
            let near: Vec<_> = ready.iter().copied().filter(here).collect();
            let near = if near.is_empty() { ending().filter(here).collect() } else { near };
            let is_elsewhere = !ready.is_empty() || ending().next().is_some();
            return (names(near), if is_elsewhere { Lack::Drop } else { Lack::Reject });
        }
        let all_nodes = ready.iter().all(|one| one.node_hint.is_some());
        let my_node: Vec<_> =
            ready.iter().copied().filter(|one| one.node_hint == Some("here")).collect();
        let all_zones = ready.iter().all(|one| one.zone_hint.is_some());
        let my_zone: Vec<_> =
            ready.iter().copied().filter(|one| one.zone_hint == Some("z1")).collect();
        let chosen = if ready.is_empty() {
            ending().collect()
        } else if all_nodes && !my_node.is_empty() {
            my_node
        } else if all_zones && !my_zone.is_empty() {
            my_zone
        } else {
            ready
        };
        (names(chosen), Lack::Reject)
    }

    /// Which Service has each address, and whether by its own policy.
    fn holders(&self) -> BTreeMap<u8, (u8, bool)> {
        let mut holders = BTreeMap::new();
        for (service, (cluster, _, _)) in self.services.iter().rev() {
            holders.insert(*cluster, (*service, true));
        }
        for (service, (_, external, _)) in &self.services {
            if let Some(external) = external {
                holders.entry(*external).or_insert((*service, false));
            }
        }
        holders
    }

    fn take(&mut self, step: &Step) {
        match step.clone() {
            Step::Service(n, cluster, external, local) => {
                self.services.insert(n, (cluster, external, local));
            }
            Step::Gone(n) => _ = self.services.remove(&n),
            Step::Slice(n, at, endpoints, named) => {
                self.slices.insert((n, at), (endpoints, named));
            }
            Step::SliceGone(n, at) => _ = self.slices.remove(&(n, at)),
        }
    }
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    let maybe = || prop::option::weighted(0.6, any::<bool>());
    let node = prop::sample::select(vec![None, Some("here"), Some("there")]);
    let zone = prop::sample::select(vec![Some("z1"), Some("z1"), Some("z2"), None]);
    (1_u8..8, maybe(), maybe(), maybe(), node.clone(), zone, node).prop_map(
        |(last, ready, serving, terminating, node, zone_hint, node_hint)| Endpoint {
            last,
            ready,
            serving,
            terminating,
            node,
            zone_hint,
            node_hint,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let external = prop::option::of(0_u8..6);
    let endpoints = prop::collection::vec(endpoint(), 0..5);
    prop_oneof![
        3 => (0_u8..4, 0_u8..6, external, any::<bool>())
            .prop_map(|(n, at, external, local)| Step::Service(n, at, external, local)),
        1 => (0_u8..4).prop_map(Step::Gone),
        5 => (0_u8..4, 0_u8..3, endpoints, prop::bool::weighted(0.9))
            .prop_map(|(n, at, endpoints, named)| Step::Slice(n, at, endpoints, named)),
        1 => (0_u8..4, 0_u8..3).prop_map(|(n, at)| Step::SliceGone(n, at)),
    ]
}

fn written(step: &Step) -> Option<String> {
    let mut text = String::new();
    match step {
        Step::Service(n, cluster, external, local) => {
            let policy = if *local { "Local" } else { "Cluster" };
            let external = external.map_or_else(String::new, |at| format!("10.96.0.{at}"));
            write!(
                text,
                "apiVersion: v1\nkind: Service\nmetadata: {{name: s{n}}}\nspec: {{clusterIP: \
                 10.96.0.{cluster}, externalIPs: [{external}], internalTrafficPolicy: {policy}, \
                 ports: [{{name: p, port: 80}}]}}"
            )
            .ok()?;
        }
        Step::Slice(n, at, endpoints, named) => {
            let port = if *named { "p" } else { "q" };
            write!(
                text,
                "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: s{n}-{at}, \
                 labels: {{kubernetes.io/service-name: s{n}}}}}\naddressType: IPv4\nports: \
                 [{{name: {port}, port: 8080}}]\nendpoints:\n"
            )
            .ok()?;
            for one in endpoints {
                write_endpoint(&mut text, one)?;
            }
            if endpoints.is_empty() {
                text.push_str(" []\n");
            }
        }
        Step::Gone(_) | Step::SliceGone(..) => return None,
    }
    Some(text)
}

fn write_endpoint(text: &mut String, one: &Endpoint) -> Option<()> {
    let condition = |name, value: Option<bool>| {
        value.map_or_else(String::new, |value| format!("{name}: {value}, "))
    };
    let hint = |name, value: Option<&str>| {
        value.map_or_else(String::new, |value| format!("{name}: [{{name: {value}}}], "))
    };
    let conditions = condition("ready", one.ready)
        + &condition("serving", one.serving)
        + &condition("terminating", one.terminating);
    let hints = hint("forZones", one.zone_hint) + &hint("forNodes", one.node_hint);
    let node = one.node.map_or_else(String::new, |node| format!("nodeName: {node}, "));
    writeln!(
        text,
        "- {{addresses: [10.0.0.{}], {node}conditions: {{{conditions}}}, hints: {{{hints}}}}}",
        one.last
    )
    .ok()
}

fn gone(step: &Step) -> Option<ObjectKey> {
    let key = |kind, name: String| ObjectKey::new(kind, "default", name);
    match step {
        Step::Gone(n) => Some(key(ObjectKind::Service, format!("s{n}"))),
        Step::SliceGone(n, at) => Some(key(ObjectKind::EndpointSlice, format!("s{n}-{at}"))),
        _ => None,
    }
}

const NODE: &str = "apiVersion: v1
kind: Node
metadata: {name: here, labels: {topology.kubernetes.io/zone: z1}}";

fn set(inventory: &mut Inventory, text: &str) {
    let read = read_text("t.yaml", text).unwrap();
    assert!(read.problems.is_empty(), "{text}\n{:?}", read.problems);
    for object in read.objects {
        let _ = inventory.apply(Change::Set(object));
    }
}

/// Fronts without the numbers of their ports.
fn bare(services: &Services) -> BTreeMap<FrontKey, Front> {
    let bare = |front: &Front| {
        let serving = Serving { id: ServingId(0), ..(*front.serving).clone() };
        Front { serving: Arc::new(serving), ..front.clone() }
    };
    services.fronts().map(|(key, front)| (*key, bare(front))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]
    #[test]
    fn those_serve_whom_kube_proxy_would_ask_after_every_change(
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let (mut inventory, mut model) = (Inventory::new(), Model::default());
        let mut resolver = Resolver::of_node(Some("here".into()));
        let mut kept = KeptServices::default();
        set(&mut inventory, NODE);
        for step in &steps {
            model.take(step);
            match (written(step), gone(step)) {
                (Some(text), _) => set(&mut inventory, &text),
                (None, Some(key)) => _ = inventory.apply(Change::Remove(key)),
                _ => {}
            }
            let changes = inventory.take_changes();
            resolver.apply(&inventory, &changes);
            kept.apply(resolver.take_served());
            check(&inventory, &model, &kept)?;
        }
    }
}

fn check(inventory: &Inventory, model: &Model, kept: &KeptServices) -> Result<(), TestCaseError> {
    let here = Here::of(inventory, Some("here".into()));
    let served = serve(inventory, &here);
    let fronts: BTreeMap<_, _> =
        served.fronts.into_iter().map(|(key, _, front)| (key, front)).collect();
    prop_assert_eq!(&bare(kept.now()), &fronts, "kept and read anew");
    prop_assert_eq!(kept.addresses().collect::<Vec<_>>(), served.addresses);
    let holders = model.holders();
    prop_assert_eq!(holders.len(), fronts.len());
    for (address, (service, is_own)) in holders {
        let address = lockgate_dataplane::packet::Address::from_v4([10, 96, 0, address]);
        let front = &fronts[&FrontKey { address, port: 80, number: 6 }];
        let is_local = is_own && model.services[&service].2;
        let (chosen, lack) = model.chosen(service, is_local);
        let address = |last| lockgate_dataplane::packet::Address::from_v4([10, 0, 0, last]);
        let chosen: Vec<_> =
            chosen.iter().map(|&last| Backend { address: address(last), port: 8080 }).collect();
        prop_assert_eq!(&front.serving.chosen[..], &chosen[..], "of s{}", service);
        prop_assert_eq!(front.serving.lack, lack);
    }
    Ok(())
}

fn fronts_of(text: &str) -> Vec<(FrontKey, ObjectKey, Front)> {
    let mut inventory = Inventory::new();
    for object in read_text("t.yaml", text).unwrap().objects {
        let _ = inventory.apply(Change::Set(object));
    }
    serve(&inventory, &Here::default()).fronts
}

const SLICE: &str = "
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: x, labels: {kubernetes.io/service-name: x}}
addressType: IPv4
endpoints: [{addresses: [10.0.0.1]}]
ports: [{port: 8080}]";

fn service(spec: &str) -> String {
    format!("apiVersion: v1\nkind: Service\nmetadata: {{name: x}}\n{spec}{SLICE}")
}

#[test]
fn neither_headless_services_nor_names_are_asked_anywhere() {
    for spec in [
        "spec: {clusterIP: None, clusterIPs: [None], ports: [{port: 80}]}",
        "spec: {type: ExternalName, externalName: example.com, ports: [{port: 80}]}",
        "spec: {ports: [{port: 80}]}",
        "spec: {clusterIP: None, externalIPs: [203.0.113.1], ports: [{port: 80}]}",
    ] {
        let read = read_text("t.yaml", &service(spec)).unwrap();
        assert!(read.problems.is_empty(), "{spec}: {:?}", read.problems);
        assert!(fronts_of(&service(spec)).is_empty(), "{spec}");
    }
}

#[test]
fn what_cannot_be_read_of_where_a_service_is_asked_closes_it_and_says_so() {
    for spec in [
        "spec: {clusterIP: 10.96.0.1, sessionAffinity: Sticky, ports: [{port: 80}]}",
        "spec: {clusterIP: 10.96.0.1, internalTrafficPolicy: local, ports: [{port: 80}]}",
        "spec: {clusterIP: 10.96.0.1, externalIPs: [300.0.0.1], ports: [{port: 80}]}",
        "spec: {clusterIP: 10.96.0.1, clusterIp: x, ports: [{port: 80}], sessionAfinity: ClientIP}",
        "spec: {clusterIP: 10.96.0.1, sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: \
         {timeoutSeconds: 0}}, ports: [{port: 80}]}",
        "spec: {clusterIP: 10.96.0.1, ports: [{port: 0}]}",
    ] {
        let read = read_text("t.yaml", &service(spec)).unwrap();
        assert_eq!(read.problems.len(), 1, "{spec}: {:?}", read.problems);
        assert!(fronts_of(&service(spec)).is_empty(), "{spec}");
    }
}

#[test]
fn a_load_balancer_lets_in_whom_it_names_and_a_proxy_is_left_alone() {
    let text = service(
        "spec: {type: LoadBalancer, clusterIP: 10.96.0.1, loadBalancerSourceRanges: \
         [' 192.0.2.0/24 '], ports: [{port: 80}]}
status: {loadBalancer: {ingress: [{ip: 203.0.113.1}, {ip: 203.0.113.2, ipMode: Proxy}]}}",
    );
    let fronts = fronts_of(&text);
    let addresses: Vec<IpAddr> = fronts.iter().map(|front| front.0.address.into()).collect();
    assert_eq!(addresses, ["10.96.0.1", "203.0.113.1"].map(|a| a.parse::<IpAddr>().unwrap()));
    let client = |text: &str| text.parse::<IpAddr>().unwrap().into();
    assert!(fronts[0].2.admits(client("198.51.100.1")), "its ClusterIP is for everybody");
    assert!(!fronts[1].2.admits(client("198.51.100.1")));
    assert!(fronts[1].2.admits(client("192.0.2.9")));
}

const BALANCED: &str = "ports: [{port: 80}]}
status: {loadBalancer: {ingress: [{ip: 203.0.113.1}, {ip: '2001:db8::1'}]}}";

#[test]
fn ranges_that_cannot_be_taken_close_the_load_balancer_alone_and_say_so() {
    let many: Vec<String> = (0..=64).map(|n| format!("192.0.{n}.0/24")).collect();
    for ranges in [many.join(", "), "nowhere".into()] {
        let text = service(&format!(
            "spec: {{type: LoadBalancer, clusterIP: 10.96.0.1, loadBalancerSourceRanges: \
             [{ranges}], {BALANCED}"
        ));
        let read = read_text("t.yaml", &text).unwrap();
        assert_eq!(read.problems.len(), 1, "{:?}", read.problems);
        assert!(read.problems[0].to_string().contains("load balancer"), "{}", read.problems[0]);
        let fronts = fronts_of(&text);
        let client = "192.0.1.1".parse::<IpAddr>().unwrap().into();
        let is_open: Vec<bool> = fronts.iter().map(|front| front.2.admits(client)).collect();
        // Its slice is of IPv4, and its load balancer of both.
        assert_eq!(is_open, [true, false, false], "{fronts:?}");
    }
}

#[test]
fn ranges_are_of_their_family_and_one_that_is_all_of_it_opens_it() {
    let admits = |ranges: &str| {
        let text = service(&format!(
            "spec: {{type: LoadBalancer, clusterIP: 10.96.0.1, loadBalancerSourceRanges: \
             {ranges}, {BALANCED}"
        ));
        let fronts = fronts_of(&text);
        let beyond = |client: &str, at: &str| {
            let [client, at] = [client, at].map(|text| text.parse::<IpAddr>().unwrap().into());
            fronts.iter().any(|(key, _, front)| key.address == at && front.admits(client))
        };
        [beyond("198.51.100.1", "203.0.113.1"), beyond("2001:db8:9::1", "2001:db8::1")]
    };
    assert_eq!(admits("['0.0.0.0/0']"), [true, true]);
    assert_eq!(admits("['192.0.2.0/24']"), [false, true]);
    assert_eq!(admits("['192.0.2.0/24', '0.0.0.0/0']"), [true, true]);
    assert_eq!(admits("['192.0.2.0/24', 'fd00::/8']"), [false, false]);
}

#[test]
fn what_another_proxy_serves_is_left_to_it() {
    const LABEL: &str = "service.kubernetes.io/service-proxy-name: other";
    let text = service("spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}");
    assert_eq!(fronts_of(&text)[0].2.serving.chosen.len(), 1);
    let own = text.replacen("{name: x}", &format!("{{name: x, labels: {{{LABEL}}}}}"), 1);
    assert!(fronts_of(&own).is_empty(), "a Service: {own}");
    let slice = text.replacen("/service-name: x", &format!("/service-name: x, {LABEL}"), 1);
    assert_eq!(fronts_of(&slice)[0].2.serving.listed.len(), 0, "a slice: {slice}");
}

#[test]
fn datagrams_stay_with_who_serves_and_not_with_who_only_ends() {
    let text = service("spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}").replace(
        "{addresses: [10.0.0.1]}",
        "{addresses: [10.0.0.1], conditions: {ready: false, serving: false, terminating: true}}, \
         {addresses: [10.0.0.2], conditions: {ready: false, serving: true, terminating: true}}",
    );
    let front = &fronts_of(&text)[0].2;
    assert_eq!([front.serving.serving.len(), front.serving.listed.len()], [1, 2]);
}

#[test]
fn only_an_address_of_the_cluster_is_wholly_a_services() {
    let mut inventory = Inventory::new();
    let text = "apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {type: LoadBalancer, \
                clusterIP: 10.96.0.1, externalIPs: [10.96.0.1, 203.0.113.9], ports: [{port: 80, \
                nodePort: 30080}]}\nstatus: {loadBalancer: {ingress: [{ip: 203.0.113.1}]}}";
    set(&mut inventory, text);
    let own = node_port_address(false).to_string();
    let want = [
        ("10.96.0.1", Extent::Whole),
        (&own, Extent::Whole),
        ("203.0.113.1", Extent::Fronts),
        ("203.0.113.9", Extent::Fronts),
    ];
    let want = want.map(|(address, extent)| (address.parse::<IpAddr>().unwrap(), extent));
    assert_eq!(serve(&inventory, &Here::default()).addresses, want);
}

#[test]
fn affinity_lasts_three_hours_unless_it_says_how_long() {
    let of = |spec: &str| fronts_of(&service(spec))[0].2.serving.affinity_ms;
    assert_eq!(of("spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}"), 0);
    let plain = "spec: {clusterIP: 10.96.0.1, sessionAffinity: ClientIP, ports: [{port: 80}]}";
    assert_eq!(of(plain), 10_800_000);
    let stated = "spec: {clusterIP: 10.96.0.1, sessionAffinity: ClientIP, sessionAffinityConfig: \
                  {clientIP: {timeoutSeconds: 7}}, ports: [{port: 80}]}";
    assert_eq!(of(stated), 7_000);
}

#[test]
fn a_node_port_is_at_the_switchs_own_address_and_local_ones_have_those_of_this_node() {
    let spec = |policy: &str, port: &str| {
        service(&format!(
            "spec: {{type: NodePort, clusterIPs: [10.96.0.1, 'fd96::1'], externalTrafficPolicy: \
             {policy}, ports: [{{port: 80, nodePort: {port}}}]}}"
        ))
    };
    let fronts = fronts_of(&spec("Cluster", "30080"));
    let at: Vec<_> =
        fronts.iter().map(|front| (IpAddr::from(front.0.address), front.0.port)).collect();
    let wanted = [("10.96.0.1", 80), ("169.254.1.2", 30_080), ("fd4c:6f63:6b67::2", 30_080)];
    for (address, port) in wanted {
        assert!(at.contains(&(address.parse().unwrap(), port)), "{address} {at:?}");
    }
    assert!(fronts.iter().all(|front| front.2.beyond.is_none()));
    let local = fronts_of(&spec("Local", "30080"));
    let beyond =
        |front: &Front| front.beyond.clone().map(|beyond| (beyond.chosen.len(), beyond.lack));
    for (key, _, front) in &local {
        let is_node_port = key.port == 30_080;
        let has_any = IpAddr::from(key.address).is_ipv4();
        let lack = if has_any { Lack::Drop } else { Lack::Reject };
        assert_eq!(beyond(front), is_node_port.then_some((0, lack)), "{key:?}");
        assert_eq!(front.serving.chosen.len(), usize::from(has_any), "the node is given any");
    }
    for none in ["0", "''"] {
        let read = read_text("t.yaml", &spec("Cluster", none)).unwrap();
        assert_eq!(read.problems.len(), usize::from(none != "0"), "{none}");
        assert!(fronts_of(&spec("Cluster", none)).iter().all(|front| front.0.port == 80));
    }
}

#[test]
fn the_node_ports_of_services_are_told_by_family_and_once() {
    let text = service(
        "spec: {type: LoadBalancer, clusterIPs: [10.96.0.1], externalTrafficPolicy: Local, ports: \
         [{port: 80, nodePort: 30080}, {port: 53, protocol: UDP, nodePort: 30080}, {port: 81}]}",
    );
    let mut inventory = Inventory::new();
    for object in read_text("t.yaml", &text).unwrap().objects {
        let _ = inventory.apply(Change::Set(object));
    }
    let port = |protocol| NodePort { protocol, number: 30_080, v6: false, keeps_source: true };
    assert_eq!(node_ports(inventory.services().chain(inventory.services())), [port(6), port(17)]);
    let plain = text.replace("LoadBalancer", "ClusterIP");
    let mut inventory = Inventory::new();
    for object in read_text("t.yaml", &plain).unwrap().objects {
        let _ = inventory.apply(Change::Set(object));
    }
    assert_eq!(node_ports(inventory.services()), []);
}

#[test]
fn who_serves_in_the_nodes_own_network_is_led_to_where_clients_are_to_be_known() {
    let told = |policy: &str, endpoints: &str| -> Vec<String> {
        let text = format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: web, namespace: shop}}\nspec: {{type: \
             LoadBalancer, clusterIPs: [10.96.0.1], externalTrafficPolicy: {policy}, \
             loadBalancerSourceRanges: [192.0.2.0/24], ports: [{{name: a, port: 80, nodePort: \
             30080}}]}}\nstatus: {{loadBalancer: {{ingress: [{{ip: 203.0.113.1}}]}}}}\n---\n\
             apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: one, namespace: \
             shop, labels: {{kubernetes.io/service-name: web}}}}\naddressType: IPv4\nendpoints: \
             [{endpoints}]\nports: [{{name: a, port: 8080}}]\n"
        );
        let mut inventory = Inventory::new();
        for object in read_text("t.yaml", &text).unwrap().objects {
            let _ = inventory.apply(Change::Set(object));
        }
        let here = Here { node: Some("here".into()), zone: None };
        let own = ["172.31.0.1", "172.31.0.9"].map(|text| text.parse().unwrap());
        let ports = ports_by_node(&inventory, &here, &own).into_iter();
        let told = |port: PortByNode| {
            let at = port.address.map_or("node".to_owned(), |address| address.to_string());
            let of = port.sources.map_or("all".to_owned(), |nets| format!("{nets:?}"));
            format!("{at} {} {} to {} of {of}", port.protocol, port.port, port.to)
        };
        ports.map(told).collect()
    };
    let of = |address: &str, node: &str| format!("{{addresses: [{address}], nodeName: {node}}}");
    let own = of("172.31.0.1", "here");
    let wanted = [
        "node 6 30080 to 172.31.0.1:8080 of all",
        "203.0.113.1 6 80 to 172.31.0.1:8080 of [192.0.2.0/24]",
    ];
    assert_eq!(told("Local", &own), wanted);
    let elsewhere = of("172.31.0.2", "there");
    assert_eq!(told("Local", &format!("{elsewhere}, {own}")), wanted);
    assert_eq!(told("Cluster", &own), [""; 0], "it need not know");
    assert_eq!(told("Local", &elsewhere), [""; 0], "another node's");
    let pod = of("10.0.0.1", "here");
    assert_eq!(told("Local", &format!("{pod}, {own}")), [""; 0], "the switch chooses");
    let unready = own.replace("nodeName", "conditions: {ready: false}, nodeName");
    assert_eq!(told("Local", &unready), [""; 0], "nobody is given");
}

#[test]
fn a_load_balancer_hears_of_local_services_who_is_ready_here() {
    let spec = |kind: &str, policy: &str| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: web, namespace: shop}}\nspec: {{type: \
             {kind}, clusterIPs: [10.96.0.1], externalTrafficPolicy: {policy}, \
             healthCheckNodePort: 31000, ports: [{{name: a, port: 80}}, {{name: b, port: 81}}]}}\n"
        )
    };
    let slice = |name: &str, family: &str, endpoints: &str| {
        format!(
            "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: {name}, \
             namespace: shop, labels: {{kubernetes.io/service-name: web}}}}\naddressType: {family}\n\
             endpoints: [{endpoints}]\nports: [{{name: a, port: 80}}, {{name: b, port: 81}}]\n"
        )
    };
    let four = "{addresses: [10.0.0.1], nodeName: here}, {addresses: [10.0.0.2], nodeName: here}, \
                {addresses: [10.0.0.3], nodeName: there}, {addresses: [10.0.0.4]}, {addresses: \
                [10.0.0.5], nodeName: here, conditions: {ready: false, serving: true, terminating: \
                true}}";
    let slices = [
        slice("one", "IPv4", four),
        slice("same", "IPv4", "{addresses: [10.0.0.1], nodeName: here}"),
        slice("six", "IPv6", "{addresses: ['fd00::1'], nodeName: here}"),
    ];
    let told = |service: &str, node: Option<&str>| {
        let mut inventory = Inventory::new();
        for object in read_text("t.yaml", &(service.to_owned() + &slices.concat())).unwrap().objects
        {
            let _ = inventory.apply(Change::Set(object));
        }
        let all = healths(&inventory, &Here::of(&inventory, node.map(Into::into)));
        let named = |(port, one): (u16, Health)| (port, one.service.to_string(), one.local);
        all.into_iter().map(named).collect::<Vec<_>>()
    };
    let is_told = |local| vec![(31_000, "Service shop/web".to_owned(), local)];
    let local = spec("LoadBalancer", "Local");
    assert_eq!(told(&local, Some("here")), is_told(2));
    assert_eq!(told(&local, Some("there")), is_told(1));
    assert_eq!(told(&local, Some("elsewhere")), is_told(0));
    assert_eq!(told(&local, None), is_told(0));
    assert_eq!(told(&spec("LoadBalancer", "Cluster"), Some("here")), []);
    assert_eq!(told(&spec("NodePort", "Local"), Some("here")), []);
    assert_eq!(told(&local.replace("31000", "0"), Some("here")), []);
    let wrong = read_text("t.yaml", &local.replace("31000", "70000")).unwrap().problems;
    assert!(wrong[0].field.contains("healthCheckNodePort"), "{wrong:?}");
}

/// A pod at a port of its node, with this interface and status.
fn hosting(port: &str, interface: &str, status: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: x, annotations: {{{interface}}}}}\nspec: \
         {{containers: [{{name: c, image: i, ports: [{port}]}}]}}\nstatus: {{{status}}}\n"
    )
}

const HERE: &str = "lockgate.dev/interface: lg0";
const AT: &str = "podIPs: [{ip: 10.0.0.9}, {ip: 'fd00::9'}]";

#[test]
fn a_pods_own_nodes_port_leads_to_it_while_it_is_here_and_no_service_has_it() {
    let mut inventory = Inventory::new();
    let mut resolver = Resolver::of_node(Some("here".into()));
    let mut kept = KeptServices::default();
    let mut told = |text: &str| {
        set(&mut inventory, text);
        let changes = inventory.take_changes();
        resolver.apply(&inventory, &changes);
        kept.apply(resolver.take_served());
        let here = Here::of(&inventory, Some("here".into()));
        let served = serve(&inventory, &here).fronts.into_iter();
        let served: BTreeMap<_, _> = served.map(|(key, _, front)| (key, front)).collect();
        assert_eq!(bare(kept.now()), served, "kept and read anew");
        let of = |(key, front): (FrontKey, Front)| {
            let backend = front.serving.chosen.first().copied();
            let backend = backend.map(|one| (IpAddr::from(one.address).to_string(), one.port));
            (IpAddr::from(key.address).to_string(), key.port, key.number, backend)
        };
        served.into_iter().map(of).collect::<BTreeSet<_>>()
    };
    let front = |at: &str, port, number, to: &str, target| {
        (at.to_owned(), port, number, Some((to.to_owned(), target)))
    };
    let (v4, v6) = ("169.254.1.2", "fd4c:6f63:6b67::2");
    let both = |port, number, target| {
        BTreeSet::from([
            front(v4, port, number, "10.0.0.9", target),
            front(v6, port, number, "fd00::9", target),
        ])
    };
    let tcp = "{containerPort: 80, hostPort: 8080}";
    assert_eq!(told(&hosting(tcp, HERE, AT)), both(8080, 6, 80));
    let udp = "{containerPort: 53, hostPort: 5353, hostIP: 0.0.0.0, protocol: UDP}";
    assert_eq!(told(&hosting(udp, HERE, AT)), both(5353, 17, 53));
    // Elsewhere, ended, on its node's own network, at one address, at none, or nowhere yet.
    let none = BTreeSet::new();
    assert_eq!(told(&hosting(tcp, "", AT)), none);
    assert_eq!(told(&hosting(tcp, HERE, &format!("phase: Succeeded, {AT}"))), none);
    assert_eq!(
        told(&hosting("{containerPort: 80, hostPort: 8080, hostIP: 127.0.0.1}", HERE, AT)),
        none
    );
    assert_eq!(told(&hosting("{containerPort: 80, hostPort: 0}", HERE, AT)), none);
    assert_eq!(told(&hosting(tcp, HERE, "phase: Pending")), none);
    let on_host = hosting(tcp, HERE, AT).replace("spec: {", "spec: {hostNetwork: true, ");
    assert_eq!(told(&on_host), none);
    // A Service has it first.
    assert_eq!(told(&hosting(tcp, HERE, AT)), both(8080, 6, 80));
    let np = "spec: {type: NodePort, clusterIPs: [10.96.0.1], ports: [{port: 80, nodePort: 8080}]}";
    let with = told(&service(np));
    assert!(with.contains(&front(v4, 8080, 6, "10.0.0.1", 8080)), "{with:?}");
    assert!(with.contains(&front(v6, 8080, 6, "fd00::9", 80)), "{with:?}");
}

#[test]
fn a_port_of_the_node_that_cannot_be_read_leads_nowhere_and_says_so() {
    let text = hosting("{containerPort: 80, hostPort: 70000, name: web}", HERE, AT);
    let read = read_text("t.yaml", &text).unwrap();
    let told: Vec<String> = read.problems.iter().map(ToString::to_string).collect();
    assert!(told.len() == 1 && told[0].contains("hostPort"), "{told:?}");
    assert!(told[0].contains("until then pods of its node do not reach it"), "{told:?}");
    let crate::manifest::Object::Pod(pod) = &read.objects[0] else { panic!() };
    assert!(pod.host_ports.is_empty() && pod.has_known_ports && pod.ports.len() == 1);
}
