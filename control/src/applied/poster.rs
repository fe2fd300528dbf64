//! Posts events on broken policies, in a task of its own.
//!
//! One a second at most, each at once and again after half an hour: an event is gone after an hour,
//! and where it is still there the API server says so. Nodes begin apart, so that not all of them
//! ask for the same in one moment.

use std::collections::BTreeMap;
use std::mem::replace;
use std::time::{Duration, SystemTime};

use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, ApiResource, DynamicObject, ListParams, PostParams};
use kube::{Client, Error};
use tokio::sync::watch::{Receiver, Sender};
use tokio::time::{Instant, sleep, timeout};

use super::event::{Finding, Regarding};
use super::trouble::{Told, Untold};
use crate::manifest::Problem;
use crate::watch::Resource;

/// Between two events.
const PAUSE: Duration = Duration::from_secs(1);
/// Until one is posted again.
const AGAIN: Duration = Duration::from_mins(30);
/// Until what is due is looked at, where nothing changes.
const IDLE: Duration = Duration::from_secs(10);
/// How long a post may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Nodes begin within this.
const APART_MS: u64 = 3000;

/// Posts for one node.
pub(super) struct Poster {
    pub(super) client: Client,
    pub(super) node: String,
    pub(super) findings: Receiver<Vec<Finding>>,
    /// What goes wrong, as long as it does.
    pub(super) trouble: Sender<Option<Problem>>,
}

/// What was tried: when it is due again, and whether it was refused.
#[derive(Debug, Default)]
struct Posted(BTreeMap<Finding, (Instant, bool)>);

impl Posted {
    /// What is to be posted next: what was never tried first, so that none that is refused again and
    /// again holds up another.
    fn next(&mut self, findings: &[Finding], now: Instant) -> Option<Finding> {
        // What was mended may break anew, and is said anew then.
        self.0.retain(|finding, _| findings.contains(finding));
        let due = |finding: &&Finding| self.0.get(finding).map(|(due, _)| *due);
        let is_due = |finding: &&Finding| due(finding).is_none_or(|due| now >= due);
        findings.iter().filter(is_due).min_by_key(due).cloned()
    }

    fn posted(&mut self, finding: Finding, now: Instant) {
        self.0.insert(finding, (now + AGAIN, false));
    }

    fn refused(&mut self, finding: Finding, due: Instant) {
        self.0.insert(finding, (due, true));
    }

    /// Whether something that is still found was refused, and not posted since.
    fn has_refused(&self) -> bool {
        self.0.values().any(|(_, is_refused)| *is_refused)
    }
}

impl Poster {
    /// Posts until nobody finds any more.
    pub(super) async fn run(mut self) {
        let mut posted = Posted::default();
        let mut was_refused = false;
        sleep(apart(&self.node)).await;
        loop {
            let findings = self.findings.borrow_and_update().clone();
            let next = posted.next(&findings, Instant::now());
            if !posted.has_refused() {
                self.trouble.send_if_modified(|told| told.take().is_some());
            }
            let Some(finding) = next else {
                tokio::select! {
                    () = sleep(IDLE) => {}
                    changed = self.findings.changed() => if changed.is_err() { return },
                }
                continue;
            };
            let pause = match self.post(&finding).await {
                Ok(()) => {
                    posted.posted(finding, Instant::now());
                    was_refused = false;
                    PAUSE
                }
                Err(untold) => {
                    posted.refused(finding, Instant::now() + untold.pause);
                    self.trouble.send_replace(Some(untold.problem));
                    // One that is refused may be alone with it; two in a row are the API server.
                    if replace(&mut was_refused, true) { untold.pause } else { PAUSE }
                }
            };
            sleep(pause).await;
        }
    }

    async fn post(&self, finding: &Finding) -> Result<(), Untold> {
        let posting = timeout(PATIENCE, self.create(finding)).await;
        let late = || Told::Events.silent(&format!("no answer in {} s", PATIENCE.as_secs()));
        posting.map_err(|_| late())?.map_err(|error| Told::Events.untold(&error))
    }

    async fn create(&self, finding: &Finding) -> Result<(), Error> {
        let Some(resource) = finding.resource() else { return Ok(()) };
        let Some(regarding) = self.regarding(finding, resource).await? else { return Ok(()) };
        let event = finding.event(&regarding, &self.node, SystemTime::now());
        let within = event["metadata"]["namespace"].as_str().unwrap_or("default").to_owned();
        let event: Event = serde_json::from_value(event).map_err(Error::SerdeError)?;
        let events: Api<Event> = Api::namespaced(self.client.clone(), &within);
        match events.create(&PostParams::default(), &event).await {
            // Another node was first, or it is not old enough to be gone; or the namespace ends,
            // and nothing is to be said in it any more.
            Err(Error::Api(status)) if status.code == 409 || is_ending(&status) => Ok(()),
            created => created.map(drop),
        }
    }

    /// The object as it is now; `None` where it is gone. By a list of one, which the agent may ask
    /// for anyhow.
    async fn regarding(
        &self,
        finding: &Finding,
        resource: &Resource,
    ) -> Result<Option<Regarding>, Error> {
        let mut last = Ok(None);
        for version in resource.kind.versions() {
            let what: ApiResource = resource.as_kube(version);
            let client = self.client.clone();
            let objects: Api<DynamicObject> = match finding.namespace() {
                "" => Api::all_with(client, &what),
                namespace => Api::namespaced_with(client, namespace, &what),
            };
            let one = ListParams::default().fields(&format!("metadata.name={}", finding.name()));
            match objects.list_metadata(&one).await {
                Ok(found) => {
                    let found = found.items.into_iter().next();
                    return Ok(found.map(|object| Regarding {
                        api_version: (*version).to_owned(),
                        uid: object.metadata.uid.unwrap_or_default(),
                        resource_version: object.metadata.resource_version.unwrap_or_default(),
                    }));
                }
                Err(Error::Api(status)) if status.code == 404 => {}
                Err(error) => last = Err(error),
            }
        }
        last
    }
}

/// Whether a namespace takes nothing in any more, or is gone.
fn is_ending(status: &kube::core::Status) -> bool {
    status.code == 404 || status.message.contains("because it is being terminated")
}

/// How long this node waits before it begins: each another while.
fn apart(node: &str) -> Duration {
    let sum = node.bytes().fold(7_u64, |sum, byte| sum.wrapping_mul(31) ^ u64::from(byte));
    Duration::from_millis(sum % APART_MS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::applied::event::findings;
    use crate::manifest::Severity;

    fn found(names: &[&str]) -> Vec<Finding> {
        let problem = |name: &&str| {
            let object = format!("NetworkPolicy demo/{name}");
            Problem::of_object(Severity::Error, (None, None), &object, "", "is bad", "")
        };
        findings(&names.iter().map(problem).collect::<Vec<_>>())
    }

    #[test]
    fn each_fault_is_posted_once_and_again_when_its_event_may_be_gone() {
        let (mut posted, now, all) = (Posted::default(), Instant::now(), found(&["a", "b"]));
        for one in &all {
            assert_eq!(posted.next(&all, now).as_ref(), Some(one));
            posted.posted(one.clone(), now);
        }
        assert_eq!(posted.next(&all, now), None);
        assert_eq!(posted.next(&all, now + AGAIN).as_ref(), Some(&all[0]));
    }

    #[test]
    fn what_is_refused_again_and_again_holds_up_nothing_else() {
        let (mut posted, now) = (Posted::default(), Instant::now());
        let all = found(&["a", "b", "c"]);
        let (soon, later) = (now + PAUSE, now + 2 * PAUSE);
        posted.refused(all[0].clone(), soon);
        posted.refused(all[1].clone(), soon);
        // Both are due again, and what was never tried comes before them.
        assert_eq!(posted.next(&all, later).as_ref(), Some(&all[2]));
        posted.posted(all[2].clone(), later);
        assert!(posted.has_refused());
        assert_eq!(posted.next(&all, now), None);
        assert_eq!(posted.next(&all, later).as_ref(), Some(&all[0]));
        // What was mended is no trouble any more.
        assert_eq!(posted.next(&all[2..], later), None);
        assert!(!posted.has_refused());
    }

    #[test]
    fn what_was_mended_and_breaks_anew_is_posted_anew() {
        let (mut posted, now, all) = (Posted::default(), Instant::now(), found(&["a"]));
        posted.posted(all[0].clone(), now);
        assert_eq!(posted.next(&[], now), None);
        assert_eq!(posted.next(&all, now).as_ref(), Some(&all[0]));
    }

    #[test]
    fn nodes_begin_apart() {
        assert_ne!(apart("node-a"), apart("node-b"));
        assert!(apart("node-a") < Duration::from_millis(APART_MS));
    }
}
