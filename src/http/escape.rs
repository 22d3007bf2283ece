//! Escapes: `%XX` with nginx's and with lua-nginx-module's sets, back again, and the escapes of
//! logs (`\xXX`, JSON).

use super::h1::octets;
use std::borrow::Cow;

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// A set of bytes that are escaped.
pub struct Set([bool; 256]);

impl Set {
    /// The control characters below space, `listed`, and with `rest` also DEL and all from 0x80.
    const fn new(listed: &[u8], rest: bool) -> Self {
        let mut table = [false; 256];
        let mut byte = 0;
        while byte < 256 {
            table[byte] = byte < 0x20 || (rest && byte >= 0x7f);
            byte += 1;
        }
        let mut index = 0;
        while index < listed.len() {
            table[listed[index] as usize] = true;
            index += 1;
        }
        Self(table)
    }

    const fn without(mut self, byte: u8) -> Self {
        self.0[byte as usize] = false;
        self
    }

    /// Whether `byte` is to be escaped.
    pub const fn has(&self, byte: u8) -> bool {
        self.0[byte as usize]
    }
}

/// nginx's `ngx_escape_uri` for a path: what `proxy_pass`, `rewrite` and `$uri` in `Location` use.
pub static URI: Set = Set::new(b" \"#%<>?\\^`{|}", true);
/// nginx's set for one argument's text (captures in the arguments of `rewrite`).
pub static ARGS: Set = Set::new(b" \"#%&+;<>?\\^`{|}", true);
/// nginx's and `ngx.escape_uri`'s set for memcached keys (types 5 and 6).
pub static MEMCACHED: Set = Set::new(b" %", false);
/// `ngx.escape_uri(s, 0)`.
pub static LUA_URI: Set = Set::new(b" #%?", true);
/// `ngx.escape_uri(s, 1)`.
pub static LUA_ARGS: Set = Set::new(b" #%+?", true);
/// `ngx.escape_uri(s)` (type 2) and `ngx.encode_args`.
pub static LUA_URI_COMPONENT: Set = Set::new(b" \"#$%&+,/:;<=>?@[\\]^`{|}", true);
/// `ngx.escape_uri(s, 3)`.
pub static LUA_HTML: Set = Set::new(b" \"#%'", true);
/// `ngx.escape_uri(s, 4)`.
pub static LUA_REFRESH: Set = Set::new(b" \"'", true);
/// What lua-nginx-module escapes in a header's name.
pub static HEADER_NAME: Set = Set::new(b" \"(),/:;<=>?@[\\]{}", true);
/// What lua-nginx-module escapes in a header's value: control characters but TAB.
pub static HEADER_VALUE: Set = Set::new(b"\x7f", false).without(b'\t');
/// What `ngx.req.set_uri_args` escapes in a string.
pub static RAW_ARGS: Set = Set::new(b" \x7f", false);
/// What the access log escapes by default.
pub static LOG: Set = Set::new(b"\"\\", true);

/// The set behind `ngx.escape_uri`'s second argument; `None` when it is out of range.
pub fn lua_set(kind: usize) -> Option<&'static Set> {
    Some(match kind {
        0 => &LUA_URI,
        1 => &LUA_ARGS,
        2 => &LUA_URI_COMPONENT,
        3 => &LUA_HTML,
        4 => &LUA_REFRESH,
        5 | 6 => &MEMCACHED,
        _ => return None,
    })
}

/// Appends `text` with the bytes of `set` as `%XX`.
pub fn escape_into(out: &mut Vec<u8>, text: &[u8], set: &Set) {
    prefixed_into(out, text, set, b"%");
}

/// `text` with the bytes of `set` as `%XX`; borrowed when there are none.
pub fn escape<'a>(text: &'a [u8], set: &Set) -> Cow<'a, [u8]> {
    if !text.iter().any(|&it| set.has(it)) {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len() + 16);
    escape_into(&mut out, text, set);
    Cow::Owned(out)
}

/// Writes what [`escape`] gives: how many bytes, `None` where there is no room for them.
pub fn escape_to(room: &mut [u8], text: &[u8], set: &Set) -> Option<usize> {
    let mut at = 0;
    for &byte in text {
        if set.has(byte) {
            let escaped = [b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
            room.get_mut(at..at + 3)?.copy_from_slice(&escaped);
            at += 3;
        } else {
            *room.get_mut(at)? = byte;
            at += 1;
        }
    }
    Some(at)
}

fn prefixed_into(out: &mut Vec<u8>, text: &[u8], set: &Set, prefix: &[u8]) {
    let mut from = 0;
    for (index, &byte) in text.iter().enumerate() {
        if set.has(byte) {
            out.extend_from_slice(&text[from..index]);
            out.extend_from_slice(prefix);
            out.extend([HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            from = index + 1;
        }
    }
    out.extend_from_slice(&text[from..]);
}

/// Appends `text` as the access log's default escape writes it: `\xXX` for `"`, `\`, control
/// characters and all from DEL on.
pub fn log_into(out: &mut Vec<u8>, text: &[u8]) {
    let plain = octets::unescaped(text);
    out.extend_from_slice(&text[..plain]);
    if plain < text.len() {
        prefixed_into(out, &text[plain..], &LOG, b"\\x");
    }
}

/// Appends `text` as `escape=json` writes it; bytes from 0x7f on go through as they are.
pub fn json_into(out: &mut Vec<u8>, text: &[u8]) {
    for &byte in text {
        match byte {
            b'"' | b'\\' => out.extend([b'\\', byte]),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            0x08 => out.extend(b"\\b"),
            0x0c => out.extend(b"\\f"),
            0..0x20 => {
                out.extend(b"\\u00");
                out.extend([HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
            _ => out.push(byte),
        }
    }
}

/// The value of one hexadecimal digit.
pub(crate) fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|it| u8::try_from(it).ok())
}

/// How far nginx's `ngx_unescape_uri` goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All of the text (type 0).
    All,
    /// Up to and with the first `?` (`NGX_UNESCAPE_URI`).
    Path,
    /// As `Path`, and only what is printable and above `%` (`NGX_UNESCAPE_REDIRECT`).
    Redirect,
}

/// nginx's `ngx_unescape_uri`: appends the unescaped text and returns how many bytes of `text` it
/// covers. It loses the `%` (and a first good digit) of a bad escape, as there. `+` stays.
pub fn unescape_into(out: &mut Vec<u8>, text: &[u8], extent: Extent) -> usize {
    let mut index = 0;
    while let Some(&byte) = text.get(index) {
        index += 1;
        if byte == b'?' && extent != Extent::All {
            out.push(byte);
            return index;
        }
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let Some(&first) = text.get(index) else { break };
        index += 1;
        let Some(high) = hex_digit(first) else {
            out.push(first);
            continue;
        };
        let Some(&second) = text.get(index) else { break };
        index += 1;
        let Some(low) = hex_digit(second) else { continue };
        let decoded = high << 4 | low;
        // A '?' is spelled %3F: nginx looks for it only where the second digit is a letter.
        if decoded == b'?' && extent != Extent::All {
            out.push(decoded);
            return index;
        }
        if extent == Extent::Redirect && !(decoded > b'%' && decoded < 0x7f) {
            out.extend([b'%', first, second]);
        } else {
            out.push(decoded);
        }
    }
    text.len().min(index)
}

/// `ngx.unescape_uri`: `+` becomes a space and a bad escape stays as it is. Borrowed when there is
/// nothing to do.
pub fn unescape_plus(text: &[u8]) -> Cow<'_, [u8]> {
    let Some(first) = memchr::memchr2(b'%', b'+', text) else { return Cow::Borrowed(text) };
    let mut out = Vec::with_capacity(text.len());
    out.extend_from_slice(&text[..first]);
    let mut rest = &text[first..];
    while let [byte, tail @ ..] = rest {
        rest = tail;
        match (*byte, tail) {
            (b'+', _) => out.push(b' '),
            (b'%', [first, second, after @ ..]) => match (hex_digit(*first), hex_digit(*second)) {
                (Some(high), Some(low)) => {
                    out.push(high << 4 | low);
                    rest = after;
                }
                _ => out.push(b'%'),
            },
            (byte, _) => out.push(byte),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests;
