use std::os::unix::fs::MetadataExt;
use std::time::Instant;

use tokio::net::UnixStream;

use super::*;
use crate::ask::{Answer, questions};

struct Served {
    _directory: tempfile::TempDir,
    path: PathBuf,
}

/// A socket whose agent answers every question with what it understood.
fn serve() -> Served {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lockgate.sock");
    let socket = ShowSocket::listen(&path).unwrap();
    let (asker, mut incoming) = questions();
    tokio::spawn(socket.serve(asker));
    tokio::spawn(async move {
        while let Some(asked) = incoming.recv().await {
            let body = serde_json::json!({ "heard": format!("{:?}", asked.question) }).to_string();
            let _gone = asked.reply.send(Answer { good: true, body });
        }
    });
    Served { _directory: directory, path }
}

/// Sends bytes, closes that side, and reads all that comes.
async fn send(path: &Path, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(path).await.unwrap();
    // The server may answer and close before it has read all.
    let _broken = stream.write_all(bytes).await;
    let _broken = stream.shutdown().await;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.map_or_else(|e| format!("{e}"), |_| answer)
}

#[tokio::test(flavor = "current_thread")]
async fn a_question_is_answered_with_one_document() {
    let served = serve();
    let path = served.path.clone();
    let show = Show::Connections { limit: 5 };
    let answer = tokio::task::spawn_blocking(move || ask(&path, show)).await.unwrap().unwrap();
    assert_eq!(answer["heard"], "Show(Connections { limit: 5 })");
}

#[tokio::test]
async fn only_the_owner_may_connect() {
    let served = serve();
    let mode = fs::metadata(&served.path).unwrap().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn garbage_and_long_requests_get_an_error_and_harm_nobody() {
    let served = serve();
    for garbage in [&b"\n"[..], b"{}\n", b"{\"show\":\"all\"}\n", b"\xff\xfe\0\n", b"GET / HTTP\n"]
    {
        let answer = send(&served.path, garbage).await;
        assert!(answer.contains("\"error\":\"the request is not understood"), "{answer}");
    }
    let deep = "[".repeat(REQUEST_BYTES_MAX - 2) + "\n";
    assert!(send(&served.path, deep.as_bytes()).await.contains("not understood"));
    let long = vec![b' '; REQUEST_BYTES_MAX + 1];
    let answer = send(&served.path, &long).await;
    assert!(answer.contains("longer than 4096 bytes"), "{answer}");
    let padded = " ".repeat(REQUEST_BYTES_MAX) + "{\"show\":\"status\"}\n";
    let answer = send(&served.path, padded.as_bytes()).await;
    assert!(answer.contains("longer than 4096 bytes"), "{answer}");
    let good = send(&served.path, b"{\"show\":\"status\"}\n").await;
    assert!(good.contains("heard"), "{good}");
}

#[tokio::test]
async fn slow_clients_are_cut_off_and_do_not_block_others() {
    let served = serve();
    let begun = Instant::now();
    let mut slow = Vec::new();
    for _ in 0..CLIENTS_MAX {
        slow.push(UnixStream::connect(&served.path).await.unwrap());
    }
    // All places are taken: this one is served when the slow ones are cut off.
    let good = send(&served.path, b"{\"show\":\"status\"}\n").await;
    assert!(good.contains("heard"), "{good}");
    let waited = begun.elapsed();
    assert!(waited + Duration::from_millis(50) >= CLIENT_TIMEOUT, "{waited:?}");
    assert!(waited < CLIENT_TIMEOUT * 2, "{waited:?}");
    let mut nothing = String::new();
    assert_eq!(slow.remove(0).read_to_string(&mut nothing).await.unwrap(), 0);
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let held = ShowSocket::listen(&path).unwrap();
    let error = ShowSocket::listen(&path).unwrap_err().to_string();
    assert!(error.contains("already running"), "{error}");
    assert!(error.contains("stop it first, or change the setting socket"), "{error}");
    drop(held);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_file_in_the_way_is_not_removed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    fs::write(&path, "precious").unwrap();
    let error = ShowSocket::listen(&path).unwrap_err().to_string();
    assert!(error.contains("is no socket"), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[tokio::test]
async fn a_socket_that_cannot_be_made_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let slip = directory.path().join("slip");
    let error = ShowSocket::listen(&slip.join("s")).unwrap_err().to_string();
    let wanted = format!("run `mkdir -m 0700 {}`, or change the setting socket", slip.display());
    assert!(error.contains(&wanted) && !slip.exists(), "{error}");
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let error = ShowSocket::listen(&file.join("s")).unwrap_err().to_string();
    let wanted = format!("{} is no directory: remove it, or change the", file.display());
    assert!(error.contains(&wanted) && error.contains("setting socket"), "{error}");
}

#[test]
fn a_switch_that_is_not_there_is_told_of_with_the_path_and_what_to_do() {
    let error = ask(Path::new("/nonexistent/s"), Show::Status {}).unwrap_err().to_string();
    assert!(error.contains("no switch answers on /nonexistent/s"), "{error}");
    assert!(error.contains("start `lockgate run`, or name the socket"), "{error}");
}

#[test]
fn every_reason_for_silence_has_its_remedy() {
    for (kind, wanted) in [
        (io::ErrorKind::PermissionDenied, "as the user that runs the switch"),
        (io::ErrorKind::ConnectionRefused, "start `lockgate run`"),
        (io::ErrorKind::WouldBlock, "ask again"),
        (io::ErrorKind::NotADirectory, "--socket"),
    ] {
        let error = ClientError::Silent { path: "/s".into(), source: kind.into() }.to_string();
        assert!(error.contains(wanted), "{error}");
    }
}

#[test]
fn a_switch_that_closes_without_an_answer_is_told_of() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let closing = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        io::Read::read(&mut client, &mut [0; 64]).unwrap();
    });
    let error = ask(&path, Show::Status {}).unwrap_err().to_string();
    assert!(error.contains("or busy with others; ask again"), "{error}");
    closing.join().unwrap();
}
