//! A socket to `nf_tables` and conntrack: lists are asked for, batches are committed.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket,
    sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

use super::attribute::Attribute;

const HEADER_BYTES: usize = 16;
/// `nfgenmsg`: the family, a version, and what the message is about.
const GENERIC_BYTES: usize = 4;

const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;
/// `NLM_F_CREATE`, of what is made.
pub(in crate::host) const CREATE: u16 = 0x400;
/// `NLM_F_APPEND`, of a rule: after those that are there.
pub(in crate::host) const APPEND: u16 = 0x800;
const DUMP: u16 = 0x300;

const ERROR: u16 = 2;
const DONE: u16 = 3;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;

/// `NFPROTO_INET`: tables for both families.
pub(in crate::host) const INET: u8 = 1;

/// What the kernel gives at once is at most this long.
const ANSWER_BYTES: usize = 64 << 10;

/// How long an answer may take. The kernel answers while it is asked: nothing waits for others.
const PATIENCE_S: i64 = 10;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::host) struct Message {
    /// One of [`super::kind`].
    pub kind: u8,
    /// `CREATE`, `APPEND`, or none.
    pub flags: u16,
    /// What it says.
    pub attributes: Vec<Attribute>,
}

/// An object that the kernel told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::host) struct Told {
    /// Its family, as `nf_tables` numbers them.
    pub family: u8,
    /// Its attributes.
    pub attributes: Vec<u8>,
}

/// Whom a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::host) enum Part {
    /// What the machine remembers of flows.
    Conntrack = 1,
    /// Tables.
    Tables = 10,
}

/// A socket to `nf_tables` and conntrack of the network namespace that it was opened in.
#[derive(Debug)]
pub(in crate::host) struct Socket(OwnedFd);

impl Socket {
    /// Opens one, in the calling thread's network namespace.
    pub(in crate::host) fn open() -> io::Result<Self> {
        let protocol = SockProtocol::NetlinkNetFilter;
        let flags = SockFlag::SOCK_CLOEXEC;
        let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol)?;
        setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::seconds(PATIENCE_S))?;
        Ok(Self(fd))
    }

    /// All objects that a question is answered with; a family of 0 asks for all of them.
    pub(in crate::host) fn list(
        &self,
        kind: u8,
        family: u8,
        attributes: &[Attribute],
    ) -> io::Result<Vec<Told>> {
        let mut told = Vec::new();
        self.each((Part::Tables, kind), family, attributes, |one| told.push(one))?;
        Ok(told)
    }

    /// Gives each object that a question is answered with.
    pub(in crate::host) fn each(
        &self,
        (part, kind): (Part, u8),
        family: u8,
        attributes: &[Attribute],
        mut give: impl FnMut(Told),
    ) -> io::Result<()> {
        let mut bytes = Vec::new();
        write(&mut bytes, kind_of(part, kind), REQUEST | DUMP, 1, (family, 0), attributes);
        self.send(&bytes)?;
        self.answers(|kind, body| {
            match kind {
                DONE => return Ok(true),
                ERROR => return refusal(body).map(|()| true),
                _ => {}
            }
            if let Some((generic, attributes)) = body.split_at_checked(GENERIC_BYTES) {
                give(Told { family: generic[0], attributes: attributes.to_vec() });
            }
            Ok(false)
        })
    }

    /// Has one thing done, and waits for the answer.
    pub(in crate::host) fn ask(
        &self,
        (part, kind): (Part, u8),
        family: u8,
        attributes: &[Attribute],
    ) -> io::Result<()> {
        let mut bytes = Vec::new();
        let flags = REQUEST | ACKNOWLEDGE;
        write(&mut bytes, kind_of(part, kind), flags, 1, (family, 0), attributes);
        self.send(&bytes)?;
        self.answers(
            |kind, body| if kind == ERROR { refusal(body).map(|()| true) } else { Ok(false) },
        )
    }

    /// Has all of it done, or nothing.
    pub(in crate::host) fn commit(&self, family: u8, messages: &[Message]) -> io::Result<()> {
        let mut bytes = Vec::new();
        let about = (0, Part::Tables as u16);
        write(&mut bytes, BATCH_BEGIN, REQUEST, 0, about, &[]);
        let mut last = 0;
        for (message, sequence) in messages.iter().zip(1..) {
            // The last one's answer comes when the whole batch is through.
            let is_last = usize::try_from(sequence).is_ok_and(|number| number == messages.len());
            let flags = message.flags | REQUEST | if is_last { ACKNOWLEDGE } else { 0 };
            let kind = kind_of(Part::Tables, message.kind);
            write(&mut bytes, kind, flags, sequence, (family, 0), &message.attributes);
            last = sequence;
        }
        write(&mut bytes, BATCH_END, REQUEST, last + 1, about, &[]);
        // Netlink takes a message whole, so the socket must have room for all of it. Twice, for
        // the kernel counts its own part.
        let room = bytes.len().saturating_mul(2).max(ANSWER_BYTES);
        setsockopt(&self.0, sockopt::SndBufForce, &room)?;
        self.send(&bytes)?;
        // A message that fails is told before the last one's answer.
        self.answers(
            |kind, body| if kind == ERROR { refusal(body).map(|()| true) } else { Ok(false) },
        )
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        let sent = send(self.0.as_raw_fd(), bytes, MsgFlags::empty())?;
        if sent == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    /// Reads messages until `take` says that it was the last, or that something is wrong.
    fn answers(&self, mut take: impl FnMut(u16, &[u8]) -> io::Result<bool>) -> io::Result<()> {
        let mut room = vec![0; ANSWER_BYTES];
        loop {
            let length = recv(self.0.as_raw_fd(), &mut room, MsgFlags::empty())?;
            let mut bytes = room.get(..length).unwrap_or(&[]);
            if bytes.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            while let Some((kind, body, rest)) = split(bytes) {
                if take(kind, body)? {
                    return Ok(());
                }
                bytes = rest;
            }
        }
    }
}

/// The kind and the body of the first message, and what follows it.
fn split(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length: [u8; 4] = bytes.get(..4)?.try_into().ok()?;
    let length = usize::try_from(u32::from_ne_bytes(length)).ok()?;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let body = bytes.get(HEADER_BYTES..length)?;
    Some((kind, body, bytes.get(length.next_multiple_of(4)..).unwrap_or(&[])))
}

/// What an answer of the kind `ERROR` says: 0 is yes.
fn refusal(body: &[u8]) -> io::Result<()> {
    let code = body.get(..4).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes);
    match code {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(code.saturating_neg())),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn kind_of(part: Part, kind: u8) -> u16 {
    u16::from_be_bytes([part as u8, kind])
}

fn write(
    out: &mut Vec<u8>,
    kind: u16,
    flags: u16,
    sequence: u32,
    (family, about): (u8, u16),
    attributes: &[Attribute],
) {
    let start = out.len();
    out.extend([0; 4]);
    out.extend(kind.to_ne_bytes());
    out.extend(flags.to_ne_bytes());
    out.extend(sequence.to_ne_bytes());
    out.extend([0; 4]); // the port, which the kernel fills in
    out.extend([family, 0]);
    out.extend(about.to_be_bytes());
    for attribute in attributes {
        attribute.write(out);
    }
    let length = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
    out[start..start + 4].copy_from_slice(&length.to_ne_bytes());
}
