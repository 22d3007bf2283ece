//! `lua_socket_*` and `lua_ssl_*` -> settings of sockets; files are read and checked here.

use super::Build;
use crate::config::diagnostic::At;
use crate::config::model::Settings;
use crate::cosocket;
use crate::cosocket::tls::ClientTls;
use crate::cosocket::tls::TlsSettings;
use std::path::PathBuf;
use std::sync::Arc;

impl Build<'_> {
    /// The settings of sockets; what `lua_ssl_*` cannot do is a fault at `at`.
    pub(super) fn cosocket(&mut self, settings: &Settings, at: &At) -> Arc<cosocket::Settings> {
        let usual = cosocket::Settings::default();
        let size = |given: Option<u64>, usual: usize| {
            given.and_then(|it| usize::try_from(it).ok()).unwrap_or(usual)
        };
        Arc::new(cosocket::Settings {
            connect_timeout_ms: settings
                .lua_socket_connect_timeout_ms
                .unwrap_or(usual.connect_timeout_ms),
            send_timeout_ms: settings.lua_socket_send_timeout_ms.unwrap_or(usual.send_timeout_ms),
            read_timeout_ms: settings.lua_socket_read_timeout_ms.unwrap_or(usual.read_timeout_ms),
            keepalive_timeout_ms: settings
                .lua_socket_keepalive_timeout_ms
                .unwrap_or(usual.keepalive_timeout_ms),
            buffer_size: size(settings.lua_socket_buffer_size, usual.buffer_size).max(1),
            pool_size: settings.lua_socket_pool_size.unwrap_or(usual.pool_size).max(1),
            log_errors: settings.lua_socket_log_errors.unwrap_or(usual.log_errors),
            tls: self.client_tls(settings, at),
        })
    }

    fn client_tls(&mut self, settings: &Settings, at: &At) -> Arc<ClientTls> {
        let file = |path: &Option<String>| -> Option<PathBuf> {
            let path = path.as_ref().filter(|it| !it.is_empty())?;
            Some(self.inputs.base.join(path))
        };
        let certificate = file(&settings.lua_ssl_certificate);
        let key = file(&settings.lua_ssl_certificate_key);
        let wanted = TlsSettings {
            protocols: settings.lua_ssl_protocols.clone().unwrap_or_default(),
            ciphers: settings.lua_ssl_ciphers.clone(),
            trusted: file(&settings.lua_ssl_trusted_certificate),
            crl: file(&settings.lua_ssl_crl),
            verify_depth: settings.lua_ssl_verify_depth.unwrap_or(1),
            certificate: certificate.zip(key),
        };
        let is_plain = wanted == TlsSettings { verify_depth: 1, ..TlsSettings::default() };
        let tls = ClientTls::new(wanted);
        if !is_plain && let Err(text) = tls.context() {
            self.diagnostics.fault(at, text);
        }
        Arc::new(tls)
    }
}
