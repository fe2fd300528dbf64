//! How often a node tells. Pure.
//!
//! A change of what an operator waits for is told within a second. Pods come and go all the time,
//! and a thousand nodes that each told of each of them would be the API server's greatest load: what
//! moves by itself waits ten seconds. Where nothing moves, a report a minute says that the agent is
//! there.

use std::time::Duration;

use super::node::{LockgateNodeStatus, ResourceStatus};

/// Between two reports, at the least.
const SOON: Duration = Duration::from_secs(1);
/// Where only that has changed which moves by itself.
const LATER: Duration = Duration::from_secs(10);
/// Where nothing has.
const SIGN_OF_LIFE: Duration = Duration::from_mins(1);

/// How long the newest report waits, where the last was written so long ago.
pub(super) fn pause(
    written: Option<(&LockgateNodeStatus, Duration)>,
    newest: &LockgateNodeStatus,
) -> Duration {
    let Some((written, ago)) = written else { return Duration::ZERO };
    let interval = if written == newest {
        SIGN_OF_LIFE
    } else if awaited(written) == awaited(newest) {
        LATER
    } else {
        SOON
    };
    interval.saturating_sub(ago)
}

/// A report less what moves by itself.
fn awaited(status: &LockgateNodeStatus) -> LockgateNodeStatus {
    let resources = status.resources.iter().map(|one| {
        if is_of_policy(&one.resource) {
            return one.clone();
        }
        ResourceStatus { resource_version: None, since: None, objects: 0, ..one.clone() }
    });
    let resources = resources.collect();
    let (policy_epoch, snapshot_generation, enforcement) = (0, 0, None);
    LockgateNodeStatus {
        policy_epoch,
        snapshot_generation,
        resources,
        enforcement,
        ..status.clone()
    }
}

fn is_of_policy(resource: &str) -> bool {
    resource.contains("polic") || resource.ends_with(".projectcalico.org")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(pods: &str, policies: &str) -> LockgateNodeStatus {
        let one = |resource: &str, version: &str| ResourceStatus {
            resource: resource.to_owned(),
            resource_version: Some(version.to_owned()),
            ..ResourceStatus::default()
        };
        let policies = one("networkpolicies.networking.k8s.io", policies);
        LockgateNodeStatus { resources: vec![one("pods", pods), policies], ..Default::default() }
    }

    #[test]
    fn what_is_awaited_is_told_within_a_second_what_moves_by_itself_waits_longer() {
        let second = Duration::from_secs(1);
        let (old, zero) = (status("1", "1"), Duration::ZERO);
        assert_eq!(pause(None, &old), zero);
        assert_eq!(pause(Some((&old, zero)), &status("1", "2")), second);
        assert_eq!(pause(Some((&old, second)), &status("2", "2")), zero);
        assert_eq!(pause(Some((&old, second)), &status("2", "1")), 9 * second);
        let moved = LockgateNodeStatus { policy_epoch: 7, ..old.clone() };
        assert_eq!(pause(Some((&old, second)), &moved), 9 * second);
        assert_eq!(pause(Some((&old, second)), &old), 59 * second);
        assert_eq!(pause(Some((&old, 99 * second)), &old), zero);
    }

    #[test]
    fn conditions_and_errors_are_awaited() {
        let old = status("1", "1");
        let failing = LockgateNodeStatus { errors_left_out: 1, ..old.clone() };
        assert_eq!(pause(Some((&old, Duration::ZERO)), &failing), SOON);
    }
}
