//! DEL and GC: a pod is let go, and whatever belongs to none.

use std::collections::BTreeSet;

use tokio::time::Instant;

use super::agent::{Unanswered, ask};
use super::failure::{Code, Failure};
use super::plugin::{Plugin, interface};
use super::protocol::{Attachment, Collected, Question};
use super::record::Record;

/// What a GC takes away, and what it leaves.
#[derive(Debug, Default)]
struct Sorted {
    /// Ours, of this network, and not named: with the lock of each.
    stale: Vec<(Attachment, Option<Record>)>,
    /// Of this network: named, or under an operation that is going on.
    stay: BTreeSet<Attachment>,
    /// Of other networks, which this GC is not about.
    elsewhere: BTreeSet<Attachment>,
}

impl Plugin {
    /// Lets a pod go; one that is gone, or was never there, is no error.
    ///
    /// # Errors
    /// Where something of it may be left: it is to be called again.
    pub async fn del(&self, attachment: &Attachment) -> Result<(), Failure> {
        let record = self.records.take(&interface(attachment)?, self.until).await?;
        let kept = record.as_ref().and_then(Record::kept);
        let network = kept.map_or(&self.config.name, |kept| &kept.network);
        self.release(attachment, network).await?;
        record.map_or(Ok(()), Record::remove)
    }

    /// Lets everything go that belongs to no attachment that the runtime names. All of it is
    /// tried, and the first failure is told.
    ///
    /// # Errors
    /// Where something may be left: it is to be called again.
    pub async fn gc(&self) -> Result<(), Failure> {
        let Some(valid) = &self.config.valid else {
            // Missing is not empty: that would be every pod of the node.
            let message = "cni.dev/valid-attachments of the network configuration is missing, and \
                           GC needs it";
            let remedy = "it is the runtime that writes it: an empty list where nothing is to stay";
            return Err(Failure::new(Code::INVALID_CONFIG, message, remedy));
        };
        let mut sorted = self.sort(valid).await?;
        let mut first = Ok(());
        let staying = sorted.stay.union(&sorted.elsewhere).cloned().collect();
        let question = Question::Gc { valid: staying };
        match ask::<Collected>(&self.config.socket, &question, self.until).await {
            Ok(collected) => self.add_collected(&mut sorted, collected).await?,
            // See `plugin`: without an agent nothing is forwarded.
            Err(Unanswered::Gone(_)) => {}
            Err(unanswered) => first = Err(unanswered.into()),
        }
        for (attachment, record) in sorted.stale {
            let released = self.release(&attachment, &self.config.name).await;
            first = first.and(released.and_then(|()| record.map_or(Ok(()), Record::remove)));
        }
        first = first.and(self.records.remove_unwritten());
        let stay: Vec<Attachment> = sorted.stay.into_iter().collect();
        first.and(self.ipam().await?.gc(&stay, self.until).await)
    }

    /// Sorts what there is, by the records and the interfaces' aliases.
    async fn sort(&self, valid: &[Attachment]) -> Result<Sorted, Failure> {
        let mut sorted = Sorted { stay: valid.iter().cloned().collect(), ..Sorted::default() };
        let records = self.records.all()?.into_iter();
        let mut found: BTreeSet<(String, Attachment)> =
            records.map(|(_, kept)| (kept.network, kept.attachment)).collect();
        found.extend(self.wires.ours().await?);
        for (network, attachment) in found {
            if network != self.config.name {
                sorted.elsewhere.insert(attachment);
            } else if !sorted.stay.contains(&attachment) {
                self.claim(&mut sorted, attachment).await?;
            }
        }
        Ok(sorted)
    }

    /// Takes an attachment to be let go, unless an operation on it is going on.
    async fn claim(&self, sorted: &mut Sorted, attachment: Attachment) -> Result<(), Failure> {
        match self.records.take(&interface(&attachment)?, Instant::now()).await {
            Ok(record) => sorted.stale.push((attachment, record)),
            Err(busy) if busy.code == Code::TRY_AGAIN => {
                sorted.stay.insert(attachment);
            }
            Err(failure) => return Err(failure),
        }
        Ok(())
    }

    /// Adds what the agent alone knew: its addresses may still be taken.
    async fn add_collected(
        &self,
        sorted: &mut Sorted,
        collected: Collected,
    ) -> Result<(), Failure> {
        for gone in collected.detached {
            let attachment = Attachment { container: gone.container, ifname: gone.ifname };
            if !sorted.stale.iter().any(|(known, _)| *known == attachment) {
                self.claim(sorted, attachment).await?;
            }
        }
        Ok(())
    }
}
