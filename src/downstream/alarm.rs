//! One timer for all the deadlines of a connection.

use crate::clock;
use crate::clock::Tick;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use tokio::time::{Instant, Sleep};

/// A timer that is set only when it must ring earlier than it would: a deadline that is moved on,
/// as each request moves it, costs a comparison. It rings too early then, and is set anew.
#[derive(Debug, Default)]
pub struct Alarm {
    /// Made when first needed, and then kept.
    sleep: Option<Pin<Box<Sleep>>>,
    rings: Tick,
    /// Whom it wakes.
    wakes: Option<Waker>,
}

impl Alarm {
    /// Ready once `due` has come; wakes the task then at the latest.
    pub fn poll_until(&mut self, cx: &mut Context<'_>, due: Tick) -> Poll<()> {
        loop {
            let now = clock::monotonic();
            if now >= due {
                return Poll::Ready(());
            }
            let sleeps = self.sleep.as_ref().is_some_and(|it| !it.is_elapsed());
            let is_set = sleeps && now < self.rings && self.rings <= due;
            if is_set && self.wakes.as_ref().is_some_and(|it| it.will_wake(cx.waker())) {
                return Poll::Pending;
            }
            if !is_set {
                self.set(due, now);
            }
            let Some(sleep) = &mut self.sleep else { return Poll::Pending };
            // Out of turns, tokio would say that it is pending and not set it.
            if pin!(tokio::task::unconstrained(sleep.as_mut())).poll(cx).is_pending() {
                self.wakes = Some(cx.waker().clone());
                return Poll::Pending;
            }
            // The turn began before it rang.
            clock::update();
        }
    }

    fn set(&mut self, due: Tick, now: Tick) {
        let at = Instant::now() + (due - now);
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(at),
            None => self.sleep = Some(Box::pin(tokio::time::sleep_until(at))),
        }
        self.rings = due;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    #[test]
    fn it_rings_at_the_deadline_that_was_asked_for_last() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut alarm = Alarm::default();
            let began = clock::precise();
            let at = |ms| began.plus_ms(ms);
            let pending = |cx: &mut Context<'_>, alarm: &mut Alarm, ms| {
                assert!(alarm.poll_until(cx, at(ms)).is_pending());
                Poll::Ready(())
            };
            poll_fn(|cx| pending(cx, &mut alarm, 5)).await;
            poll_fn(|cx| pending(cx, &mut alarm, 10_000)).await;
            assert_eq!(alarm.rings, at(5), "it need not ring later");
            poll_fn(|cx| alarm.poll_until(cx, at(30))).await;
            assert!(clock::precise() >= at(30));
            poll_fn(|cx| pending(cx, &mut alarm, 10_000)).await;
            poll_fn(|cx| alarm.poll_until(cx, at(40))).await;
            assert!(clock::precise() >= at(40) && clock::precise() < at(9000));
        });
    }
}
