//! How the cluster stands, for `/readyz` and `lockgate status`.

use std::time::SystemTime;

use serde::Serialize;

use crate::cluster::{Cluster, State};
use crate::last_good::Kept;
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
    /// Of when the last good state is, where that is enforced.
    stale_since: Option<String>,
    last_good: LastGoodStanding,
    resources: Vec<ResourceStanding>,
}

/// The file that a start without an API server goes by.
#[derive(Serialize)]
struct LastGoodStanding {
    objects: usize,
    bytes: u64,
    written: Option<String>,
    failures: u64,
    message: Option<String>,
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
            failing_since: time(standing.failing_since()),
            message: standing.trouble().map(|trouble| trouble.message.clone()),
        })
    });
    ClusterStanding {
        read: cluster.is_whole(),
        answers: server.answered().is_some() && server.silent_since().is_none(),
        answered: time(server.answered()),
        silent_since: time(server.silent_since()),
        stale_since: time(cluster.stale_since()),
        last_good: last_good(cluster.kept()),
        resources: resources.collect(),
    }
}

fn last_good(kept: &Kept) -> LastGoodStanding {
    LastGoodStanding {
        objects: kept.objects,
        bytes: kept.bytes,
        written: time(kept.written),
        failures: kept.failures,
        message: kept.trouble.clone(),
    }
}

fn time(at: Option<SystemTime>) -> Option<String> {
    at.map(|at| humantime::format_rfc3339_seconds(at).to_string())
}
