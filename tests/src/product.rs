//! The product behind one door: text in, judgements out, in the oracle's words.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::oracle::{Answer, By, Cluster, End, Family, Nearest, Part, Question, RuleName, Side};
use lockgate_control::explain::{self, Reason, Request, Subject, explain};
use lockgate_control::inventory::{Change, Effect, Inventory};
use lockgate_control::manifest::{ObjectKey, Problem, Severity, read_text};
use lockgate_control::matrix::{self, MatrixRequest, matrix};
use lockgate_control::policy::{IpProtocol, kubernetes};
use lockgate_control::resolve::{Resolved, resolve};
use lockgate_dataplane::counters::DropReason;
use lockgate_dataplane::endpoint::{Endpoints, Topology};
use lockgate_dataplane::event::Denied;
use lockgate_dataplane::packet::Protocol;
use lockgate_dataplane::policy::compile::{Compiled, compile};
use lockgate_dataplane::policy::ruleset::{self, Cause, Party, PodIndex, Service};

/// The product, holding some objects.
#[derive(Debug)]
pub struct Product {
    inventory: Inventory,
    /// Of everything that was set.
    keys: BTreeSet<ObjectKey>,
    read: Vec<Problem>,
    resolved: Resolved,
    compiled: Compiled,
    endpoints: Endpoints,
}

impl Product {
    /// Reads a manifest.
    ///
    /// # Errors
    /// It is none.
    pub fn of_text(text: &str) -> Result<Self, String> {
        let mut product = Self::of_inventory(Inventory::new());
        product.set(text)?;
        Ok(product)
    }

    /// Holding what an inventory holds.
    #[must_use]
    pub fn of_inventory(inventory: Inventory) -> Self {
        let resolved = resolve(&inventory);
        let compiled = compile(&resolved.ruleset);
        let endpoints = Endpoints::build(&resolved.ruleset, &compiled, &Topology::default());
        let keys = BTreeSet::new();
        Self { inventory, keys, read: Vec::new(), resolved, compiled, endpoints }
    }

    /// Everything that is held.
    #[must_use]
    pub fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// What it means.
    #[must_use]
    pub fn ruleset(&self) -> &ruleset::Ruleset {
        &self.resolved.ruleset
    }

    /// Every problem of a manifest that was read here.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.read
    }

    /// Sets the objects of a manifest, one by one.
    ///
    /// # Errors
    /// It is none.
    pub fn set(&mut self, text: &str) -> Result<(), String> {
        let found = read_text("case.yaml", text).map_err(|problem| problem.to_string())?;
        self.read.extend(found.problems);
        for object in found.objects {
            self.keys.insert(object.metadata().key.clone());
            let _: Effect = self.inventory.apply(Change::Set(object));
        }
        self.compile();
        Ok(())
    }

    /// Removes an object; whether anything can differ now.
    pub fn remove(&mut self, kind: &str, namespace: &str, name: &str) -> bool {
        let Some(key) = self.key(kind, namespace, name) else { return false };
        let effect = self.inventory.apply(Change::Remove(key));
        self.compile();
        effect == Effect::Changed
    }

    fn compile(&mut self) {
        self.resolved = resolve(&self.inventory);
        self.compiled = compile(&self.resolved.ruleset);
        let topology = Topology::default();
        self.endpoints = Endpoints::build(&self.resolved.ruleset, &self.compiled, &topology);
    }

    fn key(&self, kind: &str, namespace: &str, name: &str) -> Option<ObjectKey> {
        let pods = self.inventory.pods().map(|pod| &pod.metadata.key);
        let policies = self.inventory.policies().map(|policy| &policy.metadata.key);
        let namespaces = self.inventory.namespaces().map(|one| &one.metadata.key);
        let mut keys = pods.chain(policies).chain(namespaces).chain(&self.keys);
        keys.find(|key| is_of(key, kind, namespace, name)).cloned()
    }

    /// The errors reported on policies: object and field.
    #[must_use]
    pub fn policy_errors(&self) -> Vec<(String, String)> {
        let errors = self.read.iter().filter(|problem| problem.severity == Severity::Error);
        let of_policies = errors.filter_map(|problem| {
            let name = problem.object.strip_prefix("NetworkPolicy ")?;
            Some((name.to_owned(), problem.field.clone()))
        });
        of_policies.collect()
    }

    /// What any judge of the product says otherwise than the oracle: `explain`, the ruleset,
    /// the table.
    ///
    /// # Panics
    /// Where `explain` contradicts itself.
    #[must_use]
    pub fn disagreement(&self, cluster: &Cluster, question: &Question) -> Option<String> {
        let oracle = match (cluster.judge(question), self.explain(question)) {
            (Err(_), Err(_)) => return None,
            (Ok(oracle), Ok(explained)) => {
                let told = told_difference(cluster, &oracle, &explained);
                if let Some(text) = told {
                    return Some(format!("explain, {text}"));
                }
                oracle
            }
            (oracle, explained) => {
                return Some(format!("oracle {oracle:?}, explain {explained:?}"));
            }
        };
        let asked = self.asked(cluster, question, oracle.ingress.by == By::OwnNode);
        // Who judges by address takes two pods of one address for one; a packet of either is
        // refused before it is judged (NP-54).
        if asked.source.address == asked.target.address && oracle.ingress.by != By::Itself {
            return None;
        }
        let by_ruleset = self.answer(&self.resolved.ruleset.decide(&asked));
        let by_table = self.answer(&self.compiled.decide(&asked));
        let judged = [("ruleset", by_ruleset), ("table", by_table)];
        let differing = judged.into_iter().find_map(|(name, answer)| {
            difference(&oracle, &answer).map(|text| format!("{name}, {text}"))
        });
        differing.or_else(|| self.misplaced(asked.source.address, asked.target.address))
    }

    /// The longest match that workers use must give the class that the table was compiled for. No
    /// packet bears an IPv4-mapped address: the parser drops it, and workers could not tell it.
    fn misplaced(&self, source: IpAddr, target: IpAddr) -> Option<String> {
        let is_mapped = |ip: &IpAddr| matches!(ip, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
        [source, target].into_iter().filter(|address| !is_mapped(address)).find_map(|address| {
            let found = self.endpoints.place(address.into()).class;
            let class = self.compiled.classes.of(address);
            (found != class).then(|| format!("{address} is of {class:?}, found as {found:?}"))
        })
    }

    fn asked(&self, cluster: &Cluster, question: &Question, own_node: bool) -> ruleset::Question {
        let party = |end: &End, own_node| {
            let address = cluster.address_of(end, question.family).expect("the oracle found it");
            let mut pods = self.resolved.ruleset.pods.iter();
            let place = pods.position(|pod| pod.addresses.contains(&address));
            let pod = place.and_then(|place| u32::try_from(place).ok()).map(PodIndex);
            Party { address, pod, own_node }
        };
        ruleset::Question {
            source: party(&question.source, own_node),
            target: party(&question.target, false),
            service: Service {
                protocol: question.protocol,
                port: question.port,
                source_port: question.source_port,
            },
        }
    }

    fn answer(&self, answer: &ruleset::Answer) -> Answer {
        Answer { egress: self.side(&answer.egress), ingress: self.side(&answer.ingress) }
    }

    fn side(&self, cause: &Cause) -> Side {
        let policies = &self.resolved.ruleset.policies;
        let name = |policy: &ruleset::PolicyId| policies[policy.0 as usize].name.to_string();
        let rule_name = |policy, rule: u32| RuleName { policy: name(policy), index: rule as usize };
        let mut isolating = Vec::new();
        let by = match cause {
            Cause::NotIsolated => By::NotIsolated,
            Cause::Itself => By::Itself,
            Cause::OwnNode => By::OwnNode,
            Cause::Rule { policy, rule } => By::Rule(rule_name(policy, *rule)),
            Cause::DenyRule { policy, rule } => By::DenyRule(rule_name(policy, *rule)),
            Cause::DefaultDeny { isolating: policies } => {
                isolating = policies.iter().map(name).collect();
                By::DefaultDeny
            }
        };
        Side { by, isolating, allowing: Vec::new(), nearest: None }
    }

    /// What `lockgate matrix` says.
    #[must_use]
    pub fn matrix(&self, protocol: Protocol, port: u16, family: Option<Family>) -> Vec<Row> {
        let asked = number(protocol, port);
        let port = protocol.has_ports().then_some(port);
        let family = family.map(explained_family);
        let request = MatrixRequest { protocol: asked, port, family };
        let rows = matrix(&self.inventory, &request).map(|matrix| matrix.rows).unwrap_or_default();
        let cell = |cell: matrix::Cell| {
            let first = cell.by.into_iter().next().map(rule_name);
            (cell.verdict == explain::Verdict::Allow, first)
        };
        let row = |row: matrix::Row| Row {
            allows: row.verdict == explain::Verdict::Allow,
            from: row.from,
            to: row.to,
            sides: [cell(row.egress), cell(row.ingress)],
        };
        rows.into_iter().map(row).collect()
    }

    /// What `lockgate explain` says.
    ///
    /// # Errors
    /// What `explain` answers instead.
    ///
    /// # Panics
    /// A denial that names no cause of denial.
    pub fn explain(&self, question: &Question) -> Result<Answer, String> {
        let subject = |end: &End| match end {
            End::Address(address) => Subject::Address(*address),
            End::Pod(namespace, name) => {
                // A lost pod, which may be of any namespace, is asked for by its key.
                let lost = || {
                    let mut keys = self.inventory.pods().map(|pod| &pod.metadata.key);
                    keys.find(|key| key.namespace.starts_with('?') && *key.name == **name)
                };
                let known = self.inventory.pod(namespace, name).map(|pod| &pod.metadata.key);
                let namespace = known.or_else(lost).map(|key| key.namespace.to_string());
                Subject::Pod { namespace: namespace.unwrap_or_default(), name: name.clone() }
            }
        };
        let has_ports = question.protocol.has_ports();
        let message = question.protocol.has_messages().then(|| question.port.to_be_bytes());
        let request = Request {
            from: subject(&question.source),
            to: subject(&question.target),
            protocol: number(question.protocol, question.port),
            port: has_ports.then_some(question.port),
            source_port: has_ports.then_some(question.source_port),
            icmp_type: message.map(|[kind, _]| kind),
            icmp_code: message.map(|[_, code]| code),
            family: Some(explained_family(question.family)),
        };
        let explained = explain(&self.inventory, &request).map_err(|error| error.to_string())?;
        Ok(Answer {
            egress: explained_side(explained.egress),
            ingress: explained_side(explained.ingress),
        })
    }
}

/// Whether a key is that of an object of this kind, as it is spoken of. A namespace that cannot be
/// one is marked with `?`.
#[must_use]
pub fn is_of(key: &ObjectKey, kind: &str, namespace: &str, name: &str) -> bool {
    let namespaces = [&*key.namespace, key.namespace.trim_start_matches('?')];
    key.kind.spoken() == kind && namespaces.contains(&namespace) && *key.name == *name
}

/// What the agent tells of a denied packet that was sampled otherwise than the oracle tells of its
/// flow.
#[must_use]
pub fn sample_disagreement(
    cluster: &Cluster,
    inventory: &Inventory,
    sample: &Denied,
) -> Option<String> {
    let key = &sample.key;
    let (source, target) = (IpAddr::from(key.source), IpAddr::from(key.target));
    let question = Question {
        source: End::Address(source),
        target: End::Address(target),
        protocol: key.protocol,
        port: key.target_port,
        source_port: key.source_port,
        family: if source.is_ipv4() { Family::V4 } else { Family::V6 },
    };
    let oracle = match cluster.judge(&question) {
        Ok(oracle) => oracle,
        Err(why) => return Some(format!("sampled {key:?}: {why:?}")),
    };
    let told = match explain(inventory, &Request::of(key)) {
        Ok(told) => told,
        Err(why) => return Some(format!("sampled {key:?}: {why}")),
    };
    let denied = match sample.reason {
        DropReason::EgressDenied => &oracle.egress,
        _ => &oracle.ingress,
    };
    let told =
        Answer { egress: explained_side(told.egress), ingress: explained_side(told.ingress) };
    let is_denied = matches!(denied.by, By::DefaultDeny | By::DenyRule(_));
    (!is_denied)
        .then(|| format!("sampled as {}: {oracle:?}", sample.reason.label()))
        .or_else(|| told_difference(cluster, &oracle, &told).map(|text| format!("sampled, {text}")))
}

/// A row of the matrix.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    /// `namespace/name` of the source.
    pub from: String,
    /// `namespace/name` of the target.
    pub to: String,
    /// The verdict.
    pub allows: bool,
    /// Egress and ingress: whether it allows, and by which rule, if one had to.
    pub sides: [(bool, Option<RuleName>); 2],
}

fn explained_family(family: Family) -> explain::Family {
    match family {
        Family::V4 => explain::Family::V4,
        Family::V6 => explain::Family::V6,
    }
}

/// The number of a protocol, which is the port of one that has no other name.
fn number(protocol: Protocol, port: u16) -> IpProtocol {
    match protocol {
        Protocol::Other => IpProtocol(u8::try_from(port).unwrap_or(u8::MAX)),
        known => kubernetes::number(known),
    }
}

fn rule_name(rule: explain::RuleName) -> RuleName {
    RuleName { policy: rule.policy, index: usize::try_from(rule.rule).unwrap_or(usize::MAX) }
}

fn explained_side(side: explain::Side) -> Side {
    let allowing: Vec<RuleName> = side.by.into_iter().map(rule_name).collect();
    let by = match (side.reason, allowing.first()) {
        (Reason::Rule, Some(first)) => By::Rule(first.clone()),
        // Allowed by a rule that is not named differs from whatever the oracle says.
        (Reason::Rule, None) => By::Rule(RuleName { policy: String::new(), index: 0 }),
        (Reason::DenyRule, Some(first)) => By::DenyRule(first.clone()),
        (Reason::DenyRule, None) => By::DenyRule(RuleName { policy: String::new(), index: 0 }),
        (Reason::NotIsolated | Reason::Undecided | Reason::Outside, _) => By::NotIsolated,
        (Reason::DefaultDeny, _) => By::DefaultDeny,
        (Reason::Itself, _) => By::Itself,
        (Reason::OwnNode, _) => By::OwnNode,
    };
    let nearest = side.nearest.map(|nearest| Nearest {
        rule: rule_name(explain::RuleName { policy: nearest.policy, rule: nearest.rule }),
        failing: nearest.failed.into_iter().filter_map(part).collect(),
    });
    let denies = matches!(by, By::DefaultDeny | By::DenyRule(_));
    assert_eq!(denies, side.verdict == explain::Verdict::Deny);
    Side { by, isolating: side.isolated_by, allowing, nearest }
}

/// The parts of a rule of Kubernetes; the oracle names none of others.
fn part(part: explain::Part) -> Option<Part> {
    Some(match part {
        explain::Part::Namespace => Part::Namespace,
        explain::Part::PodLabels => Part::PodLabels,
        explain::Part::Cidr => Part::Cidr,
        explain::Part::Except => Part::Except,
        explain::Part::Protocol => Part::Protocol,
        explain::Part::Port => Part::Port,
        _ => return None,
    })
}

/// Where the causes differ: the rule that allows, or the policies that isolate.
fn difference(oracle: &Answer, product: &Answer) -> Option<String> {
    by_side(oracle, product, |ours, theirs| {
        let denied = ours.by == By::DefaultDeny;
        // In whichever order.
        let isolating = [ours, theirs].map(|side| BTreeSet::from_iter(&side.isolating));
        ours.by != theirs.by || denied && isolating[0] != isolating[1]
    })
}

/// Where what is told differs: of tiers the oracle tells no more than what decides.
fn told_difference(cluster: &Cluster, oracle: &Answer, told: &Answer) -> Option<String> {
    if cluster.is_tiered() { difference(oracle, told) } else { full_difference(oracle, told) }
}

/// Where anything that is told differs.
fn full_difference(oracle: &Answer, product: &Answer) -> Option<String> {
    by_side(oracle, product, |ours, theirs| {
        // Where no policy was asked, which ones could have been is not told the same way.
        let asked = !matches!(ours.by, By::Itself | By::OwnNode);
        let unknown_rule = theirs.allowing.iter().any(|rule| !ours.allowing.contains(rule));
        let other_policies = ours.isolating != theirs.isolating;
        ours.by != theirs.by
            || ours.nearest != theirs.nearest
            || asked && (other_policies || unknown_rule)
    })
}

fn by_side(
    oracle: &Answer,
    product: &Answer,
    differ: impl Fn(&Side, &Side) -> bool,
) -> Option<String> {
    let egress = ("egress", &oracle.egress, &product.egress);
    let ingress = ("ingress", &oracle.ingress, &product.ingress);
    let (name, ours, theirs) =
        [egress, ingress].into_iter().find(|(_, ours, theirs)| differ(ours, theirs))?;
    Some(format!("{name}:\n  oracle  {ours:?}\n  product {theirs:?}"))
}
