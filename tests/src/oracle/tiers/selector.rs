//! Calico's selectors, read anew for every question (CAL-1 to CAL-7).
//!
//! ```text
//! or    := and ( "||" and )*
//! and   := not ( "&&" not )*
//! not   := "!"* ( "(" or ")" | "all()" | "has(" label ")" | label operator )
//! ```
//!
//! or `global()` alone, in a `namespaceSelector`.

use std::collections::BTreeMap;

use super::super::Broken;

/// Labels by key.
pub(super) type Labels = BTreeMap<String, String>;

/// Whom a selector is asked about.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    /// What it bears.
    pub(super) labels: &'a Labels,
    /// Whether it is in a namespace.
    pub(super) has_namespace: bool,
    /// Of a `namespaceSelector`, `all()` means all namespaces, and `global()` what is in none.
    pub(super) of_namespaces: bool,
}

/// Whether the selector matches; the blank one matches all.
///
/// # Errors
/// When the text is no selector, however its first words would match.
pub(super) fn selects(text: &str, asked: Asked<'_>) -> Result<bool, Broken> {
    let mut reader = Reader { rest: text, asked };
    reader.skip_blanks();
    if reader.rest.is_empty() {
        return Ok(true);
    }
    if reader.take("global(") {
        // It stands alone, and asks for namespaces.
        let is_alone = reader.take(")") && reader.rest.is_empty() && asked.of_namespaces;
        return if is_alone {
            Ok(!asked.has_namespace)
        } else {
            Err(Broken("global() stands alone"))
        };
    }
    let matches = reader.or()?;
    if reader.rest.is_empty() { Ok(matches) } else { Err(Broken("more than a selector")) }
}

struct Reader<'a> {
    rest: &'a str,
    asked: Asked<'a>,
}

impl<'a> Reader<'a> {
    /// Spaces and tabs; a newline is no blank.
    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    /// Takes these very letters and the blanks behind them.
    fn take(&mut self, word: &str) -> bool {
        let Some(rest) = self.rest.strip_prefix(word) else { return false };
        self.rest = rest;
        self.skip_blanks();
        true
    }

    /// Takes two words with any blanks between them, or none of them.
    fn take_both(&mut self, first: &str, second: &str) -> bool {
        let before = self.rest;
        let both = self.take(first) && self.take(second);
        if !both {
            self.rest = before;
        }
        both
    }

    fn or(&mut self) -> Result<bool, Broken> {
        let mut any = self.and()?;
        while self.take("||") {
            let next = self.and()?;
            any = any || next;
        }
        Ok(any)
    }

    fn and(&mut self) -> Result<bool, Broken> {
        let mut all = self.not()?;
        while self.take("&&") {
            let next = self.not()?;
            all = all && next;
        }
        Ok(all)
    }

    fn not(&mut self) -> Result<bool, Broken> {
        let mut is_turned = false;
        while self.take("!") {
            is_turned = !is_turned;
        }
        Ok(self.operand()? != is_turned)
    }

    fn operand(&mut self) -> Result<bool, Broken> {
        if self.take("(") {
            let inner = self.or()?;
            return self.close(inner);
        }
        if self.take("all(") {
            let is_all = !self.asked.of_namespaces || self.asked.has_namespace;
            return self.close(is_all);
        }
        if self.take("has(") {
            let label = self.label()?;
            let has = self.asked.labels.contains_key(label);
            return self.close(has);
        }
        let label = self.label()?;
        self.comparison(label)
    }

    fn close(&mut self, value: bool) -> Result<bool, Broken> {
        if self.take(")") { Ok(value) } else { Err(Broken("no closing parenthesis")) }
    }

    fn label(&mut self) -> Result<&'a str, Broken> {
        let is_letter = |c: char| c.is_ascii_alphanumeric() || "_./-".contains(c);
        let end = self.rest.find(|c: char| !is_letter(c)).unwrap_or(self.rest.len());
        let (label, rest) = self.rest.split_at(end);
        if !(1..=512).contains(&label.len()) {
            return Err(Broken("expected a label"));
        }
        self.rest = rest;
        self.skip_blanks();
        Ok(label)
    }

    fn comparison(&mut self, label: &str) -> Result<bool, Broken> {
        let labels = self.asked.labels;
        let value = labels.get(label);
        // What lacks the label is unequal to every value and in no set (CAL-4).
        if self.take("==") {
            let wanted = self.string()?;
            return Ok(value.is_some_and(|value| value == wanted));
        }
        if self.take("!=") {
            let wanted = self.string()?;
            return Ok(value.is_none_or(|value| value != wanted));
        }
        if self.take("contains") {
            let part = self.string()?;
            return Ok(value.is_some_and(|value| value.contains(part)));
        }
        if self.take_both("starts", "with") {
            let part = self.string()?;
            return Ok(value.is_some_and(|value| value.starts_with(part)));
        }
        if self.take_both("ends", "with") {
            let part = self.string()?;
            return Ok(value.is_some_and(|value| value.ends_with(part)));
        }
        if self.take_both("not", "in") {
            let set = self.set()?;
            return Ok(value.is_none_or(|value| !set.contains(&value.as_str())));
        }
        if self.take("in") {
            let set = self.set()?;
            return Ok(value.is_some_and(|value| set.contains(&value.as_str())));
        }
        Err(Broken("a label needs an operator"))
    }

    /// In either quotes, without escapes.
    fn string(&mut self) -> Result<&'a str, Broken> {
        let quote = self.rest.chars().next().filter(|c| matches!(c, '"' | '\''));
        let quote = quote.ok_or(Broken("expected a string"))?;
        let (text, rest) =
            self.rest[1..].split_once(quote).ok_or(Broken("a string does not end"))?;
        self.rest = rest;
        self.skip_blanks();
        Ok(text)
    }

    /// Empty ones and a comma after the last are fine.
    fn set(&mut self) -> Result<Vec<&'a str>, Broken> {
        if !self.take("{") {
            return Err(Broken("expected a set"));
        }
        let mut values = Vec::new();
        while !self.take("}") {
            values.push(self.string()?);
            if !self.take(",") {
                return if self.take("}") { Ok(values) } else { Err(Broken("a set does not end")) };
            }
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<bool, Broken> {
        let pairs =
            [("a", "x"), ("b", "xyz"), ("contains", "contains"), ("in", "in"), ("q", "it's")];
        let labels = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        selects(text, Asked { labels: &labels, has_namespace: true, of_namespaces: false })
    }

    #[test]
    fn what_matches() {
        let texts = [
            "",
            " \t",
            "all()",
            "all( )",
            "has(a)",
            "has( a )",
            "a == 'x'",
            "a==\"x\"",
            "b contains 'y' && b starts with 'xy' && b ends with 'yz'",
            "b startswith 'x' && b endswith 'z'",
            "a in {'y', \"x\"}",
            "a in {'x',}",
            "a not in {}",
            "none != 'x' && none not in {'x'} && none notin {'x'}",
            "contains contains 'contains' && in in {'in'}",
            "q == \"it's\"",
            "!has(none) && !!has(a) && !a == 'y'",
            "!a in {'y'}",
            "!(a == 'x' && a == 'y')",
            "a == 'x' || a == 'x' && a == 'y'",
        ];
        for text in texts {
            assert_eq!(of(text), Ok(true), "{text}");
        }
    }

    #[test]
    fn what_does_not() {
        let texts = [
            "has(none)",
            "none == 'x'",
            "none in {'x'}",
            "none contains ''",
            "none starts with ''",
            "none ends with ''",
            "a in {}",
            "(a == 'x' || a == 'x') && a == 'y'",
            "!a == 'x'",
        ];
        for text in texts {
            assert_eq!(of(text), Ok(false), "{text}");
        }
    }

    #[test]
    fn what_is_no_selector() {
        let texts = [
            "b == b",
            "'b1' == b",
            "b",
            "a b",
            "!",
            "a == \"x\" &",
            "a in \"\"",
            "()",
            "%",
            "has(a) &&",
            "a == 'x",
            "a == \"x'",
            "all ()",
            "has (a)",
            "has()",
            "a == 'x' b == 'y'",
            "a ==\n'x'",
            "a in {'x' 'y'}",
            "a in {,}",
            "(a == 'x'",
            "a == 'x')",
            "|| a == 'x'",
            "global()",
            "!global()",
            "all() || global()",
        ];
        for text in texts {
            assert!(of(text).is_err(), "{text}");
        }
    }
}
