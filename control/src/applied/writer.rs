//! Writes the report of this node, the newest only, in a task of its own.
//!
//! By server-side apply, so that the fields are this agent's and whoever adds a label keeps it. The
//! object belongs to its Node and goes with it.

use std::time::{Duration, SystemTime};

use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::{Client, Error};
use serde_json::{Value, json};
use tokio::sync::watch::{Receiver, Sender};
use tokio::time::{Instant, sleep, timeout};

use super::node::{LockgateNode, LockgateNodeStatus};
use super::pace::pause;
use super::time;
use super::trouble::{Told, Untold};
use crate::manifest::Problem;

/// Whose the fields are.
const FIELDS_OF: &str = "lockgate-agent";
/// How long one write may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Writes for one node.
pub(super) struct Writer {
    pub(super) client: Client,
    pub(super) node: String,
    pub(super) reports: Receiver<LockgateNodeStatus>,
    /// What goes wrong, as long as it does.
    pub(super) trouble: Sender<Option<Problem>>,
}

impl Writer {
    /// Writes until nobody reports any more.
    pub(super) async fn run(mut self) {
        let mut written: Option<(LockgateNodeStatus, Instant)> = None;
        let mut is_made = false;
        // Before the first report there is nothing to tell.
        if self.reports.changed().await.is_err() {
            return;
        }
        loop {
            let newest = self.reports.borrow_and_update().clone();
            let last = written.as_ref().map(|(status, at)| (status, at.elapsed()));
            let wait = pause(last, &newest);
            if !wait.is_zero() {
                tokio::select! {
                    () = sleep(wait) => {}
                    changed = self.reports.changed() => if changed.is_err() { return },
                }
                continue;
            }
            match self.write(&newest, is_made).await {
                Ok(()) => {
                    is_made = true;
                    written = Some((newest, Instant::now()));
                    self.trouble.send_if_modified(|told| told.take().is_some());
                }
                Err(untold) => {
                    // Whatever it was, the object may be gone.
                    is_made = false;
                    self.trouble.send_replace(Some(untold.problem));
                    sleep(untold.pause).await;
                }
            }
        }
    }

    async fn write(&self, status: &LockgateNodeStatus, is_made: bool) -> Result<(), Untold> {
        let told = Told::Report(self.node.clone());
        let writing = async {
            if !is_made {
                let Some(uid) = self.owner().await.map_err(|error| told.untold(&error))? else {
                    return Err(told.ownerless());
                };
                let object = object(&self.node, &uid);
                self.apply(&object, false).await.map_err(|error| told.untold(&error))?;
            }
            let object = report(&self.node, status, SystemTime::now());
            self.apply(&object, true).await.map_err(|error| told.untold(&error))
        };
        let late = || told.silent(&format!("no answer in {} s", PATIENCE.as_secs()));
        timeout(PATIENCE, writing).await.unwrap_or_else(|_| Err(late()))
    }

    /// The UID of this node's object. By a list of one: the agent may list nodes, and needs not be
    /// let get them.
    async fn owner(&self) -> Result<Option<String>, Error> {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let own = ListParams::default().fields(&format!("metadata.name={}", self.node));
        let found = nodes.list_metadata(&own).await?.items.into_iter().next();
        Ok(found.and_then(|node| node.metadata.uid))
    }

    async fn apply(&self, object: &Value, is_status: bool) -> Result<(), Error> {
        let nodes: Api<LockgateNode> = Api::all(self.client.clone());
        let (how, patch) = (PatchParams::apply(FIELDS_OF).force(), Patch::Apply(object));
        if is_status {
            nodes.patch_status(&self.node, &how, &patch).await?;
        } else {
            nodes.patch(&self.node, &how, &patch).await?;
        }
        Ok(())
    }
}

/// The object, owned by its node.
fn object(node: &str, uid: &str) -> Value {
    let owner = json!({"apiVersion": "v1", "kind": "Node", "name": node, "uid": uid});
    let metadata = json!({"name": node, "ownerReferences": [owner]});
    json!({
        "apiVersion": "lockgate.dev/v1alpha1", "kind": "LockgateNode",
        "metadata": metadata, "spec": {},
    })
}

/// Its status, as written at a time.
fn report(node: &str, status: &LockgateNodeStatus, now: SystemTime) -> Value {
    let status = LockgateNodeStatus { reported: time::text(now), ..status.clone() };
    json!({
        "apiVersion": "lockgate.dev/v1alpha1", "kind": "LockgateNode",
        "metadata": {"name": node}, "status": status,
    })
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn the_object_is_what_its_type_reads_and_belongs_to_its_node() {
        let made: LockgateNode = serde_json::from_value(object("a", "u")).unwrap();
        let owners = made.metadata.owner_references.unwrap();
        assert_eq!((owners[0].kind.as_str(), owners[0].uid.as_str()), ("Node", "u"));
        let status = LockgateNodeStatus { policy_epoch: 3, ..Default::default() };
        let told = report("a", &status, UNIX_EPOCH)["status"].clone();
        let read: LockgateNodeStatus = serde_json::from_value(told).unwrap();
        assert_eq!((read.policy_epoch, read.reported.as_str()), (3, "1970-01-01T00:00:00Z"));
    }
}
