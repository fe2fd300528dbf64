use serde_json::json;

use super::*;

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
