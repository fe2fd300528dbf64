//! Ports of a pod that its node's own ports lead to (`hostPort`): the portmap plugin leads there what
//! comes to the node, the switch what pods of the node send to it.
//!
//! One at some address of the node alone (`hostIP`) is the plugin's: the switch does not tell the
//! node's addresses apart.

use std::net::IpAddr;

use lockgate_dataplane::packet::Protocol;
use serde::{Deserialize, Serialize};

use super::fields::{Place, Report};
use super::rule;
use super::tree::Value;

const UNLED: &str = "until then pods of its node do not reach it at the node's address";

/// A port of the node, and where it leads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HostPort {
    /// TCP, UDP or SCTP.
    #[serde(with = "super::protocol")]
    pub protocol: Protocol,
    /// The node's.
    pub number: u16,
    /// The pod's.
    pub target: u16,
}

impl HostPort {
    /// Reads that of a container's port, where it has one at every address of the node.
    pub(super) fn read(at: &Place<'_>, report: &mut Report<'_>) -> Option<Self> {
        let host = at.field("hostPort").filter(|at| at.node.value != Value::Integer(0))?;
        let address = at.field("hostIP").filter(|at| at.node.text() != Some(""));
        let is_every = |at: Place<'_>| {
            let address = at.node.text().and_then(|text| text.parse::<IpAddr>().ok());
            address.is_some_and(|address| address.is_unspecified())
        };
        if !address.is_none_or(is_every) {
            return None;
        }
        report.within(UNLED, |report| {
            let number = rule::number(&host, report).ok()?;
            let target = rule::number(&at.field("containerPort")?, report).ok()?;
            let protocol = at.field("protocol");
            let protocol = protocol.map_or(Ok(Protocol::Tcp), |at| rule::protocol(&at, report));
            Some(Self { protocol: protocol.ok()?, number, target })
        })
    }
}
