//! `lockgate status --cluster`: asks the API server what nodes have in force.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, DynamicObject, ListParams};
use kube::{Client, Error};
use tokio::time::timeout;

use super::answer::{Answer, Asked};
use super::node::LockgateNode;
use crate::watch::{ClientError, RESOURCES, Resource, causes, connect};

/// How long the API server may take for all of it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which object is asked for: `KIND/NAMESPACE/NAME`, or `KIND/NAME` of what is in no namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyName {
    resource: Resource,
    namespace: String,
    name: String,
}

impl FromStr for PolicyName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('/').collect();
        let (kind, namespace, name) = match parts[..] {
            [kind, namespace, name] => (kind, namespace, name),
            [kind, name] => (kind, "", name),
            _ => return Err("write KIND/NAMESPACE/NAME, as networkpolicy/demo/web".to_owned()),
        };
        let is_named = |one: &&Resource| {
            let names = [one.kind.spoken(), one.kind.label(), one.plural, &one.spoken()];
            names.iter().any(|name| name.eq_ignore_ascii_case(kind))
        };
        let Some(resource) = RESOURCES.iter().find(is_named).copied() else {
            let all: Vec<&str> = RESOURCES.iter().map(|one| one.kind.spoken()).collect();
            return Err(format!("no kind is called {kind:?}; there are {}", all.join(", ")));
        };
        let (is_within, spoken) = (resource.kind.is_namespaced(), resource.kind.spoken());
        if name.is_empty() || is_within == namespace.is_empty() {
            let form = if is_within { "NAMESPACE/NAME" } else { "NAME" };
            return Err(format!("write {spoken}/{form}"));
        }
        Ok(Self { resource, namespace: namespace.to_owned(), name: name.to_owned() })
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum QuestionError {
    /// No client.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The definition is not there.
    #[error(
        "the cluster has no lockgatenodes.lockgate.dev, so no node can have reported: kubectl \
         apply -f deploy/helm/lockgate/crds/lockgatenodes.yaml"
    )]
    Undefined,
    /// The object is not there.
    #[error("the cluster has no {0}: see `kubectl get {1} -A`")]
    Missing(String, String),
    /// The API server serves no such kind.
    #[error(
        "the cluster serves no {0}, in none of {1}: name another kind (`kubectl api-resources` has \
         them), or install its definition"
    )]
    Unserved(String, String),
    /// The API server says no.
    #[error("{0} cannot be read: the API server says {1}: {2}; {remedy}", remedy = remedy(*.1))]
    Refused(String, u16, String),
    /// The API server does not answer, or what cannot be read.
    #[error("{0} cannot be read: {1}; see that the API server runs and can be reached from here")]
    Silent(String, String),
}

/// Asks: by the kubeconfig given, by `KUBECONFIG`, by `~/.kube/config`, or as the pod that this is.
///
/// # Errors
/// [`QuestionError`], with what to do.
pub async fn ask(
    kubeconfig: Option<PathBuf>,
    policy: Option<&PolicyName>,
) -> Result<Answer, QuestionError> {
    let kubeconfig = kubeconfig.or_else(usual);
    let client = connect(kubeconfig.as_deref()).await?;
    let late = |_| {
        let why = format!("no answer in {} s", PATIENCE.as_secs());
        QuestionError::Silent("what nodes have in force".to_owned(), why)
    };
    timeout(PATIENCE, answer(&client, policy)).await.map_err(late)?
}

/// Where kubectl looks.
fn usual() -> Option<PathBuf> {
    let named = std::env::var_os("KUBECONFIG").and_then(|list| first_there(&list));
    let own = std::env::var_os("HOME").map(|home| Path::new(&home).join(".kube/config"));
    named.or_else(|| own.filter(|path| path.exists()))
}

/// The first file of a list as `a:b` that is there, else the first that is named. kubectl puts the
/// files together; whoever needs that gives `--kubeconfig` what `kubectl config view --raw` prints.
fn first_there(list: &OsStr) -> Option<PathBuf> {
    let all = std::env::split_paths(list).filter(|path| !path.as_os_str().is_empty());
    let all: Vec<PathBuf> = all.collect();
    all.iter().find(|path| path.exists()).or_else(|| all.first()).cloned()
}

async fn answer(client: &Client, policy: Option<&PolicyName>) -> Result<Answer, QuestionError> {
    // The policy before the reports: one that changes between the two is not yet in force then.
    let asked = match policy {
        Some(policy) => Some(find(client, policy).await?),
        None => None,
    };
    let all = ListParams::default();
    let nodes: Api<Node> = Api::all(client.clone());
    let nodes = nodes.list_metadata(&all).await.map_err(|error| wrong("nodes", &error))?;
    let names = nodes.items.into_iter().filter_map(|node| node.metadata.name);
    let names: Vec<String> = names.collect();
    let reports: Api<LockgateNode> = Api::all(client.clone());
    let reports = reports.list(&all).await.map_err(|error| match &error {
        Error::Api(status) if status.code == 404 => QuestionError::Undefined,
        error => wrong("lockgatenodes.lockgate.dev", error),
    })?;
    Ok(Answer::new(&names, &reports.items, asked, SystemTime::now()))
}

async fn find(client: &Client, policy: &PolicyName) -> Result<Asked, QuestionError> {
    let PolicyName { resource, namespace, name } = policy;
    let mut is_served = false;
    for version in resource.kind.versions() {
        let (what, client) = (resource.as_kube(version), client.clone());
        let objects: Api<DynamicObject> = match namespace.as_str() {
            "" => Api::all_with(client, &what),
            namespace => Api::namespaced_with(client, namespace, &what),
        };
        match objects.get_metadata_opt(name).await {
            Ok(Some(found)) => {
                let version = found.metadata.resource_version.unwrap_or_default();
                let annotations = found.metadata.annotations.unwrap_or_default();
                let asked = Asked::new(resource, namespace, name, &version);
                return Ok(asked.annotated(&annotations));
            }
            Ok(None) => is_served = true,
            // A group or version that is not served: another may be.
            Err(Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(wrong(&resource.spoken(), &error)),
        }
    }
    if !is_served {
        let versions = resource.kind.versions().join(", ");
        return Err(QuestionError::Unserved(resource.plural.to_owned(), versions));
    }
    let slash = if namespace.is_empty() { "" } else { "/" };
    let object = format!("{} {namespace}{slash}{name}", resource.kind.spoken());
    Err(QuestionError::Missing(object, resource.spoken()))
}

/// What to do about a status of the API server.
fn remedy(code: u16) -> &'static str {
    match code {
        401 => "renew the token or certificate of the kubeconfig",
        403 => "use a kubeconfig whose user may",
        404 => "see that the kubeconfig names the API server itself",
        _ => "see the API server's log",
    }
}

fn wrong(resource: &str, error: &Error) -> QuestionError {
    match error {
        Error::Api(status) => {
            QuestionError::Refused(resource.to_owned(), status.code, status.message.clone())
        }
        error => QuestionError::Silent(resource.to_owned(), causes(error)),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn of_a_list_of_kubeconfigs_the_first_that_is_there_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let there = directory.path().join("there");
        std::fs::write(&there, "").unwrap();
        let list = format!(":/nowhere/config:{}:/proc", there.display());
        assert_eq!(first_there(OsStr::new(&list)), Some(there));
        assert_eq!(first_there(OsStr::new("/nowhere/a:/nowhere/b")), Some("/nowhere/a".into()));
        assert_eq!(first_there(OsStr::new("")), None);
    }

    #[test]
    fn a_policy_is_named_by_kind_namespace_and_name() {
        let read = |text: &str| text.parse::<PolicyName>();
        let plain = read("networkpolicy/demo/web").unwrap();
        assert_eq!(plain.resource.spoken(), "networkpolicies.networking.k8s.io");
        assert_eq!((plain.namespace.as_str(), plain.name.as_str()), ("demo", "web"));
        for calico in ["NetworkPolicy.projectcalico.org", "networkpolicies.projectcalico.org"] {
            let named = read(&format!("{calico}/demo/web")).unwrap();
            assert_eq!(named.resource.spoken(), "networkpolicies.projectcalico.org");
        }
        let cluster = read("ClusterNetworkPolicy/base").unwrap();
        assert_eq!((cluster.namespace.as_str(), cluster.name.as_str()), ("", "base"));
    }

    #[test]
    fn what_names_none_says_how_to() {
        let wrong = |text: &str| text.parse::<PolicyName>().unwrap_err();
        assert!(wrong("web").contains("networkpolicy/demo/web"));
        assert!(wrong("widget/demo/web").contains("GlobalNetworkPolicy"));
        assert_eq!(wrong("networkpolicy/web"), "write NetworkPolicy/NAMESPACE/NAME");
        assert_eq!(wrong("tier/demo/web"), "write Tier/NAME");
        assert_eq!(wrong("networkpolicy/demo/"), "write NetworkPolicy/NAMESPACE/NAME");
    }

    /// A cluster that answers by the path, with this status and body; others are unknown groups.
    async fn cluster(known: Vec<(&'static str, u16, &'static str)>) -> Client {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut asked = String::new();
                let mut reader = BufReader::new(&mut stream);
                while reader.read_line(&mut asked).await.is_ok_and(|read| read > 0)
                    && !asked.ends_with("\r\n\r\n")
                {}
                let path = asked.split(' ').nth(1).unwrap_or_default();
                let found = known.iter().find(|(one, ..)| *one == path);
                let (status, body) = found
                    .map_or((404, "404 page not found\n"), |(_, status, body)| (*status, *body));
                let kind = if body.starts_with('{') { "application/json" } else { "text/plain" };
                let head = format!(
                    "HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\
                     Connection: close\r\n\r\n",
                    body.len()
                );
                stream.write_all((head + body).as_bytes()).await.unwrap();
            }
        });
        let config = kube::Config::new(format!("http://{at}").parse().unwrap());
        Client::try_from(config).unwrap()
    }

    const STORED: &str = "/apis/crd.projectcalico.org/v1/globalnetworkpolicies/zzz";

    async fn said(client: &Client) -> Result<String, String> {
        let policy = "globalnetworkpolicy/zzz".parse().unwrap();
        let found = find(client, &policy).await;
        found.map(|asked| asked.resource_version).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_policy_is_asked_for_in_whichever_of_its_groups_is_served() {
        let there = r#"{"apiVersion":"meta.k8s.io/v1","kind":"PartialObjectMetadata",
            "metadata":{"name":"zzz","resourceVersion":"7"}}"#;
        assert_eq!(said(&cluster(vec![(STORED, 200, there)]).await).await, Ok("7".to_owned()));
    }

    #[tokio::test]
    async fn a_policy_that_is_not_there_a_kind_that_is_not_served_and_a_refusal_are_told_apart() {
        let missing = r#"{"kind":"Status","apiVersion":"v1","status":"Failure",
            "message":"not found","reason":"NotFound","code":404}"#;
        let error = said(&cluster(vec![(STORED, 404, missing)]).await).await.unwrap_err();
        assert!(error.starts_with("the cluster has no GlobalNetworkPolicy zzz"), "{error}");
        let error = said(&cluster(vec![]).await).await.unwrap_err();
        assert!(error.contains("serves no globalnetworkpolicies"), "{error}");
        assert!(error.contains("projectcalico.org/v3, crd.projectcalico.org/v1"), "{error}");
        let refusal = r#"{"kind":"Status","apiVersion":"v1","status":"Failure",
            "message":"may not","reason":"Forbidden","code":403}"#;
        let error = said(&cluster(vec![(STORED, 403, refusal)]).await).await.unwrap_err();
        assert!(error.contains("403: may not; use a kubeconfig whose user may"), "{error}");
    }
}
