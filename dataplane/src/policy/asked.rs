//! What a table is asked by: the numbers that addresses and pods have in it. Hot path.

use super::ruleset::Direction;

/// Addresses that no rule's peers tell apart. 0 is the class of those in no peer at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClassId(pub(crate) u32);

impl ClassId {
    /// The class of an address that no peer of any rule contains.
    pub const NOTHING: Self = Self(0);
}

/// What selects a pod in one direction: its policies, with the rules that apply to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicySetId(pub(crate) u32);

impl PolicySetId {
    /// Isolated by nobody; also for an address of no pod.
    pub const NONE: Self = Self(0);
}

/// The policy sets of one pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Sets {
    /// Judges what the pod sends.
    pub egress: PolicySetId,
    /// Judges what the pod receives.
    pub ingress: PolicySetId,
}

impl Sets {
    /// Isolated by nobody in either direction.
    pub const NONE: Self = Self { egress: PolicySetId::NONE, ingress: PolicySetId::NONE };

    /// That of a direction.
    pub(super) const fn of_mut(&mut self, direction: Direction) -> &mut PolicySetId {
        match direction {
            Direction::Egress => &mut self.egress,
            Direction::Ingress => &mut self.ingress,
        }
    }
}

/// What packets of a pod are asked beside what decides on them, or in its place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Audit {
    /// What would decide were all in force that is staged: the sets that decide, where nothing is.
    pub next: Sets,
    /// Which rule records them: [`Sets::NONE`] where none does.
    pub log: Sets,
    /// What decides where a Service brings the pod's packet back to it.
    pub itself: Sets,
}

impl Audit {
    /// Whether something is asked beside these sets that decide nothing.
    #[must_use]
    pub fn is_any(&self, sets: Sets) -> bool {
        self.next != sets || self.log != Sets::NONE
    }
}
