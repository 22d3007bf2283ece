//! headers-more: fields set and removed, of requests behind the rewrite directives, of responses
//! ahead of other header filters.

use super::redirect;
use crate::log::Level;
use crate::request::Request;
use crate::snapshot::more_headers::{MoreHeader, MoreHeaders};
use bytes::Bytes;

/// `more_set_headers` and `more_clear_headers`.
pub(super) fn change_response(request: &Request) {
    let lines = request.conf().more_headers.clone();
    for line in lines.iter().filter(|it| is_for_response(it, request)) {
        for header in &line.headers {
            let value = header.value.value(request);
            set_on_response(request, line, header, value);
        }
    }
}

fn is_for_response(line: &MoreHeaders, request: &Request) -> bool {
    let response = request.response.borrow();
    let kind = response.content_type.as_deref().unwrap_or_default();
    let bare = kind.split(|it| *it == b';').next().unwrap_or(kind);
    (line.statuses.is_empty() || line.statuses.contains(&response.status))
        && (line.types.is_empty() || line.types.iter().any(|it| *it == kind || *it == bare))
}

fn set_on_response(request: &Request, line: &MoreHeaders, header: &MoreHeader, value: Bytes) {
    if header.name.eq_ignore_ascii_case(b"location") && !header.is_family && !value.is_empty() {
        return redirect::set_location(request, value);
    }
    let mut response = request.response.borrow_mut();
    if !header.is_family {
        let put = response.put(&header.name, value, !line.append);
        drop(response);
        if put.is_err() {
            request.log(Level::Error, format_args!("more_set_headers: invalid Content-Length"));
        }
        return;
    }
    // Of a family that is set, the first stays; where there is none, the name stands as written.
    let first = response.headers.iter().find(|(name, _)| header.is(name)).map(|it| it.0.clone());
    let Some(first) = first.filter(|_| !value.is_empty()) else {
        response.headers.retain(|name, _| !header.is(name));
        if !value.is_empty() {
            response.headers.append([&header.name[..], b"*"].concat(), value);
        }
        return;
    };
    let mut is_first = true;
    response.headers.retain(|name, _| !header.is(name) || std::mem::take(&mut is_first));
    response.headers.set(first, value);
}

/// `more_set_input_headers` and `more_clear_input_headers`.
pub(super) fn change_request(request: &Request) {
    if request.conf().more_input_headers.is_empty() {
        return;
    }
    let lines = request.conf().more_input_headers.clone();
    for line in lines.iter() {
        let kind = request.headers.borrow().get(b"content-type").cloned();
        let fits = |kind: &Bytes| line.types.iter().any(|it| it == kind);
        if !line.types.is_empty() && !kind.as_ref().is_some_and(fits) {
            continue;
        }
        for header in &line.headers {
            let value = header.value.value(request);
            set_on_request(request, line, header, value);
        }
    }
}

fn set_on_request(request: &Request, line: &MoreHeaders, header: &MoreHeader, value: Bytes) {
    if header.is_family && value.is_empty() {
        return request.headers.borrow_mut().retain(|name, _| !header.is(name));
    }
    let name = match header.is_family {
        true => Bytes::from([&header.name[..], b"*"].concat()),
        false => header.name.clone(),
    };
    if line.replace && !request.headers.borrow().contains(&name) {
        return;
    }
    if name.eq_ignore_ascii_case(b"connection") {
        note_connection(request, &value);
    }
    if request.put_field(&name, value, true).is_err() {
        let name = String::from_utf8_lossy(&name);
        request.log(Level::Error, format_args!("more_set_input_headers: invalid {name}"));
    }
}

/// A request that says `close` is the last of its connection.
fn note_connection(request: &Request, value: &[u8]) {
    let value = value.to_ascii_lowercase();
    if value.windows(5).any(|it| it == b"close") {
        request.response.borrow_mut().closes = Some(true);
    }
}
