//! What an SCTP packet does to an association. Pure. Hot path.
//!
//! INIT opens, COOKIE ACK establishes, ABORT and SHUTDOWN COMPLETE close. After the handshake a
//! close counts only with the verification tag that packets of this direction bear, or, as RFC
//! 9260 §8.5.1 allows, with the sender's own tag reflected. Whoever does not see the association
//! knows neither. A tag is learnt from the handshake's packets (the tag that INIT offers is in
//! its chunk, which nobody reads); another tag, as after a restart of one end, closes nothing and
//! is otherwise let be.

use super::{State, Way};

/// The chunk that opens.
pub(super) use crate::packet::SCTP_INIT as INIT;
const INIT_ACK: u8 = 2;
const ABORT: u8 = 6;
const COOKIE_ECHO: u8 = 10;
const COOKIE_ACK: u8 = 11;
const SHUTDOWN_COMPLETE: u8 = 14;

/// Takes one packet in; `tags` are what packets of each way bear, 0 while unknown (no packet but
/// INIT bears 0).
pub(super) fn step(state: State, tags: &mut [u32; 2], way: Way, chunk: u8, tag: u32) -> State {
    let [opening, reply] = *tags;
    let known = if way == Way::Opening { opening } else { reply };
    let is_own = tag != 0 && (tag == opening || tag == reply);
    match (state, way, chunk) {
        (State::SctpOpening, Way::Reply, INIT_ACK) => *tags = [opening, tag],
        (State::SctpOpening, Way::Opening, COOKIE_ECHO) => *tags = [tag, reply],
        (State::SctpOpening, Way::Reply, COOKIE_ACK) if known == tag => {
            return State::SctpEstablished;
        }
        // The refusal of an INIT bears the tag that INIT offered, which nobody read.
        (State::SctpOpening, Way::Reply, ABORT) if known == 0 => return State::SctpClosed,
        (_, _, ABORT | SHUTDOWN_COMPLETE) if is_own => return State::SctpClosed,
        _ => {}
    }
    state
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPENER_TAG: u32 = 0xaaaa;
    const TARGET_TAG: u32 = 0xbbbb;

    fn established() -> (State, [u32; 2]) {
        let mut tags = [0; 2];
        let mut state = State::SctpOpening;
        for (way, chunk, tag) in [
            (Way::Reply, INIT_ACK, OPENER_TAG),
            (Way::Opening, COOKIE_ECHO, TARGET_TAG),
            (Way::Reply, COOKIE_ACK, OPENER_TAG),
        ] {
            state = step(state, &mut tags, way, chunk, tag);
        }
        (state, tags)
    }

    #[test]
    fn an_association_is_established_by_its_cookie() {
        assert_eq!(established().0, State::SctpEstablished);
    }

    #[test]
    fn a_cookie_ack_with_another_tag_establishes_nothing() {
        for tag in [7, 0, TARGET_TAG] {
            let mut tags = [TARGET_TAG, OPENER_TAG];
            let state = step(State::SctpOpening, &mut tags, Way::Reply, COOKIE_ACK, tag);
            assert_eq!(state, State::SctpOpening, "{tag}");
        }
    }

    #[test]
    fn an_abort_closes_only_with_a_tag_of_the_association() {
        let (state, mut tags) = established();
        for (tag, then) in [
            (7, State::SctpEstablished),
            (0, State::SctpEstablished),
            (OPENER_TAG, State::SctpClosed),
            (TARGET_TAG, State::SctpClosed),
        ] {
            assert_eq!(step(state, &mut tags, Way::Reply, ABORT, tag), then, "tag {tag}");
        }
    }

    #[test]
    fn a_refused_init_is_closed() {
        let state = step(State::SctpOpening, &mut [0; 2], Way::Reply, ABORT, OPENER_TAG);
        assert_eq!(state, State::SctpClosed);
    }

    #[test]
    fn an_init_that_was_answered_is_refused_by_nobody_without_its_tag() {
        let mut tags = [0; 2];
        let state = step(State::SctpOpening, &mut tags, Way::Reply, INIT_ACK, OPENER_TAG);
        for (tag, then) in [(7, State::SctpOpening), (OPENER_TAG, State::SctpClosed)] {
            assert_eq!(step(state, &mut tags, Way::Reply, ABORT, tag), then, "tag {tag}");
        }
    }

    #[test]
    fn an_abort_without_a_tag_closes_nothing_that_has_none_yet() {
        let state = step(State::SctpOpening, &mut [0; 2], Way::Opening, ABORT, 0);
        assert_eq!(state, State::SctpOpening);
    }

    #[test]
    fn a_shutdown_complete_closes() {
        let (state, mut tags) = established();
        let state = step(state, &mut tags, Way::Opening, SHUTDOWN_COMPLETE, TARGET_TAG);
        assert_eq!(state, State::SctpClosed);
    }
}
