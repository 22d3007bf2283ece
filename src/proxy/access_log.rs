//! The log phase: `log_by_lua`, access logs, metrics.

use super::filters;
use super::phases;
use super::worker::WorkerState;
use crate::clock;
use crate::config::model::LogFormatEscape;
use crate::http::escape;
use crate::lua::phase::Phase;
use crate::lua::vm::Vm;
use crate::metrics::{self, RequestLabels};
use crate::request::Request;
use crate::snapshot::conf::AccessLog;
use crate::vars::Source;
use std::cell::RefCell;
use std::rc::Rc;

/// Logs and counts a request that is over.
pub(super) fn finish(worker: &WorkerState, vm: &Vm, request: &Rc<Request>) {
    // No status was ever decided: the client went away first.
    phases::log_as(request, 499);
    write(vm, request);
    count(worker, request);
}

/// `log_by_lua`, then the access logs.
pub(super) fn write(vm: &Vm, request: &Rc<Request>) {
    if let Some(chunk) = request.conf().lua.log {
        // Its error was logged; the response is gone.
        let _ = filters::run_sync(vm, request, chunk, Phase::Log);
    }
    let conf = request.conf().clone();
    for log in conf.access_log.iter().filter(|it| is_wanted(it, request)) {
        SCRATCH.with_borrow_mut(|scratch| {
            write_line(log, request, scratch);
            log.sink.write(&scratch.line);
        });
    }
}

/// `if=`.
fn is_wanted(log: &AccessLog, request: &Request) -> bool {
    log.condition.as_ref().is_none_or(|condition| {
        let value = condition.value(request);
        !value.is_empty() && *value != b"0"[..]
    })
}

/// gRPC's statuses as labels.
const GRPC_STATUSES: [&str; 17] =
    ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16"];

/// Memory for lines that is used again and again.
#[derive(Default)]
struct Scratch {
    line: Vec<u8>,
    value: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Makes a line in the log's format.
fn write_line(log: &AccessLog, request: &Request, scratch: &mut Scratch) {
    scratch.line.clear();
    let scratch = RefCell::new(scratch);
    log.format.walk(
        |literal| scratch.borrow_mut().line.extend_from_slice(literal),
        |var, _| {
            let Scratch { line: out, value } = &mut **scratch.borrow_mut();
            value.clear();
            let is_set = request.append(var, value);
            match log.escape {
                LogFormatEscape::Default if !is_set => out.push(b'-'),
                LogFormatEscape::Default => escape::log_into(out, value),
                LogFormatEscape::Json => escape::json_into(out, value),
                LogFormatEscape::None => out.extend_from_slice(value),
            }
        },
    );
}

fn count(worker: &WorkerState, request: &Request) {
    let status = request.response.borrow().status;
    let us = clock::monotonic().us_since(request.started);
    let decision = request.decision.borrow();
    let version = request.version_label();
    let version = String::from_utf8_lossy(&version);
    let labels = RequestLabels {
        server: &request.snapshot.server(request.server.get()).name,
        location: &request.location().name,
        upstream: decision.upstream.as_deref().unwrap_or_default(),
        canary_version: &version,
    };
    let status_of_grpc = request.attempts.borrow().0.last().and_then(|it| it.grpc_status);
    if let Some(number) = status_of_grpc {
        let number = GRPC_STATUSES.get(number as usize).copied().unwrap_or("other");
        let count = &metrics::catalog().grpc_responses;
        count.with_label_values(&[labels.upstream, number]).inc();
    }
    let key = (request.snapshot.generation, request.location.get());
    worker.observe(key, labels, status, us);
}
