//! Certificates made for a test, and clients of TLS.

use super::PATIENCE;
use super::client::Client;
use super::head::{Head, read_chunked, read_exactly};
use super::server::{Kind, Setup};
use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::ssl::{
    HandshakeError, NameType, SslAcceptor, SslConnector, SslConnectorBuilder, SslMethod, SslStream,
    SslVerifyMode,
};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509NameBuilder};
use std::io::{BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

/// A certificate with its key.
#[derive(Clone)]
pub struct Identity {
    /// The certificate.
    pub certificate: X509,
    /// Its key.
    pub key: PKey<Private>,
}

impl Identity {
    /// One that has signed itself, and may sign others, with a key on P-256.
    pub fn new(name: &str) -> Self {
        make(name, ec_key(), None, 30)
    }

    /// The same with an RSA key.
    pub fn rsa(name: &str) -> Self {
        let key = PKey::from_rsa(Rsa::generate(2048).expect("a key")).expect("a key");
        make(name, key, None, 30)
    }

    /// One for `name` that this one has signed; `days` below 0: it has expired.
    pub fn signs(&self, name: &str, days: i32) -> Self {
        make(name, ec_key(), Some(self), days)
    }

    /// The certificate as PEM.
    pub fn pem(&self) -> String {
        String::from_utf8(self.certificate.to_pem().expect("PEM")).expect("PEM is ASCII")
    }

    /// The key as PEM.
    pub fn key_pem(&self) -> String {
        String::from_utf8(self.key.private_key_to_pem_pkcs8().expect("PEM")).expect("ASCII")
    }
}

fn ec_key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("P-256");
    PKey::from_ec_key(EcKey::generate(&group).expect("a key")).expect("a key")
}

fn make(name: &str, key: PKey<Private>, issuer: Option<&Identity>, days: i32) -> Identity {
    let mut subject = X509NameBuilder::new().expect("a name");
    subject.append_entry_by_text("O", "Moongate, tests").expect("a name");
    subject.append_entry_by_text("CN", name).expect("a name");
    let subject = subject.build();
    let mut builder = X509Builder::new().expect("a certificate");
    builder.set_version(2).expect("a version");
    let mut serial = BigNum::new().expect("a number");
    serial.rand(120, MsbOption::ONE, false).expect("a number");
    builder.set_serial_number(&serial.to_asn1_integer().expect("a number")).expect("a number");
    builder.set_subject_name(&subject).expect("a name");
    let issuer_name = issuer.map_or(&*subject, |it| it.certificate.subject_name());
    builder.set_issuer_name(issuer_name).expect("a name");
    builder.set_pubkey(&key).expect("a key");
    let now = std::time::UNIX_EPOCH.elapsed().map_or(0, |it| it.as_secs() as i64);
    let day = 86_400;
    let from = Asn1Time::from_unix(now - 100 * day).expect("a time");
    let until = Asn1Time::from_unix(now + i64::from(days) * day).expect("a time");
    builder.set_not_before(&from).expect("a time");
    builder.set_not_after(&until).expect("a time");
    if issuer.is_none() {
        let extension = BasicConstraints::new().critical().ca().build().expect("an extension");
        builder.append_extension(extension).expect("an extension");
    }
    let mut names = SubjectAlternativeName::new();
    match name.parse::<Ipv4Addr>() {
        Ok(_) => names.ip(name),
        Err(_) => names.dns(name),
    };
    let context = builder.x509v3_context(issuer.map(|it| &*it.certificate), None);
    let names = names.build(&context).expect("an extension");
    builder.append_extension(names).expect("an extension");
    builder.sign(issuer.map_or(&key, |it| &it.key), MessageDigest::sha256()).expect("a signature");
    Identity { certificate: builder.build(), key }
}

/// A gateway's folder with the certificates of `a.test` and `b.test` in `conf/a.pem`, `conf/b.pem`
/// and their keys in `conf/a.key`, `conf/b.key`.
pub fn two_certificates() -> Setup {
    let (a, b) = (Identity::new("a.test"), Identity::new("b.test"));
    Setup::new(Kind::Moongate)
        .file("conf/a.pem", &a.pem())
        .file("conf/a.key", &a.key_pem())
        .file("conf/b.pem", &b.pem())
        .file("conf/b.key", &b.key_pem())
}

/// A client's settings: nothing is verified unless a test says so.
pub fn connector() -> SslConnectorBuilder {
    let mut builder = SslConnector::builder(SslMethod::tls()).expect("a connector");
    builder.set_verify(SslVerifyMode::NONE);
    builder
}

/// A stream over TLS to 127.0.0.1, for the server `name`; empty: no name is sent.
pub fn stream(
    connector: &SslConnector,
    port: u16,
    name: &str,
) -> Result<SslStream<TcpStream>, HandshakeError<TcpStream>> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_nodelay(true).expect("an option");
    let settings = connector.configure().expect("a connection").verify_hostname(false);
    let settings = settings.use_server_name_indication(!name.is_empty());
    settings.connect(if name.is_empty() { "none" } else { name }, stream)
}

/// A client of HTTP/1.1 over TLS.
#[track_caller]
pub fn client(port: u16, name: &str) -> Client<SslStream<TcpStream>> {
    let stream = stream(&connector().build(), port, name);
    Client::over(stream.unwrap_or_else(|error| panic!("TLS for {name}: {error}")))
}

/// An origin over TLS: it answers each request with what it knows of the connection, and the
/// length of the request's body; `/big` with ten megabytes.
pub struct TlsOrigin {
    /// Where it listens.
    pub port: u16,
    connections: Arc<AtomicUsize>,
    ends: Arc<AtomicBool>,
}

impl TlsOrigin {
    /// Serves as `identity`; with `authority`, clients must show a certificate that it has signed.
    pub fn start(identity: &Identity, authority: Option<&Identity>) -> Self {
        let mut builder =
            SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).expect("an acceptor");
        builder.set_certificate(&identity.certificate).expect("a certificate");
        builder.set_private_key(&identity.key).expect("its key");
        builder.set_session_id_context(b"test").expect("a context");
        if let Some(authority) = authority {
            let added = builder.cert_store_mut().add_cert(authority.certificate.clone());
            added.expect("an authority");
            builder.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
        }
        let acceptor = builder.build();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("a port").port();
        let connections = Arc::new(AtomicUsize::new(0));
        let ends = Arc::new(AtomicBool::new(false));
        let (counter, over) = (Arc::clone(&connections), Arc::clone(&ends));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if over.load(SeqCst) {
                    return;
                }
                let (acceptor, counter) = (acceptor.clone(), Arc::clone(&counter));
                std::thread::spawn(move || {
                    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
                    // A client that does not like it is the test's affair.
                    let Ok(stream) = acceptor.accept(stream) else { return };
                    counter.fetch_add(1, SeqCst);
                    // So is one that breaks off.
                    let _ = serve(stream);
                });
            }
        });
        Self { port, connections, ends }
    }

    /// Connections whose handshake was done.
    pub fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }
}

impl Drop for TlsOrigin {
    fn drop(&mut self) {
        self.ends.store(true, SeqCst);
        // Wakes its thread.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

fn serve(stream: SslStream<TcpStream>) -> std::io::Result<()> {
    let name = stream.ssl().servername(NameType::HOST_NAME).unwrap_or("none").to_owned();
    let reused = stream.ssl().session_reused();
    let who = stream.ssl().peer_certificate().and_then(|it| {
        let entry = it.subject_name().entries().last()?;
        entry.data().to_string().ok()
    });
    let who = who.unwrap_or_else(|| "nobody".into());
    let mut stream = BufReader::new(stream);
    while let Some(head) = Head::read(&mut stream)? {
        let body = match head.length()? {
            Some(length) => read_exactly(&mut stream, length)?,
            None if head.is_chunked() => read_chunked(&mut stream)?,
            None => Vec::new(),
        };
        let text = match head.start.contains(" /big ") {
            true => "x".repeat(10_000_000),
            false => format!("{name} {reused} {who} {}", body.len()),
        };
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len());
        stream.get_mut().write_all(answer.as_bytes())?;
        if head.first("connection").is_some_and(|it| it.eq_ignore_ascii_case("close")) {
            stream.get_mut().shutdown().map_err(std::io::Error::other)?;
            return Ok(());
        }
    }
    Ok(())
}
