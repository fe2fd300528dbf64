//! The process that serves a lab's pods: it stays when the program that built the lab ends.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::error::LabError;
use super::http::open_door;
use super::leftovers;
use super::node::Lab;
use super::serve::Servers;
use super::switch::METRICS;

/// The process, seen from the one that started it. Dropping it kills it, unless it was left.
#[derive(Debug)]
pub struct Server {
    child: Child,
    metrics: String,
    left: bool,
}

impl Server {
    /// Starts this very program again as a server, and waits until it serves.
    ///
    /// # Errors
    /// When it can't be started, or ends before it serves.
    pub fn start(lab: &Lab, manifests: &Path) -> Result<Self, LabError> {
        let program = std::env::current_exe().map_err(LabError::io("find this program"))?;
        let shape = lab.shape();
        let mut command = Command::new(program);
        command.args(["--prefix", &shape.prefix, "serve", "--manifests"]).arg(manifests);
        for address in &shape.outside {
            command.arg("--outside").arg(address.to_string());
        }
        // Not the caller's stderr: whoever reads that to its end would wait for this process.
        let log = lab.state().join("serve.log");
        let stderr =
            File::create(&log).map_err(LabError::io(format!("create {}", log.display())))?;
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
        let mut child = command.spawn().map_err(LabError::io("start the pods' servers"))?;
        let file = leftovers::server_file(&shape.prefix);
        fs::write(&file, child.id().to_string())
            .map_err(LabError::io(format!("write {}", file.display())))?;
        let mut metrics = String::new();
        if let Some(stdout) = child.stdout.take() {
            // An end without a line leaves it empty, which is what is looked at.
            let _ = BufReader::new(stdout).read_line(&mut metrics);
        }
        let metrics = metrics.trim().to_owned();
        let server = Self { child, metrics, left: false };
        if server.metrics.is_empty() {
            let said = fs::read_to_string(&log).unwrap_or_default();
            return Err(LabError::Unexpected(format!("the pods' servers did not start: {said}")));
        }
        Ok(server)
    }

    /// Where the switch's metrics can be read from outside the lab.
    #[must_use]
    pub fn metrics(&self) -> &str {
        &self.metrics
    }

    /// Lets it run on when this is dropped.
    pub fn leave(mut self) {
        self.left = true;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.left {
            // One that has ended by itself needs no killing.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// What the process does: serves, says where the metrics are, and stays until it is killed.
///
/// # Errors
/// When a port can't be served.
pub fn stay(lab: &Lab, outside: &[(&str, u16)]) -> Result<(), LabError> {
    let _servers = Servers::start(lab, outside)?;
    let usual = SocketAddr::from((Ipv4Addr::LOCALHOST, METRICS.port()));
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let door = TcpListener::bind(usual).or_else(|_| TcpListener::bind(any));
    let door = door.map_err(LabError::io("listen for readers of metrics"))?;
    let address = door.local_addr().map_err(LabError::io("ask for the metrics' address"))?;
    open_door(door, lab.node().clone(), METRICS);
    // The one who started this reads this line; it may be gone by then.
    let _ = writeln!(std::io::stdout(), "{address}");
    loop {
        std::thread::park();
    }
}
