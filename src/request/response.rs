//! The head of a response, in nginx's shape: a few fields with a place of their own, and a list.

use crate::http::headers::Headers;
use crate::request::decimal;
use bytes::Bytes;
use std::ops::Range;

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
    /// Fields of ours will follow the body, which goes in chunks then.
    pub expects_trailers: bool,
    /// The body is sent in chunks.
    pub chunked: bool,
    /// There is no `Server`, not even our own.
    pub hides_server: bool,
    /// There is no `Date`.
    pub hides_date: bool,
    /// Whether parts of the body may go out alone.
    pub ranges: Ranges,
    /// All other fields in order. A `Server` or `Date` in here replaces our own.
    pub headers: Headers,
    /// What follows the body.
    pub trailers: Headers,
}

/// Whether, and which, parts of a body go out alone.
#[derive(Clone, Debug, Default)]
pub enum Ranges {
    /// It goes out whole.
    #[default]
    Never,
    /// A client may have one part.
    One,
    /// A client may have many.
    Any,
    /// These go out.
    Chosen(Box<Parts>),
}

/// Parts of a body.
#[derive(Clone, Debug)]
pub struct Parts {
    /// What stands before a part (nothing where it is the only one), and its bytes.
    pub parts: Vec<(Bytes, Range<u64>)>,
    /// What stands behind the last one.
    pub end: Bytes,
}

impl Parts {
    /// Bytes of what goes out.
    pub fn length(&self) -> u64 {
        let parts = self.parts.iter();
        let parts = parts.map(|(begin, part)| begin.len() as u64 + part.end - part.start);
        parts.sum::<u64>() + self.end.len() as u64
    }
}

impl ResponseHead {
    /// Empties it for another answer, as nginx does before an error page.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Fields which a new spelling renames too, and of which there is one.
const SINGLE: [&[u8]; 11] = [
    b"server",
    b"date",
    b"content-encoding",
    b"location",
    b"refresh",
    b"content-range",
    b"accept-ranges",
    b"www-authenticate",
    b"expires",
    b"e-tag",
    b"etag",
];

/// A `Content-Length` that is no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoNumber;

impl ResponseHead {
    /// Sets or adds a field as lua-nginx-module and headers-more do; an empty value removes it.
    ///
    /// # Errors
    /// A `Content-Length` that is no number.
    pub fn put(&mut self, name: &Bytes, value: Bytes, replace: bool) -> Result<(), NoNumber> {
        let lower = name.to_ascii_lowercase();
        match &lower[..] {
            b"content-type" => {
                self.content_type = Some(value);
                self.headers.remove(name);
            }
            b"content-length" => {
                self.headers.remove(name);
                self.content_length = match value.is_empty() {
                    true => None,
                    false => Some(decimal(&value).ok_or(NoNumber)?),
                };
                let place = (self.headers.len(), name.clone());
                self.content_length_place = self.content_length.map(|_| place);
            }
            b"last-modified" => {
                self.last_modified = None;
                self.one(name, value);
            }
            b"server" => {
                self.hides_server = value.is_empty();
                self.one(name, value);
            }
            b"date" => {
                self.hides_date = value.is_empty();
                self.one(name, value);
            }
            b"accept-ranges" if value.is_empty() => {
                // Who takes it away wants no ranges.
                self.ranges = Ranges::Never;
                self.one(name, value);
            }
            b"location" => self.put_location(name, value, replace),
            _ if SINGLE.contains(&&lower[..]) => self.one(name, value),
            _ if value.is_empty() && replace => {
                self.headers.remove(name);
            }
            _ if value.is_empty() => {}
            _ if replace => self.headers.set(name.clone(), value),
            _ => self.headers.append(name.clone(), value),
        }
        Ok(())
    }

    /// nginx forgets which field `Location` is when it is set to a path, so that a second one is
    /// added.
    fn put_location(&mut self, name: &Bytes, value: Bytes, replace: bool) {
        self.location = None;
        let is_path = self.headers.get(name).is_some_and(|it| it.starts_with(b"/"));
        if !replace && is_path && !value.is_empty() {
            self.headers.append(name.clone(), value);
        } else {
            self.one(name, value);
        }
    }

    /// A field of which there is one.
    fn one(&mut self, name: &Bytes, value: Bytes) {
        if value.is_empty() {
            self.headers.remove(name);
        } else {
            self.headers.respell(name.clone(), value);
        }
    }
}
