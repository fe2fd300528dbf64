//! Why labels do not match an expression, for people.

use super::{Expression, NAMESPACE};

impl Expression {
    /// Why labels do not match: each part that is needed and fails, beside what is there.
    #[must_use]
    pub fn misses<'l>(&self, label: &impl Fn(&str) -> Option<&'l str>) -> Vec<String> {
        if self.matches_by(label) {
            return Vec::new();
        }
        if let Self::And(parts) = self {
            return parts.iter().flat_map(|part| part.misses(label)).collect();
        }
        let there: Vec<String> = self
            .keys()
            .into_iter()
            .map(|key| match label(key) {
                Some(value) => format!("has {key}={value}"),
                None => format!("has no {key}"),
            })
            .collect();
        let comma = if there.is_empty() { "" } else { ", " };
        vec![format!("{self} wanted{comma}{}", there.join(", "))]
    }

    /// The keys that decide, each once, in their order.
    #[must_use]
    pub fn keys(&self) -> Vec<&str> {
        let mut keys = Vec::new();
        self.gather(&mut keys);
        keys
    }

    fn gather<'e>(&'e self, keys: &mut Vec<&'e str>) {
        let key = match self {
            Self::All => return,
            Self::Global => NAMESPACE,
            Self::Has(key) | Self::Compare(key, _) => key,
            Self::Not(inner) => return inner.gather(keys),
            Self::And(parts) | Self::Or(parts) => {
                return parts.iter().for_each(|part| part.gather(keys));
            }
        };
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
}
