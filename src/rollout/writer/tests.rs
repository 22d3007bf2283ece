//! A disk that hangs, and one that comes back.

use super::*;
use crate::rollout::journal::{checkpoint, record};
use crate::rollout::plan::Plan;
use crate::rollout::state::State;

fn plan() -> Plan {
    let text = "http { upstream a { server 127.0.0.1; } upstream b { server 127.0.0.1; }
        rollout api { stable a; canary b version=v2; weight 5%; } } events { }";
    let loaded = crate::config::load_text("conf", text, None).unwrap();
    Plan::new(&loaded.model.http.unwrap().rollouts[0])
}

fn opened(path: &Path) -> Journal {
    loop {
        // The children that other tests start hold all locks until they are programs.
        match Journal::open(path, "api", &[7; 32]) {
            Err(Error::Held(_)) => std::thread::yield_now(),
            result => return result.unwrap().0,
        }
    }
}

fn records(at_ms: u64) -> Vec<Record> {
    let state = State::begin(&plan());
    vec![record(at_ms, checkpoint(&state), &state, vec![])]
}

fn lines(path: &Path) -> usize {
    std::fs::read(path).unwrap_or_default().split(|it| *it == b'\n').count() - 1
}

#[test]
fn a_disk_that_hangs_is_waited_for_once_and_then_refused_until_it_answers() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let mut writer = Writer::start(opened(&path)).unwrap();
    writer.begin(records(1));
    writer.end(clock::precise()).unwrap();
    let (release, hang) = mpsc::channel::<()>();
    writer.touch(move |_| while hang.recv().is_ok() {});
    writer.begin(records(2));
    let began = clock::precise();
    assert!(matches!(writer.end(began), Err(Error::Slow(_))));
    assert!(clock::precise() - began >= PATIENCE);
    // Nobody waits again, and nothing more is handed over.
    let again = clock::precise();
    for at_ms in 3..30 {
        writer.begin(records(at_ms));
        let said = writer.end(clock::precise()).unwrap_err().to_string();
        assert!(said.starts_with("the disk has not taken what is for the journal"), "{said}");
    }
    assert!(clock::precise() - again < PATIENCE);
    drop(release);
    loop {
        writer.begin(records(31));
        match writer.end(clock::precise()) {
            Err(Error::Slow(_)) => std::thread::yield_now(),
            result => break result.unwrap(),
        }
    }
    assert_eq!(lines(&path), 1 + 3, "its first line, and what was handed over");
}

#[test]
fn a_journal_is_closed_when_its_writer_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    for at_ms in 0..20 {
        let mut writer = Writer::start(opened(&path)).unwrap();
        writer.begin(records(at_ms));
        drop(writer);
    }
    assert_eq!(lines(&path), 1 + 20, "what was handed over is written first");
}
