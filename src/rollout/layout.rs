//! Which variant owns which bucket. Raising a weight only takes buckets from stable, lowering it
//! only gives them back: nobody moves from one canary to another, and nobody's variant flips while
//! a weight only grows.

use super::hash::BUCKETS;
use std::sync::atomic::{AtomicU8, AtomicU16, Ordering};

/// What owns a bucket that no canary has.
pub const STABLE: u8 = 0;
/// Variants of a rollout at most: stable and 15 canaries.
pub const MOST_VARIANTS: usize = 16;

/// The owners of all buckets: 0 is stable, 1 the first canary. Workers read one byte a request;
/// one thread writes, and what it changes is right bucket by bucket at any moment.
///
/// The first canary takes the lowest buckets, the second the highest, so that for two the layout
/// follows from the weights alone, on every node. No such rule exists for three (what the second
/// and the third may have would have to be the same set); they begin in the middle, take what is
/// free, and where their way there matters the journal keeps the layout.
#[derive(Debug)]
pub struct Layout {
    owners: Box<[AtomicU8]>,
    /// How many buckets each variant has, counted once a change: requests ask for it.
    shares: [AtomicU16; MOST_VARIANTS],
}

impl Default for Layout {
    fn default() -> Self {
        Self::of((0..BUCKETS).map(|_| STABLE))
    }
}

impl Clone for Layout {
    fn clone(&self) -> Self {
        Self::of(self.owners.iter().map(|it| it.load(Ordering::Relaxed)))
    }
}

impl Layout {
    fn of(owners: impl Iterator<Item = u8>) -> Self {
        let layout =
            Self { owners: owners.map(AtomicU8::new).collect(), shares: Default::default() };
        layout.count_shares();
        layout
    }

    /// The share of `variant` in basis points, as of the last change.
    #[inline]
    pub fn share(&self, variant: u8) -> u16 {
        self.shares.get(usize::from(variant)).map_or(0, |it| it.load(Ordering::Relaxed))
    }

    fn count_shares(&self) {
        let mut counts = [0u16; MOST_VARIANTS];
        for bucket in &self.owners {
            if let Some(count) = counts.get_mut(usize::from(bucket.load(Ordering::Relaxed))) {
                *count += 1;
            }
        }
        for (share, count) in self.shares.iter().zip(counts) {
            share.store(count, Ordering::Relaxed);
        }
    }

    /// The variant that owns `bucket`.
    #[inline]
    pub fn owner(&self, bucket: u16) -> u8 {
        self.owners[usize::from(bucket)].load(Ordering::Relaxed)
    }

    /// Gives canary number `index + 1` the share `weights[index]` in basis points. What does not
    /// fit beside the others stays stable's; canaries without a weight lose theirs.
    pub fn set(&self, weights: &[u16]) {
        let canaries = u8::try_from(weights.len()).unwrap_or(u8::MAX - 1) + 1;
        for bucket in &self.owners {
            if bucket.load(Ordering::Relaxed) >= canaries {
                bucket.store(STABLE, Ordering::Relaxed);
            }
        }
        let shares = || (1..canaries).zip(weights);
        for (canary, weight) in shares() {
            let surplus = self.count(canary).saturating_sub(usize::from(*weight));
            self.pass_on(order(canary).rev(), canary, STABLE, surplus);
        }
        for (canary, weight) in shares() {
            let missing = usize::from(*weight).saturating_sub(self.count(canary));
            self.pass_on(order(canary), STABLE, canary, missing);
        }
        self.count_shares();
    }

    /// How many buckets `variant` owns: its share in basis points.
    pub fn count(&self, variant: u8) -> usize {
        self.owners.iter().filter(|it| it.load(Ordering::Relaxed) == variant).count()
    }

    /// The owners as runs of (variant, length), for the journal.
    pub fn runs(&self) -> Vec<(u8, u16)> {
        let mut runs: Vec<(u8, u16)> = Vec::new();
        for bucket in &self.owners {
            let owner = bucket.load(Ordering::Relaxed);
            match runs.last_mut() {
                Some((variant, length)) if *variant == owner => *length += 1,
                _ => runs.push((owner, 1)),
            }
        }
        runs
    }

    /// Takes the owners from `runs`; what they do not name is stable's.
    pub fn restore(&self, runs: &[(u8, u16)]) {
        let owners = runs.iter().flat_map(|(owner, length)| (0..*length).map(move |_| *owner));
        for (bucket, owner) in self.owners.iter().zip(owners.chain(std::iter::repeat(STABLE))) {
            bucket.store(owner, Ordering::Relaxed);
        }
        self.count_shares();
    }

    /// Gives the first `count` buckets in `order` that are `from`'s to `to`.
    fn pass_on(&self, order: impl Iterator<Item = u16>, from: u8, to: u8, count: usize) {
        let owned = order.map(|it| &self.owners[usize::from(it)]);
        for bucket in owned.filter(|it| it.load(Ordering::Relaxed) == from).take(count) {
            bucket.store(to, Ordering::Relaxed);
        }
    }
}

/// The order in which a canary takes buckets, and in reverse gives them back.
fn order(canary: u8) -> impl DoubleEndedIterator<Item = u16> {
    // Golden-ratio steps keep later canaries apart from both ends and from one another.
    let start = if canary < 3 { 0 } else { u16::from(canary - 2) * 3820 % BUCKETS };
    (0..BUCKETS).map(move |step| match canary {
        2 => BUCKETS - 1 - step,
        _ => (start + step) % BUCKETS,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::hash::Random;
    use proptest::prelude::*;

    fn owners(layout: &Layout) -> Vec<u8> {
        (0..BUCKETS).map(|it| layout.owner(it)).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]

        #[test]
        fn buckets_move_between_stable_and_one_canary_only(seed in any::<u64>()) {
            let mut random = Random::new(seed);
            let layout = Layout::default();
            let mut weights = [0u16; 4];
            for _ in 0..30 {
                let before = owners(&layout);
                let old = weights;
                let canary = usize::try_from(random.below(4)).unwrap();
                let others: u16 = weights.iter().sum::<u16>() - weights[canary];
                let room = u64::from(BUCKETS - others);
                weights[canary] = u16::try_from(random.below(room + 1)).unwrap();
                layout.set(&weights);
                for (index, weight) in weights.iter().enumerate() {
                    let number = u8::try_from(index).unwrap() + 1;
                    prop_assert_eq!(layout.count(number), usize::from(*weight));
                    prop_assert_eq!(layout.share(number), *weight);
                }
                let number = u8::try_from(canary).unwrap() + 1;
                for (was, is) in before.into_iter().zip(owners(&layout)) {
                    let grew = was == STABLE && is == number && weights[canary] > old[canary];
                    let shrank = was == number && is == STABLE && weights[canary] < old[canary];
                    prop_assert!(was == is || grew || shrank, "{} became {}", was, is);
                }
            }
            let copy = Layout::default();
            copy.restore(&layout.runs());
            prop_assert_eq!(owners(&copy), owners(&layout));
        }

        #[test]
        fn two_canaries_lie_the_same_whatever_came_before(seed in any::<u64>()) {
            let mut random = Random::new(seed);
            let (wandered, direct) = (Layout::default(), Layout::default());
            let mut weights = [0; 2];
            for _ in 0..20 {
                let first = random.below(u64::from(BUCKETS) + 1);
                let second = random.below(u64::from(BUCKETS) - first + 1);
                weights = [first, second].map(|it| u16::try_from(it).unwrap());
                wandered.set(&weights);
            }
            direct.set(&weights);
            prop_assert_eq!(owners(&wandered), owners(&direct));
        }
    }

    #[test]
    fn zero_is_no_traffic_and_all_is_all() {
        let layout = Layout::default();
        layout.set(&[0]);
        assert_eq!(layout.runs(), [(STABLE, BUCKETS)]);
        layout.set(&[BUCKETS]);
        assert_eq!(layout.runs(), [(1, BUCKETS)]);
        layout.set(&[]);
        assert_eq!(layout.runs(), [(STABLE, BUCKETS)]);
    }

    #[test]
    fn what_does_not_fit_stays_stable_s() {
        let layout = Layout::default();
        layout.set(&[6000, 6000]);
        assert_eq!((layout.count(1), layout.count(2)), (6000, 4000));
    }

    #[test]
    fn runs_of_another_length_do_no_harm() {
        let layout = Layout::default();
        layout.restore(&[(1, 9_000), (2, 9_000)]);
        assert_eq!((layout.count(1), layout.count(2)), (9_000, 1_000));
        layout.restore(&[]);
        assert_eq!(layout.count(STABLE), 10_000);
    }
}
