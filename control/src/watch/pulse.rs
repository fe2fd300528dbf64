//! Whether the API server answers: a watch that nobody ends may be silent for long, because nothing
//! changes or because nobody is there.

use std::time::Duration;

use kube::Client;
use tokio::sync::mpsc::Sender;
use tokio::time::{sleep, timeout};

use super::trouble::causes;
use super::{Heard, Trouble};

/// How often it is asked.
const EVERY: Duration = Duration::from_secs(10);
/// How often while it does not answer.
const AGAIN: Duration = Duration::from_secs(2);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks for ever for what everybody may ask: which version it is.
pub(super) async fn run(client: Client, to: Sender<Heard>) {
    loop {
        let pulse = match timeout(PATIENCE, client.apiserver_version()).await {
            // With an error it answers too, if not what was asked.
            Ok(Ok(_) | Err(kube::Error::Api(_))) => Ok(()),
            Ok(Err(error)) => Err(silent(&causes(&error))),
            Err(_) => Err(silent(&format!("no answer in {} s", PATIENCE.as_secs()))),
        };
        let pause = if pulse.is_ok() { EVERY } else { AGAIN };
        if to.send(Heard::Pulse(pulse)).await.is_err() {
            return;
        }
        sleep(pause).await;
    }
}

fn silent(why: &str) -> Trouble {
    Trouble {
        message: format!("the API server does not answer: {why}"),
        remedy: "see that it runs and can be reached from this node".to_owned(),
    }
}
