//! Our side of TLS towards upstreams, built from `proxy_ssl_*`.

use super::certificate::Files;
use super::server::versions;
use super::stream::{RECORD_BYTES, TlsStream};
use crate::config::diagnostic::At;
use crate::config::model::Settings;
use crate::sys::openssl as unwrapped;
use bytes::BytesMut;
use openssl::error::ErrorStack;
use openssl::ex_data::Index;
use openssl::ssl::{
    Ssl, SslContext, SslContextBuilder, SslMethod, SslMode, SslOptions, SslRef, SslSession,
    SslSessionCacheMode, SslVerifyMode,
};
use openssl::x509::{X509StoreContextRef, X509VerifyResult};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use tokio::io::{AsyncRead, AsyncWrite};

/// Sessions that are remembered; more push all out.
const MOST_SESSIONS: usize = 1024;

/// What is offered where HTTP/2 is to be spoken (RFC 7301's list of names).
const ALPN_HTTP2: &[u8] = b"\x02h2";

/// `X509_V_ERR_HOSTNAME_MISMATCH` and `X509_V_ERR_IP_ADDRESS_MISMATCH`.
const MISMATCHES: [i32; 2] = [62, 64];

/// Numbers the ways to talk TLS over all configurations.
static NUMBERS: AtomicU64 = AtomicU64::new(1);

type Sessions = Arc<Mutex<HashMap<Box<str>, SslSession>>>;

/// How upstreams are talked to by TLS.
pub struct Client {
    /// Two connections whose numbers and names are the same may stand for one another; never 0.
    pub number: u64,
    context: SslContext,
    verifies: bool,
    /// Sessions by peer and name, unless they are not to be resumed.
    sessions: Option<Sessions>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("number", &self.number).finish_non_exhaustive()
    }
}

/// Whom a connection is for.
#[derive(Clone, Copy, Debug)]
pub struct Peer<'a> {
    /// The address, as sessions are remembered by it.
    pub address: &'a str,
    /// `proxy_ssl_name`; a port is no part of a name.
    pub name: &'a str,
    /// The name is sent: `proxy_ssl_server_name on`.
    pub sends_name: bool,
}

/// Where connections carry what their session is remembered by.
static KEY: OnceLock<Option<Index<Ssl, Box<str>>>> = OnceLock::new();

fn key() -> Option<Index<Ssl, Box<str>>> {
    *KEY.get_or_init(|| Ssl::new_ex_index().ok())
}

/// A bad certificate is refused behind the handshake, in nginx's words.
fn take_any(_good: bool, _chain: &mut X509StoreContextRef) -> bool {
    true
}

impl Client {
    /// What `settings`, inherited, say for the location at `at`, in the words of `family`, `proxy`
    /// or `grpc`; `None` after a fault.
    pub fn new(settings: &Settings, at: &At, family: &str, files: &mut Files<'_>) -> Option<Self> {
        let context = SslContextBuilder::new(SslMethod::tls_client());
        let mut context = files.check(at, "SSL_CTX_new()", context)?;
        versions(&mut context, settings.proxy_ssl_protocols.as_deref(), at, files);
        let ciphers = settings.proxy_ssl_ciphers.as_ref();
        let (text, at_of) = ciphers.map_or(("DEFAULT", at), |it| (&*it.text, &it.at));
        let failed = format!("SSL_CTX_set_cipher_list(\"{text}\")");
        files.check(at_of, &failed, context.set_cipher_list(text));
        context.set_options(
            SslOptions::NO_COMPRESSION
                | SslOptions::NO_RENEGOTIATION
                | SslOptions::IGNORE_UNEXPECTED_EOF,
        );
        context.set_mode(SslMode::RELEASE_BUFFERS | SslMode::ENABLE_PARTIAL_WRITE);
        if settings.proxy_http_version == Some(20) {
            files.check(at, "SSL_CTX_set_alpn_protos()", context.set_alpn_protos(ALPN_HTTP2))?;
        }
        own_certificate(&mut context, settings, family, files)?;
        let verifies = settings.proxy_ssl_verify == Some(true);
        verification(&mut context, settings, (at, family), files)?;
        let sessions = (settings.proxy_ssl_session_reuse != Some(false)).then(Sessions::default);
        if let Some(sessions) = &sessions {
            remember(&mut context, Arc::clone(sessions));
        }
        let number = NUMBERS.fetch_add(1, Relaxed);
        Some(Self { number, context: context.build(), verifies, sessions })
    }

    /// Shakes hands over `socket` with `peer`, which must be who it should be.
    ///
    /// # Errors
    /// nginx's words: memory is short, the name is none, the handshake failed, or the certificate
    /// is refused.
    pub async fn secure<S>(&self, socket: S, peer: Peer<'_>) -> Result<TlsStream<S>, String>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let failed = |it: ErrorStack| format!("SSL_new() failed: {it}");
        let ssl = self.connect(peer).map_err(failed)?;
        let stream = TlsStream::new(ssl, socket, BytesMut::new(), RECORD_BYTES);
        let mut stream = stream.map_err(failed)?;
        poll_fn(|cx| stream.poll_handshake(cx)).await?;
        self.check(stream.ssl(), peer.name)?;
        Ok(stream)
    }

    /// TLS for a new connection to `peer`.
    ///
    /// # Errors
    /// When memory is short, or the name is none.
    pub(super) fn connect(&self, peer: Peer<'_>) -> Result<Ssl, ErrorStack> {
        let mut ssl = Ssl::new(&self.context)?;
        let name = without_port(peer.name);
        let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        if peer.sends_name && address.is_err() && !name.is_empty() {
            ssl.set_hostname(name)?;
        }
        if self.verifies {
            match address {
                Ok(address) => ssl.param_mut().set_ip(address)?,
                Err(_) => ssl.param_mut().set_host(name)?,
            }
        }
        if let (Some(sessions), Some(index)) = (&self.sessions, key()) {
            let key: Box<str> = format!("{} {name}", peer.address).into();
            if let Some(session) = sessions.lock().get(&key) {
                // One that does not fit makes a whole handshake.
                let _ = unwrapped::resume(&mut ssl, session);
            }
            ssl.set_ex_data(index, key);
        }
        ssl.set_connect_state();
        Ok(ssl)
    }

    /// Whether the peer of a finished handshake is who it should be.
    ///
    /// # Errors
    /// nginx's words for why not.
    fn check(&self, ssl: &SslRef, name: &str) -> Result<(), String> {
        if !self.verifies {
            return Ok(());
        }
        let result = ssl.verify_result();
        if MISMATCHES.contains(&result.as_raw()) || ssl.peer_certificate().is_none() {
            let name = without_port(name);
            return Err(format!("upstream SSL certificate does not match \"{name}\""));
        }
        if result == X509VerifyResult::OK {
            return Ok(());
        }
        let (code, text) = (result.as_raw(), result.error_string());
        Err(format!("upstream SSL certificate verify error: ({code}:{text})"))
    }
}

pub(super) fn without_port(name: &str) -> &str {
    match name.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => {
            // What has more colons is an address of IPv6 without a port.
            if host.contains(':') && !host.ends_with(']') { name } else { host }
        }
        _ => name,
    }
}

fn own_certificate(
    context: &mut SslContextBuilder,
    settings: &Settings,
    family: &str,
    files: &mut Files<'_>,
) -> Option<()> {
    let Some(certificate) = &settings.proxy_ssl_certificate else { return Some(()) };
    let Some(key) = &settings.proxy_ssl_certificate_key else {
        let name = &certificate.text;
        let message =
            format!("no \"{family}_ssl_certificate_key\" is defined for certificate \"{name}\"");
        files.fault(&certificate.at, message);
        return None;
    };
    let passwords = files.passwords(settings.proxy_ssl_password_file.as_ref());
    files.identity(context, certificate, key, &passwords).map(drop)
}

fn verification(
    context: &mut SslContextBuilder,
    settings: &Settings,
    (at, family): (&At, &str),
    files: &mut Files<'_>,
) -> Option<()> {
    if settings.proxy_ssl_verify != Some(true) {
        context.set_verify(SslVerifyMode::NONE);
        return Some(());
    }
    let Some(file) = &settings.proxy_ssl_trusted_certificate else {
        let message = format!("no {family}_ssl_trusted_certificate for {family}_ssl_verify");
        files.fault(at, message);
        return None;
    };
    let (store, _) = files.trusted(&[file])?;
    context.set_cert_store(store);
    context.set_verify_callback(SslVerifyMode::PEER, take_any);
    context.set_verify_depth(settings.proxy_ssl_verify_depth.unwrap_or(1));
    Some(())
}

/// Keeps the sessions that connections of `context` make.
fn remember(context: &mut SslContextBuilder, sessions: Sessions) {
    context.set_session_cache_mode(SslSessionCacheMode::CLIENT | SslSessionCacheMode::NO_INTERNAL);
    context.set_new_session_callback(move |ssl, session| {
        let Some(key) = key().and_then(|it| ssl.ex_data(it)).cloned() else { return };
        let mut sessions = sessions.lock();
        if sessions.len() >= MOST_SESSIONS && !sessions.contains_key(&key) {
            sessions.clear();
        }
        sessions.insert(key, session);
    });
}
