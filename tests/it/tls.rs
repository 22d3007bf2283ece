//! TLS with clients: certificates, names, sessions, what is refused.

use crate::harness::PATIENCE;
use crate::harness::client::{Client, get, request};
use crate::harness::origin::Origin;
use crate::harness::server::{Kind, Server, Setup};
use crate::harness::tls::{Identity, client, connector, stream, two_certificates};
use crate::harness::{eventually, settles};
use openssl::ssl::{
    HandshakeError, SslConnector, SslSession, SslSessionCacheMode, SslStream, SslVersion,
};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::Instant;

const A: &str = "ssl_certificate a.pem; ssl_certificate_key a.key;";
const B: &str = "ssl_certificate b.pem; ssl_certificate_key b.key;";

/// Whose certificate the server of `name` shows.
fn shown(connector: &SslConnector, port: u16, name: &str) -> String {
    let stream = stream(connector, port, name).expect("a handshake");
    let certificate = stream.ssl().peer_certificate().expect("servers show one");
    let subject = certificate.subject_name().entries().last().expect("it has a name");
    subject.data().to_string().expect("in ASCII")
}

#[test]
fn requests_go_over_tls_and_their_variables_tell() {
    let server = two_certificates().start(&format!(
        "http {{ server {{ listen 127.0.0.1:$PORT ssl; server_name a.test; {A}\n\
         return 200 \"$scheme $https $ssl_protocol $ssl_cipher $ssl_server_name \
         $ssl_session_reused $server_protocol [$http2] $ssl_client_verify\"; }} }}"
    ));
    let mut client = client(server.port(), "a.test");
    for _ in 0..3 {
        let answer = client.get("/").expect("an answer");
        let expected = "https on TLSv1.3 TLS_AES_256_GCM_SHA384 a.test . HTTP/1.1 [] NONE";
        assert_eq!(answer.text(), expected);
    }
}

#[test]
fn the_name_picks_the_certificate() {
    let server = two_certificates().start(&format!(
        "http {{ server {{ listen 127.0.0.1:$PORT ssl; server_name a.test; {A} return 200 a; }}\n\
         server {{ listen 127.0.0.1:$PORT; server_name b.test *.b.test; {B} return 200 b; }}\n\
         server {{ listen 127.0.0.1:$PORT; server_name none.test; return 200 none; }} }}"
    ));
    let connector = connector().build();
    for (name, expected) in [
        ("a.test", "a.test"),
        ("b.test", "b.test"),
        ("B.Test", "b.test"),
        ("x.b.test", "b.test"),
        ("unknown.test", "a.test"),
        ("none.test", "a.test"),
        ("", "a.test"),
    ] {
        assert_eq!(shown(&connector, server.port(), name), expected, "{name:?}");
    }
}

#[test]
fn a_client_gets_the_certificate_whose_algorithm_it_knows() {
    let (rsa, ec) = (Identity::rsa("rsa.test"), Identity::new("ec.test"));
    let server = Setup::new(Kind::Moongate)
        .file("conf/rsa.pem", &rsa.pem())
        .file("conf/rsa.key", &rsa.key_pem())
        .file("conf/ec.pem", &ec.pem())
        .file("conf/ec.key", &ec.key_pem())
        .start(
            "http { server { listen 127.0.0.1:$PORT ssl; return 200 x;\n\
             ssl_certificate rsa.pem; ssl_certificate_key rsa.key;\n\
             ssl_certificate ec.pem; ssl_certificate_key ec.key; } }",
        );
    for (algorithms, expected) in [("RSA-PSS+SHA256", "rsa.test"), ("ECDSA+SHA256", "ec.test")] {
        let mut connector = connector();
        connector.set_sigalgs_list(algorithms).expect("algorithms");
        assert_eq!(shown(&connector.build(), server.port(), ""), expected);
    }
}

#[test]
fn names_can_be_refused() {
    let server = two_certificates().start(&format!(
        "http {{ server {{ listen 127.0.0.1:$PORT ssl; ssl_reject_handshake on; }}\n\
         server {{ listen 127.0.0.1:$PORT ssl; server_name b.test; {B} return 200 b; }} }}"
    ));
    let mut named = client(server.port(), "b.test");
    named.send("GET / HTTP/1.1\r\nHost: b.test\r\n\r\n").expect("it reads");
    assert_eq!(named.response("GET").expect("an answer").text(), "b");
    let refused = stream(&connector().build(), server.port(), "a.test").unwrap_err().to_string();
    assert!(refused.contains("unrecognized name"), "{refused}");
    assert!(stream(&connector().build(), server.port(), "").is_err());
    server.expect_logged("SSL_do_handshake() failed (SSL: ");
    server.expect_logged("while SSL handshaking, client: 127.0.0.1, server: 127.0.0.1:");
}

#[test]
fn http_without_tls_is_told_so() {
    let server = two_certificates().start(&format!(
        "http {{ {A} server {{ listen 127.0.0.1:$PORT ssl; return 200 x; }}\n\
         server {{ listen 127.0.0.1:$PORT2 ssl; error_page 497 =307 https://$host$request_uri;\n\
         return 200 x; }} }}"
    ));
    let answer = get(server.port(), "/");
    assert_eq!(answer.status(), 400);
    assert!(answer.text().contains("The plain HTTP request was sent to HTTPS port"));
    let answer = get(server.named_port("PORT2"), "/a?b");
    assert_eq!((answer.status(), answer.header("location")), (307, Some("https://localhost/a?b")));
}

#[test]
fn a_handshake_has_the_time_of_a_head() {
    let server = two_certificates().start(&format!(
        "http {{ client_header_timeout 300ms;\n\
         server {{ listen 127.0.0.1:$PORT ssl; {A} return 200 x; }} }}"
    ));
    // Silent; half a hello; and one who is silent behind the handshake.
    for begun in [&b""[..], b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"] {
        let began = Instant::now();
        let mut client = Client::connect(server.port()).expect("it listens");
        client.send(begun).expect("it reads");
        client.rest().expect("it closes");
        assert!(began.elapsed() < PATIENCE / 2);
    }
    let mut silent = client(server.port(), "a.test");
    assert!(silent.rest().expect("a farewell").is_empty());
    server.expect_logged("client timed out (110: Connection timed out) while SSL handshaking");
    server.expect_logged("while reading client request headers");
}

#[test]
fn bodies_of_any_size_go_through() {
    let origin = Origin::start(|it| {
        crate::harness::origin::Answer::ok(&format!(
            "{} {}",
            it.body.len(),
            it.body.iter().map(|it| u64::from(*it)).sum::<u64>()
        ))
    });
    let server =
        two_certificates().with("ORIGIN", format!("127.0.0.1:{}", origin.port)).start(&format!(
            "http {{ client_max_body_size 0; server {{ listen 127.0.0.1:$PORT ssl; {A}\n\
         location / {{ proxy_pass http://$ORIGIN; }}\n\
         location /big {{ content_by_lua_block {{\n\
         for i = 1, 1000 do ngx.print(string.rep(string.char(65 + i % 26), 10000)) end }} }} }} }}"
        ));
    for length in [0, 1, 16_383, 16_384, 16_385, 65_536, 10_000_000] {
        let body: Vec<u8> = (0..length).map(|it: usize| (it % 251) as u8).collect();
        let sum: u64 = body.iter().map(|it| u64::from(*it)).sum();
        let mut client = client(server.port(), "a.test");
        let head = format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {length}\r\n\r\n");
        client.send([head.as_bytes(), &body].concat()).expect("it reads");
        assert_eq!(client.response("POST").expect("an answer").text(), format!("{length} {sum}"));
    }
    let answer = client(server.port(), "a.test").get("/big").expect("an answer");
    assert_eq!(answer.body.len(), 10_000_000);
    let is_right = |(at, byte): (usize, &u8)| *byte == b'A' + ((at / 10_000 + 1) % 26) as u8;
    assert!(answer.body.iter().enumerate().all(is_right));
}

/// A connector that keeps its last session, and that session.
pub fn remembering(version: SslVersion) -> (SslConnector, Arc<Mutex<Option<SslSession>>>) {
    let mut builder = connector();
    builder.set_max_proto_version(Some(version)).expect("a version");
    builder.set_session_cache_mode(SslSessionCacheMode::CLIENT);
    let kept = Arc::new(Mutex::new(None));
    let keeper = Arc::clone(&kept);
    builder.set_new_session_callback(move |_, session| {
        *keeper.lock().expect("nobody panics") = Some(session);
    });
    (builder.build(), kept)
}

/// `$ssl_session_reused` of a second connection, and the name of its cipher.
pub fn resumes(server: &Server, version: SslVersion) -> String {
    resumes_when(server, version, || {})
}

/// Connects as `a.test`, with the session that was kept if there is one.
pub fn offering(
    connector: &SslConnector,
    kept: &Mutex<Option<SslSession>>,
    port: u16,
) -> Result<SslStream<TcpStream>, HandshakeError<TcpStream>> {
    let tcp = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    tcp.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let settings = connector.configure().expect("settings").verify_hostname(false);
    let mut ssl = settings.into_ssl("a.test").expect("a connection");
    if let Some(session) = kept.lock().expect("nobody panics").as_ref() {
        // SAFETY: the session is of the same context.
        unsafe { ssl.set_session(session).expect("it fits") };
    }
    ssl.connect(tcp)
}

/// The same with a `wait` after each connection.
pub fn resumes_when(server: &Server, version: SslVersion, wait: impl Fn()) -> String {
    let (connector, kept) = remembering(version);
    let mut said = String::new();
    for _ in 0..2 {
        let handshake = offering(&connector, &kept, server.port());
        let mut stream = Client::over(handshake.expect("a handshake"));
        said = stream.get("/").expect("an answer").text();
        // OpenSSL forgets the session of a connection that just breaks off.
        stream.stream().shutdown().expect("a farewell");
        wait();
    }
    said
}

#[test]
fn sessions_are_resumed_by_ticket_or_from_the_cache_of_all_workers() {
    let with = |settings: &str| {
        two_certificates().start(&format!(
            "worker_processes 2; events {{}} http {{ server {{ listen 127.0.0.1:$PORT ssl;\n\
             {A} {settings} return 200 \"$ssl_protocol $ssl_session_reused\"; }} }}"
        ))
    };
    let tickets = with("");
    assert_eq!(resumes(&tickets, SslVersion::TLS1_2), "TLSv1.2 r");
    assert_eq!(resumes(&tickets, SslVersion::TLS1_3), "TLSv1.3 r");
    let cache = with("ssl_session_tickets off; ssl_session_cache shared:a:1m;");
    for _ in 0..4 {
        assert_eq!(resumes(&cache, SslVersion::TLS1_2), "TLSv1.2 r");
        assert_eq!(resumes(&cache, SslVersion::TLS1_3), "TLSv1.3 r");
    }
    let neither = with("ssl_session_tickets off; ssl_session_cache none;");
    assert_eq!(resumes(&neither, SslVersion::TLS1_2), "TLSv1.2 .");
    let metrics = get(cache.named_port("ADMIN"), "/metrics").text();
    assert!(metrics.contains("moongate_tls_handshakes_total{result=\"resumed\"} 8"), "{metrics}");
}

#[test]
fn what_is_no_certificate_is_refused_where_it_is_named() {
    for (settings, line, expected) in [
        ("", 1, "no \"ssl_certificate\" is defined for the \"listen ... ssl\" directive"),
        ("ssl_certificate a.pem;", 2, "no \"ssl_certificate_key\" is defined for certificate"),
        (
            "\nssl_certificate no.pem; ssl_certificate_key a.key;",
            3,
            "conf/no.pem\": BIO_new_file() failed (2: No such file or directory)",
        ),
        (
            "ssl_certificate bad; ssl_certificate_key a.key;",
            2,
            "conf/bad\": PEM_read_bio_X509_AUX() failed (SSL: error:0480006C:PEM routines::no start",
        ),
        (
            "ssl_certificate a.pem;\nssl_certificate_key bad;",
            3,
            "conf/bad\": PEM_read_bio_PrivateKey() failed (SSL: error:1E08010C:DECODER routines::",
        ),
        (
            "ssl_certificate a.pem;\nssl_certificate_key b.key;",
            3,
            "conf/b.key\") failed (SSL: error:05800074:x509 certificate routines::key values",
        ),
        (
            "ssl_certificate_key a.key; ssl_certificate a.pem;\n\nssl_ciphers NONE_SUCH;",
            4,
            "SSL_CTX_set_cipher_list(\"NONE_SUCH\") failed (SSL: error:0A0000B9:SSL routines::no",
        ),
        (
            "ssl_certificate a.pem; ssl_certificate_key a.key;\nssl_dhparam bad;",
            3,
            "conf/bad\") failed (SSL: error:0480006C:PEM routines::no start line",
        ),
        (
            "ssl_certificate a.pem; ssl_certificate_key a.key;\nssl_ecdh_curve none_such;",
            3,
            "SSL_CTX_set1_curves_list(\"none_such\") failed (SSL: ",
        ),
        (
            "ssl_certificate a.pem; ssl_certificate_key a.key; ssl_verify_client on;",
            1,
            "no ssl_client_certificate for ssl_verify_client",
        ),
    ] {
        let exit = two_certificates().file("conf/bad", "no PEM\n").run_to_end(&format!(
            "http {{ server {{ listen 127.0.0.1:$PORT ssl; return 200 x;\n{settings} }} }}"
        ));
        let said = exit.said;
        assert!(!exit.status.success() && said.contains(expected), "{settings}: {said}");
        assert!(said.contains(&format!("moongate.conf:{line}: ")), "{settings}: {said}");
    }
}

#[test]
fn a_reload_brings_new_certificates_and_keeps_connections() {
    let text = format!(
        "http {{ server {{ listen 127.0.0.1:$PORT ssl; {A} return 200 $ssl_server_name; }} }}"
    );
    let mut server = two_certificates().start(&text);
    let connector = connector().build();
    let mut old = client(server.port(), "old.test");
    assert_eq!(old.get("/").expect("an answer").text(), "old.test");
    server.rewrite_conf(&text.replace(A, "ssl_certificate a.pem; ssl_certificate_key b.key;"));
    server.signal(libc::SIGHUP);
    server.expect_logged("key values mismatch");
    assert_eq!(shown(&connector, server.port(), "x.test"), "a.test");
    server.rewrite_conf(&text.replace(A, B));
    server.signal(libc::SIGHUP);
    settles("the new certificate is shown", "b.test".to_owned(), || {
        shown(&connector, server.port(), "x.test")
    });
    assert_eq!(old.get("/").expect("an answer").text(), "old.test");
}

#[test]
fn clients_show_who_they_are() {
    let (ours, theirs) = (Identity::new("our CA"), Identity::new("their CA"));
    let server = two_certificates().file("conf/ca.pem", &ours.pem()).start(&format!(
        "http {{ {A} ssl_client_certificate ca.pem;\n\
         server {{ listen 127.0.0.1:$PORT ssl; server_name a.test; ssl_verify_client on;\n\
         return 200 \"$ssl_client_verify $ssl_client_s_dn|$ssl_client_i_dn\"; }}\n\
         server {{ listen 127.0.0.1:$PORT2 ssl; ssl_verify_client optional;\n\
         return 200 $ssl_client_verify; }}\n\
         server {{ listen 127.0.0.1:$PORT3 ssl; ssl_verify_client optional_no_ca;\n\
         return 200 $ssl_client_verify; }} }}"
    ));
    let ask = |port: &str, who: Option<Identity>| {
        let mut connector = connector();
        if let Some(who) = who {
            connector.set_certificate(&who.certificate).expect("a certificate");
            connector.set_private_key(&who.key).expect("its key");
        }
        let stream = stream(&connector.build(), server.named_port(port), "a.test");
        let mut client = Client::over(stream.expect("a handshake"));
        client
            .send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
            .and_then(|()| client.response("GET"))
            .expect("an answer")
    };
    let good = ask("PORT", Some(ours.signs("me, myself", 5)));
    let names = "CN=me\\, myself,O=Moongate\\, tests|CN=our CA,O=Moongate\\, tests";
    assert_eq!(good.text(), format!("SUCCESS {names}"));
    let none = ask("PORT", None);
    assert_eq!(none.status(), 400);
    assert!(none.text().contains("No required SSL certificate was sent"));
    let expired = ask("PORT", Some(ours.signs("me", -5)));
    assert!(expired.text().contains("The SSL certificate error"), "{}", expired.text());
    server.expect_logged("client SSL certificate verify error: (10:certificate has expired)");
    assert_eq!(ask("PORT2", Some(theirs.signs("me", 5))).status(), 400);
    assert_eq!(ask("PORT2", None).text(), "NONE");
    let unknown = ask("PORT3", Some(theirs.signs("me", 5))).text();
    assert_eq!(unknown, "FAILED:unable to verify the first certificate");
    // One server's handshake is not another's.
    let mut other = client(server.port(), "b.test");
    let answer = other.request("GET", "/", "").expect("an answer");
    assert_eq!(answer.status(), 421);
}

#[test]
fn a_response_ends_with_a_farewell() {
    let server = two_certificates()
        .start(&format!("http {{ server {{ listen 127.0.0.1:$PORT ssl; {A} return 200 x; }} }}"));
    let mut stream = stream(&connector().build(), server.port(), "a.test").expect("a handshake");
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("it reads");
    let mut answer = Vec::new();
    // Without a farewell this is an error: OpenSSL is not told to live with it.
    stream.read_to_end(&mut answer).expect("an end in order");
    assert!(answer.ends_with(b"\r\n\r\nx"));
}

#[test]
fn an_expired_certificate_is_served_with_a_warning() {
    let ca = Identity::new("our CA");
    let old = ca.signs("a.test", -5);
    let server = two_certificates()
        .file("conf/a.pem", &old.pem())
        .file("conf/a.key", &old.key_pem())
        .start(&format!("http {{ server {{ listen 127.0.0.1:$PORT ssl; {A} return 200 x; }} }}"));
    assert_eq!(client(server.port(), "a.test").get("/").expect("an answer").text(), "x");
    assert!(server.said().contains("conf/a.pem\" has expired: it was good until "));
    let status = request(server.port(), "GET", "/", "").status();
    assert_eq!(status, 400);
    eventually("handshakes are counted", || {
        let text = get(server.named_port("ADMIN"), "/metrics").text();
        text.contains("moongate_tls_handshakes_total{result=\"full\"} 1").then_some(())
    });
}
