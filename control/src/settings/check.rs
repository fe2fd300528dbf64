//! What each setting may be, one function for a section or a kind of value.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use lockgate_dataplane::connection::Bounds;
use lockgate_dataplane::endpoint::OwnNode;
use lockgate_dataplane::limits::{MTU_MAX, WORKERS_MAX};
use lockgate_dataplane::worker::Denial;

use super::{
    CAPACITY, LISTEN, LogFormat, Machine, Raw, RawConnections, RawHostPort, RawTimeouts,
    SettingsError, Timeouts,
};
use crate::attach::{HostPortPlan, InterfaceName};
use crate::selector::is_dns_subdomain;

/// The longest path of a Unix socket (`sun_path` less its final zero), in bytes.
const SOCKET_PATH_BYTES_MAX: usize = 107;
/// The smallest MTU that IPv6 allows (RFC 8200), in bytes.
const MTU_MIN: i64 = 1280;
/// The longest timeout: a week, in seconds.
const TIMEOUT_SECONDS_MAX: i64 = 7 * 24 * 3600;
/// Addresses of one node.
const NODE_ADDRESSES_MAX: usize = 64;
const LISTEN_RULE: &str = "it must be ADDRESS:PORT; write 127.0.0.1:9790 or [::1]:9790";
const ADDRESS_RULE: &str = "it is not an IP address; write one as 192.0.2.1 or fd00::1";

/// A bound of the dataplane beside numbers as they are written.
pub(super) fn bound(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// A number within bounds, or its default.
pub(super) fn number<T: TryFrom<i64>>(
    option: &'static str,
    value: Option<i64>,
    default: T,
    low: i64,
    high: i64,
) -> Result<T, SettingsError> {
    let Some(value) = value else { return Ok(default) };
    let out = SettingsError::Bounds { option, value, low, high };
    if !(low..=high).contains(&value) {
        return Err(out);
    }
    T::try_from(value).map_err(|_| out)
}

/// One of some words, or the first of them.
pub(super) fn word<T: Copy>(
    option: &'static str,
    value: Option<String>,
    words: &[(&str, T); 2],
    allowed: &'static str,
) -> Result<T, SettingsError> {
    let [(_, default), _] = *words;
    let Some(value) = value else { return Ok(default) };
    let found = words.iter().find(|(word, _)| *word == value);
    found.map(|(_, meaning)| *meaning).ok_or(SettingsError::Word { option, value, allowed })
}

pub(super) fn denied(raw: Option<String>) -> Result<Denial, SettingsError> {
    let words = [("drop", Denial::Drop), ("reject", Denial::Reject)];
    word("denied", raw, &words, "drop, reject")
}

pub(super) fn own_node(raw: Option<String>) -> Result<OwnNode, SettingsError> {
    word("own_node", raw, &OWN_NODE, "exempt, judged")
}

/// The name of a node is that of an object.
pub(super) fn node(raw: Option<String>) -> Result<Option<String>, SettingsError> {
    match raw {
        Some(name) if !is_dns_subdomain(&name) => {
            let rule = "it is not the name of a node; write it as `kubectl get nodes` does";
            Err(text("node", &name, &rule))
        }
        other => Ok(other),
    }
}

const OWN_NODE: [(&str, OwnNode); 2] = [("exempt", OwnNode::Exempt), ("judged", OwnNode::Judged)];

/// Reads the setting `own_node` where it is a flag of another command.
///
/// # Errors
/// It is none of its words.
pub fn parse_own_node(word: &str) -> Result<OwnNode, SettingsError> {
    own_node(Some(word.to_owned()))
}

pub(super) fn text(option: &'static str, value: &str, reason: &impl ToString) -> SettingsError {
    SettingsError::Text { option, value: value.to_owned(), reason: reason.to_string() }
}

/// The core of each worker: those named, or the last ones there are, since the first serve
/// interrupts and everybody else.
pub(super) fn cores(raw: &Raw, machine: &Machine) -> Result<Vec<usize>, SettingsError> {
    let most = bound(WORKERS_MAX);
    let Some(named) = &raw.cores else {
        let workers: usize = number("workers", raw.workers, 1, 1, most)?;
        let first = machine.cores.len().checked_sub(workers).ok_or_else(|| {
            let reason = format!("this process may use cores {:?}; lower workers", machine.cores);
            SettingsError::Workers { workers, reason }
        })?;
        return Ok(machine.cores.get(first..).unwrap_or_default().to_vec());
    };
    let count = i64::try_from(named.len()).unwrap_or(i64::MAX);
    let workers: usize = number("workers", Some(raw.workers.unwrap_or(count)), 1, 1, most)?;
    let contradiction =
        |reason: &str| SettingsError::Workers { workers, reason: reason.to_owned() };
    if named.len() != workers {
        return Err(contradiction("cores must name one core for each; leave one of the two out"));
    }
    let mut cores = Vec::new();
    for &core in named {
        let there = usize::try_from(core).ok().filter(|core| machine.cores.contains(core));
        let there =
            there.ok_or_else(|| SettingsError::Core { core, there: machine.cores.clone() })?;
        if cores.contains(&there) {
            return Err(contradiction("cores names one core twice"));
        }
        cores.push(there);
    }
    Ok(cores)
}

pub(super) fn host_port(raw: RawHostPort) -> Result<Option<HostPortPlan>, SettingsError> {
    let mtu = number("host_port.mtu", raw.mtu, 1500, MTU_MIN, bound(MTU_MAX))?;
    let Some(interface) = raw.interface else {
        let other = raw.peer.map(|v| ("host_port.peer", v));
        let other = other.or(raw.netns.map(|v| ("host_port.netns", v)));
        return match other {
            Some((option, value)) => {
                Err(text(option, &value, &"it needs host_port.interface, which is not set"))
            }
            None => Ok(None),
        };
    };
    let name = |option, value: &str| {
        InterfaceName::new(value).map_err(|error| text(option, value, &error))
    };
    let peer = match &raw.peer {
        Some(peer) => name("host_port.peer", peer)?,
        None => return Err(SettingsError::Unset("host_port.peer")),
    };
    let interface = name("host_port.interface", &interface)?;
    if interface == peer {
        return Err(text("host_port.peer", peer.as_str(), &"it is host_port.interface too"));
    }
    if let Some(netns) = &raw.netns
        && (netns.is_empty() || netns.starts_with('.') || netns.contains('/'))
    {
        return Err(text("host_port.netns", netns, &"it must be a name that `ip netns` lists"));
    }
    Ok(Some(HostPortPlan { interface, peer, netns: raw.netns, mtu }))
}

/// How many connections a worker has, and how many of them one pod.
pub(super) fn connections(raw: &RawConnections) -> Result<(u32, u32), SettingsError> {
    let capacity = number("connections.capacity", raw.capacity, CAPACITY, 1024, 1 << 24)?;
    let quarter = Bounds::of(capacity).per_pod;
    let per_pod = number("connections.per_pod", raw.per_pod, quarter, 16, i64::from(capacity))?;
    Ok((capacity, per_pod))
}

pub(super) fn timeouts(raw: &RawTimeouts) -> Result<Timeouts, SettingsError> {
    let seconds = |option, value, default| number(option, value, default, 1, TIMEOUT_SECONDS_MAX);
    Ok(Timeouts {
        tcp_syn: seconds("connections.timeouts.tcp_syn", raw.tcp_syn, 30)?,
        tcp_established: seconds(
            "connections.timeouts.tcp_established",
            raw.tcp_established,
            24 * 3600,
        )?,
        tcp_fin: seconds("connections.timeouts.tcp_fin", raw.tcp_fin, 30)?,
        tcp_time_wait: seconds("connections.timeouts.tcp_time_wait", raw.tcp_time_wait, 45)?,
        tcp_close: seconds("connections.timeouts.tcp_close", raw.tcp_close, 10)?,
        udp_unreplied: seconds("connections.timeouts.udp_unreplied", raw.udp_unreplied, 30)?,
        udp_stream: seconds("connections.timeouts.udp_stream", raw.udp_stream, 120)?,
        icmp: seconds("connections.timeouts.icmp", raw.icmp, 30)?,
        sctp_opening: seconds("connections.timeouts.sctp_opening", raw.sctp_opening, 30)?,
        sctp_established: seconds(
            "connections.timeouts.sctp_established",
            raw.sctp_established,
            600,
        )?,
        sctp_closed: seconds("connections.timeouts.sctp_closed", raw.sctp_closed, 10)?,
        other: seconds("connections.timeouts.other", raw.other, 600)?,
        fragments: seconds("connections.timeouts.fragments", raw.fragments, 15)?,
    })
}

pub(super) fn node_addresses(raw: Vec<String>) -> Result<Vec<IpAddr>, SettingsError> {
    let count = i64::try_from(raw.len()).unwrap_or(i64::MAX);
    let _: usize = number("node_addresses", Some(count), 0, 0, bound(NODE_ADDRESSES_MAX))?;
    let address =
        |value: String| value.parse().map_err(|_| text("node_addresses", &value, &ADDRESS_RULE));
    raw.into_iter().map(address).collect()
}

pub(super) fn listen(raw: Option<String>) -> Result<SocketAddr, SettingsError> {
    let value = raw.unwrap_or_else(|| LISTEN.to_owned());
    value.parse().map_err(|_| text("listen", &value, &LISTEN_RULE))
}

pub(super) fn absolute(
    option: &'static str,
    value: Option<PathBuf>,
    default: &str,
) -> Result<PathBuf, SettingsError> {
    let path = value.unwrap_or_else(|| PathBuf::from(default));
    if path.is_absolute() {
        return Ok(path);
    }
    Err(text(option, &path.to_string_lossy(), &"it must be an absolute path"))
}

pub(super) fn socket_path(
    option: &'static str,
    value: Option<PathBuf>,
    default: &str,
) -> Result<PathBuf, SettingsError> {
    let path = absolute(option, value, default)?;
    if path.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
        let reason =
            format!("it is longer than the {SOCKET_PATH_BYTES_MAX} bytes of a socket's path");
        return Err(text(option, &path.to_string_lossy(), &reason));
    }
    Ok(path)
}

pub(super) fn log_level(raw: Option<String>) -> Result<tracing::Level, SettingsError> {
    let value = raw.unwrap_or_else(|| "info".to_owned());
    let allowed = "error, warn, info, debug, trace";
    let wrong = || SettingsError::Word { option: "log.level", value: value.clone(), allowed };
    if !allowed.split(", ").any(|word| word == value) {
        return Err(wrong());
    }
    value.parse().map_err(|_| wrong())
}

pub(super) fn log_format(raw: Option<String>) -> Result<LogFormat, SettingsError> {
    let words = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    word("log.format", raw, &words, "text, json")
}
