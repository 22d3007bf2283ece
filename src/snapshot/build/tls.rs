//! TLS: contexts of servers and listeners, and those towards upstreams.

use super::Build;
use super::servers::Behind;
use crate::config::diagnostic::At;
use crate::config::model::{Http, PlacedText, Settings};
use crate::snapshot::conf::ProxyTls;
use crate::snapshot::server_names::ServerNames;
use crate::snapshot::{Listener, Server};
use crate::tls;
use crate::tls::{Choice, Endpoint, Files};
use std::sync::Arc;

/// The servers of one listener, as handshakes ask for them.
struct ByName {
    names: Arc<ServerNames>,
    /// All servers of the configuration: their TLS, and whether they speak HTTP/2.
    servers: Vec<(Option<Arc<tls::Server>>, bool)>,
    /// `listen … http2`
    http2: bool,
}

impl tls::Names for ByName {
    fn choose(&self, name: Option<&[u8]>) -> Choice<'_> {
        let id = name.map_or(self.names.default, |it| self.names.find(it).0);
        let chosen = self.servers.get(id as usize);
        let http2 = self.http2 || chosen.is_some_and(|it| it.1);
        // One without certificates goes on with those of the default server, as in nginx.
        let of = |it: u32| self.servers.get(it as usize).and_then(|it| it.0.as_deref());
        Choice { server: of(id).or_else(|| of(self.names.default)), http2 }
    }
}

impl Build<'_> {
    fn files(&mut self) -> Files<'_> {
        Files { base: self.inputs.base, diagnostics: &mut self.diagnostics }
    }

    /// A server's side of TLS.
    pub(super) fn server_tls(&mut self, settings: &Settings, at: &At) -> Option<tls::Server> {
        let lua = self.inputs.model.http.as_ref().map(|it| &it.lua);
        let asked = tls::AskedOf {
            hello: settings.ssl_client_hello_by_lua.is_some(),
            certificate: settings.ssl_certificate_by_lua.is_some(),
            fetch: lua.is_some_and(|it| it.ssl_session_fetch.is_some()),
            store: lua.is_some_and(|it| it.ssl_session_store.is_some()),
        };
        tls::server(settings, asked, at, &mut self.files())
    }

    /// How a location talks TLS to upstreams; a fault names the directives of `family`: `proxy` or
    /// `grpc`.
    pub(super) fn proxy_tls(
        &mut self,
        settings: &Settings,
        at: &At,
        family: &str,
    ) -> Option<ProxyTls> {
        let key = client_key(settings);
        let known = self.clients.iter().find(|(it, _)| *it == key).map(|(_, it)| it.clone());
        let client = known.unwrap_or_else(|| {
            let client = tls::Client::new(settings, at, family, &mut self.files()).map(Arc::new);
            self.clients.push((key, client.clone()));
            client
        });
        let name = settings.proxy_ssl_name.as_deref().unwrap_or("$proxy_host");
        let name = self.template(name, at);
        let sends_name = settings.proxy_ssl_server_name == Some(true);
        client.map(|client| ProxyTls { client, name, sends_name })
    }

    /// A listener whose servers are all known.
    pub(super) fn listener(&mut self, found: Behind, servers: &[Server], http: &Http) -> Listener {
        let names = Arc::new(found.names);
        let of_default = servers.get(names.default as usize);
        let listens = found.listen.http2;
        let mut listener = Listener {
            address: found.listen.address.as_str().into(),
            http2: listens || of_default.is_some_and(|it| it.http2),
            names: Arc::clone(&names),
            tls: None,
            listen: found.listen,
        };
        if !listener.listen.ssl {
            return listener;
        }
        self.demand_certificates(&names, &found.servers, http);
        let begin = of_default.and_then(|it| it.tls.as_ref()).map(|it| it.context().clone());
        let by_name = ByName {
            names,
            servers: servers.iter().map(|it| (it.tls.clone(), it.http2)).collect(),
            http2: listens,
        };
        listener.tls = begin.map(|context| Endpoint::new(context, Arc::new(by_name)));
        listener
    }

    /// nginx's rule: the default server has a certificate, or refuses all that are not named; then
    /// all that are named have one.
    fn demand_certificates(&mut self, names: &ServerNames, behind: &[u32], http: &Http) {
        let of = |id: u32| {
            let block = http.servers.get(id as usize)?;
            let settings = block.settings.inherit(&http.settings);
            let rejects = settings.ssl_reject_handshake == Some(true);
            Some((&block.at, settings.ssl_certificate.is_some(), rejects))
        };
        let wanting = match of(names.default) {
            Some((_, false, false)) => &[names.default],
            Some((_, false, true)) => behind,
            _ => return,
        };
        for (at, has, rejects) in wanting.iter().filter_map(|it| of(*it)) {
            if !has && !rejects {
                let message =
                    "no \"ssl_certificate\" is defined for the \"listen ... ssl\" directive";
                self.diagnostics.fault(at, message);
            }
        }
    }
}

/// Those of `settings` that make a [`tls::Client`], wherever they are written.
fn client_key(settings: &Settings) -> Settings {
    let placeless = |it: &Option<PlacedText>| {
        it.as_ref().map(|it| PlacedText { at: At::default(), text: it.text.clone() })
    };
    Settings {
        // By HTTP/2 another protocol is asked for.
        proxy_http_version: settings.proxy_http_version.filter(|it| *it == 20),
        proxy_ssl_server_name: settings.proxy_ssl_server_name,
        proxy_ssl_verify: settings.proxy_ssl_verify,
        proxy_ssl_verify_depth: settings.proxy_ssl_verify_depth,
        proxy_ssl_trusted_certificate: placeless(&settings.proxy_ssl_trusted_certificate),
        proxy_ssl_certificate: placeless(&settings.proxy_ssl_certificate),
        proxy_ssl_certificate_key: placeless(&settings.proxy_ssl_certificate_key),
        proxy_ssl_password_file: placeless(&settings.proxy_ssl_password_file),
        proxy_ssl_protocols: settings.proxy_ssl_protocols.clone(),
        proxy_ssl_ciphers: placeless(&settings.proxy_ssl_ciphers),
        proxy_ssl_session_reuse: settings.proxy_ssl_session_reuse,
        ..Settings::default()
    }
}
