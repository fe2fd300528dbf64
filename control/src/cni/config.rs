//! The network configuration that the runtime writes to the plugin's standard input.
//!
//! Fields of the plugin's own are known one by one, and an unknown one is an error: it may be a
//! slip, and a limit that was misspelt is none. What runtimes add is let be.

use std::path::PathBuf;
use std::time::Duration;

use lockgate_dataplane::limits::MTU_MAX;
use serde_json::{Map, Value};

use crate::attach::InterfaceName;

use super::failure::{Code, Failure};
use super::protocol::Attachment;
use super::version::Version;

/// The agent's socket for the plugin, unless set.
pub const SOCKET: &str = "/run/lockgate/cni.sock";

/// The MTU of pods, unless set.
pub const MTU: u16 = 1500;

/// The least MTU: what IPv6 asks of every link.
pub const MTU_MIN: u16 = 1280;

/// How long an operation may take, in seconds, unless set.
pub const TIMEOUT_SECONDS: u64 = 30;

/// The longest that may be set: a kubelet has given up by then.
pub const TIMEOUT_SECONDS_MAX: u64 = 600;

/// What is known beside what begins with `cni.dev/`: the plugin's own, then the runtime's.
const KNOWN: [&str; 11] = [
    "cniVersion",
    "name",
    "type",
    "socket",
    "mtu",
    "timeoutSeconds",
    "ipam",
    "dns",
    "args",
    "capabilities",
    "runtimeConfig",
];

/// The result of the plugins before this one, or of ADD.
const PREVIOUS: &str = "prevResult";

/// The attachments that a GC shall leave: the specification's word, and that of its first text.
const VALID: [&str; 2] = ["cni.dev/valid-attachments", "cni.dev/attachments"];

/// A configuration that was understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The specification that answers keep to.
    pub version: Version,
    /// The network's name.
    pub name: String,
    /// The agent's socket.
    pub socket: PathBuf,
    /// The MTU of pods, in bytes.
    pub mtu: u16,
    /// How long the operation may take.
    pub time_limit: Duration,
    /// The plugin that gives addresses.
    pub ipam: String,
    /// The name servers that are said to pods instead of what the IPAM plugin says.
    pub dns: Option<Value>,
    /// What ADD answered, where the runtime tells it.
    pub previous: Option<Value>,
    /// The attachments that a GC shall leave.
    pub valid: Option<Vec<Attachment>>,
    /// All of it, as the IPAM plugin shall have it.
    pub document: Map<String, Value>,
}

/// Reads a text as JSON.
///
/// # Errors
/// Where it is none, or no object.
pub fn decode(text: &[u8]) -> Result<Value, Failure> {
    let wrong = |message| {
        let remedy = "write a network configuration to the plugin's standard input, as a container \
                      runtime does from /etc/cni/net.d";
        Failure::new(Code::DECODING, message, remedy)
    };
    if text.iter().all(u8::is_ascii_whitespace) {
        return Err(wrong("there is no network configuration on standard input".to_owned()));
    }
    let value: Value = serde_json::from_slice(text).map_err(|error| {
        wrong(format!("the network configuration on standard input is not JSON: {error}"))
    })?;
    if value.is_object() {
        return Ok(value);
    }
    Err(wrong("the network configuration on standard input is no JSON object".to_owned()))
}

impl Config {
    /// Understands a configuration of a version.
    ///
    /// # Errors
    /// The first field that is unknown, missing or wrong.
    pub fn read(document: &Map<String, Value>, version: Version) -> Result<Self, Failure> {
        for (key, value) in document {
            if !KNOWN.contains(&key.as_str()) && key != PREVIOUS && !key.starts_with("cni.dev/") {
                let message =
                    format!("the network configuration has an unknown field {key}: {value}");
                let remedy = "remove it, or correct its name: the plugin's own fields are socket, \
                              mtu, timeoutSeconds and ipam";
                return Err(Failure::new(Code::UNSUPPORTED_FIELD, message, remedy));
            }
        }
        let fields = Fields(document);
        Ok(Self {
            version,
            name: fields.name()?,
            socket: fields.socket()?,
            mtu: fields.mtu()?,
            time_limit: fields.time_limit()?,
            ipam: fields.ipam()?,
            dns: document
                .get("dns")
                .filter(|dns| dns.as_object().is_some_and(|o| !o.is_empty()))
                .cloned(),
            previous: document.get(PREVIOUS).filter(|value| !value.is_null()).cloned(),
            valid: fields.valid()?,
            document: document.clone(),
        })
    }
}

/// The fields, each read with what to do where it is wrong.
struct Fields<'a>(&'a Map<String, Value>);

impl Fields<'_> {
    fn text(&self, key: &str) -> Result<Option<&str>, Failure> {
        match self.0.get(key) {
            None => Ok(None),
            Some(Value::String(text)) if !text.is_empty() => Ok(Some(text)),
            Some(other) => Err(wrong(key, &format!("is {other}"), "write a text")),
        }
    }

    fn name(&self) -> Result<String, Failure> {
        let remedy = "name the network: letters, digits, '_', '.' and '-', a letter or digit first";
        let name = self.text("name")?.ok_or_else(|| wrong("name", "is missing", remedy))?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        let first = name.bytes().next().unwrap_or(b' ');
        if first.is_ascii_alphanumeric() && name.bytes().all(is_plain) {
            return Ok(name.to_owned());
        }
        Err(wrong("name", &format!("is {name:?}"), remedy))
    }

    fn socket(&self) -> Result<PathBuf, Failure> {
        let socket = PathBuf::from(self.text("socket")?.unwrap_or(SOCKET));
        if socket.is_absolute() {
            return Ok(socket);
        }
        let remedy =
            format!("write the whole path of the agent's socket: {SOCKET} unless set there");
        Err(wrong("socket", &format!("is {:?}", socket.display().to_string()), &remedy))
    }

    fn number(&self, key: &str, unless: u64, least: u64, most: u64) -> Result<u64, Failure> {
        let Some(value) = self.0.get(key) else { return Ok(unless) };
        let number = value.as_u64().filter(|number| (least..=most).contains(number));
        number.ok_or_else(|| {
            let remedy =
                format!("write a number from {least} to {most}, or leave it out for {unless}");
            wrong(key, &format!("is {value}"), &remedy)
        })
    }

    fn mtu(&self) -> Result<u16, Failure> {
        let mtu = self.number("mtu", MTU.into(), MTU_MIN.into(), MTU_MAX as u64)?;
        Ok(u16::try_from(mtu).unwrap_or(MTU))
    }

    fn time_limit(&self) -> Result<Duration, Failure> {
        let seconds = self.number("timeoutSeconds", TIMEOUT_SECONDS, 1, TIMEOUT_SECONDS_MAX)?;
        Ok(Duration::from_secs(seconds))
    }

    /// The name of the IPAM plugin. It is looked for in directories, so it must be no path.
    fn ipam(&self) -> Result<String, Failure> {
        let remedy = "name the plugin that gives addresses, \
                      \"ipam\": {\"type\": \"host-local\", …} for instance";
        let ipam = self.0.get("ipam").ok_or_else(|| wrong("ipam", "is missing", remedy))?;
        let kind = ipam.get("type").and_then(Value::as_str);
        let kind = kind.ok_or_else(|| wrong("ipam.type", "is missing, or no text", remedy))?;
        if kind.is_empty() || kind.contains('/') || matches!(kind, "." | "..") {
            return Err(wrong("ipam.type", &format!("is {kind:?}"), remedy));
        }
        Ok(kind.to_owned())
    }

    fn valid(&self) -> Result<Option<Vec<Attachment>>, Failure> {
        let Some((key, list)) = VALID.iter().find_map(|key| Some((key, self.0.get(*key)?))) else {
            return Ok(None);
        };
        let remedy = "it is the runtime that writes it, a list of \
                      {\"containerID\": \"…\", \"ifname\": \"…\"}";
        let unlike = || wrong(key, &format!("is {list}"), remedy);
        let attachment = |entry: &Value| {
            let text = |name| entry.get(name).and_then(Value::as_str);
            let ifname = InterfaceName::new(text("ifname")?).ok()?;
            Some(Attachment { container: text("containerID")?.to_owned(), ifname })
        };
        let entries = match list {
            // How Go writes an empty list.
            Value::Null => &Vec::new(),
            other => other.as_array().ok_or_else(unlike)?,
        };
        // One that is not understood would be one that is taken away.
        entries
            .iter()
            .map(|entry| attachment(entry).ok_or_else(unlike))
            .collect::<Result<_, _>>()
            .map(Some)
    }
}

fn wrong(key: &str, what: &str, remedy: &str) -> Failure {
    let message = format!("{key} of the network configuration {what}");
    Failure::new(Code::INVALID_CONFIG, message, remedy)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(changes: &Value) -> Result<Config, Failure> {
        let mut config = json!({
            "cniVersion": "1.0.0", "name": "pods", "type": "lockgate-cni",
            "ipam": {"type": "host-local", "subnet": "10.244.0.0/24"},
        });
        let object = config.as_object_mut().unwrap();
        for (key, value) in changes.as_object().unwrap() {
            object.insert(key.clone(), value.clone());
            if value == "remove" {
                object.remove(key);
            }
        }
        Config::read(object, Version::V1_0)
    }

    #[test]
    fn what_is_left_out_is_the_default() {
        let config = read(&json!({})).unwrap();
        assert_eq!(config.socket, PathBuf::from("/run/lockgate/cni.sock"));
        assert_eq!((config.mtu, config.time_limit), (1500, Duration::from_secs(30)));
        assert_eq!((config.ipam.as_str(), config.valid), ("host-local", None));
    }

    #[test]
    fn what_runtimes_add_is_let_be() {
        let config = read(&json!({
            "runtimeConfig": {"portMappings": []}, "capabilities": {"x": true}, "args": {"a": 1},
            "prevResult": {"ips": []}, "cni.dev/anything": 1, "dns": {},
        }));
        let config = config.unwrap();
        assert_eq!((config.previous.is_some(), config.dns), (true, None));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_remedy() {
        let (invalid, unsupported) = (Code::INVALID_CONFIG, Code::UNSUPPORTED_FIELD);
        for (change, code, said) in [
            (json!({"mut": 9000}), unsupported, "unknown field mut: 9000"),
            (json!({"ipMasq": true}), unsupported, "unknown field ipMasq: true"),
            (json!({"name": "remove"}), invalid, "name of the network configuration is missing"),
            (json!({"name": "../x"}), invalid, "is \"../x\""),
            (json!({"name": 5}), invalid, "name of the network configuration is 5"),
            (json!({"socket": "run/x.sock"}), invalid, "socket of the network configuration"),
            (json!({"socket": true}), invalid, "is true"),
            (json!({"mtu": 1279}), invalid, "mtu of the network configuration is 1279"),
            (json!({"mtu": MTU_MAX + 1}), invalid, "mtu of the network configuration is"),
            (json!({"mtu": "1500"}), invalid, "is \"1500\""),
            (json!({"timeoutSeconds": 0}), invalid, "timeoutSeconds"),
            (json!({"timeoutSeconds": 601}), invalid, "timeoutSeconds"),
            (json!({"ipam": "remove"}), invalid, "ipam of the network configuration is missing"),
            (json!({"ipam": {}}), invalid, "ipam.type"),
            (json!({"ipam": {"type": "../sh"}}), invalid, "is \"../sh\""),
            (json!({"cni.dev/valid-attachments": 3}), invalid, "valid-attachments"),
            (json!({"cni.dev/valid-attachments": [{"containerID": "c"}]}), invalid, "\"c\""),
        ] {
            let failure = read(&change).unwrap_err();
            assert_eq!(failure.code, code, "{change}");
            assert!(failure.message.contains(said), "{change}: {failure}");
            assert!(!failure.details.is_empty(), "{change}");
        }
    }

    #[test]
    fn the_attachments_that_stay_are_read_by_either_name() {
        let list = json!([{"containerID": "c1", "ifname": "eth0"}]);
        for key in VALID {
            let valid = read(&json!({ key: list })).unwrap().valid.unwrap();
            assert_eq!((valid.len(), valid[0].container.as_str()), (1, "c1"));
        }
        assert_eq!(read(&json!({"cni.dev/attachments": []})).unwrap().valid, Some(vec![]));
        assert_eq!(read(&json!({"cni.dev/attachments": null})).unwrap().valid, Some(vec![]));
    }

    #[test]
    fn garbage_is_no_configuration() {
        for (text, said) in [
            ("", "there is no network configuration"),
            (" \n", "there is no network configuration"),
            ("{", "is not JSON"),
            ("\u{fffd}\u{0}", "is not JSON"),
            ("[]", "is no JSON object"),
            ("\"x\"", "is no JSON object"),
        ] {
            let failure = decode(text.as_bytes()).unwrap_err();
            assert_eq!(failure.code, Code::DECODING);
            assert!(failure.message.contains(said), "{text:?}: {failure}");
        }
    }
}
