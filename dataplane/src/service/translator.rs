//! Which worker translates what comes in by the host port for a Service. Hot path.

use crate::connection::Hash;
use crate::ids::WorkerId;
use crate::packet::Address;

/// The worker that translates what a client beyond the host port asks a Service, among so many that
/// have a queue of it.
///
/// A function of the two addresses only: a socket changes its queue while it lives, later fragments
/// have no ports, and a client with affinity is one at all its ports. The next process names the
/// same worker.
#[must_use]
pub fn translator(client: Address, service: Address, workers: u16) -> WorkerId {
    let part = Hash::of_pair(client, service).part_of(workers);
    WorkerId(u8::try_from(part).unwrap_or(u8::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_worker_translates_its_part_of_the_clients_and_of_the_services() {
        let address = |last: u32| Address::from_v4(last.to_be_bytes());
        for workers in [1, 2, 3, 16] {
            let mut parts = [[0_u32; 16]; 2];
            for n in 0..1600 {
                let [one, other] = [(n, 7), (7, n)].map(|(client, service)| {
                    translator(address(client), address(0x0a60_0000 + service), workers)
                });
                parts[0][one.index()] += 1;
                parts[1][other.index()] += 1;
            }
            let even = 1600 / u32::from(workers);
            for part in parts {
                let (used, unused) = part.split_at(usize::from(workers));
                assert!(used.iter().all(|&n| n > even / 2 && n < even * 2), "{part:?}");
                assert!(unused.iter().all(|&n| n == 0), "{part:?}");
            }
        }
    }
}
