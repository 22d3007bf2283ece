//! Header and body filters: Lua's, then nginx's own (`add_header`).

use super::conditional;
use super::echo;
use super::explain;
use super::finishing::{self, SAFE};
use super::head;
use super::lua_phase;
use super::more_headers;
use super::ranges;
use crate::log::Level;
use crate::lua::outcome::Outcome;
use crate::lua::phase::Phase;
use crate::lua::vm::Vm;
use crate::request::Request;
use crate::request::response::Ranges;
use bytes::Bytes;
use std::rc::Rc;

/// Runs the header filters and settles the head; the next write sends it.
///
/// # Errors
/// A header filter written in Lua failed or ended the request: the head is not settled then, and
/// [`Request::filter_status`] says what the client gets.
pub(super) fn head(vm: &Vm, request: &Rc<Request>) -> Result<(), String> {
    {
        let mut response = request.response.borrow_mut();
        match (request.error_status.get(), response.status) {
            (0, 0) => response.status = 200,
            (0, _) => {}
            (error, _) => {
                response.status = error;
                response.reason = None;
            }
        }
    }
    conditional::apply(request)?;
    more_headers::change_response(request);
    let chunk = request.conf().lua.header_filter;
    if let Some(chunk) = chunk.filter(|_| !request.header_filter_failed.get()) {
        let outcome = run_sync(vm, request, chunk, Phase::HeaderFilter).inspect_err(|_| {
            request.header_filter_failed.set(true);
            request.filter_status.set(500);
        })?;
        if let Some(Outcome::Exit(code)) = outcome
            && let Some(status) =
                u16::try_from(code).ok().filter(|it| *it >= 300 || matches!(it, 201 | 204))
        {
            request.filter_status.set(status);
            return Err("a header filter has ended the request".into());
        }
    }
    if !request.is_subrequest() {
        finishing::begin(request);
        add_headers(request);
        finishing::charset(request);
        issue_cookies(request);
        explain::tell(request);
    }
    if request.conf().echo_around.is_some() {
        // What is said before and behind the body is not counted.
        let mut response = request.response.borrow_mut();
        response.content_length = None;
        response.content_length_place = None;
        response.headers.remove(b"accept-ranges");
        response.ranges = Ranges::Never;
    }
    ranges::apply(request).inspect_err(|_| request.filter_status.set(416))?;
    request.headers_sent.set(true);
    request.output.borrow_mut().head_ready = true;
    Ok(())
}

fn add_headers(request: &Rc<Request>) {
    let conf = request.conf().clone();
    let status = request.response.borrow().status;
    for line in conf.add_header.iter() {
        if !line.always && !SAFE.contains(&status) {
            continue;
        }
        let value = line.value.value(&**request);
        if !value.is_empty() {
            add_header(request, &line.name, value);
        }
    }
}

/// The cookies that make users sticky; another of the same name gives way.
fn issue_cookies(request: &Request) {
    if request.decision.borrow().rollouts.is_empty() {
        return;
    }
    for (name, value) in request.issued_cookies() {
        let mut response = request.response.borrow_mut();
        response.headers.retain(|field, value| {
            let is_same =
                value.strip_prefix(name.as_bytes()).is_some_and(|it| it.starts_with(b"="));
            !(is_same && field.eq_ignore_ascii_case(b"set-cookie"))
        });
        response.headers.append("Set-Cookie", value);
    }
}

/// Fields that nginx's `add_header` sets in their place rather than adds.
fn add_header(request: &Request, name: &Bytes, value: Bytes) {
    let mut response = request.response.borrow_mut();
    if name.eq_ignore_ascii_case(b"last-modified") {
        response.last_modified = None;
        response.headers.remove(b"last-modified");
        response.headers.append(name.clone(), value);
    } else if name.eq_ignore_ascii_case(b"etag") {
        response.headers.remove(b"etag");
        response.headers.append(name.clone(), value);
    } else {
        response.headers.append(name.clone(), value);
    }
}

/// Runs the body filters on a chunk and queues what comes of it.
///
/// # Errors
/// A body filter written in Lua failed: the response cannot be completed.
pub(super) fn body(vm: &Vm, request: &Rc<Request>, chunk: Bytes, last: bool) -> Result<(), String> {
    if request.finished.get() || request.filter_status.get() != 0 {
        return Ok(());
    }
    let (chunk, last) = match request.conf().lua.body_filter {
        Some(id) if head::has_body(request) || last => body_by_lua(vm, request, id, chunk, last)?,
        _ => (chunk, last),
    };
    let chunk = match request.conf().echo_around.clone() {
        Some(around) if head::has_body(request) => echo::surround(request, &around, chunk, last),
        _ => chunk,
    };
    let mut output = request.output.borrow_mut();
    output.push(chunk);
    if last {
        drop(output);
        finishing::end(request);
        let mut output = request.output.borrow_mut();
        output.last = true;
        request.finished.set(true);
    }
    Ok(())
}

/// What `body_filter_by_lua*` makes of a chunk; its error is logged and ends the response.
fn body_by_lua(
    vm: &Vm,
    request: &Rc<Request>,
    id: crate::snapshot::ChunkId,
    chunk: Bytes,
    last: bool,
) -> Result<(Bytes, bool), String> {
    let script = &request.snapshot.chunks[id as usize];
    let handler = lua_phase::load(vm, script, request).map_err(|error| {
        request.log(Level::Error, format_args!("{error}"));
        request.filter_status.set(500);
        error.to_string()
    })?;
    lua_phase::trace(request, Phase::BodyFilter);
    vm.filter_body(&handler, request, chunk, last).map_err(|failure| {
        lua_phase::count(Phase::BodyFilter, &failure);
        request.log_bytes(Level::Error, &failure.sync_text(Phase::BodyFilter.context()));
        request.filter_status.set(500);
        "a body filter has failed".into()
    })
}

/// Runs a handler of a phase that cannot wait; its error is logged.
///
/// # Errors
/// It failed.
pub(super) fn run_sync(
    vm: &Vm,
    request: &Rc<Request>,
    id: crate::snapshot::ChunkId,
    phase: Phase,
) -> Result<Option<Outcome>, String> {
    let chunk = &request.snapshot.chunks[id as usize];
    let handler = match lua_phase::load(vm, chunk, request) {
        Ok(handler) => handler,
        Err(error) => {
            request.log(Level::Error, format_args!("{error}"));
            return Err(error.to_string());
        }
    };
    lua_phase::trace(request, phase);
    vm.call_sync(&handler, Some(request.clone()), phase).map(|it| it.outcome).map_err(|failure| {
        lua_phase::count(phase, &failure);
        request.log_bytes(Level::Error, &failure.sync_text(phase.context()));
        failure.to_string()
    })
}
