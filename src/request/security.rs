//! Variables that tell of TLS and of HTTP/2.

use super::evaluate::put;
use super::{Request, Version};
use crate::vars::Builtin;

impl Request {
    /// Appends such a variable; `Some(false)` when it is not set, `None` when `builtin` is none.
    pub(super) fn append_security(&self, builtin: Builtin, out: &mut Vec<u8>) -> Option<bool> {
        use Builtin as B;
        let tls = self.connection.tls.get();
        let put_text = |text: Option<String>, out: &mut Vec<u8>| match text {
            Some(text) => put(Some(text.as_bytes()), out),
            None => false,
        };
        Some(match builtin {
            B::Http2 => {
                let is_http2 = self.version == Version::Http2;
                put(
                    Some(if !is_http2 {
                        b""
                    } else if tls.is_some() {
                        b"h2"
                    } else {
                        b"h2c"
                    }),
                    out,
                )
            }
            B::SslProtocol => put(tls.map(|it| it.protocol.as_bytes()), out),
            B::SslCipher => put(tls.map(|it| it.cipher.as_bytes()), out),
            B::SslServerName => {
                put(tls.and_then(|it| it.server_name.as_deref()).map(str::as_bytes), out)
            }
            B::SslAlpnProtocol => put(tls.map(|it| &*it.alpn).filter(|it| !it.is_empty()), out),
            B::SslSessionId => put_text(tls.map(|it| it.session()), out),
            B::SslSessionReused => {
                put(tls.map(|it| if it.resumed { &b"r"[..] } else { b"." }), out)
            }
            B::SslClientVerify => put_text(tls.map(|it| it.verification()), out),
            B::SslClientSubject => put_text(tls.and_then(|it| it.subject()), out),
            B::SslClientIssuer => put_text(tls.and_then(|it| it.issuer()), out),
            B::SslClientSerial => put_text(tls.and_then(|it| it.serial()), out),
            B::SslClientFingerprint => put_text(tls.and_then(|it| it.fingerprint()), out),
            B::SslClientRawCert => put_text(tls.and_then(|it| it.pem()), out),
            B::SslClientCert => {
                // As a header field was once continued.
                put_text(tls.and_then(|it| it.pem()).map(|it| it.replace('\n', "\n\t")), out)
            }
            B::SslClientEscapedCert => {
                put_text(tls.and_then(|it| it.pem()).map(|it| escaped(&format!("{it}\n"))), out)
            }
            _ => return None,
        })
    }
}

/// As a part of a URI.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 64);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
