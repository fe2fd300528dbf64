use std::time::Instant;

use lockgate_dataplane::compiler::Counted;
use lockgate_dataplane::policy::ruleset::{Direction, Policy, Ruleset, SetId, View};

use super::*;

fn port(number: usize) -> PortScrape {
    let counters = PortCounters::default();
    counters.received_packets.add(2);
    counters.received_bytes.add(120);
    counters.sent_packets.add(1);
    counters.sent_bytes.add(60);
    counters.dropped_packets.add(1);
    let statistics = XdpStatistics { rx_dropped: 3, ..XdpStatistics::default() };
    PortScrape {
        namespace: "demo".into(),
        pod: format!("web-{number}"),
        interface: format!("lg{number}"),
        counters: vec![Arc::new(counters)],
        // The host port has a socket for each worker: they are added up.
        statistics: vec![statistics, statistics],
    }
}

fn worker() -> Arc<Counters> {
    let cells = Counters::default();
    cells.received.add(7);
    cells.sent.add(4);
    cells.dropped(DropReason::IngressDenied).add(2);
    cells.dropped(DropReason::Malformed).add(1);
    cells.turns.add(10);
    cells.turns_busy.add(3);
    cells.busy_nanoseconds.add(250_000_000);
    cells.total_nanoseconds.set(1_000_000_000);
    cells.batch(1);
    cells.batch(6);
    if let Some(cell) = cells.connections.get(State::Established.index()) {
        cell.set(5);
    }
    cells.opened.add(6);
    cells.translated.add(3);
    cells.translations.set(2);
    cells.rejects_sent.add(2);
    cells.rejects_withheld.add(1);
    Arc::new(cells)
}

/// Two named policies, and a third beyond the bound.
fn policy_counts() -> PolicyCounts {
    let mut counts = PolicyCounts::new(2);
    let counted = |policy: &str, direction, opened, count| Counted {
        view: View::Now,
        policy: policy.into(),
        kind: &"NetworkPolicy",
        direction,
        opened,
        count,
    };
    let living = ["demo/allow-web", "demo/deny", "demo/third"]
        .map(|name| Policy::isolating(name.into(), SetId(0), Some([].into()), None));
    let all = vec![
        counted("demo/deny", Direction::Ingress, false, 2),
        counted("demo/allow-web", Direction::Ingress, true, 4),
        counted("demo/allow-web", Direction::Egress, true, 1),
        counted("demo/deny", Direction::Egress, false, 3),
        counted("demo/third", Direction::Ingress, false, 5),
        counted("demo/deny", Direction::Ingress, false, 1),
    ];
    let next = [
        Counted { view: View::Next, ..counted("demo/allow-web", Direction::Ingress, false, 7) },
        Counted { view: View::Next, ..counted("demo/deny", Direction::Egress, true, 8) },
    ];
    let all = all.into_iter().chain(next).collect();
    counts.add(all, &Ruleset { policies: living.to_vec(), ..Ruleset::default() });
    counts
}

fn scrape(workers: &[Arc<Counters>], ports: &[PortScrape]) -> String {
    let latency = ApplyLatency::new().unwrap();
    latency.observe(Duration::from_millis(4));
    let scrape = Scrape {
        workers,
        busy: &[0.25],
        ports,
        epoch: Epoch(3),
        published: Generation(5),
        in_force: Generation(4),
        pods: 9,
        policies: 2,
        policy_counts: &policy_counts(),
        problems: &[("error", 1), ("warning", 0), ("notice", 2)],
        cluster: None,
        log_lines_lost: 7,
        latency: &latency,
    };
    scrape.encode().unwrap()
}

#[test]
fn the_text_is_this() {
    let text = scrape(&[worker()], &[port(1)]);
    let golden = include_str!("golden.txt");
    let golden = golden.replace("VERSION", env!("CARGO_PKG_VERSION"));
    for (at, (line, expected)) in text.lines().zip(golden.lines()).enumerate() {
        assert_eq!(line, expected, "line {}", at + 1);
    }
    assert_eq!(text.lines().count(), golden.lines().count());
}

#[test]
fn every_name_bears_help_a_known_unit_and_the_prefix() {
    let text = scrape(&[worker()], &[port(1)]);
    let mut helped = std::collections::BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(name.starts_with("lockgate_") && help.ends_with('.'), "{line}");
            assert!(helped.insert(name.to_owned()), "{name} occurs twice");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            assert!(!name.contains("_ms") && !name.contains("nano"), "{name}: base units");
        }
    }
    assert!(helped.len() > 25);
}

#[test]
fn every_drop_reason_and_state_and_every_field_of_the_kernels_statistics_is_there() {
    let text = scrape(&[worker(), worker()], &[port(1)]);
    for reason in DropReason::ALL {
        let series = format!("lockgate_dropped_packets_total{{reason=\"{}\"}}", reason.label());
        assert!(text.contains(&series), "{series}");
    }
    for state in State::ALL {
        let series = format!("lockgate_connections{{state=\"{}\"}}", state.label());
        assert!(text.contains(&series), "{series}");
    }
    for (field, _) in XdpStatistics::default().fields() {
        assert!(text.contains(&format!("\nlockgate_socket_{field}_total{{")), "{field}");
    }
    // Workers are added up where they are no label.
    assert!(text.contains("lockgate_dropped_packets_total{reason=\"ingress_denied\"} 4\n"));
}

#[test]
fn label_values_are_escaped() {
    let mut odd = port(1);
    odd.pod = "a\"b\\c\nd".into();
    let text = scrape(&[worker()], &[odd]);
    assert!(text.contains(r#"pod="a\"b\\c\nd""#));
    assert!(text.lines().all(|line| line.starts_with("lockgate_") || line.starts_with('#')));
}

#[test]
fn a_switch_without_ports_is_scraped_too() {
    let text = scrape(&[worker()], &[]);
    assert!(!text.contains("lockgate_port_packets_total"));
}

/// The goal is 10 ms; the test asserts ten times that, on a machine that others use too.
#[test]
fn two_hundred_fifty_ports_are_scraped_in_time() {
    let ports: Vec<_> = (0..250).map(port).collect();
    let workers: Vec<_> = (0..4).map(|_| worker()).collect();
    let mut times: Vec<_> = (0..11)
        .map(|_| {
            let begun = Instant::now();
            let text = scrape(&workers, &ports);
            assert_eq!(text.matches("lockgate_port_bytes_total{").count(), 500);
            begun.elapsed()
        })
        .collect();
    times.sort();
    println!("median of a scrape at 250 ports: {:?}", times[5]);
    assert!(times[5] < Duration::from_millis(100), "{times:?}");
}

#[test]
fn alerts_ask_for_what_is_told() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/helm/lockgate/alerts.yaml");
    let alerts = std::fs::read_to_string(path).unwrap();
    let mut told = Families::default();
    cluster::families(&Cluster::new("here"), &mut told);
    let of_cluster = told.finish();
    let node = scrape(&[worker()], &[port(1)]);
    let is_told = |name: &str| {
        let typed = format!("# TYPE {name} ");
        of_cluster.iter().any(|family| family.name() == name)
            || node.lines().any(|line| line.starts_with(&typed))
    };
    let rules = alerts.lines().filter_map(|line| line.trim().strip_prefix("expr: "));
    let words = rules.flat_map(|rule| rule.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'));
    let asked: Vec<&str> = words.filter(|word| word.starts_with("lockgate_")).collect();
    assert!(asked.len() >= 10, "{asked:?}");
    for name in asked {
        assert!(is_told(name), "{name}");
    }
    for reason in [DropReason::ConnectionsLimit, DropReason::ConnectionsFull] {
        assert!(alerts.contains(reason.label()), "{reason:?}");
    }
}
