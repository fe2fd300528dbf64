//! A switch that runs: what its loop owns, and what it looks at each second.

use tokio::task::JoinSet;
use tracing::{info, warn};

use super::begin::Begun;
use super::doors::Inside;
use crate::applied::Reporter;
use crate::attach::{AnchorSet, Attacher};
use crate::attachments::Attachments;
use crate::dataplane::Dataplane;
use crate::handover::{Predecessor, Successor};
use crate::last_good::LastGood;
use crate::lock::Locks;
use crate::outfit::Outfit;
use crate::report::Observer;
use crate::settings::Settings;
use crate::sync::Sync;

/// What the loop owns.
pub(super) struct State<D: Dataplane> {
    pub(super) sync: Sync<D>,
    pub(super) attachments: Option<Attachments>,
    /// Keeps what the cluster says, where objects are a cluster's.
    pub(super) last_good: Option<LastGood>,
    pub(super) outfit: Option<Outfit>,
    /// Tells the cluster, where objects are a cluster's.
    pub(super) reporter: Option<Reporter>,
    pub(super) observer: Observer,
}

impl<D: Dataplane> State<D> {
    /// What is looked at each second: workers, what the node was given, what others are told.
    pub(super) async fn look(&mut self, attacher: &Attacher) {
        let Self { sync, last_good, outfit, reporter, observer, .. } = self;
        observer.look(sync);
        if let Some(outfit) = outfit {
            let mut problems = outfit.keep(sync, attacher).await;
            if let Some(last_good) = last_good {
                problems.extend(last_good.problems(sync.source().is_whole()));
                sync.note_kept(last_good.kept());
            }
            problems.extend(reporter.iter_mut().flat_map(|one| one.tell(sync)));
            sync.tell_of_node(problems);
        }
        sync.tick();
    }
}

/// Those that tell others of what is known here.
pub(super) struct Telling {
    pub(super) last_good: Option<LastGood>,
    pub(super) outfit: Option<Outfit>,
    pub(super) reporter: Option<Reporter>,
}

/// A switch that runs.
pub(super) struct Running<D: Dataplane> {
    pub(super) state: State<D>,
    /// `None` while everything is given.
    pub(super) locks: Option<Locks>,
    pub(super) served: JoinSet<()>,
    pub(super) inside: Inside,
    pub(super) anchors: AnchorSet,
    /// Whose ports were taken, until it has ended.
    pub(super) predecessor: Option<Predecessor>,
    /// Who has taken everything.
    pub(super) successor: Option<Successor>,
}

impl<D: Dataplane> Running<D> {
    /// Opens the doors to whoever asks.
    pub(super) fn new(
        settings: &Settings,
        begun: Begun<D>,
        inside: Inside,
        telling: Telling,
    ) -> Self {
        let Begun { sync, attachments, locks, doors, anchors, predecessor } = begun;
        if !settings.listen.ip().is_loopback() {
            warn!(listen = %settings.listen, "metrics are served beyond this machine");
        }
        info!(
            listen = %doors.listening(),
            socket = %settings.socket.display(),
            workers = settings.workers(),
            cores = ?settings.cores,
            frames = %settings.budget,
            "running"
        );
        let mut served = JoinSet::new();
        doors.serve(&inside, &mut served);
        let observer = Observer::new(settings.clone());
        let Telling { last_good, outfit, reporter } = telling;
        let state = State { sync, attachments, last_good, outfit, reporter, observer };
        let (locks, successor) = (Some(locks), None);
        Self { state, locks, served, inside, anchors, predecessor, successor }
    }
}
