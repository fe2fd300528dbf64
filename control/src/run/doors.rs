//! What the agent listens on: for people, for Prometheus and probes, for the CNI plugin, and for a
//! successor.

use std::error::Error;
use std::net::SocketAddr;

use tokio::sync::mpsc::Sender;
use tokio::task::JoinSet;

use super::RunError;
use crate::ask::Asker;
use crate::attach::AnchorSet;
use crate::attachments::{CniSocket, Wish};
use crate::handover::{self, HandoverSocket, Successor};
use crate::http::HttpServer;
use crate::settings::Settings;
use crate::socket::ShowSocket;

/// Where what comes in by the doors goes.
#[derive(Clone, Debug)]
pub(super) struct Inside {
    pub(super) asker: Asker,
    pub(super) wish: Sender<Wish>,
    pub(super) successor: Sender<Successor>,
}

/// All of them, open. A socket's file is removed with what listens there.
#[derive(Debug)]
pub(super) struct Doors {
    cni: Option<CniSocket>,
    show: ShowSocket,
    http: HttpServer,
    handover: HandoverSocket,
}

impl Doors {
    /// Opens them.
    ///
    /// # Errors
    /// Where somebody else listens there, or the system refuses.
    pub(super) async fn open<E: Error + 'static>(
        settings: &Settings,
        anchors: AnchorSet,
    ) -> Result<Self, RunError<E>> {
        let plan = settings.source.cluster();
        let cni = plan.map(|plan| CniSocket::listen(&plan.cni_socket)).transpose()?;
        let show = ShowSocket::listen(&settings.socket)?;
        let http = HttpServer::listen(settings.listen).await?;
        let asked = handover::path(&settings.lock, &settings.source);
        let handover =
            HandoverSocket::listen(&asked, anchors, plan.map(|plan| plan.node.as_str()))?;
        Ok(Self { cni, show, http, handover })
    }

    /// Where metrics are served.
    pub(super) fn listening(&self) -> SocketAddr {
        self.http.address()
    }

    /// Serves whoever comes, until the tasks are shut down.
    pub(super) fn serve(self, to: &Inside, served: &mut JoinSet<()>) {
        served.spawn(self.show.serve(to.asker.clone()));
        served.spawn(self.http.serve(to.asker.clone()));
        served.spawn(self.handover.serve(to.successor.clone()));
        if let Some(cni) = self.cni {
            served.spawn(cni.serve(to.wish.clone()));
        }
    }
}
