use super::*;

fn only(text: &str) -> Value {
    parse("t.yaml", text).unwrap().remove(0).root.value
}

#[test]
fn a_scalar_is_what_it_looks_like() {
    for (text, wanted) in [
        ("80", Value::Integer(80)),
        ("\"80\"", Value::Text("80".into())),
        ("'80'", Value::Text("80".into())),
        ("-1", Value::Integer(-1)),
        ("!!str 80", Value::Text("80".into())),
        ("010", Value::Number("010".into())),
        ("0x50", Value::Number("0x50".into())),
        ("1e3", Value::Number("1e3".into())),
        ("1_000", Value::Number("1_000".into())),
        ("80.0", Value::Number("80.0".into())),
        ("7e12345", Value::Text("7e12345".into())),
        ("1234e567", Value::Text("1234e567".into())),
        ("0x123456789abcdef01", Value::Text("0x123456789abcdef01".into())),
        ("0x+5", Value::Text("0x+5".into())),
        ("99999999999999999999", Value::Number("99999999999999999999".into())),
        ("10.0.0.1", Value::Text("10.0.0.1".into())),
        ("y", Value::Text("y".into())),
        ("no", Value::Text("no".into())),
        ("1.2.3", Value::Text("1.2.3".into())),
        ("e5", Value::Text("e5".into())),
        ("true", Value::Bool(true)),
    ] {
        assert_eq!(only(text), wanted, "{text}");
    }
}

#[test]
fn text_that_is_no_yaml_names_file_and_line() {
    let problem = parse("web.yaml", "a: 1\nb: [1, 2\n").unwrap_err();
    assert_eq!(problem.file.as_deref(), Some("web.yaml"));
    assert!(problem.line.is_some() && problem.message.contains("is not YAML"), "{problem}");
}

#[test]
fn a_key_that_occurs_twice_is_an_error() {
    let problem = parse("t.yaml", "a: 1\nb: 2\na: 3\n").unwrap_err();
    assert!(problem.message.contains("\"a\" twice"), "{problem}");
    assert_eq!(problem.line, Some(3));
}

#[test]
fn merges_and_aliases_are_followed_and_own_fields_win() {
    let tree = only("base: &b {x: 1, y: 2}\nmore: {<<: *b, y: 3}\n");
    assert_eq!(tree.pick("more").pick("x"), Value::Integer(1));
    assert_eq!(tree.pick("more").pick("y"), Value::Integer(3));
}

#[test]
fn a_bomb_of_aliases_and_bottomless_nesting_are_refused() {
    let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..9 {
        let copies = format!("*a{},", level - 1).repeat(10);
        bomb = format!("{bomb}a{level}: &a{level} [{copies}x]\n");
    }
    assert!(parse("t.yaml", &bomb).unwrap_err().message.contains("expands"), "bomb");
    let deep = "[".repeat(DEPTH_MAX + 1) + &"]".repeat(DEPTH_MAX + 1);
    assert!(parse("t.yaml", &deep).unwrap_err().message.contains("nests"), "deep");
    let mut tower = "a0: &a0 [[[[[[[[[[x]]]]]]]]]]\n".to_owned();
    for level in 1..20 {
        let below = level - 1;
        tower = format!("{tower}a{level}: &a{level} [[[[[[[[[[*a{below}]]]]]]]]]]\n");
    }
    assert!(parse("t.yaml", &tower).unwrap_err().message.contains("nests"), "tower");
}

#[test]
fn documents_without_content_are_left_out_and_lines_are_kept() {
    let documents = parse("t.yaml", "# only words\n---\na: 1\n---\n# words\n---\nb: 2\n").unwrap();
    let places: Vec<_> = documents.iter().map(|one| (one.number, one.root.line)).collect();
    assert_eq!(places, [(1, 3), (3, 7)], "numbered as an editor counts them");
}

#[test]
fn json_is_read_too_with_tabs_and_escapes() {
    let tree = only("{\n\t\"a\": {\"b\":\"x\\u003cy\\/z\"},\n\t\"c\":[1,null]\n}\n");
    assert_eq!(tree.pick("a").pick("b"), Value::Text("x<y/z".into()));
    let Value::List(items) = tree.pick("c") else { panic!("{tree:?}") };
    assert_eq!(items.iter().map(|item| item.line).collect::<Vec<_>>(), [3, 3]);
    assert_eq!(items[1].value, Value::Null);
}

impl Value {
    fn pick(&self, name: &str) -> Value {
        Node { value: self.clone(), line: 0 }.field(name).unwrap().value.clone()
    }
}
