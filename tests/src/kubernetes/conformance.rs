//! The upstream end-to-end tests of policies, as they are, through a cluster of ours.
//!
//! They are chosen by words of their names, run one after another by Kubernetes' own program, and
//! read from the report that it writes. A case that did not run has a reason, or the run failed.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
use serde_json::Value;

use super::{Cluster, programs};
use crate::lab::LabError;

/// What the names of upstream's cases of policies begin with.
pub const POLICIES: &str = "Netpol";

/// What the name of a case bears that opens SCTP sockets.
const SCTP: &str = "SCTPConnectivity";

/// What became of one case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It passed.
    Passed,
    /// It did not, with what it said.
    Failed(String),
    /// It opens sockets that this kernel does not have.
    Impossible,
    /// It was not asked for.
    Left,
}

/// One case.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// Its whole name.
    pub name: String,
    /// What became of it.
    pub fate: Fate,
    /// How long it took, in seconds.
    pub seconds: f64,
}

/// What became of upstream's cases of policies.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Every one that upstream has, in the order in which they ran.
    pub cases: Vec<Case>,
}

impl Report {
    /// How many passed.
    #[must_use]
    pub fn passed(&self) -> usize {
        self.count(|fate| *fate == Fate::Passed)
    }

    /// How many failed.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.count(|fate| matches!(fate, Fate::Failed(_)))
    }

    /// How many this kernel cannot run.
    #[must_use]
    pub fn impossible(&self) -> usize {
        self.count(|fate| *fate == Fate::Impossible)
    }

    fn count(&self, is_one: impl Fn(&Fate) -> bool) -> usize {
        self.cases.iter().filter(|case| is_one(&case.fate)).count()
    }

    /// Reads the report of upstream's program.
    ///
    /// # Errors
    /// When it is no such report.
    pub fn read(text: &str, has_sctp: bool) -> Result<Self, LabError> {
        let suites: Vec<Value> = serde_json::from_str(text)
            .map_err(|error| LabError::Unexpected(format!("the upstream report: {error}")))?;
        let specs = suites.iter().filter_map(|suite| suite["SpecReports"].as_array()).flatten();
        let cases = specs.filter_map(|spec| case(spec, has_sctp)).collect();
        Ok(Self { cases })
    }
}

/// One case of the report; none of what is no case of policies.
fn case(spec: &Value, has_sctp: bool) -> Option<Case> {
    let mut words: Vec<&str> = spec["ContainerHierarchyTexts"]
        .as_array()
        .map_or_else(Vec::new, |texts| texts.iter().filter_map(Value::as_str).collect());
    words.push(spec["LeafNodeText"].as_str().unwrap_or_default());
    let name = words.join(" ");
    if spec["LeafNodeType"] != "It" || !name.contains(POLICIES) {
        return None;
    }
    let fate = match spec["State"].as_str().unwrap_or_default() {
        "passed" => Fate::Passed,
        "skipped" | "pending" if name.contains(SCTP) && !has_sctp => Fate::Impossible,
        "skipped" | "pending" if spec["Failure"]["Message"].as_str().unwrap_or_default() == "" => {
            Fate::Left
        }
        // One that skips itself says why, which is no way to pass.
        state => {
            let said = spec["Failure"]["Message"].as_str().unwrap_or_default();
            Fate::Failed(format!("{state}: {said}"))
        }
    };
    // Nanoseconds, which a double holds exactly for a hundred days.
    let seconds = spec["RunTime"].as_f64().unwrap_or_default() / 1e9;
    Some(Case { name, fate, seconds })
}

impl fmt::Display for Report {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        for case in self.cases.iter().filter(|case| case.fate != Fate::Left) {
            let Case { name, fate, seconds } = case;
            match fate {
                Fate::Impossible => {
                    writeln!(to, "cannot          {name} (this kernel has no SCTP sockets)")?;
                }
                Fate::Failed(why) => writeln!(to, "FAILED  {seconds:5.1} s {name}\n{why}")?,
                _ => writeln!(to, "ok      {seconds:5.1} s {name}")?,
            }
        }
        let (passed, failed) = (self.passed(), self.failed());
        write!(to, "test result: upstream. {passed} passed; {failed} failed")?;
        match self.impossible() {
            0 => Ok(()),
            some => write!(to, "; {some} need SCTP sockets, which this kernel has not"),
        }
    }
}

/// Runs upstream's cases of policies whose names hold `words`; its files come into `directory`.
///
/// # Errors
/// When the program is not built, does not start, or leaves no report.
pub fn run(cluster: &Cluster, words: &str, directory: &Path) -> Result<Report, LabError> {
    let program = cluster.programs.path(programs::E2E);
    if !program.exists() {
        return Err(LabError::Unexpected(
            "the upstream tests are not built: run `scripts/cluster build e2e`".to_owned(),
        ));
    }
    let file = |name: &str| directory.join(name);
    let at = |path: &Path| format!("use {}", path.display());
    fs::create_dir_all(directory).map_err(LabError::io(at(directory)))?;
    let (log, report) = (file("e2e.log"), file("report.json"));
    let _absent = fs::remove_file(&report);
    let out = File::create(&log).map_err(LabError::io(at(&log)))?;
    let errors = out.try_clone().map_err(LabError::io(at(&log)))?;
    let has_sctp = has_sctp();
    // The cluster's first node is the place from which the API server is reached.
    let mut command = cluster.command(&program.display().to_string());
    command.args(arguments(cluster, words, &report, has_sctp)).current_dir(directory);
    let status = command
        .stdout(out)
        .stderr(errors)
        .status()
        .map_err(LabError::io(format!("start {}", program.display())))?;
    let text = fs::read_to_string(&report).map_err(|error| {
        let log = log.display();
        LabError::Unexpected(format!(
            "the upstream tests ({status}) left no report: {error}; {log}"
        ))
    })?;
    let told = Report::read(&text, has_sctp)?;
    if !status.success() && told.failed() == 0 {
        let log = log.display();
        return Err(LabError::Unexpected(format!("the upstream tests: {status}; see {log}")));
    }
    Ok(told)
}

fn arguments(cluster: &Cluster, words: &str, report: &Path, has_sctp: bool) -> Vec<OsString> {
    let mut all: Vec<OsString> = [
        // It would make clusters of certain vendors; this one is there.
        "--provider=skeleton",
        "--dns-domain=cluster.local",
        "--ginkgo.no-color",
        "--ginkgo.v",
    ]
    .map(OsString::from)
    .into();
    let mut tell = |name: &str, value: &Path| {
        let mut whole = OsString::from(name);
        whole.push(value);
        all.push(whole);
    };
    tell("--kubeconfig=", &cluster.kubeconfig());
    tell("--ginkgo.json-report=", report);
    all.push(format!("--ginkgo.focus={POLICIES}.*{words}").into());
    if !has_sctp {
        all.push(format!("--ginkgo.skip={SCTP}").into());
    }
    all
}

/// Whether programs of this machine can open SCTP sockets.
fn has_sctp() -> bool {
    let opened =
        socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, SockProtocol::Sctp);
    !matches!(opened, Err(Errno::EPROTONOSUPPORT | Errno::ESOCKTNOSUPPORT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn spec(name: &str, kind: &str, state: &str, said: &str) -> Value {
        json!({
            "ContainerHierarchyTexts": ["[sig-network] Netpol", "between server and client"],
            "LeafNodeText": name, "LeafNodeType": kind, "State": state, "RunTime": 31_500_000_000_u64,
            "Failure": {"Message": said},
        })
    }

    #[test]
    fn cases_are_told_by_their_fate_and_others_not_at_all() {
        let other = json!({
            "ContainerHierarchyTexts": ["[sig-network] DNS"], "LeafNodeText": "resolves",
            "LeafNodeType": "It", "State": "failed",
        });
        let specs = [
            spec("denies", "It", "passed", ""),
            spec("allows", "It", "failed", "validation"),
            spec("needs more", "It", "skipped", "needs three nodes"),
            spec("is not asked for", "It", "skipped", ""),
            spec("[Feature:SCTPConnectivity] denies", "It", "skipped", ""),
            spec("", "BeforeSuite", "passed", ""),
            other,
        ];
        let text = json!([{"SpecReports": specs}]).to_string();
        let report = Report::read(&text, false).unwrap();
        let fates: Vec<&Fate> = report.cases.iter().map(|case| &case.fate).collect();
        let failed = [
            &Fate::Failed("failed: validation".to_owned()),
            &Fate::Failed("skipped: needs three nodes".to_owned()),
        ];
        assert_eq!(fates, [&Fate::Passed, failed[0], failed[1], &Fate::Left, &Fate::Impossible]);
        assert_eq!((report.passed(), report.failed(), report.impossible()), (1, 2, 1));
        let told = report.to_string();
        assert!(told.starts_with(
            "ok       31.5 s [sig-network] Netpol between server and client denies\n"
        ));
        assert!(
            told.ends_with("1 passed; 2 failed; 1 need SCTP sockets, which this kernel has not")
        );
        // Where the kernel has them, one that does not run is not told as impossible.
        assert_eq!(Report::read(&text, true).unwrap().impossible(), 0);
    }
}
