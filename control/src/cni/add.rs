//! ADD: a pod gets its address, its veth, and its port.
//!
//! ```text
//! agent ready? -> record -> address -> veth -> pod's end -> agent attaches -> answer -> record
//! ```
//!
//! A crash after any arrow leaves what the record says may be there. Each step is undone by what
//! undoes a whole pod, so DEL, GC and an ADD again need not know how far it had come. The switch's
//! end is down until the agent takes it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::OFlag;
use nix::sys::statfs::{NSFS_MAGIC, fstatfs};
use serde_json::Value;
use tokio::time::{Duration, Instant};

use crate::attach::{InterfaceName, PodEnd, PodEndError};

use super::agent::ask;
use super::environment::PodName;
use super::failure::{Code, Failure};
use super::ipam::Ipam;
use super::names;
use super::outcome::{Lease, Outcome};
use super::plugin::{Plugin, interface};
use super::protocol::{Attach, Attached, Attachment, Done, Question};
use super::record::{Kept, Record};

/// How much earlier than the plugin the agent shall give up, so that it is its reason that is told.
const AGENT_FIRST: Duration = Duration::from_millis(250);

/// The namespace of whoever asks.
const OWN_NETNS: &str = "/proc/thread-self/ns/net";

/// A pod to attach.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// Which interface of which container.
    pub attachment: &'a Attachment,
    /// The pod's network namespace.
    pub netns: &'a Path,
    /// Who the pod is.
    pub pod: &'a PodName,
}

/// A pod that was attached. The runtime does not know it yet.
#[derive(Debug)]
pub struct Added {
    /// What to tell it.
    pub outcome: Outcome,
    record: Record,
    kept: Kept,
}

impl Added {
    /// Notes that the runtime has been told.
    ///
    /// # Errors
    /// Where the disk is full, which harms nobody: an ADD again would begin anew.
    pub fn complete(mut self) -> Result<(), Failure> {
        self.record.write(Kept { is_complete: true, ..self.kept })
    }
}

impl Plugin {
    /// Attaches a pod.
    ///
    /// # Errors
    /// Where it cannot be: then nothing of it is left, unless the failure says so.
    pub async fn add(&self, wanted: &Wanted<'_>) -> Result<Added, Failure> {
        if self.config.previous.is_some() {
            let message = "prevResult of the network configuration is given, and ADD makes the \
                           pod's interface";
            let remedy = "put lockgate-cni first in the list of plugins";
            return Err(Failure::new(Code::INVALID_CONFIG, message, remedy));
        }
        let netns = open_netns(wanted.netns)?;
        let ipam = self.ipam().await?;
        let _ready: Done = ask(&self.config.socket, &Question::Ready {}, self.until).await?;
        let attachment = wanted.attachment;
        let mut record = self.begin_record(attachment, &netns).await?;
        let network = self.config.name.clone();
        let kept = Kept { network, attachment: attachment.clone(), is_complete: false };
        record.write(kept.clone())?;
        match self.build(wanted, &netns, &ipam).await {
            Ok(outcome) => Ok(Added { outcome, record, kept }),
            Err(failure) => {
                let undone = self.undo(attachment, &ipam).await;
                let undone = undone.and_then(|()| record.remove());
                Err(failure.and(undone.err()))
            }
        }
    }

    /// Locks the attachment's record, and clears what an ADD left that was killed.
    async fn begin_record(&self, attachment: &Attachment, netns: &File) -> Result<Record, Failure> {
        let name = interface(attachment)?;
        self.is_first(attachment).await?;
        let record = self.records.take(&name, self.until).await?.ok_or_else(|| {
            let directory = self.config.socket.parent().unwrap_or(Path::new("/"));
            let message = format!("the agent's directory {} is not there", directory.display());
            Failure::new(Code::TRY_AGAIN, message, "start the agent, which makes it")
        })?;
        let Some(kept) = record.kept() else { return Ok(record) };
        if kept.is_complete && self.is_whole(attachment, &name, netns).await? {
            let message = format!(
                "container {} has the interface {} already",
                attachment.container, attachment.ifname
            );
            return Err(Failure::new(Code::INVALID_CONFIG, message, "call DEL before ADD again"));
        }
        self.release(attachment, &kept.network).await?;
        Ok(record)
    }

    /// Whether the container has no other interface of ours: its pod has one port, and the default
    /// route is that one's.
    async fn is_first(&self, attachment: &Attachment) -> Result<(), Failure> {
        for (name, kept) in self.records.all()? {
            let other = &kept.attachment;
            let is_beside =
                other.container == attachment.container && other.ifname != attachment.ifname;
            if is_beside && kept.is_complete && self.wires.find(&name).await?.is_some() {
                let message = format!(
                    "container {} has its port at {} already, and a pod has one",
                    attachment.container, other.ifname
                );
                let remedy = format!("attach {} by another plugin", attachment.ifname);
                return Err(Failure::new(Code::INVALID_CONFIG, message, remedy));
            }
        }
        Ok(())
    }

    async fn is_whole(
        &self,
        attachment: &Attachment,
        name: &InterfaceName,
        netns: &File,
    ) -> Result<bool, Failure> {
        let inside = PodEnd::is_there(netns, &attachment.ifname).map_err(|e| in_pod(&e))?;
        Ok(inside && self.wires.find(name).await?.is_some())
    }

    async fn build(
        &self,
        wanted: &Wanted<'_>,
        netns: &File,
        ipam: &Ipam,
    ) -> Result<Outcome, Failure> {
        let attachment = wanted.attachment;
        let lease = ipam.add(attachment, self.until).await?;
        let name = interface(attachment)?;
        let alias = names::alias(&self.config.name, attachment);
        let made = self.wires.make(&name, &attachment.ifname, netns, self.config.mtu, &alias);
        let link = made.await?;
        let end = PodEnd {
            name: attachment.ifname.clone(),
            addresses: lease.addresses.clone(),
            mtu: self.config.mtu.into(),
        };
        let mac = end.set_up(netns).map_err(|error| in_pod(&error))?;
        let outcome = Outcome {
            interface: name,
            interface_mac: link.mac,
            ifname: attachment.ifname.clone(),
            mac,
            mtu: self.config.mtu,
            sandbox: wanted.netns.display().to_string(),
            addresses: lease.addresses.clone(),
            dns: self.dns(lease),
        };
        self.attach(wanted, &outcome).await?;
        Ok(outcome)
    }

    /// Has the agent attach the pod, and waits until its policy is in force.
    async fn attach(&self, wanted: &Wanted<'_>, outcome: &Outcome) -> Result<Attached, Failure> {
        let left = self.until.saturating_duration_since(Instant::now() + AGENT_FIRST);
        let question = Question::Attach(Attach {
            container: wanted.attachment.container.clone(),
            ifname: wanted.attachment.ifname.clone(),
            namespace: wanted.pod.namespace.clone(),
            pod: wanted.pod.name.clone(),
            uid: wanted.pod.uid.clone(),
            netns: outcome.sandbox.clone(),
            interface: outcome.interface.clone(),
            mac: outcome.mac,
            addresses: outcome.addresses.clone(),
            timeout_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
        });
        Ok(ask(&self.config.socket, &question, self.until).await?)
    }

    fn dns(&self, lease: Lease) -> Value {
        self.config.dns.clone().unwrap_or_else(|| lease.dns.into())
    }
}

/// Opens a pod's network namespace.
///
/// # Errors
/// Where it is not there, or is the plugin's own: the node itself would be rewired.
pub fn open_netns(path: &Path) -> Result<File, Failure> {
    let wrong = |what: String| {
        let message = format!("CNI_NETNS is {}: {what}", path.display());
        let remedy = "name the pod's network namespace, /run/netns/NAME for instance; pods of the \
                      host's network are not attached";
        Failure::new(Code::ENVIRONMENT, message, remedy)
    };
    let number = |file: &File| file.metadata().map(|found| (found.dev(), found.ino()));
    // A FIFO would be waited for until somebody writes there.
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(OFlag::O_NONBLOCK.bits());
    let opened = options.open(path).and_then(|file| {
        if fstatfs(&file)?.filesystem_type() != NSFS_MAGIC {
            return Err(io::Error::other("it is no namespace"));
        }
        let own = number(&File::open(OWN_NETNS)?)?;
        if number(&file)? == own {
            return Err(io::Error::other("it is the node's own network namespace"));
        }
        Ok(file)
    });
    opened.map_err(|error| wrong(error.to_string()))
}

/// A failure inside the pod's namespace.
pub(super) fn in_pod(error: &PodEndError) -> Failure {
    let remedy = "see that CNI_NETNS names the pod's network namespace, that nothing else makes \
                  its interface, and that the kernel has IPv6 where ipam gives such addresses";
    Failure::new(Code::IO, error.to_string(), remedy)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nix::sys::stat::Mode;

    use super::*;

    #[test]
    fn what_is_no_network_namespace_of_a_pod_is_a_wrong_variable() {
        let directory = tempfile::tempdir().unwrap();
        let [file, fifo] = ["file", "fifo"].map(|name| directory.path().join(name));
        std::fs::write(&file, "").unwrap();
        nix::unistd::mkfifo(&fifo, Mode::S_IRWXU).unwrap();
        let (said, heard) = std::sync::mpsc::channel();
        let places = [directory.path().to_owned(), file, fifo, directory.path().join("missing")];
        // Nobody ever writes to the FIFO, and who waits for that is never heard of.
        std::thread::spawn(move || {
            for place in places.iter().map(AsRef::as_ref).chain([Path::new(OWN_NETNS)]) {
                let failure = open_netns(place).unwrap_err();
                said.send((failure.code, failure.message)).unwrap();
            }
        });
        let words = ["it is no namespace"; 3].into_iter();
        for words in words.chain(["No such file", "it is the node's own network namespace"]) {
            let (code, message) = heard.recv_timeout(Duration::from_secs(10)).unwrap();
            assert_eq!(code, Code::ENVIRONMENT, "{message}");
            assert!(message.contains(words), "{message}");
        }
    }
}
