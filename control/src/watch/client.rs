//! The client of the API server.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config, Error};

use super::trouble::causes;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an answer may be silent: longer than one watch lasts.
const READ: Duration = Duration::from_mins(2);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The kubeconfig.
    #[error("kubeconfig {}: {}; name one that can be read with --kubeconfig", path.display(), causes(source))]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// Why.
        source: KubeconfigError,
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
        "no client of the API server can be made: {}; mend the certificates and keys that the \
         kubeconfig names",
        causes(.0)
    )]
    Client(#[from] Error),
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
            Config::from_custom_kubeconfig(read, &options).await.map_err(wrong)?
        }
        None => Config::incluster()?,
    };
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = Some(READ);
    config.write_timeout = Some(CONNECT);
    Ok(Client::try_from(config)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_kubeconfig_that_is_none_is_named() {
        let missing = connect(Some(Path::new("/nowhere/config"))).await.err().unwrap().to_string();
        assert!(missing.starts_with("kubeconfig /nowhere/config: "), "{missing}");
        assert!(missing.contains("--kubeconfig"), "{missing}");
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config");
        for text in ["", "}{", "kind: Config\ncurrent-context: none\n"] {
            std::fs::write(&path, text).unwrap();
            let error = connect(Some(&path)).await.err().unwrap().to_string();
            assert!(error.contains("config: "), "{text:?}: {error}");
        }
    }
}
