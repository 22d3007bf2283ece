//! What OpenSSL complains of, in the words of nginx's log.

use openssl::error::ErrorStack;
use openssl::ssl;
use std::fmt::Write;
use std::io;

/// ` (SSL: error:0A000086:SSL routines::certificate verify failed)`: all that is in the queue;
/// empty when nothing is.
pub(super) fn queue(errors: &ErrorStack) -> String {
    let mut text = String::new();
    for error in errors.errors() {
        let start = if text.is_empty() { " (SSL: " } else { " " };
        let (library, reason) = (error.library(), error.reason());
        let code = error.code();
        // Writing to a string cannot fail.
        let _ = match (library, reason) {
            (Some(library), Some(reason)) => {
                write!(text, "{start}error:{code:08X}:{library}::{reason}")
            }
            _ => write!(text, "{start}error:{code:08X}"),
        };
        if let Some(more) = error.data().filter(|it| !it.is_empty()) {
            let _ = write!(text, ":{more}");
        }
    }
    if !text.is_empty() {
        text.push(')');
    }
    text
}

/// Why a handshake failed, without the place: `SSL_do_handshake() failed (SSL: …)`.
pub(super) fn handshake_failure(error: &ssl::Error) -> String {
    if let Some(errors) = error.ssl_error() {
        return format!("SSL_do_handshake() failed{}", queue(errors));
    }
    match error.io_error() {
        Some(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
            let error = crate::sys::errno::Errno(error);
            format!("SSL_do_handshake() failed {error}")
        }
        _ => "peer closed connection in SSL handshake".to_owned(),
    }
}
