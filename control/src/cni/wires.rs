//! The node's ends of the pods' veths: made, found again, removed.

use std::fs::File;

use crate::attach::{AttachError, InterfaceName, Link, Netlink, NetlinkError, VethPlan};

use super::failure::{Code, Failure};
use super::names;
use super::protocol::Attachment;

/// Queues of each end: the switch binds one socket to a pod's interface, and what comes by a
/// queue without a socket would vanish.
const QUEUES: u32 = 1;

/// What the kernel needs of us.
const REMEDY: &str = "the plugin needs CAP_NET_ADMIN in the node's network namespace and in the \
                      pod's, and a writable /proc/sys/net: the runtime runs it as root";

/// The interfaces of the node's namespace, which is the plugin's own.
#[derive(Clone, Debug)]
pub struct Wires {
    netlink: Netlink,
}

impl Wires {
    /// Opens netlink. Needs a running tokio.
    ///
    /// # Errors
    /// Where the kernel gives no socket.
    pub fn open() -> Result<Self, Failure> {
        let netlink = Netlink::connect();
        let netlink =
            netlink.map_err(|error| Failure::new(Code::IO, format!("netlink: {error}"), REMEDY))?;
        Ok(Self { netlink })
    }

    /// Makes a pod's veth: both ends down, ours inert, the other in the pod's namespace.
    ///
    /// # Errors
    /// Where the pod has an interface of this name, or the kernel refuses.
    pub async fn make(
        &self,
        name: &InterfaceName,
        ifname: &InterfaceName,
        netns: &File,
        mtu: u16,
        alias: &str,
    ) -> Result<Link, Failure> {
        let plan = VethPlan {
            name,
            peer: ifname,
            peer_netns: Some(netns),
            queues: QUEUES,
            mtu: u32::from(mtu),
        };
        self.netlink.make_pod_veth(&plan, alias).await.map_err(|error| match error {
            AttachError::Netlink(error) if error.is_taken() => {
                let message = format!("the pod has an interface {ifname} already");
                let remedy = "call DEL first; another plugin's interface wants another name";
                Failure::new(Code::IO, message, remedy)
            }
            error => Failure::new(Code::IO, error.to_string(), REMEDY),
        })
    }

    /// The interface of this name.
    ///
    /// # Errors
    /// Where the kernel does not answer.
    pub async fn find(&self, name: &InterfaceName) -> Result<Option<Link>, Failure> {
        self.netlink.link(name).await.map_err(|error| refused(&error))
    }

    /// Removes an attachment's veth; one that is gone is no error.
    ///
    /// # Errors
    /// Where the name is another's, which is not touched, or the kernel refuses.
    pub async fn remove(&self, name: &InterfaceName, of: &Attachment) -> Result<(), Failure> {
        let Some(link) = self.find(name).await? else { return Ok(()) };
        if !is_of(&link, of) {
            let message = format!("the interface {name} is there, and is not of {}", of.container);
            let remedy = format!("see `ip -d link show {name}` whose it is, and remove it");
            return Err(Failure::new(Code::IO, message, remedy));
        }
        self.netlink.remove(&link).await.map_err(|error| refused(&error))
    }

    /// Every interface that the plugin made: whose it says it is.
    ///
    /// # Errors
    /// Where the kernel does not answer.
    pub async fn ours(&self) -> Result<Vec<(String, Attachment)>, Failure> {
        let links = self.netlink.links().await.map_err(|error| refused(&error))?;
        let alias = |link: &Link| names::read_alias(link.alias.as_deref().unwrap_or(""));
        Ok(links.iter().filter_map(alias).collect())
    }
}

/// Whether a link is an attachment's. One without an alias is one that was made by an ADD that
/// was killed before it could name it: the name is ours alone.
fn is_of(link: &Link, attachment: &Attachment) -> bool {
    let alias = link.alias.as_deref().unwrap_or("");
    link.is_veth
        && (alias.is_empty() || names::read_alias(alias).is_some_and(|(_, of)| of == *attachment))
}

fn refused(error: &NetlinkError) -> Failure {
    Failure::new(Code::IO, error.to_string(), REMEDY)
}
