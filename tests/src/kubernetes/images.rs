//! Container images made from static programs, as archives that containerd imports: there is no
//! registry to fetch any from.
//!
//! An archive is a tar of an OCI layout: one layer, one configuration, one manifest, an index that
//! gives it its name.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

use crate::lab::LabError;

/// What holds a pod's namespaces open.
pub const PAUSE: &str = "registry.k8s.io/pause:3.10.1";

/// What runs in the pods of the upstream tests, by the name that `test/utils/image` gives it.
pub const AGNHOST: &str = "registry.k8s.io/e2e-test-images/agnhost:2.59";

/// What answers for names in the cluster, as `tests/cluster/dns.yaml` asks for it.
pub const DNS: &str = "lockgate.dev/dns:test";

/// The shell of images: the upstream tests run loops of it in their pods.
pub const BUSYBOX: &str = "/bin/busybox";

/// What the shell of an image is called by.
const APPLETS: &[&str] = &[
    "sh", "cat", "date", "echo", "env", "grep", "head", "hostname", "id", "ip", "ls", "mkdir",
    "nc", "nslookup", "ping", "printf", "ps", "rm", "seq", "sleep", "tail", "test", "timeout",
    "touch", "true", "false", "wc", "wget",
];

/// An image: its name, its program, and whether it has a shell.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its name, as pods ask for it.
    pub name: &'static str,
    /// The static program that it is made of, which becomes its entry point.
    pub program: PathBuf,
    /// What the program is told if the pod says nothing.
    pub arguments: &'static [&'static str],
    /// Whether it has a shell.
    pub shell: bool,
}

/// An image of static programs and nothing else, as `deploy/Dockerfile` makes the agent's.
#[derive(Clone, Debug)]
pub struct BareImage {
    /// Its name, as pods ask for it.
    pub name: String,
    /// The programs, which lie in the root directory; the first is the entry point.
    pub programs: Vec<PathBuf>,
    /// What the entry point is told if the pod says nothing.
    pub arguments: &'static [&'static str],
}

impl BareImage {
    /// Writes it as an archive.
    ///
    /// # Errors
    /// When a program is missing, or the disk is full.
    pub fn write(&self, path: &Path) -> Result<(), LabError> {
        let what = || format!("write the image {} to {}", self.name, path.display());
        let layer = self.layer().map_err(LabError::io(what()))?;
        let first = self.programs.first().map_or(Path::new(""), PathBuf::as_path);
        let config = entry(first, self.arguments);
        archive(&self.name, &config, &layer, path).map_err(LabError::io(what()))
    }

    fn layer(&self) -> std::io::Result<Vec<u8>> {
        let mut tar = Builder::new(Vec::new());
        for program in &self.programs {
            let own = Path::new(program.file_name().unwrap_or_default());
            append(&mut tar, own, &fs::read(program)?, 0o755)?;
        }
        tar.into_inner()
    }
}

impl Image {
    /// Writes it as an archive.
    ///
    /// # Errors
    /// When a program is missing, or the disk is full.
    pub fn write(&self, path: &Path) -> Result<(), LabError> {
        let what = || format!("write the image {} to {}", self.name, path.display());
        let layer = self.layer().map_err(LabError::io(what()))?;
        let mut config = entry(&self.program, self.arguments);
        config["Env"] = json!(["PATH=/bin:/"]);
        archive(self.name, &config, &layer, path).map_err(LabError::io(what()))
    }

    fn layer(&self) -> std::io::Result<Vec<u8>> {
        let mut tar = Builder::new(Vec::new());
        for (directory, mode) in [("bin/", 0o755), ("etc/", 0o755), ("tmp/", 0o1777)] {
            let mut header = header(EntryType::Directory, 0, mode);
            tar.append_data(&mut header, directory, std::io::empty())?;
        }
        let own = self.program.file_name().unwrap_or_default();
        append(&mut tar, Path::new(own), &fs::read(&self.program)?, 0o755)?;
        append(&mut tar, Path::new("etc/passwd"), b"root:x:0:0:root:/:/bin/sh\n", 0o644)?;
        if self.shell {
            append(&mut tar, Path::new("bin/busybox"), &fs::read(BUSYBOX)?, 0o755)?;
            for applet in APPLETS {
                let mut header = header(EntryType::Symlink, 0, 0o777);
                tar.append_link(&mut header, format!("bin/{applet}"), "busybox")?;
            }
        }
        tar.into_inner()
    }
}

/// What is run, and what it is told.
fn entry(program: &Path, arguments: &[&str]) -> Value {
    let program = format!("/{}", program.file_name().unwrap_or_default().display());
    json!({"Entrypoint": [program], "Cmd": arguments, "WorkingDir": "/"})
}

fn archive(name: &str, config: &Value, layer: &[u8], path: &Path) -> std::io::Result<()> {
    let config = json!({
        "architecture": architecture(), "os": "linux", "config": config,
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", digest(layer))]},
    });
    let config = config.to_string().into_bytes();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob("application/vnd.oci.image.config.v1+json", &config),
        "layers": [blob("application/vnd.oci.image.layer.v1.tar", layer)],
    });
    let manifest = manifest.to_string().into_bytes();
    let mut entry = blob("application/vnd.oci.image.manifest.v1+json", &manifest);
    entry["annotations"] = json!({"io.containerd.image.name": name});
    let index = json!({"schemaVersion": 2, "manifests": [entry]}).to_string();
    let mut tar = Builder::new(File::create(path)?);
    append(&mut tar, Path::new("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#, 0o644)?;
    append(&mut tar, Path::new("index.json"), index.as_bytes(), 0o644)?;
    for bytes in [layer, &config, &manifest] {
        let name = format!("blobs/sha256/{}", digest(bytes));
        append(&mut tar, Path::new(&name), bytes, 0o644)?;
    }
    tar.into_inner().map(drop)
}

/// The SHA-256 of some bytes, in hexadecimal.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn blob(kind: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": kind, "digest": format!("sha256:{}", digest(bytes)), "size": bytes.len()})
}

fn append<W: Write>(
    tar: &mut Builder<W>,
    path: &Path,
    bytes: &[u8],
    mode: u32,
) -> std::io::Result<()> {
    tar.append_data(&mut header(EntryType::Regular, bytes.len() as u64, mode), path, bytes)
}

fn header(kind: EntryType, size: u64, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(mode);
    header
}

/// This machine's, as images call it.
fn architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::io::Read;

    #[test]
    fn every_blob_of_an_archive_is_named_by_what_it_holds() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("pause");
        fs::write(&program, "not much of a program").unwrap();
        let image = Image { name: PAUSE, program, arguments: &[], shell: false };
        let path = directory.path().join("pause.tar");
        image.write(&path).unwrap();
        let mut files = BTreeMap::new();
        for entry in tar::Archive::new(File::open(&path).unwrap()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().display().to_string();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            files.insert(name, bytes);
        }
        assert_eq!(files.len(), 5);
        for (name, bytes) in &files {
            if let Some(named) = name.strip_prefix("blobs/sha256/") {
                assert_eq!(named, digest(bytes));
            }
        }
        let index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
        let entry = &index["manifests"][0];
        assert_eq!(entry["annotations"]["io.containerd.image.name"], PAUSE);
        let named = entry["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
        let manifest: Value =
            serde_json::from_slice(&files[&format!("blobs/sha256/{named}")]).unwrap();
        assert_eq!(manifest["layers"].as_array().unwrap().len(), 1);
    }
}
