//! Where objects come from: a directory of manifests, or the API server of a cluster.

use std::collections::BTreeSet;
use std::time::{Instant, SystemTime};

use crate::applied::Versions;
use crate::cluster::Cluster;
use crate::files::Files;
use crate::inventory::{Effect, Inventory};
use crate::manifest::{ObjectKey, Problem};
use crate::watch::{Heard, Watches};
use crate::watch_dir::{DirWatch, Settled};

/// Everything that is known of objects, by where it comes from.
#[derive(Debug)]
pub enum Source {
    /// A directory.
    Files(Box<Files>),
    /// A cluster.
    Cluster(Box<Cluster>),
}

impl From<Files> for Source {
    fn from(files: Files) -> Self {
        Self::Files(Box::new(files))
    }
}

/// Something new.
#[derive(Debug)]
pub enum News {
    /// Of the directory.
    Settled(Settled),
    /// Of the cluster, and when it was heard.
    Heard(Vec<Heard>, Instant),
}

/// What tells of news.
#[derive(Debug)]
pub enum Feed {
    /// The directory's events.
    Directory(DirWatch),
    /// The API server's.
    Cluster(Watches),
}

impl Feed {
    /// Waits for news.
    pub async fn news(&mut self) -> News {
        match self {
            Self::Directory(watch) => News::Settled(watch.settled().await),
            Self::Cluster(watches) => News::Heard(watches.heard().await, Instant::now()),
        }
    }

    /// Has everything read anew, where that can be asked for: watches of the API server read anew
    /// by themselves.
    pub fn renew(&mut self) {
        if let Self::Directory(watch) = self {
            watch.renew();
        }
    }
}

impl Source {
    /// What is known.
    #[must_use]
    pub fn inventory(&self) -> &Inventory {
        match self {
            Self::Files(files) => files.inventory(),
            Self::Cluster(cluster) => cluster.inventory(),
        }
    }

    /// The cluster, where it is one.
    #[must_use]
    pub fn cluster(&self) -> Option<&Cluster> {
        match self {
            Self::Files(_) => None,
            Self::Cluster(cluster) => Some(cluster),
        }
    }

    /// The cluster, to be told of pods that were attached.
    pub fn cluster_mut(&mut self) -> Option<&mut Cluster> {
        match self {
            Self::Files(_) => None,
            Self::Cluster(cluster) => Some(cluster),
        }
    }

    /// The objects that mean something else since this was last called.
    pub fn take_changes(&mut self) -> BTreeSet<ObjectKey> {
        match self {
            Self::Files(files) => files.take_changes(),
            Self::Cluster(cluster) => cluster.take_changes(),
        }
    }

    /// Takes news in; since when what changed has been known.
    pub fn take(&mut self, news: News) -> (Effect, Instant) {
        match (self, news) {
            (Self::Files(files), News::Settled(settled)) => {
                (files.take(&settled.changed), settled.at)
            }
            (Self::Cluster(cluster), News::Heard(all, at)) => {
                let now = SystemTime::now();
                let effect = all
                    .into_iter()
                    .fold(Effect::Nothing, |effect, heard| effect.or(cluster.take(heard, now)));
                (effect, at)
            }
            // What is fed is what is held.
            (_, News::Settled(Settled { at, .. }) | News::Heard(_, at)) => (Effect::Nothing, at),
        }
    }

    /// Whether what is known may be enforced: before everything has been read once nothing is, but
    /// what a predecessor had in force (NP-58).
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.cluster().is_none_or(Cluster::may_be_enforced)
    }

    /// Up to which `metadata.resourceVersion` each resource was taken in; of a directory none.
    #[must_use]
    pub fn versions(&self) -> Versions {
        self.cluster().map_or_else(Versions::default, Cluster::versions)
    }

    /// Everything to be said.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        match self {
            Self::Files(files) => files.problems(),
            Self::Cluster(cluster) => cluster.problems(),
        }
    }

    /// Whose problems they are, in words.
    #[must_use]
    pub fn spoken(&self) -> &'static str {
        match self {
            Self::Files(_) => "problem in the manifests",
            Self::Cluster(_) => "problem in the cluster",
        }
    }
}
