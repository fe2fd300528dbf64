//! A rolling update of the `DaemonSet`: the kubelet begins the new agent beside the old one, which
//! gives it everything and ends. And back.

use std::time::Duration;

use lockgate_tests::kubernetes::Cluster;
use serde_json::Value;

use super::restarts::Load;
use super::{Case, Outcome, deploy, layout, say, until};

pub(crate) const CASES: &[Case] = &[(
    "rollout: a new pod of the DaemonSet takes over from the old one, and a rollback does too",
    rolls,
)];

/// How long an answer over the connection may take: TCP sends again within seconds.
const ANSWER: Duration = Duration::from_secs(20);

/// How long the old pod may take to be gone, once the new one is ready.
const GONE: Duration = Duration::from_mins(1);

/// What makes another pod of the template, without another program.
const OTHER_TEMPLATE: &str =
    r#"{"spec": {"template": {"metadata": {"annotations": {"lockgate.dev/test": "another"}}}}}"#;

const OF_AGENT: [&str; 2] = ["--namespace", "lockgate"];

fn rolls() -> Outcome {
    let (cluster, _) = deploy::install(&layout()?)?;
    deploy::told(&cluster, deploy::rolled_out(&cluster).and_then(|()| rolls_on(&cluster)))?;
    Ok(cluster.down()?)
}

fn rolls_on(cluster: &Cluster) -> Outcome {
    let mut load = Load::begin(cluster)?;
    let mut agent = agents(cluster)?.pop().ok_or("there is no agent")?;
    for change in [
        &["patch", "daemonset/lockgate", "--type=merge", "--patch", OTHER_TEMPLATE][..],
        &["rollout", "undo", "daemonset/lockgate"],
    ] {
        cluster.kubectl(&[&OF_AGENT[..], change].concat())?;
        deploy::rolled_out(cluster)?;
        let next = until("the old agent to be gone", GONE, || {
            let mut all = agents(cluster)?;
            let next = all.pop().filter(|next| all.is_empty() && *next != agent);
            Ok(next)
        })?;
        took_over(cluster, &next)?;
        load.talk.await_answers(ANSWER)?;
        agent = next;
    }
    let (answers, longest) = load.end()?;
    say(&format!("rollout: {answers} answers, the longest after {longest:?}"));
    Ok(())
}

/// The new agent has taken what the old one gave, its connections among it, and was begun once.
fn took_over(cluster: &Cluster, pod: &str) -> Outcome {
    let log = cluster.kubectl(&[&OF_AGENT[..], &["logs", pod]].concat())?;
    let line = |what: &str| log.lines().find(|line| line.contains(what)).map(str::to_owned);
    let taken = line(" taken over ports=").ok_or_else(|| format!("not taken over:\n{log}"))?;
    let adopted = line("connections taken over").unwrap_or_default();
    assert!(!adopted.contains("adopted=0") && adopted.contains("adopted="), "{log}");
    say(&format!("rollout: {taken}; {adopted}"));
    let restarts = "jsonpath={.status.containerStatuses[0].restartCount}";
    let restarts =
        cluster.kubectl(&[&OF_AGENT[..], &["get", pod, "--output", restarts]].concat())?;
    assert_eq!(restarts, "0", "{log}");
    let status = cluster.node(0).agent_says("status")?;
    assert_eq!((&status["ready"], &status["pods_attached"]), (&Value::from(true), &3.into()));
    Ok(())
}

/// The names of the agents' pods.
fn agents(cluster: &Cluster) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let asked = ["get", "pods", "--selector=app.kubernetes.io/name=lockgate", "--output", "name"];
    let said = cluster.kubectl(&[&OF_AGENT[..], &asked].concat())?;
    Ok(said.lines().map(str::to_owned).collect())
}
