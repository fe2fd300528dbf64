//! Traffic through the switch: allowed and denied, both families, inside and outside, in bulk.

use std::time::Duration;

use lockgate_tests::lab::probe::{Seen, Speech};
use lockgate_tests::lab::switch::{SwitchProcess, sum};
use lockgate_tests::lab::{LabError, bulk};

use super::fixture::{
    Directory, FROM_CLIENT, NODE, OUTSIDE, OUTSIDE_OTHER, World, ingress, with_three_pods,
};
use super::{Case, Outcome};

pub(crate) const CASES: &[Case] = &[
    ("TCP, UDP and ICMP pass without a policy, IPv4 and IPv6, one worker", || all_pass(1)),
    ("TCP, UDP and ICMP pass without a policy, IPv4 and IPv6, two workers", || all_pass(2)),
    ("default deny stops TCP, UDP and ICMP, and each drop has its one reason", default_deny),
    ("a rule lets in its pod, its protocol and its port, and nothing else", a_rule_is_exact),
    ("the own node is always let in, an outside address is not", own_node),
    ("an ipBlock lets in its addresses and leaves its exception out", ip_block),
    ("egress to an ipBlock outside is judged by address, protocol and port", egress_outside),
    ("bulk of TCP both ways arrives intact at MTU 1500, one worker", || bulk(1500, 1)),
    ("bulk of TCP both ways arrives intact at MTU 1500, two workers", || bulk(1500, 2)),
    ("bulk of TCP both ways arrives intact at MTU 3498, one worker", || bulk(3498, 1)),
    ("bulk of TCP over IPv6 to the world outside arrives intact", bulk_outside),
];

/// Counts every packet that the switch dropped.
const DROPPED: &str = "lockgate_dropped_packets_total";

/// What is spoken, and to which port.
const SPEECHES: [(Speech, u16); 3] = [(Speech::Tcp, 80), (Speech::Udp, 53), (Speech::Icmp, 0)];

fn all_pass(workers: u8) -> Outcome {
    let (world, switch) = World::switched(workers)?;
    // Before the first snapshot the pods' stacks have already made some noise: `unsynced`.
    let before = Drops::of(&switch)?.of_policy();
    for v6 in [false, true] {
        for (from, to) in [("client", "server"), ("server", "other"), ("other", "client")] {
            for (speech, port) in SPEECHES {
                let (from, to) = (format!("demo/{from}"), format!("demo/{to}"));
                let seen = world.probe_family(speech, &from, &to, port, v6)?;
                assert_eq!(seen, Seen::Answered, "{from} → {to} {speech} v6={v6}");
            }
        }
    }
    assert_eq!(world.probe(Speech::Tcp, "demo/client", "demo/server", 9)?, Seen::Refused);
    let after = Drops::of(&switch)?;
    assert!((after.of_policy() - before).abs() < 0.5, "it dropped some: {}", after.lines());
    let busy = switch.metric("lockgate_worker_turns_busy_total", &[])?;
    assert!(busy > 0.0, "no worker moved a packet");
    switch.stop()?;
    Ok(())
}

fn default_deny() -> Outcome {
    let directory = with_three_pods(&[("deny.yaml", ingress("deny", &[]))])?;
    let world = World::build(directory, 1500)?;
    let switch = world.start(1)?;
    for v6 in [false, true] {
        for (speech, port) in SPEECHES {
            let before = Drops::of(&switch)?;
            let seen = world.probe_family(speech, "demo/client", "demo/server", port, v6)?;
            assert_eq!(seen, Seen::Silent, "{speech} v6={v6}");
            let after = Drops::of(&switch)?;
            let moved = after.because("ingress_denied") - before.because("ingress_denied");
            assert!(moved >= 1.0, "{speech} v6={v6} was not counted");
            let others = after.of_policy() - before.of_policy() - moved;
            assert!(others.abs() < 0.5, "another reason moved too: {}", after.lines());
        }
    }
    // The other pods are isolated by nobody, and the isolated one may still speak.
    assert_eq!(world.probe(Speech::Tcp, "demo/client", "demo/other", 80)?, Seen::Answered);
    assert_eq!(world.probe(Speech::Tcp, "demo/server", "demo/other", 80)?, Seen::Answered);
    Ok(())
}

fn a_rule_is_exact() -> Outcome {
    let directory = with_three_pods(&[("rule.yaml", ingress("rule", &[FROM_CLIENT]))])?;
    let world = World::build(directory, 1500)?;
    let _switch = world.start(2)?;
    let seen = |speech, from, port| world.probe(speech, from, "demo/server", port);
    assert_eq!(seen(Speech::Tcp, "demo/client", 80)?, Seen::Answered);
    assert_eq!(seen(Speech::Tcp, "demo/client", 81)?, Seen::Silent);
    assert_eq!(seen(Speech::Tcp, "demo/other", 80)?, Seen::Silent);
    assert_eq!(seen(Speech::Udp, "demo/client", 53)?, Seen::Silent);
    assert_eq!(seen(Speech::Icmp, "demo/client", 0)?, Seen::Silent);
    let v6 = world.probe_family(Speech::Tcp, "demo/client", "demo/server", 80, true)?;
    assert_eq!(v6, Seen::Answered);
    Ok(())
}

fn own_node() -> Outcome {
    let directory = with_three_pods(&[("deny.yaml", ingress("deny", &[]))])?;
    let world = World::build(directory, 1500)?;
    let _switch = world.start(2)?;
    for (speech, port) in SPEECHES {
        assert_eq!(world.probe(speech, NODE, "demo/server", port)?, Seen::Answered, "{speech}");
        assert_eq!(world.probe(speech, OUTSIDE, "demo/server", port)?, Seen::Silent, "{speech}");
    }
    assert_eq!(world.probe(Speech::Tcp, OUTSIDE, "demo/other", 80)?, Seen::Answered);
    assert_eq!(world.probe(Speech::Tcp, "demo/server", OUTSIDE, 443)?, Seen::Answered);
    Ok(())
}

fn ip_block() -> Outcome {
    let rule =
        "{from: [{ipBlock: {cidr: 0.0.0.0/0, except: [203.0.113.0/24]}}], ports: [{port: 80}]}";
    let directory = with_three_pods(&[("block.yaml", ingress("block", &[rule]))])?;
    let world = World::build(directory, 1500)?;
    let _switch = world.start(1)?;
    let seen = |from, port| world.probe(Speech::Tcp, from, "demo/server", port);
    assert_eq!(seen(OUTSIDE, 80)?, Seen::Answered);
    assert_eq!(seen(OUTSIDE, 81)?, Seen::Silent);
    assert_eq!(seen(OUTSIDE_OTHER, 80)?, Seen::Silent);
    // A block matches pods too (NP-32), and 0.0.0.0/0 no IPv6 address (NP-34).
    assert_eq!(seen("demo/client", 80)?, Seen::Answered);
    let v6 = world.probe_family(Speech::Tcp, "demo/client", "demo/server", 80, true)?;
    assert_eq!(v6, Seen::Silent);
    Ok(())
}

fn egress_outside() -> Outcome {
    let policy = "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: out, namespace: demo}
spec:
  podSelector: {matchLabels: {app: client}}
  policyTypes: [Egress]
  egress:
  - {to: [{ipBlock: {cidr: 198.51.100.0/24}}], ports: [{port: 443}]}
";
    let world = World::build(with_three_pods(&[("out.yaml", policy.to_owned())])?, 1500)?;
    let _switch = world.start(1)?;
    let seen = |speech, to, port| world.probe(speech, "demo/client", to, port);
    assert_eq!(seen(Speech::Tcp, OUTSIDE, 443)?, Seen::Answered);
    assert_eq!(seen(Speech::Udp, OUTSIDE, 53)?, Seen::Silent);
    assert_eq!(seen(Speech::Tcp, OUTSIDE_OTHER, 443)?, Seen::Silent);
    assert_eq!(seen(Speech::Tcp, "demo/server", 80)?, Seen::Silent);
    assert_eq!(world.probe(Speech::Tcp, "demo/server", OUTSIDE_OTHER, 443)?, Seen::Answered);
    Ok(())
}

fn bulk(mtu: u16, workers: u8) -> Outcome {
    let world = World::build(Directory::with_three_pods()?, mtu)?;
    let switch = world.start(workers)?;
    let (client, server) = (world.lab.place("demo/client")?, world.lab.place("demo/server")?);
    let bytes = bulk_bytes();
    let report = bulk::both_ways(&client, &server, 7000, false, bytes)?;
    assert!(report.is_intact(), "{report:?}");
    assert_eq!((report.forth.1.bytes, report.back.1.bytes), (bytes, bytes));
    let sent = switch.metric("lockgate_port_bytes_total", &["interface=\"server0\"", "sent"])?;
    // As f64 both are exact far beyond these sizes.
    #[allow(clippy::cast_precision_loss)]
    let least = bytes as f64;
    assert!(
        sent >= least,
        "the switch sent {sent} of {bytes} bytes to the server: a way around it"
    );
    note_rate(&report, bytes);
    Ok(())
}

fn bulk_outside() -> Outcome {
    let (world, _switch) = World::switched(1)?;
    let outside = world.lab.place("2001:db8:51::7")?;
    let bytes = bulk_bytes() / 8;
    let report = bulk::both_ways(&world.lab.place("demo/client")?, &outside, 7000, true, bytes)?;
    assert!(report.is_intact(), "{report:?}");
    Ok(())
}

/// Bytes each way: 1 GiB, or what `LAB_BULK_BYTES` says for a quick look.
fn bulk_bytes() -> u64 {
    let set = std::env::var("LAB_BULK_BYTES").ok().and_then(|text| text.parse().ok());
    set.unwrap_or(1 << 30)
}

fn note_rate(report: &bulk::Report, bytes: u64) {
    let bits = u128::from(bytes) * 16;
    let took = report.took.max(Duration::from_millis(1));
    eprintln!("       {} Mbit/s, both ways together", bits / took.as_micros());
}

/// What one look at the metrics says of drops: two looks would differ by what comes between them.
struct Drops(String);

impl Drops {
    fn of(switch: &SwitchProcess) -> Result<Self, LabError> {
        switch.metrics().map(Self)
    }

    /// Packets dropped for this reason so far.
    fn because(&self, reason: &str) -> f64 {
        sum(&self.0, DROPPED, &[&format!("reason=\"{reason}\"")])
    }

    /// Packets dropped so far, for any reason but those that the background noise of stacks gives:
    /// router solicitations and MLD are not for the switch, and come before it judges, too.
    fn of_policy(&self) -> f64 {
        sum(&self.0, DROPPED, &[]) - self.because("not_for_us") - self.because("unsynced")
    }

    /// The lines that are not zero, for a message.
    fn lines(&self) -> String {
        let lines = self.0.lines().filter(|line| line.starts_with(DROPPED));
        lines.filter(|line| !line.ends_with(" 0")).collect::<Vec<_>>().join("\n")
    }
}
