//! The oracle: what Kubernetes objects mean, judged straight from their text.
//!
//! It answers one question at a time by walking the parsed YAML: no index, no cache, no type of
//! the product's model. Every question reads every policy again, its mistakes included, so that
//! each line can be held against the API's text (NP-1 to NP-59). Of time it knows one rule, that of
//! policies which go before their pods (`going.rs`).
//!
//! Written by another hand than `control` and sharing no code with it: where the two disagree,
//! one of them misreads the API. Slow on purpose: some ten microseconds a question.
//!
//! Policies of Calico and of the cluster are read in `tiers`, each API by a reader of its own.
//!
//! ```text
//! text ──> Cluster ── ends.rs: who is this address? ──┐
//!             │                                       ├──> judge.rs ──> Answer
//!             └────── reading.rs: what does the rule  │
//!                     say, or is it broken? (NP-59) ──┘
//! ```

mod doubt;
mod ends;
mod going;
mod judge;
mod label;
mod network;
mod reading;
mod tiers;

use std::net::IpAddr;

use lockgate_dataplane::packet::Protocol;
use serde_json::Value;

pub use label::selects;
pub use network::Cidr;
pub use reading::Broken;
pub use tiers::selects_by_expression;

/// The objects of a cluster, as they were written.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    /// Every document, in the order of the text.
    pub objects: Vec<Value>,
}

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

/// One end of a question.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum End {
    /// A pod by namespace and name.
    Pod(String, String),
    /// An address, a pod's or not.
    Address(IpAddr),
}

/// May this be sent?
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    /// Who opens.
    pub source: End,
    /// Who is to receive.
    pub target: End,
    /// What.
    pub protocol: Protocol,
    /// The target port; of ICMP `type * 256 + code`, of other protocols their number.
    pub port: u16,
    /// The source port; 65535 where it does not matter. Ignored for protocols without ports.
    pub source_port: u16,
    /// Which of their addresses.
    pub family: Family,
}

/// A rule: `namespace/name` of its policy and its place in the written list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleName {
    /// `namespace/name`; the name alone of what is in no namespace.
    pub policy: String,
    /// Counted from 0.
    pub index: usize,
}

/// What of a rule did not match, in the order that `explain` names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The other end is in no namespace that the peer means.
    Namespace,
    /// The other end's labels.
    PodLabels,
    /// The address is outside the block.
    Cidr,
    /// The address is in the block, and in one of its exceptions.
    Except,
    /// The protocol.
    Protocol,
    /// The port.
    Port,
}

/// The rule that came nearest to allowing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nearest {
    /// Which rule.
    pub rule: RuleName,
    /// Its failing parts, ascending, never empty.
    pub failing: Vec<Part>,
}

/// Why a side was decided as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// No policy isolates this side, or it is no pod.
    NotIsolated,
    /// A pod to itself (NP-42).
    Itself,
    /// From the pod's own node (NP-40).
    OwnNode,
    /// The first rule that allows: by policy, then index.
    Rule(RuleName),
    /// The first rule that matches, and denies.
    DenyRule(RuleName),
    /// Isolated, and no rule allows.
    DefaultDeny,
}

/// One direction's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// The cause.
    pub by: By,
    /// The policies that isolate the pod in this direction, ascending.
    pub isolating: Vec<String>,
    /// Every rule that allows, ascending.
    pub allowing: Vec<RuleName>,
    /// Where denied: the rule with the fewest failing parts; none if there is no sound rule.
    pub nearest: Option<Nearest>,
}

impl Side {
    /// Whether this side allows.
    #[must_use]
    pub fn allows(&self) -> bool {
        !matches!(self.by, By::DefaultDeny | By::DenyRule(_))
    }
}

/// Both directions' answers: allowed only where both allow (NP-7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The source's side.
    pub egress: Side,
    /// The target's side.
    pub ingress: Side,
}

impl Answer {
    /// Whether both sides allow.
    #[must_use]
    pub fn allows(&self) -> bool {
        self.egress.allows() && self.ingress.allows()
    }
}

/// A part of a policy that cannot be read and therefore opens nothing (NP-59).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenPart {
    /// `namespace/name` of the policy.
    pub policy: String,
    /// The field that holds it: `spec.ingress[2]`, `spec.podSelector`.
    pub field: String,
    /// What is wrong.
    pub why: Broken,
}

impl Cluster {
    /// Reads YAML or JSON documents; `kind: List` is opened.
    ///
    /// # Errors
    /// When the text is not YAML.
    pub fn from_text(text: &str) -> Result<Self, String> {
        let mut objects = Vec::new();
        for document in serde_yaml_ng::Deserializer::from_str(text) {
            let value: Value =
                serde::Deserialize::deserialize(document).map_err(|e| e.to_string())?;
            match value.get("kind").and_then(Value::as_str) {
                Some("List") => {
                    let items = value.get("items").and_then(Value::as_array);
                    objects.extend(items.into_iter().flatten().cloned());
                }
                _ if value.is_null() => {}
                _ => objects.push(value),
            }
        }
        Ok(Self { objects })
    }

    /// The objects as a manifest: a document of JSON each.
    #[must_use]
    pub fn to_text(&self) -> String {
        let document = |text: String, object: &Value| format!("{text}---\n{object}\n");
        self.objects.iter().fold(String::new(), document)
    }

    /// Answers, or says that an end is no living pod or lacks an address of the family.
    ///
    /// # Errors
    /// Names the end that stands in the way.
    pub fn judge(&self, question: &Question) -> Result<Answer, String> {
        judge::judge(self, question)
    }

    /// The address that packets to or from the end bear.
    ///
    /// # Errors
    /// When it is no pod, has ended, or has no address of the family.
    pub fn address_of(&self, end: &End, family: Family) -> Result<IpAddr, String> {
        ends::find(self, end, family).map(|found| found.address)
    }

    /// Whether it has policies that are asked in tiers: of Calico or of the cluster.
    #[must_use]
    pub fn is_tiered(&self) -> bool {
        tiers::has_ordered(self)
    }

    /// Every broken part of every policy, in the order of the objects.
    #[must_use]
    pub fn broken(&self) -> Vec<BrokenPart> {
        let of_policy = |policy| {
            let parts = reading::broken_parts(policy);
            let policy = ends::full_name(policy);
            parts.into_iter().map(move |(field, why)| BrokenPart {
                policy: policy.clone(),
                field,
                why,
            })
        };
        self.policies().flat_map(of_policy).collect()
    }

    /// The `NetworkPolicy` objects.
    pub fn policies(&self) -> impl Iterator<Item = &Value> {
        self.of_kind("NetworkPolicy", "networking.k8s.io/v1")
    }

    /// The Pod objects, dead ones too.
    pub fn pods(&self) -> impl Iterator<Item = &Value> {
        self.of_kind("Pod", "v1")
    }

    /// The Namespace objects.
    pub fn namespaces(&self) -> impl Iterator<Item = &Value> {
        self.of_kind("Namespace", "v1")
    }

    /// In any case of letters: it can have been meant for nothing else.
    fn of_kind(&self, kind: &'static str, version: &'static str) -> impl Iterator<Item = &Value> {
        let says = |object: &Value, name, word: &str| {
            let written = object.get(name).and_then(Value::as_str);
            written.is_some_and(|written| written.eq_ignore_ascii_case(word))
        };
        self.objects
            .iter()
            .filter(move |one| says(one, "kind", kind) && says(one, "apiVersion", version))
    }

    /// Namespace and name of every pod that lives, ascending: not completed, not on the host's
    /// network, with an address.
    #[must_use]
    pub fn living(&self) -> Vec<(String, String)> {
        let living = self.pods().filter(|pod| ends::lives(pod)).map(ends::key);
        let mut names: Vec<_> = living.map(|(ns, name)| (ns.to_owned(), name.to_owned())).collect();
        names.sort();
        names
    }

    /// The addresses of a living pod.
    #[must_use]
    pub fn addresses(&self, namespace: &str, name: &str) -> Vec<IpAddr> {
        self.pods()
            .filter(|pod| ends::lives(pod) && ends::is_named(pod, namespace, name))
            .flat_map(ends::addresses)
            .collect()
    }
}

/// Kind, namespace and name of an object; a Namespace and its like are in none. Calico has a kind of
/// the same name as Kubernetes.
#[must_use]
pub fn key(object: &Value) -> (&str, &str, &str) {
    let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default();
    let version = object.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    let (namespace, name) = ends::key(object);
    let namespace = if is_of_the_cluster(kind) { "" } else { namespace };
    match kind {
        "NetworkPolicy" if version.contains("projectcalico.org/") => (CALICO, namespace, name),
        _ => (kind, namespace, name),
    }
}

/// What a `NetworkPolicy` of Calico is called.
const CALICO: &str = "NetworkPolicy.projectcalico.org";

/// Whether objects of the kind are in no namespace.
#[must_use]
pub fn is_of_the_cluster(kind: &str) -> bool {
    let ordered =
        ["Tier", "ClusterNetworkPolicy", "AdminNetworkPolicy", "BaselineAdminNetworkPolicy"];
    matches!(kind, "Namespace" | "Node" | "Profile" | "HostEndpoint")
        || kind.contains("Global")
        || ordered.contains(&kind)
}
