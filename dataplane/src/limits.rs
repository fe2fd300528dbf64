//! Every bound of the dataplane, with the relations that must hold between them.

/// Packets moved by one receive, one send, or one hand-off.
pub const BATCH_MAX: usize = 64;

/// Workers of one switch.
pub const WORKERS_MAX: usize = 16;

/// Ports of one worker, the host port's queue included.
pub const PORTS_MAX: usize = 256;

/// Bytes of one frame of packet memory.
pub const FRAME_BYTES: usize = 4096;

/// Bytes that the kernel keeps for itself at the head of each received frame
/// (`XDP_PACKET_HEADROOM`, include/uapi/linux/bpf.h).
pub const HEADROOM_BYTES: usize = 256;

/// The longest packet, Ethernet header included, that fits one frame.
pub const PACKET_BYTES_MAX: usize = FRAME_BYTES - HEADROOM_BYTES;

/// Bytes of an Ethernet header without tags.
pub const ETHERNET_BYTES: usize = 14;

/// The largest MTU a port may have: one packet, one frame.
pub const MTU_MAX: usize = PACKET_BYTES_MAX - ETHERNET_BYTES;

/// IPv6 extension headers read before a packet is dropped: one of hop-by-hop options, and those of
/// destination options, which should be no more than two (RFC 8200 section 4.1).
pub const EXT_HEADERS_MAX: usize = 3;

/// Options read in all IPv6 extension headers of a packet before it is dropped, as many as Linux takes
/// of one kind. As many headers and options may be behind a fragment header, and in what an error
/// quotes.
pub const EXT_OPTIONS_MAX: usize = 8;

/// Options read in one neighbour message before it is dropped.
pub const NEIGHBOUR_OPTIONS_MAX: usize = 16;

/// Connection records looked at by one turn's expiry.
pub const EXPIRE_PER_TURN: usize = 64;

/// Connection records looked at by one turn for those of pods that are gone.
pub const SWEEP_PER_TURN: usize = 64;

/// Parcels that circulate between each ordered pair of workers.
pub const PARCELS_PER_PAIR: usize = 16;

/// Packet bytes of one parcel.
pub const PARCEL_BYTES: usize = 64 * 1024;

/// Commands that a worker takes from its mailbox in one turn.
pub const COMMANDS_PER_TURN: usize = 2;

/// Milliseconds for which work is parted at once among those who cause it. The longest datagram has
/// some fifty fragments: in one millisecond they would be more than a part where a dozen others
/// flood.
pub const FAIR_WINDOW_MS: u32 = 4;

/// Fragments that one worker looks at in a millisecond, of all its pods: 4.6 Gbit/s of 1500 bytes. Of
/// those from outside it looks at half as many.
pub const FRAGMENTS_PER_MS: u32 = 384;

/// Fronts in one page of the table of services.
pub const FRONTS_PER_PAGE_MAX: usize = 32;

/// Addresses that were a Service's and whose connections go on; and so many node ports.
pub const DEPARTED_MAX: usize = 1024;

/// Ranges of addresses from which one front may be asked.
pub const SOURCES_MAX: usize = 64;

/// Backends that are tried for a new connection before its source port is changed.
pub const BACKEND_TRIES: usize = 4;

/// Source ports that are tried for a new connection whose own is taken at its backend.
pub const SOURCE_PORT_TRIES: usize = 8;

/// Clients of services with affinity that a worker remembers.
pub const AFFINITIES_MAX: usize = 4096;

/// Places that one client may be remembered in.
pub const AFFINITY_WAYS: usize = 8;

/// Answers (ARP, ND, echo) per port and second; and errors and rejects per pod and second, each
/// kind counted apart, by each worker that judges for the pod.
pub const ANSWERS_PER_SECOND: u32 = 1000;

/// Empty turns before a worker sleeps in poll.
pub const IDLE_TURNS: u32 = 64;

// A parcel takes at least a few of the longest packets, else a jumbo could never cross.
const _: () = assert!(PARCEL_BYTES >= 8 * PACKET_BYTES_MAX);
const _: () = assert!(PORTS_MAX <= 1 << 12);
const _: () = assert!(WORKERS_MAX <= u8::MAX as usize);
