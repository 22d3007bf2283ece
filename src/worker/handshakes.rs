//! Scripts that have a say in handshakes: `ssl_client_hello_by_lua*`, `ssl_certificate_by_lua*`,
//! `ssl_session_fetch_by_lua*`, `ssl_session_store_by_lua*`.

use crate::downstream::{Answering, Scripts};
use crate::log::Level;
use crate::lua::chunk::Handler;
use crate::lua::outcome::{Outcome, Step};
use crate::lua::phase::Phase;
use crate::lua::vm::Vm;
use crate::metrics;
use crate::proxy::WorkerState;
use crate::request::{Connection, Request};
use crate::snapshot::ServerId;
use crate::snapshot::Snapshot;
use crate::tls::{Handshake, Question, Wanted};
use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::{Rc, Weak};

/// OpenSSL's number of TLS 1.3, whose sessions are in tickets.
const TLS13: i32 = 0x304;

/// Runs scripts of handshakes in the VM that serves now.
pub(super) struct Handshakes {
    worker: Weak<WorkerState>,
}

impl Handshakes {
    /// For the listeners of `worker`.
    pub fn of(worker: &Rc<WorkerState>) -> Rc<dyn Scripts> {
        Rc::new(Self { worker: Rc::downgrade(worker) })
    }
}

impl fmt::Debug for Handshakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshakes").finish_non_exhaustive()
    }
}

impl Scripts for Handshakes {
    fn answer(
        &self,
        question: Question,
        handshake: Handshake,
        connection: &Rc<Connection>,
    ) -> Answering {
        let (worker, connection) = (self.worker.upgrade(), Rc::clone(connection));
        Box::pin(async move {
            let worker = worker?;
            run(&worker, question, handshake, &connection).await
        })
    }
}

/// What the script wants; `None` where it fails, or ends the handshake.
async fn run(
    worker: &WorkerState,
    question: Question,
    handshake: Handshake,
    connection: &Rc<Connection>,
) -> Option<Wanted> {
    let generation = worker.current();
    let snapshot = &generation.snapshot;
    let server = server(snapshot, question, &handshake, connection);
    let lua = &snapshot.server(server).conf.lua;
    let (chunk, phase) = match question {
        Question::Hello => (lua.ssl_client_hello, Phase::SslClientHello),
        Question::Certificate => (lua.ssl_certificate, Phase::SslCertificate),
        Question::Fetch => (snapshot.lua.ssl_session_fetch, Phase::SslSessionFetch),
        Question::Store => (snapshot.lua.ssl_session_store, Phase::SslSessionStore),
    };
    let vm = &generation.vm;
    let version = handshake.version;
    let shared = Rc::new(RefCell::new(handshake));
    let request = vm.handshake_request(snapshot, connection, server, phase, &shared);
    let Some(chunk) = chunk else {
        let (name, what) = (&snapshot.server(server).name, phase.context());
        request.log(Level::Alert, format_args!("no {what} defined in server {name}"));
        return None;
    };
    if question == Question::Store && version >= TLS13 {
        let skipped = "ssl_session_store_by_lua*: skipped since TLS version >= 1.3";
        request.log(Level::Debug, format_args!("{skipped} ({version:x})"));
        return None;
    }
    let source = &snapshot.chunks[chunk as usize].source;
    let handler = match vm.numbered(chunk, source, true) {
        Ok(handler) => handler,
        Err(error) => {
            request.log(Level::Error, format_args!("{error}"));
            return None;
        }
    };
    if question == Question::Store {
        store(vm, &handler, &request);
        return None;
    }
    let mut run = vm.run(&handler, Some(request.clone()), phase);
    let mut next = pin!(run.next());
    let mut waited = false;
    let step = poll_fn(|cx| {
        let polled = next.as_mut().poll(cx);
        waited |= polled.is_pending();
        polled
    })
    .await;
    let code = match step {
        Step::Done(Ok(Outcome::Exit(code))) => code,
        Step::Done(Ok(_)) => 0,
        Step::Done(Err(failure)) => {
            metrics::catalog().lua_errors.with_label_values(&[phase.name()]).inc();
            request.log_bytes(Level::Error, &failure.entry_thread_text());
            500
        }
        // Nothing that a handshake's script may call asks for the session.
        Step::Downstream(_) => -1,
    };
    let goes_on = (0..300).contains(&code);
    note(&request, question, (!waited).then_some(code), goes_on);
    if question == Question::Fetch && !goes_on {
        // The client gets a new session.
        return Some(Wanted::default());
    }
    goes_on.then(|| std::mem::take(&mut shared.borrow_mut().wanted))
}

/// Runs the script that keeps a session; whatever comes of it, the connection goes on.
fn store(vm: &Vm, handler: &Handler, request: &Rc<Request>) {
    let phase = Phase::SslSessionStore;
    match vm.call_sync(handler, Some(Rc::clone(request)), phase) {
        Ok(_) => {
            let text = "handler return value: 0, sess new cb exit code: 0";
            request.log(Level::Debug, format_args!("ssl_session_store_by_lua*: {text}"));
        }
        Err(failure) => {
            metrics::catalog().lua_errors.with_label_values(&[phase.name()]).inc();
            request.log_bytes(Level::Error, &failure.sync_text("session_store_by_lua*"));
        }
    }
}

/// How a script has ended, in nginx's words; `code` is told of one that did not wait.
fn note(request: &Request, question: Question, code: Option<i32>, goes_on: bool) {
    let (name, what) = match question {
        Question::Hello => ("lua_client_hello_by_lua", "client hello cb"),
        Question::Certificate => ("lua_certificate_by_lua", "cert cb"),
        Question::Fetch | Question::Store => ("ssl_session_fetch_by_lua*", "sess get cb"),
    };
    let returned = code.map(|it| format!("handler return value: {it}, ")).unwrap_or_default();
    let goes_on = u8::from(goes_on);
    request.log(Level::Debug, format_args!("{name}: {returned}{what} exit code: {goes_on}"));
}

/// The server that the client means; its hello is a matter of the listener's default one.
fn server(
    snapshot: &Snapshot,
    question: Question,
    handshake: &Handshake,
    connection: &Connection,
) -> ServerId {
    let Some(listener) = snapshot.listener(&connection.listener) else { return 0 };
    let named = handshake.server_name.as_deref().filter(|_| question == Question::Certificate);
    let Some(name) = named else { return listener.names.default };
    let name = name.to_ascii_lowercase();
    listener.names.find(name.strip_suffix('.').unwrap_or(&name).as_bytes()).0
}
