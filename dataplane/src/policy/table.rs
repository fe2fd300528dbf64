//! The compiled policy: what packets are judged by. Hot path.
//!
//! A question costs two cells, one for each side, and in each at most one search among the port
//! intervals of a program, or two where rules tell ports of the source apart. How many rules, pods,
//! policies or addresses there are does not enter into it, nor does anything that a sender can write
//! into a header. What is staged or recorded is asked of rows of its own ([`Audit`]), by packets that
//! are denied or open a connection.
//!
//! ```text
//!  policy set of the pod           class of the address at the other end
//!         |                             |
//!         v                    19..12   v   11..6         5..0
//!   rows[set] --- cells -----> [branch] --> [leaf] -----> [u16] = the row's own number for
//!         |                     64 leaves    64 cells       |     "in these of my peer groups"
//!         |                                                 v
//!         '------ programs ------------------------> [Program], 32 bytes
//!                                                    tcp  udp  sctp  icmp  icmpv6  other
//!                                                     |    '-- a verdict: constant
//!         few / many <--------------------------------'
//!         intervals of ports, each with its verdict,
//!         or with intervals of source ports
//! ```
//!
//! Invariants
//! - A *class* is a set of addresses that no peer of any rule tells apart; class 0 is in no peer.
//! - A *policy set* is what selects a pod in one direction; number 0 is "nobody isolates it".
//! - A cell holds a number that means something in its row only: which of the row's peer groups
//!   the class is in. So rows that name the same peers share every page of cells, whatever their
//!   ports and policies are, and the pages that a row never mentions are shared by all.
//! - A *verdict* names action and cause; allowing is one bit. Attribution costs nothing here:
//!   it was compiled in.
//! - What cannot be found is denied ([`VerdictId::CLOSED`]): numbers of another snapshot's table
//!   never allow by accident of range.
//!
//! Shaped by
//! - **Incremental compilation (house D13).** Everything under a row is behind an `Arc` and never
//!   written again: a table that differs in one policy shares all other rows with its
//!   predecessor, and one that differs in one class shares all but a leaf, a branch and a short
//!   top of the rows that mention it. The pointers replace indices one for one, so sharing costs
//!   no load. The list of rows itself is copied when a row differs: 64 bytes a row.
//! - **Sharing by peers.** Cells that name programs directly were tried on paper and rejected: a
//!   program names its policies in its causes, so that no two rows would share a page, and a
//!   peer scattered over all namespaces (`app: ingress`) would cost every row that mentions it
//!   all its pages. The price is the load of the row's program list.
//! - **Flat arrays** of policy sets × classes were rejected for their size: 75 k × 50 k cells.
//! - **Few intervals** (eight or less, nearly all there are) are one 16-byte comparison, up to 64
//!   two; more are written out by port, in pages, so that ten thousand ports cost what 65 do. A bitmap
//!   of beginnings, counted, takes less memory where ports lie scattered, and took half as long again.
//!   Rows with other policies share no page, so there are none for dozens of intervals (decision 16).
//! - **Measured** (as in `compile`): both sides of random questions 10 ns at 10 k pods and 1 k
//!   policies, 5 ns where no interval is searched (with the bitmap: 15 ns whether a row had 10
//!   rules or 10 000 with ports of their own; what it is now, `bench/RESULTS.md`). What does grow with the rules is the memory touched: 10 000 peers
//!   with a program each, asked at random, leave L1 and cost 9 ns instead of 5; all of a table of
//!   125 k policy sets, 44 ns.
//! - **More than 65 536 peer combinations in one row** do not fit a cell: such a row has a second
//!   plane of cells with the upper halves, and pays a second walk.

use std::mem::{size_of, size_of_val};
use std::sync::Arc;

use hashbrown::HashSet;

pub use super::asked::{Audit, ClassId, PolicySetId, Sets};
use super::ports::{Few, Many};
use super::ruleset::{Cause, Direction, PolicyId, Service, View};
use super::shared::Shared;
use super::tally::Tallies;
use crate::ids::WorkerId;
use crate::packet::Protocol;

/// Allow or deny, and why: [`PolicyTable::cause`] tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VerdictId(pub(super) u32);

impl VerdictId {
    pub(super) const ALLOW: u32 = 1 << 31;
    pub(super) const LOGGED: u32 = 1 << 27;

    /// Denied because the table does not know what it was asked about. Never given for the
    /// numbers that came with the table.
    pub const CLOSED: Self = Self(0);
    /// Allowed: nobody isolates this side, or it is not asked (NP-40, NP-42).
    pub const NOT_ISOLATED: Self = Self(1 | Self::ALLOW);

    /// Whether this allows.
    #[inline]
    #[must_use]
    pub const fn is_allow(self) -> bool {
        self.0 & Self::ALLOW != 0
    }

    /// Whether this is no verdict: a rule records the packet.
    #[must_use]
    pub const fn is_logged(self) -> bool {
        self.0 & Self::LOGGED != 0
    }

    /// Its place in lists by verdict.
    #[inline]
    pub(super) const fn place(self) -> usize {
        (self.0 & !(Self::ALLOW | Self::LOGGED)) as usize
    }
}

/// What a table is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    /// Policy set of the source's egress.
    pub egress: PolicySetId,
    /// Class of the target's address.
    pub target_class: ClassId,
    /// Policy set of the target's ingress.
    pub ingress: PolicySetId,
    /// Class of the source's address.
    pub source_class: ClassId,
    /// Which packet, between these two.
    pub service: Service,
}

/// Both sides' verdicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Of the source's policies.
    pub egress: VerdictId,
    /// Of the target's policies.
    pub ingress: VerdictId,
}

impl Decision {
    /// Whether both sides allow (NP-7).
    #[inline]
    #[must_use]
    pub const fn allows(self) -> bool {
        self.egress.0 & self.ingress.0 & VerdictId::ALLOW != 0
    }
}

/// Cells of one leaf, leaves of one branch.
pub(super) const FAN: usize = 64;
pub(super) const FAN_BITS: u32 = FAN.trailing_zeros();
const FAN_MASK: usize = FAN - 1;

pub(super) type Leaf = [u16; FAN];
pub(super) type Branch = [Arc<Leaf>; FAN];
pub(super) type Cells = Arc<[Arc<Branch>]>;

/// The verdicts of one (row, cell) for every protocol, in the order of [`Protocol`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(align(32))]
pub(super) struct Program(pub(super) [Span; Protocol::ALL.len()]);

/// The verdicts of one protocol, or of one interval of its target ports: a verdict, or the list of
/// intervals to look it up in.
///
/// A verdict is itself, and so leaves three bits: which list, or list of lists, and whether what is
/// found there is to be looked up again, by the source's port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Span(u32);

/// Where intervals are: in `Row::few`, where that says in `Row::few`, or in `Row::many`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    Few,
    Steps,
    Many,
}

/// All that one policy set says. Aligned, so that one is read with one miss.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct Row {
    pub(super) cells: Cells,
    pub(super) programs: Arc<[Program]>,
    pub(super) few: Arc<[Few]>,
    pub(super) many: Arc<[Many]>,
}

/// A row with more programs than this has two planes of cells, one behind the other.
pub(super) const PLANE: usize = 1 << 16;

// A row is one cache line, and so are two programs.
const _: () = assert!(size_of::<Row>() == 64 && size_of::<Program>() == 32);

/// The compiled policy of one snapshot. Immutable.
#[derive(Clone, Debug)]
pub struct PolicyTable {
    /// By policy set; row 0 is never read.
    pub(super) rows: Arc<[Row]>,
    /// By verdict, less its allow bit.
    pub(super) causes: Shared<Cause>,
    /// By `PolicyId`; empty where there is no policy.
    pub(super) names: Shared<Arc<str>>,
    /// By verdict and worker.
    pub(super) tallies: Tallies,
    /// Packets of some pod are asked more than what decides: see [`Audit`].
    pub(super) is_audited: bool,
}

impl PolicyTable {
    /// Judges both sides: two cells, at most two interval searches in each. Never panics,
    /// allocates or loops over anything that grows.
    #[inline]
    #[must_use]
    pub fn decide(&self, query: &Query) -> Decision {
        Decision {
            egress: self.verdict(query.egress, query.target_class, query.service),
            ingress: self.verdict(query.ingress, query.source_class, query.service),
        }
    }

    #[inline]
    fn verdict(&self, set: PolicySetId, class: ClassId, service: Service) -> VerdictId {
        if set == PolicySetId::NONE {
            return VerdictId::NOT_ISOLATED;
        }
        let row = self.rows.get(set.0 as usize);
        row.and_then(|row| row.verdict(class, service)).unwrap_or(VerdictId::CLOSED)
    }

    /// Why a verdict was given.
    ///
    /// # Panics
    /// When the verdict is another table's and this one has fewer.
    #[must_use]
    pub fn cause(&self, verdict: VerdictId) -> &Cause {
        &self.causes[verdict.place()]
    }

    /// Counts a verdict of a packet that was denied or opened a connection, for the policies that
    /// are its cause. A worker counts for itself only.
    #[inline]
    pub fn count(&self, worker: WorkerId, direction: Direction, verdict: VerdictId) {
        self.tallies.count(worker, (View::Now, direction), verdict);
    }

    /// Counts a verdict that such a packet would have got instead, were all in force that is staged.
    pub fn count_next(&self, worker: WorkerId, direction: Direction, verdict: VerdictId) {
        self.tallies.count(worker, (View::Next, direction), verdict);
    }

    /// Whether packets of some pod are asked more than what decides: see [`Audit`].
    #[inline]
    #[must_use]
    pub const fn is_audited(&self) -> bool {
        self.is_audited
    }

    /// The policy's `namespace/name`.
    ///
    /// # Panics
    /// When the policy is another ruleset's and this one has fewer.
    #[must_use]
    pub fn policy_name(&self, policy: PolicyId) -> &Arc<str> {
        &self.names[policy.0 as usize]
    }

    /// How many policies there are.
    #[must_use]
    pub fn policies(&self) -> usize {
        (0..self.names.len()).filter(|at| !self.names[*at].is_empty()).count()
    }

    /// How many policy sets there are, [`PolicySetId::NONE`] included.
    #[must_use]
    pub fn policy_sets(&self) -> usize {
        self.rows.len()
    }

    /// Bytes of memory, each shared page counted once; allocator overhead and the texts of names
    /// not counted. Cold: walks everything.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        const ARC: usize = 2 * size_of::<usize>();
        let mut seen = HashSet::new();
        let mut bytes =
            size_of_val(&*self.rows) + self.causes.memory_bytes() + self.names.memory_bytes();
        bytes += self.tallies.memory_bytes();
        let mut count = |at: *const u8, size: usize| {
            let new = seen.insert(at);
            bytes += if new { size + ARC } else { 0 };
            new
        };
        for row in self.rows.iter() {
            count(row.programs.as_ptr().cast(), size_of_val(&*row.programs));
            count(row.few.as_ptr().cast(), size_of_val(&*row.few));
            count(row.many.as_ptr().cast(), size_of_val(&*row.many));
            for many in row.many.iter() {
                if count(many.pages().as_ptr().cast(), size_of_val(many.pages())) {
                    for page in many.pages() {
                        count(Arc::as_ptr(page).cast(), size_of_val(&**page));
                    }
                }
            }
            if !count(row.cells.as_ptr().cast(), size_of_val(&*row.cells)) {
                continue;
            }
            for branch in row.cells.iter() {
                if count(Arc::as_ptr(branch).cast(), size_of::<Branch>()) {
                    for leaf in branch.iter() {
                        count(Arc::as_ptr(leaf).cast(), size_of::<Leaf>());
                    }
                }
            }
        }
        bytes
    }
}

impl Span {
    const FEW: u32 = 1 << 30;
    const MANY: u32 = 1 << 29;
    const BY_SOURCE: u32 = 1 << 28;
    const LIST: u32 = Self::FEW | Self::MANY;
    const KIND: u32 = Self::LIST | Self::BY_SOURCE;
    // Lists by the target's port that hold verdicts.
    const IN_FEW: u32 = Self::FEW;
    const IN_MANY: u32 = Self::MANY;
    /// A list of lists.
    const IN_STEPS: u32 = Self::LIST;

    /// What is denied because nothing is known of it.
    pub(super) const CLOSED: Self = Self::one(VerdictId::CLOSED);

    /// A verdict for all. Numbers beyond 27 bits are more than memory holds causes for.
    pub(super) const fn one(verdict: VerdictId) -> Self {
        if verdict.0 & Self::KIND == 0 { Self(verdict.0) } else { Self(VerdictId::CLOSED.0) }
    }

    /// By interval: a place in the list; then perhaps by the source's port.
    pub(super) const fn lookup(place: u32, list: List, then_by_source: bool) -> Self {
        if place >= Self::BY_SOURCE {
            return Self::CLOSED;
        }
        let list = match list {
            List::Few => Self::IN_FEW,
            List::Steps => Self::IN_STEPS,
            List::Many => Self::IN_MANY,
        };
        let source = if then_by_source { Self::BY_SOURCE } else { 0 };
        Self(place | list | source)
    }

    /// The verdict, where it needs no looking up.
    #[inline]
    pub(super) const fn verdict(self) -> Option<VerdictId> {
        if self.0 & Self::KIND == 0 { Some(VerdictId(self.0)) } else { None }
    }

    #[inline]
    const fn place(self) -> usize {
        (self.0 & (Self::BY_SOURCE - 1)) as usize
    }
}

impl Row {
    #[inline]
    fn verdict(&self, class: ClassId, service: Service) -> Option<VerdictId> {
        let class = class.0 as usize;
        let mut cell = cell(&self.cells, class, 0)?;
        if self.programs.len() > PLANE {
            cell |= self::cell(&self.cells, class, self.cells.len() / 2)? << 16;
        }
        let Program(spans) = self.programs.get(cell)?;
        let span = *spans.get(service.protocol as usize)?;
        let found = match span.0 & Span::KIND {
            0 => span,
            Span::IN_FEW => self.few.get(span.place())?.find(service.port)?,
            Span::IN_MANY => self.many.get(span.place())?.find(service.port)?,
            _ => return self.in_steps(span, service),
        };
        found.verdict()
    }

    /// Where one search is not enough: out of line, so that nobody else passes it.
    #[inline(never)]
    fn in_steps(&self, span: Span, service: Service) -> Option<VerdictId> {
        let found = self.find(span, service.port)?;
        found.verdict().or_else(|| self.find(found, service.source_port)?.verdict())
    }

    #[inline]
    fn find(&self, span: Span, port: u16) -> Option<Span> {
        if span.0 & Span::LIST == Span::IN_MANY {
            return self.many.get(span.place())?.find(port);
        }
        let found = self.few.get(span.place())?.find(port)?;
        if span.0 & Span::LIST == Span::IN_FEW {
            return Some(found);
        }
        self.few.get(found.place())?.find(port)
    }
}

#[inline]
fn cell(cells: &Cells, class: usize, plane: usize) -> Option<usize> {
    let branch = cells.get((class >> (2 * FAN_BITS)).wrapping_add(plane))?;
    let leaf = branch.get((class >> FAN_BITS) & FAN_MASK)?;
    leaf.get(class & FAN_MASK).map(|&cell| usize::from(cell))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row of so many programs, whose last one is the only one that allows; class 7 has it.
    fn row(programs: usize) -> Row {
        let last = programs - 1;
        let plane = |value: usize| {
            let mut leaf: Leaf = [0; FAN];
            leaf[7] = u16::try_from(value).unwrap();
            let (leaf, zeros): (Arc<Leaf>, Arc<Leaf>) = (Arc::new(leaf), Arc::new([0; FAN]));
            let of = |at| if at == 0 { Arc::clone(&leaf) } else { Arc::clone(&zeros) };
            Arc::new(std::array::from_fn(of))
        };
        let planes = [plane(last % PLANE), plane(last / PLANE)];
        let used = if programs > PLANE { 2 } else { 1 };
        let program = |at| {
            let verdict = if at == last { VerdictId::NOT_ISOLATED } else { VerdictId::CLOSED };
            Program([Span::one(verdict); Protocol::ALL.len()])
        };
        Row {
            cells: planes.into_iter().take(used).collect(),
            programs: (0..programs).map(program).collect(),
            few: Arc::new([]),
            many: Arc::new([]),
        }
    }

    #[test]
    fn a_row_has_a_second_plane_from_one_program_beyond_the_first_on() {
        for programs in [1, 2, PLANE - 1, PLANE, PLANE + 1, PLANE * 2 + 3] {
            let http = Service { protocol: Protocol::Tcp, port: 80, source_port: 0 };
            let verdict = row(programs).verdict(ClassId(7), http);
            assert_eq!(verdict, Some(VerdictId::NOT_ISOLATED), "{programs}");
        }
    }
}
