//! Tables of a simulated node in files, and what a node before it left there.

use std::path::{Path, PathBuf};

use lockgate_dataplane::connection::keep::{self, Start};
use lockgate_dataplane::connection::left::{self, Left};
use lockgate_dataplane::connection::translation::Translations;
use lockgate_dataplane::connection::{Adoption, Adoptions, Connections, Settings};
use lockgate_dataplane::ids::WorkerId;
use lockgate_dataplane::runtime::Adopted;
use lockgate_dataplane::worker::mailbox::{Command, Reply};

use super::{Shape, World};

/// The start of the simulated machine.
const BOOT: u128 = 0x10c6_0a7e;

/// Where a simulated node keeps its connections.
#[derive(Clone, Debug)]
pub(super) struct Keep {
    directory: PathBuf,
    start: Start,
}

/// A worker's tables, in a file where the node has a place for them.
pub(super) fn tables(
    keep: Option<&Keep>,
    id: WorkerId,
    settings: &Settings,
) -> (Connections, Translations) {
    match keep {
        Some(keep) => keep::make(&keep.directory, keep.start, id, settings).unwrap(),
        None => (Connections::new(settings), Translations::new(settings)),
    }
}

impl World {
    /// A node that keeps its connections in this directory, for nodes with greater stamps.
    #[must_use]
    pub fn kept(shape: Shape, directory: &Path, stamp: u64) -> Self {
        let start = Start { boot: BOOT, stamp };
        Self::made(shape, Some(Keep { directory: directory.to_owned(), start }))
    }

    /// Which start it is.
    #[must_use]
    pub fn stamp(&self) -> u64 {
        self.keep.as_ref().map_or(0, |keep| keep.start.stamp)
    }

    /// What nodes before it left.
    #[must_use]
    pub fn left(&self) -> Vec<Left> {
        let read = |keep: &Keep| left::read(&keep.directory, keep.start, self.now).unwrap();
        self.keep.as_ref().map(read).unwrap_or_default()
    }

    /// From now on, and for so long, has workers pick up TCP of which nothing is known.
    pub fn pick_up_for(&mut self, ms: u64) {
        let until = self.now.after_ms(ms);
        for seat in &mut self.seats {
            assert!(seat.mailbox.commands.push(Command::PickUp(until)).is_ok());
        }
    }

    /// Gives workers connections of a node before it; says what became of these.
    pub fn adopt(&mut self, rows: &[(WorkerId, Adoption)]) -> Adopted {
        let mut became = Adopted::default();
        for (seat, id) in self.seats.iter_mut().zip((0..).map(WorkerId)) {
            let own = rows.iter().filter(|(owner, _)| *owner == id).map(|(_, row)| *row);
            let page = Box::new(Adoptions::new(own.collect()));
            assert!(seat.mailbox.commands.push(Command::Adopt(page)).is_ok());
            seat.worker.turn(self.now);
            let Some(Reply::Adopted(page)) = seat.mailbox.replies.pop() else {
                panic!("worker {} did not take its page in", id.0);
            };
            became.adopted += page.adopted;
            became.no_room += page.no_room;
            became.known += page.known;
            became.over += page.over;
        }
        became
    }
}
