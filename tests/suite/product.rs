//! The product behind one door: text in, judgements out, in the oracle's words.

use lockgate_control::explain::{self, Reason, Request, Subject, explain};
use lockgate_control::inventory::{Change, Effect, Inventory};
use lockgate_control::manifest::{ObjectKey, Problem, Severity, read_text};
use lockgate_tests::oracle::{Answer, By, End, Family, Nearest, Part, Question, RuleName, Side};

/// The product, holding some objects.
#[derive(Debug)]
pub(crate) struct Product {
    inventory: Inventory,
    read: Vec<Problem>,
}

impl Product {
    /// Reads a manifest.
    pub(crate) fn of_text(text: &str) -> Result<Self, String> {
        let mut product = Self { inventory: Inventory::new(), read: Vec::new() };
        product.set(text)?;
        Ok(product)
    }

    /// Sets the objects of a manifest, one by one.
    pub(crate) fn set(&mut self, text: &str) -> Result<(), String> {
        let found = read_text("case.yaml", text).map_err(|problem| problem.to_string())?;
        self.read.extend(found.problems);
        for object in found.objects {
            let _: Effect = self.inventory.apply(Change::Set(object));
        }
        Ok(())
    }

    /// Removes an object.
    pub(crate) fn remove(&mut self, kind: &str, namespace: &str, name: &str) -> Effect {
        let key = self.key(kind, namespace, name);
        key.map_or(Effect::Nothing, |key| self.inventory.apply(Change::Remove(key)))
    }

    fn key(&self, kind: &str, namespace: &str, name: &str) -> Option<ObjectKey> {
        let pods = self.inventory.pods().map(|pod| &pod.metadata.key);
        let policies = self.inventory.policies().map(|policy| &policy.metadata.key);
        let namespaces = self.inventory.namespaces().map(|one| &one.metadata.key);
        let mut keys = pods.chain(policies).chain(namespaces);
        let wanted = |key: &&ObjectKey| {
            key.kind.label() == kind && key.namespace == namespace && key.name == name
        };
        keys.find(wanted).cloned()
    }

    /// The errors reported on policies: object and field.
    pub(crate) fn policy_errors(&self) -> Vec<(String, String)> {
        self.read
            .iter()
            .filter(|problem| problem.severity == Severity::Error)
            .filter_map(|problem| {
                let name = problem.object.strip_prefix("NetworkPolicy ")?;
                Some((name.to_owned(), problem.field.clone()))
            })
            .collect()
    }

    /// What `lockgate explain` says.
    pub(crate) fn explain(&self, question: &Question) -> Result<Answer, String> {
        let subject = |end: &End| match end {
            End::Address(address) => Subject::Address(*address),
            End::Pod(namespace, name) => {
                Subject::Pod { namespace: namespace.clone(), name: name.clone() }
            }
        };
        let request = Request {
            from: subject(&question.source),
            to: subject(&question.target),
            protocol: question.protocol,
            port: question.protocol.has_ports().then_some(question.port),
            icmp_type: None,
            icmp_code: None,
            family: Some(match question.family {
                Family::V4 => explain::Family::V4,
                Family::V6 => explain::Family::V6,
            }),
        };
        let explained = explain(&self.inventory, &request).map_err(|error| error.to_string())?;
        Ok(Answer { egress: side(explained.egress), ingress: side(explained.ingress) })
    }
}

fn side(side: explain::Side) -> Side {
    let name = |rule: explain::RuleName| RuleName {
        policy: rule.policy,
        index: usize::try_from(rule.rule).unwrap_or(usize::MAX),
    };
    let allowing: Vec<RuleName> = side.by.into_iter().map(name).collect();
    let by = match (side.reason, allowing.first()) {
        (Reason::Rule, Some(first)) => By::Rule(first.clone()),
        (Reason::Rule, None) => panic!("allowed by a rule that is not named"),
        (Reason::NotIsolated | Reason::Outside, _) => By::NotIsolated,
        (Reason::DefaultDeny, _) => By::DefaultDeny,
        (Reason::Itself, _) => By::Itself,
        (Reason::OwnNode, _) => By::OwnNode,
    };
    let nearest = side.nearest.map(|nearest| Nearest {
        rule: name(explain::RuleName { policy: nearest.policy, rule: nearest.rule }),
        failing: nearest.failed.into_iter().map(part).collect(),
    });
    assert_eq!(by != By::DefaultDeny, side.verdict == explain::Verdict::Allow);
    Side { by, isolating: side.isolated_by, allowing, nearest }
}

fn part(part: explain::Part) -> Part {
    match part {
        explain::Part::Namespace => Part::Namespace,
        explain::Part::PodLabels => Part::PodLabels,
        explain::Part::Cidr => Part::Cidr,
        explain::Part::Except => Part::Except,
        explain::Part::Protocol => Part::Protocol,
        explain::Part::Port => Part::Port,
    }
}

/// What differs between the oracle's answer and the product's, side by side.
pub(crate) fn difference(oracle: &Answer, product: &Answer) -> Option<String> {
    let sides = [
        ("egress", &oracle.egress, &product.egress),
        ("ingress", &oracle.ingress, &product.ingress),
    ];
    sides.into_iter().find_map(|(name, ours, theirs)| {
        let same_causes = ours.by == theirs.by && ours.nearest == theirs.nearest;
        // Where nobody was asked, whom one could have asked is not told the same way.
        let asked = !matches!(ours.by, By::Itself | By::OwnNode);
        let same_policies = !asked || ours.isolating == theirs.isolating;
        let first_is_known = theirs.allowing.iter().all(|rule| ours.allowing.contains(rule));
        (!same_causes || !same_policies || asked && !first_is_known)
            .then(|| format!("{name}:\n  oracle  {ours:?}\n  product {theirs:?}"))
    })
}
