//! The head of a response, in nginx's shape: a few fields with a place of their own, and a list.

use crate::http::headers::Headers;
use bytes::Bytes;

/// A response's head before it is written.
#[derive(Clone, Debug, Default)]
pub struct ResponseHead {
    /// The status; 0 while none was set.
    pub status: u16,
    /// A reason phrase other than the status's own (an upstream's).
    pub reason: Option<Bytes>,
    /// `Content-Type`; written behind `Server` and `Date`. Empty: a script wants none, not even
    /// the default.
    pub content_type: Option<Bytes>,
    /// `Content-Length`; written behind `Content-Type`.
    pub content_length: Option<u64>,
    /// How many of `headers` come before `Content-Length` where a script set it, and the spelling
    /// that the script gave it: then it has no place of its own.
    pub content_length_place: Option<(usize, Bytes)>,
    /// A redirect of our own; a relative one is made absolute when it is written.
    pub location: Option<Bytes>,
    /// `Last-Modified` of a file, as unix seconds.
    pub last_modified: Option<u64>,
    /// The connection ends with this response; `None` until that is settled.
    pub closes: Option<bool>,
    /// The body is sent in chunks.
    pub chunked: bool,
    /// All other fields in order. A `Server` or `Date` in here replaces our own.
    pub headers: Headers,
}

impl ResponseHead {
    /// Empties it for another answer, as nginx does before an error page.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}
