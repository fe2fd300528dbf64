//! What is to be done so that the node's routes are as planned. Pure.

use std::fmt;

use super::plan::PROTOCOL;
use crate::attach::Route;

/// Changes of the tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Steps {
    /// Ours, to nowhere that is wanted any more.
    pub remove: Vec<Route>,
    /// Not there, or not so.
    pub set: Vec<Route>,
    /// Wanted, and somebody else's.
    pub taken: Vec<TakenRoute>,
}

/// A network that shall be led to the switch, and that somebody else leads elsewhere. It is left so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenRoute {
    /// What is wanted.
    pub wanted: Route,
    /// What is there.
    pub found: Route,
}

impl fmt::Display for TakenRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { wanted, found } = self;
        write!(
            f,
            "{} is routed already: {found}; the switch is not asked there",
            wanted.destination
        )
    }
}

/// The way from the routes found to those wanted. What is not ours is never changed, and holds up
/// nothing but what it takes.
pub(super) fn steps(wanted: &[Route], found: &[Route]) -> Steps {
    let is_ours = |route: &&Route| route.protocol == PROTOCOL;
    let is_same = |one: &Route, other: &Route| {
        (one.destination, one.table) == (other.destination, other.table)
    };
    let mut steps = Steps::default();
    for route in wanted {
        let mut others = found.iter().filter(|other| is_same(route, other) && !is_ours(other));
        if let Some(other) = others.next() {
            steps.taken.push(TakenRoute { wanted: route.clone(), found: other.clone() });
        } else if !found.contains(route) {
            steps.set.push(route.clone());
        }
    }
    let is_wanted = |own: &&Route| wanted.iter().any(|to| is_same(to, own));
    steps.remove = found.iter().filter(is_ours).filter(|own| !is_wanted(own)).cloned().collect();
    steps
}
