//! What a handshake came to, and what variables tell of it.

use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::ssl::{NameType, SslRef};
use openssl::x509::{X509, X509NameRef, X509VerifyResult};
use std::fmt::Write;

/// Errors with which `ssl_verify_client optional_no_ca` lives: nobody we know has signed it.
const UNKNOWN_SIGNERS: [i32; 5] = [2, 18, 19, 20, 21];

/// What a handshake came to.
#[derive(Clone, Debug)]
pub struct Established {
    /// `TLSv1.3`
    pub protocol: &'static str,
    /// OpenSSL's name of the cipher.
    pub cipher: &'static str,
    /// The name by which the client asked for the server.
    pub server_name: Option<Box<str>>,
    /// The session is an older connection's.
    pub resumed: bool,
    /// The session's number.
    pub session_id: Box<[u8]>,
    /// What was agreed upon: `h2`, `http/1.1`; empty: nothing.
    pub alpn: Box<[u8]>,
    /// The client's certificate.
    pub certificate: Option<X509>,
    /// What OpenSSL thinks of that.
    pub verified: X509VerifyResult,
}

impl Established {
    pub(super) fn of(ssl: &SslRef) -> Self {
        Self {
            protocol: ssl.version_str(),
            cipher: ssl.current_cipher().map_or("", |it| it.name()),
            server_name: ssl.servername(NameType::HOST_NAME).map(Into::into),
            resumed: ssl.session_reused(),
            session_id: ssl.session().map(|it| it.id().into()).unwrap_or_default(),
            alpn: ssl.selected_alpn_protocol().unwrap_or_default().into(),
            certificate: ssl.peer_certificate(),
            verified: ssl.verify_result(),
        }
    }

    /// Whether HTTP/2 was agreed upon.
    pub fn is_http2(&self) -> bool {
        *self.alpn == *b"h2"
    }

    /// Whether the certificate is bad only in that nobody we know has signed it.
    pub fn is_of_unknown_signer(&self) -> bool {
        UNKNOWN_SIGNERS.contains(&self.verified.as_raw())
    }

    /// `$ssl_client_verify`: `SUCCESS`, `FAILED:why`, `NONE`.
    pub fn verification(&self) -> String {
        match (&self.certificate, self.verified) {
            (None, _) => "NONE".to_owned(),
            (Some(_), X509VerifyResult::OK) => "SUCCESS".to_owned(),
            (Some(_), bad) => format!("FAILED:{}", bad.error_string()),
        }
    }

    /// `$ssl_client_s_dn`, by RFC 2253.
    pub fn subject(&self) -> Option<String> {
        self.certificate.as_ref().map(|it| distinguished_name(it.subject_name()))
    }

    /// `$ssl_client_i_dn`, by RFC 2253.
    pub fn issuer(&self) -> Option<String> {
        self.certificate.as_ref().map(|it| distinguished_name(it.issuer_name()))
    }

    /// `$ssl_client_serial`, hexadecimal.
    pub fn serial(&self) -> Option<String> {
        let number = self.certificate.as_ref()?.serial_number().to_bn().ok()?;
        number.to_hex_str().ok().map(|it| it.to_string())
    }

    /// `$ssl_client_fingerprint`: SHA-1 in hexadecimal, lower case.
    pub fn fingerprint(&self) -> Option<String> {
        let digest = self.certificate.as_ref()?.digest(MessageDigest::sha1()).ok()?;
        Some(hexadecimal(&digest))
    }

    /// `$ssl_client_raw_cert`: PEM.
    pub fn pem(&self) -> Option<String> {
        let pem = self.certificate.as_ref()?.to_pem().ok()?;
        String::from_utf8(pem).ok().map(|it| it.trim_end().to_owned())
    }

    /// `$ssl_session_id`, hexadecimal.
    pub fn session(&self) -> String {
        hexadecimal(&self.session_id)
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// RFC 2253: the last part first, `,` between, special characters escaped; UTF-8 stays.
pub(super) fn distinguished_name(name: &X509NameRef) -> String {
    let parts: Vec<_> = name.entries().collect();
    let mut text = String::new();
    for entry in parts.into_iter().rev() {
        if !text.is_empty() {
            text.push(',');
        }
        match entry.object().nid() {
            Nid::UNDEF => text.push_str(&entry.object().to_string()),
            nid => text.push_str(nid.short_name().unwrap_or_default()),
        }
        text.push('=');
        let value = entry.data().to_string().unwrap_or_default();
        let last = value.chars().count().saturating_sub(1);
        for (index, symbol) in value.chars().enumerate() {
            let at_edge =
                (index == 0 && matches!(symbol, ' ' | '#')) || (index == last && symbol == ' ');
            match symbol {
                ',' | '+' | '"' | '\\' | '<' | '>' | ';' => text.extend(['\\', symbol]),
                _ if at_edge => text.extend(['\\', symbol]),
                // Writing to a string cannot fail.
                _ if symbol.is_ascii_control() => drop(write!(text, "\\{:02X}", symbol as u32)),
                _ => text.push(symbol),
            }
        }
    }
    text
}
