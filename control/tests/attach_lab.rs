//! Interfaces against the real kernel, in namespaces of our own. Needs root, and fails without.
//!
//! Each test takes a thread with its own current-thread runtime into a fresh namespace: netlink
//! sockets are of the namespace of the thread that opens them.

#![allow(clippy::unwrap_used)] // a test says no more than where it failed

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::Command;

use lockgate_control::attach::{
    ALIAS, AnchorSet, AttachError, Attacher, HostPortPlan, InterfaceName, Link, LinkEvents,
};
use lockgate_dataplane::ids::Mac;

/// Two namespaces, removed by name at the end, the switch's and a pod's; and a place for pins.
struct Lab {
    switch: String,
    pod: String,
    bpffs: PathBuf,
}

fn run(line: &str) -> String {
    let mut words = line.split(' ');
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`{line}` (these tests need root): {error}");
    String::from_utf8(output.stdout).unwrap()
}

impl Lab {
    fn new(test: &str) -> Self {
        let name = |end: &str| format!("lgatt{test}{end}{}", std::process::id());
        let mounted = std::fs::read_to_string("/proc/mounts").unwrap();
        if !mounted.contains(" /sys/fs/bpf bpf ") {
            run("mount -t bpf bpf /sys/fs/bpf");
        }
        let bpffs = Path::new("/sys/fs/bpf").join(name(""));
        let lab = Self { switch: name("s"), pod: name("p"), bpffs };
        for namespace in [&lab.switch, &lab.pod] {
            run(&format!("ip netns add {namespace}"));
        }
        lab
    }

    /// Runs `ip` in the switch's namespace.
    fn ip(&self, line: &str) -> String {
        run(&format!("ip -n {} {line}", self.switch))
    }

    /// A pod's veth, its far end in the pod's namespace.
    fn veth(&self, name: &str, more: &str) {
        let pod = &self.pod;
        self.ip(&format!("link add {name} {more}type veth peer name eth-{name} netns {pod}"));
    }

    /// Runs a test in the switch's namespace.
    fn within<F: Future<Output = ()>>(&self, test: impl FnOnce(Attacher, LinkEvents) -> F + Send) {
        let namespace = std::fs::File::open(format!("/run/netns/{}", self.switch)).unwrap();
        std::thread::scope(|scope| {
            let tested = scope.spawn(|| {
                nix::sched::setns(&namespace, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.unwrap().block_on(async {
                    let (attacher, events) = Attacher::open(&self.bpffs).unwrap();
                    test(attacher, events).await;
                });
            });
            if let Err(panic) = tested.join() {
                std::panic::resume_unwind(panic);
            }
        });
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for namespace in [&self.switch, &self.pod] {
            let _ = Command::new("ip").args(["netns", "del", namespace]).status();
        }
        let _ = Command::new("rm").arg("-rf").arg(&self.bpffs).status();
    }
}

fn name(text: &str) -> InterfaceName {
    InterfaceName::new(text).unwrap()
}

fn mac(text: &str) -> Mac {
    let bytes: Vec<u8> = text.split(':').map(|b| u8::from_str_radix(b, 16).unwrap()).collect();
    Mac(bytes.try_into().unwrap())
}

/// The value of a key of `ip -o link`'s words, such as `mtu`.
fn word_after(text: &str, key: &str) -> String {
    let mut words = text.split_whitespace().skip_while(|word| *word != key);
    words.nth(1).unwrap_or_default().to_owned()
}

fn sysctl(lab: &Lab, key: &str) -> String {
    let line = format!("ip netns exec {} cat /proc/sys/net/{key}", lab.switch);
    run(&line).trim().to_owned()
}

/// The interface of a name, as it is now.
async fn link(attacher: &Attacher, text: &str) -> Link {
    attacher.links().await.unwrap().into_iter().find(|link| link.name == text).unwrap()
}

async fn close(attacher: &Attacher, text: &str) -> Result<(), AttachError> {
    attacher.close(&name(text), &link(attacher, text).await).await
}

fn is_up(shown: &str) -> bool {
    shown.contains(",UP") || shown.contains("<UP")
}

#[test]
fn a_pods_interface_is_closed_and_its_mac_comes_from_the_far_end() {
    let lab = Lab::new("inert");
    lab.veth("lgv", "");
    lab.ip("addr add 192.0.2.9/24 dev lgv");
    lab.ip("link set lgv up");
    lab.ip("route add 198.51.100.1/32 dev lgv");
    let far = run(&format!("ip -n {} -o link show eth-lgv", lab.pod));
    let own = lab.ip("-o link show lgv");
    lab.within(|attacher, _| async move {
        close(&attacher, "lgv").await.unwrap();
        let link = link(&attacher, "lgv").await;
        assert!(!link.is_up && link.program.is_some(), "{link:?}");
        let probed = attacher.check(&name("lgv"), &link, 1, None).await.unwrap();
        assert_eq!(probed.mac, mac(&word_after(&far, "link/ether")));
        assert_ne!(probed.mac, mac(&word_after(&own, "link/ether")));
        assert_eq!(probed.mtu, 1500);
        let said = attacher.check(&name("lgv"), &link, 1, Some(Mac([2; 6]))).await.unwrap();
        assert_eq!(said.mac, Mac([2; 6]), "what the operator says wins");
        attacher.set_up(&link, true).await.unwrap();
    });
    let shown = lab.ip("-d addr show lgv");
    assert!(is_up(&shown) && shown.contains("prog/xdp"), "{shown}");
    assert!(!shown.contains("inet"), "no address is left: {shown}");
    assert_eq!(lab.ip("route show dev lgv"), "", "a route past the switch is left");
    for (key, value) in [
        ("ipv6/conf/lgv/disable_ipv6", "1"),
        ("ipv6/conf/lgv/forwarding", "0"),
        ("ipv6/conf/lgv/accept_ra", "0"),
        ("ipv4/conf/lgv/forwarding", "0"),
        ("ipv4/conf/lgv/accept_redirects", "0"),
        ("ipv4/conf/lgv/arp_ignore", "8"),
    ] {
        assert_eq!(sysctl(&lab, key), value, "{key}");
    }
    // After a restart it is not set down again: it has dropped all the time.
    lab.within(|attacher, _| async move {
        let before = link(&attacher, "lgv").await;
        close(&attacher, "lgv").await.unwrap();
        assert_eq!(link(&attacher, "lgv").await, before);
    });
}

#[test]
fn what_cannot_have_a_port_is_refused_with_the_command_that_mends_it() {
    let lab = Lab::new("refuse");
    lab.veth("lgq", "numrxqueues 3 numtxqueues 3 ");
    lab.veth("lgm", "mtu 65535 ");
    lab.ip("link add lgbr type bridge");
    lab.ip("link set lgbr up");
    for veth in ["lgq", "lgm"] {
        lab.ip(&format!("link set {veth} up"));
    }
    lab.within(|attacher, _| async move {
        let refused = async |text: &str| {
            let link = link(&attacher, text).await;
            let error = match attacher.close(&name(text), &link).await {
                Ok(()) => attacher.check(&name(text), &link, 1, None).await.unwrap_err(),
                Err(error) => error,
            };
            format!("{error}: {}", error.remedy())
        };
        let queues = refused("lgq").await;
        assert!(queues.contains("lgq has 3 receive queues; the switch captures 1"), "{queues}");
        assert!(queues.contains("`ethtool -L lgq rx 1 tx 1`"), "{queues}");
        let mtu = refused("lgm").await;
        assert!(mtu.contains("lgm has MTU 65535; the switch takes at most 3826"), "{mtu}");
        assert!(mtu.contains("`ip link set dev lgm mtu 3826`"), "{mtu}");
        assert!(refused("lgbr").await.contains("lgbr is not one end of a veth pair"));
    });
    for (interface, closed) in [("lgq", true), ("lgm", true), ("lgbr", false)] {
        let shown = lab.ip(&format!("-d link show {interface}"));
        assert_eq!((is_up(&shown), shown.contains("prog/xdp")), (!closed, closed), "{shown}");
    }
}

#[test]
fn an_interface_that_takes_no_program_is_set_down() {
    let lab = Lab::new("noprog");
    lab.veth("lgv", "");
    run(&format!("ip netns exec {} ethtool -L eth-lgv tx 2", lab.pod));
    lab.ip("link set lgv up");
    lab.within(|attacher, _| async move {
        let error = close(&attacher, "lgv").await.unwrap_err().to_string();
        assert!(error.starts_with("interface lgv is set down: "), "{error}");
        assert!(error.contains("ethtool -L"), "{error}");
    });
    let shown = lab.ip("-d link show lgv");
    assert!(!is_up(&shown) && !shown.contains("prog/xdp"), "{shown}");
}

#[test]
fn a_pin_of_another_namespaces_interface_is_left_alone() {
    let (lab, other) = (Lab::new("foreign"), Lab::new("other"));
    for lab in [&lab, &other] {
        lab.ip("link add lgv index 77 type veth peer name lgvp");
        lab.ip("link set lgv up");
    }
    let bpffs = &lab.bpffs;
    lab.within(|attacher, _| async move { close(&attacher, "lgv").await.unwrap() });
    lab.ip("link set lgv up");
    let before = lab.ip("-d link show lgv");
    // The other switch was given the same directory.
    other.within(|_, _| async move {
        let (attacher, _events) = Attacher::open(bpffs).unwrap();
        let error = close(&attacher, "lgv").await.unwrap_err();
        assert!(error.to_string().contains("in another network namespace"), "{error}");
        assert!(error.remedy().contains("setting bpffs"), "{}", error.remedy());
        let error = attacher.release().await.unwrap_err();
        assert!(matches!(error, AttachError::Foreign(_)), "{error}");
        attacher.sweep().unwrap();
    });
    assert!(!is_up(&other.ip("link show lgv")), "what cannot be held is down");
    assert_eq!(lab.ip("-d link show lgv"), before);
}

#[test]
fn what_is_pinned_is_given_back_down_and_pins_of_what_is_gone_are_removed() {
    let lab = Lab::new("release");
    for veth in ["lga", "lgb", "lgc"] {
        lab.veth(veth, "");
    }
    let pins = || std::fs::read_dir(&lab.bpffs).unwrap().count();
    lab.within(|attacher, _| {
        let (lab, pins) = (&lab, &pins);
        async move {
            for veth in ["lga", "lgb", "lgc"] {
                close(&attacher, veth).await.unwrap();
                let link = link(&attacher, veth).await;
                attacher.set_up(&link, true).await.unwrap();
            }
            lab.ip("link del lga");
            attacher.sweep().unwrap();
            assert_eq!(pins(), 2);
            lab.ip("link del lgb");
            lab.ip("link set lgc name lgd");
            attacher.release().await.unwrap();
        }
    });
    assert_eq!(pins(), 0);
    let shown = lab.ip("-d link show lgd");
    assert!(!is_up(&shown) && !shown.contains("prog/xdp"), "{shown}");
}

#[test]
fn anchors_are_made_inert_and_up_replaced_after_a_kill_and_removed_at_the_end() {
    let lab = Lab::new("anchor");
    lab.within(|mut attacher, _| async move {
        let made = attacher.make_anchors(AnchorSet::default(), 2).await.unwrap();
        assert_eq!(made, [name("lockgate-w0"), name("lockgate-w1")]);
        let own = close(&attacher, "lockgate-w0").await;
        assert!(matches!(own, Err(AttachError::Own(_))), "{own:?}");
    });
    // The first attacher was dropped without a word, as by a kill.
    assert!(lab.ip("link show lockgate-w1").contains(&format!("alias {ALIAS}")));
    assert!(lab.ip("-o link show up").contains("lockgate-w0p"));
    assert_eq!(sysctl(&lab, "ipv6/conf/lockgate-w0p/disable_ipv6"), "1");
    lab.within(|mut attacher, _| async move {
        attacher.make_anchors(AnchorSet::default(), 1).await.unwrap();
        attacher.remove_made().await.unwrap();
    });
    let left = lab.ip("-o link show");
    assert!(!left.contains("lockgate-w"), "those of a predecessor with more workers too: {left}");
}

#[test]
fn an_anchors_name_that_is_taken_by_something_else_is_not_removed() {
    let lab = Lab::new("taken");
    lab.ip("link add lockgate-w0 type bridge");
    lab.within(|mut attacher, _| async move {
        let error = attacher.make_anchors(AnchorSet::default(), 1).await.unwrap_err();
        assert!(error.remedy().contains("`ip link del lockgate-w0`"), "{error}");
    });
    lab.ip("link show lockgate-w0");
}

fn plan(lab: &Lab, netns: bool) -> HostPortPlan {
    HostPortPlan {
        interface: name("lgh0"),
        peer: name("lgh1"),
        netns: netns.then(|| lab.pod.clone()),
        mtu: 3498,
    }
}

#[test]
fn the_host_port_is_made_with_a_queue_for_each_worker_and_its_far_end_up() {
    let lab = Lab::new("host");
    for netns in [true, false] {
        let far = if netns { &lab.pod } else { &lab.switch };
        let plan = plan(&lab, netns);
        lab.within(|mut attacher, _| async move {
            let probed = attacher.host_port(&plan, 2).await.unwrap();
            assert_eq!(probed.mtu, 3498);
            let shown = run(&format!("ip -n {far} -o link show lgh1"));
            assert_eq!(probed.mac, mac(&word_after(&shown, "link/ether")));
            assert!(shown.contains(",UP"), "{shown}");
            assert_eq!(word_after(&shown, "mtu"), "3498");
            assert!(attacher.has_made(&plan.interface));
            attacher.remove_made().await.unwrap();
        });
        assert!(!lab.ip("-o link show").contains("lgh0"));
    }
}

#[test]
fn a_predecessors_host_port_is_taken_over_with_the_addresses_of_its_far_end() {
    let lab = Lab::new("over");
    let (first, second, third) = (plan(&lab, true), plan(&lab, true), plan(&lab, true));
    lab.within(|mut attacher, _| async move {
        attacher.host_port(&first, 1).await.unwrap();
    });
    run(&format!("ip -n {} addr add 192.0.2.1/32 dev lgh1", lab.pod));
    let index = word_of_index(&lab.ip("-o link show lgh0"));
    let before = index.clone();
    lab.within(|mut attacher, _| async move {
        let probed = attacher.host_port(&second, 1).await.unwrap();
        assert_eq!(probed.ifindex.to_string(), before, "it is the same interface");
        assert!(attacher.has_made(&second.interface));
    });
    assert!(run(&format!("ip -n {} addr show lgh1", lab.pod)).contains("192.0.2.1"));
    lab.within(|mut attacher, _| async move {
        let probed = attacher.host_port(&third, 2).await.unwrap();
        assert_ne!(probed.ifindex.to_string(), index, "other queues: it is made anew");
    });
}

fn word_of_index(shown: &str) -> String {
    shown.split(':').next().unwrap_or_default().trim().to_owned()
}

#[test]
fn a_host_port_whose_far_ends_name_is_taken_says_which_setting() {
    let lab = Lab::new("peer");
    let plan = plan(&lab, false);
    lab.ip(&format!("link add {} type veth peer name lgother", plan.peer));
    lab.within(|mut attacher, _| async move {
        let error = attacher.host_port(&plan, 1).await.unwrap_err();
        let expected = "the host port cannot be made: there is an interface lgh1 already";
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.remedy(), "set another name for it, host_port.peer, or remove lgh1");
    });
}

#[test]
fn a_host_port_that_was_found_is_used_and_not_removed() {
    let lab = Lab::new("found");
    lab.ip(&format!("link add lgh0 numrxqueues 2 type veth peer name lgh1 netns {}", lab.pod));
    let plan = plan(&lab, true);
    lab.within(|mut attacher, _| async move {
        let before = link(&attacher, "lgh0").await;
        let error = attacher.host_port(&plan, 3).await.unwrap_err().to_string();
        assert_eq!(error, "interface lgh0 has 2 receive queues; the switch captures 3");
        assert_eq!(
            link(&attacher, "lgh0").await,
            before,
            "what is refused at start is not touched"
        );
        attacher.host_port(&plan, 2).await.unwrap();
        let link = link(&attacher, "lgh0").await;
        assert!(link.is_up && link.program.is_some(), "it drops until it has its sockets");
        assert!(!attacher.has_made(&plan.interface));
        attacher.remove_made().await.unwrap();
    });
    lab.ip("link show lgh0");
}

#[test]
fn a_host_ports_name_that_is_somebody_elses_is_told_and_not_touched() {
    let lab = Lab::new("other");
    lab.ip("link add lgh0 numrxqueues 1 type veth peer name elsewhere");
    let plan = plan(&lab, true);
    lab.within(|mut attacher, _| async move {
        let before = link(&attacher, "lgh0").await;
        let error = attacher.host_port(&plan, 1).await.unwrap_err();
        assert!(error.to_string().starts_with("lgh0 is there, and lgh1 in network"), "{error}");
        assert!(error.remedy().contains("`ip link del lgh0`"), "{error}");
        assert_eq!(link(&attacher, "lgh0").await, before);
    });
}

#[test]
fn a_namespace_that_is_not_there_is_named_with_the_setting() {
    let lab = Lab::new("netns");
    let mut plan = plan(&lab, true);
    plan.netns = Some("lgnowhere".to_owned());
    lab.within(|mut attacher, _| async move {
        let error = attacher.host_port(&plan, 1).await.unwrap_err();
        assert!(error.to_string().starts_with("network namespace lgnowhere: No such file"));
        assert!(error.remedy().contains("host_port.netns"));
    });
}

#[test]
fn a_link_that_comes_or_goes_is_an_event() {
    let lab = Lab::new("event");
    lab.within(|_, mut events| {
        let lab = &lab;
        async move {
            lab.veth("lgv", "");
            let index = word_of_index(&lab.ip("-o link show lgv")).parse::<u32>().unwrap();
            assert!(await_event(&mut events, index).await);
            lab.ip("link del lgv");
            assert!(await_event(&mut events, index).await);
            lab.ip("link show lo");
            assert!(!await_event(&mut events, index).await, "nothing happens: no event");
        }
    });
}

/// Whether an event of this interface comes within a second.
async fn await_event(events: &mut LinkEvents, index: u32) -> bool {
    let within = tokio::time::Duration::from_secs(1);
    let seen = async { while !events.changed().await.contains(&index) {} };
    tokio::time::timeout(within, seen).await.is_ok()
}
