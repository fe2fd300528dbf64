//! An object of any resource, as the client library hands it over.

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::api::ApiResource;
use kube::core::DynamicResourceScope;
use serde::{Deserialize, Deserializer, Serialize};

use super::There;
use crate::manifest::ObjectKind;
use crate::manifest::told::read_told;
use crate::manifest::tree::{Node, Value};

/// What the cluster knows of a pod beside what policy sees.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodFacts {
    /// The node that it is on; empty before it is on one.
    pub node: String,
    /// Whether it is on its way out.
    pub is_leaving: bool,
    /// When it was made, in seconds since 1970.
    pub born: u64,
    /// What a kubelet calls a pod that it got from a file; empty of any other. The runtime gives
    /// that as its UID.
    pub mirror: String,
}

/// A tree with what the client library needs of it.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    metadata: ObjectMeta,
    node: Node,
}

impl<'de> Deserialize<'de> for Seen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let node = Node::deserialize(deserializer)?;
        let text = |name: &str| {
            let at = node.field("metadata").and_then(|at| at.field(name));
            at.and_then(Node::text).map(str::to_owned)
        };
        let metadata = ObjectMeta {
            name: text("name"),
            namespace: text("namespace"),
            uid: text("uid"),
            resource_version: text("resourceVersion"),
            ..ObjectMeta::default()
        };
        Ok(Self { metadata, node })
    }
}

impl Resource for Seen {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(what: &ApiResource) -> Cow<'_, str> {
        what.kind.as_str().into()
    }

    fn group(what: &ApiResource) -> Cow<'_, str> {
        what.group.as_str().into()
    }

    fn version(what: &ApiResource) -> Cow<'_, str> {
        what.version.as_str().into()
    }

    fn plural(what: &ApiResource) -> Cow<'_, str> {
        what.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl Seen {
    /// What it says that it is, where that is of another kind or version. The items of a list need not
    /// say it.
    pub(super) fn another(&self, kind: &str, version: &str) -> Option<String> {
        let said = |field| self.node.field(field).and_then(Node::text);
        let (said_kind, said_version) = (said("kind"), said("apiVersion"));
        let is_it = said_kind.is_none_or(|said| said == kind)
            && said_version.is_none_or(|said| said == version);
        let told = || format!("{} {}", said_version.unwrap_or("?"), said_kind.unwrap_or("?"));
        (!is_it).then(told)
    }

    /// What it means.
    pub(super) fn read(self, kind: ObjectKind, api_version: &str) -> There {
        let (object, problems) = read_told(&self.node, kind, api_version);
        let facts = if kind == ObjectKind::Pod { facts(&self.node) } else { PodFacts::default() };
        let version = self.metadata.resource_version.unwrap_or_default();
        There { object, problems, facts, version }
    }
}

fn facts(pod: &Node) -> PodFacts {
    let text = |part: &str, name: &str| {
        pod.field(part).and_then(|at| at.field(name)).and_then(Node::text).unwrap_or_default()
    };
    let annotations = pod.field("metadata").and_then(|at| at.field("annotations"));
    let mirror = annotations.and_then(|at| at.field("kubernetes.io/config.mirror"));
    let leaving = pod.field("metadata").and_then(|at| at.field("deletionTimestamp"));
    PodFacts {
        node: text("spec", "nodeName").to_owned(),
        is_leaving: leaving.is_some_and(|at| at.value != Value::Null),
        born: seconds(text("metadata", "creationTimestamp")),
        mirror: mirror.and_then(Node::text).unwrap_or_default().to_owned(),
    }
}

/// An RFC 3339 time, in seconds since 1970; 0 where it is none.
fn seconds(text: &str) -> u64 {
    let time = humantime::parse_rfc3339(text).unwrap_or(UNIX_EPOCH);
    SystemTime::duration_since(&time, UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Object;

    #[test]
    fn a_pod_is_read_with_what_only_the_cluster_knows() {
        let seen: Seen = serde_json::from_str(
            r#"{"metadata":{"name":"a","namespace":"x","uid":"u","resourceVersion":"7",
            "creationTimestamp":"1970-01-01T00:01:00Z","deletionTimestamp":"1970-01-01T00:02:00Z",
            "annotations":{"kubernetes.io/config.mirror":"abc"},"managedFields":[{}]},
            "spec":{"nodeName":"n","containers":[]},
            "status":{"podIP":"10.0.0.1","podIPs":[{"ip":"10.0.0.1"}]}}"#,
        )
        .unwrap();
        assert_eq!(seen.meta().name.as_deref(), Some("a"));
        let there = seen.read(ObjectKind::Pod, "v1");
        let facts = PodFacts { node: "n".into(), is_leaving: true, born: 60, mirror: "abc".into() };
        assert_eq!((there.facts, there.version.as_str()), (facts, "7"));
        let Object::Pod(pod) = there.object else { panic!() };
        assert_eq!(*pod.addresses, ["10.0.0.1".parse::<std::net::IpAddr>().unwrap()]);
        assert_eq!(there.problems, []);
    }

    #[test]
    fn what_is_no_object_at_all_is_still_handed_over_and_is_nobody() {
        let seen: Seen = serde_json::from_str(r#"{"spec":7}"#).unwrap();
        let there = seen.read(ObjectKind::Pod, "v1");
        let Object::Pod(pod) = there.object else { panic!() };
        assert_eq!(pod.labels, None);
        assert!(!there.problems.is_empty());
    }
}
