//! Cases of the upstream suite, unmodified: a few of what `scripts/conformance` runs whole.

use lockgate_tests::kubernetes::{Cluster, Network, Options, Programs, conformance, programs};

use super::{Case, Outcome, layout};

pub(crate) const CASES: &[Case] = &[(
    "upstream: isolation, ports, egress and changes of labels, by Kubernetes' own tests",
    upstream,
)];

/// Parts of the names of those that are run: of each kind of policy one.
const CHOSEN: [&str; 5] = [
    "default-deny-ingress. policy",
    "allow traffic only from a different namespace, based on NamespaceSelector",
    "updated pod",
    "ingress access on one named port",
    "egress access on one named port",
];

fn upstream() -> Outcome {
    let layout = layout()?;
    Programs::find()?.build(&[programs::E2E])?;
    let cluster = Cluster::up(&layout, &Options { nodes: 2, network: Network::Switch })?;
    let directory = layout.state().with_file_name("upstream");
    let report = conformance::run(&cluster, &format!("({})", CHOSEN.join("|")), &directory)?;
    eprintln!("{report}");
    assert_eq!(report.failed(), 0, "see {}", directory.display());
    assert!(report.passed() >= CHOSEN.len(), "{} of {}", report.passed(), CHOSEN.len());
    Ok(cluster.down()?)
}
