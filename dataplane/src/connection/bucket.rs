//! The index: which record a key may have. Hot path.
//!
//! A bucket is one cache line of eight lanes, and a key may be in two buckets. So a lookup reads
//! at most two lines of index, whatever the load and whatever was removed before: there are no
//! chains, no probing, no tombstones, and nothing ever grows (house D5).
//!
//! ```text
//!            8 x u16          8 x u16          8 x u32
//!   bucket | tags           | rests          | records        |  64 bytes
//! ```
//!
//! Of a hash, the lower half chooses the first bucket. The upper half is kept in the lane, as
//! `tag` and `rest`, and no tag is 0: that is a free lane's. It gives the *sum* of the numbers of
//! the two buckets, modulo their count. So the second bucket is `sum - first`, and from either
//! bucket the other one follows without reading the record: this is what makes displacing cheap.
//! Any number of buckets will do, hence the index is never larger than asked for.
//!
//! A new entry goes to the emptier bucket of its two. Where both are full, one of the sixteen
//! entries in the way moves to its other bucket, if that has a free lane: one move, never a
//! chain, so the work is at most sixteen lines. At three quarters load two full buckets are rare
//! and sixteen full detours do not occur; a test fills the table to its last record.

use super::hash::Hash;

/// Entries of one bucket.
pub(super) const LANES: usize = 8;
/// Entries per bucket when every record is in use: three quarters.
const LANES_USED: usize = 6;
/// Buckets of the smallest index: tiny tables would otherwise depend on luck.
const BUCKETS_MIN: usize = 8;
/// The lowest and the highest of each sixteen bits.
const EACH: u64 = 0x0001_0001_0001_0001;
const TOPS: u64 = EACH << 15;
/// No record.
const FREE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Bucket {
    tags: [u16; LANES],
    rests: [u16; LANES],
    records: [u32; LANES],
}

const _: () = assert!(size_of::<Bucket>() == 64);

const EMPTY: Bucket = Bucket { tags: [0; LANES], rests: [0; LANES], records: [FREE; LANES] };

/// Where the entry of a hash may be in one index, and what its lane keeps of the hash.
///
/// Worked out once for each packet, and used by every stage that it passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spot {
    homes: [u32; 2],
    tag: u16,
    rest: u16,
}

/// A free lane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) bucket: u32,
    lane: usize,
}

/// The buckets.
#[derive(Debug)]
pub(super) struct Index {
    buckets: Box<[Bucket]>,
    /// As many as there are buckets.
    count: u32,
}

impl Index {
    /// An empty index for that many records.
    pub(super) fn new(records: usize) -> Self {
        let buckets = records.div_ceil(LANES_USED).max(BUCKETS_MIN);
        let count = u32::try_from(buckets).unwrap_or(u32::MAX);
        Self { buckets: vec![EMPTY; buckets].into_boxed_slice(), count }
    }

    /// Bytes of memory.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val::<[Bucket]>(&self.buckets)
    }

    /// Where the entry of a hash may be. The two buckets may be the same one, once in as many as
    /// there are.
    #[inline]
    pub(super) fn spot(&self, hash: Hash) -> Spot {
        let (tag, rest) = split(hash);
        #[allow(clippy::cast_possible_truncation)] // the lower half
        let first = self.scale(hash.0 as u32);
        Spot { homes: [first, self.other(first, tag, rest)], tag, rest }
    }

    /// Asks for both lines.
    #[inline]
    pub(super) fn prefetch(&self, spot: Spot) {
        for at in spot.homes {
            if let Some(bucket) = self.bucket(at) {
                crate::prefetch::read(bucket);
            }
        }
    }

    /// Calls `visit` with each record whose tag is the spot's, until it returns something.
    ///
    /// Both buckets are compared before the first record is looked at: nearly always there is
    /// one hit in sixteen lanes, and in which bucket it is, no processor can foretell.
    #[inline]
    pub(super) fn search<T>(
        &self,
        spot: Spot,
        mut visit: impl FnMut(u32) -> Option<T>,
    ) -> Option<T> {
        let [first, second] = spot.homes;
        let pair = [self.bucket(first)?, self.bucket(second)?];
        let mut hits = hits(pair, spot.tag);
        for _ in 0..2 * LANES {
            if hits == 0 {
                break;
            }
            let bit = hits.trailing_zeros() as usize;
            hits &= hits.wrapping_sub(1);
            let (bucket, lane) = ((bit >> 1 & 1) ^ 1, lane_of(bit));
            let record = pair.get(bucket)?.records.get(lane)?;
            if let Some(found) = visit(*record) {
                return Some(found);
            }
        }
        None
    }

    /// A free lane in the emptier bucket, made by moving one entry if need be. `None`: both buckets
    /// are full, and so is the detour of every entry in them.
    // Not to call it costs a new connection fifteen instructions less.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub(super) fn place(&mut self, spot: Spot) -> Option<Place> {
        let [first, second] = spot.homes;
        let (one, other) = (self.bucket(first)?.used(), self.bucket(second)?.used());
        let (bucket, used) =
            if other.count() < one.count() { (second, other) } else { (first, one) };
        used.first_free().map(|lane| Place { bucket, lane }).or_else(|| self.displace(spot))
    }

    /// Moves one entry of either bucket to its other bucket, and says which lane that freed.
    #[cold]
    fn displace(&mut self, spot: Spot) -> Option<Place> {
        for at in spot.homes {
            for lane in 0..LANES {
                let entry = self.bucket(at)?.entry(lane)?;
                let detour = self.other(at, entry.0, entry.1);
                let Some(free) = self.bucket(detour)?.used().first_free() else { continue };
                self.bucket_mut(detour)?.set(free, entry);
                self.bucket_mut(at)?.set(lane, (0, 0, FREE));
                return Some(Place { bucket: at, lane });
            }
        }
        None
    }

    /// The records in both buckets.
    pub(super) fn residents(&self, spot: Spot) -> impl Iterator<Item = u32> + '_ {
        spot.homes
            .into_iter()
            .filter_map(|at| self.bucket(at))
            .flat_map(|bucket| bucket.records)
            .filter(|&id| id != FREE)
    }

    /// Both buckets of a spot, the lower first.
    #[cfg(test)]
    pub(super) fn homes_sorted(spot: Spot) -> [u32; 2] {
        let [a, b] = spot.homes;
        [a.min(b), a.max(b)]
    }

    /// Every record.
    #[cfg(test)]
    pub(super) fn records(&self) -> impl Iterator<Item = u32> + '_ {
        self.buckets.iter().flat_map(|bucket| bucket.records).filter(|&id| id != FREE)
    }

    /// Fills a lane that [`Index::place`] found.
    #[inline]
    pub(super) fn fill(&mut self, place: Place, spot: Spot, record: u32) {
        if let Some(bucket) = self.bucket_mut(place.bucket) {
            bucket.set(place.lane, (spot.tag, spot.rest, record));
        }
    }

    /// Frees the lane of a record, wherever it is.
    pub(super) fn clear(&mut self, spot: Spot, record: u32) {
        let [first, second] = spot.homes;
        if !self.clear_in(first, record) {
            self.clear_in(second, record);
        }
    }

    /// Frees the lane of a record, if it is in this bucket.
    #[inline]
    pub(super) fn clear_in(&mut self, bucket: u32, record: u32) -> bool {
        let Some(bucket) = self.bucket_mut(bucket) else { return false };
        let Some(lane) = bucket.records.iter().position(|&id| id == record) else { return false };
        bucket.set(lane, (0, 0, FREE));
        true
    }

    #[inline]
    fn bucket(&self, at: u32) -> Option<&Bucket> {
        self.buckets.get(at as usize)
    }

    #[inline]
    fn bucket_mut(&mut self, at: u32) -> Option<&mut Bucket> {
        self.buckets.get_mut(at as usize)
    }

    /// The other bucket of an entry in bucket `at`: its own inverse.
    #[inline]
    fn other(&self, at: u32, tag: u16, rest: u16) -> u32 {
        let sum = self.scale(u32::from(rest) << 16 | u32::from(tag));
        let (other, is_below) = sum.overflowing_sub(at);
        if is_below { other.wrapping_add(self.count) } else { other }
    }

    /// Takes 32 uniform bits to a uniform bucket number, without dividing.
    #[inline]
    #[allow(clippy::cast_possible_truncation)] // below the count
    fn scale(&self, bits: u32) -> u32 {
        (u64::from(bits).wrapping_mul(u64::from(self.count)) >> 32) as u32
    }
}

/// One bit for each lane of two buckets that has the tag. Of each sixteen the highest four count: for
/// lane i in sixteen i, from the top down, those of the first bucket's lanes i and 4 + i, and of the
/// second's.
#[inline]
fn hits([one, other]: [&Bucket; 2], tag: u16) -> u64 {
    let wanted = u64::from(tag).wrapping_mul(EACH);
    let differ = |(lower, upper): (u64, u64)| {
        nonzero(lower ^ wanted) & TOPS | (nonzero(upper ^ wanted) & TOPS) >> 1
    };
    (differ(one.words()) | differ(other.words()) >> 2) ^ (TOPS | TOPS >> 1 | TOPS >> 2 | TOPS >> 3)
}

/// The lane of a bit of [`hits`] or of [`Used`].
#[inline]
const fn lane_of(bit: usize) -> usize {
    (bit & 1 ^ 1) << 2 | bit >> 4
}

/// The lanes of a bucket that are not free: the top bit of sixteen i of the first word for lane i, and
/// of the second for lane 4 + i.
#[derive(Clone, Copy, Debug)]
struct Used(u64, u64);

impl Used {
    /// How many.
    #[inline]
    const fn count(self) -> u64 {
        // The highest sixteen bits of the product are the sum of all sixteens.
        (self.0 >> 15).wrapping_add(self.1 >> 15).wrapping_mul(EACH) >> 48
    }

    /// The first lane that is free, in an order of its own.
    #[inline]
    const fn first_free(self) -> Option<usize> {
        let free = (self.0 | self.1 >> 1) ^ (TOPS | TOPS >> 1);
        if free == 0 { None } else { Some(lane_of(free.trailing_zeros() as usize)) }
    }
}

/// The top bit of each sixteen that are not all zero; what the other bits are means nothing.
#[inline]
const fn nonzero(word: u64) -> u64 {
    // No lane carries into the next.
    (word & !TOPS).wrapping_add(!TOPS) | word
}

impl Bucket {
    /// The lanes that are not free: their tags are not 0.
    #[inline]
    fn used(&self) -> Used {
        let (lower, upper) = self.words();
        Used(nonzero(lower) & TOPS, nonzero(upper) & TOPS)
    }

    /// The tags, four in a word (a loop over lanes is not vectorised).
    #[inline]
    fn words(&self) -> (u64, u64) {
        let (lower, upper) = self.tags.split_at(LANES / 2);
        let word = |tags: &[u16]| tags.iter().rev().fold(0, |w, &tag| w << 16 | u64::from(tag));
        (word(lower), word(upper))
    }

    fn entry(&self, lane: usize) -> Option<(u16, u16, u32)> {
        Some((*self.tags.get(lane)?, *self.rests.get(lane)?, *self.records.get(lane)?))
    }

    fn set(&mut self, lane: usize, (tag, rest, record): (u16, u16, u32)) {
        if let (Some(t), Some(r), Some(id)) =
            (self.tags.get_mut(lane), self.rests.get_mut(lane), self.records.get_mut(lane))
        {
            (*t, *r, *id) = (tag, rest, record);
        }
    }
}

/// What a lane keeps of a hash: its upper half, as tag and rest. No tag is 0.
#[inline]
#[allow(clippy::cast_possible_truncation)] // sixteen bits each are what is wanted
fn split(hash: Hash) -> (u16, u16) {
    (((hash.0 >> 32) as u16).max(1), (hash.0 >> 48) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Tags that differ in their top bit alone, in all others, or hardly.
    fn tag() -> impl Strategy<Value = u16> {
        prop_oneof![prop::sample::select(vec![0, 1, 0x7fff, 0x8000, 0x8001, 0xffff]), any::<u16>()]
    }

    /// A spot of two buckets with that tag, or the one that stands for 0.
    fn spot_under(index: &Index, tag: u16) -> Spot {
        (0..64)
            .map(|low: u64| index.spot(Hash(u64::from(tag) << 32 | low << 30)))
            .find(|spot| spot.homes[0] != spot.homes[1])
            .expect("two buckets")
    }

    proptest! {
        /// Against a count of lanes one by one.
        #[test]
        fn a_new_entry_goes_to_a_free_lane_of_the_emptier_bucket(
            tags in prop::array::uniform16(prop_oneof![Just(0), tag()]),
            wanted in tag(),
        ) {
            let mut index = Index::new(1);
            let spot = spot_under(&index, wanted);
            prop_assert!(spot.tag != 0, "a free lane's tag");
            for (lane, (&tag, record)) in tags.iter().zip(0..).enumerate() {
                let entry = if tag == 0 { (0, 0, FREE) } else { (tag, 0, record) };
                index.buckets[spot.homes[lane / LANES] as usize].set(lane % LANES, entry);
            }
            let free = |half: usize| {
                let half = &tags[half * LANES..(half + 1) * LANES];
                half.iter().filter(|&&tag| tag == 0).count()
            };
            let (first, second) = (free(0), free(1));
            prop_assume!(first + second > 0);
            let place = index.place(spot).expect("a lane");
            let half = usize::from(second > first);
            prop_assert_eq!(place.bucket, spot.homes[half]);
            prop_assert_eq!(tags[half * LANES + place.lane], 0);
        }

        #[test]
        fn every_record_under_the_tag_is_visited_and_no_other(
            tags in prop::array::uniform16(tag()),
            wanted in tag(),
        ) {
            let mut index = Index::new(1);
            let spot = spot_under(&index, wanted);
            let wanted = spot.tag;
            for (lane, (&tag, record)) in tags.iter().zip(0..).enumerate() {
                let bucket = spot.homes[lane / LANES];
                index.buckets[bucket as usize].set(lane % LANES, (tag, 0, record));
            }
            let mut visited = vec![];
            let found = index.search(spot, |record| { visited.push(record); None::<()> });
            prop_assert!(found.is_none());
            visited.sort_unstable();
            let expected: Vec<u32> =
                (0..16).filter(|&record: &u32| tags[record as usize] == wanted).collect();
            prop_assert_eq!(visited, expected);
        }
    }
}
