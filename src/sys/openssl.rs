//! The system's OpenSSL, which the process is linked to: its version, and the few calls that the
//! `openssl` crate has not, or has as `unsafe`.

use foreign_types::ForeignTypeRef;
use openssl::error::ErrorStack;
use openssl::ssl::{Error, SslContextBuilder, SslRef, SslSession, SslSessionRef, SslStream};
use openssl::x509::X509Ref;
use std::ffi::{CStr, c_char, c_int, c_long, c_void};
use std::io::{Read, Write};
use tokio::io::ReadBuf;

/// `OPENSSL_VERSION`: the whole text.
const TEXT: c_int = 0;
/// `SSL_CTRL_CHAIN`, which makes `SSL_CTX_add0_chain_cert` and, with 1, `…_add1_…`.
const ADD_CHAIN: c_int = 89;
/// `SSL_CTRL_GET_TLSEXT_STATUS_REQ_TYPE`, and `TLSEXT_STATUSTYPE_ocsp`.
const STATUS_REQUEST_TYPE: c_int = 127;
const STATUS_OCSP: c_long = 1;

/// `SSL_CTRL_GET_MAX_PROTO_VERSION`, and the number of TLS 1.3; 0 is the newest.
const MAX_VERSION: c_int = 131;
const TLS13: c_long = 0x304;

unsafe extern "C" {
    fn OpenSSL_version(what: c_int) -> *const c_char;
    fn SSL_CTX_ctrl(context: *mut c_void, what: c_int, n: c_long, p: *mut c_void) -> c_long;
    fn SSL_ctrl(ssl: *mut c_void, what: c_int, n: c_long, p: *mut c_void) -> c_long;
    fn SSL_CTX_set_timeout(context: *mut c_void, seconds: c_long) -> c_long;
    fn SSL_CTX_set_cert_cb(
        context: *mut c_void,
        callback: Option<unsafe extern "C" fn(*mut c_void, *mut c_void) -> c_int>,
        argument: *mut c_void,
    );
    fn SSL_certs_clear(ssl: *mut c_void);
    fn SSL_version(ssl: *const c_void) -> c_int;
    fn SSL_client_hello_get1_extensions_present(
        ssl: *mut c_void,
        types: *mut *mut c_int,
        count: *mut usize,
    ) -> c_int;
    fn SSL_client_hello_get0_ext(
        ssl: *mut c_void,
        kind: u32,
        bytes: *mut *const u8,
        length: *mut usize,
    ) -> c_int;
    fn CRYPTO_free(memory: *mut c_void, file: *const c_char, line: c_int);
}

/// What a handshake does where it needs a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certify {
    /// It goes on with the certificates it has.
    GoOn,
    /// It waits: `SSL_do_handshake` ends with [`WANT_CERTIFICATE`], and asks again when it is
    /// called again.
    Wait,
    /// It fails.
    Fail,
}

/// `SSL_ERROR_WANT_X509_LOOKUP`.
pub const WANT_CERTIFICATE: c_int = 4;

/// What is asked in each handshake of a context.
type Certifier = fn(&mut SslRef) -> Certify;

/// Asks `certifier` in every handshake of `context`, once the server is known by name.
pub fn set_certifier(context: &mut SslContextBuilder, certifier: Certifier) {
    // SAFETY: the context is live; a function's pointer lives for ever, and `certify` knows it.
    unsafe {
        SSL_CTX_set_cert_cb(context.as_ptr().cast(), Some(certify), certifier as *mut c_void);
    }
}

/// # Safety
/// Called by OpenSSL with what `set_certifier` gave it.
unsafe extern "C" fn certify(ssl: *mut c_void, argument: *mut c_void) -> c_int {
    // SAFETY: the caller's promise; the connection is OpenSSL's for the call, and nobody else's.
    let answer = unsafe {
        let certifier = std::mem::transmute::<*mut c_void, Certifier>(argument);
        certifier(SslRef::from_ptr_mut(ssl.cast()))
    };
    match answer {
        Certify::GoOn => 1,
        Certify::Wait => -1,
        Certify::Fail => 0,
    }
}

/// Looks for the session that a client names by `finder`, in each handshake of `context`. It gives
/// one that no context has yet, or this one.
pub fn set_session_finder(
    context: &mut SslContextBuilder,
    finder: fn(&mut SslRef, &[u8]) -> Option<SslSession>,
) {
    // SAFETY: a session that was read from bytes belongs to no context, which is what callers keep
    // to.
    unsafe { context.set_get_session_callback(finder) };
}

/// Whether TLS 1.3 may be agreed upon.
pub fn speaks_tls13(ssl: &SslRef) -> bool {
    let nothing = std::ptr::null_mut();
    // SAFETY: the connection is live and only read; the command takes no pointer.
    let most = unsafe { SSL_ctrl(ssl.as_ptr().cast(), MAX_VERSION, 0, nothing) };
    most == 0 || most >= TLS13
}

/// The connection of a stream, to be changed: between two steps of its handshake nothing else uses
/// it.
pub fn ssl_of<S>(stream: &mut SslStream<S>) -> &mut SslRef {
    // SAFETY: the stream is borrowed for as long as its connection is.
    unsafe { SslRef::from_ptr_mut(stream.ssl().as_ptr()) }
}

/// Takes all certificates and keys from a connection.
pub fn clear_certificates(ssl: &mut SslRef) {
    // SAFETY: the connection is live, and ours alone.
    unsafe { SSL_certs_clear(ssl.as_ptr().cast()) };
}

/// Whether the client has asked for a status of the certificate (RFC 6066, section 8).
pub fn wants_status(ssl: &SslRef) -> bool {
    let nothing = std::ptr::null_mut();
    // SAFETY: the connection is live and only read; the command takes no pointer.
    unsafe { SSL_ctrl(ssl.as_ptr().cast(), STATUS_REQUEST_TYPE, 0, nothing) == STATUS_OCSP }
}

/// The number of the version of TLS: 0x304 is 1.3.
pub fn version_of(ssl: &SslRef) -> i32 {
    // SAFETY: the connection is live and only read.
    unsafe { SSL_version(ssl.as_ptr().cast_const().cast()) }
}

/// The extensions of the client's hello, while the handshake waits there; else none.
pub fn hello_extensions(ssl: &SslRef) -> Vec<(u16, Vec<u8>)> {
    let (mut types, mut count) = (std::ptr::null_mut::<c_int>(), 0usize);
    let ssl: *mut c_void = ssl.as_ptr().cast();
    let mut all = Vec::new();
    // SAFETY: the connection is live; OpenSSL gives an array of so many numbers, which is ours and
    // goes back to it, and slices of the hello that live until the handshake goes on.
    unsafe {
        if SSL_client_hello_get1_extensions_present(ssl, &mut types, &mut count) != 1 {
            return all;
        }
        for index in 0..count {
            let kind = *types.add(index);
            let (mut bytes, mut length) = (std::ptr::null(), 0);
            if SSL_client_hello_get0_ext(ssl, kind.cast_unsigned(), &mut bytes, &mut length) == 1
                && let Ok(kind) = u16::try_from(kind)
            {
                let bytes: &[u8] =
                    if length == 0 { &[] } else { std::slice::from_raw_parts(bytes, length) };
                all.push((kind, bytes.to_vec()));
            }
        }
        CRYPTO_free(types.cast(), c"".as_ptr(), 0);
    }
    all
}

/// Reads OpenSSL's configuration (`OPENSSL_CONF`), which nobody can name once the environment is
/// emptied.
pub fn start() {
    openssl::init();
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
