//! From the runtime's words to an answer: reads a call, does it, and says how it went.

use std::io::Read;

use serde_json::Value;

use super::add::{Added, Wanted};
use super::config::{Config, decode};
use super::environment::{Call, Command};
use super::failure::{Code, Failure};
use super::plugin::{Plugin, interface};
use super::protocol::{Attachment, LINE_BYTES_MAX};
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
        Ok(Answer::Added(added)) => (Some(added.outcome.document(version)), None, Some(added)),
        Err(failure) => (Some(failure.document(version)), Some(failure), None),
    };
    let text = document.map_or_else(String::new, |document| format!("{document:#}\n"));
    Finished { text, failure, added }
}

enum Answer {
    Nothing,
    Versions(Value),
    Added(Added),
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
    let config = Config::read(&document, known?)?;
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
        Command::Add { attachment, netns, pod } => {
            plugin.add(&Wanted { attachment, netns, pod }).await.map(Answer::Added)
        }
        Command::Del { attachment } => plugin.del(attachment).await.map(|()| Answer::Nothing),
        _ => Err(Failure::new(Code::ENVIRONMENT, "not yet", "")),
    }
}

impl Plugin {
    /// Lets a pod go; one that is gone, or was never there, is no error.
    async fn del(&self, attachment: &Attachment) -> Result<(), Failure> {
        let record = self.records.take(&interface(attachment)?, self.until).await?;
        self.release(attachment).await?;
        record.map_or(Ok(()), super::record::Record::remove)
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
