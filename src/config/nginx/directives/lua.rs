//! lua-nginx-module's directives.

use super::location::replace_content;
use crate::config::model::{Chunk, RewriteOp, SharedDict};
use crate::config::nginx::directive::{
    Apply, Arity, Contexts, Directive, HSLI, HTTP, LOCATION, LOCATION_IF, ONE, REWRITE, SERVER,
    Scope, Slot, custom, flag, millis, setting,
};
use crate::config::nginx::lower::Lower;
use crate::config::nginx::tree::Node;
use crate::config::units;

const NONE: Arity = Arity::Exactly(0);
const CONTENT: Contexts = LOCATION | LOCATION_IF;

const fn lua(
    name: &'static str,
    contexts: Contexts,
    slot: Slot<Chunk>,
    doc: &'static str,
) -> Directive {
    Directive::new(name, contexts, ONE, Apply::Lua(slot), doc)
}

const fn lua_block(
    name: &'static str,
    contexts: Contexts,
    slot: Slot<Chunk>,
    doc: &'static str,
) -> Directive {
    Directive::new(name, contexts, NONE, Apply::Lua(slot), doc).block()
}

const QUOTED: &str = "The same as a quoted string.";
const FILE: &str = "The same from a file.";

pub(super) const TABLE: &[Directive] = &[
    Directive::new(
        "lua_package_path",
        HTTP,
        ONE,
        Apply::Word(|s| Some(&mut s.http()?.lua.package_path)),
        "Where `require` looks for scripts; `;;` is the default path.",
    ),
    Directive::new(
        "lua_package_cpath",
        HTTP,
        ONE,
        Apply::Word(|s| Some(&mut s.http()?.lua.package_cpath)),
        "Where `require` looks for C modules.",
    ),
    custom(
        "lua_shared_dict",
        HTTP,
        Arity::Exactly(2),
        shared_dict,
        "`NAME SIZE`: a dictionary in `ngx.shared`.",
    ),
    flag(
        "lua_code_cache",
        HSLI,
        setting!(lua_code_cache),
        "Off: a fresh VM a request; default on.",
    ),
    lua_block(
        "init_by_lua_block",
        HTTP,
        |s| Some(&mut s.http()?.lua.init),
        "Lua at start and reload.",
    ),
    lua("init_by_lua", HTTP, |s| Some(&mut s.http()?.lua.init), QUOTED),
    lua("init_by_lua_file", HTTP, |s| Some(&mut s.http()?.lua.init), FILE),
    lua_block(
        "init_worker_by_lua_block",
        HTTP,
        |s| Some(&mut s.http()?.lua.init_worker),
        "Lua at the start of each worker.",
    ),
    lua("init_worker_by_lua", HTTP, |s| Some(&mut s.http()?.lua.init_worker), QUOTED),
    lua("init_worker_by_lua_file", HTTP, |s| Some(&mut s.http()?.lua.init_worker), FILE),
    lua_block(
        "exit_worker_by_lua_block",
        HTTP,
        |s| Some(&mut s.http()?.lua.exit_worker),
        "Lua at the end of each worker.",
    ),
    lua("exit_worker_by_lua_file", HTTP, |s| Some(&mut s.http()?.lua.exit_worker), FILE),
    lua_block(
        "ssl_session_fetch_by_lua_block",
        HTTP,
        |s| Some(&mut s.http()?.lua.ssl_session_fetch),
        "Lua that finds the session which a client would resume (up to TLS 1.2, without tickets): \
         `ngx.ssl.session`.",
    ),
    lua(
        "ssl_session_fetch_by_lua_file",
        HTTP,
        |s| Some(&mut s.http()?.lua.ssl_session_fetch),
        FILE,
    ),
    lua_block(
        "ssl_session_store_by_lua_block",
        HTTP,
        |s| Some(&mut s.http()?.lua.ssl_session_store),
        "Lua that keeps the session of a new handshake; it may not wait: `ngx.ssl.session`.",
    ),
    lua(
        "ssl_session_store_by_lua_file",
        HTTP,
        |s| Some(&mut s.http()?.lua.ssl_session_store),
        FILE,
    ),
    flag(
        "rewrite_by_lua_no_postpone",
        HTTP,
        |s| Some(&mut s.http()?.lua.rewrite_no_postpone),
        "Runs `rewrite_by_lua` ahead of `set`, `if` and `rewrite`; default off.",
    ),
    flag(
        "access_by_lua_no_postpone",
        HTTP,
        |s| Some(&mut s.http()?.lua.access_no_postpone),
        "Runs `access_by_lua` ahead of `allow`, `deny` and `auth_basic`; default off.",
    ),
    lua_block(
        "server_rewrite_by_lua_block",
        HTTP | SERVER,
        setting!(server_rewrite_by_lua),
        "Lua before a location is found, ahead of the server's `set`, `if` and `rewrite`.",
    ),
    lua("server_rewrite_by_lua_file", HTTP | SERVER, setting!(server_rewrite_by_lua), FILE),
    custom(
        "set_by_lua_block",
        REWRITE,
        ONE,
        set_by_lua,
        "A variable from Lua, in the order of `set` and `if`: `$NAME { … }`.",
    )
    .block(),
    custom("set_by_lua", REWRITE, Arity::AtLeast(2), set_by_lua, "`$NAME CODE [ARGUMENT…]`."),
    custom("set_by_lua_file", REWRITE, Arity::AtLeast(2), set_by_lua, "`$NAME FILE [ARGUMENT…]`."),
    lua_block("rewrite_by_lua_block", HSLI, setting!(rewrite_by_lua), "Lua in the rewrite phase."),
    lua("rewrite_by_lua", HSLI, setting!(rewrite_by_lua), QUOTED),
    lua("rewrite_by_lua_file", HSLI, setting!(rewrite_by_lua), FILE),
    lua_block("access_by_lua_block", HSLI, setting!(access_by_lua), "Lua in the access phase."),
    lua("access_by_lua", HSLI, setting!(access_by_lua), QUOTED),
    lua("access_by_lua_file", HSLI, setting!(access_by_lua), FILE),
    custom("content_by_lua_block", CONTENT, NONE, content, "Lua that answers.").block(),
    custom("content_by_lua", CONTENT, ONE, content, QUOTED),
    custom("content_by_lua_file", CONTENT, ONE, content, FILE),
    lua_block(
        "header_filter_by_lua_block",
        HSLI,
        setting!(header_filter_by_lua),
        "Lua before response headers are sent.",
    ),
    lua("header_filter_by_lua", HSLI, setting!(header_filter_by_lua), QUOTED),
    lua("header_filter_by_lua_file", HSLI, setting!(header_filter_by_lua), FILE),
    lua_block(
        "body_filter_by_lua_block",
        HSLI,
        setting!(body_filter_by_lua),
        "Lua for each piece of a response body.",
    ),
    lua("body_filter_by_lua", HSLI, setting!(body_filter_by_lua), QUOTED),
    lua("body_filter_by_lua_file", HSLI, setting!(body_filter_by_lua), FILE),
    lua_block("log_by_lua_block", HSLI, setting!(log_by_lua), "Lua behind the response."),
    lua("log_by_lua", HSLI, setting!(log_by_lua), QUOTED),
    lua("log_by_lua_file", HSLI, setting!(log_by_lua), FILE),
    Directive::new(
        "lua_capture_error_log",
        HTTP,
        ONE,
        Apply::Custom(capture_error_log),
        "Bytes of error log lines that a worker keeps for `ngx.errlog.get_logs`; at least 4k.",
    ),
    Directive::new(
        "lua_max_pending_timers",
        HTTP,
        ONE,
        Apply::Count(|s| Some(&mut s.http()?.lua.max_pending_timers)),
        "Timers that may wait; default 1024.",
    ),
    Directive::new(
        "lua_max_running_timers",
        HTTP,
        ONE,
        Apply::Count(|s| Some(&mut s.http()?.lua.max_running_timers)),
        "Timers that may run; default 256.",
    ),
    Directive::new(
        "lua_worker_thread_vm_pool_size",
        HTTP,
        ONE,
        Apply::Count(|s| Some(&mut s.http()?.lua.worker_thread_vm_pool_size)),
        "VMs that a worker has for `ngx.run_worker_thread`; default 100.",
    ),
    Directive::new(
        "lua_regex_cache_max_entries",
        HTTP,
        ONE,
        Apply::Count(|s| Some(&mut s.http()?.lua.regex_cache_max_entries)),
        "Regexes kept by option `o`; default 1024.",
    ),
    Directive::new(
        "lua_regex_match_limit",
        HTTP,
        ONE,
        Apply::Number32(|s| Some(&mut s.http()?.lua.regex_match_limit)),
        "PCRE2's match limit; 0 for its default.",
    ),
    millis(
        "lua_handler_timeout",
        HTTP,
        |s| Some(&mut s.http()?.lua.handler_timeout_ms),
        "CPU time that one handler may take; default `1s`.",
    )
    .ours(),
    Directive::new(
        "lua_vm_memory_limit",
        HTTP,
        ONE,
        Apply::Memory(|s| Some(&mut s.http()?.lua.vm_memory_limit_bytes)),
        "Memory that one VM may take; default `256m`.",
    )
    .ours(),
    flag(
        "lua_need_request_body",
        HSLI,
        setting!(lua_need_request_body),
        "Reads the body before Lua runs; default off.",
    ),
    flag(
        "lua_use_default_type",
        HSLI,
        setting!(lua_use_default_type),
        "Lua's answers have `default_type`; default on.",
    ),
    flag(
        "lua_transform_underscores_in_response_headers",
        HSLI,
        setting!(lua_transform_underscores_in_response_headers),
        "`_` in `ngx.header` names becomes `-`; default on.",
    ),
    lua_block(
        "ssl_certificate_by_lua_block",
        HTTP | SERVER,
        setting!(ssl_certificate_by_lua),
        "Lua in a handshake that needs a certificate: `ngx.ssl`.",
    ),
    lua("ssl_certificate_by_lua", HTTP | SERVER, setting!(ssl_certificate_by_lua), QUOTED),
    lua("ssl_certificate_by_lua_file", HTTP | SERVER, setting!(ssl_certificate_by_lua), FILE),
    lua_block(
        "ssl_client_hello_by_lua_block",
        HTTP | SERVER,
        setting!(ssl_client_hello_by_lua),
        "Lua at the beginning of a handshake, of the listener's default server: \
         `ngx.ssl.clienthello`.",
    ),
    lua("ssl_client_hello_by_lua", HTTP | SERVER, setting!(ssl_client_hello_by_lua), QUOTED),
    lua("ssl_client_hello_by_lua_file", HTTP | SERVER, setting!(ssl_client_hello_by_lua), FILE),
    flag(
        "lua_check_client_abort",
        HSLI,
        setting!(lua_check_client_abort),
        "A client that leaves ends the handler, unless `ngx.on_abort` says else; default off.",
    ),
    flag(
        "lua_http10_buffering",
        HSLI,
        setting!(lua_http10_buffering),
        "Buffers answers to HTTP/1.0; default on.",
    ),
];

fn capture_error_log(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    const LEAST: usize = 4096;
    let Some(http) = scope.http() else { return };
    let size = node.arg(0);
    let bytes = units::bytes(size).and_then(|it| usize::try_from(it).ok());
    match bytes.filter(|it| *it >= LEAST) {
        Some(bytes) => http.lua.capture_error_log_bytes = Some(bytes),
        None => lower.fault(node, format!("invalid capture error log size \"{size}\"")),
    }
}

fn shared_dict(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let Some(http) = scope.http() else { return };
    let (name, size) = (node.arg(0), node.arg(1));
    let bytes = units::bytes(size).and_then(|it| usize::try_from(it).ok());
    let Some(size_bytes) = bytes.filter(|it| *it > 8191) else {
        let message = format!("invalid lua shared dict size \"{size}\"; it is 8k at least");
        return lower.fault(node, message);
    };
    if name.is_empty() {
        return lower.fault(node, "invalid lua shared dict name \"\"");
    }
    let dict = SharedDict { at: node.at.clone(), name: name.to_owned(), size_bytes };
    http.lua.shared_dicts.push(dict);
}

fn set_by_lua(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let variable = lower.variable(node, node.arg(0));
    let args = node.texts().skip(2).map(|it| lower.text(node, it)).collect();
    let Some(chunk) = lower.chunk(node, 1) else { return };
    if let Some(rewrite) = scope.rewrite() {
        rewrite.push(RewriteOp::SetByLua { variable, chunk, args });
    }
}

fn content(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let value = lower.chunk(node, 0);
    let slot = match scope {
        Scope::Location(it) => &mut it.content,
        Scope::LocationIf(it) => &mut it.content,
        _ => return,
    };
    lower.once(node, Some(slot), value);
    replace_content(lower, scope, node);
}
