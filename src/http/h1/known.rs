//! Header fields that decide about a request's framing and its connection, and those that there may
//! be only one of.

use super::fault::Fault;
use super::request_head::{RequestHead, Span, Version};

/// What `Connection` asks for; the last field that says one of them counts, as in nginx.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// `close`.
    Close,
    /// `keep-alive`.
    KeepAlive,
}

/// Fields that must reach whoever they frame: `Connection` cannot take them away.
const NEVER_NOMINATED: [&[u8]; 4] =
    [b"host", b"content-length", b"transfer-encoding", b"authorization"];

/// What was noted of the fields so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// A bit for each field that has come of those that there may be once.
    seen: u16,
    coding: Option<Span>,
    /// There is a `Content-Length`, and it is no number.
    is_length_bad: bool,
}

impl Known {
    /// Notes a field: its name, and its value, which is at `place`.
    pub fn note(
        &mut self,
        name: &[u8],
        value: &[u8],
        place: Span,
        head: &mut RequestHead,
    ) -> Result<(), Fault> {
        let is = |it: &[u8]| name.eq_ignore_ascii_case(it);
        match name.len() {
            4 if is(b"host") => {
                self.once(0).map_err(|_| Fault::TwoHosts)?;
                head.host = Some(place);
            }
            10 if is(b"connection") => {
                if nominates(value) {
                    return Err(Fault::Nominated);
                }
                head.connection = asked(value).or(head.connection);
            }
            14 if is(b"content-length") => {
                self.once(1)?;
                head.content_length = decimal(value);
                self.is_length_bad = head.content_length.is_none();
            }
            17 if is(b"transfer-encoding") => {
                self.once(2)?;
                self.coding = Some(place);
            }
            6 if is(b"expect") => {
                self.once(3)?;
                head.expects_continue = value.eq_ignore_ascii_case(b"100-continue");
            }
            8 if is(b"if-match") => self.once(4)?,
            8 if is(b"if-range") => self.once(5)?,
            13 if is(b"authorization") => self.once(6)?,
            13 if is(b"if-none-match") => self.once(7)?,
            13 if is(b"content-range") => self.once(8)?,
            17 if is(b"if-modified-since") => self.once(9)?,
            19 if is(b"if-unmodified-since") => self.once(10)?,
            _ => {}
        }
        Ok(())
    }

    /// Refuses the second field with this number, one of those that nginx allows once
    /// (`ngx_http_process_unique_header_line`).
    fn once(&mut self, number: u8) -> Result<(), Fault> {
        let bit = 1 << number;
        if self.seen & bit != 0 {
            return Err(Fault::Duplicate);
        }
        self.seen |= bit;
        Ok(())
    }

    /// What all fields together must be.
    pub fn conclude(&self, input: &[u8], head: &mut RequestHead) -> Result<(), Fault> {
        if self.is_length_bad {
            return Err(Fault::Length);
        }
        let Some(coding) = self.coding else { return Ok(()) };
        if head.version < Version::V11 {
            return Err(Fault::Coding10);
        }
        if head.content_length.is_some() {
            return Err(Fault::TwoFramings);
        }
        if !input[coding.range()].eq_ignore_ascii_case(b"chunked") {
            return Err(Fault::Coding);
        }
        head.chunked = true;
        Ok(())
    }
}

/// nginx looks for the words anywhere in the value.
fn asked(value: &[u8]) -> Option<Connection> {
    match value {
        b"keep-alive" => return Some(Connection::KeepAlive),
        b"close" => return Some(Connection::Close),
        _ => {}
    }
    let has = |word: &[u8]| value.windows(word.len()).any(|it| it.eq_ignore_ascii_case(word));
    match () {
        () if has(b"close") => Some(Connection::Close),
        () if has(b"keep-alive") => Some(Connection::KeepAlive),
        () => None,
    }
}

fn nominates(value: &[u8]) -> bool {
    // The shortest of them is `host`, and it is none of the two words that all clients send.
    if value.len() < 4 || matches!(value, b"keep-alive" | b"close") {
        return false;
    }
    let mut names = value.split(|it| *it == b',').map(<[u8]>::trim_ascii);
    names.any(|name| NEVER_NOMINATED.iter().any(|it| name.eq_ignore_ascii_case(it)))
}

/// 1 to 19 digits that a `i64` holds.
fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 19 {
        return None;
    }
    let number = text.iter().try_fold(0u64, |number, byte| {
        byte.is_ascii_digit().then(|| number * 10 + u64::from(byte - b'0'))
    })?;
    (number <= i64::MAX as u64).then_some(number)
}
