//! Digests, base64 and SQL quoting.

use crate::http::base64;
use crate::lua::ffi::call::ApiResult;
use crate::lua::ffi::call::Call;
use crate::lua::ffi::function::functions;
use crate::lua::ffi::value::Value;
use crate::lua::ngx::args::loose_bytes;
use ::base64::Engine;
use hmac::Mac;
use md5::Digest;

functions! {
    /// Digests and codes.
    pub NGX "ngx" {
        md5: ANY => md5_hex,
        md5_bin: ANY => md5_bin,
        sha1_bin: ANY => sha1_bin,
        hmac_sha1: ANY => hmac_sha1,
        crc32_short: ANY => crc32,
        crc32_long: ANY => crc32,
        encode_base64: ANY => encode_base64,
        decode_base64: ANY => decode_base64,
        decode_base64mime: ANY => decode_base64mime,
        quote_sql_str: ANY => quote_sql_str,
    }
}

functions! {
    /// `ngx.base64`, for its Lua module.
    pub BASE64URL "native" {
        encode_base64url: ANY => encode_base64url,
        decode_base64url: ANY => decode_base64url,
    }
}

fn md5_hex(call: &Call<'_>) -> ApiResult {
    call.reply(&md5_text(loose_bytes(call, 1)?)[..])
}

/// The MD5 of `text`, in lower case.
pub fn md5_text(text: &[u8]) -> [u8; 32] {
    let digest = md5::Md5::digest(text);
    let mut hex = [0; 32];
    for (two, byte) in hex.chunks_exact_mut(2).zip(digest) {
        let digit = |it: u8| b"0123456789abcdef"[usize::from(it)];
        two.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
    }
    hex
}

/// The MD5 of `text`.
pub fn md5_of(text: &[u8]) -> [u8; 16] {
    md5::Md5::digest(text).into()
}

/// The SHA-1 of `text`.
pub fn sha1_of(text: &[u8]) -> [u8; 20] {
    sha1::Sha1::digest(text).into()
}

fn md5_bin(call: &Call<'_>) -> ApiResult {
    call.reply(&md5_of(loose_bytes(call, 1)?)[..])
}

fn sha1_bin(call: &Call<'_>) -> ApiResult {
    call.reply(&sha1_of(loose_bytes(call, 1)?)[..])
}

fn hmac_sha1(call: &Call<'_>) -> ApiResult {
    let count = call.count();
    if count != 2 {
        return Err(format!("expecting 2 arguments, but got {count}").into());
    }
    let (key, text) = (call.bytes(1)?, call.bytes(2)?);
    let mut mac: hmac::Hmac<sha1::Sha1> =
        Mac::new_from_slice(key).map_err(|_| "invalid key length")?;
    mac.update(text);
    call.reply(mac.finalize().into_bytes().as_slice())
}

fn crc32(call: &Call<'_>) -> ApiResult {
    call.reply(crc32fast::hash(loose_bytes(call, 1)?))
}

fn encode_base64(call: &Call<'_>) -> ApiResult {
    let text = loose_bytes(call, 1)?;
    let no_padding = match call.value(2) {
        Value::Nil => false,
        Value::Boolean(given) => given,
        other => {
            let kind = other.kind().name();
            return Err(format!("bad no_padding: boolean expected, got {kind}").into());
        }
    };
    if no_padding {
        call.reply(base64::STANDARD.encode(text))
    } else {
        call.reply(base64::encode(text))
    }
}

fn decode_base64(call: &Call<'_>) -> ApiResult {
    let Value::Bytes(text) = call.value(1) else { return Err("string argument only".into()) };
    call.reply(base64::decode(&base64::STANDARD, text))
}

/// Bytes that are not of the alphabet are passed over.
fn decode_base64mime(call: &Call<'_>) -> ApiResult {
    let Value::Bytes(text) = call.value(1) else { return Err("string argument only".into()) };
    call.reply(base64::decode_mime(text))
}

fn encode_base64url(call: &Call<'_>) -> ApiResult {
    let Value::Bytes(text) = call.value(1) else {
        return Err("must provide a string".into());
    };
    call.reply(base64::URL_SAFE.encode(text))
}

fn decode_base64url(call: &Call<'_>) -> ApiResult {
    let Value::Bytes(text) = call.value(1) else {
        return call.reply((None::<bool>, "must provide a string"));
    };
    match base64::decode(&base64::URL_SAFE, text) {
        Some(decoded) => call.reply(decoded),
        None => call.reply((None::<bool>, "invalid input")),
    }
}

/// A string quoted for MySQL.
fn quote_sql_str(call: &Call<'_>) -> ApiResult {
    if call.count() != 1 {
        return Err("expecting one argument".into());
    }
    let text = call.bytes(1)?;
    let mut quoted = Vec::with_capacity(text.len() + 2);
    quoted.push(b'\'');
    for &byte in text {
        let escaped = match byte {
            0 => b'0',
            b'\n' => b'n',
            b'\r' => b'r',
            0x08 => b'b',
            b'\t' => b't',
            0x1a => b'Z',
            b'\\' | b'\'' | b'"' => byte,
            _ => {
                quoted.push(byte);
                continue;
            }
        };
        quoted.extend([b'\\', escaped]);
    }
    quoted.push(b'\'');
    call.reply(quoted)
}

#[cfg(test)]
mod tests {
    use crate::lua::fixture::eval;

    #[test]
    fn digests_and_codes_as_openresty_has_them() {
        let cases = [
            ("return ngx.md5()", "d41d8cd98f00b204e9800998ecf8427e"),
            ("return ngx.md5(true)", "b326b5062b2f0e69046810717534cb09"),
            (
                "return #ngx.md5_bin('x'), #ngx.sha1_bin('x'), #ngx.hmac_sha1('k', 'x')",
                "16 | 20 | 20",
            ),
            (
                "return ngx.encode_base64(ngx.hmac_sha1('thisisverysecretstuff', 'some string \
                 we want to sign'))",
                "R/pvxzHC4NLtj7S+kXFg/NePTmk=",
            ),
            ("return pcall(ngx.hmac_sha1)", "false | expecting 2 arguments, but got 0"),
            ("return ngx.crc32_short('hello'), ngx.crc32_long('hello')", "907060870 | 907060870"),
            ("return ngx.crc32_short()", "0"),
            ("return ngx.encode_base64('a'), ngx.encode_base64('a', true)", "YQ== | YQ"),
            (
                "return pcall(ngx.encode_base64, 'a', 1)",
                "false | bad no_padding: boolean expected, got number",
            ),
            (
                "return ngx.decode_base64('YQ=='), ngx.decode_base64('YQ'), \
                 ngx.decode_base64('YR')",
                "a | a | a",
            ),
            (
                "return ngx.decode_base64('Y'), ngx.decode_base64('Y!Q='), \
                 ngx.decode_base64('YQ=!')",
                "nil | nil | a",
            ),
            ("return pcall(ngx.decode_base64, 1)", "false | string argument only"),
            ("return ngx.decode_base64mime('Y Q\\n==')", "a"),
            ("return ngx.quote_sql_str([[a'b\\\"c]] .. '\\n\\0\\26')", "'a\\'b\\\\\\\"c\\n\\0\\Z'"),
            ("return pcall(ngx.quote_sql_str)", "false | expecting one argument"),
        ];
        for (code, expected) in cases {
            assert_eq!(eval(code), expected, "{code}");
        }
    }
}
