//! What tells an object from an earlier one of the same name.
//!
//! An API server gives each object a UUID (RFC 9562), whose sixteen bytes are kept; whatever else is
//! written is kept as it is written.

use std::fmt;

use serde::{Deserialize, Serialize};

/// `metadata.uid`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Uid(Form);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Form {
    /// Of lower-case digits in groups, as API servers write them.
    Uuid([u8; 16]),
    Other(Box<str>),
}

impl From<&str> for Uid {
    fn from(text: &str) -> Self {
        let digits: String = text.chars().filter(|one| *one != '-').collect();
        let number = u128::from_str_radix(&digits, 16).unwrap_or_default();
        let read = Self(Form::Uuid(number.to_be_bytes()));
        // What is not written just so is another UID.
        if read.to_string() == text { read } else { Self(Form::Other(text.into())) }
    }
}

impl From<String> for Uid {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl From<Uid> for String {
    fn from(uid: Uid) -> Self {
        uid.to_string()
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Other(text) => f.write_str(text),
            Form::Uuid(bytes) => bytes.iter().enumerate().try_for_each(|(at, byte)| {
                let dash = if [4, 6, 8, 10].contains(&at) { "-" } else { "" };
                write!(f, "{dash}{byte:02x}")
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_comes_back_as_it_was_written() {
        let standard = "6fa459ea-ee8a-3ca4-894e-db77e160355e";
        assert!(
            matches!(Uid::from(standard), Uid(Form::Uuid(bytes)) if bytes[..2] == [0x6f, 0xa4])
        );
        let others = ["", "-", "a", "6FA459EA-EE8A-3CA4-894E-DB77E160355E", "a-uid", "+1", "ä"];
        let shapes = [
            "6fa459eaee8a3ca4894edb77e160355e",
            "6fa459ea-ee8a-3ca4-894edb-77e160355e",
            "6fa459ea-ee8a-3ca4-894e-db77e160355e0",
            "00000000-0000-0000-0000-00000000000g",
        ];
        for text in others.into_iter().chain(shapes) {
            assert!(matches!(&Uid::from(text).0, Form::Other(kept) if **kept == *text), "{text}");
        }
        for text in others.into_iter().chain(shapes).chain([standard]) {
            let uid = Uid::from(text);
            assert_eq!(uid.to_string(), text);
            let written = serde_json::to_string(&uid).unwrap();
            assert_eq!(serde_json::from_str::<Uid>(&written).unwrap(), uid);
        }
    }
}
