//! What control is told about single packets: denials, and what policy says is to be recorded,
//! sampled. Hot path.
//!
//! A bounded ring per worker, written by the worker, drained by control. A sample that is due and
//! finds no room, in the ring or in its turn, is counted as lost: samples never slow a packet
//! down. A packet whose flow was told about within the second is not due, and not lost.

use crossbeam::queue::ArrayQueue;

use crate::clock::Tick;
use crate::counters::DropReason;
use crate::ids::{EndpointId, Generation};
use crate::packet::FlowKey;

/// Samples that wait for control.
pub const EVENTS_WAITING: usize = 256;

/// Samples that one turn may give, so that a flood of ever new denied flows leaves room for others.
pub const EVENTS_PER_TURN: usize = 16;

/// How often one flow is sampled at most, in milliseconds.
const AGAIN_MS: u64 = 1000;

/// Flows that a sampler remembers.
const REMEMBERED: usize = 256;

/// A packet that control is told about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When.
    pub at: Tick,
    /// The flow that was judged: the direction that would open, or did open, the connection.
    pub key: FlowKey,
    /// What became of it.
    pub outcome: Outcome,
    /// What policy says of it beside that.
    pub notes: Notes,
    /// The pod that would open the connection, if it is on this node.
    pub source: Option<EndpointId>,
    /// The pod it would be opened to, if it is on this node.
    pub target: Option<EndpointId>,
    /// The snapshot under which it was judged.
    pub generation: Generation,
}

/// What became of a packet that control is told about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It opened a connection.
    Opened,
    /// It was dropped: `EgressDenied` or `IngressDenied`: policy; `ConnectionsLimit` or
    /// `ConnectionsFull`: policy allows it, and there is no room.
    Dropped(DropReason),
}

/// What policy says of a packet beside what becomes of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// A rule records it.
    pub logged: bool,
    /// Its verdict would be another, were all in force that is staged.
    pub staged: bool,
}

impl Notes {
    /// Whether there is something.
    #[must_use]
    pub const fn is_any(self) -> bool {
        self.logged || self.staged
    }
}

/// Samples on their way to control.
pub type Events = ArrayQueue<Sample>;

/// A ring of [`EVENTS_WAITING`] places.
#[must_use]
pub fn events() -> Events {
    ArrayQueue::new(EVENTS_WAITING)
}

/// What became of a sample on its way to control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampled {
    /// Control will be told.
    Told,
    /// Control was told about its flow within the second.
    Known,
    /// Control was to be told: its turn had given all it may, or nobody took the samples.
    Lost,
}

/// Tells control about packets: about each flow once a second.
///
/// It remembers flows by a small sum of their key, in a table that forgets by overwriting. Two
/// flows that share a place are sampled more often, never less: a flow is left out only when its
/// own sum was sampled within the second. A lost sample is not remembered: the flow's next packet
/// is as good.
#[derive(Debug)]
pub struct Sampler {
    recent: Box<[(u32, Tick)]>,
    given: usize,
}

impl Default for Sampler {
    fn default() -> Self {
        Self { recent: vec![(0, Tick(0)); REMEMBERED].into(), given: 0 }
    }
}

impl Sampler {
    /// A new turn begins.
    #[inline]
    pub fn begin_turn(&mut self) {
        self.given = 0;
    }

    /// Tells about a packet of this flow, if it is one to tell about. Nearly none is, so the sample is
    /// made last.
    #[inline]
    pub fn tell(
        &mut self,
        key: &FlowKey,
        now: Tick,
        events: &Events,
        sample: impl FnOnce() -> Sample,
    ) -> Sampled {
        let sum = sum(key);
        let place = usize::try_from(sum).unwrap_or(0) % REMEMBERED;
        let Some(recent) = self.recent.get_mut(place) else { return Sampled::Lost };
        let fresh = recent.0 != sum || now.since_ms(recent.1) >= AGAIN_MS || recent.1 == Tick(0);
        if !fresh {
            return Sampled::Known;
        }
        if self.given >= EVENTS_PER_TURN || events.push(sample()).is_err() {
            return Sampled::Lost;
        }
        *recent = (sum, now);
        self.given = self.given.saturating_add(1);
        Sampled::Told
    }
}

/// Mixes a key into 32 bits. Not keyed: who finds collisions is told about once, not twice.
fn sum(key: &FlowKey) -> u32 {
    let (source, target) = (key.source.to_halves(), key.target.to_halves());
    let ports = u64::from(key.source_port) << 16 | u64::from(key.target_port);
    let words = [source.0, source.1, target.0, target.1, ports, u64::from(key.number)];
    let mix =
        |sum: u64, word: u64| (sum ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    u32::try_from(words.into_iter().fold(1, mix) >> 32).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Address, Protocol};

    fn key(port: u16) -> FlowKey {
        FlowKey {
            source: Address::from_v4([10, 0, 0, 1]),
            target: Address::from_v4([10, 0, 0, 2]),
            source_port: port,
            target_port: 80,
            number: 6,
            protocol: Protocol::Tcp,
        }
    }

    fn denied(port: u16, at: u64) -> Sample {
        Sample {
            at: Tick(at),
            key: key(port),
            outcome: Outcome::Dropped(DropReason::IngressDenied),
            notes: Notes::default(),
            source: None,
            target: None,
            generation: Generation(1),
        }
    }

    fn tell(sampler: &mut Sampler, (port, at): (u16, u64), events: &Events) -> Sampled {
        sampler.tell(&key(port), Tick(at), events, || denied(port, at))
    }

    #[test]
    fn a_flow_is_told_about_once_a_second_and_does_not_hide_others() {
        let (mut sampler, events) = (Sampler::default(), events());
        assert_eq!(tell(&mut sampler, (1, 5000), &events), Sampled::Told);
        sampler.begin_turn();
        assert_eq!(tell(&mut sampler, (1, 5999), &events), Sampled::Known);
        assert_eq!(tell(&mut sampler, (2, 5999), &events), Sampled::Told);
        assert_eq!(tell(&mut sampler, (1, 6000), &events), Sampled::Told);
        assert_eq!(events.len(), 3);
    }

    #[test]
    fn a_turn_gives_its_number_and_the_next_goes_on() {
        let (mut sampler, events) = (Sampler::default(), events());
        let seen: Vec<_> = (0..100).map(|port| tell(&mut sampler, (port, 5000), &events)).collect();
        assert!(seen[..EVENTS_PER_TURN].iter().all(|one| *one == Sampled::Told));
        assert!(seen[EVENTS_PER_TURN..].iter().all(|one| *one == Sampled::Lost));
        assert_eq!(tell(&mut sampler, (0, 5000), &events), Sampled::Known, "full or not");
        sampler.begin_turn();
        assert_eq!(tell(&mut sampler, (99, 5000), &events), Sampled::Told, "lost is not told");
    }

    #[test]
    fn a_flow_that_found_the_ring_full_is_told_about_once_there_is_room() {
        let (mut sampler, events) = (Sampler::default(), events());
        while events.push(denied(1, 4000)).is_ok() {}
        assert_eq!(tell(&mut sampler, (2, 5000), &events), Sampled::Lost);
        assert!(events.pop().is_some());
        assert_eq!(tell(&mut sampler, (2, 5001), &events), Sampled::Told);
    }
}
