//! Metrics and health over HTTP: `/metrics`, `/livez`, `/readyz`. Loopback unless set otherwise.
//!
//! Every answer comes from the one task that owns the switch. A connection lasts at most
//! `CONNECTION_LIFE` and at most `CONNECTIONS_MAX` are open at once, so that a client that
//! sends a header a minute holds nothing for long.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header::CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;

use crate::ask::{Asker, Question};

/// Connections open at once.
const CONNECTIONS_MAX: usize = 32;

/// How long a connection may last; a scraper that keeps it alive opens another.
const CONNECTION_LIFE: Duration = Duration::from_secs(10);

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const JSON: &str = "application/json";

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Somebody else has the port.
    #[error("{0} is in use by another process: change the setting listen, or stop that process")]
    InUse(SocketAddr),
    /// The system refused.
    #[error("listen on {address}: {source}; the setting is listen")]
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
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let bounded = Bounded { listener: self.listener, places };
        let router = Router::new()
            .route("/metrics", get(metrics))
            .route("/livez", get(livez))
            .route("/readyz", get(readyz))
            .with_state(asker);
        // Its only way to end is an error of `accept`, which it retries.
        let _never = axum::serve(bounded, router).await;
    }
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

/// A listener with a bounded number of bounded connections.
struct Bounded {
    listener: TcpListener,
    places: Arc<Semaphore>,
}

impl Listener for Bounded {
    type Io = Mortal;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Mortal, SocketAddr) {
        // The semaphore is never closed; without a place the connection is merely not counted.
        let place = Arc::clone(&self.places).acquire_owned().await.ok();
        let (stream, peer) = Listener::accept(&mut self.listener).await;
        let end = Box::pin(tokio::time::sleep(CONNECTION_LIFE));
        (Mortal { stream, end, _place: place }, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that ends at its time, whatever its client does.
struct Mortal {
    stream: TcpStream,
    end: Pin<Box<Sleep>>,
    _place: Option<OwnedSemaphorePermit>,
}

impl Mortal {
    fn is_over(&mut self, context: &mut Context<'_>) -> bool {
        self.end.as_mut().poll(context).is_ready()
    }
}

impl AsyncRead for Mortal {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_over(context) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Mortal {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_over(context) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
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
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_never_finishes_its_request_is_cut_off() {
        let address = serve().await;
        let mut slow = TcpStream::connect(address).await.unwrap();
        slow.write_all(b"GET /metrics HTTP/1.1\r\nX: ").await.unwrap();
        let begun = tokio::time::Instant::now();
        let mut answer = Vec::new();
        let _reset = slow.read_to_end(&mut answer).await;
        let waited = begun.elapsed();
        assert!(waited <= CONNECTION_LIFE + Duration::from_secs(1), "{waited:?}");
        assert!(waited >= CONNECTION_LIFE / 2, "{waited:?}");
    }
}
