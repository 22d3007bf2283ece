//! The system's OpenSSL, which the process is linked to: its version, and the few calls that the
//! `openssl` crate has not, or has as `unsafe`.

use foreign_types::ForeignTypeRef;
use openssl::error::ErrorStack;
use openssl::ssl::{Error, SslContextBuilder, SslRef, SslSessionRef, SslStream};
use openssl::x509::X509Ref;
use std::ffi::{CStr, c_char, c_int, c_long, c_void};
use std::io::{Read, Write};
use tokio::io::ReadBuf;

/// `OPENSSL_VERSION`: the whole text.
const TEXT: c_int = 0;
/// `SSL_CTRL_CHAIN`, which makes `SSL_CTX_add0_chain_cert` and, with 1, `…_add1_…`.
const ADD_CHAIN: c_int = 89;

unsafe extern "C" {
    fn OpenSSL_version(what: c_int) -> *const c_char;
    fn SSL_CTX_ctrl(context: *mut c_void, what: c_int, n: c_long, p: *mut c_void) -> c_long;
    fn SSL_CTX_set_timeout(context: *mut c_void, seconds: c_long) -> c_long;
}

/// `OpenSSL 3.0.22 25 Aug 2026`.
pub fn version() -> String {
    // SAFETY: takes a number; what it returns is a C string that lives as long as the library.
    let text = unsafe { OpenSSL_version(TEXT).as_ref().map(|it| CStr::from_ptr(it)) };
    text.unwrap_or_default().to_string_lossy().into_owned()
}

/// Adds a certificate to the chain of the one that `context` was given last: each of several has a
/// chain of its own.
///
/// # Errors
/// When memory is short, or OpenSSL finds the certificate too weak.
pub fn add_chain(context: &mut SslContextBuilder, certificate: &X509Ref) -> Result<(), ErrorStack> {
    // SAFETY: both pointers are live for the call; with 1 the context takes a reference of its own.
    let result =
        unsafe { SSL_CTX_ctrl(context.as_ptr().cast(), ADD_CHAIN, 1, certificate.as_ptr().cast()) };
    if result > 0 { Ok(()) } else { Err(ErrorStack::get()) }
}

/// How long sessions of `context` can be resumed.
pub fn set_session_timeout(context: &mut SslContextBuilder, seconds: u32) {
    // SAFETY: the context is live; the old timeout that comes back is of no use.
    unsafe { SSL_CTX_set_timeout(context.as_ptr().cast(), c_long::from(seconds)) };
}

/// Tries to resume `session`, which a connection of the same context has made.
///
/// # Errors
/// When it does not fit.
pub fn resume(ssl: &mut SslRef, session: &SslSessionRef) -> Result<(), ErrorStack> {
    // SAFETY: OpenSSL takes a reference of its own. That the context is the same keeps a session
    // from being resumed under other settings; the caller's sessions are kept by context.
    unsafe { ssl.set_session(session) }
}

/// Reads decrypted bytes into what is free in `buffer`; 0 at the end.
///
/// # Errors
/// As `SSL_read` has them; `WANT_READ` when there is no whole record.
pub fn read<S: Read + Write>(
    stream: &mut SslStream<S>,
    buffer: &mut ReadBuf<'_>,
) -> Result<usize, Error> {
    // SAFETY: OpenSSL only writes to the slice, thus nothing in it becomes uninitialised.
    let free = unsafe { buffer.unfilled_mut() };
    let count = stream.ssl_read_uninit(free)?;
    // SAFETY: OpenSSL has written the first `count` bytes.
    unsafe { buffer.assume_init(count) };
    buffer.advance(count);
    Ok(count)
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_is_openssl_3() {
        let version = super::version();
        assert!(version.starts_with("OpenSSL 3."), "{version}");
    }
}
