//! YAML and JSON text as a tree that remembers lines and how each scalar was written.
//!
//! Built from parser events, so that what decides about a policy is decided here and not by a
//! library's idea of types: `80` and `"80"` differ (a number and a port name), a repeated key is
//! an error and never "the last wins", aliases are copied within a budget, and depth is bounded.
//! Plain scalars are read by YAML 1.2's core rules; a number in any notation but canonical
//! decimal (`0x50`, `010`, `1_000`, `1e3`) is kept as [`Value::Number`], which is no integer:
//! readers differ about those, so nothing is built on them.

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};

use super::problem::{Problem, quoted};

/// Nesting of one document.
const DEPTH_MAX: usize = 64;
/// Nodes that the aliases of one file may copy: what a bomb of aliases runs into.
const COPIES_MAX: usize = 1_000_000;
/// YAML's key for "and the fields of".
const MERGE_KEY: &str = "<<";

/// A value and its line, from 1: of its key if it has one, else where it begins.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) line: u32,
}

/// What can stand in a manifest.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    /// Canonical decimal only.
    Integer(i64),
    /// Any other number, as written.
    Number(String),
    Text(String),
    List(Vec<Node>),
    /// In the order written; no key occurs twice.
    Map(Vec<(String, Node)>),
}

impl Node {
    /// What it is, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Integer(_) | Value::Number(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    /// The field of a map that has a value: `null` counts as absent, as in Kubernetes.
    pub(crate) fn field(&self, name: &str) -> Option<&Node> {
        let Value::Map(fields) = &self.value else { return None };
        fields
            .iter()
            .find(|(key, node)| key == name && node.value != Value::Null)
            .map(|(_, node)| node)
    }

    /// The text of a scalar that is text.
    pub(crate) fn text(&self) -> Option<&str> {
        if let Value::Text(text) = &self.value { Some(text) } else { None }
    }
}

/// One of the parts of a text that `---` separates.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Document {
    /// Its place in the text, from 1.
    pub(crate) number: u32,
    pub(crate) root: Node,
}

/// Reads every document of a text; documents of nothing but comments are left out.
pub(crate) fn parse(file: &str, text: &str) -> Result<Vec<Document>, Problem> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder::new(file);
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            let at = error.marker();
            let (line, column) = (u32::try_from(at.line()).ok(), at.col().saturating_add(1));
            builder.problem(line, &format!("is not YAML: {} at column {column}", error.info()))
        })?;
        builder.take(event, span)?;
    }
    Ok(builder.documents)
}

/// A list or map that is still open.
struct Open {
    anchor: usize,
    line: u32,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map { fields: Vec<(String, Node)>, key: Key, merged: Vec<Node> },
}

/// What the next node of a map is.
enum Key {
    /// A key.
    Awaited,
    /// The value of the field whose key stands in this line.
    Field(String, u32),
    /// The value of a merge key.
    Merge,
}

/// A node that aliases may copy, with what a copy costs.
#[derive(Clone)]
struct Anchored {
    node: Node,
    nodes: usize,
    depth: usize,
}

struct Builder<'a> {
    file: &'a str,
    open: Vec<Open>,
    anchors: HashMap<usize, Anchored>,
    documents: Vec<Document>,
    /// Documents begun.
    begun: u32,
    copies: usize,
}

impl<'a> Builder<'a> {
    fn new(file: &'a str) -> Self {
        let (open, anchors, documents) = (Vec::new(), HashMap::new(), Vec::new());
        Self { file, open, anchors, documents, begun: 0, copies: 0 }
    }

    fn problem(&self, line: Option<u32>, message: &str) -> Problem {
        Problem::of_file(self.file, line, message, "mend the file; until then none of it is read")
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Problem> {
        let line = u32::try_from(span.start.line()).unwrap_or(u32::MAX);
        match event {
            Event::DocumentStart(_) => {
                self.begun = self.begun.saturating_add(1);
                Ok(())
            }
            // Nothing but comments. A document that says `null` is one.
            Event::Scalar(text, ScalarStyle::Plain, ..)
                if text.is_empty() && self.open.is_empty() =>
            {
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar(&text, style, tag.as_deref())
                    .map_err(|message| self.problem(Some(line), &message))?;
                let key = if style == ScalarStyle::Plain && text == MERGE_KEY {
                    Some(Key::Merge)
                } else {
                    Some(Key::Field(text.into_owned(), line))
                };
                self.place(Node { value, line }, key, anchor)
            }
            Event::SequenceStart(anchor, _) => self.begin(anchor, line, Content::List(Vec::new())),
            Event::MappingStart(anchor, _) => {
                let (fields, merged) = (Vec::new(), Vec::new());
                self.begin(anchor, line, Content::Map { fields, key: Key::Awaited, merged })
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => self.copy(anchor, line),
            _ => Ok(()),
        }
    }

    fn begin(&mut self, anchor: usize, line: u32, content: Content) -> Result<(), Problem> {
        self.check_depth(1, line)?;
        self.open.push(Open { anchor, line, content });
        Ok(())
    }

    fn check_depth(&self, more: usize, line: u32) -> Result<(), Problem> {
        if self.open.len().saturating_add(more) > DEPTH_MAX {
            let message = format!("nests deeper than {DEPTH_MAX} levels");
            return Err(self.problem(Some(line), &message));
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Problem> {
        let Some(Open { anchor, line, content }) = self.open.pop() else { return Ok(()) };
        let value = match content {
            Content::List(items) => Value::List(items),
            Content::Map { fields, merged, .. } => {
                if let Some((name, node)) = repeated(&fields) {
                    let message = format!("has the key {} twice in one map", quoted(name));
                    return Err(self.problem(Some(node.line), &message));
                }
                let all = merge(fields, merged)
                    .ok_or_else(|| self.problem(Some(line), "merges (<<) what is no map"))?;
                Value::Map(all)
            }
        };
        self.place(Node { value, line }, None, anchor)
    }

    fn copy(&mut self, anchor: usize, line: u32) -> Result<(), Problem> {
        let Some(known) = self.anchors.get(&anchor) else {
            return Err(self.problem(Some(line), "has an alias inside its own anchor"));
        };
        self.copies = self.copies.saturating_add(known.nodes);
        if self.copies > COPIES_MAX {
            return Err(self.problem(Some(line), "expands to too much (aliases of aliases)"));
        }
        self.check_depth(known.depth, line)?;
        let node = Node { value: known.node.value.clone(), line };
        let key = node.text().map(|text| Key::Field(text.to_owned(), line));
        self.place(node, key, 0)
    }

    /// Puts a finished node where it belongs; `key` is what it would be as a key.
    fn place(&mut self, node: Node, key: Option<Key>, anchor: usize) -> Result<(), Problem> {
        if anchor != 0 {
            let (nodes, depth) = measure(&node);
            self.anchors.insert(anchor, Anchored { node: node.clone(), nodes, depth });
        }
        let line = node.line;
        let Some(open) = self.open.last_mut() else {
            self.documents.push(Document { number: self.begun, root: node });
            return Ok(());
        };
        match &mut open.content {
            Content::List(items) => items.push(node),
            Content::Map { fields, key: next, merged } => {
                match std::mem::replace(next, Key::Awaited) {
                    // A field is told by the line of its key, also when its value begins below.
                    Key::Field(name, line) => fields.push((name, Node { line, ..node })),
                    Key::Merge => merged.push(node),
                    Key::Awaited => {
                        let Some(key) = key else {
                            let message = "has a key that is no plain word";
                            return Err(self.problem(Some(line), message));
                        };
                        *next = key;
                    }
                }
            }
        }
        Ok(())
    }
}

/// The second of two fields with one name.
fn repeated(fields: &[(String, Node)]) -> Option<&(String, Node)> {
    let mut seen = HashSet::with_capacity(fields.len());
    fields.iter().find(|(name, _)| !seen.insert(name.as_str()))
}

/// The nodes of a tree and its depth. Its depth is bounded by [`DEPTH_MAX`].
fn measure(node: &Node) -> (usize, usize) {
    let below = |(nodes, depth): (usize, usize), child: &Node| {
        let (more, deeper) = measure(child);
        (nodes + more, depth.max(deeper + 1))
    };
    match &node.value {
        Value::List(items) => items.iter().fold((1, 1), below),
        Value::Map(fields) => fields.iter().map(|(_, child)| child).fold((1, 1), below),
        _ => (1, 0),
    }
}

/// A map's own fields and those merged in that it does not have; the first merged wins.
fn merge(own: Vec<(String, Node)>, merged: Vec<Node>) -> Option<Vec<(String, Node)>> {
    if merged.is_empty() {
        return Some(own);
    }
    let mut all = own;
    let mut known: HashSet<String> = all.iter().map(|(name, _)| name.clone()).collect();
    for node in merged {
        let sources = if let Value::List(maps) = node.value { maps } else { vec![node] };
        for source in sources {
            let Value::Map(fields) = source.value else { return None };
            all.extend(fields.into_iter().filter(|(name, _)| known.insert(name.clone())));
        }
    }
    Some(all)
}

/// A scalar's value by its tag, else by its style, else by how it looks.
fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    let Some(tag) = tag else {
        return Ok(match style {
            ScalarStyle::Plain => plain(text),
            _ => Value::Text(text.to_owned()),
        });
    };
    let value = match (tag.is_yaml_core_schema(), tag.suffix.as_str()) {
        (true, "str") => return Ok(Value::Text(text.to_owned())),
        (true, "null" | "bool" | "int" | "float") => plain(text),
        _ => {
            return Err(format!(
                "has the tag {}{}, which means nothing here",
                tag.handle, tag.suffix
            ));
        }
    };
    if matches!(value, Value::Text(_)) {
        return Err(format!("has {} tagged as what it is not", quoted(text)));
    }
    Ok(value)
}

/// What a scalar without quotes is: YAML 1.2's core rules.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    if is_canonical_decimal(text) {
        // What does not fit is a number, but none that anything here can use.
        return text.parse().map_or_else(|_| Value::Number(text.to_owned()), Value::Integer);
    }
    if is_number(text) { Value::Number(text.to_owned()) } else { Value::Text(text.to_owned()) }
}

fn is_canonical_decimal(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && (digits == "0" || !digits.starts_with('0'))
}

/// Whether some YAML reader takes this for a number that is not canonical decimal. What is out of
/// every number's range is text to all of them, and is printed without quotes: `7e12345`, the
/// beginning of a commit's hash.
fn is_number(text: &str) -> bool {
    let body = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(body, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    let digits: String = body.chars().filter(|letter| *letter != '_').collect();
    if !body.starts_with(|letter: char| letter.is_ascii_digit() || letter == '.') {
        return false;
    }
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(rest) = digits.strip_prefix(prefix) {
            return !rest.starts_with('+') && u64::from_str_radix(rest, radix).is_ok();
        }
    }
    digits.bytes().any(|byte| byte.is_ascii_digit())
        && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'))
        && digits.parse::<f64>().is_ok_and(f64::is_finite)
}

#[cfg(test)]
mod tests;
