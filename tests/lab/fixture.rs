//! What the cases start from: a directory of manifests, a lab of its pods, servers, a switch.

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use lockgate_tests::lab::probe::{self, Seen, Speech};
use lockgate_tests::lab::serve::Servers;
use lockgate_tests::lab::switch::{self, Options, SwitchProcess};
use lockgate_tests::lab::{Lab, LabError, Shape, manifests};

/// The prefix of the suite's labs: a demo with its own may stand beside them.
pub(crate) const PREFIX: &str = "lgt";

/// An address of the world outside.
pub(crate) const OUTSIDE: &str = "198.51.100.7";

/// Another one, which the cases' `ipBlock`s leave out.
pub(crate) const OUTSIDE_OTHER: &str = "203.0.113.9";

/// The node's own address.
pub(crate) const NODE: &str = "172.31.7.1";

/// How long a case waits for a change of policy to be seen: ten times the promise.
pub(crate) const CHANGE: Duration = Duration::from_millis(500);

/// How long a port may take to be there, or to be gone.
pub(crate) const SETTLE: Duration = Duration::from_secs(5);

/// A directory of manifests that is removed when dropped.
#[derive(Debug)]
pub(crate) struct Directory(PathBuf);

impl Directory {
    /// A directory with the pods `client`, `server` and `other` of namespace `demo`.
    pub(crate) fn with_three_pods() -> Result<Self, LabError> {
        let directory = Self::empty("three")?;
        directory.put("10-namespace.yaml", &namespace("demo"))?;
        for (number, name) in [(1, "client"), (2, "server"), (3, "other")] {
            directory.put(&format!("20-{name}.yaml"), &pod(name, number))?;
        }
        Ok(directory)
    }

    /// An empty directory.
    pub(crate) fn empty(name: &str) -> Result<Self, LabError> {
        let path = std::env::temp_dir().join(format!("lockgate-lab-{}-{name}", std::process::id()));
        // What an earlier case left is not this case's.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).map_err(LabError::io(format!("create {}", path.display())))?;
        Ok(Self(path))
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file the way careful people do: beside, and moved into place.
    pub(crate) fn put(&self, file: &str, text: &str) -> Result<(), LabError> {
        let (path, beside) = (self.0.join(file), self.0.join(format!(".{file}.new")));
        fs::write(&beside, text).map_err(LabError::io(format!("write {}", beside.display())))?;
        fs::rename(&beside, &path).map_err(LabError::io(format!("move to {}", path.display())))
    }

    /// Deletes a file.
    pub(crate) fn delete(&self, file: &str) -> Result<(), LabError> {
        let path = self.0.join(file);
        fs::remove_file(&path).map_err(LabError::io(format!("delete {}", path.display())))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // /tmp is emptied by others where this fails.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A lab with servers in it; a switch is started by the case.
#[derive(Debug)]
pub(crate) struct World {
    /// The manifests.
    pub(crate) directory: Directory,
    /// The lab.
    pub(crate) lab: Lab,
    /// The echo servers.
    pub(crate) servers: Servers,
}

impl World {
    /// The lab of a directory's pods, at an MTU.
    pub(crate) fn build(directory: Directory, mtu: u16) -> Result<Self, LabError> {
        let lab = Lab::build(directory.path(), shape(mtu))?;
        let servers = Servers::start(&lab, &[("TCP", 443), ("UDP", 53)])?;
        Ok(Self { directory, lab, servers })
    }

    /// The lab of a directory without pods, and no servers: wires are the case's to make.
    pub(crate) fn build_bare(directory: Directory, shape: Shape) -> Result<Self, LabError> {
        let lab = Lab::build(directory.path(), shape)?;
        let servers = Servers::start(&lab, &[])?;
        Ok(Self { directory, lab, servers })
    }

    /// Three pods at MTU 1500, and a running switch with this many workers.
    pub(crate) fn switched(workers: u8) -> Result<(Self, SwitchProcess), LabError> {
        let world = Self::build(Directory::with_three_pods()?, 1500)?;
        let switch = world.start(workers)?;
        Ok((world, switch))
    }

    /// How the switch is started here.
    pub(crate) fn options(&self) -> Result<Options, LabError> {
        Ok(Options::new(&switch::binary()?, self.directory.path()))
    }

    /// Starts a switch with this many workers.
    pub(crate) fn start(&self, workers: u8) -> Result<SwitchProcess, LabError> {
        SwitchProcess::start(&self.lab, &Options { workers, ..self.options()? })
    }

    /// Probes from a word to a word, IPv4.
    pub(crate) fn probe(
        &self,
        speech: Speech,
        from: &str,
        to: &str,
        port: u16,
    ) -> Result<Seen, LabError> {
        self.probe_family(speech, from, to, port, false)
    }

    /// Probes from a word to a word, over the family told.
    pub(crate) fn probe_family(
        &self,
        speech: Speech,
        from: &str,
        to: &str,
        port: u16,
        v6: bool,
    ) -> Result<Seen, LabError> {
        let target = self.lab.place(to)?.address(v6);
        let target = target.ok_or_else(|| LabError::Unknown(to.to_owned()))?;
        let place = self.lab.place(from)?;
        probe::probe(speech, &place, SocketAddr::new(target, port), probe::PATIENCE)
    }

    /// Probes until it is seen as expected, or `patience` ends; gives what was seen last.
    pub(crate) fn probe_until(
        &self,
        wanted: Seen,
        (from, to, port): (&str, &str, u16),
        patience: Duration,
    ) -> Result<Seen, LabError> {
        let start = std::time::Instant::now();
        let target = self.lab.place(to)?.address(false);
        let target = target.ok_or_else(|| LabError::Unknown(to.to_owned()))?;
        let place = self.lab.place(from)?;
        loop {
            let short = Duration::from_millis(100);
            let seen = probe::probe(Speech::Tcp, &place, SocketAddr::new(target, port), short)?;
            if seen == wanted || start.elapsed() > patience {
                return Ok(seen);
            }
        }
    }

    /// Adds a pod's manifest and its wires, and a server for its ports.
    pub(crate) fn add_pod(&mut self, name: &str, number: u8) -> Result<(), LabError> {
        let text = pod(name, number);
        for pod in manifests::pods_of(name, &text)? {
            self.lab.add_pod(pod.clone())?;
            self.lab.route_from_outside(&pod, switch::FAR_END)?;
            let place = self.lab.place(&pod.name)?;
            for (protocol, port) in &pod.ports {
                let any = IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED);
                self.servers.add(&place.namespace, protocol, SocketAddr::new(any, *port))?;
            }
        }
        self.directory.put(&format!("20-{name}.yaml"), &text)
    }

    /// Asks the running switch: `ports`, `status` …
    pub(crate) fn ask(&self, what: &str) -> Result<serde_json::Value, LabError> {
        let socket = switch::socket(&self.lab, "switch").display().to_string();
        switch::ask(&switch::binary()?, &[what, "--socket", &socket])
    }

    /// The address of a place.
    pub(crate) fn address(&self, word: &str, v6: bool) -> Result<IpAddr, LabError> {
        let address = self.lab.place(word)?.address(v6);
        address.ok_or_else(|| LabError::Unknown(word.to_owned()))
    }
}

/// The suite's shape of a lab.
pub(crate) fn shape(mtu: u16) -> Shape {
    let outside = [OUTSIDE, OUTSIDE_OTHER, "2001:db8:51::7"];
    let outside = outside.iter().filter_map(|address| address.parse().ok()).collect();
    Shape { prefix: PREFIX.to_owned(), mtu, outside }
}

/// The three pods, and more files.
pub(crate) fn with_three_pods(files: &[(&str, String)]) -> Result<Directory, LabError> {
    let directory = Directory::with_three_pods()?;
    files.iter().try_for_each(|(file, text)| directory.put(file, text))?;
    Ok(directory)
}

/// The options of a switch with two workers.
pub(crate) fn two_workers(world: &World) -> Result<Options, LabError> {
    Ok(Options { workers: 2, ..world.options()? })
}

/// A Namespace object.
pub(crate) fn namespace(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {{name: {name}}}}}\n"
    )
}

/// A pod of namespace `demo`, with the label `app: NAME` and the addresses of its number.
pub(crate) fn pod(name: &str, number: u8) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata:
  name: {name}
  namespace: demo
  labels: {{app: {name}}}
  annotations: {{lockgate.dev/interface: {name}0}}
spec:
  nodeName: here
  containers:
  - name: main
    image: none
    ports:
    - {{containerPort: 80}}
    - {{containerPort: 81}}
    - {{containerPort: 53, protocol: UDP}}
    - {{containerPort: 54, protocol: UDP}}
status:
  phase: Running
  podIPs: [{{ip: 10.77.0.{number}}}, {{ip: 'fd00:77::{number}'}}]
  hostIPs: [{{ip: {NODE}}}]
"
    )
}

/// A policy that isolates `server` and lets in what `rules` (lines of `spec.ingress`) say.
pub(crate) fn ingress(name: &str, rules: &[&str]) -> String {
    let mut text = format!(
        "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: {name}, namespace: demo}}
spec:
  podSelector: {{matchLabels: {{app: server}}}}
  policyTypes: [Ingress]
  ingress:\n"
    );
    if rules.is_empty() {
        return text.replace("  ingress:\n", "  ingress: []\n");
    }
    for rule in rules {
        // Writing to a String can't fail.
        let _ = writeln!(text, "  - {rule}");
    }
    text
}

/// A rule for TCP port 80 from the pod `client`.
pub(crate) const FROM_CLIENT: &str =
    "{from: [{podSelector: {matchLabels: {app: client}}}], ports: [{port: 80}]}";

/// The logs of the switches of the last world, kept when it was taken down, for a failed case.
static LOGS: Mutex<String> = Mutex::new(String::new());

impl Drop for World {
    fn drop(&mut self) {
        let logs = fs::read_dir(self.lab.state()).into_iter().flatten().flatten();
        let logs = logs.map(|entry| entry.path());
        let logs = logs.filter(|path| path.extension().is_some_and(|end| end == "log"));
        let text = |path: PathBuf| {
            Some(format!("--- {}\n{}", path.display(), fs::read_to_string(&path).ok()?))
        };
        if let Ok(mut kept) = LOGS.lock() {
            *kept = logs.filter_map(text).collect();
        }
    }
}

/// Takes what the last world's switches wrote.
pub(crate) fn take_logs() -> String {
    LOGS.lock().map(|mut kept| std::mem::take(&mut *kept)).unwrap_or_default()
}
