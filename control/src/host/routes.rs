//! What is to be done so that the node's routes are as planned. Pure.

use super::HostError;
use super::plan::PROTOCOL;
use crate::attach::Route;

/// Changes of the main table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Steps {
    /// Ours, to nowhere that is wanted any more.
    pub remove: Vec<Route>,
    /// Not there, or not so.
    pub set: Vec<Route>,
}

/// The way from the routes found to those wanted. What is not ours is never changed.
///
/// # Errors
/// [`HostError::RouteTaken`] where somebody else routes a wanted destination.
pub(super) fn steps(wanted: &[Route], found: &[Route]) -> Result<Steps, HostError> {
    let is_ours = |route: &&Route| route.protocol == PROTOCOL;
    for route in wanted {
        let same = |other: &&Route| other.destination == route.destination;
        if let Some(taken) = found.iter().filter(same).find(|other| !is_ours(other)) {
            let (wanted, found) = (Box::new(route.clone()), Box::new(taken.clone()));
            return Err(HostError::RouteTaken { wanted, found });
        }
    }
    let is_wanted = |own: &&Route| wanted.iter().any(|to| to.destination == own.destination);
    Ok(Steps {
        remove: found.iter().filter(is_ours).filter(|own| !is_wanted(own)).cloned().collect(),
        set: wanted.iter().filter(|route| !found.contains(route)).cloned().collect(),
    })
}
