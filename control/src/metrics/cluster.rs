//! How the API server and each of its resources stand, as families.

use std::time::{SystemTime, UNIX_EPOCH};

use super::family::{Families, Labels};
use super::float;
use crate::cluster::{Cluster, State};
use crate::watch::RESOURCES;

/// What there is to be said of a cluster at a time.
pub(super) fn families(cluster: &Cluster, families: &mut Families) {
    let one = |value: f64| [(Labels::new(), value)];
    let server = cluster.server();
    let silent = server.silent_since();
    families.gauge(
        "cluster_api_up",
        "Whether the API server answered when it was last asked.",
        one(f64::from(u8::from(silent.is_none() && server.answered().is_some()))),
    );
    families.gauge(
        "cluster_api_silent_since_seconds",
        "Since when the API server does not answer, in seconds since 1970; 0 while it does.",
        one(seconds(silent)),
    );
    of_last_good(cluster, families);
    let read = f64::from(u8::from(cluster.is_whole()));
    families.gauge(
        "cluster_read",
        "Whether every resource was read once: before that nothing is enforced.",
        one(read),
    );
    let mut each = |name: &str, help: &str, is_counter: bool, value: &dyn Fn(&Row<'_>) -> f64| {
        let values = rows(cluster).map(|row| {
            let labels = Labels::new().with("resource", &row.resource);
            let value = value(&row);
            (labels, value)
        });
        if is_counter {
            families.counter(name, help, values);
        } else {
            families.gauge(name, help, values);
        }
    };
    each("cluster_resource_served", "Whether the API server has it.", false, &|row| {
        f64::from(u8::from(row.standing.state() == State::Read))
    });
    each("cluster_objects", "Objects that are known.", false, &|row| {
        float(row.standing.objects() as u64)
    });
    each("cluster_events_total", "Objects heard of, in lists and watches.", true, &|row| {
        float(row.standing.events())
    });
    each("cluster_lists_total", "Lists that were begun.", true, &|row| float(row.standing.lists()));
    let help = "Since when it cannot be read, in seconds since 1970; 0 while it can.";
    each("cluster_failing_since_seconds", help, false, &|row| {
        seconds(row.standing.failing_since())
    });
}

/// What is kept for a start without an API server, and whether that is what is enforced.
fn of_last_good(cluster: &Cluster, families: &mut Families) {
    let kept = cluster.kept();
    let gauges = [
        (
            "cluster_stale_since_seconds",
            "Of when the last good state is that is enforced, in seconds since 1970; 0 where what is \
             enforced was told to this agent.",
            seconds(cluster.stale_since()),
        ),
        (
            "cluster_last_good_written_seconds",
            "When the last good state was last written, in seconds since 1970; 0 before.",
            seconds(kept.written),
        ),
        ("cluster_last_good_bytes", "Bytes of its file; 0 where there is none.", float(kept.bytes)),
    ];
    for (name, help, value) in gauges {
        families.gauge(name, help, [(Labels::new(), value)]);
    }
    let help = "How often the last good state could not be written.";
    let failures = [(Labels::new(), float(kept.failures))];
    families.counter("cluster_last_good_failures_total", help, failures);
}

struct Row<'a> {
    resource: String,
    standing: &'a crate::cluster::Standing,
}

fn rows(cluster: &Cluster) -> impl Iterator<Item = Row<'_>> {
    cluster.standings().filter_map(|(kind, standing)| {
        let resource = RESOURCES.iter().find(|one| one.kind == kind)?.spoken();
        Some(Row { resource, standing })
    })
}

fn seconds(time: Option<SystemTime>) -> f64 {
    let since = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.map_or(0.0, |since| float(since.as_secs()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use prometheus::{Encoder, TextEncoder};

    use super::*;
    use crate::manifest::ObjectKind;
    use crate::watch::{Heard, Trouble, What};

    #[test]
    fn what_fails_is_shown_with_its_time_and_what_was_read_with_its_objects() {
        let mut cluster = Cluster::new("here");
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let trouble = || Trouble { message: String::new(), remedy: String::new() };
        let pods = ObjectKind::Pod;
        for (heard, second) in [
            (Heard::Of(pods, What::Begun("v1")), 1),
            (Heard::Of(pods, What::Whole), 2),
            (Heard::Of(pods, What::Failed(trouble(), Duration::ZERO)), 3),
            (Heard::Pulse(Err(trouble())), 4),
        ] {
            let _: crate::inventory::Effect = cluster.take(heard, at(second));
        }
        let mut all = Families::default();
        families(&cluster, &mut all);
        let mut text = Vec::new();
        TextEncoder::new().encode(&all.finish(), &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        for line in [
            "lockgate_cluster_api_up 0",
            "lockgate_cluster_api_silent_since_seconds 4",
            "lockgate_cluster_read 0",
            "lockgate_cluster_resource_served{resource=\"pods\"} 1",
            "lockgate_cluster_resource_served{resource=\"nodes\"} 0",
            "lockgate_cluster_lists_total{resource=\"pods\"} 1",
            "lockgate_cluster_failing_since_seconds{resource=\"pods\"} 3",
            "lockgate_cluster_failing_since_seconds{resource=\"nodes\"} 0",
        ] {
            assert!(text.lines().any(|one| one == line), "{line} in\n{text}");
        }
    }
}
