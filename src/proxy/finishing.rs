//! What is added to answers on their way out: `expires`, `charset`, `add_trailer`.

use crate::clock;
use crate::config::model::Lifetime;
use crate::http::date;
use crate::proxy::conditional::last_modified;
use crate::request::Request;
use crate::snapshot::finishing::{Charset, Expires};
use crate::sys;
use bytes::Bytes;
use std::rc::Rc;

/// Statuses on which `add_header` works without `always`, and `expires` at all.
pub(super) const SAFE: [u16; 10] = [200, 201, 204, 206, 301, 302, 303, 304, 307, 308];
const DAY_S: i64 = 86_400;

/// `Expires` and `Cache-Control`, before `add_header`; and whether trailers will follow.
pub(super) fn begin(request: &Rc<Request>) {
    let Some(finishing) = request.conf().finishing.clone() else { return };
    let is_safe = SAFE.contains(&request.response.borrow().status);
    if let Some(expires) = finishing.expires.as_ref().filter(|_| is_safe) {
        let lifetime = match expires {
            Expires::Fixed(lifetime) => Some(*lifetime),
            Expires::Computed(value, modified) => {
                let value = value.value(&**request);
                let text = std::str::from_utf8(&value).unwrap_or_default();
                Lifetime::parse(text, *modified).ok()
            }
        };
        if let Some((expires, control)) = lifetime.and_then(|it| lifetime_fields(request, it)) {
            let mut response = request.response.borrow_mut();
            response.headers.set("Expires", expires);
            response.headers.set("Cache-Control", control);
        }
    }
    if finishing.trailers.iter().any(|it| is_safe || it.always) {
        request.response.borrow_mut().expects_trailers = true;
    }
}

/// `charset`, behind `add_header`.
pub(super) fn charset(request: &Rc<Request>) {
    let conf = request.conf().clone();
    let Some(charset) = conf.finishing.as_ref().and_then(|it| it.charset.as_ref()) else { return };
    {
        let response = request.response.borrow();
        // Browsers once took it for that of the page that they are sent to.
        let is_redirect = matches!(response.status, 301 | 302);
        let kind = response.content_type.as_ref();
        if is_redirect || !kind.is_some_and(|it| wants_charset(charset, it)) {
            return;
        }
    }
    let name = charset.name.value(&**request);
    if name.is_empty() || *name == b"off"[..] {
        return;
    }
    let mut response = request.response.borrow_mut();
    if let Some(kind) = &mut response.content_type {
        *kind = [kind, &b"; charset="[..], &name].concat().into();
    }
}

fn wants_charset(charset: &Charset, kind: &[u8]) -> bool {
    let end = kind.iter().position(|it| *it == b';');
    // What has parameters may have this one.
    end.is_none()
        && !kind.is_empty()
        && (charset.types.is_empty()
            || charset.types.iter().any(|it| it.eq_ignore_ascii_case(kind)))
}

/// Adds `add_trailer` lines behind a body that is complete.
pub(super) fn end(request: &Rc<Request>) {
    if !request.response.borrow().expects_trailers {
        return;
    }
    let Some(finishing) = request.conf().finishing.clone() else { return };
    let is_safe = SAFE.contains(&request.response.borrow().status);
    for line in finishing.trailers.iter().filter(|it| is_safe || it.always) {
        let value = line.value.value(&**request);
        if !value.is_empty() {
            request.response.borrow_mut().trailers.append(line.name.clone(), value);
        }
    }
}

/// The values of `Expires` and of `Cache-Control`.
fn lifetime_fields(request: &Request, lifetime: Lifetime) -> Option<(Bytes, Bytes)> {
    const NO_CACHE: Bytes = Bytes::from_static(b"no-cache");
    let now = i64::try_from(clock::cached_s()).unwrap_or(i64::MAX);
    let (expires, age) = match lifetime {
        Lifetime::Off => return None,
        Lifetime::Epoch => {
            let expires = Bytes::from_static(b"Thu, 01 Jan 1970 00:00:01 GMT");
            return Some((expires, NO_CACHE));
        }
        Lifetime::Max => {
            let expires = Bytes::from_static(b"Thu, 31 Dec 2037 23:55:55 GMT");
            return Some((expires, Bytes::from_static(b"max-age=315360000")));
        }
        Lifetime::FromNow(0) | Lifetime::FromModified(0) => (now, 0),
        Lifetime::Daily(second) => {
            let next = next_time(now, second, i64::from(sys::time::local_offset_s(now)));
            (next, next - now)
        }
        Lifetime::FromNow(seconds) => (now.saturating_add(seconds), seconds),
        Lifetime::FromModified(seconds) => match last_modified(&request.response.borrow()) {
            Some(modified) => {
                let expires = modified.saturating_add(seconds);
                // As in nginx, which goes by the sign of what was written too.
                let age = expires.saturating_sub(now);
                (expires, if seconds < 0 { -1 } else { age })
            }
            None => (now.saturating_add(seconds), seconds),
        },
    };
    let control = if age < 0 { NO_CACHE } else { format!("max-age={age}").into() };
    Some((date::http(expires).into(), control))
}

/// The next moment at which `second` seconds of a local day have gone by.
fn next_time(now: i64, second: i64, offset_s: i64) -> i64 {
    let midnight = now - (now + offset_s).rem_euclid(DAY_S);
    let today = midnight + second;
    if today > now { today } else { today + DAY_S }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daily_time_is_today_or_tomorrow() {
        let noon = 1_795_435_200;
        assert_eq!(next_time(noon, 13 * 3600, 0), noon + 3600);
        assert_eq!(next_time(noon, 11 * 3600, 0), noon + DAY_S - 3600);
        assert_eq!(next_time(noon, 12 * 3600, 0), noon + DAY_S);
        assert_eq!(next_time(noon, 13 * 3600, 3600), noon + DAY_S);
        assert_eq!(next_time(noon, 7 * 3600, -6 * 3600), noon + 3600);
    }

    #[test]
    fn a_type_with_parameters_gets_no_charset() {
        let types = [Bytes::from_static(b"text/html")].into();
        let mut charset = Charset { name: crate::vars::Template::literal("utf-8"), types };
        assert!(wants_charset(&charset, b"Text/HTML"));
        assert!(!wants_charset(&charset, b"text/html; charset=x"));
        assert!(!wants_charset(&charset, b"image/gif") && !wants_charset(&charset, b""));
        charset.types = Box::default();
        assert!(wants_charset(&charset, b"image/gif"));
    }
}
