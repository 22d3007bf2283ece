//! The CPU time that a handler may take. A watchdog thread samples the workers; a run that has
//! used up its budget is stopped with `execution time limit exceeded`.
//!
//! Counted is the worker's CPU time while the run holds it, summed over its resumes: a script that
//! the system deschedules is not charged, one that spins and yields is. What a run used is forgiven
//! at a tenth of real time while it rests, so that a timer may go on for ever at that share.

use crate::lua::ffi::clock;
use crate::lua::ffi::clock::Clock;
use crate::lua::ffi::clock::Sight;
use crate::lua::ffi::heap::State;
use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Once;
use std::time::Duration;

/// How often the watchdog looks.
const TICK: Duration = Duration::from_millis(20);
/// Turns between two looks from which on a run is charged for what lies between them, too.
const MANY_TURNS: u64 = 100;
/// What a resting run is forgiven at each look.
const FORGIVEN_NS: u64 = TICK.as_nanos() as u64 / 10;

/// The budgets of the runs of one VM.
#[derive(Debug)]
pub struct Budget {
    clock: &'static Clock,
    /// Numbers of runs are the thread's own: two VMs of it share a clock.
    runs: Cell<u64>,
}

thread_local! {
    static RUNS: Cell<u64> = const { Cell::new(0) };
}

impl Budget {
    /// Budgets on this thread's clock; starts the watchdog if none is there.
    pub fn of_this_thread() -> Self {
        start_watchdog();
        Self { clock: Clock::of_this_thread(), runs: Cell::new(0) }
    }

    /// A number for one more run.
    pub fn new_run(&self) -> u64 {
        self.runs.set(self.runs.get() + 1);
        RUNS.set(RUNS.get() + 1);
        RUNS.get()
    }

    /// How many runs there were.
    pub fn runs(&self) -> u64 {
        self.runs.get()
    }

    /// Lua begins to run for `run`, to take at most `limit_ms` of CPU time (0: no limit).
    pub fn enter(&self, state: &State, run: u64, limit_ms: u64) -> bool {
        self.clock.enter(state, run, limit_ms)
    }

    /// Lua has returned; gives whether it was stopped.
    pub fn leave(&self, state: &State, entered: bool) -> bool {
        self.clock.leave(state, entered)
    }

    /// Whether Lua runs on this thread.
    pub fn is_running(&self) -> bool {
        self.clock.sight().run.is_some()
    }

    /// Whether what runs now has been stopped: its error must not be caught.
    pub fn is_killed(&self) -> bool {
        self.clock.is_killed()
    }
}

fn start_watchdog() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        clock::install_signal_handler();
        let spawned = std::thread::Builder::new().name("lua-watchdog".to_owned()).spawn(|| {
            let mut watch = Watch::default();
            loop {
                std::thread::sleep(TICK);
                clock::each_clock(|id, clock| {
                    if let Some(run) = watch.look(id, clock.sight()) {
                        clock.interrupt(run);
                    }
                });
                watch.end_round();
            }
        });
        if let Err(error) = spawned {
            log::error!("cannot start the thread that stops runaway scripts: {error}");
        }
    });
}

/// What the watchdog remembers from look to look.
#[derive(Debug, Default)]
struct Watch {
    /// Each thread at the last look.
    before: HashMap<usize, Sight>,
    spent: HashMap<(usize, u64), Spent>,
}

/// What a run has used.
#[derive(Debug, Default)]
struct Spent {
    ns: u64,
    rested: bool,
}

impl Watch {
    /// Charges the run that has thread `id` for the time since the last look; gives it when it has
    /// to be stopped. A run seen now and then is so charged for its share of the time.
    fn look(&mut self, id: usize, sight: Sight) -> Option<u64> {
        let before = self.before.insert(id, sight).unwrap_or(sight);
        // A run that comes and goes so often spins: the driver works for nobody else.
        let spins = sight.last_run == before.last_run && sight.turns - before.turns >= MANY_TURNS;
        let run = sight.run.or(spins.then_some(sight.last_run))?;
        let spent = self.spent.entry((id, run)).or_default();
        spent.rested = false;
        spent.ns += sight.cpu_ns.saturating_sub(before.cpu_ns);
        let over = sight.limit_ms != 0 && spent.ns >= sight.limit_ms * 1_000_000;
        over.then_some(run)
    }

    /// Forgives those that rested in this round.
    fn end_round(&mut self) {
        self.spent.retain(|_, spent| {
            if spent.rested {
                spent.ns = spent.ns.saturating_sub(FORGIVEN_NS);
            }
            let kept = !spent.rested || spent.ns > 0;
            spent.rested = true;
            kept
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sight(run: impl Into<Option<u64>>, cpu_ms: u64) -> Sight {
        let run = run.into();
        let last_run = run.unwrap_or_default();
        Sight { run, last_run, turns: 0, limit_ms: 100, cpu_ns: cpu_ms * 1_000_000 }
    }

    #[test]
    fn a_run_is_charged_for_the_cpu_time_between_looks() {
        let mut watch = Watch::default();
        assert_eq!(watch.look(1, sight(7, 5000)), None);
        assert_eq!(watch.look(1, sight(7, 5099)), None);
        assert_eq!(watch.look(1, sight(7, 5100)), Some(7));
        // Said again until it is over.
        assert_eq!(watch.look(1, sight(7, 5101)), Some(7));
    }

    #[test]
    fn a_spinner_that_yields_is_charged_its_share() {
        let mut watch = Watch::default();
        let mut looks = 0;
        let stopped = (0..100).find(|&i| {
            looks += 1;
            let run = if i % 2 == 0 { Some(7) } else { None };
            let stopped = watch.look(1, sight(run, 20 * i)).is_some();
            watch.end_round();
            stopped
        });
        assert!(stopped.is_some_and(|i| (10..15).contains(&i)), "{stopped:?}");
    }

    #[test]
    fn another_run_is_not_charged_for_it_and_rest_forgives() {
        let mut watch = Watch::default();
        watch.look(1, sight(7, 0));
        watch.look(1, sight(7, 99));
        watch.end_round();
        assert_eq!(watch.look(1, sight(8, 190)), None);
        assert_eq!(watch.look(1, sight(None, 191)), None);
        // 99 ms at a tenth of real time: forgiven within a second, and forgotten.
        for _ in 0..400 {
            watch.end_round();
        }
        assert!(watch.spent.is_empty());
        assert_eq!(watch.look(1, sight(7, 290)), None);
    }

    #[test]
    fn one_that_yields_all_the_time_is_charged_for_all_of_it() {
        let mut watch = Watch::default();
        let stopped = (0..10).find(|&i| {
            let seen = Sight { run: None, last_run: 7, turns: 1000 * i, ..sight(None, 20 * i) };
            let stopped = watch.look(1, seen).is_some();
            watch.end_round();
            stopped
        });
        assert_eq!(stopped, Some(5));
    }

    #[test]
    fn no_limit_is_no_limit() {
        let mut watch = Watch::default();
        let free = |cpu_ns| Sight { cpu_ns, limit_ms: 0, ..sight(1, 0) };
        assert_eq!(watch.look(1, free(0)), None);
        assert_eq!(watch.look(1, free(u64::MAX)), None);
    }
}
