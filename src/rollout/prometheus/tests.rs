//! Answers as Prometheus gives them, restarts, new instances, and what is no evidence.

use super::*;
use crate::config;

pub(in crate::rollout) fn plan(lines: &str) -> Plan {
    let text = format!(
        "http {{ upstream a {{ server 127.0.0.1; }} upstream b {{ server 127.0.0.1; }}
         rollout api {{ stable a; canary b version=v2; weight 10%; {lines} }} }} events {{ }}"
    );
    Plan::new(&config::load_text("conf", &text, None).unwrap().model.http.unwrap().rollouts[0])
}

/// An answer of lines `labels value`.
pub(in crate::rollout) fn answer(lines: &str) -> Vec<Sample> {
    let series = lines.trim().lines().map(|line| {
        let (labels, value) = line.trim().rsplit_once(' ').unwrap();
        let metric: BTreeMap<_, _> =
            labels.split(' ').map(|it| it.split_once('=').unwrap()).collect();
        serde_json::json!({ "metric": metric, "value": [1.5, value] })
    });
    let result: Vec<_> = series.collect();
    let body = serde_json::json!({
        "status": "success", "data": { "resultType": "vector", "result": result }
    });
    parse(body.to_string().as_bytes()).unwrap()
}

fn counts(requests: u64, bad: u64) -> Counts {
    Counts { requests, bad }
}

const CODES: &str = "limit p99 off;";

#[test]
fn what_came_since_the_last_answer_is_evidence() {
    let mut reader = Reader::new(&plan(""));
    let first = "canary_version=stable code=200 900
        canary_version=stable code=500 9
        canary_version=v2 code=200 100
        canary_version=other code=200 7
        canary_version=stable le=2 905
        canary_version=stable le=+Inf 909
        canary_version=v2 le=0.5 90
        canary_version=v2 le=2 99
        canary_version=v2 le=+Inf 100";
    assert_eq!(reader.read(&answer(first)).unwrap(), [Seen::default()], "it only begins");
    let second = "canary_version=stable code=200 990
        canary_version=stable code=500 10
        canary_version=v2 code=200 105
        canary_version=v2 code=503 4
        canary_version=stable le=2 996
        canary_version=stable le=+Inf 1000
        canary_version=v2 le=0.5 90
        canary_version=v2 le=2 106
        canary_version=v2 le=+Inf 109";
    let seen = reader.read(&answer(second)).unwrap()[0];
    assert_eq!((seen.failures.stable, seen.failures.canary), (counts(91, 1), counts(9, 4)));
    assert_eq!((seen.slow.stable, seen.slow.canary), (counts(91, 0), counts(9, 2)));
    assert_eq!(seen.failures.all, seen.failures.canary);
    assert_eq!(reader.read(&answer(second)).unwrap(), [Seen::default()], "nothing came");
}

#[test]
fn restarts_and_new_instances_are_no_bursts() {
    let mut reader = Reader::new(&plan(CODES));
    let mut canary = |lines: &str| reader.read(&answer(lines)).unwrap()[0].failures.canary;
    canary("canary_version=v2 code=200 instance=a 1000");
    let both = "canary_version=v2 code=200 instance=a 1010
        canary_version=v2 code=500 instance=b 5000";
    assert_eq!(canary(both), counts(10, 0), "b begins");
    let restarted = "canary_version=v2 code=200 instance=a 3
        canary_version=v2 code=500 instance=a 3
        canary_version=v2 code=500 instance=b 5001";
    assert_eq!(canary(restarted), counts(1, 1), "a begins anew, all of it");
    let gone = "canary_version=v2 code=500 instance=a 4";
    assert_eq!(canary(gone), counts(1, 1), "another series of a was missing");
    let back = "canary_version=v2 code=200 instance=a 5
        canary_version=v2 code=500 instance=a 4
        canary_version=v2 code=500 instance=b 9000";
    assert_eq!(canary(back), counts(2, 0), "b was away: it begins anew");
}

#[test]
fn what_a_limit_is_judged_by_must_be_there() {
    let fault =
        |lines: &str, text: &str| Reader::new(&plan(lines)).read(&answer(text)).unwrap_err();
    let codes = "canary_version=v2 code=200 1";
    assert!(fault("", codes).starts_with("no bucket has le=\"2\", the latency limit"));
    assert!(
        fault("limit p99 > 1500ms;", "canary_version=v2 code=200 1\ncanary_version=v2 le=2 1")
            .starts_with("no bucket has le=\"1.5\"")
    );
    let buckets = "canary_version=v2 le=2 1\ncanary_version=v2 le=+Inf 1";
    assert!(fault("", buckets).starts_with("no series counts failures"));
    assert!(Reader::new(&plan(CODES)).read(&answer(codes)).is_ok());
    assert!(Reader::new(&plan("limit 5xx_rate off;")).read(&answer(buckets)).is_ok());
    assert!(Reader::new(&plan("")).read(&[]).is_ok(), "no data is no fault of the query");
}

#[test]
fn requests_count_for_a_latency_limit_alone() {
    let mut reader = Reader::new(&plan("limit 5xx_rate off;"));
    reader.read(&answer("canary_version=v2 le=2 1\ncanary_version=v2 le=+Inf 1")).unwrap();
    let after = answer("canary_version=v2 le=2 5\ncanary_version=v2 le=+Inf 6");
    let seen = reader.read(&after).unwrap()[0];
    assert_eq!((seen.failures.canary, seen.slow.canary), (counts(5, 0), counts(5, 1)));
}

#[test]
fn who_asked_for_the_canary_is_not_compared_with_stable() {
    let mut reader = Reader::new(&plan(""));
    let lines = |counts: [u64; 5]| {
        let [stable, good, bad, chosen, slow] = counts;
        format!(
            "canary_version=stable by=weight limit=5xx_rate result=good {stable}
             canary_version=v2 by=weight limit=5xx_rate result=good {good}
             canary_version=v2 by=weight limit=5xx_rate result=bad {bad}
             canary_version=v2 by=choice limit=5xx_rate result=bad {chosen}
             canary_version=v2 by=weight limit=latency result=good {good}
             canary_version=v2 by=choice limit=latency result=bad {slow}"
        )
    };
    assert_eq!(reader.read(&answer(&lines([9, 9, 9, 9, 9]))).unwrap(), [Seen::default()]);
    let seen = reader.read(&answer(&lines([109, 19, 10, 14, 12]))).unwrap()[0];
    assert_eq!((seen.failures.stable, seen.failures.canary), (counts(100, 0), counts(11, 1)));
    assert_eq!(seen.failures.all, counts(16, 6));
    assert_eq!((seen.slow.stable, seen.slow.canary), (counts(0, 0), counts(10, 0)));
    assert_eq!(seen.slow.all, counts(13, 3));
}

#[test]
fn answers_that_are_none_are_told() {
    let fault = |body: &str| parse(body.as_bytes()).unwrap_err();
    assert_eq!(fault("<html>"), "the answer is not Prometheus's");
    let bad = r#"{"status":"error","errorType":"bad_data","error":"parse error: x"}"#;
    assert_eq!(fault(bad), "it answers: parse error: x");
    let scalar = r#"{"status":"success","data":{"resultType":"scalar","result":[1,"2"]}}"#;
    assert!(fault(scalar).contains("it must give an instant vector"));
    let of = |metric: &str, value: &str| {
        format!(
            r#"{{"status":"success","data":{{"resultType":"vector","result":
            [{{"metric":{{{metric}}},"value":[1,"{value}"]}}]}}}}"#
        )
    };
    assert!(fault(&of(r#""code":"200""#, "1")).contains("no label \"canary_version\""));
    assert!(
        fault(&of(r#""canary_version":"v2""#, "1"))
            .contains("no label \"limit\", \"code\" or \"le\"")
    );
    assert!(fault(&of(r#""canary_version":"v2","code":"200""#, "NaN")).contains("is no count"));
    assert!(fault(&of(r#""canary_version":"v2","le":"x""#, "1")).contains("is no edge"));
    let judged = |labels: &str| fault(&of(&format!(r#""canary_version":"v2",{labels}"#), "1"));
    assert!(judged(r#""limit":"x","result":"bad""#).contains("\"x\" is no limit"));
    assert!(judged(r#""limit":"latency","result":"x""#).contains("\"x\" is no result"));
    assert!(judged(r#""code":"200","by":"x""#).contains("\"x\" decides nothing"));
}

#[test]
fn a_query_is_a_target() {
    let settings = |url: &str| model::Prometheus {
        at: Default::default(),
        url: url.to_owned(),
        query: "sum(x{a=\"b\"})".to_owned(),
        interval_ms: None,
    };
    let target = |url: &str| Feed::new(&settings(url)).unwrap().target;
    let query = "/api/v1/query?query=sum%28x%7Ba%3D%22b%22%7D%29";
    assert_eq!(target("http://p:9090"), query);
    assert_eq!(target("http://p:9090/prom/"), format!("/prom{query}"));
}
