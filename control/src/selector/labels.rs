//! What a thing wears. There are very many things with few labels each, so they are one text,
//! not a map.

use serde::{Deserialize, Serialize};

/// Labels of a pod or a namespace, by key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Labels {
    /// Keys and values, one after the other.
    text: Box<str>,
    /// Where each key and each value ends, in turn.
    ends: Box<[u32]>,
}

impl Labels {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find(|pair| pair.0 == key).map(|pair| pair.1)
    }

    /// Sets a key's value.
    pub fn insert(&mut self, key: &str, value: &str) {
        *self = self.iter().chain([(key, value)]).collect();
    }

    /// Keys and values, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut begin = 0;
        let mut next = move |end: u32| {
            let end = end as usize;
            self.text.get(std::mem::replace(&mut begin, end)..end).unwrap_or_default()
        };
        self.ends.as_chunks().0.iter().map(move |[key, value]| (next(*key), next(*value)))
    }
}

/// Of two values of one key the last counts.
impl<K: AsRef<str>, V: AsRef<str>> FromIterator<(K, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut pairs: Vec<(K, V)> = pairs.into_iter().collect();
        // Equal keys stay in their order.
        pairs.sort_by(|one, other| one.0.as_ref().cmp(other.0.as_ref()));
        let (mut text, mut ends) = (String::new(), Vec::with_capacity(2 * pairs.len()));
        for (at, (key, value)) in pairs.iter().enumerate() {
            if pairs.get(at + 1).is_some_and(|next| next.0.as_ref() == key.as_ref()) {
                continue;
            }
            for part in [key.as_ref(), value.as_ref()] {
                text.push_str(part);
                ends.push(u32::try_from(text.len()).unwrap_or(u32::MAX));
            }
        }
        Self { text: text.into(), ends: ends.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_found_by_key_and_the_last_value_counts() {
        let labels: Labels = [("b", "1"), ("a", "2"), ("c", ""), ("b", "3")].into_iter().collect();
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("a", "2"), ("b", "3"), ("c", "")]);
        assert_eq!(
            ["a", "b", "c", "d"].map(|key| labels.get(key)),
            [Some("2"), Some("3"), Some(""), None]
        );
        let other: Labels = [("c", ""), ("b", "3"), ("a", "2")].into_iter().collect();
        assert_eq!(labels, other);
        assert_eq!(Labels::new().get(""), None);
    }
}
