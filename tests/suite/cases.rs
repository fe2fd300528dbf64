//! Every folder of `tests/cases`, run by every judge that keeps no connections.

use std::path::Path;

use lockgate_tests::cases::{Action, Case, Judge, Send, outcome};
use lockgate_tests::oracle::Cluster;

use lockgate_tests::product::Product;

#[test]
fn every_case_comes_out_as_written() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let cases = Case::read_all(&root).unwrap();
    assert!(cases.len() > 40, "only {} cases found in {}", cases.len(), root.display());
    // These three are asked together: an answer of one is held against the others'.
    let together = [Judge::Oracle, Judge::Ruleset, Judge::Table];
    let judged = cases.iter().filter(|case| together.iter().any(|judge| case.has(*judge)));
    let failures: Vec<String> = judged.flat_map(run).collect();
    assert!(failures.is_empty(), "{} lines:\n{}", failures.len(), failures.join("\n"));
}

/// The meanings that the project has written down, by the numbers in the names of their cases.
const MEANINGS: [(&str, std::ops::RangeInclusive<u32>); 7] = [
    ("np", 1..=13),
    ("np", 20..=25),
    ("np", 30..=34),
    ("np", 40..=44),
    ("np", 50..=59),
    ("cnp", 1..=15),
    ("cal", 1..=30),
];

#[test]
fn every_meaning_has_a_case_that_bears_its_number() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let cases = Case::read_all(&root).unwrap();
    let prefixes = MEANINGS
        .into_iter()
        .flat_map(|(kind, numbers)| numbers.map(move |number| format!("{kind}-{number}-")));
    let has = |prefix: &String| cases.iter().any(|case| case.name.starts_with(prefix));
    let missing: Vec<_> = prefixes.filter(|prefix| !has(prefix)).collect();
    assert!(missing.is_empty(), "no case in tests/cases begins with any of {missing:?}");
}

/// What came out otherwise than written, a line for each.
fn run(case: &Case) -> Vec<String> {
    let mut judges = Judges {
        cluster: Cluster::from_text(&case.cluster).expect("cluster.yaml is YAML"),
        product: Product::of_text(&case.cluster).expect("cluster.yaml is a manifest"),
    };
    let mut failures = Vec::new();
    for step in &case.steps {
        let place = format!("{}/traffic.txt:{}", case.name, step.line);
        match &step.action {
            Action::Set(text) => judges.set(text),
            Action::Remove(kind, namespace, name) => judges.remove(kind, namespace, name, &place),
            Action::Send(send) if send.is_decided_by_policy() => {
                failures.extend(judges.ask(send).into_iter().map(|e| format!("{place} {e}")));
            }
            // A simulated node knows: by its connections, its ports, what is in force.
            Action::Send(_) | Action::Restart | Action::Sync => {}
            Action::Table(cells) => {
                for (line, send) in cells.iter().filter(|(_, one)| one.is_decided_by_policy()) {
                    let place = format!("{}/traffic.txt:{line} {send}", case.name);
                    failures.extend(judges.ask(send).into_iter().map(|e| format!("{place} {e}")));
                }
            }
        }
    }
    failures
}

/// The judges that keep no connections, and what they know.
struct Judges {
    cluster: Cluster,
    product: Product,
}

impl Judges {
    fn set(&mut self, text: &str) {
        self.cluster.set_text(text).expect("a manifest");
        self.product.set(text).expect("a manifest");
    }

    fn remove(&mut self, kind: &str, namespace: &str, name: &str, place: &str) {
        assert!(self.cluster.remove(kind, namespace, name), "{place}: nothing to remove");
        assert!(self.product.remove(kind, namespace, name), "{place}: removed without effect");
    }

    fn ask(&self, send: &Send) -> Vec<String> {
        let question = match send.question(&self.cluster) {
            Ok(question) => question,
            Err(why) => return vec![why],
        };
        let answer = self.cluster.judge(&question).expect("the question has an answer");
        let mut failures = Vec::new();
        let seen = outcome(answer.egress.allows(), answer.ingress.allows());
        if seen != send.outcome {
            failures.push(format!("oracle: written {}, judged {seen}: {answer:?}", send.outcome));
        }
        let differing = send.causes.iter().filter_map(|stated| stated.differs_from(&answer));
        failures.extend(differing.map(|e| format!("oracle: {e}")));
        failures.extend(self.product.disagreement(&self.cluster, &question));
        failures
    }
}
