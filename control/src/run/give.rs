//! Giving everything to a successor, and having it back where that does not take it.

use std::path::Path;
use std::time::{Duration, Instant};

use tokio::signal::unix::Signal;
use tokio::time::sleep;
use tracing::{info, warn};

use super::hear::hear;
use super::running::State;
use super::{Doors, RunError, Running, renew};
use crate::attach::Attacher;
use crate::dataplane::Dataplane;
use crate::handover::{Heard, Successor};
use crate::lock::{Lock, LockError, Locks};
use crate::settings::Settings;
use crate::source::Feed;

/// How long is waited for the locks of a successor that has gone: the kernel closes its sockets
/// before.
const BACK: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(5);

/// How long an agent of a cluster waits to be told to stop, when all is taken: a kubelet would
/// begin it anew if it ended, and it would take everything back. Who is not told to stop for so long
/// is still wanted, as after an upgrade that was undone.
const TOLD: Duration = Duration::from_mins(5);
/// How often it looks whether the successor is there still.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Gives everything; whether it was taken. It was not, and is ours again, where the successor dies
/// on the way.
pub(super) async fn give<D: Dataplane>(
    settings: &Settings,
    running: &mut Running<D>,
    feed: &mut Feed,
    attacher: &Attacher,
    mut successor: Successor,
) -> Result<bool, RunError<D::Error>> {
    let process = successor.process();
    info!(process, "giving everything to the successor");
    running.state.sync.give().map_err(RunError::Stop)?;
    // The sockets' files are gone after this: the successor makes its own.
    running.served.shutdown().await;
    if let Some(attachments) = &mut running.state.attachments {
        attachments.let_go();
    }
    running.locks = None;
    match successor.given().await {
        Heard::Taken => {
            info!(process, "the successor has taken everything over");
            running.successor = Some(successor);
            Ok(true)
        }
        Heard::Nothing(error) => {
            warn!(process, %error, "the successor has not taken over: going on");
            drop(successor);
            have_back(settings, running, feed, attacher).await?;
            Ok(false)
        }
    }
}

/// Is the switch again, unless another one is by now.
async fn have_back<D: Dataplane>(
    settings: &Settings,
    running: &mut Running<D>,
    feed: &mut Feed,
    attacher: &Attacher,
) -> Result<(), RunError<D::Error>> {
    running.locks = Some(take_locks(settings).await?);
    let doors = Doors::open(settings, running.anchors).await?;
    running.state.sync.have_back().map_err(RunError::Switch)?;
    renew(attacher, &mut running.state.attachments, &mut running.state.sync).await?;
    doors.serve(&running.inside, &mut running.served);
    // The ports come back with the next snapshot: it has what the successor may have had in force.
    let State { sync, last_good, .. } = &mut running.state;
    hear(feed, last_good, sync, Duration::ZERO).await;
    Ok(())
}

async fn take_locks(settings: &Settings) -> Result<Locks, LockError> {
    let begun = Instant::now();
    loop {
        match Locks::take(&settings.lock) {
            Err(error) if error.is_held() && begun.elapsed() < BACK => sleep(LOOK).await,
            taken => return taken,
        }
    }
}

/// Waits to be told to stop, where a kubelet would begin this process anew, or until that is wanted:
/// where the successor has ended, one that a kubelet begins at once is sooner there than one that it
/// began in vain before. Nothing else is held by then: whoever had asked this agent hears that it is
/// gone, and asks the other one.
pub(super) async fn linger(settings: &Settings, mut terminate: Signal, mut interrupt: Signal) {
    if settings.source.cluster().is_none() {
        return;
    }
    info!("waiting to be told to stop");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = sleep(TOLD) => warn!("nobody says stop: beginning anew is left to who began this"),
        () = free(&settings.lock) => {
            warn!("the successor has ended: beginning anew is left to who began this");
        }
    }
}

/// Waits until no switch is here. One that begins meanwhile asks again for the lock.
async fn free(lock: &Path) {
    while {
        sleep(LOOK_AGAIN).await;
        !Lock::is_free(lock)
    } {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_agent_that_gave_everything_sees_that_nobody_has_it_any_more() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let successor = Lock::take(&path).unwrap();
        let patience = LOOK_AGAIN * 20;
        tokio::time::timeout(patience, free(&path)).await.expect_err("somebody has it");
        drop(successor);
        tokio::time::timeout(patience, free(&path)).await.expect("nobody has it");
        Lock::take(&path).expect("to look at it takes nothing");
    }
}
