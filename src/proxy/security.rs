//! What a request may not go on for because of its connection's TLS: nginx's rules.

use crate::config::model::VerifyClient;
use crate::log::Level;
use crate::request::Request;
use openssl::x509::X509VerifyResult;

/// The status that refuses `request`; why is logged.
pub(super) fn refuse(request: &Request) -> Option<u16> {
    let connection = &request.connection;
    if connection.misses_tls.get() {
        request.log(Level::Info, format_args!("client sent plain HTTP request to HTTPS port"));
        return Some(497);
    }
    let established = connection.tls.get()?;
    let server = request.snapshot.server(request.server.get());
    let wanted = server.tls.as_ref().map_or(VerifyClient::Off, |it| it.verify_client);
    if wanted == VerifyClient::Off {
        return None;
    }
    let host = request.host.borrow();
    let asked = established.server_name.as_deref();
    if asked.is_some_and(|it| !it.as_bytes().eq_ignore_ascii_case(&host)) {
        let why = "client attempted to request the server name different from the one that was \
                   negotiated";
        request.log(Level::Info, format_args!("{why}"));
        return Some(421);
    }
    let bad = established.verified != X509VerifyResult::OK;
    let is_lived_with = wanted == VerifyClient::OptionalNoCa && established.is_of_unknown_signer();
    if bad && !is_lived_with {
        let (code, text) = (established.verified.as_raw(), established.verified.error_string());
        request
            .log(Level::Info, format_args!("client SSL certificate verify error: ({code}:{text})"));
        return Some(495);
    }
    if wanted == VerifyClient::On && established.certificate.is_none() {
        request.log(Level::Info, format_args!("client sent no required SSL certificate"));
        return Some(496);
    }
    None
}
