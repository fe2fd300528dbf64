use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixListener;

use tempfile::TempDir;

use super::*;

/// What nobody may find in an archive.
const PLANTED: [&str; 5] = [
    "planted-kubeconfig",
    "planted-conflist",
    "planted-environment",
    "planted-label",
    "MIIEplanted",
];

/// A node with an agent's files, and secrets beside and among them.
fn node() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| {
        let path = root.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    put("kubeconfig", "users: [{user: {token: planted-kubeconfig}}]");
    put("net.d/10-lockgate.conflist", "{\"name\": \"lockgate\"}");
    put("net.d/05-other.conflist", "{\"password\": \"planted-conflist\"}");
    put("attachments/lg1", "{\"pod\": \"web\"}");
    put("attachments/lg2", "{\"pod\": \"Bearer planted-label\"}");
    put("attachments/below/deep", "planted-label");
    put("cni.sock.d/lg1", "{\"network\": \"pods\"}");
    put("ipam/10.0.0.1", "container eth0");
    put("bpffs/7/link", "");
    put("lockgate.lock", "4711\n");
    put("root/proc/version", "Linux version 6.18\n");
    put("root/proc/4711/environ", "TOKEN=planted-environment");
    put("root/proc/4711/status", "Name:\tlockgate\n");
    put("root/proc/4711/fdinfo/9", "pos:\t0\nprog_id:\t42\n");
    put("root/proc/4711/task/1/status", "Name:\tworker\n");
    put("root/sys/class/net/eth9/mtu", "1500\n");
    put("root/proc/sys/net/ipv4/ip_forward", "1\n");
    put(
        &log_of_the_chart("abc"),
        "running\n-----BEGIN PRIVATE KEY-----\nMIIEplanted\n-----END PRIVATE KEY-----\nstopped\n",
    );
    root
}

/// Where a kubelet keeps the log of a pod of the plain manifest.
fn log_of_the_chart(pod: &str) -> String {
    let manifest = include_str!("../../../deploy/lockgate.yaml");
    let (head, agent) = manifest.split_once("\n      containers:\n        - name: ").unwrap();
    let container = agent.lines().next().unwrap();
    let (_, namespace) = head.rsplit_once("\n  namespace: ").unwrap();
    let namespace = namespace.lines().next().unwrap();
    format!("root/var/log/pods/{namespace}_lockgate-{pod}_uid/{container}/0.log")
}

/// An agent that answers whatever it is asked with a document.
fn agent(root: &Path) {
    let listener = UnixListener::bind(root.join("lockgate.sock")).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut line = String::new();
            // Who looks for the process asks nothing.
            if BufReader::new(&stream).read_line(&mut line).unwrap() == 0 {
                continue;
            }
            let asked: serde_json::Value = serde_json::from_str(&line).unwrap();
            let answer = match asked["show"].as_str().unwrap() {
                "audit" => "{\"error\": \"too many questions wait\"}".to_owned(),
                "metrics" => "{\"text\": \"lockgate_sent 1\\ntoken: planted-label\\n\"}".to_owned(),
                show => format!("{{\"shown\": \"{show}\", \"label\": \"token: planted-label\"}}"),
            };
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
}

/// The files of an archive, by name.
fn opened(archive: &[u8]) -> BTreeMap<String, String> {
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(archive));
    let files = tar.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        assert_eq!(entry.header().mode().unwrap(), 0o600);
        let name = entry.path().unwrap().display().to_string();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (name.replace("lockgate-sysdump/", ""), String::from_utf8_lossy(&bytes).into_owned())
    });
    files.collect()
}

fn dumped(root: &Path) -> (BTreeMap<String, String>, Vec<String>) {
    let mut archive = Vec::new();
    let missing = write(&mut archive, &Places::below(root)).unwrap();
    (opened(&archive), missing)
}

fn assert_holds_no_secret(files: &BTreeMap<String, String>) {
    for (name, text) in files {
        for word in PLANTED {
            assert!(!text.contains(word), "{word} is in {name}: {text}");
        }
    }
}

#[test]
fn an_archive_of_a_live_agent_has_everything_but_secrets() {
    let root = node();
    agent(root.path());
    let (files, missing) = dumped(root.path());
    assert_holds_no_secret(&files);
    for (name, word) in [
        ("version.txt", "lockgate 0"),
        ("agent/status.json", "\"shown\": \"status\""),
        ("agent/metrics.txt", "lockgate_sent 1"),
        ("agent/connections.json", "\"shown\": \"connections\""),
        ("attachments/lg1", "web"),
        ("attachments/lg2", "left out"),
        ("cni/records/lg1", "pods"),
        ("cni/addresses/10.0.0.1", "container"),
        ("cni/10-lockgate.conflist", "lockgate"),
        ("cni/others.txt", "05-other.conflist"),
        ("pins.txt", "bpffs/7/link"),
        ("machine/proc_version", "6.18"),
        ("machine/links.txt", "eth9: ifindex= iflink= address= mtu=1500"),
        ("machine/sysctls.txt", "net/ipv4/ip_forward = 1"),
        // What every namespace has, and in no main table.
        ("machine/rules_ipv4.txt", "32766: proto 2 lookup 254\n"),
        ("machine/routes_ipv4.txt", "table 255 Local 127.0.0.0/8"),
        ("process/status", "lockgate"),
        ("process/threads.txt", "worker"),
        ("process/programs.txt", "prog_id:\t42"),
        ("log.txt", "stopped"),
        ("MANIFEST.txt", "log.txt, 3 lines left out: they look like secrets"),
    ] {
        let text = files.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", files.keys()));
        assert!(text.contains(word), "{word:?} is not in {name}: {text}");
    }
    let refused = "agent/audit.json: ";
    let said = missing.iter().find(|line| line.starts_with(refused)).unwrap();
    assert!(said.contains("too many questions"), "{missing:?}");
    assert!(files["MANIFEST.txt"].contains(said), "{}", files["MANIFEST.txt"]);
}

#[test]
fn without_an_agent_there_is_what_the_machine_says_and_why_the_rest_is_missing() {
    let root = node();
    fs::remove_file(root.path().join("lockgate.lock")).unwrap();
    fs::remove_dir_all(root.path().join("bpffs")).unwrap();
    fs::remove_dir_all(root.path().join("root/var")).unwrap();
    let (files, missing) = dumped(root.path());
    assert_holds_no_secret(&files);
    assert!(files.contains_key("attachments/lg1") && files.contains_key("machine/proc_version"));
    for name in ["agent/status.json", "agent/audit.json", "pins.txt", "process", "log.txt"] {
        assert!(missing.iter().any(|line| line.starts_with(name)), "{name}: {missing:?}");
        assert!(files["MANIFEST.txt"].contains(&format!("missing  {name}")));
    }
    let log = missing.iter().find(|line| line.starts_with("log.txt")).unwrap();
    let (_, agent) = include_str!("../../../deploy/lockgate.yaml")
        .split_once("containers:\n        - name: ")
        .unwrap();
    let how = format!("--namespace lockgate POD --container {}`", agent.lines().next().unwrap());
    assert!(log.contains(&format!("`kubectl logs {how}")), "{log}");
}

#[test]
fn the_process_is_whoever_listens_and_not_what_a_pod_calls_itself() {
    let root = node();
    let put = |id: u32, text: &str| {
        let directory = root.path().join(format!("root/proc/{id}"));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("status"), text).unwrap();
    };
    put(1, "Name:\tsystemd\n");
    fs::write(root.path().join("lockgate.lock"), "1\n").unwrap();
    let (files, missing) = dumped(root.path());
    assert!(!files.contains_key("process/status"), "{:?}", files.get("process/status"));
    assert!(missing.iter().any(|line| line.contains("process 1, which the lock")), "{missing:?}");
    agent(root.path());
    put(std::process::id(), "Name:\tlistens\n");
    assert_eq!(dumped(root.path()).0["process/status"], "Name:\tlistens\n");
}

#[test]
fn a_part_that_is_too_large_is_cut_and_that_is_said() {
    let root = node();
    let large = "line\n".repeat(PART_BYTES_MAX / 5 + 10);
    fs::write(root.path().join("attachments/lg3"), &large).unwrap();
    let (files, _) = dumped(root.path());
    assert_eq!(files["attachments/lg3"].len(), PART_BYTES_MAX);
    assert!(files["MANIFEST.txt"].contains("attachments/lg3, cut"), "{}", files["MANIFEST.txt"]);
}

#[test]
fn an_archive_is_its_owners_and_never_takes_the_place_of_a_file() {
    use std::os::unix::fs::PermissionsExt;
    let root = node();
    let path = root.path().join("dump.tar.gz");
    write_to(&path, &Places::below(root.path())).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let again = write_to(&path, &Places::below(root.path())).unwrap_err().to_string();
    assert!(again.contains("dump.tar.gz: File exists") && again.contains("--output"), "{again}");
}
