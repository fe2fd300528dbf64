//! Every folder of `tests/cases`, run line by line by simulated nodes: one for each node that the
//! case's pods name, all of them at once.
//!
//! A line is run where its ends live. Between two nodes the source's lets pass what its egress
//! allows, and the target's judges ingress; what is dropped elsewhere is not sent on.
//!
//! After each line the counters by policy must have moved as the oracle says: by one for each
//! policy that isolates where the packet was denied, by one for the policy of each rule that let a
//! connection be opened, and by nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;

use lockgate_control::inventory::Change;
use lockgate_control::manifest::{Object, ObjectKey, Pod, read_text};
use lockgate_dataplane::packet::answer::GATEWAY_MAC;
use lockgate_dataplane::policy::ruleset::{Direction, View};
use lockgate_dataplane::service::own::as_itself;
use lockgate_tests::cases::{Action, Case, Judge, Send, Step, frame};
use lockgate_tests::oracle::{By, Cluster, End, Question};
use lockgate_tests::packets::Ends;
use lockgate_tests::product::{is_of, sample_disagreement};
use lockgate_tests::world::{Fate, HOST, Shape, World};
use serde_json::Value;

#[test]
fn every_case_comes_out_as_written_on_simulated_nodes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let cases = Case::read_all(&root).unwrap();
    let (mut lines, mut samples, mut counts) = (0, 0, [0, 0]);
    let mut failures = Vec::new();
    for case in cases.iter().filter(|case| case.has(Judge::Node)) {
        for workers in [1, 2] {
            let mut nodes = Nodes::of(case, workers);
            for step in &case.steps {
                let told = nodes.run(step);
                let place = |e| format!("{}/traffic.txt:{} {e}", case.name, step.line);
                failures.extend(told.into_iter().map(place));
            }
            lines += nodes.lines;
            samples += nodes.samples;
            counts = [0, 1].map(|at| counts[at] + nodes.counts[at]);
        }
    }
    assert!(failures.is_empty(), "{} lines:\n{}", failures.len(), failures.join("\n"));
    assert!(lines > 500, "only {lines} lines were run");
    assert!(samples > 1000, "only {samples} denied packets were sampled");
    assert!(counts[0] > 1000 && counts[1] > 500, "only {counts:?} denials, openings were counted");
}

/// The nodes of a case.
struct Nodes {
    /// What the oracle knows: who has which address.
    cluster: Cluster,
    /// Of every object that was set.
    keys: BTreeSet<ObjectKey>,
    all: Vec<Node>,
    now_ms: u64,
    lines: usize,
    /// Denied packets that were sampled, and their causes told.
    samples: usize,
    /// Counts by policy that were as the oracle says: of denied packets, of opened connections.
    counts: [usize; 2],
    /// What opened a connection, by who sent what to whom.
    opened: BTreeMap<Flow, Question>,
}

/// Source, its port where one is stated, target, its port.
type Flow = (IpAddr, Option<u16>, IpAddr, u16);

/// A policy that counted once, as whose, and whether a connection was opened.
type Count = (String, Direction, bool);

/// One of them.
struct Node {
    /// Its addresses; none if no pod names any.
    addresses: BTreeSet<IpAddr>,
    world: World,
    /// The last packet from one address to another.
    last: BTreeMap<(IpAddr, IpAddr), Vec<u8>>,
}

impl Nodes {
    fn of(case: &Case, workers: u8) -> Self {
        let mut homes: Vec<BTreeSet<IpAddr>> = Vec::new();
        for pod in texts(case).flat_map(pods) {
            let mut own: BTreeSet<IpAddr> = pod.host_ips.iter().copied().collect();
            homes.retain(|home| {
                let is_same = !home.is_disjoint(&own);
                own.extend(home.iter().filter(|_| is_same));
                !is_same
            });
            homes.extend(Some(own).filter(|own| !own.is_empty()));
        }
        if homes.is_empty() {
            homes.push(BTreeSet::new());
        }
        let shape = Shape { workers, ..Shape::default() };
        let node = |addresses| Node { addresses, world: World::new(shape), last: BTreeMap::new() };
        let nodes = homes.into_iter().map(node).collect();
        let mut all = Self {
            cluster: Cluster::default(),
            keys: BTreeSet::new(),
            all: nodes,
            now_ms: 0,
            lines: 0,
            samples: 0,
            counts: [0, 0],
            opened: BTreeMap::new(),
        };
        all.set(&case.cluster);
        all
    }

    fn run(&mut self, step: &Step) -> Vec<String> {
        let passed = step.at_ms.saturating_sub(self.now_ms);
        self.now_ms += passed;
        for node in &mut self.all {
            node.world.advance_ms(passed);
        }
        match &step.action {
            Action::Set(text) => self.set(text),
            Action::Remove(kind, namespace, name) => self.remove(kind, namespace, name),
            Action::Restart => self.all.iter_mut().for_each(|node| node.world.restart()),
            Action::Sync => self.all.iter_mut().for_each(|node| node.world.sync()),
            Action::Send(send) => return self.send(send, step.line),
            Action::Table(cells) => {
                let told = (1000..).zip(cells).flat_map(|(number, (line, send))| {
                    let told = self.send(send, number);
                    told.into_iter().map(move |e| format!("line {line}: {send}: {e}"))
                });
                return told.collect();
            }
        }
        Vec::new()
    }

    fn set(&mut self, text: &str) {
        self.cluster.set_text(text).expect("a manifest");
        for at in 0..self.all.len() {
            let found = read_text("case.yaml", text).expect("a manifest").objects;
            self.keys.extend(found.iter().map(|object| object.metadata().key.clone()));
            let on_this = |object| Change::Set(self.with_interface(object, at));
            let changes = found.into_iter().map(on_this).collect();
            self.all[at].world.apply(changes);
        }
    }

    /// The pods of a node are bound to an interface there: that is what makes them its.
    fn with_interface(&self, mut object: Object, node: usize) -> Object {
        if let Object::Pod(pod) = &mut object
            && self.home(pod) == node
            && !pod.host_network
        {
            let key = &pod.metadata.key;
            pod.interface = Some(format!("{}/{}", key.namespace, key.name).into());
        }
        object
    }

    fn home(&self, pod: &Pod) -> usize {
        let is_home = |node: &Node| pod.host_ips.iter().any(|ip| node.addresses.contains(ip));
        self.all.iter().position(is_home).unwrap_or(0)
    }

    fn remove(&mut self, kind: &str, namespace: &str, name: &str) {
        self.cluster.remove(kind, namespace, name);
        let mut keys = self.keys.iter();
        let Some(key) = keys.find(|key| is_of(key, kind, namespace, name)) else { return };
        for node in &mut self.all {
            node.world.apply(vec![Change::Remove(key.clone())]);
        }
    }

    fn send(&mut self, send: &Send, number: usize) -> Vec<String> {
        let Some((source, target)) = self.addresses(send) else {
            return vec!["the ends share no family".to_owned()];
        };
        let is_brought = source == IpAddr::from(as_itself(target.into()));
        let mut failures = Vec::new();
        for (at, wanted) in self.judges(send, source, target) {
            let node = &mut self.all[at];
            let (mut from, to) = (node.wire(&send.source, source), node.wire(&send.target, target));
            if is_brought {
                from.clone_from(&to);
            } else if from == to {
                continue;
            }
            let (seen_source, seen_target) = (source, target);
            // The pod itself has sent it, to the Service behind which it is.
            let (source, target) = match front_of(&self.cluster, target) {
                Some(front) if is_brought => (target, front),
                _ => (send.claimed.unwrap_or(source), target),
            };
            let target_mac = GATEWAY_MAC;
            let source_mac = node.world.mac(&from);
            let ends = Ends { source_mac, target_mac, source, target };
            let last = node.last.get(&(target, source)).map(Vec::as_slice);
            let frame = frame(send, ends, number, last);
            let opened = node.world.total(|cells| cells.opened.load());
            let seen = match node.world.fate(&from, &to, &frame) {
                Fate::Sent(_) => "sent".to_owned(),
                Fate::Dropped(reason) => reason.label().to_owned(),
                odd => format!("{odd:?}"),
            };
            node.last.insert((source, target), frame);
            for sample in node.world.samples() {
                let inventory = node.world.inventory();
                failures.extend(sample_disagreement(&self.cluster, inventory, &sample));
                self.samples += 1;
            }
            let opened = node.world.total(|cells| cells.opened.load()) > opened;
            let ends = (seen_source, seen_target);
            failures.extend(self.miscounted(at, send, ends, &seen, opened));
            self.lines += 1;
            if seen != wanted {
                failures.push(format!("node {at}: written {wanted}, came out {seen}"));
            }
        }
        failures
    }

    /// How the counters by policy of a node have moved otherwise than the oracle says, if they have.
    fn miscounted(
        &mut self,
        at: usize,
        send: &Send,
        (source, target): (IpAddr, IpAddr),
        seen: &str,
        opened: bool,
    ) -> Option<String> {
        let there = (source, send.source_port, target, send.target_port);
        let back = (target, Some(send.target_port), source, send.source_port.unwrap_or(0));
        let denied = match seen {
            "egress_denied" => Some(Direction::Egress),
            "ingress_denied" => Some(Direction::Ingress),
            _ => None,
        };
        // Of a connection that is known, what opened it is judged, whichever way the packet goes.
        let known = self.opened.get(&there).or_else(|| self.opened.get(&back));
        let known = known.filter(|_| !send.is_decided_by_policy()).cloned();
        let question = known.or_else(|| send.question(&self.cluster).ok());
        if let Some(question) = question.as_ref().filter(|_| opened) {
            self.opened.insert(there, question.clone());
        }
        // What neither opened a connection nor was denied may be about pods that are gone.
        let decided = question.filter(|_| opened || denied.is_some());
        let answer = decided.map(|asked| self.cluster.judge(&asked).expect("an answer"));
        let node = &mut self.all[at];
        let mut expected: Vec<Count> = Vec::new();
        let sides = answer.iter().flat_map(|answer| {
            [
                (Direction::Egress, &answer.egress, &send.source, source),
                (Direction::Ingress, &answer.ingress, &send.target, target),
            ]
        });
        for (direction, side, end, address) in sides {
            if denied == Some(direction) {
                let mut each = side.isolating.clone();
                if let By::DenyRule(rule) = &side.by {
                    each.push(rule.policy.clone());
                }
                expected.extend(each.into_iter().map(|policy| (policy, direction, false)));
            }
            // The side of a pod elsewhere is judged there.
            let is_brought = source == IpAddr::from(as_itself(target.into()));
            let is_judged_here = is_brought || node.wire(end, address) != HOST;
            if let By::Rule(rule) = &side.by
                && opened
                && is_judged_here
            {
                expected.push((rule.policy.clone(), direction, true));
            }
        }
        expected.sort();
        let counted = node.world.counted();
        let mut seen: Vec<Count> = counted
            .iter()
            // What is staged would do more.
            .filter(|one| one.view == View::Now)
            .flat_map(|one| {
                let count = (one.policy.to_string(), one.direction, one.opened);
                std::iter::repeat_n(count, usize::try_from(one.count).unwrap_or(usize::MAX))
            })
            .collect();
        seen.sort();
        for (_, _, opened) in &seen {
            self.counts[usize::from(*opened)] += 1;
        }
        (seen != expected).then(|| format!("node {at}: counted {seen:?}, should be {expected:?}"))
    }

    /// The addresses that the packet bears.
    fn addresses(&self, send: &Send) -> Option<(IpAddr, IpAddr)> {
        let family = send.question(&self.cluster).ok()?.family;
        let of = |end| self.cluster.address_of(end, family).ok();
        Some((of(&send.source)?, of(&send.target)?))
    }

    /// Which nodes run the line, and what shall come out there.
    fn judges(&self, send: &Send, source: IpAddr, target: IpAddr) -> Vec<(usize, String)> {
        let ends = [(&send.source, source), (&send.target, target)];
        let [from, to] = ends
            .map(|(end, address)| self.all.iter().position(|node| node.wire(end, address) != HOST));
        let own = |at: Option<usize>| at.map(|at| (at, send.outcome.clone()));
        let passes = |at: Option<usize>| at.map(|at| (at, "sent".to_owned()));
        let judges = match send.outcome.as_str() {
            _ if from == to => [own(from), None],
            _ if source == IpAddr::from(as_itself(target.into())) => [own(to), None],
            "sent" => [own(from), own(to)],
            "ingress_denied" => [passes(from), own(to)],
            "egress_denied" => [own(from), None],
            _ => [own(from.or(to)), None],
        };
        judges.into_iter().flatten().collect()
    }
}

impl Node {
    /// The wire of an end: a pod's of this node, or the host's.
    fn wire(&self, end: &End, address: IpAddr) -> String {
        let views = self.world.resolved().map_or(&[][..], |resolved| &resolved.pods);
        let local = views.iter().filter(|view| view.interface.is_some());
        let mut named = local.filter(|view| match end {
            End::Pod(namespace, name) => {
                (&*view.namespace, &*view.name) == (namespace.as_str(), name.as_str())
            }
            End::Address(_) => view.addresses.contains(&address),
        });
        let name = named.next().map(|view| format!("{}/{}", view.namespace, view.name));
        name.unwrap_or_else(|| HOST.to_owned())
    }
}

/// The address of a Service with a slice in which this address is.
fn front_of(cluster: &Cluster, address: IpAddr) -> Option<IpAddr> {
    let has = |text: &&Value| text.as_str().is_some_and(|text| text.parse() == Ok(address));
    let endpoints = |slice: &Value| slice["endpoints"].as_array().cloned().unwrap_or_default();
    let serves = |slice: &&Value| {
        let all = endpoints(slice);
        all.iter().filter_map(|one| one["addresses"].as_array()).flatten().any(|one| has(&one))
    };
    let slice = cluster.objects.iter().filter(|one| one["kind"] == "EndpointSlice").find(serves)?;
    let name = &slice["metadata"]["labels"]["kubernetes.io/service-name"];
    let services = cluster.objects.iter().filter(|one| one["kind"] == "Service");
    let mut named = services.filter(|one| one["metadata"]["name"] == *name);
    let fronts = named.next()?["spec"]["clusterIPs"].as_array()?;
    let mut fronts = fronts.iter().filter_map(|text| text.as_str()?.parse::<IpAddr>().ok());
    fronts.find(|front| front.is_ipv4() == address.is_ipv4())
}

/// Everything that is ever set.
fn texts(case: &Case) -> impl Iterator<Item = &str> {
    let later = case.steps.iter().filter_map(|step| match &step.action {
        Action::Set(text) => Some(text.as_str()),
        _ => None,
    });
    std::iter::once(case.cluster.as_str()).chain(later)
}

fn pods(text: &str) -> Vec<Pod> {
    let found = read_text("case.yaml", text).expect("a manifest").objects;
    let pod = |object| if let Object::Pod(pod) = object { Some(pod) } else { None };
    found.into_iter().filter_map(pod).collect()
}
