//! The loop's end of telling: it composes once a second and goes on.

use std::time::SystemTime;

use kube::Client;
use tokio::sync::watch::{Receiver, Sender, channel};
use tokio::task::JoinSet;

use super::event::{Finding, findings};
use super::node::LockgateNodeStatus;
use super::poster::Poster;
use super::report::{Composer, Parts};
use super::writer::Writer;
use crate::dataplane::Dataplane;
use crate::manifest::Problem;
use crate::sync::Sync;

/// Tells the cluster of this node. The tasks end when this is dropped.
#[derive(Debug)]
pub struct Reporter {
    started: SystemTime,
    composer: Composer,
    reports: Sender<LockgateNodeStatus>,
    findings: Sender<Vec<Finding>>,
    /// What goes wrong with telling.
    troubles: [Receiver<Option<Problem>>; 2],
    _tasks: JoinSet<()>,
}

impl Reporter {
    /// Begins to tell of the node of this name.
    #[must_use]
    pub fn start(client: &Client, node: &str) -> Self {
        let (reports, newest) = channel(LockgateNodeStatus::default());
        let (finder, found) = channel(Vec::new());
        let (of_report, report_trouble) = channel(None);
        let (of_event, event_trouble) = channel(None);
        let mut tasks = JoinSet::new();
        let (to, name) = (client.clone(), node.to_owned());
        tasks.spawn(Writer { client: to, node: name, reports: newest, trouble: of_report }.run());
        let (to, name) = (client.clone(), node.to_owned());
        tasks.spawn(Poster { client: to, node: name, findings: found, trouble: of_event }.run());
        Self {
            started: SystemTime::now(),
            composer: Composer::default(),
            reports,
            findings: finder,
            troubles: [report_trouble, event_trouble],
            _tasks: tasks,
        }
    }

    /// Hands over what is to be told as of now; what goes wrong with telling.
    pub fn tell<D: Dataplane>(&mut self, sync: &mut Sync<D>) -> Vec<Problem> {
        let (is_ready, problems) = (sync.is_ready(), sync.told());
        if let Some(cluster) = sync.source().cluster() {
            let (in_force, started) = (sync.applied(), self.started);
            let parts = Parts { cluster, in_force, problems: &problems, is_ready, started };
            let report = self.composer.compose(parts, SystemTime::now());
            self.reports.send_if_modified(|last| replace(last, report));
            self.findings.send_if_modified(|last| replace(last, findings(&problems)));
        }
        self.troubles.iter().filter_map(|trouble| trouble.borrow().clone()).collect()
    }
}

/// Puts what is new in the place of what was; whether it differs.
fn replace<T: PartialEq>(last: &mut T, new: T) -> bool {
    let differs = *last != new;
    *last = new;
    differs
}
