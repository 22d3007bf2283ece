//! Cosockets of a running gateway: TLS with sessions and its faults, names, unix sockets, and that
//! a request's sockets go with it.

use crate::harness::client::{Client, get};
use crate::harness::dns::{Dns, Records};
use crate::harness::server::{Kind, Server, Setup};
use openssl::asn1::Asn1Time;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::ssl::{SslAcceptor, SslMethod};
use openssl::x509::extension::SubjectAlternativeName;
use openssl::x509::{X509, X509NameBuilder};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::net::UnixListener;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// A certificate for `name`, signed by its own key.
fn certificate(name: &str) -> (X509, PKey<Private>) {
    let key = PKey::from_rsa(Rsa::generate(2048).expect("a key")).expect("a key");
    let mut subject = X509NameBuilder::new().expect("a name");
    subject.append_entry_by_text("CN", name).expect("a name");
    let subject = subject.build();
    let mut builder = X509::builder().expect("a certificate");
    builder.set_version(2).expect("version 3");
    builder.set_subject_name(&subject).expect("a subject");
    builder.set_issuer_name(&subject).expect("an issuer");
    builder.set_pubkey(&key).expect("a key");
    builder.set_not_before(&Asn1Time::days_from_now(0).expect("now")).expect("a beginning");
    builder.set_not_after(&Asn1Time::days_from_now(2).expect("soon")).expect("an end");
    let names = SubjectAlternativeName::new()
        .dns(name)
        .build(&builder.x509v3_context(None, None))
        .expect("an alternative name");
    builder.append_extension(names).expect("an extension");
    builder.sign(&key, MessageDigest::sha256()).expect("a signature");
    (builder.build(), key)
}

/// A TLS server that tells each client its server name and whether its session was resumed, then
/// sends back what it says; gives its port and its certificate.
fn tls_echo(name: &str) -> (u16, Vec<u8>) {
    let (certificate, key) = certificate(name);
    let pem = certificate.to_pem().expect("text");
    let mut acceptor = SslAcceptor::mozilla_intermediate(SslMethod::tls_server()).expect("TLS");
    acceptor.set_certificate(&certificate).expect("a certificate");
    acceptor.set_private_key(&key).expect("its key");
    acceptor.set_session_id_context(b"moongate").expect("a context");
    let acceptor = acceptor.build();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("a port").port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let Ok(mut stream) = acceptor.accept(stream) else { continue };
            thread::spawn(move || {
                let ssl = stream.ssl();
                let name = ssl.servername(openssl::ssl::NameType::HOST_NAME).unwrap_or("-");
                let hello = format!("{name} {}\n", ssl.session_reused());
                let _ = stream.write_all(hello.as_bytes());
                let mut room = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut room) {
                    if stream.write_all(&room[..count]).is_err() {
                        break;
                    }
                }
            });
        }
    });
    (port, pem)
}

/// A gateway whose `/` runs `code`, with `say` for `ngx.say`.
fn scripted(setup: Setup, settings: &str, code: &str) -> Server {
    setup.start(&format!(
        "http {{ server {{ listen 127.0.0.1:$PORT; {settings}\nlocation / {{\n\
         content_by_lua_block {{ local say, tcp = ngx.say, ngx.socket.tcp\n{code} }} }} }} }}"
    ))
}

#[test]
fn tls_is_spoken_and_sessions_are_resumed() {
    let (port, pem) = tls_echo("peer.test");
    let setup = Setup::new(Kind::Moongate)
        .with("TLS", port)
        .file("conf/ca.pem", &String::from_utf8(pem).expect("text"));
    let server = scripted(
        setup,
        "lua_ssl_trusted_certificate ca.pem;",
        r#"
        local function open(session, name, verify)
            local sock = tcp()
            assert(sock:connect("127.0.0.1", $TLS))
            return sock, sock:sslhandshake(session, name, verify)
        end
        local sock, session, err = open(nil, "peer.test", true)
        say(type(session), " ", err)
        say(sock:receive())
        say(sock:send({ "hel", "lo\n" }), " ", sock:receive())
        say(sock:sslhandshake(session) == session)
        say(sock:setkeepalive())
        say(sock:connect("127.0.0.1", $TLS), " ", sock:getreusedtimes())
        say(sock:sslhandshake(session, "peer.test", true) == session)
        sock:send("again\n")
        say(sock:receive())
        sock:close()
        local again, renewed = open(session, "peer.test", true)
        say(again:receive(), " ", type(renewed))
        local plain, ok = open(false, "peer.test")
        say(ok, " ", plain:receive())
        say(select(3, open(nil, "other.test", true)))
        local unnamed = open(nil, nil, false)
        say(unnamed:receive())
        local reader = ngx.thread.spawn(function() return #assert(unnamed:receive()) end)
        say(unnamed:send(("x"):rep(1e6) .. "\n"), " ", (select(2, ngx.thread.wait(reader))))
        collectgarbage()
        "#,
    );
    let text = get(server.port(), "/").text();
    // OpenSSL's server tells no name of a resumed session.
    let expected = "cdata nil\npeer.test false\n6 hello\ntrue\n1\n1 1\ntrue\nagain\n- true cdata\n\
                    true peer.test false\ncertificate host mismatch\n- false\n1000001 1000000\n";
    assert_eq!(text, expected);
    server.expect_logged("lua ssl certificate does not match host \"other.test\"");
}

#[test]
fn a_certificate_of_nobody_and_no_tls_are_told_apart() {
    let (port, _) = tls_echo("peer.test");
    let setup = Setup::new(Kind::Moongate).with("TLS", port);
    let server = scripted(
        setup,
        "location /plain { return 200 x; }",
        r#"
        local sock = tcp()
        assert(sock:connect("127.0.0.1", $TLS))
        say(sock:sslhandshake(nil, "peer.test", true))
        say(sock:send("x"))
        assert(sock:connect("127.0.0.1", $PORT))
        say(sock:sslhandshake(nil, "peer.test", true))
        say(sock:sslhandshake())
        say(select(2, pcall(sock.sslhandshake, sock, 1, 2, 3, 4, 5)))
        "#,
    );
    let text = get(server.port(), "/").text();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("nil18: self-signed certificate"));
    assert_eq!(lines.next(), Some("nilclosed"));
    assert_eq!(lines.next(), Some("nilhandshake failed"));
    assert_eq!(lines.next(), Some("nilclosed"));
    assert!(lines.next().is_some_and(|it| it.ends_with("but seen 6")), "{text}");
    server.expect_logged("lua ssl certificate verify error: (18: self-signed certificate)");
}

#[test]
fn what_lua_ssl_names_must_be_there() {
    let exit = Setup::new(Kind::Moongate).run_to_end(
        "http { server { listen 127.0.0.1:$PORT; lua_ssl_trusted_certificate no.pem; } }",
    );
    assert!(exit.said.contains("SSL_CTX_load_verify_locations("), "{}", exit.said);
}

#[test]
fn names_are_resolved_and_unix_sockets_found() {
    let dns = Dns::start(1);
    dns.set("here.test", Records::Addresses(vec![Ipv4Addr::LOCALHOST]));
    dns.set("broken.test", Records::Code(2));
    let setup = Setup::new(Kind::Moongate).with("DNS", format!("127.0.0.1:{}", dns.port));
    let path = setup.prefix().join("peer.sock");
    let listener = UnixListener::bind(&path).expect("a unix socket");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(&stream).lines();
            while let Some(Ok(line)) = lines.next() {
                let _ = writeln!(&stream, "{line}!");
            }
        }
    });
    let server = scripted(
        setup,
        "resolver $DNS ipv6=off; resolver_timeout 500ms;",
        r#"
        local sock = tcp()
        say(sock:connect("here.test", $PORT))
        say(sock:connect("gone.test", $PORT))
        say(sock:connect("broken.test", $PORT))
        say(sock:connect("unix:$PREFIX/peer.sock"))
        sock:send("hello\n")
        say(sock:receive(), " ", sock:setkeepalive(), " ", sock:connect("unix:$PREFIX/peer.sock"),
            " ", sock:getreusedtimes())
        "#,
    );
    let expected = "1\nnilgone.test could not be resolved (3: Host not found)\n\
                    nilbroken.test could not be resolved (2: Server failure)\n1\nhello! 1 1 1\n";
    assert_eq!(get(server.port(), "/").text(), expected);
}

#[test]
fn the_sockets_of_a_request_go_with_it_and_idle_ones_stay() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("a port").port();
    let (tell, ended) = mpsc::channel();
    thread::spawn(move || {
        for (index, stream) in listener.incoming().flatten().enumerate() {
            let tell = tell.clone();
            thread::spawn(move || {
                let mut stream = stream;
                let _ = stream.read_to_end(&mut Vec::new());
                let _ = tell.send(index);
            });
        }
    });
    let server = scripted(
        Setup::new(Kind::Moongate).with("PEER", port),
        "",
        r#"
        kept = kept or {}
        local left = tcp()
        assert(left:connect("127.0.0.1", $PEER))
        kept[#kept + 1] = left
        local idle = tcp()
        assert(idle:connect("127.0.0.1", $PEER))
        say(idle:setkeepalive(300))
        "#,
    );
    let mut client = Client::connect(server.port()).expect("a connection");
    assert_eq!(client.get("/").expect("an answer").text(), "1\n");
    // The first is closed though a script holds it, the second when its time is up.
    assert_eq!(ended.recv_timeout(Duration::from_secs(5)), Ok(0));
    assert_eq!(ended.recv_timeout(Duration::from_secs(5)), Ok(1));
}
