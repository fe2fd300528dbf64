//! What a predecessor has kept, read back into a cluster. Whatever is wrong with the file, it is
//! refused: a denial must not be lost with half of it.

use std::collections::{BTreeMap, HashMap};
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::entry::{Entry, MAGIC, Next, Stamp, first, next, understood};
use crate::cluster::Cluster;
use crate::manifest::{ObjectKey, ObjectKind};
use crate::policy::Known;
use crate::watch::{Heard, RESOURCES, There, What, lasting};

/// Bytes of the largest file that is read.
const BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;

/// What was kept.
#[derive(Debug)]
pub struct Recalled {
    /// As it was told.
    pub cluster: Box<Cluster>,
    /// When it was last written to.
    pub written: SystemTime,
}

/// Why it is not used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}; everything is denied until the API server answers", path.display())]
pub struct Refused {
    path: PathBuf,
    why: Why,
}

#[derive(Debug, thiserror::Error)]
enum Why {
    #[error("there is no last good state")]
    Missing,
    #[error(
        "the last good state cannot be opened for reading and writing, and what cannot be written \
         may be older than what was in force: {0}"
    )]
    Io(io::Error),
    #[error("this is no last good state of Lockgate")]
    Other,
    #[error("it was written by agent {0}, and this is {1}")]
    Form(String, String),
    #[error("it is of node {0}, and this is {1}: see the setting node")]
    Node(String, String),
    #[error("it is of an earlier start of this machine, since when pods have other addresses")]
    Boot,
    #[error("it is damaged at byte {0}")]
    Damaged(usize),
    #[error("{0} were not read yet when it was written")]
    Half(String),
    #[error("it has {0} bytes, and at most {BYTES_MAX} are read")]
    Large(u64),
}

/// Reads what was kept in a file, if it is of this agent, node and start of the machine.
///
/// # Errors
/// [`Refused`], with why.
pub fn read(path: &Path, stamp: &Stamp) -> Result<Recalled, Refused> {
    let refused = |why| Refused { path: path.to_owned(), why };
    let (text, written) = bytes(path).map_err(refused)?;
    let said = said(&text, stamp).map_err(refused)?;
    let cluster = Box::new(said.cluster(&stamp.node).map_err(refused)?);
    Ok(Recalled { cluster, written })
}

fn bytes(path: &Path) -> Result<(Vec<u8>, SystemTime), Why> {
    // To be written too: where that fails, a newer state could not be written either.
    let opened = OpenOptions::new().read(true).write(true).open(path);
    let mut file = opened.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Why::Missing,
        _ => Why::Io(error),
    })?;
    let about = file.metadata().map_err(Why::Io)?;
    if about.len() > BYTES_MAX {
        return Err(Why::Large(about.len()));
    }
    let mut text = Vec::new();
    file.read_to_end(&mut text).map_err(Why::Io)?;
    Ok((text, about.modified().map_err(Why::Io)?))
}

/// Everything that was said, each object as it was last.
#[derive(Default)]
struct All {
    there: BTreeMap<ObjectKind, HashMap<ObjectKey, Box<There>>>,
    /// The version in which a resource was read; `None`: it was absent.
    read: BTreeMap<ObjectKind, Option<&'static str>>,
    /// Policies that went: those whose namespace was on its way out still isolate (NP-55).
    departed: Vec<(ObjectKind, ObjectKey)>,
}

fn said(text: &[u8], stamp: &Stamp) -> Result<All, Why> {
    let mut rest = text.strip_prefix(MAGIC).ok_or(Why::Other)?;
    let place = |rest: &[u8]| text.len().saturating_sub(rest.len());
    let (mut all, mut is_ours) = (All::default(), false);
    while !rest.is_empty() {
        let damaged = Why::Damaged(place(rest));
        let found = if is_ours { next(rest) } else { first(rest) };
        let payload = match found {
            Next::Payload(payload, after) => {
                rest = after;
                payload
            }
            // Its writer ended in the midst of it: what it was to say was not in force yet.
            Next::Unfinished if is_ours => break,
            Next::Unfinished | Next::Damaged => return Err(damaged),
        };
        if is_ours {
            let entry = understood(payload).ok_or(damaged)?;
            all.take(entry).ok_or(Why::Damaged(place(rest)))?;
        } else {
            check(stamp, &understood(payload).ok_or(damaged)?)?;
            is_ours = true;
        }
    }
    Ok(all)
}

/// Whether a file is of this agent's form, node and start of the machine.
fn check(wanted: &Stamp, found: &Stamp) -> Result<(), Why> {
    if !wanted.has_form_of(found) {
        return Err(Why::Form(found.form(), wanted.form()));
    }
    if found.node != wanted.node {
        return Err(Why::Node(found.node.clone(), wanted.node.clone()));
    }
    if found.boot == wanted.boot { Ok(()) } else { Err(Why::Boot) }
}

impl All {
    /// Takes in what was said next; `None` where it makes no sense.
    fn take(&mut self, entry: Entry) -> Option<()> {
        match entry {
            Entry::There(kind, there) => {
                let key = there.object.metadata().key.clone();
                let held = self.there.entry(kind).or_default();
                for other in [key.staged(), key.enforced()].into_iter().flatten() {
                    held.remove(&other);
                }
                self.departed.retain(|(_, gone)| *gone != key);
                held.insert(key, there);
            }
            Entry::Gone(kind, key) => self.remove(kind, &key),
            Entry::Read(kind, version) => {
                self.read.insert(kind, Some(lasting(kind, &version)?));
            }
            // What it held was said to be gone, each by itself.
            Entry::Absent(kind) => _ = self.read.insert(kind, None),
        }
        Some(())
    }

    fn remove(&mut self, kind: ObjectKind, key: &ObjectKey) {
        let held = self.there.entry(kind).or_default();
        for form in [Some(key.clone()), key.staged(), key.enforced()].into_iter().flatten() {
            let is_policy =
                matches!(kind, ObjectKind::Policy | ObjectKind::Ordered(Known::Policy(_)));
            if !is_policy {
                held.remove(&form);
            } else if held.contains_key(&form) {
                self.departed.push((kind, form));
            }
        }
    }

    /// A cluster that was told all of this.
    fn cluster(mut self, node: &str) -> Result<Cluster, Why> {
        let mut cluster = Cluster::new(node);
        for resource in RESOURCES {
            let kind = resource.kind;
            let Some(version) = self.read.get(&kind) else {
                return Err(Why::Half(resource.spoken()));
            };
            match version {
                Some(version) => tell(&mut cluster, kind, What::Begun(version)),
                None => tell(&mut cluster, kind, What::Absent),
            }
            for (_, there) in self.there.remove(&kind).unwrap_or_default() {
                tell(&mut cluster, kind, What::There(there));
            }
            if version.is_some() {
                tell(&mut cluster, kind, What::Whole);
            }
        }
        for (kind, key) in self.departed {
            tell(&mut cluster, kind, What::Gone(key));
        }
        Ok(cluster)
    }
}

fn tell(cluster: &mut Cluster, kind: ObjectKind, what: What) {
    // Everything of it is new.
    let _ = cluster.take(Heard::Of(kind, what), SystemTime::now());
}
