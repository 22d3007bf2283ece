//! What people are shown.

use super::*;

fn limit(over_ms: Option<u64>) -> LimitStatus {
    LimitStatus {
        limit: 0.005,
        over_ms,
        e1: 12.345,
        e1_at: 5.0,
        e2: 3e7,
        e2_at: 101.0,
        canary: Counts { requests: 1210, bad: 10 },
        stable: Counts { requests: 22_990, bad: 0 },
    }
}

fn sample() -> Status {
    Status {
        state: Phase::RolledBack,
        weight: 0,
        reason: "rolled_back: worse than stable and over the limit; numbers".to_owned(),
        since_ms: 1_700_000_000_000,
        step: 2,
        steps: vec!["1% 5m".into(), "5% 5m".into(), "100%".into()],
        held_ms: 61_500,
        requests: 1210,
        min_requests: 600,
        canaries: vec![CanaryStatus {
            version: "v2".into(),
            weight: 0,
            closed: true,
            verdict: Verdict::RollBack,
            failures: Some(limit(None)),
            slow: Some(limit(Some(2000))),
        }],
        journal: "/x/rollouts/api.journal".into(),
        ..Status::pending("api")
    }
}

#[test]
fn a_status_has_its_numbers_and_says_what_can_be_done() {
    let text = status(&sample());
    let expected = "\
rollout api: rolled_back, 0% to v2
  steps     1% 5m, [5% 5m], 100%
  step      held 1m1s, 1210 requests by weight of 600 needed
  since     Tue, 14 Nov 2023 22:13:20 GMT
  reason    rolled_back: worse than stable and over the limit; numbers
  evidence  local
  journal   /x/rollouts/api.journal

  CANARY  WEIGHT  VERDICT  LIMIT            BAD              STABLE BAD    E1          E2
  v2      0%      closed   5xx_rate > 0.5%  10/1210 (0.82%)  0/22990 (0%)  12.35 of 5  3e7 of 101
                           p99.5 > 2s       10/1210 (0.82%)  0/22990 (0%)  12.35 of 5  3e7 of 101
all traffic is stable's: \"moongate rollout resume api\" begins anew
";
    assert_eq!(text, expected);
}

#[test]
fn faults_stand_out() {
    let faulty = Status { journal_fault: Some("disk full".into()), ..sample() };
    assert!(status(&faulty).contains("\n            NOT WRITTEN, nothing advances: disk full\n"));
}

#[test]
fn a_table_has_a_line_a_rollout() {
    let text = table(&[sample(), Status::pending("shop")]);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "NAME  STATE        WEIGHT  STEP  HELD  REASON");
    assert!(lines[1].ends_with(
        "0%      2/3   1m1s  rolled_back: worse than stable and over the \
                                limit"
    ));
    assert_eq!(lines[2], "shop  steady       0%      -     0s");
    assert_eq!(table(&[]), "the configuration has no rollout\n");
}

#[test]
fn a_user_s_way_is_a_line_a_step() {
    let steps = vec![(100, "stable".to_owned()), (500, "v2".to_owned())];
    let text = way("api", "alice", &Way { bucket: 425, now: Some("stable".into()), steps });
    let expected = "\
rollout api, key \"alice\": bucket 425
  now: stable
  STEP  WEIGHT  VARIANT
  1     1%      stable
  2     5%      v2
a header, a cookie or a rule may choose otherwise
";
    assert_eq!(text, expected);
}
