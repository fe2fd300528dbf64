//! Taking over: everything is prepared beside the predecessor, then its ports are taken.
//!
//! From `given` on nothing passes until the snapshot is in force: what can be done before is done
//! before, and what can wait (the files of attachments, pods that are not attached yet, pins that
//! are swept) waits until after.

use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::begin::{Begun, make};
use super::hear::hear;
use super::{Doors, RunError, Wakers, renew};
use crate::attach::{Attacher, InterfaceName, Probed};
use crate::attachments::Attachments;
use crate::dataplane::Dataplane;
use crate::handover::Predecessor;
use crate::last_good::LastGood;
use crate::lock::Locks;
use crate::settings::Settings;
use crate::source::{Feed, Source};
use crate::sync::Sync;

/// How long workers may take to use the snapshot of what was taken.
const IN_FORCE: Duration = Duration::from_secs(2);

/// How long nothing must come before what was compiled counts as new: a compilation holds this
/// thread, and what watches were sent meanwhile they have yet to read. The predecessor still serves.
const QUIET: Duration = Duration::from_millis(20);

/// What became of it.
pub(super) enum Took<D: Dataplane> {
    /// This is the switch from now on.
    All(Box<Begun<D>>),
    /// The predecessor ended before it gave.
    Nothing,
    /// We were told to stop.
    Told,
}

/// What a successor learns from before it takes anything.
pub(super) struct Learning<'r> {
    pub(super) source: Source,
    pub(super) wakers: &'r mut Wakers,
    /// Both agents keep what they hear: see `last_good::log`.
    pub(super) last_good: &'r mut Option<LastGood>,
}

/// Takes over from a predecessor.
pub(super) async fn take_over<D: Dataplane>(
    settings: &Settings,
    mut predecessor: Predecessor,
    attacher: &mut Attacher,
    Learning { source, wakers, last_good }: Learning<'_>,
    start: impl Fn(&Settings, &[InterfaceName]) -> Result<D, D::Error>,
) -> Result<Took<D>, RunError<D::Error>> {
    let anchors = predecessor.anchors().other();
    info!(process = predecessor.process(), "preparing to take over from the switch that runs");
    let (mut sync, mut attachments) = make(settings, attacher, source, start, anchors).await?;
    while !sync.is_whole() {
        tokio::select! {
            news = wakers.feed.news() => {
                if let Some(last_good) = &mut *last_good {
                    last_good.keep(&news).await;
                }
                sync.learn(news);
            }
            error = predecessor.gone() => {
                warn!(%error, "the switch that ran has ended before it gave");
                return Ok(Took::Nothing);
            }
            _ = wakers.terminate.recv() => return Ok(Took::Told),
            _ = wakers.interrupt.recv() => return Ok(Took::Told),
        }
    }
    let host = look_at_host(settings, attacher).await?;
    sync.prepare(host.as_ref(), attacher).await;
    // The predecessor has it in force: without it what it denies by now would be open.
    hear(&mut wakers.feed, last_good, &mut sync, QUIET).await;
    sync.prepare_rules();
    if let Err(error) = predecessor.give().await {
        warn!(%error, "nothing was given");
        return Ok(Took::Nothing);
    }
    let begun = Instant::now();
    let locks = Locks::take(&settings.lock)?;
    // Before any socket is bound: whoever finds no agent may trust that none forwards. Who asks now
    // is answered when everything is taken.
    let doors = Doors::open(settings, anchors).await?;
    let learning = (&mut wakers.feed, last_good);
    take(settings, host, attacher, &mut sync, learning).await?;
    predecessor.taken().await;
    sync.taken();
    let ms = begun.elapsed().as_secs_f64() * 1e3;
    info!(ports = sync.ports().held().len(), ms, "taken over");
    catch_up(attacher, &mut attachments, &mut sync).await?;
    let predecessor = Some(predecessor);
    Ok(Took::All(Box::new(Begun { sync, attachments, locks, doors, anchors, predecessor })))
}

/// Binds what was prepared and publishes, with what came until now.
async fn take<D: Dataplane>(
    settings: &Settings,
    host: Option<Probed>,
    attacher: &mut Attacher,
    sync: &mut Sync<D>,
    (feed, last_good): (&mut Feed, &mut Option<LastGood>),
) -> Result<(), RunError<D::Error>> {
    let host = match (host, &settings.host_port) {
        // It has another number of queues, and is made anew.
        (None, Some(plan)) => Some(attacher.host_port(plan, settings.workers()).await?),
        (host, _) => host,
    };
    let links = attacher.links().await?;
    // The predecessor's workers rest.
    sync.inherit_given(settings.restart.keep.clone(), settings.restart.grace);
    // What came while it was asked for: its loop has read that until it gave.
    hear(feed, last_good, sync, Duration::ZERO).await;
    sync.take(host, &links).map_err(RunError::Switch)?;
    if sync.await_in_force(IN_FORCE).await { Ok(()) } else { Err(RunError::NotInForce) }
}

/// The host port's interface, where it is as it shall be. Nothing of it is changed.
async fn look_at_host<E: std::error::Error + 'static>(
    settings: &Settings,
    attacher: &mut Attacher,
) -> Result<Option<Probed>, RunError<E>> {
    let Some(plan) = &settings.host_port else { return Ok(None) };
    let workers = settings.workers();
    if !attacher.has_host_port(plan, workers).await? {
        return Ok(None);
    }
    Ok(Some(attacher.host_port(plan, workers).await?))
}

/// Takes note of what was attached and detached while this was prepared.
async fn catch_up<D: Dataplane>(
    attacher: &Attacher,
    attachments: &mut Option<Attachments>,
    sync: &mut Sync<D>,
) -> Result<(), RunError<D::Error>> {
    renew(attacher, attachments, sync).await?;
    if let Err(error) = attacher.sweep() {
        warn!(%error, "a pin of an interface that has gone is left");
    }
    Ok(())
}
