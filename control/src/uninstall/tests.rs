use std::fs;
use std::path::Path;

use super::*;
use crate::settings::{RawCluster, RawRestart};

/// What a switch of these directories has, all of it below one.
fn below(root: &Path) -> Belongings {
    let at = |name: &str| Some(root.join(name));
    Belongings::of(Raw {
        lock: at("lock"),
        socket: at("sock"),
        bpffs: at("bpffs"),
        cluster: RawCluster {
            cni_socket: at("cni.sock"),
            attachments: at("attachments"),
            last_good: at("last-good"),
            cni_bin_dir: at("bin"),
            cni_conf_dir: at("net.d"),
            ipam_dir: at("ipam"),
            ..RawCluster::default()
        },
        restart: RawRestart { directory: at("connections"), ..RawRestart::default() },
        ..Raw::default()
    })
}

const OURS: [&str; 14] = [
    "lock",
    "lock.handover",
    "lock.handover-of-directory",
    "sock",
    "cni.sock",
    "last-good",
    "last-good.0123456789abcdef.new",
    "attachments/lg0",
    "attachments/lg0.new",
    "cni.sock.d/lg0",
    "ipam/lockgate/10.0.0.1",
    "connections/0000000000000007-0.connections",
    "connections/0000000000000007.pods",
    "connections/0000000000000007.new",
];

fn put(root: &Path, names: &[&str]) {
    for name in names {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
}

fn left(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            found.push(path.strip_prefix(root).unwrap().display().to_string());
            if path.is_dir() {
                open.push(path);
            }
        }
    }
    found.sort();
    found
}

#[test]
fn every_file_of_ours_goes_and_is_told_of_and_the_second_time_there_is_nothing() {
    let directory = tempfile::tempdir().unwrap();
    put(directory.path(), &OURS);
    let of = below(directory.path());
    let mut told = Told::default();
    files::remove(&of, &mut told);
    files::remove_lock(&of, true, &mut told);
    assert_eq!((left(directory.path()), &told.left), (vec![], &vec![]));
    let text = told.text();
    for name in OURS {
        assert!(text.contains(&format!("removed {}\n", directory.path().join(name).display())));
    }
    put(directory.path(), &["lock"]); // as it is taken for the second time
    let mut again = Told::default();
    files::remove(&of, &mut again);
    files::remove_lock(&of, false, &mut again);
    assert!(left(directory.path()).is_empty());
    assert_eq!(again, Told::default());
    assert_eq!(again.text(), "nothing of lockgate is here\n");
}

#[test]
fn files_of_others_stay_and_so_does_their_directory() {
    let directory = tempfile::tempdir().unwrap();
    let others = [
        "attachments/notes",
        "connections/000000000000000g.pods",
        "connections/notes.connections",
        "ipam/other/10.0.0.1",
        "last-good.txt",
    ];
    put(directory.path(), &OURS);
    put(directory.path(), &others);
    let mut told = Told::default();
    let of = below(directory.path());
    files::remove(&of, &mut told);
    files::remove_lock(&of, true, &mut told);
    let mut stay: Vec<String> = others.map(str::to_owned).into();
    stay.extend(["attachments", "connections", "ipam", "ipam/other"].map(str::to_owned));
    stay.sort();
    assert_eq!((left(directory.path()), told.left), (stay, vec![]));
}

#[test]
fn what_cannot_be_removed_is_told_of_and_holds_up_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    put(directory.path(), &["lock", "sock/inside"]);
    let mut told = Told::default();
    let of = below(directory.path());
    files::remove(&of, &mut told);
    files::remove_lock(&of, true, &mut told);
    assert_eq!(left(directory.path()), ["sock", "sock/inside"]);
    assert!(told.left[0].contains("sock: "), "{:?}", told.left);
    told.removed.clear();
    assert_eq!(told.text(), "", "what could not be removed is here");
}
