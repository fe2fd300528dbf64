//! What the API server is asked for, and what it says: the only place that talks to Kubernetes
//! about the cluster's objects.
//!
//! ```text
//!   resource --discovery--> absent: asked again later
//!      |
//!      `--> list, then watch, for ever --> Heard --> cluster::Cluster (pure)
//! ```
//!
//! One task for each resource. What goes wrong is told and tried again with a pause that grows; a
//! resource is said to be absent only where the API server's own list of resources says so, for
//! what is absent has no objects, and a denial must not vanish with a failing server.

mod catalogue;
mod client;
mod follow;
mod gate;
mod patience;
mod pulse;
mod resource;
mod seen;
mod trouble;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{Receiver, channel};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::manifest::{Alike, Object, ObjectKey, ObjectKind, Problem};
use catalogue::Catalogue;
pub use client::{ClientError, connect};
use follow::Watch;
pub(crate) use resource::lasting;
pub use resource::{RESOURCES, Resource};
pub use seen::PodFacts;
pub use trouble::Trouble;
pub(crate) use trouble::{causes, without_users};

/// What may wait to be taken in: enough for a page of a list.
const WAITING_MAX: usize = 1024;
/// What is heard.
#[derive(Debug)]
pub enum Heard {
    /// Of a resource.
    Of(ObjectKind, What),
    /// Whether the API server answers at all.
    Pulse(Result<(), Trouble>),
}

/// What is heard of a resource.
#[derive(Debug)]
pub enum What {
    /// A list begins: what it does not hold by its end is gone.
    Begun(&'static str),
    /// An object is there, in this form.
    There(Box<There>),
    /// An object is gone.
    Gone(ObjectKey),
    /// The list has ended.
    Whole,
    /// The API server has no such resource.
    Absent,
    /// The watch has lasted: what it does not tell has not happened.
    Steady,
    /// Something went wrong, for so long; it is tried again.
    Failed(Trouble, Duration),
}

/// An object as the API server has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct There {
    /// What it means.
    pub object: Object,
    /// What is to be said of it.
    pub problems: Vec<Problem>,
    /// What only the cluster's pods have.
    pub facts: PodFacts,
    /// Its `metadata.resourceVersion`.
    pub version: String,
}

/// The watches: they end when this is dropped.
#[derive(Debug)]
pub struct Watches {
    heard: Receiver<Heard>,
    alike: Alike,
    _tasks: JoinSet<()>,
}

impl Watches {
    /// Begins to watch every resource that is known.
    #[must_use]
    pub fn start(client: &Client) -> Self {
        let (sender, heard) = channel(WAITING_MAX);
        let mut tasks = JoinSet::new();
        let catalogue = Arc::new(Catalogue::new(client.clone()));
        let restored = watch::Sender::new(0);
        for resource in RESOURCES {
            let (client, catalogue) = (client.clone(), Arc::clone(&catalogue));
            let watch = Watch { client, catalogue, resource, to: sender.clone() };
            tasks.spawn(watch.run(restored.subscribe()));
        }
        tasks.spawn(pulse::run(client.clone(), sender, restored));
        Self { heard, alike: Alike::default(), _tasks: tasks }
    }

    /// Waits for something to be heard, and takes everything that has come by then.
    pub async fn heard(&mut self) -> Vec<Heard> {
        let mut all = Vec::new();
        self.heard.recv_many(&mut all, WAITING_MAX).await;
        for one in &mut all {
            if let Heard::Of(_, What::There(there)) = one {
                self.alike.share(&mut there.object);
            }
        }
        all
    }
}
