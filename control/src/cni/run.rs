//! From the runtime's words to an answer: reads a call, does it, and says how it went.

use std::io::Read;

use serde_json::Value;

use super::add::{Added, Wanted};
use super::config::{Config, decode};
use super::environment::{Call, Command};
use super::failure::{Code, Failure};
use super::plugin::Plugin;
use super::protocol::LINE_BYTES_MAX;
use super::version::Version;

/// How a call went.
#[derive(Debug)]
pub struct Finished {
    /// For standard output; empty where a success has nothing to say.
    pub text: String,
    /// For standard error.
    pub failure: Option<Failure>,
    added: Option<Added>,
}

impl Finished {
    /// Notes that the runtime has been told.
    ///
    /// # Errors
    /// Where that cannot be written down.
    pub fn complete(self) -> Result<(), Failure> {
        self.added.map_or(Ok(()), Added::complete)
    }
}

/// Does what the runtime wants: its variables by name, its configuration from `input`.
pub fn run(variable: impl Fn(&str) -> Option<String>, input: impl Read) -> Finished {
    let mut version = Version::NEWEST;
    let answer = answer(variable, input, &mut version);
    let (document, failure, added) = match answer {
        Ok(Answer::Nothing) => (None, None, None),
        Ok(Answer::Versions(document)) => (Some(document), None, None),
        Ok(Answer::Added(added)) => (Some(added.outcome.document(version)), None, Some(*added)),
        Err(failure) => (Some(failure.document(version)), Some(failure), None),
    };
    let text = document.map_or_else(String::new, |document| format!("{document:#}\n"));
    Finished { text, failure, added }
}

enum Answer {
    Nothing,
    Versions(Value),
    Added(Box<Added>),
}

fn answer(
    variable: impl Fn(&str) -> Option<String>,
    input: impl Read,
    version: &mut Version,
) -> Result<Answer, Failure> {
    // First the configuration, if only for the version that an error is told in.
    let document = read(input).and_then(|text| decode(&text));
    let known = document.as_ref().map_err(Clone::clone).and_then(Version::of);
    *version = known.as_ref().copied().unwrap_or(Version::NEWEST);
    let call = Call::read(variable)?;
    if call.command == Command::Version {
        let asked = document.as_ref().ok().and_then(|document| document["cniVersion"].as_str());
        return Ok(Answer::Versions(Version::document(asked)));
    }
    let document = document?.as_object().cloned().unwrap_or_default();
    let known = known?;
    if known < Version::V1_1 && matches!(call.command, Command::Gc | Command::Status) {
        let message = format!("there is no GC and no STATUS in specification {}", known.text());
        let remedy = "set cniVersion of the network configuration to 1.1.0";
        return Err(Failure::new(Code::INCOMPATIBLE_VERSION, message, remedy));
    }
    let config = Config::read(&document, known)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| {
        let remedy = "see that the node has memory and file descriptors left";
        Failure::new(Code::IO, format!("the plugin cannot start: {error}"), remedy)
    })?;
    runtime.block_on(carry_out(config, call))
}

async fn carry_out(config: Config, call: Call) -> Result<Answer, Failure> {
    let plugin = Plugin::begin(config, call.path)?;
    match &call.command {
        Command::Add { attachment, netns, pod } => plugin
            .add(&Wanted { attachment, netns, pod })
            .await
            .map(|added| Answer::Added(Box::new(added))),
        Command::Del { attachment } => plugin.del(attachment).await.map(|()| Answer::Nothing),
        Command::Check { attachment, netns } => {
            plugin.check(attachment, netns).await.map(|()| Answer::Nothing)
        }
        Command::Gc => plugin.gc().await.map(|()| Answer::Nothing),
        Command::Status => plugin.status().await.map(|()| Answer::Nothing),
        // Answered before: it is about no network.
        Command::Version => Ok(Answer::Nothing),
    }
}

fn read(input: impl Read) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    let most = LINE_BYTES_MAX as u64;
    let read = input.take(most + 1).read_to_end(&mut text);
    let wrong = |message: String| {
        Failure::new(Code::DECODING, message, "write one network configuration there")
    };
    read.map_err(|error| wrong(format!("standard input cannot be read: {error}")))?;
    if text.len() as u64 > most {
        return Err(wrong(format!("the network configuration has more than {most} bytes")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a call that never gets as far as the machine.
    fn answered(command: &str, config: &str) -> (Value, Option<Failure>) {
        let variable = |name: &str| {
            let value = match name {
                "CNI_COMMAND" => command,
                "CNI_CONTAINERID" => "c1",
                "CNI_IFNAME" => "eth0",
                "CNI_NETNS" => "/run/netns/not-there",
                "CNI_PATH" => "/not-there",
                "CNI_ARGS" => "K8S_POD_NAMESPACE=demo;K8S_POD_NAME=web",
                _ => return None,
            };
            Some(value.to_owned())
        };
        let finished = run(variable, config.as_bytes());
        (serde_json::from_str(&finished.text).unwrap_or_default(), finished.failure)
    }

    #[test]
    fn a_failure_is_told_in_the_version_of_the_configuration() {
        for version in Version::ALL {
            let config = format!(r#"{{"cniVersion":"{}","name":"pods"}}"#, version.text());
            let (document, failure) = answered("ADD", &config);
            assert_eq!(document["cniVersion"], version.text());
            assert_eq!(document["code"], 7);
            let message = "ipam of the network configuration is missing";
            assert_eq!((&document["msg"], failure.is_some()), (&message.into(), true));
        }
        assert_eq!(answered("ADD", r#"{"cniVersion":"9.9.9"}"#).0["code"], 1);
        assert_eq!(answered("ADD", "garbage").0["code"], 6);
        assert_eq!(answered("ADD", "garbage").0["cniVersion"], "1.1.0");
        assert_eq!(answered("NEW", "{}").0["code"], 4);
    }

    #[test]
    fn version_is_answered_whatever_the_configuration() {
        for config in ["", "{}", "garbage", r#"{"cniVersion":"0.4.0"}"#] {
            let (document, failure) = answered("VERSION", config);
            assert_eq!((&document["supportedVersions"][2], failure), (&"1.1.0".into(), None));
        }
        assert_eq!(answered("VERSION", r#"{"cniVersion":"0.4.0"}"#).0["cniVersion"], "0.4.0");
    }

    #[test]
    fn gc_and_status_are_of_1_1_0() {
        for (version, code) in [("0.4.0", 1), ("1.0.0", 1), ("1.1.0", 7)] {
            for command in ["GC", "STATUS"] {
                let config = format!(r#"{{"cniVersion":"{version}","name":"pods"}}"#);
                assert_eq!(answered(command, &config).0["code"], code, "{command} {version}");
            }
        }
    }

    #[test]
    fn a_configuration_without_end_is_refused() {
        let long = " ".repeat(LINE_BYTES_MAX + 1);
        assert!(answered("ADD", &long).1.unwrap().message.contains("more than"));
    }
}
