//! What Services cost control: the memory of ten thousand with a hundred thousand endpoints, and the
//! time from a changed slice to the tables that are published. Time is the thread's on a core.

use std::fs;

use lockgate_control::inventory::Change;
use lockgate_control::manifest::{Object, read_text};
use lockgate_dataplane::endpoint::Topology;
use lockgate_tests::agent::{Agent, cpu_ms};

// What is written here can be read, or the bench is wrong.
#[allow(clippy::panic)]
fn objects(text: &str) -> Vec<Object> {
    read_text("s.yaml", text).unwrap_or_else(|problem| panic!("{problem}")).objects
}

/// Services, and endpoints of each.
const SERVICES: u32 = 10_000;
const ENDPOINTS: u32 = 10;
/// Slices that change.
const CHANGES: u32 = 500;

#[allow(clippy::print_stdout)] // its only output
fn main() {
    let (before, begun) = (resident_mb(), cpu_ms());
    let mut agent = Agent::counted_by(2);
    for service in 0..SERVICES {
        set(&mut agent, &written(service, "true"));
    }
    let read = (resident_mb(), cpu_ms());
    let tables = agent.apply(&Topology::default());
    let built = (resident_mb(), cpu_ms());
    let services = tables.endpoints.services();
    println!("| {SERVICES} services, {} endpoints | |\n|---|---|", SERVICES * ENDPOINTS);
    println!("| fronts | {} |", services.fronts().count());
    println!("| read, ms | {:.0} |", read.1 - begun);
    println!("| resolved and built, ms | {:.0} |", built.1 - read.1);
    println!("| memory of objects, MB | {:.1} |", read.0 - before);
    println!("| memory of what is kept and of the tables, MB | {:.1} |", built.0 - read.0);
    #[allow(clippy::cast_precision_loss)] // far below 2^52
    let table_mb = services.memory_bytes() as f64 / 1e6;
    println!("| of that the table itself, MB | {table_mb:.1} |");
    let mut times: Vec<f64> = (0..CHANGES).map(|n| change(&mut agent, n * 17 % SERVICES)).collect();
    times.sort_by(f64::total_cmp);
    let at = |share: usize| times[(times.len() - 1) * share / 100];
    println!(
        "| a slice changes, ms: median, 90 %, most | {:.3}, {:.3}, {:.3} |",
        at(50),
        at(90),
        at(100)
    );
}

/// Milliseconds from a slice that is read to the tables to be published.
fn change(agent: &mut Agent, service: u32) -> f64 {
    let text = written(service, "false");
    let mut objects = objects(&text);
    let begun = cpu_ms();
    if let Some(slice) = objects.pop() {
        let _ = agent.inventory.apply(Change::Set(slice));
    }
    let _tables = agent.apply(&Topology::default());
    cpu_ms() - begun
}

fn set(agent: &mut Agent, text: &str) {
    for object in objects(text) {
        let _ = agent.inventory.apply(Change::Set(object));
    }
}

/// A Service and its slice, whose first endpoint is ready or not.
fn written(service: u32, is_ready: &str) -> String {
    let (high, low) = (service / 250, service % 250 + 1);
    let endpoint = |n: u32| {
        let number = service * ENDPOINTS + n;
        let (a, b, c) = (number / 65_025, number / 255 % 255, number % 255 + 1);
        let ready = if n == 0 { is_ready } else { "true" };
        format!(
            "- {{addresses: [10.{a}.{b}.{c}], conditions: {{ready: {ready}}}, nodeName: n{a}}}\n"
        )
    };
    let endpoints: String = (0..ENDPOINTS).map(endpoint).collect();
    format!(
        "apiVersion: v1
kind: Service
metadata: {{name: s{service}, namespace: n{}}}
spec: {{clusterIP: 10.96.{high}.{low}, ports: [{{name: http, port: 80, targetPort: 8080}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: s{service}-x, namespace: n{}, labels: {{kubernetes.io/service-name: s{service}}}}}
addressType: IPv4
ports: [{{name: http, port: 8080}}]
endpoints:
{endpoints}",
        service % 50,
        service % 50
    )
}

/// What the process holds of memory.
fn resident_mb() -> f64 {
    let pages = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = pages.split_whitespace().nth(1).and_then(|pages| pages.parse::<f64>().ok());
    pages.unwrap_or_default() * 4096.0 / 1e6
}
