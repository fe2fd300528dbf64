//! Questions to the running agent, from HTTP and from the socket.
//!
//! One task owns the switch and answers between its other duties; whoever asks waits for a bounded
//! time. A full queue refuses at once, so that no asker can hold up the agent.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

/// How long an asker waits.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Questions that may wait.
const WAITING_MAX: usize = 64;

/// The most connections that one answer lists.
pub const CONNECTIONS_SHOWN_MAX: usize = 65_536;

/// What can be asked over the Unix socket; its JSON is `{"show":"status"}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "show", rename_all = "snake_case", deny_unknown_fields)]
pub enum Show {
    /// The agent and its problems.
    Status {},
    /// Pods and ports.
    Ports {},
    /// Connections.
    Connections {
        /// At most so many, up to [`CONNECTIONS_SHOWN_MAX`].
        #[serde(default = "connections_shown")]
        limit: usize,
    },
    /// Policies in force.
    Policies {},
    /// The last denied packets that were sampled.
    Denied {},
    /// The last packets that rules record, or that what is staged would decide on.
    Audit {},
    /// What `/readyz` answers.
    Ready {},
    /// What `/metrics` answers, as one text.
    Metrics {},
    /// The settings in force.
    Settings {},
}

fn connections_shown() -> usize {
    1000
}

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// A document of the socket.
    Show(Show),
    /// The metrics, as Prometheus text.
    Metrics,
    /// Whether packets are judged by what the directory says, as JSON.
    Ready,
    /// Whether the agent answers at all.
    Live,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether it is a good one: for [`Question::Ready`], whether the switch is ready.
    pub good: bool,
    /// JSON, or Prometheus text.
    pub body: String,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// Too many questions wait.
    #[error("too many questions wait for the agent; ask again later")]
    Busy,
    /// No answer within [`ANSWER_TIMEOUT`].
    #[error("the agent did not answer in time; ask again, or see its log for what holds it up")]
    Slow,
    /// The agent is stopping.
    #[error("the agent is stopping; ask again when it runs")]
    Gone,
}

/// A question and the way back.
#[derive(Debug)]
pub struct Asked {
    /// The question.
    pub question: Question,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Answer>,
}

/// The asking end.
#[derive(Clone, Debug)]
pub struct Asker(mpsc::Sender<Asked>);

/// A queue of questions: the asking end and the answering end.
#[must_use]
pub fn questions() -> (Asker, mpsc::Receiver<Asked>) {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    (Asker(sender), receiver)
}

impl Asker {
    /// Asks and waits.
    ///
    /// # Errors
    /// [`AskError`] where there is no answer in time.
    pub async fn ask(&self, question: Question) -> Result<Answer, AskError> {
        let (reply, answer) = oneshot::channel();
        self.0.try_send(Asked { question, reply }).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => AskError::Busy,
            mpsc::error::TrySendError::Closed(_) => AskError::Gone,
        })?;
        match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(AskError::Gone),
            Err(_) => Err(AskError::Slow),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_on_the_socket_are_stable() {
        let word = |show| serde_json::to_string(&show).unwrap();
        assert_eq!(word(Show::Status {}), r#"{"show":"status"}"#);
        assert_eq!(word(Show::Connections { limit: 7 }), r#"{"show":"connections","limit":7}"#);
        let read = |text| serde_json::from_str::<Show>(text).ok();
        assert_eq!(read(r#"{"show":"connections"}"#), Some(Show::Connections { limit: 1000 }));
        assert_eq!(read(r#"{"show":"status","more":1}"#), None);
        assert_eq!(read(r#"{"show":"everything"}"#), None);
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once() {
        let (asker, answering) = questions();
        let waiting: Vec<_> = (0..WAITING_MAX)
            .map(|_| {
                let asker = asker.clone();
                tokio::spawn(async move { asker.ask(Question::Live).await })
            })
            .collect();
        while asker.0.capacity() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(asker.ask(Question::Live).await, Err(AskError::Busy));
        drop(answering);
        for asked in waiting {
            assert_eq!(asked.await.unwrap(), Err(AskError::Gone));
        }
        assert_eq!(asker.ask(Question::Live).await, Err(AskError::Gone));
    }

    #[tokio::test(start_paused = true)]
    async fn an_agent_that_hangs_is_told_of_in_time() {
        let (asker, _answering) = questions();
        assert_eq!(asker.ask(Question::Live).await, Err(AskError::Slow));
    }
}
