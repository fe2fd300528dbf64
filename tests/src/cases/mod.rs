//! Behaviour as data: the folders of `tests/cases`.
//!
//! `cluster.yaml` is a manifest; `traffic.txt` says what is sent and what becomes of it. One
//! line, one packet or one change; `#` begins a comment; `at` may be left out:
//!
//! ```text
//! at 0s  x/a > y/b:80   tcp         -> sent            ingress y/allow[0]
//! at 0s  x/a > y/b:81   tcp         -> ingress_denied  ingress y/allow nearest y/allow[0] port
//! at 0s  10.9.9.9 > x/a tcp syn,ack -> no_connection
//! at 0s  x/a as 10.9.9.9 > y/b:80 tcp -> spoofed_source
//! at 1s  set second.yaml
//! at 2s  remove NetworkPolicy y/allow
//! at 3s  restart
//! at 4s  sync
//! ```
//!
//! - An end is `[namespace/]pod[:port]` or an address; IPv6 with a port is `[fd00::1]:80`. No
//!   namespace means `default`. `as ADDRESS` is what the source claims to be.
//! - A protocol is `tcp udp sctp icmp`, `other` (GRE) or a number as `proto-50`; then perhaps what
//!   the packet is, then perhaps `v4` or `v6`: which addresses of the pods, by default the first
//!   family that both have. ICMP is that of the family; its number, `proto-1` or `proto-58`, is a
//!   packet of the other.
//! - What it is: TCP flags (`syn,ack`), a type and a code of ICMP (`13/0`), `echo-reply`, `error`
//!   (about the last packet that went the other way), `reply` (it belongs to a connection that the
//!   other end opened). Nothing is what opens a connection: SYN, INIT, an echo request, a datagram.
//!   The source's port is a new one unless stated; for an echo it is the identifier. From `a:1-9` nine
//!   packets are sent, one after the other.
//! - What becomes of it is `sent` or the label of a drop reason.
//! - Then, perhaps, the cause of a side: `egress` or `ingress` with `not-isolated`, `itself`,
//!   `own-node`, a rule `namespace/policy[index]`, `denied-by` and a rule, or for a default deny the
//!   isolating policies, parted by commas; and after a deny perhaps `nearest RULE PARTS`, or
//!   `nearest none`. A policy that is in no namespace is `/policy`.
//! - The objects of a `set` come into force together. After `restart` the switch knows nothing
//!   and nothing passes, until `sync`, when all objects have been read anew.
//!
//! Judges that keep no connections (the oracle, `explain`, `Ruleset`, `PolicyTable`) ask about
//! lines that open one and that policy decides; simulated nodes, one for each `hostIP`, and the
//! lab run every line but those from a pod to itself, which never leave it. A judge that cannot
//! judge a case at all is named with its reason:
//!
//! ```text
//! without node,lab: translation is not built
//! ```
//!
//! `with FILE` puts a file of `tests/cases` before `cluster.yaml`: pods that many cases share.
//! `table` begins a whole truth table, see `table`.

mod frame;
mod judge;
mod parse;
mod read;
mod table;

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use lockgate_dataplane::packet::Protocol;
use lockgate_dataplane::policy::ruleset::Direction;

pub use frame::frame;
pub use judge::Judge;

use crate::oracle::{Answer, By, Cluster, End, Family, Nearest, Question, Side};

/// A folder of `tests/cases`.
#[derive(Clone, Debug)]
pub struct Case {
    /// The folder's name.
    pub name: String,
    /// Where it is.
    pub folder: PathBuf,
    /// The text of `cluster.yaml`.
    pub cluster: String,
    /// The lines of `traffic.txt`.
    pub steps: Vec<Step>,
    /// Who does not judge it, and why.
    pub without: Vec<(Judge, String)>,
}

/// A line of `traffic.txt`.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its number in the file, from 1.
    pub line: usize,
    /// When, in milliseconds of the case.
    pub at_ms: u64,
    /// What happens.
    pub action: Action,
}

/// What happens in a step.
#[derive(Clone, Debug)]
pub enum Action {
    /// A packet is sent.
    Send(Box<Send>),
    /// The packets of a truth table, each with the number of the line that says what becomes of it.
    Table(Vec<(usize, Send)>),
    /// The objects of a file of the folder are set; this is its text.
    Set(String),
    /// An object goes: its kind, namespace (empty for a Namespace) and name.
    Remove(String, String, String),
    /// The switch begins anew.
    Restart,
    /// It has read everything.
    Sync,
}

/// A packet and what becomes of it.
#[derive(Clone, Debug)]
pub struct Send {
    /// From whom.
    pub source: End,
    /// The address that the source claims to have, if not its own.
    pub claimed: Option<IpAddr>,
    /// From which port, if it matters.
    pub source_port: Option<u16>,
    /// To whom.
    pub target: End,
    /// To which port, or the number of a protocol that is no more than that; else 0.
    pub target_port: u16,
    /// The protocol as policy sees it.
    pub protocol: Protocol,
    /// TCP flags, a message of ICMP, `echo-reply`, `error`, `reply`. Empty for what opens a
    /// connection.
    pub detail: String,
    /// Which addresses of the pods; `None` is the first family that both have.
    pub family: Option<Family>,
    /// `sent`, or the label of a drop reason.
    pub outcome: String,
    /// The causes stated.
    pub causes: Vec<Stated>,
}

/// A side's cause as a case states it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stated {
    /// Whose side.
    pub direction: Direction,
    /// The cause.
    pub by: By,
    /// For a default deny, the isolating policies.
    pub isolating: Vec<String>,
    /// The nearest rule, if stated; `Some(None)` is stated to be none.
    pub nearest: Option<Option<Nearest>>,
}

impl Case {
    /// Whether this judge judges the case.
    #[must_use]
    pub fn has(&self, judge: Judge) -> bool {
        self.without.iter().all(|(absent, _)| *absent != judge)
    }
}

impl fmt::Display for Send {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = |end: &End| match end {
            End::Pod(namespace, name) => format!("{namespace}/{name}"),
            End::Address(address) => address.to_string(),
        };
        let (source, target) = (end(&self.source), end(&self.target));
        let Self { target_port, protocol, outcome, .. } = self;
        write!(f, "{source} > {target} {protocol:?} {target_port} written {outcome}")
    }
}

impl Send {
    /// Whether policy alone decides by the packet's own key: it may open a connection.
    #[must_use]
    pub fn is_decided_by_policy(&self) -> bool {
        let is_verdict =
            matches!(self.outcome.as_str(), "sent" | "egress_denied" | "ingress_denied");
        is_verdict && self.claimed.is_none() && self.may_open()
    }

    fn may_open(&self) -> bool {
        matches!(self.detail.as_str(), "" | "syn") || parse::message(&self.detail).is_some()
    }

    /// The question that a judge without connections is asked.
    ///
    /// # Errors
    /// When the ends share no family.
    pub fn question(&self, cluster: &Cluster) -> Result<Question, String> {
        let families = match &self.source {
            End::Address(address) => vec![Family::of(*address)],
            // A pod on its host's network has addresses too, but does not live.
            End::Pod(namespace, name) => match cluster.addresses(namespace, name).as_slice() {
                [] => vec![Family::V4, Family::V6],
                addresses => addresses.iter().copied().map(Family::of).collect(),
            },
        };
        let is_meant = |family| self.family.is_none_or(|own| own == family);
        let tried = families.into_iter().filter(|one| is_meant(*one) && self.can_be_of(*one));
        let mut asked = tried.map(|family| self.question_by(family));
        asked
            .find(|question| cluster.judge(question).is_ok())
            .ok_or_else(|| format!("{:?} and {:?} share no family", self.source, self.target))
    }

    /// Whether the number of its protocol is not ICMP there.
    fn can_be_of(&self, family: Family) -> bool {
        let icmp = match family {
            Family::V4 => 1,
            Family::V6 => 58,
        };
        self.protocol != Protocol::Other || self.target_port != icmp
    }

    fn question_by(&self, family: Family) -> Question {
        let (protocol, port) = frame::service(self, family);
        Question {
            source: self.source.clone(),
            target: self.target.clone(),
            protocol,
            port,
            source_port: self.source_port.unwrap_or(u16::MAX),
            family,
        }
    }
}

impl Stated {
    /// What is not as stated, if anything.
    #[must_use]
    pub fn differs_from(&self, answer: &Answer) -> Option<String> {
        let side = self.side(answer);
        // In whichever order.
        let isolating = [&self.isolating, &side.isolating].map(BTreeSet::from_iter);
        let isolating_differ = self.by == By::DefaultDeny && isolating[0] != isolating[1];
        let nearest_differ = self.nearest.as_ref().is_some_and(|stated| *stated != side.nearest);
        (self.by != side.by || isolating_differ || nearest_differ)
            .then(|| format!("{:?}: stated {self:?}, judged {side:?}", self.direction))
    }

    fn side<'a>(&self, answer: &'a Answer) -> &'a Side {
        match self.direction {
            Direction::Egress => &answer.egress,
            Direction::Ingress => &answer.ingress,
        }
    }
}

/// What becomes of the opening packet of a connection so judged: the egress side comes first.
#[must_use]
pub fn outcome(egress_allows: bool, ingress_allows: bool) -> &'static str {
    match (egress_allows, ingress_allows) {
        (true, true) => "sent",
        (false, _) => "egress_denied",
        (true, false) => "ingress_denied",
    }
}
