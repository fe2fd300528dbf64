use proptest::prelude::*;

use super::*;
use crate::selector::Requirement;

fn read(text: &str) -> Expression {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().copied().collect()
}

#[test]
fn what_must_be_accepted_is() {
    for (text, printed) in [
        ("", "all()"),
        (" \t ", "all()"),
        ("all()", "all()"),
        ("all( )", "all()"),
        ("global( \t)", "global()"),
        ("has(a)", "has(a)"),
        ("has( a.b/c-d_e )", "has(a.b/c-d_e)"),
        ("a==\"b\"", "a == \"b\""),
        ("a == 'b'", "a == \"b\""),
        ("a == 'say \"b\"'", "a == 'say \"b\"'"),
        ("a == \"it's\"", "a == \"it's\""),
        ("a == ''", "a == \"\""),
        ("a!='b'", "a != \"b\""),
        ("a contains 'b'", "a contains \"b\""),
        ("contains contains \"contains\"", "contains contains \"contains\""),
        ("starts starts with 'with'", "starts starts with \"with\""),
        ("a startswith 'b'", "a starts with \"b\""),
        ("a starts \t with'b'", "a starts with \"b\""),
        ("ends endswith 'b'", "ends ends with \"b\""),
        ("a in {}", "a in {}"),
        ("a in{'y','x','x',}", "a in {\"x\", \"y\"}"),
        ("in in {'in'}", "in in {\"in\"}"),
        ("not notin {'x'}", "not not in {\"x\"}"),
        ("a not in { 'x' , 'y' }", "a not in {\"x\", \"y\"}"),
        ("all == 'x'", "all == \"x\""),
        ("has == 'x'", "has == \"x\""),
        ("global != 'x'", "global != \"x\""),
        ("!a in {\"x\"}", "!a in {\"x\"}"),
        ("!!has(a)", "has(a)"),
        ("! ! !has(a)", "!has(a)"),
        ("(((has(a))))", "has(a)"),
        ("!(has(a) || has(b))", "!(has(a) || has(b))"),
        ("has(a)&&has(b)||has(c)", "has(a) && has(b) || has(c)"),
        ("has(a)&&(has(b)||has(c))", "has(a) && (has(b) || has(c))"),
        ("(has(a)&&has(b))&&has(c)", "(has(a) && has(b)) && has(c)"),
        ("1 == '2'", "1 == \"2\""),
        ("a == 'ü'", "a == \"ü\""),
        (
            "safe.k8s.fmeserver.component contains 'engine'",
            "safe.k8s.fmeserver.component contains \"engine\"",
        ),
    ] {
        let expression = read(text);
        assert_eq!(expression.to_string(), printed, "{text}");
        assert_eq!(read(printed), expression, "{text}");
    }
}

#[test]
fn what_must_be_rejected_is_and_says_where() {
    for (text, at) in [
        ("b == b", 6),
        ("'b1' == b", 1),
        ("b", 2),
        ("a b", 3),
        ("!", 2),
        ("foo == \"x\" &", 12),
        ("foo in \"\"", 8),
        ("()", 2),
        ("%", 1),
        ("has(foo) &&", 12),
        ("a == 'x", 6),
        ("a == \"x'", 6),
        ("a = 'x'", 3),
        ("a | 'x'", 3),
        ("has(a) | has(b)", 8),
        ("has()", 1),
        ("has(a", 1),
        ("has (a)", 5),
        ("all (", 5),
        ("all ()", 5),
        ("all(x)", 1),
        ("global(", 1),
        ("(has(a)", 8),
        ("has(a))", 7),
        ("has(a) has(b)", 8),
        ("a == 'x'\n", 9),
        ("a\n== 'x'", 2),
        ("a in {'x'", 10),
        ("a in {'x' 'y'}", 11),
        ("a in {,}", 7),
        ("a in {x}", 7),
        ("a not 'x'", 3),
        ("a starts 'x'", 3),
        ("a == 'x' || ", 13),
        ("&& has(a)", 1),
        ("a == 'x' 'y'", 10),
        ("ü == 'x'", 1),
        ("a == 'ü' %", 10),
        ("a contains", 11),
        ("{'x'}", 1),
        (",", 1),
    ] {
        let error = text.parse::<Expression>().expect_err(text);
        assert_eq!(error.at, at, "{text}: {error}");
    }
}

#[test]
fn length_and_depth_are_bounded() {
    let value = "x".repeat(LENGTH_MAX - "a == ''".len());
    assert!(format!("a == '{value}'").parse::<Expression>().is_ok());
    assert!(format!("a == '{value}x'").parse::<Expression>().is_err());
    let wide = "ü".repeat(LENGTH_MAX - "a == ''".len());
    assert!(format!("a == '{wide}'").parse::<Expression>().is_ok(), "characters, not bytes");
    let nested = |depth| format!("{}has(a){}", "(".repeat(depth), ")".repeat(depth));
    assert!(nested(DEPTH_MAX).parse::<Expression>().is_ok());
    assert!(nested(DEPTH_MAX + 1).parse::<Expression>().is_err());
    assert!(format!("has({})", "x".repeat(512)).parse::<Expression>().is_ok());
    assert!(format!("has({})", "x".repeat(513)).parse::<Expression>().is_err());
    assert!(("!".repeat(1000) + "has(a)").parse::<Expression>().is_ok());
}

#[test]
fn each_comparison_on_a_label_that_fits_differs_is_empty_and_absent() {
    let worlds =
        [labels(&[("k", "abc")]), labels(&[("k", "x")]), labels(&[("k", "")]), labels(&[])];
    for (text, wanted) in [
        ("k == 'abc'", [true, false, false, false]),
        ("k != 'abc'", [false, true, true, true]),
        ("k contains 'b'", [true, false, false, false]),
        ("k contains ''", [true, true, true, false]),
        ("k starts with 'ab'", [true, false, false, false]),
        ("k ends with 'bc'", [true, false, false, false]),
        ("k in {'abc', 'q'}", [true, false, false, false]),
        ("k not in {'abc', 'q'}", [false, true, true, true]),
        ("k in {}", [false, false, false, false]),
        ("k not in {}", [true, true, true, true]),
        ("has(k)", [true, true, true, false]),
        ("!has(k)", [false, false, false, true]),
        ("!k == 'abc'", [false, true, true, true]),
        ("!k in {'abc'}", [false, true, true, true]),
        ("!k != 'abc'", [true, false, false, false]),
        ("all()", [true, true, true, true]),
        ("!all()", [false, false, false, false]),
        ("global()", [true, true, true, true]),
        // `&&` binds closer than `||`, `!` closer than both.
        ("has(z) && has(z) || has(k)", [true, true, true, false]),
        ("has(k) || has(z) && has(z)", [true, true, true, false]),
        ("has(z) && (has(z) || has(k))", [false, false, false, false]),
        ("!has(z) && has(k)", [true, true, true, false]),
        ("!(has(z) && has(k))", [true, true, true, true]),
    ] {
        let expression = read(text);
        assert_eq!(worlds.each_ref().map(|world| expression.matches(world)), wanted, "{text}");
    }
    assert!(!read("global()").matches(&labels(&[(NAMESPACE, "x")])));
}

#[test]
fn a_label_that_is_unknown_makes_only_what_depends_on_it_unknown() {
    let seen = |key: &str| match key {
        "u" => Seen::Unknown,
        "k" => Seen::Value("1"),
        _ => Seen::Absent,
    };
    for (text, wanted) in [
        ("has(u)", None),
        ("!has(u)", None),
        ("u != 'x'", None),
        ("has(u) && has(k)", None),
        ("has(u) && has(z)", Some(false)),
        ("has(u) || has(k)", Some(true)),
        ("has(u) || has(z)", None),
        ("has(k)", Some(true)),
        ("all()", Some(true)),
    ] {
        assert_eq!(read(text).judge(&seen), wanted, "{text}");
    }
}

#[test]
fn what_an_index_may_use_is_the_narrowest_that_every_match_has() {
    for (text, wanted) in [
        ("a == 'x'", "a=[\"x\"]"),
        ("a in {'x', 'y'}", "a=[\"x\", \"y\"]"),
        ("a in {}", "a=[]"),
        ("has(a)", "a"),
        ("a contains 'x'", "a"),
        ("a starts with 'x'", "a"),
        ("a ends with 'x'", "a"),
        ("has(a) && b in {'x', 'y'} && c == 'z'", "c=[\"z\"]"),
        ("has(a) && b != 'x'", "a"),
        ("a != 'x' && !has(b)", "-"),
        ("a != 'x'", "-"),
        ("a not in {'x'}", "-"),
        ("!has(a)", "-"),
        ("a == 'x' || a == 'y'", "-"),
        ("(a == 'x' || b == 'y') && has(c)", "c"),
        ("all()", "-"),
        ("global()", "-"),
    ] {
        let expression = read(text);
        let seen = match expression.needs() {
            None => "-".to_owned(),
            Some(Needs::Key(key)) => key.to_owned(),
            Some(Needs::Values(key, values)) => format!("{key}={values:?}"),
        };
        assert_eq!(seen, wanted, "{text}");
    }
}

#[test]
fn a_miss_says_what_is_wanted_and_what_is_there() {
    let world = labels(&[("a", "1"), ("b", "2")]);
    for (text, wanted) in [
        ("a == '1'", vec![]),
        ("a == '2'", vec!["a == \"2\" wanted, has a=1"]),
        ("has(c)", vec!["has(c) wanted, has no c"]),
        (
            "a == '1' && b == '1' && has(c)",
            vec!["b == \"1\" wanted, has b=2", "has(c) wanted, has no c"],
        ),
        ("a == '3' || has(c)", vec!["a == \"3\" || has(c) wanted, has a=1, has no c"]),
        ("!has(a)", vec!["!has(a) wanted, has a=1"]),
        ("!all()", vec!["!all() wanted"]),
    ] {
        assert_eq!(read(text).misses(&|key| world.get(key)), wanted, "{text}");
    }
}

#[test]
fn selectors_of_namespaces_and_accounts_are_about_their_labels() {
    for (text, of_namespaces, of_accounts) in [
        ("all()", "has(projectcalico.org/namespace)", "all()"),
        ("a == 'x'", "pcns.a == \"x\"", "pcsa.a == \"x\""),
        ("!has(a)", "!has(pcns.a)", "!has(pcsa.a)"),
        (
            "has(a) && (all() || b not in {'x'})",
            "has(pcns.a) && (has(projectcalico.org/namespace) || pcns.b not in {\"x\"})",
            "has(pcsa.a) && (all() || pcsa.b not in {\"x\"})",
        ),
    ] {
        assert_eq!(read(text).of_namespaces().to_string(), of_namespaces);
        assert_eq!(read(text).of_accounts().to_string(), of_accounts);
    }
    assert!(read("has(a) || !global()").says_global() && !read("all()").says_global());
}

fn any_expression() -> impl Strategy<Value = Expression> {
    let key =
        || prop_oneof![Just("a"), Just("b"), Just("in"), Just(NAMESPACE)].prop_map(str::to_owned);
    let value = || prop_oneof![Just(""), Just("x"), Just("xy"), Just("y"), Just("'"), Just("\"")];
    let text = move || value().prop_map(str::to_owned);
    let set = move || {
        proptest::collection::btree_set(text(), 0..3).prop_map(|set| set.into_iter().collect())
    };
    let comparison = prop_oneof![
        text().prop_map(Comparison::Equal),
        text().prop_map(Comparison::NotEqual),
        text().prop_map(Comparison::Contains),
        text().prop_map(Comparison::StartsWith),
        text().prop_map(Comparison::EndsWith),
        set().prop_map(Comparison::In),
        set().prop_map(Comparison::NotIn),
    ];
    let leaf = prop_oneof![
        1 => Just(Expression::All),
        1 => Just(Expression::Global),
        2 => key().prop_map(Expression::Has),
        6 => (key(), comparison).prop_map(|(key, comparison)| Expression::Compare(key, comparison)),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        let several = proptest::collection::vec(inner.clone(), 2..4);
        prop_oneof![
            inner.prop_map(|one| match one {
                Expression::Not(_) => one,
                other => Expression::Not(Box::new(other)),
            }),
            several.clone().prop_map(Expression::And),
            several.prop_map(Expression::Or),
        ]
    })
}

fn any_labels() -> impl Strategy<Value = Labels> {
    let value = || proptest::option::of(prop_oneof![Just(""), Just("x"), Just("xy"), Just("yx")]);
    (value(), value(), value()).prop_map(|(a, b, namespace)| {
        let pairs = [("a", a), ("b", b), (NAMESPACE, namespace)];
        pairs.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    })
}

/// Evaluates by the letter of the grammar, without a thought for speed.
fn obvious(expression: &Expression, labels: &Labels) -> bool {
    let has = |key: &str, test: &dyn Fn(&str) -> bool| labels.get(key).is_some_and(test);
    match expression {
        Expression::All => true,
        Expression::Global => labels.get(NAMESPACE).is_none(),
        Expression::Has(key) => labels.iter().any(|pair| pair.0 == key),
        Expression::Not(inner) => !obvious(inner, labels),
        Expression::And(parts) => parts.iter().filter(|part| !obvious(part, labels)).count() == 0,
        Expression::Or(parts) => parts.iter().filter(|part| obvious(part, labels)).count() > 0,
        Expression::Compare(key, comparison) => match comparison {
            Comparison::Equal(v) => has(key, &|one| one == v),
            Comparison::NotEqual(v) => !has(key, &|one| one == v),
            Comparison::Contains(v) => has(key, &|one| one.contains(v.as_str())),
            Comparison::StartsWith(v) => has(key, &|one| one.starts_with(v.as_str())),
            Comparison::EndsWith(v) => has(key, &|one| one.ends_with(v.as_str())),
            Comparison::In(set) => has(key, &|one| set.iter().any(|v| v == one)),
            Comparison::NotIn(set) => !has(key, &|one| set.iter().any(|v| v == one)),
        },
    }
}

proptest! {
    #[test]
    fn an_expression_is_printed_as_it_is_read(expression in any_expression()) {
        let printed = expression.to_string();
        prop_assume!(printed.chars().count() <= LENGTH_MAX);
        prop_assert_eq!(printed.parse::<Expression>(), Ok(expression));
    }

    #[test]
    fn it_matches_what_the_obvious_evaluator_says(
        expression in any_expression(), labels in any_labels()
    ) {
        let matches = expression.matches(&labels);
        prop_assert_eq!(matches, obvious(&expression, &labels));
        prop_assert_eq!(expression.misses(&|key| labels.get(key)).is_empty(), matches);
        if let (true, Some(needs)) = (matches, expression.needs()) {
            let holds = match needs {
                Needs::Key(key) => labels.get(key).is_some(),
                Needs::Values(key, values) => {
                    labels.get(key).is_some_and(|has| values.iter().any(|one| one == has))
                }
            };
            prop_assert!(holds, "{} needs {:?}", expression, needs);
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "[ab=!&|(){}'\", \tinhasl.ü\n]{0,40}") {
        if let Ok(expression) = text.parse::<Expression>() {
            prop_assert_eq!(expression.to_string().parse::<Expression>(), Ok(expression));
        }
    }

    #[test]
    fn a_selector_of_kubernetes_becomes_an_expression_that_matches_the_same(
        values in proptest::collection::btree_set("[xy]{1,2}", 1..3), which in 0..4_u8,
        labels in any_labels()
    ) {
        let values: Vec<String> = values.into_iter().collect();
        let operator = match which {
            0 => Operator::In(values),
            1 => Operator::NotIn(values),
            2 => Operator::Exists,
            _ => Operator::DoesNotExist,
        };
        let requirement = |key: &str| Requirement { key: key.into(), operator: operator.clone() };
        let selector = LabelSelector::new(vec![requirement("a"), requirement("b")]);
        prop_assert_eq!(Expression::from(&selector).matches(&labels), selector.matches(&labels));
    }
}
