//! memcached's text protocol as nginx's memcached module and ngx_memc speak it: commands, and how
//! the begin of a reply is read.

use memchr::memchr;
use thiserror::Error;

#[cfg(test)]
mod tests;

/// A command of memcached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Asks for a value.
    Get,
    /// Keeps a value.
    Set,
    /// Keeps a value under a key that has none.
    Add,
    /// Keeps a value under a key that has one.
    Replace,
    /// Adds to the end of a value.
    Append,
    /// Adds to the front of a value.
    Prepend,
    /// Forgets a value.
    Delete,
    /// Counts up.
    Incr,
    /// Counts down.
    Decr,
    /// Forgets all.
    FlushAll,
    /// Tells of the server.
    Stats,
    /// Tells the server's version.
    Version,
}

const NAMES: [(&str, Command); 12] = [
    ("get", Command::Get),
    ("set", Command::Set),
    ("add", Command::Add),
    ("replace", Command::Replace),
    ("append", Command::Append),
    ("prepend", Command::Prepend),
    ("delete", Command::Delete),
    ("incr", Command::Incr),
    ("decr", Command::Decr),
    ("flush_all", Command::FlushAll),
    ("stats", Command::Stats),
    ("version", Command::Version),
];

impl Command {
    /// The command called so, in memcached's letter case.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        NAMES.iter().find(|it| it.0.as_bytes() == name).map(|it| it.1)
    }

    /// What an HTTP method stands for where nothing else is said.
    pub fn of_method(method: &[u8]) -> Option<Self> {
        match method {
            b"GET" | b"HEAD" => Some(Self::Get),
            b"POST" => Some(Self::Add),
            b"PUT" => Some(Self::Set),
            b"DELETE" => Some(Self::Delete),
            _ => None,
        }
    }

    /// As the server knows it.
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|it| it.1 == self).map_or("", |it| it.0)
    }

    /// Whether a value is sent with it.
    pub fn stores(self) -> bool {
        use Command::{Add, Append, Prepend, Replace, Set};
        matches!(self, Set | Add | Replace | Append | Prepend)
    }

    /// Whether it is about a key.
    pub fn has_key(self) -> bool {
        !matches!(self, Self::FlushAll | Self::Stats | Self::Version)
    }
}

/// What follows a value.
pub const END_OF_VALUE: &[u8] = b"\r\nEND\r\n";

/// The begin of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status that it comes to.
    pub status: u16,
    /// Bytes that are no part of the body.
    pub head: usize,
    /// Bytes of the body behind them.
    pub body: u64,
    /// The flags of a value, which [`END_OF_VALUE`] follows.
    pub flags: Option<Box<[u8]>>,
}

/// Why a reply is none; the text is nginx's.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ReplyError {
    /// The value of another key.
    #[error("memcached sent invalid key in response \"{0}\" for key \"{1}\"")]
    Key(String, String),
    /// A length that is none.
    #[error("memcached sent invalid length in response \"{0}\" for key \"{1}\"")]
    Length(String, String),
    /// Nothing that `get` is answered with.
    #[error("memcached sent invalid response: \"{0}\"")]
    Line(String),
    /// Nothing that another command is answered with.
    #[error("memcached sent invalid response for command \"{0}\": {1}")]
    Command(&'static str, String),
    /// It is longer than the buffer.
    #[error("memcached sent too big response")]
    TooBig,
}

impl Reply {
    /// Reads the reply to a command, for `key` as it was sent, from what has come of it; `None`
    /// where more is needed. Every reply but a value is its own body.
    ///
    /// # Errors
    /// It is none, or would need more than `limit` bytes.
    pub fn read(
        command: Command,
        key: &[u8],
        input: &[u8],
        limit: usize,
    ) -> Result<Option<Self>, ReplyError> {
        let read = match command {
            Command::Get => value(key, input)?,
            _ => simple(command, input)?,
        };
        match read {
            None if input.len() >= limit => Err(ReplyError::TooBig),
            read => Ok(read),
        }
    }
}

/// A line of the input, without its end.
fn line(input: &[u8]) -> Option<&[u8]> {
    let end = memchr(b'\n', input)?;
    let line = &input[..end];
    Some(line.strip_suffix(b"\r").unwrap_or(line))
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// `VALUE KEY FLAGS LENGTH[ UNIQUE]`, or `END`.
fn value(key: &[u8], input: &[u8]) -> Result<Option<Reply>, ReplyError> {
    let Some(line) = line(input) else { return Ok(None) };
    let head = memchr(b'\n', input).map_or(0, |it| it + 1);
    if line == b"END" {
        return Ok(Some(Reply { status: 404, head, body: 0, flags: None }));
    }
    let invalid = || ReplyError::Line(shown(line));
    let rest = line.strip_prefix(b"VALUE ").ok_or_else(invalid)?;
    let of_key = || (shown(line), shown(key));
    let rest = rest.strip_prefix(key).ok_or_else(|| {
        let (line, key) = of_key();
        ReplyError::Key(line, key)
    })?;
    let mut words = rest.strip_prefix(b" ").ok_or_else(invalid)?.split(|it| *it == b' ');
    let flags = words.next().filter(|it| !it.is_empty()).ok_or_else(invalid)?;
    let length = words.next().ok_or_else(invalid)?;
    let body = std::str::from_utf8(length).ok().and_then(|it| it.parse().ok());
    let body = body.ok_or_else(|| {
        let (line, key) = of_key();
        ReplyError::Length(line, key)
    })?;
    Ok(Some(Reply { status: 200, head, body, flags: Some(flags.into()) }))
}

/// A reply that is one line, or the lines of `stats`.
fn simple(command: Command, input: &[u8]) -> Result<Option<Reply>, ReplyError> {
    let Some(first) = line(input) else { return Ok(None) };
    let length = memchr(b'\n', input).map_or(0, |it| it + 1);
    let whole = |status, length: usize| match status {
        // An error page answers in its place.
        404 => Ok(Some(Reply { status, head: length, body: 0, flags: None })),
        _ => Ok(Some(Reply { status, head: 0, body: length as u64, flags: None })),
    };
    let is_error = first == b"ERROR"
        || first.starts_with(b"CLIENT_ERROR ")
        || first.starts_with(b"SERVER_ERROR ");
    if is_error {
        return whole(502, length);
    }
    let counts = matches!(command, Command::Incr | Command::Decr);
    match first {
        b"STORED" if command.stores() => whole(201, length),
        b"NOT_STORED" | b"EXISTS" if command.stores() => whole(200, length),
        b"NOT_FOUND" if command.has_key() => whole(404, length),
        b"DELETED" if command == Command::Delete => whole(200, length),
        b"OK" if command == Command::FlushAll => whole(200, length),
        _ if counts && is_count(first) => whole(201, length),
        _ if command == Command::Version && first.starts_with(b"VERSION ") => whole(200, length),
        _ if command == Command::Stats => stats(input),
        _ => Err(ReplyError::Command(command.name(), shown(first))),
    }
}

fn is_count(line: &[u8]) -> bool {
    let digits = line.trim_ascii_end();
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

/// `STAT …` lines up to `END`.
fn stats(input: &[u8]) -> Result<Option<Reply>, ReplyError> {
    let mut at = 0;
    while let Some(line) = line(&input[at..]) {
        at += memchr(b'\n', &input[at..]).map_or(0, |it| it + 1);
        if line == b"END" {
            return Ok(Some(Reply { status: 200, head: 0, body: at as u64, flags: None }));
        }
        if !line.starts_with(b"STAT ") {
            return Err(ReplyError::Command("stats", shown(line)));
        }
    }
    Ok(None)
}
