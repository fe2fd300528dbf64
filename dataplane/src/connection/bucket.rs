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
//! `tag` and `rest`; it gives the *sum* of the numbers of the two buckets, modulo their count. So
//! the second bucket is `sum - first`, and from either bucket the other one follows without
//! reading the record: this is what makes displacing cheap. Any number of buckets will do, hence
//! the index is never larger than asked for.
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
/// Between the bits of two buckets' lanes.
const BITS_APART: u32 = 2;
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

/// A free lane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    bucket: usize,
    lane: usize,
}

impl Place {
    /// The bucket's number.
    #[allow(clippy::cast_possible_truncation)] // there are fewer than 2^32
    pub(super) const fn bucket(self) -> u32 {
        self.bucket as u32
    }
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

    /// Asks for both lines.
    #[inline]
    pub(super) fn prefetch(&self, hash: Hash) {
        for at in self.homes(hash) {
            if let Some(bucket) = self.buckets.get(at) {
                crate::prefetch::read(bucket);
            }
        }
    }

    /// Calls `visit` with each record whose tag is the hash's, until it returns something.
    ///
    /// Both buckets are compared before the first record is looked at: nearly always there is
    /// one hit in sixteen lanes, and in which bucket it is, no processor can foretell.
    #[inline]
    pub(super) fn search<T>(
        &self,
        hash: Hash,
        mut visit: impl FnMut(u32) -> Option<T>,
    ) -> Option<T> {
        let (tag, _) = split(hash);
        let [first, second] = self.homes(hash);
        let pair = [self.buckets.get(first)?, self.buckets.get(second)?];
        let mut hits = pair[0].lanes_with(tag) | pair[1].lanes_with(tag) << BITS_APART;
        for _ in 0..2 * LANES {
            if hits == 0 {
                break;
            }
            let bit = hits.trailing_zeros() as usize;
            hits &= hits.wrapping_sub(1);
            // A bucket has two bits side by side in each sixteen: see `lanes_with`.
            let (bucket, half, lane) = (bit >> 1 & 1, bit & 1, bit >> 4);
            let record = pair.get(bucket)?.records.get(half << 2 | lane)?;
            if let Some(found) = visit(*record) {
                return Some(found);
            }
        }
        None
    }

    /// A free lane for the hash, made by moving one entry if need be. `None`: both buckets are
    /// full, and so is the detour of every entry in them.
    pub(super) fn place(&mut self, hash: Hash) -> Option<Place> {
        let homes = self.homes(hash);
        let [first, second] = homes.map(|at| self.used(at));
        let bucket = if second < first { homes[1] } else { homes[0] };
        self.free_lane(bucket).map(|lane| Place { bucket, lane }).or_else(|| self.displace(homes))
    }

    /// Moves one entry of either bucket to its other bucket, and says which lane that freed.
    fn displace(&mut self, homes: [usize; 2]) -> Option<Place> {
        for at in homes {
            for lane in 0..LANES {
                let entry = self.buckets.get(at)?.entry(lane)?;
                let detour = self.other(at, entry.0, entry.1);
                let Some(free) = self.free_lane(detour) else { continue };
                self.buckets.get_mut(detour)?.set(free, entry);
                self.buckets.get_mut(at)?.set(lane, (0, 0, FREE));
                return Some(Place { bucket: at, lane });
            }
        }
        None
    }

    /// The records in both buckets of the hash.
    pub(super) fn residents(&self, hash: Hash) -> impl Iterator<Item = u32> + '_ {
        self.homes(hash)
            .into_iter()
            .filter_map(|at| self.buckets.get(at))
            .flat_map(|bucket| bucket.records)
            .filter(|&id| id != FREE)
    }

    /// Every record.
    #[cfg(test)]
    pub(super) fn records(&self) -> impl Iterator<Item = u32> + '_ {
        self.buckets.iter().flat_map(|bucket| bucket.records).filter(|&id| id != FREE)
    }

    /// The buckets of a hash, the lower first.
    #[cfg(test)]
    pub(super) fn homes_sorted(&self, hash: Hash) -> [usize; 2] {
        let [a, b] = self.homes(hash);
        [a.min(b), a.max(b)]
    }

    /// Fills a lane that [`Index::place`] found.
    #[inline]
    pub(super) fn fill(&mut self, place: Place, hash: Hash, record: u32) {
        let (tag, rest) = split(hash);
        if let Some(bucket) = self.buckets.get_mut(place.bucket) {
            bucket.set(place.lane, (tag, rest, record));
        }
    }

    /// Frees the lane of a record, wherever it is.
    pub(super) fn clear(&mut self, hash: Hash, record: u32) {
        for at in self.homes(hash) {
            #[allow(clippy::cast_possible_truncation)] // there are fewer than 2^32
            if self.clear_in(at as u32, record) {
                return;
            }
        }
    }

    /// Frees the lane of a record, if it is in this bucket.
    #[inline]
    pub(super) fn clear_in(&mut self, bucket: u32, record: u32) -> bool {
        let Some(bucket) = self.buckets.get_mut(bucket as usize) else { return false };
        let Some(lane) = bucket.records.iter().position(|&id| id == record) else { return false };
        bucket.set(lane, (0, 0, FREE));
        true
    }

    /// The two buckets of a hash. They may be the same one, once in as many as there are.
    #[inline]
    fn homes(&self, hash: Hash) -> [usize; 2] {
        #[allow(clippy::cast_possible_truncation)] // the lower half
        let first = self.scale(hash.0 as u32);
        let (tag, rest) = split(hash);
        [first, self.other(first, tag, rest)]
    }

    /// The other bucket of an entry in bucket `at`: its own inverse.
    #[inline]
    fn other(&self, at: usize, tag: u16, rest: u16) -> usize {
        let sum = self.scale(u32::from(rest) << 16 | u32::from(tag));
        if sum >= at {
            sum.wrapping_sub(at)
        } else {
            sum.wrapping_add(self.buckets.len()).wrapping_sub(at)
        }
    }

    /// Takes 32 uniform bits to a uniform bucket number, without dividing.
    #[inline]
    fn scale(&self, bits: u32) -> usize {
        (u64::from(bits).wrapping_mul(u64::from(self.count)) >> 32) as usize
    }

    /// How many lanes are not free.
    // In words as wide as the lanes, several are compared at once.
    #[inline]
    fn used(&self, at: usize) -> u32 {
        let Some(bucket) = self.buckets.get(at) else { return u32::MAX };
        bucket.records.iter().fold(0, |sum, &id| sum.wrapping_add(u32::from(id != FREE)))
    }

    fn free_lane(&self, at: usize) -> Option<usize> {
        self.buckets.get(at)?.records.iter().position(|&id| id == FREE)
    }
}

impl Bucket {
    /// One bit for each lane that has the tag, free lanes among them: bit 16 × i for lane i, and
    /// the next one for lane 4 + i.
    ///
    /// Four lanes at a time, as 64-bit words (a loop over lanes is not vectorised).
    #[inline]
    fn lanes_with(&self, tag: u16) -> u64 {
        const EACH: u64 = 0x0001_0001_0001_0001;
        const BELOW_TOP: u64 = 0x7fff * EACH;
        let (lower, upper) = self.tags.split_at(LANES / 2);
        let word = |tags: &[u16]| tags.iter().rev().fold(0, |w, &tag| w << 16 | u64::from(tag));
        // The top bit of each lane that is zero, and of no other: no lane carries into the next.
        let zeros = |word: u64| !((word & BELOW_TOP).wrapping_add(BELOW_TOP) | word | BELOW_TOP);
        let wanted = u64::from(tag).wrapping_mul(EACH);
        zeros(word(lower) ^ wanted) >> 15 | zeros(word(upper) ^ wanted) >> 14
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

/// What a lane keeps of a hash: its upper half, as tag and rest.
#[inline]
#[allow(clippy::cast_possible_truncation)] // sixteen bits each are what is wanted
fn split(hash: Hash) -> (u16, u16) {
    ((hash.0 >> 32) as u16, (hash.0 >> 48) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Tags that differ in their top bit alone, in all others, or hardly.
    fn tag() -> impl Strategy<Value = u16> {
        prop_oneof![prop::sample::select(vec![0, 1, 0x7fff, 0x8000, 0x8001, 0xffff]), any::<u16>()]
    }

    proptest! {
        #[test]
        fn every_record_under_the_tag_is_visited_and_no_other(
            tags in prop::array::uniform16(tag()),
            wanted in tag(),
        ) {
            let mut index = Index::new(1);
            let (first, second) = (0..).map(|low: u64| Hash(u64::from(wanted) << 32 | low << 30))
                .map(|hash| (hash, index.homes(hash)))
                .find_map(|(hash, [a, b])| (a != b).then_some(((hash, a), b)))
                .expect("two buckets");
            let (hash, first) = first;
            for (lane, (&tag, record)) in tags.iter().zip(0..).enumerate() {
                let bucket = if lane < LANES { first } else { second };
                index.buckets[bucket].set(lane % LANES, (tag, 0, record));
            }
            let mut visited = vec![];
            let found = index.search(hash, |record| { visited.push(record); None::<()> });
            prop_assert!(found.is_none());
            visited.sort_unstable();
            let expected: Vec<u32> =
                (0..16).filter(|&record: &u32| tags[record as usize] == wanted).collect();
            prop_assert_eq!(visited, expected);
        }
    }
}
