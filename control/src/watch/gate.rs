//! What stands between kube-runtime's watcher and the API server, for the watch of one resource.
//!
//! The watcher does not tell when a watch has begun, waits for ever for that, and asks again at once
//! where one ends as soon as it has begun. Here the last two become errors, after which it is polled
//! with pauses like after any other, and whether a watch has lasted can be known.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, Uri};
use kube::client::Body;
use kube::{Client, Error};
use tokio::sync::watch::Sender;
use tokio::time::{Instant, timeout, timeout_at};
use tower::BoxError;

/// How long a watch must last before it is one that works.
pub(super) const LASTED: Duration = Duration::from_secs(5);
/// How long a page of a list, and the beginning of a watch, may take.
pub(super) const ANSWER: Duration = Duration::from_secs(30);

/// Why a watch that brought no error has failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Silence {
    /// It ended so long after it had begun.
    #[error("the watch ended after {} ms", .0.as_millis())]
    Early(Duration),
    /// It did not begin.
    #[error("no answer to its watch in {} s", ANSWER.as_secs())]
    Hangs,
}

impl Silence {
    /// Whether an error of the client is of the gate.
    pub(super) fn of(error: &Error) -> Option<&Self> {
        match error {
            Error::Service(cause) => cause.downcast_ref(),
            _ => None,
        }
    }
}

/// The gate, with when the watch began that goes on, if one does.
#[derive(Debug, Default)]
pub(super) struct Gate {
    begun: Sender<Option<Instant>>,
}

impl Gate {
    /// A client whose requests go through the gate.
    pub(super) fn before(self: &Arc<Self>, client: &Client) -> Client {
        let (gate, client) = (Arc::clone(self), client.clone());
        let service = tower::service_fn(move |request| {
            let (gate, client) = (Arc::clone(&gate), client.clone());
            async move { gate.pass(&client, request).await }
        });
        // Who watches names no namespace, so this one is never asked for.
        Client::new(service, "default")
    }

    async fn pass(
        &self,
        client: &Client,
        request: Request<Body>,
    ) -> Result<Response<Body>, BoxError> {
        if !is_watch(request.uri()) {
            return Ok(client.send(request).await?);
        }
        let lasted = self.over().map(|begun| begun.elapsed());
        if let Some(lasted) = lasted.filter(|lasted| *lasted < LASTED) {
            return Err(Silence::Early(lasted).into());
        }
        let answer = timeout(ANSWER, client.send(request)).await.map_err(|_| Silence::Hangs)??;
        // One that is an error is told as such, and over with that.
        self.begun.send_replace(Some(Instant::now()));
        Ok(answer)
    }

    /// The watch is over, and not to be told as one that ended early; when it had begun.
    pub(super) fn over(&self) -> Option<Instant> {
        self.begun.send_replace(None)
    }

    /// Until a watch has lasted.
    pub(super) async fn lasted(&self) {
        let mut begun = self.begun.subscribe();
        loop {
            let at = *begun.borrow_and_update();
            let change = begun.changed();
            // The sender is ours, so a change is the only way for `changed` to end.
            match at {
                None => drop(change.await),
                Some(at) if timeout_at(at + LASTED, change).await.is_err() => return,
                Some(_) => {}
            }
        }
    }
}

fn is_watch(uri: &Uri) -> bool {
    uri.query().is_some_and(|query| query.split('&').any(|part| part == "watch=true"))
}
