//! The simulation that ships with the project: what the test of [`super::analysis`] does over
//! thousands of seeded runs. `cargo bench --bench rollout` prints its table and checks its limits.
//!
//! Arrivals are Poisson, errors are independent. Where detection is measured a run looks after each
//! canary request, so that medians count requests and not looks; where false alarms are, once a
//! second.

use super::analysis::{Counts, Interval, Limit, Test, Verdict};
use super::hash::Random;

/// The shares of requests that are bad, before and after a change.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// Stable's.
    pub stable: f64,
    /// The canary's.
    pub canary: f64,
}

/// One world that a canary may live in.
#[derive(Clone, Copy, Debug)]
pub struct World {
    /// The limit that it is judged by.
    pub limit: Limit,
    /// The canary's share of requests.
    pub weight: f64,
    /// At the beginning.
    pub rates: Rates,
    /// After so many canary requests.
    pub change: Option<(u64, Rates)>,
}

impl World {
    fn rates_at(&self, canary_requests: u64) -> Rates {
        match self.change {
            Some((after, rates)) if canary_requests >= after => rates,
            _ => self.rates,
        }
    }
}

/// How many canary requests, counted from the change where there is one, until the rollback; none
/// where `most` requests brought none. Looks after every canary request.
pub fn requests_until_rollback(world: &World, most: u64, random: &mut Random) -> Option<u64> {
    let mut test = Test::default();
    let stable_each = (1.0 - world.weight) / world.weight;
    let from = world.change.map_or(0, |it| it.0);
    for request in 0..most + from {
        let rates = world.rates_at(request);
        let stable = counts(poisson(stable_each, random), rates.stable, random);
        let canary = counts(1, rates.canary, random);
        let interval = Interval { stable, canary, all: canary };
        if test.step(&world.limit, &interval) == Verdict::RollBack {
            return Some((request + 1).saturating_sub(from));
        }
    }
    None
}

/// Whether any of the limits of `worlds`, which share their arrivals' rate and weight, rolls back
/// within `seconds` at `per_minute` canary requests; one look a second. Bad requests of one limit
/// are independent of those of another.
pub fn rolls_back_within(
    worlds: &[World],
    seconds: u64,
    per_minute: f64,
    random: &mut Random,
) -> bool {
    let mut tests = vec![Test::default(); worlds.len()];
    let per_second = per_minute / 60.0;
    let mut seen = 0;
    for _ in 0..seconds {
        let canary_requests = poisson(per_second, random);
        seen += canary_requests;
        for (test, world) in tests.iter_mut().zip(worlds) {
            let rates = world.rates_at(seen);
            let each = per_second * (1.0 - world.weight) / world.weight;
            let stable_bad = poisson(each * rates.stable, random);
            let stable =
                Counts { requests: (each.round() as u64).max(stable_bad), bad: stable_bad };
            let canary = counts(canary_requests, rates.canary, random);
            let interval = Interval { stable, canary, all: canary };
            if test.step(&world.limit, &interval) == Verdict::RollBack {
                return true;
            }
        }
    }
    false
}

/// `requests` of which each is bad with chance `rate`.
fn counts(requests: u64, rate: f64, random: &mut Random) -> Counts {
    if rate >= 1.0 {
        return Counts { requests, bad: requests };
    }
    let bad = (0..requests).filter(|_| random.unit() < rate).count() as u64;
    Counts { requests, bad }
}

/// A Poisson number (Knuth's product, in pieces that do not underflow).
fn poisson(mean: f64, random: &mut Random) -> u64 {
    let mut count = 0;
    let mut left = mean;
    while left > 0.0 {
        let piece = left.min(500.0);
        left -= piece;
        let floor = (-piece).exp();
        let mut product = random.unit();
        while product > floor {
            product *= random.unit();
            count += 1;
        }
    }
    count
}
