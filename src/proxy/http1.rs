//! A connection of HTTP/1: request after request, each served by the phases.

use super::access_log;
use super::admission::{self, Admitted};
use super::error::{Error, Result};
use super::error_page;
use super::gateway::LastGeneration;
use super::phases;
use super::session::Client;
use super::worker::{Generation, WorkerState};
use crate::config::model::LingeringClose;
use crate::downstream::{Framing, HeadEnd, Wire};
use crate::http::h1::fault::Fault;
use crate::http::h1::known;
use crate::http::h1::request_head::{Parser, Policy, RequestHead, Version};
use crate::log::Level;
use crate::request::Request;
use crate::snapshot::conf::{Heads, Lingering};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

/// Serves the HTTP/1 connections of one listener of one worker.
pub struct Http1 {
    server: Rc<Server>,
    /// Those that serve nobody, the one used last at the end.
    idle: RefCell<Vec<Runner>>,
}

/// What all its requests need.
struct Server {
    worker: Rc<WorkerState>,
    last: LastGeneration,
}

/// Idle runners that are kept.
const MOST_IDLE: usize = 1024;

/// Serves a request at a time, of any connection. All that a request needs to be under way is in
/// its future, which was made and moved to its place once: the next request finds its memory still
/// warm, and a connection that is idle holds none of it.
struct Runner {
    future: Pin<Box<dyn Future<Output = ()>>>,
    desk: Rc<Desk>,
}

/// Where a connection is handed over, when a head has begun and behind its request.
#[derive(Default)]
struct Desk {
    waiting: Cell<Option<Box<Wire>>>,
    served: Cell<Option<(Box<Wire>, Next)>>,
}

impl Runner {
    fn new(server: Rc<Server>) -> Self {
        let desk = Rc::new(Desk::default());
        let own = Rc::clone(&desk);
        let future = Box::pin(async move {
            loop {
                // Whoever hands a connection over polls this future: nobody is to be woken.
                let mut wire =
                    poll_fn(|_| own.waiting.take().map_or(Poll::Pending, Poll::Ready)).await;
                let next = server.request(&mut wire).await;
                own.served.set(Some((wire, next)));
            }
        });
        Self { future, desk }
    }

    /// Serves the request that begins on `wire`; gives the connection back, and what becomes of it.
    async fn serve(&mut self, wire: Box<Wire>) -> (Box<Wire>, Next) {
        self.desk.waiting.set(Some(wire));
        poll_fn(|cx| {
            // It has no end.
            let _ = self.future.as_mut().poll(cx);
            self.desk.served.take().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

/// What becomes of a connection behind a request.
enum Next {
    /// It waits for another one, for so many milliseconds at most.
    Request(u64),
    /// It closes; the client may still be sending.
    Close(Lingering, bool),
    /// It closes at once.
    Cut,
}

impl Http1 {
    /// For connections that `worker` accepts on one listener, until that has a `last` generation.
    pub fn new(worker: Rc<WorkerState>, last: LastGeneration) -> Self {
        Self { server: Rc::new(Server { worker, last }), idle: RefCell::default() }
    }

    /// Serves a connection to its end; `on_idle` is called whenever it waits for another request.
    pub async fn serve(&self, mut wire: Box<Wire>, on_idle: impl Fn()) {
        loop {
            if wire.head_begins().await.is_err() {
                return;
            }
            let mut runner = self.runner();
            let next;
            (wire, next) = runner.serve(wire).await;
            self.rest(runner);
            match next {
                Next::Request(keepalive_timeout_ms) => wire.rest(keepalive_timeout_ms),
                Next::Close(lingering, may_send) => {
                    return close(&mut wire, lingering, may_send).await;
                }
                Next::Cut => return,
            }
            on_idle();
        }
    }

    fn runner(&self) -> Runner {
        let idle = self.idle.borrow_mut().pop();
        idle.unwrap_or_else(|| Runner::new(Rc::clone(&self.server)))
    }

    /// Keeps a runner that has served its request to the end.
    fn rest(&self, runner: Runner) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < MOST_IDLE {
            idle.push(runner);
        }
    }
}

impl Server {
    fn generation(&self) -> Rc<Generation> {
        self.last.get().cloned().unwrap_or_else(|| self.worker.current())
    }

    fn heads(&self, generation: &Generation, wire: &Wire) -> Heads {
        let snapshot = &generation.snapshot;
        let listener = snapshot.listener(&wire.connection().listener);
        snapshot.server(listener.map_or(0, |it| it.names.default)).conf.heads
    }

    async fn request(&self, wire: &mut Wire) -> Next {
        // Whatever was served while the connection was idle: a request has one generation.
        let generation = self.generation();
        let (admitted, keeps, fault) = {
            let mut parser = Parser::new(policy(self.heads(&generation, wire)));
            let fault = match wire.head(&mut parser).await {
                Ok(()) => None,
                Err(HeadEnd::Refused(fault)) => Some(fault),
                Err(HeadEnd::TimedOut) => Some(Fault::TimedOut),
                Err(HeadEnd::Left | HeadEnd::Closed) => Some(Fault::Left),
            };
            let mut head = parser.into_head();
            (admit(wire, &generation, &mut head, fault), keeps(&head), fault)
        };
        let request = Rc::clone(&admitted.request);
        let is_refused = admitted.refusal.is_some();
        let next = if let Some(fault) = fault.filter(|it| it.is_end()) {
            request.response.borrow_mut().status = fault.status();
            Next::Cut
        } else {
            match self.answer(wire, &generation, admitted, keeps && !is_refused).await {
                Ok(()) => settle(wire, &request, is_refused).await,
                Err(_) => Next::Cut,
            }
        };
        access_log::finish(&self.worker, &generation.vm, &request);
        next
    }

    /// Runs the phases. A panic costs this request, and nothing else.
    async fn answer(
        &self,
        wire: &mut Wire,
        generation: &Rc<Generation>,
        admitted: Admitted,
        keeps: bool,
    ) -> Result<()> {
        let request = Rc::clone(&admitted.request);
        let client = Client::h1(wire, keeps, &request);
        let worker = Rc::clone(&self.worker);
        let served = {
            let phases = phases::serve(client, worker, Rc::clone(generation), admitted);
            let mut phases = pin!(phases);
            poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| phases.as_mut().poll(cx))) {
                Ok(poll) => poll.map(Some),
                Err(_) => Poll::Ready(None),
            })
            .await
        };
        match served {
            Some(served) => served,
            None => after_panic(wire, &request).await,
        }
    }
}

/// Makes a request of a head that was read as far as it goes, and takes it from what was read.
fn admit(
    wire: &mut Wire,
    generation: &Generation,
    head: &mut RequestHead,
    fault: Option<Fault>,
) -> Admitted {
    let connection = Rc::clone(wire.connection());
    connection.requests.set(connection.requests.get() + 1);
    if head.line.is_empty() {
        head.take_part(wire.unused());
    }
    let raw = wire.take(head.end.max(head.line.range().end));
    wire.begin(if fault.is_none() { Framing::of(head) } else { Framing::Over });
    admission::admit_h1(head, &raw, fault, &generation.snapshot, connection)
}

/// Behind a response: what is left of the request's body is thrown away, as nginx does it, and the
/// connection kept if it may be.
async fn settle(wire: &mut Wire, request: &Request, is_refused: bool) -> Next {
    let conf = request.conf();
    let lingering = conf.lingering;
    if request.response.borrow().closes != Some(false) {
        let may_send = is_refused || !wire.is_body_over() || !wire.unused().is_empty();
        return Next::Close(lingering, may_send);
    }
    if !wire.is_body_over() {
        let left = wire.discard(lingering.time_ms, lingering.timeout_ms).await;
        if left.is_err() {
            return Next::Cut;
        }
    }
    Next::Request(conf.keepalive_timeout_ms)
}

fn policy(heads: Heads) -> Policy {
    Policy {
        bare_lf: heads.bare_lf,
        underscores: heads.underscores,
        line_bytes: heads.line_bytes,
        head_bytes: heads.head_bytes,
    }
}

/// Whether the client would use the connection again.
fn keeps(head: &RequestHead) -> bool {
    match head.connection {
        Some(asked) => head.version > Version::V09 && asked == known::Connection::KeepAlive,
        None => head.version == Version::V11,
    }
}

/// A request that panicked: 500 if nothing was said to the client yet, else its connection is cut.
async fn after_panic(wire: &mut Wire, request: &Rc<Request>) -> Result<()> {
    request.log(Level::Alert, format_args!("the request panicked; it is given up"));
    if wire.sent() > 0 || request.headers_sent.get() {
        return Err(Error::Cut("the request panicked"));
    }
    error_page::bare(request, 500);
    request.headers_sent.set(true);
    request.output.borrow_mut().head_ready = true;
    Client::h1(wire, false, request).flush_output(request).await
}

/// Closes a connection so that the client sees the answer even if it is still sending.
async fn close(wire: &mut Wire, lingering: Lingering, may_send: bool) {
    let lingers = match lingering.close {
        LingeringClose::Off => false,
        LingeringClose::On => may_send,
        LingeringClose::Always => true,
    };
    if lingers {
        wire.linger(lingering.time_ms, lingering.timeout_ms).await;
    }
}
