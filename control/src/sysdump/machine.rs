//! What the machine says: kernel, memory, links, rules and routes of every table, our table of
//! `nf_tables`, keys of `/proc/sys`, the agent's process, its programs, and the end of its log where
//! a kubelet keeps it.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use super::PART_BYTES_MAX;
use super::archive::{Archive, at, read};
use super::places::Places;
use crate::attach::{routes_told, rules_told};

/// Files of `/proc` that are the same for everybody.
const OF_MACHINE: [&str; 14] = [
    "proc/version",
    "proc/cpuinfo",
    "proc/meminfo",
    "proc/loadavg",
    "proc/uptime",
    "proc/mounts",
    "proc/net/dev",
    "proc/net/route",
    "proc/net/ipv6_route",
    "proc/net/fib_trie",
    "proc/net/if_inet6",
    "proc/net/arp",
    "proc/net/softnet_stat",
    "proc/net/xfrm_stat",
];

/// Files of the agent's process. Never `environ`.
const OF_PROCESS: [&str; 5] = ["status", "limits", "sched", "smaps_rollup", "mountinfo"];

/// Keys of `/proc/sys/net` that are not of an interface.
const KEYS: [&str; 6] = [
    "ipv4/ip_forward",
    "ipv6/conf/all/forwarding",
    "core/bpf_jit_enable",
    "core/rmem_max",
    "core/wmem_max",
    "netfilter/nf_conntrack_max",
];

/// Keys of each interface.
const OF_INTERFACE: [&str; 7] = [
    "ipv4/conf/*/forwarding",
    "ipv4/conf/*/rp_filter",
    "ipv4/conf/*/accept_local",
    "ipv4/conf/*/send_redirects",
    "ipv6/conf/*/forwarding",
    "ipv6/conf/*/accept_ra",
    "ipv6/conf/*/disable_ipv6",
];

/// Interfaces that are looked at.
const INTERFACES_MAX: usize = 1000;
/// Entries of a tree.
const ENTRIES_MAX: usize = 10_000;
/// Descriptors of a process.
const FILES_MAX: usize = 65_536;
/// What the chart calls the agent's container.
const CONTAINER: &str = "agent";
/// Bytes of the log's end.
const LOG_BYTES: u64 = 512 * 1024;

/// Puts all of it.
pub(super) fn put(archive: &mut Archive<impl Write>, places: &Places) -> io::Result<()> {
    for path in OF_MACHINE {
        archive
            .put_file(&format!("machine/{}", path.replace('/', "_")), &places.of_machine(path))?;
    }
    archive.put("machine/links.txt", || links(places))?;
    for (family, v6) in [("ipv4", false), ("ipv6", true)] {
        let told = |told: fn(bool, usize) -> io::Result<String>| {
            // A byte too many says that it is cut.
            move || told(v6, PART_BYTES_MAX).map(String::into_bytes)
        };
        archive.put(&format!("machine/rules_{family}.txt"), told(rules_told))?;
        archive.put(&format!("machine/routes_{family}.txt"), told(routes_told))?;
    }
    archive.put("machine/sysctls.txt", || Ok(sysctls(places)))?;
    archive.put("machine/nf_tables.txt", || crate::host::described().map(String::into_bytes))?;
    match process(places) {
        Ok(process) => {
            for name in OF_PROCESS {
                archive.put_file(&format!("process/{name}"), &process.join(name))?;
            }
            archive.put("process/threads.txt", || threads(&process))?;
            archive.put("process/programs.txt", || programs(&process))?;
        }
        Err(error) => archive.put("process", || Err(error))?,
    }
    archive.put("log.txt", || log(places))
}

/// The names in a directory, and nothing of what is in them: they are somebody else's.
pub(super) fn names(directory: &Path) -> io::Result<Vec<u8>> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .map_err(|error| at(directory, &error))?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    Ok((names.join("\n") + "\n").into_bytes())
}

/// Everything below a directory, by name.
pub(super) fn tree(directory: &Path) -> io::Result<Vec<u8>> {
    let (mut text, mut left) = (String::new(), vec![directory.to_owned()]);
    let mut entries = 0;
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(&next).map_err(|error| at(&next, &error))?.flatten() {
            entries += 1;
            if entries > ENTRIES_MAX {
                text += "there are more\n";
                return Ok(text.into_bytes());
            }
            let path = entry.path();
            let _fits = writeln!(text, "{}", path.display());
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                left.push(path);
            }
        }
    }
    Ok(text.into_bytes())
}

/// Every interface with what `/sys` says of it.
fn links(places: &Places) -> io::Result<Vec<u8>> {
    let directory = places.of_machine("sys/class/net");
    let mut text = String::new();
    for name in interfaces(&directory)? {
        let _fits = write!(text, "{name}:");
        for what in ["ifindex", "iflink", "address", "mtu", "operstate", "flags", "ifalias"] {
            let value = fs::read_to_string(directory.join(&name).join(what)).unwrap_or_default();
            let _fits = write!(text, " {what}={}", value.trim());
        }
        text.push('\n');
    }
    Ok(text.into_bytes())
}

fn interfaces(directory: &Path) -> io::Result<Vec<String>> {
    let entries = fs::read_dir(directory).map_err(|error| at(directory, &error))?;
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.take(INTERFACES_MAX).collect();
    names.sort();
    Ok(names)
}

fn sysctls(places: &Places) -> Vec<u8> {
    let root = places.of_machine("proc/sys/net");
    let mut text = String::new();
    let mut tell = |key: &str| {
        let value = fs::read_to_string(root.join(key));
        let value = value.map_or_else(|error| error.to_string(), |text| text.trim().to_owned());
        let _fits = writeln!(text, "net/{key} = {value}");
    };
    for key in KEYS {
        tell(key);
    }
    for name in interfaces(&places.of_machine("sys/class/net")).unwrap_or_default() {
        for key in OF_INTERFACE {
            tell(&key.replace('*', &name));
        }
    }
    text.into_bytes()
}

/// The directory of the agent's process: whoever listens on its socket, else by its lock file. What
/// that says was written in a pod by a process that counts otherwise, and is looked at again.
fn process(places: &Places) -> io::Result<PathBuf> {
    let directory = |id: i32| places.of_machine(&format!("proc/{id}"));
    let listening = UnixStream::connect(&places.socket)
        .and_then(|stream| Ok(getsockopt(&stream, PeerCredentials)?.pid()));
    if let Some(found) = listening.ok().map(directory).filter(|path| path.is_dir()) {
        return Ok(found);
    }
    let text = fs::read_to_string(&places.lock).map_err(|error| at(&places.lock, &error))?;
    let id: i32 = text.trim().parse().map_err(io::Error::other)?;
    let status = fs::read_to_string(directory(id).join("status")).unwrap_or_default();
    if status.starts_with("Name:\tlockgate\n") {
        return Ok(directory(id));
    }
    Err(io::Error::other(format!(
        "process {id}, which the lock file names, is no agent here: none runs, or it is one of a pod"
    )))
}

fn threads(process: &Path) -> io::Result<Vec<u8>> {
    let mut text = String::new();
    for thread in interfaces(&process.join("task"))? {
        for what in ["stat", "status"] {
            let path = process.join("task").join(&thread).join(what);
            text += &fs::read_to_string(path).unwrap_or_default();
        }
    }
    Ok(text.into_bytes())
}

/// The numbers of the programs, maps and links that the process holds.
fn programs(process: &Path) -> io::Result<Vec<u8>> {
    let directory = process.join("fdinfo");
    let mut text = String::new();
    let entries = fs::read_dir(&directory).map_err(|error| at(&directory, &error))?;
    for entry in entries.flatten().take(FILES_MAX) {
        let Ok(info) = fs::read_to_string(entry.path()) else { continue };
        let is_told =
            |line: &&str| ["prog_", "map_", "link_"].iter().any(|word| line.starts_with(word));
        let told: Vec<&str> = info.lines().filter(is_told).collect();
        if !told.is_empty() {
            let number = entry.file_name();
            let _fits = writeln!(text, "{}: {}", number.to_string_lossy(), told.join(" "));
        }
    }
    Ok(text.into_bytes())
}

/// The end of the newest log that a kubelet keeps of the agent.
fn log(places: &Places) -> io::Result<Vec<u8>> {
    let pods = places.of_machine("var/log/pods");
    // Not in the agent's own pod: who sees there sees the logs of all pods.
    let missing = "a kubelet keeps it there, on the node; from afar read it by `kubectl logs \
                   --namespace lockgate POD --container agent`, before its last start with \
                   `--previous`; of a unit of systemd by `journalctl --unit 'lockgate@*'`";
    let entries = fs::read_dir(&pods)
        .map_err(|error| io::Error::other(format!("{}: {error}; {missing}", pods.display())))?;
    // NAMESPACE_POD_UID/CONTAINER, of the chart's namespace or of its name.
    let of_agent = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("lockgate_") || name.contains("_lockgate-")
    };
    let pods = entries.flatten().map(|entry| entry.path()).filter(of_agent);
    let files = pods.flat_map(|pod| fs::read_dir(pod.join(CONTAINER)).into_iter().flatten());
    let newest = files
        .flatten()
        .map(|entry| entry.path())
        .max_by_key(|path| path.metadata().and_then(|about| about.modified()).ok());
    let path = newest.ok_or_else(|| io::Error::other(missing))?;
    let mut file = fs::File::open(&path).map_err(|error| at(&path, &error))?;
    let length = file.metadata().map_err(|error| at(&path, &error))?.len();
    if length <= LOG_BYTES {
        return read(&path);
    }
    file.seek(SeekFrom::Start(length - LOG_BYTES))?;
    let mut end = Vec::new();
    file.take(LOG_BYTES).read_to_end(&mut end)?;
    Ok(end)
}
