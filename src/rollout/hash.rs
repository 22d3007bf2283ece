//! The hash that gives every key its bucket, and a generator for tests and random picks.

/// Buckets of a rollout: one is a basis point, a hundredth of a percent.
pub const BUCKETS: u16 = 10_000;

/// Hashes `bytes` behind `state`. Part of the configuration's meaning: the same on every worker,
/// node and version, for a user's bucket depends on it; it never changes.
///
/// Eight bytes at a time go through splitmix64's finalizer, which avalanches fully.
pub fn hash(state: u64, bytes: &[u8]) -> u64 {
    let mut state = state ^ (bytes.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        state = mix(state ^ u64::from_le_bytes(word));
    }
    let mut last = [0; 8];
    let rest = chunks.remainder();
    last[..rest.len()].copy_from_slice(rest);
    mix(mix(state ^ u64::from_le_bytes(last)))
}

/// splitmix64's step and finalizer (Steele, Lea, Flood 2014).
fn mix(word: u64) -> u64 {
    let mut word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// The bucket of a hash: 0 to 9999.
pub fn bucket(hash: u64) -> u16 {
    u16::try_from(hash % u64::from(BUCKETS)).unwrap_or(0)
}

/// A generator of numbers that a seed repeats: splitmix64. Not for secrets.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence of `seed`.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        let number = mix(self.0);
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        number
    }

    /// The next number from 0 to below 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit a double exactly")]
    pub fn unit(&mut self) -> f64 {
        (self.draw() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// The next number below `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.draw() % end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_s_bucket_never_changes() {
        let salt = hash(0, b"api");
        let buckets =
            ["alice", "bob", "0123456789abcdef", ""].map(|key| bucket(hash(salt, key.as_bytes())));
        assert_eq!(buckets, [6425, 5025, 6794, 5996]);
    }

    #[test]
    fn a_zero_more_is_another_key() {
        assert_ne!(hash(1, b"a"), hash(1, b"a\0"));
        assert_ne!(hash(1, b""), hash(1, b"\0"));
        assert_ne!(hash(1, b"12345678"), hash(1, b"12345678\0"));
    }

    #[test]
    fn buckets_are_even_and_salts_independent() {
        let (one, two) = (hash(0, b"one"), hash(0, b"two"));
        let mut both = 0;
        let mut first = 0;
        for number in 0..100_000 {
            let key = format!("user-{number}");
            let of = |salt| bucket(hash(salt, key.as_bytes())) < 1000;
            first += u32::from(of(one));
            both += u32::from(of(one) && of(two));
        }
        assert!((9_600..10_400).contains(&first), "{first}");
        assert!((850..1150).contains(&both), "a tenth of a tenth, not {both}");
    }
}
