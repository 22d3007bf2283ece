//! `string.find`, `match`, `gmatch` and `gsub`: a single call of LuaJIT's own can run for minutes
//! and no hook stops it. Ours answer the same and give up with `pattern too complex`.

mod matcher;

use crate::lua::ffi::call::ApiError;
use crate::lua::ffi::call::ApiResult;
use crate::lua::ffi::call::Call;
use crate::lua::ffi::function::functions;
use crate::lua::ffi::value::Kind;
use crate::lua::ffi::value::Slot;
use crate::lua::ffi::value::Value;
use matcher::Capture;
use matcher::Fault;
use matcher::Matcher;

functions! {
    /// In the place of LuaJIT's own.
    pub STRING "string" {
        find: ANY => find,
        match: ANY => match_,
        gsub: ANY => gsub,
    }
}

functions! {
    /// For the prelude's `string.gmatch`.
    pub NATIVE "native" {
        gmatch_step: ANY => gmatch_step,
    }
}

impl From<Fault> for ApiError {
    fn from(fault: Fault) -> Self {
        fault.to_string().into()
    }
}

/// Where `init` (from 1, negative from the end) begins, as a byte from 0.
fn start_of(init: i64, length: usize) -> usize {
    let length = length as i64;
    let start = if init < 0 { (length + init).max(0) } else { (init - 1).max(0) };
    start.min(length) as usize
}

fn find(call: &Call<'_>) -> ApiResult {
    search(call, true)
}

fn match_(call: &Call<'_>) -> ApiResult {
    search(call, false)
}

fn search(call: &Call<'_>, finds: bool) -> ApiResult {
    let (subject, pattern) = (call.bytes(1)?, call.bytes(2)?);
    let start = start_of(call.opt_integer(3)?.unwrap_or(1), subject.len());
    let is_plain = !pattern.iter().any(|it| b"^$*+?.([%-".contains(it));
    if finds && (call.boolean(4) || is_plain) {
        return match memchr::memmem::find(&subject[start..], pattern) {
            Some(at) => call.reply((start + at + 1, start + at + pattern.len())),
            None => call.reply(None::<bool>),
        };
    }
    let anchored = pattern.first() == Some(&b'^');
    let mut matcher = Matcher::new(subject, &pattern[usize::from(anchored)..]);
    for at in start..=subject.len() {
        if let Some(end) = matcher.match_at(at)? {
            if !finds {
                return push_captures(call, &matcher, subject, Some((at, end)));
            }
            call.stack().push((at + 1, end));
            push_captures(call, &matcher, subject, None)?;
            return Ok(crate::lua::ffi::call::Reply::Values(2 + matcher.captures().len()));
        }
        if anchored {
            break;
        }
    }
    call.reply(None::<bool>)
}

/// Pushes the groups; the whole match when there are none and `whole` is given.
fn push_captures(
    call: &Call<'_>,
    matcher: &Matcher<'_>,
    subject: &[u8],
    whole: Option<(usize, usize)>,
) -> ApiResult {
    let captures = matcher.captures();
    if captures.is_empty()
        && let Some((from, to)) = whole
    {
        return call.reply(&subject[from..to]);
    }
    for &capture in captures {
        push_capture(call, capture, subject)?;
    }
    Ok(crate::lua::ffi::call::Reply::Values(captures.len()))
}

/// # Errors
/// A group that was not closed.
fn push_capture(call: &Call<'_>, capture: Capture, subject: &[u8]) -> Result<(), ApiError> {
    match capture {
        Capture::Open(_) => return Err(Fault::Unfinished.into()),
        Capture::Position(at) => call.stack().push(at + 1),
        Capture::Span(from, length) => call.stack().push(&subject[from..from + length]),
    };
    Ok(())
}

/// `gmatch_step(subject, pattern, from)`: where to go on, and the groups; nil at the end.
fn gmatch_step(call: &Call<'_>) -> ApiResult {
    let (subject, pattern) = (call.bytes(1)?, call.bytes(2)?);
    let from = call.integer(3)?.max(0) as usize;
    let mut matcher = Matcher::new(subject, pattern);
    for at in from..=subject.len() {
        if let Some(end) = matcher.match_at(at)? {
            call.stack().push(end + usize::from(end == at));
            push_captures(call, &matcher, subject, Some((at, end)))?;
            return Ok(crate::lua::ffi::call::Reply::Values(1 + matcher.captures().len().max(1)));
        }
    }
    call.reply(None::<bool>)
}

fn gsub(call: &Call<'_>) -> ApiResult {
    let (subject, pattern) = (call.bytes(1)?, call.bytes(2)?);
    let is_text = matches!(call.kind(3), Kind::String | Kind::Number);
    if !is_text && !matches!(call.kind(3), Kind::Function | Kind::Table) {
        return Err(ApiError::argument(3, "string/function/table expected"));
    }
    let text = if is_text { call.bytes(3)? } else { b"" };
    let most = call.opt_integer(4)?.unwrap_or(subject.len() as i64 + 1);
    let anchored = pattern.first() == Some(&b'^');
    let mut matcher = Matcher::new(subject, &pattern[usize::from(anchored)..]);
    let (mut out, mut at, mut count) = (Vec::with_capacity(subject.len()), 0, 0);
    while count < most {
        let found = matcher.match_at(at)?;
        if let Some(end) = found {
            count += 1;
            let whole = (at, end);
            if is_text {
                expand(&matcher, subject, text, whole, &mut out)?;
            } else {
                replace(call, &matcher, subject, whole, &mut out)?;
            }
        }
        match found {
            Some(end) if end > at => at = end,
            _ if at < subject.len() => {
                out.push(subject[at]);
                at += 1;
            }
            _ => break,
        }
        if anchored {
            break;
        }
    }
    out.extend_from_slice(&subject[at.min(subject.len())..]);
    call.reply((out.as_slice(), count))
}

/// Appends the template `text`: `%0` is the match, `%1` a group.
fn expand(
    matcher: &Matcher<'_>,
    subject: &[u8],
    text: &[u8],
    (from, to): (usize, usize),
    out: &mut Vec<u8>,
) -> Result<(), ApiError> {
    let mut bytes = text.iter();
    while let Some(&byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        // What LuaJIT finds behind the text's end.
        let next = bytes.next().copied().unwrap_or(0);
        let group = match next {
            b'0' => None,
            b'1'..=b'9' => Some(usize::from(next - b'1')),
            _ => {
                out.push(next);
                continue;
            }
        };
        match group.map(|group| (group, matcher.captures().get(group))) {
            None | Some((0, None)) => out.extend_from_slice(&subject[from..to]),
            Some((_, Some(&Capture::Span(from, length)))) => {
                out.extend_from_slice(&subject[from..from + length]);
            }
            Some((_, Some(&Capture::Position(at)))) => {
                out.extend_from_slice((at + 1).to_string().as_bytes());
            }
            Some((_, Some(Capture::Open(_)))) => return Err(Fault::Unfinished.into()),
            Some((_, None)) => return Err(Fault::CaptureIndex.into()),
        }
    }
    Ok(())
}

/// Appends what the function or table at argument 3 has for the match; itself for nil and false.
fn replace(
    call: &Call<'_>,
    matcher: &Matcher<'_>,
    subject: &[u8],
    (from, to): (usize, usize),
    out: &mut Vec<u8>,
) -> Result<(), ApiError> {
    let stack = call.stack();
    let top = stack.top();
    if call.kind(3) == Kind::Function {
        stack.push(Slot(3));
        push_captures(call, matcher, subject, Some((from, to)))?;
        call.invoke((stack.top() - top - 1) as usize, 1)?;
    } else {
        match matcher.captures().first() {
            Some(&capture) => push_capture(call, capture, subject)?,
            None => {
                stack.push(&subject[from..to]);
            }
        }
        call.index_with_top(3)?;
    }
    match stack.value(-1) {
        Value::Nil | Value::Boolean(false) => out.extend_from_slice(&subject[from..to]),
        Value::Bytes(_) | Value::Number(_) => {
            out.extend_from_slice(stack.text(-1).unwrap_or_default());
        }
        other => {
            let kind = other.kind().name();
            return Err(format!("invalid replacement value (a {kind})").into());
        }
    }
    stack.trim(top);
    Ok(())
}

#[cfg(test)]
mod tests;
