//! Shards of lanes, and what gateways that share a database say of themselves.
//!
//! A lane belongs to one of 1,024 shards, and a shard to one gateway at a time. Each time a shard
//! changes hands its epoch grows, so that what an earlier owner still says can be told apart.

use std::fmt;

/// How many slices of lanes there are.
pub const SHARDS: u16 = 1_024;

const WORDS: usize = SHARDS as usize / 64;

/// The shard of a lane.
#[must_use]
pub fn shard_of(lane: i64) -> u16 {
    u16::try_from(lane & 1023).expect("ten bits fit")
}

/// A set of shards.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct ShardSet([u64; WORDS]);

impl ShardSet {
    /// None.
    pub const EMPTY: Self = Self([0; WORDS]);
    /// All of them.
    pub const ALL: Self = Self([u64::MAX; WORDS]);

    /// Whether a shard is in the set.
    #[must_use]
    pub fn contains(&self, shard: u16) -> bool {
        let (word, bit) = place(shard);
        self.0[word] & bit != 0
    }

    /// Puts a shard in.
    pub fn insert(&mut self, shard: u16) {
        let (word, bit) = place(shard);
        self.0[word] |= bit;
    }

    /// Takes a shard out.
    pub fn remove(&mut self, shard: u16) {
        let (word, bit) = place(shard);
        self.0[word] &= !bit;
    }

    /// How many are in the set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::EMPTY
    }

    /// Those of this set that are not in the other.
    #[must_use]
    pub fn without(mut self, other: &Self) -> Self {
        for (word, other) in self.0.iter_mut().zip(other.0) {
            *word &= !other;
        }
        self
    }

    /// Those in both sets.
    #[must_use]
    pub fn both(mut self, other: &Self) -> Self {
        for (word, other) in self.0.iter_mut().zip(other.0) {
            *word &= other;
        }
        self
    }

    /// The shards in rising order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = u16> + '_ {
        (0..SHARDS).filter(|shard| self.contains(*shard))
    }

    /// One bit a shard; the lowest bit of the first byte is shard 0.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|word| word.to_le_bytes()).collect()
    }
}

fn place(shard: u16) -> (usize, u64) {
    let shard = usize::from(shard % SHARDS);
    (shard / 64, 1 << (shard % 64))
}

impl FromIterator<u16> for ShardSet {
    fn from_iter<T: IntoIterator<Item = u16>>(shards: T) -> Self {
        let mut set = Self::EMPTY;
        shards.into_iter().for_each(|shard| set.insert(shard));
        set
    }
}

impl fmt::Debug for ShardSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.len() {
            0..=16 => f.debug_set().entries(self.iter()).finish(),
            many => write!(f, "{{{many} shards}}"),
        }
    }
}

/// What a renewal came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// The shards owned now, each with its epoch.
    pub shards: Vec<(u16, i64)>,
    /// The gateways that live, this one included.
    pub gateways: usize,
    /// Whether no other living gateway takes itself to be alone.
    pub others_saw_me: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in() {
        let mut set: ShardSet = [0, 63, 64, 1_023].into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 63, 64, 1_023]);
        assert!(set.contains(63) && !set.contains(62));
        set.remove(63);
        assert_eq!(set.len(), 3);
        assert_eq!(ShardSet::ALL.len(), usize::from(SHARDS));
        assert_eq!(ShardSet::ALL.without(&set).len(), 1_021);
        assert_eq!(ShardSet::ALL.both(&set), set);
        let bytes = set.to_bytes();
        assert_eq!(
            (bytes.len(), bytes[0], bytes[8], bytes[127]),
            (128, 1, 1, 128)
        );
    }

    #[test]
    fn a_lane_has_its_shard_whatever_its_sign() {
        assert_eq!(shard_of(1_025), 1);
        assert_eq!(shard_of(-1), 1_023);
        assert_eq!(shard_of(i64::MIN), 0);
    }
}
