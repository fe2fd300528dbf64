//! The switch on a node: the agent as a process beside the kubelet, with the node's view of files,
//! so that its places are the usual ones.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::certificates;
use super::layout;
use super::mounts;
use super::node::Node;
use super::process::Process;
use crate::lab::LabError;
use crate::lab::namespace::{Namespace, run};
use crate::lab::switch::binary;

/// How long it may take until it judges by what the cluster says.
const PATIENCE: Duration = Duration::from_secs(30);

impl Node {
    /// Its agent: `$LOCKGATE`, else the one beside the program that asks.
    ///
    /// # Errors
    /// When there is no binary, with what to build.
    pub fn agent(&self) -> Result<Process, LabError> {
        Ok(Process::of(&whole(&binary()?)?, &self.place().state))
    }

    /// Starts its agent, and does not wait. A `--node=` of `more` is in the place of its own name.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn begin_agent(&self, kubeconfig: &Path, more: &[&str]) -> Result<(), LabError> {
        let process = self.agent()?;
        if process.id().is_some() {
            return Ok(());
        }
        let mut arguments = vec!["run".to_owned()];
        if !more.iter().any(|one| one.starts_with("--node=")) {
            arguments.push(format!("--node={}", self.place().name));
        }
        arguments.extend(["--kubeconfig".to_owned(), kubeconfig.display().to_string()]);
        let services = layout::SERVICES.split(',').map(|net| format!("--service-cidr={net}"));
        arguments.extend(services.chain(more.iter().copied().map(str::to_owned)));
        mounts::enter(self.place(), || process.start(&arguments))?
    }

    /// Starts its agent and waits until it judges by what the cluster says.
    ///
    /// # Errors
    /// When it does not come up; the end of its log is in the message.
    pub fn start_agent(&self, kubeconfig: &Path) -> Result<(), LabError> {
        self.begin_agent(kubeconfig, &[])?;
        self.agent()?.await_answer(PATIENCE, || {
            self.agent_says("status").is_ok_and(|said| said["ready"] == true)
        })
    }

    /// What the agent answers to `lockgate ASKED -o json`.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn agent_says(&self, asked: &str) -> Result<Value, LabError> {
        let program = whole(&binary()?)?;
        let mut command = self.command(&program.display().to_string());
        let output = run(command.args([asked, "-o", "json"]))?;
        serde_json::from_slice(&output.stdout)
            .map_err(|error| LabError::Unexpected(format!("lockgate {asked}: {error}")))
    }

    /// The network namespace of a pod that its agent has attached, by what that has on disk.
    ///
    /// # Errors
    /// When the node can't be entered.
    pub fn pod_namespace(&self, pod: &str) -> Result<Option<Namespace>, LabError> {
        let mut command = self.command("sh");
        let output = run(command.args(["-c", "cat /run/lockgate/attachments/*"]))?;
        let all = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<Value>();
        let mut found = all.flatten().filter(|one| one["pod"] == pod);
        let netns = found.find_map(|one| one["netns"].as_str().map(str::to_owned));
        Ok(netns.map(|netns| {
            let name = netns.rsplit('/').next().unwrap_or_default();
            Namespace::at(name, &mounts::outside(self.place(), "/run/netns").join(name))
        }))
    }
}

/// As the node sees it, whose directory is another.
fn whole(path: &Path) -> Result<PathBuf, LabError> {
    path.canonicalize().map_err(LabError::io(format!("find {}", path.display())))
}

/// Who the agent is to the API server, where it is nobody of its own.
pub const CLIENT: &str = certificates::ADMIN;
