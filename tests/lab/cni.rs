//! The CNI plugin with real namespaces and the real `host-local`, and an agent that is a stub.

#![expect(clippy::unwrap_used, reason = "a case that cannot look has failed")]

mod disk;
mod runtime;
mod steps;
mod stub;

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use lockgate_control::cni::install::{Network, Places};
use lockgate_tests::lab::namespace::{run, wait_for};
use nix::libc;
use serde_json::{Value, json};

use super::{Case, Outcome};
use disk::Disk;
use runtime::{Runtime, finish};
use stub::Mood;

pub(crate) const CASES: &[Case] = &[
    ("cni: a pod is attached, checked and let go in every version", a_life_in_every_version),
    ("cni: what differs from what ADD made is found by CHECK", differences),
    ("cni: what is gone already is let go, and without an agent too", del_twice),
    ("cni: an agent that refuses or says nothing leaves no pod half made", refusals),
    ("cni: killed where others wait for it, a pod is mended by DEL, ADD and GC", kills),
    ("cni: killed at each step of ADD, a pod is mended by DEL, ADD and GC", kills_at_each_step),
    ("cni: killed at each step of DEL and GC, a pod is mended by them and ADD", dels_at_each_step),
    ("cni: killed at any moment, a pod is mended by DEL, ADD and GC", kills_at_any_moment),
    ("cni: pods are attached beside each other, and one pod once", at_once),
    ("cni: GC leaves what is named and of other networks, STATUS says who is there", gc_and_status),
    ("cni: portmap follows in a list of plugins", a_list),
    ("cni: a broken configuration is refused by name", broken),
    ("cni: a full and a read-only disk leave what was installed", disks),
    ("cni: where records or addresses find no room, nothing is begun and nothing lost", no_room),
    ("cni: standard input that is empty, garbage or without end is told in the answer", no_input),
];

fn a_life_in_every_version() -> Outcome {
    let runtime = Runtime::build()?;
    for version in ["0.4.0", "1.0.0", "1.1.0"] {
        let config = runtime.config(version);
        let made = runtime.good("ADD", "a", &config)?;
        assert_eq!(made["cniVersion"], version);
        assert_eq!(
            made["ips"][0]["version"],
            if version == "0.4.0" { json!("4") } else { json!(null) }
        );
        let (pod, wires) = (runtime.pod("a"), runtime.wires());
        assert_eq!(json!(wires), json!([made["interfaces"][0]["name"]]));
        assert_eq!(made["interfaces"][1]["mac"], pod.mac("eth0")?.as_str());
        assert_eq!(made["interfaces"][0]["mac"], runtime.node.mac(&wires[0])?.as_str());
        let first = u8::from_str_radix(&pod.mac("eth0")?[..2], 16)?;
        assert_eq!(first & 3, 2, "the MAC is not a locally administered one");
        // As the agent saw it: down, marked, one queue at each end.
        let seen = runtime.agent().take_seen();
        let link = &seen[0][0];
        assert!(!link["flags"].to_string().contains("UP"), "up before the agent has it: {link}");
        assert_eq!(link["ifalias"], "lockgate-cni pods c-a eth0");
        assert_eq!((&link["num_rx_queues"], &link["num_tx_queues"]), (&json!(1), &json!(1)));
        assert_eq!(runtime.agent().take_asked(), ["ready", "attach"]);
        for (key, value) in [
            ("ipv4/conf/all/send_redirects", "0"),
            ("ipv4/conf/eth0/accept_redirects", "0"),
            ("ipv6/conf/eth0/accept_ra", "0"),
            ("ipv6/conf/eth0/disable_ipv6", "0"),
        ] {
            let path = format!("/proc/sys/net/{key}");
            assert_eq!(pod.enter(|| fs::read_to_string(&path))??.trim(), value, "{key}");
        }
        let mut previous = config.clone();
        previous["prevResult"] = made;
        runtime.good("CHECK", "a", &previous)?;
        runtime.good("DEL", "a", &previous)?;
        runtime.assert_nothing_left(version);
        assert!(!pod.has_interface("eth0"));
        assert_eq!(runtime.agent().take_asked(), ["check", "detach"]);
    }
    // A pod without an IPv6 address has no IPv6.
    let mut config = runtime.config("1.0.0");
    config["ipam"]["ranges"] = json!([[{"subnet": "10.244.0.0/24"}]]);
    runtime.good("ADD", "a", &config)?;
    let read = || fs::read_to_string("/proc/sys/net/ipv6/conf/eth0/disable_ipv6");
    assert_eq!(runtime.pod("a").enter(read)??.trim(), "1");
    Ok(())
}

/// What may be changed in a pod by `ip`, how it is put back, and what is said of it meanwhile.
fn harms(address: &str) -> [(String, Vec<String>, &'static str); 11] {
    [
        (
            format!("addr del {address} dev eth0"),
            vec![
                format!("addr add {address} dev eth0"),
                "route add default via 169.254.1.1 dev eth0 onlink".into(),
            ],
            "addresses",
        ),
        (
            "addr add 10.9.9.9/32 dev eth0".into(),
            vec!["addr del 10.9.9.9/32 dev eth0".into()],
            "addresses",
        ),
        (
            "route del default".into(),
            vec!["route add default via 169.254.1.1 dev eth0 onlink".into()],
            "default route",
        ),
        (
            "-6 route del default".into(),
            vec!["-6 route add default via fe80::1 dev eth0".into()],
            "default route",
        ),
        (
            format!("route del table local local {address} dev eth0"),
            vec![format!("route add table local local {address} dev eth0 proto kernel scope host")],
            "the route to its own address",
        ),
        (
            "-6 route del fe80::/64 dev eth0".into(),
            vec!["-6 route add fe80::/64 dev eth0 proto kernel metric 256".into()],
            "the route to its gateway's link fe80::/64 is nothing, and was made over it",
        ),
        (
            "route prepend default dev lo".into(),
            vec!["route del default dev lo".into()],
            "no gateway over interface number 1, 169.254.1.1, and was made 169.254.1.1",
        ),
        (
            "-6 route add blackhole default metric 1".into(),
            vec!["-6 route del blackhole default metric 1".into()],
            "its default route is blackhole, fe80::1, and was made fe80::1",
        ),
        ("link set eth0 mtu 1400".into(), vec!["link set eth0 mtu 1500".into()], "MTU"),
        (
            "neigh replace 169.254.1.1 lladdr 02:00:00:00:00:99 nud permanent dev eth0".into(),
            vec!["neigh del 169.254.1.1 dev eth0".into()],
            "the MAC of its gateway is 02:00:00:00:00:99, and was made 02:4c:47:00:00:01",
        ),
        (
            "neigh replace fe80::1 lladdr 02:00:00:00:00:99 nud permanent dev eth0".into(),
            vec!["neigh del fe80::1 dev eth0".into()],
            "the MAC of its gateway is 02:00:00:00:00:99",
        ),
    ]
}

fn differences() -> Outcome {
    let runtime = Runtime::build()?;
    let mut config = runtime.config("1.1.0");
    let refused = runtime.call("CHECK", "a", &config)?;
    assert!(refused.document["msg"].as_str().unwrap().contains("prevResult"), "{refused:?}");
    let made = runtime.good("ADD", "a", &config)?;
    let address = made["ips"][0]["address"].as_str().unwrap().to_owned();
    config["prevResult"] = made;
    let pod = runtime.pod("a");
    let wire = runtime.wires().remove(0);
    for (harm, mend, said) in harms(&address) {
        // A batch takes no option in front of the object.
        let ip = |line: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            run(Command::new("ip").args(["-n", pod.name()]).args(words))
        };
        ip(&harm)?;
        let reply = runtime.call("CHECK", "a", &config)?;
        assert_eq!(reply.document["code"], 100, "{harm}: {reply:?}");
        assert!(reply.document["msg"].as_str().unwrap().contains(said), "{harm}: {reply:?}");
        for line in mend {
            ip(&line)?;
        }
        runtime.good("CHECK", "a", &config)?;
    }
    pod.sysctl("ipv6/conf/eth0/accept_ra", "1")?;
    let reply = runtime.call("CHECK", "a", &config)?;
    assert!(reply.document["msg"].to_string().contains("accept_ra is 1"), "{reply:?}");
    pod.sysctl("ipv6/conf/eth0/accept_ra", "0")?;
    runtime.node.ip(&[format!("link set {wire} mtu 1300")])?;
    let reply = runtime.call("CHECK", "a", &config)?;
    assert!(reply.document["msg"].to_string().contains(&format!("MTU of {wire}")), "{reply:?}");
    runtime.node.ip(&[format!("link set {wire} mtu 1500"), format!("link set {wire} down")])?;
    let reply = runtime.call("CHECK", "a", &config)?;
    let said = format!("the state of {wire} is down, and was made up");
    assert!(reply.document["msg"].to_string().contains(&said), "{reply:?}");
    runtime.node.ip(&[format!("link set {wire} up")])?;
    runtime.agent().forget_programs()?;
    let reply = runtime.call("CHECK", "a", &config)?;
    let said = format!("the XDP program of {wire} is missing, and was made the switch's");
    assert!(reply.document["msg"].to_string().contains(&said), "{reply:?}");
    runtime.agent().take_again(&runtime.node, &wire);
    runtime.good("CHECK", "a", &config)?;
    runtime.agent().be(Mood::Refusing("check"));
    assert_eq!(runtime.call("CHECK", "a", &config)?.document["msg"], "it will not");
    runtime.agent().be(Mood::Willing);
    runtime.good("CHECK", "a", &config)?;
    let lease = address.split('/').next().unwrap();
    fs::remove_file(runtime.directory().join("ipam/pods").join(lease))?;
    let v6 = runtime.leases().remove(0);
    fs::remove_file(runtime.directory().join("ipam/pods").join(v6))?;
    let reply = runtime.call("CHECK", "a", &config)?;
    assert!(
        !reply.is_good && reply.document["msg"].to_string().contains("Failed to find"),
        "{reply:?}"
    );
    Ok(())
}

fn del_twice() -> Outcome {
    let mut runtime = Runtime::build()?;
    let config = runtime.config("1.0.0");
    runtime.good("DEL", "a", &config)?;
    runtime.good("ADD", "a", &config)?;
    let again = runtime.call("ADD", "a", &config)?;
    assert!(
        again.document["msg"].to_string().contains("has the interface eth0 already"),
        "{again:?}"
    );
    runtime.ifname = "net1";
    let second = runtime.call("ADD", "a", &config)?;
    let said = "has its port at eth0 already, and a pod has one";
    assert!(second.document["msg"].to_string().contains(said), "{second:?}");
    runtime.ifname = "eth0";
    assert_eq!(runtime.leases().len(), 2, "the second ADD took something");
    for _ in 0..2 {
        runtime.good("DEL", "a", &config)?;
        runtime.assert_nothing_left("DEL");
    }
    // The address goes back to the network that it is of.
    let mut renamed = config.clone();
    renamed["name"] = json!("renamed");
    runtime.good("ADD", "a", &config)?;
    runtime.good("DEL", "a", &renamed)?;
    runtime.assert_nothing_left("DEL under another name");
    runtime.good("ADD", "a", &config)?;
    runtime.remove_pod("a")?;
    runtime.good("DEL", "a", &config)?;
    runtime.assert_nothing_left("DEL without a namespace");
    // Somebody listens and does not answer: the address is kept until he does.
    runtime.good("ADD", "b", &config)?;
    let mut short = config.clone();
    short["timeoutSeconds"] = json!(1);
    for mood in [Mood::Silent("detach"), Mood::Refusing("detach")] {
        runtime.agent().be(mood);
        let reply = runtime.call("DEL", "b", &short)?;
        assert_eq!((reply.is_good, &reply.document["code"]), (false, &json!(11)), "{reply:?}");
        assert_eq!((runtime.wires().len(), runtime.leases().len()), (0, 2), "{mood:?}");
    }
    runtime.restart_agent()?;
    runtime.good("DEL", "b", &config)?;
    runtime.assert_nothing_left("DEL that was tried again");
    // Nobody listens: nothing can be forwarded.
    runtime.good("ADD", "b", &config)?;
    runtime.agent = None;
    let refused = runtime.call("ADD", "a", &config)?;
    assert_eq!(refused.document["code"], 4, "the pod is gone: {refused:?}");
    runtime.good("DEL", "b", &config)?;
    runtime.assert_nothing_left("DEL without an agent");
    let refused = runtime.call("ADD", "b", &config)?;
    assert_eq!(refused.document["code"], 11, "{refused:?}");
    assert!(refused.document["msg"].to_string().contains("no agent"), "{refused:?}");
    Ok(())
}

fn refusals() -> Outcome {
    let runtime = Runtime::build()?;
    let mut config = runtime.config("1.1.0");
    config["timeoutSeconds"] = json!(1);
    for mood in [Mood::Refusing("ready"), Mood::Refusing("attach"), Mood::Silent("attach")] {
        runtime.agent().be(mood);
        let begun = Instant::now();
        let reply = runtime.call("ADD", "a", &config)?;
        assert_eq!(
            (reply.is_good, &reply.document["code"]),
            (false, &json!(11)),
            "{mood:?} {reply:?}"
        );
        assert!(begun.elapsed() < Duration::from_secs(4), "{mood:?} took {:?}", begun.elapsed());
        runtime.assert_nothing_left(&format!("{mood:?}"));
        assert!(!runtime.pod("a").has_interface("eth0"));
    }
    runtime.agent().be(Mood::Willing);
    // The IPAM plugin's own error is passed on, with its code.
    config["ipam"]["ranges"] = json!([[{"subnet": "10.244.0.0/33"}]]);
    let reply = runtime.call("ADD", "a", &config)?;
    assert!(reply.document["msg"].to_string().contains("10.244.0.0/33"), "{reply:?}");
    runtime.plant("slow", "sleep 3")?;
    config["ipam"]["type"] = json!("slow");
    let reply = runtime.call("ADD", "a", &config)?;
    assert!(reply.document["msg"].to_string().contains("does not end in time"), "{reply:?}");
    Ok(())
}

/// What may come after a kill, and must mend it.
fn mend(runtime: &Runtime, way: &str, config: &Value) -> Outcome {
    match way {
        "GC" => {
            let mut config = config.clone();
            config["cniVersion"] = json!("1.1.0");
            config["cni.dev/valid-attachments"] = json!([]);
            // What a dead ADD's IPAM plugin still does is going on, and left alone: again, then.
            wait_for("a GC that finds nothing going on", Duration::from_secs(5), || {
                runtime.good("GC", "a", &config).is_ok() && runtime.is_nothing_left()
            })?;
        }
        "ADD" => {
            runtime.good("ADD", "a", config)?;
            assert_eq!((runtime.wires().len(), runtime.leases().len()), (1, 2), "{way}");
            runtime.good("DEL", "a", config)?;
        }
        _ => drop(runtime.good("DEL", "a", config)?),
    }
    assert_eq!(runtime.agent().ports(), 0, "{way}");
    Ok(())
}

fn kills() -> Outcome {
    let runtime = Runtime::build()?;
    let config = runtime.config("1.0.0");
    let before = "[ $CNI_COMMAND = ADD ] && kill -9 $PPID; exec $REAL";
    let after = "$REAL; [ $CNI_COMMAND = ADD ] && kill -9 $PPID; exit 0";
    // This one is still to take an address when whoever asked for it is dead.
    let late = "[ $CNI_COMMAND = ADD ] && kill -9 $PPID && sleep 0.5; exec $REAL";
    let steps: [(&str, Mood, &str); 5] = [
        ("ready", Mood::Killing("ready"), ""),
        ("before the address", Mood::Willing, before),
        ("with the address late", Mood::Willing, late),
        ("after the address", Mood::Willing, after),
        ("at attach", Mood::Killing("attach"), ""),
    ];
    for (step, mood, script) in steps {
        for way in ["DEL", "ADD", "GC"] {
            runtime.agent().be(mood);
            if !script.is_empty() {
                runtime.plant("host-local", script)?;
            }
            let killed = runtime.call("ADD", "a", &config)?;
            assert!(!killed.is_good, "{step}: {killed:?}");
            runtime.agent().be(Mood::Willing);
            runtime.unplant("host-local");
            mend(&runtime, way, &config)?;
            runtime.assert_nothing_left(&format!("{step}, mended by {way}"));
        }
    }
    // DEL that is killed at its own steps.
    {
        let mood = Mood::Killing("detach");
        runtime.good("ADD", "a", &config)?;
        runtime.agent().be(mood);
        assert!(!runtime.call("DEL", "a", &config)?.is_good);
        runtime.agent().be(Mood::Willing);
        mend(&runtime, "DEL", &config)?;
        runtime.assert_nothing_left("a killed DEL");
    }
    Ok(())
}

/// What the steps of ADD must hold, so that a list of harmless calls that grew hides nothing.
const OF_ADD: [(&str, libc::c_long); 6] = [
    ("a record's file", libc::SYS_openat),
    ("its lock", libc::SYS_flock),
    ("a question to the agent", libc::SYS_connect),
    ("netlink", libc::SYS_sendto),
    ("the pod's namespace", libc::SYS_setns),
    ("the answer", libc::SYS_write),
];

fn kills_at_each_step() -> Outcome {
    let runtime = Runtime::build()?;
    let config = runtime.config("1.0.0");
    let whole = runtime.kill_at(usize::MAX, "ADD", "a", &config)?;
    assert!(whole.is_good && !whole.is_killed, "{whole:?}");
    for (what, call) in OF_ADD {
        assert!(whole.steps.contains(&call), "ADD has no step for {what}: {:?}", whole.steps);
    }
    runtime.good("DEL", "a", &config)?;
    for way in ["DEL", "ADD", "GC"] {
        for step in 0.. {
            let followed = runtime.kill_at(step, "ADD", "a", &config)?;
            let after = format!("a kill at step {step}, {:?}, {way}", followed.steps.last());
            if !followed.is_killed {
                assert!(followed.is_good, "{after}: {followed:?}");
                assert!(step >= whole.steps.len() / 2, "{after}: {whole:?}");
                runtime.good("DEL", "a", &config)?;
                break;
            }
            mend_whole(&runtime, way, &config).map_err(|error| format!("{after}: {error}"))?;
            runtime.assert_nothing_left(&after);
        }
    }
    Ok(())
}

/// As [`mend`]; an ADD that was killed when the runtime had been told is refused with its reason,
/// and DEL comes first, as the runtime has it.
fn mend_whole(runtime: &Runtime, way: &str, config: &Value) -> Outcome {
    if way == "ADD" {
        let reply = runtime.call("ADD", "a", config)?;
        assert!(reply.is_good || reply.document["code"] == 7, "{reply:?}");
        assert_eq!((runtime.wires().len(), runtime.leases().len()), (1, 2), "{reply:?}");
        return mend(runtime, "DEL", config);
    }
    mend(runtime, way, config)
}

fn dels_at_each_step() -> Outcome {
    let runtime = Runtime::build()?;
    let config = runtime.config("1.1.0");
    let mut of_gc = config.clone();
    of_gc["cni.dev/valid-attachments"] = json!([]);
    for (command, asked) in [("DEL", &config), ("GC", &of_gc)] {
        for (turn, step) in (0..).enumerate() {
            runtime.good("ADD", "a", &config)?;
            let followed = runtime.kill_at(step, command, "a", asked)?;
            let way = ["DEL", "ADD", "GC"][turn % 3];
            let after = format!("{command} killed at {step}, {:?}, {way}", followed.steps.last());
            if !followed.is_killed {
                assert!(followed.is_good && step > 10, "{after}: {followed:?}");
                runtime.assert_nothing_left(&after);
                break;
            }
            mend_whole(&runtime, way, &config).map_err(|error| format!("{after}: {error}"))?;
            runtime.assert_nothing_left(&after);
        }
    }
    Ok(())
}

fn kills_at_any_moment() -> Outcome {
    let runtime = Runtime::build()?;
    let config = runtime.config("1.0.0");
    let mut finished = 0;
    for round in 0..60u64 {
        let mut child = runtime.spawn("ADD", "a", &config)?;
        thread::sleep(Duration::from_micros(round * 500));
        child.kill()?;
        finished += u32::from(finish(child)?.is_good);
        let way = ["DEL", "ADD", "GC"][usize::try_from(round % 3)?];
        mend_whole(&runtime, way, &config)?;
        runtime.assert_nothing_left(&format!("a kill after {round} half milliseconds, {way}"));
    }
    assert!(finished < 60, "no ADD was killed");
    Ok(())
}

fn at_once() -> Outcome {
    let runtime = Runtime::build()?;
    let config = runtime.config("1.0.0");
    let (a, b) = (runtime.spawn("ADD", "a", &config)?, runtime.spawn("ADD", "b", &config)?);
    let (a, b) = (finish(a)?, finish(b)?);
    assert!(a.is_good && b.is_good, "{a:?} {b:?}");
    assert_ne!(a.document["ips"], b.document["ips"]);
    assert_eq!((runtime.wires().len(), runtime.leases().len()), (2, 4));
    runtime.good("DEL", "a", &config)?;
    let twins = [runtime.spawn("ADD", "a", &config)?, runtime.spawn("ADD", "a", &config)?];
    let replies: Vec<_> = twins.into_iter().map(finish).collect::<Result<_, _>>()?;
    assert_eq!(replies.iter().filter(|reply| reply.is_good).count(), 1, "{replies:?}");
    assert_eq!((runtime.wires().len(), runtime.leases().len()), (2, 4));
    let two = [runtime.spawn("DEL", "a", &config)?, runtime.spawn("DEL", "b", &config)?];
    assert!(two.into_iter().map(finish).all(|reply| reply.is_ok_and(|reply| reply.is_good)));
    runtime.assert_nothing_left("two at once");
    Ok(())
}

fn gc_and_status() -> Outcome {
    let mut runtime = Runtime::build()?;
    let mut config = runtime.config("1.1.0");
    let mut other = config.clone();
    other["name"] = json!("others");
    runtime.add_pod("c")?;
    for pod in ["a", "b"] {
        runtime.good("ADD", pod, &config)?;
    }
    runtime.good("ADD", "c", &other)?;
    let refused = runtime.call("GC", "a", &config)?;
    assert!(refused.document["msg"].to_string().contains("valid-attachments"), "{refused:?}");
    assert_eq!(runtime.wires().len(), 3);
    config["cni.dev/valid-attachments"] = json!([{"containerID": "c-a", "ifname": "eth0"}]);
    runtime.good("GC", "a", &config)?;
    assert_eq!((runtime.wires().len(), runtime.leases().len()), (2, 2), "b alone was to go");
    assert_eq!(runtime.agent().ports(), 2);
    // A record that was lost does not hide an interface.
    for record in runtime.records() {
        fs::remove_file(record)?;
    }
    config["cni.dev/valid-attachments"] = json!([]);
    runtime.good("GC", "a", &config)?;
    assert_eq!((runtime.wires().len(), runtime.leases().len()), (1, 0), "a alone was to go");
    runtime.good("DEL", "c", &other)?;

    runtime.good("STATUS", "a", &config)?;
    let status = |runtime: &Runtime, config: &Value| -> Result<Value, Box<dyn std::error::Error>> {
        Ok(runtime.call("STATUS", "a", config)?.document["code"].clone())
    };
    runtime.agent().be(Mood::Refusing("ready"));
    assert_eq!(status(&runtime, &config)?, 50);
    runtime.agent().be(Mood::Willing);
    let mut missing = config.clone();
    missing["ipam"]["type"] = json!("not-there");
    assert_eq!(status(&runtime, &missing)?, 50);
    // An IPAM plugin of 1.1.0 is asked, too.
    let newer = "case $CNI_COMMAND in
        VERSION) echo '{\"cniVersion\":\"1.0.0\",\"supportedVersions\":[\"1.0.0\",\"1.1.0\"]}';;
        STATUS) echo '{\"code\":50,\"msg\":\"no address is left\"}'; exit 1;;
        esac";
    runtime.plant("newer", newer)?;
    config["ipam"]["type"] = json!("newer");
    let reply = runtime.call("STATUS", "a", &config)?;
    assert_eq!(reply.document["msg"], "no address is left", "{reply:?}");
    runtime.agent = None;
    assert_eq!(status(&runtime, &config)?, 51);
    config["cniVersion"] = json!("1.0.0");
    assert_eq!(status(&runtime, &config)?, 1);
    Ok(())
}

fn a_list() -> Outcome {
    let runtime = Runtime::build()?;
    let network = Network {
        name: "pods".to_owned(),
        socket: runtime.directory().join("cni.sock"),
        mtu: 1500,
        timeout_seconds: 5,
        data_dir: runtime.directory().join("ipam"),
        pod_cidrs: vec!["10.244.0.0/24".parse()?],
    };
    let list = network.document();
    // portmap 1.1.1's own CHECK asks for rules of both families, whichever the pod has, and fails.
    let mut ours = list.clone();
    ours["plugins"].as_array_mut().unwrap().truncate(1);
    let ports =
        json!({"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]});
    let made = runtime.list("ADD", "a", &list, &ports, None)?;
    let rules = || {
        let output = run(&mut {
            let mut command = runtime.node.command("iptables");
            command.args(["-t", "nat", "-S"]);
            command
        });
        output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let address = made["ips"][0]["address"].as_str().unwrap().trim_end_matches("/32").to_owned();
    assert!(rules()?.contains(&format!("--to-destination {address}:80")), "{}", rules()?);
    assert!(!rules()?.contains("-s 10.244.0.0/24"), "pods would be masqueraded: {}", rules()?);
    runtime.list("CHECK", "a", &ours, &ports, Some(&made))?;
    runtime.list("DEL", "a", &list, &ports, Some(&made))?;
    assert!(!rules()?.contains("--to-destination"), "{}", rules()?);
    runtime.assert_nothing_left("a list");
    Ok(())
}

fn broken() -> Outcome {
    let runtime = Runtime::build()?;
    let whole = runtime.config("1.0.0");
    let with = |key: &str, value: Value| {
        let mut config = whole.clone();
        config[key] = value;
        config
    };
    for (config, code, said) in [
        (json!("garbage"), 6, "no JSON object"),
        (json!([]), 6, "no JSON object"),
        (json!({}), 1, "has no cniVersion"),
        (with("cniVersion", json!("0.2.0")), 1, "\"0.2.0\""),
        (with("cniVersion", json!("7.0.0")), 1, "\"7.0.0\""),
        (with("name", json!("")), 7, "name"),
        (with("mtu", json!(9001)), 7, "mtu"),
        (with("mut", json!(1500)), 2, "mut"),
        (with("timeoutSeconds", json!(-1)), 7, "timeoutSeconds"),
        (with("socket", json!("cni.sock")), 7, "socket"),
        (with("ipam", json!({"type": "no-such-plugin"})), 7, "no-such-plugin"),
        (with("ipam", json!({"type": "host-local"})), 999, ""),
        (with("prevResult", json!({"ips": []})), 7, "prevResult"),
    ] {
        let reply = runtime.call("ADD", "a", &config)?;
        assert_eq!(
            (reply.is_good, &reply.document["code"]),
            (false, &json!(code)),
            "{config} {reply:?}"
        );
        let told = format!("{}{}", reply.document["msg"], reply.document["details"]);
        assert!(told.replace('\\', "").contains(said), "{config}: {reply:?}");
        assert!(reply.document["cniVersion"].is_string(), "{reply:?}");
        // Of a configuration that the IPAM plugin refuses at DEL, too, the record stays.
        runtime.good("DEL", "a", &whole)?;
        runtime.assert_nothing_left(&config.to_string());
    }
    Ok(())
}

fn disks() -> Outcome {
    let runtime = Runtime::build()?;
    let disk = Disk::mount(runtime.directory().join("disk"), "64k")?;
    let places = Places {
        program: runtime.directory().join("program"),
        bin_dir: disk.path().join("bin"),
        conf_dir: disk.path().join("net.d"),
        number: 10,
    };
    fs::create_dir_all(&places.bin_dir)?;
    fs::create_dir_all(&places.conf_dir)?;
    let network = |mtu| Network {
        name: "pods".to_owned(),
        socket: "/run/lockgate/cni.sock".into(),
        mtu,
        timeout_seconds: 30,
        data_dir: "/run/lockgate/ipam".into(),
        pod_cidrs: vec![],
    };
    fs::write(&places.program, "small")?;
    places.install(&network(1500))?;
    let config = fs::read(places.config())?;
    fs::write(&places.program, vec![b'x'; 100_000])?;
    let full = places.install(&network(1400)).unwrap_err().to_string();
    assert!(full.contains("make room in"), "{full}");
    fs::write(&places.program, "small")?;
    let left: Vec<_> = fs::read_dir(&places.bin_dir)?.collect();
    assert_eq!(left.len(), 1, "half a program is left: {left:?}");
    disk.set("ro")?;
    let closed = places.install(&network(1400)).unwrap_err().to_string();
    assert!(closed.contains("mount") && closed.contains("writable"), "{closed}");
    assert_eq!(fs::read(places.config())?, config, "the old one is not there any more");
    assert_eq!(fs::read_to_string(places.bin_dir.join("lockgate-cni"))?, "small");
    Ok(())
}

/// Of the directory of records, which is written before all else, and of the IPAM plugin's.
fn no_room() -> Outcome {
    let runtime = Runtime::build()?;
    let config = runtime.config("1.0.0");
    let disk = Disk::mount(runtime.directory().join("cni.sock.d"), "8k")?;
    runtime.good("ADD", "b", &config)?;
    disk.fill()?;
    let refused = |pod: &str, command: &str, words: [&str; 2]| -> Outcome {
        let reply = runtime.call(command, pod, &config)?;
        assert_eq!((reply.is_good, &reply.document["code"]), (false, &json!(5)), "{reply:?}");
        let told = format!("{}{}", reply.document["msg"], reply.document["details"]);
        assert!(words.iter().all(|word| told.contains(word)), "{told}");
        assert!(told.contains("cni.sock.d/lg"), "the file is not named: {told}");
        assert_eq!((runtime.wires().len(), runtime.leases().len()), (1, 2), "{command} {pod}");
        Ok(())
    };
    refused("a", "ADD", ["No space left", "make room"])?;
    // What is there can be let go where nothing can be written.
    runtime.good("DEL", "b", &config)?;
    runtime.good("DEL", "a", &config)?;
    runtime.assert_nothing_left("a full disk");
    disk.empty()?;
    runtime.good("ADD", "b", &config)?;
    disk.set("ro")?;
    refused("a", "ADD", ["Read-only", "mount it writable"])?;
    refused("b", "DEL", ["Read-only", "mount it writable"])?;
    disk.set("rw")?;
    runtime.good("ADD", "a", &config)?;
    runtime.good("DEL", "a", &config)?;
    runtime.good("DEL", "b", &config)?;
    runtime.assert_nothing_left("a read-only disk");
    drop(disk);
    no_room_for_addresses(&runtime, &config)
}

/// The IPAM plugin's own message and code are given on, and nothing of the pod is left.
fn no_room_for_addresses(runtime: &Runtime, config: &Value) -> Outcome {
    let disk = Disk::mount(runtime.directory().join("ipam"), "32k")?;
    for (harm, said) in [("full", "no space left"), ("ro", "read-only file system")] {
        runtime.good("ADD", "b", config)?;
        let harmed = if harm == "full" { disk.fill() } else { disk.set("ro") };
        harmed?;
        let reply = runtime.call("ADD", "a", config)?;
        assert!(!reply.is_good && reply.document["msg"].to_string().contains(said), "{reply:?}");
        assert_eq!((runtime.wires().len(), runtime.leases().len()), (1, 2), "{harm}: {reply:?}");
        assert!(!runtime.pod("a").has_interface("eth0"), "{harm}");
        let mended = if harm == "full" { disk.empty() } else { disk.set("rw") };
        mended?;
        runtime.good("ADD", "a", config)?;
        runtime.good("DEL", "a", config)?;
        runtime.good("DEL", "b", config)?;
        runtime.assert_nothing_left(harm);
    }
    Ok(())
}

fn no_input() -> Outcome {
    let runtime = Runtime::build()?;
    let long = " ".repeat(2 << 20);
    for (input, said) in [
        ("", "there is no network configuration"),
        ("\n \n", "there is no network configuration"),
        ("\u{0}\u{1}garbage", "is not JSON"),
        ("{\"cniVersion\": \"1.0.0\"", "is not JSON"),
        (long.as_str(), "more than"),
    ] {
        for command in ["ADD", "DEL", "CHECK", "GC", "STATUS"] {
            let reply = finish(runtime.spawn_with(command, "a", input)?)?;
            assert_eq!((reply.is_good, &reply.document["code"]), (false, &json!(6)), "{reply:?}");
            assert!(reply.document["msg"].to_string().contains(said), "{command}: {reply:?}");
            assert!(!reply.document["details"].to_string().is_empty(), "{reply:?}");
        }
        runtime.assert_nothing_left("no configuration");
    }
    Ok(())
}
