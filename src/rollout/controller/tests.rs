//! Rollouts under evidence and commands, and thousands of seeded ones under anything.

use super::*;
use crate::config;
use crate::rollout::analysis::{Counts, Interval};
use crate::rollout::hash::Random;

const MINUTE: u64 = 60_000;

fn plan(lines: &str) -> Plan {
    let text = format!(
        "http {{ upstream a {{ server 127.0.0.1; }} upstream b {{ server 127.0.0.1; }}
         upstream c {{ server 127.0.0.1; }}
         rollout api {{ stable a; canary b version=v2; {lines} }} }} events {{ }}"
    );
    Plan::new(&config::load_text("conf", &text, None).unwrap().model.http.unwrap().rollouts[0])
}

const STEPS: &str = "steps 1% 5m, 5% 10m, pause, 25% 10m, 100%;";

fn interval(stable: (u64, u64), canary: (u64, u64)) -> Interval {
    let counts = |(requests, bad)| Counts { requests, bad };
    let canary = counts(canary);
    Interval { stable: counts(stable), canary, all: canary }
}

/// A rollout on its way.
struct Run {
    plan: Plan,
    state: State,
    told: Vec<Kind>,
}

impl Run {
    fn new(lines: &str) -> Self {
        let plan = plan(lines);
        let state = State::begin(&plan);
        Self { plan, state, told: Vec::new() }
    }

    fn step(&mut self, input: &Input) -> Vec<Result<(), Refused>> {
        let stepped = step(&self.plan, &self.state, input);
        self.told.extend(stepped.events.iter().map(|it| it.kind));
        self.state = stepped.state;
        stepped.answers
    }

    /// Minutes with so many canary requests and failures each, and twenty times as many of stable.
    fn minutes(&mut self, minutes: u64, requests: u64, bad: u64) -> &mut Self {
        for _ in 0..minutes {
            let seen = Seen {
                failures: interval((requests * 20, 0), (requests, bad)),
                slow: interval((requests * 20, 0), (requests, 0)),
            };
            self.step(&Input { passed_ms: MINUTE, seen: vec![seen], ..Input::default() });
        }
        self
    }

    fn say(&mut self, command: Command) -> Result<(), String> {
        let answers = self.step(&Input { commands: vec![command], ..Input::default() });
        answers.into_iter().next().unwrap().map_err(|it| it.to_string())
    }

    /// (weight, phase).
    fn at(&self) -> (u16, Phase) {
        (self.state.weight(), self.state.phase)
    }

    fn told(&mut self) -> Vec<Kind> {
        std::mem::take(&mut self.told)
    }
}

#[test]
fn steps_follow_one_another_where_evidence_is_enough() {
    let mut run = Run::new(STEPS);
    assert_eq!(run.at(), (100, Phase::Running));
    run.minutes(4, 200, 0);
    assert_eq!(run.at(), (100, Phase::Running), "enough requests, too little time");
    run.minutes(1, 200, 0);
    assert_eq!(run.at(), (500, Phase::Running));
    run.minutes(10, 1000, 0);
    assert_eq!(run.at(), (500, Phase::Waiting));
    run.minutes(600, 1000, 0);
    assert_eq!(run.at(), (500, Phase::Waiting), "a pause waits for an operator");
    assert_eq!(run.say(Command::Promote), Ok(()));
    assert_eq!(run.at(), (2500, Phase::Running));
    run.minutes(10, 1000, 0);
    assert_eq!(run.at(), (10_000, Phase::Steady));
    use Kind::{Advanced, Promoted, Waiting};
    assert_eq!(run.told(), [Advanced, Waiting, Promoted, Advanced]);
}

#[test]
fn no_data_is_neither_success_nor_failure() {
    let mut run = Run::new(STEPS);
    run.minutes(119, 0, 0);
    assert_eq!(run.at(), (100, Phase::Running));
    run.minutes(1, 0, 0);
    assert_eq!(run.at(), (100, Phase::Inconclusive));
    run.minutes(100_000, 0, 0);
    assert_eq!(run.at(), (100, Phase::Inconclusive), "the weight stays");
    assert_eq!(run.told(), [Kind::Inconclusive]);
    assert_eq!(run.say(Command::Resume), Ok(()));
    run.minutes(5, 200, 0);
    assert_eq!(run.at(), (500, Phase::Running));
}

#[test]
fn missing_evidence_of_a_canary_is_no_data() {
    let mut run = Run::new(STEPS);
    for _ in 0..60 {
        run.step(&Input { passed_ms: MINUTE, ..Input::default() });
    }
    assert_eq!(run.at(), (100, Phase::Running));
}

#[test]
fn the_guard_watches_in_every_phase() {
    type Prepare = fn(&mut Run);
    let phases: [(Phase, Prepare); 5] = [
        (Phase::Running, |_| {}),
        (Phase::Waiting, |run| {
            run.minutes(15, 1000, 0);
        }),
        (Phase::Paused, |run| run.say(Command::Pause).unwrap()),
        (Phase::Inconclusive, |run| {
            run.minutes(120, 1, 0);
        }),
        (Phase::Steady, |run| {
            run.plan.steps.pop();
            run.plan.steps.truncate(1);
            run.minutes(5, 1000, 0);
        }),
    ];
    for (phase, prepare) in phases {
        let mut run = Run::new(STEPS);
        prepare(&mut run);
        assert_eq!(run.state.phase, phase);
        run.minutes(1, 50, 25);
        assert_eq!(run.at(), (0, Phase::RolledBack), "{phase:?}");
        assert_eq!(run.state.closed(), 0b10);
        assert_eq!(run.told().last(), Some(&Kind::RolledBack));
    }
}

#[test]
fn slow_requests_roll_back_too() {
    let mut run = Run::new(STEPS);
    let seen = Seen { failures: interval((1000, 1), (50, 0)), slow: interval((1000, 1), (50, 20)) };
    run.step(&Input { passed_ms: 1000, seen: vec![seen], ..Input::default() });
    assert_eq!(run.at(), (0, Phase::RolledBack));
}

#[test]
fn a_limit_that_is_off_is_none() {
    let mut run = Run::new("weight 5%; limit 5xx_rate off; limit p99 off;");
    run.minutes(10, 100, 100);
    assert_eq!(run.at(), (500, Phase::Steady));
}

#[test]
fn a_rollback_is_a_latch() {
    let mut run = Run::new(STEPS);
    run.minutes(1, 50, 25).minutes(10_000, 1000, 0);
    assert_eq!(run.at(), (0, Phase::RolledBack));
    for command in
        [Command::Promote, Command::Pause, Command::SetWeight { canary: None, weight: 100 }]
    {
        let answer = run.say(command).unwrap_err();
        assert_eq!(answer, "the rollout is rolled_back; resume it first");
    }
    assert_eq!(run.told(), [Kind::RolledBack]);
    assert_eq!(run.say(Command::Resume), Ok(()));
    assert_eq!((run.at(), run.state.closed()), ((100, Phase::Running), 0));
    assert_eq!(run.state.canaries[0].failures.0, Default::default(), "what was, is forgotten");
}

#[test]
fn on_breach_hold_tells_once_and_stays() {
    let mut run = Run::new("on_breach hold; steps 1% 5m, 100%;");
    run.minutes(10, 50, 25);
    assert_eq!((run.at(), run.told()), ((100, Phase::Paused), vec![Kind::Breached]));
}

#[test]
fn a_baseline_that_is_as_bad_stops_the_advance_only() {
    let mut run = Run::new(STEPS);
    let both = |bad| Seen {
        failures: interval((20_000, 20 * bad), (1000, bad)),
        slow: interval((20_000, 0), (1000, 0)),
    };
    for _ in 0..60 {
        run.step(&Input { passed_ms: MINUTE, seen: vec![both(20)], ..Input::default() });
    }
    assert_eq!((run.at(), run.told()), ((100, Phase::Running), vec![Kind::OverLimit]));
    while run.state.canaries[0].verdict != Verdict::Fine {
        run.step(&Input { passed_ms: MINUTE, seen: vec![both(0)], ..Input::default() });
    }
    assert_eq!(
        (run.at(), run.told()),
        ((500, Phase::Running), vec![Kind::WithinLimit, Kind::Advanced])
    );
}

#[test]
fn operators_verbs() {
    let mut run = Run::new(STEPS);
    assert_eq!(
        run.say(Command::Resume).unwrap_err(),
        "the rollout is running; there is nothing to resume"
    );
    assert_eq!(run.say(Command::Pause), Ok(()));
    run.minutes(100, 1000, 0);
    assert_eq!(run.at(), (100, Phase::Paused));
    assert_eq!(run.say(Command::Resume), Ok(()));
    assert_eq!(run.at(), (100, Phase::Running));
    let set = |weight| Command::SetWeight { canary: None, weight };
    assert_eq!(run.say(set(1000)), Ok(()));
    run.minutes(100, 1000, 0);
    assert_eq!(run.at(), (1000, Phase::Paused), "a weight set by hand stays");
    assert_eq!(run.say(Command::Resume), Ok(()));
    run.minutes(10, 1000, 0);
    assert_eq!(run.at(), (1000, Phase::Waiting), "the steps go on behind it, the pause among them");
    assert_eq!(run.say(Command::Promote), Ok(()));
    assert_eq!(run.say(Command::Promote), Ok(()));
    assert_eq!(run.at(), (10_000, Phase::Steady));
    assert_eq!(
        run.say(Command::Promote).unwrap_err(),
        "the rollout is steady; there is nothing to promote"
    );
    assert_eq!(run.say(Command::Abort), Ok(()));
    assert_eq!((run.at(), run.state.closed()), ((0, Phase::Aborted), 0b10));
    assert!(run.say(Command::Abort).is_err());
    assert_eq!(run.say(Command::Resume), Ok(()));
    assert_eq!(run.at(), (100, Phase::Running));
    assert_eq!(
        run.say(Command::SetWeight { canary: Some("v9".into()), weight: 1 }).unwrap_err(),
        "no canary \"v9\"; there is v2"
    );
    use Kind::{Aborted, Advanced, Paused, Promoted, Resumed, Waiting, WeightSet};
    assert_eq!(
        run.told(),
        [Paused, Resumed, WeightSet, Resumed, Waiting, Promoted, Promoted, Aborted, Resumed]
    );
    assert_ne!(Waiting, Advanced);
}

#[test]
fn weight_0_before_steps_waits_to_be_promoted() {
    let mut run = Run::new("weight 0; steps 1% 5m, 100%;");
    run.minutes(1000, 0, 0);
    assert_eq!(run.at(), (0, Phase::Waiting));
    assert_eq!(run.say(Command::Promote), Ok(()));
    assert_eq!(run.at(), (100, Phase::Running));
    assert_eq!(Run::new("weight 5%; steps 1% 5m, 5% 5m, 100%;").at(), (500, Phase::Running));
}

#[test]
fn another_canary_falls_alone() {
    let mut run = Run::new("canary c version=v3 weight=10%; steps 1% 5m, 90%;");
    let fine = Seen { failures: interval((1000, 0), (50, 0)), ..Seen::default() };
    let bad = Seen { failures: interval((1000, 0), (50, 25)), ..Seen::default() };
    run.step(&Input { passed_ms: MINUTE, seen: vec![fine, bad], ..Input::default() });
    assert_eq!(run.state.weights(), [100, 0]);
    assert_eq!((run.state.closed(), run.state.phase), (0b100, Phase::Running));
    let set = |canary: &str, weight| Command::SetWeight { canary: Some(canary.into()), weight };
    assert_eq!(run.say(set("v3", 100)).unwrap_err(), "\"v3\" was rolled back; resume it first");
    assert_eq!(run.say(Command::Resume), Ok(()));
    assert_eq!((run.state.weights(), run.state.closed()), (vec![100, 1000], 0));
    assert_eq!(
        run.say(set("v3", 9901)).unwrap_err(),
        "that is more than 100%: the other canaries have 1%"
    );
    assert_eq!(run.say(set("v3", 9900)), Ok(()));
    assert_eq!(run.say(Command::Promote), Ok(()));
    assert_eq!(run.state.weights(), [100, 9900], "a step takes no more than there is");
}

#[test]
fn another_label_is_another_canary_and_the_same_keeps_its_latch() {
    let mut run = Run::new(STEPS);
    run.minutes(1, 50, 25);
    let faster = plan("steps 2% 1m, 100%;");
    let state = run.state.clone().reconciled(&faster);
    assert_eq!((state.weight(), state.phase, state.closed()), (0, Phase::RolledBack, 0b10));
    let mut next = faster.clone();
    next.canaries[0].0 = "v3".to_owned();
    let state = run.state.clone().reconciled(&next);
    assert_eq!((state.weight(), state.phase, state.closed()), (200, Phase::Running, 0));
}

#[test]
fn where_nothing_can_be_written_only_guards_act() {
    let mut run = Run::new(STEPS);
    let frozen = |bad| {
        let seen = Seen { failures: interval((20_000, 0), (1000, bad)), ..Seen::default() };
        let passed_ms = 10 * MINUTE;
        Input { passed_ms, seen: vec![seen], is_frozen: true, ..Input::default() }
    };
    run.step(&frozen(0));
    assert_eq!((run.at(), run.told()), ((100, Phase::Running), vec![]));
    run.step(&frozen(500));
    assert_eq!((run.at(), run.told()), ((0, Phase::RolledBack), vec![Kind::RolledBack]));
}

#[test]
fn other_steps_go_on_from_the_weight_that_is() {
    let mut run = Run::new(STEPS);
    run.minutes(5, 200, 0);
    assert_eq!(run.at(), (500, Phase::Running));
    let state = run.state.clone().reconciled(&plan("steps 2% 1m, 10% 1m, 100%;"));
    assert_eq!((state.weight(), state.next, state.phase), (500, 1, Phase::Running));
    let state = run.state.clone().reconciled(&plan("weight 3%;"));
    assert_eq!((state.weight(), state.phase), (300, Phase::Steady));
    assert_eq!(run.state.clone().reconciled(&run.plan), run.state, "the same changes nothing");
    let mut set = Run::new("weight 5%;");
    set.say(Command::SetWeight { canary: None, weight: 700 }).unwrap();
    assert_eq!(set.state.clone().reconciled(&set.plan).weight(), 700, "nor does a reload");
    let mut judged = Run::new(STEPS);
    judged.minutes(1, 100, 1);
    let other = plan("limit 5xx_rate > 5%; steps 1% 5m, 5% 10m, pause, 25% 10m, 100%;");
    judged.state = judged.state.clone().reconciled(&other);
    judged.plan = other;
    judged.minutes(1, 1, 0);
    assert_eq!(judged.state.canaries[0].failures.0.canary.requests, 1, "another limit, anew");
}

/// Thousands of seeded rollouts, whatever is said and seen: what must never happen does not.
#[test]
fn whatever_happens_the_invariants_hold() {
    for seed in 0..2000 {
        let mut random = Random::new(seed);
        let mut run = Run::new("canary c version=v3 weight=10%; steps 1% 5m, 5% 10m, pause, 90%;");
        for _ in 0..60 {
            let before = run.state.clone();
            let mut counts = || {
                let requests = random.below(3) * random.below(400);
                (requests, random.below(20) * requests / 400)
            };
            let seen = |stable, canary| Seen {
                failures: interval(stable, canary),
                slow: interval(stable, (canary.0, 0)),
            };
            let seen = vec![seen(counts(), counts()), seen(counts(), counts())];
            let commands = match random.below(12) {
                0 => vec![Command::Promote],
                1 => vec![Command::Pause],
                2 => vec![Command::Resume],
                3 if random.below(4) == 0 => vec![Command::Abort],
                4 => {
                    let weight = u16::try_from(random.below(10_001)).unwrap();
                    let canary = (random.below(2) == 0).then(|| "v3".to_owned());
                    vec![Command::SetWeight { canary, weight }]
                }
                _ => vec![],
            };
            let passed_ms = random.below(10) * MINUTE;
            let input = Input { passed_ms, seen, commands, is_frozen: false };
            run.step(&input);
            check(&before, &run.state, &input, seed);
        }
        let json = serde_json::to_string(&run.state).unwrap();
        let again: State = serde_json::from_str(&json).unwrap();
        let words = |it: &State| it.canaries.iter().map(numbers).collect::<Vec<_>>();
        assert_eq!(words(&again), words(&run.state), "seed {seed}");
        assert_eq!((again.phase, again.next), (run.state.phase, run.state.next), "seed {seed}");
    }
}

fn check(before: &State, after: &State, input: &Input, seed: u64) {
    let sum: u32 = after.weights().iter().map(|it| u32::from(*it)).sum();
    assert!(sum <= u32::from(BUCKETS), "seed {seed}: {:?}", after.weights());
    for (was, is) in before.canaries.iter().zip(&after.canaries) {
        assert!(!is.closed || is.weight == 0, "seed {seed}: a closed canary has a weight");
        let resumed = input.commands.contains(&Command::Resume);
        assert!(!was.closed || is.closed || resumed, "seed {seed}: a latch opened by itself");
    }
    let by_hand = !input.commands.is_empty();
    let rose = after.weight() > before.weight();
    assert!(!rose || by_hand || before.phase == Phase::Running, "seed {seed}: it rose by itself");
    if rose && !by_hand {
        let canary = &after.canaries[0];
        assert_eq!(canary.verdict, Verdict::Fine, "seed {seed}: it rose over its limit");
        let seen = before.requests + input.seen[0].failures.canary.requests;
        assert!(seen >= 600, "seed {seed}: it rose on {seen} requests");
    }
}
