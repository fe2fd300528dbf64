//! `LockgateNode`: what a node tells the cluster of what is in force on it.
//!
//! The type is the definition: `deploy/helm/lockgate/crds/lockgatenodes.yaml` is made from it, and a test of the
//! suite holds the file to it. Its fields are a promise: add, do not rename.

use kube::{CustomResource, CustomResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Nothing is asked of a node: it only tells.
#[derive(
    CustomResource, Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema,
)]
#[kube(
    group = "lockgate.dev",
    version = "v1alpha1",
    kind = "LockgateNode",
    plural = "lockgatenodes",
    status = "LockgateNodeStatus",
    derive = "PartialEq",
    doc = "What is in force on a node, as its agent tells it.",
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type=='Ready')].status"}"#,
    printcolumn = r#"{"name":"Version","type":"string","jsonPath":".status.agentVersion"}"#,
    printcolumn = r#"{"name":"Epoch","type":"integer","jsonPath":".status.policyEpoch"}"#,
    printcolumn = r#"{"name":"Reported","type":"date","jsonPath":".status.reported"}"#
)]
pub struct LockgateNodeSpec {}

/// What is in force on the node.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LockgateNodeStatus {
    /// Version of the agent.
    pub agent_version: String,
    /// When the agent began.
    #[schemars(extend("format" = "date-time"))]
    pub started: String,
    /// When this was written: minutes ago, and the agent is gone, or cannot reach the API server.
    #[schemars(extend("format" = "date-time"))]
    pub reported: String,
    /// Epoch of the policy in force with every worker; it moves when some verdict can have changed.
    #[schemars(with = "i64")]
    pub policy_epoch: u64,
    /// Generation of the snapshot in force with every worker.
    #[schemars(with = "i64")]
    pub snapshot_generation: u64,
    /// How each resource of the API server stands.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["resource"]))]
    pub resources: Vec<ResourceStatus>,
    /// How long the last changes took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enforcement: Option<EnforcementTimes>,
    /// Objects of which something is not enforced as written, the first of them.
    pub errors: Vec<ObjectError>,
    /// How many more there are.
    #[schemars(with = "i64")]
    pub errors_left_out: u64,
    /// Ready and `ApiServerReachable`.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<NodeCondition>,
}

/// The state of a resource of which everything is known.
pub(super) const READ: &str = "Read";

/// How a resource stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceStatus {
    /// Its name, as pods or networkpolicies.networking.k8s.io.
    pub resource: String,
    /// Unread, Read, Failing, where it was read and what has changed since may be missing, or
    /// Absent, where the API server does not have it.
    pub state: String,
    /// The newest resourceVersion in force with every worker: what of this resource has none that
    /// is greater is in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<String>,
    /// Since when that one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub since: Option<String>,
    /// How many objects there are.
    #[schemars(with = "i64")]
    pub objects: u64,
}

/// From an event that the agent hears to all workers judging by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnforcementTimes {
    /// Of so many changes, the last ones.
    #[schemars(with = "i64")]
    pub changes: u64,
    /// Half of them took no longer.
    pub median_milliseconds: f64,
    /// All but one in a hundred took no longer.
    pub p99_milliseconds: f64,
}

/// Something of an object is not enforced as written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct ObjectError {
    /// Its kind, as NetworkPolicy.
    pub kind: String,
    /// Its namespace, where its kind has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// The field, where one is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What is wrong, and what that does.
    pub message: String,
}

/// Where an object stands in the errors of a report, which are sorted by it.
pub(super) type Place<'a> = (bool, &'a str, Option<&'a str>, &'a str);

/// The place of an object: policies come before all else.
pub(super) fn place<'a>(kind: &'a str, namespace: Option<&'a str>, name: &'a str) -> Place<'a> {
    (!kind.contains("Policy"), kind, namespace, name)
}

impl ObjectError {
    /// The place of its object.
    pub(super) fn place(&self) -> Place<'_> {
        place(&self.kind, self.namespace.as_deref(), &self.name)
    }
}

/// A condition, as Kubernetes has them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeCondition {
    /// Ready or `ApiServerReachable`.
    #[serde(rename = "type")]
    pub kind: String,
    /// True or False.
    pub status: String,
    /// Why, in a word.
    pub reason: String,
    /// Why, in a sentence.
    pub message: String,
    /// When its status last changed.
    #[schemars(extend("format" = "date-time"))]
    pub last_transition_time: String,
}

/// The definition, as the API server takes it.
///
/// # Errors
/// Never: it is plain data.
pub fn definition() -> Result<serde_json::Value, serde_json::Error> {
    serde_json::to_value(LockgateNode::crd())
}
