//! One call of the plugin: what every operation needs, and how a pod is let go.
//!
//! # When an address may be given back
//!
//! The IPAM plugin gives an address to the next pod as soon as it has it back, so nobody may be
//! sent what is meant for that pod, or send as it, any more.
//!
//! - The agent says that the port is gone: then the switch knows the address no more.
//! - Nobody listens on its socket: without a process there are no AF_XDP sockets, and the pinned
//!   program drops. An agent that starts looks at the interfaces that there are, and ours has
//!   been removed by then.
//! - Somebody listens and does not answer, or refuses: workers may forward on. The veth is
//!   removed all the same, for the pod is gone; the address is kept, and the runtime tries again.
//!
//! An ADD that fails gives the address back in any case: its container was never started, so no
//! one ever sent as the address, and the next pod that gets it is attached by the agent or not
//! at all, which then knows of both.

use std::path::PathBuf;

use tokio::time::{Duration, Instant};

use crate::attach::InterfaceName;

use super::agent::{Unanswered, ask};
use super::config::Config;
use super::failure::{Code, Failure};
use super::ipam::Ipam;
use super::names;
use super::protocol::{Attachment, Detached, Question};
use super::record::Records;
use super::wires::Wires;

/// How long an ADD that fails may take to undo what it did.
pub const UNDO: Duration = Duration::from_secs(10);

/// How long of that is waited for the agent.
const UNDO_AGENT: Duration = Duration::from_secs(2);

/// A call, and what it needs.
#[derive(Debug)]
pub struct Plugin {
    /// The configuration.
    pub config: Config,
    /// Where the IPAM plugin is looked for.
    pub path: Vec<PathBuf>,
    /// The node's interfaces.
    pub wires: Wires,
    /// What has been begun.
    pub records: Records,
    /// When the operation must have ended.
    pub until: Instant,
}

impl Plugin {
    /// Begins a call.
    ///
    /// # Errors
    /// Where there is no netlink.
    pub fn begin(config: Config, path: Vec<PathBuf>) -> Result<Self, Failure> {
        let until = Instant::now() + config.time_limit;
        let records = Records::of(&config.socket);
        Ok(Self { wires: Wires::open()?, records, config, path, until })
    }

    /// The IPAM plugin.
    ///
    /// # Errors
    /// Where there is none.
    pub async fn ipam(&self) -> Result<Ipam, Failure> {
        Ipam::find(&self.config, &self.path, self.until).await
    }

    /// Lets a pod go: port, veth, addresses. All are tried, and the first failure is told. The
    /// addresses go back to the `network` that they are of: its name may be another by now.
    ///
    /// # Errors
    /// Where something of it may be left: it is to be called again.
    pub async fn release(&self, attachment: &Attachment, network: &str) -> Result<(), Failure> {
        let detached = self.detach(attachment, self.until).await;
        let removed = self.wires.remove(&interface(attachment)?, attachment).await;
        // See above: not before nobody forwards there.
        if let Err(Unanswered::Silent(failure) | Unanswered::Refused(failure)) = detached {
            return Err(failure);
        }
        removed?;
        self.ipam().await?.of_network(network).del(attachment, self.until).await
    }

    /// Undoes what an ADD did until it failed.
    ///
    /// # Errors
    /// Where something of it may be left: DEL, ADD and GC try again.
    pub async fn undo(&self, attachment: &Attachment, ipam: &Ipam) -> Result<(), Failure> {
        let begun = Instant::now();
        // Whatever the agent says: without the interface there is no port.
        let _told = self.detach(attachment, begun + UNDO_AGENT).await;
        let removed = self.wires.remove(&interface(attachment)?, attachment).await;
        ipam.del(attachment, begun + UNDO).await?;
        removed
    }

    async fn detach(
        &self,
        attachment: &Attachment,
        until: Instant,
    ) -> Result<Detached, Unanswered> {
        ask(&self.config.socket, &Question::Detach(attachment.clone()), until).await
    }
}

/// The switch's end of an attachment's veth.
///
/// # Errors
/// None: what is made of an attachment is a name.
pub fn interface(attachment: &Attachment) -> Result<InterfaceName, Failure> {
    names::of(attachment)
        .map_err(|error| Failure::new(Code::ENVIRONMENT, error.to_string(), "name another"))
}
