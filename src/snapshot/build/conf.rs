//! Settings -> conf: nginx's defaults, texts compiled, logs opened.

use super::Build;
use crate::config::diagnostic::At;
use crate::config::model;
use crate::config::model::Settings;
use crate::http::setters::Base32;
use crate::log::AccessSink;
use crate::log::Buffering;
use crate::log::Level;
use crate::log::Target;
use crate::resolver::Resolver;
use crate::snapshot::NGINX_VERSION;
use crate::snapshot::conf::{
    AccessLog, Alias, Conf, ErrorPage, Heads, Lingering, LuaHandlers, ProxyConf,
};
use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;

/// `log_format combined`, nginx's.
const COMBINED: &str = "$remote_addr - $remote_user [$time_local] \"$request\" $status \
                        $body_bytes_sent \"$http_referer\" \"$http_user_agent\"";

/// `moongate_json`: one JSON object a line, the Decision in it.
const MOONGATE_JSON: &str = concat!(
    r#"{"time":"$time_iso8601","request_id":"$request_id","client":"$remote_addr","#,
    r#""host":"$host","request":"$request","status":$status,"bytes":$body_bytes_sent,"#,
    r#""seconds":$request_time,"user_agent":"$http_user_agent","canary_version":"#,
    r#""$canary_version","canary_reason":"$canary_reason","upstream":"$upstream_name","#,
    r#""upstream_addr":"$upstream_addr","upstream_status":"$upstream_status","#,
    r#""upstream_seconds":"$upstream_response_time"}"#,
);

/// Response headers of an upstream that nginx does not pass on.
const HIDDEN: [&str; 8] = [
    "date",
    "server",
    "x-pad",
    "x-accel-expires",
    "x-accel-redirect",
    "x-accel-limit-rate",
    "x-accel-buffering",
    "x-accel-charset",
];

/// Request headers that nginx replaces whatever `proxy_set_header` says.
const REPLACED: [&str; 8] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "te",
    "keep-alive",
    "expect",
    "upgrade",
];

/// The longest head that may be configured.
const MOST_HEAD_BYTES: usize = 64 << 20;

impl Build<'_> {
    /// The final form of inherited settings; `at` is the block that they belong to.
    pub(super) fn conf(&mut self, settings: &Settings, at: &At) -> Arc<Conf> {
        let (server_header, product) = server_names(settings);
        Arc::new(Conf {
            error_log: self.error_log(settings),
            access_log: self.access_logs(settings, at),
            add_header: self.header_lines(settings.add_header.as_ref()),
            finishing: self.finishing(settings, at),
            chunked: settings.chunked_transfer_encoding.unwrap_or(true),
            base32: base32(settings),
            access: self.access(settings, at),
            limits: self.limits(settings),
            pace: self.pace(settings, at),
            more_headers: self.more_headers(&settings.more_headers),
            more_input_headers: self.more_headers(&settings.more_input_headers),
            echo_around: self.echo_around(settings),
            echo_status: settings.echo_status.unwrap_or(200),
            error_page: self.error_pages(settings),
            default_type: text(settings.default_type.as_deref().unwrap_or("text/plain")),
            server_header,
            product,
            client_max_body_size: match settings.client_max_body_size.unwrap_or(1 << 20) {
                0 => None,
                bytes => Some(bytes),
            },
            client_body_buffer_size: usize::try_from(
                settings.client_body_buffer_size.unwrap_or(16 << 10),
            )
            .unwrap_or(usize::MAX),
            client_body_in_file_only: settings.client_body_in_file_only.unwrap_or_default(),
            client_body_temp_path: self
                .inputs
                .prefix
                .join(settings.client_body_temp_path.as_deref().unwrap_or("client_body_temp"))
                .into(),
            client_header_timeout_ms: settings.client_header_timeout_ms.unwrap_or(60_000),
            heads: heads(settings),
            lingering: Lingering {
                close: settings.lingering_close.unwrap_or_default(),
                time_ms: settings.lingering_time_ms.unwrap_or(30_000),
                timeout_ms: settings.lingering_timeout_ms.unwrap_or(5000),
            },
            client_body_timeout_ms: settings.client_body_timeout_ms.unwrap_or(60_000),
            send_timeout_ms: settings.send_timeout_ms.unwrap_or(60_000),
            keepalive_timeout_ms: settings.keepalive_timeout_ms.unwrap_or(75_000),
            keepalive_header_s: settings.keepalive_header_s,
            keepalive_requests: settings.keepalive_requests.unwrap_or(1000),
            absolute_redirect: settings.absolute_redirect.unwrap_or(true),
            port_in_redirect: settings.port_in_redirect.unwrap_or(true),
            server_name_in_redirect: settings.server_name_in_redirect.unwrap_or(false),
            merge_slashes: settings.merge_slashes.unwrap_or(true),
            recursive_error_pages: settings.recursive_error_pages.unwrap_or(false),
            log_not_found: settings.log_not_found.unwrap_or(true),
            log_subrequest: settings.log_subrequest.unwrap_or(false),
            uninitialized_variable_warn: settings.uninitialized_variable_warn.unwrap_or(true),
            root: self.root(settings, at),
            alias: match settings.alias {
                None => Alias::None,
                Some(model::Alias::Prefix(length)) => Alias::Prefix(length),
                Some(model::Alias::Whole) => Alias::Whole,
            },
            index: self.index(settings, at),
            max_ranges: settings.max_ranges.unwrap_or(u64::MAX),
            etag: settings.etag.unwrap_or(true),
            if_modified_since: settings.if_modified_since.unwrap_or_default(),
            lua: self.lua_handlers(settings),
            cosocket: self.cosocket(settings, at),
            proxy: Arc::new(self.proxy_conf(settings, at)),
            resolver: self.resolver(settings),
            resolver_timeout_ms: settings.resolver_timeout_ms.unwrap_or(30_000),
            types: self.types.clone(),
        })
    }

    fn lua_handlers(&mut self, settings: &Settings) -> LuaHandlers {
        LuaHandlers {
            server_rewrite: self.optional_chunk(settings.server_rewrite_by_lua.as_ref()),
            rewrite: self.optional_chunk(settings.rewrite_by_lua.as_ref()),
            access: self.optional_chunk(settings.access_by_lua.as_ref()),
            header_filter: self.optional_chunk(settings.header_filter_by_lua.as_ref()),
            body_filter: self.optional_chunk(settings.body_filter_by_lua.as_ref()),
            log: self.optional_chunk(settings.log_by_lua.as_ref()),
            code_cache: settings.lua_code_cache.unwrap_or(true),
            need_request_body: settings.lua_need_request_body.unwrap_or(false),
            use_default_type: settings.lua_use_default_type.unwrap_or(true),
            transform_underscores: settings
                .lua_transform_underscores_in_response_headers
                .unwrap_or(true),
            ssl_client_hello: self.optional_chunk(settings.ssl_client_hello_by_lua.as_ref()),
            ssl_certificate: self.optional_chunk(settings.ssl_certificate_by_lua.as_ref()),
            check_client_abort: settings.lua_check_client_abort.unwrap_or(false),
            http10_buffering: settings.lua_http10_buffering.unwrap_or(true),
        }
    }

    fn error_log(&mut self, settings: &Settings) -> crate::log::ErrorLog {
        let Some(lines) = &settings.error_log else { return self.inputs.error_log.clone() };
        open_error_log(lines, self.inputs.prefix).unwrap_or_else(|(at, message)| {
            self.diagnostics.fault(&at, message);
            self.inputs.error_log.clone()
        })
    }

    fn access_logs(&mut self, settings: &Settings, at: &At) -> Arc<[AccessLog]> {
        let combined = [model::AccessLog {
            at: at.clone(),
            target: model::AccessLogTarget::File("logs/access.log".into()),
            format: "combined".into(),
            buffer_bytes: None,
            flush_ms: None,
            condition: None,
        }];
        let lines = settings.access_log.as_deref().unwrap_or(&combined);
        lines.iter().filter_map(|line| self.access_log(line)).collect()
    }

    fn access_log(&mut self, line: &model::AccessLog) -> Option<AccessLog> {
        let model = self.inputs.model.clone();
        let formats = model.http.iter().flat_map(|it| &it.log_formats);
        let declared = formats.clone().find(|it| it.name == line.format);
        let (text, escape, at) = match (declared, line.format.as_str()) {
            (Some(it), _) => (it.text.as_str(), it.escape, &it.at),
            (None, "combined") => (COMBINED, model::LogFormatEscape::Default, &line.at),
            (None, "moongate_json") => (MOONGATE_JSON, model::LogFormatEscape::Json, &line.at),
            (None, name) => {
                self.diagnostics.fault(&line.at, format!("unknown log format \"{name}\""));
                return None;
            }
        };
        let sink = match open_access_log(line, self.inputs.prefix) {
            Ok(sink) => sink,
            Err(message) => {
                self.diagnostics.fault(&line.at, message.to_string());
                return None;
            }
        };
        Some(AccessLog {
            sink,
            format: self.template(text, at),
            escape,
            condition: line.condition.as_ref().map(|it| self.template(it, &line.at)),
        })
    }

    fn error_pages(&mut self, settings: &Settings) -> Arc<[ErrorPage]> {
        let lines = settings.error_page.iter().flatten();
        lines
            .map(|line| ErrorPage {
                statuses: line.statuses.as_slice().into(),
                response: line.response,
                uri: self.template(&line.uri, &line.at),
            })
            .collect()
    }

    fn proxy_conf(&mut self, settings: &Settings, at: &At) -> ProxyConf {
        let own = settings.proxy_set_header.as_deref().unwrap_or_default();
        let mut set_header: Vec<(Bytes, _)> =
            own.iter().map(|(name, value)| (text(name), self.template(value, at))).collect();
        let mut replaced: Vec<Box<[u8]>> =
            own.iter().map(|(name, _)| name.to_ascii_lowercase().into_bytes().into()).collect();
        let http2 = settings.proxy_http_version == Some(20);
        for (name, value) in [("Host", "$proxy_host"), ("Connection", "close")] {
            if (http2 && name == "Connection")
                || own.iter().any(|(it, _)| it.eq_ignore_ascii_case(name))
            {
                continue;
            }
            set_header.push((text(name), self.template(value, at)));
        }
        for name in REPLACED {
            if !replaced.iter().any(|it| **it == *name.as_bytes()) {
                replaced.push(name.as_bytes().into());
            }
        }
        let next = || model::NextUpstream { error: true, timeout: true, ..Default::default() };
        ProxyConf {
            set_header,
            replaced,
            hide_header: hidden_headers(settings),
            http11: matches!(settings.proxy_http_version, Some(11 | 20)),
            http2,
            grpc: false,
            memcached: None,
            method: settings.proxy_method.as_ref().map(|it| self.template(it, at)),
            connect_timeout_ms: settings.proxy_connect_timeout_ms.unwrap_or(60_000),
            send_timeout_ms: settings.proxy_send_timeout_ms.unwrap_or(60_000),
            read_timeout_ms: settings.proxy_read_timeout_ms.unwrap_or(60_000),
            next_upstream: settings.proxy_next_upstream.clone().unwrap_or_else(next),
            next_upstream_tries: settings.proxy_next_upstream_tries.unwrap_or(0),
            next_upstream_timeout_ms: settings.proxy_next_upstream_timeout_ms.unwrap_or(0),
            intercept_errors: settings.proxy_intercept_errors.unwrap_or(false),
            pass_request_headers: settings.proxy_pass_request_headers.unwrap_or(true),
            pass_request_body: settings.proxy_pass_request_body.unwrap_or(true),
            buffering: settings.proxy_buffering.unwrap_or(true),
            buffer_size: settings.proxy_buffer_size.unwrap_or(4 << 10),
            buffers_bytes: settings.proxy_buffers_bytes.unwrap_or(32 << 10),
            request_buffering: settings.proxy_request_buffering.unwrap_or(true),
            ignore_client_abort: settings.proxy_ignore_client_abort.unwrap_or(false),
            tls: None,
            bind: self.bind(settings, at),
            force_ranges: settings.proxy_force_ranges.unwrap_or(false),
            redirect: self.proxy_redirects(settings, at),
        }
    }

    fn bind(&mut self, settings: &Settings, at: &At) -> Option<crate::vars::Template> {
        let text = settings.proxy_bind.as_deref().filter(|it| *it != "off")?;
        Some(self.template(text, at))
    }

    fn resolver(&mut self, settings: &Settings) -> Option<Arc<Resolver>> {
        let resolver = settings.resolver.as_ref()?;
        let timeout_ms = settings.resolver_timeout_ms.unwrap_or(30_000);
        match Resolver::new(resolver, timeout_ms) {
            Ok(resolver) => Some(Arc::new(resolver)),
            Err(error) => {
                self.diagnostics.fault(&resolver.at, error.to_string());
                None
            }
        }
    }

    /// Pairs that were written; `default` is added where `proxy_pass` is known.
    fn proxy_redirects(
        &mut self,
        settings: &Settings,
        at: &At,
    ) -> Vec<(crate::vars::Template, crate::vars::Template)> {
        let pairs = settings.proxy_redirect.iter().flatten().flatten();
        pairs.map(|(from, to)| (self.template(from, at), self.template(to, at))).collect()
    }
}

fn base32(settings: &Settings) -> Base32 {
    let default = Base32::default();
    let own = settings.set_base32_alphabet.as_ref();
    Base32 {
        alphabet: own.and_then(|it| it.as_bytes().try_into().ok()).unwrap_or(default.alphabet),
        padding: settings.set_base32_padding.unwrap_or(default.padding),
    }
}

fn text(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// The `Server` header, and the product of built-in pages.
fn server_names(settings: &Settings) -> (Bytes, Bytes) {
    let nginx = settings.server_identity.as_deref() == Some("nginx");
    let (name, version) =
        if nginx { ("nginx", NGINX_VERSION) } else { ("moongate", env!("CARGO_PKG_VERSION")) };
    let full = match settings.server_tokens {
        Some(model::ServerTokens::Off) => name.to_owned(),
        _ => format!("{name}/{version}"),
    };
    (text(&full), text(&full))
}

/// nginx's list, less `proxy_pass_header`, and `proxy_hide_header`.
fn hidden_headers(settings: &Settings) -> Vec<Box<[u8]>> {
    let passed = settings.proxy_pass_header.as_deref().unwrap_or_default();
    let hidden = settings.proxy_hide_header.iter().flatten().map(|it| it.to_ascii_lowercase());
    let defaults = HIDDEN.iter().map(|it| (*it).to_owned());
    defaults
        .filter(|name| !passed.iter().any(|it| it.eq_ignore_ascii_case(name)))
        .chain(hidden)
        .map(|it| it.into_bytes().into())
        .collect()
}

/// Opens the logs of `error_log` lines.
///
/// # Errors
/// The place of the line that failed, and why.
pub fn open_error_log(
    lines: &[model::ErrorLog],
    prefix: &Path,
) -> Result<crate::log::ErrorLog, (At, String)> {
    let mut targets = Vec::new();
    for line in lines {
        let target = match &line.target {
            model::ErrorLogTarget::File(path) => Target::file(prefix, path),
            model::ErrorLogTarget::Stderr => Target::Stderr,
            model::ErrorLogTarget::Syslog(text) => Target::Syslog(text.clone()),
        };
        targets.push((target, Level::from_number(line.level).unwrap_or(Level::Error)));
    }
    let at = lines.first().map(|it| it.at.clone()).unwrap_or_default();
    crate::log::ErrorLog::open(&targets).map_err(|error| (at, error.to_string()))
}

/// The limits of heads; a line fits the first buffer too where that is the larger one.
fn heads(settings: &Settings) -> Heads {
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX).min(MOST_HEAD_BYTES);
    let buffer_bytes = size(settings.client_header_buffer_size.unwrap_or(1 << 10)).max(64);
    let (number, large) = settings
        .large_client_header_buffers
        .map_or((4, 8 << 10), |it| (it.number as usize, size(it.size_bytes)));
    let line_bytes = large.max(buffer_bytes);
    Heads {
        line_bytes,
        head_bytes: line_bytes.saturating_mul(number).min(MOST_HEAD_BYTES),
        bare_lf: settings.bare_lf_in_headers.unwrap_or(false),
        underscores: settings.underscores_in_headers.unwrap_or(false),
    }
}

fn open_access_log(
    line: &model::AccessLog,
    prefix: &Path,
) -> Result<AccessSink, crate::log::Error> {
    let target = match &line.target {
        model::AccessLogTarget::File(path) => Target::file(prefix, path),
        model::AccessLogTarget::Syslog(text) => Target::Syslog(text.clone()),
    };
    let buffering = line.buffer_bytes.map(|bytes| Buffering { bytes, flush_ms: line.flush_ms });
    AccessSink::open(&target, buffering)
}
