//! `explain`, `matrix`, `validate` and `lint`: a directory of manifests, a question, an answer. No root.
//!
//! A broken rule explains a verdict: `explain` names those of the policies that it asked, and beside
//! a matrix stands whatever of the manifests is not in force as written.

use std::path::Path;

use serde::Serialize;

use crate::args::{ExplainArguments, LintArguments, MatrixArguments, Output, ValidateArguments};
use crate::explain::{ExplainError, Explainer, Request};
use crate::inventory::Inventory;
use crate::lint::{self, Finding};
use crate::manifest::{self, Problem, Severity};
use crate::matrix::{MatrixRequest, matrix};
use crate::validate;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// The manifests cannot be read.
    #[error("the manifests cannot be read:{}", lines(.0))]
    Manifests(Vec<Problem>),
    /// The question cannot be answered.
    #[error(transparent)]
    Question(#[from] ExplainError),
    /// The answer cannot be written.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().fold(String::new(), |text, problem| format!("{text}\n  {problem}"))
}

/// Answers `explain`.
///
/// # Errors
/// [`OfflineError`] where there is no answer; a denial is one.
pub fn answer_explain(arguments: ExplainArguments) -> Result<String, OfflineError> {
    let request = Request {
        from: arguments.from,
        to: arguments.to,
        protocol: arguments.protocol,
        port: arguments.port,
        source_port: arguments.source_port,
        icmp_type: arguments.icmp_type,
        icmp_code: arguments.icmp_code,
        family: arguments.family,
    };
    // What is wrong with the question is told first: it needs no manifests.
    request.check()?;
    let inventory = read(&arguments.manifests)?;
    let own_node = arguments.own_node.unwrap_or_default();
    let mut answer = Explainer::new(&inventory).with_own_node(own_node).explain(&request)?;
    let sides = [&mut answer.egress, &mut answer.ingress];
    let problems = sides.into_iter().flat_map(|side| &mut side.problems);
    manifest::place(&arguments.manifests, problems);
    written(arguments.output, &answer, || answer.to_string())
}

/// Answers `matrix`; the problems are for standard error.
///
/// # Errors
/// [`OfflineError`] where there is no answer.
pub fn answer_matrix(arguments: &MatrixArguments) -> Result<(String, Vec<Problem>), OfflineError> {
    let inventory = read(&arguments.manifests)?;
    let request = MatrixRequest {
        protocol: arguments.protocol,
        port: arguments.port,
        family: arguments.family,
    };
    let answer = matrix(&inventory, &request)?;
    let text = written(arguments.output, &answer, || answer.to_string())?;
    let mut beside = inventory.problems();
    manifest::place(&arguments.manifests, &mut beside);
    // Notices of objects change no verdict.
    beside.retain(|one| one.severity != Severity::Notice);
    beside.extend(answer.notices);
    Ok((text, beside))
}

/// What `validate` says.
#[derive(Serialize)]
struct Validation {
    valid: bool,
    problems: Vec<Problem>,
}

/// Answers `validate`; true where nothing is an error.
///
/// # Errors
/// [`OfflineError`] where the directory cannot be read.
pub fn answer_validate(arguments: &ValidateArguments) -> Result<(String, bool), OfflineError> {
    let problems = validate::problems(&arguments.manifests)
        .map_err(|problem| OfflineError::Manifests(vec![problem]))?;
    let document = Validation { valid: !validate::has_errors(&problems), problems };
    let text = || {
        let problems = document.problems.iter().map(|problem| format!("{problem}\n"));
        let summary = if document.valid { "valid" } else { "not valid" };
        problems.collect::<String>() + &format!("{summary}: {}\n", counted(&document.problems))
    };
    Ok((written(arguments.output, &document, text)?, document.valid))
}

/// What `lint` says.
#[derive(Serialize)]
struct Lint {
    findings: Vec<Finding>,
}

/// Answers `lint`; true where nothing is found or broken. The problems are for standard error: what is
/// broken, and so not looked at.
///
/// # Errors
/// [`OfflineError`] where there is no answer.
pub fn answer_lint(
    arguments: &LintArguments,
) -> Result<(String, Vec<Problem>, bool), OfflineError> {
    let files = files(&arguments.manifests)?;
    let is_bare = files.is_empty();
    let inventory = Inventory::of_files(files).map_err(OfflineError::Manifests)?;
    let mut findings = lint::lint(&inventory);
    lint::place(&arguments.manifests, &mut findings);
    let mut beside = inventory.problems();
    manifest::place(&arguments.manifests, &mut beside);
    beside.retain(|one| {
        let is_it = |found: &Finding| {
            (&found.problem.object, &found.problem.field) == (&one.object, &one.field)
        };
        one.severity == Severity::Error && !findings.iter().any(is_it)
    });
    let is_clean = findings.is_empty() && beside.is_empty();
    beside.extend(is_bare.then(|| manifest::nothing_in(&arguments.manifests)));
    let document = Lint { findings };
    let text = || {
        let findings = document.findings.iter().map(|one| format!("{one}\n"));
        let count = document.findings.len();
        let plural = if count == 1 { "" } else { "s" };
        findings.collect::<String>() + &format!("{count} finding{plural}\n")
    };
    let text = written(arguments.output, &document, text)?;
    Ok((text, beside, is_clean))
}

/// `1 error, 2 warnings, 0 notices`.
fn counted(problems: &[Problem]) -> String {
    let count = |severity: Severity| {
        let count = problems.iter().filter(|problem| problem.severity == severity).count();
        let plural = if count == 1 { "" } else { "s" };
        format!("{count} {}{plural}", severity.label())
    };
    [Severity::Error, Severity::Warning, Severity::Notice].map(count).join(", ")
}

fn read(directory: &Path) -> Result<Inventory, OfflineError> {
    Inventory::of_files(files(directory)?).map_err(OfflineError::Manifests)
}

fn files(directory: &Path) -> Result<Vec<manifest::ReadFile>, OfflineError> {
    manifest::read_dir(directory).map_err(|problem| OfflineError::Manifests(vec![problem]))
}

fn written(
    output: Output,
    document: &impl Serialize,
    text: impl FnOnce() -> String,
) -> Result<String, OfflineError> {
    match output {
        Output::Text => Ok(text()),
        Output::Json => Ok(serde_json::to_string_pretty(document)? + "\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::AskedProtocol;
    use crate::policy::IpProtocol;
    use crate::sample::{pod, policy};

    fn asked(text: &str) -> (String, Vec<Problem>) {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("all.yaml"), text).unwrap();
        let manifests = directory.path().to_owned();
        let (protocol, output) = (AskedProtocol::Number(IpProtocol::TCP), Output::Json);
        let (port, family) = (Some(80), None);
        answer_matrix(&MatrixArguments { manifests, protocol, port, family, output }).unwrap()
    }

    #[test]
    fn a_matrix_has_beside_it_what_is_not_in_force_as_written() {
        let pods = pod("x/a", "10.0.0.1", "") + &pod("x/b", "10.0.0.2", "");
        let (text, beside) = asked(&(pods.clone() + &policy("x/p", "ingress: [{form: []}]")));
        assert_eq!(beside.len(), 1, "{beside:?}");
        assert!(beside[0].to_string().contains("x/p: spec.ingress[0].form"), "{beside:?}");
        assert!(text.contains("\"deny\"") && !text.contains("form"), "{text}");
        let other = "apiVersion: v1\nkind: Service\nmetadata: {name: s}\n";
        assert_eq!(asked(&(pods.clone() + other)).1, []);
        let ended = pod("x/c", "10.0.0.3", "").replace("Running", "Succeeded");
        assert!(asked(&(pods + &ended)).1[0].message.contains("1 ended"));
    }
}
