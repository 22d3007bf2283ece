//! Phases whose Lua may wait: rewrite, access, content.

use super::error::Result;
use super::session::Client;
use crate::log::Level;
use crate::lua::chunk::Handler;
use crate::lua::chunk::LoadError;
use crate::lua::outcome::Failure;
use crate::lua::outcome::FailureKind;
use crate::lua::outcome::Outcome;
use crate::lua::outcome::{Downstream, Step};
use crate::lua::phase::Phase;
use crate::lua::vm::Vm;
use crate::metrics;
use crate::request::Request;
use crate::snapshot::{Chunk, ChunkId};
use std::future::poll_fn;
use std::path::Path;
use std::rc::Rc;
use std::task::Poll;

/// How a handler ended.
pub(super) enum Ended {
    /// As it decided.
    With(Outcome),
    /// By an error, which was logged: the request gets this status.
    Failed(u16),
}

/// The compiled script of `chunk`; a path with variables is this request's.
pub(super) fn load(vm: &Vm, chunk: &Chunk, request: &Request) -> Result<Handler, LoadError> {
    match &chunk.path {
        None => vm.numbered(chunk.id, &chunk.source),
        Some(path) => vm.file(Path::new(&*String::from_utf8_lossy(&path.value(request)))),
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
    let mut run = vm.run(&handler, Some(request.clone()), phase);
    loop {
        let step = poll_fn(|cx| match run.poll_next(cx) {
            Poll::Ready(step) => Poll::Ready(Some(step)),
            Poll::Pending if request.headers_sent.get() && request.output.borrow().is_pending() => {
                Poll::Ready(None)
            }
            Poll::Pending => Poll::Pending,
        });
        match step.await {
            None => {
                client.flush_output(request).await?;
                client.flush_socket().await?;
            }
            Some(Step::Downstream(op)) => match perform(client, request, op).await? {
                Ok(result) => run.resume_downstream(result),
                Err(status) => return Ok(Ended::Failed(status)),
            },
            Some(Step::Done(Ok(outcome))) => return Ok(Ended::With(outcome)),
            Some(Step::Done(Err(failure))) => {
                report(request, phase, &failure);
                return Ok(Ended::Failed(500));
            }
        }
    }
}

/// The result for Lua, or the status that ends the request.
async fn perform(
    client: &mut Client<'_>,
    request: &Rc<Request>,
    op: Downstream,
) -> Result<std::result::Result<std::result::Result<(), String>, u16>> {
    match op {
        Downstream::ReadBody => match client.read_body(request).await? {
            super::body::Read::Done => Ok(Ok(Ok(()))),
            super::body::Read::Refused(status) => Ok(Err(status)),
        },
        Downstream::DiscardBody => {
            client.discard_body(request).await?;
            Ok(Ok(Ok(())))
        }
        Downstream::Flush => {
            client.flush_output(request).await?;
            client.flush_socket().await?;
            Ok(Ok(Ok(())))
        }
    }
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
