//! Which backend a client had last of a Service with session affinity. Hot path.
//!
//! As large as it is made: a client may be in [`AFFINITY_WAYS`] places, by a hash under a secret, and
//! the one whose time is up first gives way. A client that was pushed out is given any backend, and
//! sticks to that.

use super::{Backend, ServingId};
use crate::clock::Tick;
use crate::limits::{AFFINITIES_MAX, AFFINITY_WAYS};
use crate::packet::Address;

#[derive(Clone, Copy, Debug)]
struct Place {
    serving: ServingId,
    client: Address,
    backend: Backend,
    /// It counts before this.
    until: Tick,
}

/// One worker's memory of clients.
#[derive(Debug)]
pub struct Affinities {
    places: Box<[Place]>,
    seed: [u64; 2],
}

impl Affinities {
    /// Of nobody yet. All memory is taken here.
    #[must_use]
    pub fn new(seed: [u64; 2]) -> Self {
        let nobody = Address::from_v6([0; 16]);
        let backend = Backend { address: nobody, port: 0 };
        let place = Place { serving: ServingId(0), client: nobody, backend, until: Tick(0) };
        Self { places: vec![place; AFFINITIES_MAX].into(), seed: [seed[0], seed[1] | 1] }
    }

    /// The backend that a client had last, while it sticks to it.
    #[must_use]
    pub fn find(&self, serving: ServingId, client: Address, now: Tick) -> Option<Backend> {
        let start = self.start(serving, client);
        let ways = self.places.get(start..start.wrapping_add(AFFINITY_WAYS))?;
        let is_it = |place: &&Place| {
            place.until > now && place.serving == serving && place.client == client
        };
        ways.iter().find(is_it).map(|place| place.backend)
    }

    /// Notes which backend a client has from now on, until then.
    pub fn put(&mut self, serving: ServingId, client: Address, backend: Backend, until: Tick) {
        let start = self.start(serving, client);
        let Some(ways) = self.places.get_mut(start..start.wrapping_add(AFFINITY_WAYS)) else {
            return;
        };
        let is_it = |place: &Place| place.serving == serving && place.client == client;
        let oldest = ways.iter_mut().min_by_key(|place| (!is_it(place), place.until));
        if let Some(place) = oldest {
            *place = Place { serving, client, backend, until };
        }
    }

    fn start(&self, serving: ServingId, client: Address) -> usize {
        const SETS: u64 = (AFFINITIES_MAX / AFFINITY_WAYS) as u64;
        const _: () =
            assert!(SETS.is_power_of_two() && AFFINITIES_MAX.is_multiple_of(AFFINITY_WAYS));
        let [one, other] = self.seed;
        let mixed = client.mix([one ^ u64::from(serving.0), other]);
        #[allow(clippy::cast_possible_truncation)] // below the number of sets
        let set = (mixed & SETS.wrapping_sub(1)) as usize;
        set.wrapping_mul(AFFINITY_WAYS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(n: u16) -> Address {
        let [high, low] = n.to_be_bytes();
        Address::from_v4([192, 0, high, low])
    }

    fn backend(n: u8) -> Backend {
        Backend { address: Address::from_v4([10, 0, 0, n]), port: 80 }
    }

    #[test]
    fn a_client_sticks_until_its_time_and_the_latest_counts() {
        let mut affinities = Affinities::new([1, 2]);
        affinities.put(ServingId(1), client(1), backend(1), Tick(100));
        affinities.put(ServingId(2), client(1), backend(2), Tick(200));
        let find = |of: &Affinities, id, now| of.find(ServingId(id), client(1), Tick(now));
        assert_eq!(find(&affinities, 1, 99), Some(backend(1)));
        assert_eq!(find(&affinities, 1, 100), None, "its time is up");
        assert_eq!(find(&affinities, 2, 100), Some(backend(2)));
        affinities.put(ServingId(2), client(1), backend(3), Tick(300));
        assert_eq!(find(&affinities, 2, 100), Some(backend(3)));
        assert_eq!(affinities.find(ServingId(2), client(2), Tick(0)), None);
    }

    #[test]
    fn clients_without_end_push_out_the_oldest_and_never_the_newest() {
        let mut affinities = Affinities::new([3, 4]);
        for n in 0..20_000 {
            affinities.put(ServingId(1), client(n), backend(1), Tick(1_000 + u64::from(n)));
            assert_eq!(affinities.find(ServingId(1), client(n), Tick(0)), Some(backend(1)));
        }
        let is_kept = |n: &u16| affinities.find(ServingId(1), client(*n), Tick(0)).is_some();
        assert!((0..20_000).filter(is_kept).count() <= AFFINITIES_MAX);
        let late = (17_952..20_000).filter(is_kept).count();
        assert!(late > 1_900, "{late} of the last 2,048, half of what there is room for");
    }
}
