//! A handshake that waits for a script: what is asked, what the script may know, what it decides.

use super::endpoint::found;
use super::words::queue;
use crate::sys::openssl as unwrapped;
use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{NameType, SslRef, SslSession, SslSessionRef, SslVerifyMode, SslVersion};
use openssl::stack::Stack;
use openssl::x509::X509;
use openssl::x509::store::X509StoreBuilder;
use std::fmt;

/// The extension by which a client names the server (RFC 6066, section 3).
const SERVER_NAME: u16 = 0;

/// Where a handshake waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// The client's hello has come: `ssl_client_hello_by_lua*`.
    Hello,
    /// A certificate is wanted: `ssl_certificate_by_lua*`.
    Certificate,
    /// The client would resume a session: `ssl_session_fetch_by_lua*`.
    Fetch,
    /// The handshake is done, and has made a session: `ssl_session_store_by_lua*`. Nothing waits.
    Store,
}

/// A handshake, as a script sees and changes it.
#[derive(Debug, Default)]
pub struct Handshake {
    /// By which name the client asks for the server, as it spelled it.
    pub server_name: Option<Box<str>>,
    /// OpenSSL's number of the version: 0x303 is TLS 1.2.
    pub version: i32,
    /// The same in words: `TLSv1.2`.
    pub version_text: &'static str,
    /// What the client has drawn.
    pub client_random: Vec<u8>,
    /// Extensions of the client's hello by number, in its order; only while that is asked about.
    pub extensions: Vec<(u16, Vec<u8>)>,
    /// Two bytes a cipher that the client offers; only while its hello is asked about.
    pub ciphers: Vec<u8>,
    /// The client wants to be shown what the authority says of the certificate.
    pub wants_status: bool,
    /// The session's number: that which the client would resume, or the new one's.
    pub session_id: Vec<u8>,
    /// The new session in DER (`i2d_SSL_SESSION`), where it is to be kept.
    pub session: Option<Vec<u8>>,
    /// What the script wants.
    pub wanted: Wanted,
}

/// What a script wants of a handshake.
#[derive(Debug, Default)]
pub struct Wanted {
    /// Certificates and keys of the configuration are out.
    pub clears: bool,
    /// The server's certificate and those behind it.
    pub chain: Vec<X509>,
    /// Its key.
    pub key: Option<PKey<Private>>,
    /// The client is asked for a certificate by one of these, this deep.
    pub verify: Option<(Vec<X509>, Option<u32>)>,
    /// What the authority says of the certificate (RFC 6066, section 8), in DER.
    pub status: Option<Vec<u8>>,
    /// The versions of TLS that may be spoken.
    pub versions: Option<Vec<SslVersion>>,
    /// The session that the client would resume.
    pub session: Option<Session>,
}

/// A session of TLS.
pub struct Session(pub SslSession);

impl fmt::Debug for Session {
    /// What it holds is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

impl Wanted {
    /// Takes the certificates and the key away, those of the configuration too.
    pub fn clear_certificates(&mut self) {
        self.clears = true;
        self.chain.clear();
        self.key = None;
    }
}

impl Handshake {
    pub(super) fn of(ssl: &SslRef, question: Question) -> Self {
        let mut random = vec![0; 32];
        let drawn = ssl.client_random(&mut random);
        random.truncate(drawn);
        let mut made = Self {
            server_name: ssl.servername(NameType::HOST_NAME).map(Into::into),
            version: unwrapped::version_of(ssl),
            version_text: ssl.version_str(),
            client_random: random,
            wants_status: unwrapped::wants_status(ssl),
            ..Self::default()
        };
        if question == Question::Fetch {
            made.session_id = ssl.client_hello_session_id().unwrap_or_default().to_vec();
        }
        if matches!(question, Question::Hello | Question::Fetch) {
            made.ciphers = ssl.client_hello_ciphers().unwrap_or_default().to_vec();
            made.client_random = ssl.client_hello_random().unwrap_or_default().to_vec();
            made.extensions = unwrapped::hello_extensions(ssl);
            made.server_name = made.extension(SERVER_NAME).and_then(named);
        }
        made
    }

    /// The same once the handshake on `ssl` has made `session`.
    pub(super) fn with(ssl: &SslRef, session: &SslSessionRef) -> Self {
        Self {
            session_id: session.id().to_vec(),
            session: session.to_der().ok(),
            ..Self::of(ssl, Question::Store)
        }
    }

    /// An extension of the client's hello.
    pub fn extension(&self, number: u16) -> Option<&[u8]> {
        self.extensions.iter().find(|it| it.0 == number).map(|it| &*it.1)
    }
}

/// The name in a `server_name` extension.
fn named(extension: &[u8]) -> Option<Box<str>> {
    let [_, _, 0, high, low, rest @ ..] = extension else { return None };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    std::str::from_utf8(rest.get(..length)?).ok().map(Into::into)
}

impl Wanted {
    /// Makes `ssl` what the script wants it to be.
    ///
    /// # Errors
    /// What OpenSSL does not take: `SSL_use_certificate() failed (SSL: …)`.
    pub(super) fn apply(self, ssl: &mut SslRef) -> Result<(), String> {
        let failed = |what: &'static str| {
            move |errors: ErrorStack| format!("{what} failed{}", queue(&errors))
        };
        if let Some(session) = self.session {
            found(ssl, session.0);
        }
        if self.clears {
            unwrapped::clear_certificates(ssl);
        }
        let mut chain = self.chain.into_iter();
        if let Some(own) = chain.next() {
            ssl.set_certificate(&own).map_err(failed("SSL_use_certificate()"))?;
        }
        for certificate in chain {
            ssl.add_chain_cert(certificate).map_err(failed("SSL_add0_chain_cert()"))?;
        }
        if let Some(key) = self.key {
            ssl.set_private_key(&key).map_err(failed("SSL_use_PrivateKey()"))?;
        }
        if let Some((authorities, depth)) = self.verify {
            verify(ssl, authorities, depth).map_err(failed("SSL_set_verify()"))?;
        }
        if let Some(status) = self.status {
            ssl.set_ocsp_status(&status).map_err(failed("SSL_set_tlsext_status_ocsp_resp()"))?;
        }
        let Some(versions) = self.versions else { return Ok(()) };
        let number = |it: &SslVersion| {
            [SslVersion::TLS1, SslVersion::TLS1_1, SslVersion::TLS1_2]
                .iter()
                .position(|known| known == it)
                .unwrap_or(3)
        };
        let least = versions.iter().copied().min_by_key(number);
        let most = versions.iter().copied().max_by_key(number);
        ssl.set_min_proto_version(least)
            .and_then(|()| ssl.set_max_proto_version(most))
            .map_err(failed("SSL_set_min_proto_version()"))
    }
}

fn verify(ssl: &mut SslRef, authorities: Vec<X509>, depth: Option<u32>) -> Result<(), ErrorStack> {
    // A bad certificate is for the request to refuse: its client then learns why.
    ssl.set_verify_callback(SslVerifyMode::PEER, |_, _| true);
    if let Some(depth) = depth {
        ssl.param_mut().set_depth(i32::try_from(depth).unwrap_or(i32::MAX));
    }
    if authorities.is_empty() {
        return Ok(());
    }
    let mut store = X509StoreBuilder::new()?;
    let mut names = Stack::new()?;
    for authority in authorities {
        names.push(authority.subject_name().to_owned()?)?;
        store.add_cert(authority)?;
    }
    ssl.set_client_ca_list(names);
    ssl.set_verify_cert_store(store.build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_read_from_the_hello() {
        let extension = b"\0\x0b\0\0\x08test.com";
        assert_eq!(named(extension).as_deref(), Some("test.com"));
        assert_eq!(named(b"\0\x0b\0\0\x09test.com"), None);
        assert_eq!(named(b"\0\x01\x01"), None);
    }
}
