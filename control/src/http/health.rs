//! What load balancers hear of Services over HTTP, each at the port that it asks for
//! (`healthCheckNodePort`): whether this node has backends of its own, for who balances sends to such
//! nodes alone (`externalTrafficPolicy: Local`).
//!
//! Status, headers and body are kube-proxy's. A port is open for as long as a Service has it.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use axum::Router;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{JSON, serve_all};
use crate::manifest::{Problem, Severity};
use crate::services::Health;

/// How many backends there are, for who weighs nodes by it.
const WEIGHT: HeaderName = HeaderName::from_static("x-load-balancing-endpoint-weight");

/// The ports at which Services are told of.
#[derive(Debug, Default)]
pub struct HealthPorts {
    open: BTreeMap<u16, Open>,
}

/// One of them. It is closed when this goes.
#[derive(Debug)]
struct Open {
    told: watch::Sender<Told>,
    served: JoinHandle<()>,
}

/// What is told there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    health: Health,
    /// Whether the switch itself is ready.
    is_ready: bool,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.served.abort();
    }
}

impl HealthPorts {
    /// Tells of these, and of no others; what is wrong with their ports.
    pub async fn keep(&mut self, healths: Vec<(u16, Health)>, is_ready: bool) -> Vec<Problem> {
        let mut wanted: BTreeMap<u16, Told> = BTreeMap::new();
        let mut problems = Vec::new();
        for (port, health) in healths {
            if let Some(first) = wanted.get(&port) {
                let why = format!("{} has it", first.health.service);
                problems.push(not_told(&health, port, &why));
                continue;
            }
            wanted.insert(port, Told { health, is_ready });
        }
        self.open.retain(|port, _| wanted.contains_key(port));
        for (port, told) in wanted {
            if let Some(open) = self.open.get(&port) {
                open.told.send_if_modified(|old| {
                    let differs = *old != told;
                    *old = told;
                    differs
                });
                continue;
            }
            match listen(port).await {
                Ok(listener) => _ = self.open.insert(port, Open::new(listener, told)),
                Err(error) => problems.push(not_told(&told.health, port, &error.to_string())),
            }
        }
        problems
    }
}

impl Open {
    fn new(listener: TcpListener, first: Told) -> Self {
        let (told, telling) = watch::channel(first);
        let router = Router::new().fallback(answer).with_state(telling);
        let served = tokio::spawn(serve_all(listener, router, "a Service's health check port"));
        Self { told, served }
    }
}

/// At every address of the node; of IPv4 alone where the kernel has no other.
async fn listen(port: u16) -> io::Result<TcpListener> {
    match TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).await
        }
        listener => listener,
    }
}

/// Whatever path was asked for.
async fn answer(State(telling): State<watch::Receiver<Told>>) -> Response {
    let Told { health, is_ready } = telling.borrow().clone();
    let is_good = health.local > 0 && is_ready;
    let status = if is_good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = serde_json::json!({
        "service": { "namespace": *health.service.namespace, "name": *health.service.name },
        "localEndpoints": health.local,
        "serviceProxyHealthy": is_ready,
    });
    let headers = [
        (CONTENT_TYPE, JSON.to_owned()),
        (X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (WEIGHT, health.local.to_string()),
    ];
    (status, headers, body.to_string()).into_response()
}

/// A Service of which nothing is told.
fn not_told(health: &Health, port: u16, why: &str) -> Problem {
    let message = format!(
        "nothing is told at port {port} ({why}): load balancers take the node for unhealthy"
    );
    let remedy = "give the Service another port, or stop who listens there on this node";
    let (object, field) = (health.service.to_string(), "spec.healthCheckNodePort");
    Problem::of_object(Severity::Error, (None, None), &object, field, &message, remedy)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::manifest::{ObjectKey, ObjectKind};

    fn health(name: &str, local: usize) -> Health {
        let (namespace, name) = (Arc::from("shop"), Arc::from(name));
        Health { service: ObjectKey::new(ObjectKind::Service, namespace, name), local }
    }

    async fn fetch(port: u16, path: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    /// A port that nobody has now.
    async fn free_port() -> u16 {
        let taken = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await.unwrap();
        taken.local_addr().unwrap().port()
    }

    #[tokio::test]
    async fn a_port_says_how_many_are_here_for_as_long_as_a_service_has_it() {
        let (mut ports, port) = (HealthPorts::default(), free_port().await);
        assert_eq!(ports.keep(vec![(port, health("web", 2))], true).await, []);
        let good = fetch(port, "/healthz").await.unwrap();
        assert!(good.starts_with("HTTP/1.1 200"), "{good}");
        let headers = ["application/json", "x-load-balancing-endpoint-weight: 2", "nosniff"];
        assert!(headers.iter().all(|words| good.contains(words)), "{good}");
        let body = good.split("\r\n\r\n").nth(1).unwrap();
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        let service = serde_json::json!({ "namespace": "shop", "name": "web" });
        assert_eq!(body["service"], service);
        assert_eq!(
            (&body["localEndpoints"], &body["serviceProxyHealthy"]),
            (&2.into(), &true.into())
        );

        // Nobody is here; the switch is not ready; another Service has the port.
        assert_eq!(ports.keep(vec![(port, health("web", 0))], true).await, []);
        let none = fetch(port, "/").await.unwrap();
        assert!(
            none.starts_with("HTTP/1.1 503") && none.contains("\"localEndpoints\":0"),
            "{none}"
        );
        assert_eq!(ports.keep(vec![(port, health("web", 2))], false).await, []);
        let unready = fetch(port, "/").await.unwrap();
        assert!(unready.starts_with("HTTP/1.1 503"), "{unready}");
        assert!(unready.contains("\"serviceProxyHealthy\":false"), "{unready}");
        assert_eq!(ports.keep(vec![(port, health("other", 1))], true).await, []);
        assert!(fetch(port, "/").await.unwrap().contains("\"name\":\"other\""));

        assert_eq!(ports.keep(Vec::new(), true).await, []);
        while fetch(port, "/").await.is_ok() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_port_that_somebody_has_is_told_of_and_tried_again() {
        let taken = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await.unwrap();
        let port = taken.local_addr().unwrap().port();
        let mut ports = HealthPorts::default();
        let told = ports.keep(vec![(port, health("web", 1))], true).await;
        let told = told[0].to_string();
        assert!(told.starts_with("error: Service shop/web: spec.healthCheckNodePort: "), "{told}");
        assert!(told.contains(&format!("port {port}")) && told.contains("another port"), "{told}");
        drop(taken);
        assert_eq!(ports.keep(vec![(port, health("web", 1))], true).await, []);

        let two = vec![(port, health("web", 1)), (port, health("wiki", 0))];
        let told = ports.keep(two, true).await[0].to_string();
        assert!(told.contains("Service shop/wiki") && told.contains("Service shop/web"), "{told}");
        assert!(fetch(port, "/").await.unwrap().contains("\"name\":\"web\""));
    }
}
