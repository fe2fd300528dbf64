//! Pods that a container runtime has attached: what the CNI plugin asks for, and when it is
//! answered.
//!
//! ```text
//!   attach --> on disk --> the pod has interface and addresses --> port, snapshot
//!                                     answered when that snapshot is in force with every worker
//!   detach --> the pod has them no more --> snapshot, port removed
//!                                     answered when nothing is sent there; then off the disk
//! ```
//!
//! What is attached is on disk before it counts, and is there until it counts no more: an agent
//! that begins anew attaches the same pods, if their interfaces are still there (NP-52, NP-54).

mod handed_over;
mod socket;
mod store;
mod why;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use lockgate_dataplane::ids::Generation;
use serde::Serialize;
use tokio::sync::oneshot;
use tracing::{info, warn};

use crate::cluster;
use crate::cni::protocol::{
    Attach, Attached, Attachment, Check, Collected, Detached, Done, Gone, Question, Refusal,
    Refused,
};
use crate::dataplane::Dataplane;
use crate::manifest::{ObjectKey, ObjectKind};
use crate::sync::Sync;
pub use socket::{CniSocket, wishes};
pub use store::{Store, StoreError};
use why::{ready, why};

/// The longest that anything is waited for, whatever the plugin says.
const LONGEST: Duration = Duration::from_mins(2);
/// How long a detachment may wait for the workers.
const DETACH: Duration = Duration::from_secs(10);

/// Codes of the CNI specification.
const UNKNOWN_CONTAINER: u32 = 3;
const IO: u32 = 5;
const TRY_AGAIN: u32 = 11;

/// A question and the way back; the answer is one line of JSON.
#[derive(Debug)]
pub struct Wish {
    /// What is asked.
    pub question: Question,
    /// Where the answer goes.
    pub reply: oneshot::Sender<String>,
}

/// Somebody who waits.
#[derive(Debug)]
struct Waiting {
    what: What,
    until: Instant,
    reply: oneshot::Sender<String>,
}

#[derive(Debug)]
enum What {
    /// Until its policy is in force; in which snapshot it is, once it is in one.
    Attach(Attachment, Option<Generation>),
    /// Until all of these are gone.
    Detach(Vec<Gone>, bool),
}

/// What is attached, and who waits.
#[derive(Debug)]
pub struct Attachments {
    store: Store,
    all: BTreeMap<Attachment, Attach>,
    /// Those that go: still on disk.
    going: BTreeSet<Attachment>,
    waiting: Vec<Waiting>,
    /// Those that were on disk, the newest last.
    found: Vec<Attachment>,
    /// Those of them whose interfaces were gone: yet to be removed there.
    lost: Vec<Attachment>,
}

impl Attachments {
    /// What is attached.
    pub fn all(&self) -> impl Iterator<Item = &Attach> {
        self.all.values()
    }

    /// Takes a question in.
    pub fn take<D: Dataplane>(&mut self, wish: Wish, sync: &mut Sync<D>, now: Instant) {
        let Wish { question, reply } = wish;
        let answer = match question {
            Question::Ready {} => ready(sync).map(|()| line(&Done {})),
            Question::Check(check) => self.check(&check, sync).map(|()| line(&Done {})),
            Question::Attach(attach) => match self.attach(&attach, sync) {
                Ok(attachment) => {
                    let limit = Duration::from_millis(attach.timeout_ms).min(LONGEST);
                    let what = What::Attach(attachment, None);
                    self.waiting.push(Waiting { what, until: now + limit, reply });
                    return;
                }
                Err(refusal) => Err(refusal),
            },
            Question::Detach(attachment) => {
                let gone = self.detach(&attachment, sync).into_iter().collect();
                return self.wait_for_end(gone, false, now, reply);
            }
            Question::Gc { valid } => {
                let valid: BTreeSet<Attachment> = valid.into_iter().collect();
                let stale: Vec<_> =
                    self.all.keys().filter(|one| !valid.contains(*one)).cloned().collect();
                let gone = stale.iter().filter_map(|one| self.detach(one, sync)).collect();
                return self.wait_for_end(gone, true, now, reply);
            }
        };
        // Who asked may have gone.
        let _gone = reply.send(answer.unwrap_or_else(refused));
    }

    /// Answers whoever need not wait any longer: after each step of the agent.
    pub fn settle<D: Dataplane>(&mut self, sync: &mut Sync<D>, now: Instant) {
        for mut waiting in std::mem::take(&mut self.waiting) {
            let answer = match &mut waiting.what {
                What::Attach(attachment, placed) => {
                    self.attached(attachment, placed, sync, now >= waiting.until)
                }
                What::Detach(gone, is_gc) => {
                    self.detached(gone, *is_gc, sync, now >= waiting.until)
                }
            };
            match answer {
                Some(answer) => _ = waiting.reply.send(answer),
                None => self.waiting.push(waiting),
            }
        }
    }

    /// Whether somebody waits: then the workers are to be looked at again soon.
    #[must_use]
    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    fn attach<D: Dataplane>(
        &mut self,
        attach: &Attach,
        sync: &mut Sync<D>,
    ) -> Result<Attachment, Refusal> {
        let attachment =
            Attachment { container: attach.container.clone(), ifname: attach.ifname.clone() };
        let pod = key(attach);
        let same_pod = |(other, known): &(&Attachment, &Attach)| {
            **other != attachment && other.container == attachment.container && key(known) == pod
        };
        if let Some((other, _)) = self.all.iter().find(same_pod) {
            let message = format!(
                "pod {} has its port at {} already, and a pod has one",
                spoken(attach),
                other.ifname
            );
            let remedy = "attach further interfaces by another plugin";
            return Err(refusal(UNKNOWN_CONTAINER, &message, remedy));
        }
        self.make_room(&attachment, attach, sync)?;
        let kept = self.store.write(&attachment, attach);
        kept.map_err(|error| refusal(IO, &error.what(), &error.remedy()))?;
        self.going.remove(&attachment);
        self.all.insert(attachment.clone(), attach.clone());
        info!(pod = %spoken(attach), interface = %attach.interface, "attaching");
        sync.attach(&pod, seen(attach));
        Ok(attachment)
    }

    /// Refuses an address that another attachment has a port for: its pod would be cut off by the
    /// next one's. An IPAM plugin that has lost what it knew gives an address twice. Whoever has no
    /// port, its interface gone or refused, gives way.
    ///
    /// The plugin undoes the ADD by DEL for its own container, which gives nothing back that another
    /// container has: IPAM plugins go by container and interface.
    fn make_room<D: Dataplane>(
        &mut self,
        attachment: &Attachment,
        attach: &Attach,
        sync: &mut Sync<D>,
    ) -> Result<(), Refusal> {
        let has_same = |known: &Attach| {
            known.addresses.iter().find(|one| attach.addresses.contains(one)).copied()
        };
        let others = self.all.iter().filter(|(other, _)| *other != attachment);
        let others: Vec<_> =
            others.filter_map(|(other, known)| Some((other.clone(), has_same(known)?))).collect();
        for (other, address) in others {
            let Some(known) = self.all.get(&other) else { continue };
            if sync.has_port(known.interface.as_str()) {
                let message = format!(
                    "the IPAM plugin gave {} the address {address}, which pod {} has, attached \
                     at {}",
                    spoken(attach),
                    spoken(known),
                    known.interface
                );
                let remedy = "see that what the IPAM plugin keeps is not lost or kept twice \
                              (host-local: ipam.dataDir); delete that pod if it shall not have it";
                warn!(pod = %spoken(attach), reason = %message, "not attached");
                return Err(refusal(TRY_AGAIN, &message, remedy));
            }
            warn!(pod = %spoken(known), %address, "gives way: no port, and its address is given anew");
            self.detach(&other, sync);
        }
        Ok(())
    }

    /// The answer to an attachment, if there is one by now.
    fn attached<D: Dataplane>(
        &mut self,
        attachment: &Attachment,
        placed: &mut Option<Generation>,
        sync: &mut Sync<D>,
        is_late: bool,
    ) -> Option<String> {
        let Some(attach) = self.all.get(attachment).filter(|_| !self.going.contains(attachment))
        else {
            let remedy = "nothing to do: the runtime took it back";
            return Some(refused(refusal(TRY_AGAIN, "the pod was detached meanwhile", remedy)));
        };
        if placed.is_none() {
            *placed = sync.placed_at(attach.interface.as_str());
        }
        if let Some(generation) = placed.filter(|one| *one <= sync.dataplane().in_force()) {
            return Some(line(&Attached { generation: generation.0 }));
        }
        if !is_late {
            return None;
        }
        let (message, remedy) = why(attach, placed.is_some(), sync);
        warn!(pod = %spoken(attach), reason = %message, "not attached in time");
        // The plugin undoes the rest, and asks for this too: then it is off the disk.
        self.detach(attachment, sync);
        Some(refused(refusal(TRY_AGAIN, &message, &remedy)))
    }

    /// Begins to let an attachment go; `None` where it is not known.
    fn detach<D: Dataplane>(
        &mut self,
        attachment: &Attachment,
        sync: &mut Sync<D>,
    ) -> Option<Gone> {
        let attach = self.all.get(attachment)?;
        if self.going.insert(attachment.clone()) {
            info!(pod = %spoken(attach), interface = %attach.interface, "detaching");
            sync.detach(&key(attach), attach.interface.as_str());
        }
        let Attachment { container, ifname } = attachment.clone();
        Some(Gone { container, ifname, interface: attach.interface.clone() })
    }

    fn wait_for_end(
        &mut self,
        gone: Vec<Gone>,
        is_gc: bool,
        now: Instant,
        reply: oneshot::Sender<String>,
    ) {
        let what = What::Detach(gone, is_gc);
        self.waiting.push(Waiting { what, until: now + DETACH, reply });
    }

    /// The answer to a detachment, if there is one by now.
    fn detached<D: Dataplane>(
        &mut self,
        gone: &mut Vec<Gone>,
        is_gc: bool,
        sync: &mut Sync<D>,
        is_late: bool,
    ) -> Option<String> {
        if let Some(left) = gone.iter().find(|one| sync.has_port(one.interface.as_str())) {
            let message = format!("a worker may still send to {}", left.interface);
            let remedy = "ask again; see lockgate_worker_turns_total if it goes on";
            return is_late.then(|| refused(refusal(TRY_AGAIN, &message, remedy)));
        }
        for one in gone.iter() {
            let Gone { container, ifname, .. } = one.clone();
            let attachment = Attachment { container, ifname };
            if let Err(error) = self.store.remove(&attachment) {
                return Some(refused(refusal(IO, &error.what(), &error.remedy())));
            }
            self.going.remove(&attachment);
            self.all.remove(&attachment);
        }
        let detached = std::mem::take(gone);
        Some(if is_gc {
            line(&Collected { detached })
        } else {
            let interface = detached.into_iter().next().map(|one| one.interface);
            line(&Detached { interface })
        })
    }

    fn check<D: Dataplane>(&self, check: &Check, sync: &mut Sync<D>) -> Result<(), Refusal> {
        let attachment =
            Attachment { container: check.container.clone(), ifname: check.ifname.clone() };
        let Some(attach) = self.all.get(&attachment) else {
            let message = format!("container {} has no port here", check.container);
            let remedy = "let the runtime remove the pod and make it anew";
            return Err(refusal(UNKNOWN_CONTAINER, &message, remedy));
        };
        let differs = |what: &str, have: &str, want: &str| {
            let message = format!("its {what} is {have}, and was {want} when it was attached");
            refusal(TRY_AGAIN, &message, "let the runtime remove the pod and make it anew")
        };
        if attach.interface != check.interface {
            let (have, want) = (check.interface.as_str(), attach.interface.as_str());
            return Err(differs("interface", have, want));
        }
        if attach.mac != check.mac {
            return Err(differs("MAC", &check.mac.to_string(), &attach.mac.to_string()));
        }
        let set = |list: &[std::net::IpAddr]| list.iter().copied().collect::<BTreeSet<_>>();
        if set(&attach.addresses) != set(&check.addresses) {
            let text = |list: &[std::net::IpAddr]| format!("{:?}", set(list));
            return Err(differs("address", &text(&check.addresses), &text(&attach.addresses)));
        }
        let placed = sync.placed_at(attach.interface.as_str());
        if placed.is_none_or(|one| one > sync.dataplane().in_force()) {
            let (message, remedy) = why(attach, placed.is_some(), sync);
            return Err(refusal(TRY_AGAIN, &message, &remedy));
        }
        Ok(())
    }
}

fn key(attach: &Attach) -> ObjectKey {
    ObjectKey::new(ObjectKind::Pod, attach.namespace.as_str(), attach.pod.as_str())
}

fn spoken(attach: &Attach) -> String {
    format!("{}/{}", attach.namespace, attach.pod)
}

/// As the cluster takes it in.
fn seen(attach: &Attach) -> cluster::Attached {
    cluster::Attached {
        uid: attach.uid.clone().unwrap_or_default(),
        interface: attach.interface.to_string(),
        mac: attach.mac,
        addresses: attach.addresses.clone(),
    }
}

fn refusal(code: u32, message: &str, remedy: &str) -> Refusal {
    Refusal { code, message: message.to_owned(), details: remedy.to_owned() }
}

fn refused(error: Refusal) -> String {
    line(&Refused { error })
}

fn line(answer: &impl Serialize) -> String {
    // These are plain data: there is nothing that JSON could not say.
    serde_json::to_string(answer).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
}
