//! A rollout with its journal, its evidence and what workers read.

use super::*;
use crate::config;
use crate::rollout::evidence::Ending;
use crate::rollout::journal::{self, Journal};
use crate::rollout::state::Phase;
use std::path::Path;

const STEPS: &str = "steps 1% 5m, 5% 5m, 100%;";
const OK: Ending = Ending::Answered { status: 200, grpc: None };
const BAD: Ending = Ending::Answered { status: 503, grpc: None };

fn plan(lines: &str) -> Plan {
    let text = format!(
        "http {{ upstream a {{ server 127.0.0.1; }} upstream b {{ server 127.0.0.1; }}
         rollout api {{ stable a; canary b version=v2; {lines} }} }} events {{ }}"
    );
    Plan::new(&config::load_text("conf", &text, None).unwrap().model.http.unwrap().rollouts[0])
}

fn at(s: u64) -> Now {
    Now { tick: Tick::from_us(s * 1_000_000), unix_ms: 1_700_000_000_000 + s * 1000 }
}

fn opened(path: &Path) -> (Writer, Recovered) {
    loop {
        // The children that other tests start hold all locks until they are programs.
        match Journal::open(path, "api", &[7; 32]) {
            Err(journal::Error::Held(_)) => std::thread::yield_now(),
            result => {
                let (journal, recovered, _) = result.unwrap();
                return (Writer::start(journal).unwrap(), recovered);
            }
        }
    }
}

fn start(path: &Path, lines: &str) -> Live {
    let (journal, recovered) = opened(path);
    started(plan(lines), journal, &recovered)
}

fn started(plan: Plan, journal: Writer, recovered: &Recovered) -> Live {
    let seam = Seam::new(plan.canaries.len(), plan.slow_ms);
    let (live, fault) = Live::start(plan, Some(journal), recovered, seam, at(0));
    assert!(fault.is_none(), "{fault:?}");
    live
}

fn reconfigured(live: &mut Live, lines: &str, at: Now) {
    let plan = plan(lines);
    let same = plan.slow_ms == live.plan().slow_ms;
    let seam = match same {
        true => Seam { shares: live.shares().clone(), evidence: live.evidence().clone() },
        false => Seam::new(plan.canaries.len(), plan.slow_ms),
    };
    let fault = live.reconfigure(plan, seam, at);
    assert!(fault.is_none(), "{fault:?}");
}

/// One second of 200 requests at 5 %: those of the canary end as `ending`.
fn second(live: &mut Live, s: u64, ending: Ending) -> Looked {
    for number in 0..200u64 {
        let variant = u8::from(number % 20 == 0);
        let began = at(s).tick.plus_ms(number);
        let request = live.evidence().begin(variant, true, 0, began);
        live.evidence().end(request, if variant == 1 { ending } else { OK }, began.plus_ms(5));
    }
    live.look(vec![], Source::Local, at(s + 1))
}

#[test]
fn a_canary_that_turns_bad_is_off_within_a_second_and_stays_so_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let mut live = start(&path, STEPS);
    assert_eq!(live.shares().layout.count(1), 100);
    for s in 0..120 {
        assert!(second(&mut live, s, OK).events.is_empty());
    }
    let looked = second(&mut live, 120, BAD);
    assert_eq!(looked.events.last().unwrap().kind, Kind::RolledBack);
    let reason = &looked.events.last().unwrap().reason;
    assert!(reason.contains("failed 10/1210 stable 0/22990 E1 "), "{reason}");
    assert_eq!((live.shares().layout.count(1), live.shares().is_closed(1)), (0, true));
    drop(live);
    let mut live = start(&path, STEPS);
    assert_eq!((live.state().phase, live.shares().is_closed(1)), (Phase::RolledBack, true));
    let looked = live.look(vec![Command::Resume], Source::Local, at(1));
    assert_eq!((looked.answers, live.shares().layout.count(1)), (vec![Ok(())], 100));
}

#[test]
fn a_canary_that_hangs_is_off_before_anything_ends() {
    let dir = tempfile::tempdir().unwrap();
    let mut live = start(&dir.path().join("journal"), STEPS);
    let mut hanging = vec![];
    for s in 0..10 {
        for number in 0..200u64 {
            let began = at(s).tick.plus_ms(number);
            let request = live.evidence().begin(u8::from(number % 20 == 0), true, 0, began);
            match number % 20 {
                0 => hanging.push(request),
                _ => live.evidence().end(request, OK, began.plus_ms(5)),
            }
        }
        live.look(vec![], Source::Local, at(s + 1));
    }
    assert_eq!(live.state().phase, Phase::RolledBack);
    hanging.into_iter().for_each(|it| live.evidence().end(it, Ending::NoAnswer, at(60).tick));
}

#[test]
fn state_steps_and_evidence_go_on_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let mut live = start(&path, STEPS);
    for s in 0..200 {
        second(&mut live, s, OK);
    }
    live.checkpoint(at(200)).unwrap();
    let before = live.state().clone();
    assert_eq!((before.held_ms, before.requests), (200_000, 2000));
    drop(live);
    let mut live = start(&path, STEPS);
    assert_eq!((live.state().held_ms, live.state().requests), (200_000, 2000));
    assert_eq!(live.state().canaries[0].failures.0.canary.requests, 2000);
    for s in 0..100 {
        second(&mut live, s, OK);
    }
    assert_eq!((live.state().weight(), live.shares().layout.count(1)), (500, 500));
}

#[test]
fn evidence_is_written_once_a_minute_where_there_is_any() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let mut live = start(&path, STEPS);
    let length = || std::fs::metadata(&path).unwrap().len();
    let before = length();
    for s in 0..59 {
        second(&mut live, s, OK);
    }
    assert_eq!(length(), before);
    second(&mut live, 59, OK);
    let after = length();
    assert!(after > before);
    for s in 61..200 {
        live.look(vec![], Source::Local, at(s));
    }
    assert_eq!(length(), after, "nothing happened since");
}

#[test]
fn a_reload_changes_steps_and_limits_and_keeps_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let mut live = start(&dir.path().join("journal"), STEPS);
    let evidence = Arc::clone(live.evidence());
    live.look(vec![Command::Promote], Source::Local, at(1));
    reconfigured(&mut live, "steps 2% 5m, 50% 5m, 100%;", at(2));
    assert_eq!((live.state().weight(), live.shares().layout.count(1)), (500, 500));
    assert!(Arc::ptr_eq(&evidence, live.evidence()));
    live.look(vec![Command::Promote], Source::Local, at(3));
    assert_eq!(live.shares().layout.count(1), 5000);
    reconfigured(&mut live, "limit p99 > 1s; steps 2% 5m, 50% 5m, 100%;", at(4));
    assert!(!Arc::ptr_eq(&evidence, live.evidence()));
    assert_eq!(live.shares().layout.count(1), 5000);
    live.look(vec![Command::Abort], Source::Local, at(5));
    reconfigured(&mut live, "weight 30%;", at(6));
    assert_eq!((live.state().phase, live.shares().layout.count(1)), (Phase::Aborted, 0));
}

#[test]
fn without_a_journal_nothing_advances_and_a_rollback_happens_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let mut live = start(&path, STEPS);
    live.journal().unwrap().touch(Journal::break_for_test);
    let looked = live.look(vec![Command::Promote], Source::Local, at(1));
    assert!(matches!(looked.answers[..], [Err(NotDone::Unwritten(_))]), "{looked:?}");
    assert!(looked.fault.is_some() && looked.events.is_empty());
    assert_eq!(live.shares().layout.count(1), 100);
    for s in 1..400 {
        second(&mut live, s, OK);
    }
    assert_eq!(live.shares().layout.count(1), 100, "the step is over, but cannot be written down");
    let looked = second(&mut live, 400, BAD);
    assert_eq!(looked.events.last().map(|it| it.kind), Some(Kind::RolledBack));
    assert!(looked.fault.is_some() && live.shares().is_closed(1));
    live.journal().unwrap().touch(Journal::mend_for_test);
    live.look(vec![], Source::Local, at(403));
    drop(live);
    assert_eq!(start(&path, STEPS).state().phase, Phase::RolledBack, "it was owed, and is written");
}

#[test]
fn three_canaries_lie_after_a_restart_as_before() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let text = "http { upstream a { server 127.0.0.1; } upstream b { server 127.0.0.1; }
        rollout api { stable a; canary b version=v2; canary b version=v3 weight=20%;
        canary b version=v4 weight=20%; weight 20%; } } events { }";
    let model = config::load_text("conf", text, None).unwrap().model;
    let plan = Plan::new(&model.http.unwrap().rollouts[0]);
    let start = || {
        let (journal, recovered) = opened(&path);
        started(plan.clone(), journal, &recovered)
    };
    let mut live = start();
    let set = |canary: &str, weight| Command::SetWeight { canary: Some(canary.into()), weight };
    live.look(
        vec![set("v2", 4500), set("v4", 3000), set("v2", 3000), set("v4", 3400)],
        Source::Local,
        at(1),
    );
    let before = live.shares().layout.runs();
    assert_eq!(live.shares().layout.count(1), 3000);
    live.look(vec![Command::Pause], Source::Local, at(2));
    drop(live);
    assert_eq!(start().shares().layout.runs(), before);
}

#[test]
fn what_cannot_be_written_gives_no_canary_more() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let mut live = start(&path, "weight 5%;");
    live.journal().unwrap().touch(Journal::break_for_test);
    let seam = Seam::new(1, 1000);
    let fault = live.reconfigure(plan("limit p99 > 1s; weight 30%;"), seam.clone(), at(1));
    assert!(fault.is_some());
    assert_eq!(seam.shares.layout.count(1), 500, "as before, in what is read now");
    assert!(live.look(vec![], Source::Local, at(2)).fault.is_some());
    assert_eq!(seam.shares.layout.count(1), 500);
    live.journal().unwrap().touch(Journal::mend_for_test);
    assert!(live.look(vec![], Source::Local, at(3)).fault.is_none());
    assert_eq!(seam.shares.layout.count(1), 3000);
}

#[test]
fn a_start_that_cannot_be_written_is_stable_s() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, recovered) = opened(&dir.path().join("journal"));
    std::fs::create_dir(dir.path().join("journal.new")).unwrap();
    let seam = Seam::new(1, 2000);
    let plan = plan("weight 5%;");
    let (mut live, fault) = Live::start(plan, Some(journal), &recovered, seam.clone(), at(0));
    assert!(fault.is_some());
    assert_eq!((seam.shares.layout.count(1), live.state().weight()), (0, 500));
    std::fs::remove_dir(dir.path().join("journal.new")).unwrap();
    assert!(live.look(vec![], Source::Local, at(1)).fault.is_none());
    assert_eq!(seam.shares.layout.count(1), 500);
}

#[test]
fn users_stay_with_their_label_when_the_list_of_canaries_changes() {
    let dir = tempfile::tempdir().unwrap();
    let mut live = start(&dir.path().join("journal"), "canary b version=v3 weight=20%; weight 5%;");
    let (first, last) = (live.shares().layout.owner(0), live.shares().layout.owner(9999));
    assert_eq!((first, last), (1, 2));
    let text = "http { upstream a { server 127.0.0.1; } upstream b { server 127.0.0.1; }
        rollout api { stable a; canary b version=v3; weight 20%; } } events { }";
    let model = config::load_text("conf", text, None).unwrap().model;
    let seam = Seam::new(1, 2000);
    live.reconfigure(Plan::new(&model.http.unwrap().rollouts[0]), seam.clone(), at(1));
    let layout = &seam.shares.layout;
    assert_eq!((layout.count(1), layout.owner(0), layout.owner(9999)), (2000, 0, 1));
}
