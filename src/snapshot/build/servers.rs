//! Servers, and the listeners that they share.

use super::Build;
use crate::config::model;
use crate::config::model::Http;
use crate::config::model::ServerName;
use crate::snapshot::program::Program;
use crate::snapshot::server_names::ServerNames;
use crate::snapshot::{Listener, Server, ServerId};
use std::sync::Arc;

/// nginx's default of `http2_max_concurrent_streams`.
const HTTP2_STREAMS: u32 = 128;

/// The servers behind an address, as they are found.
pub(super) struct Behind {
    /// The merged options of its `listen` lines.
    pub listen: model::Listen,
    /// Host -> server.
    pub names: ServerNames,
    /// All of them in order.
    pub servers: Vec<ServerId>,
}

impl Build<'_> {
    pub(super) fn servers(&mut self, http: &Http) -> (Vec<Server>, Vec<Listener>) {
        let mut servers = Vec::new();
        let mut listeners: Vec<Behind> = Vec::new();
        for (number, block) in http.servers.iter().enumerate() {
            let id = ServerId::try_from(number).unwrap_or(ServerId::MAX);
            servers.push(self.server(block, http, id));
            for listen in &block.listen {
                self.listen(&mut listeners, listen, block, id);
            }
        }
        let listeners = listeners.into_iter().map(|it| self.listener(it, &servers, http)).collect();
        (servers, listeners)
    }

    fn server(&mut self, block: &model::Server, http: &Http, id: ServerId) -> Server {
        let settings = block.settings.inherit(&http.settings);
        let conf = self.conf(&settings, &block.at);
        let router = self.router(&block.locations, &settings, id);
        let name = block.names.first().map(shown).unwrap_or_default();
        Server {
            id,
            name: name.into(),
            program: self.server_program(&block.rewrite),
            router,
            root: self.root_location(conf.clone(), id, block),
            conf,
            tls: self.server_tls(&settings, &block.at).map(Arc::new),
            http2: settings.http2 == Some(true),
            http2_streams: settings.http2_max_concurrent_streams.unwrap_or(HTTP2_STREAMS).max(1),
        }
    }

    /// `if` on the server level changes no settings.
    fn server_program(&mut self, ops: &[model::RewriteOp]) -> Program {
        self.program(ops, &mut |build, block| (build.server_program(&block.rewrite), None))
    }

    fn listen(
        &mut self,
        listeners: &mut Vec<Behind>,
        listen: &model::Listen,
        block: &model::Server,
        id: ServerId,
    ) {
        let index = match listeners.iter().position(|it| it.listen.address == listen.address) {
            Some(index) => index,
            None => {
                let names = ServerNames { default: id, ..ServerNames::default() };
                listeners.push(Behind { listen: listen.clone(), names, servers: Vec::new() });
                listeners.len() - 1
            }
        };
        if listen.default_server {
            listeners[index].names.default = id;
        }
        merge(&mut listeners[index].listen, listen);
        listeners[index].servers.push(id);
        for name in &block.names {
            self.add_name(&mut listeners[index], name, block, id);
        }
    }

    fn add_name(
        &mut self,
        listener: &mut Behind,
        name: &ServerName,
        block: &model::Server,
        id: ServerId,
    ) {
        let names = &mut listener.names;
        let is_new = match name {
            ServerName::Exact(it) => {
                let is_new = !names.exact.contains_key(it.as_bytes());
                names.exact.entry(it.as_bytes().into()).or_insert(id);
                is_new
            }
            ServerName::Suffix(it) => names.wildcards.add_suffix(it.as_bytes(), id),
            ServerName::Prefix(it) => names.wildcards.add_prefix(it.as_bytes(), id),
            ServerName::Regex(it) => {
                let regex = self.regex(it, true, &block.at);
                listener.names.regexes.push((regex, id));
                true
            }
        };
        if !is_new {
            let message = format!(
                "conflicting server name \"{}\" on {}, ignored",
                shown(name),
                listener.listen.address
            );
            self.diagnostics
                .push(crate::config::diagnostic::Diagnostic::warning(&block.at, message));
        }
    }
}

/// Socket options may stand on any one of the `listen` lines of an address.
fn merge(into: &mut model::Listen, other: &model::Listen) {
    into.backlog = into.backlog.or(other.backlog);
    into.ipv6only = into.ipv6only.or(other.ipv6only);
    into.so_keepalive = into.so_keepalive.or(other.so_keepalive);
    into.ssl |= other.ssl;
    into.http2 |= other.http2;
}

fn shown(name: &ServerName) -> String {
    match name {
        ServerName::Exact(it) => it.clone(),
        ServerName::Suffix(it) => format!("*{it}"),
        ServerName::Prefix(it) => format!("{it}*"),
        ServerName::Regex(it) => format!("~{it}"),
    }
}
