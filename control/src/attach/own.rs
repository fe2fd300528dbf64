//! The interfaces the switch makes: an anchor per worker, and the host port.

use std::fs::File;

use lockgate_dataplane::limits::WORKERS_MAX;

use super::netlink::VethPlan;
use super::{ALIAS, AttachError, Attacher, InterfaceName, Netlink, Probed, inert};

/// What the host port shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPortPlan {
    /// The switch's side.
    pub interface: InterfaceName,
    /// The side in the node's stack.
    pub peer: InterfaceName,
    /// The named namespace (`ip netns`) of the peer; `None` is the process's own.
    pub netns: Option<String>,
    /// MTU of both sides, in bytes.
    pub mtu: u16,
}

/// The names of one process's anchors: in a hand-over two processes have some at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AnchorSet {
    /// Those of a start.
    #[default]
    First,
    /// Those of who takes over from the first ones.
    Second,
}

impl AnchorSet {
    /// The names of who takes over.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }

    /// What the names of two sets differ by.
    #[must_use]
    pub fn letter(self) -> &'static str {
        match self {
            Self::First => "w",
            Self::Second => "x",
        }
    }

    /// The set of a letter.
    #[must_use]
    pub fn of_letter(letter: &str) -> Option<Self> {
        [Self::First, Self::Second].into_iter().find(|set| set.letter() == letter)
    }
}

/// Queues of an anchor: its one socket.
const ANCHOR_QUEUES: u32 = 1;
/// An anchor never bears a packet, so its MTU is any.
const ANCHOR_MTU: u32 = 1500;

impl Attacher {
    /// Makes an anchor pair for each worker, inert and up, and gives the names to bind to.
    ///
    /// What a killed predecessor left under these names is replaced, and removed where it had more
    /// workers.
    ///
    /// # Errors
    /// [`AttachError::Taken`] where a name is no veth's; what the kernel refuses.
    pub async fn make_anchors(
        &mut self,
        set: AnchorSet,
        workers: u8,
    ) -> Result<Vec<InterfaceName>, AttachError> {
        let mut anchors = Vec::new();
        self.clear_anchors(set, workers).await?;
        for worker in 0..usize::from(workers) {
            let [name, peer] = anchor_names(set, worker)?;
            self.clear(&name).await?;
            self.clear(&peer).await?;
            let plan = VethPlan {
                name: &name,
                peer: &peer,
                peer_netns: None,
                queues: ANCHOR_QUEUES,
                mtu: ANCHOR_MTU,
            };
            self.netlink.add_veth(&plan).await?;
            let link = self.find(&name).await?;
            self.anchors.push(link.clone());
            self.netlink.set_alias(&link, ALIAS).await?;
            let far = self.find(&peer).await?;
            self.netlink.set_alias(&far, ALIAS).await?;
            for (name, link) in [(&name, &link), (&peer, &far)] {
                inert::make_inert(name)?;
                self.netlink.set_up(link, true).await?;
            }
            anchors.push(name);
        }
        Ok(anchors)
    }

    /// Removes what a process that has gone left of its anchors, from worker `from` on.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub async fn clear_anchors(&self, set: AnchorSet, from: u8) -> Result<(), AttachError> {
        for worker in usize::from(from)..WORKERS_MAX {
            for name in anchor_names(set, worker)? {
                match self.clear(&name).await {
                    Ok(()) | Err(AttachError::Taken(_)) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Whether the host port's interface is there, held by a pin and with a queue for each worker:
    /// whoever takes over from a predecessor has it looked at while that serves it.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub async fn has_host_port(
        &self,
        plan: &HostPortPlan,
        workers: u8,
    ) -> Result<bool, AttachError> {
        let Some(link) = self.netlink.link(&plan.interface).await? else { return Ok(false) };
        let queues = self.netlink.receive_queues(&link)?;
        Ok(queues == Some(u32::from(workers)) && self.is_held(&plan.interface, &link)?)
    }

    /// Finds the host port, or makes it, with a receive queue for each worker. It is up, and
    /// drops until it has its sockets.
    ///
    /// One that a killed predecessor made is taken over as it is, so that the addresses and
    /// routes of its far end last; with another number of queues it is made anew. A found one
    /// that cannot have a port is not touched.
    ///
    /// # Errors
    /// [`AttachError`] where a found one cannot have a port, or none can be made.
    pub async fn host_port(
        &mut self,
        plan: &HostPortPlan,
        workers: u8,
    ) -> Result<Probed, AttachError> {
        let queues = u32::from(workers);
        let found = self.netlink.link(&plan.interface).await?;
        match found {
            Some(link) if link.alias.as_deref() != Some(ALIAS) => {}
            Some(link) if self.netlink.receive_queues(&link)? == Some(queues) => {
                // It may be known already, when its port is only added anew.
                self.made.retain(|own| own.index != link.index);
                self.made.push(link);
            }
            Some(link) => {
                self.netlink.remove(&link).await?;
                self.make_host_port(plan, queues).await?;
            }
            None => self.make_host_port(plan, queues).await?,
        }
        let link = self.find(&plan.interface).await?;
        let probed = self.check(&plan.interface, &link, queues, None).await?;
        // Before ours is touched: one without that far end is somebody else's.
        self.set_up_far_end(plan).await?;
        self.shut(&plan.interface, &link).await?;
        self.netlink.set_up(&link, true).await?;
        Ok(probed)
    }

    async fn set_up_far_end(&self, plan: &HostPortPlan) -> Result<(), AttachError> {
        if let Some(netns) = &plan.netns {
            if !Netlink::set_up_in(&open_netns(netns)?, &plan.peer)? {
                let (interface, peer) = (plan.interface.clone(), plan.peer.clone());
                return Err(AttachError::FarEnd { interface, peer, netns: netns.clone() });
            }
        } else if let Some(peer) = self.netlink.link(&plan.peer).await? {
            self.netlink.set_up(&peer, true).await?;
        }
        Ok(())
    }

    async fn make_host_port(
        &mut self,
        plan: &HostPortPlan,
        queues: u32,
    ) -> Result<(), AttachError> {
        let netns = plan.netns.as_deref().map(open_netns).transpose()?;
        let veth = VethPlan {
            name: &plan.interface,
            peer: &plan.peer,
            peer_netns: netns.as_ref(),
            queues,
            mtu: u32::from(plan.mtu),
        };
        match self.netlink.add_veth(&veth).await {
            // Ours is not there: it was looked for.
            Err(error) if error.is_taken() => return Err(AttachError::PeerTaken(plan.clone())),
            made => made?,
        }
        let link = self.find(&plan.interface).await?;
        self.made.push(link.clone());
        Ok(self.netlink.set_alias(&link, ALIAS).await?)
    }

    /// Removes a predecessor's anchor of this name, if there is one. A veth without our alias is
    /// one that was killed before it could be marked: the name is ours alone.
    async fn clear(&self, name: &InterfaceName) -> Result<(), AttachError> {
        match self.netlink.link(name).await? {
            None => Ok(()),
            Some(link) if link.is_veth => Ok(self.netlink.remove(&link).await?),
            Some(_) => Err(AttachError::Taken(name.clone())),
        }
    }
}

/// Both ends of a worker's anchor.
fn anchor_names(set: AnchorSet, worker: usize) -> Result<[InterfaceName; 2], AttachError> {
    let name = format!("lockgate-{}{worker}", set.letter());
    Ok([own_name(&name)?, own_name(&format!("{name}p"))?])
}

fn own_name(name: &str) -> Result<InterfaceName, AttachError> {
    InterfaceName::new(name).map_err(|error| AttachError::Socket(std::io::Error::other(error)))
}

fn open_netns(name: &str) -> Result<File, AttachError> {
    let path = format!("/run/netns/{name}");
    File::open(path).map_err(|source| AttachError::Namespace { name: name.to_owned(), source })
}
