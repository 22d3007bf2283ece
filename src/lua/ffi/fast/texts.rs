//! The halves of encodings, digests and times.

use crate::clock;
use crate::http::args;
use crate::http::base64;
use crate::http::date;
use crate::http::escape;
use crate::lua::ffi::fast::{Answer, OTHER, PAIRS, Text, guarded};
use crate::lua::ngx::digest;
use crate::lua::ngx::time;
use std::ffi::c_int;

/// What the prelude calls.
pub fn addresses() -> [(&'static str, usize); 13] {
    [
        ("escape_uri", escape_uri as *const () as usize),
        ("unescape_uri", unescape_uri as *const () as usize),
        ("encode_base64", encode_base64 as *const () as usize),
        ("decode_base64", decode_base64 as *const () as usize),
        ("md5", md5 as *const () as usize),
        ("md5_bin", md5_bin as *const () as usize),
        ("sha1_bin", sha1_bin as *const () as usize),
        ("decode_args", decode_args as *const () as usize),
        ("now_ms", now_ms as *const () as usize),
        ("update_time", update_time as *const () as usize),
        ("localtime", localtime as *const () as usize),
        ("http_time", http_time as *const () as usize),
        ("parse_http_time", parse_http_time as *const () as usize),
    ]
}

/// What `encode` makes of a text.
///
/// # Safety
/// `text` has `length` bytes, `answer` is live.
unsafe fn encoded<T: AsRef<[u8]>>(
    (text, length, answer): (*const u8, usize, *mut Answer),
    encode: impl FnOnce(&'static [u8]) -> T,
) -> c_int {
    // SAFETY: the caller's promise: a string of Lua's, and what the prelude made. Nothing keeps it.
    let (text, answer) = unsafe { (Text { at: text, length }.bytes(), &mut *answer) };
    guarded(|| if answer.put(encode(text).as_ref()) { 0 } else { OTHER })
}

/// What `encode` writes of a text: how many bytes.
///
/// # Safety
/// As [`encoded`].
unsafe fn written(
    (text, length, answer): (*const u8, usize, *mut Answer),
    encode: impl FnOnce(&[u8], &mut [u8]) -> Option<usize>,
) -> c_int {
    // SAFETY: as `encoded`.
    let (text, answer) = unsafe { (Text { at: text, length }.bytes(), &mut *answer) };
    guarded(|| {
        let Some(count) = encode(text, &mut answer.text) else { return OTHER };
        answer.length = count as u32;
        0
    })
}

/// `ngx.escape_uri` of one argument.
///
/// # Safety
/// As [`encoded`].
unsafe extern "C" fn escape_uri(text: *const u8, length: usize, answer: *mut Answer) -> c_int {
    // SAFETY: the caller's promise.
    unsafe {
        written((text, length, answer), |it, room| {
            escape::escape_to(room, it, &escape::LUA_URI_COMPONENT)
        })
    }
}

/// `ngx.unescape_uri`.
///
/// # Safety
/// As [`encoded`].
unsafe extern "C" fn unescape_uri(text: *const u8, length: usize, answer: *mut Answer) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { encoded((text, length, answer), escape::unescape_plus) }
}

/// `ngx.md5`.
///
/// # Safety
/// As [`encoded`].
unsafe extern "C" fn md5(text: *const u8, length: usize, answer: *mut Answer) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { encoded((text, length, answer), digest::md5_text) }
}

/// `ngx.md5_bin`.
///
/// # Safety
/// As [`encoded`].
unsafe extern "C" fn md5_bin(text: *const u8, length: usize, answer: *mut Answer) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { encoded((text, length, answer), digest::md5_of) }
}

/// `ngx.sha1_bin`.
///
/// # Safety
/// As [`encoded`].
unsafe extern "C" fn sha1_bin(text: *const u8, length: usize, answer: *mut Answer) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { encoded((text, length, answer), digest::sha1_of) }
}

/// `ngx.encode_base64` of one argument.
///
/// # Safety
/// As [`encoded`].
unsafe extern "C" fn encode_base64(text: *const u8, length: usize, answer: *mut Answer) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { written((text, length, answer), base64::encode_into) }
}

/// `ngx.decode_base64`, of what is base64.
///
/// # Safety
/// As [`encoded`].
unsafe extern "C" fn decode_base64(text: *const u8, length: usize, answer: *mut Answer) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { written((text, length, answer), base64::decode_into) }
}

/// `ngx.decode_args` of one argument: how many there are.
///
/// # Safety
/// As [`encoded`].
unsafe extern "C" fn decode_args(text: *const u8, length: usize, answer: *mut Answer) -> c_int {
    // SAFETY: as `encoded`.
    let (text, answer) = unsafe { (Text { at: text, length }.bytes(), &mut *answer) };
    guarded(|| {
        if args::count(text) > PAIRS {
            return OTHER;
        }
        answer.put_pairs(args::decode(text).flatten(), false)
    })
}

/// The thread's time in milliseconds since 1970, for `ngx.now()` and `ngx.time()`.
extern "C" fn now_ms() -> f64 {
    clock::cached_ms() as f64
}

/// `ngx.update_time()`.
extern "C" fn update_time() {
    guarded(|| {
        clock::update();
        0
    });
}

/// `ngx.localtime()`: 0, and the text.
///
/// # Safety
/// `answer` is live.
unsafe extern "C" fn localtime(answer: *mut Answer) -> c_int {
    // SAFETY: the caller's promise.
    let answer = unsafe { &mut *answer };
    guarded(|| if answer.put(&time::local_text()) { 0 } else { OTHER })
}

/// `ngx.http_time(seconds)`: 0, and the text.
///
/// # Safety
/// `answer` is live.
unsafe extern "C" fn http_time(seconds: f64, answer: *mut Answer) -> c_int {
    // SAFETY: the caller's promise.
    let answer = unsafe { &mut *answer };
    guarded(|| if answer.put(&date::http_bytes(seconds as i64)) { 0 } else { OTHER })
}

/// `ngx.parse_http_time(text)`: 0 and the seconds, of what is such a time.
///
/// # Safety
/// As [`encoded`].
unsafe extern "C" fn parse_http_time(text: *const u8, length: usize, answer: *mut Answer) -> c_int {
    // SAFETY: as `encoded`.
    let (text, answer) = unsafe { (Text { at: text, length }.bytes(), &mut *answer) };
    guarded(|| {
        let Some(seconds) = date::parse(text) else { return OTHER };
        answer.number = seconds as f64;
        0
    })
}
