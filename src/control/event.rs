//! What the main loop reacts to, and in which order.

use crate::worker::End;
use std::collections::VecDeque;

/// Something that control must react to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// SIGHUP: take the configuration anew.
    Reload,
    /// SIGUSR1: open the logs anew.
    Reopen,
    /// SIGQUIT: drain, then end.
    Quit,
    /// SIGTERM, SIGINT: end now.
    Stop,
    /// SIGUSR2, SIGWINCH: nginx's upgrade, which is not there yet.
    Upgrade,
    /// A worker's thread has ended.
    WorkerEnded {
        /// Its number.
        id: usize,
        /// Which one of that number: numbers are given again.
        serial: u64,
        /// How.
        end: End,
    },
}

/// Events that wait, each kind of request once: of many SIGHUPs one reload is made, after the
/// last of them.
#[derive(Debug, Default)]
pub(super) struct Backlog(VecDeque<Event>);

impl Backlog {
    /// Adds an event.
    pub fn push(&mut self, event: Event) {
        if !self.0.contains(&event) {
            self.0.push_back(event);
        }
    }

    /// The next event: the end of the process comes first, the rest in its order.
    pub fn pop(&mut self) -> Option<Event> {
        let rank = |event: &Event| match event {
            Event::Stop => 0,
            Event::Quit => 1,
            _ => 2,
        };
        let next = (0..self.0.len()).min_by_key(|index| rank(&self.0[*index]))?;
        self.0.remove(next)
    }

    /// Whether the process is to end now.
    pub fn has_stop(&self) -> bool {
        self.0.contains(&Event::Stop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn popped(pushed: &[Event]) -> Vec<Event> {
        let mut backlog = Backlog::default();
        pushed.iter().for_each(|it| backlog.push(*it));
        std::iter::from_fn(|| backlog.pop()).collect()
    }

    #[test]
    fn many_reloads_are_one() {
        let pushed = [Event::Reload, Event::Reopen, Event::Reload, Event::Reload];
        assert_eq!(popped(&pushed), [Event::Reload, Event::Reopen]);
    }

    #[test]
    fn the_end_comes_first() {
        let pushed = [Event::Reload, Event::Quit, Event::Stop];
        assert_eq!(popped(&pushed), [Event::Stop, Event::Quit, Event::Reload]);
    }

    #[test]
    fn every_worker_s_end_is_told() {
        let ended = |id| Event::WorkerEnded { id, serial: 0, end: End::Died };
        assert_eq!(popped(&[ended(0), ended(1), ended(0)]), [ended(0), ended(1)]);
    }
}
