//! The control plane: etcd, API server, controllers and scheduler, in the first node's network,
//! with TLS and RBAC as a real cluster has them.

use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::certificates::{CONTROLLERS, SCHEDULER};
use super::layout::{API_PORT, Layout, NODES_MAX, PODS, SERVICES};
use super::process::Process;
use super::programs::{self, Program, Programs};
use super::{certificates, network};
use crate::lab::LabError;
use crate::lab::namespace::run;

/// How long a part of the control plane may take to answer. Busy machines need a part of it.
const PATIENCE: Duration = Duration::from_secs(90);

/// The ports of etcd, on the loopback: of its clients and of its peers.
const ETCD_PORTS: (u16, u16) = (2379, 2380);

/// The control plane of one cluster.
#[derive(Clone, Debug)]
pub struct ControlPlane {
    layout: Layout,
    programs: Programs,
}

impl ControlPlane {
    /// That of a layout, running or not.
    #[must_use]
    pub fn of(layout: &Layout, programs: &Programs) -> Self {
        Self { layout: layout.clone(), programs: programs.clone() }
    }

    /// Whether all of it runs.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.processes().iter().all(|process| process.id().is_some())
    }

    /// Starts it from nothing, and waits until it answers.
    ///
    /// # Errors
    /// When a part does not come up; the end of its log is in the message.
    pub fn start(&self) -> Result<(), LabError> {
        self.programs.build(programs::CONTROL_PLANE)?;
        // For all nodes that there may be later: the authority's key is not asked again.
        certificates::make(&self.layout, NODES_MAX)?;
        network::make(&self.layout, 1)?;
        self.launch(programs::ETCD, &self.etcd())?;
        self.start_api_server()?;
        self.launch(programs::CONTROLLERS, &self.controllers())?;
        self.launch(programs::SCHEDULER, &self.scheduler())?;
        // The controllers have come up once they give a namespace its account.
        let account = ["get", "serviceaccount", "default"];
        self.process(programs::CONTROLLERS).await_answer(PATIENCE, || self.asked(&account))?;
        let ready = format!("--server=https://127.0.0.1:{}", port(programs::SCHEDULER));
        let scheduler = ["get", "--raw", "/readyz", ready.as_str()];
        self.process(programs::SCHEDULER).await_answer(PATIENCE, || self.asked(&scheduler))
    }

    /// Starts the API server alone, and waits until it answers.
    ///
    /// # Errors
    /// When it does not; the end of its log is in the message.
    pub fn start_api_server(&self) -> Result<(), LabError> {
        let policy = self.layout.state().join("audit.json");
        let what = || format!("write {}", policy.display());
        fs::write(&policy, audit_policy().to_string()).map_err(LabError::io(what()))?;
        self.launch(programs::API_SERVER, &self.api())?;
        let ready = ["get", "--raw", "/readyz"];
        self.api_server().await_answer(PATIENCE, || self.asked(&ready))
    }

    /// The API server's process.
    #[must_use]
    pub fn api_server(&self) -> Process {
        self.process(programs::API_SERVER)
    }

    /// What the API server recorded of pods' service accounts, a JSON document on each line.
    #[must_use]
    pub fn audit_log(&self) -> PathBuf {
        self.layout.state().join("audit.log")
    }

    /// Its processes, in the order in which they are ended.
    #[must_use]
    pub fn processes(&self) -> [Process; 4] {
        use programs::{API_SERVER, CONTROLLERS, ETCD, SCHEDULER};
        [SCHEDULER, CONTROLLERS, API_SERVER, ETCD].map(|program| self.process(program))
    }

    fn process(&self, program: Program) -> Process {
        Process::of(&self.programs.path(program), self.layout.state())
    }

    fn launch(&self, program: Program, arguments: &[String]) -> Result<(), LabError> {
        let process = self.process(program);
        if process.id().is_some() {
            return Ok(());
        }
        self.layout.first().namespace.enter(|| process.start(arguments))?
    }

    /// Whether kubectl gets an answer, as the administrator. One that does not come is none.
    fn asked(&self, arguments: &[&str]) -> bool {
        let kubectl = self.programs.path(programs::KUBECTL);
        let mut command = self.layout.first().namespace.command(&kubectl.display().to_string());
        command.arg("--kubeconfig").arg(self.layout.kubeconfig(certificates::ADMIN));
        run(command.arg("--request-timeout=2s").args(arguments)).is_ok()
    }

    fn etcd(&self) -> Vec<String> {
        let client = format!("https://127.0.0.1:{}", ETCD_PORTS.0);
        let peer = format!("https://127.0.0.1:{}", ETCD_PORTS.1);
        let (certificate, key, authority) =
            (self.pki("etcd-server.crt"), self.pki("etcd-server.key"), self.pki("ca.crt"));
        let mut arguments = flags(&[
            ("name", &"lockgate"),
            ("data-dir", &self.layout.state().join("etcd.data").display()),
            ("log-level", &"warn"),
            ("listen-client-urls", &client),
            ("advertise-client-urls", &client),
            ("listen-peer-urls", &peer),
            ("initial-advertise-peer-urls", &peer),
            ("initial-cluster", &format!("lockgate={peer}")),
            ("cert-file", &certificate),
            ("key-file", &key),
            ("trusted-ca-file", &authority),
            ("peer-cert-file", &certificate),
            ("peer-key-file", &key),
            ("peer-trusted-ca-file", &authority),
        ]);
        // What is lost with the machine may be lost: waiting for the disk would be most of a start.
        arguments.extend(["--unsafe-no-fsync", "--client-cert-auth"].map(str::to_owned));
        arguments
    }

    fn api(&self) -> Vec<String> {
        let own = self.layout.first().addresses().0;
        flags(&[
            // All addresses of a network without a way out of the machine.
            ("bind-address", &"0.0.0.0"),
            ("advertise-address", &own),
            ("secure-port", &API_PORT),
            ("endpoint-reconciler-type", &"lease"),
            ("etcd-servers", &format!("https://127.0.0.1:{}", ETCD_PORTS.0)),
            ("etcd-cafile", &self.pki("ca.crt")),
            ("etcd-certfile", &self.pki("apiserver-etcd.crt")),
            ("etcd-keyfile", &self.pki("apiserver-etcd.key")),
            ("tls-cert-file", &self.pki("apiserver.crt")),
            ("tls-private-key-file", &self.pki("apiserver.key")),
            ("client-ca-file", &self.pki("ca.crt")),
            ("kubelet-certificate-authority", &self.pki("ca.crt")),
            ("kubelet-client-certificate", &self.pki("apiserver-kubelet.crt")),
            ("kubelet-client-key", &self.pki("apiserver-kubelet.key")),
            ("kubelet-preferred-address-types", &"InternalIP"),
            ("authorization-mode", &"Node,RBAC"),
            ("enable-admission-plugins", &"NodeRestriction"),
            ("allow-privileged", &true),
            ("audit-policy-file", &self.layout.state().join("audit.json").display()),
            ("audit-log-path", &self.audit_log().display()),
            ("service-cluster-ip-range", &SERVICES),
            ("service-account-issuer", &"https://kubernetes.default.svc.cluster.local"),
            ("service-account-key-file", &self.pki("accounts.pub")),
            ("service-account-signing-key-file", &self.pki("accounts.key")),
        ])
    }

    fn controllers(&self) -> Vec<String> {
        let mut arguments = self.client(programs::CONTROLLERS, CONTROLLERS);
        arguments.extend(flags(&[
            ("use-service-account-credentials", &true),
            ("service-account-private-key-file", &self.pki("accounts.key")),
            ("root-ca-file", &self.pki("ca.crt")),
            ("cluster-signing-cert-file", &self.pki("ca.crt")),
            ("cluster-signing-key-file", &self.pki("ca.key")),
            ("allocate-node-cidrs", &true),
            ("cluster-cidr", &PODS),
            ("node-cidr-mask-size-ipv4", &24),
            ("node-cidr-mask-size-ipv6", &64),
            ("service-cluster-ip-range", &SERVICES),
        ]));
        arguments
    }

    fn scheduler(&self) -> Vec<String> {
        self.client(programs::SCHEDULER, SCHEDULER)
    }

    /// What a client of the API server that is also a server of its own is told.
    fn client(&self, program: Program, name: &str) -> Vec<String> {
        let config = self.layout.kubeconfig(name);
        flags(&[
            ("kubeconfig", &config.display()),
            ("authentication-kubeconfig", &config.display()),
            ("authorization-kubeconfig", &config.display()),
            ("client-ca-file", &self.pki("ca.crt")),
            ("tls-cert-file", &self.pki(&format!("{name}-server.crt"))),
            ("tls-private-key-file", &self.pki(&format!("{name}-server.key"))),
            ("leader-elect", &false),
            ("bind-address", &"127.0.0.1"),
            ("secure-port", &port(program)),
        ])
    }

    fn pki(&self, file: &str) -> String {
        self.layout.certificates().join(file).display().to_string()
    }
}

/// What is recorded: who asked for what with which answer, by accounts that are not Kubernetes' own.
/// A watch is recorded when it begins to be answered, and all else when it has been.
fn audit_policy() -> Value {
    let accounts = |what: &str| json!([format!("system:serviceaccounts{what}")]);
    json!({
        "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "None", "userGroups": accounts(":kube-system")},
            {"level": "Metadata", "userGroups": accounts("")},
            {"level": "None"},
        ],
    })
}

/// The port of a part's own server.
fn port(program: Program) -> u16 {
    if program == programs::SCHEDULER { 10259 } else { 10257 }
}

/// `--name=value` for each.
pub(super) fn flags(pairs: &[(&str, &dyn Display)]) -> Vec<String> {
    pairs.iter().map(|(name, value)| format!("--{name}={value}")).collect()
}

/// Makes the directory of a cluster's files, which nobody else may read: keys are in it.
///
/// # Errors
/// When it can't be made.
pub fn make_state(state: &Path) -> Result<(), LabError> {
    use std::os::unix::fs::PermissionsExt;
    let what = || format!("make {}", state.display());
    fs::create_dir_all(state).map_err(LabError::io(what()))?;
    fs::set_permissions(state, fs::Permissions::from_mode(0o700)).map_err(LabError::io(what()))
}
