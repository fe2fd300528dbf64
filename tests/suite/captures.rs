//! Every capture of `tests/captures` meets the parsers and a simulated node.
//!
//! The README there names each file, and what it showed. `UPDATE_CAPTURES=1` writes anew those that
//! our own packet builder makes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use lockgate_control::manifest::read_text;
use lockgate_dataplane::counters::DropReason;
use lockgate_tests::captures;
use lockgate_tests::corpus::entries;
use lockgate_tests::frames::hold;
use lockgate_tests::shop::{CLIENT, CLUSTER, OPEN, scene, under};
use lockgate_tests::watched::{Watched, wires};
use lockgate_tests::world::World;

use crate::simulation::shape;

/// Captures made of entries of the corpus, and how each of their frames is dropped.
const GENERATED: [(&str, &[&str], Option<DropReason>); 3] = [
    (
        "ip-total-length",
        &["ipv4-total-below-header", "ipv4-total-beyond-frame", "ipv6-length-beyond-frame"],
        None,
    ),
    ("padding", &["padding"], None),
    ("mpls", &["mpls", "mpls-bottomless"], Some(DropReason::NotIp)),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("captures")
}

/// Every capture, by its name.
fn all() -> Vec<(String, Vec<Vec<u8>>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "pcap") {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let frames = captures::read(&fs::read(&path).unwrap());
            all.push((name, frames.unwrap_or_else(|| panic!("{} is no capture", path.display()))));
        }
    }
    all.sort();
    all
}

#[test]
fn every_capture_is_read_by_the_parsers_and_leaves_a_node_whole() {
    let objects = |text: &str| read_text("cluster.yaml", text).unwrap();
    let captures = all();
    assert!(captures.len() >= GENERATED.len(), "{} captures", captures.len());
    for (name, frames) in captures {
        assert!(!frames.is_empty(), "{name} is empty");
        for frame in &frames {
            hold(frame);
        }
        for text in [CLUSTER, &under(OPEN)] {
            for workers in [1, 2] {
                let mut node = Watched::new(shape(workers), objects(text));
                let wires = wires(node.world());
                for frame in &frames {
                    // Who sent it has its MAC; what bears nobody's comes from the client.
                    let mac = frame.get(6..12).and_then(|mac| <[u8; 6]>::try_from(mac).ok());
                    let wire = mac.and_then(|mac| wires.get(&mac)).map_or(CLIENT, String::as_str);
                    node.inject(wire, frame);
                    node.settle();
                }
                node.finish();
            }
        }
    }
}

#[test]
fn what_is_generated_is_what_the_corpus_has() {
    let scene = scene(&World::of(shape(1), CLUSTER));
    for (name, ids, dropped) in GENERATED {
        let of_ids = ids.iter().map(|id| entries().find(|entry| entry.id == *id).unwrap());
        let frames: Vec<Vec<u8>> = of_ids.flat_map(|entry| entry.frames(&scene)).collect();
        let path = folder().join(format!("{name}.pcap"));
        if std::env::var_os("UPDATE_CAPTURES").is_some() {
            fs::write(&path, captures::write(&frames)).unwrap();
        }
        let written = captures::read(&fs::read(&path).unwrap());
        assert!(written.as_ref() == Some(&frames), "{name} is not what the corpus has");
        for frame in frames {
            let read = lockgate_dataplane::packet::parse(&frame);
            assert!(dropped.is_none_or(|reason| read == Err(reason)), "{name}: {read:?}");
        }
    }
}

#[test]
fn every_capture_is_explained() {
    let page = fs::read_to_string(folder().join("README.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once(".pcap` | "));
    let told: BTreeSet<String> = rows.map(|(name, _)| name.to_owned()).collect();
    let there: BTreeSet<String> = all().into_iter().map(|(name, _)| name).collect();
    assert_eq!(told, there, "tests/captures/README.md has a row for each file");
}
