//! Tests of the leaky bucket, on a clock that the test turns.

use super::*;

fn zone() -> Arc<Rates> {
    Arc::new(Rates::new("z", 65_536))
}

/// A rule of `rate` requests a second; `burst` and `delay` in requests.
fn rule<'a>(zone: &'a Arc<Rates>, key: &'a str, rate: u64, burst: u64, delay: u64) -> Rule<'a> {
    let key = Some(key.as_bytes()).filter(|it| !it.is_empty());
    Rule { zone, key, rate: rate * 1000, burst: burst * 1000, delay: delay.saturating_mul(1000) }
}

#[test]
fn without_a_burst_a_request_comes_each_interval() {
    let zone = zone();
    let at = |ms| weigh(&[rule(&zone, "k", 10, 0, 0)], ms);
    assert_eq!(at(5), Verdict::Pass);
    assert_eq!(at(5), Verdict::Reject { excess: 1000, rule: 0 });
    assert_eq!(at(104), Verdict::Reject { excess: 10, rule: 0 });
    // What was refused has cost nothing.
    assert_eq!(at(105), Verdict::Pass);
    assert_eq!(at(204), Verdict::Reject { excess: 10, rule: 0 });
    assert_eq!(at(9000), Verdict::Pass);
    assert_eq!(at(9000), Verdict::Reject { excess: 1000, rule: 0 });
}

#[test]
fn a_burst_waits_its_turn() {
    let zone = zone();
    let at = |ms| weigh(&[rule(&zone, "k", 10, 2, 0)], ms);
    assert_eq!(at(0), Verdict::Pass);
    assert_eq!(at(0), Verdict::Delay { ms: 100, excess: 1000, rule: 0 });
    assert_eq!(at(0), Verdict::Delay { ms: 200, excess: 2000, rule: 0 });
    assert_eq!(at(0), Verdict::Reject { excess: 3000, rule: 0 });
    assert_eq!(at(50), Verdict::Reject { excess: 2500, rule: 0 });
    assert_eq!(at(150), Verdict::Delay { ms: 150, excess: 1500, rule: 0 });
    assert_eq!(weigh(&[rule(&zone, "other", 10, 2, 0)], 150), Verdict::Pass);
}

#[test]
fn part_of_a_burst_or_all_of_it_may_come_at_once() {
    let zone = zone();
    let at = |ms| weigh(&[rule(&zone, "k", 10, 3, 1)], ms);
    assert_eq!(at(0), Verdict::Pass);
    assert_eq!(at(0), Verdict::Pass);
    assert_eq!(at(0), Verdict::Delay { ms: 100, excess: 2000, rule: 0 });
    let nodelay = |ms| weigh(&[rule(&zone, "n", 10, 1, u64::MAX)], ms);
    assert_eq!([nodelay(0), nodelay(0)], [Verdict::Pass, Verdict::Pass]);
    assert_eq!(nodelay(0), Verdict::Reject { excess: 2000, rule: 0 });
}

#[test]
fn thousandths_are_cut_off_as_nginx_cuts_them() {
    let zone = zone();
    // 1r/m: 16 thousandths a second, so that a request comes each 62.5 s.
    let at = |ms| weigh(&[Rule { rate: 16, ..rule(&zone, "k", 1, 0, 0) }], ms);
    assert_eq!(at(0), Verdict::Pass);
    assert_eq!(at(62_499), Verdict::Reject { excess: 1, rule: 0 });
    assert_eq!(at(62_500), Verdict::Pass);
}

#[test]
fn all_rules_must_agree_and_the_longest_wait_counts() {
    let (one, two) = (zone(), zone());
    let rules = |key, ms| weigh(&[rule(&one, key, 10, 5, 0), rule(&two, "all", 2, 2, 0)], ms);
    assert_eq!(rules("a", 0), Verdict::Pass);
    assert_eq!(rules("a", 0), Verdict::Delay { ms: 500, excess: 1000, rule: 1 });
    assert_eq!(rules("b", 0), Verdict::Delay { ms: 1000, excess: 2000, rule: 1 });
    // Refused by the second: the first has not counted it.
    assert_eq!(rules("c", 0), Verdict::Reject { excess: 3000, rule: 1 });
    assert_eq!(weigh(&[rule(&one, "c", 10, 0, 0)], 0), Verdict::Pass);
    assert_eq!(rules("a", 1000), Verdict::Delay { ms: 500, excess: 1000, rule: 1 });
}

#[test]
fn an_empty_key_is_exempt_even_where_it_is_the_last() {
    let (one, two) = (zone(), zone());
    assert_eq!(weigh(&[rule(&one, "", 1, 0, 0)], 0), Verdict::Exempt);
    let both = |ms| weigh(&[rule(&one, "k", 1, 1, 0), rule(&two, "", 1, 0, 0)], ms);
    assert_eq!(both(0), Verdict::Pass);
    assert_eq!(both(0), Verdict::Delay { ms: 1000, excess: 1000, rule: 0 });
    assert_eq!(both(0), Verdict::Reject { excess: 2000, rule: 0 });
}

#[test]
fn a_thread_whose_clock_is_behind_takes_nothing_back() {
    let zone = zone();
    let at = |ms| weigh(&[rule(&zone, "k", 10, 9, u64::MAX)], ms);
    assert_eq!([at(1000), at(990)], [Verdict::Pass, Verdict::Pass]);
    let strict = weigh(&[rule(&zone, "k", 10, 0, 0)], 1000);
    assert_eq!(strict, Verdict::Reject { excess: 2000, rule: 0 });
}

#[test]
fn a_full_zone_forgets_the_key_not_seen_for_longest() {
    let zone = Arc::new(Rates::new("z", 32_768));
    let come = |key: &str, ms| weigh(&[rule(&zone, key, 1, 0, 0)], ms);
    // 128 bytes each, in pages of 4096: six in a zone of 32k, of which its own take three pieces.
    let mut known = 0;
    while zone.store.lock().table.find(b"k0").is_some() || known == 0 {
        assert_eq!(come(&format!("k{known}"), 0), Verdict::Pass);
        known += 1;
    }
    assert!((180..=192).contains(&known), "{known}");
    assert_eq!(come("k1", 0), Verdict::Reject { excess: 1000, rule: 0 });
    // Each new key takes two with it that have long had no excess.
    assert_eq!(come("late", 70_000), Verdict::Pass);
    assert!(zone.store.lock().table.find(b"k2").is_none());
    assert!(zone.store.lock().table.find(b"k4").is_some());
}
