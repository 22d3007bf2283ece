//! `server` and the names it answers to.

use super::listen::parse_listen;
use crate::config::model::{Server, ServerName};
use crate::config::nginx::directive::{Arity, Directive, HTTP, SERVER, Scope, custom};
use crate::config::nginx::lower::Lower;
use crate::config::nginx::tree::Node;

pub(super) const TABLE: &[Directive] = &[
    custom("server", HTTP, Arity::Exactly(0), server, "A virtual server.").block(),
    custom(
        "listen",
        SERVER,
        Arity::AtLeast(1),
        listen,
        "An address to accept on: `ADDRESS[:PORT] [default_server] [ssl] [http2] [backlog=N] \
         [ipv6only=on|off]`.",
    ),
    custom(
        "server_name",
        SERVER,
        Arity::AtLeast(1),
        server_name,
        "Names: exact, `*.example.org`, `www.example.*`, `.example.org` or `~regex`.",
    ),
];

fn server(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let mut server = Server { at: node.at.clone(), ..Server::default() };
    lower.block(node.children(), &mut Scope::Server(&mut server));
    if let Some(http) = scope.http() {
        http.servers.push(server);
    }
}

fn listen(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let listen = parse_listen(lower, node);
    if let (Some(listen), Some(server)) = (listen, scope.server()) {
        if server.listen.iter().any(|it| it.address == listen.address) {
            return lower.fault(node, format!("a duplicate listen {}", listen.address));
        }
        server.listen.push(listen);
    }
}

fn server_name(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let Some(server) = scope.server() else { return };
    for text in node.texts() {
        match parse_name(text) {
            Ok(names) => server.names.extend(names),
            Err(message) => lower.fault(node, message),
        }
        if text.contains('/') && !text.starts_with('~') {
            lower.warning(node, format!("server name \"{text}\" has suspicious symbols"));
        }
    }
}

/// nginx's rules of `ngx_http_core_server_name` and `ngx_hash_add_key`.
fn parse_name(text: &str) -> Result<Vec<ServerName>, String> {
    let invalid = |help: &str| Err(format!("server name \"{text}\" is invalid; {help}"));
    if let Some(regex) = text.strip_prefix('~') {
        if regex.is_empty() {
            return Err(format!("empty regex in server name \"{text}\""));
        }
        return Ok(vec![ServerName::Regex(regex.to_owned())]);
    }
    let name = text.to_ascii_lowercase();
    if let Some(rest) = name.strip_prefix("*.") {
        if rest.is_empty() || rest.contains('*') {
            return invalid("one \"*\" may stand for the first or the last part");
        }
        return Ok(vec![ServerName::Suffix(format!(".{rest}"))]);
    }
    if let Some(rest) = name.strip_prefix('.') {
        if rest.is_empty() || rest.contains('*') {
            return invalid("a name must follow the dot");
        }
        return Ok(vec![ServerName::Exact(rest.to_owned()), ServerName::Suffix(name)]);
    }
    if let Some(rest) = name.strip_suffix(".*") {
        if rest.is_empty() || rest.contains('*') {
            return invalid("one \"*\" may stand for the first or the last part");
        }
        return Ok(vec![ServerName::Prefix(format!("{rest}."))]);
    }
    if name.contains('*') {
        return invalid("\"*\" stands for a whole first or last part");
    }
    Ok(vec![ServerName::Exact(name)])
}
