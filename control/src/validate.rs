//! Every problem of a directory of manifests, with object, field and remedy.

use std::path::Path;

use crate::inventory::Inventory;
use crate::manifest::{self, Problem, Severity};

/// Reads a directory and says everything there is to say: of files that cannot be read, of
/// objects, and of objects that do not fit each other. Sorted by file and line.
///
/// # Errors
/// The directory itself cannot be read.
pub fn problems(directory: &Path) -> Result<Vec<Problem>, Problem> {
    let mut inventory = Inventory::new();
    let mut problems = Vec::new();
    let files = manifest::read_dir(directory)?;
    if files.is_empty() {
        problems.push(manifest::nothing_in(directory));
    }
    for (file, read) in files {
        match read {
            Ok(found) => _ = inventory.set_file(&file, found),
            Err(problem) => problems.push(problem),
        }
    }
    problems.extend(inventory.problems());
    // What is told of how objects fit each other has the lines of the objects.
    manifest::place(directory, &mut problems);
    problems.sort();
    Ok(problems)
}

/// Whether something is not enforced as written: what the exit code tells.
#[must_use]
pub fn has_errors(problems: &[Problem]) -> bool {
    problems.iter().any(|problem| problem.severity == Severity::Error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unreadable_file_does_not_hide_the_problems_of_others() {
        let directory = std::env::temp_dir().join(format!("lgvalidate{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("a.yaml"), "a: [").unwrap();
        std::fs::write(directory.join("b.yml"), "").unwrap();
        let odd = "apiVersion: v1\nkind: Pod\nmetadata: {name: A}\n";
        std::fs::write(directory.join("c.json"), odd).unwrap();
        std::fs::write(directory.join("notes.txt"), "a: [").unwrap();
        let found = problems(&directory);
        std::fs::remove_dir_all(&directory).unwrap();
        let found = found.unwrap();
        let files: Vec<_> = found.iter().filter_map(|one| one.file.as_deref()).collect();
        assert_eq!(files, ["a.yaml", "b.yml", "c.json", "c.json"]);
        assert!(has_errors(&found));
        assert!(problems(&directory).unwrap_err().message.contains("cannot read the directory"));
    }

    #[test]
    fn every_problem_has_the_line_of_its_field() {
        let text = "apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: a}
spec:
  order: 5
  tier: nope
  ingress:
  - action: Allow
    source:
      notNets: [0.0.0.0/0]
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: b}
spec:
  tier: nope
  order: 5
";
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("all.yaml"), text).unwrap();
        let found = problems(directory.path()).unwrap();
        let told: Vec<_> = found
            .iter()
            .map(|one| (one.line.unwrap(), one.object.as_str(), one.field.as_str()))
            .collect();
        let wanted = [
            (6, "GlobalNetworkPolicy a", "spec.tier"),
            (10, "GlobalNetworkPolicy a", "spec.ingress[0].source.notNets"),
            (16, "GlobalNetworkPolicy b", "spec.tier"),
            (17, "GlobalNetworkPolicy b", "spec.order"),
        ];
        assert_eq!(told, wanted);
    }

    #[test]
    fn what_changes_no_verdict_and_no_server_takes_is_told() {
        let calico = "apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: a, labels: 5}
spec: {ingress: [{action: Deny, protocol: TCP, destination: {ports: [0, '0:9', '1:9']}}]}
---
";
        let plain = "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: b, namespace: x, labels: {a: [b]}}
spec: {podSelector: {}}
";
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("all.yaml"), calico.to_owned() + plain).unwrap();
        let found = problems(directory.path()).unwrap();
        let told: Vec<_> = found
            .iter()
            .filter(|one| one.severity != Severity::Notice)
            .map(|one| (one.severity, one.field.as_str()))
            .collect();
        let wanted = [
            (Severity::Error, "metadata.labels"),
            (Severity::Warning, "spec.ingress[0].destination.ports[0]"),
            (Severity::Warning, "spec.ingress[0].destination.ports[1]"),
            (Severity::Error, "metadata.labels[a]"),
        ];
        assert_eq!(told, wanted);
    }

    #[test]
    fn a_directory_without_a_manifest_is_told() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("notes.txt"), "a: [").unwrap();
        let found = problems(directory.path()).unwrap();
        assert_eq!(found.len(), 1);
        assert!(!has_errors(&found) && found[0].message.contains("no file of the directory"));
    }

    #[test]
    fn what_the_front_ends_do_not_enforce_is_told_by_name() {
        let text = "apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: eth0}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: early}
spec: {preDNAT: true, applyOnForward: true, ingress: [{action: Deny}]}
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {namespace: x, name: web}
spec: {tier: application, ingress: [{action: Allow, http: {methods: [GET]}}]}
---
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: names}
spec: {tier: Admin, priority: 1, subject: {namespaces: {}},
  egress: [{action: Accept, to: [{domainNames: [a.example]}]}]}
";
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("all.yaml"), text).unwrap();
        let found = problems(directory.path()).unwrap();
        for (object, field, wanted) in [
            ("HostEndpoint eth0", "", "not enforced"),
            ("GlobalNetworkPolicy early", "spec.preDNAT", "not enforced"),
            ("NetworkPolicy.projectcalico.org x/web", "spec.ingress[0].http", "not enforced"),
            ("NetworkPolicy.projectcalico.org x/web", "spec.tier", "no Tier application"),
            ("ClusterNetworkPolicy names", "spec.egress[0].to[0].domainNames", "not enforced"),
        ] {
            let is_told = |one: &&Problem| one.object == object && one.field == field;
            let told = found.iter().filter(is_told).any(|one| one.message.contains(wanted));
            assert!(told, "{object} {field}: {found:#?}");
        }
    }
}
