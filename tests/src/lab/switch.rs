//! The switch as a process: started in the lab's node namespace, asked, stopped, killed.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::error::LabError;
use super::http;
use super::namespace::{Namespace, run};
use super::node::Lab;

/// The switch's side of the host port.
pub const HOST_PORT: &str = "lg-host";

/// The far end of the host port, in `PREFIX-outside`.
pub const FAR_END: &str = "lg-far";

/// Where the switch serves metrics, inside its namespace.
pub const METRICS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9790);

/// How long a start may take until it is ready.
const START: Duration = Duration::from_secs(20);

/// The environment variable that names the binary to run.
pub const BINARY: &str = "LOCKGATE";

/// How the switch is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// The binary.
    pub binary: PathBuf,
    /// The directory of manifests.
    pub manifests: PathBuf,
    /// How many workers.
    pub workers: u8,
    /// Lines of TOML put before all sections, for a case's own settings.
    pub settings: String,
    /// More lines of the section `restart`.
    pub restart: String,
    /// Arguments after `run --config FILE`.
    pub arguments: Vec<String>,
    /// Words put before the binary: `setpriv --bounding-set=-sys_admin`, for instance.
    pub wrapper: Vec<String>,
    /// Where programs are pinned, if not in the lab's own bpffs.
    pub bpffs: Option<PathBuf>,
    /// A name that sets the files of this process apart from those of another in the same lab.
    pub instance: String,
}

impl Options {
    /// One worker, no special settings.
    #[must_use]
    pub fn new(binary: &Path, manifests: &Path) -> Self {
        Self {
            binary: binary.to_owned(),
            manifests: manifests.to_owned(),
            workers: 1,
            settings: String::new(),
            restart: String::new(),
            arguments: Vec::new(),
            wrapper: Vec::new(),
            bpffs: None,
            instance: "switch".to_owned(),
        }
    }
}

/// The binary to run: `$LOCKGATE`, else the one beside the program that asks.
///
/// # Errors
/// When there is none, with what to build.
pub fn binary() -> Result<PathBuf, LabError> {
    let named = std::env::var_os(BINARY).map(PathBuf::from);
    let beside = || {
        let program = std::env::current_exe().ok()?;
        let mut directories = program.ancestors().skip(1).take(2);
        directories.find_map(|directory| {
            let path = directory.join("lockgate");
            path.is_file().then_some(path)
        })
    };
    match named.or_else(beside) {
        Some(path) if path.is_file() => Ok(path),
        Some(path) => Err(LabError::Unexpected(format!("${BINARY}: no file {}", path.display()))),
        None => Err(LabError::Unexpected(format!(
            "no lockgate binary: run `cargo build --bins`, or name one in ${BINARY}"
        ))),
    }
}

/// A switch that was started. Dropping it kills it, unless it was left.
#[derive(Debug)]
pub struct SwitchProcess {
    child: Child,
    node: Namespace,
    log: PathBuf,
    left: bool,
}

impl SwitchProcess {
    /// Starts it, and does not wait.
    ///
    /// # Errors
    /// When its files can't be written or the process not be started.
    pub fn spawn(lab: &Lab, options: &Options) -> Result<Self, LabError> {
        let file = |end: &str| lab.state().join(format!("{}.{end}", options.instance));
        let (config, log) = (file("toml"), file("log"));
        fs::write(&config, config_text(lab, options))
            .map_err(LabError::io(format!("write {}", config.display())))?;
        let stderr = File::options().create(true).append(true).open(&log);
        let stderr = stderr.map_err(LabError::io(format!("open {}", log.display())))?;
        let mut words = options.wrapper.iter().map(String::as_str);
        let binary = options.binary.display().to_string();
        let mut command = match words.next() {
            Some(first) => {
                let mut command = lab.node().command(first);
                command.args(words).arg(binary);
                command
            }
            None => lab.node().command(&binary),
        };
        command.args(["run", "--config"]).arg(&config).args(&options.arguments);
        // A group of its own: Ctrl-C is for the lab, which then ends the switch in order.
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        let child =
            command.spawn().map_err(LabError::io("start `nsenter` (package util-linux)"))?;
        Ok(Self { child, node: lab.node().clone(), log, left: false })
    }

    /// Starts it and waits until it is ready, with the host port's far end connected.
    ///
    /// # Errors
    /// When it ends or is not ready in time; its log is in the message.
    pub fn start(lab: &Lab, options: &Options) -> Result<Self, LabError> {
        let mut switch = Self::spawn(lab, options)?;
        switch.await_ready(START)?;
        lab.connect_outside(FAR_END)?;
        Ok(switch)
    }

    /// Waits for `/readyz` to say yes.
    ///
    /// # Errors
    /// When the process ends first, or `patience` does.
    pub fn await_ready(&mut self, patience: Duration) -> Result<(), LabError> {
        let start = Instant::now();
        loop {
            if self.is_ready() {
                return Ok(());
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                let log = self.log();
                return Err(LabError::Unexpected(format!("the switch ended ({status}):\n{log}")));
            }
            if start.elapsed() > patience {
                let what = format!("the switch to be ready; its log:\n{}", self.log());
                return Err(LabError::Waited { what, patience });
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether `/readyz` says yes now.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        http::get(&self.node, METRICS, "/readyz").is_ok_and(|answer| answer.status == 200)
    }

    /// Its process id. `nsenter` and `setpriv` become what they start, so it is the switch's.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it is gone.
    pub fn signal(&self, signal: Signal) -> Result<(), LabError> {
        let id = i32::try_from(self.child.id()).unwrap_or(0);
        kill(Pid::from_raw(id), signal)
            .map_err(|errno| LabError::Io { what: format!("{signal}"), source: errno.into() })
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it runs on after `patience`.
    pub fn await_end(&mut self, patience: Duration) -> Result<ExitStatus, LabError> {
        let start = Instant::now();
        loop {
            match self.child.try_wait().map_err(LabError::io("wait for the switch"))? {
                Some(status) => return Ok(status),
                None if start.elapsed() > patience => {
                    let what = format!("the switch to end; its log:\n{}", self.log());
                    return Err(LabError::Waited { what, patience });
                }
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    /// Asks it to end, and waits.
    ///
    /// # Errors
    /// When it does not end within ten seconds, or ends with a failure.
    pub fn stop(mut self) -> Result<(), LabError> {
        self.signal(Signal::SIGTERM)?;
        let status = self.await_end(Duration::from_secs(10))?;
        if status.success() {
            return Ok(());
        }
        Err(LabError::Unexpected(format!("the switch ended ({status}):\n{}", self.log())))
    }

    /// Kills it on the spot.
    ///
    /// # Errors
    /// When it is gone already.
    pub fn kill(mut self) -> Result<(), LabError> {
        self.signal(Signal::SIGKILL)?;
        self.await_end(Duration::from_secs(10)).map(drop)
    }

    /// What it wrote on stderr.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The text of its metrics.
    ///
    /// # Errors
    /// When no one answers.
    pub fn metrics(&self) -> Result<String, LabError> {
        http::get(&self.node, METRICS, "/metrics").map(|answer| answer.body)
    }

    /// The sum of all samples of a metric whose labels hold every one of `labels`.
    ///
    /// # Errors
    /// When no one answers.
    pub fn metric(&self, name: &str, labels: &[&str]) -> Result<f64, LabError> {
        Ok(sum(&self.metrics()?, name, labels))
    }

    /// Lets it run on when this is dropped.
    pub fn leave(&mut self) {
        self.left = true;
    }
}

impl Drop for SwitchProcess {
    fn drop(&mut self) {
        if !self.left && matches!(self.child.try_wait(), Ok(None)) {
            // Between the look and the kill it can only have ended by itself.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The socket of a lab's switch.
#[must_use]
pub fn socket(lab: &Lab, instance: &str) -> PathBuf {
    lab.state().join(format!("{instance}.sock"))
}

/// Asks a command of the binary that answers in JSON: `status`, `explain`, `denied` …
///
/// # Errors
/// When it fails, or its answer is not JSON.
pub fn ask(binary: &Path, arguments: &[&str]) -> Result<serde_json::Value, LabError> {
    let output = run(Command::new(binary).args(arguments).args(["-o", "json"]))?;
    serde_json::from_slice(&output.stdout).map_err(|error| {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        LabError::Unexpected(format!("`lockgate {}`: {error}: {text}", arguments.join(" ")))
    })
}

/// The sum of a metric's samples in Prometheus' text format.
#[must_use]
pub fn sum(text: &str, name: &str, labels: &[&str]) -> f64 {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let ours = samples.filter(|line| {
        let bare = line.split(['{', ' ']).next();
        bare == Some(name) && labels.iter().all(|label| line.contains(label))
    });
    ours.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// The settings of one process, TOML.
fn config_text(lab: &Lab, options: &Options) -> String {
    let file = |end: &str| lab.state().join(format!("{}.{end}", options.instance));
    let bpffs = options.bpffs.clone().unwrap_or_else(|| lab.state().join("bpf/lockgate"));
    let mut text = options.settings.clone();
    let mut set = |key: &str, value: &dyn std::fmt::Debug| {
        // Debug of a string is a basic string of TOML for everything that paths here hold.
        let _ = writeln!(text, "{key} = {value:?}");
    };
    set("manifests", &options.manifests);
    set("workers", &options.workers);
    set("socket", &file("sock"));
    set("lock", &lab.state().join("lockgate.lock"));
    set("bpffs", &bpffs);
    set("listen", &METRICS.to_string());
    let memory = lab.state().join("memory/connections");
    let memory = memory.display();
    let _ = write!(text, "[restart]\ndirectory = \"{memory}\"\n{}", options.restart);
    text.push_str("[host_port]\n");
    let _ = write!(
        text,
        "interface = \"{HOST_PORT}\"\npeer = \"{FAR_END}\"\nnetns = {:?}\nmtu = {}\n",
        lab.outside().name(),
        lab.shape().mtu
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_summed_by_name_and_labels() {
        let text = "# HELP lockgate_dropped_packets_total x\n\
                    lockgate_dropped_packets_total{reason=\"egress_denied\",worker=\"0\"} 3\n\
                    lockgate_dropped_packets_total{reason=\"egress_denied\",worker=\"1\"} 4\n\
                    lockgate_dropped_packets_total{reason=\"ttl_expired\",worker=\"1\"} 9\n\
                    lockgate_dropped_packets_totals 100\n";
        let name = "lockgate_dropped_packets_total";
        assert!((sum(text, name, &["reason=\"egress_denied\""]) - 7.0).abs() < 0.1);
        assert!((sum(text, name, &[]) - 16.0).abs() < 0.1);
    }
}
