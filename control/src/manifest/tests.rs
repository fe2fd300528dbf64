mod kinds;
mod sweep;

use lockgate_dataplane::packet::Protocol::{Tcp, Udp};

use proptest::prelude::*;

use super::*;
use crate::sample::{policy, problems};
use crate::selector::LabelSelector;

fn one(text: &str) -> NetworkPolicy {
    let found = read_text("t.yaml", text).unwrap();
    match found.objects.into_iter().next() {
        Some(Object::Policy(policy)) => policy,
        other => panic!("{other:?}\n{text}"),
    }
}

/// What a policy's spec isolates, and which of its rules stand: `i:+-` is ingress with a good
/// and a broken rule.
fn shape(spec: &str) -> String {
    shape_of(&one(&policy("x/p", spec)))
}

fn shape_of(policy: &NetworkPolicy) -> String {
    let side = |name: &str, rules: &Option<Vec<Option<Rule>>>| match rules {
        None => String::new(),
        Some(rules) => {
            let marks = rules.iter().map(|rule| if rule.is_some() { '+' } else { '-' });
            format!("{name}:{} ", marks.collect::<String>())
        }
    };
    (side("i", &policy.ingress) + &side("e", &policy.egress)).trim_end().to_owned()
}

#[test]
fn np_03_and_np_04_the_effective_policy_types() {
    for (spec, wanted) in [
        ("podSelector: {}", "i:"),
        ("", "i:"),
        ("ingress: []", "i:"),
        ("egress: []", "i:"),
        ("egress: [{}]", "i: e:+"),
        ("ingress: [{}], egress: [{}]", "i:+ e:+"),
        ("policyTypes: []", "i:"),
        ("policyTypes: null, egress: [{}]", "i: e:+"),
        ("policyTypes: [], egress: [{}]", "i: e:+"),
        ("policyTypes: [Ingress], egress: [{}]", "i:"),
        ("policyTypes: [Egress], ingress: [{}]", "e:"),
        ("policyTypes: [Ingress, Egress]", "i: e:"),
        ("policyTypes: [Egress]", "e:"),
    ] {
        assert_eq!(shape(spec), wanted, "{spec}");
    }
}

#[test]
fn np_04_rules_that_count_for_nothing_are_told() {
    let said = problems(&policy("x/p", "policyTypes: [Ingress], egress: [{}]"));
    assert_eq!((said[0].severity, said[0].field.as_str()), (Severity::Warning, "spec.egress"));
    assert_eq!(problems(&policy("x/p", "policyTypes: [Ingress], egress: []")), []);
}

#[test]
fn np_59_a_broken_part_breaks_its_whole_rule_and_only_it() {
    for rule in [
        "{form: []}",
        "{to: []}",
        "{from: {}}",
        "{from: allow}",
        "{ports: 80}",
        "null",
        "80",
        "[]",
        "{from: [null]}",
        "{from: [{}]}",
        "{from: [{podSelector: null}]}",
        "{from: [{podSelector: {}, ipBlock: {cidr: 10.0.0.0/8}}]}",
        "{from: [{podSelecter: {}}]}",
        "{from: [{podSelector: {}, extra: 1}]}",
        "{from: [{podSelector: []}]}",
        "{from: [{podSelector: {matchLabel: {a: b}}}]}",
        "{from: [{podSelector: {matchLabels: [a]}}]}",
        "{from: [{podSelector: {matchLabels: {a: 1}}}]}",
        "{from: [{podSelector: {matchLabels: {a: true}}}]}",
        "{from: [{podSelector: {matchLabels: {a: null}}}]}",
        "{from: [{podSelector: {matchLabels: {a: 'b c'}}}]}",
        "{from: [{podSelector: {matchLabels: {'a b': c}}}]}",
        "{from: [{podSelector: {matchExpressions: {key: a}}}]}",
        "{from: [{podSelector: {matchExpressions: [{key: a, operator: in, values: [b]}]}}]}",
        "{from: [{podSelector: {matchExpressions: [{key: a, operator: In}]}}]}",
        "{from: [{podSelector: {matchExpressions: [{key: a, operator: In, values: []}]}}]}",
        "{from: [{podSelector: {matchExpressions: [{key: a, operator: NotIn, values: []}]}}]}",
        "{from: [{podSelector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}}]}",
        "{from: [{podSelector: {matchExpressions: [{operator: Exists}]}}]}",
        "{from: [{podSelector: {matchExpressions: [{key: a}]}}]}",
        "{from: [{podSelector: {matchExpressions: [{key: a, operator: In, values: b}]}}]}",
        "{from: [{podSelector: {matchExpressions: [{key: a, operator: Gt, values: ['1']}]}}]}",
        "{from: [{namespaceSelector: {matchLabels: {'-': a}}}]}",
        "{from: [{ipBlock: {}}]}",
        "{from: [{ipBlock: 10.0.0.0/8}]}",
        "{from: [{ipBlock: {cidr: 10.0.0.0/33}}]}",
        "{from: [{ipBlock: {cidr: 10.0.0.1}}]}",
        "{from: [{ipBlock: {cidr: 10}}]}",
        "{from: [{ipBlock: {cidr: 10.0.0.0/8, excepts: []}}]}",
        "{from: [{ipBlock: {cidr: 10.0.0.0/8, except: 10.1.0.0/16}}]}",
        "{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.0/8]}}]}",
        "{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [0.0.0.0/0]}}]}",
        "{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/16]}}]}",
        "{from: [{ipBlock: {cidr: 10.0.0.0/8, except: ['fd00::/64']}}]}",
        "{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0]}}]}",
        "{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [null]}}]}",
        "{from: [{podSelector: {}}, {ipBlock: {cidr: nonsense}}]}",
        "{ports: [null]}",
        "{ports: [80]}",
        "{ports: [{port: 80, portt: 1}]}",
        "{ports: [{port: '80'}]}",
        "{ports: [{port: 0}]}",
        "{ports: [{port: 65536}]}",
        "{ports: [{port: -1}]}",
        "{ports: [{port: 80.0}]}",
        "{ports: [{port: 080}]}",
        "{ports: [{port: 0x50}]}",
        "{ports: [{port: true}]}",
        "{ports: [{port: [80]}]}",
        "{ports: [{port: WEB}]}",
        "{ports: [{port: ''}]}",
        "{ports: [{port: a--b}]}",
        "{ports: [{endPort: 90}]}",
        "{ports: [{port: 80, endPort: 79}]}",
        "{ports: [{port: web, endPort: 90}]}",
        "{ports: [{port: 80, endPort: '90'}]}",
        "{ports: [{port: 80, endPort: 65536}]}",
        "{ports: [{port: 80, protocol: ICMP}]}",
        "{ports: [{port: 80, protocol: tcp}]}",
        "{ports: [{protocol: 6}]}",
        "{ports: [{protocol: ''}]}",
        "{ports: [{port: 80}, {port: 0}]}",
    ] {
        let spec = format!("ingress: [{{}}, {rule}, {{ports: [{{port: 1}}]}}]");
        assert_eq!(shape(&spec), "i:+-+", "{rule}");
        let said = problems(&policy("x/p", &spec));
        let said: Vec<_> = said.iter().filter(|one| one.severity == Severity::Error).collect();
        assert!(!said.is_empty(), "{rule}");
        for problem in said {
            assert!(problem.field.starts_with("spec.ingress[1]"), "{rule}: {problem}");
            assert!(problem.remedy.contains("opens nothing"), "{rule}: {problem}");
            assert_eq!(problem.object, "NetworkPolicy x/p", "{rule}");
        }
    }
}

#[test]
fn what_is_good_breaks_nothing() {
    for rule in [
        "{}",
        "{from: [], ports: []}",
        "{from: null, ports: null}",
        "{ports: [{}]}",
        "{ports: [{protocol: SCTP}]}",
        "{ports: [{port: 80, endPort: 80}, {port: 1, endPort: 65535}, {port: web}]}",
        "{ports: [{port: 80, endPort: null, protocol: null}]}",
        "{from: [{podSelector: {}}, {namespaceSelector: {}, podSelector: {}}]}",
        "{from: [{podSelector: {matchLabels: null, matchExpressions: []}}]}",
        "{from: [{podSelector: {matchExpressions: [{key: a, operator: Exists, values: []}]}}]}",
        "{from: [{podSelector: {matchLabels: {app.kubernetes.io/name: ''}}}]}",
        "{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16, 10.2.0.0/16]}}]}",
        "{from: [{ipBlock: {cidr: '::/0', except: null}}]}",
    ] {
        let spec = format!("ingress: [{rule}]");
        assert_eq!(shape(&spec), "i:+", "{rule}");
        assert_eq!(problems(&policy("x/p", &spec)), [], "{rule}");
    }
}

#[test]
fn np_31_host_bits_are_masked_with_a_warning_that_shows_what_is_read() {
    let spec = "ingress: [{from: [{ipBlock: {cidr: 13.108.14.15/24, except: [13.108.14.9/30]}}]}]";
    let read = one(&policy("x/p", spec));
    let Some(Some(rule)) = read.ingress.unwrap().pop() else { panic!("broken") };
    let [Peer::Block { cidr, except }] = rule.peers.as_slice() else { panic!("{rule:?}") };
    assert_eq!(cidr.to_string(), "13.108.14.0/24");
    assert_eq!(except[0].to_string(), "13.108.14.8/30");
    let said = problems(&policy("x/p", spec));
    assert!(said.iter().all(|problem| problem.severity == Severity::Warning), "{said:?}");
    assert_eq!(said[0].field, "spec.ingress[0].from[0].ipBlock.cidr");
    assert_eq!(said[0].remedy, "write 13.108.14.0/24");
}

#[test]
fn np_59_a_broken_pod_selector_selects_everything_and_opens_nothing() {
    for selector in [
        "[]",
        "web",
        "{matchLabel: {a: b}}",
        "{matchLabels: {a: 1}}",
        "{matchLabels: {a: 'b c'}}",
        "{matchExpressions: [{key: a, operator: Equals, values: [b]}]}",
    ] {
        let spec = format!("podSelector: {selector}, policyTypes: [Ingress], ingress: [{{}}]");
        let read = one(&policy("x/p", &spec));
        assert_eq!(shape_of(&read), "i:-", "{selector}");
        assert_eq!(read.subjects, LabelSelector::default(), "{selector}");
        let said = problems(&policy("x/p", &spec));
        assert!(said[0].field.starts_with("spec.podSelector"), "{selector}: {said:?}");
        assert!(said[0].remedy.contains("every pod"), "{selector}: {said:?}");
    }
}

#[test]
fn np_59_what_is_stated_unclearly_isolates_in_both_directions() {
    for (spec, wanted) in [
        ("policyTypes: [ingress], ingress: [{}]", "i:+ e:"),
        ("policyTypes: [Ingress, egres], egress: [{}]", "i: e:+"),
        ("policyTypes: Ingress", "i: e:"),
        ("policyTypes: [null]", "i: e:"),
        ("policyTypes: {Ingress: true}", "i: e:"),
        ("podSelector: {}, egres: [{}], ingress: [{}]", "i:+ e:"),
        ("podSelector: {}, egres: [{}], policyTypes: [Ingress]", "i:"),
        ("podSelector: {}, egress: {}", "i: e:"),
        ("podSelector: {}, ingress: allow", "i:"),
        // The selector may be what was misspelt.
        ("podselector: {matchLabels: {a: b}}, ingress: [{}]", "i:- e:"),
    ] {
        assert_eq!(shape(spec), wanted, "{spec}");
        let said = problems(&policy("x/p", spec));
        assert!(said.iter().any(|one| one.severity == Severity::Error), "{spec}: {said:?}");
    }
}

#[test]
fn an_unknown_field_of_the_spec_tells_what_it_does_here() {
    for (spec, harm) in [
        ("podselector: {}, policyTypes: [Egress]", "isolates every pod of its namespace and opens"),
        ("podSelector: {}, egres: []", "isolates in both directions"),
        ("podSelector: {}, egres: [], policyTypes: [Ingress]", "what it says is not in force"),
    ] {
        let said = problems(&policy("x/p", spec));
        assert!(said[0].remedy.contains(harm), "{spec}: {said:?}");
    }
}

#[test]
fn np_59_a_spec_that_is_missing_or_is_no_map_isolates_the_namespace() {
    let head = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\n";
    for (rest, wanted) in [
        ("", "i:"),
        ("spec:\n", "i:"),
        ("spec: []\n", "i: e:"),
        ("Spec: {ingress: [{}]}\n", "i: e:"),
        ("status: {}\n", "i:"),
    ] {
        assert_eq!(shape_of(&one(&format!("{head}{rest}"))), wanted, "{rest}");
    }
}

#[test]
fn a_misspelt_field_is_told_with_the_right_one_and_its_line() {
    let text = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: p\n\
                spec:\n  podSelector: {}\n  ingress:\n  - form:\n    - podSelector: {}\n";
    let said = problems(text);
    assert_eq!(
        said[0].to_string(),
        "error: t.yaml:8: NetworkPolicy default/p: spec.ingress[0].form: \"form\" is not a field \
         of an ingress rule (write from; until then the whole rule opens nothing)"
    );
}

#[test]
fn a_wrong_version_of_a_known_kind_isolates_and_opens_nothing() {
    for (version, kind) in [
        ("extensions/v1beta1", "NetworkPolicy"),
        ("networking.k8s.io/v1beta1", "NetworkPolicy"),
        ("networking/v1", "NetworkPolicy"),
        ("v1", "NetworkPolicy"),
        ("networking.k8s.io/v1", "networkpolicy"),
    ] {
        let text = format!(
            "apiVersion: {version}\nkind: {kind}\nmetadata: {{name: p}}\nspec: {{podSelector: \
             {{}}, policyTypes: [Ingress], ingress: [{{}}]}}\n"
        );
        assert_eq!(shape_of(&one(&text)), "i:-", "{version} {kind}");
        assert_eq!(problems(&text)[0].severity, Severity::Error, "{version} {kind}");
    }
}

#[test]
fn a_kind_that_is_not_used_is_a_notice_even_if_its_name_is_known() {
    for (version, kind) in [
        ("cilium.io/v2", "NetworkPolicy"),
        ("projectcalico.org/v3", "IPPool"),
        ("projectcalico.org/v3", "Node"),
        ("serving.knative.dev/v1", "Service"),
        ("v1", "ConfigMap"),
        ("apps/v1", "Deployment"),
        ("cilium.io/v2", "List"),
    ] {
        let text = format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{name: p}}\n");
        let found = read_text("t.yaml", &text).unwrap();
        assert_eq!(found.objects, [], "{version} {kind}");
        assert_eq!(found.problems[0].severity, Severity::Notice, "{version} {kind}");
    }
}

#[test]
fn lists_documents_and_json_hold_many_objects() {
    let text = r#"{"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}},
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}},
        {"apiVersion": "v1", "kind": "PodList", "items": [
            {"metadata": {"name": "b", "namespace": "n"}}]}]}"#;
    let names = |text: &str| -> Vec<String> {
        let found = read_text("t.json", text).unwrap();
        found.objects.iter().map(|object| object.metadata().key.to_string()).collect()
    };
    assert_eq!(names(text), ["Pod default/a", "Namespace n", "Pod n/b"]);
    let bare = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicyList\nitems:\n- metadata: \
                {name: p}\n  spec: {}\n";
    assert_eq!(names(bare), ["NetworkPolicy default/p"]);
    let two = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n---\n# words\n---\napiVersion: \
               v1\nkind: Pod\nmetadata: {name: b}\n";
    assert_eq!(names(two), ["Pod default/a", "Pod default/b"]);
}

#[test]
fn a_file_that_holds_no_objects_is_refused_and_named() {
    for (text, wanted) in [
        ("", "is empty"),
        (" \n---\n\n", "is empty"),
        ("\u{feff}", "is empty"),
        ("--- # words\n...\n", "is empty"),
        ("null\n", "holds nothing"),
        ("~", "holds nothing"),
        ("---\n# c\n---\n~\n", "holds nothing"),
        ("null # was a policy\n---\nNull\n", "holds nothing"),
        ("apiVersion: v1\nkind: List\n", "a List without items"),
        ("apiVersion: v1\nkind: PodList\nitems: null\n", "a List without items"),
        ("hello", "holds text"),
        ("- a\n- b\n", "holds a list"),
        ("a: [", "is not YAML"),
        // Comments alone: a policy file that lost its objects must not open anything.
        ("# nothing yet\n---\n  # nor here\n", "empty"),
        ("a: 1\na: 2\n", "twice"),
        ("metadata: {name: p}\nspec: {podSelector: {}}\n", "without a kind"),
        ("kind: 5\n", "without a kind"),
        ("apiVersion: v1\nkind: List\nitems: {}\n", "items are no list"),
        ("apiVersion: v1\nkind: List\nitems: [null]\n", "holds nothing"),
        ("a: !odd b\n", "tag"),
    ] {
        let problem = read_text("web.yaml", text).unwrap_err();
        assert!(problem.message.contains(wanted), "{text:?}: {problem}");
        assert_eq!(problem.file.as_deref(), Some("web.yaml"), "{text:?}");
        assert!(!problem.remedy.is_empty(), "{text:?}");
    }
}

/// Pod a, a document that is none, pod b.
fn around(middle: &str) -> String {
    let pod = |name| format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\n");
    format!("{}---\n{middle}\n---\n{}", pod("a"), pod("b"))
}

#[test]
fn a_document_that_is_no_object_hides_no_other_and_is_told_by_number_and_line() {
    for (stray, wanted) in [
        ("- 1", "holds a list where an object must be"),
        ("just words", "holds text where an object must be"),
        ("null", "holds nothing where an object must be"),
        ("{apiVersion: v1, kind: List}", "holds a List without items"),
        ("5", "holds a number where an object must be"),
        ("metadata: {name: c}", "holds an object without a kind"),
        ("{apiVersion: v1, kind: [Pod]}", "holds an object without a kind"),
        ("{apiVersion: v1, kind: List, items: {}}", "holds a List whose items are no list"),
    ] {
        let found = read_text("t.yaml", &around(stray)).unwrap();
        let names: Vec<_> =
            found.objects.iter().map(|one| one.metadata().key.to_string()).collect();
        assert_eq!(names, ["Pod default/a", "Pod default/b"], "{stray}");
        assert_eq!(found.strays, [2], "{stray}");
        let [told] = found.problems.as_slice() else { panic!("{stray}: {:?}", found.problems) };
        assert_eq!((told.severity, told.line), (Severity::Error, Some(5)), "{stray}");
        assert_eq!((told.object.as_str(), told.file.as_deref()), ("document 2", Some("t.yaml")));
        assert!(told.message.starts_with(wanted) && !told.remedy.is_empty(), "{stray}: {told}");
    }
}

#[test]
fn an_item_that_is_no_object_hides_no_other_and_is_told_by_its_place() {
    let text = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: \
                a}}\n- 1\n- {apiVersion: v1, kind: List, items: [{metadata: {name: c}}]}\n- \
                {apiVersion: v1, kind: Pod, metadata: {name: b}}\n";
    let found = read_text("t.yaml", text).unwrap();
    assert_eq!(found.objects.len(), 2);
    let told: Vec<_> = found.problems.iter().map(|one| (one.line, one.field.as_str())).collect();
    assert_eq!(told, [(Some(5), "items[1]"), (Some(6), "items[2].items[0]")]);
    assert_eq!(found.strays, [1, 1]);
}

#[test]
fn a_document_that_lost_its_kind_but_looks_like_a_policy_is_one_that_opens_nothing() {
    let policy = policy("x/p", "policyTypes: [Ingress], ingress: [{}]");
    let policy = policy.trim_end_matches("---\n");
    for (kind, wanted) in [
        ("", "holds an object without a kind, but looks like a NetworkPolicy"),
        ("kind: NetworkPolcy\n", "holds a \"NetworkPolcy\", but looks like a NetworkPolicy"),
    ] {
        let lost = policy.replace("kind: NetworkPolicy\n", kind);
        let found = read_text("t.yaml", &around(&lost)).unwrap();
        assert_eq!((found.objects.len(), found.strays.as_slice()), (2, [2].as_slice()), "{kind}");
        let [Object::Policy(stand_in)] = found.stand_ins.as_slice() else { panic!("{found:?}") };
        assert_eq!(stand_in.metadata.key.to_string(), "NetworkPolicy x/p");
        assert_eq!(shape_of(stand_in), "i:-", "{kind}");
        assert_eq!(found.problems[0].message, wanted);
        // A file of nothing else is no manifest.
        assert_eq!(read_text("t.yaml", &lost).unwrap_err().message, wanted);
    }
    // What another group calls its own is no business of ours.
    let other =
        policy.replace("networking.k8s.io/v1", "example.org/v1").replace("Policy\n", "Foo\n");
    assert_eq!(read_text("t.yaml", &other).unwrap().strays, [0u32; 0]);
}

#[test]
fn a_json_file_that_is_none_is_told_so_with_line_and_column() {
    for (text, wanted) in [
        ("{\"a\": 1\n  \"b\": 2}", "is not JSON: expected `,` or `}` at line 2 column 3"),
        ("{\"a\": 1,", "is not JSON: EOF while parsing"),
        ("{\"a\": \"\\ud83d\"}", "is not JSON: unexpected end of hex escape at line 1 column 14"),
        ("kind: [", "is not JSON: expected value at line 1 column 1"),
        ("{\"a\": 1, \"a\": 2}", "has the key \"a\" twice"),
    ] {
        let told = read_text("web.json", text).unwrap_err();
        assert!(told.message.starts_with(wanted), "{text}: {told}");
        assert!(told.line.is_some() && !told.message.contains("YAML"), "{text}: {told}");
    }
    let told = read_text("web.yaml", "a: 1\nb: [1, 2\nc").unwrap_err();
    assert!(told.message.contains("is not YAML") && told.message.contains("column"), "{told}");
}

#[test]
fn what_json_writes_as_two_halves_of_a_letter_is_read_as_one() {
    let text = r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "annotations": {
        "\\ud83d": "\ud83d\uDE00!", "lockgate.dev/interface": "lg\u0030"}}}"#;
    for name in ["t.json", "t.yaml"] {
        let found = read_text(name, text).unwrap();
        assert_eq!(found.problems, [], "{name}");
        let Some(Object::Pod(pod)) = found.objects.first() else { panic!("{found:?}") };
        assert_eq!(pod.interface.as_deref(), Some("lg0"), "{name}");
    }
    let annotation = |text: &str| json::joined(text).into_owned();
    assert_eq!(
        annotation(r#"{"a": "x\ud83d\ude00\u003c\ud83d\ude00"}"#),
        "{\"a\": \"x😀\\u003c😀\"}"
    );
    // An escaped backslash begins no escape, and half a letter is none.
    for same in [r#"{"a": "\\ud83d\\ude00"}"#, r#"{"a": "\ud83d"}"#, r#"{"a": "\ude00\ud83d"}"#] {
        assert_eq!(annotation(same), same);
    }
}

#[test]
fn a_policy_without_a_usable_name_is_enforced_under_its_file_and_place() {
    let text = "apiVersion: v1\nkind: ConfigMap\n---\napiVersion: networking.k8s.io/v1\nkind: \
                NetworkPolicy\nmetadata: {namespace: x}\nspec: {podSelector: {}}\n";
    let read = one(text);
    assert_eq!(read.metadata.key.to_string(), "NetworkPolicy x/t.yaml#1");
    assert_eq!(shape_of(&read), "i:");
    let said = problems(text);
    assert!(said.iter().any(|one| one.message == "the object has no name"), "{said:?}");
    let text = text.replace("{namespace: x}", "{namespace: [x], name: {}}");
    assert_eq!(one(&text).metadata.key.to_string(), "NetworkPolicy ?t.yaml#1/t.yaml#1");
    let text = text.replace("{namespace: [x], name: {}}", "{namespace: 7, name: A_b}");
    assert_eq!(one(&text).metadata.key.to_string(), "NetworkPolicy ?7/A_b");
    assert_eq!(problems(&text).iter().filter(|one| one.severity == Severity::Error).count(), 2);
}

#[test]
fn control_characters_of_a_manifest_never_reach_a_message() {
    let text = policy("x/p", r#""ingress": [{"fr\e[2Jom": [], "ports": [{"port": "\x07"}]}]"#);
    for problem in problems(&text) {
        let json = serde_json::to_string(&problem).unwrap();
        assert!(!problem.to_string().contains(char::is_control), "{problem:?}");
        assert!(json.contains("u{1b}") || json.contains("u{7}"), "{json}");
    }
}

#[test]
fn no_namespace_and_an_empty_one_mean_default() {
    for metadata in ["{name: p}", "{name: p, namespace: ''}", "{name: p, namespace: null}"] {
        let text = format!(
            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {metadata}\nspec: \
             {{podSelector: {{}}}}\n"
        );
        assert_eq!(one(&text).metadata.key.to_string(), "NetworkPolicy default/p");
        assert_eq!(problems(&text), [], "{metadata}");
    }
}

proptest! {
    /// A panic would stop the switch: whatever a file holds, it is read or refused.
    #[test]
    fn no_text_makes_the_reader_panic(
        text in "[\\[\\]{}:,&*!|>'\"%@`#?\\-\\. \\t\\n\\\\a-c0-9<~\u{0}\u{feff}é]{0,60}",
    ) {
        let _ = read_text("t.yaml", &text);
    }

    /// The same for a manifest with a hole or a blot in it.
    #[test]
    fn no_damage_to_a_manifest_makes_the_reader_panic(
        place in 0usize..700, gone in 0usize..20, blot in "[\\[\\]{}:,&*!|>'\" \n\\-a]{0,4}",
    ) {
        let whole = crate::sample::small() + &policy("x/p", "ingress: [{ports: [{port: 80}]}]");
        let damaged: String = whole
            .chars()
            .take(place)
            .chain(blot.chars())
            .chain(whole.chars().skip(place + gone))
            .collect();
        let _ = read_text("t.yaml", &damaged);
    }
}

fn a_pod(text: &str) -> Pod {
    match read_text("t.yaml", text).unwrap().objects.remove(0) {
        Object::Pod(pod) => pod,
        other => panic!("{other:?}"),
    }
}

#[test]
fn np_22_only_what_keeps_running_declares_ports() {
    let pod = a_pod(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n  - ports:\n    \
         - {name: web, containerPort: 80}\n    \
         - {name: dns, containerPort: 53, protocol: UDP}\n    \
         - {containerPort: 81}\n  - ports: [{name: web, containerPort: 8080}]\n  \
         initContainers:\n  - ports: [{name: setup, containerPort: 1}]\n  - restartPolicy: \
         Always\n    ports: [{name: side, containerPort: 2}]\n",
    );
    let found = |name, protocol| pod.port(name, protocol);
    assert_eq!(found("web", Tcp), Some(80), "the first of two");
    assert_eq!(found("web", Udp), None);
    assert_eq!(found("dns", Udp), Some(53));
    assert_eq!(found("setup", Tcp), None);
    assert_eq!(found("side", Tcp), Some(2));
}

#[test]
fn a_pods_fields_are_read_as_far_as_they_can_be() {
    let pod = a_pod(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\n  labels: {n: '1'}\n  \
         annotations: {lockgate.dev/interface: lgp0, lockgate.dev/mac: '02:00:00:00:00:0a'}\n\
         spec: {hostNetwork: false}\nstatus:\n  phase: Running\n  podIP: 10.0.0.1\n  podIPs: \
         [{ip: 10.0.0.1}, {ip: 'fd00::1'}, {ip: 10.0.0.1}, {ip: nonsense}, {}]\n  hostIP: \
         192.0.2.1\n",
    );
    assert_eq!(pod.labels.unwrap().get("n"), Some("1"));
    assert_eq!(
        pod.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["10.0.0.1", "fd00::1"]
    );
    assert_eq!(pod.interface.as_deref(), Some("lgp0"));
    assert_eq!(pod.mac.unwrap().to_string(), "02:00:00:00:00:0a");
    assert_eq!(pod.host_ips.len(), 1);
    for (odd, field) in [
        ("spec: {hostNetwork: maybe}", "spec.hostNetwork"),
        ("spec: {containers: {}}", "spec.containers"),
        ("spec: {containers: [{ports: [{name: Web, containerPort: 1}]}]}", "spec.containers[0]."),
        ("spec: {containers: [{ports: [{name: web, containerPort: 0}]}]}", "spec.containers[0]."),
        ("spec: {containers: [{ports: [{name: web}]}]}", "spec.containers[0].ports[0]"),
        ("status: {podIP: 300.0.0.1}", "status.podIP"),
        ("status: {podIPs: [{ip: 224.0.0.1}]}", "status.podIPs[0].ip"),
        ("status: {podIPs: 10.0.0.1}", "status.podIPs"),
    ] {
        let text = format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\n{odd}\n");
        let said = problems(&text);
        let is_told =
            |one: &Problem| one.severity == Severity::Error && one.field.starts_with(field);
        assert!(said.iter().any(is_told), "{odd}: {said:?}");
    }
    for (annotation, value) in [
        ("interface", "''"),
        ("interface", "a/b"),
        ("interface", "sixteen-letters1"),
        ("mac", "'02:00:00:00:00'"),
        ("mac", "'01:00:00:00:00:01'"),
        ("mac", "'00:00:00:00:00:00'"),
        ("mac", "'02:00:00:00:00:0g'"),
    ] {
        let text = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: p, annotations: \
             {{lockgate.dev/{annotation}: {value}}}}}\n"
        );
        let pod = a_pod(&text);
        assert!(pod.interface.is_none() && pod.mac.is_none(), "{value}");
        assert!(problems(&text).iter().any(|one| one.severity == Severity::Error), "{value}");
    }
}

/// The addresses of a pod that lists these, and what is said of them: field, and message.
fn listed(spec: &str, addresses: &[&str]) -> (Vec<String>, Vec<Problem>) {
    let items: Vec<String> = addresses.iter().map(|one| format!("{{ip: '{one}'}}")).collect();
    let text = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec: {spec}\nstatus: {{podIPs: \
         [{}]}}\n",
        items.join(", ")
    );
    let used = a_pod(&text).addresses.iter().map(ToString::to_string).collect();
    (used, read_text("t.yaml", &text).unwrap().problems)
}

#[test]
fn an_address_that_no_pod_can_have_is_told_and_not_used() {
    for (address, why) in [
        ("169.254.1.1", "the switch's gateway"),
        ("169.254.7.7", "link-local"),
        ("fe80::1", "the switch's gateway"),
        ("fe80::5", "link-local"),
        ("febf:ffff::1", "link-local"),
        ("127.0.0.1", "loopback"),
        ("127.9.9.9", "loopback"),
        ("::1", "loopback"),
        ("0.0.0.0", "unspecified"),
        ("0.1.2.3", "unspecified"),
        ("::", "unspecified"),
        ("224.0.0.1", "multicast"),
        ("239.255.255.255", "multicast"),
        ("ff02::1", "multicast"),
        ("255.255.255.255", "broadcast"),
        ("240.0.0.1", "reserved"),
        ("::ffff:10.0.0.9", "IPv4 written as IPv6"),
        ("::10.0.0.9", "IPv4 written as IPv6"),
    ] {
        for (list, at) in [([address, "10.0.0.1"], 0), (["fd00::1", address], 1)] {
            let (used, said) = listed("{}", &list);
            assert_eq!(used, [list[1 - at]], "{address}: the other one is still used");
            let [told] = said.as_slice() else { panic!("{address}: {said:?}") };
            assert_eq!((told.severity, told.object.as_str()), (Severity::Error, "Pod default/p"));
            assert_eq!(told.field, format!("status.podIPs[{at}].ip"), "{address}");
            assert!(told.message.contains(why), "{told}");
            assert!(told.remedy.contains("until then it is not used"), "{told}");
        }
    }
    for address in ["10.0.0.1", "169.253.255.255", "203.0.113.1", "223.255.255.255", "fd00::1"] {
        assert_eq!(listed("{}", &[address]), (vec![address.to_owned()], vec![]));
    }
}

#[test]
fn of_two_addresses_of_one_family_the_first_is_used() {
    for (list, used, at) in [
        (vec!["10.0.0.1", "10.0.0.2"], vec!["10.0.0.1"], 1),
        (vec!["fd00::1", "10.0.0.1", "fd00::2"], vec!["fd00::1", "10.0.0.1"], 2),
        // One that cannot be used takes nobody's place.
        (vec!["10.0.0.1", "fd00::1", "10.0.0.1", "10.0.0.3"], vec!["10.0.0.1", "fd00::1"], 3),
    ] {
        let (seen, said) = listed("{}", &list);
        assert_eq!(seen, used, "{list:?}");
        let [told] = said.as_slice() else { panic!("{list:?}: {said:?}") };
        assert_eq!(told.field, format!("status.podIPs[{at}].ip"), "{list:?}");
        assert_eq!(told.severity, Severity::Error);
        assert!(told.message.contains("a second IPv"), "{told}");
    }
    let (used, said) = listed("{}", &["127.0.0.1", "10.0.0.1"]);
    assert_eq!((used.as_slice(), said.len()), (["10.0.0.1".to_owned()].as_slice(), 1));
}

#[test]
fn of_an_address_and_a_list_that_contradict_each_other_neither_is_used() {
    for host_network in [false, true] {
        for (name, list) in [("podIP", "podIPs"), ("hostIP", "hostIPs")] {
            for (single, is_sound) in [
                ("10.0.0.1", true),
                ("'fd00::1'", true),
                ("null", true),
                ("''", true),
                ("10.0.0.2", false),
                ("nonsense", false),
            ] {
                let text = format!(
                    "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec: {{hostNetwork: \
                     {host_network}}}\nstatus: {{{name}: {single}, {list}: [{{ip: 10.0.0.1}}, \
                     {{ip: 'fd00:0::1'}}]}}\n"
                );
                let said = problems(&text);
                let told = said.iter().find(|one| one.field == format!("status.{name}"));
                let severity = told.map(|one| one.severity);
                assert_eq!(severity, (!is_sound).then_some(Severity::Error), "{text}{said:?}");
                let pod = a_pod(&text);
                let used = if name == "podIP" { pod.addresses } else { pod.host_ips };
                assert_eq!(used.len(), if is_sound { 2 } else { 0 }, "{text}");
                if let Some(told) = told {
                    assert!(told.remedy.starts_with("write the same in both"), "{told}");
                }
            }
        }
    }
}

#[test]
fn np_41_a_pod_on_its_nodes_network_may_have_whatever_its_node_has() {
    let list = ["192.0.2.1", "192.0.2.2", "169.254.1.1", "fe80::7"];
    let (used, said) = listed("{hostNetwork: true}", &list);
    assert_eq!((used.as_slice(), said), (list.map(str::to_owned).as_slice(), vec![]));
}

#[test]
fn np_41_an_address_of_its_node_is_none_of_a_pod_that_is_not_on_its_network() {
    let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nstatus: {hostIPs: [{ip: 'fd00::9'}, \
                {ip: 192.0.2.1}], podIPs: [{ip: 192.0.2.1}, {ip: 'fd00::1'}]}\n";
    assert_eq!(*a_pod(text).addresses, ["fd00::1".parse::<std::net::IpAddr>().unwrap()]);
    let said = problems(text).into_iter().find(|one| one.severity == Severity::Error).unwrap();
    assert_eq!(said.field, "status.podIPs[0].ip");
    assert!(said.remedy.starts_with("set hostNetwork: true"), "{said}");
}

#[test]
fn what_is_missing_is_told_by_where_it_would_be() {
    let pod = "kind: Pod, metadata: {name: p}";
    let policy = "kind: NetworkPolicy, metadata: {name: p}";
    let from = "spec: {podSelector: {}, ingress: [{from: [";
    let select =
        |what: &str| format!("{policy}, spec: {{podSelector: {{matchExpressions: [{{{what}}}]}}}}");
    let at = "spec.podSelector.matchExpressions[0]";
    for (object, field) in [
        (select("key: a, operator: In"), format!("{at}.values")),
        (select("key: a, operator: Exists, values: [b]"), format!("{at}.values")),
        (select("operator: Exists"), format!("{at}.key")),
        (select("key: a"), format!("{at}.operator")),
        (
            format!("{policy}, {from}{{ipBlock: {{except: []}}}}]}}]}}"),
            "spec.ingress[0].from[0].ipBlock.cidr".to_owned(),
        ),
        (
            format!("{pod}, spec: {{containers: [{{ports: [{{name: web}}]}}]}}"),
            "spec.containers[0].ports[0].containerPort".to_owned(),
        ),
        (format!("{pod}, status: {{podIPs: [{{}}]}}"), "status.podIPs[0].ip".to_owned()),
        ("kind: Pod, metadata: {namespace: x}".to_owned(), "metadata.name".to_owned()),
        ("kind: Pod".to_owned(), "metadata".to_owned()),
    ] {
        let version = if object.contains("Policy") { "networking.k8s.io/v1" } else { "v1" };
        let said = problems(&format!("{{apiVersion: {version}, {object}}}\n"));
        let errors = said.iter().filter(|one| one.severity == Severity::Error);
        let told: Vec<_> = errors.map(|one| one.field.as_str()).collect();
        assert_eq!(told, [field], "{object}");
    }
}

#[test]
fn a_manifest_is_known_by_its_ending_in_any_case() {
    for name in ["a.yaml", "a.yml", "a.json", "A.YAML", "a.Yml", "a.b.JSON"] {
        assert!(is_manifest(name), "{name}");
    }
    for name in ["a.txt", ".a.yaml", "yaml", "a.yaml~", "a.yaml.bak", "a"] {
        assert!(!is_manifest(name), "{name}");
    }
}
