//! Model -> snapshot: everything that can fail, done once, all faults at once.

mod access;
mod checks;
mod chunks;
mod conf;
mod cosocket;
mod echo;
mod files;
mod finishing;
mod grpc;
mod limits;
mod locations;
mod maps;
mod memcached;
mod proxy_pass;
mod rewrite;
mod rollouts;
mod servers;
mod tls;
mod upstreams;

pub use conf::open_error_log;
pub use proxy_pass::{UrlParts, split_url};
pub use upstreams::implicit_upstreams;

use super::{Snapshot, location::Location};
use crate::config::diagnostic::At;
use crate::config::diagnostic::Diagnostics;
use crate::config::model::Chunk;
use crate::config::model::Http;
use crate::config::model::Model;
use crate::config::model::Settings;
use crate::log::ErrorLog;
use crate::regex::Regex;
use crate::upstream::Addresses;
use crate::upstream::Registry;
use crate::vars::Names;
use crate::vars::Template;
use chunks::Chunks;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// What a snapshot is built from and with.
pub struct Inputs<'a> {
    /// The configuration.
    pub model: Arc<Model>,
    /// The `-p` prefix, absolute.
    pub prefix: &'a Path,
    /// What the names of certificates are relative to: the folder of the configuration.
    pub base: &'a Path,
    /// The number that the snapshot gets.
    pub generation: u64,
    /// Live upstreams: the snapshot's groups are made in here.
    pub upstreams: &'a Registry,
    /// Live rollouts: the snapshot's are made in here.
    pub rollouts: &'a crate::rollout::Registry,
    /// Live zones of limits: the snapshot's are found or made in here.
    pub limits: &'a crate::limits::Registry,
    /// What the names of upstreams resolved to.
    pub addresses: &'a Addresses,
    /// The main level's error log, already open.
    pub error_log: ErrorLog,
    /// Compiles a chunk to see whether it is Lua: the text of its syntax error if not.
    pub compile: &'a dyn Fn(&Chunk) -> Result<(), String>,
}

/// Builds a snapshot.
///
/// # Errors
/// All faults that were found.
pub fn build(inputs: &Inputs<'_>) -> Result<(Snapshot, Diagnostics), Diagnostics> {
    let mut build = Build {
        inputs,
        diagnostics: Diagnostics::default(),
        names: Names::default(),
        chunks: Chunks::default(),
        locations: Vec::new(),
        upstreams: foldhash::HashMap::default(),
        groups: Arc::default(),
        zones: limits::Zones::default(),
        regexes: HashMap::new(),
        types: Arc::default(),
        clients: Vec::new(),
    };
    let snapshot = build.snapshot();
    if build.diagnostics.has_faults() {
        Err(build.diagnostics)
    } else {
        Ok((snapshot, build.diagnostics))
    }
}

/// A build under way.
struct Build<'a> {
    inputs: &'a Inputs<'a>,
    diagnostics: Diagnostics,
    names: Names,
    chunks: Chunks,
    locations: Vec<Location>,
    upstreams: foldhash::HashMap<Box<str>, super::Upstream>,
    groups: Arc<crate::upstream::Groups>,
    zones: limits::Zones,
    regexes: HashMap<(String, bool), Arc<Regex>>,
    types: Arc<crate::http::mime::Types>,
    /// What was built of equal `proxy_ssl_*`, so that locations share connections and sessions.
    clients: Vec<(Settings, Option<Arc<crate::tls::Client>>)>,
}

impl Build<'_> {
    fn snapshot(&mut self) -> Snapshot {
        let model = self.inputs.model.clone();
        let empty = Http::default();
        let http = model.http.as_ref().unwrap_or(&empty);
        if let Some(types) = &http.types {
            let entries = types.iter().map(|(it, kind)| (it, kind));
            self.types = Arc::new(crate::http::mime::Types::new(entries));
        }
        let inputs = self.inputs;
        let rollouts = inputs.rollouts.build(&http.rollouts, inputs.prefix, &mut self.diagnostics);
        self.declare(http);
        self.upstreams(http);
        self.zones(http);
        let maps = self.maps(http);
        let geos = self.geos(http);
        let splits = self.splits(http);
        let assignments = self.assignments(http, &rollouts);
        let explain_secret = self.explain_secret(http);
        let lua = self.lua_hooks(http);
        let (servers, listeners) = self.servers(http);
        Snapshot {
            generation: self.inputs.generation,
            prefix: self.inputs.prefix.to_owned(),
            hostname: crate::sys::host::name().into(),
            listeners,
            servers,
            locations: std::mem::take(&mut self.locations),
            names: std::mem::take(&mut self.names),
            maps,
            geos,
            splits,
            assignments,
            explain_secret,
            chunks: std::mem::take(&mut self.chunks).finish(),
            lua,
            upstreams: std::mem::take(&mut self.upstreams),
            groups: self.groups.clone(),
            rollouts,
            model: model.clone(),
        }
    }

    /// Compiles a text; a fault names its place.
    fn template(&mut self, text: &str, at: &At) -> Template {
        Template::compile(text, &self.names).unwrap_or_else(|error| {
            self.diagnostics.fault(at, error.to_string());
            Template::literal("")
        })
    }

    /// Resolves a variable that is read.
    fn variable(&mut self, name: &str, at: &At) -> crate::vars::Var {
        self.names.resolve(name.as_bytes()).unwrap_or_else(|| {
            self.diagnostics.fault(at, format!("unknown \"{name}\" variable"));
            crate::vars::Var::Capture(0)
        })
    }

    /// Compiles a regex whose named groups become variables.
    fn regex(&mut self, text: &str, caseless: bool, at: &At) -> super::program::CapturingRegex {
        let key = (text.to_owned(), caseless);
        let regex = match self.regexes.get(&key) {
            Some(regex) => regex.clone(),
            None => {
                let regex = Regex::new(text.as_bytes(), caseless).unwrap_or_else(|error| {
                    self.diagnostics.fault(at, error.to_string());
                    Regex::nothing()
                });
                let regex = Arc::new(regex);
                self.regexes.insert(key, regex.clone());
                regex
            }
        };
        let groups: Vec<_> = regex.named_groups().map(|(name, it)| (name.to_vec(), it)).collect();
        let named = groups
            .into_iter()
            .filter_map(|(name, number)| match self.names.declare(&name) {
                Ok(var) => Some((number, var)),
                Err(message) => {
                    self.diagnostics.fault(at, message);
                    None
                }
            })
            .collect();
        super::program::CapturingRegex { regex, named }
    }
}
