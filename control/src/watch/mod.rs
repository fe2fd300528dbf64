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

mod client;
mod patience;
mod pulse;
mod resource;
mod seen;
mod trouble;

use futures_util::StreamExt;
use kube::api::{Api, ApiResource};
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Client, Resource as _};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinSet;

use crate::manifest::{Alike, Object, ObjectKey, ObjectKind, Problem};
pub use client::{ClientError, connect};
use patience::Patience;
pub use resource::{RESOURCES, Resource};
pub use seen::PodFacts;
use seen::Seen;
pub use trouble::Trouble;
pub(crate) use trouble::{causes, without_users};

/// What may wait to be taken in: enough for a page of a list.
const WAITING_MAX: usize = 1024;
/// How many objects one page of a list has.
const PAGE: u32 = 500;
/// How long one watch lasts, in seconds: what a dead connection may hide.
const WATCH_SECONDS: u32 = 90;
/// How long an absent resource is not asked for.
const ABSENT_PAUSE: std::time::Duration = std::time::Duration::from_secs(5);

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
    /// Something went wrong; it is tried again.
    Failed(Trouble),
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
        for resource in RESOURCES {
            let watch = Watch { client: client.clone(), resource, to: sender.clone() };
            tasks.spawn(watch.run());
        }
        tasks.spawn(pulse::run(client.clone(), sender));
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

/// The watch of one resource.
struct Watch {
    client: Client,
    resource: Resource,
    to: Sender<Heard>,
}

/// Nobody listens any more.
struct Over;

impl Watch {
    async fn run(self) {
        let mut patience = Patience::default();
        loop {
            let said = match self.find().await {
                Ok(Some(version)) => {
                    patience = Patience::default();
                    self.follow(version).await
                }
                Ok(None) => {
                    let said = self.say(What::Absent).await;
                    tokio::time::sleep(ABSENT_PAUSE).await;
                    said
                }
                Err(trouble) => {
                    let said = self.say(What::Failed(trouble)).await;
                    tokio::time::sleep(patience.pause()).await;
                    said
                }
            };
            if said.is_err() {
                return;
            }
        }
    }

    /// The version in which the API server has the resource, the first that is known here.
    async fn find(&self) -> Result<Option<&'static str>, Trouble> {
        let versions = self.resource.kind.versions();
        if self.resource.is_everywhere() {
            return Ok(versions.first().copied());
        }
        for version in versions {
            match self.client.list_api_group_resources(version).await {
                Ok(list) if list.resources.iter().any(|one| one.name == self.resource.plural) => {
                    return Ok(Some(version));
                }
                Ok(_) => {}
                Err(error) if trouble::is_not_found(&error) => {}
                Err(error) => return Err(Trouble::of(&self.resource, &error)),
            }
        }
        Ok(None)
    }

    /// Lists and watches for as long as the resource is there.
    async fn follow(&self, version: &'static str) -> Result<(), Over> {
        let what = self.resource.as_kube(version);
        let api: Api<Seen> = Api::all_with(self.client.clone(), &what);
        let config = Config::default().page_size(PAGE).timeout(WATCH_SECONDS);
        let mut events = std::pin::pin!(watch(api, config).backoff(Patience::default()));
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => self.say(self.understood(event, version, &what)).await?,
                Err(error) => {
                    let is_gone = trouble::is_of_gone_resource(&error);
                    self.say(What::Failed(Trouble::of_watch(&self.resource, &error))).await?;
                    if is_gone && !self.resource.is_everywhere() {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    fn understood(&self, event: Event<Seen>, version: &'static str, what: &ApiResource) -> What {
        debug_assert_eq!(Seen::plural(what), self.resource.plural);
        match event {
            Event::Init => What::Begun(version),
            Event::InitDone => What::Whole,
            Event::Apply(seen) | Event::InitApply(seen) => {
                What::There(Box::new(seen.read(self.resource.kind, version)))
            }
            Event::Delete(seen) => {
                let gone = seen.read(self.resource.kind, version);
                What::Gone(gone.object.metadata().key.clone())
            }
        }
    }

    async fn say(&self, what: What) -> Result<(), Over> {
        self.to.send(Heard::Of(self.resource.kind, what)).await.map_err(|_| Over)
    }
}
