//! What the runtime says through `CNI_` variables: the command, and what it is about.

use std::path::PathBuf;

use crate::attach::InterfaceName;

use super::failure::{Code, Failure};
use super::protocol::Attachment;

/// The longest id of a container that fits an interface's alias beside what else is there.
const CONTAINER_BYTES_MAX: usize = 128;

/// What the runtime wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Attach a pod.
    Add {
        /// Which interface of which container.
        attachment: Attachment,
        /// The pod's network namespace.
        netns: PathBuf,
        /// Who the pod is.
        pod: PodName,
    },
    /// Let a pod go.
    Del {
        /// Which interface of which container.
        attachment: Attachment,
    },
    /// See whether a pod is as ADD left it.
    Check {
        /// Which interface of which container.
        attachment: Attachment,
        /// The pod's network namespace.
        netns: PathBuf,
    },
    /// Let everything go that belongs to no pod.
    Gc,
    /// Say whether pods can be attached.
    Status,
    /// Say which versions are spoken.
    Version,
}

/// Who a pod is, as the runtime has it from the kubelet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid, where the runtime tells it.
    pub uid: Option<String>,
}

/// A call of the plugin, without its standard input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// What is wanted.
    pub command: Command,
    /// Where other plugins are.
    pub path: Vec<PathBuf>,
}

impl Call {
    /// Reads the variables, which `variable` gives by name.
    ///
    /// # Errors
    /// The first one that is missing or wrong.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Failure> {
        let given = Given(&variable);
        let word = given.required("CNI_COMMAND", "any command")?;
        let command = match word.as_str() {
            "ADD" => Command::Add {
                attachment: given.attachment(&word)?,
                netns: given.netns(&word)?,
                pod: given.pod()?,
            },
            "DEL" => Command::Del { attachment: given.attachment(&word)? },
            "CHECK" => {
                Command::Check { attachment: given.attachment(&word)?, netns: given.netns(&word)? }
            }
            "GC" => Command::Gc,
            "STATUS" => Command::Status,
            "VERSION" => Command::Version,
            other => {
                let message = format!("CNI_COMMAND is {other:?}");
                return Err(wrong(&message, "set it to ADD, DEL, CHECK, GC, STATUS or VERSION"));
            }
        };
        let path = match command {
            Command::Version => Vec::new(),
            _ => given.path(&word)?,
        };
        Ok(Self { command, path })
    }
}

/// The variables, by name.
struct Given<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Given<'_> {
    /// A variable that a command cannot do without.
    fn required(&self, name: &str, command: &str) -> Result<String, Failure> {
        (self.0)(name).filter(|value| !value.is_empty()).ok_or_else(|| {
            let remedy = "it is the container runtime that sets it: run the plugin as one does";
            wrong(&format!("{name} is not set, and {command} needs it"), remedy)
        })
    }

    fn attachment(&self, command: &str) -> Result<Attachment, Failure> {
        let container = self.required("CNI_CONTAINERID", command)?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        let first = container.bytes().next().unwrap_or(b' ');
        if !first.is_ascii_alphanumeric() || !container.bytes().all(is_plain) {
            let message = format!("CNI_CONTAINERID is {container:?}");
            return Err(wrong(&message, "use letters, digits, '_', '.' and '-'"));
        }
        if container.len() > CONTAINER_BYTES_MAX {
            let message = format!("CNI_CONTAINERID has {} bytes", container.len());
            return Err(wrong(&message, &format!("use at most {CONTAINER_BYTES_MAX}")));
        }
        let ifname = self.required("CNI_IFNAME", command)?;
        let ifname = InterfaceName::new(&ifname).map_err(|error| {
            let message = format!("CNI_IFNAME is {ifname:?}: {error}");
            wrong(&message, "name the pod's interface, eth0 for instance")
        })?;
        Ok(Attachment { container, ifname })
    }

    fn netns(&self, command: &str) -> Result<PathBuf, Failure> {
        Ok(self.required("CNI_NETNS", command)?.into())
    }

    /// The directories of plugins; an empty one means none, never the working directory.
    fn path(&self, command: &str) -> Result<Vec<PathBuf>, Failure> {
        let path = self.required("CNI_PATH", command)?;
        Ok(path.split(':').filter(|part| !part.is_empty()).map(PathBuf::from).collect())
    }

    fn pod(&self) -> Result<PodName, Failure> {
        let text = (self.0)("CNI_ARGS").unwrap_or_default();
        let mut values = Vec::new();
        for pair in text.split(';').filter(|pair| !pair.is_empty()) {
            let pair = pair.split_once('=').ok_or_else(|| {
                wrong(&format!("CNI_ARGS has {pair:?}"), "write it as KEY=VALUE;KEY=VALUE")
            })?;
            values.push(pair);
        }
        let value = |key: &str| {
            let found = values.iter().rev().find(|(known, _)| *known == key);
            found.map(|(_, value)| (*value).to_owned()).filter(|value| !value.is_empty())
        };
        let needed = |key: &str| {
            value(key).ok_or_else(|| {
                let remedy = "the switch attaches pods of Kubernetes: a runtime under a kubelet \
                              names the pod in CNI_ARGS";
                wrong(&format!("CNI_ARGS has no {key}, and ADD needs it"), remedy)
            })
        };
        Ok(PodName {
            namespace: needed("K8S_POD_NAMESPACE")?,
            name: needed("K8S_POD_NAME")?,
            uid: value("K8S_POD_UID"),
        })
    }
}

fn wrong(message: &str, remedy: &str) -> Failure {
    Failure::new(Code::ENVIRONMENT, message, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARGS: &str = "IgnoreUnknown=1;K8S_POD_NAMESPACE=demo;K8S_POD_NAME=web-0;K8S_POD_UID=u1";

    /// A complete call but for what is changed.
    fn read(changes: &[(&str, &str)]) -> Result<Call, Failure> {
        let whole = [
            ("CNI_COMMAND", "ADD"),
            ("CNI_CONTAINERID", "c1"),
            ("CNI_NETNS", "/run/netns/a"),
            ("CNI_IFNAME", "eth0"),
            ("CNI_ARGS", ARGS),
            ("CNI_PATH", "/opt/cni/bin::/usr/lib/cni"),
        ];
        Call::read(|name| {
            let mut all = changes.iter().chain(&whole);
            all.find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn a_whole_call_is_read() {
        let ifname = InterfaceName::new("eth0").unwrap();
        let attachment = Attachment { container: "c1".into(), ifname };
        let netns = PathBuf::from("/run/netns/a");
        let (namespace, name) = ("demo".to_owned(), "web-0".to_owned());
        let pod = PodName { namespace, name, uid: Some("u1".into()) };
        let path = vec!["/opt/cni/bin".into(), "/usr/lib/cni".into()];
        let add = Command::Add { attachment: attachment.clone(), netns: netns.clone(), pod };
        assert_eq!(read(&[]).unwrap(), Call { command: add, path });
        let command = |word| read(&[("CNI_COMMAND", word), ("CNI_ARGS", "")]).unwrap().command;
        assert_eq!(command("DEL"), Command::Del { attachment: attachment.clone() });
        assert_eq!(command("CHECK"), Command::Check { attachment, netns });
        assert_eq!([command("GC"), command("STATUS")], [Command::Gc, Command::Status]);
        assert_eq!(command("VERSION"), Command::Version);
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        for (name, value, said) in [
            ("CNI_COMMAND", "", "CNI_COMMAND is not set"),
            ("CNI_COMMAND", "add", "CNI_COMMAND is \"add\""),
            ("CNI_CONTAINERID", "", "CNI_CONTAINERID is not set, and ADD needs it"),
            ("CNI_CONTAINERID", "../x", "CNI_CONTAINERID is \"../x\""),
            ("CNI_CONTAINERID", "-x", "CNI_CONTAINERID is \"-x\""),
            ("CNI_IFNAME", "", "CNI_IFNAME is not set, and ADD needs it"),
            ("CNI_IFNAME", "sixteen-bytes-xx", "longer than 15 bytes"),
            ("CNI_IFNAME", "a/b", "CNI_IFNAME is \"a/b\""),
            ("CNI_NETNS", "", "CNI_NETNS is not set, and ADD needs it"),
            ("CNI_PATH", "", "CNI_PATH is not set, and ADD needs it"),
            ("CNI_ARGS", "", "CNI_ARGS has no K8S_POD_NAMESPACE"),
            ("CNI_ARGS", "K8S_POD_NAMESPACE=demo", "CNI_ARGS has no K8S_POD_NAME,"),
            ("CNI_ARGS", "nonsense", "CNI_ARGS has \"nonsense\""),
        ] {
            let failure = read(&[(name, value)]).unwrap_err();
            assert_eq!(failure.code, Code::ENVIRONMENT, "{name}={value}");
            assert!(failure.message.contains(said), "{name}={value}: {failure}");
            assert!(!failure.details.is_empty());
        }
        let long = "c".repeat(CONTAINER_BYTES_MAX + 1);
        assert!(read(&[("CNI_CONTAINERID", &long)]).unwrap_err().message.contains("129 bytes"));
    }

    #[test]
    fn a_command_needs_its_own_variables_alone() {
        let bare = |word| read(&[("CNI_COMMAND", word), ("CNI_NETNS", ""), ("CNI_ARGS", "")]);
        assert!(bare("DEL").is_ok());
        assert!(bare("CHECK").is_err());
        let all_gone = |word| {
            let names = ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS", "CNI_PATH"];
            let mut changes = vec![("CNI_COMMAND", word)];
            changes.extend(names.map(|name| (name, "")));
            read(&changes)
        };
        assert!(all_gone("VERSION").is_ok());
        assert!(all_gone("GC").unwrap_err().message.contains("CNI_PATH"));
        assert!(all_gone("STATUS").unwrap_err().message.contains("CNI_PATH"));
    }
}
