//! set-misc-nginx-module's functions: what `set_escape_uri` and its like make of a text.

use super::{base64, escape};
use crate::clock;
use ::base64::Engine;
use md5::Digest;
use rand::Rng;
use std::fmt::Write;

/// Alphabet and padding of base32.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base32 {
    /// The 32 digits.
    pub alphabet: [u8; 32],
    /// `=` fills the last group.
    pub padding: bool,
}

impl Default for Base32 {
    fn default() -> Self {
        Self { alphabet: *b"0123456789abcdefghijklmnopqrstuv", padding: true }
    }
}

/// A function; its error is what the log says before the request gets a 500.
pub type Function = fn(&Base32, &[u8]) -> Result<Vec<u8>, String>;

/// The functions of one argument, which `ndk.set_var` knows too.
const FUNCTIONS: &[(&str, Function)] = &[
    ("set_escape_uri", |_, text| Ok(escape::escape(text, &escape::LUA_URI_COMPONENT).into_owned())),
    ("set_unescape_uri", |_, text| Ok(unescape(text))),
    ("set_quote_sql_str", |_, text| Ok(quote_sql(text))),
    ("set_quote_pgsql_str", |_, text| Ok(quote_pgsql(text))),
    ("set_quote_json_str", |_, text| Ok(quote_json(text))),
    ("set_md5", |_, text| Ok(hex(&md5::Md5::digest(text)))),
    ("set_sha1", |_, text| Ok(hex(&sha1::Sha1::digest(text)))),
    ("set_encode_hex", |_, text| Ok(hex(text))),
    ("set_decode_hex", |_, text| {
        from_hex(text).ok_or_else(|| "set_decode_hex: invalid value".into())
    }),
    ("set_encode_base64", |_, text| Ok(base64::encode(text))),
    ("set_decode_base64", |_, text| {
        let decoded = base64::decode(&base64::STANDARD, text);
        decoded.ok_or_else(|| "set_decode_base64: invalid value".into())
    }),
    ("set_encode_base64url", |_, text| Ok(base64::URL_SAFE.encode(text).into_bytes())),
    ("set_decode_base64url", |_, text| {
        let decoded = base64::decode(&base64::URL_SAFE, text);
        decoded.ok_or_else(|| "set_decode_base64url: invalid value".into())
    }),
    ("set_encode_base32", |base, text| Ok(encode_base32(base, text))),
    ("set_decode_base32", |base, text| Ok(decode_base32(base, text).unwrap_or_default())),
    ("set_local_today", |_, _| Ok(strftime(b"%Y-%m-%d", true))),
    ("set_formatted_local_time", |_, format| formatted(format, true)),
    ("set_formatted_gmt_time", |_, format| formatted(format, false)),
    ("set_secure_random_alphanum", |_, length| random_text(length, ALPHANUMERIC)),
    ("set_secure_random_lcalpha", |_, length| random_text(length, &ALPHANUMERIC[..26])),
];

const ALPHANUMERIC: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
/// The longest random text.
const MOST_RANDOM: usize = 64;
/// The longest time.
const MOST_TIME: usize = 256;

/// The function of one argument that this directive calls.
pub fn function(directive: &str) -> Option<Function> {
    FUNCTIONS.iter().find(|(name, _)| *name == directive).map(|(_, function)| *function)
}

/// `set_hmac_sha1` and `set_hmac_sha256`.
pub fn hmac(sha256: bool, key: &[u8], text: &[u8]) -> Vec<u8> {
    use hmac::Mac;
    if sha256 {
        let mac = <hmac::Hmac<sha2::Sha256>>::new_from_slice(key);
        return mac
            .map(|it| it.chain_update(text).finalize().into_bytes().to_vec())
            .unwrap_or_default();
    }
    let mac = <hmac::Hmac<sha1::Sha1>>::new_from_slice(key);
    mac.map(|it| it.chain_update(text).finalize().into_bytes().to_vec()).unwrap_or_default()
}

/// `set_random`: a number from one of the two to the other.
///
/// # Errors
/// One of them is no number.
pub fn random(from: &[u8], to: &[u8]) -> Result<Vec<u8>, String> {
    let (from, to) = limits("set_random", from, to, "")?;
    Ok(rand::rng().random_range(from.min(to)..=from.max(to)).to_string().into_bytes())
}

/// `set_rotate`: the number behind `current`, from one of the two to the other and round again;
/// `last` is the number before, where `current` is none. What the log is told comes with it.
///
/// # Errors
/// A limit that is no number.
pub fn rotate(
    current: &[u8],
    from: &[u8],
    to: &[u8],
    last: Option<i64>,
) -> Result<(i64, Option<String>), String> {
    let (from, to) = limits("set_rotate", from, to, "\"")?;
    let (from, to) = (from.min(to), from.max(to));
    let written = number(current);
    let odd = (written.is_none() && !current.is_empty())
        .then(|| format!("set_rotate: bad current value: \"{}\"", current.escape_ascii()));
    let next = written.or(last).unwrap_or(from - 1).saturating_add(1);
    Ok((if (from..=to).contains(&next) { next } else { from }, odd))
}

fn limits(name: &str, from: &[u8], to: &[u8], quote: &str) -> Result<(i64, i64), String> {
    let what = if quote.is_empty() { "argument" } else { "argument value" };
    let bad = |which: &str, text: &[u8]| {
        format!("{name}: bad \"{which}\" {what}: {quote}{}{quote}", text.escape_ascii())
    };
    let first = number(from).ok_or_else(|| bad("from", from))?;
    let last = number(to).ok_or_else(|| bad("to", to))?;
    Ok((first, last))
}

/// As `ngx_atoi`: digits only.
fn number(text: &[u8]) -> Option<i64> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| is_number)?.parse().ok()
}

/// `ngx_hash_key_lc`: a number for a text without regard to case.
pub fn hash_lower(text: &[u8]) -> u64 {
    let step = |sum: u64, byte: &u8| {
        sum.wrapping_mul(31).wrapping_add(u64::from(byte.to_ascii_lowercase()))
    };
    text.iter().fold(0, step)
}

/// A `%` that begins no escape is dropped, and so is an escape that does not end.
fn unescape(text: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|it| u8::try_from(it).ok());
    let mut plain = Vec::with_capacity(text.len());
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => plain.push(b' '),
            b'%' => match bytes.next().map(|it| (it, digit(it))) {
                Some((_, Some(high))) => {
                    if let Some(low) = bytes.next().and_then(digit) {
                        plain.push(high << 4 | low);
                    }
                }
                Some((other, None)) => plain.push(other),
                None => {}
            },
            _ => plain.push(byte),
        }
    }
    plain
}

fn hex(bytes: &[u8]) -> Vec<u8> {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text.into_bytes()
}

fn from_hex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pairs = text.chunks(2).map(|pair| match *pair {
        [high, low] => u8::try_from(digit(high)? << 4 | digit(low)?).ok(),
        _ => None,
    });
    pairs.collect()
}

fn encode_base32(base: &Base32, bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes.len().div_ceil(5) * 8);
    for group in bytes.chunks(5) {
        let mut bits = 0u64;
        for index in 0..5 {
            bits = bits << 8 | u64::from(group.get(index).copied().unwrap_or(0));
        }
        let digits = (group.len() * 8).div_ceil(5);
        let of = |index: usize| base.alphabet[(bits >> (35 - index * 5) & 31) as usize];
        text.extend((0..digits).map(of));
        if base.padding {
            text.extend(std::iter::repeat_n(b'=', 8 - digits));
        }
    }
    text
}

fn decode_base32(base: &Base32, text: &[u8]) -> Option<Vec<u8>> {
    let end = text.iter().position(|it| *it == b'=').unwrap_or(text.len());
    let text = &text[..end];
    if matches!(text.len() % 8, 1 | 3 | 6) {
        return None;
    }
    let digit = |byte: &u8| {
        base.alphabet.iter().position(|it| it == byte).and_then(|it| u64::try_from(it).ok())
    };
    let mut bytes = Vec::with_capacity(text.len() * 5 / 8);
    for group in text.chunks(8) {
        let mut bits = 0u64;
        for index in 0..8 {
            bits = bits << 5 | group.get(index).map_or(Some(0), digit)?;
        }
        bytes.extend_from_slice(&bits.to_be_bytes()[3..3 + group.len() * 5 / 8]);
    }
    Some(bytes)
}

fn quote_sql(text: &[u8]) -> Vec<u8> {
    let mut quoted = vec![b'\''];
    escape_sql_into(&mut quoted, text);
    quoted.push(b'\'');
    quoted
}

fn escape_sql_into(out: &mut Vec<u8>, text: &[u8]) {
    for &byte in text {
        let escaped = match byte {
            0 => b'0',
            0x08 => b'b',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x1a => b'Z',
            b'\\' | b'\'' | b'"' | b'$' => byte,
            _ => {
                out.push(byte);
                continue;
            }
        };
        out.extend([b'\\', escaped]);
    }
}

/// Where the text is no UTF-8, its high bytes are written in octal.
fn quote_pgsql(text: &[u8]) -> Vec<u8> {
    if text.is_empty() {
        return b"''".to_vec();
    }
    let mut escaped = Vec::new();
    escape_sql_into(&mut escaped, text);
    if std::str::from_utf8(text).is_err() {
        let plain = std::mem::take(&mut escaped);
        for byte in plain {
            match byte {
                0x80.. => escaped.extend(format!("\\\\{byte:03o}").into_bytes()),
                _ => escaped.push(byte),
            }
        }
    }
    [b"E'", &escaped[..], b"'"].concat()
}

fn quote_json(text: &[u8]) -> Vec<u8> {
    if text.is_empty() {
        return b"null".to_vec();
    }
    let mut quoted = vec![b'"'];
    for &byte in text {
        match byte {
            b'\r' => quoted.extend(b"\\r"),
            b'\n' => quoted.extend(b"\\n"),
            b'\t' => quoted.extend(b"\\t"),
            0x08 => quoted.extend(b"\\b"),
            0x0c => quoted.extend(b"\\f"),
            b'"' | b'\\' => quoted.extend([b'\\', byte]),
            0..32 => quoted.extend(format!("\\u{byte:04x}").into_bytes()),
            _ => quoted.push(byte),
        }
    }
    quoted.push(b'"');
    quoted
}

fn random_text(length: &[u8], alphabet: &[u8]) -> Result<Vec<u8>, String> {
    let wanted = number(length).and_then(|it| usize::try_from(it).ok());
    let Some(wanted) = wanted.filter(|it| (1..=MOST_RANDOM).contains(it)) else {
        let shown = length.escape_ascii();
        return Err(format!("set_random: bad \"length\" argument: {shown}"));
    };
    let mut random = rand::rng();
    Ok((0..wanted).map(|_| alphabet[random.random_range(0..alphabet.len())]).collect())
}

fn formatted(format: &[u8], local: bool) -> Result<Vec<u8>, String> {
    if format.is_empty() {
        return Ok(Vec::new());
    }
    match strftime(format, local) {
        text if text.is_empty() => Err("set_formatted_time: the time is too long".into()),
        text => Ok(text),
    }
}

/// The time now, cached as all times are; empty where it takes too much room.
fn strftime(format: &[u8], local: bool) -> Vec<u8> {
    let now = i64::try_from(clock::cached_ms() / 1000).unwrap_or(0);
    crate::sys::time::formatted(format, now, local, MOST_TIME)
}

#[cfg(test)]
mod tests;
