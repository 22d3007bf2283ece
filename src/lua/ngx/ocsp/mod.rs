//! `ngx.ocsp`: what a certificate's authority says of it (RFC 6960), asked for and judged by
//! scripts, and shown to clients in handshakes.

#[cfg(test)]
mod tests;

use crate::lua::ffi::call::ApiResult;
use crate::lua::ffi::call::Call;
use crate::lua::ffi::function::functions;
use crate::lua::ngx::ssl;
use crate::lua::ngx::state::of_request;
use crate::lua::phase::Phase;
use openssl::hash::MessageDigest;
use openssl::ocsp::OcspCertId;
use openssl::ocsp::OcspCertStatus;
use openssl::ocsp::OcspFlag;
use openssl::ocsp::OcspRequest;
use openssl::ocsp::OcspResponse;
use openssl::ocsp::OcspResponseStatus;
use openssl::stack::Stack;
use openssl::x509::X509;
use openssl::x509::X509VerifyResult;
use openssl::x509::store::X509StoreBuilder;

functions! {
    /// The module `ngx.ocsp`.
    pub NATIVE "native.ocsp" {
        get_ocsp_responder_from_der_chain: ANY => responder,
        create_ocsp_request: ANY => create_request,
        validate_ocsp_response: ANY => validate,
        set_ocsp_status_resp: ANY => set_status,
    }
}

/// lua-resty-core's string buffer: how long an answer may be where a script says nothing.
const BUFFER_BYTES: usize = 4096;
/// Seconds by which clocks may differ.
const CLOCK_SKEW_SECONDS: u32 = 300;
const NO_CERTIFICATE: &str = "d2i_X509_bio() failed";

/// `nil, text`.
fn refuse(call: &Call<'_>, text: &str) -> ApiResult {
    call.reply((None::<bool>, text))
}

/// The first certificate of a chain in DER, and what follows.
fn first(der: &[u8]) -> Result<(X509, &[u8]), &'static str> {
    let split = ssl::der_length(der).and_then(|it| der.split_at_checked(it));
    let (one, rest) = split.ok_or(NO_CERTIFICATE)?;
    X509::from_der(one).map(|it| (it, rest)).map_err(|_| NO_CERTIFICATE)
}

/// The certificate behind the first.
fn issuer(rest: &[u8]) -> Result<X509, &'static str> {
    if rest.is_empty() {
        return Err("no issuer certificate in chain");
    }
    first(rest).map(|it| it.0)
}

/// How long an answer may be: argument `index`.
fn limit(call: &Call<'_>, index: i32) -> Result<usize, crate::lua::ffi::call::ApiError> {
    let given = call.opt_integer(index)?;
    Ok(given.map_or(BUFFER_BYTES, |it| usize::try_from(it).unwrap_or_default()))
}

/// `get_ocsp_responder_from_der_chain(chain, most?)`: a URL, cut where it is longer; nil where the
/// certificate names none.
fn responder(call: &Call<'_>) -> ApiResult {
    let most = limit(call, 2)?;
    let (certificate, rest) = match first(call.bytes(1)?) {
        Ok(found) => found,
        Err(text) => return refuse(call, text),
    };
    let responders = certificate.ocsp_responders().ok();
    let Some(url) = responders.as_ref().and_then(|it| it.get(0)) else {
        return call.reply(None::<bool>);
    };
    match issuer(rest) {
        Err(text) => refuse(call, text),
        Ok(issuer) if issuer.issued(&certificate) != X509VerifyResult::OK => {
            refuse(call, "issuer certificate not next to leaf")
        }
        Ok(_) => match url.as_bytes().get(..most) {
            Some(cut) if cut.len() < url.len() => call.reply((cut, "truncated")),
            _ => call.reply(url.as_bytes()),
        },
    }
}

/// A question about the first certificate of `chain`, in DER.
fn request(chain: &[u8]) -> Result<Vec<u8>, &'static str> {
    let (certificate, rest) = first(chain)?;
    let issuer = issuer(rest)?;
    let id = id(&certificate, &issuer)?;
    let mut request = OcspRequest::new().map_err(|_| "OCSP_REQUEST_new() failed")?;
    request.add_id(id).map_err(|_| "OCSP_request_add0_id() failed")?;
    request.to_der().map_err(|_| "i2d_OCSP_REQUEST() failed")
}

fn id(certificate: &X509, issuer: &X509) -> Result<OcspCertId, &'static str> {
    // SHA-1 is what responders know.
    OcspCertId::from_cert(MessageDigest::sha1(), certificate, issuer)
        .map_err(|_| "OCSP_cert_to_id() failed")
}

/// `create_ocsp_request(chain, most?)`: what to send to the responder.
fn create_request(call: &Call<'_>) -> ApiResult {
    let most = limit(call, 2)?;
    match request(call.bytes(1)?) {
        Ok(der) if der.len() > most => {
            let length = der.len();
            refuse(call, &format!("output buffer too small: {length} > {most}"))
        }
        Ok(der) => call.reply(der),
        Err(text) => refuse(call, text),
    }
}

/// Whether `response` says that the first certificate of `chain` is good, and says so now.
fn judge(response: &[u8], chain: &[u8]) -> Result<(), String> {
    let response = OcspResponse::from_der(response).map_err(|_| "d2i_OCSP_RESPONSE() failed")?;
    let status = response.status();
    if status != OcspResponseStatus::SUCCESSFUL {
        let text = match status.as_raw() {
            1 => "malformedrequest",
            2 => "internalerror",
            3 => "trylater",
            5 => "sigrequired",
            6 => "unauthorized",
            _ => "(UNKNOWN)",
        };
        return Err(format!("OCSP response not successful ({}: {text})", status.as_raw()));
    }
    let basic = response.basic().map_err(|_| "OCSP_response_get1_basic() failed")?;
    let (certificate, rest) = first(chain)?;
    let issuer = issuer(rest)?;
    let id = id(&certificate, &issuer)?;
    let unverified = |_| "OCSP_basic_verify() failed";
    let mut signers = Stack::new().map_err(unverified)?;
    signers.push(issuer).map_err(unverified)?;
    let store = X509StoreBuilder::new().map_err(unverified)?.build();
    basic.verify(&signers, &store, OcspFlag::NO_VERIFY).map_err(unverified)?;
    let Some(found) = basic.find_status(&id) else {
        return Err("certificate status not found in the OCSP response".to_owned());
    };
    if found.status != OcspCertStatus::GOOD {
        let revoked = found.status == OcspCertStatus::REVOKED;
        let text = if revoked { "revoked" } else { "unknown" };
        return Err(format!("certificate status \"{text}\" in the OCSP response"));
    }
    let now = found.check_validity(CLOCK_SKEW_SECONDS, None);
    now.map_err(|_| "OCSP_check_validity() failed".to_owned())
}

/// `validate_ocsp_response(response, chain, most?)`: true, or nil and why not, in `most` bytes.
fn validate(call: &Call<'_>) -> ApiResult {
    let most = limit(call, 3)?;
    match judge(call.bytes(1)?, call.bytes(2)?) {
        Ok(()) => call.reply(true),
        Err(text) => refuse(call, text.get(..most).unwrap_or(&text)),
    }
}

/// `set_ocsp_status_resp(response)`: the client gets it with the certificate, if it wants it.
fn set_status(call: &Call<'_>) -> ApiResult {
    if call.vm().phase() == Phase::Init {
        return Err("no request found".into());
    }
    let response = call.bytes(1)?.to_vec();
    let request = call.request()?;
    let handshake = of_request(call.vm(), &request, |state| state.handshake.clone());
    let Some(handshake) = handshake.filter(|_| call.vm().phase() == Phase::SslCertificate) else {
        return refuse(call, "bad ssl conn");
    };
    let mut handshake = handshake.borrow_mut();
    if !handshake.wants_status {
        return call.reply((true, "no status req"));
    }
    handshake.wanted.status = Some(response);
    call.reply(true)
}
