//! Phases whose Lua may wait: rewrite, access, content.

use super::client_pipe;
use super::error::{Error, Result};
use super::session::Client;
use crate::log::Level;
use crate::lua::chunk::Handler;
use crate::lua::chunk::LoadError;
use crate::lua::outcome::Failure;
use crate::lua::outcome::FailureKind;
use crate::lua::outcome::Outcome;
use crate::lua::outcome::{Downstream, Step};
use crate::lua::phase::Phase;
use crate::lua::run::Run;
use crate::lua::vm::Vm;
use crate::metrics;
use crate::request::{Output, Request};
use crate::snapshot::{Chunk, ChunkId};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::ErrorKind;
use std::path::Path;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// How a handler ended.
pub(super) enum Ended {
    /// As it decided.
    With(Outcome),
    /// By an error, which was logged: the request gets this status.
    Failed(u16),
}

/// The compiled script of `chunk`; a path with variables is this request's.
pub(super) fn load(vm: &Vm, chunk: &Chunk, request: &Request) -> Result<Handler, LoadError> {
    let is_cached = request.conf().lua.code_cache;
    match &chunk.path {
        None => vm.numbered(chunk.id, &chunk.source, is_cached),
        Some(path) => {
            vm.file(Path::new(&*String::from_utf8_lossy(&path.value(request))), is_cached)
        }
    }
}

/// Runs a handler to its end, doing for it what only the owner of the session can do.
///
/// # Errors
/// The client's connection is gone.
pub(super) async fn run(
    client: &mut Client<'_>,
    vm: &Rc<Vm>,
    request: &Rc<Request>,
    id: ChunkId,
    phase: Phase,
) -> Result<Ended> {
    let handler = match load(vm, &request.snapshot.chunks[id as usize], request) {
        Ok(handler) => handler,
        Err(error) => {
            request.log(Level::Error, format_args!("{error}"));
            let missing = matches!(error, LoadError::Open { missing: true, .. });
            return Ok(Ended::Failed(if missing { 404 } else { 500 }));
        }
    };
    trace(request, phase);
    let run = vm.run(&handler, Some(request.clone()), phase);
    let watches = request.conf().lua.check_client_abort;
    let asked = VecDeque::new();
    let mut driver = Driver { client, request, run, watches, asked, lost: None };
    let ended = driver.drive().await?;
    if let Some(error) = driver.lost {
        // The script went on, as in nginx; nobody hears what is said now.
        return Err(error);
    }
    Ok(match ended {
        Ok(outcome) => Ended::With(outcome),
        Err(Stop::Failed(failure)) => {
            report(request, phase, &failure);
            Ended::Failed(500)
        }
        Err(Stop::Refused(status)) => Ended::Failed(status),
    })
}

/// A handler under way, and the client that it answers.
struct Driver<'d, 'c> {
    client: &'d mut Client<'c>,
    request: &'d Rc<Request>,
    run: Run,
    /// A client that leaves is to be noticed, and has not left yet.
    watches: bool,
    /// Operations that light threads have asked for while another one was under way.
    asked: VecDeque<Downstream>,
    /// Why nothing can be written any more.
    lost: Option<Error>,
}

/// Why a handler did not come to its own end.
enum Stop {
    Failed(Failure),
    /// Its client's body may not be read on: the status.
    Refused(u16),
}

/// What happens next.
enum Event {
    Step(Step),
    /// Something was said.
    Output,
    /// The client has left.
    Left,
}

/// What is done for a handler.
#[derive(Clone, Copy)]
enum Work {
    /// What was said is written.
    Output,
    Asked(Downstream),
}

impl Work {
    /// What is being written must not be given up within.
    fn is_writing(self) -> bool {
        !matches!(self, Self::Asked(Downstream::ReadBody | Downstream::DiscardBody))
    }
}

type Answer = std::result::Result<std::result::Result<(), String>, u16>;

impl Driver<'_, '_> {
    async fn drive(&mut self) -> Result<std::result::Result<Outcome, Stop>> {
        loop {
            let work = match self.asked.pop_front() {
                Some(op) => Work::Asked(op),
                None => match poll_fn(|cx| self.poll_event(cx)).await {
                    Event::Step(Step::Done(end)) => return Ok(end.map_err(Stop::Failed)),
                    Event::Step(Step::Downstream(op)) => Work::Asked(op),
                    Event::Output => Work::Output,
                    Event::Left => {
                        self.watches = false;
                        let text = "client prematurely closed connection";
                        self.request.log(Level::Info, format_args!("{text}"));
                        if !self.run.client_left() {
                            return Ok(Ok(Outcome::Exit(499)));
                        }
                        continue;
                    }
                },
            };
            let (answer, end) = self.work(work).await?;
            match (answer, end) {
                (_, Some(end)) => return Ok(end.map_err(Stop::Failed)),
                (Some(Err(status)), None) => return Ok(Err(Stop::Refused(status))),
                (Some(Ok(answer)), None) if matches!(work, Work::Asked(_)) => {
                    self.run.resume_downstream(answer);
                }
                (_, None) => {}
            }
        }
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        loop {
            if let Poll::Ready(step) = self.run.poll_next(cx) {
                return Poll::Ready(Event::Step(step));
            }
            if self.request.headers_sent.get() && self.request.output.borrow().is_pending() {
                return Poll::Ready(Event::Output);
            }
            let pipe = self.request.client_pipe.borrow().clone();
            if let Some(pipe) = &pipe
                && client_pipe::poll(cx, self.client, self.request, pipe)
            {
                continue;
            }
            // Who reads from the client sees for itself that it leaves.
            let watches = self.watches && !pipe.is_some_and(|it| it.wants());
            if watches && self.client.poll_gone(cx).is_ready() {
                return Poll::Ready(Event::Left);
            }
            return Poll::Pending;
        }
    }

    /// Does `work`, while the handler's other light threads go on: its answer, and the handler's
    /// end if that came first.
    async fn work(
        &mut self,
        work: Work,
    ) -> Result<(Option<Answer>, Option<std::result::Result<Outcome, Failure>>)> {
        if self.lost.is_some() && work.is_writing() {
            discard_output(self.request);
            return Ok((Some(Ok(Err("client aborted".into()))), None));
        }
        let mut end = None;
        let done = {
            let (run, asked) = (&mut self.run, &mut self.asked);
            let mut doing = pin!(perform(self.client, self.request, work));
            poll_fn(|cx| {
                if let Poll::Ready(done) = doing.as_mut().poll(cx) {
                    return Poll::Ready(Some(done));
                }
                while run.has_others() && end.is_none() {
                    match run.poll_next(cx) {
                        Poll::Pending => break,
                        Poll::Ready(Step::Downstream(op)) => asked.push_back(op),
                        Poll::Ready(Step::Done(result)) => end = Some(result),
                    }
                }
                match end {
                    Some(_) if !work.is_writing() => Poll::Ready(None),
                    _ => Poll::Pending,
                }
            })
            .await
        };
        match done {
            None => Ok((None, end)),
            Some(Ok(answer)) => Ok((Some(answer), end)),
            Some(Err(error)) if work.is_writing() => {
                let text = match &error {
                    Error::Io(io) if io.kind() == ErrorKind::TimedOut => "timeout",
                    _ => "client aborted",
                };
                self.lost = Some(error);
                discard_output(self.request);
                Ok((Some(Ok(Err(text.into()))), end))
            }
            Some(Err(error)) => Err(error),
        }
    }
}

fn discard_output(request: &Request) {
    *request.output.borrow_mut() = Output::default();
}

/// The result for Lua, or the status that ends the request.
async fn perform(client: &mut Client<'_>, request: &Rc<Request>, work: Work) -> Result<Answer> {
    match work {
        Work::Asked(Downstream::ReadBody) => match client.read_body(request).await? {
            super::body::Read::Done => Ok(Ok(Ok(()))),
            super::body::Read::Refused(status) => Ok(Err(status)),
        },
        Work::Asked(Downstream::DiscardBody) => {
            client.discard_body(request).await?;
            Ok(Ok(Ok(())))
        }
        Work::Output | Work::Asked(Downstream::Flush) => {
            client.flush_output(request).await?;
            client.flush_socket().await?;
            Ok(Ok(Ok(())))
        }
    }
}

/// Says in a debug log which handler runs, in lua-nginx-module's words.
pub(super) fn trace(request: &Request, phase: Phase) {
    if !request.logs(Level::Debug) {
        return;
    }
    let uri = request.uri.borrow().clone();
    let uri = uri.escape_ascii();
    let text = match phase {
        Phase::HeaderFilter => format!("lua header filter for user lua code, uri \"{uri}\""),
        Phase::BodyFilter => format!("lua body filter for user lua code, uri \"{uri}\""),
        Phase::ServerRewrite => format!("lua server rewrite handler, uri:\"{uri}\""),
        phase => format!("lua {} handler, uri:\"{uri}\"", phase.name()),
    };
    request.log(Level::Debug, format_args!("{text}"));
}

fn report(request: &Request, phase: Phase, failure: &Failure) {
    count(phase, failure);
    request.log_bytes(Level::Error, &failure.entry_thread_text());
}

/// Counts a handler that failed in `phase`, and whether its time was up.
pub(super) fn count(phase: Phase, failure: &Failure) {
    let catalog = metrics::catalog();
    catalog.lua_errors.with_label_values(&[phase.name()]).inc();
    if failure.kind == FailureKind::Timeout {
        catalog.lua_budget_kills.inc();
    }
}
