//! TLS with upstreams: names, certificates, sessions, kept connections, faults.

use crate::harness::client::{Client, get};
use crate::harness::origin::Origin;
use crate::harness::server::{Kind, Server, Setup};
use crate::harness::settles;
use crate::harness::tls::{Identity, TlsOrigin};
use std::net::TcpListener;
use std::time::Instant;

/// An authority, and an origin for `origin.test` that it has signed.
fn origin() -> (Identity, TlsOrigin) {
    let authority = Identity::new("our CA");
    let origin = TlsOrigin::start(&authority.signs("origin.test", 5), None);
    (authority, origin)
}

fn setup(authority: &Identity, origin: &TlsOrigin) -> Setup {
    Setup::new(Kind::Moongate)
        .file("conf/ca.pem", &authority.pem())
        .with("ORIGIN", format!("127.0.0.1:{}", origin.port))
}

fn start(setup: Setup, settings: &str) -> Server {
    setup.start(&format!(
        "http {{ log_format s $status; access_log logs/access.log s;\n\
         server {{ listen 127.0.0.1:$PORT; {settings} }} }}"
    ))
}

#[test]
fn the_name_is_sent_where_it_is_asked_for() {
    let (authority, origin) = origin();
    let server = start(
        setup(&authority, &origin),
        "location /a { proxy_pass https://$ORIGIN; }\n\
         location /b { proxy_pass https://$ORIGIN; proxy_ssl_server_name on; }\n\
         location /c { proxy_pass https://$ORIGIN; proxy_ssl_server_name on;\n\
         proxy_ssl_name $arg_n:8443; }\n\
         location /d { set $u https://$ORIGIN; proxy_pass $u; proxy_ssl_server_name on;\n\
         proxy_ssl_name d.test; }",
    );
    for (uri, expected) in
        [("/a", "none"), ("/b", "none"), ("/c?n=c.test", "c.test"), ("/d", "d.test")]
    {
        let text = get(server.port(), uri).text();
        assert_eq!(text.split(' ').next(), Some(expected), "{uri}: {text}");
    }
}

#[test]
fn certificates_are_verified_where_it_is_asked_for() {
    let (authority, origin) = origin();
    let expired = TlsOrigin::start(&authority.signs("origin.test", -5), None);
    let server = start(
        setup(&authority, &origin)
            .file("conf/other.pem", &Identity::new("other CA").pem())
            .with("EXPIRED", format!("127.0.0.1:{}", expired.port)),
        "proxy_ssl_verify on; proxy_ssl_trusted_certificate ca.pem; proxy_ssl_name origin.test;\n\
         location /good { proxy_pass https://$ORIGIN; }\n\
         location /name { proxy_pass https://$ORIGIN; proxy_ssl_name other.test; }\n\
         location /signer { proxy_pass https://$ORIGIN;\n\
         proxy_ssl_trusted_certificate other.pem; }\n\
         location /expired { proxy_pass https://$EXPIRED; }\n\
         location /lax { proxy_pass https://$EXPIRED; proxy_ssl_verify off; }",
    );
    assert_eq!(get(server.port(), "/good").status(), 200);
    assert_eq!(get(server.port(), "/lax").status(), 200);
    for (uri, why) in [
        ("/name", "upstream SSL certificate does not match \"other.test\""),
        (
            "/signer",
            "upstream SSL certificate verify error: (21:unable to verify the first certificate)",
        ),
        ("/expired", "upstream SSL certificate verify error: (10:certificate has expired)"),
    ] {
        assert_eq!(get(server.port(), uri).status(), 502, "{uri}");
        server.expect_logged(why);
    }
    server.expect_logged("while SSL handshaking to upstream, client: 127.0.0.1, server: ");
    server.expect_logged(&format!("upstream: \"https://127.0.0.1:{}/name\"", origin.port));
}

#[test]
fn a_certificate_of_ours_is_shown() {
    let authority = Identity::new("our CA");
    let origin = TlsOrigin::start(&authority.signs("origin.test", 5), Some(&authority));
    let me = authority.signs("gateway", 5);
    let server = start(
        setup(&authority, &origin)
            .file("conf/me.pem", &me.pem())
            .file("conf/me.key", &me.key_pem()),
        "location /me { proxy_pass https://$ORIGIN;\n\
         proxy_ssl_certificate me.pem; proxy_ssl_certificate_key me.key; }\n\
         location /nobody { proxy_pass https://$ORIGIN; proxy_http_version 1.1; }",
    );
    assert!(get(server.port(), "/me").text().contains(" gateway 0"));
    assert_eq!(get(server.port(), "/nobody").status(), 502);
}

#[test]
fn connections_are_kept_apart_and_sessions_resumed() {
    let (authority, origin) = origin();
    let server = setup(&authority, &origin).start(
        "http { upstream u { server $ORIGIN; keepalive 8; }\n\
         server { listen 127.0.0.1:$PORT; proxy_http_version 1.1; proxy_ssl_server_name on;\n\
         proxy_set_header Connection $http_x;\n\
         location /a { proxy_pass https://u; proxy_ssl_name a.test; }\n\
         location /a/2 { proxy_pass https://u; proxy_ssl_name a.test; }\n\
         location /b { proxy_pass https://u; proxy_ssl_name b.test; }\n\
         location /v { proxy_pass https://u; proxy_ssl_name a.test; proxy_ssl_protocols TLSv1.2; }\n\
         location /none { proxy_pass https://u; proxy_ssl_name n.test;\n\
         proxy_ssl_session_reuse off; } } }",
    );
    let ask = |uri: &str, fields: &str| {
        crate::harness::client::request(server.port(), "GET", uri, fields).text()
    };
    for (uri, expected, connections) in [
        ("/a", "a.test false nobody 0", 1),
        ("/a", "a.test false nobody 0", 1),
        ("/a/2", "a.test false nobody 0", 1),
        ("/b", "b.test false nobody 0", 2),
        ("/v", "a.test false nobody 0", 3),
        ("/a", "a.test false nobody 0", 3),
    ] {
        assert_eq!((ask(uri, "").as_str(), origin.connections()), (expected, connections), "{uri}");
    }
    // What closes its connection leaves its session.
    for expected in ["n.test false nobody 0"; 3] {
        assert_eq!(ask("/none", "X: close\r\n"), expected);
    }
    assert_eq!(ask("/b", "X: close\r\n"), "b.test false nobody 0");
    for _ in 0..2 {
        assert_eq!(ask("/b", "X: close\r\n"), "b.test true nobody 0");
    }
}

#[test]
fn bodies_of_any_size_go_through() {
    let (authority, origin) = origin();
    let server = start(
        setup(&authority, &origin),
        "client_max_body_size 0; location / { proxy_pass https://$ORIGIN; }",
    );
    for length in [0, 1, 4096, 4097, 16_384, 65_537, 5_000_000] {
        let mut client = Client::connect(server.port()).expect("it listens");
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        client.send([head.into_bytes(), vec![b'y'; length]].concat()).expect("it reads");
        let answer = client.response("POST").expect("an answer");
        assert_eq!(answer.text(), format!("none {} nobody {length}", length > 0), "{length}");
    }
    assert_eq!(get(server.port(), "/big").body.len(), 10_000_000);
}

#[test]
fn who_speaks_no_tls_is_a_bad_gateway_and_the_next_is_tried() {
    let (authority, origin) = origin();
    let plain = Origin::saying("plain");
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent_port = silent.local_addr().expect("a port").port();
    let server = setup(&authority, &origin)
        .with("PLAIN", format!("127.0.0.1:{}", plain.port))
        .with("SILENT", format!("127.0.0.1:{silent_port}"))
        .start(
            "http { upstream both { server $PLAIN; server $ORIGIN; }\n\
             server { listen 127.0.0.1:$PORT; proxy_connect_timeout 300ms;\n\
             location /plain { proxy_pass https://127.0.0.1:$PORT2; }\n\
             location /silent { proxy_pass https://$SILENT; }\n\
             location /both { proxy_pass https://both; } }\n\
             server { listen 127.0.0.1:$PORT2; return 200 x; } }",
        );
    assert_eq!(get(server.port(), "/plain").status(), 502);
    server.expect_logged(
        "SSL_do_handshake() failed (SSL: error:0A00010B:SSL routines::wrong version number) while \
         SSL handshaking to upstream",
    );
    let began = Instant::now();
    assert_eq!(get(server.port(), "/silent").status(), 504);
    assert!(began.elapsed() < crate::harness::PATIENCE / 2);
    server.expect_logged("upstream timed out (110: Connection timed out) while SSL handshaking to");
    for _ in 0..2 {
        assert_eq!(get(server.port(), "/both").status(), 200);
    }
    assert!(plain.received().is_empty(), "nothing was said in the clear");
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let (authority, origin) = origin();
    for (settings, expected) in [
        ("proxy_ssl_verify on;", "no proxy_ssl_trusted_certificate for proxy_ssl_verify"),
        (
            "proxy_ssl_certificate ca.pem;",
            "no \"proxy_ssl_certificate_key\" is defined for certificate \"ca.pem\"",
        ),
        ("proxy_ssl_verify on; proxy_ssl_trusted_certificate no.pem;", "conf/no.pem\": BIO_new_fi"),
        ("proxy_ssl_ciphers NONE_SUCH;", "SSL_CTX_set_cipher_list(\"NONE_SUCH\") failed (SSL: "),
    ] {
        let exit = setup(&authority, &origin).run_to_end(&format!(
            "http {{ server {{ listen 127.0.0.1:$PORT;\nlocation / {{\n\
             proxy_pass https://$ORIGIN; {settings} }} }} }}"
        ));
        assert!(!exit.status.success() && exit.said.contains(expected), "{}", exit.said);
        assert!(exit.said.contains("moongate.conf:"), "{}", exit.said);
    }
}

#[test]
fn health_checks_speak_tls_where_a_location_does() {
    let (authority, origin) = origin();
    let text = "http { upstream u { server $ORIGIN; health_check interval=20ms mandatory; }\n\
         server { listen 127.0.0.1:$PORT; location / { proxy_pass https://u;\n\
         proxy_ssl_verify on; proxy_ssl_trusted_certificate ca.pem; proxy_ssl_name NAME; } } }";
    let server = setup(&authority, &origin).start(&text.replace("NAME", "origin.test"));
    settles("it is healthy", 200, || get(server.port(), "/").status());
    let server = setup(&authority, &origin).start(&text.replace("NAME", "other.test"));
    server.expect_logged(
        "is unhealthy: upstream SSL certificate does not match \"other.test\", 1 of 1",
    );
    let exit = setup(&authority, &origin).run_to_end(&text.replace("NAME", "$arg_x"));
    let expected = "health checks have no request, and \"proxy_ssl_name $arg_x\" in ";
    assert!(!exit.status.success() && exit.said.contains(expected), "{}", exit.said);
}
