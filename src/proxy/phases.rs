//! The order of phases, and what each may decide.

use super::access;
use super::admission::Admitted;
use super::body::Read;
use super::content;
use super::error::{Error, Result};
use super::error_page;
use super::explain;
use super::filters;
use super::host;
use super::limits;
use super::lua_phase::{self, Ended};
use super::more_headers;
use super::redirect;
use super::rewrite;
use super::session::Client;
use super::worker::{Generation, WorkerState};
use crate::log::Level;
use crate::lua::outcome::Outcome;
use crate::lua::phase::Phase;
use crate::metrics;
use crate::request::Request;
use crate::snapshot::ChunkId;
use crate::snapshot::router::Found;
use bytes::Bytes;
use std::rc::Rc;

/// What follows a phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// The next phase.
    Continue,
    /// The same, from an access phase that has said neither yes nor no.
    Declined,
    /// The response is complete (or needs nothing but its end).
    Done,
    /// Answer with this status: an error page, or nginx's own page.
    Status(u16),
    /// Answer with this status and body (`return 200 "text"`).
    Text(u16, Bytes),
    /// A redirect.
    Redirect(u16, Bytes),
    /// Look for a location again: the URI has changed.
    Relocate,
    /// Start over at another URI, as an internal request.
    Internal(Bytes, Option<Bytes>),
    /// Go on in a named location.
    Named(Bytes),
    /// Close the connection without an answer.
    Close,
}

/// One request with all that its phases need.
pub(super) struct Serving<'a> {
    pub client: Client<'a>,
    pub worker: Rc<WorkerState>,
    pub generation: Rc<Generation>,
    pub request: Rc<Request>,
}

/// Serves one request from routing to the last byte of its response.
///
/// # Errors
/// The client's connection is gone, or must be cut.
pub(super) async fn serve(
    client: Client<'_>,
    worker: Rc<WorkerState>,
    generation: Rc<Generation>,
    admitted: Admitted,
) -> Result<()> {
    let request = admitted.request;
    let _held = metrics::catalog().requests_in_flight.hold();
    explain::watch(&request);
    let mut serving = Serving { client, worker, generation, request };
    serving.run(admitted.refusal.map_or(Flow::Continue, Flow::Status)).await
}

/// The status that the log shows for a request that got no answer, unless one is known.
pub(super) fn log_as(request: &Request, status: u16) {
    let mut response = request.response.borrow_mut();
    if response.status == 0 {
        response.status = status;
    }
}

/// The error that closes the connection.
pub(super) fn cut<T>(why: &'static str) -> Result<T> {
    Err(Error::Cut(why))
}

impl Serving<'_> {
    /// All phases, unless `first` is another decision, to the last byte of the response.
    ///
    /// # Errors
    /// The client's connection is gone, or must be cut.
    pub async fn run(&mut self, first: Flow) -> Result<()> {
        let mut flow = match first {
            Flow::Continue => self.server_phases().await?,
            refused => refused,
        };
        loop {
            flow = match flow {
                Flow::Continue | Flow::Declined | Flow::Done => break,
                Flow::Close => {
                    log_as(&self.request, 444);
                    return cut("closed without an answer");
                }
                Flow::Status(status) => error_page::answer(self, status)?,
                Flow::Text(status, text) => redirect::text(self, status, text)?,
                Flow::Redirect(status, location) => redirect::to(self, status, location)?,
                // Rare, and as large as all phases: each in a future of its own.
                Flow::Relocate => Box::pin(self.relocate()).await?,
                Flow::Internal(uri, args) => Box::pin(self.internal(uri, args)).await?,
                Flow::Named(name) => Box::pin(self.named(&name)).await?,
            };
        }
        if self.worker.is_dry {
            return Ok(());
        }
        self.finish().await
    }

    /// Server rewrite, then the location's phases.
    async fn server_phases(&mut self) -> Result<Flow> {
        let server = self.request.server.get();
        let snapshot = self.request.snapshot.clone();
        if let Some(chunk) = self.request.conf().lua.server_rewrite {
            let flow = self.lua_with_body(chunk, Phase::ServerRewrite).await?;
            if flow != Flow::Continue {
                return Ok(flow);
            }
        }
        let flow =
            rewrite::run(&self.generation.vm, &self.request, &snapshot.server(server).program);
        match flow {
            Flow::Continue | Flow::Relocate => self.locate().await,
            flow => Ok(flow),
        }
    }

    /// A rewrite changed the URI: once more, up to ten times.
    async fn relocate(&mut self) -> Result<Flow> {
        if !self.may_redirect() {
            return Ok(Flow::Status(500));
        }
        self.locate().await
    }

    async fn internal(&mut self, uri: Bytes, args: Option<Bytes>) -> Result<Flow> {
        if !self.may_redirect() {
            return Ok(Flow::Status(500));
        }
        self.request.rewrite_uri(uri, Some(args));
        self.request.internal.set(true);
        self.forget();
        let server = self.request.snapshot.server(self.request.server.get());
        self.request.location.set(server.root);
        self.server_phases().await
    }

    async fn named(&mut self, name: &[u8]) -> Result<Flow> {
        if !self.may_redirect() {
            return Ok(Flow::Status(500));
        }
        let server = self.request.snapshot.server(self.request.server.get());
        let Some(location) = server.router.named(name) else {
            let name = String::from_utf8_lossy(name);
            self.request
                .log(Level::Error, format_args!("could not find named location \"@{name}\""));
            return Ok(Flow::Status(500));
        };
        self.request.internal.set(true);
        self.forget();
        self.request.location.set(location);
        self.in_location().await
    }

    /// What an internal redirect does not carry along: nginx clears the modules' contexts.
    fn forget(&self) {
        self.generation.vm.forget_context(&self.request);
        self.request.echo.take();
    }

    fn may_redirect(&self) -> bool {
        let left = self.request.redirects_left.get();
        if left == 0 {
            let uri = self.request.uri.borrow().clone();
            let uri = String::from_utf8_lossy(&uri);
            self.request.log(
                Level::Error,
                format_args!("rewrite or internal redirection cycle while processing \"{uri}\""),
            );
            return false;
        }
        self.request.redirects_left.set(left - 1);
        true
    }

    async fn locate(&mut self) -> Result<Flow> {
        self.request.broke_out.set(false);
        let snapshot = self.request.snapshot.clone();
        let server = snapshot.server(self.request.server.get());
        let uri = self.request.uri.borrow().clone();
        match server.router.find(&uri) {
            Found::Location(id) => self.request.location.set(id),
            Found::Regex(id, regex) => {
                self.request.match_regex(regex, uri);
                self.request.location.set(id);
            }
            Found::AddSlash(id) => {
                self.request.location.set(id);
                return Ok(redirect::add_slash(&self.request));
            }
            Found::Nothing => self.request.location.set(server.root),
        }
        if self.request.location().internal && !self.request.internal.get() {
            return Ok(Flow::Status(404));
        }
        self.in_location().await
    }

    async fn in_location(&mut self) -> Result<Flow> {
        let too_large = self.request.conf().client_max_body_size.is_some_and(|limit| {
            !self.request.internal.get()
                && !self.request.body.borrow().is_read()
                && self.request.content_length.get().is_some_and(|it| it > limit)
        });
        if too_large {
            let length = self.request.content_length.get().unwrap_or(0);
            self.request.log(
                Level::Error,
                format_args!("client intended to send too large body: {length} bytes"),
            );
            return Ok(Flow::Status(413));
        }
        let flow = self.rewrite().await?;
        if flow != Flow::Continue {
            return Ok(flow);
        }
        if self.request.conf().limits.is_some() {
            let flow = Box::pin(limits::run(self)).await?;
            if flow != Flow::Continue {
                return Ok(flow);
            }
        }
        let flow = access::run(self).await?;
        if flow != Flow::Continue {
            return Ok(flow);
        }
        content::run(self).await
    }

    /// The rewrite phase of a location. Lua comes last, unless `rewrite_by_lua_no_postpone` is on.
    async fn rewrite(&mut self) -> Result<Flow> {
        let snapshot = self.request.snapshot.clone();
        if snapshot.lua.rewrite_first
            && let Some(chunk) = self.request.conf().lua.rewrite
        {
            let flow = self.lua_with_body(chunk, Phase::Rewrite).await?;
            if flow != Flow::Continue {
                return Ok(flow);
            }
        }
        let location = snapshot.location(self.request.location.get());
        let flow = rewrite::run(&self.generation.vm, &self.request, &location.program);
        if flow != Flow::Continue {
            return Ok(flow);
        }
        more_headers::change_request(&self.request);
        match self.request.conf().lua.rewrite.filter(|_| !snapshot.lua.rewrite_first) {
            Some(chunk) => self.lua_with_body(chunk, Phase::Rewrite).await,
            None => Ok(Flow::Continue),
        }
    }

    /// Runs Lua of a phase, the body read first where `lua_need_request_body` is on.
    pub async fn lua_with_body(&mut self, chunk: ChunkId, phase: Phase) -> Result<Flow> {
        if self.request.conf().lua.need_request_body
            && let Read::Refused(status) = self.client.read_body(&self.request).await?
        {
            return Ok(Flow::Status(status));
        }
        self.lua(chunk, phase).await
    }

    /// Runs Lua of a phase that may wait, and reads its decision as nginx's core would.
    pub async fn lua(&mut self, chunk: ChunkId, phase: Phase) -> Result<Flow> {
        let vm = self.generation.vm.clone();
        let ended = lua_phase::run(&mut self.client, &vm, &self.request, chunk, phase).await?;
        if self.request.is_traced() {
            self.note_ran(chunk, &ended);
        }
        let outcome = match ended {
            Ended::Failed(_) if self.request.headers_sent.get() => {
                self.client.flush_output(&self.request).await?;
                self.client.flush_socket().await?;
                return cut("a script failed after the response had begun");
            }
            Ended::Failed(status) => return Ok(Flow::Status(status)),
            Ended::With(outcome) => outcome,
        };
        Ok(match outcome {
            Outcome::Completed => self.handed_on(phase),
            Outcome::Exit(code) => self.exit(code, phase),
            Outcome::Exec { uri, args } => redirect::exec(uri, args),
            Outcome::Redirect { status, location } => {
                // A script's redirect stays as the script wrote it.
                self.request.response.borrow_mut().headers.set("Location", location);
                Flow::Status(status)
            }
            Outcome::Jump => Flow::Relocate,
        })
    }

    /// Notes for who asks how a script ended.
    fn note_ran(&self, chunk: ChunkId, ended: &Ended) {
        let said = match ended {
            Ended::Failed(status) => format!("failed, {status}"),
            Ended::With(Outcome::Completed) => "went on".to_owned(),
            Ended::With(Outcome::Exit(code)) => format!("exit {code}"),
            Ended::With(Outcome::Exec { uri, .. }) => {
                format!("exec {}", String::from_utf8_lossy(uri))
            }
            Ended::With(Outcome::Redirect { status, .. }) => format!("redirect {status}"),
            Ended::With(Outcome::Jump) => "rewrote the URI".to_owned(),
        };
        self.request.note_ran(&self.request.snapshot.chunks[chunk as usize].shown, said);
    }

    /// A handler that returned: a response that it began is complete.
    fn handed_on(&self, phase: Phase) -> Flow {
        let began = self.request.headers_sent.get() || self.request.output.borrow().is_pending();
        if phase == Phase::Content || began { Flow::Done } else { Flow::Continue }
    }

    fn exit(&self, code: i32, phase: Phase) -> Flow {
        let sent = self.request.headers_sent.get() || self.request.output.borrow().is_pending();
        match code {
            -5 if phase == Phase::Access => Flow::Declined,
            // Nobody else has content to give.
            -5 if phase == Phase::Content && !sent => Flow::Close,
            0 | -5 => self.handed_on(phase),
            -1 if self.request.is_subrequest() => Flow::Status(500),
            -1 if !sent => Flow::Close,
            408 | 444 | 499 if sent => Flow::Close,
            _ if sent => Flow::Done,
            200..=299 => {
                let mut response = self.request.response.borrow_mut();
                response.status = u16::try_from(code).unwrap_or(200);
                Flow::Done
            }
            _ => u16::try_from(code).map_or(Flow::Close, |status| {
                // An error page that decides nothing else answers with it.
                self.request.response.borrow_mut().status = status;
                Flow::Status(status)
            }),
        }
    }

    /// Writes what is left of the response.
    async fn finish(&mut self) -> Result<()> {
        let request = self.request.clone();
        let mut status = request.filter_status.get();
        if status == 0 {
            // A filter that fails here leaves its status behind.
            let _ = host::send_body(&self.generation.vm, &request, Bytes::new(), true);
            status = request.filter_status.get();
        }
        if status != 0 {
            if request.headers_sent.get() && !request.output.borrow().head_ready {
                self.client.flush_output(&request).await?;
                self.client.flush_socket().await?;
                return cut("a filter failed after the response had begun");
            }
            // Filters do not see this answer: it is nginx's bare page.
            error_page::bare(&request, status);
            request.headers_sent.set(true);
            request.output.borrow_mut().head_ready = true;
        }
        self.client.flush_output(&request).await
    }

    /// What follows where [`Serving::send_head`] has failed: a range that is not there gets an
    /// error page; of other statuses the end of the request knows.
    pub fn refused(&self) -> Flow {
        if self.request.filter_status.get() != 416 {
            return Flow::Done;
        }
        self.request.filter_status.set(0);
        Flow::Status(416)
    }

    /// Runs the header filters on a response of the proxy's own.
    pub fn send_head(&self) -> std::result::Result<(), String> {
        filters::head(&self.generation.vm, &self.request)
    }
}
