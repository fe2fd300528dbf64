//! Puts our XDP program on an interface, pins it, and takes it over after a restart.
//!
//! The pin ([`super::pin`]) is what fails closed: when the switch dies its sockets close, the map
//! is empty, and the program drops. The next start finds the pin. Where our very program runs (by
//! the kernel's hash of its instructions), it stays, and the new sockets go into its map. Another
//! version is exchanged by an *update* of the link: atomic, with no moment in between at which the
//! interface has none, but the kernel waits about 10 ms for readers of the old one, each time.
//!
//! Between the making of a link and its pin there is a moment at which a crash takes the program
//! along. So an interface without a pin must be down when it is given one, and set up after.
//!
//! Rejected: libxdp's own program, which passes what finds no socket and is refused above an
//! MTU of 3498; attaching by netlink, which cannot be pinned.

#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::{fmt, io, ptr};

use aya::EbpfLoader;
use aya::maps::{Map, MapData, MapError, XskMap};
use aya::programs::{Xdp, XdpMode, loaded_programs};

pub use super::error::ProgramError;
use super::error::{attach_error, errno, not_permitted};
use super::pin::Pin;

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/lockgate.bpf.o"));

/// The program in it.
const NAME: &str = "lockgate";

/// The map of sockets in it.
const SOCKETS: &str = "sockets";

thread_local! {
    /// Making a loader reads the kernel's BTF, megabytes that our program has no use for, and
    /// takes 40 ms: once is enough for all ports.
    static LOADER: RefCell<EbpfLoader<'static>> = RefCell::new({
        let mut loader = EbpfLoader::new();
        // Nothing in the program is relocated by the kernel's types.
        loader.btf(None);
        loader
    });

    /// See [`own_tag`].
    static TAG: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Our program on one interface.
///
/// Dropping it is [`Program::leave`]: the pin stays and drops what has no socket.
pub struct Program {
    pin: Pin,
    sockets: XskMap<MapData>,
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("pin", &self.pin).finish_non_exhaustive()
    }
}

impl Program {
    /// Attaches the program in the driver of an interface with `queues` receive queues and pins
    /// it under `pin_dir`; where a pin of this interface is found, exchanges its program and
    /// map. From then on every packet is dropped whose queue has no socket ([`set_socket`]).
    ///
    /// A pin that is left of another interface (deleted, or of the same name) is replaced.
    ///
    /// [`set_socket`]: Program::set_socket
    ///
    /// # Errors
    ///
    /// See [`ProgramError`]. A pin found stays as it was.
    pub fn attach(
        interface: &str,
        ifindex: u32,
        queues: u32,
        pin_dir: &Path,
    ) -> Result<Self, ProgramError> {
        let pin = Pin::make(interface, ifindex, pin_dir)?;
        let place = pin.place()?;
        let here = place.filter(|place| place.ifindex == ifindex);
        if let Some(here) = here {
            let running = pin.running_sockets(here, own_tag(interface, ifindex)?, queues);
            if let Some(sockets) = running {
                return Self::of(pin, Map::XskMap(sockets));
            }
        }
        let mut object = load(interface, ifindex, queues)?;
        let refused = |cause| attach_error(interface, ifindex, cause);
        pin.forget_program()?;
        let xdp = program(&mut object).map_err(refused)?;
        if here.is_some() {
            let id = xdp.attach_to_link(pin.take_link()?).map_err(refused)?;
            // The pin holds the link; this is only our descriptor of it.
            drop(xdp.take_link(id));
        } else {
            let id = xdp.attach_to_if_index(ifindex, XdpMode::Driver).map_err(refused)?;
            let link = xdp.take_link(id).map_err(refused)?;
            pin.pin_link(link, place.is_some())?;
        }
        let none = MapError::InvalidMapType { map_type: 0 };
        let map = object.take_map(SOCKETS).ok_or(none);
        let map = map.map_err(|cause| pin.socket_error(0, cause))?;
        pin.pin_sockets(&map)?;
        pin.pin_program(program(&mut object).map_err(refused)?)?;
        Self::of(pin, map)
    }

    /// Our program on an interface that another process serves, where it is of this version: the
    /// attachment is not touched, and the map is that of the other's sockets, until they close.
    ///
    /// # Errors
    ///
    /// See [`ProgramError`].
    pub fn running(
        interface: &str,
        ifindex: u32,
        queues: u32,
        pin_dir: &Path,
    ) -> Result<Option<Self>, ProgramError> {
        let pin = Pin::of(interface, ifindex, pin_dir);
        let Some(here) = pin.place()?.filter(|place| place.ifindex == ifindex) else {
            return Ok(None);
        };
        let running = pin.running_sockets(here, own_tag(interface, ifindex)?, queues);
        running.map(|sockets| Self::of(pin, Map::XskMap(sockets))).transpose()
    }

    fn of(pin: Pin, sockets: Map) -> Result<Self, ProgramError> {
        let sockets = XskMap::try_from(sockets).map_err(|cause| pin.socket_error(0, cause))?;
        Ok(Self { pin, sockets })
    }

    /// Sends the packets of a queue to a socket that is bound to it.
    ///
    /// # Errors
    ///
    /// [`ProgramError::Socket`]: no such queue, or no such socket.
    pub fn set_socket(&mut self, queue: u32, socket: impl AsFd) -> Result<(), ProgramError> {
        let set = self.sockets.set(queue, socket.as_fd().as_raw_fd(), 0);
        set.map_err(|cause| self.pin.socket_error(queue, cause))
    }

    /// Sends the packets of a queue to nobody: they are dropped.
    ///
    /// # Errors
    ///
    /// [`ProgramError::Socket`]: no such queue.
    pub fn unset_socket(&mut self, queue: u32) -> Result<(), ProgramError> {
        self.sockets.unset(queue).map_err(|cause| self.pin.socket_error(queue, cause))
    }

    /// Gives the interface back: from now on its packets pass to the host's stack.
    ///
    /// # Errors
    ///
    /// [`ProgramError::Pin`] where a pin could not be removed.
    pub fn detach(self) -> Result<(), ProgramError> {
        self.pin.detach()
    }

    /// Leaves the interface pinned: what has no socket is dropped until the next start.
    pub fn leave(self) {
        drop(self);
    }
}

/// The kernel's hash of our program, which it tells of what is loaded only.
fn own_tag(interface: &str, ifindex: u32) -> Result<u64, ProgramError> {
    if let Some(tag) = TAG.get() {
        return Ok(tag);
    }
    let mut object = load(interface, ifindex, 1)?;
    let info = program(&mut object).and_then(|xdp| xdp.info());
    let tag = info.map_err(|cause| attach_error(interface, ifindex, cause))?.tag();
    TAG.set(Some(tag));
    Ok(tag)
}

/// Loads the program with a map for `queues` queues.
fn load(interface: &str, ifindex: u32, queues: u32) -> Result<aya::Ebpf, ProgramError> {
    let loaded =
        LOADER.with_borrow_mut(|loader| loader.map_max_entries(SOCKETS, queues).load(OBJECT));
    let mut object = loaded.map_err(|cause| match errno(&cause) {
        Some(libc::EPERM) => not_permitted(interface, libc::EPERM),
        _ => ProgramError::Load { interface: interface.to_owned(), source: Box::new(cause) },
    })?;
    let verified = program(&mut object).and_then(Xdp::load);
    verified.map_err(|cause| attach_error(interface, ifindex, cause))?;
    Ok(object)
}

fn program(object: &mut aya::Ebpf) -> Result<&mut Xdp, aya::programs::ProgramError> {
    object.program_mut(NAME).ok_or(aya::programs::ProgramError::NotLoaded)?.try_into()
}

/// `BPF_OBJ_GET`, `BPF_OBJ_GET_INFO_BY_FD`, `BPF_LINK_DETACH` (include/uapi/linux/bpf.h).
const OBJ_GET: libc::c_long = 7;
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const LINK_DETACH: libc::c_long = 34;

/// Opens a pinned object.
pub(super) fn open_pin(path: &Path) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attributes {
        pathname: u64,
        descriptor: u32,
        flags: u32,
    }
    let path = CString::new(path.as_os_str().as_bytes())?;
    let pathname = path.as_ptr().expose_provenance() as u64;
    let mut attributes = Attributes { pathname, descriptor: 0, flags: 0 };
    // SAFETY: the attributes are those of the command; the path lives until it returns.
    let opened = unsafe { bpf(OBJ_GET, &mut attributes) }?;
    // SAFETY: the kernel has just opened it for us; nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(opened) })
}

/// Whether the program that the kernel numbers so is ours, of whichever version; `None` where the
/// kernel does not tell, as it does not tell everybody.
#[must_use]
pub fn is_ours(number: u32) -> Option<bool> {
    for program in loaded_programs() {
        let program = program.ok()?;
        if program.id() == number {
            return Some(program.name_as_str() == Some(NAME));
        }
    }
    None
}

/// Where a link is, and what runs there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The interface, by its number in its own network namespace; 0 where it is gone.
    pub ifindex: u32,
    /// The kernel's number of the program.
    pub program: u32,
}

pub(super) fn link_place(link: &OwnedFd) -> io::Result<Place> {
    /// The head of `struct bpf_link_info`, whose union begins with an XDP link's ifindex.
    #[repr(C, align(8))]
    #[derive(Default)]
    struct LinkFacts {
        kind: u32,
        link: u32,
        program: u32,
        padding: u32,
        ifindex: u32,
        unused: u32,
    }
    #[repr(C)]
    struct Attributes {
        descriptor: RawFd,
        length: u32,
        facts: u64,
    }
    let mut facts = LinkFacts::default();
    let length = u32::try_from(size_of_val(&facts)).map_err(io::Error::other)?;
    let address = ptr::from_mut(&mut facts).expose_provenance() as u64;
    let mut attributes = Attributes { descriptor: link.as_raw_fd(), length, facts: address };
    // SAFETY: the attributes are those of the command; `facts` lives and is `length` bytes.
    unsafe { bpf(OBJ_GET_INFO_BY_FD, &mut attributes) }?;
    Ok(Place { ifindex: facts.ifindex, program: facts.program })
}

/// Takes a link's program off its interface, at once.
pub(super) fn detach_link(link: &OwnedFd) -> io::Result<()> {
    let mut descriptor = link.as_raw_fd();
    // SAFETY: the attributes are those of the command: the descriptor alone.
    unsafe { bpf(LINK_DETACH, &mut descriptor) }.map(drop)
}

/// The bpf system call.
///
/// # Safety
///
/// `attributes` must be those of `command`; the addresses in them must be good for it.
unsafe fn bpf<T>(command: libc::c_long, attributes: &mut T) -> io::Result<RawFd> {
    let length = size_of::<T>();
    // SAFETY: the caller's promise; the attributes are `length` bytes long.
    let answer =
        unsafe { libc::syscall(libc::SYS_bpf, command, ptr::from_mut(attributes), length) };
    if answer < 0 {
        Err(io::Error::last_os_error())
    } else {
        RawFd::try_from(answer).map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_directory_that_is_not_bpffs_says_what_to_mount() {
        let here = Path::new("/proc/lockgate");
        let error = Program::attach("lg0", 1, 1, here).expect_err("not bpffs");
        assert!(matches!(error, ProgramError::NoBpffs { .. }), "{error:?}");
        let message = error.to_string();
        assert!(message.contains("mount -t bpf bpf /sys/fs/bpf"), "{message}");
        assert!(message.contains("/proc/lockgate"), "{message}");
    }
}
