//! Locations, compiled with what they inherit, and the nameless ones of `if` blocks.

use super::Build;
use super::grpc;
use super::memcached;
use super::proxy_pass::{default_redirect, may_be_tls};
use crate::config::diagnostic::At;
use crate::config::model;
use crate::config::model::LocationMatch;
use crate::config::model::Settings;
use crate::snapshot::conf::Conf;
use crate::snapshot::location::{Content, Location};
use crate::snapshot::program::Program;
use crate::snapshot::router::Router;
use crate::snapshot::{LocationId, ServerId};
use crate::vars::template::has_variables;
use std::sync::Arc;

/// What an `if` block takes from the location around it.
struct Around<'a> {
    server: ServerId,
    settings: &'a Settings,
    name: &'a str,
    prefix: &'a [u8],
    internal: bool,
    proxy_pass: Option<&'a model::ProxyPass>,
    content: &'a Content,
}

impl Build<'_> {
    /// One level of locations.
    pub(super) fn router(
        &mut self,
        locations: &[model::Location],
        outer: &Settings,
        server: ServerId,
    ) -> Router {
        let mut router = Router::default();
        for location in locations {
            let id = self.location(location, outer, server);
            let proxies = location.proxy_pass.is_some();
            match &location.matches {
                LocationMatch::Exact(uri) => {
                    router.add_exact(uri.as_bytes(), id, proxies && uri.ends_with('/'));
                }
                LocationMatch::Prefix(uri) => {
                    router.add_prefix(uri.as_bytes(), id, false, proxies && uri.ends_with('/'));
                }
                LocationMatch::PrefixNoRegex(uri) => {
                    router.add_prefix(uri.as_bytes(), id, true, proxies && uri.ends_with('/'));
                }
                LocationMatch::Regex(text) => {
                    router.add_regex(self.regex(text, false, &location.at), id);
                }
                LocationMatch::RegexCaseless(text) => {
                    router.add_regex(self.regex(text, true, &location.at), id);
                }
                LocationMatch::Named(name) => router.add_named(name.as_bytes(), id),
            }
            if !location.locations.is_empty() {
                let settings = location.settings.inherit(outer);
                router.nest(id, self.router(&location.locations, &settings, server));
            }
        }
        router
    }

    fn location(
        &mut self,
        location: &model::Location,
        outer: &Settings,
        server: ServerId,
    ) -> LocationId {
        let settings = location.settings.inherit(outer);
        let (name, prefix) = shown(&location.matches);
        let content = self.content(location);
        let around = Around {
            server,
            settings: &settings,
            name: &name,
            prefix: prefix.as_bytes(),
            internal: location.internal,
            proxy_pass: location.proxy_pass.as_ref(),
            content: &content,
        };
        let program = self.location_program(&location.rewrite, &around);
        let conf =
            self.location_conf(&settings, &location.at, location.proxy_pass.as_ref(), prefix);
        let tried = self.try_files(location.try_files.as_ref());
        let id = self.add_location(conf, program, content.clone(), &around);
        self.locations[id as usize].try_files = tried;
        id
    }

    /// TLS, and `proxy_redirect default`, need the target beside the settings.
    fn location_conf(
        &mut self,
        settings: &Settings,
        at: &At,
        pass: Option<&model::ProxyPass>,
        prefix: &str,
    ) -> Arc<Conf> {
        let is_grpc = pass.is_some_and(|it| it.grpc);
        let rules = pass.and_then(|it| it.memcached);
        let own = match rules {
            Some(rules) => Some(memcached::as_proxy(settings, rules)),
            None => is_grpc.then(|| grpc::as_proxy(settings)),
        };
        let settings = own.as_ref().unwrap_or(settings);
        let mut conf = self.conf(settings, at);
        if let Some(rules) = rules {
            let asked = self.memcached_conf(settings, rules, at);
            let written = Arc::make_mut(&mut conf);
            Arc::make_mut(&mut written.proxy).memcached = Some(asked);
            return conf;
        }
        if is_grpc {
            let conf = Arc::make_mut(&mut conf);
            Arc::make_mut(&mut conf.proxy).grpc = true;
        }
        if let Some(pass) = pass.filter(|it| may_be_tls(it)) {
            let family = if is_grpc { "grpc" } else { "proxy" };
            self.secure_checks(pass, settings, at, family);
            let conf = Arc::make_mut(&mut conf);
            Arc::make_mut(&mut conf.proxy).tls = self.proxy_tls(settings, at, family).map(Arc::new);
        }
        let wants_default = settings.proxy_redirect.as_ref().is_none_or(|it| it.contains(&None));
        if let Some(pass) = pass.filter(|it| wants_default && !has_variables(&it.url)) {
            let conf = Arc::make_mut(&mut conf);
            let proxy = Arc::make_mut(&mut conf.proxy);
            let own = settings.proxy_redirect.as_deref().unwrap_or_default();
            let at = own.iter().position(Option::is_none).unwrap_or(0);
            proxy.redirect.insert(at, default_redirect(&pass.url, prefix));
        }
        conf
    }

    fn content(&mut self, location: &model::Location) -> Content {
        if location.metrics {
            return Content::Metrics;
        }
        let handler = location.handler.as_ref();
        self.own_content(location.proxy_pass.as_ref(), location.content.as_ref(), handler)
            .unwrap_or(Content::Files)
    }

    fn own_content(
        &mut self,
        proxy_pass: Option<&model::ProxyPass>,
        chunk: Option<&model::Chunk>,
        handler: Option<&model::Handler>,
    ) -> Option<Content> {
        match (proxy_pass, chunk, handler) {
            (_, Some(chunk), _) => Some(Content::Lua(self.chunk(chunk))),
            (Some(pass), None, _) => Some(Content::Proxy(self.proxy_pass(pass))),
            (None, None, Some(model::Handler::Echo(it))) => Some(Content::Echo(self.echo(it))),
            (None, None, Some(model::Handler::EmptyGif)) => Some(Content::EmptyGif),
            (None, None, Some(model::Handler::StubStatus)) => Some(Content::StubStatus),
            (None, None, None) => None,
        }
    }

    fn location_program(&mut self, ops: &[model::RewriteOp], around: &Around<'_>) -> Program {
        self.program(ops, &mut |build, block| {
            let program = build.location_program(&block.rewrite, around);
            let settings = block.settings.inherit(around.settings);
            let pass = block.proxy_pass.as_ref().or(around.proxy_pass);
            let prefix = std::str::from_utf8(around.prefix).unwrap_or_default();
            let conf = build.location_conf(&settings, &block.at, pass, prefix);
            let content = build
                .own_content(
                    block.proxy_pass.as_ref(),
                    block.content.as_ref(),
                    block.handler.as_ref(),
                )
                .unwrap_or_else(|| around.content.clone());
            let id = build.add_location(conf, Box::default(), content, around);
            (program, Some(id))
        })
    }

    /// The location that stands for a server's own level.
    pub(super) fn root_location(
        &mut self,
        conf: Arc<Conf>,
        server: ServerId,
        block: &model::Server,
    ) -> LocationId {
        let settings = Settings::default();
        let around = Around {
            server,
            settings: &settings,
            name: "",
            prefix: b"",
            internal: false,
            proxy_pass: None,
            content: &Content::Files,
        };
        let tried = self.try_files(block.try_files.as_ref());
        let content = self.own_content(None, None, block.handler.as_ref());
        let content = content.unwrap_or(Content::Files);
        let id = self.add_location(conf, Box::default(), content, &around);
        self.locations[id as usize].try_files = tried;
        id
    }

    fn add_location(
        &mut self,
        conf: Arc<Conf>,
        program: Program,
        content: Content,
        around: &Around<'_>,
    ) -> LocationId {
        let id = LocationId::try_from(self.locations.len()).unwrap_or(LocationId::MAX);
        self.locations.push(Location {
            id,
            server: around.server,
            name: around.name.into(),
            conf,
            program,
            content,
            try_files: None,
            internal: around.internal,
            prefix: around.prefix.into(),
        });
        id
    }
}

/// How a location is shown, and the part of a URI that `proxy_pass` with a URI replaces.
fn shown(matches: &LocationMatch) -> (String, &str) {
    match matches {
        LocationMatch::Exact(uri) => (format!("= {uri}"), uri),
        LocationMatch::Prefix(uri) => (uri.clone(), uri),
        LocationMatch::PrefixNoRegex(uri) => (format!("^~ {uri}"), uri),
        LocationMatch::Regex(regex) => (format!("~ {regex}"), ""),
        LocationMatch::RegexCaseless(regex) => (format!("~* {regex}"), ""),
        LocationMatch::Named(name) => (format!("@{name}"), ""),
    }
}
