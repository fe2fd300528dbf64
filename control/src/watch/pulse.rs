//! Whether the API server answers: a watch that nobody ends may be silent for long, because nothing
//! changes or because nobody is there.
//!
//! And whether it is the one that it was. Where its store was restored from a backup, versions begin again
//! below those that were told, and it sends nothing to a watch from a version that is to come: what was
//! deleted with the restore would stay, and what is new would not come. So it is asked which version it
//! is at, now and then and when it answers again; where that goes back, everything is read anew.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::Client;
use kube::api::{Api, ListParams};
use tokio::sync::mpsc::Sender;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::trouble::causes;
use super::{Heard, Trouble};

/// How often it is asked.
const EVERY: Duration = Duration::from_secs(10);
/// How often while it does not answer.
const AGAIN: Duration = Duration::from_secs(2);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// At how many answers its version is asked for once.
const VERSION_EVERY: u32 = 3;

/// Asks for ever for what everybody may ask: which version it is. `restored` counts how often its
/// store went back.
pub(super) async fn run(client: Client, to: Sender<Heard>, restored: watch::Sender<u64>) {
    let (mut newest, mut answers) = (0, 0);
    loop {
        let pulse = match timeout(PATIENCE, client.apiserver_version()).await {
            // With an error it answers too, if not what was asked.
            Ok(Ok(_) | Err(kube::Error::Api(_))) => Ok(()),
            Ok(Err(error)) => Err(silent(&causes(&error))),
            Err(_) => Err(silent(&format!("no answer in {} s", PATIENCE.as_secs()))),
        };
        let pause = if pulse.is_ok() { EVERY } else { AGAIN };
        answers = if pulse.is_ok() { (answers + 1) % VERSION_EVERY } else { 0 };
        if pulse.is_ok()
            && answers == 1
            && let Some(version) = version(&client).await
        {
            if version < newest {
                restored.send_modify(|times| *times += 1);
            }
            newest = version;
        }
        if to.send(Heard::Pulse(pulse)).await.is_err() {
            return;
        }
        sleep(pause).await;
    }
}

/// The version that its store is at: a list of which it is not said how old it may be tells that of now.
/// Nothing where it does not tell, for whoever watches what was asked for here says why.
async fn version(client: &Client) -> Option<u64> {
    let all = Api::<Namespace>::all(client.clone());
    let one = ListParams::default().limit(1);
    let told = timeout(PATIENCE, all.list_metadata(&one)).await.ok()?.ok()?;
    // Those of one store can be compared (KEP-5504); what is no number tells nothing.
    told.metadata.resource_version?.parse().ok()
}

fn silent(why: &str) -> Trouble {
    Trouble {
        message: format!("the API server does not answer: {why}"),
        remedy: "see that it runs and can be reached from this node".to_owned(),
    }
}
