//! A turn allocates nothing: not for packets, not for answers, not for a new snapshot.

use lockgate_dataplane::worker::Denial;
use lockgate_tests::allocator::allocations;
use lockgate_tests::packets;
use lockgate_tests::world::{Shape, World};

use crate::simulation::{CLIENT, CLUSTER, OTHER, WEB, ack, open, shape, syn, v4, v6};

/// Turns counted. House: 10⁶ including swaps and expiry.
const TURNS: usize = 1_000_000;

#[test]
fn a_turn_does_not_allocate() {
    for workers in [1, 2] {
        let mut world = World::of(Shape { denial: Denial::Reject, ..shape(workers) }, CLUSTER);
        let (there, back) = open(&mut world, v4(), 40_000);
        let frames = [
            (CLIENT, ack(there, 40_000, 80)),
            (WEB, ack(back, 80, 40_000)),
            (CLIENT, packets::udp(world.ends(CLIENT, WEB, v6()), (9, 53), b"x")),
            (OTHER, syn(world.ends(OTHER, WEB, v4()), 40_000, 80)),
            (OTHER, packets::udp(world.ends(OTHER, WEB, v6()), (9, 53), b"x")),
            (CLIENT, packets::with_ttl(ack(there, 40_000, 80), 1)),
        ];
        // Opens of ever new connections, made before counting: building a packet allocates.
        let opens: Vec<_> = (0..20_000_u16)
            .map(|port| packets::udp(world.ends(CLIENT, WEB, v4()), (port, 53), b"x"))
            .collect();
        let mut counted = 0;
        for turn in 0..TURNS / usize::from(workers) / 2 {
            if turn % 16 == 0 {
                let (from, frame) = &frames[(turn / 16) % frames.len()];
                let _full = world.inject(from, frame);
                let _full = world.inject(CLIENT, &opens[(turn / 16) % opens.len()]);
                world.discard(WEB);
                world.discard(CLIENT);
                world.discard(OTHER);
            }
            if turn % 50_000 == 0 {
                // Publishing is control's work and may allocate; taking it over may not.
                world.publish_only();
            }
            if turn % 256 == 0 {
                world.pass_ms(100);
            }
            let before = allocations();
            world.turn();
            counted += allocations() - before;
        }
        assert_eq!(counted, 0, "a turn allocated, with {workers} workers");
        assert!(world.total(|c| c.sent.load()) > 1000, "packets moved");
        assert!(world.total(|c| c.rejects_sent.load()) > 1000, "denied packets were rejected");
    }
}
