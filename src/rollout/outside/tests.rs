//! Answers that come, that do not, and that say nothing.

use super::*;
use crate::rollout::prometheus::tests::{answer, plan};

fn at(s: u64) -> Tick {
    Tick::from_us(s * 1_000_000)
}

#[test]
fn no_answer_and_no_growth_are_no_evidence() {
    let settings = model::Prometheus {
        at: Default::default(),
        url: "http://127.0.0.1:1".to_owned(),
        query: "x".to_owned(),
        interval_ms: Some(1000),
    };
    let mut outside = Outside::new(&settings, &plan("limit p99 off;"), at(0)).unwrap();
    assert_eq!(outside.source(at(0)), (Source::Silent, false), "no answer yet");
    let count = |count: u64| Ok(answer(&format!("canary_version=v2 code=200 {count}")));
    outside.feed().put(count(5));
    assert_eq!(outside.source(at(1)), (Source::Outside(vec![Seen::default()]), false));
    outside.feed().put(count(8));
    let (source, _) = outside.source(at(2));
    let Source::Outside(seen) = source else { panic!("{source:?}") };
    assert_eq!(seen[0].failures.canary.requests, 3);
    assert_eq!(outside.source(at(3)), (Source::Outside(vec![]), false), "between two answers");
    outside.feed().put(Err("connect() failed".to_owned()));
    assert_eq!(outside.source(at(4)), (Source::Silent, true));
    assert_eq!(outside.source(at(5)), (Source::Silent, false), "until one comes");
    outside.feed().put(count(9));
    assert!(matches!(outside.source(at(6)).0, Source::Outside(_)));
    outside.feed().put(count(9));
    assert!(matches!(outside.source(at(11)).0, Source::Outside(_)));
    outside.feed().put(count(9));
    assert_eq!(outside.source(at(12)).0, Source::Silent);
    assert_eq!(outside.fault(), Some("no request for 5s"));
    outside.feed().put(count(10));
    assert!(matches!(outside.source(at(13)).0, Source::Outside(_)), "there is data again");
    assert!(outside.is_of(&settings) && outside.fault().is_none());
    let chosen = "canary_version=v2 by=choice code=200";
    let both = |chosen_ones: u64| {
        Ok(answer(&format!("canary_version=v2 code=200 10\n{chosen} {chosen_ones}")))
    };
    outside.feed().put(both(1));
    assert!(matches!(outside.source(at(18)).0, Source::Outside(_)));
    outside.feed().put(both(2));
    assert!(matches!(outside.source(at(22)).0, Source::Outside(_)), "testers are data");
}
