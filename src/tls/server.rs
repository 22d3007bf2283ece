//! A server's side of TLS, built from `ssl_*`.

use super::certificate::Files;
use super::endpoint::{AskedOf, ask_scripts, follow_names};
use crate::config::diagnostic::At;
use crate::config::model::{SessionCache, Settings, TlsVersion, VerifyClient};
use crate::sys::openssl as unwrapped;
use openssl::error::ErrorStack;
use openssl::sha::Sha256;
use openssl::ssl::{
    SslContext, SslContextBuilder, SslMethod, SslMode, SslOptions, SslRef, SslSessionCacheMode,
    SslVerifyMode, SslVersion,
};
use openssl::stack::Stack;
use openssl::x509::{X509, X509Ref, X509StoreContextRef};

/// nginx's default of `ssl_ciphers`.
const CIPHERS: &str = "HIGH:!aNULL:!MD5";
/// nginx's default of `ssl_session_timeout`.
const SESSION_TIMEOUT_MS: u64 = 300_000;

/// A server's certificates, and what it agrees to.
#[derive(Debug)]
pub struct Server {
    context: SslContext,
    verify: SslVerifyMode,
    depth: i32,
    /// What it asks of clients' certificates.
    pub verify_client: VerifyClient,
    /// `ssl_reject_handshake on`.
    pub rejects: bool,
}

impl Server {
    /// What handshakes begin with.
    pub fn context(&self) -> &SslContext {
        &self.context
    }

    /// Goes on with this server in a handshake that has begun with another.
    pub(super) fn apply(&self, ssl: &mut SslRef) -> Result<(), ErrorStack> {
        ssl.set_ssl_context(&self.context)?;
        ssl.set_verify_callback(self.verify, take_any);
        ssl.param_mut().set_depth(self.depth);
        Ok(())
    }
}

/// A bad certificate is for the request to refuse: its client then learns why.
fn take_any(_good: bool, _chain: &mut X509StoreContextRef) -> bool {
    true
}

/// The server that `settings`, inherited, describe at `at`; `None` where they name no certificate,
/// and after a fault.
pub fn server(
    settings: &Settings,
    asked: AskedOf,
    at: &At,
    files: &mut Files<'_>,
) -> Option<Server> {
    let certificates = settings.ssl_certificate.as_deref().unwrap_or_default();
    let keys = settings.ssl_certificate_key.as_deref().unwrap_or_default();
    let rejects = settings.ssl_reject_handshake == Some(true);
    if certificates.is_empty() && !rejects {
        return None;
    }
    if let Some(lonely) = certificates.get(keys.len()) {
        let name = &lonely.text;
        let message = format!("no \"ssl_certificate_key\" is defined for certificate \"{name}\"");
        files.fault(&lonely.at, message);
        return None;
    }
    let context = SslContextBuilder::new(SslMethod::tls_server());
    let mut context = files.check(at, "SSL_CTX_new()", context)?;
    let passwords = files.passwords(settings.ssl_password_file.as_ref());
    let mut own = Vec::new();
    for (certificate, key) in certificates.iter().zip(keys) {
        own.push(files.identity(&mut context, certificate, key, &passwords));
    }
    agree(&mut context, settings, at, files);
    let verify_client = settings.ssl_verify_client.unwrap_or(VerifyClient::Off);
    let authorities = authorities(&mut context, settings, at, files);
    let verify = match verify_client {
        VerifyClient::Off => SslVerifyMode::NONE,
        _ => SslVerifyMode::PEER,
    };
    context.set_verify_callback(verify, take_any);
    let depth = settings.ssl_verify_depth.unwrap_or(1);
    context.set_verify_depth(depth);
    sessions(&mut context, settings, asked);
    let own: Option<Vec<_>> = own.into_iter().collect();
    let name = session_context(&own?, &authorities?);
    files.check(at, "SSL_CTX_set_session_id_context()", context.set_session_id_context(&name))?;
    follow_names(&mut context);
    ask_scripts(&mut context, asked, settings.ssl_session_tickets != Some(false));
    staple(&mut context, settings, at, files)?;
    let depth = i32::try_from(depth).unwrap_or(i32::MAX);
    Some(Server { context: context.build(), verify, depth, verify_client, rejects })
}

/// Versions, ciphers, groups.
fn agree(context: &mut SslContextBuilder, settings: &Settings, at: &At, files: &mut Files<'_>) {
    versions(context, settings.ssl_protocols.as_deref(), at, files);
    let ciphers = settings.ssl_ciphers.as_ref();
    let (text, at_of) = ciphers.map_or((CIPHERS, at), |it| (&*it.text, &it.at));
    let failed = format!("SSL_CTX_set_cipher_list(\"{text}\")");
    files.check(at_of, &failed, context.set_cipher_list(text));
    if let Some(groups) = settings.ssl_ecdh_curve.as_ref().filter(|it| it.text != "auto") {
        let failed = format!("SSL_CTX_set1_curves_list(\"{}\")", groups.text);
        files.check(&groups.at, &failed, context.set_groups_list(&groups.text));
    }
    if let Some(file) = &settings.ssl_dhparam
        && let Some(parameters) = files.parameters(file)
    {
        files.check(&file.at, "SSL_CTX_set0_tmp_dh_pkey()", context.set_tmp_dh(&parameters));
    }
    let mut options = SslOptions::NO_COMPRESSION
        | SslOptions::NO_RENEGOTIATION
        | SslOptions::IGNORE_UNEXPECTED_EOF
        | SslOptions::SINGLE_DH_USE
        | SslOptions::SINGLE_ECDH_USE;
    if settings.ssl_prefer_server_ciphers == Some(true) {
        options |= SslOptions::CIPHER_SERVER_PREFERENCE;
    }
    if settings.ssl_session_tickets == Some(false) {
        options |= SslOptions::NO_TICKET;
    }
    context.set_options(options);
    // An idle connection keeps no buffers.
    context.set_mode(SslMode::RELEASE_BUFFERS | SslMode::ENABLE_PARTIAL_WRITE);
}

/// nginx's default is 1.2 and 1.3; versions between the oldest and the newest can be left out.
pub(super) fn versions(
    context: &mut SslContextBuilder,
    versions: Option<&[TlsVersion]>,
    at: &At,
    files: &mut Files<'_>,
) {
    const ALL: [(TlsVersion, SslVersion, SslOptions); 4] = [
        (TlsVersion::Tls10, SslVersion::TLS1, SslOptions::NO_TLSV1),
        (TlsVersion::Tls11, SslVersion::TLS1_1, SslOptions::NO_TLSV1_1),
        (TlsVersion::Tls12, SslVersion::TLS1_2, SslOptions::NO_TLSV1_2),
        (TlsVersion::Tls13, SslVersion::TLS1_3, SslOptions::NO_TLSV1_3),
    ];
    let wanted = versions.unwrap_or(&[TlsVersion::Tls12, TlsVersion::Tls13]);
    let spoken = || ALL.iter().filter(|(it, ..)| wanted.contains(it));
    let Some((_, least, _)) = spoken().next() else {
        return files.fault(at, "no protocol of \"ssl_protocols\" is left that OpenSSL speaks");
    };
    let most = spoken().next_back().map(|(_, it, _)| *it);
    let set = context.set_min_proto_version(Some(*least));
    files.check(at, "SSL_CTX_set_min_proto_version()", set);
    let set = context.set_max_proto_version(most);
    files.check(at, "SSL_CTX_set_max_proto_version()", set);
    for (version, _, without) in ALL {
        if !wanted.contains(&version) {
            context.set_options(without);
        }
    }
}

/// Who may sign clients' certificates. `None` after a fault.
fn authorities(
    context: &mut SslContextBuilder,
    settings: &Settings,
    at: &At,
    files: &mut Files<'_>,
) -> Option<Vec<X509>> {
    let named = settings.ssl_client_certificate.as_ref();
    let wants =
        matches!(settings.ssl_verify_client, Some(VerifyClient::On | VerifyClient::Optional));
    if wants && named.is_none() {
        files.fault(at, "no ssl_client_certificate for ssl_verify_client");
        return None;
    }
    let all: Vec<_> = named.into_iter().chain(&settings.ssl_trusted_certificate).collect();
    if all.is_empty() {
        return Some(Vec::new());
    }
    let (store, trusted) = files.trusted(&all)?;
    context.set_cert_store(store);
    if let Some(file) = named {
        let mut names = files.check(&file.at, "sk_X509_NAME_new()", Stack::new())?;
        for certificate in files.certificates(file)? {
            let name = certificate.subject_name().to_owned();
            let pushed = name.and_then(|it| names.push(it));
            files.check(&file.at, "sk_X509_NAME_push()", pushed)?;
        }
        context.set_client_ca_list(names);
    }
    Some(trusted)
}

/// What the authority says of the certificate, for clients that ask: what a script has set,
/// else the file's response. `None` after a fault.
fn staple(
    context: &mut SslContextBuilder,
    settings: &Settings,
    at: &At,
    files: &mut Files<'_>,
) -> Option<()> {
    let mut response = None;
    if settings.ssl_stapling == Some(true) {
        let Some(file) = &settings.ssl_stapling_file else {
            let message = "\"ssl_stapling\" needs \"ssl_stapling_file\": no responder is asked; \
                           or use ngx.ocsp in ssl_certificate_by_lua*";
            files.fault(at, message);
            return None;
        };
        response = Some(files.ocsp_response(file)?);
    }
    if response.is_none() && settings.ssl_certificate_by_lua.is_none() {
        return Some(());
    }
    let set = context.set_status_callback(move |ssl| {
        if let (None, Some(response)) = (ssl.ocsp_status(), &response) {
            ssl.set_ocsp_status(response)?;
        }
        Ok(ssl.ocsp_status().is_some())
    });
    files.check(at, "SSL_CTX_set_tlsext_status_cb()", set)
}

/// Where sessions are remembered, and for how long. Scripts that keep them take the place of the
/// cache, as they do of nginx's shared one.
fn sessions(context: &mut SslContextBuilder, settings: &Settings, asked: AskedOf) {
    let mode = match settings.ssl_session_cache {
        Some(SessionCache::Off) => SslSessionCacheMode::OFF,
        _ if asked.fetch || asked.store => {
            SslSessionCacheMode::SERVER | SslSessionCacheMode::NO_INTERNAL
        }
        None | Some(SessionCache::None) => {
            SslSessionCacheMode::SERVER | SslSessionCacheMode::NO_INTERNAL
        }
        Some(SessionCache::Sessions(count)) => {
            context.set_session_cache_size(count);
            SslSessionCacheMode::SERVER
        }
    };
    context.set_session_cache_mode(mode);
    let seconds = settings.ssl_session_timeout_ms.unwrap_or(SESSION_TIMEOUT_MS) / 1000;
    unwrapped::set_session_timeout(context, u32::try_from(seconds).unwrap_or(u32::MAX));
}

/// Sessions are resumed by servers with the same certificates, for clients that the same people
/// vouch for.
fn session_context(own: &[X509], authorities: &[X509]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"HTTP");
    let mut add = |certificate: &X509Ref| hash.update(&certificate.to_der().unwrap_or_default());
    own.iter().for_each(|it| add(it));
    authorities.iter().for_each(|it| add(it));
    hash.finish()
}
