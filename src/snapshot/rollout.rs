//! `rollout` blocks, compiled: how a variant is picked, and where each goes.

use crate::metrics::IntCounter;
use crate::rollout::Entry;
use crate::rollout::{Assign, REASONS};
use crate::upstream::Group;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// A compiled `rollout` block.
#[derive(Debug)]
pub struct Rollout {
    /// Its name.
    pub name: Box<str>,
    /// How it picks.
    pub assign: Assign,
    /// Stable, then the canaries.
    pub variants: Box<[Variant]>,
    /// The field that tells HTTP upstreams the label: the first `header NAME`, or
    /// `X-Canary-Version`.
    pub header: Bytes,
    /// `sticky cookie`.
    pub cookie: Option<Cookie>,
    /// `retry_on_stable`.
    pub retries: Option<Budget>,
    /// What outlives configurations, and what control changes.
    pub live: Arc<Entry>,
}

/// A variant of a rollout.
#[derive(Debug)]
pub struct Variant {
    /// `version=`.
    pub label: Bytes,
    /// The upstream's name as it is written.
    pub upstream: Bytes,
    /// Its peers.
    pub group: Arc<Group>,
    /// How often it was chosen, by reason: in the order of [`REASONS`].
    pub decisions: [IntCounter; REASONS.len()],
}

/// What a `sticky cookie` is issued with.
#[derive(Debug)]
pub struct Cookie {
    /// Its name.
    pub name: Box<str>,
    /// What follows its value: `; Path=/; Max-Age=…`.
    pub attributes: Box<str>,
}

/// How many requests stable may answer for failing canaries: one in ten of the rollout's, so that
/// what fails cannot multiply the load on what works.
#[derive(Debug)]
pub struct Budget(AtomicU32);

impl Budget {
    /// What a retry costs; a request earns 1.
    const PRICE: u32 = 10;
    /// What may be saved: a burst of 100 retries.
    const MOST: u32 = 100 * Self::PRICE;

    /// A budget for the first ten retries.
    pub const fn new() -> Self {
        Self(AtomicU32::new(10 * Self::PRICE))
    }

    /// A request has come.
    pub fn earn(&self) {
        let more = |it: u32| (it < Self::MOST).then_some(it + 1);
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    /// Takes one retry out of the budget; false where there is none left.
    pub fn spend(&self) -> bool {
        let less = |it: u32| it.checked_sub(Self::PRICE);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new()
    }
}

impl Rollout {
    /// The number of the variant called `label`.
    pub fn labelled(&self, label: &[u8]) -> Option<u8> {
        let number = self.variants.iter().position(|it| it.label == label)?;
        u8::try_from(number).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_ten_is_retried_and_a_burst_at_most() {
        let budget = Budget::new();
        let spend = |budget: &Budget| std::iter::from_fn(|| budget.spend().then_some(())).count();
        assert_eq!(spend(&budget), 10);
        (0..100).for_each(|_| budget.earn());
        assert_eq!(spend(&budget), 10);
        (0..100_000).for_each(|_| budget.earn());
        assert_eq!(spend(&budget), 100);
    }
}
