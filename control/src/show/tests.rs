use std::time::{Duration, SystemTime};

use serde_json::json;

use super::*;
use crate::cluster::Standing;
use crate::manifest::{ObjectKind, Problem};
use crate::watch::{RESOURCES, Trouble};

#[test]
fn columns_are_as_wide_as_their_widest_cell() {
    let document = json!({"policies": [
        {"name": "demo/deny", "tier": "default", "stage": "in force", "isolates": ["ingress", "egress"], "ingress_rules": 0,
         "egress_rules": 12, "pods": []},
        {"name": "x/y", "tier": "early", "stage": "staged", "isolates": ["egress"], "ingress_rules": 3, "egress_rules": 0,
         "pods": ["x/a", "x/b"]},
    ]});
    let expected = "\
POLICY     TIER     STAGE     ISOLATES        INGRESS RULES  EGRESS RULES  PODS
demo/deny  default  in force  ingress,egress  0              12            -
x/y        early    staged    egress          3              0             x/a,x/b
";
    assert_eq!(text(Show::Policies {}, &document), expected);
}

#[test]
fn control_characters_never_reach_the_terminal() {
    let document = json!({
        "ports": [{"pod": "a\u{1b}[2Jb", "interface": "\u{202e}x", "workers": [0]}],
        "not_attached": [{"severity": "error", "object": "Pod \u{7}", "message": "\r", "remedy": "\n"}],
    });
    let shown = text(Show::Ports {}, &document);
    let raw = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
    assert!(!shown.contains(raw), "{shown:?}");
    assert!(shown.contains("a\\u{1b}[2Jb"));
}

#[test]
fn a_list_that_was_cut_says_so() {
    let whole = text(Show::Connections { limit: 1 }, &json!({"connections": [], "cut": false}));
    assert!(!whole.contains("--limit"));
    let cut = text(Show::Connections { limit: 1 }, &json!({"connections": [], "cut": true}));
    assert!(cut.ends_with("There may be more: see --limit.\n"));
}

#[test]
fn a_document_of_another_version_is_shown_as_far_as_it_goes() {
    let denied = [Show::Denied {}, Show::Audit {}];
    for show in [Show::Status {}, Show::Ports {}, Show::Policies {}].into_iter().chain(denied) {
        for odd in [json!({}), json!([]), json!(null), json!({"ports": 1, "problems": [1]})] {
            assert!(!text(show, &odd).is_empty());
        }
    }
}

/// What `lockgate status` says of resources that fail as they are told, the time in its place.
fn status_of(failing: &[(ObjectKind, &str, u64)]) -> String {
    let problems = failing.iter().map(|(kind, why, second)| {
        let resource = RESOURCES.iter().find(|one| one.kind == *kind).unwrap();
        let message = format!("{} cannot be read: {why}", resource.spoken());
        let mut standing = Standing::default();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(*second);
        let trouble = Trouble { message, remedy: "see that it runs".to_owned() };
        standing.fail(trouble, now, Duration::ZERO);
        standing.problem(*kind, false).unwrap()
    });
    let problems: Vec<Problem> = problems.collect();
    let shown = text(Show::Status {}, &json!({ "problems": problems }));
    shown.split_once("\n\nerror").map_or(String::new(), |(_, said)| format!("error{said}"))
}

#[test]
fn resources_that_fail_for_one_cause_are_one_line_that_says_how_many_and_since_when() {
    const GONE: &str = "connection refused";
    let stays = "nothing is enforced before it is read (see that it runs)\n";
    let (pods, nodes) = ((ObjectKind::Pod, GONE, 61), (ObjectKind::Node, GONE, 60));
    assert_eq!(
        status_of(&[pods, nodes, (ObjectKind::Namespace, GONE, 62)]),
        format!(
            "error: API server: 3 resources cannot be read: {GONE}; since 1970-01-01T00:01:00Z; \
             {stays}"
        )
    );
    // For another cause by itself, as ever, and where its first one stands.
    let denied = (ObjectKind::Namespace, "the API server says 403", 60);
    let all = status_of(&[pods, denied, nodes]);
    let lines: Vec<&str> = all.lines().collect();
    assert_eq!(lines.len(), 2, "{all}");
    assert!(lines[0].starts_with("error: API server: 2 resources cannot be read: conn"), "{all}");
    assert!(
        lines[1].starts_with("error: API server: namespaces: namespaces cannot be read: the API"),
        "{all}"
    );
}

#[test]
fn a_problem_of_something_else_stays_a_line_of_its_own() {
    let problem = |object: &str| {
        json!({"severity": "error", "object": object, "field": "pods",
               "message": "pods are odd; since then; so", "remedy": "mend it"})
    };
    let document = json!({"problems": [problem("Pod demo/a"), problem("Pod demo/b")]});
    let shown = text(Show::Status {}, &document);
    for pod in ["a", "b"] {
        let line = format!("error: Pod demo/{pod}: pods: pods are odd; since then; so (mend it)");
        assert!(shown.lines().any(|one| one == line), "{shown}");
    }
}
