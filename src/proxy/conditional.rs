//! Conditional requests for what is answered here: nginx's not_modified filter. An upstream judges
//! its own responses.

use crate::config::model::IfModifiedSince;
use crate::http::date;
use crate::request::response::Ranges;
use crate::request::{Request, ResponseHead};

/// Makes a 200 a 304 where the client has it.
///
/// # Errors
/// The client asked for another (412).
pub(super) fn apply(request: &Request) -> Result<(), String> {
    let mut response = request.response.borrow_mut();
    let is_ours = request.attempts.borrow().0.is_empty() && !request.is_subrequest();
    if response.status != 200 || !is_ours {
        return Ok(());
    }
    let headers = request.headers.borrow();
    let field = |name: &[u8]| headers.get(name);
    let (since, none_match) = (field(b"if-modified-since"), field(b"if-none-match"));
    let (unmodified, matches) = (field(b"if-unmodified-since"), field(b"if-match"));
    if since.is_none() && none_match.is_none() && unmodified.is_none() && matches.is_none() {
        return Ok(());
    }
    let modified = last_modified(&response);
    let tag = response.headers.get(b"etag").cloned();
    let is_older = |limit: &[u8]| match (modified, date::parse(limit)) {
        (Some(modified), Some(limit)) => modified <= limit,
        _ => false,
    };
    let fails = unmodified.is_some_and(|it| !is_older(it))
        || matches.is_some_and(|it| !is_among(it, tag.as_deref(), false));
    if fails {
        request.filter_status.set(412);
        return Err("a condition of the request does not hold".into());
    }
    let is_same = |since: &[u8]| match (modified, request.conf().if_modified_since) {
        (None, _) | (_, IfModifiedSince::Off) => false,
        (_, IfModifiedSince::Exact) => date::parse(since) == modified,
        (Some(modified), IfModifiedSince::Before) => {
            date::parse(since).is_some_and(|it| modified <= it)
        }
    };
    let is_known = (since.is_some() || none_match.is_some())
        && since.is_none_or(|it| is_same(it))
        && none_match.is_none_or(|it| is_among(it, tag.as_deref(), true));
    if is_known {
        response.status = 304;
        unmake(&mut response);
    }
    Ok(())
}

/// Seconds since 1970.
pub(super) fn last_modified(response: &ResponseHead) -> Option<i64> {
    match response.last_modified {
        Some(at) => i64::try_from(at).ok(),
        None => response.headers.get(b"last-modified").and_then(|it| date::parse(it)),
    }
}

/// Whether `tag` is one of a list of tags; `*` is any. A weak comparison passes over `W/`.
fn is_among(list: &[u8], tag: Option<&[u8]>, weak: bool) -> bool {
    let bare = |it| if weak { <[u8]>::strip_prefix(it, b"W/").unwrap_or(it) } else { it };
    if list == b"*" {
        return true;
    }
    let Some(tag) = tag.map(bare) else { return false };
    list.split(|it| *it == b',').any(|it| bare(it.trim_ascii()) == tag)
}

/// Takes away what described the body.
fn unmake(response: &mut ResponseHead) {
    response.reason = None;
    response.content_type = None;
    response.ranges = Ranges::Never;
    response.content_length = None;
    response.headers.remove(b"accept-ranges");
    response.headers.remove(b"content-encoding");
}
