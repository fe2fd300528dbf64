//! A network namespace: made, entered and removed by name.
//!
//! A socket belongs to the namespace it was made in, whichever thread uses it later. So a thread
//! enters only to make sockets, and ends; no thread of the caller ever changes its namespace.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};

use super::error::LabError;
use super::signals;

/// Where `ip netns` keeps its handles.
const HANDLES: &str = "/run/netns";

/// A named network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    name: String,
    /// Where its handle is, if not with those of `ip netns`.
    handle: Option<PathBuf>,
}

impl Namespace {
    /// Makes a namespace with its loopback up.
    ///
    /// # Errors
    /// When `ip netns add` fails: no root, or the name is taken.
    pub fn create(name: &str) -> Result<Self, LabError> {
        if signals::is_ending() {
            return Err(LabError::Unexpected("the lab is being taken down".to_owned()));
        }
        run(Command::new("ip").args(["netns", "add", name]))?;
        let namespace = Self::named(name);
        namespace.ip(&["link set lo up".to_owned()])?;
        Ok(namespace)
    }

    /// A namespace that exists already.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), handle: None }
    }

    /// One that somebody else made, by its handle: it is entered, and nothing else.
    #[must_use]
    pub fn at(name: &str, handle: &Path) -> Self {
        Self { name: name.to_owned(), handle: Some(handle.to_owned()) }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its handle, as `nsenter --net=` wants it.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.handle.clone().unwrap_or_else(|| PathBuf::from(HANDLES).join(&self.name))
    }

    /// Runs `work` on a thread of its own inside the namespace.
    ///
    /// # Errors
    /// When the namespace is gone, or may not be entered.
    ///
    /// # Panics
    /// When `work` does.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, LabError> {
        let what = || format!("enter namespace {}", self.name);
        let handle = File::open(self.path()).map_err(LabError::io(what()))?;
        thread::scope(|scope| {
            let worker = scope.spawn(|| {
                setns(handle, CloneFlags::CLONE_NEWNET)
                    .map_err(|errno| LabError::Io { what: what(), source: errno.into() })?;
                Ok(work())
            });
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs lines of `ip` inside, as one batch.
    ///
    /// # Errors
    /// When a line fails; the lines after it are not run.
    pub fn ip(&self, lines: &[String]) -> Result<(), LabError> {
        let command = format!("ip -n {} -batch - <<< {lines:?}", self.name);
        let mut child = Command::new("ip")
            .args(["-n", &self.name, "-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(LabError::io("start `ip` (package iproute2)"))?;
        let text = lines.join("\n") + "\n";
        let written = child.stdin.take().map_or(Ok(()), |mut pipe| pipe.write_all(text.as_bytes()));
        let output = child.wait_with_output().map_err(LabError::io(command.clone()))?;
        // An `ip` that ends before it has read says why: that is the message to show.
        checked(command.clone(), output)?;
        written.map_err(LabError::io(command))
    }

    /// Sets a value of `/proc/sys/net`, for instance `ipv4/ip_forward`.
    ///
    /// # Errors
    /// When there is no such value, or it is refused.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<(), LabError> {
        let path = format!("/proc/sys/net/{key}");
        self.enter(|| fs::write(&path, value))?
            .map_err(LabError::io(format!("write {value} to {path} in {}", self.name)))
    }

    /// A command that will run inside, in the caller's mount namespace: `ip netns exec` would
    /// hide /sys/fs/bpf.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display())).arg(program);
        command
    }

    /// The MAC of one of its interfaces.
    ///
    /// # Errors
    /// When there is no such interface.
    pub fn mac(&self, interface: &str) -> Result<String, LabError> {
        let output =
            run(Command::new("ip").args(["-n", &self.name, "-j", "link", "show", interface]))?;
        let links: serde_json::Value = serde_json::from_slice(&output.stdout)
            .map_err(|error| LabError::Unexpected(format!("`ip -j link`: {error}")))?;
        links[0]["address"]
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| LabError::Unexpected(format!("{interface} of {} has no MAC", self.name)))
    }

    /// Whether it has an interface of this name.
    #[must_use]
    pub fn has_interface(&self, interface: &str) -> bool {
        run(Command::new("ip").args(["-n", &self.name, "link", "show", interface])).is_ok()
    }

    /// Waits for an interface to appear.
    ///
    /// # Errors
    /// When it does not within `patience`.
    pub fn await_interface(&self, interface: &str, patience: Duration) -> Result<(), LabError> {
        let what = format!("interface {interface} in {}", self.name);
        wait_for(&what, patience, || self.has_interface(interface))
    }
}

/// The names of all namespaces that begin with `prefix` and a dash.
#[must_use]
pub fn list(prefix: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(HANDLES) else { return Vec::new() };
    let start = format!("{prefix}-");
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with(&start))
        .collect()
}

/// The ids of the processes that run inside a namespace.
#[must_use]
pub fn processes(name: &str) -> Vec<i32> {
    run(Command::new("ip").args(["netns", "pids", name])).map_or_else(
        |_| Vec::new(),
        |output| {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.split_whitespace().filter_map(|id| id.parse().ok()).collect()
        },
    )
}

/// Runs a command to its end.
///
/// # Errors
/// When it can't be started, or ends with a failure.
pub fn run(command: &mut Command) -> Result<Output, LabError> {
    let typed = typed(command);
    let output = command.output().map_err(LabError::io(format!("start `{typed}`")))?;
    checked(typed, output)
}

/// Waits until `happened`, asking every 10 ms.
///
/// # Errors
/// When it has not within `patience`.
pub fn wait_for(
    what: &str,
    patience: Duration,
    mut happened: impl FnMut() -> bool,
) -> Result<(), LabError> {
    let start = std::time::Instant::now();
    while !happened() {
        if start.elapsed() > patience {
            return Err(LabError::Waited { what: what.to_owned(), patience });
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

fn checked(command: String, output: Output) -> Result<Output, LabError> {
    if output.status.success() {
        return Ok(output);
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let output = match stderr.trim() {
        "" => output.status.to_string(),
        text => text.to_owned(),
    };
    Err(LabError::Command { command, output })
}

fn typed(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}
