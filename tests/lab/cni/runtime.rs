//! What a container runtime does with a list of plugins, as far as the cases need it.

#![expect(clippy::unused_self, reason = "what the runtime does is asked of it")]

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use lockgate_tests::lab::namespace::run;
use lockgate_tests::lab::{LabError, Namespace, remove, switch};
use serde_json::{Value, json};

use super::steps::{self, Followed};
use super::stub::Stub;

/// The prefix of the cases' namespaces.
const PREFIX: &str = "lgcni";

/// Where Debian's plugins are.
const PLUGINS: &str = "/usr/lib/cni";

/// A node with pods' namespaces, an agent, and a directory for what plugins keep.
pub(super) struct Runtime {
    pub(super) agent: Option<Stub>,
    pub(super) node: Namespace,
    /// The pod's interface that the plugin is called for.
    pub(super) ifname: &'static str,
    directory: PathBuf,
    plugin: PathBuf,
}

/// What a plugin answered.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) is_good: bool,
    pub(super) document: Value,
}

impl Runtime {
    /// A node with the pods' namespaces `a` and `b`.
    pub(super) fn build() -> Result<Self, LabError> {
        remove(PREFIX)?;
        let node = Namespace::create(&format!("{PREFIX}-node"))?;
        let directory = std::env::temp_dir().join(format!("lockgate-cni-{}", std::process::id()));
        let _stale = fs::remove_dir_all(&directory);
        let bin = directory.join("bin");
        fs::create_dir_all(&bin).map_err(LabError::io("make a directory"))?;
        let agent = Some(Stub::start(&directory.join("cni.sock"), node.name())?);
        let runtime = Self { agent, node, ifname: "eth0", directory, plugin: plugin()? };
        runtime.add_pod("a")?;
        runtime.add_pod("b")?;
        Ok(runtime)
    }

    pub(super) fn add_pod(&self, name: &str) -> Result<Namespace, LabError> {
        Namespace::create(&format!("{PREFIX}-{name}"))
    }

    pub(super) fn pod(&self, name: &str) -> Namespace {
        Namespace::named(&format!("{PREFIX}-{name}"))
    }

    pub(super) fn remove_pod(&self, name: &str) -> Result<(), LabError> {
        run(Command::new("ip").args(["netns", "delete", self.pod(name).name()])).map(drop)
    }

    pub(super) fn agent(&self) -> &Stub {
        self.agent.as_ref().unwrap()
    }

    pub(super) fn restart_agent(&mut self) -> Result<(), LabError> {
        self.agent = None;
        self.agent = Some(Stub::start(&self.directory.join("cni.sock"), self.node.name())?);
        Ok(())
    }

    /// The plugin's configuration in a version.
    pub(super) fn config(&self, version: &str) -> Value {
        json!({
            "cniVersion": version, "name": "pods", "type": "lockgate-cni",
            "socket": self.directory.join("cni.sock"), "timeoutSeconds": 5,
            "ipam": {
                "type": "host-local", "dataDir": self.directory.join("ipam"),
                "ranges": [[{"subnet": "10.244.0.0/24"}], [{"subnet": "fd00:244::/64"}]],
            },
        })
    }

    /// Puts a plugin before the others: a shell script, in which `$REAL` is Debian's.
    pub(super) fn plant(&self, name: &str, script: &str) -> Result<(), LabError> {
        let path = self.directory.join("bin").join(name);
        let text = format!("#!/bin/sh\nREAL={PLUGINS}/{name}\n{script}\n");
        let written = fs::write(&path, text)
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o755)));
        written.map_err(LabError::io("plant a plugin"))
    }

    pub(super) fn unplant(&self, name: &str) {
        let _gone = fs::remove_file(self.directory.join("bin").join(name));
    }

    /// Starts our plugin, as for container `c-POD` in the namespace of `pod`.
    pub(super) fn spawn(
        &self,
        command: &str,
        pod: &str,
        config: &Value,
    ) -> Result<Child, LabError> {
        self.spawn_other(&self.plugin, command, pod, config)
    }

    /// The same with this on its standard input, whatever it is.
    pub(super) fn spawn_with(
        &self,
        command: &str,
        pod: &str,
        input: &str,
    ) -> Result<Child, LabError> {
        let process = self.node.command(&self.plugin.display().to_string());
        self.begin(process, command, pod, input)
    }

    /// Runs our plugin until it asks for the step of this number, and kills it there.
    pub(super) fn kill_at(
        &self,
        step: usize,
        command: &str,
        pod: &str,
        config: &Value,
    ) -> Result<Followed, LabError> {
        let mut process = self.node.command("sh");
        process.args(["-c", steps::STOPPED, &self.plugin.display().to_string()]);
        let child = self.begin(process, command, pod, &config.to_string())?;
        steps::follow(&child, step)
    }

    fn spawn_other(
        &self,
        program: &Path,
        command: &str,
        pod: &str,
        config: &Value,
    ) -> Result<Child, LabError> {
        let process = self.node.command(&program.display().to_string());
        self.begin(process, command, pod, &config.to_string())
    }

    fn begin(
        &self,
        mut process: Command,
        command: &str,
        pod: &str,
        written: &str,
    ) -> Result<Child, LabError> {
        let netns = self.pod(pod).path();
        process
            .env("CNI_COMMAND", command)
            .env("CNI_CONTAINERID", format!("c-{pod}"))
            .env("CNI_IFNAME", self.ifname)
            .env("CNI_NETNS", if netns.exists() { netns } else { PathBuf::new() })
            .env("CNI_PATH", format!("{}:{PLUGINS}", self.directory.join("bin").display()))
            .env(
                "CNI_ARGS",
                format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=demo;K8S_POD_NAME={pod};K8S_POD_UID=u"),
            );
        process.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = process.spawn().map_err(LabError::io("start a plugin"))?;
        if let Some(mut input) = child.stdin.take() {
            // One that was killed does not read.
            let _unread = input.write_all(written.as_bytes());
        }
        Ok(child)
    }

    /// Runs our plugin to its end.
    pub(super) fn call(&self, command: &str, pod: &str, config: &Value) -> Result<Reply, LabError> {
        finish(self.spawn(command, pod, config)?)
    }

    /// Runs it, and fails where it does.
    pub(super) fn good(&self, command: &str, pod: &str, config: &Value) -> Result<Value, LabError> {
        let reply = self.call(command, pod, config)?;
        if reply.is_good {
            return Ok(reply.document);
        }
        Err(LabError::Unexpected(format!("{command} {pod}: {}", reply.document)))
    }

    /// What a runtime does with a list: each plugin in turn, given what the ones before it gave;
    /// for DEL the other way round, given what ADD gave.
    pub(super) fn list(
        &self,
        command: &str,
        pod: &str,
        list: &Value,
        runtime_config: &Value,
        previous: Option<&Value>,
    ) -> Result<Value, LabError> {
        let mut plugins = list["plugins"].as_array().cloned().unwrap_or_default();
        if command == "DEL" {
            plugins.reverse();
        }
        let mut result = previous.cloned();
        for mut config in plugins {
            config["name"] = list["name"].clone();
            config["cniVersion"] = list["cniVersion"].clone();
            for (capability, wanted) in
                config["capabilities"].as_object().cloned().unwrap_or_default()
            {
                if wanted == true {
                    config["runtimeConfig"][&capability] = runtime_config[&capability].clone();
                }
            }
            if let Some(result) = &result {
                config["prevResult"] = result.clone();
            }
            let kind = config["type"].as_str().unwrap_or("").to_owned();
            let program = match kind.as_str() {
                "lockgate-cni" => self.plugin.clone(),
                other => Path::new(PLUGINS).join(other),
            };
            let reply = finish(self.spawn_other(&program, command, pod, &config)?)?;
            if !reply.is_good {
                let message = format!("{command} of {kind}: {}", reply.document);
                return Err(LabError::Unexpected(message));
            }
            if command == "ADD" {
                result = Some(reply.document);
            }
        }
        Ok(result.unwrap_or_default())
    }

    /// The addresses that are taken.
    pub(super) fn leases(&self) -> Vec<String> {
        let entries =
            fs::read_dir(self.directory.join("ipam/pods")).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names
            .filter(|name| name.starts_with(|c: char| c.is_ascii_hexdigit()) && name != "lock")
            .filter(|name| !name.starts_with("last_"))
            .collect()
    }

    /// The interfaces of the node that are pods'.
    pub(super) fn wires(&self) -> Vec<String> {
        let output = run(Command::new("ip").args(["-n", self.node.name(), "-j", "link"])).unwrap();
        let links: Value = serde_json::from_slice(&output.stdout).unwrap();
        let names = links.as_array().unwrap().iter().map(|link| link["ifname"].as_str().unwrap());
        names.filter(|name| name.starts_with("lg")).map(str::to_owned).collect()
    }

    /// The records of what was begun.
    pub(super) fn records(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.directory.join("cni.sock.d")).into_iter().flatten();
        let is_record = |path: &PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("lg"))
        };
        entries.map(|entry| entry.unwrap().path()).filter(is_record).collect()
    }

    /// Whether nothing of any pod is left.
    pub(super) fn is_nothing_left(&self) -> bool {
        self.wires().is_empty() && self.leases().is_empty() && self.records().is_empty()
    }

    /// Fails where anything of any pod is left.
    pub(super) fn assert_nothing_left(&self, after: &str) {
        let left = (self.wires(), self.leases(), self.records());
        assert_eq!(left, (vec![], vec![], vec![]), "left after {after}");
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        let _kept = remove(PREFIX);
        // It has a mount there.
        self.agent = None;
        let _kept = fs::remove_dir_all(&self.directory);
    }
}

/// Waits for a plugin's end.
pub(super) fn finish(child: Child) -> Result<Reply, LabError> {
    let output = child.wait_with_output().map_err(LabError::io("wait for a plugin"))?;
    let document = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| {
        let both = [output.stdout.clone(), output.stderr.clone()].concat();
        Value::String(String::from_utf8_lossy(&both).into_owned())
    });
    Ok(Reply { is_good: output.status.success(), document })
}

/// Our plugin: beside the binary that the lab runs.
fn plugin() -> Result<PathBuf, LabError> {
    let named = std::env::var_os(switch::BINARY).map(PathBuf::from);
    let beside = |path: PathBuf| path.with_file_name("lockgate-cni");
    let own = || {
        let program = std::env::current_exe().ok()?;
        Some(program.parent()?.parent()?.join("lockgate-cni"))
    };
    let found = named.map(beside).or_else(own).filter(|path| path.is_file());
    found
        .ok_or_else(|| LabError::Unexpected("no lockgate-cni: run `cargo build --bins`".to_owned()))
}
