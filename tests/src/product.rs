//! The product behind one door: text in, judgements out, in the oracle's words.

mod told;

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::oracle::{Answer, By, Cluster, End, Family, Question, RuleName, Side};
use lockgate_control::explain::{self, AskedProtocol, Request, Subject, explain};
use lockgate_control::inventory::{Change, Effect, Inventory};
use lockgate_control::manifest::{ObjectKey, Problem, Severity, read_text};
use lockgate_control::matrix::{self, MatrixRequest, matrix};
use lockgate_control::resolve::{Resolved, resolve};
use lockgate_dataplane::endpoint::{Endpoints, Topology};
use lockgate_dataplane::packet::Protocol;
use lockgate_dataplane::policy::compile::{Compiled, compile};
use lockgate_dataplane::policy::ruleset::{self, Cause, Party, PodIndex, Service, View};
use lockgate_dataplane::service::own::as_itself;

pub use told::sample_disagreement;
use told::{difference, explained_family, explained_side, number, rule_name, told_difference};

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
        self.disagreement_in(View::Now, cluster, question)
    }

    /// The same in a view: of what would decide were all in force that is staged, the cluster is one
    /// in which it is.
    #[must_use]
    pub fn disagreement_in(
        &self,
        view: View,
        cluster: &Cluster,
        question: &Question,
    ) -> Option<String> {
        let oracle = match (cluster.judge(question), self.explain_in(view, question)) {
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
        // What a Service brings back to a pod is heard from the switch, and judged as its own.
        let is_brought =
            asked.source.address == IpAddr::from(as_itself(asked.target.address.into()));
        let (view, asked) = match asked.target.pod {
            Some(_) if is_brought => {
                (View::Itself, ruleset::Question { source: asked.target, ..asked })
            }
            _ => (view, asked),
        };
        let by_ruleset = self.answer(&self.resolved.ruleset.decide_in(view, &asked));
        let by_table = self.answer(&self.compiled.decide_in(view, &asked));
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
            // No oracle says so of what decides.
            Cause::Logged { .. } => By::DenyRule(RuleName { policy: "log".to_owned(), index: 0 }),
        };
        Side { by, isolating, allowing: Vec::new(), nearest: None }
    }

    /// What `lockgate matrix` says.
    #[must_use]
    pub fn matrix(&self, protocol: Protocol, port: u16, family: Option<Family>) -> Vec<Row> {
        let asked = match protocol {
            Protocol::Icmp => AskedProtocol::Icmp,
            other => number(other, port),
        };
        let port = protocol.has_ports().then_some(port);
        let family = family.map(explained_family);
        let request = MatrixRequest { protocol: asked, port, family };
        let rows = matrix(&self.inventory, &request).map(|matrix| matrix.rows).unwrap_or_default();
        let cell = |cell: matrix::Cell| {
            let first = cell.by.first().map(rule_name);
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
        self.explain_in(View::Now, question)
    }

    fn explain_in(&self, view: View, question: &Question) -> Result<Answer, String> {
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
        let sides = match explained.staged {
            Some(staged) if view == View::Next => [staged.egress, staged.ingress],
            _ => [explained.egress, explained.ingress],
        };
        let [egress, ingress] = sides.map(explained_side);
        Ok(Answer { egress, ingress })
    }
}

/// Whether a key is that of an object of this kind, as it is spoken of. A namespace that cannot be
/// one is marked with `?`.
#[must_use]
pub fn is_of(key: &ObjectKey, kind: &str, namespace: &str, name: &str) -> bool {
    let namespaces = [&*key.namespace, key.namespace.trim_start_matches('?')];
    key.kind.spoken() == kind && namespaces.contains(&namespace) && *key.name == *name
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
