//! `upstream` blocks, and the implicit ones that a `proxy_pass` to an address makes.

use super::Build;
use super::proxy_pass::{UrlParts, split_url};
use super::rollouts;
use crate::config::model;
use crate::config::model::Http;
use crate::snapshot::Upstream;
use crate::upstream::Implicit;
use crate::vars::template::has_variables;
use std::sync::Arc;

impl Build<'_> {
    pub(super) fn upstreams(&mut self, http: &Http) {
        let implicit = implicit_upstreams(http);
        let labelled = rollouts::labelled(http, &mut self.diagnostics);
        let groups = self.inputs.upstreams.build(
            &labelled,
            &implicit,
            self.inputs.addresses,
            &mut self.diagnostics,
        );
        for block in &http.upstreams {
            let hash_key = match &block.balance {
                model::Balance::Hash { key, .. } => Some(self.template(key, &block.at)),
                _ => None,
            };
            let balancer = self.optional_chunk(block.balancer.as_ref());
            // A group with a fault is left out; the fault is reported.
            if let Some(group) = groups.get(&block.name) {
                let group = group.clone();
                let upstream = Upstream { group, hash_key, balancer, is_block: true };
                self.upstreams.insert(block.name.to_ascii_lowercase().into(), upstream);
            }
        }
        for it in &implicit {
            if let Some(group) = groups.get(&it.name) {
                let group = group.clone();
                let upstream = Upstream { group, hash_key: None, balancer: None, is_block: false };
                self.upstreams.entry(it.name.to_ascii_lowercase().into()).or_insert(upstream);
            }
        }
        self.groups = Arc::new(groups);
    }
}

/// The addresses that `proxy_pass` names without variables and that no `upstream` block is called.
pub fn implicit_upstreams(http: &Http) -> Vec<Implicit> {
    let mut found = Vec::new();
    for server in &http.servers {
        collect(&server.locations, http, &mut found);
    }
    found
}

fn collect(locations: &[model::Location], http: &Http, found: &mut Vec<Implicit>) {
    for location in locations {
        let inner = location.rewrite.iter().filter_map(|op| match op {
            model::RewriteOp::If(block) => block.proxy_pass.as_ref(),
            _ => None,
        });
        for pass in inner.chain(&location.proxy_pass) {
            found.extend(implicit(pass, http));
        }
        collect(&location.locations, http, found);
    }
}

fn implicit(pass: &model::ProxyPass, http: &Http) -> Option<Implicit> {
    if has_variables(&pass.url) {
        return None;
    }
    // What is wrong with it is reported where the location is compiled.
    let parts = split_url(&pass.url, pass.is_bare()).ok()?;
    let name = parts.upstream_name();
    if http.upstreams.iter().any(|it| it.name.eq_ignore_ascii_case(&name)) {
        return None;
    }
    let name = parts.implicit_name();
    Some(Implicit { at: pass.at.clone(), address: parts.address().ok()?, name })
}

impl UrlParts {
    /// The upstream that the authority names: a block's name, or that of an implicit one.
    pub fn upstream_name(&self) -> String {
        if self.is_unix { format!("unix:{}", self.authority) } else { self.authority.clone() }
    }
}
