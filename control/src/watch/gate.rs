//! What stands between kube-runtime's watcher and the API server, for the watch of one resource.
//!
//! The watcher does not tell when a watch has begun, waits for ever for that, and asks again at once
//! where one ends as soon as it has begun. Here the last two become errors, after which it is polled
//! with pauses like after any other, and whether a watch has lasted can be known.
//!
//! Nor does it ask whether a list is one of what was asked for: an empty list of anything, from whatever
//! stands before the API server, would take all policies out of force. So each says of itself what it
//! is, as the API server's own do, or it is an error.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, Uri};
use kube::client::Body;
use kube::{Client, Error};
use serde::Deserialize;
use tokio::sync::watch::Sender;
use tokio::time::{Instant, timeout, timeout_at};
use tower::BoxError;

use crate::manifest::ObjectKind;

/// How long a watch must last before it is one that works.
pub(super) const LASTED: Duration = Duration::from_secs(5);
/// How long a page of a list, and the beginning of a watch, may take.
pub(super) const ANSWER: Duration = Duration::from_secs(30);

/// Why what brought no error has failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Silence {
    /// It ended so long after it had begun.
    #[error("the watch ended after {} ms", .0.as_millis())]
    Early(Duration),
    /// It did not begin.
    #[error("no answer to its watch in {} s", ANSWER.as_secs())]
    Hangs,
    /// It is no list of what was asked for, but this.
    #[error("the list says that it is {0}")]
    Another(String),
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

/// What a list says of itself.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Said {
    kind: String,
    api_version: String,
}

/// The gate, with when the watch began that goes on, if one does.
#[derive(Debug)]
pub(super) struct Gate {
    list: Said,
    begun: Sender<Option<Instant>>,
}

impl Gate {
    /// Of the watch of one resource.
    pub(super) fn of(kind: ObjectKind, version: &str) -> Self {
        let kind = format!("{}List", kind.label());
        Self { list: Said { kind, api_version: version.to_owned() }, begun: Sender::default() }
    }

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
            return self.pass_list(client.send(request).await?).await;
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

    /// Passes on a list, or an error.
    async fn pass_list(&self, answer: Response<Body>) -> Result<Response<Body>, BoxError> {
        if !answer.status().is_success() {
            return Ok(answer);
        }
        let (head, body) = answer.into_parts();
        let bytes = body.collect_bytes().await?;
        // What is no JSON at all is told by who reads it whole.
        if let Ok(said) = serde_json::from_slice::<Said>(&bytes)
            && (&said.kind, &said.api_version) != (&self.list.kind, &self.list.api_version)
        {
            let Said { kind, api_version } = said;
            return Err(Silence::Another(format!("{api_version:?} {kind:?}")).into());
        }
        Ok(Response::from_parts(head, Body::from(bytes)))
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
