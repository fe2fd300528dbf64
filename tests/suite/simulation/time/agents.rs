//! The agents that are tried: the product's own loop over a simulated node, and one that begins
//! anew beside workers that go on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::time::Instant;

use lockgate_control::attach::{InterfaceName, Probed};
use lockgate_control::files::Files;
use lockgate_control::manifest::{INTERFACE_ANNOTATION, read_text};
use lockgate_control::metrics::ApplyLatency;
use lockgate_control::resolve::PodView;
use lockgate_control::source::News;
use lockgate_control::sync::{Node, Sync};
use lockgate_control::watch_dir::{Changed, Settled};
use lockgate_dataplane::ids::{EndpointId, PortId};
use lockgate_tests::api::Key;
use lockgate_tests::world::{HOST, HOST_MAC, Links, Local, Shape, Switch, World, at_once};
use lockgate_tests::worlds::Choices;
use serde_json::Value;
use tempfile::TempDir;

/// Frames of each worker: few, for they are made anew with each process.
const FRAMES: u32 = 3072;

/// What is otherwise by now: an object as it is, or that it is gone.
pub(super) type Batch = BTreeMap<Key, Option<Value>>;

/// Where a pod is, and who it is: what connections are bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) endpoint: EndpointId,
    pub(super) addresses: Vec<IpAddr>,
    pub(super) wire: String,
    pub(super) port: PortId,
}

/// The pods that have a place in a snapshot, by `namespace/name`.
pub(super) type Places = BTreeMap<String, Place>;

/// An agent and its node.
pub(super) trait Agent {
    /// Begins, knowing nothing.
    fn new(workers: u8, seed: u64) -> Self;

    fn world(&mut self) -> &mut World;

    /// Something is told, and not taken in yet.
    fn write(&mut self, told: &Batch);

    /// Takes in what was written, as one change: by name, or by reading all of it.
    fn take(&mut self, told: &Batch, all: bool);

    /// Everything that was listed is written, for the first time: takes it in.
    fn begin(&mut self, told: &Batch);

    /// Tries to begin while the listing is half heard: it must not.
    fn begin_early(&mut self);

    /// One step of its loop: who is where, if it has published.
    fn step(&mut self, choices: &mut Choices) -> Option<Places>;

    /// Whether nothing more happens unless something is told.
    fn is_quiet(&mut self) -> bool;

    /// Something befalls it; whether it has forgotten all it was told.
    fn befall(&mut self, choices: &mut Choices) -> bool;

    /// Packets that it tried before there was a snapshot.
    fn unsynced(&mut self) -> usize;
}

/// The product: `Files`, `Ports` and `Sync` over simulated workers. Each object is a file.
pub(super) struct Product {
    directory: TempDir,
    links: Links,
    running: Running,
}

/// The switch is there before the agent.
enum Running {
    Not(Box<Switch>),
    Sync(Box<Sync<Switch>>),
    Between,
}

/// The file that the listing is not through with.
const TORN: &str = "zz-torn.json";

impl Product {
    fn switch(&mut self) -> &mut Switch {
        match &mut self.running {
            Running::Not(switch) => switch,
            Running::Sync(sync) => sync.dataplane(),
            Running::Between => unreachable!("only while it begins"),
        }
    }

    fn sync(&self) -> &Sync<Switch> {
        let Running::Sync(sync) = &self.running else { panic!("it has not begun") };
        sync
    }

    fn sync_mut(&mut self) -> &mut Sync<Switch> {
        let Running::Sync(sync) = &mut self.running else { panic!("it has not begun") };
        sync
    }

    /// Every pod that has an interface has its place: one whose old port is only leaving waits.
    fn places(&self, wires: &[String]) -> Places {
        let sync = self.sync();
        let mut places = Places::new();
        for pod in sync.resolver().local() {
            let name = format!("{}/{}", pod.namespace, pod.name);
            let Some(wire) = pod.interface.clone() else { continue };
            let mut attached = sync.placed().attachments.iter();
            let Some(place) = attached.find(|one| one.endpoint == pod.endpoint) else {
                let waits = wires.contains(&wire) || sync.ports().has_more();
                assert!(waits, "{name} is published without a port, and its interface is free");
                continue;
            };
            let (endpoint, addresses, port) = (pod.endpoint, pod.addresses.to_vec(), place.at.port);
            places.insert(name, Place { endpoint, addresses, wire, port });
        }
        places
    }
}

impl Agent for Product {
    fn new(workers: u8, seed: u64) -> Self {
        let shape = Shape { workers, frames: FRAMES, ..Shape::default() };
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(TORN), "{\"apiVersion\": \"v1\", \"kind\": \"Po").unwrap();
        let switch = Box::new(Switch::new(World::new(shape), seed));
        Self { directory, links: Links::default(), running: Running::Not(switch) }
    }

    fn world(&mut self) -> &mut World {
        self.switch().world()
    }

    fn write(&mut self, told: &Batch) {
        for (key, object) in told {
            let path = self.directory.path().join(file(key));
            let Some(object) = object else {
                let _ = fs::remove_file(path);
                continue;
            };
            let mut object = object.clone();
            if key.0 == "Pod" && object["spec"]["hostNetwork"] != true {
                let interface = format!("{}-{}", key.1, key.2);
                object["metadata"]["annotations"][INTERFACE_ANNOTATION] = interface.as_str().into();
                if !self.links.has(&interface) {
                    self.links.make(&interface);
                }
            }
            fs::write(path, object.to_string()).unwrap();
        }
    }

    fn take(&mut self, told: &Batch, all: bool) {
        let names: BTreeSet<String> = told.keys().map(file).collect();
        let changed = if all { Changed::All } else { Changed::Files(names) };
        self.sync_mut().learn(News::Settled(Settled { changed, at: Instant::now() }));
    }

    fn begin(&mut self, _: &Batch) {
        fs::remove_file(self.directory.path().join(TORN)).unwrap();
        let files = Files::read(self.directory.path()).unwrap();
        let Running::Not(switch) = std::mem::replace(&mut self.running, Running::Between) else {
            panic!("it begins once");
        };
        let node = Node { ports_max: 60, ..Node::default() };
        let mut sync = Sync::new(node, files, *switch, ApplyLatency::new().unwrap());
        let interface = InterfaceName::new("lg-host").unwrap();
        let host = Probed { interface, ifindex: u32::MAX, mac: HOST_MAC, mtu: 1500 };
        sync.add_host(host).unwrap();
        self.running = Running::Sync(Box::new(sync));
    }

    fn begin_early(&mut self) {
        let read = Files::read(self.directory.path());
        assert!(read.is_err(), "a directory that is half written was taken for a whole one");
    }

    fn step(&mut self, _: &mut Choices) -> Option<Places> {
        let wires = self.world().names();
        let before = self.sync().numbers().1;
        let Running::Sync(sync) = &mut self.running else { panic!("it has not begun") };
        at_once(sync.advance(&mut self.links));
        (self.sync().numbers().1 > before).then(|| self.places(&wires))
    }

    fn is_quiet(&mut self) -> bool {
        let held = self.sync().ports().held().len();
        !self.sync().is_pending() && self.world().names().len() == held + 1
    }

    /// A pod's interface is made anew: its port must go before it gets another.
    fn befall(&mut self, choices: &mut Choices) -> bool {
        let names = self.links.names();
        if let Running::Sync(sync) = &mut self.running
            && !names.is_empty()
        {
            self.links.make(&choices.pick(&names));
            sync.links_changed();
        }
        false
    }

    fn unsynced(&mut self) -> usize {
        self.switch().unsynced()
    }
}

fn file(key: &Key) -> String {
    format!("{}.{}.{}.json", key.0, key.1, key.2)
}

/// An agent that can begin anew while its workers go on by its last good tables. The product is one
/// process and cannot; its inventory, resolver and compiler are made to, in the world's own loop.
pub(super) struct Renewed {
    world: World,
    /// Something was taken in and is not published.
    differs: bool,
}

impl Renewed {
    fn hear(&mut self, told: &Batch) {
        let files = told.iter().map(|(key, object)| {
            let read = |object: &Value| read_text(&file(key), &object.to_string()).unwrap();
            (file(key), object.as_ref().map(read))
        });
        self.world.hear(files.collect());
        self.differs |= !told.is_empty();
    }
}

impl Agent for Renewed {
    fn new(workers: u8, _: u64) -> Self {
        let shape = Shape { workers, frames: FRAMES, local: Local::Every, ..Shape::default() };
        Self { world: World::new(shape), differs: false }
    }

    fn world(&mut self) -> &mut World {
        &mut self.world
    }

    fn write(&mut self, _: &Batch) {}

    fn take(&mut self, told: &Batch, _: bool) {
        self.hear(told);
    }

    fn begin(&mut self, told: &Batch) {
        self.hear(told);
        self.differs = true;
    }

    fn begin_early(&mut self) {}

    fn step(&mut self, choices: &mut Choices) -> Option<Places> {
        if !self.differs {
            self.world.take_home();
            return None;
        }
        if choices.chance(50) {
            self.world.turn_one(0);
        }
        self.world.publish_only();
        self.differs = false;
        let place = |pod: &PodView| {
            let wire = format!("{}/{}", pod.namespace, pod.name);
            let (endpoint, addresses) = (pod.endpoint, pod.addresses.to_vec());
            let port = self.world.port(&wire)?;
            Some((wire.clone(), Place { endpoint, addresses, wire, port }))
        };
        Some(self.world.resolved()?.pods.iter().filter_map(place).collect())
    }

    fn is_quiet(&mut self) -> bool {
        let pods = self.world.resolved().map_or(0, |resolved| resolved.pods.len());
        !self.differs && self.world.names().iter().filter(|name| *name != HOST).count() == pods
    }

    fn befall(&mut self, choices: &mut Choices) -> bool {
        let begins_anew = choices.chance(30);
        if begins_anew {
            self.world.begin_anew();
            self.differs = false;
        }
        begins_anew
    }

    fn unsynced(&mut self) -> usize {
        0
    }
}
