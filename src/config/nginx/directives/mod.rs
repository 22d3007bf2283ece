//! The directive table, one file a subject.

mod accepted;
mod access;
mod client;
mod core;
mod echo;
mod files;
mod finishing;
mod geo;
mod grpc;
mod grpc_ssl;
mod health;
mod http;
mod limits;
mod listen;
mod location;
mod log;
mod lua;
mod lua_socket;
mod map;
mod memcached;
mod more_headers;
mod proxy;
mod proxy_ssl;
mod rewrite;
mod rollout;
mod rollout_choice;
mod server;
mod setters;
mod ssl;
mod unsupported;
mod upstream;

use crate::config::nginx::directive::Directive;

/// Every directive that Moongate knows, supported or not.
pub fn all() -> impl Iterator<Item = &'static Directive> {
    const TABLES: &[&[Directive]] = &[
        core::TABLE,
        http::TABLE,
        client::TABLE,
        server::TABLE,
        location::TABLE,
        files::TABLE,
        finishing::TABLE,
        rewrite::TABLE,
        upstream::TABLE,
        health::TABLE,
        proxy::TABLE,
        proxy_ssl::TABLE,
        grpc::TABLE,
        grpc_ssl::TABLE,
        ssl::TABLE,
        map::TABLE,
        geo::TABLE,
        rollout::TABLE,
        rollout_choice::TABLE,
        access::TABLE,
        limits::TABLE,
        echo::TABLE,
        setters::TABLE,
        memcached::TABLE,
        more_headers::TABLE,
        log::TABLE,
        lua::TABLE,
        lua_socket::TABLE,
        accepted::TABLE,
        unsupported::TABLE,
    ];
    TABLES.iter().copied().flatten()
}

/// The hint for a name without a row whose whole family is refused.
pub fn unsupported_family(name: &str) -> Option<&'static str> {
    let mut families = unsupported::FAMILIES.iter();
    families.find(|(prefix, _)| name.starts_with(prefix)).map(|(_, hint)| *hint)
}

/// Whether `proxy_pass URL` replaces the request's URI: it has one of its own, and no variables.
pub fn proxy_pass_has_uri(url: &str) -> bool {
    proxy::has_uri(url)
}

/// Whether a URL of `proxy_pass`, or of `grpc_pass`, is one, as far as that is known before its
/// variables are.
///
/// # Errors
/// nginx's message.
pub fn proxy_pass_url(url: &str, grpc: bool) -> Result<(), String> {
    if grpc { proxy::check_grpc_url(url) } else { proxy::check_url(url) }
}

/// The address of a `listen`, normalised.
///
/// # Errors
/// nginx's message.
pub fn listen_address(text: &str) -> Result<String, String> {
    listen::address(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_directive_has_two_rows_for_one_place() {
        let rows: Vec<_> = all().collect();
        for (index, row) in rows.iter().enumerate() {
            for other in &rows[index + 1..] {
                assert!(
                    row.name != other.name || row.contexts & other.contexts == 0,
                    "{} stands twice in the table",
                    row.name
                );
            }
        }
    }
}
