//! What holds across a whole model, whichever language it was written in.

mod limits;
mod rollouts;

use crate::config::diagnostic::{At, Diagnostic, Diagnostics};
use crate::config::model::{
    AccessLog, Http, IfBlock, Location, LocationMatch, Model, ProxyPass, RewriteOp, Server,
    ServerName, Settings, Upstream,
};
use crate::config::nginx::directives::{listen_address, proxy_pass_has_uri, proxy_pass_url};
use std::collections::{BTreeMap, BTreeSet};

/// Formats of access logs that need no `log_format`.
const PREDEFINED_FORMATS: [&str; 2] = ["combined", "moongate_json"];
/// Locations within locations, and `if` within them, as deep as the text may be.
const DEEPEST: usize = crate::config::nginx::tree::DEEPEST;

/// Finds the faults of `model` that no single directive shows.
pub(super) fn check(model: &Model, diagnostics: &mut Diagnostics) {
    if model.events.is_none() {
        let help = "write \"events { }\" beside \"http { … }\"";
        diagnostics
            .fault(&At::default(), format!("no \"events\" section in configuration; {help}"));
    }
    let Some(http) = &model.http else { return };
    upstreams(&http.upstreams, diagnostics);
    rollouts::rollouts(http, diagnostics);
    variables(http, diagnostics);
    names(http, diagnostics);
    listeners(&http.servers, diagnostics);
    let formats: BTreeSet<&str> =
        http.log_formats.iter().map(|it| it.name.as_str()).chain(PREDEFINED_FORMATS).collect();
    let zones = limits::zones(http, diagnostics);
    let mut walk = Walk { formats, zones, diagnostics };
    walk.settings(&http.settings);
    for server in &http.servers {
        walk.settings(&server.settings);
        walk.rewrite(&server.rewrite, 0);
        walk.locations(&server.locations, None, 0);
    }
}

/// Finds what the directives of a text would have refused one by one, in a model that came as JSON.
pub(super) fn check_unlexed(model: &Model, diagnostics: &mut Diagnostics) {
    let Some(http) = &model.http else { return };
    for server in &http.servers {
        for listen in &server.listen {
            let message = match listen_address(&listen.address) {
                Ok(address) if address == listen.address => continue,
                Ok(address) => format!("\"{}\" must be written \"{address}\"", listen.address),
                Err(message) => message,
            };
            diagnostics.fault(&listen.at, message);
        }
        proxy_passes(&server.locations, 0, diagnostics);
    }
    for upstream in http.upstreams.iter().filter(|it| it.peers.is_empty()) {
        diagnostics.fault(&upstream.at, "no servers are inside upstream");
    }
}

fn proxy_passes(locations: &[Location], depth: usize, diagnostics: &mut Diagnostics) {
    for location in locations.iter().filter(|_| depth <= DEEPEST) {
        let blocks = location.rewrite.iter().filter_map(|op| match op {
            RewriteOp::If(block) => block.proxy_pass.as_ref(),
            _ => None,
        });
        for pass in location.proxy_pass.iter().chain(blocks) {
            if let Err(message) = proxy_pass_url(&pass.url, pass.is_bare()) {
                diagnostics.fault(&pass.at, message);
            }
        }
        proxy_passes(&location.locations, depth + 1, diagnostics);
    }
}

fn upstreams(upstreams: &[Upstream], diagnostics: &mut Diagnostics) {
    let mut seen = BTreeSet::new();
    for upstream in upstreams {
        let (at, name) = (&upstream.at, &upstream.name);
        if !seen.insert(name.to_ascii_lowercase()) {
            diagnostics.fault(at, format!("duplicate upstream \"{name}\""));
        }
        if !upstream.peers.is_empty() && upstream.peers.iter().all(|it| it.backup) {
            let help = "a \"backup\" needs one that it stands in for";
            diagnostics.fault(at, format!("no servers in upstream \"{name}\"; {help}"));
        }
        if upstream.peers.iter().any(|it| it.weight == 0) {
            diagnostics.fault(at, format!("a weight of 0 in upstream \"{name}\""));
        }
        if upstream.keepalive == Some(0) {
            diagnostics.fault(at, "invalid value \"0\" in \"keepalive\" directive");
        }
    }
}

fn variables(http: &Http, diagnostics: &mut Diagnostics) {
    for split in &http.split_clients {
        let total: u64 = split.parts.iter().map(|it| u64::from(it.basis_points.unwrap_or(0))).sum();
        let rest_first = split.parts.iter().rev().skip(1).any(|it| it.basis_points.is_none());
        if total > 10_000 || rest_first {
            let help = if rest_first { "\"*\", the rest, comes last and once" } else { "" };
            let dash = if rest_first { "; " } else { "" };
            diagnostics.fault(&split.at, format!("percent total is greater than 100%{dash}{help}"));
        }
    }
    let maps = http.maps.iter().map(|it| (&it.at, &it.variable));
    let geos = http.geos.iter().map(|it| (&it.at, &it.variable));
    let splits = http.split_clients.iter().map(|it| (&it.at, &it.variable));
    let mut seen = BTreeMap::new();
    for (at, variable) in maps.chain(geos).chain(splits) {
        if let Some(first) = seen.insert(variable.to_ascii_lowercase(), at) {
            let message = format!("\"${variable}\" is defined again; the first is in {first}");
            diagnostics.push(Diagnostic::warning(at, message));
        }
    }
}

fn names(http: &Http, diagnostics: &mut Diagnostics) {
    let mut seen = BTreeSet::new();
    for format in &http.log_formats {
        let name = format.name.as_str();
        if PREDEFINED_FORMATS.contains(&name) || !seen.insert(name) {
            diagnostics.fault(&format.at, format!("duplicate \"log_format\" name \"{name}\""));
        }
    }
    let mut seen = BTreeSet::new();
    for dict in &http.lua.shared_dicts {
        let name = dict.name.as_str();
        if !seen.insert(name) {
            let message = format!("lua_shared_dict \"{name}\" is already defined as \"{name}\"");
            diagnostics.fault(&dict.at, message);
        }
        if dict.size_bytes <= 8191 {
            let size = dict.size_bytes;
            diagnostics.fault(&dict.at, format!("invalid lua shared dict size \"{size}\""));
        }
    }
}

/// nginx's rules for addresses that several servers share.
fn listeners(servers: &[Server], diagnostics: &mut Diagnostics) {
    let mut defaults = BTreeSet::new();
    let mut options: BTreeSet<&str> = BTreeSet::new();
    let mut taken: BTreeSet<(&str, &ServerName)> = BTreeSet::new();
    for server in servers {
        for listen in &server.listen {
            let address = listen.address.as_str();
            if listen.default_server && !defaults.insert(address) {
                diagnostics.fault(&listen.at, format!("a duplicate default server for {address}"));
            }
            let has_options = listen.backlog.is_some()
                || listen.ipv6only.is_some()
                || listen.so_keepalive.is_some();
            if has_options && !options.insert(address) {
                diagnostics.fault(&listen.at, format!("duplicate listen options for {address}"));
            }
            for name in &server.names {
                let text = match name {
                    ServerName::Exact(text) => text.clone(),
                    ServerName::Suffix(text) => format!("*{text}"),
                    ServerName::Prefix(text) => format!("{text}*"),
                    ServerName::Regex(_) => continue,
                };
                if !taken.insert((address, name)) {
                    let message =
                        format!("conflicting server name \"{text}\" on {address}, ignored");
                    diagnostics.push(Diagnostic::warning(&server.at, message));
                }
            }
        }
    }
}

struct Walk<'a> {
    formats: BTreeSet<&'a str>,
    zones: limits::Zones<'a>,
    diagnostics: &'a mut Diagnostics,
}

impl Walk<'_> {
    fn settings(&mut self, settings: &Settings) {
        for AccessLog { at, format, .. } in settings.access_log.iter().flatten() {
            if !self.formats.contains(format.as_str()) {
                self.diagnostics.fault(at, format!("unknown log format \"{format}\""));
            }
        }
        limits::settings(settings, &self.zones, self.diagnostics);
    }

    fn rewrite(&mut self, ops: &[RewriteOp], depth: usize) {
        for op in ops {
            let RewriteOp::If(block) = op else { continue };
            let IfBlock { at, settings, rewrite, proxy_pass, .. } = &**block;
            self.settings(settings);
            if let Some(pass) = proxy_pass {
                self.pass_without_uri(pass);
            }
            if rewrite.iter().any(|it| matches!(it, RewriteOp::If(_))) || depth > DEEPEST {
                self.diagnostics
                    .fault(at, "\"if\" directive is not allowed here; not in an \"if\"");
            }
        }
    }

    fn pass_without_uri(&mut self, pass: &ProxyPass) {
        if !pass.is_bare() && proxy_pass_has_uri(&pass.url) {
            self.diagnostics.fault(
                &pass.at,
                "\"proxy_pass\" cannot have URI part in location given by regular expression, \
                 or inside named location, or inside \"if\" statement, or inside \
                 \"limit_except\" block",
            );
        }
    }

    fn locations(&mut self, locations: &[Location], outer: Option<&Location>, depth: usize) {
        if depth > DEEPEST {
            return;
        }
        let mut seen: BTreeMap<(bool, &str), &At> = BTreeMap::new();
        for location in locations {
            if let Some(outer) = outer {
                self.nested(location, outer);
            }
            let key = match &location.matches {
                LocationMatch::Exact(text) => Some((true, text.as_str())),
                LocationMatch::Prefix(text) | LocationMatch::PrefixNoRegex(text) => {
                    Some((false, text.as_str()))
                }
                _ => None,
            };
            if let Some(key) = key
                && let Some(first) = seen.insert(key, &location.at)
            {
                let message = format!("duplicate location \"{}\"; the first is in {first}", key.1);
                self.diagnostics.fault(&location.at, message);
            }
            if let Some(pass) = &location.proxy_pass
                && matches!(
                    location.matches,
                    LocationMatch::Regex(_)
                        | LocationMatch::RegexCaseless(_)
                        | LocationMatch::Named(_)
                )
            {
                self.pass_without_uri(pass);
            }
            self.settings(&location.settings);
            self.rewrite(&location.rewrite, depth);
            self.locations(&location.locations, Some(location), depth + 1);
        }
    }

    /// `ngx_http_core_location` on a location within another.
    fn nested(&mut self, location: &Location, outer: &Location) {
        let name = text_of(&location.matches);
        let around = text_of(&outer.matches);
        let is_regex = |it: &LocationMatch| {
            matches!(it, LocationMatch::Regex(_) | LocationMatch::RegexCaseless(_))
        };
        let message = match (&outer.matches, &location.matches) {
            (LocationMatch::Exact(_), _) => {
                format!("location \"{name}\" cannot be inside the exact location \"{around}\"")
            }
            (LocationMatch::Named(_), _) => {
                format!("location \"{name}\" cannot be inside the named location \"{around}\"")
            }
            (_, LocationMatch::Named(_)) => {
                format!("named location \"{name}\" can be on the server level only")
            }
            (_, inner) if !is_regex(inner) && !name.starts_with(&around) => {
                format!("location \"{name}\" is outside location \"{around}\"")
            }
            _ => return,
        };
        self.diagnostics.fault(&location.at, message);
    }
}

fn text_of(matches: &LocationMatch) -> String {
    match matches {
        LocationMatch::Named(name) => format!("@{name}"),
        LocationMatch::Exact(text)
        | LocationMatch::Prefix(text)
        | LocationMatch::PrefixNoRegex(text)
        | LocationMatch::Regex(text)
        | LocationMatch::RegexCaseless(text) => text.clone(),
    }
}
