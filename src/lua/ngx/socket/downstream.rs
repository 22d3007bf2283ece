//! `ngx.req.socket`: the request's body, or the client's whole connection, as a socket.

use super::Link;
use super::Tcp;
use super::close_with_request;
use super::owner_of;
use super::refuse;
use super::settings_of;
use crate::cosocket::Intake;
use crate::cosocket::Pipe;
use crate::cosocket::Stream;
use crate::lua::ffi::call::ApiResult;
use crate::lua::ffi::call::Call;
use crate::lua::ffi::object::Object;
use crate::lua::ngx::client::client;
use crate::lua::ngx::output::is_buffering;
use crate::request::Body;
use crate::request::Request;
use crate::request::Version;
use bytes::Bytes;
use std::rc::Rc;

/// `new_client(methods, raw_methods, raw?)`.
pub(super) fn new_client(call: &Call<'_>) -> ApiResult {
    let count = call.count() - 2;
    if count > 1 {
        return Err(format!("expecting zero arguments, but got {count}").into());
    }
    let is_raw = call.boolean(3);
    let request = client(call)?;
    if request.is_subrequest() {
        return Err("attempt to read the request body in a subrequest".into());
    }
    if request.version == Version::Http2 {
        return Err("http v2 not supported yet".into());
    }
    let refusal = if is_raw { raw_refusal(call, &request) } else { body_refusal(&request) };
    if let Some(text) = refusal {
        return refuse(call, text);
    }
    let pipe = Rc::new(Pipe::new(is_raw));
    request.client_pipe.replace(Some(Rc::clone(&pipe)));
    if !request.body.borrow().is_read() {
        // Nobody else may read it.
        request.body.replace(Body::Memory(Bytes::new()));
    }
    if is_raw {
        take_over(&request);
    }
    let socket = Rc::new(Tcp::default());
    socket.owner.set(owner_of(call));
    socket.settings.replace(settings_of(call));
    socket.was_connected.set(true);
    socket.link.replace(Some(Link {
        stream: Stream::Client(pipe),
        intake: Intake::default(),
        lease: None,
        reused: 0,
    }));
    let weak = Rc::downgrade(&socket);
    close_with_request(call, weak);
    let methods = call.table(if is_raw { 2 } else { 1 })?;
    let table = call.stack().new_table(2, 0);
    table.set_index(1, Object(socket));
    table.set_metatable(&methods);
    call.reply(&table)
}

/// Why the connection cannot be had as it is.
fn raw_refusal(call: &Call<'_>, request: &Request) -> Option<&'static str> {
    if request.is_body_awaited.get() && !request.body.borrow().is_read() {
        return Some("pending request body reading in some other thread");
    }
    match &*request.client_pipe.borrow() {
        Some(pipe) if pipe.is_raw() => return Some("duplicate call"),
        Some(pipe) if !pipe.is_over() => {
            return Some("pending request body reading in some other thread");
        }
        _ => {}
    }
    is_buffering(call, request).then_some("http 1.0 buffering")
}

/// Why the body cannot be had as a socket.
fn body_refusal(request: &Request) -> Option<&'static str> {
    if request.headers.borrow().contains(b"transfer-encoding") {
        return Some("chunked request bodies not supported yet");
    }
    match &*request.body.borrow() {
        Body::Memory(_) | Body::File(_) => return Some("request body already exists"),
        Body::Discarded => return Some("request body discarded"),
        Body::Unread if request.is_body_awaited.get() => {
            return Some("request body already exists");
        }
        Body::Unread => {}
    }
    let length = request.content_length.get().unwrap_or(0);
    (length == 0).then_some("no body")
}

/// What the script sends is the response now: nothing of ours may follow.
fn take_over(request: &Request) {
    let mut response = request.response.borrow_mut();
    response.closes = Some(true);
    if response.status == 0 {
        response.status = 200;
    }
    drop(response);
    request.headers_sent.set(true);
    request.finished.set(true);
}
