//! The request target: nginx's parsing and normalisation of the URI of a request line.

use crate::http::escape::{self, Extent, hex_digit};
use bytes::Bytes;

/// Why a target is refused; each means 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Neither a path nor `scheme://authority…`, or a byte that no target may have.
    #[error("client sent invalid request")]
    Syntax,
    /// A bad `%XX`, `%00`, or `..` above the root.
    #[error("client sent invalid request")]
    Path,
}

/// What a request line's target says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// `$uri`: decoded, without `.` and `..` segments, and (with `merge_slashes`) without
    /// repeated slashes. Begins with `/`.
    pub path: Bytes,
    /// `$args`: what follows the first `?` up to `#`, as it was written; `None` without `?`.
    pub args: Option<Bytes>,
    /// `$request_uri`: the target as it was written; of the absolute form, from its path on.
    pub unparsed: Bytes,
    /// Whether `unparsed` may stand for the path when a request is passed on unchanged; false for
    /// an absolute form without a path.
    pub is_unparsed_valid: bool,
    /// Of the absolute form: the authority's host, without the port; takes precedence over `Host`.
    pub host: Option<Bytes>,
}

/// Parses `target` as nginx 1.22 does (`ngx_http_parse_request_line`, `…_parse_complex_uri`).
///
/// # Errors
/// [`Error`] for what nginx answers with 400: among others `*`, an authority, white space,
/// control characters and DEL.
pub fn parse(target: &Bytes, merge_slashes: bool) -> Result<Target, Error> {
    if target.first() == Some(&b'/') {
        return parse_path(target.clone(), target.clone(), None, true, merge_slashes);
    }
    let (host, rest) = split_absolute(target)?;
    let host = Some(target.slice_ref(host));
    match rest.first() {
        None => {
            let root = Bytes::from_static(b"/");
            parse_path(root.clone(), root, host, true, merge_slashes)
        }
        Some(b'?') => {
            let unparsed = target.slice_ref(rest);
            let full = Bytes::from([b"/", rest].concat());
            parse_path(full, unparsed, host, false, merge_slashes)
        }
        Some(_) => {
            let unparsed = target.slice_ref(rest);
            parse_path(unparsed.clone(), unparsed, host, true, merge_slashes)
        }
    }
}

/// Splits `scheme://host[:port]rest` into the host and what begins with `/`, `?` or nothing.
fn split_absolute(target: &[u8]) -> Result<(&[u8], &[u8]), Error> {
    let colon = target.iter().position(|&it| it == b':').ok_or(Error::Syntax)?;
    let (scheme, rest) = target.split_at(colon);
    let in_scheme = |it: &u8| it.is_ascii_alphanumeric() || matches!(it, b'+' | b'-' | b'.');
    if !scheme.first().is_some_and(u8::is_ascii_alphabetic) || !scheme.iter().all(in_scheme) {
        return Err(Error::Syntax);
    }
    let rest = rest.strip_prefix(b"://").ok_or(Error::Syntax)?;
    let host_len = if rest.first() == Some(&b'[') {
        let end = rest.iter().position(|&it| it == b']').ok_or(Error::Syntax)?;
        if !rest[1..end].iter().all(|&it| is_in_ip_literal(it)) {
            return Err(Error::Syntax);
        }
        end + 1
    } else {
        let in_host = |it: &&u8| it.is_ascii_alphanumeric() || matches!(it, b'.' | b'-');
        rest.iter().take_while(in_host).count()
    };
    let (host, mut rest) = rest.split_at(host_len);
    if host.is_empty() {
        return Err(Error::Syntax);
    }
    if let Some(after) = rest.strip_prefix(b":") {
        let digits = after.iter().take_while(|it| it.is_ascii_digit()).count();
        rest = &after[digits..];
    }
    match rest.first() {
        None | Some(b'/' | b'?') => Ok((host, rest)),
        Some(_) => Err(Error::Syntax),
    }
}

fn is_in_ip_literal(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b":-._~!$&'()*+,;=".contains(&byte)
}

fn parse_path(
    full: Bytes,
    unparsed: Bytes,
    host: Option<Bytes>,
    is_unparsed_valid: bool,
    merge_slashes: bool,
) -> Result<Target, Error> {
    if full.iter().any(|&it| it <= b' ' || it == 0x7f) {
        return Err(Error::Syntax);
    }
    let end = memchr::memchr(b'#', &full).unwrap_or(full.len());
    let question = memchr::memchr(b'?', &full[..end]);
    let raw = full.slice(..question.unwrap_or(end));
    let args = question.map(|at| full.slice(at + 1..end));
    let path = if is_plain(&raw) { raw } else { Bytes::from(normalise(&raw, merge_slashes)?) };
    Ok(Target { path, args, unparsed, is_unparsed_valid, host })
}

/// Whether `path` is its own normal form: no `%`, no `//`, and no segment that begins with `.`.
fn is_plain(path: &[u8]) -> bool {
    !path.contains(&b'%')
        && path.windows(2).all(|pair| pair[0] != b'/' || (pair[1] != b'/' && pair[1] != b'.'))
}

/// Where in a path [`normalise`] is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    /// Within a segment.
    Segment,
    /// After a slash.
    Slash,
    /// After `/.`.
    Dot,
    /// After `/..`.
    DotDot,
}

/// Decodes `%XX` and resolves `.`, `..` and, when asked to, repeated slashes. An escaped slash or
/// dot counts as a plain one; `?`, `#` and `%` that were escaped are plain text.
///
/// # Errors
/// [`Error::Path`] for a bad escape, `%00`, and `..` above the root.
fn normalise(path: &[u8], merge_slashes: bool) -> Result<Vec<u8>, Error> {
    let mut out = Vec::with_capacity(path.len());
    let mut at = At::Segment;
    let mut index = 0;
    while let Some(&byte) = path.get(index) {
        let byte = if byte == b'%' {
            let digit = |offset| path.get(index + offset).copied().and_then(hex_digit);
            let (Some(high), Some(low)) = (digit(1), digit(2)) else { return Err(Error::Path) };
            index += 3;
            high << 4 | low
        } else {
            index += 1;
            byte
        };
        if byte == 0 {
            return Err(Error::Path);
        }
        at = step(&mut out, at, byte, merge_slashes)?;
    }
    match at {
        At::Dot => out.truncate(out.len() - 1),
        At::DotDot => climb(&mut out)?,
        At::Segment | At::Slash => {}
    }
    Ok(out)
}

fn step(out: &mut Vec<u8>, at: At, byte: u8, merge_slashes: bool) -> Result<At, Error> {
    Ok(match (at, byte) {
        (At::Slash, b'/') if merge_slashes => At::Slash,
        (At::Dot, b'/') => {
            out.truncate(out.len() - 1);
            At::Slash
        }
        (At::DotDot, b'/') => {
            climb(out)?;
            At::Slash
        }
        (_, b'/') => {
            out.push(byte);
            At::Slash
        }
        (At::Slash, b'.') => {
            out.push(byte);
            At::Dot
        }
        (At::Dot, b'.') => {
            out.push(byte);
            At::DotDot
        }
        _ => {
            out.push(byte);
            At::Segment
        }
    })
}

/// Takes `/..` and the segment before it off `out`; its slash stays.
fn climb(out: &mut Vec<u8>) -> Result<(), Error> {
    let parent = out.len().checked_sub(3).ok_or(Error::Path)?;
    let slash = memchr::memrchr(b'/', &out[..parent]).ok_or(Error::Path)?;
    out.truncate(slash + 1);
    Ok(())
}

/// A URI that an operator has written: its path, and what follows the first `?`.
pub fn split_args(uri: &Bytes) -> (Bytes, Option<Bytes>) {
    match uri.iter().position(|it| *it == b'?') {
        Some(at) => (uri.slice(..at), Some(uri.slice(at + 1..))),
        None => (uri.clone(), None),
    }
}

/// The extension of a path's last segment, as `types` looks it up: what follows its last dot,
/// unless the segment begins with that dot.
pub fn extension(path: &[u8]) -> &[u8] {
    let segment = memchr::memrchr(b'/', path).map_or(path, |slash| &path[slash + 1..]);
    match memchr::memrchr(b'.', segment) {
        Some(dot) if dot > 0 => &segment[dot + 1..],
        _ => b"",
    }
}

/// A URI that the configuration or a script names (`ngx.exec`, `ngx.location.capture`,
/// `X-Accel-Redirect`) as (path, args): decoded once but not normalised
/// (`ngx_http_parse_unsafe_uri`). `None` when it is unsafe: empty, only arguments, a NUL, or a
/// `..` segment.
pub fn parse_unsafe(uri: &Bytes) -> Option<(Bytes, Option<Bytes>)> {
    let question = memchr::memchr(b'?', uri);
    let raw = uri.slice(..question.unwrap_or(uri.len()));
    let args = question.map(|at| uri.slice(at + 1..));
    if raw.is_empty() || is_unsafe(&raw) {
        return None;
    }
    if !raw.contains(&b'%') {
        return Some((raw, args));
    }
    let mut path = Vec::with_capacity(raw.len());
    escape::unescape_into(&mut path, &raw, Extent::All);
    (!is_unsafe(&path)).then(|| (Bytes::from(path), args))
}

fn is_unsafe(path: &[u8]) -> bool {
    path.contains(&0) || path.split(|&it| it == b'/').any(|segment| segment == b"..")
}

#[cfg(test)]
mod tests;
