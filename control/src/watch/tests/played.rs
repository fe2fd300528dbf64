//! An API server that tests play: it answers a request by what was laid down for its path, in
//! virtual time, and notes what was asked.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame};
use hyper::{Request, Response};
use kube::Client;

use super::super::RESOURCES;
use super::super::resource::{Resource, of_group};

/// What is answered.
#[derive(Clone)]
pub(super) enum Answer {
    /// With this status code, and this.
    Says(u16, String),
    /// This much of a watch, which stays open for so long.
    Watch(String, Duration),
    /// Nothing at all.
    Hangs,
}

/// What is answered to which requests: those whose path and query begin with the first (are it,
/// where it ends with `$`) and hold the second. The last that fits counts.
type Rules = Vec<(&'static str, &'static str, Answer)>;

impl Answer {
    /// A list says of itself what it is.
    fn of(self, asked: &str) -> Self {
        let path = asked.split('?').next().unwrap();
        let (group, plural) = path.rsplit_once('/').unwrap();
        let version = group.trim_start_matches("/apis/").trim_start_matches("/api/");
        let is_it = |one: &&Resource| {
            one.plural == plural && of_group(one.kind.versions()[0]) == of_group(version)
        };
        match (self, RESOURCES.iter().find(is_it)) {
            (Self::Says(code, text), Some(one)) => {
                let said = format!(r#""kind":"{}List""#, one.kind.label());
                let text = text.replace(r#""kind":"List""#, &said);
                let said = format!(r#""apiVersion":"{version}""#);
                Self::Says(code, text.replace(r#""apiVersion":"LIST""#, &said))
            }
            (other, _) => other,
        }
    }
}

/// The server, as its test holds it.
#[derive(Clone, Default)]
pub(super) struct Played {
    rules: Arc<Mutex<Rules>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Played {
    /// Lays down an answer, over those that are there.
    pub(super) fn on(&self, path: &'static str, word: &'static str, answer: Answer) {
        self.rules.lock().unwrap().push((path, word, answer));
    }

    /// Takes the last answer back.
    pub(super) fn off(&self) {
        self.rules.lock().unwrap().pop();
    }

    /// Forgets what was asked: all of it, in order.
    pub(super) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    pub(super) fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let server = server.clone();
            async move { server.answer(&request.uri().to_string()).await }
        });
        Client::new(service, "default")
    }

    async fn answer(&self, what: &str) -> Result<Response<Told>, Infallible> {
        self.asked.lock().unwrap().push(what.to_owned());
        let fits = |(path, word, _): &&(&str, &str, Answer)| {
            let is_there = match path.strip_suffix('$') {
                Some(whole) => what == whole,
                None => what.starts_with(path),
            };
            is_there && what.contains(word)
        };
        let answer = self.rules.lock().unwrap().iter().rev().find(fits).map(|one| one.2.clone());
        let answer = answer.map(|answer| answer.of(what));
        let (code, text, open) = match answer {
            Some(Answer::Says(code, text)) => (code, text, Duration::ZERO),
            Some(Answer::Watch(text, open)) => (200, text, open),
            Some(Answer::Hangs) => std::future::pending().await,
            None => (404, "404 page not found\n".to_owned(), Duration::ZERO),
        };
        let end = Box::pin(tokio::time::sleep(open));
        let told = Told { text: Some(text.into()), end };
        Ok(Response::builder().status(code).body(told).unwrap())
    }
}

/// The body of an answer.
struct Told {
    text: Option<Bytes>,
    end: Pin<Box<tokio::time::Sleep>>,
}

impl Body for Told {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.text.take() {
            Some(text) => Poll::Ready(Some(Ok(Frame::data(text)))),
            None => self.end.as_mut().poll(cx).map(|()| None),
        }
    }
}

/// A list of API groups that has these versions.
pub(super) fn groups(versions: &[&str]) -> Answer {
    let group = |one: &&str| {
        let name = one.split('/').next().unwrap();
        serde_json::json!({"name": name, "versions": [{"groupVersion": one, "version": "v"}]})
    };
    let groups: Vec<_> = versions.iter().map(group).collect();
    says(&serde_json::json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
}

/// A list of the resources of a version.
pub(super) fn resources(version: &str, names: &[&str]) -> Answer {
    let one = |name: &&str| serde_json::json!({"name": name, "kind": "X"});
    let all: Vec<_> = names.iter().map(one).collect();
    says(&serde_json::json!({"kind": "APIResourceList", "groupVersion": version,
                             "resources": all}))
}

/// A list of objects of a version, and the token of its next page.
pub(super) fn list(items: &[serde_json::Value], version: &str, next: &str) -> Answer {
    says(&serde_json::json!({"kind": "List", "apiVersion": "LIST", "items": items,
                             "metadata": {"resourceVersion": version, "continue": next}}))
}

/// A failure as an API server words it.
pub(super) fn status(code: u16) -> Answer {
    let text = serde_json::json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
                                  "message": "no", "reason": "X", "code": code});
    Answer::Says(code, text.to_string())
}

fn says(document: &serde_json::Value) -> Answer {
    Answer::Says(200, document.to_string())
}
