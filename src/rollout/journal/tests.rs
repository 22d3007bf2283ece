//! Journals cut, damaged, full, held by another, and killed.

use super::*;
use crate::rollout::controller::{Command, Input, step};
use crate::rollout::hash::Random;
use crate::rollout::state::Seen;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

const SECRET: [u8; 32] = [7; 32];
/// Tells the process that is to be killed where its journal is.
const VICTIM: &str = "MOONGATE_TEST_JOURNAL";

fn plan() -> Plan {
    let text = "http { upstream a { server 127.0.0.1; } upstream b { server 127.0.0.1; }
        rollout api { stable a; canary b version=v2; steps 1% 5m, 5% 5m, 25% 5m, 100%; } }
        events { }";
    let loaded = crate::config::load_text("conf", text, None).unwrap();
    Plan::new(&loaded.model.http.unwrap().rollouts[0])
}

fn open(path: &Path) -> (Journal, Recovered) {
    let (journal, recovered, _) = open_as(path, "api", &SECRET);
    (journal, recovered)
}

/// Opens a journal. The children that other tests start hold all locks until they are programs.
fn open_as(path: &Path, name: &str, secret: &[u8; 32]) -> (Journal, Recovered, String) {
    loop {
        match Journal::open(path, name, secret) {
            Err(Error::Held(_)) => std::thread::yield_now(),
            result => return result.unwrap(),
        }
    }
}

fn bytes_of(state: &State, journal: &mut Journal, kind: Kind) {
    let event = Event { kind, ..checkpoint(state) };
    journal.append(&record(1, event, state, vec![(0, 10_000)])).unwrap();
}

/// A rollout that is promoted thrice, rolled back, resumed and promoted: its states in order.
fn history(journal: &mut Journal) -> Vec<State> {
    let plan = plan();
    let mut states = vec![State::begin(&plan)];
    bytes_of(&states[0], journal, Kind::Configured);
    let commands = [
        Command::Promote,
        Command::Promote,
        Command::Abort,
        Command::Resume,
        Command::SetWeight { canary: None, weight: 4000 },
        Command::Abort,
    ];
    for command in commands {
        let input = Input { commands: vec![command], ..Input::default() };
        let stepped = step(&plan, states.last().unwrap(), &input);
        bytes_of(&stepped.state, journal, stepped.events[0].kind);
        states.push(stepped.state);
    }
    states
}

#[test]
fn what_was_written_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("api.journal");
    let (mut journal, recovered, secret) = open_as(&path, "api", &SECRET);
    assert_eq!((recovered, secret.len()), (Recovered::Nothing, 64));
    let states = history(&mut journal);
    drop(journal);
    let (_, recovered, again) = open_as(&path, "api", &[9; 32]);
    assert_eq!((&again, recovered.state(&plan())), (&secret, states.last().unwrap().clone()));
    let mode = fs::metadata(&path).unwrap().mode();
    assert_eq!(mode & 0o777, 0o600, "it holds a secret");
}

#[test]
fn cut_at_every_byte_it_starts_below_what_was_durable_and_no_rollback_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("api.journal");
    let states = history(&mut open(&path).0);
    let bytes = fs::read(&path).unwrap();
    let ends: Vec<usize> =
        bytes.iter().enumerate().filter(|it| *it.1 == b'\n').map(|it| it.0 + 1).collect();
    assert_eq!(ends.len(), states.len() + 1);
    let plan = plan();
    for length in 0..=bytes.len() {
        let state = read(&bytes[..length], "api").recovered.state(&plan);
        let durable = ends.iter().filter(|end| **end <= length).count();
        let torn = durable > 0 && !ends.contains(&length);
        match durable {
            0 | 1 => assert_eq!(state, states[0], "{length}: it begins"),
            _ if torn && states.get(durable - 1).is_some_and(State::is_latched) => {
                assert_eq!((state.weight(), state.phase), (0, Phase::RolledBack), "{length}");
                assert_eq!(state.closed(), 0b10, "{length}: the torn record closed it");
            }
            _ => assert_eq!(state, states[durable - 2], "{length}"),
        }
        if length % 41 == 0 {
            fs::write(&path, &bytes[..length]).unwrap();
            let (mut journal, recovered) = open(&path);
            assert_eq!(recovered.state(&plan), state, "{length}: the file says the same");
            bytes_of(&state, &mut journal, Kind::Configured);
            drop(journal);
            assert_eq!(open(&path).1.state(&plan), state, "{length}: it goes on");
        }
    }
}

#[test]
fn a_crash_that_leaves_zeros_leaves_a_torn_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("api.journal");
    let states = history(&mut open(&path).0);
    let mut bytes = fs::read(&path).unwrap();
    bytes.extend([0; 300]);
    fs::write(&path, &bytes).unwrap();
    assert_eq!(open(&path).1.state(&plan()), states.last().unwrap().clone());
    fs::write(&path, [0; 300]).unwrap();
    assert_eq!(open(&path).1, Recovered::Nothing);
}

#[test]
fn what_is_damaged_means_stable_and_is_put_aside() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("api.journal");
    history(&mut open(&path).0);
    let bytes = fs::read(&path).unwrap();
    let plan = plan();
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        let recovered = read(&damaged, "api").recovered;
        let state = recovered.state(&plan);
        assert_eq!((state.weight(), state.closed()), (0, 0b10), "byte {at}: {recovered:?}");
        if at + 1 == bytes.len() {
            continue; // the last line end: a torn record of an abort
        }
        assert!(matches!(recovered, Recovered::Unreadable(_)), "byte {at}");
        if at % 41 != 0 {
            continue;
        }
        fs::write(&path, &damaged).unwrap();
        let (mut journal, again) = open(&path);
        assert_eq!(again, recovered);
        assert_eq!(fs::read(&path).unwrap(), damaged, "a crash now would forget nothing");
        bytes_of(&state, &mut journal, Kind::Configured);
        assert_eq!(fs::read(dir.path().join("api.journal.unreadable")).unwrap(), damaged);
        drop(journal);
        let state = open(&path).1.state(&plan);
        assert_eq!(state.phase, Phase::Unreadable, "and it stays so");
    }
}

#[test]
fn another_rollout_s_journal_is_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("api.journal");
    history(&mut open(&path).0);
    let (_, recovered, _) = open_as(&path, "shop", &SECRET);
    assert_eq!(recovered, Recovered::Unreadable("it is that of rollout \"api\"".to_owned()));
    fs::write(&path, "server { listen 80; }").unwrap();
    let (_, recovered, _) = open_as(&path, "shop", &SECRET);
    assert_eq!(recovered, Recovered::Unreadable("it is no journal".to_owned()));
}

#[test]
fn opening_alone_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("api.journal");
    drop(open(&path));
    assert!(!path.exists(), "nothing was written: nothing is left");
    history(&mut open(&path).0);
    let mut bytes = fs::read(&path).unwrap();
    bytes.truncate(bytes.len() - 10);
    fs::write(&path, &bytes).unwrap();
    for _ in 0..2 {
        let recovered = open(&path).1;
        assert!(matches!(recovered, Recovered::TornRollback(Some(_))), "{recovered:?}");
    }
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[test]
fn a_look_at_the_secret_writes_nothing_and_knows_whose_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("api.journal");
    assert_eq!(Journal::peek(&path, "api"), Ok(None));
    assert!(!path.exists());
    let (mut journal, _, secret) = open_as(&path, "api", &SECRET);
    history(&mut journal);
    assert_eq!(Journal::peek(&path, "api"), Ok(Some(secret)), "held by another or not");
    let error = Journal::peek(&path, "shop").unwrap_err();
    assert!(error.ends_with("is that of rollout \"api\""), "{error}");
    let error = Journal::peek(&dir.path().join("none/api.journal"), "api").unwrap_err();
    assert!(error.starts_with("there is no folder"), "{error}");
}

#[test]
fn one_process_writes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("api.journal");
    let (journal, _) = open(&path);
    let error = Journal::open(&path, "api", &SECRET).unwrap_err().to_string();
    assert!(error.starts_with("another process writes the journal"), "{error}");
    drop(journal);
    open(&path);
}

#[test]
fn it_does_not_grow_for_ever_and_keeps_its_lock() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("api.journal");
    let (mut journal, _, secret) = open_as(&path, "api", &SECRET);
    let mut state = State::begin(&plan());
    for number in 0..600 {
        state.requests = number;
        bytes_of(&state, &mut journal, Kind::Checkpoint);
        assert!(fs::metadata(&path).unwrap().len() <= LONGEST_BYTES);
    }
    assert!(matches!(Journal::open(&path, "api", &SECRET), Err(Error::Held(_))));
    drop(journal);
    let (_, recovered, again) = open_as(&path, "api", &[9; 32]);
    assert_eq!((recovered.state(&plan()), again), (state, secret));
}

#[test]
fn a_failed_write_leaves_no_half_record() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("api.journal");
    let (mut journal, _) = open(&path);
    let states = history(&mut journal);
    let length = fs::metadata(&path).unwrap().len();
    journal.file = File::open(&path).unwrap(); // not for writing
    let event = checkpoint(&states[0]);
    assert!(journal.append(&record(1, event.clone(), &states[0], vec![])).is_err());
    assert_eq!(fs::metadata(&path).unwrap().len(), length);
    journal.file = File::options().read(true).write(true).open(&path).unwrap();
    journal.append(&record(1, event, &states[0], vec![])).unwrap();
    drop(journal);
    assert_eq!(open(&path).1.state(&plan()), states[0]);
}

/// The process that is killed: it moves its rollout as fast as the disk allows and says each
/// weight that is durable. Not told a journal, it does so a while in one of its own.
#[test]
fn a_victim_writes_until_it_is_killed() {
    let told = std::env::var_os(VICTIM);
    let dir = tempfile::tempdir().unwrap();
    let path = told.as_ref().map_or_else(|| dir.path().join("journal"), PathBuf::from);
    let (mut journal, recovered) = open(&path);
    let plan = plan();
    let mut state = recovered.state(&plan);
    let mut random = Random::new(u64::from(std::process::id()));
    let rounds = if told.is_some() { u64::MAX } else { 50 };
    for _ in 0..rounds {
        let commands = vec![match random.below(8) {
            0 => Command::Abort,
            1..=3 => Command::Resume,
            _ => Command::Promote,
        }];
        let input = Input { commands, seen: vec![Seen::default()], passed_ms: 1, is_frozen: false };
        let stepped = step(&plan, &state, &input);
        if stepped.events.is_empty() {
            continue;
        }
        println!("trying {} {}", stepped.state.weight(), u8::from(stepped.state.is_latched()));
        bytes_of(&stepped.state, &mut journal, stepped.events[0].kind);
        println!("durable {} {}", stepped.state.weight(), u8::from(stepped.state.is_latched()));
        state = stepped.state;
    }
    drop(journal);
    assert_eq!(open(&path).1.state(&plan), state);
}

fn victim(path: &Path) -> Child {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "--nocapture", "--test-threads=1"])
        .arg("rollout::journal::tests::a_victim_writes_until_it_is_killed")
        .env(VICTIM, path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command.spawn().unwrap()
}

#[test]
fn killed_at_200_moments_it_goes_on_from_what_was_durable() {
    let latched: usize = std::thread::scope(|scope| {
        let rounds: Vec<_> = (0..4).map(|seed| scope.spawn(move || killed(seed, 50))).collect();
        rounds.into_iter().map(|it| it.join().unwrap()).sum()
    });
    assert!(latched > 5, "only {latched} were killed while rolled back");
}

/// Starts and kills a victim so often; how often it was rolled back then.
fn killed(seed: u64, rounds: u64) -> usize {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("api.journal");
    let mut random = Random::new(seed);
    let mut latched = 0;
    for round in 0..rounds {
        let mut child = victim(&path);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = vec![];
        // A random number of its lines, and a random moment behind the last of them.
        for _ in 0..random.below(24) {
            seen.push(lines.next().unwrap().unwrap());
        }
        for _ in 0..random.below(20_000) {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        seen.extend(lines.map_while(Result::ok));
        child.wait().unwrap();
        let state = open(&path).1.state(&plan());
        let is = format!("{} {}", state.weight(), u8::from(state.is_latched()));
        let word = |line: &String, word: &str| {
            Some(line.trim_start().strip_prefix(word)?.trim().to_owned())
        };
        // What it said durable last, or what it tried behind that and did not live to say.
        let said = seen.iter().rev().find_map(|it| word(it, "durable"));
        let tried = seen.iter().rev().find_map(|it| word(it, "trying"));
        if let Some(said) = said {
            assert!(is == said || Some(&is) == tried.as_ref(), "round {round}: {is}, not {said}");
        }
        latched += usize::from(state.is_latched());
    }
    latched
}
