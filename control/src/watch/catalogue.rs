//! What the API server says that it has: its own lists of groups, and of a group's resources.
//!
//! A resource is absent only where such lists were read as what they are and do not have it. A 404,
//! and a page of whatever stands before the API server, are failures like any other: who takes them
//! for an answer opens what a policy denies.
//!
//! Those who look for resources of one group ask once together.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Request;
use kube::{Client, Error};
use serde::Deserialize;
use serde::de::Error as _;
use tokio::sync::Mutex as Queue;
use tokio::time::{Instant, timeout};

use super::gate::ANSWER;
use super::resource::{Resource, lasting, of_group};
use super::trouble::is_not_found;

/// How long an answer is good for others that ask: less than one who found nothing waits.
const FRESH: Duration = Duration::from_millis(2500);
/// The same of a failure: those who waited for it need not ask in turn.
const FRESH_FAILURE: Duration = Duration::from_millis(200);

/// The API server's documents of discovery, each of which says of itself what it is.
#[derive(Deserialize)]
#[serde(tag = "kind")]
enum Document {
    #[serde(rename = "APIGroupList")]
    Groups { groups: Vec<Group> },
    #[serde(rename = "APIResourceList", rename_all = "camelCase")]
    Resources { group_version: String, resources: Vec<Named> },
}

#[derive(Deserialize)]
struct Group {
    versions: Vec<Served>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Served {
    group_version: String,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

/// What one path said: versions of groups, or names of resources.
type Said = Result<Arc<Vec<String>>, Arc<Error>>;
/// What it said last, and when. Whoever asks waits for who asks already.
type Page = Arc<Queue<Option<(Instant, Said)>>>;

/// What was asked of an API server not long ago.
pub(super) struct Catalogue {
    client: Client,
    pages: Mutex<BTreeMap<String, Page>>,
}

impl Catalogue {
    pub(super) fn new(client: Client) -> Self {
        Self { client, pages: Mutex::default() }
    }

    /// The version in which a resource is served: the first that is known here, else another, in
    /// which its objects are read as what they cannot be read as (a policy opens nothing). None
    /// where the API server has it in none.
    pub(super) async fn find(
        &self,
        resource: &Resource,
    ) -> Result<Option<&'static str>, Arc<Error>> {
        let known = resource.kind.versions();
        let served = self.read("/apis").await?;
        let is_other = |one: &&str| {
            !known.contains(one) && known.iter().any(|known| of_group(known) == of_group(one))
        };
        let served: Vec<&str> = served.iter().map(String::as_str).collect();
        let current = known.iter().copied().filter(|one| served.contains(one));
        for version in current.chain(served.iter().copied().filter(is_other)) {
            let names = self.read(&format!("/apis/{version}")).await?;
            if names.iter().any(|name| name == resource.plural) {
                return lasting(resource.kind, version).map(Some).ok_or_else(|| too_many(version));
            }
        }
        Ok(None)
    }

    /// The version that is served though the list of groups lacks it: that of an API server which
    /// begins may not be whole yet, and then it does not say 404 of what it lacks.
    pub(super) async fn find_unlisted(
        &self,
        resource: &Resource,
    ) -> Result<Option<&'static str>, Arc<Error>> {
        for version in resource.kind.versions() {
            match self.read(&format!("/apis/{version}")).await {
                Ok(names) if names.iter().any(|name| name == resource.plural) => {
                    return Ok(Some(version));
                }
                Ok(_) => {}
                Err(error) if is_not_found(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    async fn read(&self, path: &str) -> Said {
        let page = {
            let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(pages.entry(path.to_owned()).or_default())
        };
        let mut page = page.lock().await;
        if let Some((when, said)) = &*page {
            let fresh = if said.is_ok() { FRESH } else { FRESH_FAILURE };
            if when.elapsed() < fresh {
                return said.clone();
            }
        }
        let said = self.ask(path).await.map(Arc::new).map_err(Arc::new);
        *page = Some((Instant::now(), said.clone()));
        said
    }

    async fn ask(&self, path: &str) -> Result<Vec<String>, Error> {
        let request = Request::get(path).body(Vec::new()).map_err(Error::HttpError)?;
        let late = |_| Error::Service(format!("no answer in {} s", ANSWER.as_secs()).into());
        let text = timeout(ANSWER, self.client.request_text(request)).await.map_err(late)??;
        // What is no JSON, and what is of another kind.
        let document = serde_json::from_str(&text).map_err(|_| odd(path))?;
        match (document, path.strip_prefix("/apis/")) {
            (Document::Groups { groups }, None) => {
                let versions = groups.into_iter().flat_map(|group| group.versions);
                Ok(versions.map(|version| version.group_version).collect())
            }
            (Document::Resources { group_version, resources }, Some(asked))
                if group_version == asked =>
            {
                Ok(resources.into_iter().map(|one| one.name).collect())
            }
            _ => Err(odd(path)),
        }
    }
}

fn odd(path: &str) -> Error {
    let what = if path == "/apis" { "list of API groups" } else { "list of its resources" };
    Error::SerdeError(serde_json::Error::custom(format!("{path} holds no {what}")))
}

fn too_many(version: &str) -> Arc<Error> {
    let text = format!("{version} is one version too many of APIs that are not known here");
    Arc::new(Error::SerdeError(serde_json::Error::custom(text)))
}
