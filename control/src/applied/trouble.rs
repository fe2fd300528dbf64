//! What goes wrong with telling, in words that say what to do. What is enforced does not depend on
//! it: none of it is an error.

use std::time::Duration;

use kube::Error;

use crate::manifest::{Problem, Severity};
use crate::watch::causes;

/// What is tried again soon.
const SOON: Duration = Duration::from_secs(5);
/// What somebody must mend first is tried again rarely.
const RARELY: Duration = Duration::from_mins(1);

/// Why something was not told, and when to try again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Untold {
    pub(super) problem: Problem,
    pub(super) pause: Duration,
}

/// What is told, as it is spoken of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// The report of the node of this name.
    Report(String),
    /// Events.
    Events,
}

impl Told {
    fn object(&self) -> String {
        match self {
            Self::Report(node) => format!("LockgateNode {node}"),
            Self::Events => "Event".to_owned(),
        }
    }

    /// What a role must grant.
    fn grant(&self) -> &'static str {
        match self {
            Self::Report(_) => {
                "list nodes, create and patch lockgatenodes.lockgate.dev, and patch \
                 lockgatenodes.lockgate.dev/status"
            }
            Self::Events => "create events.events.k8s.io, and list the kinds of policies",
        }
    }

    /// What a request says.
    pub(super) fn untold(&self, error: &Error) -> Untold {
        let Error::Api(status) = error else { return self.silent(&causes(error)) };
        let (severity, remedy, pause) = match (status.code, self) {
            (404, Self::Report(_)) => {
                let remedy = "install its definition: kubectl apply -f \
                              deploy/helm/lockgate/crds/lockgatenodes.yaml; it is looked for \
                              each minute";
                (Severity::Notice, remedy.to_owned(), RARELY)
            }
            (401, _) => {
                let remedy = "renew the token or certificate of the kubeconfig or service account";
                (Severity::Warning, remedy.to_owned(), RARELY)
            }
            (403, _) => {
                let remedy = format!("let the agent's role {}", self.grant());
                (Severity::Warning, remedy, RARELY)
            }
            (409, _) => {
                let remedy = "nothing to do if it passes; else see who writes it beside the agent \
                              of this node: a second agent, or a copy of the object";
                (Severity::Warning, remedy.to_owned(), SOON)
            }
            (429 | 500..=599, _) => {
                let remedy = "nothing to do if it passes; else see the API server's log";
                (Severity::Notice, remedy.to_owned(), SOON)
            }
            (400 | 422, Self::Report(_)) => {
                let remedy = "install the definition that came with this version: kubectl apply \
                              -f deploy/helm/lockgate/crds/lockgatenodes.yaml";
                (Severity::Warning, remedy.to_owned(), RARELY)
            }
            _ => (Severity::Warning, "see the API server's log".to_owned(), RARELY),
        };
        let message = format!(
            "{}: the API server says {}: {}; what is enforced does not depend on it",
            self.lost(),
            status.code,
            status.message
        );
        self.because(severity, &message, &remedy, pause)
    }

    /// The API server does not answer.
    pub(super) fn silent(&self, why: &str) -> Untold {
        let message = format!("{}: {why}", self.lost());
        let remedy = "see that the API server runs and can be reached from this node";
        self.because(Severity::Notice, &message, remedy, SOON)
    }

    /// The node of this name is not there to own its report.
    pub(super) fn ownerless(&self) -> Untold {
        let message = format!("{}: the cluster has no node of this name", self.lost());
        let remedy = "name this node as `kubectl get nodes` does, with --node";
        self.because(Severity::Notice, &message, remedy, SOON)
    }

    fn lost(&self) -> &'static str {
        match self {
            Self::Report(_) => {
                "the cluster is not told what is in force here, and `lockgate status --cluster` \
                 does not know this node"
            }
            Self::Events => "no event says on a broken policy what is wrong with it",
        }
    }

    fn because(&self, severity: Severity, message: &str, remedy: &str, pause: Duration) -> Untold {
        let place = (None, None);
        let problem = Problem::of_object(severity, place, &self.object(), "", message, remedy);
        Untold { problem, pause }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    fn said(told: &Told, code: u16) -> Untold {
        let status = Status { code, message: "no".to_owned(), ..Status::default() };
        told.untold(&Error::Api(Box::new(status)))
    }

    #[test]
    fn a_definition_that_is_not_installed_is_a_notice_and_is_looked_for_rarely() {
        let untold = said(&Told::Report("a".into()), 404);
        assert_eq!((untold.problem.severity, untold.pause), (Severity::Notice, RARELY));
        assert_eq!(untold.problem.object, "LockgateNode a");
        assert!(untold.problem.remedy.contains("deploy/helm/lockgate/crds/lockgatenodes.yaml"));
    }

    #[test]
    fn what_a_role_lacks_is_named() {
        let report = said(&Told::Report("a".into()), 403).problem;
        assert!(report.remedy.contains("patch lockgatenodes.lockgate.dev/status"), "{report}");
        let events = said(&Told::Events, 403).problem;
        assert!(events.remedy.contains("create events.events.k8s.io"), "{events}");
        assert_eq!((report.severity, events.severity), (Severity::Warning, Severity::Warning));
    }

    #[test]
    fn a_conflict_and_a_silent_server_are_tried_again_soon() {
        let told = Told::Report("a".into());
        assert_eq!(said(&told, 409).pause, SOON);
        assert!(said(&told, 409).problem.remedy.contains("second agent"));
        let untold = told.untold(&Error::Service("refused".into()));
        assert_eq!((untold.pause, untold.problem.severity), (SOON, Severity::Notice));
    }
}
