//! The test at its edges, its proof by exact sums, and a fast part of its simulation.

use super::*;
use crate::rollout::hash::Random;
use crate::rollout::simulation::{Rates, World, requests_until_rollback, rolls_back_within};

const LIMIT: Limit = Limit { share: 0.005, worse_at: 102.0 };

fn counts(requests: u64, bad: u64) -> Counts {
    Counts { requests, bad }
}

fn look(test: &mut Test, stable: Counts, canary: Counts) -> Verdict {
    test.step(&LIMIT, &Interval { stable, canary, all: canary })
}

#[test]
fn no_data_never_fires_and_changes_nothing() {
    let mut test = Test::default();
    for _ in 0..100_000 {
        assert_eq!(look(&mut test, counts(0, 0), counts(0, 0)), Verdict::Fine);
    }
    assert_eq!(test, Test::default());
}

#[test]
fn an_outage_of_all_traffic_or_of_one_side_never_fires() {
    let mut test = Test::default();
    for _ in 0..10_000 {
        look(&mut test, counts(95, 0), counts(5, 0));
    }
    for _ in 0..10_000 {
        assert_eq!(look(&mut test, counts(0, 0), counts(0, 0)), Verdict::Fine);
        assert_eq!(look(&mut test, counts(100, 1), counts(0, 0)), Verdict::Fine);
    }
    for _ in 0..=LONGEST_WAIT {
        look(&mut test, counts(0, 0), counts(0, 0));
    }
    // Without stable's traffic (a canary of 100 %) there is nothing to be worse than.
    for _ in 0..1_000 {
        assert_ne!(look(&mut test, counts(0, 0), counts(100, 50)), Verdict::RollBack);
    }
}

#[test]
fn a_canary_that_fails_is_rolled_back_at_its_third_failure() {
    let mut test = Test::default();
    for _ in 0..2 {
        assert_eq!(look(&mut test, counts(19, 0), counts(1, 1)), Verdict::OverLimit);
    }
    assert_eq!(look(&mut test, counts(19, 0), counts(1, 1)), Verdict::RollBack);
}

#[test]
fn what_was_long_ago_is_not_compared_with_now() {
    let mut test = Test::default();
    for _ in 0..10_000 {
        look(&mut test, counts(100, 0), counts(0, 0));
    }
    // Both turn bad at once, with the canary's first requests for long.
    for _ in 0..100 {
        assert_ne!(look(&mut test, counts(95, 50), counts(5, 3)), Verdict::RollBack);
    }
}

#[test]
fn being_over_ends_well_below_where_it_begins() {
    let mut test = Test::default();
    let mut verdicts = vec![look(&mut test, counts(95, 9), counts(5, 1))];
    while test.over() >= OVER_UNTIL {
        verdicts.push(look(&mut test, counts(95, 0), counts(5, 0)));
    }
    assert!(verdicts.len() > 3 && verdicts.pop() == Some(Verdict::Fine));
    assert!(verdicts.iter().all(|it| *it == Verdict::OverLimit));
}

#[test]
fn a_baseline_that_is_as_bad_holds() {
    let mut test = Test::default();
    let mut verdict = Verdict::Fine;
    for _ in 0..200 {
        verdict = look(&mut test, counts(950, 190), counts(50, 10));
        assert_ne!(verdict, Verdict::RollBack);
    }
    assert_eq!(verdict, Verdict::OverLimit);
    assert!(test.over() >= OVER_AT && test.worse() < 100.0);
}

#[test]
fn testers_who_ask_by_header_are_judged_but_not_compared() {
    let mut test = Test::default();
    let mut verdict = Verdict::Fine;
    for _ in 0..100 {
        let interval = Interval { stable: counts(95, 0), canary: counts(5, 0), all: counts(10, 5) };
        verdict = test.step(&LIMIT, &interval);
        assert_ne!(verdict, Verdict::RollBack);
    }
    assert_eq!((verdict, test.canary), (Verdict::OverLimit, counts(500, 0)));
}

#[test]
fn looks_that_hold_thousands_of_requests_neither_overflow_nor_underflow() {
    let mut test = Test::default();
    for _ in 0..1000 {
        look(&mut test, counts(9_500_000, 9500), counts(500_000, 500));
    }
    assert!(test.worse().is_finite() && test.worse() < 100.0, "{test:?}");
    let verdict = look(&mut test, counts(9_500_000, 9500), counts(500_000, 400_000));
    assert_eq!(verdict, Verdict::RollBack);
    assert!(test.worse().is_finite() && test.over().is_finite());
}

#[test]
fn the_state_survives_json() {
    let mut test = Test::default();
    look(&mut test, counts(1000, 3), counts(50, 2));
    look(&mut test, counts(3, 0), counts(1, 1));
    let json = serde_json::to_string(&test).unwrap();
    assert_eq!(serde_json::from_str::<Test>(&json).unwrap(), test);
}

#[test]
fn the_chances_of_false_alarms_add_up_to_one_percent() {
    let sum = |(a, b): (Option<Limit>, Option<Limit>)| {
        [a, b].into_iter().flatten().map(|it| 1.0 / it.worse_at).sum::<f64>()
    };
    assert!(sum(Limit::both(Some(0.005), Some(0.01), 1)) <= 0.01);
    assert!(sum(Limit::both(Some(0.005), None, 1)) <= 0.01);
    assert!(sum(Limit::both(None, Some(0.01), 1)) <= 0.01);
    assert!(4.0 * sum(Limit::both(Some(0.005), Some(0.01), 4)) <= 0.01);
    assert_eq!(Limit::both(None, None, 1), (None, None));
}

/// The mean of E2 and of E1 under their nulls stays below what was staked: the heart of the proof,
/// by exact sums over all outcomes of an interval.
#[test]
fn under_the_null_a_look_wins_nothing_on_average() {
    // Two of 40 requests are bad, 10 are the canary's: hypergeometric.
    let (requests, canary, errors) = (40u64, 10u64, 2u64);
    let choose = |n: u64, k: u64| (0..k).fold(1.0, |it, i| it * float(n - i) / float(i + 1));
    let all = choose(requests, errors);
    let mut mean = 0.0;
    for bad in 0..=errors {
        let chance = choose(canary, bad) * choose(requests - canary, errors - bad) / all;
        let mut test = Test::default();
        look(&mut test, counts(requests - canary, errors - bad), counts(canary, bad));
        mean += chance * test.worse();
    }
    let staked = 1.0 - left(errors, KEPT_WORSE);
    assert!(mean <= staked + 1e-12, "{mean} of {staked}");
    // A canary exactly at L/2: binomial.
    let null = LIMIT.share / 2.0;
    let mean: f64 = (0..=50)
        .map(|bad| {
            let chance = choose(50, bad)
                * null.powi(i32::try_from(bad).unwrap())
                * (1.0 - null).powi(i32::try_from(50 - bad).unwrap());
            let mut test = Test::default();
            look(&mut test, counts(0, 0), counts(50, bad));
            chance * test.over()
        })
        .sum();
    let staked = 1.0 - left(50, KEPT_OVER);
    assert!((mean - staked).abs() < 1e-9, "{mean} of {staked}");
}

fn world(stable: f64, canary: f64) -> World {
    World { limit: LIMIT, weight: 0.05, rates: Rates { stable, canary }, change: None }
}

fn median(world: &World, runs: u64) -> u64 {
    let mut all: Vec<u64> = (0..runs)
        .map(|seed| {
            requests_until_rollback(world, 20_000, &mut Random::new(seed)).unwrap_or(u64::MAX)
        })
        .collect();
    all.sort_unstable();
    all[all.len() / 2]
}

/// A fast part of `cargo bench --bench rollout`, which has thousands of runs for each line.
#[test]
fn bad_canaries_are_found_in_time() {
    for (canary, most) in [(0.01, 430), (0.05, 75), (0.2, 17), (1.0, 3)] {
        let found = median(&world(0.001, canary), 100);
        assert!(found <= most, "a canary of {canary}: {found} requests, not {most}");
    }
    let healthy = Rates { stable: 0.001, canary: 0.001 };
    let change = Some((10_000, Rates { stable: 0.001, canary: 1.0 }));
    let late = World { rates: healthy, change, ..world(0.0, 0.0) };
    assert!(median(&late, 20) <= 8, "the guard sleeps after 10000 healthy requests");
}

#[test]
fn canaries_like_stable_stay() {
    let limits = Limit::both(Some(0.005), Some(0.01), 1);
    for rate in [0.001, 0.006, 0.02] {
        let of = |limit: Option<Limit>| World { limit: limit.unwrap(), ..world(rate, rate) };
        let worlds = [of(limits.0), of(limits.1)];
        let alarms = (0..150)
            .filter(|seed| rolls_back_within(&worlds, 1800, 100.0, &mut Random::new(*seed)))
            .count();
        // At a true chance of 0.5 % more than 5 of 150 come once in 8000 times.
        assert!(alarms <= 5, "{alarms} of 150 at {rate}");
    }
}

#[test]
fn the_chances_of_false_alarms_add_up_to_one_in_a_hundred() {
    for canaries in [1, 2, 15] {
        let (failures, slow) = Limit::both(Some(0.005), Some(0.01), canaries);
        let of = |it: Option<Limit>| f64::from(canaries) / it.unwrap().worse_at;
        let sum = of(failures) + of(slow);
        assert!(sum <= 0.01 + 1e-12 && sum > 0.0099, "{sum}");
        let (alone, none) = Limit::both(Some(0.005), None, canaries);
        assert!((of(alone) - 0.01).abs() < 1e-12 && none.is_none());
    }
}
