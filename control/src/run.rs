//! `lockgate run`: start, one loop, stop.
//!
//! Start goes from what can be refused cheaply to what changes the machine: lock, manifests,
//! capabilities, sockets; then interfaces, workers, the first snapshot. One task then owns all
//! state and is woken by news of objects, links, questions, signals and a tick a second. At the end the
//! interfaces that were made are removed; on those that were found the program stays and drops. In a
//! cluster the host port stays too: without it the node's stack would send what is for pods, and for
//! Services, wherever its default route leads.
//!
//! Where another switch holds the locks, and this one was begun to take over ([`Arrival`]), it is
//! asked for everything instead (`take`); and this one gives it to whoever asks it (`give`).

mod begin;
mod doors;
mod error;
mod give;
mod hear;
mod running;
mod take;

use std::io;
use std::time::{Duration, Instant};

use lockgate_dataplane::runtime::Detach;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::Receiver;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::{error, info, warn};

use crate::ask::{Asked, questions};
use crate::attach::{AnchorSet, Attacher, InterfaceName, LinkEvents};
use crate::attachments::{self, Attachments, Store, Wish};
use crate::dataplane::Dataplane;
use crate::handover::{self, HandoverError, Predecessor, Successor};
use crate::last_good::{LastGood, Recalled};
use crate::lock::Locks;
use crate::outfit::Outfit;
use crate::preflight;
use crate::privileges;
use crate::settings::{ClusterPlan, Settings, SourcePlan};
use crate::source::Feed;
use crate::sync::Sync;

use doors::{Doors, Inside};
pub use error::RunError;
use running::{Running, State, Telling};
use take::{Learning, Took};

/// How often workers are looked at and what failed is tried again.
const TICK: Duration = Duration::from_secs(1);
/// How often workers are asked whether they use a snapshot that is on its way.
const IN_FORCE_POLL: Duration = Duration::from_millis(1);
/// How long is waited for a switch that holds the locks and cannot be asked: it begins, or ends.
const UNASKED: Duration = Duration::from_secs(20);
/// How often it is tried.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// How long an end waits for the kernel to remove what this switch has made.
const REMOVAL: Duration = Duration::from_secs(3);
/// The same where no other switch removes what is left, but the next start: who told it to stop waits
/// for half a minute, mostly.
const CLEAN_UP: Duration = Duration::from_secs(10);

/// What a start does where another switch runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It is refused.
    Alone,
    /// It takes over.
    TakeOver,
}

/// Who a start finds.
enum Found {
    Nobody(Locks),
    Predecessor(Predecessor),
}

/// How a run ended.
enum Ended {
    /// For good.
    Stopped,
    /// The predecessor was gone before it gave.
    Alone,
}

/// What wakes the loop.
struct Wakers {
    feed: Feed,
    links: LinkEvents,
    asked: Receiver<Asked>,
    wishes: Receiver<Wish>,
    successors: Receiver<Successor>,
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Wakers {
    /// What tells to stop. All else ends: the feed, and questions that nobody has read.
    fn into_signals(self) -> [Signal; 2] {
        [self.terminate, self.interrupt]
    }
}

/// Runs until told to stop, or until a successor has taken over. `start` makes the switch, given the
/// anchors of its workers.
///
/// # Errors
/// [`RunError`], with what to change.
pub async fn run<D: Dataplane>(
    settings: Settings,
    detach: Detach,
    arrival: Arrival,
    start: impl Fn(&Settings, &[InterfaceName]) -> Result<D, D::Error>,
) -> Result<(), RunError<D::Error>> {
    preflight::check(&settings)?;
    loop {
        let found = find(&settings, arrival).await?;
        match once(&settings, detach, found, &start).await? {
            Ended::Stopped => return Ok(()),
            Ended::Alone => {}
        }
    }
}

/// Takes the locks, or finds who has them.
async fn find<E: std::error::Error + 'static>(
    settings: &Settings,
    arrival: Arrival,
) -> Result<Found, RunError<E>> {
    let begun = Instant::now();
    let asked = handover::path(&settings.lock, &settings.source);
    let node = settings.source.cluster().map(|plan| plan.node.as_str());
    loop {
        match Locks::take(&settings.lock) {
            Err(error) if error.is_held() && arrival == Arrival::TakeOver => {}
            taken => return Ok(Found::Nobody(taken?)),
        }
        match Predecessor::ask(&asked, node).await {
            Err(HandoverError::Unasked { .. }) if begun.elapsed() < UNASKED => {
                sleep(ASK_AGAIN).await;
            }
            asked => return Ok(Found::Predecessor(asked?)),
        }
    }
}

async fn once<D: Dataplane>(
    settings: &Settings,
    detach: Detach,
    found: Found,
    start: &impl Fn(&Settings, &[InterfaceName]) -> Result<D, D::Error>,
) -> Result<Ended, RunError<D::Error>> {
    let (source, feed, reporter) = begin::open(&settings.source).await?;
    let plan = settings.source.cluster();
    let last_good = plan.map(|plan| LastGood::start(&plan.last_good, &plan.node)).transpose();
    let mut last_good = last_good.map_err(|error| RunError::Process(error.to_string()))?;
    let outfit = plan.map(|plan| Outfit::new(plan, settings.host_port.as_ref()));
    let (mut attacher, links) = Attacher::open(&settings.bpffs)?;
    let (inside, mut wakers) =
        wakers(feed, links).map_err(|error| RunError::Process(error.to_string()))?;
    for problem in source.problems() {
        warn!(%problem, "{}", source.spoken());
    }
    let is_alone = matches!(found, Found::Nobody(_));
    let took = match found {
        Found::Nobody(locks) => begin::begin(settings, locks, &mut attacher, source, start)
            .await
            .map(|begun| Took::All(Box::new(begun))),
        Found::Predecessor(one) => {
            let learning = Learning { source, wakers: &mut wakers, last_good: &mut last_good };
            take::take_over(settings, one, &mut attacher, learning, start).await
        }
    };
    let ended = match took {
        // What only a start needs is kept until there is a switch: it may be made twice.
        Ok(Took::All(begun)) => match privileges::after_start() {
            Ok(()) => {
                let telling = Telling { last_good, outfit, reporter };
                let running = Running::new(settings, *begun, inside, telling);
                return serve(settings, detach, running, wakers, attacher).await;
            }
            Err(error) => Err(RunError::Process(error.to_string())),
        },
        Ok(Took::Told) => Ok(Ended::Stopped),
        Ok(Took::Nothing) => Ok(Ended::Alone),
        Err(error) => Err(error),
    };
    if is_alone {
        clean_up(&mut attacher).await;
    } else {
        remove_anchors(&mut attacher).await;
    }
    ended
}

fn wakers(feed: Feed, links: LinkEvents) -> io::Result<(Inside, Wakers)> {
    let hangup = signal(SignalKind::hangup())?;
    let (terminate, interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (asker, incoming) = questions();
    let (wish, wishes) = attachments::wishes();
    let (successor, successors) = handover::successors();
    let inside = Inside { asker, wish, successor };
    let wakers =
        Wakers { feed, links, asked: incoming, wishes, successors, hangup, terminate, interrupt };
    Ok((inside, wakers))
}

/// What a predecessor has attached, where pods are attached by a container runtime.
async fn remembered<E: std::error::Error + 'static>(
    source: &SourcePlan,
    attacher: &Attacher,
) -> Result<Option<Attachments>, RunError<E>> {
    let Some(ClusterPlan { attachments, .. }) = source.cluster() else { return Ok(None) };
    let store = Store::open(attachments)?;
    let found = store.read()?;
    let links = attacher.links().await?;
    let is_there = |name: &str| links.iter().any(|link| link.name == name);
    Ok(Some(Attachments::open(store, found, is_there)))
}

/// Reads again what is attached, where another agent had a hand in it.
async fn renew<D: Dataplane>(
    attacher: &Attacher,
    attachments: &mut Option<Attachments>,
    sync: &mut Sync<D>,
) -> Result<(), RunError<D::Error>> {
    let Some(attachments) = attachments else { return Ok(()) };
    let found = attachments.read()?;
    let links = attacher.links().await?;
    let is_there = |name: &str| links.iter().any(|link| link.name == name);
    attachments.renew(found, is_there, sync);
    Ok(())
}

/// Serves until it is told to stop, or everything is taken.
async fn serve<D: Dataplane>(
    settings: &Settings,
    detach: Detach,
    mut running: Running<D>,
    mut wakers: Wakers,
    mut attacher: Attacher,
) -> Result<Ended, RunError<D::Error>> {
    while let Some(successor) = turn(&mut running, &mut wakers, &mut attacher).await {
        let given =
            give::give(settings, &mut running, &mut wakers.feed, &attacher, successor).await;
        match given {
            Ok(false) => continue,
            // Workers, memory and all that is known.
            Ok(true) => {
                drop(running.state);
                info!("workers and their memory are gone");
            }
            Err(_) => {}
        }
        remove_anchors(&mut attacher).await;
        given?;
        drop(running.successor); // it hears that we are gone
        let [terminate, interrupt] = wakers.into_signals();
        give::linger(settings, terminate, interrupt).await;
        info!("stopped");
        return Ok(Ended::Stopped);
    }
    let stays = settings.source.cluster().is_some() && detach == Detach::Leave;
    let ended = end(running.state.sync, &mut attacher, detach, stays).await;
    running.served.shutdown().await; // the sockets' files are gone after this
    info!("stopped");
    ended.map(|()| Ended::Stopped)
}

/// The loop: until told to stop, or until a successor asks for everything.
async fn turn<D: Dataplane>(
    running: &mut Running<D>,
    wakers: &mut Wakers,
    attacher: &mut Attacher,
) -> Option<Successor> {
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let State { sync, attachments, last_good, observer, .. } = &mut running.state;
        sync.advance(attacher).await;
        let mut is_waited_for = sync.is_pending();
        if let Some(attachments) = attachments {
            attachments.settle(sync, Instant::now());
            is_waited_for |= attachments.has_waiting();
        }
        tokio::select! {
            news = wakers.feed.news() => {
                if let Some(last_good) = last_good {
                    last_good.keep(&news).await;
                }
                sync.learn(news);
            }
            kept = recalled(last_good), if !sync.source().is_whole() => sync.fall_back(kept),
            _ = wakers.links.changed() => sync.links_changed(),
            Some(asked) = wakers.asked.recv() => {
                // Who asked may have gone.
                let _gone = asked.reply.send(observer.answer(asked.question, sync));
            }
            Some(wish) = wakers.wishes.recv() => {
                if let Some(attachments) = attachments {
                    attachments.take(wish, sync, Instant::now());
                }
            }
            () = sleep(IN_FORCE_POLL), if is_waited_for => {}
            _ = tick.tick() => {
                running.state.look(attacher).await;
            }
            () = end_of(&mut running.predecessor) => {
                running.predecessor = None;
                clear_anchors(attacher, running.anchors.other()).await;
            }
            Some(successor) = wakers.successors.recv() => return Some(successor),
            _ = wakers.hangup.recv() => {
                info!("reading everything anew");
                wakers.feed.renew();
            }
            _ = wakers.terminate.recv() => return None,
            _ = wakers.interrupt.recv() => return None,
        }
    }
}

/// Waits for the end of who has given everything.
async fn end_of(predecessor: &mut Option<Predecessor>) {
    match predecessor {
        Some(predecessor) => drop(predecessor.gone().await),
        None => std::future::pending().await,
    }
}

/// Removes what a predecessor has left that was killed on its way out.
async fn clear_anchors(attacher: &Attacher, anchors: AnchorSet) {
    if let Err(error) = attacher.clear_anchors(anchors, 0).await {
        warn!(%error, "an anchor of the switch that ran before is left");
    }
}

/// The next start, or the successor, removes what is left: an end waits for nobody.
async fn remove_anchors(attacher: &mut Attacher) {
    match tokio::time::timeout(REMOVAL, attacher.remove_anchors()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => warn!(%error, "an anchor of this switch is left"),
        Err(_) => warn!("anchors of this switch are left: the kernel has not removed them yet"),
    }
}

/// What a predecessor had in force, where the API server lets this one wait for it.
async fn recalled(last_good: &mut Option<LastGood>) -> Recalled {
    match last_good {
        Some(last_good) => last_good.recalled().await,
        None => std::future::pending().await,
    }
}

/// Stops the workers, leaves or gives back the interfaces found, removes those made; but the host port
/// where it `stays`.
async fn end<D: Dataplane>(
    sync: Sync<D>,
    attacher: &mut Attacher,
    detach: Detach,
    stays: bool,
) -> Result<(), RunError<D::Error>> {
    info!(?detach, "stopping");
    let stopped = sync.into_dataplane().stop().map_err(RunError::Stop);
    let released = match detach {
        // What is pinned is told by the pins, not by what we remember: ports that were leaving,
        // interfaces that were refused, and those of a predecessor are among them.
        Detach::Detach => attacher.release().await.map_err(RunError::Release),
        Detach::Leave => Ok(()),
    };
    if stays {
        remove_anchors(attacher).await;
    } else {
        clean_up(attacher).await;
    }
    stopped.and(released)
}

/// Removes what the switch made, and the pins that were on it.
async fn clean_up(attacher: &mut Attacher) {
    match tokio::time::timeout(CLEAN_UP, attacher.remove_made()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => error!(%error, "an interface that the switch made is left behind"),
        Err(_) => error!("interfaces of the switch are left: the kernel has not removed them yet"),
    }
    if let Err(error) = attacher.sweep() {
        warn!(%error, "a pin of an interface that has gone is left");
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;
    use tokio::time::timeout;

    use super::*;
    use crate::cni::protocol::Question;
    use crate::watch_dir::DirWatch;

    #[tokio::test]
    async fn whoever_has_asked_an_agent_that_gave_everything_hears_that_it_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let feed = Feed::Directory(DirWatch::open(directory.path()).unwrap());
        let (_attacher, links) = Attacher::open(directory.path()).unwrap();
        let (inside, wakers) = wakers(feed, links).unwrap();
        let (reply, answer) = oneshot::channel();
        inside.wish.send(Wish { question: Question::Ready {}, reply }).await.unwrap();
        let _signals = wakers.into_signals();
        let heard = timeout(Duration::from_secs(1), answer).await;
        assert!(heard.expect("it hangs").is_err());
        assert!(inside.wish.is_closed());
    }
}
