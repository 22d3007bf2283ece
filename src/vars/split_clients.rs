//! `split_clients`: a share of all keys by MurmurHash2, as nginx computes it.

use super::template::Template;

/// A compiled `split_clients` block.
#[derive(Debug)]
pub struct Split {
    /// What is hashed.
    pub source: Template,
    /// Upper bounds of the hash (exclusive; `None` is the rest) and results, in order.
    pub parts: Vec<(Option<u32>, Template)>,
}

impl Split {
    /// Bounds from shares in basis points; nginx adds up `percent * 0xffffffff / 10000`.
    pub fn new(source: Template, shares: Vec<(Option<u32>, Template)>) -> Self {
        let mut sum = 0u32;
        let parts = shares
            .into_iter()
            .map(|(share, value)| {
                let bound = share.map(|points| {
                    let part = u64::from(points) * 0xffff_ffff / 10_000;
                    sum = sum.wrapping_add(u32::try_from(part).unwrap_or(u32::MAX));
                    sum
                });
                (bound, value)
            })
            .collect();
        Self { source, parts }
    }

    /// The result for a key; `None` where no part holds it (nginx: an unset variable).
    pub fn pick(&self, key: &[u8]) -> Option<&Template> {
        let hash = murmur2(key);
        self.parts.iter().find(|(bound, _)| bound.is_none_or(|it| hash < it)).map(|(_, it)| it)
    }
}

/// Austin Appleby's MurmurHash2 with seed `len`, as nginx's `ngx_murmur_hash2`.
pub fn murmur2(bytes: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let mut chunks = bytes.chunks_exact(4);
    for chunk in &mut chunks {
        let mut k = u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]).wrapping_mul(M);
        k = (k ^ (k >> 24)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        for (index, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_and_the_rest_gets_the_rest() {
        let part = |share, name: &str| (share, Template::literal(name));
        let split = Split::new(
            Template::literal(""),
            vec![part(Some(2000), "a"), part(Some(3000), "b"), part(None, "c")],
        );
        let mut counts = [0u32; 3];
        for number in 0..10_000 {
            let picked = split.pick(format!("user{number}").as_bytes()).map(Template::text);
            counts[["a", "b", "c"].iter().position(|it| Some(*it) == picked).unwrap()] += 1;
        }
        assert!((1800..2200).contains(&counts[0]), "{counts:?}");
        assert!((2800..3200).contains(&counts[1]), "{counts:?}");
    }

    #[test]
    fn hashes_are_murmur2() {
        assert_eq!(murmur2(b""), 0);
        assert_ne!(murmur2(b"a"), murmur2(b"b"));
    }
}
