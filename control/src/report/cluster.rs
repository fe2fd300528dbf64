//! How the cluster stands, for `/readyz` and `lockgate status`.

use std::time::SystemTime;

use serde::Serialize;

use crate::cluster::{Cluster, State};
use crate::watch::RESOURCES;

/// The API server and its resources. Its fields are a promise: add, do not rename.
#[derive(Serialize)]
pub(super) struct ClusterStanding {
    /// Whether everything was read once.
    read: bool,
    /// Whether the API server answered when it was last asked.
    answers: bool,
    /// When it last did.
    answered: Option<String>,
    /// Since when it does not.
    silent_since: Option<String>,
    resources: Vec<ResourceStanding>,
}

#[derive(Serialize)]
struct ResourceStanding {
    resource: String,
    version: &'static str,
    state: &'static str,
    objects: usize,
    /// When something was last heard of it.
    heard: Option<String>,
    resource_version: String,
    failing_since: Option<String>,
    message: Option<String>,
}

/// How it stands now.
pub(super) fn standing(cluster: &Cluster) -> ClusterStanding {
    let now = SystemTime::now();
    let server = cluster.server();
    let resources = cluster.standings().filter_map(|(kind, standing)| {
        let resource = RESOURCES.iter().find(|one| one.kind == kind)?.spoken();
        Some(ResourceStanding {
            resource,
            version: standing.version(),
            state: match standing.state() {
                State::Unread => "unread",
                State::Read => "read",
                State::Absent => "absent",
            },
            objects: standing.objects(),
            heard: time(standing.heard()),
            resource_version: standing.resource_version().to_owned(),
            failing_since: time(standing.failing_since(now)),
            message: standing.trouble(now).map(|trouble| trouble.message.clone()),
        })
    });
    ClusterStanding {
        read: cluster.is_whole(),
        answers: server.answered().is_some() && server.silent_since().is_none(),
        answered: time(server.answered()),
        silent_since: time(server.silent_since()),
        resources: resources.collect(),
    }
}

fn time(at: Option<SystemTime>) -> Option<String> {
    at.map(|at| humantime::format_rfc3339_seconds(at).to_string())
}
