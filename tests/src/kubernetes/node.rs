//! A node: containerd and a kubelet, in a network, a mount namespace and a cgroup of its own.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use super::control_plane::flags;
use super::images::{self, BareImage, Image};
use super::layout::{self, Layout, NodePlace};
use super::process::Process;
use super::programs::{self, Programs};
use super::{cgroups, mounts};
use crate::lab::LabError;
use crate::lab::namespace::run;

/// Debian's container runtime.
const CONTAINERD: &str = "/usr/bin/containerd";

/// Debian's CNI plugins.
const PLUGINS: &str = "/usr/lib/cni";

/// Where containerd listens, as the node sees it.
const SOCKET: &str = "/run/containerd/containerd.sock";

/// How long a part of a node may take to answer. Busy machines need a part of it.
const PATIENCE: Duration = Duration::from_secs(90);

/// What containerd's snapshotters and others would leave on the machine, or complain of.
const WITHOUT: &[&str] = &[
    "io.containerd.internal.v1.opt",
    "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.zfs",
];

/// One node of a cluster.
#[derive(Clone, Debug)]
pub struct Node {
    place: NodePlace,
    layout: Layout,
    programs: Programs,
}

impl Node {
    /// A node by its number, running or not.
    #[must_use]
    pub fn of(layout: &Layout, programs: &Programs, number: u8) -> Self {
        Self { place: layout.node(number), layout: layout.clone(), programs: programs.clone() }
    }

    /// Where it is.
    #[must_use]
    pub fn place(&self) -> &NodePlace {
        &self.place
    }

    /// Whether all of it runs.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.kubelet().id().is_some() && self.containerd().id().is_some()
    }

    /// Starts it, and waits until the kubelet says that it is well. The node is not ready before
    /// a CNI configuration is there.
    ///
    /// # Errors
    /// When a part does not come up; the end of its log is in the message.
    pub fn start(&self) -> Result<(), LabError> {
        self.programs.build(programs::NODE)?;
        for path in [CONTAINERD, PLUGINS, images::BUSYBOX] {
            if !Path::new(path).exists() {
                return Err(LabError::Unexpected(format!(
                    "{path} is missing: run scripts/install"
                )));
            }
        }
        cgroups::make(&self.place.cgroup)?;
        mounts::make(&self.place)?;
        self.link_plugins()?;
        self.start_containerd()?;
        self.start_kubelet()
    }

    /// The container runtime.
    #[must_use]
    pub fn containerd(&self) -> Process {
        Process::of(Path::new(CONTAINERD), &self.place.state)
    }

    /// The node's agent.
    #[must_use]
    pub fn kubelet(&self) -> Process {
        Process::of(&self.programs.path(programs::KUBELET), &self.place.state)
    }

    /// A command that will run on the node: in its network, with its view of files.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        mounts::command(&self.place, program)
    }

    /// Writes a CNI configuration of Debian's plugins, which knows no policy: for proving that the
    /// node works, and for nothing else.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn prove_with_plain_plugins(&self, ranges: &[&str]) -> Result<(), LabError> {
        let ranges: Vec<_> = ranges.iter().map(|range| json!([{"subnet": range}])).collect();
        let list = json!({
            "cniVersion": "1.0.0", "name": "plain",
            "plugins": [
                {"type": "ptp", "ipam": {
                    "type": "host-local", "ranges": ranges,
                    "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
                }},
                {"type": "portmap", "capabilities": {"portMappings": true}},
            ],
        });
        let directory = mounts::outside(&self.place, "/etc/cni/net.d");
        write(&directory.join("99-plain.conflist"), &format!("{list:#}\n"))
    }

    /// The plugins are links, so that one that is installed beside them is alone a file.
    fn link_plugins(&self) -> Result<(), LabError> {
        let directory = mounts::outside(&self.place, "/opt/cni/bin");
        let what = |path: &Path| format!("link the plugins of {PLUGINS} in {}", path.display());
        fs::create_dir_all(&directory).map_err(LabError::io(what(&directory)))?;
        let net = mounts::outside(&self.place, "/etc/cni/net.d");
        fs::create_dir_all(&net).map_err(LabError::io(format!("make {}", net.display())))?;
        for entry in fs::read_dir(PLUGINS).map_err(LabError::io(what(&directory)))?.flatten() {
            let link = directory.join(entry.file_name());
            if !link.exists() {
                symlink(entry.path(), &link).map_err(LabError::io(what(&directory)))?;
            }
        }
        Ok(())
    }

    fn start_containerd(&self) -> Result<(), LabError> {
        let process = self.containerd();
        if process.id().is_some() {
            return Ok(());
        }
        let file = self.place.state.join("containerd.toml");
        write(&file, &containerd_settings())?;
        let arguments = flags(&[("config", &file.display()), ("log-level", &"info")]);
        mounts::enter(&self.place, || process.start(&arguments))??;
        process.await_answer(PATIENCE, || self.ctr(&["version"]).is_ok())?;
        let image = |name, program, arguments, shell| Image {
            name,
            program: self.programs.path(program),
            arguments,
            shell,
        };
        for image in [
            image(images::PAUSE, programs::PAUSE, &[], false),
            image(images::AGNHOST, programs::AGNHOST, &["pause"], true),
            image(images::DNS, programs::DNS, &[], false),
        ] {
            self.import(&image)?;
        }
        Ok(())
    }

    /// Gives the node an image, under its name.
    ///
    /// # Errors
    /// When it can't be made, or containerd refuses it.
    pub fn import(&self, image: &Image) -> Result<(), LabError> {
        self.import_written(|archive| image.write(archive))
    }

    /// Gives the node an image of programs alone.
    ///
    /// # Errors
    /// As [`Node::import`].
    pub fn import_bare(&self, image: &BareImage) -> Result<(), LabError> {
        self.import_written(|archive| image.write(archive))
    }

    fn import_written(
        &self,
        write: impl FnOnce(&Path) -> Result<(), LabError>,
    ) -> Result<(), LabError> {
        let archive = self.place.state.join("image.tar");
        write(&archive)?;
        self.ctr(&["--namespace", "k8s.io", "images", "import", &archive.display().to_string()])?;
        fs::remove_file(&archive).map_err(LabError::io(format!("remove {}", archive.display())))
    }

    fn ctr(&self, arguments: &[&str]) -> Result<(), LabError> {
        let mut command = mounts::command(&self.place, "ctr");
        run(command.args(["--address", SOCKET]).args(arguments)).map(drop)
    }

    fn start_kubelet(&self) -> Result<(), LabError> {
        let process = self.kubelet();
        if process.id().is_some() {
            return Ok(());
        }
        let config = self.place.state.join("kubelet.yaml");
        let resolver = self.place.state.join("resolv.conf");
        write(&resolver, &format!("nameserver {}\n", layout::OUTSIDE.0))?;
        write(&config, &self.kubelet_settings(&resolver))?;
        let (v4, v6) = self.place.addresses();
        let arguments = flags(&[
            ("config", &config.display()),
            ("kubeconfig", &self.layout.kubeconfig(&self.place.name).display()),
            ("hostname-override", &self.place.name),
            ("node-ip", &format!("{v4},{v6}")),
        ]);
        mounts::enter(&self.place, || process.start(&arguments))??;
        process.await_answer(PATIENCE, || {
            let node = ["get", "--raw", "/api/v1/nodes/"];
            let path = format!("{}{}", node[2], self.place.name);
            let kubectl = self.programs.path(programs::KUBECTL).display().to_string();
            let mut command = self.layout.first().namespace.command(&kubectl);
            command.arg("--kubeconfig").arg(self.layout.kubeconfig(&self.place.name));
            run(command.args(&node[..2]).arg(path)).is_ok()
        })
    }

    fn kubelet_settings(&self, resolver: &Path) -> String {
        let pki = self.layout.certificates();
        let own = |end: &str| pki.join(format!("{}.{end}", self.place.name));
        let config = json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "anonymous": {"enabled": false},
                "webhook": {"enabled": true},
                "x509": {"clientCAFile": pki.join("ca.crt")},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": own("crt"),
            "tlsPrivateKeyFile": own("key"),
            "containerRuntimeEndpoint": format!("unix://{SOCKET}"),
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": format!("/{}", self.place.cgroup),
            "failCgroupV1": false,
            "failSwapOn": false,
            "clusterDNS": layout::NAME_SERVICE,
            "clusterDomain": "cluster.local",
            "resolvConf": resolver,
            // A full disk is not this cluster's to mend: nothing is evicted, no image forgotten.
            "evictionHard": {
                "memory.available": "0%", "nodefs.available": "0%",
                "nodefs.inodesFree": "0%", "imagefs.available": "0%",
            },
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
            // Tests wait for what these would put off.
            "syncFrequency": "10s",
            "nodeStatusUpdateFrequency": "2s",
            "shutdownGracePeriod": "0s",
        });
        format!("{config:#}\n")
    }
}

/// Containers are not better protected from a lack of memory than containerd itself, which has not
/// everywhere the right to grant that (`CAP_SYS_RESOURCE`); without it, runc starts none.
fn containerd_settings() -> String {
    let cri = "plugins.\"io.containerd.grpc.v1.cri\"";
    format!(
        "version = 2\nroot = \"/var/lib/containerd\"\nstate = \"/run/containerd\"\n\
         disabled_plugins = {WITHOUT:?}\n\
         [grpc]\naddress = \"{SOCKET}\"\n\
         [{cri}]\nsandbox_image = \"{}\"\nrestrict_oom_score_adj = true\n\
         [{cri}.containerd]\nsnapshotter = \"overlayfs\"\n\
         [{cri}.containerd.runtimes.runc]\nruntime_type = \"io.containerd.runc.v2\"\n\
         [{cri}.containerd.runtimes.runc.options]\nSystemdCgroup = false\n\
         [{cri}.cni]\nbin_dir = \"/opt/cni/bin\"\nconf_dir = \"/etc/cni/net.d\"\n",
        images::PAUSE
    )
}

fn write(path: &PathBuf, text: &str) -> Result<(), LabError> {
    fs::write(path, text).map_err(LabError::io(format!("write {}", path.display())))
}
