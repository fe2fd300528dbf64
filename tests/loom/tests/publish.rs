//! Every order in which a publisher and its workers can meet.

use loom::cell::UnsafeCell;
use loom::thread;

use lockgate_loom::Arc;
use lockgate_loom::endpoint::Endpoints;
use lockgate_loom::ids::{Epoch, Generation};
use lockgate_loom::policy::table::PolicyTable;
use lockgate_loom::publish::{Publisher, Subscriber};

/// What a worker touches under its first snapshot, and control once that is out of force.
type Ground = Arc<UnsafeCell<()>>;

fn publish(publisher: &mut Publisher) -> Generation {
    publisher.publish(Epoch(1), PolicyTable::of_this_thread(), Endpoints)
}

/// A batch: judged under one snapshot, the newest there is for this worker.
fn turn(subscriber: &mut Subscriber, ground: &Ground) -> Generation {
    subscriber.refresh();
    let Some(snapshot) = subscriber.current() else { return Generation(0) };
    snapshot.policy.read();
    if snapshot.generation == Generation(1) {
        ground.with(|_| ());
    }
    snapshot.generation
}

/// Publishes `last` snapshots to `workers` that turn meanwhile. What is checked:
///
/// - a worker frees no snapshot (the tables assert it), and control frees none that is read;
/// - generations only grow, and after the last turn the newest is there;
/// - `in_force` is never early: what a worker did under the first snapshot happens before.
fn model(workers: usize, last: u64, turns: usize) {
    let mut builder = loom::model::Builder::new();
    // Four find every fault that was planted; without a bound it takes half a minute.
    builder.preemption_bound = Some(4);
    builder.check(move || {
        let (mut publisher, subscribers) = Publisher::new(workers);
        let grounds: Vec<Ground> = (0..workers).map(|_| Ground::default()).collect();
        publish(&mut publisher);
        let threads: Vec<_> = subscribers
            .into_iter()
            .zip(grounds.clone())
            .map(|(mut subscriber, ground)| {
                let mut seen = turn(&mut subscriber, &ground);
                assert_eq!(seen, Generation(1), "the race begins with one in force");
                thread::spawn(move || {
                    for _ in 0..turns {
                        let now = turn(&mut subscriber, &ground);
                        assert!(seen <= now, "an older snapshot came after a newer");
                        seen = now;
                    }
                    subscriber
                })
            })
            .collect();
        for _ in 1..last {
            publish(&mut publisher);
        }
        if publisher.in_force() > Generation(1) {
            for ground in &grounds {
                ground.with_mut(|_| ());
            }
        }
        publisher.retire();
        let subscribers: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
        for (subscriber, ground) in subscribers.into_iter().zip(&grounds) {
            let mut subscriber = subscriber.expect("its turns ended");
            assert_eq!(turn(&mut subscriber, ground), Generation(last), "the newest");
        }
        assert_eq!(publisher.in_force(), Generation(last));
        publisher.retire();
        assert_eq!(publisher.kept(), 1);
    });
}

#[test]
fn one_worker_meets_three_snapshots() {
    model(1, 3, 3);
}

#[test]
fn two_workers_meet_two_snapshots() {
    model(2, 2, 2);
}
