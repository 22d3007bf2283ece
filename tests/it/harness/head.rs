//! Message heads and bodies of HTTP/1, read strictly and kept as they were sent.

use std::io::{self, BufRead, Read};

/// A start line and header fields, exactly as they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The first line, without its end.
    pub start: String,
    /// Fields in their order, names in their case.
    pub fields: Vec<(String, String)>,
}

impl Head {
    /// The values of `name`, in their order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let matching = self.fields.iter().filter(|(it, _)| it.eq_ignore_ascii_case(name));
        matching.map(|(_, value)| value.as_str()).collect()
    }

    /// The first value of `name`.
    pub fn first(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    /// Whether `Transfer-Encoding: chunked` is said.
    pub fn is_chunked(&self) -> bool {
        self.first("transfer-encoding").is_some_and(|it| it.eq_ignore_ascii_case("chunked"))
    }

    /// `Content-Length`; an unreadable one is an error.
    pub fn length(&self) -> io::Result<Option<usize>> {
        self.first("content-length")
            .map(|it| it.parse().map_err(|_| broken(format!("Content-Length: {it}"))))
            .transpose()
    }

    /// Reads a head up to its empty line; `None` when the peer closed before the first byte.
    ///
    /// # Errors
    /// A line that does not end in CRLF, a field without a colon, an end in the middle.
    pub fn read(input: &mut impl BufRead) -> io::Result<Option<Self>> {
        let Some(start) = line(input)? else { return Ok(None) };
        let mut head = Self { start, fields: Vec::new() };
        loop {
            let text = line(input)?.ok_or_else(|| broken("the head ends early".into()))?;
            if text.is_empty() {
                return Ok(Some(head));
            }
            let (name, value) = text
                .split_once(':')
                .ok_or_else(|| broken(format!("a field without a colon: {text:?}")))?;
            head.fields.push((name.into(), value.strip_prefix(' ').unwrap_or(value).into()));
        }
    }

    /// The head as text, one line each, without the empty line.
    pub fn text(&self) -> String {
        let fields = self.fields.iter().map(|(name, value)| format!("\n{name}: {value}"));
        self.start.clone() + &fields.collect::<String>()
    }
}

/// Reads a chunked body to its end, trailers included.
///
/// # Errors
/// Anything that RFC 9112 section 7.1 does not allow.
pub fn read_chunked(input: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let size = line(input)?.ok_or_else(|| broken("no chunk size".into()))?;
        let digits = size.split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(digits, 16)
            .map_err(|_| broken(format!("a chunk size: {size:?}")))?;
        if size == 0 {
            while !line(input)?.ok_or_else(|| broken("no end of trailers".into()))?.is_empty() {}
            return Ok(body);
        }
        body.append(&mut read_exactly(input, size)?);
        if line(input)?.is_none_or(|it| !it.is_empty()) {
            return Err(broken("no CRLF behind a chunk".into()));
        }
    }
}

/// Reads `count` bytes; an end before that is an error that says how many came.
pub fn read_exactly(input: &mut impl Read, count: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(count as u64).read_to_end(&mut bytes)?;
    if bytes.len() < count {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            format!("{} of {count} bytes of the body came", bytes.len()),
        ));
    }
    Ok(bytes)
}

/// A line without its CRLF; `None` at the end of the input.
fn line(input: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    input.read_until(b'\n', &mut bytes)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    match bytes.strip_suffix(b"\r\n") {
        Some(text) => Ok(Some(latin1(text))),
        None => Err(broken(format!("a line that does not end in CRLF: {:?}", latin1(&bytes)))),
    }
}

/// Each byte as the character of its number: nothing is lost and everything prints.
pub fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|it| char::from(*it)).collect()
}

fn broken(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}
