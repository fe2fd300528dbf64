//! The pod's end of its veth: made as the switch expects a pod to be, and compared with that.
//!
//! The switch routes (decision D7 of the house): a pod has its addresses alone, as /32 and /128,
//! and reaches everything by a gateway that is on the link and nowhere else. A pod that took
//! redirects or router advertisements could be told of another way by its neighbour; one without
//! an IPv6 address has no IPv6 at all, not even a link-local one.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use futures_util::TryStreamExt;
use lockgate_dataplane::ids::Mac;
use lockgate_dataplane::packet::answer::GATEWAY_MAC;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage};
use netlink_packet_route::route::RouteMessage;
use rtnetlink::RouteMessageBuilder;

use super::interface::InterfaceName;
use super::namespace::inside;
use super::netlink::{Link, Netlink, NetlinkError, refused};
use super::pod_ways::{Way, lacks};
use super::routes::of_family;

/// The gateway of every pod, IPv4.
pub const GATEWAY_V4: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);

/// The gateway of every pod, IPv6.
pub const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

/// What a pod's end shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodEnd {
    /// Its name in the pod.
    pub name: InterfaceName,
    /// The pod's addresses.
    pub addresses: Vec<IpAddr>,
    /// Its MTU, in bytes.
    pub mtu: u32,
}

/// Why a pod's end could not be made, or seen.
#[derive(Debug, thiserror::Error)]
pub enum PodEndError {
    /// The namespace could not be entered.
    #[error("enter the pod's network namespace: {0}")]
    Enter(#[source] io::Error),
    /// It is not there.
    #[error("the pod has no interface {0}")]
    Missing(InterfaceName),
    /// A key of `/proc/sys/net`.
    #[error("{} in the pod: {source}", path.display())]
    Sysctl {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The kernel refused.
    #[error("in the pod: {0}")]
    Netlink(#[from] NetlinkError),
}

/// Something of a pod's end that is not as it was made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} is {found}, and was made {wanted}")]
pub struct Difference {
    /// What.
    pub what: String,
    /// How it is.
    pub found: String,
    /// How it was made.
    pub wanted: String,
}

impl PodEnd {
    /// Whether a namespace has an interface of this name.
    ///
    /// # Errors
    /// Where the namespace cannot be entered.
    pub fn is_there(netns: &File, name: &InterfaceName) -> Result<bool, PodEndError> {
        let found = inside(netns, async |there| there.link(name).await);
        Ok(found.map_err(PodEndError::Enter)??.is_some())
    }

    /// Sets it up, and gives its MAC. It has no carrier until the switch's end is up.
    ///
    /// # Errors
    /// Where the kernel refuses, or has no IPv6 and the pod shall.
    pub fn set_up(&self, netns: &File) -> Result<Mac, PodEndError> {
        let done = inside(netns, async |there| {
            let link = self.find(&there).await?;
            // Before it has addresses and is up: what it would take from the link, it never does.
            self.write_keys()?;
            for address in &self.addresses {
                there.add_pod_address(&link, *address).await?;
            }
            there.set_up(&link, true).await?;
            for address in &self.addresses {
                there.add_default_route(&link, address.is_ipv6()).await?;
            }
            Ok(link.mac)
        });
        done.map_err(PodEndError::Enter)?
    }

    /// What is not as [`PodEnd::set_up`] made it, the MAC with it.
    ///
    /// # Errors
    /// Where it cannot be seen.
    pub fn differences(&self, netns: &File, mac: Mac) -> Result<Vec<Difference>, PodEndError> {
        let found = inside(netns, async |there| {
            let link = self.find(&there).await?;
            let mut found = Differences::default();
            found.compare("its MAC", link.mac, mac);
            found.compare("its MTU", link.mtu, self.mtu);
            found.compare("its state", state(link.is_up), state(true));
            let mut wanted: Vec<String> =
                self.addresses.iter().map(|one| host_route(*one)).collect();
            wanted.sort();
            found.compare(
                "the list of its addresses",
                there.addresses(&link).await?.join(", "),
                wanted.join(", "),
            );
            for address in &self.addresses {
                let v6 = address.is_ipv6();
                for (what, is, was) in lacks(&there.ways(&link, v6).await?, link.index, *address) {
                    found.compare(&what, is, was);
                }
                // Whoever has it wrong, by hand or by a neighbour's word, sends to nobody.
                for mac in there.gateway_macs(&link, v6).await? {
                    found.compare("the MAC of its gateway", mac, GATEWAY_MAC);
                }
            }
            self.compare_keys(&mut found)?;
            Ok(found.0)
        });
        found.map_err(PodEndError::Enter)?
    }

    async fn find(&self, there: &Netlink) -> Result<Link, PodEndError> {
        there.link(&self.name).await?.ok_or_else(|| PodEndError::Missing(self.name.clone()))
    }

    fn has_v6(&self) -> bool {
        self.addresses.iter().any(IpAddr::is_ipv6)
    }

    /// The keys of `/proc/sys/net`, and their values. Of IPv4's redirects the kernel asks `all`,
    /// too: one that says yes is enough.
    fn keys(&self) -> [(&'static str, &str, &'static str, &'static str); 9] {
        let own = self.name.as_str();
        let off = if self.has_v6() { "0" } else { "1" };
        [
            ("ipv4", "all", "accept_redirects", "0"),
            ("ipv4", own, "accept_redirects", "0"),
            ("ipv4", "all", "send_redirects", "0"),
            ("ipv4", own, "send_redirects", "0"),
            ("ipv6", own, "disable_ipv6", off),
            ("ipv6", own, "accept_ra", "0"),
            ("ipv6", own, "accept_redirects", "0"),
            // Nobody answers for the address, so there is nothing to wait for.
            ("ipv6", own, "accept_dad", "0"),
            // The link-local address follows from the MAC.
            ("ipv6", own, "addr_gen_mode", "0"),
        ]
    }

    fn write_keys(&self) -> Result<(), PodEndError> {
        self.keys().into_iter().try_for_each(|(family, interface, key, value)| {
            let path = key_path(family, interface, key);
            self.unless_no_v6(family, &path, std::fs::write(&path, value)).map(drop)
        })
    }

    fn compare_keys(&self, found: &mut Differences) -> Result<(), PodEndError> {
        for (family, interface, key, value) in self.keys() {
            let path = key_path(family, interface, key);
            let read = self.unless_no_v6(family, &path, std::fs::read_to_string(&path))?;
            if let Some(text) = read {
                found.compare(
                    &path.display().to_string(),
                    text.trim().to_owned(),
                    value.to_owned(),
                );
            }
        }
        Ok(())
    }

    /// A kernel without IPv6 has no keys for it, which a pod without IPv6 does not miss.
    fn unless_no_v6<T>(
        &self,
        family: &str,
        path: &Path,
        done: io::Result<T>,
    ) -> Result<Option<T>, PodEndError> {
        match done {
            Err(error)
                if family == "ipv6" && !self.has_v6() && error.kind() == ErrorKind::NotFound =>
            {
                Ok(None)
            }
            done => done
                .map(Some)
                .map_err(|source| PodEndError::Sysctl { path: path.to_owned(), source }),
        }
    }
}

#[derive(Default)]
struct Differences(Vec<Difference>);

impl Differences {
    fn compare<T: PartialEq + ToString>(&mut self, what: &str, found: T, wanted: T) {
        if found != wanted {
            let shown = |value: T| match value.to_string() {
                text if text.is_empty() => "nothing".to_owned(),
                text => text,
            };
            let (found, wanted) = (shown(found), shown(wanted));
            self.0.push(Difference { what: what.to_owned(), found, wanted });
        }
    }
}

impl Netlink {
    /// Gives a link an address that is alone on it, and asked of nobody.
    async fn add_pod_address(&self, link: &Link, address: IpAddr) -> Result<(), NetlinkError> {
        let bits = if address.is_ipv6() { 128 } else { 32 };
        let mut request = self.handle.address().add(link.index, address, bits);
        if address.is_ipv6() {
            // A route for the one address over the link would be its own neighbour.
            let flags = AddressFlags::Nodad | AddressFlags::Noprefixroute;
            request.message_mut().attributes.push(AddressAttribute::Flags(flags));
        }
        request.execute().await.map_err(refused("give an address to", &link.name))
    }

    /// Routes everything of a family to the gateway.
    async fn add_default_route(&self, link: &Link, v6: bool) -> Result<(), NetlinkError> {
        let message = if v6 {
            let route = RouteMessageBuilder::<Ipv6Addr>::new();
            route.gateway(GATEWAY_V6).output_interface(link.index).build()
        } else {
            let route = RouteMessageBuilder::<Ipv4Addr>::new();
            route.gateway(GATEWAY_V4).output_interface(link.index).onlink().build()
        };
        let request = self.handle.route().add(message).execute();
        request.await.map_err(refused("route everything over", &link.name))
    }

    /// The addresses of a link with their prefixes, sorted, without link-local ones of IPv6.
    async fn addresses(&self, link: &Link) -> Result<Vec<String>, NetlinkError> {
        let request = self.handle.address().get().set_link_index_filter(link.index).execute();
        let messages: Vec<AddressMessage> =
            request.try_collect().await.map_err(refused("list addresses of", &link.name))?;
        let mut addresses: Vec<String> = messages.iter().filter_map(address_text).collect();
        addresses.sort();
        Ok(addresses)
    }

    /// All routes of a family beside a link.
    async fn ways(&self, link: &Link, v6: bool) -> Result<Vec<Way>, NetlinkError> {
        let request = self.handle.route().get(of_family(v6)).execute();
        let messages: Vec<RouteMessage> =
            request.try_collect().await.map_err(refused("list routes beside", &link.name))?;
        Ok(messages.iter().filter_map(|message| Way::read(message, v6)).collect())
    }

    /// What the neighbours of a link say that the gateway's MAC is: nothing where nobody has asked.
    async fn gateway_macs(&self, link: &Link, v6: bool) -> Result<Vec<Mac>, NetlinkError> {
        let family = if v6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
        let request = self.handle.neighbours().get().set_address_family(family).execute();
        let messages: Vec<NeighbourMessage> =
            request.try_collect().await.map_err(refused("list neighbours over", &link.name))?;
        let here = messages.iter().filter(|one| one.header.ifindex == link.index);
        Ok(here.filter_map(gateway_mac).collect())
    }
}

fn key_path(family: &str, interface: &str, key: &str) -> PathBuf {
    PathBuf::from(format!("/proc/sys/net/{family}/conf/{interface}/{key}"))
}

/// How a link's state is told.
#[must_use]
pub fn state(is_up: bool) -> &'static str {
    if is_up { "up" } else { "down" }
}

fn host_route(address: IpAddr) -> String {
    format!("{address}/{}", if address.is_ipv6() { 128 } else { 32 })
}

pub(super) fn gateway(v6: bool) -> IpAddr {
    if v6 { GATEWAY_V6.into() } else { GATEWAY_V4.into() }
}

/// An address with its prefix; `None` for what an IPv6 stack gives itself.
fn address_text(message: &AddressMessage) -> Option<String> {
    let of = |local: bool| {
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Local(address) if local => Some(*address),
            AddressAttribute::Address(address) if !local => Some(*address),
            _ => None,
        })
    };
    let address = of(true).or_else(|| of(false))?;
    let is_own = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    (!is_own).then(|| format!("{address}/{}", message.header.prefix_len))
}

/// The MAC of a neighbour that is the gateway, where it has one.
fn gateway_mac(neighbour: &NeighbourMessage) -> Option<Mac> {
    let is_gateway = neighbour.attributes.iter().any(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => *v4 == GATEWAY_V4,
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => *v6 == GATEWAY_V6,
        _ => false,
    });
    neighbour.attributes.iter().filter(|_| is_gateway).find_map(|attribute| match attribute {
        NeighbourAttribute::LinkLayerAddress(bytes) => {
            Some(Mac(bytes.as_slice().try_into().ok()?))
        }
        _ => None,
    })
}
