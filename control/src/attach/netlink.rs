//! The only place that talks netlink: links made, found, changed and removed.
//!
//! Everything here means interfaces of the process's own network namespace, but for
//! [`Netlink::peer`], which asks the kernel for the far end of a veth wherever that lives.
//! `/sys/class/net` is not used: under `nsenter` it shows another namespace than the process's.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use futures_util::TryStreamExt;
use lockgate_dataplane::ids::Mac;
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, LinkXdp,
};
use rtnetlink::{Handle, LinkMessageBuilder, LinkUnspec, LinkVeth};

use super::interface::InterfaceName;
use super::{AttachError, channels, events::LinkEvents, namespace::inside};

/// The kernel's answers to requests that failed: no such device, device or entry.
const ENODEV: i32 = -19;

/// A request to the kernel that failed.
#[derive(Debug, thiserror::Error)]
#[error("{action} {interface}: {source}")]
pub struct NetlinkError {
    /// What was asked, as a verb phrase.
    pub action: &'static str,
    /// Of which interface.
    pub interface: String,
    /// The kernel's answer.
    pub source: io::Error,
}

impl NetlinkError {
    /// Whether there is something already of the name that was to be given.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        self.source.kind() == io::ErrorKind::AlreadyExists
    }
}

/// An interface as the kernel describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its number in its namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its link address; zeros where it has none.
    pub mac: Mac,
    /// Its MTU, in bytes, Ethernet header not included.
    pub mtu: u32,
    /// Whether it is one end of a veth pair.
    pub is_veth: bool,
    /// Whether it is set up.
    pub is_up: bool,
    /// Its alias, which is how we know what we made.
    pub alias: Option<String>,
    /// The kernel's number of its XDP program.
    pub program: Option<u32>,
    /// The number of the veth's other end, in the namespace that `peer_netns` says.
    pub peer_index: Option<u32>,
    /// The namespace of the other end, as the kernel numbers it here; `None` is our own.
    pub peer_netns: Option<i32>,
}

/// A veth pair to make. Both ends are down.
#[derive(Debug)]
pub struct VethPlan<'a> {
    /// The switch's end.
    pub name: &'a InterfaceName,
    /// The other end.
    pub peer: &'a InterfaceName,
    /// An open namespace to make the other end in.
    pub peer_netns: Option<&'a File>,
    /// Receive and transmit queues of both ends.
    pub queues: u32,
    /// MTU of both ends, in bytes.
    pub mtu: u32,
}

/// Removes interfaces in a thread of its own. The kernel does what it is asked within the call that
/// asks, and takes its time where locks are held or the interface is still referred to: nothing else
/// that this thread runs could go on meanwhile, not even a wait with a bound.
pub(super) async fn remove_beside(links: Vec<Link>) -> Result<(), AttachError> {
    let removing = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        runtime.block_on(async {
            let netlink = Netlink::connect()?;
            let mut first = Ok(());
            for link in links {
                first = first.and(netlink.remove(&link).await);
            }
            Ok(first?)
        })
    });
    removing.await.unwrap_or_else(|error| Err(io::Error::other(error).into()))
}

/// A connection to the kernel.
#[derive(Clone, Debug)]
pub struct Netlink {
    pub(super) handle: Handle,
}

impl Netlink {
    /// Opens a connection and a stream of link events. Needs a running tokio.
    ///
    /// # Errors
    /// Where the kernel gives no netlink socket.
    pub fn open() -> io::Result<(Self, LinkEvents)> {
        Ok((Self::connect()?, LinkEvents::open()?))
    }

    /// Opens a connection, in the calling thread's network namespace. Needs a running tokio.
    ///
    /// # Errors
    /// Where the kernel gives no netlink socket.
    pub fn connect() -> io::Result<Self> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        Ok(Self { handle })
    }

    /// All interfaces.
    ///
    /// # Errors
    /// [`NetlinkError`] where the kernel does not answer.
    pub async fn links(&self) -> Result<Vec<Link>, NetlinkError> {
        let messages: Vec<LinkMessage> =
            self.handle.link().get().execute().try_collect().await.map_err(refused("list", ""))?;
        Ok(messages.iter().map(read_link).collect())
    }

    /// The interface of this name, or `None`.
    ///
    /// # Errors
    /// [`NetlinkError`] where the kernel does not answer.
    pub async fn link(&self, name: &InterfaceName) -> Result<Option<Link>, NetlinkError> {
        let mut answers =
            Box::pin(self.handle.link().get().match_name(name.as_str().to_owned()).execute());
        match answers.try_next().await {
            Ok(message) => Ok(message.as_ref().map(read_link)),
            Err(error) if code(&error) == Some(ENODEV) => Ok(None),
            Err(error) => Err(refused("look up", name.as_str())(error)),
        }
    }

    /// The other end of a veth, in whichever namespace it is; `None` where it cannot be seen.
    ///
    /// # Errors
    /// [`NetlinkError`] where the kernel refuses to look there.
    pub async fn peer(&self, link: &Link) -> Result<Option<Link>, NetlinkError> {
        let Some(index) = link.peer_index else { return Ok(None) };
        let mut request = self.handle.link().get().match_index(index);
        if let Some(netns) = link.peer_netns {
            // IFLA_TARGET_NETNSID by its older name: the question is put to that namespace.
            request.message_mut().attributes.push(LinkAttribute::IfNetnsId(netns));
        }
        let mut answers = Box::pin(request.execute());
        match answers.try_next().await {
            Ok(message) => Ok(message.as_ref().map(read_link)),
            Err(error) if code(&error) == Some(ENODEV) => Ok(None),
            Err(error) => Err(refused("look up the other end of", &link.name)(error)),
        }
    }

    /// Makes a veth pair.
    ///
    /// # Errors
    /// [`NetlinkError`], for one where a name is taken.
    pub async fn add_veth(&self, plan: &VethPlan<'_>) -> Result<(), NetlinkError> {
        let common = [
            LinkAttribute::NumTxQueues(plan.queues),
            LinkAttribute::NumRxQueues(plan.queues),
            LinkAttribute::Mtu(plan.mtu),
        ];
        let mut peer =
            LinkMessageBuilder::<LinkUnspec>::new().name(plan.peer.as_str().to_owned()).build();
        peer.attributes.extend(common.clone());
        if let Some(netns) = plan.peer_netns {
            peer.attributes.push(LinkAttribute::NetNsFd(netns.as_raw_fd()));
        }
        let mut message = LinkVeth::new(plan.name.as_str(), plan.peer.as_str()).build();
        message.attributes.extend(common);
        for attribute in &mut message.attributes {
            if let LinkAttribute::LinkInfo(parts) = attribute {
                *parts = vec![
                    LinkInfo::Kind(InfoKind::Veth),
                    LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer.clone()))),
                ];
            }
        }
        let request = self.handle.link().add(message).execute();
        request.await.map_err(refused("make", plan.name.as_str()))
    }

    /// Marks a link as ours: the kernel takes no alias while it makes one.
    ///
    /// # Errors
    /// [`NetlinkError`] where the kernel refuses.
    pub async fn set_alias(&self, link: &Link, alias: &str) -> Result<(), NetlinkError> {
        let mut message = LinkMessage::default();
        message.header.index = link.index;
        message.attributes.push(LinkAttribute::IfAlias(alias.to_owned()));
        let request = self.handle.link().set(message).execute();
        request.await.map_err(refused("name as ours", &link.name))
    }

    /// Sets a link up or down.
    ///
    /// # Errors
    /// [`NetlinkError`] where the kernel refuses.
    pub async fn set_up(&self, link: &Link, up: bool) -> Result<(), NetlinkError> {
        let mut message = LinkMessage::default();
        message.header.index = link.index;
        message.header.change_mask = LinkFlags::Up;
        if up {
            message.header.flags = LinkFlags::Up;
        }
        let request = self.handle.link().change(message).execute();
        request.await.map_err(refused(if up { "set up" } else { "set down" }, &link.name))
    }

    /// Sets up a link of another namespace; false where there is none of the name. A namespace is a
    /// thread's, so this takes a thread; it blocks for as long as the kernel takes for two answers.
    ///
    /// # Errors
    /// [`NetlinkError`] where the namespace cannot be entered.
    pub fn set_up_in(netns: &File, name: &InterfaceName) -> Result<bool, NetlinkError> {
        let wrong = |source| NetlinkError {
            action: "set up in its namespace",
            interface: name.to_string(),
            source,
        };
        let found = inside(netns, async |there| {
            let Some(link) = there.link(name).await? else { return Ok(false) };
            there.set_up(&link, true).await.map(|()| true)
        });
        found.map_err(wrong)?
    }

    /// Removes a link; one that is gone already is no error.
    ///
    /// # Errors
    /// [`NetlinkError`] where the kernel refuses.
    pub async fn remove(&self, link: &Link) -> Result<(), NetlinkError> {
        match self.handle.link().del(link.index).execute().await {
            Err(error) if code(&error) == Some(ENODEV) => Ok(()),
            other => other.map_err(refused("remove", &link.name)),
        }
    }

    /// Takes every address from a link.
    ///
    /// # Errors
    /// [`NetlinkError`] where the kernel refuses.
    pub async fn flush_addresses(&self, link: &Link) -> Result<(), NetlinkError> {
        let request = self.handle.address().get().set_link_index_filter(link.index).execute();
        let addresses: Vec<_> =
            request.try_collect().await.map_err(refused("list addresses of", &link.name))?;
        for address in addresses.into_iter().filter(|a| a.header.index == link.index) {
            let request = self.handle.address().del(address).execute();
            request.await.map_err(refused("take an address from", &link.name))?;
        }
        Ok(())
    }

    /// How many receive queues the interface really has, or `None` where its driver has no
    /// channels. `IFLA_NUM_RX_QUEUES` is what was allocated, which is more.
    ///
    /// # Errors
    /// [`NetlinkError`] where the kernel does not answer.
    pub fn receive_queues(&self, link: &Link) -> Result<Option<u32>, NetlinkError> {
        channels::receive_queues(link.index).map_err(|source| NetlinkError {
            action: "count the receive queues of",
            interface: link.name.clone(),
            source,
        })
    }
}

/// What the kernel said, where it said anything.
pub(super) fn code(error: &rtnetlink::Error) -> Option<i32> {
    match error {
        rtnetlink::Error::NetlinkError(message) => Some(message.raw_code()),
        _ => None,
    }
}

pub(super) fn refused(
    action: &'static str,
    interface: &str,
) -> impl FnOnce(rtnetlink::Error) -> NetlinkError + use<> {
    let interface = interface.to_owned();
    move |error| {
        let source = match code(&error) {
            Some(code) => io::Error::from_raw_os_error(-code),
            None => io::Error::other(error.to_string()),
        };
        NetlinkError { action, interface, source }
    }
}

/// What we use of a link message.
pub(super) fn read_link(message: &LinkMessage) -> Link {
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        mac: Mac::default(),
        mtu: 0,
        is_veth: false,
        is_up: message.header.flags.contains(LinkFlags::Up),
        alias: None,
        program: None,
        peer_index: None,
        peer_netns: None,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Address(bytes) => {
                link.mac = Mac(bytes.as_slice().try_into().unwrap_or_default());
            }
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::IfAlias(alias) => link.alias = Some(alias.clone()),
            LinkAttribute::Xdp(parts) => {
                link.program = parts.iter().find_map(|part| match part {
                    LinkXdp::ProgId(id) => Some(*id),
                    _ => None,
                });
            }
            LinkAttribute::Link(index) => link.peer_index = Some(*index),
            LinkAttribute::LinkNetNsId(id) => link.peer_netns = Some(*id),
            LinkAttribute::LinkInfo(parts) => {
                link.is_veth = parts.contains(&LinkInfo::Kind(InfoKind::Veth));
            }
            _ => {}
        }
    }
    link
}
