//! What the lab reads in a directory of manifests: the pods that have an interface here.
//!
//! Read on its own, with another YAML reader than the switch's: the lab must not share a
//! misreading with what it tests. Whatever it does not need, it does not look at.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::error::LabError;

/// The annotation that binds a pod to the switch's side of its interface.
pub const INTERFACE: &str = "lockgate.dev/interface";

/// The annotation that states the pod's own MAC.
pub const MAC: &str = "lockgate.dev/mac";

/// A pod as the lab builds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Namespace and name, `fme/web`.
    pub name: String,
    /// The switch's side of its interface.
    pub interface: String,
    /// Its own MAC, where a manifest states one.
    pub mac: Option<String>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its container ports, each of which gets an echo server: protocol and number.
    pub ports: Vec<(String, u16)>,
    /// The addresses of its node.
    pub host_ips: Vec<IpAddr>,
}

/// Reads the pods of a directory that have an interface, in the order of their files.
///
/// # Errors
/// When the directory or one of its files can't be read.
pub fn pods(directory: &Path) -> Result<Vec<Pod>, LabError> {
    let mut pods = Vec::new();
    for file in files(directory)? {
        let text = fs::read_to_string(&file).map_err(LabError::io(file.display().to_string()))?;
        pods.extend(pods_of(&file.display().to_string(), &text)?);
    }
    Ok(pods)
}

/// Reads the pods of one file's text.
///
/// # Errors
/// When it is not YAML, or not shaped as Kubernetes shapes it.
pub fn pods_of(file: &str, text: &str) -> Result<Vec<Pod>, LabError> {
    let problem = |error: serde_yaml_ng::Error| LabError::Manifest {
        file: file.to_owned(),
        problem: error.to_string(),
    };
    let documents = serde_yaml_ng::Deserializer::from_str(text);
    let objects = documents.map(Option::<Object>::deserialize);
    let objects: Vec<_> = objects.collect::<Result<_, _>>().map_err(problem)?;
    let pods = objects.into_iter().flatten().filter(|object| object.kind == "Pod");
    Ok(pods.filter_map(Object::into_pod).collect())
}

fn files(directory: &Path) -> Result<Vec<PathBuf>, LabError> {
    let entries = fs::read_dir(directory)
        .map_err(LabError::io(format!("read directory {}", directory.display())))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.extension().is_some_and(|end| end == "yaml" || end == "yml" || end == "json")
        })
        .collect();
    files.sort();
    Ok(files)
}

#[derive(Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[derive(Default)]
struct Object {
    kind: String,
    metadata: Metadata,
    spec: Spec,
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    name: String,
    namespace: Option<String>,
    annotations: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Spec {
    containers: Vec<Container>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Container {
    ports: Vec<ContainerPort>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ContainerPort {
    container_port: u16,
    protocol: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    #[serde(rename = "podIPs")]
    pod_ips: Vec<Ip>,
    #[serde(rename = "podIP")]
    pod_ip: Option<IpAddr>,
    #[serde(rename = "hostIPs")]
    host_ips: Vec<Ip>,
    #[serde(rename = "hostIP")]
    host_ip: Option<IpAddr>,
}

#[derive(Deserialize)]
struct Ip {
    ip: IpAddr,
}

impl Object {
    /// The pod, if it has an interface on this node.
    fn into_pod(mut self) -> Option<Pod> {
        let interface = self.metadata.annotations.remove(INTERFACE)?;
        let namespace = self.metadata.namespace.unwrap_or_else(|| "default".to_owned());
        let ports = self.spec.containers.into_iter().flat_map(|container| container.ports);
        Some(Pod {
            name: format!("{namespace}/{}", self.metadata.name),
            interface,
            mac: self.metadata.annotations.remove(MAC),
            addresses: addresses(self.status.pod_ips, self.status.pod_ip),
            ports: ports
                .map(|port| {
                    (port.protocol.unwrap_or_else(|| "TCP".to_owned()), port.container_port)
                })
                .collect(),
            host_ips: addresses(self.status.host_ips, self.status.host_ip),
        })
    }
}

/// The plural field, or the singular where the plural is absent, as Kubernetes has it.
fn addresses(plural: Vec<Ip>, singular: Option<IpAddr>) -> Vec<IpAddr> {
    if plural.is_empty() {
        singular.into_iter().collect()
    } else {
        plural.into_iter().map(|entry| entry.ip).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_with_an_interface_is_read_and_one_without_is_left_out() {
        let text = "
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: fme, annotations: {lockgate.dev/interface: web0}}
spec: {containers: [{name: c, ports: [{containerPort: 80}, {containerPort: 53, protocol: UDP}]}]}
status: {podIPs: [{ip: 10.1.0.1}, {ip: 'fd00::1'}], hostIP: 172.31.0.1}
---
apiVersion: v1
kind: Pod
metadata: {name: elsewhere, namespace: fme}
---
kind: Namespace
metadata: {name: fme}
";
        let pods = pods_of("web.yaml", text).unwrap();
        assert_eq!(pods.len(), 1);
        assert_eq!(pods[0].name, "fme/web");
        assert_eq!(pods[0].ports, [("TCP".to_owned(), 80), ("UDP".to_owned(), 53)]);
        assert_eq!(pods[0].addresses.len(), 2);
        assert_eq!(pods[0].host_ips.len(), 1);
    }

    #[test]
    fn what_is_not_yaml_is_refused_with_the_name_of_its_file() {
        let error = pods_of("broken.yaml", "kind: [").unwrap_err().to_string();
        assert!(error.starts_with("broken.yaml"), "{error}");
    }
}
