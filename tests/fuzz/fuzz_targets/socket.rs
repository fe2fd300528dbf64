//! What a client says on the Unix socket, in whatever pieces it comes: no more of it is read than
//! may be, it gets one line of JSON, and whoever asks well afterwards is served.
//!
//! In memory: neither the system's sockets nor files.

#![no_main]
#![allow(clippy::panic, clippy::unwrap_used, missing_docs)]

use std::io;
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll};

use libfuzzer_sys::fuzz_target;
use lockgate_control::ask::{Answer, Asked, Question, Show, questions};
use lockgate_control::socket::{REQUEST_BYTES_MAX, serve_client};
use serde_json::Value;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::runtime::{Builder, Runtime};

/// An answer is at most this long here: what an error quotes of the request, escaped.
const ANSWER_BYTES_MAX: usize = 8 * REQUEST_BYTES_MAX;
/// What is read of a client at most: its request, and what must be taken from it at the close.
const READ_BYTES_MAX: usize = 18 * REQUEST_BYTES_MAX;

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_time().build().unwrap());

fuzz_target!(|bytes: &[u8]| {
    let Some((&[piece, times], request)) = bytes.split_first_chunk() else { return };
    // Now and then longer than any request may be.
    let said = request.repeat(1 + usize::from(times) / 16);
    let (answer, read, asked) = ask(&said, 1 + usize::from(piece));
    assert!(read <= READ_BYTES_MAX, "{read} bytes were read");
    assert!(answer.len() <= ANSWER_BYTES_MAX, "an answer of {} bytes", answer.len());
    let text = String::from_utf8(answer).unwrap();
    let line = text.strip_suffix('\n').unwrap_or_else(|| panic!("no line: {text:?}"));
    assert!(!line.contains(|letter| letter < ' '), "{line:?}");
    let document: Value = serde_json::from_str(line).unwrap();
    match (asked, meant(&said)) {
        (Some(Question::Show(show)), Meant::Maybe(meant) | Meant::Surely(meant)) => {
            assert_eq!(show, meant);
            assert_eq!(document["heard"], format!("{show:?}"));
        }
        (Some(_), Meant::Unknown) => {}
        (None, Meant::Nothing | Meant::Maybe(_) | Meant::Unknown) => {
            assert!(document["error"].is_string(), "{document}");
        }
        (asked, meant) => panic!("{meant:?} was meant, {asked:?} asked: {text}"),
    }
    let (answer, _, asked) = ask(b"{\"show\":\"status\"}\n", 64);
    assert_eq!(asked, Some(Question::Show(Show::Status {})));
    assert_eq!(answer, b"{\"heard\":\"Status\"}\n");
});

/// What a request means.
#[derive(Debug)]
enum Meant {
    /// It is refused.
    Nothing,
    /// This, if no field stands there twice.
    Maybe(Show),
    /// This.
    Surely(Show),
    /// A list, which serde takes for an object without names.
    Unknown,
}

/// Reads a request as any JSON, and looks at it by hand.
fn meant(said: &[u8]) -> Meant {
    let line = said.split_inclusive(|&byte| byte == b'\n').next().unwrap_or_default();
    if line.len() > REQUEST_BYTES_MAX || (line.len() == REQUEST_BYTES_MAX && !line.ends_with(b"\n"))
    {
        return Meant::Nothing;
    }
    let Ok(value) = serde_json::from_slice::<Value>(line) else { return Meant::Nothing };
    if value.is_array() {
        return Meant::Unknown;
    }
    let Some(show) = show(&value) else { return Meant::Nothing };
    let bytes = line.iter().filter(|byte| !byte.is_ascii_whitespace()).count();
    if value.to_string().len() == bytes { Meant::Surely(show) } else { Meant::Maybe(show) }
}

fn show(value: &Value) -> Option<Show> {
    let fields = value.as_object()?;
    let is_alone = fields.len() == 1;
    match fields.get("show")?.as_str()? {
        "status" if is_alone => Some(Show::Status {}),
        "ports" if is_alone => Some(Show::Ports {}),
        "policies" if is_alone => Some(Show::Policies {}),
        "denied" if is_alone => Some(Show::Denied {}),
        "audit" if is_alone => Some(Show::Audit {}),
        "connections" if is_alone => Some(Show::Connections { limit: 1000 }),
        "connections" if fields.len() == 2 => {
            let limit = usize::try_from(fields.get("limit")?.as_u64()?).ok()?;
            Some(Show::Connections { limit })
        }
        _ => None,
    }
}

/// A client that says this: its answer, how much was read of it, and what the agent was asked.
fn ask(said: &[u8], piece: usize) -> (Vec<u8>, usize, Option<Question>) {
    let (asker, mut incoming) = questions();
    let mut client = Client { said, at: 0, piece, waits: false };
    let (mut answer, mut heard) = (vec![], None);
    let agent = async {
        while let Some(Asked { question, reply }) = incoming.recv().await {
            heard = Some(question);
            let Question::Show(show) = question else { panic!("{question:?} from the socket") };
            let body = serde_json::json!({ "heard": format!("{show:?}") }).to_string();
            let _gone = reply.send(Answer { good: true, body });
        }
    };
    RUNTIME.block_on(async {
        tokio::select! {
            () = serve_client(&mut client, &mut answer, &asker) => {}
            () = agent => panic!("the asker is there"),
        }
    });
    (answer, client.at, heard)
}

/// A client whose bytes come in pieces, and who closes its side when it has said them all.
struct Client<'a> {
    said: &'a [u8],
    at: usize,
    piece: usize,
    waits: bool,
}

impl AsyncRead for Client<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.waits ^= true;
        if self.waits {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let count = self.piece.min(room.remaining()).min(self.said.len() - self.at);
        room.put_slice(&self.said[self.at..self.at + count]);
        self.at += count;
        Poll::Ready(Ok(()))
    }
}
