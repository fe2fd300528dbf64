//! Objects as an API server tells them: JSON in, the same tree that manifests are read from out.
//!
//! They are read by the reader of manifests and not into the types of a client library: such types
//! leave out what they do not know, and a rule that lost a condition of a newer API would open
//! (NP-59; decision 19).

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::reader;
use super::tree::{Node, Value};
use super::{Object, ObjectKind, Problem};

/// Reads an object of a kind that an API server was asked for, in one of its versions.
pub(crate) fn read_told(
    node: &Node,
    kind: ObjectKind,
    api_version: &str,
) -> (Object, Vec<Problem>) {
    reader::read_told(node, kind, api_version)
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Json)
    }
}

/// Builds a tree without lines.
struct Json;

const fn node(value: Value) -> Node {
    Node { value, line: 0 }
}

impl<'de> Visitor<'de> for Json {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(node(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(node(Value::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(node(Value::Integer(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        let wide = || Value::Number(value.to_string());
        Ok(node(i64::try_from(value).map_or_else(|_| wide(), Value::Integer)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(node(Value::Number(value.to_string())))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Node, E> {
        Ok(node(Value::Text(value.to_owned())))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Node, E> {
        Ok(node(Value::Text(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(node(Value::List(list)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut fields: Vec<(String, Node)> = Vec::new();
        while let Some((name, value)) = entries.next_entry::<String, Node>()? {
            // As every reader of JSON has it; no API server writes a key twice.
            fields.retain(|(known, _)| *known != name);
            fields.push((name, value));
        }
        Ok(node(Value::Map(fields)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::read_text;

    /// The same object, told and written.
    fn both(json: &str) -> (Object, Object, Vec<String>) {
        let written = read_text("a.json", json).unwrap();
        let told: Node = serde_json::from_str(json).unwrap();
        let mut object = written.objects.into_iter().next().unwrap();
        let kind = object.metadata().key.kind;
        let version = told.field("apiVersion").and_then(Node::text).unwrap().to_owned();
        let (read, problems) = read_told(&told, kind, &version);
        object.metadata_mut().origin = read.metadata().origin.clone();
        (read, object, problems.into_iter().map(|one| one.to_string()).collect())
    }

    #[test]
    fn what_is_told_means_what_it_means_when_written() {
        let (told, written, problems) = both(
            r#"{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy",
            "metadata":{"name":"web","namespace":"demo"},
            "spec":{"podSelector":{"matchLabels":{"a":"b"}},"policyTypes":["Ingress"],
            "ingress":[{"ports":[{"port":80,"endPort":90},{"port":"http","protocol":"UDP"}],
            "from":[{"ipBlock":{"cidr":"10.0.0.0/8","except":["10.1.0.0/16"]}}]}]}}"#,
        );
        assert_eq!(told, written);
        assert_eq!(problems, [""; 0]);
    }

    #[test]
    fn a_condition_of_a_newer_api_closes_its_rule_and_is_told_by_field() {
        let (told, written, problems) = both(
            r#"{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy",
            "metadata":{"name":"web","namespace":"demo"},
            "spec":{"podSelector":{},"ingress":[{"onlyOnSunday":true}]}}"#,
        );
        assert_eq!(told, written);
        assert_eq!(problems.len(), 1);
        assert!(problems[0].starts_with("error: NetworkPolicy demo/web: spec.ingress[0]"));
    }

    #[test]
    fn numbers_of_every_size_are_kept() {
        let read: Node = serde_json::from_str("[1,-1,18446744073709551615,1.5]").unwrap();
        let Value::List(items) = read.value else { panic!() };
        let values: Vec<Value> = items.into_iter().map(|item| item.value).collect();
        let wide = Value::Number("18446744073709551615".to_owned());
        let part = Value::Number("1.5".to_owned());
        assert_eq!(values, [Value::Integer(1), Value::Integer(-1), wide, part]);
    }
}
