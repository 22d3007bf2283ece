//! `memc_*` and `memcached_*` as what they are: the settings of proxying under names of their own,
//! and what is asked of memcached.

use super::Build;
use crate::config::diagnostic::At;
use crate::config::model::{Memcached, MemcachedSettings, Settings};
use crate::http::memcached::Command;
use crate::snapshot::conf::MemcachedConf;

/// Variables that ngx_memc reads, and nginx's own module.
const VARIABLES: [(Memcached, &str); 6] = [
    (Memcached::Memc, "memc_cmd"),
    (Memcached::Memc, "memc_key"),
    (Memcached::Memc, "memc_value"),
    (Memcached::Memc, "memc_flags"),
    (Memcached::Memc, "memc_exptime"),
    (Memcached::Memcached, "memcached_key"),
];

fn of(settings: &Settings, rules: Memcached) -> MemcachedSettings {
    let own = match rules {
        Memcached::Memc => &settings.memc,
        Memcached::Memcached => &settings.memcached,
    };
    own.clone().unwrap_or_default()
}

/// What `settings` say of a location with `memc_pass` or `memcached_pass`, as `proxy_*` would say
/// it.
pub(super) fn as_proxy(settings: &Settings, rules: Memcached) -> Settings {
    let it = of(settings, rules);
    Settings {
        proxy_http_version: None,
        proxy_set_header: None,
        proxy_hide_header: None,
        proxy_pass_header: None,
        proxy_method: None,
        proxy_bind: it.bind,
        proxy_connect_timeout_ms: it.connect_timeout_ms,
        proxy_send_timeout_ms: it.send_timeout_ms,
        proxy_read_timeout_ms: it.read_timeout_ms,
        proxy_next_upstream: it.next_upstream,
        proxy_next_upstream_tries: it.next_upstream_tries,
        proxy_next_upstream_timeout_ms: it.next_upstream_timeout_ms,
        proxy_intercept_errors: Some(true),
        proxy_pass_request_headers: None,
        proxy_pass_request_body: None,
        proxy_buffering: Some(false),
        proxy_buffer_size: it.buffer_size,
        proxy_buffers_bytes: None,
        proxy_request_buffering: None,
        proxy_ignore_client_abort: it.ignore_client_abort,
        proxy_redirect: Some(Vec::new()),
        ..settings.clone()
    }
}

impl Build<'_> {
    /// Declares the variables of `rules`: whoever sets them, they are there.
    pub(super) fn declare_memcached(&mut self, rules: Memcached, at: &At) {
        for (_, name) in VARIABLES.iter().filter(|it| it.0 == rules) {
            self.declare_variable(name, at);
        }
    }

    pub(super) fn memcached_conf(
        &mut self,
        settings: &Settings,
        rules: Memcached,
        at: &At,
    ) -> MemcachedConf {
        let it = of(settings, rules);
        let allowed = it.commands.iter().flatten();
        let allowed = allowed.filter_map(|name| {
            let command = Command::from_name(name.as_bytes());
            if command.is_none() {
                let message = format!("unknown memcached command \"{name}\"");
                self.diagnostics.fault(at, message);
            }
            command
        });
        let allowed = it.commands.is_some().then(|| allowed.collect());
        let key = match rules {
            Memcached::Memc => "memc_key",
            Memcached::Memcached => "memcached_key",
        };
        let mut of_memc = |name| (rules == Memcached::Memc).then(|| self.variable(name, at));
        MemcachedConf {
            command: of_memc("memc_cmd"),
            value: of_memc("memc_value"),
            flags: of_memc("memc_flags"),
            exptime: of_memc("memc_exptime"),
            key: self.variable(key, at),
            allowed,
            flags_to_last_modified: it.flags_to_last_modified.unwrap_or(false),
            gzip_flag: it.gzip_flag.unwrap_or(0),
        }
    }
}
