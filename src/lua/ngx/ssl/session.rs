//! `ngx.ssl.session`: sessions of TLS up to 1.2, which scripts keep for clients that come back.

use crate::lua::ffi::call::ApiError;
use crate::lua::ffi::call::ApiResult;
use crate::lua::ffi::call::Call;
use crate::lua::ffi::function::functions;
use crate::lua::ngx::ssl::Shared;
use crate::lua::ngx::ssl::refuse;
use crate::lua::ngx::state::of_request;
use crate::lua::phase::Phase;
use crate::tls::Session;
use openssl::ssl::SslSession;
use std::fmt::Write;

functions! {
    /// `ngx.ssl.session`.
    pub NATIVE "native.session" {
        get_session_id: ANY => session_id,
        get_serialized_session: ANY => serialized,
        set_serialized_session: ANY => set_serialized,
    }
}

/// The longest session that a script is given, in bytes.
const MOST_BYTES: usize = 4096;
const NO_CONNECTION: &str = "bad request";

/// The handshake of the script that runs.
///
/// # Errors
/// There is no request, thus no connection.
fn shared(call: &Call<'_>) -> Result<Option<Shared>, ApiError> {
    if call.vm().phase() == Phase::Init {
        return Err("no request found".into());
    }
    let request = call.request()?;
    Ok(of_request(call.vm(), &request, |state| state.handshake.clone()))
}

/// `get_session_id()`: the number of the session that is looked for, or kept, in hexadecimal.
fn session_id(call: &Call<'_>) -> ApiResult {
    let Some(handshake) = shared(call)? else { return refuse(call, NO_CONNECTION) };
    let handshake = handshake.borrow();
    if handshake.session_id.is_empty() {
        return refuse(call, "uninitialized session id in lua context");
    }
    let mut text = String::with_capacity(2 * handshake.session_id.len());
    for byte in &handshake.session_id {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    call.reply(text)
}

/// `get_serialized_session()`: the session in DER, which is a secret.
fn serialized(call: &Call<'_>) -> ApiResult {
    let Some(handshake) = shared(call)? else { return refuse(call, NO_CONNECTION) };
    let handshake = handshake.borrow();
    let found = handshake.wanted.session.as_ref().and_then(|it| it.0.to_der().ok());
    match found.or_else(|| handshake.session.clone()) {
        None => refuse(call, "bad session in lua context"),
        Some(session) if session.len() > MOST_BYTES => refuse(call, "session too big to serialize"),
        Some(session) => call.reply(session),
    }
}

/// `set_serialized_session(session)`: the client resumes it, if it is the one that it names.
fn set_serialized(call: &Call<'_>) -> ApiResult {
    let session = SslSession::from_der(call.bytes(1)?);
    let Some(handshake) = shared(call)? else { return refuse(call, NO_CONNECTION) };
    match session {
        Err(_) => refuse(call, "failed to de-serialize session"),
        Ok(session) => {
            handshake.borrow_mut().wanted.session = Some(Session(session));
            call.reply(true)
        }
    }
}
