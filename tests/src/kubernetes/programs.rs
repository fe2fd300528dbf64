//! Kubernetes' own programs, built from the Go modules that `tests/cluster/go.mod` pins, and the
//! server of a cluster's names, from those of `tests/cluster/dns/go.mod`.
//!
//! They are built once for each set of versions and kept in the user's cache, outside the clone:
//! a second clone, or a clean one, finds them there. A program is built beside its place and
//! moved into it whole, under a lock: of two who build at once, one waits and finds it done.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::lab::LabError;
use crate::lab::namespace::run;

/// A Go module of ours that pins what programs are built from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Module {
    directory: &'static str,
    /// The files that what is built depends on, beside the compiler.
    sources: &'static [&'static str],
}

/// Kubernetes and etcd.
const KUBERNETES: Module = Module {
    directory: concat!(env!("CARGO_MANIFEST_DIR"), "/cluster"),
    sources: &["go.mod", "go.sum", "pause/main.go"],
};

/// The cluster's names, whose server asks for other versions of what Kubernetes uses.
const NAMES: Module = Module {
    directory: concat!(env!("CARGO_MANIFEST_DIR"), "/cluster/dns"),
    sources: &["go.mod", "go.sum", "main.go"],
};

/// Where Go is looked for when it is not on the PATH.
const GO: &str = "/usr/local/go/bin/go";

/// One program: its name and its package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Program {
    /// The name of its file.
    pub name: &'static str,
    package: &'static str,
    module: Module,
}

/// The store of the API server.
pub const ETCD: Program =
    Program { name: "etcd", package: "go.etcd.io/etcd/server/v3", module: KUBERNETES };
/// The API server.
pub const API_SERVER: Program =
    kubernetes("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver");
/// The controllers.
pub const CONTROLLERS: Program =
    kubernetes("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager");
/// The scheduler.
pub const SCHEDULER: Program = kubernetes("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler");
/// The node's agent.
pub const KUBELET: Program = kubernetes("kubelet", "k8s.io/kubernetes/cmd/kubelet");
/// The client.
pub const KUBECTL: Program = kubernetes("kubectl", "k8s.io/kubernetes/cmd/kubectl");
/// What runs in the pods of the upstream tests.
pub const AGNHOST: Program = kubernetes("agnhost", "k8s.io/kubernetes/test/images/agnhost");
/// What holds a pod's namespaces open.
pub const PAUSE: Program = Program { name: "pause", package: "./pause", module: KUBERNETES };
/// What answers for names in the cluster.
pub const DNS: Program = Program { name: "dns", package: ".", module: NAMES };
/// The upstream end-to-end tests.
pub const E2E: Program = kubernetes("e2e.test", "k8s.io/kubernetes/test/e2e");

/// What a control plane needs, with its client.
pub const CONTROL_PLANE: &[Program] = &[ETCD, API_SERVER, CONTROLLERS, SCHEDULER, KUBECTL];
/// What a node needs beside.
pub const NODE: &[Program] = &[KUBELET, PAUSE, AGNHOST, DNS];

impl Module {
    /// All that what is built depends on.
    fn text(self) -> Result<Vec<u8>, LabError> {
        let mut text = Vec::new();
        for file in self.sources {
            let path = Path::new(self.directory).join(file);
            text.extend(fs::read(&path).map_err(LabError::io(format!("read {}", path.display())))?);
        }
        Ok(text)
    }
}

const fn kubernetes(name: &'static str, package: &'static str) -> Program {
    Program { name, package, module: KUBERNETES }
}

/// The directories of what is built from these versions.
#[derive(Clone, Debug)]
pub struct Programs {
    kubernetes: PathBuf,
    names: PathBuf,
    version: String,
    go: PathBuf,
}

impl Programs {
    /// Finds the directory of the versions that the module pins; builds nothing.
    ///
    /// # Errors
    /// When Go is missing, or the module can't be read.
    pub fn find() -> Result<Self, LabError> {
        let go = go();
        let mut command = Command::new(&go);
        command.args(["env", "GOVERSION"]).env("GOTOOLCHAIN", "local");
        let compiler = run(&mut command).map_err(|error| {
            LabError::Unexpected(format!(
                "Go is missing ({error}): install Go 1.25 or newer in /usr/local/go, or name it by PATH"
            ))
        })?;
        let text = KUBERNETES.text()?;
        let version = pinned(&String::from_utf8_lossy(&text)).ok_or_else(|| {
            let module = KUBERNETES.directory;
            LabError::Unexpected(format!("{module}/go.mod pins no k8s.io/kubernetes"))
        })?;
        let cache = cache()?;
        let directory = |text: Vec<u8>| {
            let whole = [text, compiler.stdout.clone()].concat();
            cache.join(&super::images::digest(&whole)[..16])
        };
        let (kubernetes, names) = (directory(text), directory(NAMES.text()?));
        Ok(Self { kubernetes, names, version, go })
    }

    /// Where Kubernetes' own are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.kubernetes
    }

    /// Where one of them is, built or not.
    #[must_use]
    pub fn path(&self, program: Program) -> PathBuf {
        let directory = if program.module == NAMES { &self.names } else { &self.kubernetes };
        directory.join(program.name)
    }

    /// The version of Kubernetes, as `v1.35.4`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Builds those that are missing.
    ///
    /// # Errors
    /// When one does not build; what Go said is in the message.
    pub fn build(&self, programs: &[Program]) -> Result<(), LabError> {
        if programs.iter().all(|&program| self.path(program).exists()) {
            return Ok(());
        }
        let what = || format!("make {}", self.kubernetes.display());
        for directory in [&self.kubernetes, &self.names] {
            fs::create_dir_all(directory).map_err(LabError::io(what()))?;
        }
        let lock = File::create(self.kubernetes.join("lock")).map_err(LabError::io(what()))?;
        lock.lock().map_err(LabError::io(what()))?;
        for &program in programs {
            if !self.path(program).exists() {
                self.build_one(program)?;
            }
        }
        Ok(())
    }

    fn build_one(&self, program: Program) -> Result<(), LabError> {
        eprintln!("cluster: building {}", program.name);
        let whole = self.path(program);
        let part = whole.with_extension("part");
        let mut command = Command::new(&self.go);
        if program == E2E {
            command.args(["test", "-c"]);
        } else {
            command.arg("build");
        }
        // The version is told to the programs as their own build tells it.
        command
            .args(["-trimpath", "-ldflags", &flags(&self.version), "-o"])
            .arg(&part)
            .arg(program.package)
            .current_dir(program.module.directory)
            .envs([("CGO_ENABLED", "0"), ("GOTOOLCHAIN", "local"), ("GOFLAGS", "-mod=readonly")]);
        run(&mut command)?;
        fs::rename(&part, &whole).map_err(LabError::io(format!("move to {}", whole.display())))
    }
}

fn go() -> PathBuf {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&paths).map(|path| path.join("go")).find(|go| go.is_file());
    found.unwrap_or_else(|| PathBuf::from(GO))
}

fn cache() -> Result<PathBuf, LabError> {
    let named = std::env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty());
    let cache = named.map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cache = cache.or_else(home).ok_or_else(|| {
        LabError::Unexpected("no place for what is built: set XDG_CACHE_HOME or HOME".to_owned())
    })?;
    Ok(cache.join("lockgate/cluster"))
}

/// The version of Kubernetes that a go.mod pins.
fn pinned(text: &str) -> Option<String> {
    let line = text.lines().find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes v"))?;
    Some(format!("v{}", line.split_whitespace().next()?))
}

fn flags(version: &str) -> String {
    let mut parts = version.trim_start_matches('v').split('.');
    let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let set = "-X k8s.io/component-base/version.git";
    format!("-s -w {set}Version={version} {set}Major={major} {set}Minor={minor}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pinned_version_is_read_and_told() {
        let text = "require (\n\tk8s.io/kubernetes v1.35.4 // why\n)\n";
        let version = pinned(text).unwrap();
        assert_eq!(version, "v1.35.4");
        assert!(flags(&version).ends_with(
            "-X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=35"
        ));
        assert_eq!(pinned("replace k8s.io/api => k8s.io/api v0.35.4"), None);
    }
}
