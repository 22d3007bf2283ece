//! Answers without a handler: `return`, redirects.

use super::error::Result;
use super::error_page;
use super::files;
use super::filters;
use super::phases::{Flow, Serving};
use crate::http::escape;
use crate::request::Request;
use bytes::Bytes;

/// `return STATUS "text"`.
pub(super) fn text(serving: &Serving<'_>, status: u16, text: Bytes) -> Result<Flow> {
    let request = &serving.request;
    {
        let kind = files::content_type(request);
        let mut response = request.response.borrow_mut();
        response.status = status;
        response.content_length = Some(text.len() as u64);
        response.content_type.get_or_insert(kind);
    }
    // Of an empty text nginx's subrequests never see the end.
    let is_unended = text.is_empty() && request.is_subrequest();
    let flow = respond(serving, text);
    if is_unended { Ok(Flow::Close) } else { flow }
}

/// A redirect with nginx's page.
pub(super) fn to(serving: &Serving<'_>, status: u16, location: Bytes) -> Result<Flow> {
    set_location(&serving.request, location);
    error_page::page(serving, status)
}

/// Sets `Location`: one that is made absolute has a place of its own in the head, as in nginx;
/// another is a field like any other.
pub(super) fn set_location(request: &Request, location: Bytes) {
    let absolute = request.conf().absolute_redirect;
    let mut response = request.response.borrow_mut();
    response.location = None;
    response.headers.remove(b"location");
    if absolute && location.first() == Some(&b'/') {
        response.location = Some(location);
    } else {
        response.headers.append("Location", location);
    }
}

/// Hands a whole response to the filters; where one fails, the end of the request sees to it.
pub(super) fn respond(serving: &Serving<'_>, body: Bytes) -> Result<Flow> {
    if serving.send_head().is_ok() {
        let _ = filters::body(&serving.generation.vm, &serving.request, body, true);
    }
    Ok(Flow::Done)
}

/// `/x` for a location `/x/` that proxies, and for a folder.
pub(super) fn add_slash(request: &Request) -> Flow {
    let mut location = escape::escape(&request.uri.borrow(), &escape::URI).into_owned();
    location.push(b'/');
    if let Some(args) = request.args.borrow().as_ref().filter(|it| !it.is_empty()) {
        location.push(b'?');
        location.extend_from_slice(args);
    }
    Flow::Redirect(301, location.into())
}

/// `ngx.exec`: a named location or a URI.
pub(super) fn exec(uri: Vec<u8>, args: Option<Vec<u8>>) -> Flow {
    match uri.strip_prefix(b"@") {
        Some(name) => Flow::Named(Bytes::copy_from_slice(name)),
        None => Flow::Internal(uri.into(), args.map(Bytes::from)),
    }
}
