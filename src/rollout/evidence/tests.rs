//! What is counted of requests that end, hang, fail together, or wait for their client.

use super::*;

const OK: Ending = Ending::Answered { status: 200, grpc: None };
const BAD: Ending = Ending::Answered { status: 500, grpc: None };

fn ms(ms: u64) -> Tick {
    Tick::from_us(ms * 1000)
}

/// (ended, failed, timed, slow) by weight.
fn seen(evidence: &Evidence, variant: u8) -> [u64; 4] {
    let tally = evidence.totals(variant).by_weight;
    let (failures, slow) = (tally.failures, tally.slow);
    [failures.requests, failures.bad, slow.requests, slow.bad]
}

#[test]
fn what_counts_as_a_failure() {
    for (ending, failed) in [
        (OK, false),
        (BAD, true),
        (Ending::Answered { status: 404, grpc: None }, false),
        (Ending::NoAnswer, true),
        (Ending::Unjudged, false),
    ] {
        assert_eq!(ending.is_failure(), failed, "{ending:?}");
    }
    let failing: Vec<u32> = (0..17)
        .filter(|it| Ending::Answered { status: 200, grpc: Some(*it) }.is_failure())
        .collect();
    assert_eq!(failing, [2, 4, 8, 13, 14, 15]);
}

#[test]
fn variants_and_ways_are_apart() {
    let evidence = Evidence::new(2, 2000);
    for (variant, by_weight, ending) in
        [(0, true, OK), (1, true, BAD), (1, true, OK), (1, false, BAD), (2, true, OK)]
    {
        let request = evidence.begin(variant, by_weight, 0, ms(0));
        evidence.end(request, ending, ms(10));
    }
    assert_eq!(seen(&evidence, 0), [1, 0, 1, 0]);
    assert_eq!(seen(&evidence, 1), [2, 1, 2, 0]);
    assert_eq!(seen(&evidence, 2), [1, 0, 1, 0]);
    assert_eq!(evidence.totals(1).chosen.failures, Counts { requests: 1, bad: 1 });
}

#[test]
fn a_request_that_hangs_is_over_the_limit_before_it_ends_and_once() {
    let evidence = Evidence::new(1, 2000);
    let hanging = evidence.begin(1, true, 0, ms(100));
    let aborted = evidence.begin(1, true, 0, ms(100));
    let quick = evidence.begin(1, true, 0, ms(100));
    evidence.end(quick, OK, ms(150));
    evidence.sweep(ms(2000));
    assert_eq!(seen(&evidence, 1), [1, 0, 1, 0]);
    evidence.sweep(ms(2500));
    assert_eq!(seen(&evidence, 1), [1, 0, 3, 2]);
    evidence.sweep(ms(9000));
    evidence.end(hanging, Ending::NoAnswer, ms(60_000));
    evidence.end(aborted, Ending::Unjudged, ms(60_000));
    assert_eq!(seen(&evidence, 1), [2, 1, 3, 2]);
}

#[test]
fn the_end_and_a_reused_slot_count_what_no_sweep_did() {
    let evidence = Evidence::new(1, 800);
    let slow = evidence.begin(1, true, 0, ms(0));
    evidence.end(slow, OK, ms(801));
    assert_eq!(seen(&evidence, 1), [1, 0, 1, 1]);
    let lost = evidence.begin(1, true, 0, ms(1000));
    let later = evidence.begin(1, true, 0, ms(1000 + 32 * 100));
    assert_eq!(seen(&evidence, 1), [1, 0, 2, 2]);
    evidence.end(lost, OK, ms(9000));
    evidence.end(later, OK, ms(4210));
    assert_eq!(seen(&evidence, 1), [3, 0, 3, 2]);
}

#[test]
fn what_waits_for_the_client_is_not_the_variant_s_time() {
    let evidence = Evidence::new(1, 2000);
    let begin = |at| evidence.begin(1, true, 0, ms(at));
    let (mut quick, mut late, mut swept) = (begin(0), begin(0), begin(0));
    evidence.stop_clock(&mut quick, ms(100));
    evidence.stop_clock(&mut quick, ms(200));
    assert_eq!(seen(&evidence, 1), [0, 0, 1, 0]);
    evidence.stop_clock(&mut late, ms(2001));
    evidence.sweep(ms(5000));
    assert_eq!(seen(&evidence, 1), [0, 0, 3, 2]);
    evidence.stop_clock(&mut swept, ms(6000));
    evidence.end(quick, BAD, ms(9000));
    evidence.end(late, OK, ms(9000));
    evidence.end(swept, Ending::Unjudged, ms(9000));
    assert_eq!(seen(&evidence, 1), [2, 1, 3, 2]);
}

#[test]
fn one_failure_a_user_and_second() {
    let evidence = Evidence::new(1, 2000);
    for (user, at) in [(7, 100), (7, 200), (7, 900), (7, 1100), (0, 100), (0, 200), (1 << 40, 300)]
    {
        let request = evidence.begin(1, true, user, ms(at));
        evidence.end(request, BAD, ms(at + 1));
    }
    assert_eq!(seen(&evidence, 1)[..2], [5, 5]);
    let request = evidence.begin(1, true, 7, ms(1500));
    evidence.end(request, OK, ms(1501));
    assert_eq!(seen(&evidence, 1)[..2], [6, 5], "what is well counts always");
}

#[test]
fn a_user_s_parallel_requests_hang_once() {
    let evidence = Evidence::new(1, 2000);
    let requests: Vec<_> = (0..50).map(|it| evidence.begin(1, true, 9, ms(it))).collect();
    evidence.sweep(ms(5000));
    assert_eq!(seen(&evidence, 1), [0, 0, 1, 1]);
    requests.into_iter().for_each(|it| evidence.end(it, Ending::NoAnswer, ms(60_000)));
    assert_eq!(seen(&evidence, 1), [1, 1, 1, 1], "and failed once");
}

#[test]
fn what_is_nobody_s_fault_is_no_evidence() {
    let evidence = Evidence::new(1, 0);
    let request = evidence.begin(1, true, 0, ms(0));
    evidence.end(request, Ending::Unjudged, ms(99_000));
    evidence.sweep(ms(100_000));
    assert_eq!(seen(&evidence, 1), [0, 0, 0, 0]);
    let request = evidence.begin(1, true, 0, ms(0));
    evidence.end(request, OK, ms(99_000));
    assert_eq!(seen(&evidence, 1), [1, 0, 0, 0], "without a limit nothing is slow");
}

#[test]
fn threads_lose_nothing() {
    let evidence = std::sync::Arc::new(Evidence::new(1, 8));
    let threads: Vec<_> = (0..8u64)
        .map(|thread| {
            let evidence = evidence.clone();
            std::thread::spawn(move || {
                for number in 0..5000u64 {
                    let request = evidence.begin(1, true, 0, ms(number));
                    evidence.sweep(ms(number));
                    // Every eighth hangs beyond the limit.
                    let took = if number % 8 == thread { 20 } else { 1 };
                    evidence.end(request, OK, ms(number + took));
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|it| it.join().unwrap());
    evidence.sweep(ms(100_000));
    let [ended, failed, timed, slow] = seen(&evidence, 1);
    assert_eq!((ended, failed, timed), (40_000, 0, 40_000));
    assert!(slow >= 5000, "{slow}: those that hung, and those that another's sweep overtook");
}
