//! Who gets an address inherits no connection of who had it (NP-54).

use std::net::IpAddr;

use lockgate_dataplane::ids::EndpointId;
use lockgate_dataplane::packet::answer::GATEWAY_MAC;
use lockgate_tests::packets::Ends;
use lockgate_tests::world::HOST;

use super::super::ack;
use super::agents::{Agent, Place};
use super::history::{Flow, History};

/// Orphans that are remembered.
const ORPHANS_MAX: usize = 24;

/// A connection of which an end went.
pub(super) struct Orphan {
    ports: [u16; 2],
    addresses: [IpAddr; 2],
    endpoints: [EndpointId; 2],
}

impl<A: Agent> History<A> {
    /// A connection has lost an end.
    pub(super) fn orphan(&mut self, flow: Flow) {
        let Flow { question, port, ends, addresses, .. } = flow;
        let (ports, endpoints) = ([port, question.port], ends.map(|end| end.endpoint));
        self.orphans.push(Orphan { ports, addresses, endpoints });
        let more = self.orphans.len().saturating_sub(ORPHANS_MAX);
        self.orphans.drain(..more);
    }

    /// Sends packets of connections of which an end went, from whoever has its address now, and to
    /// them: nobody may get any. A connection whose pods are both there again is none of these.
    pub(super) fn try_heirs(&mut self) {
        let [view] = &self.views[..] else { return };
        let owner = |address: IpAddr| {
            view.places.values().find(|place| place.addresses.contains(&address)).cloned()
        };
        let heirs = self.orphans.iter().filter_map(|orphan| {
            let now = orphan.addresses.map(owner);
            let is = |(now, was): (&Option<Place>, &EndpointId)| {
                now.as_ref().map(|place| place.endpoint) == Some(*was)
            };
            let is_same = now.iter().zip(&orphan.endpoints).all(is);
            let wires = now.map(|place| place.map_or(HOST.to_owned(), |place| place.wire));
            let is_heir = !is_same && wires[0] != wires[1];
            is_heir.then_some((wires, orphan.addresses, orphan.ports))
        });
        for (wires, addresses, ports) in heirs.collect::<Vec<_>>() {
            for (from, to) in [(0, 1), (1, 0)] {
                let world = self.agent.world();
                if !wires.iter().all(|wire| world.names().contains(wire)) {
                    continue;
                }
                let ends = Ends {
                    source_mac: world.mac(&wires[from]),
                    target_mac: GATEWAY_MAC,
                    source: addresses[from],
                    target: addresses[to],
                };
                let fate = world.fate(&wires[from], &wires[to], &ack(ends, ports[from], ports[to]));
                let (seed, told) = (self.seed, &wires);
                assert!(!fate.is_sent(), "SEED={seed} {told:?} {ends:?} {ports:?}: {fate:?}");
                self.tally.heirs += 1;
            }
        }
    }
}
