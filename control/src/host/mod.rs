//! The node's own stack, joined to the switch: routes to its pods, the keys of `/proc/sys/net`
//! that they need, and a table of `nf_tables` that says whose address packets bear.
//!
//! ```text
//!   outside --- uplink                 peer ~~~~ host port of the switch ~~~~ pods
//!                  |    the node's       |
//!                  '--- stack: routes ---'
//!                       rules, table inet lockgate
//! ```
//!
//! What shall be is a pure plan ([`HostPlan`]); [`apply`] makes the node so, and changes nothing
//! where it is so already. It is to be called when the plan changes, and now and then to mend what
//! somebody removed. Nobody else's routes, tables or rules are ever changed: ours are known by the
//! protocol number of the routes ([`PROTOCOL`]) and by the name of the table ([`TABLE`]). The
//! switch itself answers for the gateway's MAC on the host port, so there are no neighbour entries
//! to make.

mod balanced;
mod error;
mod flows;
mod forward;
mod netfilter;
mod plan;
mod routes;
mod sysctl;
mod table;
#[cfg(test)]
mod tests;

use std::io;
use std::net::IpAddr;

use crate::attach::{MAIN_TABLE, Netlink, Route, Rule};

pub use error::HostError;
pub use forward::ForwardDrop;
pub use plan::{HostPlan, NodeNets, PROTOCOL, PlanError};
pub use routes::TakenRoute;
pub use sysctl::{Key, SysctlError};
pub use table::NAME as TABLE;

use netfilter::{Family, Socket, Table};
use sysctl::Keys;

/// What [`apply`] or [`remove`] found to be otherwise, and changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// Routes that were made, or changed.
    pub routes_set: Vec<Route>,
    /// Routes of ours that were removed.
    pub routes_removed: Vec<Route>,
    /// How many rules of ours were made or removed.
    pub rules: usize,
    /// Keys of `/proc/sys/net` that were written.
    pub keys: Vec<Key>,
    /// Whether the table was replaced or removed.
    pub table: bool,
    /// How many flows were forgotten of UDP that the table would lead elsewhere.
    pub flows_forgotten: usize,
    /// Not changed, but to be told: chains of others that may drop what pods send or get.
    pub forward_drops: Vec<ForwardDrop>,
    /// Not changed, but to be told: what somebody else leads elsewhere.
    pub routes_taken: Vec<TakenRoute>,
    /// Not changed, but to be told: nodes on no link of this one, to whose pods there is no route.
    pub nodes_off_link: Vec<IpAddr>,
}

impl Changed {
    /// Whether anything was.
    #[must_use]
    pub fn is_any(&self) -> bool {
        let Self { routes_set, routes_removed, rules, keys, table, .. } = self;
        let is_same = routes_set.is_empty() && routes_removed.is_empty() && keys.is_empty();
        *table || *rules > 0 || !is_same
    }
}

/// Makes the node's stack as the plan says, in the calling thread's network namespace, which must
/// be that of `netlink` too.
///
/// The table comes first and the routes last, so that no packet leaves by a new way with an address
/// that it should not bear. What fails leaves what was done before it; the next call goes on.
///
/// # Errors
/// [`HostError`], with what to do about it.
pub async fn apply(plan: &HostPlan, netlink: &Netlink) -> Result<Changed, HostError> {
    plan.check()?;
    let peer = netlink.link(&plan.peer).await?;
    let peer = peer.ok_or_else(|| HostError::PeerMissing(plan.peer.clone()))?;
    let here = netlink.all_addresses().await?;
    Family::BOTH.into_iter().try_for_each(|family| has_source(plan, family, &here))?;
    let wanted = table::wanted(plan, &here);
    let (kept, own) = (plan.clone(), here.clone());
    let mut changed = on_thread(move || {
        let mut changed = with_tables(|socket| {
            let table = put_table(socket, wanted.as_ref())?;
            // A kernel that tells no flows keeps them until their clients are quiet for a while.
            let forget = || flows::forget(socket, &kept, &own).unwrap_or(0);
            let flows_forgotten = if table { forget() } else { 0 };
            let forward_drops = forward::drops(socket)?;
            Ok(Changed { table, flows_forgotten, forward_drops, ..Changed::default() })
        })?;
        changed.keys = Keys::of_this_namespace().apply(&kept)?;
        Ok(changed)
    })
    .await?;
    let found = found_routes(netlink).await?;
    let main: Vec<Route> =
        found.iter().filter(|route| route.table == MAIN_TABLE).cloned().collect();
    let (to_nodes, far) = plan.routes_to_nodes(&main);
    let balanced = balanced::routes(plan, peer.index, &here);
    let wanted = [plan.routes(peer.index, &here), to_nodes, balanced].concat();
    changed.nodes_off_link = far;
    take(netlink, &mut changed, routes::steps(&wanted, &found), &balanced::rules(plan)).await?;
    Ok(changed)
}

/// Takes the steps. New ways are there before old ones go, and a way before the rules that lead to
/// it. A route that the kernel refuses holds up none but itself.
async fn take(
    netlink: &Netlink,
    changed: &mut Changed,
    steps: routes::Steps,
    rules: &[Rule],
) -> Result<(), HostError> {
    let mut refused = None;
    for route in steps.set {
        match netlink.set_route(&route).await {
            Ok(()) => changed.routes_set.push(route),
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    changed.rules = netlink.keep_rules(PROTOCOL, rules).await?;
    for route in &steps.remove {
        netlink.remove_route(route).await?;
    }
    (changed.routes_removed, changed.routes_taken) = (steps.remove, steps.taken);
    refused.map_or(Ok(()), |error| Err(error.into()))
}

/// Removes the table, the rules and the routes. The keys stay as they are: others may have come to
/// need them.
///
/// # Errors
/// [`HostError`] where the kernel refuses.
pub async fn remove(netlink: &Netlink) -> Result<Changed, HostError> {
    let mut changed = Changed::default();
    let steps = routes::steps(&[], &found_routes(netlink).await?);
    take(netlink, &mut changed, steps, &[]).await?;
    changed.table = on_thread(|| with_tables(|socket| put_table(socket, None))).await?;
    Ok(changed)
}

/// The table as the kernel has it, its attributes in hexadecimal: `nft list table inet lockgate` is
/// easier to read, where there is nft.
///
/// # Errors
/// The kernel does not tell, or there is none.
pub fn described() -> io::Result<String> {
    netfilter::described(&Socket::open()?, TABLE)
}

/// A node that has addresses of a family must have one of them on an interface.
fn has_source(plan: &HostPlan, family: Family, here: &[IpAddr]) -> Result<(), HostError> {
    let own = plan.node_addresses.iter().copied().filter(|address| Family::of(*address) == family);
    let addresses: Vec<IpAddr> = own.collect();
    if !plan.has(family) || addresses.is_empty() || plan.source(family, here).is_some() {
        return Ok(());
    }
    Err(HostError::NoAddress(addresses))
}

/// The routes of the main table, and ours wherever they are.
async fn found_routes(netlink: &Netlink) -> Result<Vec<Route>, HostError> {
    let mut routes = netlink.routes(false).await?;
    routes.extend(netlink.routes(true).await?);
    routes.retain(|route| route.table == MAIN_TABLE || route.protocol == PROTOCOL);
    Ok(routes)
}

/// Replaces the table where it is not as wanted; says whether it was.
fn put_table(socket: &Socket, wanted: Option<&Table>) -> io::Result<bool> {
    match wanted {
        Some(table) if table.is_there(socket)? => Ok(false),
        Some(table) => table.put(socket).map(|()| true),
        None => netfilter::remove(socket, TABLE),
    }
}

fn with_tables<T>(work: impl FnOnce(&Socket) -> io::Result<T>) -> Result<T, HostError> {
    Socket::open().and_then(|socket| work(&socket)).map_err(HostError::Table)
}

/// Runs what blocks on a thread of its own, which is in the caller's namespace and ends with the
/// work: a pool's would keep whatever capabilities it was begun with.
async fn on_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, HostError> + Send + 'static,
) -> Result<T, HostError> {
    let (done, outcome) = tokio::sync::oneshot::channel();
    let begun = std::thread::Builder::new().name("host".to_owned()).spawn(move || {
        // Nobody waits any more where the agent is ending.
        let _ = done.send(work());
    });
    begun.map_err(HostError::Thread)?;
    outcome.await.unwrap_or_else(|_| Err(HostError::Thread(io::Error::other("it died"))))
}
