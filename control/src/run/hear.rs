//! What has come of news by now, taken in without a wait for more: before rules take the place of
//! those that another agent has in force, which may be newer than what was compiled.

use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::timeout;

use crate::dataplane::Dataplane;
use crate::last_good::LastGood;
use crate::source::Feed;
use crate::sync::Sync;

/// How often more is asked for. A cluster that changes all the time holds nobody: what is left is
/// what the loop hears first.
const ROUNDS: usize = 64;

/// Takes in what has come, as the loop does, until nothing comes for so long.
pub(super) async fn hear<D: Dataplane>(
    feed: &mut Feed,
    last_good: &mut Option<LastGood>,
    sync: &mut Sync<D>,
    quiet: Duration,
) {
    for _ in 0..ROUNDS {
        // Watches are tasks of this same thread: what they have read they tell when it is their turn.
        yield_now().await;
        let Ok(news) = timeout(quiet, feed.news()).await else { return };
        if let Some(last_good) = &mut *last_good {
            last_good.keep(&news).await;
        }
        sync.learn(news);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::fake::FakeSwitch;
    use crate::files::Files;
    use crate::metrics::ApplyLatency;
    use crate::sync::Node;
    use crate::watch_dir::{DirWatch, QUIET};

    #[tokio::test]
    async fn what_came_while_nobody_read_is_taken_in() {
        let directory = tempfile::tempdir().unwrap();
        let mut feed = Feed::Directory(DirWatch::open(directory.path()).unwrap());
        let files = Files::read(directory.path()).unwrap();
        let latency = ApplyLatency::new().unwrap();
        let mut sync = Sync::new(Node::default(), files, FakeSwitch::quick(), latency);
        let policy = crate::sample::policy("x/late", "podSelector: {}");
        fs::write(directory.path().join("late.yaml"), policy).unwrap();
        hear(&mut feed, &mut None, &mut sync, QUIET * 10).await;
        assert_eq!(sync.source().inventory().policies().count(), 1);
        hear(&mut feed, &mut None, &mut sync, Duration::ZERO).await; // it waits for nothing more
    }
}
