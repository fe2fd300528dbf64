//! Interfaces: the ones the switch makes for itself, and the pods' ones that it finds.
//!
//! A pod's interface is *closed* as soon as it is found, before anything can be refused about it:
//! set down, made inert, and given our program, which drops. It is up only while it has a port.
//!
//! It gets a port only when it is what the switch can hold: one end of a veth pair, with as many
//! receive queues as there will be sockets (a queue without a socket would drop in silence), an
//! MTU of at most one frame, and a far end whose MAC the kernel itself tells. Each refusal names
//! the command that mends it. What is no veth, or one of ours, is told and never touched.
//!
//! What we make bears the alias [`ALIAS`]: a later start knows it again after a kill, and a stop
//! removes that and nothing else.

mod channels;
mod events;
mod found;
mod inert;
mod interface;
mod namespace;
mod netlink;
mod own;
mod pod_end;
mod pod_ways;
mod routes;
mod rules;
mod switch_end;
mod told;

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use lockgate_dataplane::ids::Mac;
use lockgate_dataplane::limits::MTU_MAX;
use lockgate_dataplane::port::program::ProgramError;

pub use events::LinkEvents;
pub use inert::InertError;
pub use interface::{InterfaceName, NAME_BYTES_MAX, NameError};
pub use netlink::{Link, Netlink, NetlinkError, VethPlan};
pub use own::{AnchorSet, HostPortPlan};
pub use pod_end::{Difference, GATEWAY_V4, GATEWAY_V6, PodEnd, PodEndError, state};
pub use routes::{MAIN_TABLE, Route};
pub use rules::{Packets, Rule, Then};
pub use told::{routes_told, rules_told};

/// The alias of every interface that the switch made.
pub const ALIAS: &str = "lockgate";

/// An interface that may have a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probed {
    /// The switch's side.
    pub interface: InterfaceName,
    /// Its number.
    pub ifindex: u32,
    /// The MAC of the far end: what packets to it are addressed to, and must come from.
    pub mac: Mac,
    /// Its MTU, in bytes.
    pub mtu: u16,
}

/// Why an interface cannot have a port.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// No interface of this name in this namespace.
    #[error("interface {0} does not exist")]
    Missing(InterfaceName),
    /// Something else than a veth.
    #[error("interface {0} is not one end of a veth pair")]
    NotVeth(InterfaceName),
    /// More queues than sockets, or fewer.
    #[error("interface {interface} has {have} receive queues; the switch captures {want}")]
    Queues {
        /// The interface.
        interface: InterfaceName,
        /// Queues in use.
        have: u32,
        /// Sockets that there will be.
        want: u32,
    },
    /// A packet could be longer than a frame.
    #[error("interface {interface} has MTU {mtu}; the switch takes at most {MTU_MAX}")]
    Mtu {
        /// The interface.
        interface: InterfaceName,
        /// Its MTU, in bytes.
        mtu: u32,
    },
    /// The kernel shows no far end.
    #[error("the far end of interface {0} cannot be seen")]
    NoPeer(InterfaceName),
    /// One of the switch's own interfaces.
    #[error("interface {0} is one of the switch's own")]
    Own(InterfaceName),
    /// The name of an interface we need belongs to something else.
    #[error("the interface name {0} is taken by something that the switch did not make")]
    Taken(InterfaceName),
    /// The host port's interface is there, and is not one end of what was meant.
    #[error("{interface} is there, and {peer} in network namespace {netns} is not its far end")]
    FarEnd {
        /// The switch's side, as set.
        interface: InterfaceName,
        /// The other side, as set.
        peer: InterfaceName,
        /// The namespace where that should be.
        netns: String,
    },
    /// There is an interface already of the name that the host port's far end shall have.
    #[error("the host port cannot be made: there is an interface {} already{}", .0.peer, at(.0))]
    PeerTaken(HostPortPlan),
    /// The namespace for the far end of the host port.
    #[error("network namespace {name}: {source}")]
    Namespace {
        /// As set.
        name: String,
        /// Why it cannot be opened.
        source: io::Error,
    },
    /// It could not be closed otherwise.
    #[error("interface {interface} is set down: {source}")]
    Down {
        /// The interface.
        interface: InterfaceName,
        /// Why it is not held by the program.
        source: Box<AttachError>,
    },
    /// A pin of the same number, on another interface.
    #[error("the pin {} is of another interface, in another network namespace", .0.display())]
    Foreign(PathBuf),
    /// The program of an interface, or its pin.
    #[error("{}", with_causes(.0))]
    Program(#[from] ProgramError),
    /// The kernel refused.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// The interface could not be made inert.
    #[error(transparent)]
    Inert(#[from] InertError),
    /// No netlink at all.
    #[error("netlink: {0}")]
    Socket(#[from] io::Error),
}

/// Where the far end of the host port is.
fn at(plan: &HostPortPlan) -> String {
    plan.netns.as_ref().map_or_else(String::new, |name| format!(" in network namespace {name}"))
}

/// An error with what caused it.
fn with_causes(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

impl AttachError {
    /// What to do about it, with the command where there is one.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Missing(name) => format!(
                "create {name}, or correct the annotation lockgate.dev/interface; it is attached \
                 when it appears"
            ),
            Self::NotVeth(name) | Self::Own(name) => {
                format!("name a pod's veth instead of {name} in lockgate.dev/interface")
            }
            Self::Queues { interface, want, .. } => {
                format!("run `ethtool -L {interface} rx {want} tx {want}`")
            }
            Self::Mtu { interface, .. } => {
                format!("run `ip link set dev {interface} mtu {MTU_MAX}` (on the pod's end too)")
            }
            Self::NoPeer(name) => {
                format!("set the pod's MAC in the annotation lockgate.dev/mac, or recreate {name}")
            }
            Self::Taken(name) => {
                format!("run `ip link del {name}`, or set another name for it")
            }
            Self::FarEnd { interface, .. } => format!(
                "run `ip link del {interface}`, and both ends are made; or correct the settings \
                 host_port.interface, host_port.peer and host_port.netns"
            ),
            Self::PeerTaken(plan) => {
                format!("set another name for it, host_port.peer, or remove {}", plan.peer)
            }
            Self::Namespace { name, .. } => {
                format!("run `ip netns add {name}`, or correct the setting host_port.netns")
            }
            Self::Down { source, .. } => source.remedy(),
            Self::Foreign(pin) => format!(
                "give each switch a directory of its own, the setting bpffs, or remove {}",
                pin.display()
            ),
            Self::Program(_) => "it is tried again each second".to_owned(),
            Self::Netlink(_) | Self::Inert(_) | Self::Socket(_) => {
                "the switch needs CAP_NET_ADMIN in this network namespace, and a writable \
                 /proc/sys/net"
                    .to_owned()
            }
        }
    }
}

/// Finds, makes and removes interfaces.
#[derive(Debug)]
pub struct Attacher {
    netlink: Netlink,
    /// Where programs are pinned.
    bpffs: PathBuf,
    /// The host port's interface, where the switch made it.
    made: Vec<Link>,
    anchors: Vec<Link>,
}

impl Attacher {
    /// Opens netlink. Needs a running tokio.
    ///
    /// # Errors
    /// Where the kernel gives no netlink socket.
    pub fn open(bpffs: &Path) -> Result<(Self, LinkEvents), AttachError> {
        let (netlink, events) = Netlink::open()?;
        let (made, anchors) = (Vec::new(), Vec::new());
        Ok((Self { netlink, bpffs: bpffs.to_owned(), made, anchors }, events))
    }

    /// The kernel, to be asked and told of what is no interface of the switch.
    #[must_use]
    pub fn netlink(&self) -> &Netlink {
        &self.netlink
    }

    /// Every interface there is now.
    ///
    /// # Errors
    /// Where the kernel does not answer.
    pub async fn links(&self) -> Result<Vec<Link>, AttachError> {
        Ok(self.netlink.links().await?)
    }

    /// Sets an interface up or down.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub async fn set_up(&self, link: &Link, up: bool) -> Result<(), AttachError> {
        Ok(self.netlink.set_up(link, up).await?)
    }

    /// Whether an interface bears our mark: a switch made it.
    #[must_use]
    pub fn is_marked(&self, link: &Link) -> bool {
        link.is_veth && link.alias.as_deref() == Some(ALIAS)
    }

    /// Removes an interface, a veth with its other end.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub async fn remove(&self, link: &Link) -> Result<(), AttachError> {
        Ok(self.netlink.remove(link).await?)
    }

    /// Whether the switch made this interface, or took it over from a predecessor that did.
    #[must_use]
    pub fn has_made(&self, interface: &InterfaceName) -> bool {
        self.made.iter().chain(&self.anchors).any(|own| own.name == interface.as_str())
    }

    /// Removes every interface that the switch made; all are tried, the first error is told.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub async fn remove_made(&mut self) -> Result<(), AttachError> {
        self.anchors.append(&mut self.made);
        self.remove_anchors().await
    }

    /// Removes the anchors alone: the host port is left for whoever takes it over.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub async fn remove_anchors(&mut self) -> Result<(), AttachError> {
        let links = std::mem::take(&mut self.anchors);
        if links.is_empty() { Ok(()) } else { netlink::remove_beside(links).await }
    }

    async fn find(&self, interface: &InterfaceName) -> Result<Link, AttachError> {
        let link = self.netlink.link(interface).await?;
        link.ok_or_else(|| AttachError::Missing(interface.clone()))
    }
}
