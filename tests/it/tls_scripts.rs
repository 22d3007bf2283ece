//! Scripts in handshakes: certificates that they choose, handshakes that they end.

use crate::harness::server::Server;
use crate::harness::tls::{connector, stream, two_certificates};
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
