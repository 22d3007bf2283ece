//! `ngx.ssl`, `ngx.ssl.clienthello`: what scripts see and change of a handshake, and certificates
//! and keys as values.

use crate::lua::ffi::call::ApiError;
use crate::lua::ffi::call::ApiResult;
use crate::lua::ffi::call::Call;
use crate::lua::ffi::function::functions;
use crate::lua::ffi::handshakes;
use crate::lua::ffi::value::Light;
use crate::lua::ffi::value::Owned;
use crate::lua::ffi::value::Value;
use crate::lua::ngx::state::of_request;
use crate::lua::phase::Phase;
use crate::lua::phase::Phases;
use crate::request::connection::Address;
use crate::tls::Handshake;
use openssl::pkey::PKey;
use openssl::pkey::Private;
use openssl::ssl::SslVersion;
use openssl::x509::X509;
use std::cell::RefCell;
use std::rc::Rc;

functions! {
    /// What the prelude makes `ngx.ssl` of.
    pub NATIVE "native.ssl" {
        clear_certs: ANY => clear_certs,
        set_der_cert: ANY => set_der_cert,
        set_der_priv_key: ANY => set_der_priv_key,
        set_cert: ANY => set_cert,
        set_priv_key: ANY => set_priv_key,
        verify_client: ANY => verify_client,
        request: ANY => request_pointer,
        server_name: ANY => server_name,
        server_port: ANY => server_port,
        raw_server_addr: ANY => raw_server_addr,
        raw_client_addr: ANY => raw_client_addr,
        get_tls1_version: ANY => tls1_version,
        get_tls1_version_str: ANY => tls1_version_text,
        get_client_random: ANY => client_random,
        cert_pem_to_der: ANY => cert_pem_to_der,
        priv_key_pem_to_der: ANY => priv_key_pem_to_der,
    }
}

functions! {
    /// What the prelude makes `ngx.ssl.clienthello` of.
    pub HELLO "native.clienthello" {
        server_name: ANY => hello_server_name,
        ext: ANY => hello_extension,
        ciphers: ANY => hello_ciphers,
        supported_versions: ANY => hello_versions,
        set_protocols: ANY => set_protocols,
    }
}

/// A handshake that a script and whoever asked it share.
pub type Shared = Rc<RefCell<Handshake>>;

/// A chain of certificates, the server's own first.
pub type Chain = Vec<X509>;

const NO_SSL: &str = "bad ssl conn";
const CERTIFYING: Phases = Phases::of(&[Phase::SslCertificate]);
const GREETING: Phases = Phases::of(&[Phase::SslClientHello]);
/// The extension that lists versions (RFC 8446, section 4.2.1).
const SUPPORTED_VERSIONS: u16 = 43;

/// The handshake of the script that runs, where it is in one of `phases`.
///
/// # Errors
/// OpenResty's text elsewhere.
fn handshake(call: &Call<'_>, phases: Phases) -> Result<Shared, ApiError> {
    if call.vm().phase() == Phase::Init {
        return Err("no request found".into());
    }
    let refused = || ApiError::from("API disabled in the current context");
    if !phases.contains(call.vm().phase()) {
        return Err(refused());
    }
    let request = call.request()?;
    of_request(call.vm(), &request, |state| state.handshake.clone()).ok_or_else(refused)
}

/// `nil, text`.
fn refuse(call: &Call<'_>, text: &str) -> ApiResult {
    call.reply((None::<bool>, text))
}

/// `require "resty.core.base".get_request()`: a pointer that stands for the request; nil where
/// there is none.
fn request_pointer(call: &Call<'_>) -> ApiResult {
    let vm = call.vm();
    if vm.phase() == Phase::Init {
        return call.reply(());
    }
    let Some(request) = vm.request() else {
        return call.reply(Light(std::ptr::from_ref(vm) as usize));
    };
    let pointer = Rc::as_ptr(&request) as usize;
    if let Some(handshake) = of_request(vm, &request, |state| state.handshake.clone()) {
        handshakes::make_known(pointer, &handshake);
    }
    call.reply(Light(pointer))
}

fn clear_certs(call: &Call<'_>) -> ApiResult {
    let handshake = handshake(call, CERTIFYING)?;
    handshake.borrow_mut().wanted.clear_certificates();
    call.reply(true)
}

/// `set_der_cert(chain)`: one certificate behind the other.
fn set_der_cert(call: &Call<'_>) -> ApiResult {
    let handshake = handshake(call, CERTIFYING)?;
    match chain_of_der(call.bytes(1)?) {
        None => refuse(call, "d2i_X509_bio() failed"),
        Some(chain) => {
            handshake.borrow_mut().wanted.chain = chain;
            call.reply(true)
        }
    }
}

/// The certificates of `pem`, the first with what OpenSSL calls trust; `None` when there is none.
pub fn chain_of_pem(pem: &[u8]) -> Option<Chain> {
    X509::stack_from_pem(pem).ok().filter(|it| !it.is_empty())
}

/// DER of the certificates, one behind the other.
pub fn der_of_chain(chain: &[X509]) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    for certificate in chain {
        all.extend_from_slice(&certificate.to_der().ok()?);
    }
    Some(all)
}

/// The certificates of `der`, one behind the other; `None` where that is not what it is.
pub fn chain_of_der(mut der: &[u8]) -> Option<Chain> {
    let mut chain = Vec::new();
    while !der.is_empty() {
        let length = der_length(der)?;
        let (one, rest) = der.split_at_checked(length)?;
        chain.push(X509::from_der(one).ok()?);
        der = rest;
    }
    (!chain.is_empty()).then_some(chain)
}

/// Bytes of the first DER value, its header included.
pub(super) fn der_length(der: &[u8]) -> Option<usize> {
    let first = usize::from(*der.get(1)?);
    if first < 0x80 {
        return Some(2 + first);
    }
    let count = first & 0x7f;
    let digits = der.get(2..2 + count).filter(|it| (1..=4).contains(&it.len()))?;
    let length = digits.iter().fold(0usize, |all, it| all << 8 | usize::from(*it));
    length.checked_add(2 + count)
}

fn set_der_priv_key(call: &Call<'_>) -> ApiResult {
    let handshake = handshake(call, CERTIFYING)?;
    match PKey::private_key_from_der(call.bytes(1)?) {
        Err(_) => refuse(call, "d2i_PrivateKey_bio() failed"),
        Ok(key) => {
            handshake.borrow_mut().wanted.key = Some(key);
            call.reply(true)
        }
    }
}

fn set_cert(call: &Call<'_>) -> ApiResult {
    let handshake = handshake(call, CERTIFYING)?;
    let Some(chain) = call.stack().object::<Chain>(1) else {
        return Err(call.expected("certificate chain", 1));
    };
    handshake.borrow_mut().wanted.chain = Chain::clone(&chain);
    call.reply(true)
}

fn set_priv_key(call: &Call<'_>) -> ApiResult {
    let handshake = handshake(call, CERTIFYING)?;
    let Some(key) = call.stack().object::<PKey<Private>>(1) else {
        return Err(call.expected("private key", 1));
    };
    handshake.borrow_mut().wanted.key = Some(PKey::clone(&key));
    call.reply(true)
}

/// `verify_client(authorities?, depth?)`.
fn verify_client(call: &Call<'_>) -> ApiResult {
    let handshake = handshake(call, CERTIFYING)?;
    let authorities = match call.is_none(1) {
        true => Chain::new(),
        false => match call.stack().object::<Chain>(1) {
            Some(chain) => Chain::clone(&chain),
            None => return Err(call.expected("certificate chain", 1)),
        },
    };
    let depth = call.opt_integer(2)?.and_then(|it| u32::try_from(it).ok());
    handshake.borrow_mut().wanted.verify = Some((authorities, depth));
    call.reply(true)
}

fn server_name(call: &Call<'_>) -> ApiResult {
    let (name, _) = known(call, |it| it.server_name.clone().map(String::from))?;
    call.reply(name.flatten())
}

/// What is known of the handshake, or of the one that the request's connection had.
///
/// # Errors
/// There is no connection with TLS.
fn known<T>(
    call: &Call<'_>,
    of_handshake: impl FnOnce(&Handshake) -> T,
) -> Result<(Option<T>, Rc<crate::request::Request>), ApiError> {
    if call.vm().phase() == Phase::Init {
        return Err("no request found".into());
    }
    let request = call.request()?;
    let shared = of_request(call.vm(), &request, |state| state.handshake.clone());
    let found = shared.map(|it| of_handshake(&it.borrow()));
    Ok((found, request))
}

fn server_port(call: &Call<'_>) -> ApiResult {
    match call.request()?.connection.server.port() {
        Some(port) => call.reply(u32::from(port)),
        None => refuse(call, "unix domain has no port"),
    }
}

fn raw_server_addr(call: &Call<'_>) -> ApiResult {
    address(call, &call.request()?.connection.server)
}

fn raw_client_addr(call: &Call<'_>) -> ApiResult {
    address(call, &call.request()?.connection.client)
}

fn address(call: &Call<'_>, address: &Address) -> ApiResult {
    let octets = address.octets();
    let kind = match (address, octets.len()) {
        (Address::Unix, _) => "unix",
        (_, 4) => "inet",
        _ => "inet6",
    };
    call.reply((octets, kind))
}

fn tls1_version(call: &Call<'_>) -> ApiResult {
    let (version, request) = known(call, |it| it.version)?;
    let version = version.or_else(|| {
        let tls = request.connection.tls.get()?;
        Some(match tls.protocol {
            "TLSv1" => 0x301,
            "TLSv1.1" => 0x302,
            "TLSv1.2" => 0x303,
            "TLSv1.3" => 0x304,
            _ => 0x300,
        })
    });
    version.map_or_else(|| refuse(call, NO_SSL), |it| call.reply(it))
}

fn tls1_version_text(call: &Call<'_>) -> ApiResult {
    let (text, request) = known(call, |it| it.version_text)?;
    let text = text.or_else(|| request.connection.tls.get().map(|it| it.protocol));
    text.map_or_else(|| refuse(call, NO_SSL), |it| call.reply(it))
}

fn client_random(call: &Call<'_>) -> ApiResult {
    match known(call, |it| it.client_random.clone())?.0 {
        Some(random) => call.reply(random),
        None => refuse(call, NO_SSL),
    }
}

fn cert_pem_to_der(call: &Call<'_>) -> ApiResult {
    match chain_of_pem(call.bytes(1)?).and_then(|it| der_of_chain(&it)) {
        Some(der) => call.reply(der),
        None => refuse(call, "PEM_read_bio_X509_AUX() failed"),
    }
}

fn priv_key_pem_to_der(call: &Call<'_>) -> ApiResult {
    let password = call.opt_bytes(2)?.unwrap_or_default();
    let key = PKey::private_key_from_pem_passphrase(call.bytes(1)?, password);
    match key.and_then(|it| it.private_key_to_der()) {
        Ok(der) => call.reply(der),
        Err(_) => refuse(call, "PEM_read_bio_PrivateKey() failed"),
    }
}

fn hello_server_name(call: &Call<'_>) -> ApiResult {
    let name = handshake(call, GREETING)?.borrow().server_name.clone();
    call.reply(name.map(String::from))
}

/// `get_client_hello_ext(number)`.
fn hello_extension(call: &Call<'_>) -> ApiResult {
    let handshake = handshake(call, GREETING)?;
    let number = u16::try_from(call.integer(1)?).unwrap_or(u16::MAX);
    let found = handshake.borrow().extension(number).map(<[u8]>::to_vec);
    call.reply(found)
}

fn hello_ciphers(call: &Call<'_>) -> ApiResult {
    let ciphers = handshake(call, GREETING)?.borrow().ciphers.clone();
    let numbers = ciphers.chunks_exact(2).map(|it| u16::from_be_bytes([it[0], it[1]]));
    call.reply(Owned::Array(numbers.map(|it| Owned::Number(it.into())).collect()))
}

fn hello_versions(call: &Call<'_>) -> ApiResult {
    let handshake = handshake(call, GREETING)?;
    let list = handshake.borrow().extension(SUPPORTED_VERSIONS).map(<[u8]>::to_vec);
    let Some(list) = list else { return call.reply(None::<bool>) };
    let names = list.get(1..).unwrap_or_default().chunks_exact(2).filter_map(|it| match it {
        [3, 0] => Some("SSLv3"),
        [3, 1] => Some("TLSv1"),
        [3, 2] => Some("TLSv1.1"),
        [3, 3] => Some("TLSv1.2"),
        [3, 4] => Some("TLSv1.3"),
        _ => None,
    });
    call.reply(Owned::Array(names.map(Owned::Text).collect()))
}

/// `set_protocols { "TLSv1.2", … }`.
fn set_protocols(call: &Call<'_>) -> ApiResult {
    let handshake = handshake(call, GREETING)?;
    let given = call.table(1)?;
    let mut versions = Vec::new();
    let mut unknown = None;
    given.each(|_, value| {
        match value {
            Value::Bytes(b"TLSv1") => versions.push(SslVersion::TLS1),
            Value::Bytes(b"TLSv1.1") => versions.push(SslVersion::TLS1_1),
            Value::Bytes(b"TLSv1.2") => versions.push(SslVersion::TLS1_2),
            Value::Bytes(b"TLSv1.3") => versions.push(SslVersion::TLS1_3),
            Value::Bytes(b"SSLv2" | b"SSLv3") => {}
            Value::Bytes(other) => unknown = Some(String::from_utf8_lossy(other).into_owned()),
            _ => unknown = Some("?".to_owned()),
        }
        unknown.is_none()
    });
    if let Some(unknown) = unknown {
        return Err(format!("invalid protocols failed: {unknown}").into());
    }
    handshake.borrow_mut().wanted.versions = Some(versions).filter(|it| !it.is_empty());
    call.reply(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lua::fixture::eval;

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
}
