//! What the CNI plugin and the agent say to each other on the agent's CNI socket.
//!
//! One connection, one question: the plugin writes one line of JSON, the agent answers with one
//! line and closes. Both sides are of one version (the agent installs the plugin), so a field that
//! one of them does not know is an error and no difference to be lived with.
//!
//! ```text
//! {"cni":"ready"}                                                   -> {}
//! {"cni":"attach","container":"…","ifname":"eth0","namespace":"default","pod":"web-0",
//!  "uid":"…","netns":"/run/netns/…","interface":"lg0123456789abc","mac":"02:…",
//!  "addresses":["10.244.0.5"],"timeout_ms":30000}                   -> {"generation":17}
//! {"cni":"detach","container":"…","ifname":"eth0"}                  -> {"interface":"lg…"} or {}
//! {"cni":"check","container":"…","ifname":"eth0","interface":"lg…","mac":"02:…",
//!  "addresses":["10.244.0.5"]}                                      -> {}
//! {"cni":"gc","valid":[{"container":"…","ifname":"eth0"}]}
//!   -> {"detached":[{"container":"…","ifname":"eth0","interface":"lg…"}]}
//! any of them                    -> {"error":{"code":11,"message":"…","details":"…"}}
//! ```

use std::net::IpAddr;

use lockgate_dataplane::ids::Mac;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::attach::InterfaceName;

/// The longest line, its end included: a `gc` of some thousand pods.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// What the plugin asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "cni", rename_all = "lowercase", deny_unknown_fields)]
pub enum Question {
    /// Whether it would attach a pod now; answered with [`Done`].
    Ready {},
    /// Give a pod its port; answered with [`Attached`] when its policy is in force on all workers.
    Attach(Attach),
    /// Take a pod's port away; answered with [`Detached`] when nothing is sent to it any more.
    Detach(Attachment),
    /// Whether a pod's port is as the runtime remembers; answered with [`Done`].
    Check(Check),
    /// Take away every port that is not named; answered with [`Collected`].
    Gc {
        /// The attachments that stay.
        valid: Vec<Attachment>,
    },
}

/// One interface of one container: what all operations are about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attachment {
    /// The runtime's id of the container, for a pod that of its sandbox.
    pub container: String,
    /// The interface's name in the pod.
    pub ifname: InterfaceName,
}

/// A pod that asks for its port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attach {
    /// The runtime's id of the container.
    pub container: String,
    /// The interface's name in the pod.
    pub ifname: InterfaceName,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The pod's uid; runtimes that are old do not tell it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// The path of the pod's network namespace, as the plugin sees it.
    pub netns: String,
    /// The switch's side of the pod's veth: down, inert, with one queue.
    pub interface: InterfaceName,
    /// The MAC of the pod's side.
    #[serde(with = "mac_text")]
    pub mac: Mac,
    /// The pod's addresses: at most one of each family.
    pub addresses: Vec<IpAddr>,
    /// How long the plugin will wait for the answer; later, it has undone everything.
    pub timeout_ms: u64,
}

/// What the runtime remembers of a pod's port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// The runtime's id of the container.
    pub container: String,
    /// The interface's name in the pod.
    pub ifname: InterfaceName,
    /// The switch's side.
    pub interface: InterfaceName,
    /// The MAC of the pod's side.
    #[serde(with = "mac_text")]
    pub mac: Mac,
    /// The pod's addresses.
    pub addresses: Vec<IpAddr>,
}

/// Yes, and nothing more to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Done {}

/// A pod has its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attached {
    /// The generation of policy that is in force for it on all workers.
    pub generation: u64,
}

/// A pod has no port any more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Detached {
    /// The switch's side that it had; `None` where the agent knew nothing of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<InterfaceName>,
}

/// What a `gc` took away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Collected {
    /// Each attachment that was not among those that stay.
    pub detached: Vec<Gone>,
}

/// An attachment that a `gc` took away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gone {
    /// The runtime's id of the container.
    pub container: String,
    /// The interface's name in the pod.
    pub ifname: InterfaceName,
    /// The switch's side that it had.
    pub interface: InterfaceName,
}

/// No, and why: the agent's words, which the plugin gives on to the runtime.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refused {
    /// Why.
    pub error: Refusal,
}

/// Why the agent does not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[error("{message}")]
pub struct Refusal {
    /// A code as the CNI specification has them: 3 unknown container, 11 try again later, 50 and
    /// 51 not available.
    pub code: u32,
    /// One sentence.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub details: String,
}

/// A link address as text: six bytes in hexadecimal, parted by colons.
pub(crate) mod mac_text {
    use super::{Deserialize, Deserializer, Mac, Serializer};

    /// Reads a link address.
    pub(crate) fn parse(text: &str) -> Option<Mac> {
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let digits =
                |part: &&str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit());
            let part = parts.next().filter(digits)?;
            *byte = u8::from_str_radix(part, 16).ok()?;
        }
        parts.next().is_none().then_some(Mac(bytes))
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    pub(super) fn serialize<S: Serializer>(mac: &Mac, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(mac)
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Mac, D::Error> {
        let text = String::deserialize(from)?;
        let wrong =
            || serde::de::Error::custom(format!("{text:?} is no MAC, as 02:00:00:00:00:01"));
        parse(&text).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attachment() -> Attachment {
        Attachment { container: "c1".into(), ifname: InterfaceName::new("eth0").unwrap() }
    }

    /// The line that a question becomes, having been read back to itself.
    fn line(question: &Question) -> String {
        let line = serde_json::to_string(question).unwrap();
        assert_eq!(&serde_json::from_str::<Question>(&line).unwrap(), question);
        line
    }

    #[test]
    fn every_question_is_one_line_that_reads_back() {
        assert_eq!(line(&Question::Ready {}), r#"{"cni":"ready"}"#);
        let detach = line(&Question::Detach(attachment()));
        assert_eq!(detach, r#"{"cni":"detach","container":"c1","ifname":"eth0"}"#);
        let gc = line(&Question::Gc { valid: vec![attachment()] });
        assert_eq!(gc, r#"{"cni":"gc","valid":[{"container":"c1","ifname":"eth0"}]}"#);
        let attach = Attach {
            container: "c1".into(),
            ifname: attachment().ifname,
            namespace: "default".into(),
            pod: "web-0".into(),
            uid: None,
            netns: "/run/netns/a".into(),
            interface: InterfaceName::new("lg0123456789abc").unwrap(),
            mac: Mac([2, 0, 0, 0, 0, 0xa]),
            addresses: vec!["10.244.0.5".parse().unwrap(), "fd00::5".parse().unwrap()],
            timeout_ms: 30_000,
        };
        let told = line(&Question::Attach(attach));
        assert_eq!(
            told,
            r#"{"cni":"attach","container":"c1","ifname":"eth0","namespace":"default","#.to_owned()
                + r#""pod":"web-0","netns":"/run/netns/a","interface":"lg0123456789abc","#
                + r#""mac":"02:00:00:00:00:0a","addresses":["10.244.0.5","fd00::5"],"#
                + r#""timeout_ms":30000}"#
        );
    }

    #[test]
    fn what_one_side_does_not_know_is_an_error() {
        for wrong in [
            r#"{"cni":"ready","x":1}"#,
            r#"{"cni":"detach","container":"c","ifname":"eth0","x":1}"#,
            r#"{"cni":"detach","container":"c"}"#,
            r#"{"cni":"detach","container":"c","ifname":"../x"}"#,
            r#"{"cni":"gc"}"#,
            r#"{"cni":"gc","valid":[{"container":"c","ifname":"eth0","x":1}]}"#,
            r#"{"cni":"new"}"#,
            r#"{"container":"c","ifname":"eth0"}"#,
        ] {
            assert!(serde_json::from_str::<Question>(wrong).is_err(), "{wrong}");
        }
        assert!(serde_json::from_str::<Done>(r#"{"x":1}"#).is_err());
        assert!(serde_json::from_str::<Attached>("{}").is_err());
        assert_eq!(serde_json::from_str::<Detached>("{}").unwrap(), Detached::default());
    }

    #[test]
    fn a_mac_is_six_bytes_of_two_digits() {
        assert_eq!(mac_text::parse("02:00:0A:00:00:ff"), Some(Mac([2, 0, 10, 0, 0, 255])));
        for wrong in
            ["", "02:00:00:00:00", "02:00:00:00:00:00:00", "2:0:0:0:0:0", "+2:00:00:00:00:00"]
        {
            assert_eq!(mac_text::parse(wrong), None, "{wrong}");
        }
    }
}
