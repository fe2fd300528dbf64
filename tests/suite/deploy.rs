//! What is in `deploy/`, held against the agent that it deploys. What helm makes of the chart is
//! `scripts/chart`'s to see; that a real API server takes it, the cluster suite's.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use lockgate_control::settings::{Machine, Raw, RawCluster, Settings};
use lockgate_control::watch::RESOURCES;
use lockgate_tests::kubernetes::deployed;
use serde_json::Value;

#[test]
fn the_role_is_what_is_watched_and_written_and_nothing_else() {
    let may = deployed::allowed(&plain()).unwrap();
    let asked = deployed::watched();
    let both = |(group, name): &(&str, &str)| {
        ["list", "watch"].map(|verb| deployed::ask(verb, group, name))
    };
    let asked: BTreeSet<String> = asked.iter().flat_map(both).chain(deployed::written()).collect();
    assert!(asked.len() >= 2 * RESOURCES.len());
    let more: Vec<_> = may.difference(&asked).collect();
    let less: Vec<_> = asked.difference(&may).collect();
    assert!(more.is_empty() && less.is_empty(), "never asked: {more:?}; refused: {less:?}");
}

#[test]
fn the_pod_has_the_capabilities_that_are_named_and_no_others() {
    let documents = deployed::documents(&plain()).unwrap();
    let pod = &deployed::of_kind(&documents, "DaemonSet").unwrap()["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let security = &container["securityContext"];
    assert_eq!(security["capabilities"]["drop"], serde_json::json!(["ALL"]));
    let added = security["capabilities"]["add"].as_array().unwrap();
    let added: BTreeSet<&str> = added.iter().filter_map(Value::as_str).collect();
    // What `preflight` asks for. Limits are raised only where a runtime has low ones.
    let needed = ["BPF", "IPC_LOCK", "NET_ADMIN", "NET_RAW"];
    assert_eq!(added, BTreeSet::from(needed));
    assert_eq!(security["privileged"], false);
    assert_eq!(security["allowPrivilegeEscalation"], false);
    assert_eq!(security["readOnlyRootFilesystem"], true);
}

#[test]
fn the_default_of_every_setting_is_a_setting_of_the_agent() {
    let schema: Value =
        serde_json::from_str(&read("deploy/helm/lockgate/values.schema.json")).unwrap();
    let settings = &schema["properties"]["settings"];
    let mut names = BTreeSet::new();
    let file = defaults(settings, "", &mut names);
    assert!(names.len() >= 30, "{names:?}");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("settings.yaml");
    // JSON is YAML.
    fs::write(&path, file.to_string()).unwrap();
    let cluster = RawCluster { in_cluster: Some(true), ..RawCluster::default() };
    let flags = Raw { cluster, node: Some("a".into()), ..Raw::default() };
    let machine = Machine { cores: vec![0] };
    let ours = Settings::new(flags.clone().over(Raw::read(&path).unwrap()), &machine).unwrap();
    let unset = Settings::new(flags, &machine).unwrap();
    assert_eq!(ours, unset, "a default of the chart is not the agent's");
}

/// A document of all the defaults below a part of the schema; `names` are the settings seen.
fn defaults(schema: &Value, at: &str, names: &mut BTreeSet<String>) -> Value {
    let Some(parts) = schema["properties"].as_object() else { return schema["default"].clone() };
    let mut document = serde_json::Map::new();
    for (name, part) in parts {
        assert!(part["description"].is_string(), "{at}{name} says nothing");
        names.insert(format!("{at}{name}"));
        match defaults(part, &format!("{at}{name}."), names) {
            // Unset, it follows from others.
            Value::Null => {}
            value => drop(document.insert(name.clone(), value)),
        }
    }
    Value::Object(document)
}

#[test]
fn every_object_of_the_schema_is_closed_and_every_value_says_what_it_is() {
    let schema: Value =
        serde_json::from_str(&read("deploy/helm/lockgate/values.schema.json")).unwrap();
    let mut open = Vec::new();
    look(&schema, "", &mut open);
    assert_eq!(open, [""; 0]);
}

fn look(schema: &Value, at: &str, open: &mut Vec<String>) {
    let Some(parts) = schema["properties"].as_object() else { return };
    if schema["additionalProperties"] != false || !schema["description"].is_string() {
        open.push(at.to_owned());
    }
    for (name, part) in parts {
        if !part["description"].is_string() {
            open.push(format!("{at}/{name}"));
        }
        look(part, &format!("{at}/{name}"), open);
    }
}

#[test]
fn the_image_by_hand_holds_what_the_dockerfile_copies() {
    let text = read("deploy/Dockerfile");
    let (_, last) = text.rsplit_once("\nFROM ").unwrap();
    assert!(last.starts_with("scratch\n"), "{last}");
    let copied: Vec<&str> = last
        .lines()
        .filter_map(|line| line.strip_prefix("COPY --from=build "))
        .filter_map(|line| line.split(' ').nth(1))
        .collect();
    let ours: Vec<String> = deployed::PROGRAMS.iter().map(|name| format!("/{name}")).collect();
    assert_eq!(copied, ours);
    assert!(last.contains(&format!("ENTRYPOINT [\"{}\"]", ours[0])));
    for line in text.lines().filter(|line| line.starts_with("ARG BUILDER=")) {
        let version = line.rsplit(':').next().unwrap();
        assert!(version.starts_with(|c: char| c.is_ascii_digit()), "{line} is not pinned");
    }
}

#[test]
fn every_value_has_its_row_in_operating() {
    let schema: Value =
        serde_json::from_str(&read("deploy/helm/lockgate/values.schema.json")).unwrap();
    let text = read("docs/OPERATING.md");
    let mut names = BTreeSet::new();
    let _document = defaults(&schema, "", &mut names);
    // What is given by its parts has no row, nor what charts share.
    let is_whole = |name: &String| {
        let whole = format!("{name}.");
        name != "global" && !names.iter().any(|other| other.starts_with(&whole))
    };
    let is_quantity = |name: &String| name.starts_with("resources.");
    let rows: Vec<&String> =
        names.iter().filter(|name| is_whole(name) && !is_quantity(name)).collect();
    assert!(rows.len() >= 50, "{rows:?}");
    let missing: Vec<_> =
        rows.into_iter().filter(|name| !text.contains(&format!("| `{name}` |"))).collect();
    assert!(missing.is_empty(), "docs/OPERATING.md has no row for {missing:?}");
}

/// Where there is no systemd, nobody can say.
#[test]
fn systemd_understands_the_unit() {
    let unit = read("deploy/lockgate@.service");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lockgate@a.service");
    // The program is not installed where this runs.
    fs::write(&path, unit.replace("/usr/local/bin/lockgate", "/bin/true")).unwrap();
    let Ok(said) = Command::new("systemd-analyze").arg("verify").arg(&path).output() else {
        return;
    };
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.status.success() && !text.contains("lockgate@a.service"), "{text}");
}

fn plain() -> String {
    read("deploy/lockgate.yaml")
}

fn read(path: &str) -> String {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
