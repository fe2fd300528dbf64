//! How an endpoint of a slice stands: whether it takes connections, where it is, and whom it is meant
//! for. Only the first address of an endpoint is given to clients: the others are the same pod.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::fields::{Broken, Place, Report, all};
use super::tree::Value;

const UNSERVED: &str = "until then the endpoint is given to no client";

/// Who may be given to a Service's clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SliceEndpoint {
    /// Its first address.
    pub address: IpAddr,
    /// Whether it takes new connections.
    pub is_ready: bool,
    /// Whether it would, were it not about to end.
    pub is_serving: bool,
    /// Whether it is about to end.
    pub is_terminating: bool,
    /// Its node, where that is known.
    pub node: Option<Arc<str>>,
    /// For whom it is meant, where anyone says so.
    pub hints: Option<Arc<Hints>>,
}

/// Whose clients an endpoint is meant for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hints {
    /// Those of these zones.
    pub zones: Vec<String>,
    /// Those of these nodes.
    pub nodes: Vec<String>,
}

impl SliceEndpoint {
    /// Reads how an endpoint stands whose first address that is; `None` where it cannot be read.
    pub(super) fn read(at: &Place<'_>, address: IpAddr, report: &mut Report<'_>) -> Option<Self> {
        report.within(UNSERVED, |report| {
            let mut condition = |name, absent| condition(at, name, absent, report);
            let ready = condition("ready", true);
            let serving = condition("serving", true);
            let terminating = condition("terminating", false);
            let node = at.field("nodeName").map(|at| at.text(report, "nodeName")).transpose();
            let hints = at.field("hints").map(|at| hints(&at, report)).transpose();
            Some(Self {
                address,
                is_ready: ready.ok()?,
                is_serving: serving.ok()?,
                is_terminating: terminating.ok()?,
                node: node.ok()?.map(Arc::from),
                hints: hints.ok()?.map(Arc::new),
            })
        })
    }
}

/// A condition; what is not known is taken as kube-proxy takes it.
fn condition(
    at: &Place<'_>,
    name: &str,
    absent: bool,
    report: &mut Report<'_>,
) -> Result<bool, Broken> {
    let found = at.field("conditions").and_then(|at| at.field(name));
    let Some(at) = found else { return Ok(absent) };
    match at.node.value {
        Value::Bool(value) => Ok(value),
        Value::Null => Ok(absent),
        _ => Err(at.mistyped(report, name, "true or false")),
    }
}

fn hints(at: &Place<'_>, report: &mut Report<'_>) -> Result<Hints, Broken> {
    let mut names = |field: &str| {
        let Some(at) = at.field(field) else { return Ok(Vec::new()) };
        let items = at.items(report, field)?;
        all(items.iter().map(|item| {
            let at = item.field("name").unwrap_or_else(|| item.missing("name"));
            at.text(report, "a hint's name").map(str::to_owned)
        }))
    };
    let (zones, nodes) = (names("forZones"), names("forNodes"));
    Ok(Hints { zones: zones?, nodes: nodes? })
}
