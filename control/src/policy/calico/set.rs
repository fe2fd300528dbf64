//! Sets of networks of Calico, and host endpoints: addresses that selectors of rules find by labels.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::super::read::{host, net};
use super::stored;
use crate::expression::{NAMESPACE, OF_ACCOUNT, OF_NAMESPACE};
use crate::manifest::Metadata;
use crate::manifest::fields::{Broken, Place, Report};
use crate::manifest::labels;
use crate::manifest::metadata::FIELDS;
use crate::manifest::problem::quoted;
use crate::manifest::tree::Value;
use crate::selector::Labels;

const UNREAD: &str = "until then what allows sees only what is readable of the set, and what \
                      denies takes it to hold every address";
const UNSEEN: &str = "until then what allows does not see the set, and what denies does";

/// How one kind is written.
struct Form {
    what: &'static str,
    spec: &'static str,
    fields: &'static [&'static str],
    /// The field that lists its nets, and what reads one.
    listed: &'static str,
    read: fn(&Place<'_>, &mut Report<'_>) -> Result<IpNet, Broken>,
}

const SET: Form =
    Form { what: "a set", spec: "a set's spec", fields: &["nets"], listed: "nets", read: net };

const HOST: Form = Form {
    what: "a HostEndpoint",
    spec: "a HostEndpoint's spec",
    fields: &["node", "interfaceName", EXPECTED, "profiles", "ports"],
    listed: EXPECTED,
    read: host,
};
const EXPECTED: &str = "expectedIPs";

/// A `NetworkSet` or a `GlobalNetworkSet`; or what rules see of a `HostEndpoint`, by its
/// `expectedIPs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSet {
    /// Who it is. The namespace is empty for a global one.
    pub metadata: Metadata,
    /// Its labels; `None` where they cannot be read, or it is lost: what denies must take it to be
    /// selected, in whatever namespace.
    pub labels: Option<Labels>,
    /// Its nets as far as they can be read.
    pub nets: Vec<IpNet>,
    /// Whether these are all: where not, what denies must take it to hold every address.
    pub is_whole: bool,
}

impl NetworkSet {
    /// Reads a set; this cannot fail, only close.
    pub(crate) fn read(root: &Place<'_>, metadata: Metadata, report: &mut Report<'_>) -> Self {
        Self::written(root, &SET, metadata, report)
    }

    /// Reads a host endpoint; this cannot fail, only close.
    pub(crate) fn read_host(root: &Place<'_>, metadata: Metadata, report: &mut Report<'_>) -> Self {
        let message = "a HostEndpoint is not enforced, only pods' traffic is judged here: it is whom \
                       rules mean by its labels, at its expectedIPs";
        report.warning(root, message, "leave the host's own firewall to guard it");
        let host = Self::written(root, &HOST, metadata, report);
        let ports = root.field("spec").and_then(|spec| spec.field("ports"));
        if let Some(at) =
            ports.filter(|at| !matches!(&at.node.value, Value::List(ports) if ports.is_empty()))
        {
            let message = "names of a HostEndpoint's ports are not followed: no rule that asks for a port by \
                           name means it";
            report.warning(&at, message, "write the number in the rules");
        }
        if host.is_whole && host.nets.is_empty() {
            let at = root.field("spec").unwrap_or_else(|| root.missing("spec")).missing(EXPECTED);
            let message = "a HostEndpoint without expectedIPs is nobody to rules";
            report.warning(&at, message, "list its addresses if rules mean it by its labels");
        }
        host
    }

    fn written(root: &Place<'_>, form: &Form, metadata: Metadata, report: &mut Report<'_>) -> Self {
        let mut is_whole =
            report.within(UNREAD, |report| root.closed(report, form.what, &FIELDS)).is_ok();
        let labels = labels::of_object(root, UNSEEN, report);
        // One that may be of any namespace is seen in none, and denied in all.
        let is_known = !metadata.key.is_lost();
        let labels = report.within(UNSEEN, |report| {
            let labels = stored::labels(root, labels?, report)?;
            if honest(root, &labels, report) { Ok(labels) } else { Err(Broken) }
        });
        let labels = labels.ok().filter(|_| is_known);
        let mut nets = Vec::new();
        report.within(UNREAD, |report| {
            let Some(spec) = root.field("spec") else { return };
            is_whole &= spec.closed(report, form.spec, form.fields).is_ok();
            let Some(at) = spec.field(form.listed) else { return };
            let Ok(items) = at.items(report, form.listed) else {
                is_whole = false;
                return;
            };
            let read: Vec<_> = items.iter().map(|item| (form.read)(item, report)).collect();
            is_whole &= read.iter().all(Result::is_ok);
            nets = read.into_iter().flatten().collect();
        });
        Self { metadata, labels, nets, is_whole }
    }
}

/// Whether no label pretends to be one that only the switch itself gives.
fn honest(root: &Place<'_>, labels: &Labels, report: &mut Report<'_>) -> bool {
    let is_ours = |key: &str| {
        key == NAMESPACE || key.starts_with(OF_NAMESPACE) || key.starts_with(OF_ACCOUNT)
    };
    let Some((key, _)) = labels.iter().find(|(key, _)| is_ours(key)) else { return true };
    let message = format!("{} is no label that a set can give itself", quoted(key));
    report.error(&root.missing("metadata.labels"), &message, "remove it");
    false
}
