//! `ngx.ssl`: what scripts see and change of a handshake, and certificates and keys as values.

mod chain;
mod hello;
mod session;

pub use chain::Chain;
pub use chain::chain_of_der;
pub use chain::chain_of_pem;
pub(super) use chain::der_length;
pub use chain::der_of_chain;
pub use hello::NATIVE as HELLO;
pub use session::NATIVE as SESSION;

use crate::lua::ffi::call::ApiError;
use crate::lua::ffi::call::ApiResult;
use crate::lua::ffi::call::Call;
use crate::lua::ffi::function::functions;
use crate::lua::ffi::handshakes;
use crate::lua::ffi::value::Light;
use crate::lua::ngx::state::of_request;
use crate::lua::phase::Phase;
use crate::lua::phase::Phases;
use crate::request::connection::Address;
use crate::tls::Handshake;
use openssl::pkey::PKey;
use openssl::pkey::Private;
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

/// A handshake that a script and whoever asked it share.
pub type Shared = Rc<RefCell<Handshake>>;

const NO_SSL: &str = "bad ssl conn";
const CERTIFYING: Phases = Phases::of(&[Phase::SslCertificate]);

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

#[cfg(test)]
mod tests;
