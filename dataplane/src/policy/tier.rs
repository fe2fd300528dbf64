//! Tiers: the order in which policies are asked, and what is said where none has decided.

use std::sync::Arc;

/// A number that tiers and policies are sorted by: what has less is asked first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Order(u64);

impl Order {
    /// After every number.
    pub const LAST: Self = Self(u64::MAX);

    /// Of a number as written. What is no number comes last.
    #[must_use]
    pub fn of(number: f64) -> Self {
        if number.is_nan() {
            return Self::LAST;
        }
        // Numbers compare as their bits do, the negative ones the other way round (IEEE 754). Both
        // zeros are one.
        let bits = (number + 0.0).to_bits();
        let sign = 1 << 63;
        Self(if bits & sign == 0 { bits | sign } else { !bits })
    }
}

/// Policies that are asked together, before those of the next tier.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tier {
    /// Where it stands among tiers; equal ones are sorted by name.
    pub order: Order,
    /// Its name.
    pub name: Arc<str>,
    /// What becomes of packets of which its policies say nothing.
    pub end: End,
    /// Whether its policies judge what a Service brings back to the pod that sent it. No policy
    /// judges what a pod sends to its own address (NP-42).
    pub judges_itself: bool,
}

impl Tier {
    /// The tier of Kubernetes' `NetworkPolicy`.
    #[must_use]
    pub fn default_tier() -> Arc<Self> {
        let (order, name) = (Order::of(1_000_000.0), "default".into());
        Arc::new(Self { order, name, end: End::Deny, judges_itself: false })
    }

    /// Keeps of what is asked of a side, all of it, what is asked in [`View::Itself`](super::ruleset::View).
    pub(super) fn keep_judging_itself<'t, T: Copy>(
        asked: &mut Vec<T>,
        tier: impl Fn(T) -> &'t Self,
    ) {
        let spares = |tier: &&Self| !tier.judges_itself && tier.end == End::Deny;
        let first = asked.iter().map(|&one| tier(one)).filter(spares).min();
        asked.retain(|&one| {
            let tier = tier(one);
            tier.judges_itself && first.is_none_or(|first| tier < first)
        });
    }
}

/// What a tier says of packets that a policy of it selects and none of its rules matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum End {
    /// They are denied: who is selected is isolated.
    Deny,
    /// The next tier is asked.
    Pass,
}
