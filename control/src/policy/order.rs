//! Where a policy or a tier stands: a number, and everything has one place.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};

use crate::manifest::fields::{Broken, Place, Report};
use crate::manifest::tree::Value;

/// A place among others; the lower is asked first.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Order(f64);

impl Order {
    /// Before all that can be written: for what must not come too late.
    pub const FIRST: Self = Self(f64::NEG_INFINITY);
    /// After all that can be written: for what has no order.
    pub const LAST: Self = Self(f64::INFINITY);

    /// Of a finite number.
    #[must_use]
    pub const fn new(number: f64) -> Option<Self> {
        // Adding makes -0 and 0 one.
        if number.is_finite() { Some(Self(number + 0.0)) } else { None }
    }

    /// Of a small whole number, such as a priority.
    #[must_use]
    pub fn of(number: u32) -> Self {
        Self(f64::from(number))
    }

    /// As a number; infinite for the first and the last.
    #[must_use]
    pub fn number(self) -> f64 {
        self.0
    }

    /// Reads an order.
    pub(crate) fn read(at: &Place<'_>, report: &mut Report<'_>) -> Result<Self, Broken> {
        let written = match &at.node.value {
            Value::Integer(number) => number.to_string(),
            Value::Number(text) => text.clone(),
            _ => return Err(at.mistyped(report, "order", "a number")),
        };
        let digits = written.trim_start_matches(['-', '+']);
        let is_octal =
            digits.starts_with('0') && digits.as_bytes().get(1).is_some_and(u8::is_ascii_digit);
        let number = written.parse().ok().filter(|_| !is_octal).and_then(Self::new);
        number.ok_or_else(|| {
            let message = format!("{} is not an order", crate::manifest::escape(&written));
            report.error(at, &message, "write a decimal number, e.g. 100 or 37.5")
        })
    }
}

impl PartialEq for Order {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Order {}

impl PartialOrd for Order {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Order {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl Hash for Order {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_total_and_one_zero() {
        let orders = [-1.5, 0.0, 37.5, 1e300].map(|one| Order::new(one).unwrap());
        assert!(orders.is_sorted() && Order::FIRST < orders[0] && orders[3] < Order::LAST);
        assert_eq!(Order::new(-0.0), Order::new(0.0));
        assert_eq!((Order::new(f64::NAN), Order::new(f64::INFINITY)), (None, None));
        assert_eq!(Order::of(1000), Order::new(1000.0).unwrap());
    }
}
