//! What the settings of one location come to: inherited, with defaults, texts compiled.

use super::ChunkId;
use super::access::Access;
use super::echo::Around;
use super::finishing::Finishing;
use super::limits::{Limits, Pace};
use super::more_headers::MoreHeaders;
use crate::config::model;
use crate::http::memcached::Command;
use crate::http::setters::Base32;
use crate::log::{AccessSink, ErrorLog};
use crate::vars::{Template, Var};
use bytes::Bytes;
use std::sync::Arc;

/// Settings of a location (or server level, or `if`) in their final form.
#[derive(Clone)]
pub struct Conf {
    /// Where errors of its requests are logged.
    pub error_log: ErrorLog,
    /// Access logs in order.
    pub access_log: Arc<[AccessLog]>,
    /// `add_header` lines.
    pub add_header: Arc<[AddHeader]>,
    /// What else is added on the way out; `None` where that is nothing.
    pub finishing: Option<Arc<Finishing>>,
    /// Bodies of unknown length go in chunks.
    pub chunked: bool,
    /// What base32 looks like.
    pub base32: Base32,
    /// Who may come in; `None` where nothing was said.
    pub access: Option<Arc<Access>>,
    /// How much a client may ask for; `None` where nothing was said.
    pub limits: Option<Arc<Limits>>,
    /// How fast responses leave; `None` where nothing was said.
    pub pace: Option<Arc<Pace>>,
    /// Lines of headers-more for the response.
    pub more_headers: Arc<[MoreHeaders]>,
    /// The same for the request.
    pub more_input_headers: Arc<[MoreHeaders]>,
    /// What echo says around bodies.
    pub echo_around: Option<Arc<Around>>,
    /// `echo_status`
    pub echo_status: u16,
    /// `error_page` lines.
    pub error_page: Arc<[ErrorPage]>,
    /// `default_type`.
    pub default_type: Bytes,
    /// Value of the `Server` header.
    pub server_header: Bytes,
    /// Product that built-in error pages name: as `server_header` says.
    pub product: Bytes,
    /// Bytes; `None` is no limit.
    pub client_max_body_size: Option<u64>,
    /// Bytes of a request body kept in memory.
    pub client_body_buffer_size: usize,
    /// Which bodies are written to files whatever their size.
    pub client_body_in_file_only: model::BodyInFile,
    /// Directory of body files.
    pub client_body_temp_path: Arc<std::path::Path>,
    /// For the whole head of a request; 0 is no limit. That of the default server counts.
    pub client_header_timeout_ms: u64,
    /// What heads may look like. That of the default server counts.
    pub heads: Heads,
    /// How a connection closes.
    pub lingering: Lingering,
    /// Between two reads of a body.
    pub client_body_timeout_ms: u64,
    /// Between two writes to the client.
    pub send_timeout_ms: u64,
    /// 0 closes the connection after each answer.
    pub keepalive_timeout_ms: u64,
    /// `Keep-Alive: timeout=` in seconds.
    pub keepalive_header_s: Option<u64>,
    /// Requests a connection may make.
    pub keepalive_requests: u64,
    /// Relative redirects are made absolute.
    pub absolute_redirect: bool,
    /// The port is shown in absolute redirects.
    pub port_in_redirect: bool,
    /// The server's name is shown in absolute redirects.
    pub server_name_in_redirect: bool,
    /// `//` in a path counts as `/`.
    pub merge_slashes: bool,
    /// An error page may have an error page.
    pub recursive_error_pages: bool,
    /// A missing file is logged.
    pub log_not_found: bool,
    /// A subrequest is logged like a request.
    pub log_subrequest: bool,
    /// A variable that is used unset is logged.
    pub uninitialized_variable_warn: bool,
    /// `root`, or `alias`; without variables it is absolute.
    pub root: Template,
    /// What `root` is.
    pub alias: Alias,
    /// `index`
    pub index: Arc<[Template]>,
    /// `max_ranges`; 0 is none.
    pub max_ranges: u64,
    /// Files have an `ETag`.
    pub etag: bool,
    /// How `If-Modified-Since` is compared.
    pub if_modified_since: model::IfModifiedSince,
    /// Lua handlers.
    pub lua: LuaHandlers,
    /// Settings of scripts' sockets.
    pub cosocket: Arc<crate::cosocket::Settings>,
    /// Settings of proxying.
    pub proxy: Arc<ProxyConf>,
    /// Resolves the names that variables of `proxy_pass` give.
    pub resolver: Option<Arc<crate::resolver::Resolver>>,
    /// `resolver_timeout`.
    pub resolver_timeout_ms: u64,
    /// MIME types by extension.
    pub types: Arc<crate::http::mime::Types>,
}

/// What stands for the beginning of a URI in the path of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alias {
    /// Nothing: the URI follows `root`.
    None,
    /// So many of its bytes give way to `alias`.
    Prefix(usize),
    /// `alias` of a regex is the whole path.
    Whole,
}

/// The heads of HTTP/1 requests.
#[derive(Clone, Copy, Debug)]
pub struct Heads {
    /// The longest line, bytes: of `large_client_header_buffers`, or `client_header_buffer_size`
    /// where that is more.
    pub line_bytes: usize,
    /// The longest head, bytes.
    pub head_bytes: usize,
    /// Lines may end with LF alone.
    pub bare_lf: bool,
    /// Header names with `_` are kept.
    pub underscores: bool,
}

/// What is done for a client that still sends when its connection closes.
#[derive(Clone, Copy, Debug)]
pub struct Lingering {
    /// When.
    pub close: model::LingeringClose,
    /// For so many milliseconds in all.
    pub time_ms: u64,
    /// Milliseconds between two reads.
    pub timeout_ms: u64,
}

/// Lua attached to the phases of a location.
#[derive(Clone, Copy, Debug, Default)]
pub struct LuaHandlers {
    /// `server_rewrite_by_lua*`.
    pub server_rewrite: Option<ChunkId>,
    /// `rewrite_by_lua*`.
    pub rewrite: Option<ChunkId>,
    /// `access_by_lua*`.
    pub access: Option<ChunkId>,
    /// `header_filter_by_lua*`.
    pub header_filter: Option<ChunkId>,
    /// `body_filter_by_lua*`.
    pub body_filter: Option<ChunkId>,
    /// `log_by_lua*`.
    pub log: Option<ChunkId>,
    /// `lua_code_cache`.
    pub code_cache: bool,
    /// `lua_need_request_body`.
    pub need_request_body: bool,
    /// `lua_use_default_type`.
    pub use_default_type: bool,
    /// `lua_transform_underscores_in_response_headers`.
    pub transform_underscores: bool,
    /// `ssl_client_hello_by_lua*`.
    pub ssl_client_hello: Option<ChunkId>,
    /// `ssl_certificate_by_lua*`.
    pub ssl_certificate: Option<ChunkId>,
    /// `lua_check_client_abort`.
    pub check_client_abort: bool,
    /// `lua_http10_buffering`.
    pub http10_buffering: bool,
}

/// A compiled `access_log`.
#[derive(Clone)]
pub struct AccessLog {
    /// Where lines go.
    pub sink: AccessSink,
    /// What a line says.
    pub format: Template,
    /// How variables are escaped.
    pub escape: model::LogFormatEscape,
    /// `if=`.
    pub condition: Option<Template>,
}

/// A compiled `add_header`.
#[derive(Clone, Debug)]
pub struct AddHeader {
    /// Its name.
    pub name: Bytes,
    /// Its value; an empty one adds nothing.
    pub value: Template,
    /// On every status.
    pub always: bool,
}

/// A compiled `error_page`.
#[derive(Clone, Debug)]
pub struct ErrorPage {
    /// Statuses that it serves.
    pub statuses: Box<[u16]>,
    /// `=200` or `=`.
    pub response: Option<Option<u16>>,
    /// Where to.
    pub uri: Template,
}

/// Settings of proxying.
#[derive(Clone, Debug)]
pub struct ProxyConf {
    /// Headers for the upstream, in the order in which nginx sends them; an empty value removes.
    pub set_header: Vec<(Bytes, Template)>,
    /// Names, lower case, that `set_header` or nginx's defaults take from the client's headers.
    pub replaced: Vec<Box<[u8]>>,
    /// Response headers that are not passed on, lower case, the built-in ones included.
    pub hide_header: Vec<Box<[u8]>>,
    /// HTTP/1.1 or newer rather than 1.0 towards the upstream.
    pub http11: bool,
    /// HTTP/2 towards the upstream.
    pub http2: bool,
    /// It is `grpc_pass` that says so.
    pub grpc: bool,
    /// memcached is asked, in its own protocol.
    pub memcached: Option<MemcachedConf>,
    /// `proxy_method`.
    pub method: Option<Template>,
    /// Milliseconds.
    pub connect_timeout_ms: u64,
    /// Milliseconds between two writes.
    pub send_timeout_ms: u64,
    /// Milliseconds between two reads.
    pub read_timeout_ms: u64,
    /// When to try another peer.
    pub next_upstream: model::NextUpstream,
    /// 0 is no limit.
    pub next_upstream_tries: u32,
    /// 0 is no limit.
    pub next_upstream_timeout_ms: u64,
    /// Upstream errors get our error pages.
    pub intercept_errors: bool,
    /// The client's headers are sent.
    pub pass_request_headers: bool,
    /// The client's body is sent.
    pub pass_request_body: bool,
    /// The answer is read ahead of the client.
    pub buffering: bool,
    /// The longest head of a response, bytes.
    pub buffer_size: usize,
    /// Bytes that are read ahead.
    pub buffers_bytes: usize,
    /// The body is read before a peer is asked.
    pub request_buffering: bool,
    /// A client that went away does not end the exchange.
    pub ignore_client_abort: bool,
    /// Where `proxy_pass` may be `https://`: how TLS is spoken.
    pub tls: Option<Arc<ProxyTls>>,
    /// `proxy_force_ranges`
    pub force_ranges: bool,
    /// `proxy_bind`: the local address, where there is one.
    pub bind: Option<Template>,
    /// `proxy_redirect`: replacement pairs in order.
    pub redirect: Vec<(Template, Template)>,
}

/// `memc_pass` or `memcached_pass`: the variables that say what is asked.
#[derive(Clone, Debug)]
pub struct MemcachedConf {
    /// The key.
    pub key: Var,
    /// The command's name; there is none for `memcached_pass`, which gets.
    pub command: Option<Var>,
    /// What is kept, or counted by.
    pub value: Option<Var>,
    /// The flags, which a value that is got sets.
    pub flags: Option<Var>,
    /// Seconds.
    pub exptime: Option<Var>,
    /// `memc_cmds_allowed`
    pub allowed: Option<Box<[Command]>>,
    /// `memc_flags_to_last_modified`
    pub flags_to_last_modified: bool,
    /// `memcached_gzip_flag`; 0 is none.
    pub gzip_flag: u32,
}

/// `proxy_ssl_*`
#[derive(Clone, Debug)]
pub struct ProxyTls {
    /// Certificates, versions, sessions.
    pub client: Arc<crate::tls::Client>,
    /// `proxy_ssl_name`
    pub name: Template,
    /// `proxy_ssl_server_name`
    pub sends_name: bool,
}
