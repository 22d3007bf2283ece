//! The sequential test that judges a canary against one limit: over it, and worse than stable.
//!
//! The operator writes a limit `L`: the share of requests that may be bad (`5xx_rate > 0.5%` has
//! L = 0.005; `p99 > 2s` has L = 0.01, bad being a request over 2 s). The rule "more than L in the
//! last minute" rolls a healthy canary back within half an hour nearly always, at any rate that
//! real services have, because it looks again and again. This test may be looked at for ever.
//!
//! # The procedure
//!
//! Two **e-processes** are kept. Each is a sum of bets that starts below 1, and under its null
//! hypothesis can only fall on average. By Ville's inequality the chance that such a process *ever*
//! reaches x is at most 1/x, however long it runs and whoever stops it when.
//!
//! **E2, worse than stable.** Its null: an error is as likely on the canary as on stable. Of the K
//! errors of an interval in which the canary had the share w of the requests, the canary's number k
//! is then hypergeometric, and for any convex function its mean is at most that of the binomial
//! (K, w) (Hoeffding 1963, theorem 4). A bet on "r times as likely" multiplies by
//! `(r D)^k D^(K-k)`, `D = 1 / (1 + w (r - 1))`: its binomial mean is `(D (1 + w (r - 1)))^K = 1`.
//! Where an interval ends depends on the numbers of requests alone, never on what became of them;
//! it is some requests long, or w would be mostly noise.
//!
//! **E1, over the limit.** Its null: the canary's share of bad requests is at most `g = L/2`. A bet
//! on the share p multiplies by `p/g` for a bad request and by `(1-p)/(1-g)` for a good one: its
//! mean is at most 1.
//!
//! Each process mixes three bets (r = 4, 10, 80; p = L, 2L, 20L), and each bet is not placed at
//! once: the i-th event brings `R(i-1) - R(i)` of it, so that there is always a fresh stake for a
//! canary that turns bad after a million good requests. All stakes of all bets add up to at most 1,
//! and a stake is placed before the interval that it bets on: that is the whole proof.
//!
//! The canary is rolled back where E2 >= 100, E1 >= 5, and three of its requests were bad, in an
//! interval that has a bad one. Rolling back a canary that is no worse than stable needs E2 >= 100:
//! at most 1 % over any duration. With both limits, that of failures needs 102 and that of latency
//! 5100, which has more room, for 1/102 + 1/5100 = 1 %; measured it is less than half
//! (`benches/rollout.rs`).
//! Where only E1 is high, stable is as bad as far as is known: the rollout holds and says so.
//!
//! Between L/2 and L lies the grey zone: no promise. With L = 0.5 %, stable at 0.1 % and 5 % of
//! the traffic, 30 000 canary requests roll back a canary at 0.25 % in 8 of 100 runs, at 0.3 % in
//! 23, at 0.35 % in 62, at 0.4 % in 93 (half of them within 4600 requests), and at L in all but a
//! few of 10 000 (half within 1900).

use serde::{Deserialize, Serialize};

/// E1 says from here that the canary is over its limit.
pub const OVER_AT: f64 = 5.0;
/// And until it is below this.
pub const OVER_UNTIL: f64 = 1.0;
/// Fewer bad requests than this never roll back.
pub const LEAST_BAD: u64 = 3;

/// "So many times as likely to be bad as stable", and the stake on it.
const RATIOS: [(f64, f64); 3] = [(4.0, 0.08), (10.0, 0.69), (80.0, 0.23)];
/// "So many times the limit", and the stake on it.
const MULTIPLES: [(f64, f64); 3] = [(1.0, 0.3), (2.0, 0.5), (20.0, 0.2)];
/// An interval that is compared has so many requests at least, and one of either side.
const LEAST_COMPARED: u64 = 12;
/// And so many times the canary's share: 40 where the canary has a half.
const LEAST_A_WEIGHT: u64 = 80;
/// Looks that one side's requests wait for the other's. Old ones are not compared with new ones:
/// what hits both sides alike would seem to hit one.
const LONGEST_WAIT: u8 = 20;
/// Of a stake: what the first event leaves for later, and how fast that is spent (E2, E1).
const KEPT_WORSE: (f64, f64) = (0.05, 1.0);
const KEPT_OVER: (f64, f64) = (0.2, 0.5);
/// No bet is on a share above this.
const GREATEST_SHARE: f64 = 0.6;
/// A process stays finite; far above every threshold.
const CEILING: f64 = 1e200;

/// A limit as the test sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    /// L: the share of requests that may be bad; above 0, at most a half.
    pub share: f64,
    /// E2 rolls back from here. The chance that this limit alone ever rolls back a canary that is
    /// no worse than stable is at most one in so many; those of all limits add up to 1 % at most.
    pub worse_at: f64,
}

impl Limit {
    /// The limits of failures and of latency, each where there is one, for one of `canaries`
    /// canaries: the chances of a false alarm add up to 1 % a rollout.
    pub fn both(
        failures: Option<f64>,
        latency: Option<f64>,
        canaries: u8,
    ) -> (Option<Self>, Option<Self>) {
        let canaries = f64::from(canaries.max(1));
        let [first, second] = match (failures, latency) {
            (Some(_), Some(_)) => [102.0, 5100.0],
            _ => [100.0, 100.0],
        };
        let limit = |share: Option<f64>, worse_at: f64| {
            share.map(|share| Self { share, worse_at: worse_at * canaries })
        };
        (limit(failures, first), limit(latency, second))
    }
}

/// Requests that ended, and those of them that were bad. `bad` is at most `requests`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// All of them.
    pub requests: u64,
    /// Those that the limit counts.
    pub bad: u64,
}

impl Counts {
    /// Those since `earlier`, which counted the same; nothing where that was more.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        let requests = self.requests.saturating_sub(earlier.requests);
        Self { requests, bad: self.bad.saturating_sub(earlier.bad).min(requests) }
    }

    /// Adds `more`.
    pub fn add(&mut self, more: Self) {
        self.requests += more.requests;
        self.bad += more.bad;
    }
}

/// What happened between two looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interval {
    /// Stable's requests that fell to it by weight.
    pub stable: Counts,
    /// The canary's requests that fell to it by weight: the same population.
    pub canary: Counts,
    /// All the canary's requests, also those that asked for it by header, cookie or rule.
    pub all: Counts,
}

/// What is known of a canary against one limit: six floats, and counts for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Test {
    worse: [f64; 3],
    over: [f64; 3],
    /// Bad requests of both sides that E2 has seen.
    errors: u64,
    /// The canary's requests that E1 has seen.
    trials: u64,
    /// Requests by weight, stable's and the canary's, that are not yet enough to be compared.
    pending: (Counts, Counts),
    /// Looks since one of the two had none.
    waited: u8,
    /// E1 was high, and has not come down.
    is_over: bool,
    /// By weight, stable.
    pub stable: Counts,
    /// By weight, the canary.
    pub canary: Counts,
}

/// What a test says now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing against the canary.
    Fine,
    /// The canary is over the limit, and not shown to be worse than stable: hold.
    OverLimit,
    /// Worse than stable and over the limit.
    RollBack,
}

impl Test {
    /// Takes in an interval, judged against `limit`.
    pub fn step(&mut self, limit: &Limit, interval: &Interval) -> Verdict {
        self.step_over(limit.share, interval.all);
        self.stable.add(interval.stable);
        self.canary.add(interval.canary);
        self.pending.0.add(interval.stable);
        self.pending.1.add(interval.canary);
        let canary_was_bad = self.compare();
        self.is_over = self.over() >= if self.is_over { OVER_UNTIL } else { OVER_AT };
        let is_worse = self.worse() >= limit.worse_at && self.canary.bad >= LEAST_BAD;
        match (self.is_over, is_worse) {
            (true, true) if canary_was_bad && self.over() >= OVER_AT => Verdict::RollBack,
            (true, _) => Verdict::OverLimit,
            (false, _) => Verdict::Fine,
        }
    }

    /// E1: how strongly the canary is over the limit.
    pub fn over(&self) -> f64 {
        self.over.iter().sum()
    }

    /// E2: how strongly the canary is worse than stable.
    pub fn worse(&self) -> f64 {
        self.worse.iter().sum()
    }

    fn step_over(&mut self, limit: f64, all: Counts) {
        if all.requests == 0 {
            return;
        }
        let null = limit / 2.0;
        let stake = left(self.trials, KEPT_OVER) - left(self.trials + all.requests, KEPT_OVER);
        let good = all.requests - all.bad;
        for (wealth, (multiple, weight)) in self.over.iter_mut().zip(MULTIPLES) {
            let share = (multiple * limit).min(GREATEST_SHARE);
            let growth = growth((share / null, all.bad), ((1.0 - share) / (1.0 - null), good));
            *wealth = ((*wealth + weight * stake) * growth).min(CEILING);
        }
        self.trials += all.requests;
    }

    /// Compares what is pending, once it is enough; whether the canary had bad requests in it.
    fn compare(&mut self) -> bool {
        let (stable, canary) = self.pending;
        let requests = stable.requests + canary.requests;
        let too_few =
            requests < LEAST_COMPARED || requests * requests < LEAST_A_WEIGHT * canary.requests;
        let is_one_sided = stable.requests == 0 || canary.requests == 0;
        self.waited = if is_one_sided && requests > 0 { self.waited + 1 } else { 0 };
        if self.waited > LONGEST_WAIT {
            (self.pending, self.waited) = Default::default();
        }
        if is_one_sided || too_few {
            return false;
        }
        self.pending = Default::default();
        let errors = stable.bad + canary.bad;
        if errors == 0 {
            return false;
        }
        let share = float(canary.requests) / float(requests);
        let stake = left(self.errors, KEPT_WORSE) - left(self.errors + errors, KEPT_WORSE);
        for (wealth, (times, weight)) in self.worse.iter_mut().zip(RATIOS) {
            let each = 1.0 / (1.0 + share * (times - 1.0));
            let growth = growth((times * each, canary.bad), (each, stable.bad));
            *wealth = ((*wealth + weight * stake) * growth).min(CEILING);
        }
        self.errors += errors;
        canary.bad > 0
    }
}

/// R(i): the part of a stake that is not yet placed after `events` of them.
fn left(events: u64, (kept, pace): (f64, f64)) -> f64 {
    if events == 0 { 1.0 } else { kept / (1.0 + pace * float(events).ln_1p()) }
}

/// The product of two powers, by their logarithms where one alone could leave a double's range.
fn growth((one, ones): (f64, u64), (other, others): (f64, u64)) -> f64 {
    match (i32::try_from(ones), i32::try_from(others)) {
        (Ok(ones @ ..64), Ok(others @ ..64)) => one.powi(ones) * other.powi(others),
        _ => (float(ones) * one.ln() + float(others) * other.ln()).exp(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests;
