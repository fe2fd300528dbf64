//! The plugin that gives addresses: another program, as the specification has it.
//!
//! It is found in the runtime's `CNI_PATH`, gets the same environment and the same configuration,
//! and its errors are given on as they are. Where it knows no version as new as the
//! configuration's, it is asked in the newest that it knows.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::{Instant, timeout_at};

use super::config::Config;
use super::failure::{Code, Failure};
use super::outcome::Lease;
use super::protocol::Attachment;
use super::version::Version;

/// The version that every IPAM plugin of ours knows: no need to ask for it.
const KNOWN_BY_ALL: Version = Version::V1_0;

/// An IPAM plugin that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Ipam {
    kind: String,
    program: PathBuf,
    version: Version,
    document: Map<String, Value>,
}

/// An error document, as plugins print it.
#[derive(Deserialize)]
struct Printed {
    code: Code,
    #[serde(default)]
    msg: String,
    #[serde(default)]
    details: String,
}

impl Ipam {
    /// Finds the plugin that a configuration names, and the version to ask it in.
    ///
    /// # Errors
    /// Where it is in none of the directories, or does not even tell its versions.
    pub async fn find(config: &Config, path: &[PathBuf], until: Instant) -> Result<Self, Failure> {
        let found = path.iter().map(|one| one.join(&config.ipam)).find(|file| is_program(file));
        let program = found.ok_or_else(|| {
            let directories: Vec<String> =
                path.iter().map(|one| one.display().to_string()).collect();
            let message =
                format!("there is no IPAM plugin {} in {}", config.ipam, directories.join(":"));
            let remedy = "install it (Debian has host-local in containernetworking-plugins), or \
                          correct ipam.type of the network configuration";
            Failure::new(Code::INVALID_CONFIG, message, remedy)
        })?;
        let kind = config.ipam.clone();
        let mut ipam = Self { kind, program, version: config.version, document: Map::new() };
        if config.version > KNOWN_BY_ALL {
            ipam.version = ipam.newest(config.version, until).await?;
        }
        ipam.document = config.document.clone();
        ipam.document.retain(|key, _| !key.starts_with("cni.dev/"));
        ipam.document.insert("cniVersion".to_owned(), ipam.version.text().into());
        Ok(ipam)
    }

    /// The same plugin, of a network of another name: it keeps addresses by the network's.
    #[must_use]
    pub fn of_network(mut self, name: &str) -> Self {
        self.document.insert("name".to_owned(), name.into());
        self
    }

    /// Takes addresses for a pod.
    ///
    /// # Errors
    /// What the plugin says, or that it says nothing of use.
    pub async fn add(&self, pod: &Attachment, until: Instant) -> Result<Lease, Failure> {
        let printed = self.run("ADD", Some(pod), &self.document, until).await?;
        Lease::read(&printed, &self.kind)
    }

    /// Gives a pod's addresses back.
    ///
    /// # Errors
    /// What the plugin says.
    pub async fn del(&self, pod: &Attachment, until: Instant) -> Result<(), Failure> {
        self.run("DEL", Some(pod), &self.document, until).await.map(drop)
    }

    /// Asks whether a pod still has its addresses.
    ///
    /// # Errors
    /// What the plugin says.
    pub async fn check(&self, pod: &Attachment, until: Instant) -> Result<(), Failure> {
        self.run("CHECK", Some(pod), &self.document, until).await.map(drop)
    }

    /// Has the plugin give back what belongs to no attachment, where it knows how to.
    ///
    /// # Errors
    /// What the plugin says.
    pub async fn gc(&self, valid: &[Attachment], until: Instant) -> Result<(), Failure> {
        if self.version < Version::V1_1 {
            return Ok(());
        }
        let one = |pod: &Attachment| json!({"containerID": pod.container, "ifname": pod.ifname});
        let mut document = self.document.clone();
        let list = valid.iter().map(one).collect();
        document.insert("cni.dev/valid-attachments".to_owned(), Value::Array(list));
        self.run("GC", None, &document, until).await.map(drop)
    }

    /// Asks the plugin whether it can give addresses, where it knows the question.
    ///
    /// # Errors
    /// What the plugin says.
    pub async fn status(&self, until: Instant) -> Result<(), Failure> {
        if self.version < Version::V1_1 {
            return Ok(());
        }
        self.run("STATUS", None, &self.document, until).await.map(drop)
    }

    /// The newest version that the plugin and we know, and is not above the configuration's.
    async fn newest(&self, most: Version, until: Instant) -> Result<Version, Failure> {
        let mut asking = Map::new();
        asking.insert("cniVersion".to_owned(), KNOWN_BY_ALL.text().into());
        let printed = self.run("VERSION", None, &asking, until).await?;
        let answer: Value = serde_json::from_slice(&printed).map_err(|error| {
            let message = format!("the IPAM plugin {} tells no versions: {error}", self.kind);
            Failure::new(Code::DECODING, message, "use a plugin that answers VERSION with JSON")
        })?;
        let texts = answer["supportedVersions"].as_array().into_iter().flatten();
        let known = texts.filter_map(|text| Version::parse(text.as_str()?));
        known.filter(|version| *version <= most).max().ok_or_else(|| {
            let message = format!("the IPAM plugin {} knows no version that we know", self.kind);
            Failure::new(
                Code::INCOMPATIBLE_VERSION,
                message,
                "use one of specification 0.4.0 to 1.1.0",
            )
        })
    }

    async fn run(
        &self,
        command: &str,
        pod: Option<&Attachment>,
        document: &Map<String, Value>,
        until: Instant,
    ) -> Result<Vec<u8>, Failure> {
        let mut process = Command::new(&self.program);
        process.env("CNI_COMMAND", command);
        if let Some(pod) = pod {
            process.env("CNI_CONTAINERID", &pod.container).env("CNI_IFNAME", pod.ifname.as_str());
        }
        process.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let text = serde_json::to_vec(document).unwrap_or_default();
        let output =
            if let Ok(output) = timeout_at(until, feed(process.kill_on_drop(true), &text)).await {
                output.map_err(|error| {
                    Failure::io(
                        "IPAM plugin",
                        &self.program,
                        &error,
                        "make it a program that runs here",
                    )
                })?
            } else {
                let message = format!("the IPAM plugin {} does not end in time", self.kind);
                let remedy = "look what it waits for, or raise timeoutSeconds";
                return Err(Failure::new(Code::TRY_AGAIN, message, remedy));
            };
        if output.status.success() { Ok(output.stdout) } else { Err(self.told(command, &output)) }
    }

    /// What a plugin that failed says: its document, or whatever it printed.
    fn told(&self, command: &str, output: &Output) -> Failure {
        if let Ok(Printed { code, msg, details }) = serde_json::from_slice(&output.stdout) {
            return Failure::new(code, msg, details);
        }
        let message =
            format!("the IPAM plugin {} failed at {command} ({})", self.kind, output.status);
        let said = String::from_utf8_lossy(&output.stderr);
        Failure::new(Code::IO, message, format!("it said: {}", said.trim()))
    }
}

/// Runs a program to its end with this on its standard input.
async fn feed(command: &mut Command, text: &[u8]) -> io::Result<Output> {
    let mut child = command.spawn()?;
    let input = child.stdin.take();
    let write = async {
        if let Some(mut input) = input {
            // One that ends before it has read says why on its output.
            let _unread = input.write_all(text).await;
        }
    };
    tokio::join!(write, child.wait_with_output()).1
}

fn is_program(file: &Path) -> bool {
    file.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}
