//! What happened to packets. Hot path.
//!
//! Every packet a worker receives ends in exactly one cell: sent, answered, handed out, or one
//! [`DropReason`]. The law, per worker, after every turn:
//! `received + handed_in + originated == sent + answered + handed_out + Σ dropped + held`.
//!
//! A cell has one writer, its worker, which loads and stores; readers may be a moment behind.

use std::sync::atomic::{AtomicU64, Ordering};

/// A cell with one writer and any number of readers.
#[derive(Debug, Default)]
pub struct Cell(AtomicU64);

impl Cell {
    /// Adds, by load and store: only the owning worker may call this.
    #[inline]
    pub fn add(&self, n: u64) {
        // Relaxed: a cell orders nothing but itself, and has one writer.
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Sets, for gauges: only the owning worker may call this.
    #[inline]
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// Reads.
    #[inline]
    #[must_use]
    pub fn load(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! drop_reasons {
    ($($(#[$doc:meta])* $name:ident = $label:literal,)*) => {
        /// Why a packet was dropped. One counter each; the label is the metric's.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum DropReason { $($(#[$doc])* $name,)* }

        impl DropReason {
            /// Every reason, in the order of a packet's life.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
            /// How many reasons there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The name in metrics, cases and logs.
            #[must_use]
            pub fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)* }
            }
        }
    };
}

drop_reasons! {
    /// Shorter than its own headers say.
    Truncated = "truncated",
    /// Neither IPv4, IPv6 nor ARP.
    NotIp = "not_ip",
    /// A VLAN tag in the frame: pods have none.
    VlanTagged = "vlan_tagged",
    /// A header that contradicts itself: version, header length, total length, options.
    Malformed = "malformed",
    /// A fragment that can be of no datagram: empty, of odd length, beyond 64 KiB, the whole
    /// datagram, or of what is never sent in pieces (ICMP errors, neighbour discovery).
    Fragment = "fragment",
    /// A first fragment without all headers.
    FragmentTiny = "fragment_tiny",
    /// Its datagram has fragments that overlap, or ends in two places.
    FragmentOverlap = "fragment_overlap",
    /// The first fragment of its datagram did not come in time.
    FragmentTimeout = "fragment_timeout",
    /// More datagrams in pieces, or more pieces that wait for a first, than a port may have.
    FragmentLimit = "fragment_limit",
    /// More or stranger IPv6 extension headers than the parser reads.
    ExtensionHeaders = "extension_headers",
    /// An address that must never be on a wire: loopback, unspecified, IPv4-mapped, multicast
    /// source, class E.
    Martian = "martian",
    /// No snapshot is in force yet, or none that knows this port.
    Unsynced = "unsynced",
    /// The sender's MAC is not the pod's own.
    SpoofedMac = "spoofed_mac",
    /// The sender's address, or the one it says by ARP or ND to have, is not the pod's own; or a
    /// local pod's address from the host port.
    SpoofedSource = "spoofed_source",
    /// Not addressed to the switch: another MAC, multicast, router solicitations, MLD, what a DHCP
    /// server says.
    NotForUs = "not_for_us",
    /// No pod has the address and there is no host port to send it to.
    NoRoute = "no_route",
    /// Nobody serves at that address and port of a Service; answered with port-unreachable.
    NoBackend = "no_backend",
    /// Nobody on this node serves, and the Service wants no other asked.
    NoLocalBackend = "no_local_backend",
    /// The backend of an established connection is gone; its client is told.
    BackendGone = "backend_gone",
    /// The Service lets only some addresses in, and the client's is none of them.
    ServiceSource = "service_source",
    /// No room for another connection to a Service, or too many for one pod.
    TranslationsFull = "translations_full",
    /// The ring to the other worker was full.
    HandoffFull = "handoff_full",
    /// Not the start of a connection, and of none that is known.
    NoConnection = "no_connection",
    /// It begins a connection, and the backend has another from these ports, one of both by a
    /// Service; answered with a TCP reset, or an ICMP error where it is SCTP.
    PortsTaken = "ports_taken",
    /// The source's egress policy denies it.
    EgressDenied = "egress_denied",
    /// The target's ingress policy denies it.
    IngressDenied = "ingress_denied",
    /// The pod that the connection would count for has as many as one pod may have, or pushes out
    /// more than one pod may.
    ConnectionsLimit = "connections_limit",
    /// No room for another connection.
    ConnectionsFull = "connections_full",
    /// TTL or hop limit used up; answered with time-exceeded.
    TtlExpired = "ttl_expired",
    /// Longer than the target port's MTU; answered with frag-needed or too-big.
    TooBig = "too_big",
    /// More answers asked for than one port may have in a second.
    AnswerLimited = "answer_limited",
    /// The pool had no frame for a packet handed over or made.
    NoFrame = "no_frame",
    /// The target port is gone or is not the one that was meant.
    PortGone = "port_gone",
    /// The target port's transmit ring is full or above its share.
    SendFull = "send_full",
}

/// A worker's cells.
#[derive(Debug)]
pub struct Counters {
    /// Packets taken from ports.
    pub received: Cell,
    /// Packets taken from other workers.
    pub handed_in: Cell,
    /// Packets made by the switch: time-exceeded, too-big, rejects.
    pub originated: Cell,
    /// Packets given to a port's transmit ring.
    pub sent: Cell,
    /// Received packets turned into their own answer: ARP, ND, echo.
    pub answered: Cell,
    /// Packets copied to another worker.
    pub handed_out: Cell,
    /// Packets held for later. None until fragments are.
    pub held: Cell,
    dropped: [Cell; DropReason::COUNT],
    /// Turns taken.
    pub turns: Cell,
    /// Turns that moved at least one packet.
    pub turns_busy: Cell,
    /// Nanoseconds of turns that moved packets, by the clock of `runtime`.
    pub busy_nanoseconds: Cell,
    /// Nanoseconds since the worker began, by the clock of `runtime`.
    pub total_nanoseconds: Cell,
    /// How many packets a turn's batches had: bucket `i` counts sizes up to `BATCH_BUCKETS[i]`.
    pub batches: [Cell; BATCH_BUCKETS.len()],
    /// Packets in all counted batches.
    pub batch_packets: Cell,
    /// Denied packets that control was to be told about and was not: too many flows in one turn,
    /// or nobody took the samples. Not those whose flow was told about within the second.
    pub events_lost: Cell,
    /// Connections by state; the order is `connection::State::ALL`.
    pub connections: [Cell; CONNECTION_STATES_MAX],
    /// Connections opened.
    pub opened: Cell,
    /// Connections judged again under a newer epoch.
    pub rejudged: Cell,
    /// TCP connections that were picked up in the middle after a restart; not among those opened.
    pub picked_up: Cell,
    /// Connections that had to give way to new ones.
    pub evicted: Cell,
    /// Connections to Services that were given a backend.
    pub translated: Cell,
    /// Those whose translation is kept.
    pub translations: Cell,
    /// Denied packets whose sender was told so. Each is one that is `originated`.
    pub rejects_sent: Cell,
    /// Denied packets whose sender was to be told so and was not: no reject was left of this
    /// second, or no frame was free. Not those about which nothing may be said.
    pub rejects_withheld: Cell,
}

/// Upper bounds of the batch size histogram, in packets.
pub const BATCH_BUCKETS: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];

/// Room for the states of `connection::State`.
pub const CONNECTION_STATES_MAX: usize = 16;

impl Default for Counters {
    fn default() -> Self {
        Self {
            received: Cell::default(),
            handed_in: Cell::default(),
            originated: Cell::default(),
            sent: Cell::default(),
            answered: Cell::default(),
            handed_out: Cell::default(),
            held: Cell::default(),
            dropped: std::array::from_fn(|_| Cell::default()),
            turns: Cell::default(),
            turns_busy: Cell::default(),
            busy_nanoseconds: Cell::default(),
            total_nanoseconds: Cell::default(),
            batches: std::array::from_fn(|_| Cell::default()),
            batch_packets: Cell::default(),
            events_lost: Cell::default(),
            connections: std::array::from_fn(|_| Cell::default()),
            opened: Cell::default(),
            rejudged: Cell::default(),
            picked_up: Cell::default(),
            evicted: Cell::default(),
            translated: Cell::default(),
            translations: Cell::default(),
            rejects_sent: Cell::default(),
            rejects_withheld: Cell::default(),
        }
    }
}

impl Counters {
    /// The cell of one reason.
    #[inline]
    #[must_use]
    pub fn dropped(&self, reason: DropReason) -> &Cell {
        // The array has one cell for each variant, so the index is in bounds by construction.
        #[allow(clippy::indexing_slicing)]
        &self.dropped[reason as usize]
    }

    /// All drops together.
    #[must_use]
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().map(Cell::load).sum()
    }

    /// Counts one batch of `n` packets.
    #[inline]
    pub fn batch(&self, n: usize) {
        if let Some(at) = BATCH_BUCKETS.iter().position(|&bound| n <= bound)
            && let Some(cell) = self.batches.get(at)
        {
            cell.add(1);
        }
        self.batch_packets.add(n as u64);
    }
}

/// A port's cells, written by the one worker that polls it. Directions are the switch's:
/// received is what the pod sent.
#[derive(Debug, Default)]
pub struct PortCounters {
    /// Packets taken from the port.
    pub received_packets: Cell,
    /// Bytes taken from the port, Ethernet header included.
    pub received_bytes: Cell,
    /// Packets given to the port.
    pub sent_packets: Cell,
    /// Bytes given to the port, Ethernet header included.
    pub sent_bytes: Cell,
    /// Packets that came from this port and were dropped by the worker that polls it. What another
    /// worker owned and dropped is in that worker's cells alone: a cell has one writer.
    pub dropped_packets: Cell,
}
