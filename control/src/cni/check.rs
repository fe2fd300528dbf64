//! CHECK and STATUS: is a pod as ADD left it, and can pods be attached?

use std::path::Path;

use lockgate_dataplane::port::program;

use crate::attach::{Difference, PodEnd, state};

use super::add::{in_pod, open_netns};
use super::agent::{Unanswered, ask};
use super::failure::{Code, Failure};
use super::outcome::Outcome;
use super::plugin::{Plugin, interface};
use super::protocol::{Attachment, Check, Done, Question};

/// Whose the XDP program of a pod's interface shall be.
const OURS: &str = "the switch's";

impl Plugin {
    /// Compares a pod with what ADD gave: its addresses with the IPAM plugin, both ends of its
    /// veth with the kernel, its port with the agent.
    ///
    /// Of routes those are compared that the pod came with: plugins after this one may make others.
    ///
    /// # Errors
    /// Whatever is not as it was; all that the kernel shows is told at once.
    pub async fn check(&self, attachment: &Attachment, netns: &Path) -> Result<(), Failure> {
        let previous = self.config.previous.as_ref().ok_or_else(|| {
            let message = "prevResult of the network configuration is missing, and CHECK needs it";
            let remedy = "it is the runtime that writes it, from what ADD gave";
            Failure::new(Code::INVALID_CONFIG, message, remedy)
        })?;
        let name = interface(attachment)?;
        let made = Outcome::read(previous, &name, &attachment.ifname, self.config.mtu)?;
        self.ipam().await?.check(attachment, self.until).await?;
        let mut found = self.node_differences(&made).await?;
        let end = PodEnd {
            name: attachment.ifname.clone(),
            addresses: made.addresses.clone(),
            mtu: made.mtu.into(),
        };
        let inside = end.differences(&open_netns(netns)?, made.mac);
        found.extend(inside.map_err(|error| in_pod(&error))?);
        if !found.is_empty() {
            let told: Vec<String> = found.iter().map(ToString::to_string).collect();
            let message = format!("of {}: {}", attachment.container, told.join("; "));
            let remedy = "delete the pod: what replaces it is attached anew";
            return Err(Failure::new(Code::DIFFERENT, message, remedy));
        }
        let question = Question::Check(Check {
            container: attachment.container.clone(),
            ifname: attachment.ifname.clone(),
            interface: name,
            mac: made.mac,
            addresses: made.addresses,
        });
        let _same: Done = ask(&self.config.socket, &question, self.until).await?;
        Ok(())
    }

    /// What is not as ADD made it at the node's end.
    async fn node_differences(&self, made: &Outcome) -> Result<Vec<Difference>, Failure> {
        let name = &made.interface;
        let differs = |what: &str, found: String, wanted: String| {
            (found != wanted).then(|| Difference { what: format!("{what} {name}"), found, wanted })
        };
        let Some(link) = self.wires.find(name).await? else {
            let there = differs("the interface", "not there".to_owned(), "by ADD".to_owned());
            return Ok(there.into_iter().collect());
        };
        let all = [
            differs("the MAC of", link.mac.to_string(), made.interface_mac.to_string()),
            differs("the MTU of", link.mtu.to_string(), made.mtu.to_string()),
            // The agent set it up when it gave the pod its port, with the program that feeds it.
            differs("the state of", state(link.is_up).to_owned(), state(true).to_owned()),
            differs("the XDP program of", whose(link.program), OURS.to_owned()),
        ];
        Ok(all.into_iter().flatten().collect())
    }

    /// Says whether a pod could be attached now.
    ///
    /// # Errors
    /// Why not. Without an agent the pods that are attached are cut off, too.
    pub async fn status(&self) -> Result<(), Failure> {
        let coded = |failure: Failure, code| Failure { code, ..failure };
        match ask(&self.config.socket, &Question::Ready {}, self.until).await {
            Ok(Done {}) => {}
            Err(Unanswered::Gone(failure) | Unanswered::Silent(failure)) => {
                return Err(coded(failure, Code::LIMITED));
            }
            Err(Unanswered::Refused(failure)) if failure.code == Code::TRY_AGAIN => {
                return Err(coded(failure, Code::NOT_AVAILABLE));
            }
            Err(Unanswered::Refused(failure)) => return Err(failure),
        }
        let ipam = self.ipam().await.map_err(|failure| coded(failure, Code::NOT_AVAILABLE))?;
        ipam.status(self.until).await
    }
}

/// Whose an interface's program is, as it is told.
fn whose(program: Option<u32>) -> String {
    let Some(id) = program else { return "missing".to_owned() };
    // What the kernel does not let us see is not said to be wrong.
    let is_ours = program::is_ours(id) != Some(false);
    if is_ours { OURS } else { "another's" }.to_owned()
}
