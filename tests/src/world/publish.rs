//! What `sync` does on a node: objects are resolved, pods plugged and unplugged, a snapshot
//! compiled and published.

use lockgate_control::resolve::{PodView, resolve};
use lockgate_dataplane::endpoint::{Attachment, HostPort, Topology};
use lockgate_dataplane::ids::{EndpointId, Epoch, Mac};
use lockgate_dataplane::worker::mailbox::PortKind;

use super::{HOST, HOST_MAC, Local, World};

impl World {
    /// Resolves, compiles, plugs and unplugs pods, and publishes: what `sync` does on a node.
    pub fn publish(&mut self) {
        self.publish_only();
        self.take_home();
    }

    /// Unplugs the pods that are gone, once every worker judges by the newest snapshot.
    pub fn take_home(&mut self) {
        // Gone pods lose their ports only now that no snapshot to come knows them.
        self.settle();
        let local: Vec<String> = self.local().into_iter().map(|(name, _)| name).collect();
        let names = self.names();
        for name in names.iter().filter(|name| *name != HOST && !local.contains(name)) {
            self.unplug(name);
        }
        self.settle();
    }

    /// The pods on this node.
    fn local(&self) -> Vec<(String, EndpointId)> {
        let pods = self.resolved.iter().flat_map(|resolved| &resolved.pods);
        let is_local = |pod: &&PodView| match self.shape.local {
            Local::Bound => pod.interface.is_some(),
            Local::Every => true,
        };
        pods.filter(is_local)
            .map(|pod| (format!("{}/{}", pod.namespace, pod.name), pod.endpoint))
            .collect()
    }

    /// Resolves the objects there are and gives every pod of this node a wire.
    pub(super) fn plug_local(&mut self) -> Vec<(String, EndpointId)> {
        self.resolved = Some(resolve(&self.agent.inventory));
        let local = self.local();
        for (name, endpoint) in &local {
            if !self.wires.contains_key(name) {
                let worker = usize::from(self.least_loaded());
                let mac = Mac([0x02, 0, 0, 1, (endpoint.0 >> 8) as u8, endpoint.0 as u8]);
                self.plug(name, PortKind::Pod, mac, &[worker]);
            }
        }
        local
    }

    /// The same with so many queues of the host port, from now on: packets are then parted among as many
    /// workers.
    pub fn publish_only_with(&mut self, queues: usize) {
        self.queues = queues;
        self.publish_only();
    }

    /// Publishes the objects there are, without turning a worker: as the agent compiles, by changes.
    pub fn publish_only(&mut self) {
        let local = self.plug_local();
        let delta = self.agent.resolve();
        let attachments = local
            .iter()
            .map(|(name, endpoint)| {
                let wire = self.wire(name);
                let (at, mtu) = (wire.ends[0].0, self.shape.mtu);
                Attachment { endpoint: *endpoint, at, mac: wire.mac, mtu }
            })
            .collect();
        let host = self.wire(HOST);
        let host = HostPort {
            port: host.port,
            slots: host.ends.iter().take(self.queues).map(|(at, _)| at.slot).collect(),
            mac: HOST_MAC,
            mtu: self.shape.mtu,
        };
        let node_addresses = self.agent.resolver().node_addresses().to_vec();
        let topology = Topology {
            attachments,
            host: Some(host),
            node_addresses,
            own_node: self.shape.own_node,
        };
        let tables = self.agent.compile(delta, &topology);
        self.epoch += u64::from(tables.verdicts);
        self.publisher.publish(Epoch(self.epoch), tables.policy, tables.endpoints);
    }
}
