//! The head of a client's HTTP/1 request: a strict parser that copies nothing.
//!
//! nginx 1.22 is followed (`ngx_http_parse_request_line`, `ngx_http_parse_header_line`) except
//! where two parsers could read one head differently: such a head is refused. What is stricter than
//! nginx: no bare LF unless [`Policy::bare_lf`] says so, no control characters, no line without a
//! colon, no fragment in the target, no version but 1.0 and 1.1.

use super::fault::Fault;
use super::known::{Connection, Known};
use super::octets;
use smallvec::SmallVec;

/// HTTP's version as a request line says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// None is said: a line of method and target, without fields, as in HTTP/0.9.
    V09,
    /// `HTTP/1.0`
    V10,
    /// `HTTP/1.1`
    V11,
}

/// What a head may look like.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Lines may end with LF alone.
    pub bare_lf: bool,
    /// Fields whose names have a `_` are kept.
    pub underscores: bool,
    /// The longest line, its end included, bytes.
    pub line_bytes: usize,
    /// The longest head, bytes.
    pub head_bytes: usize,
}

/// A range of the bytes that were parsed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// The first byte.
    pub start: u32,
    /// Behind the last.
    pub end: u32,
}

impl Span {
    fn new(start: usize, end: usize) -> Self {
        // A head is shorter than 4 GiB: its policy's limits are.
        Self { start: start as u32, end: end as u32 }
    }

    /// As a range of indices.
    pub fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }

    /// How many bytes it has.
    pub fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether it has none.
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }
}

/// A header field: its name, and its value without blanks around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldSpan {
    /// The name.
    pub name: Span,
    /// The value.
    pub value: Span,
}

/// Fields that need no allocation.
const USUAL_FIELDS: usize = 20;

/// A head, as places in the bytes that it was parsed from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// The request line without its end.
    pub line: Span,
    /// The method.
    pub method: Span,
    /// The target; its grammar is `http::uri`'s.
    pub target: Span,
    /// The version; 1.0 until the line was read.
    pub version: Version,
    /// The fields in their order, without those whose names are dropped.
    pub fields: SmallVec<[FieldSpan; USUAL_FIELDS]>,
    /// `Host`.
    pub host: Option<Span>,
    /// `Content-Length`.
    pub content_length: Option<u64>,
    /// `Transfer-Encoding: chunked`.
    pub chunked: bool,
    /// What `Connection` asks for.
    pub connection: Option<Connection>,
    /// `Expect: 100-continue`.
    pub expects_continue: bool,
    /// Where the head begins: empty lines before it count for nothing.
    pub start: usize,
    /// Bytes up to and with the last line that was accepted.
    pub end: usize,
}

impl RequestHead {
    fn new() -> Self {
        Self {
            line: Span::default(),
            method: Span::default(),
            target: Span::default(),
            version: Version::V10,
            fields: SmallVec::new(),
            host: None,
            content_length: None,
            chunked: false,
            connection: None,
            expects_continue: false,
            start: 0,
            end: 0,
        }
    }
}

impl RequestHead {
    /// Takes what is there of a line that was refused before its end was seen: up to the first CR
    /// or LF, as nginx logs it.
    pub fn take_part(&mut self, input: &[u8]) {
        let part = &input[self.start.min(input.len())..];
        let length = part.iter().position(|it| matches!(it, b'\r' | b'\n'));
        self.line = Span::new(self.start, self.start + length.unwrap_or(part.len()));
    }
}

/// Which line comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Line,
    Fields,
    Done,
}

/// A parser of one head, which may come in any number of pieces.
#[derive(Clone, Debug)]
pub struct Parser {
    policy: Policy,
    stage: Stage,
    /// Where the line begins that comes next.
    at: usize,
    head: RequestHead,
    known: Known,
}

impl Parser {
    /// A parser that has seen nothing.
    pub fn new(policy: Policy) -> Self {
        let head = RequestHead::new();
        Self { policy, stage: Stage::Line, at: 0, head, known: Known::default() }
    }

    /// What was read so far: all of it once [`Self::parse`] has said so, else the lines before the
    /// fault.
    pub fn into_head(self) -> RequestHead {
        self.head
    }

    /// Reads on: `input` is all that has come of the head, what was shown before included. True
    /// once the head is complete; more bytes may follow it.
    ///
    /// # Errors
    /// It is refused. The fault is the same however the bytes were split.
    pub fn parse(&mut self, input: &[u8]) -> Result<bool, Fault> {
        while self.stage != Stage::Done {
            let line = match self.stage {
                Stage::Line => self.request_line(input),
                _ => self.field(input),
            };
            match line {
                Ok(next) => {
                    self.at = next;
                    self.head.end = next;
                }
                Err(Stop::Part) => {
                    self.check_length(input.len())?;
                    return Ok(false);
                }
                Err(Stop::Fault(fault, at)) => {
                    self.check_length(at + 1)?;
                    return Err(fault);
                }
            }
        }
        Ok(true)
    }

    /// Whether the line may go on up to `end`. What is wrong behind its limit was never read.
    fn check_length(&self, end: usize) -> Result<(), Fault> {
        let policy = &self.policy;
        if end - self.at <= policy.line_bytes && end <= policy.head_bytes {
            return Ok(());
        }
        Err(match self.stage {
            Stage::Line => Fault::LongLine,
            _ if self.at + policy.line_bytes <= policy.head_bytes => Fault::LongField,
            _ => Fault::LongHead,
        })
    }

    /// Behind the line end at `at`, which ends the line with all its limits kept.
    fn line_end(&self, input: &[u8], at: usize, fault: Fault) -> Result<usize, Stop> {
        let next = match &input[at..] {
            [b'\r', b'\n', ..] => at + 2,
            [b'\n', ..] if self.policy.bare_lf => at + 1,
            [b'\r'] | [] => return Err(Stop::Part),
            [b'\r', ..] => return Err(Stop::Fault(fault, at + 1)),
            _ => return Err(Stop::Fault(fault, at)),
        };
        match self.check_length(next) {
            Ok(()) => Ok(next),
            Err(fault) => Err(Stop::Fault(fault, at)),
        }
    }

    /// `GET /target HTTP/1.1`; blanks between the parts may be several, as in nginx. Empty lines
    /// may come before it.
    fn request_line(&mut self, input: &[u8]) -> Result<usize, Stop> {
        let start = self.at;
        let method = start + octets::method(&input[start..]);
        match input.get(method) {
            None => return Err(Stop::Part),
            Some(b' ') if method > start => {}
            Some(b'\r' | b'\n') if method == start => {
                let next = self.line_end(input, start, Fault::Method)?;
                self.head.start = next;
                return Ok(next);
            }
            Some(_) => return Err(Stop::Fault(Fault::Method, method)),
        }
        let target = method + blanks(&input[method..]);
        match input.get(target) {
            None => return Err(Stop::Part),
            Some(it) if *it == b'/' || it.is_ascii_alphabetic() => {}
            Some(_) => return Err(Stop::Fault(Fault::Request, target)),
        }
        let behind = target + octets::target(&input[target..]);
        let from = behind + blanks(&input[behind..]);
        let end = from + octets::version(&input[from..]);
        if !matches!(input.get(behind), None | Some(b' ' | b'\r' | b'\n')) {
            return Err(Stop::Fault(Fault::Request, behind));
        }
        let next = self.line_end(input, end, Fault::Request)?;
        self.head.line = Span::new(start, end);
        self.head.method = Span::new(start, method);
        self.head.target = Span::new(target, behind);
        self.head.version = match &input[from..end] {
            b"HTTP/1.1" => Version::V11,
            b"" => Version::V09,
            other => version(other).map_err(|fault| Stop::Fault(fault, end))?,
        };
        self.stage = Stage::Fields;
        if self.head.version == Version::V09 {
            self.stage = Stage::Done;
            if &input[start..method] != b"GET" {
                return Err(Stop::Fault(Fault::Method09, end));
            }
        }
        Ok(next)
    }

    /// A field, or the empty line behind the last of them.
    fn field(&mut self, input: &[u8]) -> Result<usize, Stop> {
        let start = self.at;
        if matches!(input.get(start), Some(b'\r' | b'\n')) {
            let next = self.line_end(input, start, Fault::Field)?;
            self.head.end = next;
            let conclusion = self.known.conclude(input, &mut self.head);
            conclusion.map_err(|fault| Stop::Fault(fault, start))?;
            self.stage = Stage::Done;
            return Ok(next);
        }
        let (length, kept) = octets::name(&input[start..], self.policy.underscores);
        let colon = start + length;
        match input.get(colon) {
            None => return Err(Stop::Part),
            Some(b':') if length > 0 => {}
            Some(_) => return Err(Stop::Fault(Fault::Field, colon)),
        }
        let from = colon + 1 + blanks(&input[colon + 1..]);
        let behind = from + octets::value(&input[from..]);
        let next = self.line_end(input, behind, Fault::Field)?;
        if kept {
            let value = &input[from..behind];
            let trailing = value.iter().rev().take_while(|it| **it == b' ').count();
            let value = &value[..value.len() - trailing];
            let field = FieldSpan {
                name: Span::new(start, colon),
                value: Span::new(from, from + value.len()),
            };
            // It is a line of HTTP, whatever it says.
            self.head.end = next;
            let noted = self.known.note(&input[start..colon], value, field.value, &mut self.head);
            noted.map_err(|fault| Stop::Fault(fault, behind))?;
            self.head.fields.push(field);
        }
        Ok(next)
    }
}

/// Why a line was not read.
enum Stop {
    /// Its end has not come.
    Part,
    /// It is refused, because of the byte at this place.
    Fault(Fault, usize),
}

/// How many blanks `text` begins with.
fn blanks(text: &[u8]) -> usize {
    text.iter().take_while(|it| **it == b' ').count()
}

/// A version other than `HTTP/1.1`; blanks may follow it.
fn version(text: &[u8]) -> Result<Version, Fault> {
    let number = text.strip_prefix(b"HTTP/").ok_or(Fault::Request)?;
    let number = number.trim_ascii_end();
    match number {
        b"1.1" => return Ok(Version::V11),
        b"1.0" => return Ok(Version::V10),
        [b'2'..=b'9', ..] => return Err(Fault::Version),
        _ => {}
    }
    let dot = memchr::memchr(b'.', number).ok_or(Fault::Request)?;
    let (major, minor) = (&number[..dot], &number[dot + 1..]);
    let is_number = |it: &[u8]| !it.is_empty() && it.iter().all(u8::is_ascii_digit);
    if is_number(major) && is_number(minor) && major[0] != b'0' {
        return Err(Fault::Version);
    }
    Err(Fault::Request)
}

#[cfg(test)]
mod tests;
