//! The two ends of a speed measurement: frames made by the kernel, and a count of what arrives.
//!
//! A generator in userspace tops out below what a forwarder can do on a veth, and then all
//! forwarders look alike. So frames are made by `BPF_PROG_TEST_RUN` with live frames, redirected
//! out of the pod's own interface, and counted at the other pod by an XDP program that drops them
//! (`bench/xdp/bench.bpf.c`). Both ends must be used in the network namespace of their interface.

use std::time::{Duration, Instant};

use aya::maps::PerCpuArray;
use aya::programs::{TestRun, TestRunAttrs, TestRunOptions, Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader};

/// Why an end of the measurement could not be set up.
pub type TrafficError = Box<dyn std::error::Error + Send + Sync>;

/// Frames per call of the generator: a call sets up its frames anew, which costs as much as
/// sending a hundred thousand.
const FRAMES_PER_CALL: u32 = 1 << 22;

/// Bytes of Ethernet, IPv4 and UDP headers.
const HEADERS: usize = 42;

/// Frames that the generator makes at once.
const FRAMES_AT_ONCE: u32 = 64;

#[repr(C, align(8))]
struct Aligned<const N: usize>([u8; N]);

static OBJECT: Aligned<{ include_bytes!(concat!(env!("OUT_DIR"), "/bench.bpf.o")).len() }> =
    Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/bench.bpf.o")));

fn load(out_ifindex: u32, flows: u32, headers: &[u8; HEADERS]) -> Result<Ebpf, TrafficError> {
    let mask = flows.next_power_of_two() - 1;
    Ok(EbpfLoader::new()
        .override_global("out_ifindex", &out_ifindex, true)
        .override_global("flow_mask", &mask, true)
        .override_global("headers", headers, true)
        .load(&OBJECT.0)?)
}

fn program<'a>(bpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp, TrafficError> {
    let program = bpf.program_mut(name).ok_or("the object has no such program")?;
    Ok(program.try_into()?)
}

/// Sends copies of `frame` out of `ifindex` for `time`, as fast as the kernel makes them.
///
/// The source port runs through `flows` values (a power of two), beginning at 1024; the UDP
/// checksum of `frame` must therefore be 0. Returns how many frames were made.
///
/// # Errors
/// When the program cannot be loaded or run.
pub fn flood(ifindex: u32, frame: &[u8], flows: u32, time: Duration) -> Result<u64, TrafficError> {
    let headers = frame.first_chunk().ok_or("the frame is shorter than its headers")?;
    let mut bpf = load(ifindex, flows, headers)?;
    let generate = program(&mut bpf, "generate")?;
    generate.load()?;
    let end = Instant::now() + time;
    let mut made = 0;
    while Instant::now() < end {
        let options = TestRunOptions {
            data_in: Some(frame),
            repeat: FRAMES_PER_CALL,
            attrs: TestRunAttrs::new().xdp_live_frames(FRAMES_AT_ONCE),
            ..TestRunOptions::new()
        };
        generate.test_run(options)?;
        made += u64::from(FRAMES_PER_CALL);
    }
    Ok(made)
}

/// Counts and drops everything that reaches an interface, before its stack.
#[derive(Debug)]
pub struct Sink {
    bpf: Ebpf,
}

impl Sink {
    /// Attaches to an interface of the calling thread's network namespace, until dropped.
    ///
    /// # Errors
    /// When the program cannot be loaded or attached.
    pub fn attach(ifindex: u32) -> Result<Self, TrafficError> {
        let mut bpf = load(0, 1, &[0; HEADERS])?;
        let count = program(&mut bpf, "count")?;
        count.load()?;
        count.attach_to_if_index(ifindex, XdpMode::Driver)?;
        Ok(Self { bpf })
    }

    /// Frames seen so far.
    ///
    /// # Errors
    /// When the kernel does not give the map.
    pub fn received(&self) -> Result<u64, TrafficError> {
        let map = self.bpf.map("received").ok_or("the object has no such map")?;
        let map: PerCpuArray<_, u64> = PerCpuArray::try_from(map)?;
        Ok(map.get(&0, 0)?.iter().sum())
    }
}
