//! One thing that the API server said, as bytes: a frame with its length and its checksum.
//!
//! The bytes tell nothing of their form, so that it has a number: [`LAYOUT`] is raised with every
//! change of an object's fields. A test holds the bytes of a sample to it.

use serde::{Deserialize, Serialize};

use crate::manifest::{ObjectKey, ObjectKind};
use crate::watch::There;

/// The form of everything that is kept.
pub(super) const LAYOUT: u32 = 3;

/// Begins a file.
pub(super) const MAGIC: &[u8; 8] = b"lockgate";

/// Bytes before the payload of the first frame: its length and its checksum.
const FIRST_HEAD: usize = 8;
/// Of every other: also the checksum of these two. A length that was changed would else be taken for
/// a frame that was not written whole, and what follows it would be lost.
const HEAD: usize = FIRST_HEAD + 4;

/// Whose a file is: the first frame. Its own form never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// The form of what follows.
    layout: u32,
    /// The version of the agent that wrote it.
    agent: String,
    /// The node.
    pub(super) node: String,
    /// The start of the machine.
    pub(super) boot: String,
}

impl Stamp {
    /// Of this agent, on the node of this name, after the start of the machine that is called so.
    #[must_use]
    pub fn new(node: &str, boot: &str) -> Self {
        let agent = env!("CARGO_PKG_VERSION").to_owned();
        let [node, boot] = [node, boot].map(|text| text.trim().to_owned());
        Self { layout: LAYOUT, agent, node, boot }
    }

    /// The same with another form.
    #[cfg(test)]
    pub(super) fn of_layout(self, layout: u32) -> Self {
        Self { layout, ..self }
    }

    /// Whether what another wrote has the form that is read here.
    pub(super) fn has_form_of(&self, other: &Self) -> bool {
        (self.layout, &self.agent) == (other.layout, &other.agent)
    }

    /// The form in words.
    pub(super) fn form(&self) -> String {
        format!("{} (layout {})", self.agent, self.layout)
    }
}

/// What is written.
#[derive(Serialize)]
pub(super) enum Said<'a> {
    /// An object is there, as what a resource of this kind holds.
    There(ObjectKind, &'a There),
    /// An object is gone.
    Gone(ObjectKind, &'a ObjectKey),
    /// A resource was read, in this version.
    Read(ObjectKind, &'a str),
    /// The API server has no such resource.
    Absent(ObjectKind),
}

/// What is read: the same.
#[derive(Debug, Deserialize)]
pub(super) enum Entry {
    There(ObjectKind, Box<There>),
    Gone(ObjectKind, ObjectKey),
    Read(ObjectKind, String),
    Absent(ObjectKind),
}

/// Appends a frame; whether it could be made.
pub(super) fn append(to: &mut Vec<u8>, said: &impl Serialize) -> Result<(), postcard::Error> {
    let (head, payload) = framed(said)?;
    to.extend_from_slice(&head);
    to.extend_from_slice(&crc32fast::hash(&head).to_le_bytes());
    to.extend_from_slice(&payload);
    Ok(())
}

/// Appends whose a file is; whether that could be made.
pub(super) fn append_first(to: &mut Vec<u8>, stamp: &Stamp) -> Result<(), postcard::Error> {
    let (head, payload) = framed(stamp)?;
    to.extend_from_slice(&head);
    to.extend_from_slice(&payload);
    Ok(())
}

fn framed(said: &impl Serialize) -> Result<([u8; FIRST_HEAD], Vec<u8>), postcard::Error> {
    let payload = postcard::to_stdvec(said)?;
    let length = u32::try_from(payload.len()).map_err(|_| postcard::Error::SerializeBufferFull)?;
    let head = u64::from(crc32fast::hash(&payload)) << 32 | u64::from(length);
    Ok((head.to_le_bytes(), payload))
}

/// What a text of frames begins with.
pub(super) enum Next<'b> {
    /// A payload, and what follows it.
    Payload(&'b [u8], &'b [u8]),
    /// The beginning of a frame: whoever wrote it ended before it was whole.
    Unfinished,
    /// A frame that was changed since it was written.
    Damaged,
}

/// The first frame of a text that is not empty, and not the first of its file.
pub(super) fn next(text: &[u8]) -> Next<'_> {
    let Some((head, rest)) = text.split_at_checked(HEAD) else { return Next::Unfinished };
    let (head, sum) = head.split_at(FIRST_HEAD);
    if crc32fast::hash(head) != number(sum) {
        return Next::Damaged;
    }
    payload(head, rest)
}

/// The first frame of a file, of which nothing may be missing.
pub(super) fn first(text: &[u8]) -> Next<'_> {
    let Some((head, rest)) = text.split_at_checked(FIRST_HEAD) else { return Next::Unfinished };
    payload(head, rest)
}

fn number(bytes: &[u8]) -> u32 {
    bytes.try_into().map_or(u32::MAX, u32::from_le_bytes)
}

fn payload<'b>(head: &[u8], rest: &'b [u8]) -> Next<'b> {
    let (length, sum) = head.split_at(FIRST_HEAD / 2);
    let length = usize::try_from(number(length)).unwrap_or(usize::MAX);
    match rest.split_at_checked(length) {
        None => Next::Unfinished,
        Some((payload, rest)) if crc32fast::hash(payload) == number(sum) => {
            Next::Payload(payload, rest)
        }
        Some(_) => Next::Damaged,
    }
}

/// What a payload says.
pub(super) fn understood<'b, T: Deserialize<'b>>(payload: &'b [u8]) -> Option<T> {
    let (said, rest) = postcard::take_from_bytes(payload).ok()?;
    rest.is_empty().then_some(said)
}
