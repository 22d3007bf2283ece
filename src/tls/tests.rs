//! Both sides over a pipe that takes a few bytes at a time.

use super::client::without_port;
use super::*;
use crate::config::diagnostic::{At, Diagnostics};
use crate::config::model::{PlacedText, Settings};
use openssl::asn1::Asn1Time;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::x509::{X509Builder, X509NameBuilder};
use std::future::poll_fn;
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// Writes `name.pem` and `name.key` into `folder`.
fn make(folder: &Path, name: &str) {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let mut subject = X509NameBuilder::new().unwrap();
    subject.append_entry_by_text("O", " #a, b; \"c\"").unwrap();
    subject.append_entry_by_text("CN", name).unwrap();
    let subject = subject.build();
    let mut builder = X509Builder::new().unwrap();
    builder.set_subject_name(&subject).unwrap();
    builder.set_issuer_name(&subject).unwrap();
    builder.set_pubkey(&key).unwrap();
    builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::days_from_now(9).unwrap()).unwrap();
    builder.sign(&key, MessageDigest::sha256()).unwrap();
    std::fs::write(folder.join(format!("{name}.pem")), builder.build().to_pem().unwrap()).unwrap();
    let key = key.private_key_to_pem_pkcs8().unwrap();
    std::fs::write(folder.join(format!("{name}.key")), key).unwrap();
}

fn placed(text: String) -> PlacedText {
    PlacedText { at: At::new("nginx.conf", 7), text }
}

struct Only(Server);

impl Names for Only {
    fn choose(&self, name: Option<&[u8]>) -> Choice<'_> {
        let known = name.is_none_or(|it| it == b"a.test");
        Choice { server: Some(&self.0).filter(|_| known), http2: true }
    }
}

/// A listener for `a.test`, and a client of it.
fn sides() -> (Endpoint, Client) {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path(), "a.test");
    let settings = Settings {
        ssl_certificate: Some(vec![placed("a.test.pem".into())]),
        ssl_certificate_key: Some(vec![placed("a.test.key".into())]),
        ..Settings::default()
    };
    let mut diagnostics = Diagnostics::default();
    let mut files = Files { base: folder.path(), diagnostics: &mut diagnostics };
    let server = server(&settings, AskedOf::default(), &At::default(), &mut files).unwrap();
    let client = Client::new(&Settings::default(), &At::default(), "proxy", &mut files).unwrap();
    assert_eq!(diagnostics, Diagnostics::default());
    (Endpoint::new(server.context().clone(), Arc::new(Only(server))), client)
}

type Stream = TlsStream<DuplexStream>;

/// A server and a client of `name` at the ends of a pipe of `bytes`, before their handshake.
fn pair(sides: &(Endpoint, Client), name: &str, bytes: usize) -> (Stream, Stream) {
    let (there, here) = tokio::io::duplex(bytes);
    let peer = Peer { address: "127.0.0.1:443", name, sends_name: true };
    let accepted = sides.0.accept().unwrap();
    let connected = sides.1.connect(peer).unwrap();
    let server = TlsStream::new(accepted, here, Default::default(), 4 * RECORD_BYTES).unwrap();
    (server, TlsStream::new(connected, there, Default::default(), RECORD_BYTES).unwrap())
}

async fn shake(stream: &mut Stream) -> Result<Established, String> {
    match poll_fn(|cx| stream.poll_handshake(cx)).await? {
        Shaken::Done(established) => Ok(*established),
        Shaken::Asked(question) => Err(format!("{question:?} is asked")),
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

#[test]
fn bytes_pass_whole_however_narrow_the_pipe() {
    run(async {
        for bytes in [7, 100, 1 << 20] {
            let (mut server, mut client) = pair(&sides(), "a.test:8443", bytes);
            let sent: Vec<u8> = (0..200_000u32).map(|it| (it % 251) as u8).collect();
            let copy = sent.clone();
            let serve = async {
                let agreed = shake(&mut server).await.unwrap();
                server.write_all(&sent).await.unwrap();
                server.shutdown().await.unwrap();
                agreed
            };
            let ask = async {
                shake(&mut client).await.unwrap();
                let mut received = Vec::new();
                client.read_to_end(&mut received).await.unwrap();
                received
            };
            let (agreed, received) = tokio::join!(serve, ask);
            assert!(received == copy, "over {bytes} bytes");
            assert_eq!(agreed.server_name.as_deref(), Some("a.test"));
            assert_eq!((agreed.protocol, agreed.verification().as_str()), ("TLSv1.3", "NONE"));
        }
    });
}

#[test]
fn an_idle_stream_holds_no_buffers() {
    run(async {
        let (mut server, mut client) = pair(&sides(), "a.test", 1 << 20);
        let shaken = tokio::join!(shake(&mut server), shake(&mut client));
        assert!(shaken.0.is_ok() && shaken.1.is_ok());
        server.write_all(&[1; 100_000]).await.unwrap();
        let mut received = vec![0; 100_000];
        client.read_exact(&mut received).await.unwrap();
        assert!(!client.is_loaded());
        for side in [client, server] {
            assert!(side.buffered() <= 1024, "{}", side.buffered());
        }
    });
}

#[test]
fn unknown_names_are_refused_by_an_alert() {
    run(async {
        let (mut server, mut client) = pair(&sides(), "b.test", 1 << 20);
        let (at_server, at_client) = tokio::join!(shake(&mut server), shake(&mut client));
        let (at_server, at_client) = (at_server.unwrap_err(), at_client.unwrap_err());
        assert!(at_server.starts_with("SSL_do_handshake() failed (SSL: error:0A"), "{at_server}");
        assert!(at_client.contains("tlsv1 unrecognized name"), "{at_client}");
    });
}

#[test]
fn names_are_those_of_rfc_2253() {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path(), "a.test");
    let pem = std::fs::read(folder.path().join("a.test.pem")).unwrap();
    let certificate = openssl::x509::X509::from_pem(&pem).unwrap();
    let name = established::distinguished_name(certificate.subject_name());
    assert_eq!(name, "CN=a.test,O=\\ #a\\, b\\; \\\"c\\\"");
}

#[test]
fn a_port_is_no_part_of_a_name() {
    for (text, name) in [
        ("a.test", "a.test"),
        ("a.test:443", "a.test"),
        ("[::1]:443", "[::1]"),
        ("::1", "::1"),
        ("", ""),
    ] {
        assert_eq!(without_port(text), name);
    }
}
