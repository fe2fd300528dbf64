//! The client of the API server.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config, Error};
use secrecy::ExposeSecret;
use tracing::info;

use super::trouble::{causes, spoken, without_users};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an answer may be silent: longer than one watch lasts.
const READ: Duration = Duration::from_mins(2);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The kubeconfig.
    #[error("kubeconfig {}: {}; {}", path.display(), what(source), remedy(source))]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// Why.
        source: KubeconfigError,
    },
    /// What it says of the server, which is an address and none of a server of this kind.
    #[error(
        "kubeconfig {}: clusters[].cluster.server {server:?} of the current context has no {lacks}; \
         set it to a whole one, https://HOST:6443 for instance", path.display()
    )]
    Server {
        /// The file.
        path: PathBuf,
        /// What it says, without a password.
        server: String,
        /// What that lacks.
        lacks: &'static str,
    },
    /// A token that no request can bear.
    #[error(
        "kubeconfig {}: users[].user.token of the current context has a line break, a blank or \
         another character that no token has; write it on one line, without blanks", path.display()
    )]
    Token {
        /// The file.
        path: PathBuf,
    },
    /// The service account's files.
    #[error(
        "this is no pod of a cluster: {}; run with --kubeconfig FILE, or in a pod with a service \
         account",
        causes(.0)
    )]
    InCluster(#[from] InClusterError),
    /// Its certificates, or its keys.
    #[error(
        "no client of the API server can be made: {}; {}",
        spoken(.0), remedy_of(.0)
    )]
    Client(#[from] Error),
}

/// What to do about a client that cannot be made.
fn remedy_of(error: &Error) -> &'static str {
    // Neither kind of error is of a type of its own.
    if causes(error).contains("feature") {
        "proxy-url and auth-provider of a kubeconfig are not supported: leave them out, and use a \
         token, a certificate or an exec plugin"
    } else {
        "mend the certificates, keys and tokens that the kubeconfig names"
    }
}

/// What is wrong with a kubeconfig, and none of its lines: tokens and keys are in them, and this is
/// logged.
fn what(error: &KubeconfigError) -> String {
    let KubeconfigError::Parse(error) = error else { return causes(error) };
    let at = error
        .location()
        .map_or_else(String::new, |at| format!(" at line {}, column {}", at.line(), at.column()));
    format!("it is no YAML of a kubeconfig{at}")
}

/// What to do about a kubeconfig.
fn remedy(error: &KubeconfigError) -> &'static str {
    match error {
        KubeconfigError::CurrentContextNotSet => {
            "set its current-context: `kubectl config use-context NAME`"
        }
        KubeconfigError::LoadContext(_) => {
            "set its current-context to one that `kubectl config get-contexts` shows"
        }
        KubeconfigError::LoadClusterOfContext(_) => {
            "mend the current context: its cluster is none of those in the file"
        }
        KubeconfigError::MissingClusterUrl | KubeconfigError::ParseClusterUrl(_) => {
            "set the server of the current context's cluster, https://HOST:6443 for instance"
        }
        KubeconfigError::ParseProxyUrl(_) => "mend the proxy-url of the current context's cluster",
        KubeconfigError::LoadCertificateAuthority(_) | KubeconfigError::ParseCertificates(_) => {
            "mend certificate-authority of the current context's cluster"
        }
        KubeconfigError::LoadClientCertificate(_) | KubeconfigError::LoadClientKey(_) => {
            "mend client-certificate and client-key of the current context's user"
        }
        KubeconfigError::Parse(_) => "write it as `kubectl config view --raw` shows one",
        _ => "name one that can be read with --kubeconfig",
    }
}

/// Makes the client: by a kubeconfig, or as the pod that this is. It asks nothing yet.
///
/// # Errors
/// [`ClientError`], with what to do.
pub async fn connect(kubeconfig: Option<&Path>) -> Result<Client, ClientError> {
    let mut config = match kubeconfig {
        Some(path) => {
            let wrong = |source| ClientError::Kubeconfig { path: path.to_owned(), source };
            let read = Kubeconfig::read_from(path).map_err(wrong)?;
            let options = KubeConfigOptions::default();
            let config = Config::from_custom_kubeconfig(read, &options).await.map_err(wrong)?;
            look_at(path, &config)?;
            config
        }
        None => Config::incluster()?,
    };
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = Some(READ);
    config.write_timeout = Some(CONNECT);
    // Whoever asks pauses, and says meanwhile what was answered: an API server that has too much to do
    // (429), or an aggregated one that is away (503), is none that does not answer.
    config.default_retry = false;
    if let Some(exec) = &config.auth_info.exec {
        let program = exec.command.as_deref().unwrap_or_default();
        info!(program, "asking the exec plugin of the kubeconfig for credentials");
    }
    // Certificates and keys are read only here.
    Client::try_from(config).map_err(|error| match (error, kubeconfig) {
        (Error::InferKubeconfig(source), Some(path)) => {
            ClientError::Kubeconfig { path: path.to_owned(), source }
        }
        (error, _) => ClientError::Client(error),
    })
}

/// Refuses what kube takes for good here, and panics at later: a server without a scheme or host,
/// and a token that is no value of a header.
fn look_at(path: &Path, config: &Config) -> Result<(), ClientError> {
    let server = &config.cluster_url;
    let lacks = match (server.scheme_str(), server.host()) {
        (Some("http" | "https"), Some(host)) if !host.is_empty() => {
            let written = server.authority().map_or("", |authority| authority.as_str());
            let has_port = written.rsplit_once(host).is_some_and(|(_, port)| !port.is_empty());
            (has_port && server.port_u16().is_none()).then_some("port from 1 to 65535")
        }
        (Some("http" | "https"), _) => Some("host"),
        _ => Some("scheme http or https"),
    };
    if let Some(lacks) = lacks {
        let (path, server) = (path.to_owned(), without_users(&server.to_string()));
        return Err(ClientError::Server { path, server, lacks });
    }
    let is_whole = |token: &str| token.bytes().all(|byte| byte.is_ascii_graphic());
    match &config.auth_info.token {
        Some(token) if !is_whole(token.expose_secret()) => {
            Err(ClientError::Token { path: path.to_owned() })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::*;

    /// What is said of a file with this text, beside the directory that it is in.
    async fn said(text: &[u8]) -> String {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config");
        std::fs::write(&path, text).unwrap();
        let error = connect(Some(&path)).await.err();
        let error = error.map_or_else(|| "nothing".to_owned(), |error| error.to_string());
        error.replace(&directory.path().display().to_string(), "")
    }

    /// A kubeconfig that is whole but for what is changed.
    fn whole(change: &[(&str, &str)]) -> String {
        let mut text = "kind: Config\napiVersion: v1\ncurrent-context: here\n\
                        contexts: [{name: here, context: {cluster: c, user: u}}]\n\
                        clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]\n\
                        users: [{name: u, user: {token: s3cr3t}}]\n"
            .to_owned();
        for (old, new) in change {
            assert!(text.contains(old), "{old}");
            text = text.replace(old, new);
        }
        text
    }

    #[tokio::test]
    async fn a_kubeconfig_that_is_not_there_or_no_file_is_named() {
        for path in ["/nowhere/config", "/proc"] {
            let error = connect(Some(Path::new(path))).await.err().unwrap().to_string();
            assert!(error.starts_with(&format!("kubeconfig {path}: ")), "{error}");
            assert!(error.contains("failed to read") && error.contains("--kubeconfig"), "{error}");
        }
        let binary = said(&[0xff, 0xfe, 0, 1]).await;
        assert!(binary.starts_with("kubeconfig /config: "), "{binary}");
    }

    #[tokio::test]
    async fn what_is_wrong_with_a_kubeconfig_is_named_with_what_to_do() {
        // That it is one at all: a token alone asks nobody.
        assert_eq!(said(whole(&[]).as_bytes()).await, "nothing");
        for (change, words) in [
            (("current-context: here\n", ""), ["current context", "kubectl config use-context"]),
            (("t: here", "t: there"), ["context: there", "kubectl config get-contexts"]),
            (("cluster: c,", "cluster: d,"), ["cluster of context: d", "its cluster is none"]),
            (("server: 'https://127.0.0.1:1'", ""), ["url is missing", "set the server"]),
            (("'https://127.0.0.1:1'", "'no server'"), ["cluster url", "https://HOST:6443"]),
            (("server:", "certificate-authority: /no.crt, server:"), ["/no.crt", "certificate-a"]),
            (
                ("token: s3cr3t", "client-certificate: /no.crt, client-key: /no.key"),
                ["/no.", "client-certificate and client-key"],
            ),
            (
                ("token: s3cr3t", "tokenFile: /no.token"),
                ["/no.token", "tokens that the kubeconfig"],
            ),
            (("server:", "proxy-url: 'http://127.0.0.1:1', server:"), ["proxy", "not supported"]),
            (("token: s3cr3t", "auth-provider: {name: gcp}"), ["feature", "not supported"]),
        ] {
            let error = said(whole(&[change]).as_bytes()).await;
            assert!(words.iter().all(|word| error.contains(word)), "{change:?}: {error}");
        }
    }

    #[tokio::test]
    async fn what_kube_would_panic_at_is_refused_with_its_field_and_what_to_do() {
        for server in ["127.0.0.1:6443", "/x", "'ftp://127.0.0.1:1'", "localhost", "'*'"] {
            let error = said(whole(&[("'https://127.0.0.1:1'", server)]).as_bytes()).await;
            assert!(error.starts_with("kubeconfig /config: clusters[].cluster.server "), "{error}");
            assert!(error.contains("no scheme") && error.contains("https://HOST:6443"), "{error}");
        }
        for port in ["99999", "", "x"] {
            let server = format!("'https://127.0.0.1:{port}'");
            let error = said(whole(&[("'https://127.0.0.1:1'", &server)]).as_bytes()).await;
            assert!(error.contains("https://HOST:6443"), "{port}: {error}");
        }
        for token in ["\"s3cr3t\\n\"", "\"s3cr3t\\r\"", "\"s3 cr3t\"", "s3cr3tß"] {
            let text = whole(&[("token: s3cr3t", &format!("token: {token}"))]);
            let error = said(text.as_bytes()).await;
            assert!(error.starts_with("kubeconfig /config: users[].user.token "), "{error}");
            assert!(error.contains("on one line") && !error.contains("cr3t"), "{error}");
        }
    }

    #[tokio::test]
    async fn an_api_server_that_has_too_much_to_do_is_heard_at_once() {
        for code in [429, 503] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let server = tokio::spawn(async move {
                let status =
                    format!(r#"{{"kind": "Status", "status": "Failure", "code": {code}}}"#);
                let length = status.len();
                let text =
                    format!("HTTP/1.1 {code} No\r\ncontent-length: {length}\r\n\r\n{status}");
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.read(&mut [0; 4096]).await.unwrap();
                stream.write_all(text.as_bytes()).await.unwrap();
                // Whoever asks again hears nothing.
                listener.accept().await.map(drop)
            });
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("config");
            let text = whole(&[("https://127.0.0.1:1", &format!("http://{address}"))]);
            std::fs::write(&path, text).unwrap();
            let client = connect(Some(&path)).await.unwrap();
            let answer = timeout(CONNECT, client.apiserver_version()).await;
            let said = answer.expect("it asks again").unwrap_err();
            assert!(matches!(&said, Error::Api(status) if status.code == code), "{said:?}");
            server.abort();
        }
    }

    #[tokio::test]
    async fn what_is_no_yaml_is_told_by_its_place_and_without_the_secrets_beside_it() {
        for (text, place) in [
            ("}{".to_owned(), "line 1"),
            (whole(&[("s3cr3t}}]", "s3cr3t, [}]")]), "line 6"),
            (whole(&[("token: s3cr3t", "token: [s3cr3t]")]), "line 6"),
        ] {
            let error = said(text.as_bytes()).await;
            assert!(error.contains(place) && error.contains("kubectl config view"), "{error}");
            assert!(!error.contains("s3cr3t"), "a secret is told: {error}");
        }
        assert!(said(b"").await.contains("current-context"));
    }
}
