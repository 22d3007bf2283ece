//! The driver of a run that has light threads: one of them runs at a time, in OpenResty's order.
//! A new one runs at once, then whoever spawned it; who waited for one that ends goes on at once.

use crate::log::Level;
use crate::lua::crew::Address;
use crate::lua::crew::Crew;
use crate::lua::crew::Member;
use crate::lua::crew::Wait;
use crate::lua::crew::bury;
use crate::lua::ffi::thread::Thread;
use crate::lua::ngx::abort::OnAbort;
use crate::lua::ngx::state::PerRequest;
use crate::lua::ngx::state::of_request;
use crate::lua::outcome::DownstreamResult;
use crate::lua::outcome::Failure;
use crate::lua::outcome::FailureKind;
use crate::lua::outcome::Outcome;
use crate::lua::outcome::Step;
use crate::lua::run::Run;
use crate::lua::vm::Frame;
use crate::metrics;
use std::rc::Rc;
use std::task::Context;
use std::task::Poll;

impl Run {
    /// `poll_next` of a run with light threads.
    #[cold]
    pub(super) fn poll_crew(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        let Some(crew) = self.crew.clone() else { return Poll::Pending };
        let mut had_turns = false;
        loop {
            self.park(&crew);
            if let Some(next) = crew.next_turn() {
                let Some(arguments) = self.take_over(&crew, next) else { continue };
                self.vm.api().crew.replace(Some(Rc::clone(&crew)));
                let step = self.resume(arguments, cx);
                self.vm.api().crew.take();
                if let Some(step) = step {
                    self.park(&crew);
                    return Poll::Ready(step);
                }
                if matches!(self.wait, Wait::Turn) && crew.has_turns() {
                    self.wait = Wait::Ready(0);
                    crew.goes_last(next);
                }
                continue;
            }
            crew.poll(&self.vm, cx);
            if crew.has_turns() {
                continue;
            }
            if !crew.turn_again() {
                return Poll::Pending;
            }
            if had_turns {
                // Spinners let the worker's other tasks have their turn, too.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            had_turns = true;
        }
    }

    /// The member that runs becomes one of those that wait.
    fn park(&mut self, crew: &Crew) {
        if let Some(thread) = self.thread.take() {
            let wait = std::mem::replace(&mut self.wait, Wait::Over);
            crew.with(crew.current.get(), |member| {
                member.thread = Some(thread);
                member.wait = wait;
            });
        }
    }

    /// Makes `next` the member that runs; gives the number of its arguments.
    fn take_over(&mut self, crew: &Crew, next: Address) -> Option<usize> {
        let arguments = crew.with(next, |member| match member.wait {
            Wait::Ready(count) if member.thread.is_some() => {
                self.thread = member.thread.take();
                self.wait = std::mem::replace(&mut member.wait, Wait::Over);
                Some(count)
            }
            _ => None,
        })??;
        crew.current.set(next);
        Some(arguments)
    }

    /// `ngx.thread.spawn` has made `child`: it runs next, then the one that spawned it.
    #[cold]
    pub(super) fn spawned(&mut self, crew: Rc<Crew>, child: Address) {
        let Some(thread) = &self.thread else { return };
        if self.crew.is_none() {
            self.found(&crew, thread.address());
        }
        let Some(thread) = &self.thread else { return };
        let current = crew.current.get();
        let stack = thread.stack(self.vm.state());
        crew.with(child, |member| {
            member.has_member_parent = member.parent == current;
            if let Some(thread) = &member.thread {
                stack.push(thread);
            }
        });
        self.wait = Wait::Ready(1);
        crew.goes_last(current);
        crew.goes_next(child);
    }

    /// `crew` is this run's from now on; the handler's own coroutine is `entry`.
    fn found(&mut self, crew: &Rc<Crew>, entry: Address) {
        crew.entry.set(entry);
        crew.current.set(entry);
        crew.add(Member {
            address: entry,
            parent: 0,
            has_member_parent: false,
            thread: None,
            wait: Wait::Over,
            ended: None,
        });
        self.crew = Some(Rc::clone(crew));
    }

    /// The client has left: what `ngx.on_abort` was given runs beside what runs. Whether the run
    /// goes on; it does not where nothing was given.
    #[cold]
    pub fn client_left(&mut self) -> bool {
        let Some(request) = self.request.clone() else { return true };
        let vm = Rc::clone(&self.vm);
        let callback = match of_request(&vm, &request, PerRequest::take_on_abort) {
            OnAbort::Unset => return false,
            OnAbort::Begun => return true,
            OnAbort::Set(callback) => callback,
        };
        let thread = Thread::new(vm.state());
        let stack = thread.stack(vm.state());
        stack.push_anchored(&callback);
        stack.release(callback);
        if self.crew.is_none()
            && let Some(entry) = self.thread.as_ref().map(Thread::address)
        {
            self.found(&Rc::default(), entry);
        }
        let Some(crew) = &self.crew else { return true };
        let address = thread.address();
        crew.add(Member {
            address,
            parent: crew.entry.get(),
            has_member_parent: true,
            thread: Some(thread),
            wait: Wait::Ready(0),
            ended: None,
        });
        crew.goes_last(address);
        true
    }

    /// The member that ran has ended with its results, or its error, on top of its stack.
    #[cold]
    pub(super) fn member_ended(&mut self, thread: Thread, ok: bool) -> Option<Step> {
        let crew = self.crew.clone()?;
        let me = crew.current.get();
        self.wait = Wait::Over;
        for orphan in crew.remove_if(|it| it.ended.is_some() && it.parent == me) {
            bury(&self.vm, orphan);
        }
        if me == crew.entry.get() {
            crew.remove(me);
            thread.discard(self.vm.state());
        } else {
            self.hand_over(&crew, me, thread, ok);
        }
        crew.is_over().then(|| self.done(Ok(Outcome::Completed)))
    }

    /// The results of light thread `me` go to whoever waits for it, or stay with it for its parent.
    fn hand_over(&self, crew: &Crew, me: Address, thread: Thread, ok: bool) {
        let state = self.vm.state();
        if let Some(waiter) = crew.waiter_of(me) {
            crew.with(waiter, |member| {
                if let Some(its_own) = &member.thread {
                    let stack = its_own.stack(state);
                    let count = stack.push(ok) + thread.give_all(&stack);
                    member.wait = Wait::Ready(count);
                }
            });
            crew.goes_next(waiter);
        } else if has_heir(crew, me) {
            crew.with(me, |member| {
                member.thread = Some(thread);
                member.ended = Some(ok);
            });
            return;
        }
        if let Some(member) = crew.remove(me) {
            bury(&self.vm, Member { thread: Some(thread), ..member });
        }
    }

    /// The member that ran has failed; `None`: the others go on.
    #[cold]
    pub(super) fn member_failed(&mut self, thread: Thread, failure: Failure) -> Option<Step> {
        let crew = self.crew.clone()?;
        let is_entry = crew.current.get() == crew.entry.get();
        if is_entry || failure.kind != FailureKind::Runtime {
            thread.discard(self.vm.state());
            return Some(self.done(Err(failure)));
        }
        metrics::catalog().lua_errors.with_label_values(&[self.phase.name()]).inc();
        let frame = Frame::new(self.request.clone(), self.phase, None);
        let text = failure.text_of("lua user thread aborted");
        self.vm.within(frame, || self.vm.log(Level::Error, &text));
        // As in OpenResty, all that is on its stack is its result: of `error(text)` first the text.
        self.member_ended(thread, false)
    }

    /// The result of a downstream operation, for the member that asked.
    #[cold]
    pub(super) fn answer_member(&mut self, result: DownstreamResult) {
        let Some(crew) = self.crew.clone() else { return };
        let Some(waiter) = crew.answered() else { return };
        crew.with(waiter, |member| {
            if let (Wait::Downstream(finish), Some(thread)) = (&member.wait, &member.thread) {
                member.wait = Wait::Ready(thread.stack(self.vm.state()).push(finish(result)));
            }
        });
        crew.goes_next(waiter);
    }

    /// Ends all that is left.
    #[cold]
    pub(super) fn dismiss(&self, crew: &Crew) {
        for member in crew.remove_if(|_| true) {
            bury(&self.vm, member);
        }
    }
}

/// Whether the parent of light thread `me` may still ask for its results.
fn has_heir(crew: &Crew, me: Address) -> bool {
    let parent = crew.with(me, |it| it.has_member_parent.then_some(it.parent));
    match parent {
        Some(Some(parent)) => crew.with(parent, |it| it.ended.is_none()) == Some(true),
        _ => true,
    }
}
