//! `map`, `geo` and `split_clients`, compiled; and the names that a configuration declares.

use super::Build;
use crate::config::model;
use crate::config::model::Http;
use crate::config::model::RewriteOp;
use crate::snapshot::Map;
use crate::snapshot::server_names::Wildcards;
use crate::vars::geo::Geo;
use crate::vars::split_clients::Split;
use foldhash::HashMap;
use foldhash::HashMapExt;

impl Build<'_> {
    /// Declares all names before any text is compiled: in nginx too a variable may be used above
    /// the line that declares it.
    pub(super) fn declare(&mut self, http: &Http) {
        for (number, map) in http.maps.iter().enumerate() {
            let number = u16::try_from(number).unwrap_or(u16::MAX);
            if let Err(message) = self.names.declare_map(map.variable.as_bytes(), number) {
                self.diagnostics.fault(&map.at, message);
            }
        }
        for (number, geo) in http.geos.iter().enumerate() {
            let number = u16::try_from(number).unwrap_or(u16::MAX);
            if let Err(message) = self.names.declare_geo(geo.variable.as_bytes(), number) {
                self.diagnostics.fault(&geo.at, message);
            }
        }
        for (number, split) in http.split_clients.iter().enumerate() {
            let number = u16::try_from(number).unwrap_or(u16::MAX);
            if let Err(message) = self.names.declare_split(split.variable.as_bytes(), number) {
                self.diagnostics.fault(&split.at, message);
            }
        }
        for (number, rollout) in http.rollouts.iter().enumerate() {
            let number = u16::try_from(number).unwrap_or(u16::MAX);
            if let Err(message) = self.names.declare_rollout(&rollout.name, number) {
                self.diagnostics.fault(&rollout.at, message);
            }
        }
        self.declare_settings(&http.settings);
        for server in &http.servers {
            self.declare_settings(&server.settings);
            self.declare_program(&server.rewrite);
            server.names.iter().for_each(|name| {
                if let model::ServerName::Regex(text) = name {
                    self.regex(text, true, &server.at);
                }
            });
            self.declare_locations(&server.locations);
        }
        for entry in http.maps.iter().flat_map(|it| &it.entries) {
            if let Some((regex, caseless)) = map_regex(entry) {
                self.regex(regex, caseless, &entry.at);
            }
        }
    }

    fn declare_locations(&mut self, locations: &[model::Location]) {
        for location in locations {
            match &location.matches {
                model::LocationMatch::Regex(text) => {
                    self.regex(text, false, &location.at);
                }
                model::LocationMatch::RegexCaseless(text) => {
                    self.regex(text, true, &location.at);
                }
                _ => {}
            }
            self.declare_settings(&location.settings);
            if let Some(pass) = &location.proxy_pass {
                self.declare_pass(pass);
            }
            self.declare_program(&location.rewrite);
            self.declare_locations(&location.locations);
        }
    }

    fn declare_settings(&mut self, settings: &model::Settings) {
        for line in settings.auth_request_set.iter().flatten() {
            self.declare_variable(&line.variable, &line.at);
        }
    }

    /// The variables by which memcached is asked.
    fn declare_pass(&mut self, pass: &model::ProxyPass) {
        if let Some(rules) = pass.memcached {
            self.declare_memcached(rules, &pass.at);
        }
    }

    fn declare_program(&mut self, ops: &[RewriteOp]) {
        for op in ops {
            match op {
                RewriteOp::Set { at, variable, .. } | RewriteOp::Setter { at, variable, .. } => {
                    self.declare_variable(variable, at);
                }
                RewriteOp::SetByLua { variable, chunk, .. } => {
                    self.declare_variable(variable, &chunk.at);
                }
                RewriteOp::If(block) => {
                    if let model::Condition::Matches { regex, caseless, .. } = &block.condition {
                        self.regex(regex, *caseless, &block.at);
                    }
                    if let Some(pass) = &block.proxy_pass {
                        self.declare_pass(pass);
                    }
                    self.declare_program(&block.rewrite);
                }
                RewriteOp::Rewrite(rewrite) => {
                    self.regex(&rewrite.regex, false, &rewrite.at);
                }
                RewriteOp::Return(_) | RewriteOp::Break { .. } => {}
            }
        }
    }

    pub(super) fn declare_variable(&mut self, name: &str, at: &crate::config::diagnostic::At) {
        if let Err(message) = self.names.declare(name.as_bytes()) {
            self.diagnostics.fault(at, message);
        }
    }

    pub(super) fn maps(&mut self, http: &Http) -> Vec<Map> {
        http.maps.iter().map(|it| self.map(it)).collect()
    }

    fn map(&mut self, map: &model::Map) -> Map {
        let mut compiled = Map {
            source: self.template(&map.source, &map.at),
            exact: HashMap::new(),
            hosts: map.hostnames.then(Wildcards::default),
            regexes: Vec::new(),
            default: self.template(&map.default, &map.at),
            volatile: map.volatile,
        };
        for entry in &map.entries {
            let value = self.template(&entry.value, &entry.at);
            if let Some((regex, caseless)) = map_regex(entry) {
                compiled.regexes.push((self.regex(regex, caseless, &entry.at), value));
                continue;
            }
            let key = entry.key.to_ascii_lowercase();
            let is_new = match (&mut compiled.hosts, entry.literal) {
                (Some(hosts), false) if key.starts_with("*.") => {
                    hosts.add_suffix(&key.as_bytes()[1..], value)
                }
                (Some(hosts), false) if key.starts_with('.') => {
                    compiled.exact.insert(key.as_bytes()[1..].into(), value.clone());
                    hosts.add_suffix(key.as_bytes(), value)
                }
                (Some(hosts), false) if key.ends_with(".*") => {
                    hosts.add_prefix(&key.as_bytes()[..key.len() - 1], value)
                }
                _ => compiled.exact.insert(key.into_bytes().into(), value).is_none(),
            };
            if !is_new {
                let message = format!("conflicting parameter \"{}\"", entry.key);
                self.diagnostics.fault(&entry.at, message);
            }
        }
        compiled
    }

    pub(super) fn geos(&mut self, http: &Http) -> Vec<Geo> {
        let source = |build: &mut Self, it: &model::Geo| {
            it.source.as_ref().map(|name| build.variable(name, &it.at))
        };
        http.geos.iter().map(|it| Geo::new(it, source(self, it))).collect()
    }

    pub(super) fn splits(&mut self, http: &Http) -> Vec<Split> {
        let mut splits = Vec::new();
        for split in &http.split_clients {
            let source = self.template(&split.source, &split.at);
            let mut parts = Vec::new();
            for part in &split.parts {
                parts.push((part.basis_points, self.template(&part.value, &split.at)));
            }
            splits.push(Split::new(source, parts));
        }
        splits
    }
}

/// A key that is a regex: the regex, and whether case does not matter.
fn map_regex(entry: &model::MapEntry) -> Option<(&str, bool)> {
    if entry.literal {
        return None;
    }
    let regex = entry.key.strip_prefix('~')?;
    Some(regex.strip_prefix('*').map_or((regex, false), |it| (it, true)))
}

impl Map {
    /// The result for a key: exact, hostname wildcards, the first regex that `matches` says yes to,
    /// default. Keys have no case, as in nginx.
    pub fn pick(
        &self,
        key: &[u8],
        mut matches: impl FnMut(&crate::snapshot::program::CapturingRegex) -> bool,
    ) -> &crate::vars::Template {
        let lower = key.to_ascii_lowercase();
        // With `hostnames`, nginx takes a trailing dot off.
        let host = match &self.hosts {
            Some(_) => lower.strip_suffix(b".").unwrap_or(&lower),
            None => &lower,
        };
        if let Some(value) = self.exact.get(host) {
            return value;
        }
        if let Some(value) = self.hosts.as_ref().and_then(|it| it.find(host)) {
            return value;
        }
        let found = self.regexes.iter().find(|(regex, _)| matches(regex));
        found.map_or(&self.default, |(_, value)| value)
    }
}
