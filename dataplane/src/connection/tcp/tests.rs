//! Traces against the state machine.
//!
//! A line is: way (`>` from the opener, `<` to it), flags, sequence, acknowledgment (both counted
//! from the first SYN of the side they number), bytes, and the state after it. Each trace is run
//! with several initial numbers, so that every one wraps somewhere.

use super::*;
use proptest::prelude::*;

/// Initial numbers: opener's and target's.
const STARTS: [[u32; 2]; 4] = [
    [1_000, 77_000],
    [0, u32::MAX],
    [u32::MAX - 11, 0x7fff_fff0],
    [0x8000_0000, u32::MAX - 20_000],
];

fn flags(text: &str) -> TcpFlags {
    text.chars().fold(TcpFlags::default(), |all, letter| {
        all.with(match letter {
            'S' => TcpFlags::SYN,
            'A' => TcpFlags::ACK,
            'F' => TcpFlags::FIN,
            'R' => TcpFlags::RST,
            'P' => TcpFlags::PSH,
            _ => panic!("no flag: {letter}"),
        })
    })
}

fn header(flags: TcpFlags, sequence: u32, acknowledgment: u32, payload_bytes: u16) -> TcpHeader {
    TcpHeader { flags, sequence, acknowledgment, window: 512, payload_bytes }
}

fn run(rows: &str) {
    for [ours, theirs] in STARTS {
        let mut connection: Option<(State, Track)> = None;
        for line in rows.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let [way, flagged, sequence, acknowledgment, bytes, then] =
                line.split_whitespace().collect::<Vec<_>>().try_into().expect("six columns");
            let (way, own, other) = match way {
                ">" => (Way::Opening, ours, theirs),
                _ => (Way::Reply, theirs, ours),
            };
            let number = |text: &str| text.parse::<u32>().expect("a number");
            let flags = flags(flagged);
            // Where a side has no number of its own to show, it writes 0.
            let relative = |text: &str, start: u32| match text {
                "zero" => 0,
                _ => start.wrapping_add(number(text)),
            };
            let header = header(
                flags,
                relative(sequence, own),
                relative(acknowledgment, other),
                u16::try_from(number(bytes)).expect("16 bits"),
            );
            let (state, track) = match connection {
                None => (State::SynSent, open(&header)),
                Some((state, mut track)) => (step(state, &mut track, way, &header).state, track),
            };
            assert_eq!(state.label(), then, "after `{line}` of{rows}");
            connection = Some((state, track));
        }
    }
}

/// Recorded on the loopback of Linux 6, with its offloads: the opener closes first.
#[test]
fn an_opener_that_closes_first_leaves_time_wait() {
    run("
        > S  0     zero  0     syn_sent
        < SA 0     1     0     syn_received
        > A  1     1     0     established
        > AP 1     1     10    established
        < A  1     11    0     established
        < AP 1     11    20000 established
        > A  11    20001 0     established
        > AF 11    20001 0     fin_wait
        < A  20001 12    0     fin_wait
        < AF 20001 12    0     fin_wait
        > A  12    20002 0     time_wait");
}

/// Recorded.
#[test]
fn a_target_that_closes_first_leaves_time_wait() {
    run("
        > S  0  zero 0  syn_sent
        < SA 0  1    0  syn_received
        > A  1  1    0  established
        > AP 1  1    10 established
        < A  1  11   0  established
        < AF 1  11   0  fin_wait
        > A  11 2    0  fin_wait
        > AF 11 2    0  fin_wait
        < A  2  12   0  time_wait");
}

/// Recorded: both `close` at once, and the FINs cross.
#[test]
fn a_simultaneous_close_leaves_time_wait() {
    run("
        > S  0 zero 0 syn_sent
        < SA 0 1    0 syn_received
        > A  1 1    0 established
        < AF 1 1    0 fin_wait
        > AF 1 1    0 fin_wait
        > A  2 2    0 fin_wait
        < A  2 2    0 time_wait");
}

/// Recorded: `shutdown(SHUT_WR)`, then the answer.
#[test]
fn a_half_closed_connection_lives_until_the_other_half_closes() {
    run("
        > S  0   zero 0   syn_sent
        < SA 0   1    0   syn_received
        > A  1   1    0   established
        > AP 1   1    1   established
        < A  1   2    0   established
        > AF 2   1    0   fin_wait
        < A  1   3    0   fin_wait
        < AP 1   3    300 fin_wait
        > A  3   301  0   fin_wait
        < AP 301 3    300 fin_wait
        > A  3   601  0   fin_wait
        < AF 601 3    0   fin_wait
        > A  3   602  0   time_wait");
}

/// Recorded: `close` with `SO_LINGER` 0.
#[test]
fn a_reset_by_the_opener_closes() {
    run("
        > S  0  zero 0  syn_sent
        < SA 0  1    0  syn_received
        > A  1  1    0  established
        > AP 1  1    10 established
        < A  1  11   0  established
        > AR 11 1    0  closed");
}

/// Recorded: `close` with unread bytes.
#[test]
fn a_reset_by_the_target_closes() {
    run("
        > S  0 zero 0  syn_sent
        < SA 0 1    0  syn_received
        > A  1 1    0  established
        > AP 1 1    10 established
        < A  1 11   0  established
        < AR 1 11   0  closed");
}

/// Recorded: bytes for a socket that is gone; its reset takes its number from them.
#[test]
fn a_reset_that_answers_late_bytes_closes() {
    run("
        > S  0 zero 0 syn_sent
        < SA 0 1    0 syn_received
        > A  1 1    0 established
        < AF 1 1    0 fin_wait
        > A  1 2    0 fin_wait
        > AP 1 2    4 fin_wait
        < R  2 zero 0 closed");
}

/// Recorded: nobody listens.
#[test]
fn a_refused_syn_closes() {
    run("
        > S  0    zero 0 syn_sent
        < AR zero 1    0 closed");
}

#[test]
fn a_reset_follows_its_senders_own_bytes_before_they_are_acknowledged() {
    run("
        > S  0  zero 0  syn_sent
        < SA 0  1    0  syn_received
        > A  1  1    0  established
        > AP 1  1    10 established
        > AR 11 1    0  closed");
}

#[test]
fn a_refusal_that_does_not_acknowledge_the_syn_is_not_believed() {
    run("
        > S  0    zero 0 syn_sent
        < AR zero 0    0 syn_sent
        < AR zero 2    0 syn_sent");
}

#[test]
fn a_reset_without_ack_does_not_refuse_a_syn() {
    let mut track = open(&header(TcpFlags::SYN, 100, 0, 0));
    let reset = header(TcpFlags::RST, 0, 101, 0);
    assert_eq!(step(State::SynSent, &mut track, Way::Reply, &reset).state, State::SynSent);
}

#[test]
fn a_reset_that_is_not_exact_changes_nothing_though_it_is_in_the_window() {
    run("
        > S  0   zero 0   syn_sent
        < SA 0   1    0   syn_received
        > A  1   1    0   established
        < AP 1   1    100 established
        < R  102 zero 0   established
        < R  50  zero 0   established
        < R  0   zero 0   established
        > R  2   zero 0   established
        > R  0   zero 0   established
        > A  1   101  0   established
        < R  100 zero 0   established
        < R  101 zero 0   closed");
}

#[test]
fn a_reset_of_what_its_sender_has_forgotten_closes() {
    // Ten bytes are on their way; their sender starts anew and disowns what it is then sent.
    run("
        > S  0  zero 0  syn_sent
        < SA 0  1    0  syn_received
        > A  1  1    0  established
        > AP 1  1    10 established
        < AP 1  1    5  established
        > R  1  zero 0  closed");
}

#[test]
fn a_reset_at_a_number_beyond_any_window_changes_nothing_even_after_a_forged_segment() {
    run("
        > S  0          zero       0  syn_sent
        < SA 0          1          0  syn_received
        > A  1          1          0  established
        < A  1200000000 1          10 established
        > A  1          1200000010 0  established
        < R  1200000010 zero       0  established");
}

#[test]
fn a_segment_that_acknowledges_long_gone_bytes_changes_nothing() {
    run("
        > S  0      zero   0     syn_sent
        < SA 0      1      0     syn_received
        > A  1      1      60000 established
        > A  60001  1      60000 established
        < A  1      120001 0     established
        < AF 1      1      0     established
        < AF 1      60001  0     fin_wait");
}

#[test]
fn a_repeated_syn_does_not_make_a_repeated_syn_ack_begin_anew() {
    run("
        > S  0 zero 0 syn_sent
        < SA 0 1    0 syn_received
        > S  0 zero 0 syn_received
        > A  1 1    0 established
        < SA 0 1    0 established");
}

#[test]
fn a_reset_after_a_challenge_closes() {
    // The opener has lost its memory: its bare SYN is challenged, and it resets what it disowns.
    run("
        > S  0     zero 0 syn_sent
        < SA 0     1    0 syn_received
        > A  1     1    0 established
        > S  90000 zero 0 established
        < A  1     1    0 established
        > R  1     zero 0 closed");
}

#[test]
fn a_repeated_syn_opens_no_second_time() {
    run("
        > S  0 zero 0 syn_sent
        > S  0 zero 0 syn_sent
        < SA 0 1    0 syn_received
        > S  0 zero 0 syn_received
        < SA 0 1    0 syn_received
        > A  1 1    0 established
        < SA 0 1    0 established
        > S  0 zero 0 established
        > AP 1 1    5 established
        < A  1 6    0 established");
}

#[test]
fn another_attempt_from_the_same_port_replaces_an_unanswered_one() {
    run("
        > S  0      zero   0 syn_sent
        > S  500000 zero   0 syn_sent
        < SA 0      1      0 syn_sent
        < SA 0      500001 0 syn_received
        > A  500001 1      0 established");
}

#[test]
fn a_syn_cookie_of_another_minute_replaces_the_first() {
    run("
        > S  0      zero   0 syn_sent
        < SA 0      1      0 syn_received
        > S  0      zero   0 syn_received
        < SA 2000000000 1      0 syn_received
        > A  1      2000000001 0 established");
}

#[test]
fn a_simultaneous_open_is_established() {
    run("
        > S  0 zero 0 syn_sent
        < S  0 zero 0 syn_received
        > SA 0 1    0 syn_received
        < SA 0 1    0 established
        > AP 1 1    9 established
        < AF 1 10   0 fin_wait");
}

#[test]
fn ends_that_both_lost_their_memory_begin_anew() {
    run("
        > S  0      zero   0 syn_sent
        < SA 0      1      0 syn_received
        > A  1      1      0 established
        > S  700000 zero   0 established
        < SA 800000 700001 0 syn_received
        > A  700001 800001 0 established
        > AF 700001 800001 0 fin_wait");
}

#[test]
fn a_syn_ack_that_nobody_asked_for_changes_nothing() {
    run("
        > S  0      zero   0 syn_sent
        < SA 0      3      0 syn_sent
        < SA 0      1      0 syn_received
        > A  1      1      0 established
        < SA 800000 700001 0 established");
}

#[test]
fn an_ack_that_acknowledges_nothing_sent_does_not_establish() {
    run("
        > S  0 zero 0 syn_sent
        < SA 0 1    0 syn_received
        > A  1 0    0 syn_received
        > A  1 2    0 syn_received
        > A  1 1    0 established");
}

#[test]
fn the_challenge_of_an_older_connection_does_not_answer_a_syn() {
    run("
        > S  0    zero 0 syn_sent
        < A  4000 9000 0 syn_sent
        > R  9000 zero 0 syn_sent
        > S  0    zero 0 syn_sent
        < SA 0    1    0 syn_received");
}

#[test]
fn a_forged_fin_changes_nothing() {
    // A FIN beyond what was sent, one before it, and one that acknowledges what nobody sent.
    run("
        > S  0    zero 0   syn_sent
        < SA 0    1    0   syn_received
        > A  1    1    0   established
        > AP 1    1    100 established
        < A  1    101  0   established
        < AF 5000 101  0   established
        < AF 0    101  0   established
        < AF 1    102  0   established
        < AP 1    101  50  established
        > A  101  51   0   established
        < AF 20   101  0   established
        < AF 51   101  0   fin_wait");
    // One beyond the stream, and then the stream goes on beyond it.
    run("
        > S  0    zero 0    syn_sent
        < SA 0    1    0    syn_received
        > A  1    1    0    established
        < AF 0    1    0    established
        < AF 5000 1    0    established
        < A  1    1    6000 established
        > A  1    6001 0    established");
}

#[test]
fn a_fin_counts_when_bytes_before_it_were_lost_on_the_way_to_us() {
    // The target's 51..101 never got here. It sends them again, and its FIN arrived before.
    run("
        > S  0   zero 0  syn_sent
        < SA 0   1    0  syn_received
        > A  1   1    0  established
        < AP 1   1    50 established
        < AF 101 1    20 established
        > A  1   51   0  established
        < AP 51  1    50 established
        > A  1   122  0  fin_wait
        > AF 1   122  0  fin_wait
        < A  122 2    0  time_wait");
}

#[test]
fn a_fin_sent_again_prolongs_the_wait_and_nothing_else_does() {
    let mut track = Track::BLANK;
    let fin = header(flags("AF"), 7, 7, 0);
    let ack = header(flags("A"), 7, 7, 0);
    let syn = header(flags("S"), 7, 0, 0);
    let reset = header(flags("R"), 0, 0, 0);
    for (state, header, is_alive) in [
        (State::TimeWait, fin, true),
        (State::TimeWait, ack, false),
        (State::TimeWait, syn, false),
        (State::TimeWait, reset, false),
        (State::Closed, fin, false),
        (State::Closed, ack, false),
        (State::Closed, reset, false),
    ] {
        let expected = Step { state, is_alive };
        assert_eq!(step(state, &mut track, Way::Reply, &header), expected, "{header:?}");
    }
}

#[test]
fn bytes_in_the_syn_are_counted() {
    run("
        > S  0  zero 20 syn_sent
        < SA 0  21   0  syn_received
        > A  21 1    0  established
        > AR 21 1    0  closed");
    // Refused by the target, and sent again.
    run("
        > S  0  zero 20 syn_sent
        < SA 0  1    0  syn_received
        > AP 1  1    20 established
        < A  1  21   0  established
        > AF 21 1    0  fin_wait");
}

#[test]
fn probes_of_an_idle_connection_change_nothing() {
    run("
        > S  0 zero 0 syn_sent
        < SA 0 1    0 syn_received
        > A  1 1    0 established
        > A  0 1    0 established
        < A  1 1    0 established
        < A  0 1    1 established
        > A  1 1    0 established
        > AF 1 1    0 fin_wait");
}

#[test]
fn only_a_bare_syn_opens() {
    for text in ["SA", "SF", "SR", "A", "F", "R", "AF", "AR", "P", ""] {
        assert!(!is_opening(&header(flags(text), 0, 0, 0)), "{text}");
    }
    assert!(is_opening(&header(flags("S"), 0, 0, 0)));
    assert!(is_opening(&header(TcpFlags(TcpFlags::SYN.0 | 0xc0), 0, 0, 0)), "with ECN's bits");
}

#[test]
fn what_does_not_belong_to_a_handshake_does_not_prolong_it() {
    let mut track = open(&header(flags("S"), 100, 0, 0));
    for text in ["A", "AP", "AF", "R", "P"] {
        let step = step(State::SynSent, &mut track, Way::Reply, &header(flags(text), 5, 101, 0));
        assert_eq!(step, Step { state: State::SynSent, is_alive: false }, "{text}");
    }
}

/// One end of an honest connection: numbers from its SYN on.
#[derive(Clone, Debug)]
struct End {
    start: u32,
    /// Bytes it will send in all.
    total: u32,
    /// Sent at least once; the FIN is number `total`.
    sent: u32,
    /// Received without a gap.
    received: u32,
    /// Acknowledged by the other end.
    acked: u32,
}

impl End {
    fn segment(&self, other: &Self, from: u32, most: u32) -> (TcpHeader, u32) {
        let to = (from + most).min(self.total + 1);
        let has_fin = from <= self.total && to == self.total + 1;
        let flags = if has_fin { flags("AF") } else { flags("A") };
        let bytes = u16::try_from(to - from - u32::from(has_fin)).expect("short");
        let sequence = self.start.wrapping_add(1 + from);
        let ack = other.start.wrapping_add(1 + self.received);
        (header(flags, sequence, ack, bytes), to)
    }
}

#[derive(Clone, Copy, Debug)]
#[allow(clippy::struct_excessive_bools)] // four coins
struct Event {
    from_opener: bool,
    bytes: u32,
    /// Goes back to what is not acknowledged.
    again: bool,
    /// Lost before the switch sees it.
    lost_before: bool,
    /// Lost between the switch and the other end.
    lost_after: bool,
}

fn event() -> impl Strategy<Value = Event> {
    (any::<bool>(), 0_u32..3000, 0..4, 0..5, 0..5).prop_map(
        |(from_opener, bytes, again, before, after)| Event {
            from_opener,
            bytes,
            again: again == 0,
            lost_before: before == 0,
            lost_after: after == 0,
        },
    )
}

proptest! {
    /// Whatever is lost before us or after us, an honest connection is never taken to be over
    /// before both ends have everything, and is over when they have and say so.
    #[test]
    fn honest_ends_are_followed_to_their_end(
        starts in any::<[u32; 2]>(),
        totals in [0_u32..9000, 0_u32..9000],
        events in prop::collection::vec(event(), 0..60),
    ) {
        let [mut opener, mut target] = [0, 1].map(|i| End {
            start: starts[i], total: totals[i], sent: 0, received: 0, acked: 0,
        });
        let mut track = open(&header(flags("S"), opener.start, 0, 0));
        let mut state = State::SynSent;
        let answer = header(flags("SA"), target.start, opener.start.wrapping_add(1), 0);
        state = step(state, &mut track, Way::Reply, &answer).state;
        prop_assert_eq!(state, State::SynReceived);

        // A quiet end to the storm: everything is sent again until all is acknowledged.
        let calm = (0..40).map(|i| Event {
            from_opener: i % 2 == 0, bytes: 3000, again: true, lost_before: false, lost_after: false,
        });
        for event in events.into_iter().chain(calm) {
            let (own, other, way) = if event.from_opener {
                (&mut opener, &mut target, Way::Opening)
            } else {
                (&mut target, &mut opener, Way::Reply)
            };
            let from = if event.again { own.acked } else { own.sent };
            let (segment, to) = own.segment(other, from, event.bytes);
            own.sent = own.sent.max(to);
            if event.lost_before {
                continue;
            }
            state = step(state, &mut track, way, &segment).state;
            if !event.lost_after {
                if from <= other.received {
                    other.received = other.received.max(to);
                }
                other.acked = other.acked.max(own.received);
            }
            let all = opener.received == target.total + 1 && target.received == opener.total + 1;
            prop_assert!(all || !state.is_over(), "{state:?} too early");
            prop_assert!(state != State::Closed);
        }
        prop_assert_eq!(state, State::TimeWait);
    }

    /// No segment whatever makes the track panic or overflow.
    #[test]
    fn any_segment_is_survived(
        segments in prop::collection::vec(
            (any::<bool>(), any::<u8>(), any::<u32>(), any::<u32>(), any::<u16>()), 1..50),
    ) {
        let mut track = open(&header(flags("S"), 1, 0, 0));
        let mut state = State::SynSent;
        for (is_reply, bits, sequence, acknowledgment, bytes) in segments {
            let way = if is_reply { Way::Reply } else { Way::Opening };
            let header = header(TcpFlags(bits), sequence, acknowledgment, bytes);
            state = step(state, &mut track, way, &header).state;
        }
    }
}
