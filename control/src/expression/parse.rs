//! Text to expression. Depth is bounded, so no text can exhaust the stack.

use std::fmt;

use super::text::{Operator, Token, tokens};
use super::{Comparison, DEPTH_MAX, Expression, LENGTH_MAX};

/// Why a text is no expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The character it is about, from 1.
    pub at: usize,
    /// What is wrong there.
    pub message: &'static str,
}

impl Malformed {
    /// At a byte of the text.
    pub(super) fn new(text: &str, byte: usize, message: &'static str) -> Self {
        let before = text.char_indices().take_while(|(start, _)| *start < byte).count();
        Self { at: before + 1, message }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, at character {}", self.message, self.at)
    }
}

impl std::error::Error for Malformed {}

impl std::str::FromStr for Expression {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        if text.chars().count() > LENGTH_MAX {
            return Err(Malformed { at: LENGTH_MAX + 1, message: "the expression is too long" });
        }
        let tokens = tokens(text)?;
        if tokens.is_empty() {
            return Ok(Self::All);
        }
        let mut parser = Parser { text, tokens: &tokens, next: 0 };
        let expression = parser.or(0)?;
        match parser.peek() {
            None => Ok(expression),
            Some(_) => Err(parser.wrong("&& or || must stand here")),
        }
    }
}

struct Parser<'t> {
    text: &'t str,
    tokens: &'t [(usize, Token<'t>)],
    next: usize,
}

impl<'t> Parser<'t> {
    fn peek(&self) -> Option<&'t Token<'t>> {
        self.tokens.get(self.next).map(|(_, token)| token)
    }

    fn take(&mut self, wanted: &Token<'_>) -> bool {
        let is_there = self.peek() == Some(wanted);
        self.next += usize::from(is_there);
        is_there
    }

    /// What is wrong with the token that is next.
    fn wrong(&self, message: &'static str) -> Malformed {
        let at = self.tokens.get(self.next).map_or(self.text.len(), |(at, _)| *at);
        Malformed::new(self.text, at, message)
    }

    fn or(&mut self, depth: usize) -> Result<Expression, Malformed> {
        let first = self.and(depth)?;
        let mut parts = vec![first];
        while self.take(&Token::Or) {
            parts.push(self.and(depth)?);
        }
        Ok(alone(parts, Expression::Or))
    }

    fn and(&mut self, depth: usize) -> Result<Expression, Malformed> {
        let first = self.term(depth)?;
        let mut parts = vec![first];
        while self.take(&Token::And) {
            parts.push(self.term(depth)?);
        }
        Ok(alone(parts, Expression::And))
    }

    fn term(&mut self, depth: usize) -> Result<Expression, Malformed> {
        let mut negated = false;
        while self.take(&Token::Not) {
            negated = !negated;
        }
        let term = self.plain(depth)?;
        Ok(if negated { Expression::Not(Box::new(term)) } else { term })
    }

    fn plain(&mut self, depth: usize) -> Result<Expression, Malformed> {
        let term = match self.peek() {
            Some(Token::All) => Expression::All,
            Some(Token::Global) => Expression::Global,
            Some(Token::Has(key)) => Expression::Has((*key).to_owned()),
            Some(Token::Label(key)) => {
                self.next += 1;
                return Ok(Expression::Compare((*key).to_owned(), self.comparison()?));
            }
            Some(Token::Open) if depth == DEPTH_MAX => {
                return Err(self.wrong("too many parentheses stand in each other"));
            }
            Some(Token::Open) => {
                self.next += 1;
                let inner = self.or(depth + 1)?;
                if !self.take(&Token::Close) {
                    return Err(self.wrong("a parenthesis is not closed"));
                }
                return Ok(inner);
            }
            _ => return Err(self.wrong("a label, has(), all() or ( must stand here")),
        };
        self.next += 1;
        Ok(term)
    }

    fn comparison(&mut self) -> Result<Comparison, Malformed> {
        let Some(Token::Operator(operator)) = self.peek() else {
            return Err(self.wrong("an operator must stand after a label"));
        };
        self.next += 1;
        Ok(match operator {
            Operator::Equal => Comparison::Equal(self.value()?),
            Operator::NotEqual => Comparison::NotEqual(self.value()?),
            Operator::Contains => Comparison::Contains(self.value()?),
            Operator::StartsWith => Comparison::StartsWith(self.value()?),
            Operator::EndsWith => Comparison::EndsWith(self.value()?),
            Operator::In => Comparison::In(self.set()?),
            Operator::NotIn => Comparison::NotIn(self.set()?),
        })
    }

    fn value(&mut self) -> Result<String, Malformed> {
        match self.peek() {
            Some(Token::Text(value)) => {
                self.next += 1;
                Ok((*value).to_owned())
            }
            _ => Err(self.wrong("a text in quotes must stand here")),
        }
    }

    /// A set may be empty and may end in a comma.
    fn set(&mut self) -> Result<Vec<String>, Malformed> {
        if !self.take(&Token::SetOpen) {
            return Err(self.wrong("a set in braces must stand here"));
        }
        let mut values = Vec::new();
        while matches!(self.peek(), Some(Token::Text(_))) {
            values.push(self.value()?);
            if !self.take(&Token::Comma) {
                break;
            }
        }
        if !self.take(&Token::SetClose) {
            return Err(self.wrong("the set is not closed"));
        }
        values.sort();
        values.dedup();
        Ok(values)
    }
}

/// One part is itself.
fn alone(
    mut parts: Vec<Expression>,
    several: impl Fn(Vec<Expression>) -> Expression,
) -> Expression {
    match (parts.pop(), parts.is_empty()) {
        (Some(only), true) => only,
        (last, _) => {
            parts.extend(last);
            several(parts)
        }
    }
}
