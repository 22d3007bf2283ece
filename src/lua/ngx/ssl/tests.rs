//! What scripts get of `ngx.ssl` beside a handshake.

use super::*;
use crate::lua::fixture::eval;
use openssl::x509::X509;

#[test]
fn der_values_tell_their_length() {
    assert_eq!(der_length(&[0x30, 3, 1, 2, 3, 9]), Some(5));
    assert_eq!(der_length(&[0x30, 0x82, 1, 2]), Some(4 + 258));
    assert_eq!(der_length(&[0x30]), None);
    assert_eq!(der_length(&[0x30, 0x80]), None);
    assert!(chain_of_der(b"").is_none());
}

#[test]
fn what_is_parsed_can_be_shown_only_in_a_handshake() {
    let code = "local ssl = require 'ngx.ssl'
        local key, chain = ssl.parse_pem_priv_key(KEY), ssl.parse_pem_cert(CHAIN)
        return type(key), type(chain), select(2, pcall(ssl.set_cert, chain))";
    let (chain, key) = self_signed();
    let code = code.replace("KEY", &format!("[[{key}]]"));
    let code = code.replace("CHAIN", &format!("[[{chain}]]"));
    assert_eq!(eval(&code), "cdata | cdata | API disabled in the current context");
}

/// A certificate and its key, as PEM.
fn self_signed() -> (String, String) {
    let key = PKey::generate_ed25519().unwrap();
    let mut made = X509::builder().unwrap();
    made.set_pubkey(&key).unwrap();
    let now = openssl::asn1::Asn1Time::days_from_now(0).unwrap();
    made.set_not_before(&now).unwrap();
    made.set_not_after(&now).unwrap();
    made.sign(&key, openssl::hash::MessageDigest::null()).unwrap();
    let text = |pem: Vec<u8>| String::from_utf8(pem).unwrap();
    let chain = made.build().to_pem().unwrap();
    (text(chain), text(key.private_key_to_pem_pkcs8().unwrap()))
}

#[test]
fn what_is_no_certificate_is_told() {
    let cases = [
        ("cert_pem_to_der('x')", "nil | PEM_read_bio_X509_AUX() failed"),
        ("parse_pem_cert('x')", "nil | PEM_read_bio_X509() failed"),
        ("parse_pem_priv_key('x')", "nil | PEM_read_bio_PrivateKey() failed"),
        ("parse_der_cert('x')", "nil | d2i_X509_bio() failed"),
        ("parse_der_priv_key('x')", "nil | d2i_PrivateKey_bio() failed"),
    ];
    for (call, expected) in cases {
        assert_eq!(eval(&format!("return require('ngx.ssl').{call}")), expected, "{call}");
    }
    let refused = eval("return pcall(require('ngx.ssl').set_cert, 'x')");
    assert_eq!(refused, "false | bad argument #1 to 'set_cert' (cdata expected, got string)");
    let refused = eval("return require('ngx.ssl').clear_certs()");
    assert!(refused.ends_with("API disabled in the current context"), "{refused}");
}
