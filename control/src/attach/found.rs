//! The interfaces that the switch finds: closed, checked, and given back at the end.
//!
//! ```text
//!   found --close--> down, inert, program pinned --check--> up, with a port
//!                                 ^                  |
//!                                 `---- refused -----'   tried again each second
//! ```
//!
//! The order is what keeps packets from passing by. Down comes first: the kernel forgets the
//! routes over the interface with it, and a crash before the pin is there leaves nothing open.
//! What is pinned already is not set down: after a restart it has dropped all the time.

use std::path::PathBuf;

use lockgate_dataplane::ids::Mac;
use lockgate_dataplane::limits::MTU_MAX;
use lockgate_dataplane::port::pin::Pin;
use lockgate_dataplane::port::program::Program;

use super::{ALIAS, AttachError, Attacher, InterfaceName, Link, Probed, inert};

impl Attacher {
    /// Closes a pod's interface: nothing passes there but through a port's sockets.
    ///
    /// # Errors
    /// [`AttachError::NotVeth`] and [`AttachError::Own`] for what is not to be touched. With any
    /// other error the interface is down, unless the kernel does not even set it down.
    pub async fn close(&self, interface: &InterfaceName, link: &Link) -> Result<(), AttachError> {
        if !link.is_veth {
            return Err(AttachError::NotVeth(interface.clone()));
        }
        if self.has_made(interface) || link.alias.as_deref() == Some(ALIAS) {
            return Err(AttachError::Own(interface.clone()));
        }
        self.shut(interface, link).await
    }

    /// As [`Attacher::close`], for whatever interface.
    pub(super) async fn shut(
        &self,
        interface: &InterfaceName,
        link: &Link,
    ) -> Result<(), AttachError> {
        let is_held = self.is_held(interface, link);
        if !matches!(is_held, Ok(true)) {
            self.netlink.set_up(link, false).await?;
        }
        let Err(source) = self.hold(interface, link, is_held).await else { return Ok(()) };
        self.netlink.set_up(link, false).await?;
        Err(AttachError::Down { interface: interface.clone(), source: Box::new(source) })
    }

    /// Whether our program is on an interface, by a pin.
    ///
    /// # Errors
    /// [`AttachError::Foreign`] where the pin is of another interface; where it cannot be read.
    pub fn is_held(&self, interface: &InterfaceName, link: &Link) -> Result<bool, AttachError> {
        let pin = Pin::of(interface.as_str(), link.index, &self.bpffs);
        match pin.place()? {
            Some(place) if place.ifindex != link.index => Ok(false),
            Some(place) if link.program == Some(place.program) => Ok(true),
            // Attaching would change the program of that other interface, and give this none.
            Some(_) => Err(AttachError::Foreign(pin.path().to_owned())),
            None => Ok(false),
        }
    }

    async fn hold(
        &self,
        interface: &InterfaceName,
        link: &Link,
        is_held: Result<bool, AttachError>,
    ) -> Result<(), AttachError> {
        inert::make_inert(interface)?;
        self.netlink.flush_addresses(link).await?;
        if !is_held? {
            // One queue is enough: those beyond the map have no socket, and drop.
            Program::attach(interface.as_str(), link.index, 1, &self.bpffs)?.leave();
        }
        Ok(())
    }

    /// Checks whether an interface may have a port, and gives what the port needs to know.
    ///
    /// `mac` is what the operator says the pod's MAC is; without it the kernel is asked, never
    /// the pod.
    ///
    /// # Errors
    /// [`AttachError`] where it may not.
    pub async fn check(
        &self,
        interface: &InterfaceName,
        link: &Link,
        queues: u32,
        mac: Option<Mac>,
    ) -> Result<Probed, AttachError> {
        if !link.is_veth {
            return Err(AttachError::NotVeth(interface.clone()));
        }
        let have = self.netlink.receive_queues(link)?.unwrap_or(1);
        if have != queues {
            let interface = interface.clone();
            return Err(AttachError::Queues { interface, have, want: queues });
        }
        let mtu = u16::try_from(link.mtu).ok().filter(|&mtu| usize::from(mtu) <= MTU_MAX);
        let mtu = mtu.ok_or(AttachError::Mtu { interface: interface.clone(), mtu: link.mtu })?;
        let mac = match mac {
            Some(mac) => mac,
            None => self.far_mac(interface, link).await?,
        };
        Ok(Probed { interface: interface.clone(), ifindex: link.index, mac, mtu })
    }

    async fn far_mac(&self, name: &InterfaceName, link: &Link) -> Result<Mac, AttachError> {
        let peer = self.netlink.peer(link).await?;
        let peer = peer.filter(|peer| peer.mac != Mac::default());
        peer.map(|peer| peer.mac).ok_or_else(|| AttachError::NoPeer(name.clone()))
    }

    /// Gives back every interface that a pin is on, whoever named it: down first, then the
    /// program off. All are tried, the first error is told.
    ///
    /// # Errors
    /// Where one cannot be set down, which keeps its program, or a pin cannot be removed.
    pub async fn release(&self) -> Result<(), AttachError> {
        let links = self.links().await?;
        let mut first = Ok(());
        for pin in Pin::all(&self.bpffs)? {
            first = first.and(self.give_back(&pin, &links).await);
        }
        first
    }

    /// Where every interface's pin is.
    ///
    /// # Errors
    /// Where pins cannot be read.
    pub fn pins(&self) -> Result<Vec<PathBuf>, AttachError> {
        Ok(Pin::all(&self.bpffs)?.iter().map(|pin| pin.path().to_owned()).collect())
    }

    async fn give_back(&self, pin: &Pin, links: &[Link]) -> Result<(), AttachError> {
        if let Some(place) = pin.place()?.filter(|place| place.ifindex != 0) {
            let is_there =
                |link: &&Link| (link.index, link.program) == (place.ifindex, Some(place.program));
            let foreign = || AttachError::Foreign(pin.path().to_owned());
            let link = links.iter().find(is_there).ok_or_else(foreign)?;
            self.netlink.set_up(link, false).await?;
        }
        Ok(pin.detach()?)
    }

    /// Whether an interface has a program of a predecessor.
    ///
    /// # Errors
    /// Where pins cannot be read.
    pub fn has_pins(&self) -> Result<bool, AttachError> {
        Ok(!Pin::all(&self.bpffs)?.is_empty())
    }

    /// Removes the pins of interfaces that have gone.
    ///
    /// # Errors
    /// Where one cannot be read or removed; all are tried.
    pub fn sweep(&self) -> Result<(), AttachError> {
        let mut first = Ok(());
        for pin in Pin::all(&self.bpffs)? {
            let gone = pin.place().map(|place| place.is_none_or(|place| place.ifindex == 0));
            let swept = gone.and_then(|gone| if gone { pin.detach() } else { Ok(()) });
            first = first.and(swept);
        }
        Ok(first?)
    }
}
