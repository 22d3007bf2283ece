//! Answers that are the same for everybody: `empty_gif`, `stub_status`.

use super::error::Result;
use super::phases::{Flow, Serving};
use super::redirect;
use crate::metrics;
use crate::request::Request;
use bytes::Bytes;

/// A GIF of one pixel that nobody sees.
const GIF: &[u8; 43] = b"GIF89a\x01\0\x01\0\x80\x01\0\0\0\0\xff\xff\xff\x21\xf9\x04\x01\0\0\x01\0\
    \x2c\0\0\0\0\x01\0\x01\0\0\x02\x02\x4c\x01\0\x3b";
/// When nginx says that it was made: Mon, 28 Sep 1970 06:00:00 GMT.
const GIF_MADE: u64 = 23_349_600;

/// `empty_gif`
pub(super) fn empty_gif(serving: &Serving<'_>) -> Result<Flow> {
    if !is_read(&serving.request) {
        return Ok(Flow::Status(405));
    }
    serving.request.response.borrow_mut().last_modified = Some(GIF_MADE);
    answer(serving, "image/gif", Bytes::from_static(GIF))
}

/// `stub_status`
pub(super) fn stub_status(serving: &Serving<'_>) -> Result<Flow> {
    if !is_read(&serving.request) {
        return Ok(Flow::Status(405));
    }
    answer(serving, "text/plain", metrics::status::text().into())
}

fn is_read(request: &Request) -> bool {
    matches!(&**request.method.borrow(), b"GET" | b"HEAD")
}

fn answer(serving: &Serving<'_>, kind: &'static str, body: Bytes) -> Result<Flow> {
    {
        let mut response = serving.request.response.borrow_mut();
        response.status = 200;
        response.content_type = Some(Bytes::from_static(kind.as_bytes()));
        response.content_length = Some(body.len() as u64);
    }
    redirect::respond(serving, body)
}
