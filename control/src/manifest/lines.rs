//! Where in a text a part of an object stands, for what is found out long after it was read.

use std::collections::BTreeMap;
use std::path::Path;

use super::json;
use super::problem::Problem;
use super::tree::{self, Node, Value};

/// Gives problems that are told of an object the lines of the fields that they are about, from the
/// files of a directory; where one cannot be read any more, that of the object stays.
pub(crate) fn place<'p>(directory: &Path, problems: impl IntoIterator<Item = &'p mut Problem>) {
    let mut texts: BTreeMap<String, String> = BTreeMap::new();
    for problem in problems {
        let (Some(file), Some(begin)) = (&problem.file, problem.line) else { continue };
        let read = || std::fs::read_to_string(directory.join(file)).unwrap_or_default();
        let text = texts.entry(file.clone()).or_insert_with(read);
        problem.line = Some(line(text, (begin, &problem.object), &problem.field));
    }
}

/// The line of a field of the object that begins in a line, or of what of the field's path is there.
/// Where no such object is, that line.
fn line(text: &str, (begin, object): (u32, &str), field: &str) -> u32 {
    let documents = tree::parse("", &json::joined(text)).unwrap_or_default();
    let name = object.rsplit(['/', ' ']).next().unwrap_or_default();
    let found = documents.iter().find_map(|document| find(&document.root, begin, name));
    let Some(mut at) = found else { return begin };
    for step in field.split(['.', '[']) {
        let step = step.trim_end_matches(']');
        let next = match (&at.value, step.parse::<usize>()) {
            (Value::List(items), Ok(place)) => items.get(place),
            _ => at.field(step),
        };
        let Some(next) = next else { break };
        at = next;
    }
    at.line
}

/// The object of a name that begins in a line, in lists too.
fn find<'n>(node: &'n Node, begin: u32, name: &str) -> Option<&'n Node> {
    let called = node.field("metadata").and_then(|metadata| metadata.field("name"));
    if node.line == begin && called.and_then(Node::text) == Some(name) {
        return Some(node);
    }
    match &node.field("items")?.value {
        Value::List(items) => items.iter().find_map(|item| find(item, begin, name)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_field_is_found_by_its_path_as_far_as_it_is_there() {
        let text = "kind: A
metadata: {name: p}
---
kind: List
items:
- kind: A
  metadata:
    name: q
  spec:
    ingress:
    - from:
      - {}
      - ipBlock:
          cidr: 10.0.0.0/8
";
        let line = |begin, object, field| super::line(text, (begin, object), field);
        for (field, wanted) in [
            ("", 6),
            ("spec.ingress[0].from[1].ipBlock.cidr", 14),
            ("spec.ingress[0].from[0].ipBlock.cidr", 12),
            ("spec.ingress[1]", 10),
            ("status", 6),
        ] {
            assert_eq!(line(6, "A x/q", field), wanted, "{field}");
        }
        assert_eq!(line(1, "A p", "metadata.name"), 2);
        assert_eq!((line(1, "A x/q", "spec"), line(7, "A x/q", "spec")), (1, 7));
        assert_eq!(super::line("a: [", (3, "A p"), "a"), 3);
    }
}
