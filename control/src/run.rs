//! `lockgate run`: start, one loop, stop.
//!
//! Start goes from what can be refused cheaply to what changes the machine: lock, manifests,
//! capabilities, sockets; then interfaces, workers, the first snapshot. One task then owns all
//! state and is woken by news of objects, links, questions, signals and a tick a second. At the end the
//! interfaces that were made are removed; on those that were found the program stays and drops.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lockgate_dataplane::runtime::Detach;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, info, warn};

use crate::applied::Reporter;
use crate::ask::{Asked, questions};
use crate::attach::{AttachError, Attacher, InterfaceName, LinkEvents};
use crate::attachments::{self, Attachments, CniSocket, Store, StoreError, Wish};
use crate::cluster::Cluster;
use crate::dataplane::Dataplane;
use crate::files::Files;
use crate::http::{HttpError, HttpServer};
use crate::last_good::{LastGood, Recalled};
use crate::lock::{self, Lock, LockError, NodeLock};
use crate::manifest::Problem;
use crate::metrics::ApplyLatency;
use crate::outfit::Outfit;
use crate::preflight::{self, PreflightError};
use crate::privileges;
use crate::report::Observer;
use crate::settings::{ClusterPlan, Settings, SourcePlan};
use crate::socket::{ShowSocket, SocketError};
use crate::source::{Feed, Source};
use crate::sync::{Node, Sync};
use crate::watch::{self, ClientError, Watches};
use crate::watch_dir::{DirWatch, WatchError};

/// How often workers are looked at and what failed is tried again.
const TICK: Duration = Duration::from_secs(1);
/// How often workers are asked whether they use a snapshot that is on its way.
const IN_FORCE_POLL: Duration = Duration::from_millis(1);

/// Why the switch did not start, or stopped badly.
#[derive(Debug, thiserror::Error)]
pub enum RunError<E: Error + 'static> {
    /// Another one runs.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Manifests that cannot be read.
    #[error("the manifests cannot be read, so nothing is started:{}", lines(.0))]
    Manifests(Vec<Problem>),
    /// The directory cannot be watched.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// The API server cannot be asked.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The machine lacks something.
    #[error(transparent)]
    Preflight(#[from] PreflightError),
    /// The Unix socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// What is kept of attached pods.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The address for metrics.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// An interface that the switch itself needs.
    #[error("{}", with_remedy(.0))]
    Attach(#[from] AttachError),
    /// The switch.
    #[error("the switch did not start: {0}")]
    Switch(#[source] E),
    /// The switch, at the end.
    #[error("the switch did not stop cleanly: {0}")]
    Stop(#[source] E),
    /// An interface at the end of a switch that gives all of them back.
    #[error("an interface was not given back: {}", with_remedy(.0))]
    Release(#[source] AttachError),
    /// Signals or the metric's buckets: broken invariants of the process.
    #[error("{0}")]
    Process(String),
}

fn with_remedy(error: &AttachError) -> String {
    format!("{error}: {}", error.remedy())
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().fold(String::new(), |text, problem| format!("{text}\n  {problem}"))
}

/// What wakes the loop.
struct Wakers {
    feed: Feed,
    links: LinkEvents,
    asked: Receiver<Asked>,
    wishes: Receiver<Wish>,
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

/// Runs until told to stop. `start` makes the switch, given the anchors of its workers.
///
/// # Errors
/// [`RunError`], with what to change.
pub async fn run<D: Dataplane>(
    settings: Settings,
    detach: Detach,
    start: impl FnOnce(&Settings, &[InterfaceName]) -> Result<D, D::Error>,
) -> Result<(), RunError<D::Error>> {
    preflight::check(&settings)?;
    let _lock = Lock::take(&settings.lock)?;
    let _node = NodeLock::take(lock::NODE)?;
    let (source, feed, reporter) = open(&settings.source).await?;
    let (wish, wishes) = attachments::wishes();
    let plan = settings.source.cluster();
    let cni = plan.map(|plan| CniSocket::listen(&plan.cni_socket)).transpose()?;
    let last_good = plan.map(|plan| LastGood::start(&plan.last_good, &plan.node)).transpose();
    let last_good = last_good.map_err(|error| RunError::Process(error.to_string()))?;
    let outfit = plan.map(|plan| Outfit::new(plan, settings.host_port.as_ref()));
    let (asker, incoming) = questions();
    let socket = ShowSocket::listen(&settings.socket)?;
    let http = HttpServer::listen(settings.listen).await?;
    if !settings.listen.ip().is_loopback() {
        warn!(listen = %settings.listen, "metrics are served beyond this machine");
    }
    let listening = http.address();
    let (mut attacher, links) = Attacher::open(&settings.bpffs)?;
    let wakers = wakers(feed, links, incoming, wishes)
        .map_err(|error| RunError::Process(error.to_string()))?;
    for problem in source.problems() {
        warn!(%problem, "{}", source.spoken());
    }
    let begun = begin(&settings, &mut attacher, source, start).await;
    let lowered = privileges::after_start().map_err(|error| RunError::Process(error.to_string()));
    let (sync, attachments) = match begun.and_then(|begun| lowered.map(|()| begun)) {
        Ok(begun) => begun,
        Err(error) => {
            clean_up(&mut attacher).await;
            return Err(error);
        }
    };
    let mut served = JoinSet::new();
    served.spawn(socket.serve(asker.clone()));
    served.spawn(http.serve(asker));
    if let Some(cni) = cni {
        served.spawn(cni.serve(wish));
    }
    info!(
        listen = %listening,
        socket = %settings.socket.display(),
        workers = settings.workers(),
        cores = ?settings.cores,
        frames = %settings.budget,
        "running"
    );
    let observer = Observer::new(settings);
    let state = State { sync, attachments, last_good, outfit, reporter, observer };
    let sync = turn(state, wakers, &mut attacher).await;
    let ended = end(sync, &mut attacher, detach).await;
    served.shutdown().await; // the sockets' files are gone after this
    info!("stopped");
    ended
}

fn wakers(
    feed: Feed,
    links: LinkEvents,
    asked: Receiver<Asked>,
    wishes: Receiver<Wish>,
) -> io::Result<Wakers> {
    let hangup = signal(SignalKind::hangup())?;
    let (terminate, interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(Wakers { feed, links, asked, wishes, hangup, terminate, interrupt })
}

/// Opens the source of objects, and what tells of its changes.
async fn open<E: Error + 'static>(
    from: &SourcePlan,
) -> Result<(Source, Feed, Option<Reporter>), RunError<E>> {
    match from {
        SourcePlan::Directory(directory) => {
            // Watched before it is read: a change in between is told of.
            let watch = DirWatch::open(directory)?;
            let files = Files::read(directory).map_err(RunError::Manifests)?;
            Ok((Source::Files(Box::new(files)), Feed::Directory(watch), None))
        }
        SourcePlan::Cluster(plan) => {
            let client = watch::connect(plan.kubeconfig.as_deref()).await?;
            let cluster = Box::new(Cluster::new(&plan.node));
            let reporter = Reporter::start(&client, &plan.node);
            let feed = Feed::Cluster(Watches::start(&client));
            Ok((Source::Cluster(cluster), feed, Some(reporter)))
        }
    }
}

/// Makes interfaces and workers, and the state around them.
async fn begin<D: Dataplane>(
    settings: &Settings,
    attacher: &mut Attacher,
    source: Source,
    start: impl FnOnce(&Settings, &[InterfaceName]) -> Result<D, D::Error>,
) -> Result<(Sync<D>, Option<Attachments>), RunError<D::Error>> {
    let attachments = remembered(&settings.source, attacher).await?;
    let latency = ApplyLatency::new().map_err(|e| RunError::Process(e.to_string()))?;
    let anchors = attacher.make_anchors(settings.workers()).await?;
    let probed = match &settings.host_port {
        Some(plan) => Some(attacher.host_port(plan, settings.workers()).await?),
        None => None,
    };
    let dataplane = start(settings, &anchors).map_err(RunError::Switch)?;
    let node = Node {
        host: settings.host_port.clone(),
        workers: settings.workers(),
        addresses: settings.node_addresses.clone(),
        own_node: settings.own_node,
        name: name_of(settings).map(Arc::from),
        ports_max: usize::from(settings.ports_max),
        policy_metrics_max: settings.policy_metrics_max,
    };
    let mut sync = Sync::new(node, source, dataplane, latency);
    if let Some(probed) = probed {
        sync.add_host(probed).map_err(RunError::Switch)?;
    }
    if let Err(error) = attacher.sweep() {
        warn!(%error, "a pin of an interface that has gone is left");
    }
    if let Some(attachments) = &attachments {
        attachments.restore(&mut sync);
    }
    Ok((sync, attachments))
}

/// What a predecessor has attached, where pods are attached by a container runtime.
async fn remembered<E: Error + 'static>(
    source: &SourcePlan,
    attacher: &Attacher,
) -> Result<Option<Attachments>, RunError<E>> {
    let Some(ClusterPlan { attachments, .. }) = source.cluster() else { return Ok(None) };
    let links = attacher.links().await?;
    let is_there = |name: &str| links.iter().any(|link| link.name == name);
    Ok(Some(Attachments::open(Store::open(attachments)?, is_there)?))
}

/// What the loop owns.
struct State<D: Dataplane> {
    sync: Sync<D>,
    attachments: Option<Attachments>,
    /// Keeps what the cluster says, where objects are a cluster's.
    last_good: Option<LastGood>,
    outfit: Option<Outfit>,
    /// Tells the cluster, where objects are a cluster's.
    reporter: Option<Reporter>,
    observer: Observer,
}

/// The loop.
async fn turn<D: Dataplane>(
    state: State<D>,
    mut wakers: Wakers,
    attacher: &mut Attacher,
) -> Sync<D> {
    let State { mut sync, mut attachments, mut last_good, mut outfit, mut reporter, mut observer } =
        state;
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        sync.advance(attacher).await;
        let mut is_waited_for = sync.is_pending();
        if let Some(attachments) = &mut attachments {
            attachments.settle(&mut sync, Instant::now());
            is_waited_for |= attachments.has_waiting();
        }
        tokio::select! {
            news = wakers.feed.news() => {
                if let Some(last_good) = &mut last_good {
                    last_good.keep(&news).await;
                }
                sync.learn(news);
            }
            kept = recalled(&mut last_good), if !sync.source().is_whole() => sync.fall_back(kept),
            _ = wakers.links.changed() => sync.links_changed(),
            Some(asked) = wakers.asked.recv() => {
                // Who asked may have gone.
                let _gone = asked.reply.send(observer.answer(asked.question, &mut sync));
            }
            Some(wish) = wakers.wishes.recv() => {
                if let Some(attachments) = &mut attachments {
                    attachments.take(wish, &mut sync, Instant::now());
                }
            }
            () = tokio::time::sleep(IN_FORCE_POLL), if is_waited_for => {}
            _ = tick.tick() => {
                observer.look(&mut sync);
                if let Some(outfit) = &mut outfit {
                    let mut problems = outfit.keep(&mut sync, attacher).await;
                    if let Some(last_good) = &last_good {
                        problems.extend(last_good.problems(sync.source().is_whole()));
                        sync.note_kept(last_good.kept());
                    }
                    problems.extend(reporter.iter_mut().flat_map(|one| one.tell(&mut sync)));
                    sync.tell_of_node(problems);
                }
                sync.tick();
            }
            _ = wakers.hangup.recv() => {
                info!("reading everything anew");
                wakers.feed.renew();
            }
            _ = wakers.terminate.recv() => break,
            _ = wakers.interrupt.recv() => break,
        }
    }
    sync
}

/// What a predecessor had in force, where the API server lets this one wait for it.
async fn recalled(last_good: &mut Option<LastGood>) -> Recalled {
    match last_good {
        Some(last_good) => last_good.recalled().await,
        None => std::future::pending().await,
    }
}

/// Stops the workers, leaves or gives back the interfaces found, removes those made.
async fn end<D: Dataplane>(
    sync: Sync<D>,
    attacher: &mut Attacher,
    detach: Detach,
) -> Result<(), RunError<D::Error>> {
    info!(?detach, "stopping");
    let stopped = sync.into_dataplane().stop().map_err(RunError::Stop);
    let released = match detach {
        // What is pinned is told by the pins, not by what we remember: ports that were leaving,
        // interfaces that were refused, and those of a predecessor are among them.
        Detach::Detach => attacher.release().await.map_err(RunError::Release),
        Detach::Leave => Ok(()),
    };
    clean_up(attacher).await;
    stopped.and(released)
}

/// Removes what the switch made, and the pins that were on it.
async fn clean_up(attacher: &mut Attacher) {
    if let Err(error) = attacher.remove_made().await {
        error!(%error, "an interface that the switch made is left behind");
    }
    if let Err(error) = attacher.sweep() {
        warn!(%error, "a pin of an interface that has gone is left");
    }
}

/// What the cluster calls this node; in a directory of manifests what is set, or the machine's name.
fn name_of(settings: &Settings) -> Option<String> {
    match settings.source.cluster() {
        Some(plan) => Some(plan.node.clone()),
        None => settings.node.clone().or_else(host_name),
    }
}

/// What the machine is called: what kubelet calls its node where it is not told otherwise.
fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_lowercase()).filter(|name| !name.is_empty())
}
