//! What a thing wears. There are very many things with few labels each, so they are one sorted
//! list, not a map.

/// Labels of a pod or a namespace, by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(Vec<(Box<str>, Box<str>)>);

impl Labels {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        let at = self.place(key).ok()?;
        self.0.get(at).map(|(_, value)| &**value)
    }

    /// Sets a key's value.
    pub fn insert(&mut self, key: &str, value: &str) {
        match self.place(key) {
            Ok(at) => {
                if let Some(pair) = self.0.get_mut(at) {
                    pair.1 = value.into();
                }
            }
            Err(at) => {
                self.0.reserve_exact(1);
                self.0.insert(at, (key.into(), value.into()));
            }
        }
    }

    /// Keys and values, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }

    fn place(&self, key: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(one, _)| (**one).cmp(key))
    }
}

/// Of two values of one key the last counts.
impl<K: AsRef<str>, V: AsRef<str>> FromIterator<(K, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut labels = Self::new();
        for (key, value) in pairs {
            labels.insert(key.as_ref(), value.as_ref());
        }
        labels
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
