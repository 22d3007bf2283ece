//! The handler that `echo*` directives make, and what they put around bodies.

use super::body::Read;
use super::error::Result;
use super::files;
use super::filters;
use super::inline::Held;
use super::phases::{self, Flow, Serving};
use crate::clock;
use crate::log::Level;
use crate::request::response::Ranges;
use crate::request::{Body, Request};
use crate::snapshot::echo::{Around, Ask, Line, Step};
use bytes::{Bytes, BytesMut};
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// Bytes that wait for the client before they are sent without `echo_flush`, and the size of the
/// pieces in which much is said.
const ENOUGH: usize = 64 << 10;

/// Where `echo_foreach_split` is.
struct ForEach {
    begin: usize,
    parts: std::vec::IntoIter<Bytes>,
}

/// Runs the steps of a location.
///
/// # Errors
/// The client's connection is gone, or must be cut.
pub(super) async fn serve(serving: &mut Serving<'_>, steps: &[Step]) -> Result<Flow> {
    let request = serving.request.clone();
    let mut each: Option<ForEach> = None;
    let mut held = Held::default();
    let mut index = 0;
    while let Some(step) = steps.get(index) {
        index += 1;
        let flow = match step {
            Step::Ask(ask) => ask_for(serving, &mut held, ask).await?,
            Step::ForEach { delimiter, text, end } => {
                if each.is_some() {
                    fault(serving, "Nested echo_foreach not supported yet.", 500)?
                } else {
                    let mut parts =
                        split(&delimiter.value(&*request), &text.value(&*request)).into_iter();
                    match parts.next() {
                        Some(part) => {
                            request.with_echo(|it| it.part = Some(part));
                            each = Some(ForEach { begin: index, parts });
                        }
                        None => index = end + 1,
                    }
                    Flow::Continue
                }
            }
            Step::End => {
                let Some(at) = &mut each else {
                    let text = "Found a echo_end that has no corresponding echo_foreach before it.";
                    request.log(Level::Error, format_args!("{text}"));
                    return phases::cut("echo_end without echo_foreach");
                };
                let part = at.parts.next();
                index = if part.is_some() { at.begin } else { index };
                if part.is_none() {
                    each = None;
                }
                request.with_echo(|it| it.part = part);
                Flow::Continue
            }
            step => run(serving, step).await?,
        };
        held.keep(&request);
        if flow != Flow::Continue {
            return Ok(flow);
        }
    }
    held.release(serving).await?;
    Ok(match begin(serving) {
        Flow::Continue => Flow::Done,
        flow => flow,
    })
}

/// A subrequest: the head is sent first, and the body was read, for the subrequest gets it too.
async fn ask_for(serving: &mut Serving<'_>, held: &mut Held, ask: &Ask) -> Result<Flow> {
    let request = serving.request.clone();
    if let Read::Refused(status) = serving.client.read_body(&request).await? {
        return status_or_cut(serving, status);
    }
    let flow = begin(serving);
    if flow != Flow::Continue {
        return Ok(flow);
    }
    if request.is_head() {
        return Ok(if ask.waits { Flow::Done } else { Flow::Continue });
    }
    // What is said before the body comes before another's body too.
    let is_first = request.echo.borrow().as_ref().is_none_or(|it| !it.said_before);
    if is_first && request.conf().echo_around.is_some() {
        let _ = filters::body(&serving.generation.vm, &request, Bytes::new(), false);
    }
    held.ask(serving, ask).await?;
    Ok(Flow::Continue)
}

/// A step that stands for itself.
async fn run(serving: &mut Serving<'_>, step: &Step) -> Result<Flow> {
    let request = serving.request.clone();
    match step {
        Step::Say(line) => say(serving, line.value(&*request)).await,
        Step::Duplicate { count, text } => {
            let (count, text) = (count.value(&*request), text.value(&*request));
            duplicate(serving, &count, &text).await
        }
        Step::Flush => {
            serving.client.flush_output(&request).await?;
            serving.client.flush_socket().await?;
            Ok(Flow::Continue)
        }
        Step::Sleep(delay) => {
            let delay = delay.value(&*request);
            let Some(ms) = milliseconds(&delay) else {
                let shown = String::from_utf8_lossy(&delay);
                return fault(serving, &format!("invalid sleep duration \"{shown}\""), 400);
            };
            tokio::time::sleep(Duration::from_millis(ms)).await;
            clock::update();
            Ok(Flow::Continue)
        }
        Step::ResetTimer => {
            clock::update();
            request.with_echo(|it| it.began = Some(clock::monotonic()));
            Ok(Flow::Continue)
        }
        Step::ReadBody => match serving.client.read_body(&request).await? {
            Read::Done => Ok(Flow::Continue),
            Read::Refused(status) => status_or_cut(serving, status),
        },
        Step::SayBody => say_body(serving).await,
        Step::Exec { uri, args } => {
            let args = args.as_ref().map(|it| it.value(&*request));
            Ok(exec(&request, &uri.value(&*request), args))
        }
        Step::Faulty(text) => fault(serving, text, 500),
        Step::ForEach { .. } | Step::End | Step::Ask(_) => Ok(Flow::Continue),
    }
}

/// Completes the head unless that was done.
fn begin(serving: &Serving<'_>) -> Flow {
    let request = &serving.request;
    if request.headers_sent.get() {
        return Flow::Continue;
    }
    let kind = files::content_type(request);
    {
        let mut response = request.response.borrow_mut();
        response.status = request.conf().echo_status;
        response.content_type.get_or_insert(kind);
        response.content_length = None;
        response.headers.remove(b"accept-ranges");
        response.ranges = Ranges::Never;
    }
    if serving.send_head().is_ok() { Flow::Continue } else { Flow::Done }
}

/// Adds to the body, the head first.
async fn say(serving: &mut Serving<'_>, text: Bytes) -> Result<Flow> {
    if text.is_empty() {
        return Ok(Flow::Continue);
    }
    let flow = begin(serving);
    if flow != Flow::Continue {
        return Ok(flow);
    }
    let request = serving.request.clone();
    if super::head::has_body(&request) {
        if filters::body(&serving.generation.vm, &request, text, false).is_err() {
            return Ok(Flow::Done);
        }
        if request.output.borrow().pending_bytes >= ENOUGH {
            serving.client.flush_output(&request).await?;
        }
    }
    Ok(Flow::Continue)
}

/// `echo_duplicate`: underscores in the count are for the eye.
async fn duplicate(serving: &mut Serving<'_>, count: &[u8], text: &Bytes) -> Result<Flow> {
    let digits: Vec<u8> = count.iter().copied().filter(|it| *it != b'_').collect();
    let number = match digits.is_empty() && !count.is_empty() {
        true => Some(0),
        false => crate::request::decimal(&digits),
    };
    let Some(number) = number else {
        let shown = String::from_utf8_lossy(count);
        return fault(serving, &format!("invalid size specified: \"{shown}\""), 500);
    };
    let flow = begin(serving);
    if flow != Flow::Continue || text.is_empty() || !super::head::has_body(&serving.request) {
        return Ok(flow);
    }
    let a_piece = (ENOUGH / text.len()).max(1) as u64;
    let mut left = number;
    while left > 0 {
        let now = left.min(a_piece);
        let piece = Bytes::from(text.repeat(usize::try_from(now).unwrap_or(1)));
        let flow = say(serving, piece).await?;
        if flow != Flow::Continue {
            return Ok(flow);
        }
        left -= now;
    }
    Ok(Flow::Continue)
}

/// `echo_request_body`: what was read, from memory or its file.
async fn say_body(serving: &mut Serving<'_>) -> Result<Flow> {
    let (bytes, path) = match &*serving.request.body.borrow() {
        Body::Memory(bytes) => (bytes.clone(), None),
        Body::File(file) => (Bytes::new(), Some(file.path.clone())),
        Body::Unread | Body::Discarded => return Ok(Flow::Continue),
    };
    let Some(path) = path else { return say(serving, bytes).await };
    let Ok(mut file) = tokio::fs::File::open(&path).await else {
        return status_or_cut(serving, 500);
    };
    loop {
        let mut piece = BytesMut::with_capacity(ENOUGH);
        match file.read_buf(&mut piece).await {
            Ok(0) => return Ok(Flow::Continue),
            Ok(_) => {}
            Err(_) => return phases::cut("a body file could not be read to its end"),
        }
        let flow = say(serving, piece.freeze()).await?;
        if flow != Flow::Continue {
            return Ok(flow);
        }
    }
}

/// `echo_exec`: arguments behind a `?` count where none were written apart.
fn exec(request: &Request, uri: &Bytes, args: Option<Bytes>) -> Flow {
    let (path, own) = match uri.iter().position(|it| *it == b'?') {
        Some(at) => (uri.slice(..at), Some(uri.slice(at + 1..))),
        None => (uri.clone(), None),
    };
    let args = args.or(own).filter(|it| !it.is_empty());
    if path.is_empty() {
        return Flow::Status(400);
    }
    let Some(name) = path.strip_prefix(b"@") else { return Flow::Internal(path, args) };
    if let Some(args) = args {
        let (args, name) = (String::from_utf8_lossy(&args), String::from_utf8_lossy(&path));
        let text = format!("querystring {args} ignored when exec'ing named location {name}");
        request.log(Level::Warn, format_args!("{text}"));
    }
    Flow::Named(Bytes::copy_from_slice(name))
}

fn fault(serving: &Serving<'_>, text: &str, status: u16) -> Result<Flow> {
    serving.request.log(Level::Error, format_args!("{text}"));
    status_or_cut(serving, status)
}

/// A status, where the response has not begun.
fn status_or_cut(serving: &Serving<'_>, status: u16) -> Result<Flow> {
    match serving.request.headers_sent.get() {
        false => Ok(Flow::Status(status)),
        true => phases::cut("an echo directive failed after the response had begun"),
    }
}

/// The parts of `text` between delimiters; empty ones are none.
fn split(delimiter: &[u8], text: &Bytes) -> Vec<Bytes> {
    let mut parts = Vec::new();
    let mut begin = 0;
    let mut at = 0;
    while !delimiter.is_empty() && at + delimiter.len() <= text.len() {
        if &text[at..at + delimiter.len()] == delimiter {
            parts.push(text.slice(begin..at));
            at += delimiter.len();
            begin = at;
        } else {
            at += 1;
        }
    }
    parts.push(text.slice(begin..));
    parts.retain(|it| !it.is_empty());
    parts
}

/// Seconds with at most three decimals, as milliseconds (`ngx_atofp`).
fn milliseconds(text: &[u8]) -> Option<u64> {
    let (whole, rest) = match text.iter().position(|it| *it == b'.') {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &b""[..]),
    };
    if text.is_empty() || rest.len() > 3 || whole.len() > 12 {
        return None;
    }
    let digits = [whole, rest].concat();
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0u64, |sum, it| sum * 10 + u64::from(it - b'0'));
    Some(number * 10u64.pow(3 - u32::try_from(rest.len()).unwrap_or(3)))
}

/// A part of a body with what is said before the first and behind the last.
pub(super) fn surround(request: &Request, around: &Around, chunk: Bytes, last: bool) -> Bytes {
    let is_first = request.with_echo(|it| !std::mem::replace(&mut it.said_before, true));
    let before = if is_first { &around.before[..] } else { &[] };
    let after = if last { &around.after[..] } else { &[] };
    if before.is_empty() && after.is_empty() {
        return chunk;
    }
    let mut whole = BytesMut::new();
    let say = |lines: &[Line], whole: &mut BytesMut| {
        lines.iter().for_each(|it| whole.extend_from_slice(&it.value(request)));
    };
    say(before, &mut whole);
    whole.extend_from_slice(&chunk);
    say(after, &mut whole);
    whole.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_split_and_empty_parts_left_out() {
        let parts = |delimiter: &str, text: &'static str| {
            split(delimiter.as_bytes(), &Bytes::from_static(text.as_bytes()))
        };
        assert_eq!(parts(",", "a,,b,"), ["a", "b"]);
        assert_eq!(parts("==", "x==y=z"), ["x", "y=z"]);
        assert_eq!(parts(",", ""), [""; 0]);
        assert_eq!(parts("", "abc"), ["abc"]);
    }

    #[test]
    fn seconds_have_three_decimals_at_most() {
        assert_eq!(milliseconds(b"1"), Some(1000));
        assert_eq!(milliseconds(b"0.05"), Some(50));
        assert_eq!(milliseconds(b".125"), Some(125));
        assert_eq!(milliseconds(b"2."), Some(2000));
        for bad in ["", "x", "0.0001", "-1", "1e3", "1.2.3", "99999999999999999999"] {
            assert_eq!(milliseconds(bad.as_bytes()), None, "{bad}");
        }
    }
}
