//! Scripts in handshakes: certificates that they choose, handshakes that they end.

use crate::harness::server::Server;
use crate::harness::tls::{connector, stream, two_certificates};
use crate::tls::{offering, remembering, resumes};
use openssl::ssl::SslVersion;

fn start(scripts: &str) -> Server {
    two_certificates().start(&format!(
        "http {{ server {{ listen 127.0.0.1:$PORT ssl; server_name a.test;
             ssl_certificate a.pem; ssl_certificate_key a.key; {scripts}
             return 200 fine; }} }}"
    ))
}

/// Whose certificate the server of `name` shows; `None`: the handshake failed.
fn shown(server: &Server, name: &str) -> Option<String> {
    let stream = stream(&connector().build(), server.port(), name).ok()?;
    let certificate = stream.ssl().peer_certificate()?;
    let subject = certificate.subject_name().entries().last()?;
    subject.data().to_string().ok()
}

const READ: &str =
    "local function read(name) local f = io.open(ngx.config.prefix() .. 'conf/' .. name)
    local text = f:read('*a') f:close() return text end local ssl = require 'ngx.ssl'";

#[test]
fn a_script_chooses_the_certificate() {
    for set in [
        "ssl.set_der_cert(ssl.cert_pem_to_der(read('b.pem')))
         ssl.set_der_priv_key(ssl.priv_key_pem_to_der(read('b.key')))",
        "ssl.set_cert(ssl.parse_pem_cert(read('b.pem')))
         ssl.set_priv_key(ssl.parse_pem_priv_key(read('b.key')))",
    ] {
        let server = start(&format!(
            "ssl_certificate_by_lua_block {{ {READ}
             ngx.sleep(0.001)
             if ssl.server_name() == 'b.test' then assert(ssl.clear_certs()) {set} end
             ngx.log(ngx.ERR, ssl.server_name(), ' ', ssl.server_port() == $PORT, ' ',
                select(2, ssl.raw_client_addr()), ' ', ssl.get_tls1_version_str()) }}"
        ));
        assert_eq!(shown(&server, "b.test").as_deref(), Some("b.test"));
        assert_eq!(shown(&server, "a.test").as_deref(), Some("a.test"));
        server.expect_logged("b.test true inet TLSv1.3, context: ssl_certificate_by_lua*");
    }
}

#[test]
fn a_script_that_fails_ends_the_handshake_and_nothing_else() {
    let server = start(
        "ssl_certificate_by_lua_block {
            local name = require('ngx.ssl').server_name()
            if name == 'error' then error('no') end
            if name == 'refused' then return ngx.exit(ngx.ERROR) end
            if name == 'nothing' then require('ngx.ssl').clear_certs() end
            if name == 'mixed' then
                require('ngx.ssl').set_der_cert('no certificate')
                error(select(2, require('ngx.ssl').set_der_cert('x')))
            end
         }",
    );
    for name in ["error", "refused", "nothing", "mixed"] {
        assert_eq!(shown(&server, name), None, "{name}");
    }
    assert_eq!(shown(&server, "a.test").as_deref(), Some("a.test"));
    server.expect_logged("d2i_X509_bio() failed");
}

#[test]
fn a_script_reads_the_hello_and_says_which_versions_may_be() {
    let server = start(
        "ssl_client_hello_by_lua_block {
            local hello = require 'ngx.ssl.clienthello'
            local name = hello.get_client_hello_server_name()
            ngx.sleep(0.001)
            if name == 'old.test' then hello.set_protocols { 'TLSv1.2' } end
            if name == 'refused' then return ngx.exit(ngx.ERROR) end
            ngx.log(ngx.ERR, name, ' ', #hello.get_client_hello_ciphers() > 0, ' ',
                hello.get_supported_versions()[1], ' ', hello.get_client_hello_ext(0) ~= nil, ' ',
                tostring(hello.get_client_hello_ext(9999)))
         }",
    );
    let version = |name: &str| {
        let stream = stream(&connector().build(), server.port(), name).ok()?;
        stream.ssl().version2()
    };
    assert_eq!(version("old.test"), Some(SslVersion::TLS1_2));
    assert_eq!(version("new.test"), Some(SslVersion::TLS1_3));
    assert_eq!(version("refused"), None);
    server.expect_logged("new.test true TLSv1.3 true nil");
}

/// What the client is told of the certificate's status, where it asks.
fn stapled(server: &Server, asks: bool) -> Option<Vec<u8>> {
    let connector = connector().build();
    let mut ssl = connector.configure().expect("TLS").into_ssl("a.test").expect("a name");
    ssl.set_verify(openssl::ssl::SslVerifyMode::NONE);
    if asks {
        ssl.set_status_type(openssl::ssl::StatusType::OCSP).expect("it can be asked for");
    }
    let socket = std::net::TcpStream::connect(("127.0.0.1", server.port())).expect("it listens");
    let stream = ssl.connect(socket).expect("a handshake");
    stream.ssl().ocsp_status().map(<[u8]>::to_vec)
}

#[test]
fn a_script_shows_what_the_authority_says() {
    let server = start(
        "ssl_certificate_by_lua_block { local ocsp = require 'ngx.ocsp'
         ngx.log(ngx.ERR, 'set: ', ocsp.set_ocsp_status_resp('fine, it says')) }
         log_by_lua_block { ngx.log(ngx.ERR,
             'late: ', select(2, require('ngx.ocsp').set_ocsp_status_resp('x')), '.') }",
    );
    assert_eq!(stapled(&server, true).as_deref(), Some(&b"fine, it says"[..]));
    server.expect_logged("set: true, context");
    assert_eq!(stapled(&server, false), None);
    server.expect_logged("set: trueno status req, context");
    let stream = stream(&connector().build(), server.port(), "a.test").expect("a handshake");
    let mut client = crate::harness::client::Client::over(stream);
    assert_eq!(client.get("/").expect("an answer").status(), 200);
    server.expect_logged("late: bad ssl conn.");
}

#[test]
fn a_file_is_stapled() {
    use openssl::ocsp::{OcspResponse, OcspResponseStatus};
    let later = OcspResponse::create(OcspResponseStatus::TRY_LATER, None).expect("a response");
    let der = later.to_der().expect("DER");
    // As text it is the same: all its bytes are ASCII.
    let text = String::from_utf8(der.clone()).expect("ASCII");
    let server = |settings: &str| {
        two_certificates().file("conf/a.ocsp", &text).start(&format!(
            "http {{ server {{ listen 127.0.0.1:$PORT ssl; ssl_certificate a.pem;
                 ssl_certificate_key a.key; ssl_stapling_file a.ocsp; {settings}
                 return 200 fine; }} }}"
        ))
    };
    assert_eq!(stapled(&server("ssl_stapling on;"), true), Some(der));
    assert_eq!(stapled(&server("ssl_stapling off;"), true), None);
    for (settings, fault) in [
        ("ssl_stapling on;", "\"ssl_stapling\" needs \"ssl_stapling_file\": no responder is asked"),
        ("ssl_stapling on; ssl_stapling_file a.key;", "a.key\") failed (SSL: "),
        ("ssl_stapling on; ssl_stapling_file gone;", "gone\", \"rb\") failed (2: No such file"),
    ] {
        let exit = two_certificates().run_to_end(&format!(
            "http {{ server {{ listen 127.0.0.1:$PORT ssl; ssl_certificate a.pem;
                 ssl_certificate_key a.key; {settings} }} }}"
        ));
        assert!(exit.said.contains(fault), "{}", exit.said);
    }
}

/// A server whose scripts keep sessions by what `store` does with `id` and `der`, and find them by
/// `fetch`, which gives what it has found; it says whether a session was resumed.
fn keeping(head: &str, store: &str, fetch: &str, settings: &str) -> Server {
    two_certificates().start(&format!(
        "worker_processes 2; events {{}} http {{ {head}
         ssl_session_store_by_lua_block {{
             local sessions = require 'ngx.ssl.session'
             local id = assert(sessions.get_session_id())
             local der = assert(sessions.get_serialized_session())
             assert(#id == 64 and not id:find('[^0-9a-f]'))
             {store}
         }}
         ssl_session_fetch_by_lua_block {{
             local sessions = require 'ngx.ssl.session'
             local id = assert(sessions.get_session_id())
             local function find() {fetch} end
             local der = find()
             if der then assert(sessions.set_serialized_session(der)) end
         }}
         server {{ listen 127.0.0.1:$PORT ssl; ssl_certificate a.pem; ssl_certificate_key a.key;
             {settings} return 200 \"$ssl_protocol $ssl_session_reused\"; }} }}"
    ))
}

const DICTIONARY: [&str; 3] = [
    "lua_shared_dict sessions 1m;",
    "assert(ngx.shared.sessions:set(id, der, 60))",
    "ngx.sleep(0.001) return ngx.shared.sessions:get(id)",
];

#[test]
fn scripts_keep_sessions_for_all_workers() {
    let [head, store, fetch] = DICTIONARY;
    let server = keeping(head, store, fetch, "ssl_session_tickets off;");
    for _ in 0..4 {
        assert_eq!(resumes(&server, SslVersion::TLS1_2), "TLSv1.2 r");
    }
    // Of TLS 1.3 nothing is kept, as in OpenResty.
    assert_eq!(resumes(&server, SslVersion::TLS1_3), "TLSv1.3 .");
    // A client with a ticket needs nobody to keep its session.
    let tickets = keeping("", "error('stored')", "error('fetched')", "");
    assert_eq!(resumes(&tickets, SslVersion::TLS1_2), "TLSv1.2 r");
    assert_eq!(resumes(&tickets, SslVersion::TLS1_3), "TLSv1.3 r");
    let log = tickets.error_log();
    assert!(!log.contains("stored") && !log.contains("fetched"), "{log}");
}

#[test]
fn the_scripts_take_the_place_of_the_cache() {
    let [head, store, _] = DICTIONARY;
    let cache = "ssl_session_tickets off; ssl_session_cache shared:a:1m;";
    let server = keeping(head, store, "return nil", cache);
    assert_eq!(resumes(&server, SslVersion::TLS1_2), "TLSv1.2 .");
    // Who says that no session can be resumed makes none.
    let off = "ssl_session_tickets off; ssl_session_cache off;";
    let server = keeping("", "error('stored')", "return nil", off);
    assert_eq!(resumes(&server, SslVersion::TLS1_2), "TLSv1.2 .");
    assert!(!server.error_log().contains("stored"));
}

#[test]
fn a_session_that_is_not_the_client_s_is_not_resumed() {
    let fetches = [
        ("return ngx.shared.sessions:get('first')", None),
        (
            "local _, why = sessions.set_serialized_session('no session') error(why)",
            Some("failed to de-serialize session"),
        ),
        ("error('no store')", Some("no store")),
        ("ngx.exit(ngx.ERROR)", None),
    ];
    for (fetch, told) in fetches {
        let store = "ngx.shared.sessions:add('first', der)";
        let server = keeping(DICTIONARY[0], store, fetch, "ssl_session_tickets off;");
        assert_eq!(resumes(&server, SslVersion::TLS1_2).len(), "TLSv1.2 .".len());
        assert_eq!(resumes(&server, SslVersion::TLS1_2), "TLSv1.2 .", "{fetch}");
        if let Some(told) = told {
            server.expect_logged(told);
        }
    }
}

#[test]
fn a_store_script_that_fails_or_waits_costs_nothing_but_the_session() {
    for (store, told) in [
        ("error('full')", "failed to run session_store_by_lua*: ssl_session_store_by_lua("),
        ("ngx.sleep(1)", "API disabled in the context of ssl_session_store_by_lua*"),
        ("ngx.socket.tcp()", "API disabled in the context of ssl_session_store_by_lua*"),
        ("ngx.timer.at(0, function(_, id) ngx.log(ngx.ERR, 'kept ', #id) end, id)", "kept 64"),
    ] {
        let server = keeping("", store, "return nil", "ssl_session_tickets off;");
        assert_eq!(resumes(&server, SslVersion::TLS1_2), "TLSv1.2 .", "{store}");
        server.expect_logged(told);
    }
}

#[test]
fn a_fetch_that_takes_too_long_ends_with_the_time_of_a_head() {
    let [head, store, _] = DICTIONARY;
    let slow = "ssl_session_tickets off; client_header_timeout 300ms;";
    let server = keeping(head, store, "ngx.sleep(60)", slow);
    let (connector, kept) = remembering(SslVersion::TLS1_2);
    for is_first in [true, false] {
        let stream = offering(&connector, &kept, server.port());
        assert_eq!(stream.is_ok(), is_first);
        if let Ok(mut stream) = stream {
            stream.shutdown().expect("a farewell");
        }
    }
}
