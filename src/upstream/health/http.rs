//! An HTTP/1.1 probe: one GET on a connection of its own, read with strict limits.

use super::stream::Io;
use crate::sys::errno::Errno;
use crate::upstream::expect::Expect;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The longest response head that a probe reads, bytes.
const MAX_HEAD: usize = 32 * 1024;
/// The most header fields.
const MAX_FIELDS: usize = 100;
/// The part of a body that `match` sees, bytes (NGINX Plus's 256 KiB).
const MAX_BODY: usize = 256 * 1024;
/// Interim responses that are skipped.
const MAX_INTERIM: usize = 8;

/// Sends the request and judges the answer. `headers` go out in their order and letter case, after
/// the defaults, which they replace by name.
pub(super) async fn probe(
    mut stream: Box<dyn Io>,
    host: &str,
    uri: &str,
    headers: &[(String, String)],
    expect: &Expect,
) -> Result<(), String> {
    let request = request(host, uri, headers);
    stream.write_all(&request).await.map_err(|it| format!("send() failed {}", Errno(&it)))?;
    let mut input = Input { stream, bytes: Vec::with_capacity(4096), start: 0 };
    let framing = head(&mut input, expect).await?;
    if expect.wants_body() {
        let body = body(&mut input, framing).await?;
        expect.judge_body(&body)?;
    }
    Ok(())
}

fn request(host: &str, uri: &str, headers: &[(String, String)]) -> Vec<u8> {
    let defaults = [("Host", host), ("User-Agent", "moongate"), ("Connection", "close")];
    let mut request = format!("GET {uri} HTTP/1.1\r\n");
    let is_replaced =
        |name: &str| headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
    let kept = defaults.into_iter().filter(|(name, _)| !is_replaced(name));
    let own = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in kept.chain(own) {
        request.extend([name, ": ", value, "\r\n"]);
    }
    request.push_str("\r\n");
    request.into_bytes()
}

/// What has been read and not yet been used.
struct Input {
    stream: Box<dyn Io>,
    bytes: Vec<u8>,
    start: usize,
}

impl Input {
    fn rest(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// Reads more; false at the end of the stream.
    async fn fill(&mut self) -> Result<bool, String> {
        self.bytes.drain(..self.start);
        self.start = 0;
        let mut part = [0; 8192];
        let read = self.stream.read(&mut part).await;
        let count = read.map_err(|it| format!("recv() failed {}", Errno(&it)))?;
        self.bytes.extend_from_slice(&part[..count]);
        Ok(count > 0)
    }
}

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
    ToTheEnd,
}

/// Reads and judges the head of the final response.
async fn head(input: &mut Input, expect: &Expect) -> Result<Framing, String> {
    let mut interim = 0;
    loop {
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut response = httparse::Response::new(&mut fields);
        let parsed = response.parse(input.rest());
        match parsed.map_err(|error| format!("invalid response: {error}"))? {
            httparse::Status::Complete(length) => {
                let status = response.code.unwrap_or_default();
                if (100..200).contains(&status) && status != 101 {
                    interim += 1;
                    if interim > MAX_INTERIM {
                        return Err("too many interim responses".to_owned());
                    }
                    input.start += length;
                    continue;
                }
                expect.judge_head(status, response.headers)?;
                let framing = framing(status, response.headers)?;
                input.start += length;
                return Ok(framing);
            }
            httparse::Status::Partial => {
                if input.rest().len() > MAX_HEAD {
                    return Err("the response's head is too long".to_owned());
                }
                if !input.fill().await? {
                    return Err("the connection was closed before the response's head".to_owned());
                }
            }
        }
    }
}

fn framing(status: u16, headers: &[httparse::Header<'_>]) -> Result<Framing, String> {
    let values = |name: &'static str| {
        headers.iter().filter(move |it| it.name.eq_ignore_ascii_case(name)).map(|it| it.value)
    };
    if matches!(status, 204 | 304) {
        return Ok(Framing::Length(0));
    }
    if let Some(coding) = values("transfer-encoding").next() {
        return if coding.eq_ignore_ascii_case(b"chunked") {
            Ok(Framing::Chunked)
        } else {
            Err("unknown transfer coding".to_owned())
        };
    }
    let mut lengths = values("content-length");
    match (lengths.next(), lengths.next()) {
        (None, _) => Ok(Framing::ToTheEnd),
        (Some(length), None) if length.iter().all(u8::is_ascii_digit) => {
            let length = std::str::from_utf8(length).ok().and_then(|it| it.parse().ok());
            length.map(Framing::Length).ok_or_else(|| "invalid content length".to_owned())
        }
        _ => Err("invalid content length".to_owned()),
    }
}

/// The body's first 256 KiB.
async fn body(input: &mut Input, framing: Framing) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    match framing {
        Framing::Chunked => chunks(input, &mut body).await?,
        Framing::Length(length) => take(input, length, &mut body, true).await?,
        Framing::ToTheEnd => take(input, usize::MAX, &mut body, false).await?,
    }
    Ok(body)
}

/// Moves `length` bytes into `body`, or fewer when that is full, or the stream ends where it may.
async fn take(
    input: &mut Input,
    length: usize,
    body: &mut Vec<u8>,
    is_exact: bool,
) -> Result<(), String> {
    let mut left = length;
    loop {
        let count = input.rest().len().min(left).min(MAX_BODY - body.len());
        body.extend_from_slice(&input.rest()[..count]);
        input.start += count;
        left -= count;
        if left == 0 || body.len() == MAX_BODY {
            return Ok(());
        }
        if !input.fill().await? {
            let cut = || "the connection was closed before the body's end".to_owned();
            return if is_exact { Err(cut()) } else { Ok(()) };
        }
    }
}

async fn chunks(input: &mut Input, body: &mut Vec<u8>) -> Result<(), String> {
    while body.len() < MAX_BODY {
        let parsed = httparse::parse_chunk_size(input.rest());
        match parsed.map_err(|_| "invalid chunk".to_owned())? {
            httparse::Status::Complete((used, 0)) => {
                input.start += used;
                return Ok(());
            }
            httparse::Status::Complete((used, size)) => {
                input.start += used;
                let size = usize::try_from(size).map_err(|_| "invalid chunk".to_owned())?;
                take(input, size, body, true).await?;
                if body.len() < MAX_BODY {
                    line_end(input).await?;
                }
            }
            httparse::Status::Partial => {
                if !input.fill().await? {
                    return Err("the connection was closed before the body's end".to_owned());
                }
            }
        }
    }
    Ok(())
}

/// The line end behind a chunk.
async fn line_end(input: &mut Input) -> Result<(), String> {
    while input.rest().len() < 2 {
        if !input.fill().await? {
            return Err("the connection was closed before the body's end".to_owned());
        }
    }
    if !input.rest().starts_with(b"\r\n") {
        return Err("invalid chunk".to_owned());
    }
    input.start += 2;
    Ok(())
}
