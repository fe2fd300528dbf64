//! The pins of our XDP programs: what outlives the switch, and fails closed.
//!
//! ```text
//!   <pin_dir>/<ifindex>/link     the attachment: while it is there, the program runs
//!   <pin_dir>/<ifindex>/sockets  the program's XSKMAP
//!   <pin_dir>/<ifindex>/program  the program, pinned last: the map beside it is its own
//! ```
//!
//! A pin bears the number of its interface, not the name: a name may pass to another interface
//! while the one that had it lives, and must not take its program along. What a pin's link is on
//! is asked of the kernel all the same: a number may come again after a reboot of a namespace.
//! Numbers are those of the calling thread's network namespace; two namespaces must not share a
//! `pin_dir`.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{fs, io};

use aya::maps::{Map, MapData, MapError};
use aya::programs::links::{FdLink, LinkError, PinnedLink};
use aya::programs::xdp::XdpLink;
use aya::programs::{ProgramInfo, Xdp};

use super::error::{ProgramError, errno};
pub use super::program::Place;
use super::program::{detach_link, link_place, open_pin};

/// The file system type of bpffs (include/uapi/linux/magic.h).
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;

/// The pins of one interface.
#[derive(Debug)]
pub struct Pin {
    interface: String,
    directory: PathBuf,
}

impl Pin {
    /// The pins of an interface, which may not be there. The name is for messages only.
    #[must_use]
    pub fn of(interface: &str, ifindex: u32, pin_dir: &Path) -> Self {
        let directory = pin_dir.join(ifindex.to_string());
        Self { interface: interface.to_owned(), directory }
    }

    /// Every pin of a directory. Other files in it are not looked at.
    ///
    /// # Errors
    ///
    /// [`ProgramError::Pin`] where the directory cannot be read.
    pub fn all(pin_dir: &Path) -> Result<Vec<Self>, ProgramError> {
        let pin = |entry: fs::DirEntry| {
            let ifindex: u32 = entry.file_name().to_str()?.parse().ok()?;
            Some(Self::of(&format!("number {ifindex}"), ifindex, pin_dir))
        };
        match fs::read_dir(pin_dir) {
            Ok(entries) => Ok(entries.flatten().filter_map(pin).collect()),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(cause) => Err(Self::of("all", 0, pin_dir).error("read", pin_dir, cause)),
        }
    }

    /// Makes the directory, on a bpf file system or not at all.
    pub(super) fn make(
        interface: &str,
        ifindex: u32,
        pin_dir: &Path,
    ) -> Result<Self, ProgramError> {
        let nearest = pin_dir.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
        let kind = rustix::fs::statfs(nearest).map(|found| u64::try_from(found.f_type));
        if !matches!(kind, Ok(Ok(BPF_FS_MAGIC))) {
            return Err(ProgramError::NoBpffs { path: pin_dir.to_owned() });
        }
        let pin = Self::of(interface, ifindex, pin_dir);
        fs::create_dir_all(&pin.directory)
            .map_err(|source| pin.error("make", &pin.directory, source))?;
        Ok(pin)
    }

    /// Its directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// Where its link is; `None` without one.
    ///
    /// # Errors
    ///
    /// [`ProgramError::Pin`] where it cannot be read.
    pub fn place(&self) -> Result<Option<Place>, ProgramError> {
        let found = match open_pin(&self.link()) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => Err(cause),
            Ok(link) => link_place(&link),
        };
        found.map(Some).map_err(|cause| self.error("read", &self.link(), cause))
    }

    /// Takes the program off, at once, and removes the pins: from now on the interface's packets
    /// pass to the host's stack. Set it down before.
    ///
    /// # Errors
    ///
    /// [`ProgramError::Pin`] where a pin could not be removed.
    pub fn detach(&self) -> Result<(), ProgramError> {
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
        self.remove(&self.program())?;
        self.remove(&self.sockets())?;
        match fs::remove_dir(&self.directory) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                Err(self.error("remove", &self.directory, cause))
            }
            _ => Ok(()),
        }
    }

    /// The map of sockets of the program that runs there, if that is `tag` and the map is for
    /// `queues` queues. What cannot be read, or is not whole after a crash, is not ours.
    pub(super) fn running_sockets(&self, place: Place, tag: u64, queues: u32) -> Option<MapData> {
        let program = ProgramInfo::from_pin(self.program()).ok()?;
        if program.id() != place.program || program.tag() != tag {
            return None;
        }
        let sockets = MapData::from_pin(self.sockets()).ok()?;
        (sockets.info().ok()?.max_entries() == queues).then_some(sockets)
    }

    /// From here on, until [`Pin::pin_program`], no program counts as the one that runs there.
    pub(super) fn forget_program(&self) -> Result<(), ProgramError> {
        self.remove(&self.program())
    }

    /// Pins the program that runs there. Last, see the module.
    pub(super) fn pin_program(&self, program: &mut Xdp) -> Result<(), ProgramError> {
        let path = self.program();
        program.pin(&path).map_err(|cause| self.pin_error(&path, &cause))
    }

    pub(super) fn take_link(&self) -> Result<XdpLink, ProgramError> {
        let link = PinnedLink::from_pin(self.link()).map(FdLink::from);
        link.and_then(XdpLink::try_from).map_err(|cause| self.link_error(cause))
    }

    /// Pins a new link, in the place of a stale one where there is one.
    pub(super) fn pin_link(&self, link: XdpLink, replace: bool) -> Result<(), ProgramError> {
        let link = FdLink::try_from(link).map_err(|cause| self.link_error(cause))?;
        let path = self.link();
        if replace {
            self.remove(&path)?;
        }
        link.pin(&path).map(drop).map_err(|cause| self.pin_error(&path, &cause))
    }

    /// Pins the new map in the place of the old; the program holds its map by itself.
    pub(super) fn pin_sockets(&self, sockets: &Map) -> Result<(), ProgramError> {
        let path = self.sockets();
        self.remove(&path)?;
        sockets.pin(&path).map_err(|cause| self.pin_error(&path, &cause))
    }

    pub(super) fn socket_error(&self, queue: u32, source: MapError) -> ProgramError {
        ProgramError::Socket { interface: self.interface.clone(), queue, source }
    }

    fn link(&self) -> PathBuf {
        self.directory.join("link")
    }

    fn program(&self) -> PathBuf {
        self.directory.join("program")
    }

    fn sockets(&self) -> PathBuf {
        self.directory.join("sockets")
    }

    fn remove(&self, path: &Path) -> Result<(), ProgramError> {
        match fs::remove_file(path) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                Err(self.error("remove", path, cause))
            }
            _ => Ok(()),
        }
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

    fn link_error(&self, source: LinkError) -> ProgramError {
        ProgramError::Link { interface: self.interface.clone(), path: self.link(), source }
    }
}
