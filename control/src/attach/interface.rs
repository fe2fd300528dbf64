//! The name of a network interface, checked before it reaches the kernel or a path.
//!
//! Names come from annotations, which whoever writes a Pod may choose. They end in netlink
//! messages and in `/proc/sys/net/…/NAME/…`, so a name that is no single path component, or that
//! means all interfaces there (`all`, `default`), is refused here and nowhere else.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest name the kernel takes (`IFNAMSIZ` less its final zero), in bytes.
pub const NAME_BYTES_MAX: usize = 15;

/// A well-formed interface name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InterfaceName(String);

/// Why a text is no interface name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing in it.
    #[error("it is empty")]
    Empty,
    /// Above [`NAME_BYTES_MAX`].
    #[error("it is longer than {NAME_BYTES_MAX} bytes")]
    Long,
    /// A character that the kernel or a path does not bear.
    #[error("it may hold letters, digits, '.', '-', '_' and '@' only")]
    Character,
    /// A name that means something else: `.`, `..`, `all`, `default`, `lo`.
    #[error("the name is reserved")]
    Reserved,
}

impl InterfaceName {
    /// Takes a name as written.
    ///
    /// # Errors
    /// [`NameError`] where the kernel or a path would not take it for one interface's name.
    pub fn new(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > NAME_BYTES_MAX {
            return Err(NameError::Long);
        }
        if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_@".contains(&b)) {
            return Err(NameError::Character);
        }
        if matches!(text, "." | ".." | "all" | "default" | "lo") {
            return Err(NameError::Reserved);
        }
        Ok(Self(text.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for InterfaceName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        Self::new(&text)
    }
}

impl From<InterfaceName> for String {
    fn from(name: InterfaceName) -> Self {
        name.0
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_name_is_taken() {
        assert_eq!(InterfaceName::new("veth12ab.3-x_").map(|n| n.0), Ok("veth12ab.3-x_".into()));
        assert!(InterfaceName::new("fifteen-bytes-x").is_ok());
    }

    #[test]
    fn a_name_that_leaves_its_directory_or_means_all_is_refused() {
        for name in [".", "..", "all", "default", "lo"] {
            assert_eq!(InterfaceName::new(name), Err(NameError::Reserved), "{name}");
        }
        for name in ["a/b", "../x", "a b", "a\n", "ü", "a;b", "%s"] {
            assert_eq!(InterfaceName::new(name), Err(NameError::Character), "{name}");
        }
        assert_eq!(InterfaceName::new(""), Err(NameError::Empty));
        assert_eq!(InterfaceName::new("sixteen-bytes-xx"), Err(NameError::Long));
    }
}
