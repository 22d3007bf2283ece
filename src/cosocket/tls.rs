//! TLS as a client: a context made of `lua_ssl_*`, handshakes, what they are judged by.

use crate::cosocket::error::Error;
use crate::cosocket::stream::Secured;
use crate::cosocket::stream::Stream;
use crate::cosocket::stream::poll_need;
use crate::sys::openssl::resume;
use crate::sys::raw_stream::RawStream;
use once_cell::sync::OnceCell;
use openssl::error::ErrorStack;
use openssl::pkey::PKey;
use openssl::pkey::Private;
use openssl::ssl::ErrorCode;
use openssl::ssl::Ssl;
use openssl::ssl::SslContext;
use openssl::ssl::SslFiletype;
use openssl::ssl::SslMethod;
use openssl::ssl::SslOptions;
use openssl::ssl::SslRef;
use openssl::ssl::SslSession;
use openssl::ssl::SslStream;
use openssl::ssl::SslVerifyMode;
use openssl::x509::X509;
use openssl::x509::X509VerifyResult;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::task::Poll;

/// OpenSSL's codes for a certificate of another name.
const HOST_MISMATCH: i32 = 62;
const ADDRESS_MISMATCH: i32 = 64;

/// `lua_ssl_*` of a location.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// `lua_ssl_protocols`; none: TLSv1 to TLSv1.2, as lua-nginx-module has it.
    pub protocols: Vec<String>,
    /// `lua_ssl_ciphers`.
    pub ciphers: Option<String>,
    /// `lua_ssl_trusted_certificate`; none: the system's authorities.
    pub trusted: Option<PathBuf>,
    /// `lua_ssl_crl`.
    pub crl: Option<PathBuf>,
    /// `lua_ssl_verify_depth`; 0 is OpenSSL's own.
    pub verify_depth: u32,
    /// `lua_ssl_certificate` and its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

/// TLS by such settings. The context is made by the first handshake, or when it is checked.
#[derive(Debug, Default)]
pub struct ClientTls {
    settings: TlsSettings,
    context: OnceCell<SslContext>,
}

/// A TLS session, and the context that it came of: no other may resume it.
pub struct Session {
    session: SslSession,
    context: SslContext,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Session")
    }
}

impl Session {
    /// The session of a connection, if it has one.
    pub fn of(ssl: &SslRef) -> Option<Self> {
        let session = ssl.session()?.to_owned();
        Some(Self { session, context: ssl.ssl_context().to_owned() })
    }

    /// Asks `ssl`, whose handshake is to come, to resume it; nothing when that is of another
    /// context.
    fn offer(&self, ssl: &mut SslRef) -> Result<(), ErrorStack> {
        if !std::ptr::eq(&raw const *self.context, &raw const *ssl.ssl_context()) {
            return Ok(());
        }
        resume(ssl, &self.session)
    }
}

/// A certificate and those behind it, and its key.
pub type Identity = (Rc<Vec<X509>>, Rc<PKey<Private>>);

/// What a script wants of a handshake.
#[derive(Debug, Default)]
pub struct Wish {
    /// A session of an earlier connection.
    pub session: Option<Rc<Session>>,
    /// Server name: sent as SNI, and checked when `verify`.
    pub name: Option<String>,
    /// The certificate must be good, and for that name.
    pub verify: bool,
    /// Asks for an OCSP response.
    pub ocsp: bool,
    /// What it shows for itself instead of what is configured.
    pub certificate: Option<Identity>,
}

/// What a TLS operation waits for.
#[derive(Debug)]
pub enum Need {
    /// Bytes of the other side.
    Read,
    /// Room in the socket.
    Write,
    /// Nothing: it has ended, or failed.
    Nothing(io::Result<()>),
}

/// What OpenSSL's error asks for; the end of the connection is no error.
pub fn need(error: openssl::ssl::Error) -> Need {
    match error.code() {
        ErrorCode::WANT_READ => Need::Read,
        ErrorCode::WANT_WRITE => Need::Write,
        ErrorCode::ZERO_RETURN => Need::Nothing(Ok(())),
        _ => match error.into_io_error() {
            Ok(error) if error.kind() == io::ErrorKind::UnexpectedEof => Need::Nothing(Ok(())),
            Ok(error) => Need::Nothing(Err(error)),
            // A peer that closes without a word of TLS is one that closes.
            Err(error) if error.ssl_error().is_none_or(is_unexpected_end) => Need::Nothing(Ok(())),
            Err(error) => Need::Nothing(Err(io::Error::other(error))),
        },
    }
}

fn is_unexpected_end(stack: &openssl::error::ErrorStack) -> bool {
    let texts = stack.errors().iter().filter_map(|it| it.reason());
    stack.errors().is_empty() || texts.into_iter().any(|it| it.contains("unexpected eof"))
}

impl ClientTls {
    /// TLS by `settings`.
    pub fn new(settings: TlsSettings) -> Self {
        Self { settings, context: OnceCell::new() }
    }

    /// The context, made now if need be.
    ///
    /// # Errors
    /// A file that cannot be used, a word that OpenSSL does not know; in nginx's words.
    pub fn context(&self) -> Result<&SslContext, String> {
        self.context.get_or_try_init(|| self.make())
    }

    fn make(&self) -> Result<SslContext, String> {
        let failed = |what: String| move |error| format!("{what} failed ({error})");
        let builder = SslContext::builder(SslMethod::tls_client());
        let mut builder = builder.map_err(failed("SSL_CTX_new()".into()))?;
        builder.set_options(self.refused_protocols()?);
        // What a certificate is worth is asked behind the handshake.
        // All faults are seen, and the last is told, as with nginx.
        builder.set_verify_callback(SslVerifyMode::NONE, |_, _| true);
        if let Some(ciphers) = &self.settings.ciphers {
            let what = format!("SSL_CTX_set_cipher_list(\"{ciphers}\")");
            builder.set_cipher_list(ciphers).map_err(failed(what))?;
        }
        if let Some((certificate, key)) = &self.settings.certificate {
            let what = format!("SSL_CTX_use_certificate(\"{}\")", certificate.display());
            builder.set_certificate_chain_file(certificate).map_err(failed(what))?;
            let what = format!("SSL_CTX_use_PrivateKey(\"{}\")", key.display());
            builder.set_private_key_file(key, SslFiletype::PEM).map_err(failed(what))?;
        }
        match &self.settings.trusted {
            Some(path) => {
                let what = format!("SSL_CTX_load_verify_locations(\"{}\")", path.display());
                builder.set_ca_file(path).map_err(failed(what))?;
            }
            None => builder
                .set_default_verify_paths()
                .map_err(failed("SSL_CTX_set_default_verify_paths()".into()))?,
        }
        if let Some(path) = &self.settings.crl {
            self.load_crl(&mut builder, path)?;
        }
        if self.settings.verify_depth > 0 {
            builder.set_verify_depth(self.settings.verify_depth);
        }
        Ok(builder.build())
    }

    fn load_crl(
        &self,
        builder: &mut openssl::ssl::SslContextBuilder,
        path: &std::path::Path,
    ) -> Result<(), String> {
        use openssl::x509::store::X509Lookup;
        use openssl::x509::verify::X509VerifyFlags;
        let failed =
            |error| format!("X509_LOOKUP_load_file(\"{}\") failed ({error})", path.display());
        let store = builder.cert_store_mut();
        let lookup = store.add_lookup(X509Lookup::file()).map_err(failed)?;
        lookup.load_crl_file(path, SslFiletype::PEM).map_err(failed)?;
        let flags = X509VerifyFlags::CRL_CHECK | X509VerifyFlags::CRL_CHECK_ALL;
        store.set_flags(flags).map_err(failed)
    }

    /// OpenSSL's options that leave the wanted protocols.
    fn refused_protocols(&self) -> Result<SslOptions, String> {
        const ALL: [(&str, SslOptions); 4] = [
            ("TLSv1", SslOptions::NO_TLSV1),
            ("TLSv1.1", SslOptions::NO_TLSV1_1),
            ("TLSv1.2", SslOptions::NO_TLSV1_2),
            ("TLSv1.3", SslOptions::NO_TLSV1_3),
        ];
        let mut refused = SslOptions::NO_SSLV2 | SslOptions::NO_SSLV3;
        for (name, option) in ALL {
            let is_wanted = match self.settings.protocols.as_slice() {
                [] => name != "TLSv1.3",
                some => some.iter().any(|it| it == name),
            };
            if !is_wanted {
                refused |= option;
            }
        }
        Ok(refused)
    }

    /// Speaks TLS over `raw` as a client. The connection is lost when that fails.
    ///
    /// # Errors
    /// `handshake failed`, or why the certificate is refused: OpenSSL's code and words.
    pub async fn handshake(&self, raw: RawStream, wish: Wish) -> Result<Stream, Error> {
        let text = |it: &str| Error::Text(it.to_owned());
        let broken = |_| text("failed to create ssl connection");
        let context = self.context().map_err(|_| text("failed to create ssl connection"))?;
        let mut ssl = Ssl::new(context).map_err(broken)?;
        if let Some(name) = &wish.name {
            ssl.set_hostname(name).map_err(|_| text("SSL_set_tlsext_host_name failed"))?;
        }
        if let Some(name) = wish.name.as_deref().filter(|it| wish.verify && !it.is_empty()) {
            let expected = match name.parse::<IpAddr>() {
                Ok(address) => ssl.param_mut().set_ip(address),
                Err(_) => ssl.param_mut().set_host(name),
            };
            expected.map_err(|_| text("certificate host mismatch"))?;
        }
        if wish.ocsp {
            let kind = openssl::ssl::StatusType::OCSP;
            ssl.set_status_type(kind).map_err(|_| text("no OCSP support"))?;
        }
        if let Some((chain, key)) = &wish.certificate {
            show(&mut ssl, chain, key)?;
        }
        if let Some(session) = &wish.session {
            session.offer(&mut ssl).map_err(|_| text("ssl set session failed"))?;
        }
        let mut secured = Secured(SslStream::new(ssl, raw).map_err(broken)?);
        let stream = &mut secured.0;
        let shaken = poll_fn(|cx| {
            loop {
                let Err(error) = stream.connect() else { return Poll::Ready(Ok(())) };
                let need = need(error);
                if matches!(need, Need::Nothing(_)) {
                    return Poll::Ready(Err(()));
                }
                match poll_need(stream.get_ref(), need, cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(())),
                }
            }
        });
        shaken.await.map_err(|()| text("handshake failed"))?;
        if wish.verify {
            judge(stream.ssl())?;
        }
        Ok(Stream::Tls(Box::new(secured)))
    }
}

/// Makes `ssl` show `chain`, and prove by `key` that it is its own.
///
/// # Errors
/// lua-nginx-module's texts: nothing in the chain, or a key of another certificate.
fn show(ssl: &mut SslRef, chain: &[X509], key: &PKey<Private>) -> Result<(), Error> {
    let text = |it: &str| Error::Text(it.to_owned());
    let (own, others) =
        chain.split_first().ok_or_else(|| text("invalid client certificate chain"))?;
    ssl.set_certificate(own).map_err(|_| text("ssl use certificate failed"))?;
    for other in others {
        let added = ssl.add_chain_cert(other.clone());
        added.map_err(|_| text("lua tcp socket ssl use chain failed"))?;
    }
    ssl.set_private_key(key).map_err(|_| text("ssl use private key failed"))
}

/// # Errors
/// Why the server's certificate is not good.
fn judge(ssl: &SslRef) -> Result<(), Error> {
    let result = ssl.verify_result();
    if result == X509VerifyResult::OK {
        return Ok(());
    }
    let text = match result.as_raw() {
        HOST_MISMATCH | ADDRESS_MISMATCH => "certificate host mismatch".to_owned(),
        code => format!("{code}: {}", result.error_string()),
    };
    Err(Error::Text(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_used_is_told() {
        let trusted = Some("/nowhere.pem".into());
        let tls = ClientTls::new(TlsSettings { trusted, ..TlsSettings::default() });
        let text = tls.context().err().unwrap();
        assert!(
            text.starts_with("SSL_CTX_load_verify_locations(\"/nowhere.pem\") failed"),
            "{text}"
        );
        let ciphers = Some("NONSENSE".into());
        let tls = ClientTls::new(TlsSettings { ciphers, ..TlsSettings::default() });
        assert!(tls.context().is_err());
        assert!(ClientTls::default().context().is_ok());
    }
}
