//! Reading a tree closed: what is not understood is reported, and whoever asked learns of it.
//!
//! A reader gets `Err(Broken)` exactly when a problem has been reported that makes the value
//! unusable, so a broken part can never be mistaken for an absent one (NP-59).

use super::problem::{Problem, Severity, quoted};
use super::tree::{Node, Value};

/// A part that cannot be used. The report says why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken;

/// The problems of one object, gathered while it is read.
pub(crate) struct Report<'f> {
    file: &'f str,
    object: String,
    /// What a broken part does here; ends the remedy of every error.
    consequence: &'static str,
    problems: Vec<Problem>,
}

impl<'f> Report<'f> {
    pub(crate) fn new(file: &'f str, object: String) -> Self {
        Self { file, object, consequence: "", problems: Vec::new() }
    }

    /// Reads a part whose errors have this consequence.
    pub(crate) fn within<T>(
        &mut self,
        consequence: &'static str,
        read: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let outer = std::mem::replace(&mut self.consequence, consequence);
        let result = read(self);
        self.consequence = outer;
        result
    }

    /// Reports that a part is not as it must be.
    pub(crate) fn error(&mut self, at: &Place<'_>, message: &str, remedy: &str) -> Broken {
        let remedy = match self.consequence {
            "" => remedy.to_owned(),
            consequence => format!("{remedy}; {consequence}"),
        };
        self.add(Severity::Error, at, message, &remedy);
        Broken
    }

    pub(crate) fn warning(&mut self, at: &Place<'_>, message: &str, remedy: &str) {
        self.add(Severity::Warning, at, message, remedy);
    }

    fn add(&mut self, severity: Severity, at: &Place<'_>, message: &str, remedy: &str) {
        let place = (Some(self.file), Some(at.node.line));
        self.problems.push(Problem::of_object(
            severity,
            place,
            &self.object,
            &at.path,
            message,
            remedy,
        ));
    }

    pub(crate) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }
}

/// A node and the way to it.
#[derive(Clone, Debug)]
pub(crate) struct Place<'n> {
    pub(crate) node: &'n Node,
    pub(crate) path: String,
}

impl<'n> Place<'n> {
    pub(crate) fn root(node: &'n Node) -> Self {
        Self { node, path: String::new() }
    }

    /// The field, where it has a value.
    pub(crate) fn field(&self, name: &str) -> Option<Self> {
        self.node.field(name).map(|node| Self { node, path: join(&self.path, name) })
    }

    /// Where a field would be that is not there.
    pub(crate) fn missing(&self, name: &str) -> Self {
        Self { node: self.node, path: join(&self.path, name) }
    }

    /// Whether it is a map whose every field is known.
    pub(crate) fn closed(
        &self,
        report: &mut Report<'_>,
        what: &str,
        known: &[&str],
    ) -> Result<(), Broken> {
        let fields = self.map(report, what)?;
        let mut result = Ok(());
        for (name, node) in fields.iter().filter(|(name, _)| !known.contains(&name.as_str())) {
            let at = Place { node, path: join(&self.path, name) };
            let message = format!("{} is not a field of {what}", quoted(name));
            let remedy = match closest(name, known) {
                Some(near) => format!("write {near}"),
                None => format!("say it by {}; left out, it restricts nothing", known.join(", ")),
            };
            result = Err(report.error(&at, &message, &remedy));
        }
        result
    }

    /// Whether it is a map in which none of these fields was misspelt. Other fields there may be.
    pub(crate) fn unmistaken(
        &self,
        report: &mut Report<'_>,
        what: &str,
        read: &[&str],
    ) -> Result<(), Broken> {
        let fields = self.map(report, what)?;
        let mut result = Ok(());
        for (name, node) in fields.iter().filter(|(name, _)| !read.contains(&name.as_str())) {
            let Some(near) = closest(name, read).filter(|near| self.field(near).is_none()) else {
                continue;
            };
            let at = Place { node, path: join(&self.path, name) };
            let message = format!("{} is not a field of {what}", quoted(name));
            result = Err(report.error(&at, &message, &format!("write {near}")));
        }
        result
    }

    /// The fields of a map.
    pub(crate) fn map(
        &self,
        report: &mut Report<'_>,
        what: &str,
    ) -> Result<&'n [(String, Node)], Broken> {
        match &self.node.value {
            Value::Map(fields) => Ok(fields),
            _ => Err(self.mistyped(report, what, "a map")),
        }
    }

    /// The items of a list.
    pub(crate) fn items(&self, report: &mut Report<'_>, what: &str) -> Result<Vec<Self>, Broken> {
        match &self.node.value {
            Value::List(items) => Ok(items
                .iter()
                .enumerate()
                .map(|(index, node)| Self { node, path: format!("{}[{index}]", self.path) })
                .collect()),
            _ => Err(self.mistyped(report, what, "a list")),
        }
    }

    /// The text of a text.
    pub(crate) fn text(&self, report: &mut Report<'_>, what: &str) -> Result<&'n str, Broken> {
        self.node.text().ok_or_else(|| self.mistyped(report, what, "text"))
    }

    /// Reports that this is of another type than it must be.
    pub(crate) fn mistyped(&self, report: &mut Report<'_>, what: &str, wanted: &str) -> Broken {
        let message = format!("{what} must be {wanted}, not {}", self.node.kind());
        let is_scalar = !matches!(self.node.value, Value::List(_) | Value::Map(_) | Value::Null);
        let remedy = match wanted {
            "text" if is_scalar => "put it in quotes".to_owned(),
            _ => format!("write {wanted}"),
        };
        report.error(self, &message, &remedy)
    }
}

/// Everything read, or `Broken` when anything was; nothing is skipped, so that all is reported.
pub(crate) fn all<T>(parts: impl Iterator<Item = Result<T, Broken>>) -> Result<Vec<T>, Broken> {
    let parts: Vec<_> = parts.collect();
    parts.into_iter().collect()
}

fn join(path: &str, name: &str) -> String {
    let is_plain = name.chars().all(|letter| letter.is_ascii_alphanumeric());
    match (path.is_empty(), is_plain) {
        (true, _) => name.to_owned(),
        (false, true) => format!("{path}.{name}"),
        (false, false) => format!("{path}[{name}]"),
    }
}

/// The known name that was probably meant: at most two letters away, or the same but for case.
pub(crate) fn closest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    if name.len() > 64 {
        return None;
    }
    let far = |near: &str| distance(&name.to_lowercase(), &near.to_lowercase());
    known
        .iter()
        .map(|near| (far(near), *near))
        .filter(|(away, near)| *away <= 2 && *away < near.len())
        .min_by_key(|(away, _)| *away)
        .map(|(_, near)| near)
}

/// Levenshtein's distance.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (above, letter) in one.chars().enumerate() {
        let mut diagonal = above;
        let mut left = above + 1;
        for (cell, wanted) in row.iter_mut().skip(1).zip(other.chars()) {
            let changed = diagonal + usize::from(letter != wanted);
            diagonal = *cell;
            left = changed.min(left + 1).min(*cell + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = above + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_field_gets_the_one_that_was_meant() {
        let known = ["from", "ports"];
        assert_eq!(closest("form", &known), Some("from"));
        assert_eq!(closest("Ports", &known), Some("ports"));
        assert_eq!(closest("port", &known), Some("ports"));
        assert_eq!(closest("something", &known), None);
        assert_eq!(closest("to", &["to", "ports"]), Some("to"));
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn every_broken_item_is_reported_not_only_the_first() {
        let tree = super::super::tree::parse("t.yaml", "[1, a, 2]").unwrap().remove(0).root;
        let mut report = Report::new("t.yaml", "X".into());
        let items = Place::root(&tree).items(&mut report, "it").unwrap();
        assert_eq!(all(items.iter().map(|item| item.text(&mut report, "it"))), Err(Broken));
        assert_eq!(report.into_problems().len(), 2);
    }
}
