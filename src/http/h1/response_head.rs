//! The head of an upstream's response as nginx 1.22 reads it (`ngx_http_parse_status_line`,
//! `ngx_http_parse_header_line`), and stricter where two readers could see two bodies: two
//! `Content-Length`, one that is no number, one beside `Transfer-Encoding`, and codings other than
//! `chunked` are refused, as newer nginx does.
//!
//! Nothing is copied: a head is the bytes that were read, and where in them its parts are.

mod lines;

use crate::http::headers::{is_variable, joined};
use bytes::{Bytes, BytesMut};
use lines::{Line, line, status_line};
use std::borrow::Cow;
use thiserror::Error;

/// Why a head is none; the text is nginx's.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum HeadError {
    /// It does not begin with `HTTP/`, a version and a status.
    #[error("upstream sent no valid HTTP/1.0 header")]
    StatusLine,
    /// A line that is no field: folded, with a control character in its name, or with NUL or a
    /// lonely CR in its value.
    #[error("upstream sent invalid header")]
    Line,
    /// It is longer than `proxy_buffer_size`.
    #[error("upstream sent too big header")]
    TooBig,
    /// A second `Content-Length` or `Transfer-Encoding`, whatever it says.
    #[error("upstream sent duplicate header line")]
    Duplicate,
    /// Not 1 to 18 digits.
    #[error("upstream sent invalid \"Content-Length\" header")]
    Length,
    /// Which would be two framings.
    #[error("upstream sent \"Content-Length\" and \"Transfer-Encoding\" headers at the same time")]
    TwoFramings,
    /// Any but `chunked`.
    #[error("upstream sent unknown \"Transfer-Encoding\"")]
    Encoding,
}

/// A field's meaning, where it has one for a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// `Content-Length`.
    ContentLength,
    /// `Content-Type`.
    ContentType,
    /// `Location`.
    Location,
    /// `Refresh`.
    Refresh,
    /// `X-Accel-Redirect`.
    AccelRedirect,
    /// `X-Accel-Buffering`.
    AccelBuffering,
    /// `X-Accel-Limit-Rate`.
    AccelLimitRate,
    /// `Connection`, `Keep-Alive` or `Transfer-Encoding`: of one connection only.
    HopByHop,
    /// None.
    Other,
}

/// A stretch of a head's bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// A head is never as long as 4 GiB: [`HeadReader::read`] has its limit.
    fn new(start: usize, end: usize) -> Self {
        Self { start: start as u32, end: end as u32 }
    }

    fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start as usize..self.end as usize]
    }
}

#[derive(Clone, Copy, Debug)]
struct FieldSpan {
    name: Span,
    value: Span,
    meaning: Meaning,
}

/// The head of a response.
#[derive(Clone, Debug, Default)]
pub struct ReceivedHead {
    bytes: Bytes,
    fields: Vec<FieldSpan>,
    reason: Span,
    /// The status, 100 to 999 as far as digits go.
    pub status: u16,
    /// `Content-Length`.
    pub content_length: Option<u64>,
    /// `Transfer-Encoding: chunked`.
    pub chunked: bool,
    /// The connection ends with this response: `Connection: close`, or HTTP/1.0.
    pub closes: bool,
}

/// One field of a head.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    head: &'a ReceivedHead,
    span: FieldSpan,
}

impl<'a> Field<'a> {
    /// The name as it was spelled.
    pub fn name(&self) -> &'a [u8] {
        self.span.name.of(&self.head.bytes)
    }

    /// The value without spaces around it.
    pub fn value(&self) -> &'a [u8] {
        self.span.value.of(&self.head.bytes)
    }

    /// What the name says.
    pub fn meaning(&self) -> Meaning {
        self.span.meaning
    }

    /// The name, as a part of the head's own bytes.
    pub fn name_bytes(&self) -> Bytes {
        self.head.slice(self.span.name)
    }

    /// The value, as a part of the head's own bytes.
    pub fn value_bytes(&self) -> Bytes {
        self.head.slice(self.span.value)
    }
}

impl ReceivedHead {
    fn slice(&self, span: Span) -> Bytes {
        self.bytes.slice(span.start as usize..span.end as usize)
    }

    /// A head that came in another form than HTTP/1's: `fields` in order, names in lower case.
    ///
    /// # Errors
    /// Two lengths, or one that is none.
    pub fn from_fields<'a>(
        status: u16,
        fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<Self, HeadError> {
        let mut head = Self { status, ..Self::default() };
        let mut bytes = Vec::with_capacity(256);
        for (name, value) in fields {
            let meaning = meaning_of(name);
            if meaning == Meaning::ContentLength {
                if head.content_length.is_some() {
                    return Err(HeadError::Duplicate);
                }
                head.content_length = Some(length_of(value).ok_or(HeadError::Length)?);
            }
            let start = bytes.len();
            bytes.extend_from_slice(name);
            let end = bytes.len();
            bytes.extend_from_slice(value);
            let (name, value) = (Span::new(start, end), Span::new(end, bytes.len()));
            head.fields.push(FieldSpan { name, value, meaning });
        }
        head.bytes = bytes.into();
        Ok(head)
    }

    /// The reason phrase; may be empty.
    pub fn reason(&self) -> Bytes {
        self.slice(self.reason)
    }

    /// Bytes that it took on the wire, the empty line included.
    pub fn wire_length(&self) -> usize {
        self.bytes.len()
    }

    /// The fields in order.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = Field<'_>> {
        self.fields.iter().map(|span| Field { head: self, span: *span })
    }

    /// The first field of this meaning.
    pub fn meant(&self, meaning: Meaning) -> Option<Field<'_>> {
        self.fields().find(|it| it.meaning() == meaning)
    }

    /// The values of all fields called `name`, in order.
    pub fn all<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> + 'a {
        self.fields().filter(move |it| it.name().eq_ignore_ascii_case(name)).map(|it| it.value())
    }

    /// The value of `$upstream_http_<name>`: the first field of that name, in lower case with `_`
    /// for `-`; all of them for `Cache-Control` and `Link`, with `", "` between.
    pub fn variable(&self, name: &[u8]) -> Option<Cow<'_, [u8]>> {
        match name {
            b"cache_control" => joined(self.all(b"cache-control"), b", "),
            b"link" => joined(self.all(b"link"), b", "),
            _ => {
                let field = self.fields().find(|it| is_variable(it.name(), name))?;
                Some(Cow::Borrowed(field.value()))
            }
        }
    }
}

/// Reads one head from bytes as they come.
#[derive(Clone, Debug, Default)]
pub struct HeadReader {
    head: ReceivedHead,
    /// Where the first line that was not read begins.
    at: usize,
}

impl HeadReader {
    /// Takes the head from the front of `buffer` once it is whole; `None` while it is not: then
    /// call again with more behind the same bytes.
    ///
    /// # Errors
    /// These bytes are no head, or more than `limit` are needed for it.
    pub fn read(
        &mut self,
        buffer: &mut BytesMut,
        limit: usize,
    ) -> Result<Option<ReceivedHead>, HeadError> {
        let whole = self.advance(buffer)?;
        let length = if whole { self.at } else { buffer.len() + 1 };
        if length > limit {
            return Err(HeadError::TooBig);
        }
        if !whole {
            return Ok(None);
        }
        let mut head = std::mem::take(&mut self.head);
        head.bytes = buffer.split_to(self.at).freeze();
        self.at = 0;
        Ok(Some(head))
    }

    /// Reads the lines that are whole; whether the empty one was among them.
    fn advance(&mut self, input: &[u8]) -> Result<bool, HeadError> {
        if self.at == 0 {
            match status_line(input, &mut self.head)? {
                Some(next) => self.at = next,
                None => return Ok(false),
            }
        }
        loop {
            match line(input, self.at)? {
                Line::Unfinished => return Ok(false),
                Line::Field { name, value, next } => {
                    self.take(input, name, value)?;
                    self.at = next;
                }
                Line::Ignored { next } => self.at = next,
                Line::Empty { next } => {
                    self.at = next;
                    return Ok(true);
                }
            }
        }
    }

    fn take(&mut self, input: &[u8], name: Span, value: Span) -> Result<(), HeadError> {
        let head = &mut self.head;
        let meaning = meaning_of(name.of(input));
        let text = value.of(input);
        match meaning {
            Meaning::ContentLength => {
                if head.content_length.is_some() {
                    return Err(HeadError::Duplicate);
                }
                head.content_length = Some(length_of(text).ok_or(HeadError::Length)?);
            }
            Meaning::HopByHop if name.end - name.start == TRANSFER_ENCODING.len() as u32 => {
                if head.chunked {
                    return Err(HeadError::Duplicate);
                }
                if !text.eq_ignore_ascii_case(b"chunked") {
                    return Err(HeadError::Encoding);
                }
                head.chunked = true;
            }
            Meaning::HopByHop if name.end - name.start == CONNECTION.len() as u32 => {
                // As nginx looks for it: anywhere in the value.
                head.closes |= text.windows(5).any(|it| it.eq_ignore_ascii_case(b"close"));
            }
            _ => {}
        }
        if head.chunked && head.content_length.is_some() {
            return Err(HeadError::TwoFramings);
        }
        if head.fields.is_empty() {
            head.fields.reserve(FIELDS);
        }
        head.fields.push(FieldSpan { name, value, meaning });
        Ok(())
    }
}

/// Fields that a head has room for before its list grows.
const FIELDS: usize = 16;

const TRANSFER_ENCODING: &[u8] = b"transfer-encoding";
const CONNECTION: &[u8] = b"connection";

fn meaning_of(name: &[u8]) -> Meaning {
    let is = |text: &[u8]| name.eq_ignore_ascii_case(text);
    match name.len() {
        7 if is(b"refresh") => Meaning::Refresh,
        8 if is(b"location") => Meaning::Location,
        10 if is(CONNECTION) || is(b"keep-alive") => Meaning::HopByHop,
        12 if is(b"content-type") => Meaning::ContentType,
        14 if is(b"content-length") => Meaning::ContentLength,
        16 if is(b"x-accel-redirect") => Meaning::AccelRedirect,
        17 if is(TRANSFER_ENCODING) => Meaning::HopByHop,
        17 if is(b"x-accel-buffering") => Meaning::AccelBuffering,
        18 if is(b"x-accel-limit-rate") => Meaning::AccelLimitRate,
        _ => Meaning::Other,
    }
}

/// 1 to 18 digits: what nginx's signed 64 bits hold for certain.
fn length_of(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 18 {
        return None;
    }
    text.iter().try_fold(0u64, |sum, byte| {
        byte.is_ascii_digit().then(|| sum * 10 + u64::from(byte - b'0'))
    })
}

#[cfg(test)]
mod tests;
