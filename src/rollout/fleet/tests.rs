//! Rollouts over configurations: begun, commanded, reconfigured, moved, ended.

use super::*;
use crate::clock::Tick;
use crate::config;
use crate::config::diagnostic::Diagnostics;
use crate::rollout::controller::{Kind, Refused};
use crate::rollout::evidence::Ending;
use crate::rollout::journal::Journal;
use parking_lot::Mutex;
use std::path::Path;

struct World {
    registry: Arc<Registry>,
    fleet: Fleet,
    dir: tempfile::TempDir,
    told: Arc<Mutex<Vec<Transition>>>,
    seconds: u64,
}

fn world() -> World {
    let (registry, told) = (Arc::new(Registry::default()), Arc::new(Mutex::new(Vec::new())));
    let sink = Arc::clone(&told);
    let fleet = Fleet::new(
        Arc::clone(&registry),
        Box::new(move |news| {
            if let News::Transition(it) = news {
                sink.lock().push(it);
            }
        }),
    );
    World { registry, fleet, dir: tempfile::tempdir().unwrap(), told, seconds: 0 }
}

impl World {
    fn now(&mut self) -> Now {
        self.seconds += 1;
        let unix_ms = 1_700_000_000_000 + self.seconds * 1000;
        Now { tick: Tick::from_us(self.seconds * 1_000_000), unix_ms }
    }

    fn built(&self, blocks: &str) -> Rollouts {
        let text = format!(
            "http {{ upstream a {{ server 127.0.0.1; }} upstream b {{ server 127.0.0.1; }} {blocks}
             }} events {{ }}"
        );
        let model = config::load_text("conf", &text, None).unwrap().model;
        let mut diagnostics = Diagnostics::default();
        let rollouts = model.http.unwrap().rollouts;
        let built = self.registry.build(&rollouts, self.dir.path(), &mut diagnostics);
        assert_eq!(diagnostics.to_string(), "");
        built
    }

    fn takes_over(&mut self, blocks: &str) -> Result<(), Diagnostics> {
        let built = self.built(blocks);
        let opened = loop {
            match self.fleet.known().open(&built) {
                // The children that other tests start hold all locks until they are programs.
                Err(faults) if faults.to_string().contains("another process") => {}
                opened => break opened?,
            }
        };
        let now = self.now();
        self.fleet.commit(&built, opened, now);
        Ok(())
    }

    fn asked(&mut self, name: &str, command: Command) -> Answer {
        let entry = self.registry.find(name).unwrap();
        let mut receiver = entry.ask(command).unwrap();
        self.turn();
        receiver.try_recv().unwrap()
    }

    fn turn(&mut self) {
        let now = self.now();
        let inbox = self.registry.inbox();
        let orders = inbox.as_ref().map(|it| it.try_iter().collect()).unwrap_or_default();
        self.fleet.turn(orders, now);
        if let Some(inbox) = inbox {
            self.registry.put_back(inbox);
        }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }
}

const API: &str = "rollout api { stable a; canary b version=v2; steps 1% 5m, 5% 5m, 100%; }";

#[test]
fn a_rollout_begins_is_commanded_and_goes_on_in_the_next_process() {
    let mut world = world();
    world.takes_over(API).unwrap();
    let entry = world.registry.find("api").unwrap();
    assert_eq!((entry.shares().layout.count(1), entry.status().state), (100, Phase::Running));
    let status = world.asked("api", Command::Promote).unwrap();
    assert_eq!((status.weight, entry.shares().layout.count(1)), (500, 500));
    assert_eq!(status.steps, ["1% 5m", "5% 5m", "100%"]);
    assert!(status.reason.starts_with("promoted: an operator's word; "), "{}", status.reason);
    world.asked("api", Command::Abort).unwrap();
    let refused = world.asked("api", Command::Promote).unwrap_err();
    assert_eq!(refused, NotDone::Refused(Refused::Latched(Phase::Aborted)));
    let told: Vec<_> = world.told.lock().iter().map(|it| it.event.kind).collect();
    assert_eq!(told, [Kind::Promoted, Kind::Aborted]);
    let now = world.now();
    world.fleet.end(now);
    let (registry, told) = (Arc::new(Registry::default()), Box::new(|_| {}));
    world.fleet = Fleet::new(Arc::clone(&registry), told);
    world.registry = registry;
    world.takes_over(API).unwrap();
    let entry = world.registry.find("api").unwrap();
    let status = entry.status();
    assert_eq!((status.state, entry.shares().is_closed(1)), (Phase::Aborted, true));
    assert!(status.reason.starts_with("aborted: "), "why is not forgotten: {}", status.reason);
}

#[test]
fn a_script_s_commands_are_followed_without_an_answer() {
    let mut world = world();
    world.takes_over(API).unwrap();
    let entry = world.registry.find("api").unwrap();
    entry.send(Command::SetWeight { canary: None, weight: 700 }).unwrap();
    entry.send(Command::SetWeight { canary: Some("v9".into()), weight: 700 }).unwrap();
    world.turn();
    assert_eq!((entry.status().weight, entry.status().state), (700, Phase::Paused));
}

#[test]
fn a_refused_configuration_leaves_no_trace() {
    let mut world = world();
    world.takes_over(API).unwrap();
    let live = world.registry.live();
    let other = "rollout shop { stable a; canary b; weight 5%; }";
    let built = world.built(&format!("{other} {}", API.replace("1% 5m", "3% 5m")));
    drop((world.fleet.known().open(&built).unwrap(), built));
    world.turn();
    assert!(!world.path("rollouts/shop.journal").exists());
    assert!(Arc::ptr_eq(&live[0], &world.registry.live()[0]));
    assert_eq!(world.registry.live()[0].status().steps[0], "1% 5m");
    // A folder where a journal should be: this one fault refuses all.
    std::fs::create_dir(world.path("taken")).unwrap();
    let built = world.built("rollout shop { stable a; canary b; }");
    assert_eq!(built.iter().count(), 1);
    let broken = Wanted { journal: world.path("taken"), ..built.get("shop").unwrap().clone() };
    let text = world.fleet.known().open_one(&broken).unwrap_err();
    assert!(text.contains("failed (21: Is a directory)"), "{text}");
}

#[test]
fn a_rollout_that_leaves_the_configuration_ends_and_may_come_back() {
    let mut world = world();
    world.takes_over(API).unwrap();
    let entry = world.registry.find("api").unwrap();
    world.asked("api", Command::Promote).unwrap();
    world.takes_over("").unwrap();
    assert!(world.registry.find("api").is_none() && world.fleet.is_empty());
    let mut answer = entry.ask(Command::Abort).unwrap();
    world.turn();
    assert_eq!(answer.try_recv().unwrap().unwrap_err(), NotDone::Gone);
    drop(entry);
    world.takes_over(API).unwrap();
    assert_eq!(world.registry.find("api").unwrap().shares().layout.count(1), 500);
}

#[test]
fn a_new_limit_gives_workers_another_entry_and_keeps_the_weight() {
    let mut world = world();
    world.takes_over(API).unwrap();
    world.asked("api", Command::Promote).unwrap();
    let before = world.registry.find("api").unwrap();
    world.takes_over(&API.replace("steps", "limit p99 > 1s; steps")).unwrap();
    let after = world.registry.find("api").unwrap();
    assert!(!Arc::ptr_eq(&before, &after));
    assert_eq!((after.shares().layout.count(1), after.status().weight), (500, 500));
    world.asked("api", Command::Abort).unwrap();
    assert!(after.shares().is_closed(1));
}

#[test]
fn a_journal_may_move_but_not_onto_a_history() {
    let mut world = world();
    world.takes_over(API).unwrap();
    world.asked("api", Command::Abort).unwrap();
    world.takes_over(&API.replace("steps", "journal moved; steps")).unwrap();
    let text = std::fs::read_to_string(world.path("moved")).unwrap();
    assert!(text.lines().last().unwrap().starts_with("X "), "the abort moved with it: {text}");
    // Renamed under our hands: it is the same file.
    std::fs::rename(world.path("moved"), world.path("renamed")).unwrap();
    world.takes_over(&API.replace("steps", "journal renamed; steps")).unwrap();
    let faults = world.takes_over(API).unwrap_err().to_string();
    assert!(faults.contains("rollouts/api.journal\" has a history of its own"), "{faults}");
    assert_eq!(world.registry.find("api").unwrap().status().state, Phase::Aborted);
}

#[test]
fn a_journal_of_another_process_is_waited_for_then_a_fault() {
    let world = world();
    let built = world.built(API);
    let (held, _, _) = loop {
        match Journal::open(&world.path("rollouts/api.journal"), "api", &[7; 32]) {
            Err(journal::Error::Held(_)) => {}
            opened => break opened.unwrap(),
        }
    };
    let text = world.fleet.known().open(&built).unwrap_err().to_string();
    assert!(text.contains("another process writes the journal"), "{text}");
    drop(held);
    assert!(world.fleet.known().open(&built).is_ok());
}

#[test]
fn metrics_show_rollouts_and_forget_them() {
    let mut world = world();
    let blocks = "rollout shown { stable a; canary b version=v2; weight 5%; }";
    world.takes_over(blocks).unwrap();
    let text = metrics::catalog().text();
    for line in [
        "moongate_rollout_state{rollout=\"shown\",state=\"steady\"} 1",
        "moongate_rollout_state{rollout=\"shown\",state=\"running\"} 0",
        "moongate_rollout_weight{canary_version=\"v2\",rollout=\"shown\"} 0.05",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    let began = "moongate_rollout_evidence_total{by=\"choice\",canary_version=\"v2\",\
                 limit=\"latency\",result=\"bad\",rollout=\"shown\"} 0\n";
    assert!(text.contains(began), "{text}");
    world.asked("shown", Command::Abort).unwrap();
    let decided = "moongate_rollout_events_total{event=\"aborted\",rollout=\"shown\"} 1";
    assert!(metrics::catalog().text().contains(decided));
    world.takes_over("").unwrap();
    let text = metrics::catalog().text();
    assert!(!text.contains("moongate_rollout_state{rollout=\"shown\""), "{text}");
    assert!(!text.contains("canary_version=\"v2\",rollout=\"shown\""), "{text}");
    let evidence = |it: &&str| it.starts_with("moongate_rollout_evidence") && it.contains("shown");
    assert_eq!(text.lines().find(evidence), None);
}

#[test]
fn a_journal_that_cannot_be_written_is_said_and_counted() {
    let mut world = world();
    let blocks = "rollout faulty { stable a; canary b; weight 5%; }";
    std::fs::create_dir_all(world.path("rollouts/faulty.journal.new")).unwrap();
    world.takes_over(blocks).unwrap();
    let entry = world.registry.find("faulty").unwrap();
    let fault = entry.status().journal_fault.clone().unwrap();
    assert!(fault.contains("rollouts/faulty.journal.new"), "{fault}");
    assert_eq!(entry.shares().layout.count(1), 0);
    let counted = "moongate_rollout_journal_faults_total{rollout=\"faulty\"} ";
    assert!(metrics::catalog().text().contains(counted));
    std::fs::remove_dir(Path::new(&world.path("rollouts/faulty.journal.new"))).unwrap();
    world.turn();
    assert_eq!((entry.status().journal_fault.clone(), entry.shares().layout.count(1)), (None, 500));
}

/// A disk that hangs holds neither the retreat of its own rollout nor anything of another's.
#[test]
fn a_disk_that_hangs_delays_no_retreat() {
    let mut world = world();
    let block = |name: &str| API.replace("api", name);
    world.takes_over(&[block("hung"), block("free")].concat()).unwrap();
    let (hung, free) = (world.registry.find("hung").unwrap(), world.registry.find("free").unwrap());
    let (release, hang) = std::sync::mpsc::channel::<()>();
    world.fleet.members[0].live.journal().unwrap().touch(move |_| while hang.recv().is_ok() {});
    let unwritten = world.asked("hung", Command::Promote).unwrap_err();
    assert!(matches!(&unwritten, NotDone::Unwritten(why) if why.contains("the disk")));
    assert_eq!(hung.shares().layout.count(1), 100, "nothing is given that is not written");
    world.asked("free", Command::Promote).unwrap();
    assert_eq!(free.shares().layout.count(1), 500);
    // Both canaries fail: both are off behind one look, and the one that can be written is.
    for entry in [&hung, &free] {
        for number in 0..400u64 {
            let variant = u8::from(number % 20 == 0);
            let began = Tick::from_us(number);
            let request = entry.evidence().begin(variant, true, 0, began);
            let status = if variant == 1 { 500 } else { 200 };
            entry.evidence().end(request, Ending::Answered { status, grpc: None }, began);
        }
    }
    let began = clock::precise();
    world.turn();
    assert!(clock::precise() - began < crate::rollout::writer::PATIENCE, "it is known to hang");
    for entry in [&hung, &free] {
        assert_eq!((entry.shares().layout.count(1), entry.shares().is_closed(1)), (0, true));
        assert_eq!(entry.status().state, Phase::RolledBack);
    }
    assert!(hung.status().journal_fault.is_some());
    assert_eq!(free.status().journal_fault, None);
    // It answers again: what is owed is written, and the rollback is not forgotten.
    drop(release);
    while hung.status().journal_fault.is_some() {
        world.turn();
    }
    let now = world.now();
    world.fleet.end(now);
    let recovered = Journal::look(&world.path("rollouts/hung.journal"), "hung").unwrap();
    let Recovered::Record(record) = recovered else { panic!("{recovered:?}") };
    assert_eq!(record.state.phase, Phase::RolledBack);
}
