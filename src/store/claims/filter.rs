//! A set of keys that sometimes says yes for one it does not hold, and never no for one it does: a
//! split-block Bloom filter, two bytes a key, one cache line a question. Of keys it does not hold it
//! takes about one in a thousand for its own.

/// A hash over scope, key and recipient: its bits are already as good as random.
pub(super) type Key = [u8; 16];

/// Bytes of a block.
const BLOCK: usize = 32;
/// Keys for each block: sixteen bits a key.
const KEYS_A_BLOCK: usize = 16;
/// Odd numbers that spread a key over the eight words of its block.
const SALT: [u32; 8] = [
    0x47b6_137b,
    0x4497_4d91,
    0x8824_ad5b,
    0xa2b7_289d,
    0x7054_95c7,
    0x2df1_424b,
    0x9efc_4947,
    0x5c6b_fb31,
];

/// The set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Filter(Vec<[u32; 8]>);

impl Filter {
    /// Room for so many keys.
    pub(super) fn with_room(keys: usize) -> Self {
        Self(vec![[0; 8]; keys.div_ceil(KEYS_A_BLOCK).max(1)])
    }

    pub(super) fn add(&mut self, key: &Key) {
        let place = self.place(key);
        for (word, bit) in self.0[place].iter_mut().zip(mask(key)) {
            *word |= bit;
        }
    }

    /// Whether the key may be in the set.
    pub(super) fn may_hold(&self, key: &Key) -> bool {
        let block = &self.0[self.place(key)];
        block
            .iter()
            .zip(mask(key))
            .all(|(word, bit)| word & bit != 0)
    }

    /// The bytes to keep.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let words = self.0.iter().flatten();
        words.flat_map(|word| word.to_le_bytes()).collect()
    }

    /// The set that was kept; nothing where the bytes are none.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() || !bytes.len().is_multiple_of(BLOCK) {
            return None;
        }
        let blocks = bytes.chunks_exact(BLOCK).map(|block| {
            let mut words = [0; 8];
            for (word, bytes) in words.iter_mut().zip(block.chunks_exact(4)) {
                *word = u32::from_le_bytes(bytes.try_into().unwrap_or_default());
            }
            words
        });
        Some(Self(blocks.collect()))
    }

    fn place(&self, key: &Key) -> usize {
        let high = u128::from_be_bytes(*key) >> 64;
        let blocks = self.0.len() as u128;
        usize::try_from((high * blocks) >> 64).unwrap_or(0)
    }
}

/// One bit for each word of the block.
fn mask(key: &Key) -> [u32; 8] {
    let low = u32::from_be_bytes([key[8], key[9], key[10], key[11]]);
    SALT.map(|salt| 1 << (low.wrapping_mul(salt) >> 27))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};
    use ring::digest;

    use super::*;

    fn key(number: u32) -> Key {
        let hash = digest::digest(&digest::SHA256, &number.to_be_bytes());
        hash.as_ref()[..16].try_into().unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]
        #[test]
        fn no_key_is_denied(numbers in proptest::collection::hash_set(any::<u32>(), 0..2_000), room in 0_usize..3_000) {
            let mut filter = Filter::with_room(room);
            let numbers: HashSet<u32> = numbers;
            numbers.iter().for_each(|number| filter.add(&key(*number)));
            let kept = Filter::from_bytes(&filter.to_bytes()).unwrap();
            prop_assert_eq!(&kept, &filter);
            prop_assert!(numbers.iter().all(|number| kept.may_hold(&key(*number))));
        }
    }

    #[test]
    fn few_strangers_are_taken_for_its_own() {
        let mut filter = Filter::with_room(50_000);
        (0..50_000).for_each(|number| filter.add(&key(number)));
        let taken = (50_000..150_000).filter(|number| filter.may_hold(&key(*number)));
        assert!((1..300).contains(&taken.count()));
        assert_eq!(filter.to_bytes().len(), 100_000);
    }

    #[test]
    fn other_bytes_are_no_filter() {
        assert_eq!(Filter::from_bytes(&[]), None);
        assert_eq!(Filter::from_bytes(&[0; 33]), None);
    }
}
