//! Puts our XDP program on an interface, pins it, and takes it over after a restart.
//!
//! ```text
//!   <pin_dir>/<interface>/link     the attachment: while it is there, the program runs
//!   <pin_dir>/<interface>/sockets  its XSKMAP, for `bpftool map dump pinned`
//! ```
//!
//! The pin is what fails closed: when the switch dies its sockets close, the map is empty, and
//! the program drops. The next start finds the pin and *updates* its link to a new program with
//! a new map: an atomic exchange in the kernel, with no moment in between at which the
//! interface has none.
//!
//! Rejected: libxdp's own program, which passes what finds no socket and is refused above an
//! MTU of 3498; attaching by netlink, which cannot be pinned.
//!
//! A pin is believed only if its link is on the very interface that is asked for, by ifindex:
//! a name may have passed to a new interface since. Interface indices are those of the calling
//! thread's network namespace; two namespaces must not share a `pin_dir`.

#![allow(unsafe_code)]

use std::error::Error;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::{fmt, fs, io, ptr};

use aya::EbpfLoader;
use aya::maps::{Map, MapData, MapError, XskMap};
use aya::programs::links::{FdLink, LinkError, PinnedLink};
use aya::programs::xdp::XdpLink;
use aya::programs::{Xdp, XdpMode};

pub use super::error::ProgramError;
use super::error::{attach_error, errno, not_permitted};

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/lockgate.bpf.o"));

/// The file system type of bpffs (include/uapi/linux/magic.h).
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;

/// Our program on one interface.
///
/// Dropping it is [`Program::leave`]: the pin stays and drops what has no socket.
pub struct Program {
    pins: Pins,
    sockets: XskMap<MapData>,
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("pins", &self.pins).finish_non_exhaustive()
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
        let pins = Pins::open(interface, pin_dir)?;
        let mut object = load(interface, queues)?;
        let refused = |cause| attach_error(interface, ifindex, cause);
        let xdp = object.program_mut("lockgate").ok_or(aya::programs::ProgramError::NotLoaded);
        let xdp: &mut Xdp = xdp.and_then(TryInto::try_into).map_err(refused)?;
        xdp.load().map_err(refused)?;
        let pinned = pins.find_link()?;
        if pinned == Some(ifindex) {
            let link = pins.take_link()?;
            let id = xdp.attach_to_link(link).map_err(refused)?;
            // The pin holds the link; this is only our descriptor of it.
            drop(xdp.take_link(id));
        } else {
            let id = xdp.attach_to_if_index(ifindex, XdpMode::Driver).map_err(refused)?;
            let link = xdp.take_link(id).map_err(refused)?;
            pins.pin_link(link, pinned.is_some())?;
        }
        let none = MapError::InvalidMapType { map_type: 0 };
        let map = object.take_map("sockets").ok_or(none);
        let map = map.map_err(|cause| pins.socket_error(0, cause))?;
        pins.pin_sockets(&map)?;
        let sockets = XskMap::try_from(map).map_err(|cause| pins.socket_error(0, cause))?;
        Ok(Self { pins, sockets })
    }

    /// Sends the packets of a queue to a socket that is bound to it.
    ///
    /// # Errors
    ///
    /// [`ProgramError::Socket`]: no such queue, or no such socket.
    pub fn set_socket(&mut self, queue: u32, socket: impl AsFd) -> Result<(), ProgramError> {
        let set = self.sockets.set(queue, socket.as_fd().as_raw_fd(), 0);
        set.map_err(|cause| self.pins.socket_error(queue, cause))
    }

    /// Gives the interface back: from now on its packets pass to the host's stack.
    ///
    /// # Errors
    ///
    /// [`ProgramError::Pin`] where a pin could not be removed.
    pub fn detach(self) -> Result<(), ProgramError> {
        self.pins.detach()
    }

    /// Leaves the interface pinned: what has no socket is dropped until the next start.
    pub fn leave(self) {
        drop(self);
    }
}

fn load(interface: &str, queues: u32) -> Result<aya::Ebpf, ProgramError> {
    // No BTF of the kernel: the program has nothing to relocate, and reading it takes long.
    let loaded = EbpfLoader::new().btf(None).map_max_entries("sockets", queues).load(OBJECT);
    loaded.map_err(|cause| match errno(&cause) {
        Some(libc::EPERM) => not_permitted(interface, libc::EPERM),
        _ => ProgramError::Load { interface: interface.to_owned(), source: Box::new(cause) },
    })
}

/// The pins of one interface.
#[derive(Debug)]
struct Pins {
    interface: String,
    directory: PathBuf,
}

impl Pins {
    /// Makes the directory, on a bpf file system or not at all.
    fn open(interface: &str, pin_dir: &Path) -> Result<Self, ProgramError> {
        let nearest = pin_dir.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
        let kind = rustix::fs::statfs(nearest).map(|found| u64::try_from(found.f_type));
        if !matches!(kind, Ok(Ok(BPF_FS_MAGIC))) {
            return Err(ProgramError::NoBpffs { path: pin_dir.to_owned() });
        }
        let directory = pin_dir.join(file_name(interface));
        let pins = Self { interface: interface.to_owned(), directory };
        fs::create_dir_all(&pins.directory)
            .map_err(|source| pins.error("make", &pins.directory, source))?;
        Ok(pins)
    }

    fn link(&self) -> PathBuf {
        self.directory.join("link")
    }

    fn sockets(&self) -> PathBuf {
        self.directory.join("sockets")
    }

    fn error(&self, action: &'static str, path: &Path, source: io::Error) -> ProgramError {
        ProgramError::Pin {
            interface: self.interface.clone(),
            action,
            path: path.to_owned(),
            source,
        }
    }

    fn pin_error(&self, path: &Path, cause: &(dyn Error + 'static)) -> ProgramError {
        let source = errno(cause).map(io::Error::from_raw_os_error);
        self.error("pin", path, source.unwrap_or_else(|| io::Error::other(cause.to_string())))
    }

    fn socket_error(&self, queue: u32, source: MapError) -> ProgramError {
        ProgramError::Socket { interface: self.interface.clone(), queue, source }
    }

    /// The index of the interface that the pinned link is on: 0 for one that is gone, `None`
    /// without a pin.
    fn find_link(&self) -> Result<Option<u32>, ProgramError> {
        let found = match open_pin(&self.link()) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => Err(cause),
            Ok(link) => link_ifindex(&link),
        };
        found.map(Some).map_err(|cause| self.error("read", &self.link(), cause))
    }

    fn take_link(&self) -> Result<XdpLink, ProgramError> {
        let link = PinnedLink::from_pin(self.link()).map(FdLink::from);
        link.and_then(XdpLink::try_from).map_err(|cause| self.link_error(cause))
    }

    fn link_error(&self, source: LinkError) -> ProgramError {
        ProgramError::Link { interface: self.interface.clone(), path: self.link(), source }
    }

    /// Pins a new link, in the place of a stale one where there is one.
    fn pin_link(&self, link: XdpLink, replace: bool) -> Result<(), ProgramError> {
        let link = FdLink::try_from(link).map_err(|cause| self.link_error(cause))?;
        let path = self.link();
        if replace {
            self.remove(&path)?;
        }
        link.pin(&path).map(drop).map_err(|cause| self.pin_error(&path, &cause))
    }

    /// Pins the new map in the place of the old; the program holds its map by itself.
    fn pin_sockets(&self, sockets: &Map) -> Result<(), ProgramError> {
        let path = self.sockets();
        self.remove(&path)?;
        sockets.pin(&path).map_err(|cause| self.pin_error(&path, &cause))
    }

    fn remove(&self, path: &Path) -> Result<(), ProgramError> {
        match fs::remove_file(path) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                Err(self.error("remove", path, cause))
            }
            _ => Ok(()),
        }
    }

    fn detach(&self) -> Result<(), ProgramError> {
        let path = self.link();
        // Removing the pin detaches too, but some time later: the interface would still be
        // taken for who attaches next.
        let link = open_pin(&path).and_then(|link| detach_link(&link));
        match link {
            // An interface that is gone has nothing to detach.
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
            Err(cause) => return Err(self.error("detach", &path, cause)),
            Ok(()) => {}
        }
        self.remove(&path)?;
        self.remove(&self.sockets())?;
        let removed = fs::remove_dir(&self.directory);
        removed.map_err(|cause| self.error("remove", &self.directory, cause))
    }
}

/// An interface's name as a file name: bpffs takes no dots.
fn file_name(interface: &str) -> String {
    interface.replace('%', "%25").replace('.', "%2e")
}

/// `BPF_OBJ_GET`, `BPF_OBJ_GET_INFO_BY_FD`, `BPF_LINK_DETACH` (include/uapi/linux/bpf.h).
const OBJ_GET: libc::c_long = 7;
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const LINK_DETACH: libc::c_long = 34;

/// Opens a pinned object.
fn open_pin(path: &Path) -> io::Result<OwnedFd> {
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

/// The interface that an XDP link is on: 0 where that is gone.
fn link_ifindex(link: &OwnedFd) -> io::Result<u32> {
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
        info: u64,
    }
    let mut info = LinkFacts::default();
    let length = u32::try_from(size_of_val(&info)).map_err(io::Error::other)?;
    let address = ptr::from_mut(&mut info).expose_provenance() as u64;
    let mut attributes = Attributes { descriptor: link.as_raw_fd(), length, info: address };
    // SAFETY: the attributes are those of the command; `info` lives and is `length` bytes.
    unsafe { bpf(OBJ_GET_INFO_BY_FD, &mut attributes) }?;
    Ok(info.ifindex)
}

/// Takes a link's program off its interface, at once.
fn detach_link(link: &OwnedFd) -> io::Result<()> {
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

    #[test]
    fn an_interface_name_becomes_a_file_name_without_dots() {
        assert_eq!(file_name("veth0"), "veth0");
        assert_eq!(file_name("eth0.100"), "eth0%2e100");
        assert_ne!(file_name("a.b"), file_name("a%2eb"));
    }
}
