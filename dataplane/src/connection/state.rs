//! The states of a connection, and how long each lasts in silence. Hot path.

use crate::counters::CONNECTION_STATES_MAX;
use crate::packet::Kind;

macro_rules! states {
    ($($(#[$doc:meta])* $name:ident = $label:literal,)*) => {
        /// What a connection has come to. One gauge each; the label is the metric's.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum State { $($(#[$doc])* $name,)* }

        impl State {
            /// Every state; counters and gauges are in this order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The name in metrics and listings.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)* }
            }
        }
    };
}

states! {
    /// TCP: a SYN was seen.
    SynSent = "syn_sent",
    /// TCP: SYN and SYN-ACK were seen, or a SYN from each side; not yet the last ACK.
    SynReceived = "syn_received",
    /// TCP: both sides have acknowledged the other's SYN.
    Established = "established",
    /// TCP: at least one side has ended its stream.
    FinWait = "fin_wait",
    /// TCP: both sides have ended their streams and know it of each other.
    TimeWait = "time_wait",
    /// TCP: reset.
    Closed = "closed",
    /// UDP: nothing came back yet.
    UdpUnreplied = "udp_unreplied",
    /// UDP: both sides have spoken.
    UdpStream = "udp_stream",
    /// ICMP echo: asked.
    IcmpUnreplied = "icmp_unreplied",
    /// ICMP echo: answered.
    IcmpReplied = "icmp_replied",
    /// SCTP: INIT was seen, not yet COOKIE ACK.
    SctpOpening = "sctp_opening",
    /// SCTP: the association is there.
    SctpEstablished = "sctp_established",
    /// SCTP: aborted, or shut down.
    SctpClosed = "sctp_closed",
    /// Another protocol: nothing came back yet.
    OtherUnreplied = "other_unreplied",
    /// Another protocol: both sides have spoken.
    OtherReplied = "other_replied",
}

const _: () = assert!(State::ALL.len() <= CONNECTION_STATES_MAX);

impl State {
    /// The state's place in [`State::ALL`].
    #[inline]
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// What a first packet opens; `None` where it may not open anything.
    #[inline]
    pub(super) const fn opened_by(kind: &Kind) -> Option<Self> {
        match kind {
            Kind::Tcp(header) if super::tcp::is_opening(header) => Some(Self::SynSent),
            Kind::Udp => Some(Self::UdpUnreplied),
            Kind::Echo { reply: false } => Some(Self::IcmpUnreplied),
            Kind::Sctp { first_chunk: super::sctp::INIT, .. } => Some(Self::SctpOpening),
            Kind::Portless => Some(Self::OtherUnreplied),
            _ => None,
        }
    }

    /// Whether nothing is lost to anyone by forgetting it: no answer was seen yet, the handshake
    /// is not finished (a SYN-ACK alone proves only that the target answers whoever asks), or it
    /// is over.
    #[inline]
    #[must_use]
    pub const fn is_evictable(self) -> bool {
        !matches!(
            self,
            Self::Established
                | Self::FinWait
                | Self::UdpStream
                | Self::IcmpReplied
                | Self::SctpEstablished
                | Self::OtherReplied
        )
    }

    /// Whether an opening packet of the same key is a new connection, not more of this one.
    #[inline]
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::TimeWait | Self::Closed | Self::SctpClosed)
    }
}

/// How long a connection lives without a packet, by state, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP, handshake not finished.
    pub tcp_syn_ms: u64,
    /// TCP, established.
    pub tcp_established_ms: u64,
    /// TCP, at least one side has ended its stream.
    pub tcp_fin_ms: u64,
    /// TCP, both streams ended: counted from the last FIN.
    pub tcp_time_wait_ms: u64,
    /// TCP, reset: counted from the reset.
    pub tcp_close_ms: u64,
    /// UDP, no answer yet.
    pub udp_unreplied_ms: u64,
    /// UDP, answered.
    pub udp_stream_ms: u64,
    /// ICMP echo, answered or not.
    pub icmp_ms: u64,
    /// SCTP, handshake not finished.
    pub sctp_opening_ms: u64,
    /// SCTP, established. Heartbeats, every 30 s by default, keep an idle association.
    pub sctp_established_ms: u64,
    /// SCTP, aborted or shut down: counted from that.
    pub sctp_closed_ms: u64,
    /// Other protocols, answered or not.
    pub other_ms: u64,
    /// A datagram in fragments, from the first that came: then the rest is not waited for.
    pub fragments_ms: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            tcp_syn_ms: 30_000,
            tcp_established_ms: 24 * 3_600_000,
            tcp_fin_ms: 30_000,
            tcp_time_wait_ms: 45_000,
            tcp_close_ms: 10_000,
            udp_unreplied_ms: 30_000,
            udp_stream_ms: 120_000,
            icmp_ms: 30_000,
            sctp_opening_ms: 30_000,
            sctp_established_ms: 600_000,
            sctp_closed_ms: 10_000,
            other_ms: 600_000,
            fragments_ms: 15_000,
        }
    }
}

impl Timeouts {
    /// The timeouts of all states, by their place in [`State::ALL`].
    pub(super) fn by_state(&self) -> [u64; CONNECTION_STATES_MAX] {
        let mut timeouts_ms = [0; CONNECTION_STATES_MAX];
        for (timeout_ms, &state) in timeouts_ms.iter_mut().zip(State::ALL) {
            *timeout_ms = self.of(state);
        }
        timeouts_ms
    }

    /// The timeout of a state, in milliseconds.
    #[must_use]
    pub const fn of(&self, state: State) -> u64 {
        match state {
            State::SynSent | State::SynReceived => self.tcp_syn_ms,
            State::Established => self.tcp_established_ms,
            State::FinWait => self.tcp_fin_ms,
            State::TimeWait => self.tcp_time_wait_ms,
            State::Closed => self.tcp_close_ms,
            State::UdpUnreplied => self.udp_unreplied_ms,
            State::UdpStream => self.udp_stream_ms,
            State::IcmpUnreplied | State::IcmpReplied => self.icmp_ms,
            State::SctpOpening => self.sctp_opening_ms,
            State::SctpEstablished => self.sctp_established_ms,
            State::SctpClosed => self.sctp_closed_ms,
            State::OtherUnreplied | State::OtherReplied => self.other_ms,
        }
    }
}
