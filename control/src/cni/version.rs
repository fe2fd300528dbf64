//! The versions of the specification that the plugin speaks.

use serde_json::{Value, json};

use super::failure::{Code, Failure};

/// A version, the older the smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// 0.4.0: brought CHECK. An address says which family it is of.
    V0_4,
    /// 1.0.0: a family follows from the address.
    V1_0,
    /// 1.1.0: brought GC and STATUS.
    V1_1,
}

impl Version {
    /// All of them, the oldest first.
    pub const ALL: [Self; 3] = [Self::V0_4, Self::V1_0, Self::V1_1];

    /// The newest: what an answer bears where the question's version is not known.
    pub const NEWEST: Self = Self::V1_1;

    /// As written.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::V0_4 => "0.4.0",
            Self::V1_0 => "1.0.0",
            Self::V1_1 => "1.1.0",
        }
    }

    /// As read.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.text() == text)
    }

    /// The version of a configuration.
    ///
    /// # Errors
    /// Where it says none, or one that the plugin does not speak.
    pub fn of(config: &Value) -> Result<Self, Failure> {
        let remedy = || format!("set cniVersion to one of {}", all().join(", "));
        let wrong = |message: String| Failure::new(Code::INCOMPATIBLE_VERSION, message, remedy());
        match config.get("cniVersion") {
            None => Err(wrong("the network configuration has no cniVersion".to_owned())),
            Some(Value::String(text)) => Self::parse(text).ok_or_else(|| {
                wrong(format!("cniVersion {text:?} of the network configuration is not supported"))
            }),
            Some(other) => {
                Err(wrong(format!("cniVersion of the network configuration is {other}, no text")))
            }
        }
    }

    /// The answer to VERSION, in the version that was asked for.
    #[must_use]
    pub fn document(asked: Option<&str>) -> Value {
        let version = asked.unwrap_or(Self::NEWEST.text());
        json!({ "cniVersion": version, "supportedVersions": all() })
    }
}

fn all() -> [&'static str; 3] {
    Version::ALL.map(Version::text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_known_or_refused_by_name() {
        let of = |config: Value| Version::of(&config);
        for version in Version::ALL {
            assert_eq!(of(json!({ "cniVersion": version.text() })), Ok(version));
        }
        for (config, said) in [
            (json!({}), "has no cniVersion"),
            (json!({ "cniVersion": "0.3.1" }), "\"0.3.1\" of the network configuration"),
            (json!({ "cniVersion": "1.0" }), "\"1.0\""),
            (json!({ "cniVersion": "2.0.0" }), "\"2.0.0\""),
            (json!({ "cniVersion": 1 }), "is 1, no text"),
        ] {
            let failure = of(config).unwrap_err();
            assert_eq!(failure.code, Code::INCOMPATIBLE_VERSION);
            assert!(failure.message.contains(said), "{failure}");
            assert_eq!(failure.details, "set cniVersion to one of 0.4.0, 1.0.0, 1.1.0");
        }
    }

    #[test]
    fn newer_is_more() {
        assert!(Version::V0_4 < Version::V1_0 && Version::V1_0 < Version::V1_1);
    }

    #[test]
    fn version_is_answered_in_the_version_asked() {
        let supported = json!(["0.4.0", "1.0.0", "1.1.0"]);
        assert_eq!(Version::document(Some("0.3.1"))["cniVersion"], "0.3.1");
        assert_eq!(Version::document(None)["cniVersion"], "1.1.0");
        assert_eq!(Version::document(None)["supportedVersions"], supported);
    }
}
