//! Link events: which interfaces changed. A wake-up only; what changed is asked anew.

use std::collections::BTreeSet;
use std::io;

use futures_util::StreamExt;
use netlink_packet_route::RouteNetlinkMessage;
use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::NetlinkPayload;

/// The kernel's stream of link changes.
pub struct LinkEvents {
    changes: futures_util::stream::BoxStream<'static, Option<u32>>,
}

impl std::fmt::Debug for LinkEvents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LinkEvents")
    }
}

impl LinkEvents {
    /// Listens. Needs a running tokio.
    pub(super) fn open() -> io::Result<Self> {
        let (connection, _, messages) =
            rtnetlink::new_multicast_connection(&[MulticastGroup::Link])?;
        tokio::spawn(connection);
        let changes = messages.map(|(message, _)| match message.payload {
            NetlinkPayload::InnerMessage(
                RouteNetlinkMessage::NewLink(link) | RouteNetlinkMessage::DelLink(link),
            ) => Some(link.header.index),
            _ => None,
        });
        Ok(Self { changes: changes.boxed() })
    }

    /// Waits for a change and gives the numbers of all links that changed by then. Empty when
    /// events were lost or the stream ended: then anything may have changed.
    pub async fn changed(&mut self) -> BTreeSet<u32> {
        let mut changed = BTreeSet::new();
        match self.changes.next().await {
            Some(Some(index)) => changed.insert(index),
            Some(None) => return changed,
            // Nothing will ever come; the caller's retry each second goes on without us.
            None => std::future::pending().await,
        };
        while let Some(Some(Some(index))) =
            futures_util::FutureExt::now_or_never(self.changes.next())
        {
            changed.insert(index);
        }
        changed
    }
}
