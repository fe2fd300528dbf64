//! What policy says of packets beside what becomes of them: it is told and counted, and changes
//! nothing.

use lockgate_dataplane::compiler::Counted;
use lockgate_dataplane::counters::DropReason::IngressDenied;
use lockgate_dataplane::event::{Notes, Outcome, Sample};
use lockgate_dataplane::policy::ruleset::{Direction, View};
use lockgate_tests::packets;
use lockgate_tests::world::World;

use super::{CLIENT, CLUSTER, OTHER, WEB, dropped, shape, syn, v4, v6};

/// Isolates other, once it is in force, but for port 80.
const LATER: &str = "---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: later, namespace: shop, annotations: {lockgate.dev/staged: 'true'}}
spec: {podSelector: {matchLabels: {app: other}}, ingress: [{ports: [{port: 80}]}]}
";

/// Lets client out, now and then.
const OUT: &str = "---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: out, namespace: shop}
spec: {podSelector: {matchLabels: {app: client}}, policyTypes: [Egress], egress: [{}]}
";

/// Isolates web, which is isolated, once it is in force.
const SHUT: &str = "---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: shut, namespace: shop, annotations: {lockgate.dev/staged: 'true'}}
spec: {podSelector: {matchLabels: {app: web}}}
";

/// Opens web, once it is in force, in the place of the policy that is there.
const WIDER: &str = "---
apiVersion: projectcalico.org/v3
kind: StagedKubernetesNetworkPolicy
metadata: {name: web, namespace: shop}
spec: {podSelector: {matchLabels: {app: web}}, ingress: [{}]}
";

/// Takes the policy away, once that is in force.
const AWAY: &str = "---
apiVersion: projectcalico.org/v3
kind: StagedKubernetesNetworkPolicy
metadata: {name: web, namespace: shop}
spec: {stagedAction: Delete}
";

/// Records TCP to other, and lets all through.
const RECORDING: &str = "---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: default.watch, namespace: shop}
spec:
  tier: default
  selector: app == 'other'
  ingress: [{action: Log, protocol: TCP}, {action: Allow}]
";

fn world(workers: u8, more: &str) -> World {
    World::of(shape(workers), &(CLUSTER.to_owned() + more))
}

/// What was counted of what would be: policy, whether it would open, and how often.
fn would(world: &mut World) -> Vec<(String, bool, u64)> {
    let next = |one: Counted| {
        (one.view == View::Next).then(|| {
            assert_eq!(one.direction, Direction::Ingress, "{one:?}");
            (one.policy.to_string(), one.opened, one.count)
        })
    };
    let mut found: Vec<_> = world.counted().into_iter().filter_map(next).collect();
    found.sort();
    found
}

fn told(samples: &[Sample]) -> Vec<(Outcome, Notes)> {
    samples.iter().map(|sample| (sample.outcome, sample.notes)).collect()
}

const STAGED: Notes = Notes { logged: false, staged: true };
const LOGGED: Notes = Notes { logged: true, staged: false };

#[test]
fn what_is_staged_is_told_and_counted_and_stops_nothing() {
    for (workers, outside) in [(1, v4()), (2, v6())] {
        // Whose side is decided as it is has nothing to be counted.
        let mut world = world(workers, &(LATER.to_owned() + OUT));
        let ends = world.ends(CLIENT, OTHER, outside);
        for port in [80, 81] {
            let first = syn(ends, 40_000, port);
            assert!(world.fate(CLIENT, OTHER, &first).is_sent(), "{port}");
            // Only what opens a connection is judged, and audited.
            assert!(world.fate(CLIENT, OTHER, &first).is_sent(), "{port}");
        }
        assert_eq!(told(&world.samples()), [(Outcome::Opened, STAGED)], "81 would be denied");
        let later = |opened| ("shop/later".to_owned(), opened, 1);
        assert_eq!(would(&mut world), [later(false), later(true)]);
        // Whom it does not select is not concerned.
        let elsewhere = syn(world.ends(OTHER, CLIENT, outside), 40_000, 80);
        assert!(world.fate(OTHER, CLIENT, &elsewhere).is_sent());
        assert!(world.samples().is_empty() && would(&mut world).is_empty());
    }
}

#[test]
fn a_denied_packet_that_what_is_staged_would_let_pass_is_denied_and_told() {
    for (more, would_count) in [(WIDER, vec![("shop/web".to_owned(), true, 1)]), (AWAY, Vec::new())]
    {
        let mut world = world(1, more);
        let denied = syn(world.ends(CLIENT, WEB, v4()), 40_000, 81);
        assert_eq!(dropped(&mut world, CLIENT, WEB, &denied), IngressDenied);
        assert_eq!(told(&world.samples()), [(Outcome::Dropped(IngressDenied), STAGED)]);
        assert_eq!(would(&mut world), would_count, "{more}");
    }
}

#[test]
fn who_denies_already_and_would_tells_nothing_by_it() {
    let mut world = world(1, SHUT);
    let denied = syn(world.ends(CLIENT, WEB, v4()), 40_000, 81);
    assert_eq!(dropped(&mut world, CLIENT, WEB, &denied), IngressDenied);
    assert_eq!(told(&world.samples()), [(Outcome::Dropped(IngressDenied), Notes::default())]);
    assert!(would(&mut world).is_empty());
}

#[test]
fn what_a_rule_records_is_told_and_goes_on() {
    for workers in [1, 2] {
        let mut world = world(workers, RECORDING);
        let ends = world.ends(CLIENT, OTHER, v4());
        assert!(world.fate(CLIENT, OTHER, &syn(ends, 40_000, 80)).is_sent());
        assert_eq!(told(&world.samples()), [(Outcome::Opened, LOGGED)]);
        let other = packets::udp(ends, (40_000, 80), b"not recorded");
        assert!(world.fate(CLIENT, OTHER, &other).is_sent());
        assert!(world.samples().is_empty());
        // It comes and goes with the policy.
        world.set_file("cluster.yaml", CLUSTER);
        assert!(world.fate(CLIENT, OTHER, &syn(ends, 40_001, 80)).is_sent());
        assert!(world.samples().is_empty());
        world.set_file("cluster.yaml", &(CLUSTER.to_owned() + RECORDING));
        assert!(world.fate(CLIENT, OTHER, &syn(ends, 40_002, 80)).is_sent());
        assert_eq!(told(&world.samples()), [(Outcome::Opened, LOGGED)]);
    }
}
