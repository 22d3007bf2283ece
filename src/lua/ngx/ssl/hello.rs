//! `ngx.ssl.clienthello`: what a client says first, and what may be agreed upon.

use crate::lua::ffi::call::ApiResult;
use crate::lua::ffi::call::Call;
use crate::lua::ffi::function::functions;
use crate::lua::ffi::value::Owned;
use crate::lua::ffi::value::Value;
use crate::lua::ngx::ssl::handshake;
use crate::lua::phase::Phase;
use crate::lua::phase::Phases;
use openssl::ssl::SslVersion;

functions! {
    /// What the prelude makes `ngx.ssl.clienthello` of.
    pub NATIVE "native.clienthello" {
        server_name: ANY => hello_server_name,
        ext: ANY => hello_extension,
        ciphers: ANY => hello_ciphers,
        supported_versions: ANY => hello_versions,
        set_protocols: ANY => set_protocols,
    }
}

const GREETING: Phases = Phases::of(&[Phase::SslClientHello]);
/// The extension that lists versions (RFC 8446, section 4.2.1).
const SUPPORTED_VERSIONS: u16 = 43;

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
