//! The port on real AF_XDP sockets: needs root, and fails without.

#![allow(clippy::disallowed_methods, clippy::disallowed_macros)] // a test, not hot code

#[path = "port_lab/lab.rs"]
mod lab;

use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{env, fs, io, thread};

use lab::{A, ANCHOR, B, HOST_A, Lab, POD_A, POD_B};
use lab::{add_wire, eventually, ifindex, received, run, send, settle};
use lockgate_dataplane::frame::{Batch, FramePool, Memory};
use lockgate_dataplane::ids::PortSlot;
use lockgate_dataplane::limits::MTU_MAX;
use lockgate_dataplane::port::pin::Pin;
use lockgate_dataplane::port::program::{Program, ProgramError};
use lockgate_dataplane::port::xsk::{WorkerMemory, XskPort};
use lockgate_dataplane::port::{CREDIT_MAX, Port, PortError, RING_FRAMES, SocketHandle};

const FRAMES: u32 = 4096;

/// A worker in small: its memory, and the ports it has.
struct Worker {
    memory: WorkerMemory,
    pool: FramePool,
}

/// One port, all of it.
struct Bound {
    port: XskPort,
    handle: SocketHandle,
    program: Program,
}

impl Worker {
    fn new() -> Self {
        let (memory, pool) = WorkerMemory::new(ANCHOR, FRAMES).expect("memory");
        Self { memory, pool }
    }

    fn bind(&mut self, lab: &Lab, interface: &str, slot: u16) -> Bound {
        let mut program = attach(lab, interface).expect("program");
        let (mut port, handle) =
            XskPort::bind(&self.memory, interface, 0, PortSlot(slot)).expect("socket");
        port.set_credit(1024);
        program.set_socket(0, &handle).expect("socket in the map");
        while port.fill(&mut self.pool) > 0 {}
        Bound { port, handle, program }
    }

    /// Carries what came in at one port to the other, addressed to that port's pod: how many.
    fn carry(&mut self, from: &mut Bound, to: &mut Bound, pod: u8) -> usize {
        let mut batch = Batch::new();
        to.port.reclaim(&mut self.pool);
        from.port.fill(&mut self.pool);
        let count = from.port.receive(&mut self.pool, &mut batch);
        for mut frame in batch.drain() {
            let packet = self.memory.bytes_mut(&mut frame);
            readdress(packet, pod);
            if let Err(frame) = to.port.send(&mut self.pool, frame) {
                self.pool.put(frame);
            }
        }
        to.port.flush();
        let census = self.pool.census();
        assert_eq!((census.total(), census.hand), (FRAMES, 0), "{census:?}");
        count
    }

    fn remove(&mut self, bound: Bound) {
        let mut closed = bound.handle.close(bound.port);
        while !self.pool.is_home(&closed) {
            self.pool.bring_home(&mut closed);
        }
        bound.program.detach().expect("detached");
    }
}

/// What a router does to the MACs; and no UDP checksum, for the pod left it unfinished.
fn readdress(packet: &mut [u8], pod: u8) {
    packet[..12].copy_from_slice(&[2, 0, 0, 0, pod, 2, 2, 0, 0, 0, pod, 1]);
    if packet[12..14] == [8, 0] && packet[23] == 17 {
        packet[40..42].fill(0);
    }
}

fn attach(lab: &Lab, interface: &str) -> Result<Program, ProgramError> {
    Program::attach(interface, ifindex(interface), 1, &lab.pin_dir)
}

/// Where the pins of an interface are.
fn pins(lab: &Lab, interface: &str) -> PathBuf {
    lab.pin_dir.join(ifindex(interface).to_string())
}

fn message(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

#[test]
fn udp_passes_between_two_pods_both_ways() {
    let lab = Lab::new();
    let mut worker = Worker::new();
    let (mut a, mut b) = (worker.bind(&lab, A, 0), worker.bind(&lab, B, 1));
    let (pod_a, pod_b) = (lab.pod_socket(0), lab.pod_socket(1));

    send(&pod_a, POD_B, b"there");
    eventually("packet at b", || {
        worker.carry(&mut a, &mut b, 2);
        received(&pod_b) == [b"there"]
    });
    send(&pod_b, POD_A, b"and back");
    eventually("packet at a", || {
        worker.carry(&mut b, &mut a, 1);
        received(&pod_a) == [b"and back"]
    });
}

#[test]
fn the_longest_packet_that_fits_a_frame_passes_and_a_longer_one_is_refused() {
    let lab = Lab::new();
    let mtu = u32::try_from(MTU_MAX).expect("small");
    lab.set_mtu(0, A, mtu);
    lab.set_mtu(1, B, mtu);
    let mut worker = Worker::new();
    let (mut a, mut b) = (worker.bind(&lab, A, 0), worker.bind(&lab, B, 1));
    let (pod_a, pod_b) = (lab.pod_socket(0), lab.pod_socket(1));

    let payload: Vec<u8> = (0..=250).cycle().take(MTU_MAX - 28).collect();
    send(&pod_a, POD_B, &payload);
    eventually("packet at b", || {
        worker.carry(&mut a, &mut b, 2);
        received(&pod_b) == [payload.clone()]
    });
}

#[test]
fn rings_wrap_without_losing_a_packet() {
    let lab = Lab::new();
    let mut worker = Worker::new();
    let (mut a, mut b) = (worker.bind(&lab, A, 0), worker.bind(&lab, B, 1));
    let (pod_a, pod_b) = (lab.pod_socket(0), lab.pod_socket(1));
    let packets = RING_FRAMES * 3 + 77;

    let (mut sent, mut carried, mut seen) = (0, 0, Vec::new());
    while sent < packets {
        let round = 50.min(packets - sent);
        (0..round).for_each(|n| send(&pod_a, POD_B, &(sent + n).to_be_bytes()));
        sent += round;
        eventually("the round at b", || {
            carried += worker.carry(&mut a, &mut b, 2);
            seen.extend(received(&pod_b));
            seen.len() == sent as usize
        });
    }
    let numbers: Vec<Vec<u8>> = (0..packets).map(|n| n.to_be_bytes().to_vec()).collect();
    assert!(seen == numbers, "every packet, in order");
    assert_eq!(carried, packets as usize);
    let statistics = a.handle.statistics().expect("statistics");
    assert_eq!(statistics.rx_dropped + statistics.rx_ring_full, 0, "{statistics:?}");
}

#[test]
fn the_kernel_counts_what_a_port_had_no_frames_for() {
    let lab = Lab::new();
    let mut worker = Worker::new();
    let mut program = attach(&lab, A).expect("program");
    let (mut port, handle) = XskPort::bind(&worker.memory, A, 0, PortSlot(0)).expect("socket");
    program.set_socket(0, &handle).expect("socket in the map");
    let pod = lab.pod_socket(0);
    let before = handle.statistics().expect("statistics");

    (0..3).for_each(|_| send(&pod, POD_B, b"x"));
    eventually("drops counted", || {
        let now = handle.statistics().expect("statistics");
        now.rx_fill_ring_empty_descs + now.rx_dropped
            >= before.rx_fill_ring_empty_descs + before.rx_dropped + 3
    });
    assert_eq!(port.receive(&mut worker.pool, &mut Batch::new()), 0);
}

#[test]
fn the_port_added_first_can_go_and_others_come() {
    let lab = Lab::new();
    let mut worker = Worker::new();
    let (a, mut b) = (worker.bind(&lab, A, 0), worker.bind(&lab, B, 1));
    assert!(worker.pool.census_of(PortSlot(0)).fill > 0);
    worker.remove(a);
    assert_eq!(worker.pool.census_of(PortSlot(0)).total(), 0);
    run(&format!("ip link delete {A}"));

    lab.add_pod(0, "lgc");
    let mut c = worker.bind(&lab, "lgc", 0);
    let (pod_c, pod_b) = (lab.pod_socket(0), lab.pod_socket(1));
    send(&pod_c, POD_B, b"new");
    eventually("packet at b", || {
        worker.carry(&mut c, &mut b, 2);
        received(&pod_b) == [b"new"]
    });
}

#[test]
fn ports_come_and_go_without_costing_frames() {
    let lab = Lab::new();
    let mut worker = Worker::new();
    for _ in 0..5 {
        let mut a = worker.bind(&lab, A, 0);
        let mut b = worker.bind(&lab, B, 1);
        let pod = lab.pod_socket(0);
        (0..20).for_each(|_| send(&pod, POD_B, b"x"));
        eventually("packets", || worker.carry(&mut a, &mut b, 2) > 0);
        worker.remove(a);
        worker.remove(b);
        let census = worker.pool.census();
        assert_eq!((census.pool, census.total()), (FRAMES, FRAMES), "{census:?}");
    }
}

#[test]
fn a_port_that_is_down_keeps_no_more_than_its_credit_and_recovers() {
    let lab = Lab::new();
    let mut worker = Worker::new();
    let mut b = worker.bind(&lab, B, 1);
    let pod_b = lab.pod_socket(1);
    b.port.set_credit(128);
    run(&format!("ip link set {B} down"));

    let (mut refused, packet) = (0, udp_to_b());
    for _ in 0..300 {
        let mut frame = worker.pool.take().expect("a frame");
        worker.memory.room_mut(&mut frame)[..packet.len()].copy_from_slice(&packet);
        frame.set_length(u16::try_from(packet.len()).expect("short"));
        if let Err(frame) = b.port.send(&mut worker.pool, frame) {
            worker.pool.put(frame);
            refused += 1;
        }
        b.port.flush();
        b.port.reclaim(&mut worker.pool);
    }
    assert_eq!((b.port.in_transmit(), refused), (128, 300 - 128));

    run(&format!("ip link set {B} up"));
    run(&format!("ip neighbour replace {POD_B} lladdr 02:00:00:00:02:02 dev {B}"));
    let mut seen = 0;
    eventually("what was under way", || {
        b.port.flush();
        b.port.reclaim(&mut worker.pool);
        seen += received(&pod_b).len();
        b.port.in_transmit() == 0 && seen == 128
    });
}

/// A whole packet from pod A's address to pod B, with no UDP checksum.
fn udp_to_b() -> Vec<u8> {
    let mut packet = vec![0; 14 + 28];
    packet[12..15].copy_from_slice(&[8, 0, 0x45]);
    packet[17] = 28;
    packet[22..24].copy_from_slice(&[64, 17]);
    packet[26..34].copy_from_slice(&[10, 77, 1, 2, 10, 77, 2, 2]);
    packet[34..39].copy_from_slice(&[0x1b, 0x58, 0x1b, 0x58, 0]);
    packet[39] = 8;
    let sum: u32 = packet[14..34].chunks(2).map(|b| u32::from(b[0]) << 8 | u32::from(b[1])).sum();
    let folded = !((sum & 0xffff) + (sum >> 16));
    packet[24..26].copy_from_slice(&folded.to_be_bytes()[2..]);
    readdress(&mut packet, 2);
    packet
}

/// A process that does not outlive its test, however that ends.
struct Killed(Child);

impl Killed {
    fn kill(mut self) {
        self.0.kill().expect("SIGKILL");
        self.0.wait().expect("its end");
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts this test program once more, to run one of the `child_` tests in the lab.
fn start_child(lab: &Lab, test: &str, wrapper: &[&str]) -> Child {
    let program = env::current_exe().expect("this program");
    Command::new("nsenter")
        .arg(format!("--net=/run/netns/{}", lab.switch))
        .args(wrapper)
        .arg(program)
        .args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"])
        .env("LG_SWITCH", &lab.switch)
        .env("LG_PINS", &lab.pin_dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a child")
}

/// The child's side of a lab; `None` where the test was started by hand.
fn in_child() -> Option<Lab> {
    let switch = env::var("LG_SWITCH").ok()?;
    Some(Lab::of_parent(switch, env::var("LG_PINS").ok()?.into()))
}

#[test]
#[ignore = "started by other tests, as the process to be killed"]
fn child_holds_the_ports() {
    let Some(lab) = in_child() else { return };
    let mut worker = Worker::new();
    let mut a = worker.bind(&lab, A, 0);
    let mut b = worker.bind(&lab, B, 1);
    fs::write(env::temp_dir().join(&lab.switch), "ready").expect("a sign");
    loop {
        worker.carry(&mut a, &mut b, 2);
        worker.carry(&mut b, &mut a, 1);
        thread::sleep(Duration::from_micros(100));
    }
}

/// A switch in a process of its own, forwarding.
fn start_switch(lab: &Lab) -> Killed {
    let sign = env::temp_dir().join(&lab.switch);
    let child = Killed(start_child(lab, "child_holds_the_ports", &[]));
    eventually("the child's ports", || sign.exists());
    fs::remove_file(sign).expect("the sign");
    child
}

#[test]
fn after_a_kill_nothing_passes_until_the_pin_is_removed() {
    let lab = Lab::new();
    let (pod_a, pod_b, host) = (lab.pod_socket(0), lab.pod_socket(1), lab.host_socket());
    let child = start_switch(&lab);
    send(&pod_a, POD_B, b"through the switch");
    eventually("packet at b", || received(&pod_b) == [b"through the switch"]);

    child.kill();
    for _ in 0..20 {
        send(&pod_a, POD_B, b"leak");
        send(&pod_a, HOST_A, b"leak");
    }
    settle();
    assert!(received(&pod_b).is_empty(), "packets pass to the other pod");
    assert!(received(&host).is_empty(), "packets reach the host's stack");

    // The same packets pass where there is no pin: so the silence above was the pin's.
    for interface in [A, B] {
        fs::remove_file(pins(&lab, interface).join("link")).expect("the pin");
    }
    eventually("the kernel's forwarding", || {
        send(&pod_a, POD_B, b"leak");
        send(&pod_a, HOST_A, b"leak");
        settle();
        !received(&pod_b).is_empty() && !received(&host).is_empty()
    });
}

#[test]
fn a_second_start_takes_the_pin_over_and_nothing_passes_meanwhile() {
    let lab = Lab::new();
    let (pod_a, pod_b, host) = (lab.pod_socket(0), lab.pod_socket(1), lab.host_socket());
    start_switch(&lab).kill();

    let done = AtomicBool::new(false);
    let flood = lab.pod_socket_at(0, 7001);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                send(&flood, POD_B, b"leak");
                send(&flood, HOST_A, b"leak");
            }
        });
        for turn in 0..30 {
            let before = program_of(A);
            // What is not known to be our version is exchanged, our own is kept.
            let is_ours = turn % 2 == 0;
            if !is_ours {
                fs::remove_file(pins(&lab, A).join("program")).expect("the pin");
            }
            attach(&lab, A).expect("taken over").leave();
            assert_eq!(program_of(A) == before, is_ours, "turn {turn}");
        }
        done.store(true, Ordering::Relaxed);
    });
    settle();
    assert!(received(&pod_b).is_empty(), "packets pass to the other pod");
    assert!(received(&host).is_empty(), "packets reach the host's stack");

    let mut worker = Worker::new();
    let (mut a, mut b) = (worker.bind(&lab, A, 0), worker.bind(&lab, B, 1));
    eventually("packet at b", || {
        send(&pod_a, POD_B, b"again");
        worker.carry(&mut a, &mut b, 2);
        received(&pod_b).contains(&b"again".to_vec())
    });
}

/// What `ip` says of an interface's XDP program.
fn program_of(interface: &str) -> Option<String> {
    let shown = run(&format!("ip -d link show dev {interface}"));
    shown.lines().find(|line| line.contains("prog/xdp")).map(str::to_owned)
}

#[test]
fn a_detached_interface_is_given_back_at_once() {
    let lab = Lab::new();
    let (pod_a, host) = (lab.pod_socket(0), lab.host_socket());
    for _ in 0..10 {
        let program = attach(&lab, A).expect("program");
        assert!(program_of(A).is_some());
        program.detach().expect("detached");
        assert_eq!(program_of(A), None);
        assert!(!pins(&lab, A).exists(), "pins are left");
    }
    send(&pod_a, HOST_A, b"hello");
    eventually("packet at the host", || received(&host) == [b"hello"]);
}

#[test]
fn a_pin_of_an_interface_that_is_gone_is_replaced() {
    let lab = Lab::new();
    attach(&lab, A).expect("program").leave();
    run(&format!("ip link delete {A}"));
    lab.add_pod(0, A);
    assert_eq!(program_of(A), None, "a new interface of the same name");

    attach(&lab, A).expect("a new program").leave();
    assert!(program_of(A).is_some());
    let (pod_a, host) = (lab.pod_socket(0), lab.host_socket());
    send(&pod_a, HOST_A, b"leak");
    settle();
    assert!(received(&host).is_empty(), "the new pin does not hold");
}

#[test]
fn a_pin_follows_its_interface_and_not_its_name() {
    let lab = Lab::new();
    attach(&lab, A).expect("program").leave();
    run(&format!("ip link set {A} down"));
    run(&format!("ip link set {A} name lgold"));
    add_wire(A);
    attach(&lab, A).expect("a program of its own").leave();
    assert!(program_of("lgold").is_some(), "the name took the program along");
    assert!(program_of(A).is_some());

    let all = Pin::all(&lab.pin_dir).expect("pins");
    let places: Vec<u32> = all.iter().map(|pin| pin.place().unwrap().unwrap().ifindex).collect();
    assert_eq!(places.len(), 2);
    assert!(places.contains(&ifindex(A)) && places.contains(&ifindex("lgold")), "{places:?}");
    run("ip link delete lgold");
    let gone = all.iter().filter(|pin| pin.place().unwrap().is_some_and(|at| at.ifindex == 0));
    gone.for_each(|pin| pin.detach().expect("nothing to detach"));
    assert_eq!(Pin::all(&lab.pin_dir).expect("pins").len(), 1);
}

#[test]
fn an_end_with_fewer_queues_than_the_other_sends_on_is_told_so() {
    let lab = Lab::new();
    add_wire("lgq");
    run("ethtool -L lgqp tx 2");
    let error = attach(&lab, "lgq").expect_err("no program");
    assert!(matches!(error, ProgramError::FarQueues { .. }), "{error:?}");
    assert!(message(&error).contains("ethtool -L"));
}

/// Each had the BTF of the kernel read once more: 40 ms of work.
#[test]
fn many_programs_are_attached_with_little_work() {
    /// Nanoseconds that this thread has run. What it waits for the kernel is not its work.
    fn worked() -> u64 {
        let text = fs::read_to_string("/proc/thread-self/schedstat").expect("schedstat");
        text.split(' ').next().and_then(|number| number.parse().ok()).expect("a number")
    }
    let lab = Lab::new();
    attach(&lab, A).expect("program").leave();
    let before = worked();
    for _ in 0..20 {
        attach(&lab, A).expect("program").leave();
    }
    let each = (worked() - before) / 20;
    assert!(each < 6_000_000, "{each} ns each");
}

#[test]
fn a_pin_of_another_interface_is_not_updated() {
    let lab = Lab::new();
    attach(&lab, A).expect("program").leave();
    fs::rename(pins(&lab, A), pins(&lab, B)).expect("a's pin in the place of b's");
    let theirs = program_of(A);
    attach(&lab, B).expect("a program of its own").leave();
    assert!(program_of(B).is_some(), "b has a program");
    assert_ne!(program_of(A).as_ref().or(theirs.as_ref()), program_of(B).as_ref());
}

#[test]
fn another_program_on_the_interface_is_named_and_left() {
    let lab = Lab::new();
    attach(&lab, A).expect("program").leave();
    let theirs = program_of(A);
    let elsewhere = lab.pin_dir.join("elsewhere");
    let error = Program::attach(A, ifindex(A), 1, &elsewhere).expect_err("taken");
    assert!(matches!(error, ProgramError::Taken { .. }), "{error:?}");
    assert!(message(&error).contains(&format!("ip link set dev {A} xdp off")));
    assert_eq!(program_of(A), theirs);
}

#[test]
fn what_does_not_exist_is_named() {
    let _lab = Lab::new();
    let pins = std::path::Path::new("/sys/fs/bpf/lgnone");
    let error = Program::attach("lgnone", 9999, 1, pins).expect_err("no interface");
    assert!(matches!(error, ProgramError::NoInterface { .. }), "{error:?}");
    fs::remove_dir_all(pins).expect("an empty directory");

    let error = WorkerMemory::new("lgnone", FRAMES).expect_err("no anchor");
    assert!(matches!(error, PortError::NoInterface { .. }), "{error:?}");
    assert!(message(&error).contains("lgnone"));

    let worker = Worker::new();
    let error = XskPort::bind(&worker.memory, A, 5, PortSlot(0)).expect_err("no queue");
    assert!(matches!(error, PortError::NoQueue { queue: 5, .. }), "{error:?}");
    assert!(message(&error).contains("ethtool -l lga"), "{}", message(&error));
    let error = XskPort::bind(&worker.memory, "lgnone", 0, PortSlot(0)).expect_err("none");
    assert!(matches!(error, PortError::NoInterface { .. }), "{error:?}");
    // A failed bind leaves nothing behind that would disturb the next.
    XskPort::bind(&worker.memory, A, 0, PortSlot(0)).expect("a good one");
}

#[test]
fn a_queue_that_is_taken_is_waited_for_and_then_named() {
    let lab = Lab::new();
    let mut worker = Worker::new();
    let a = worker.bind(&lab, A, 0);
    let (other, _) = {
        run("ip link add lgan2 type veth peer name lganp2");
        WorkerMemory::new("lgan2", 64).expect("memory")
    };
    let error = XskPort::bind(&other, A, 0, PortSlot(0)).expect_err("taken");
    assert!(matches!(error, PortError::QueueTaken { .. }), "{error:?}");
    assert!(message(&error).contains(A));

    let switch = lab.switch.clone();
    let waiting = thread::spawn(move || {
        lab::enter(&switch);
        XskPort::bind(&other, A, 0, PortSlot(0)).map(drop)
    });
    thread::sleep(Duration::from_millis(150));
    worker.remove(a);
    waiting.join().expect("a thread").expect("free in the end");
}

#[test]
fn an_anchor_that_is_deleted_is_named() {
    let _lab = Lab::new();
    let worker = Worker::new();
    run(&format!("ip link delete {ANCHOR}"));
    let error = XskPort::bind(&worker.memory, A, 0, PortSlot(0)).expect_err("no anchor");
    assert!(matches!(error, PortError::AnchorGone { .. }), "{error:?}");
}

#[test]
fn memory_gives_its_anchor_back() {
    let _lab = Lab::new();
    for _ in 0..3 {
        drop(Worker::new());
    }
}

#[test]
#[ignore = "started by other tests, with less than root's rights"]
fn child_fails_to_start() {
    let Some(lab) = in_child() else { return };
    match WorkerMemory::new(ANCHOR, FRAMES) {
        Ok(_) => println!("memory: fine"),
        Err(error) => println!("memory: {}", message(&error)),
    }
    match attach(&lab, A) {
        Ok(program) => program.detach().expect("detached"),
        Err(error) => println!("program: {}", message(&error)),
    }
}

fn child_says(lab: &Lab, wrapper: &[&str]) -> io::Result<String> {
    let output = start_child(lab, "child_fails_to_start", wrapper).wait_with_output()?;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!error.contains("lib"), "a library wrote to stderr: {error}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn a_memlock_limit_without_the_right_to_raise_it_is_named() {
    let lab = Lab::new();
    let wrapper = [
        "prlimit",
        "--memlock=65536:65536",
        "setpriv",
        "--bounding-set=-ipc_lock,-sys_resource",
        "--inh-caps=-ipc_lock,-sys_resource",
    ];
    let said = child_says(&lab, &wrapper).expect("a child");
    assert!(said.contains("memlock limit of 65536 bytes"), "{said}");
    assert!(said.contains("CAP_IPC_LOCK"), "{said}");
}

#[test]
fn missing_capabilities_are_named() {
    let lab = Lab::new();
    let wrapper = [
        "setpriv",
        "--bounding-set=-net_raw,-bpf,-net_admin,-sys_admin",
        "--inh-caps=-net_raw,-bpf,-net_admin,-sys_admin",
    ];
    let said = child_says(&lab, &wrapper).expect("a child");
    assert!(said.contains("memory: AF_XDP sockets on lgan are not permitted"), "{said}");
    assert!(said.contains("program: an XDP program for lga is not permitted"), "{said}");
}

#[test]
fn a_batch_larger_than_the_default_kick_leaves_in_one_flush() {
    let lab = Lab::new();
    let mut worker = Worker::new();
    let mut b = worker.bind(&lab, B, 1);
    let (pod_b, packet): (UdpSocket, _) = (lab.pod_socket(1), udp_to_b());
    for _ in 0..64 {
        let mut frame = worker.pool.take().expect("a frame");
        worker.memory.room_mut(&mut frame)[..packet.len()].copy_from_slice(&packet);
        frame.set_length(u16::try_from(packet.len()).expect("short"));
        b.port.send(&mut worker.pool, frame).expect("room");
    }
    b.port.flush();
    let mut seen = 0;
    eventually("64 packets", || {
        seen += received(&pod_b).len();
        seen == 64
    });
    eventually("64 frames", || {
        b.port.reclaim(&mut worker.pool);
        b.port.in_transmit() == 0
    });
    assert!(b.port.in_fill() <= CREDIT_MAX);
}
