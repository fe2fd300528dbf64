//! Who is who in a cluster: one authority, a certificate for each server and client, the key that
//! signs service accounts' tokens, and the files by which clients use them.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use serde_json::json;

use super::layout::{API_PORT, API_SERVICE, Layout};
use crate::lab::LabError;

/// The names by which clients in the cluster know the API server.
const API_NAMES: &[&str] = &[
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
];

/// The administrator.
pub const ADMIN: &str = "admin";
/// The controllers.
pub const CONTROLLERS: &str = "controllers";
/// The scheduler.
pub const SCHEDULER: &str = "scheduler";

/// Who was the administrator, whose certificate has run out.
pub const EXPIRED: &str = "expired";
/// The certificate of an authority that signed nothing here.
pub const STRANGER: &str = "stranger.crt";

/// Clients of the control plane: file, user, group.
const CLIENTS: &[(&str, &str, Option<&str>)] = &[
    (ADMIN, "admin", Some("system:masters")),
    (CONTROLLERS, "system:kube-controller-manager", None),
    (SCHEDULER, "system:kube-scheduler", None),
    ("apiserver-kubelet", "kube-apiserver", Some("system:masters")),
    ("apiserver-etcd", "kube-apiserver", None),
];

/// Makes everything anew: authority, certificates for `nodes` nodes, keys, kubeconfigs.
///
/// # Errors
/// When a file can't be written.
pub fn make(layout: &Layout, nodes: u8) -> Result<(), LabError> {
    let pki = layout.certificates();
    fs::create_dir_all(&pki).map_err(LabError::io(format!("make {}", pki.display())))?;
    let authority = Authority::new(&pki)?;
    let own = layout.first().addresses();
    let loopback = ["127.0.0.1".to_owned(), "::1".to_owned()];
    let local: Vec<String> = ["localhost".to_owned()].into_iter().chain(loopback).collect();
    let mut api: Vec<String> =
        API_NAMES.iter().chain(&API_SERVICE).map(ToString::to_string).collect();
    api.extend(local.iter().skip(1).cloned());
    api.extend([own.0.to_string(), own.1.to_string()]);
    authority.issue("apiserver", "kube-apiserver", None, &api)?;
    for server in ["etcd", CONTROLLERS, SCHEDULER] {
        let name = format!("{server}-server");
        authority.issue(&name, server, None, &local)?;
    }
    for &(name, user, group) in CLIENTS {
        authority.issue(name, user, group, &[])?;
    }
    authority.issue_expired(EXPIRED, "admin", Some("system:masters"))?;
    write(&pki.join(STRANGER), &Authority::certificate("stranger")?.pem())?;
    for client in [ADMIN, CONTROLLERS, EXPIRED, SCHEDULER] {
        kubeconfig(layout, client)?;
    }
    for number in 0..nodes {
        let node = layout.node(number);
        let (v4, v6) = node.addresses();
        let names = [node.name.clone(), v4.to_string(), v6.to_string()];
        let user = format!("system:node:{}", node.name);
        authority.issue(&node.name, &user, Some("system:nodes"), &names)?;
        kubeconfig(layout, &node.name)?;
    }
    let accounts = KeyPair::generate().map_err(broken("make the accounts' key"))?;
    write(&pki.join("accounts.key"), &accounts.serialize_pem())?;
    write(&pki.join("accounts.pub"), &accounts.public_key_pem())
}

struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    pki: PathBuf,
}

impl Authority {
    fn new(pki: &Path) -> Result<Self, LabError> {
        let issuer = Self::certificate("lockgate-test")?;
        write(&pki.join("ca.key"), &issuer.key().serialize_pem())?;
        write(&pki.join("ca.crt"), &issuer.pem())?;
        Ok(Self { issuer, pki: pki.to_owned() })
    }

    fn certificate(name: &str) -> Result<CertifiedIssuer<'static, KeyPair>, LabError> {
        let what = "make the authority";
        let mut params = CertificateParams::default();
        params.distinguished_name = subject(name, None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
        ];
        let key = KeyPair::generate().map_err(broken(what))?;
        CertifiedIssuer::self_signed(params, key).map_err(broken(what))
    }

    /// A certificate for a user, of years ago.
    fn issue_expired(&self, name: &str, user: &str, group: Option<&str>) -> Result<(), LabError> {
        let mut params = Self::params(name, user, group, &[])?;
        (params.not_before, params.not_after) =
            (date_time_ymd(2019, 1, 1), date_time_ymd(2020, 1, 1));
        self.sign(name, &params)
    }

    /// A certificate for a user who may be in a group, and a server who may bear names.
    fn issue(
        &self,
        name: &str,
        user: &str,
        group: Option<&str>,
        names: &[String],
    ) -> Result<(), LabError> {
        self.sign(name, &Self::params(name, user, group, names)?)
    }

    fn params(
        name: &str,
        user: &str,
        group: Option<&str>,
        names: &[String],
    ) -> Result<CertificateParams, LabError> {
        let what = || format!("make the certificate {name}");
        let mut params = CertificateParams::new(names).map_err(broken(&what()))?;
        params.distinguished_name = subject(user, group);
        params.use_authority_key_identifier_extension = true;
        params.key_usages =
            vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if !names.is_empty() {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        Ok(params)
    }

    fn sign(&self, name: &str, params: &CertificateParams) -> Result<(), LabError> {
        let what = || format!("make the certificate {name}");
        let key = KeyPair::generate().map_err(broken(&what()))?;
        let signed = params.signed_by(&key, &self.issuer).map_err(broken(&what()))?;
        write(&self.pki.join(format!("{name}.key")), &key.serialize_pem())?;
        write(&self.pki.join(format!("{name}.crt")), &signed.pem())
    }
}

fn subject(user: &str, group: Option<&str>) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    if let Some(group) = group {
        subject.push(DnType::OrganizationName, group);
    }
    subject.push(DnType::CommonName, user);
    subject
}

/// Writes how a client that has a certificate finds the API server. JSON is YAML too.
fn kubeconfig(layout: &Layout, client: &str) -> Result<(), LabError> {
    let pki = layout.certificates();
    let server = format!("https://{}:{API_PORT}", layout.first().addresses().0);
    let file = |end: &str| pki.join(format!("{client}.{end}"));
    let text = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "lockgate",
        "clusters": [{"name": "lockgate", "cluster": {
            "server": server, "certificate-authority": pki.join("ca.crt"),
        }}],
        "users": [{"name": client, "user": {
            "client-certificate": file("crt"), "client-key": file("key"),
        }}],
        "contexts": [{"name": "lockgate", "context": {"cluster": "lockgate", "user": client}}],
    });
    write(&layout.kubeconfig(client), &format!("{text:#}\n"))
}

/// Writes a file that only its owner reads.
fn write(path: &Path, text: &str) -> Result<(), LabError> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(LabError::io(format!("write {}", path.display())))
}

fn broken(what: &str) -> impl FnOnce(rcgen::Error) -> LabError {
    let what = what.to_owned();
    move |error| LabError::Unexpected(format!("{what}: {error}"))
}
