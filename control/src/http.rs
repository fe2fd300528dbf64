//! Metrics and health over HTTP: `/metrics`, `/livez`, `/readyz`. Loopback unless set otherwise.
//! What load balancers hear of Services is beside it, in `health`.
//!
//! Every answer comes from the one task that owns the switch. A connection asks once, within
//! `REQUEST_WAIT`, and lasts at most `CONNECTION_LIFE`.
//!
//! A probe is answered whatever other clients do: nobody waits for a place. At most
//! `CONNECTIONS_MAX` are open, and a new connection takes the place of the oldest that has not
//! asked yet. A queue for places was tried first, and clients that connect and say nothing kept
//! probes out of it for as long as they liked.

mod health;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header::CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tracing::warn;

use crate::ask::{Asker, Question};
pub use health::HealthPorts;

/// Connections open at once.
const CONNECTIONS_MAX: usize = 32;

/// How long a client may take to ask.
const REQUEST_WAIT: Duration = Duration::from_secs(2);

/// How long a connection may last.
const CONNECTION_LIFE: Duration = Duration::from_secs(10);

/// What is kept of a request and of an answer that the client has not read, of each connection.
const BUFFER_BYTES_MAX: usize = 16 * 1024;

/// How long is waited after the system refused a connection: it is short of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const JSON: &str = "application/json";

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Somebody else has the port.
    #[error("{0} is in use by another process: change the setting listen, or stop that process")]
    InUse(SocketAddr),
    /// The system refused.
    #[error(
        "listen on {address}: {source}; change the setting listen to an address of this machine \
         and a port that may be used"
    )]
    Refused {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// An address that is listened on.
#[derive(Debug)]
pub struct HttpServer {
    listener: TcpListener,
    address: SocketAddr,
}

impl HttpServer {
    /// Listens.
    ///
    /// # Errors
    /// [`HttpError`], with the setting to change.
    pub async fn listen(address: SocketAddr) -> Result<Self, HttpError> {
        let refused = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => HttpError::InUse(address),
            _ => HttpError::Refused { address, source },
        };
        let listener = TcpListener::bind(address).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        Ok(Self { listener, address })
    }

    /// Where.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves for ever.
    pub async fn serve(self, asker: Asker) {
        let router = Router::new()
            .route("/metrics", get(metrics))
            .route("/livez", get(livez))
            .route("/readyz", get(readyz))
            .with_state(asker);
        serve_all(self.listener, router, "the address of metrics").await;
    }
}

/// Serves whoever comes, for ever. `what` is for the log.
async fn serve_all(listener: TcpListener, router: Router, what: &str) {
    let mut places = Places::default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                places.make_room().await;
                places.take(stream, router.clone());
            }
            Err(error) => {
                warn!(%error, "{what} takes no connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The connections that are open, the oldest first.
#[derive(Default)]
struct Places(VecDeque<Place>);

struct Place {
    served: JoinHandle<()>,
    has_asked: Arc<AtomicBool>,
}

impl Places {
    /// Ends the oldest connection that has not asked, or that lasts longest, if all places are
    /// taken. Its descriptor is closed after this.
    async fn make_room(&mut self) {
        self.0.retain(|place| !place.served.is_finished());
        if self.0.len() < CONNECTIONS_MAX {
            return;
        }
        let waits = |place: &Place| !place.has_asked.load(Ordering::Relaxed);
        let oldest = self.0.iter().position(waits).unwrap_or(0);
        if let Some(place) = self.0.remove(oldest) {
            place.served.abort();
            // Others get their turn meanwhile: one that came with its request has asked by then.
            let _aborted = place.served.await;
        }
    }

    fn take(&mut self, stream: TcpStream, router: Router) {
        let has_asked = Arc::new(AtomicBool::new(false));
        let served = tokio::spawn(serve_client(stream, router, Arc::clone(&has_asked)));
        self.0.push_back(Place { served, has_asked });
    }
}

/// Answers one request.
async fn serve_client(stream: TcpStream, router: Router, has_asked: Arc<AtomicBool>) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |request: hyper::Request<_>| {
        has_asked.store(true, Ordering::Relaxed);
        hyper::service::Service::call(&router, request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_WAIT)
        .keep_alive(false)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    // What goes wrong with a connection is its client's.
    let _ended = tokio::time::timeout(CONNECTION_LIFE, connection).await;
}

async fn metrics(State(asker): State<Asker>) -> Response {
    answer(&asker, Question::Metrics, TEXT).await
}

async fn livez(State(asker): State<Asker>) -> Response {
    answer(&asker, Question::Live, JSON).await
}

async fn readyz(State(asker): State<Asker>) -> Response {
    answer(&asker, Question::Ready, JSON).await
}

async fn answer(asker: &Asker, question: Question, kind: &'static str) -> Response {
    match asker.ask(question).await {
        Ok(answer) => {
            let status = if answer.good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            (status, [(CONTENT_TYPE, kind)], answer.body).into_response()
        }
        Err(error) => {
            let body = serde_json::json!({ "error": error.to_string() }).to_string();
            (StatusCode::SERVICE_UNAVAILABLE, [(CONTENT_TYPE, JSON)], body).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::ask::{Answer, questions};

    async fn serve() -> SocketAddr {
        let server = HttpServer::listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = server.address();
        let (asker, mut incoming) = questions();
        tokio::spawn(server.serve(asker));
        tokio::spawn(async move {
            while let Some(asked) = incoming.recv().await {
                let good = asked.question != Question::Ready;
                let _gone =
                    asked.reply.send(Answer { good, body: format!("{:?}", asked.question) });
            }
        });
        address
    }

    async fn fetch(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let _reset = stream.read_to_string(&mut answer).await;
        answer
    }

    fn get(path: &str) -> String {
        format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    }

    #[tokio::test]
    async fn each_path_asks_its_question() {
        let address = serve().await;
        let metrics = fetch(address, &get("/metrics")).await;
        assert!(metrics.starts_with("HTTP/1.1 200") && metrics.ends_with("Metrics"), "{metrics}");
        assert!(metrics.contains("text/plain; version=0.0.4"), "{metrics}");
        let live = fetch(address, &get("/livez")).await;
        assert!(live.starts_with("HTTP/1.1 200") && live.ends_with("Live"), "{live}");
        let ready = fetch(address, &get("/readyz")).await;
        assert!(ready.starts_with("HTTP/1.1 503") && ready.ends_with("Ready"), "{ready}");
        assert!(fetch(address, &get("/")).await.starts_with("HTTP/1.1 404"));
        let post = get("/metrics").replace("GET", "POST");
        assert!(fetch(address, &post).await.starts_with("HTTP/1.1 405"));
    }

    #[tokio::test]
    async fn a_port_in_use_names_the_setting() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = taken.local_addr().unwrap();
        let error = HttpServer::listen(address).await.unwrap_err().to_string();
        let expected = format!("{address} is in use by another process: change the setting listen");
        assert!(error.starts_with(&expected), "{error}");
        // TEST-NET-1: no machine has it.
        let elsewhere = "192.0.2.1:9".parse().unwrap();
        let error = HttpServer::listen(elsewhere).await.unwrap_err().to_string();
        assert!(error.contains("change the setting listen to an address of this"), "{error}");
    }

    /// Clients that connect and ask nothing, every second one with half a request.
    async fn idlers(address: SocketAddr, count: usize) -> Vec<TcpStream> {
        let mut idlers = Vec::new();
        for number in 0..count {
            let mut idler = TcpStream::connect(address).await.unwrap();
            if number % 2 == 0 {
                // It may have been cut off already.
                let _cut = idler.write_all(b"GET /metrics HTTP/1.1\r\nX: ").await;
            }
            idlers.push(idler);
        }
        idlers
    }

    /// How many connections the server has not cut off. A busy machine takes its time to tell a
    /// client, so whoever seems open is asked again until few are, for less than `REQUEST_WAIT`.
    async fn still_open(clients: &mut Vec<TcpStream>) -> usize {
        let told = tokio::time::Instant::now() + REQUEST_WAIT / 2;
        loop {
            let mut open = Vec::new();
            for mut client in clients.drain(..) {
                let mut byte = [0];
                let read = tokio::time::timeout(Duration::from_millis(1), client.read(&mut byte));
                if read.await.is_err() {
                    open.push(client);
                }
            }
            *clients = open;
            if clients.len() < CONNECTIONS_MAX || tokio::time::Instant::now() > told {
                return clients.len();
            }
        }
    }

    #[tokio::test]
    async fn a_probe_is_answered_though_others_hold_every_connection() {
        let address = serve().await;
        let mut idlers = idlers(address, CONNECTIONS_MAX * 5).await;
        for path in ["/livez", "/readyz", "/metrics"] {
            let asked = get(path);
            let answer = tokio::time::timeout(Duration::from_secs(1), fetch(address, &asked)).await;
            assert!(answer.unwrap().starts_with("HTTP/1.1 "), "{path}");
        }
        let open = still_open(&mut idlers).await;
        assert!(open < CONNECTIONS_MAX, "{open} are left");
        assert!(open > CONNECTIONS_MAX / 2, "only as many are cut off as need be: {open} are left");
    }

    #[tokio::test]
    async fn whoever_has_asked_keeps_its_place() {
        let server = HttpServer::listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = server.address();
        let (asker, mut incoming) = questions();
        tokio::spawn(server.serve(asker));
        let asks = tokio::spawn(async move { fetch(address, &get("/metrics")).await });
        let first = incoming.recv().await.unwrap();
        let _idlers = idlers(address, CONNECTIONS_MAX * 2).await;
        first.reply.send(Answer { good: true, body: "late".to_owned() }).unwrap();
        let answer = asks.await.unwrap();
        assert!(answer.ends_with("late"), "{answer}");
    }

    #[tokio::test]
    async fn clients_that_do_not_wait_for_their_answers_shut_nobody_out() {
        let server = HttpServer::listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = server.address();
        let (asker, mut incoming) = questions();
        tokio::spawn(server.serve(asker));
        let mut unanswered = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            let mut client = TcpStream::connect(address).await.unwrap();
            client.write_all(get("/metrics").as_bytes()).await.unwrap();
            unanswered.push((client, incoming.recv().await.unwrap()));
        }
        let probe = tokio::spawn(async move { fetch(address, &get("/livez")).await });
        let first = tokio::time::timeout(Duration::from_secs(1), incoming.recv()).await;
        let first = first.unwrap().unwrap();
        assert_eq!(first.question, Question::Live);
        first.reply.send(Answer { good: true, body: String::new() }).unwrap();
        assert!(probe.await.unwrap().starts_with("HTTP/1.1 200"));
    }

    #[tokio::test]
    async fn a_request_without_end_is_refused() {
        let address = serve().await;
        let endless = format!("GET /livez HTTP/1.1\r\nX: {}", "x".repeat(BUFFER_BYTES_MAX * 4));
        let answer = fetch(address, &endless).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_never_finishes_its_request_is_cut_off() {
        let address = serve().await;
        for said in ["", "GET /metrics HTTP/1.1\r\nX: "] {
            let mut slow = TcpStream::connect(address).await.unwrap();
            slow.write_all(said.as_bytes()).await.unwrap();
            let begun = tokio::time::Instant::now();
            let mut answer = Vec::new();
            let _reset = slow.read_to_end(&mut answer).await;
            let waited = begun.elapsed();
            assert!(waited <= REQUEST_WAIT + Duration::from_secs(1), "{waited:?}");
            assert!(waited >= REQUEST_WAIT / 2, "{waited:?}");
        }
    }
}
