//! An expression's text as tokens. What a word is depends on what stands before it: after a label
//! stands an operator, so that every keyword may be a label too.

use super::parse::Malformed;

/// Characters of the longest label.
const LABEL_MAX: usize = 512;

/// A piece of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token<'t> {
    All,
    Global,
    Has(&'t str),
    Label(&'t str),
    Text(&'t str),
    Operator(Operator),
    Not,
    And,
    Or,
    Comma,
    Open,
    Close,
    SetOpen,
    SetClose,
}

/// What stands after a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Contains,
    StartsWith,
    EndsWith,
    In,
    NotIn,
}

/// The words of an operator; between the first and the second there may be space, or none.
const WORDS: [(&str, &str, Operator); 5] = [
    ("contains", "", Operator::Contains),
    ("starts", "with", Operator::StartsWith),
    ("ends", "with", Operator::EndsWith),
    ("not", "in", Operator::NotIn),
    ("in", "", Operator::In),
];

/// What stands for itself, the longer before what it begins with.
const SIGNS: [(&str, Token<'static>); 10] = [
    ("==", Token::Operator(Operator::Equal)),
    ("!=", Token::Operator(Operator::NotEqual)),
    ("&&", Token::And),
    ("||", Token::Or),
    ("!", Token::Not),
    (",", Token::Comma),
    ("(", Token::Open),
    (")", Token::Close),
    ("{", Token::SetOpen),
    ("}", Token::SetClose),
];

/// The tokens of a text, each with the byte that it begins at.
pub(super) fn tokens(text: &str) -> Result<Vec<(usize, Token<'_>)>, Malformed> {
    let mut found = Vec::new();
    let mut rest = skip(text);
    // Every token takes at least one byte, so there are no more rounds than bytes.
    for _ in 0..=text.len() {
        if rest.is_empty() {
            break;
        }
        let at = text.len() - rest.len();
        let after_label = matches!(found.last(), Some((_, Token::Label(_))));
        let (token, left) =
            next(rest, after_label).map_err(|message| Malformed::new(text, at, message))?;
        found.push((at, token));
        rest = skip(left);
    }
    Ok(found)
}

fn skip(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}

type Step<'t> = Result<(Token<'t>, &'t str), &'static str>;

fn next(text: &str, after_label: bool) -> Step<'_> {
    if let Some((token, rest)) = sign(text) {
        return Ok((token, rest));
    }
    if let Some(quote) = ['"', '\''].into_iter().find(|quote| text.starts_with(*quote)) {
        let body = text.get(1..).unwrap_or_default();
        let (value, rest) = body.split_once(quote).ok_or("the quote is not closed")?;
        return Ok((Token::Text(value), rest));
    }
    if after_label {
        return operator(text).ok_or("an operator must stand after a label");
    }
    call(text).unwrap_or_else(|| label(text).map(|(label, rest)| (Token::Label(label), rest)))
}

fn sign(text: &str) -> Option<(Token<'_>, &str)> {
    SIGNS.iter().find_map(|(word, token)| Some((token.clone(), text.strip_prefix(word)?)))
}

fn operator(text: &str) -> Option<(Token<'_>, &str)> {
    WORDS.iter().find_map(|(first, second, operator)| {
        let rest = text.strip_prefix(first)?;
        let rest = if second.is_empty() { rest } else { skip(rest).strip_prefix(second)? };
        Some((Token::Operator(*operator), rest))
    })
}

/// `all()`, `global()` and `has(label)`; no space before the parenthesis.
fn call(text: &str) -> Option<Step<'_>> {
    let closed = |rest| skip(rest).strip_prefix(')').ok_or("a parenthesis is not closed");
    if let Some(rest) = text.strip_prefix("all(") {
        return Some(closed(rest).map(|rest| (Token::All, rest)));
    }
    if let Some(rest) = text.strip_prefix("global(") {
        return Some(closed(rest).map(|rest| (Token::Global, rest)));
    }
    let inside = text.strip_prefix("has(")?;
    let named =
        label(skip(inside)).and_then(|(label, rest)| Ok((Token::Has(label), closed(rest)?)));
    Some(named)
}

fn label(text: &str) -> Result<(&str, &str), &'static str> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || "_./-".contains(letter);
    let end = text.find(|letter| !is_part(letter)).unwrap_or(text.len());
    match text.split_at_checked(end) {
        Some((label, rest)) if (1..=LABEL_MAX).contains(&label.len()) => Ok((label, rest)),
        Some((label, _)) if !label.is_empty() => Err("the label is too long"),
        _ => Err("a label must stand here"),
    }
}
