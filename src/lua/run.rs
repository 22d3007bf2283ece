//! The driver: one handler in one coroutine, from its first resume to its outcome, however often
//! it waits. Dropping a run while it waits (the client went away) drops the wait and leaves the
//! coroutine to the garbage collector.

use crate::lua::chunk::Handler;
use crate::lua::crew::Crew;
use crate::lua::crew::Wait;
use crate::lua::ffi::stack::Anchor;
use crate::lua::ffi::thread::Resumed;
use crate::lua::ffi::thread::Thread;
use crate::lua::ffi::value::Push;
use crate::lua::ffi::value::Values;
use crate::lua::outcome::DownstreamResult;
use crate::lua::outcome::Failure;
use crate::lua::outcome::FailureKind;
use crate::lua::outcome::Op;
use crate::lua::outcome::Outcome;
use crate::lua::outcome::Step;
use crate::lua::phase::Phase;
use crate::lua::vm::Frame;
use crate::lua::vm::Vm;
use crate::request::Request;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Context;
use std::task::Poll;

/// A handler under way.
pub struct Run {
    vm: Rc<Vm>,
    thread: Option<Thread>,
    request: Option<Rc<Request>>,
    phase: Phase,
    id: u64,
    wait: Wait,
    /// Its light threads, once there are any: `turns` drives it then.
    crew: Option<Rc<Crew>>,
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let wait = self.wait.name();
        write!(f, "Run({}, {wait})", self.phase.name())
    }
}

/// What a synchronous call came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SyncEnd {
    /// The first result as text: what `set_by_lua` assigns. Nil and nothing are `None`.
    pub value: Option<Vec<u8>>,
    /// What the code decided (`ngx.exit`), if it did.
    pub outcome: Option<Outcome>,
}

impl Vm {
    /// Starts `handler` for a phase that may wait. Nothing runs before the first poll.
    pub fn run(
        self: &Rc<Self>,
        handler: &Handler,
        request: Option<Rc<Request>>,
        phase: Phase,
    ) -> Run {
        let thread = self.take_thread();
        handler.push(&thread.stack(self.state()));
        self.run_thread(thread, 0, request, phase)
    }

    /// Starts the function that `function` keeps with `arguments`: a timer's callback.
    pub(in crate::lua) fn run_function(
        self: &Rc<Self>,
        function: &Anchor,
        arguments: impl Push,
        request: Option<Rc<Request>>,
        phase: Phase,
    ) -> Run {
        let thread = self.take_thread();
        let stack = thread.stack(self.state());
        stack.push_anchored(function);
        let count = stack.push(arguments);
        self.run_thread(thread, count, request, phase)
    }

    fn run_thread(
        self: &Rc<Self>,
        thread: Thread,
        arguments: usize,
        request: Option<Rc<Request>>,
        phase: Phase,
    ) -> Run {
        let id = self.budget().new_run();
        let wait = Wait::Ready(arguments);
        Run { vm: Rc::clone(self), thread: Some(thread), request, phase, id, wait, crew: None }
    }

    /// Runs `handler` to its end for a phase that does not wait. May be nested in another run.
    ///
    /// # Errors
    /// An error that the code did not catch.
    pub fn call_sync(
        &self,
        handler: &Handler,
        request: Option<Rc<Request>>,
        phase: Phase,
    ) -> Result<SyncEnd, Failure> {
        let thread = self.take_thread();
        handler.push(&thread.stack(self.state()));
        let limit_ms = match phase {
            Phase::Init | Phase::InitWorker | Phase::ExitWorker => self.options().init_timeout_ms,
            _ => self.options().handler_timeout_ms,
        };
        let budget = self.budget();
        let frame = Frame::new(request, phase, None);
        let ((resumed, killed), frame) = self.within(frame, || {
            let entered = budget.enter(self.state(), budget.new_run(), limit_ms);
            let resumed = thread.call(self.state(), 0, 1);
            (resumed, budget.leave(self.state(), entered))
        });
        if resumed != Resumed::Finished {
            let mut failure = failure_of(self, &thread, resumed, killed);
            thread.discard(self.state());
            self.relieve();
            split_traceback(&mut failure);
            return Err(failure);
        }
        let value = thread.stack(self.state()).text(-1).map(<[u8]>::to_vec);
        self.recycle(thread);
        self.relieve();
        Ok(SyncEnd { value, outcome: frame.outcome })
    }
}

impl Run {
    /// Goes on until the handler has ended, wants its caller to do something, or waits.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        loop {
            if self.crew.is_some() {
                return self.poll_crew(cx);
            }
            match &mut self.wait {
                Wait::Ready(arguments) => {
                    let arguments = *arguments;
                    if let Some(step) = self.resume(arguments, cx) {
                        return Poll::Ready(step);
                    }
                    if matches!(self.wait, Wait::Turn) {
                        cx.waker().wake_by_ref();
                        self.wait = Wait::Ready(0);
                        return Poll::Pending;
                    }
                }
                Wait::Future(future) => match future.as_mut().poll(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(values) => self.answer(values),
                },
                Wait::Turn => self.wait = Wait::Ready(0),
                // The caller owes a result, or polls after the end: nothing will come.
                Wait::Downstream(_) | Wait::Threads(_) | Wait::Over => return Poll::Pending,
            }
        }
    }

    /// The same as a future.
    pub async fn next(&mut self) -> Step {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Whether there are others beside the one that waits for its caller.
    pub fn has_others(&self) -> bool {
        self.crew.is_some()
    }

    /// Hands over the result of the operation that the last step asked for.
    pub fn resume_downstream(&mut self, result: DownstreamResult) {
        if self.crew.is_some() {
            return self.answer_member(result);
        }
        if let Wait::Downstream(finish) = self.wait {
            self.answer(finish(result));
        }
    }

    fn answer(&mut self, values: Values) {
        let Some(thread) = &self.thread else { return };
        let count = thread.stack(self.vm.state()).push(values);
        self.wait = Wait::Ready(count);
    }

    /// One resume. `None`: it waits, `self.wait` says for what.
    fn resume(&mut self, arguments: usize, cx: &mut Context<'_>) -> Option<Step> {
        let thread = self.thread.take()?;
        let vm = Rc::clone(&self.vm);
        let frame = Frame::new(self.request.clone(), self.phase, Some(cx.waker().clone()));
        let budget = vm.budget();
        let ((resumed, killed), frame) = vm.within(frame, || {
            let entered = budget.enter(vm.state(), self.id, vm.options().handler_timeout_ms);
            let resumed = thread.resume(vm.state(), arguments);
            (resumed, budget.leave(vm.state(), entered))
        });
        match resumed {
            Resumed::Finished if self.crew.is_some() => self.member_ended(thread, true),
            Resumed::Finished => {
                vm.recycle(thread);
                vm.relieve();
                Some(self.done(Ok(frame.outcome.unwrap_or_default())))
            }
            Resumed::Yielded => self.yielded(thread, frame),
            failed => {
                let failure = failure_of(&vm, &thread, failed, killed);
                let same = frame.failing == failure.message;
                let inner = if same { frame.tracebacks.as_slice() } else { &[] };
                let failure = with_stacks(failure, &vm, &thread, inner);
                if self.crew.is_some() {
                    return self.member_failed(thread, failure);
                }
                thread.discard(vm.state());
                vm.relieve();
                Some(self.done(Err(failure)))
            }
        }
    }

    fn yielded(&mut self, thread: Thread, frame: Frame) -> Option<Step> {
        if let Some(outcome) = frame.outcome {
            // It stays suspended where it ended the run.
            thread.discard(self.vm.state());
            return Some(self.done(Ok(outcome)));
        }
        thread.clear(self.vm.state());
        self.thread = Some(thread);
        match frame.op {
            Some(Op::Future(future)) => self.wait = Wait::Future(future),
            Some(Op::Downstream(op, finish)) => {
                self.wait = Wait::Downstream(finish);
                if let Some(crew) = &self.crew {
                    crew.asks(crew.current.get());
                }
                return Some(Step::Downstream(op));
            }
            Some(Op::Spawn(crew, child)) => self.spawned(crew, child),
            Some(Op::Threads(children)) => self.wait = Wait::Threads(children),
            None => self.wait = Wait::Turn,
        }
        None
    }

    fn done(&mut self, result: Result<Outcome, Failure>) -> Step {
        self.wait = Wait::Over;
        Step::Done(result)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            thread.discard(self.vm.state());
        }
        if let Some(crew) = self.crew.take() {
            self.dismiss(&crew);
        }
    }
}

/// Reads the error off the coroutine's stack.
fn failure_of(vm: &Vm, thread: &Thread, resumed: Resumed, killed: bool) -> Failure {
    let kind = match resumed {
        Resumed::OutOfMemory => FailureKind::Memory,
        _ if killed => FailureKind::Timeout,
        _ => FailureKind::Runtime,
    };
    let message = thread.stack(vm.state()).text(-1);
    let message = message.unwrap_or(b"unknown reason").to_vec();
    Failure { kind, message, traceback: Vec::new() }
}

/// Adds the call stacks, each under `coroutine N:`, innermost first.
fn with_stacks(mut failure: Failure, vm: &Vm, thread: &Thread, inner: &[Vec<u8>]) -> Failure {
    let mut text = b"stack traceback:".to_vec();
    let entry = thread.traceback(vm.state());
    for (level, stack) in inner.iter().chain(std::iter::once(&entry)).enumerate() {
        text.extend_from_slice(format!("\ncoroutine {level}:").as_bytes());
        text.extend_from_slice(stack);
    }
    failure.traceback = text;
    failure
}

/// The message of a synchronous call has its traceback appended: parts them.
fn split_traceback(failure: &mut Failure) {
    const HEADLINE: &[u8] = b"\nstack traceback:";
    if let Some(at) = memchr::memmem::rfind(&failure.message, HEADLINE) {
        failure.traceback = failure.message.split_off(at).split_off(1);
    }
}

#[cfg(test)]
mod tests;
mod turns;
