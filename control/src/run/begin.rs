//! A start: what is made before the loop, alone or beside a predecessor.

use std::error::Error;
use std::sync::Arc;

use tracing::warn;

use super::{Doors, RunError, remembered};
use crate::applied::Reporter;
use crate::attach::{AnchorSet, Attacher, InterfaceName};
use crate::attachments::Attachments;
use crate::cluster::Cluster;
use crate::dataplane::Dataplane;
use crate::files::Files;
use crate::handover::Predecessor;
use crate::lock::Locks;
use crate::metrics::ApplyLatency;
use crate::settings::{Settings, SourcePlan};
use crate::source::{Feed, Source};
use crate::sync::{Node, Sync};
use crate::watch::{self, Watches};
use crate::watch_dir::DirWatch;

/// A switch that is the one of its node.
pub(super) struct Begun<D: Dataplane> {
    pub(super) sync: Sync<D>,
    pub(super) attachments: Option<Attachments>,
    pub(super) locks: Locks,
    pub(super) doors: Doors,
    pub(super) anchors: AnchorSet,
    /// Whose ports it took, until that has ended.
    pub(super) predecessor: Option<Predecessor>,
}

/// Opens the source of objects, and what tells of its changes.
pub(super) async fn open<E: Error + 'static>(
    from: &SourcePlan,
) -> Result<(Source, Feed, Option<Reporter>), RunError<E>> {
    match from {
        SourcePlan::Directory(directory) => {
            // Watched before it is read: a change in between is told of.
            let watch = DirWatch::open(directory)?;
            let files = Files::read(directory).map_err(RunError::Manifests)?;
            Ok((Source::Files(Box::new(files)), Feed::Directory(watch), None))
        }
        SourcePlan::Cluster(plan) => {
            let client = watch::connect(plan.kubeconfig.as_deref()).await?;
            let cluster = Box::new(Cluster::new(&plan.node));
            let reporter = Reporter::start(&client, &plan.node);
            let feed = Feed::Cluster(Watches::start(&client));
            Ok((Source::Cluster(cluster), feed, Some(reporter)))
        }
    }
}

/// Begins where no other switch is.
pub(super) async fn begin<D: Dataplane>(
    settings: &Settings,
    locks: Locks,
    attacher: &mut Attacher,
    source: Source,
    start: impl Fn(&Settings, &[InterfaceName]) -> Result<D, D::Error>,
) -> Result<Begun<D>, RunError<D::Error>> {
    let anchors = AnchorSet::default();
    let doors = Doors::open(settings, anchors).await?;
    attacher.clear_anchors(anchors.other(), 0).await?;
    let is_first = !attacher.has_pins()?;
    let (mut sync, mut attachments) = make(settings, attacher, source, start, anchors).await?;
    if let Some(attachments) = &mut attachments {
        attachments.remove_lost();
    }
    sync.inherit(settings.restart.keep.clone());
    if !is_first {
        sync.pick_up_for(settings.restart.grace);
    }
    if let Some(plan) = &settings.host_port {
        let probed = attacher.host_port(plan, settings.workers()).await?;
        sync.add_host(probed).map_err(RunError::Switch)?;
    }
    if let Err(error) = attacher.sweep() {
        warn!(%error, "a pin of an interface that has gone is left");
    }
    Ok(Begun { sync, attachments, locks, doors, anchors, predecessor: None })
}

/// Makes workers on anchors of their own, and the state around them. Nothing here is in the way of
/// another switch.
pub(super) async fn make<D: Dataplane>(
    settings: &Settings,
    attacher: &mut Attacher,
    source: Source,
    start: impl Fn(&Settings, &[InterfaceName]) -> Result<D, D::Error>,
    anchors: AnchorSet,
) -> Result<(Sync<D>, Option<Attachments>), RunError<D::Error>> {
    let attachments = remembered(&settings.source, attacher).await?;
    let latency = ApplyLatency::new().map_err(|e| RunError::Process(e.to_string()))?;
    let anchors = attacher.make_anchors(anchors, settings.workers()).await?;
    let dataplane = start(settings, &anchors).map_err(RunError::Switch)?;
    let node = Node {
        host: settings.host_port.clone(),
        workers: settings.workers(),
        addresses: settings.node_addresses.clone(),
        own_node: settings.own_node,
        name: name_of(settings).map(Arc::from),
        ports_max: usize::from(settings.ports_max),
        policy_metrics_max: settings.policy_metrics_max,
    };
    let mut sync = Sync::new(node, source, dataplane, latency);
    sync.keep_in(settings.restart.keep.clone());
    if let Some(attachments) = &attachments {
        attachments.restore(&mut sync);
    }
    Ok((sync, attachments))
}

/// What the cluster calls this node; in a directory of manifests what is set, or the machine's name.
fn name_of(settings: &Settings) -> Option<String> {
    match settings.source.cluster() {
        Some(plan) => Some(plan.node.clone()),
        None => settings.node.clone().or_else(host_name),
    }
}

/// What the machine is called: what kubelet calls its node where it is not told otherwise.
fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_lowercase()).filter(|name| !name.is_empty())
}
