//! Who bears labels at an address, as Calico's selectors see them: a pod, network sets and hosts.

use std::net::IpAddr;

use serde_json::Value;

use super::super::ends::{self, Found};
use super::super::network::Cidr;
use super::super::reading::{at, field, list};
use super::super::{Broken, Cluster};
use super::host;
use super::selector::{self, Asked, Labels};

/// A pod, a set or a host that has the address in question; the default is nobody.
#[derive(Default)]
pub(super) struct Wearer {
    labels: Labels,
    /// A pod's or a set's; none of a global set or a host.
    namespace: Option<String>,
    namespace_labels: Labels,
    /// A pod's.
    account: Option<String>,
    account_labels: Labels,
    /// Whether nobody can tell that it has the address and bears these labels.
    pub(super) is_doubtful: bool,
    /// Whether it may bear any labels.
    is_anybody: bool,
}

impl Wearer {
    /// Everyone at the address.
    pub(super) fn at(cluster: &Cluster, found: &Found<'_>) -> Vec<Self> {
        let pod = found.pod.map(|pod| Self::of_pod(cluster, pod));
        let sets = cluster.objects.iter().filter(|object| is_set(object));
        let sets = sets.filter(|set| has(set, found.address)).map(|set| Self::of_set(cluster, set));
        let hosts = cluster.objects.iter().filter(|object| host::is_host(object));
        let hosts = hosts.filter_map(|host| Self::of_host(host, found.address));
        pod.into_iter().chain(sets).chain(hosts).collect()
    }

    pub(super) fn of_pod(cluster: &Cluster, pod: &Value) -> Self {
        let (namespace, _) = ends::key(pod);
        let account = account(pod);
        let mut labels = as_labels(at(pod, "metadata/labels"));
        set(&mut labels, "projectcalico.org/namespace", namespace);
        set(&mut labels, "projectcalico.org/orchestrator", "k8s");
        set(&mut labels, "projectcalico.org/serviceaccount", account);
        Self {
            labels,
            namespace: Some(namespace.to_owned()),
            namespace_labels: namespace_labels(cluster, namespace),
            account: Some(account.to_owned()),
            account_labels: account_labels(cluster, namespace, account),
            ..Self::default()
        }
    }

    fn of_set(cluster: &Cluster, set_object: &Value) -> Self {
        let mut labels = as_labels(written_labels(set_object).ok().flatten().as_ref());
        let is_global = set_object["kind"] == "GlobalNetworkSet";
        let namespace = (!is_global).then(|| ends::key(set_object).0.to_owned());
        if let Some(name) = &namespace {
            set(&mut labels, "projectcalico.org/namespace", name);
        }
        Self {
            labels,
            namespace_labels: namespace
                .as_deref()
                .map(|name| namespace_labels(cluster, name))
                .unwrap_or_default(),
            namespace,
            ..Self::default()
        }
    }

    /// A host that has the address, or may have it: one that is not whole may have any.
    fn of_host(host: &Value, address: IpAddr) -> Option<Self> {
        let has = host::addresses(host).contains(&address);
        let labels = host::labels(host);
        let is_anybody = labels.is_none();
        (has || is_anybody || !host::is_whole(host)).then(|| Self {
            labels: labels.unwrap_or_default(),
            is_doubtful: !has || is_anybody,
            is_anybody,
            ..Self::default()
        })
    }

    pub(super) fn is_in(&self, namespace: &str) -> bool {
        self.namespace.as_deref() == Some(namespace)
    }

    pub(super) fn has_account_of(&self, names: &[&str]) -> bool {
        self.account.as_deref().is_some_and(|own| names.contains(&own))
    }

    /// A `selector`.
    pub(super) fn is_selected(&self, text: &str) -> Result<bool, Broken> {
        Ok(self.ask(text, &self.labels, false)? || self.is_anybody)
    }

    /// A `namespaceSelector` of a policy: its pods are in namespaces, so `global()` is none.
    pub(super) fn is_in_namespaces(&self, text: &str) -> Result<bool, Broken> {
        self.ask(text, &self.namespace_labels, false)
    }

    /// A `namespaceSelector` of a rule.
    pub(super) fn is_of_namespaces(&self, text: &str) -> Result<bool, Broken> {
        self.ask(text, &self.namespace_labels, true)
    }

    /// A selector of service accounts.
    pub(super) fn is_of_accounts(&self, text: &str) -> Result<bool, Broken> {
        self.ask(text, &self.account_labels, false)
    }

    fn ask(&self, text: &str, labels: &Labels, of_namespaces: bool) -> Result<bool, Broken> {
        let has_namespace = self.namespace.is_some();
        selector::selects(text, Asked { labels, has_namespace, of_namespaces })
    }
}

/// The service account that a pod runs as.
pub(super) fn account(pod: &Value) -> &str {
    let account = at(pod, "spec/serviceAccountName").and_then(Value::as_str);
    account.filter(|name| !name.is_empty()).unwrap_or("default")
}

fn set(labels: &mut Labels, key: &str, value: &str) {
    labels.insert(key.to_owned(), value.to_owned());
}

pub(super) fn as_labels(written: Option<&Value>) -> Labels {
    let all = written.and_then(Value::as_object).into_iter().flatten();
    let text = all.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
    text.collect()
}

fn namespace_labels(cluster: &Cluster, name: &str) -> Labels {
    let written = ends::namespace_labels(cluster, name).map(Value::Object);
    let mut labels = as_labels(written.as_ref());
    set(&mut labels, "projectcalico.org/name", name);
    labels
}

fn account_labels(cluster: &Cluster, namespace: &str, name: &str) -> Labels {
    let is_it =
        |one: &&Value| one["kind"] == "ServiceAccount" && ends::is_named(one, namespace, name);
    let object = cluster.objects.iter().find(is_it);
    let mut labels = as_labels(object.and_then(|object| at(object, "metadata/labels")));
    set(&mut labels, "projectcalico.org/name", name);
    labels
}

fn is_set(object: &Value) -> bool {
    let kind = object["kind"].as_str().unwrap_or_default();
    super::is_of_calico(object) && matches!(kind, "NetworkSet" | "GlobalNetworkSet")
}

/// A set's or a host's labels. Where Calico stored it, what its API was given stands in an
/// annotation.
pub(super) fn written_labels(object: &Value) -> Result<Option<Value>, Broken> {
    let stored =
        at(object, "metadata/annotations").and_then(|all| all.get("projectcalico.org/metadata"));
    let stored = stored.filter(|_| super::version(object) == "crd.projectcalico.org/v1");
    match stored.and_then(Value::as_str) {
        Some(text) => {
            let given: Result<Value, _> = serde_json::from_str(text);
            Ok(field(&given.map_err(|_| Broken("no JSON"))?, "labels").cloned())
        }
        None => Ok(at(object, "metadata/labels").cloned()),
    }
}

fn has(set: &Value, address: IpAddr) -> bool {
    let nets = field(set, "spec").and_then(|spec| field(spec, "nets"));
    nets.is_some_and(|nets| are_of(nets, address).unwrap_or(false))
}

/// Whether the address is in any of the listed nets; an address alone is a net of one.
pub(super) fn are_of(nets: &Value, address: IpAddr) -> Result<bool, Broken> {
    let mut any = false;
    for net in list(nets, "nets must be a list")? {
        let text = net.as_str().ok_or(Broken("a net is text"))?;
        any |= match text.parse::<IpAddr>() {
            Ok(one) => one == address,
            Err(_) => Cidr::read(text).ok_or(Broken("not a net"))?.contains(address),
        };
    }
    Ok(any)
}
