//! Statuses become answers: `error_page`, or nginx's built-in pages.

use super::error::Result;
use super::head;
use super::phases::{Flow, Serving};
use super::redirect;
use super::subrequest;
use crate::http::status;
use crate::http::uri;
use crate::request::response::Ranges;
use crate::request::{Request, ResponseHead};
use bytes::Bytes;

/// Answers with a status: by an error page of the location if it has one, else by nginx's own.
pub(super) fn answer(serving: &mut Serving<'_>, code: u16) -> Result<Flow> {
    let request = &serving.request;
    if matches!(code, 408 | 444 | 499) {
        request.response.borrow_mut().status = code;
        return Ok(Flow::Close);
    }
    if request.is_captured() {
        return subrequest::end_with(serving, code);
    }
    head::close_after(request, code);
    let conf = request.conf().clone();
    let may = request.error_status.get() == 0 && !request.in_error_page.get();
    let page = conf.error_page.iter().find(|it| it.statuses.contains(&code));
    let Some(page) = page.filter(|_| may || conf.recursive_error_pages) else {
        return self::page(serving, code);
    };
    let shown = match page.response {
        None => code,
        Some(Some(response)) => response,
        Some(None) => 0,
    };
    let uri = page.uri.value(&**request);
    request.in_error_page.set(true);
    clear(request);
    if let Some(name) = uri.strip_prefix(b"@") {
        request.error_status.set(shown);
        return Ok(Flow::Named(Bytes::copy_from_slice(name)));
    }
    if uri.first() == Some(&b'/') {
        request.error_status.set(shown);
        if !request.is_head() {
            *request.method.borrow_mut() = Bytes::from_static(b"GET");
        }
        let (path, args) = uri::split_args(&uri);
        return Ok(Flow::Internal(path, args));
    }
    let redirect = if matches!(shown, 301 | 302 | 303 | 307 | 308) { shown } else { 302 };
    Ok(Flow::Redirect(redirect, uri))
}

/// Makes room for the error page: status and fields that a handler set stay, what described its
/// body goes.
fn clear(request: &Request) {
    let mut response = request.response.borrow_mut();
    let headers = std::mem::take(&mut response.headers);
    let (status, closes) = (response.status, response.closes);
    *response = ResponseHead { headers, status, closes, ..ResponseHead::default() };
}

/// nginx's own page for a status, through the filters.
pub(super) fn page(serving: &Serving<'_>, code: u16) -> Result<Flow> {
    if serving.request.is_captured() {
        return subrequest::end_with(serving, code);
    }
    let body = fill(&serving.request, code);
    redirect::respond(serving, body)
}

/// nginx's own page where filters must not run again: status and body are set, nothing else.
pub(super) fn bare(request: &Request, code: u16) {
    request.response.borrow_mut().clear();
    request.error_status.set(0);
    let body = fill(request, code);
    head::close_after(request, code);
    let mut output = request.output.borrow_mut();
    output.chunks.clear();
    output.push(body);
    output.last = true;
    request.finished.set(true);
}

/// The head and the body of nginx's page for a status; keeps the headers that a handler set.
fn fill(request: &Request, code: u16) -> Bytes {
    let sent = status::sent(code);
    let product = request.conf().product.clone();
    let body = status::page(code, &String::from_utf8_lossy(&product)).unwrap_or_default();
    let padding = request
        .headers
        .borrow()
        .get(b"user-agent")
        .is_some_and(|it| code >= 400 && status::wants_padding(it));
    let body = if padding { body + status::PADDING } else { body };
    request.error_status.set(match request.error_status.get() {
        0 => 0,
        _ => sent,
    });
    let mut response = request.response.borrow_mut();
    response.status = sent;
    response.reason = None;
    response.last_modified = None;
    response.ranges = Ranges::Never;
    response.headers.remove(b"etag");
    response.headers.remove(b"accept-ranges");
    if body.is_empty() {
        response.content_type = None;
        response.content_length = Some(0);
    } else {
        response.content_type = Some(Bytes::from_static(b"text/html"));
        response.content_length = Some(body.len() as u64);
    }
    body.into()
}
