//! Asks the agent: one line to its socket, one line back, within a time.

use std::io;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::{Duration, Instant, sleep, timeout_at};

use super::failure::{Code, Failure};
use super::protocol::{LINE_BYTES_MAX, Question, Refused};

/// How long is waited before a socket with a full queue is tried again, or one that nobody listens
/// on.
const PAUSE: Duration = Duration::from_millis(20);
/// How long for an agent that is not there, or closed without an answer: in a hand-over the next one
/// listens some tens of milliseconds later.
const HANDOVER: Duration = Duration::from_secs(1);

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// Nobody listens: there is no agent, and with it no socket that a packet could pass.
    Gone(Failure),
    /// Somebody listens, and does not answer, or not in our words. It may forward packets.
    Silent(Failure),
    /// The agent says no.
    Refused(Failure),
}

impl From<Unanswered> for Failure {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::Gone(failure)
            | Unanswered::Silent(failure)
            | Unanswered::Refused(failure) => failure,
        }
    }
}

/// Asks the agent that listens on a socket.
///
/// # Errors
/// [`Unanswered`] where there is no answer by `until`, or the agent refuses.
pub async fn ask<T: DeserializeOwned>(
    socket: &Path,
    question: &Question,
    until: Instant,
) -> Result<T, Unanswered> {
    let silent = |what: String| {
        let message = format!("the agent on {} {what}", socket.display());
        let remedy = "look at its log; the runtime will try again";
        Unanswered::Silent(Failure::new(Code::TRY_AGAIN, message, remedy))
    };
    let line = match timeout_at(until, exchange_patiently(socket, question, until)).await {
        Err(_) => return Err(silent("does not answer in time".to_owned())),
        Ok(Err(error)) if is_gone(&error) => return Err(gone(socket, &error)),
        Ok(Err(error)) => return Err(silent(format!("does not answer: {error}"))),
        Ok(Ok(line)) if line.is_empty() => {
            return Err(silent("closed without an answer".to_owned()));
        }
        Ok(Ok(line)) => line,
    };
    let garbled = |error: serde_json::Error| {
        silent(format!("answers what the plugin does not understand: {error}"))
    };
    let answer: Value = serde_json::from_slice(&line).map_err(garbled)?;
    if answer.get("error").is_some() {
        let refused = Refused::deserialize(answer).map_err(garbled)?;
        return Err(Unanswered::Refused(refused.error.into()));
    }
    T::deserialize(answer).map_err(garbled)
}

/// Asks again where the agent hands over to another one, or has just.
async fn exchange_patiently(
    socket: &Path,
    question: &Question,
    until: Instant,
) -> io::Result<Vec<u8>> {
    let mut patience = None;
    loop {
        let answer = exchange(socket, question).await;
        let is_between = match &answer {
            Ok(line) => line.is_empty(),
            Err(error) => is_gone(error) || is_cut(error),
        };
        let now = Instant::now();
        // In time to say what was last seen.
        let end = *patience.get_or_insert(until.min(now + HANDOVER));
        if !is_between || now + PAUSE + PAUSE > end {
            return answer;
        }
        sleep(PAUSE).await;
    }
}

async fn exchange(socket: &Path, question: &Question) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(question)?;
    line.push(b'\n');
    let mut stream = connect(socket).await?;
    stream.write_all(&line).await?;
    let mut answer = Vec::new();
    let mut limited = BufReader::new(stream.take(LINE_BYTES_MAX as u64));
    limited.read_until(b'\n', &mut answer).await?;
    Ok(answer)
}

/// Connects; where the agent's queue is full, until it has room.
async fn connect(socket: &Path) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(socket).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(PAUSE).await,
            done => return done,
        }
    }
}

/// Whether whoever listened closed before it answered.
fn is_cut(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

fn gone(socket: &Path, error: &io::Error) -> Unanswered {
    let message = format!("no agent of lockgate listens on {}: {error}", socket.display());
    let remedy = "start it, or look why it does not run (`kubectl -n lockgate logs ds/lockgate`); \
                  where its socket is another, correct the field socket of the network configuration";
    Unanswered::Gone(Failure::new(Code::TRY_AGAIN, message, remedy))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use tokio::net::UnixListener;

    use super::super::protocol::{Attached, Done};
    use super::*;

    /// Asks `ready` of an agent that answers these bytes, or never where there are none.
    async fn asked<T: DeserializeOwned>(answer: Option<&str>) -> Result<T, Unanswered> {
        let directory = tempfile::tempdir().unwrap();
        let socket: PathBuf = directory.path().join("cni.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let serve = async {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = BufReader::new(stream);
            let mut line = String::new();
            stream.read_line(&mut line).await.unwrap();
            assert_eq!(line, "{\"cni\":\"ready\"}\n");
            match answer {
                Some(text) => stream.get_mut().write_all(text.as_bytes()).await.unwrap(),
                None => std::future::pending().await,
            }
        };
        let until = Instant::now() + Duration::from_millis(200);
        let question = Question::Ready {};
        tokio::select! {
            answer = ask(&socket, &question, until) => answer,
            () = async { serve.await; std::future::pending().await } => unreachable!(),
        }
    }

    #[tokio::test]
    async fn an_answer_is_of_the_kind_that_was_asked_for() {
        assert_eq!(asked::<Done>(Some("{}\n")).await, Ok(Done {}));
        let attached = asked::<Attached>(Some("{\"generation\":17}\n")).await;
        assert_eq!(attached, Ok(Attached { generation: 17 }));
        let other = asked::<Done>(Some("{\"generation\":17}\n")).await.unwrap_err();
        assert!(matches!(&other, Unanswered::Silent(f) if f.message.contains("not understand")));
    }

    #[tokio::test]
    async fn a_refusal_is_given_on_in_the_agents_words() {
        let text = r#"{"error":{"code":50,"message":"half synced","details":"wait"}}"#;
        let wanted = Failure::new(Code::NOT_AVAILABLE, "half synced", "wait");
        assert_eq!(asked::<Done>(Some(text)).await, Err(Unanswered::Refused(wanted)));
        let odd = asked::<Done>(Some(r#"{"error":"no"}"#)).await.unwrap_err();
        assert!(matches!(odd, Unanswered::Silent(_)), "{odd:?}");
    }

    #[tokio::test]
    async fn an_agent_that_says_nothing_is_waited_for_to_the_end_and_not_longer() {
        let begun = Instant::now();
        let silent = asked::<Done>(None).await.unwrap_err();
        assert!(matches!(&silent, Unanswered::Silent(f) if f.message.ends_with("in time")));
        let took = begun.elapsed();
        assert!((Duration::from_millis(200)..Duration::from_secs(2)).contains(&took), "{took:?}");
        let closed = asked::<Done>(Some("")).await.unwrap_err();
        assert!(matches!(closed, Unanswered::Silent(_)), "{closed:?}");
    }

    #[tokio::test]
    async fn what_is_asked_in_a_hand_over_is_answered_by_the_next_agent() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("cni.sock");
        let old = UnixListener::bind(&socket).unwrap();
        let agents = async {
            // The old one takes the question, and closes without an answer.
            let (stream, _) = old.accept().await.unwrap();
            BufReader::new(stream).read_line(&mut String::new()).await.unwrap();
            drop(old);
            std::fs::remove_file(&socket).unwrap();
            sleep(PAUSE * 3).await;
            let new = UnixListener::bind(&socket).unwrap();
            let (stream, _) = new.accept().await.unwrap();
            let mut stream = BufReader::new(stream);
            stream.read_line(&mut String::new()).await.unwrap();
            stream.get_mut().write_all(b"{}\n").await.unwrap();
        };
        let until = Instant::now() + Duration::from_secs(5);
        let (answer, ()) = tokio::join!(ask::<Done>(&socket, &Question::Ready {}, until), agents);
        assert_eq!(answer, Ok(Done {}));
    }

    #[tokio::test]
    async fn where_nobody_listens_the_agent_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("cni.sock");
        for _ in 0..2 {
            let until = Instant::now() + Duration::from_millis(200);
            let gone = ask::<Done>(&socket, &Question::Ready {}, until).await.unwrap_err();
            assert!(matches!(&gone, Unanswered::Gone(f) if f.code == Code::TRY_AGAIN), "{gone:?}");
            // The second time there is a socket that nobody has any more.
            drop(std::os::unix::net::UnixListener::bind(&socket));
        }
    }
}
