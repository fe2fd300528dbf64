//! Routes, and the addresses of the whole namespace: read, set and removed.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::TryStreamExt;
use ipnet::IpNet;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use rtnetlink::RouteMessageBuilder;

use super::netlink::{Netlink, NetlinkError, code, refused};

/// No such route, and no such device any more.
const GONE: [Option<i32>; 2] = [Some(-3), Some(-19)];

/// The number of the main table.
pub const MAIN_TABLE: u32 = 254;

/// A unicast route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where to.
    pub destination: IpNet,
    /// The gateway, on the link of the interface; `None` where the destination is there itself.
    pub gateway: Option<IpAddr>,
    /// The number of the interface that it leads to; 0 for one that leads to several.
    pub interface: u32,
    /// The address that packets of the node's own bear, where they have none yet.
    pub source: Option<IpAddr>,
    /// Who made it, as numbered in `rt_protos`.
    pub protocol: u8,
    /// The table that it is in.
    pub table: u32,
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.destination)?;
        if let Some(gateway) = self.gateway {
            write!(f, " via {gateway}")?;
        }
        write!(f, " on interface number {} by protocol {}", self.interface, self.protocol)
    }
}

impl Netlink {
    /// The unicast routes of a family, of every table.
    ///
    /// # Errors
    /// [`NetlinkError`] where the kernel does not answer.
    pub async fn routes(&self, v6: bool) -> Result<Vec<Route>, NetlinkError> {
        let request = self.handle.route().get(of_family(v6)).execute();
        let messages: Vec<RouteMessage> =
            request.try_collect().await.map_err(refused("list routes of", "the node"))?;
        let unicast = messages.iter().filter(|message| message.header.kind == RouteType::Unicast);
        Ok(unicast.filter_map(|message| read_route(message, v6)).collect())
    }

    /// Makes a route, or changes the one of its destination.
    ///
    /// # Errors
    /// [`NetlinkError`] where the kernel refuses.
    pub async fn set_route(&self, route: &Route) -> Result<(), NetlinkError> {
        let request = self.handle.route().add(message(route)).replace().execute();
        request.await.map_err(refused("make the route to", &route.destination.to_string()))
    }

    /// Removes a route; one that is gone already is no error.
    ///
    /// # Errors
    /// [`NetlinkError`] where the kernel refuses.
    pub async fn remove_route(&self, route: &Route) -> Result<(), NetlinkError> {
        match self.handle.route().del(message(route)).execute().await {
            Err(error) if GONE.contains(&code(&error)) => Ok(()),
            done => done.map_err(refused("remove the route to", &route.destination.to_string())),
        }
    }

    /// Every address of the namespace.
    ///
    /// # Errors
    /// [`NetlinkError`] where the kernel does not answer.
    pub async fn all_addresses(&self) -> Result<Vec<IpAddr>, NetlinkError> {
        let request = self.handle.address().get().execute();
        let messages: Vec<AddressMessage> =
            request.try_collect().await.map_err(refused("list addresses of", "the node"))?;
        Ok(messages.iter().filter_map(own_address).collect())
    }
}

/// Asks for the routes of a family.
pub(super) fn of_family(v6: bool) -> RouteMessage {
    if v6 {
        RouteMessageBuilder::<Ipv6Addr>::new().build()
    } else {
        RouteMessageBuilder::<Ipv4Addr>::new().build()
    }
}

/// The address of this end: of a link to one other machine the message tells both.
fn own_address(message: &AddressMessage) -> Option<IpAddr> {
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    local.or_else(|| {
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    })
}

/// A route as the kernel takes it.
fn message(route: &Route) -> RouteMessage {
    let protocol = RouteProtocol::from(route.protocol);
    let scope = if route.gateway.is_some() { RouteScope::Universe } else { RouteScope::Link };
    match route.destination {
        IpNet::V4(net) => {
            let mut builder = RouteMessageBuilder::<Ipv4Addr>::new()
                .destination_prefix(net.network(), net.prefix_len())
                .output_interface(route.interface)
                .protocol(protocol)
                .table_id(route.table)
                .scope(scope);
            if let Some(IpAddr::V4(gateway)) = route.gateway {
                builder = builder.gateway(gateway).onlink();
            }
            if let Some(IpAddr::V4(source)) = route.source {
                builder = builder.pref_source(source);
            }
            builder.build()
        }
        IpNet::V6(net) => {
            let mut builder = RouteMessageBuilder::<Ipv6Addr>::new()
                .destination_prefix(net.network(), net.prefix_len())
                .output_interface(route.interface)
                .protocol(protocol)
                .table_id(route.table);
            if let Some(IpAddr::V6(gateway)) = route.gateway {
                builder = builder.gateway(gateway).onlink();
            }
            if let Some(IpAddr::V6(source)) = route.source {
                builder = builder.pref_source(source);
            }
            builder.build()
        }
    }
}

fn read_route(message: &RouteMessage, v6: bool) -> Option<Route> {
    let any = if v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    let (mut address, mut gateway, mut source, mut interface): (IpAddr, _, _, _) =
        (any, None, None, 0);
    // One byte holds no larger number: then an attribute says it.
    let mut table = u32::from(message.header.table);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(told) => address = address_of(told)?,
            RouteAttribute::Gateway(told) => gateway = address_of(told),
            RouteAttribute::PrefSource(told) => source = address_of(told),
            RouteAttribute::Oif(number) => interface = *number,
            RouteAttribute::Table(number) => table = *number,
            _ => {}
        }
    }
    let destination = IpNet::new(address, message.header.destination_prefix_length).ok()?;
    let protocol = message.header.protocol.into();
    Some(Route { destination, gateway, interface, source, protocol, table })
}

fn address_of(told: &RouteAddress) -> Option<IpAddr> {
    match told {
        RouteAddress::Inet(v4) => Some((*v4).into()),
        RouteAddress::Inet6(v6) => Some((*v6).into()),
        _ => None,
    }
}
