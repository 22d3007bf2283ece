//! `proxy_pass`, taken apart.

use super::Build;
use crate::config::model;
use crate::snapshot::proxy_target::{ProxyTarget, TargetKind};
use crate::snapshot::{Snapshot, Upstream};
use crate::vars::template::has_variables;
use crate::vars::{Template, Var};
use bytes::Bytes;
use std::sync::Arc;

impl Build<'_> {
    /// Compiles a `proxy_pass`; an address that no `upstream` block names is an implicit upstream.
    pub(super) fn proxy_pass(&mut self, pass: &model::ProxyPass) -> Arc<ProxyTarget> {
        let kind = if has_variables(&pass.url) {
            let template = self.template(&pass.url, &pass.at);
            rollout_target(&template).unwrap_or(TargetKind::Variable(template))
        } else {
            self.static_target(pass)
        };
        Arc::new(ProxyTarget { at: pass.at.clone(), kind })
    }

    fn static_target(&mut self, pass: &model::ProxyPass) -> TargetKind {
        let at = &pass.at;
        let parts = split_url(&pass.url, pass.is_bare()).unwrap_or_else(|message| {
            self.diagnostics.fault(at, message);
            UrlParts::default()
        });
        let upstream: Arc<str> = parts.name_among(|name| self.upstreams.get(name)).into();
        let is_block = self.upstreams.contains_key(upstream.to_ascii_lowercase().as_str());
        if let (false, Err(message)) = (is_block, parts.address()) {
            self.diagnostics.fault(at, message);
        }
        let (host, port) = parts.host_and_port();
        TargetKind::Static { upstream, host, port, uri: parts.uri, is_tls: parts.is_tls }
    }
}

/// A URL that is nothing but a scheme and a rollout's variable: it needs no evaluation.
fn rollout_target(url: &Template) -> Option<TargetKind> {
    let (scheme, number) = match (url.text(), url.variables().collect::<Vec<_>>().as_slice()) {
        (text, [Var::Rollout(number)]) => (text.split_once('$')?, *number),
        _ => return None,
    };
    let ((scheme, rest), number) = (scheme, number);
    let is_name = |it: u8| it.is_ascii_alphanumeric() || b"_{}".contains(&it);
    let is_tls = match scheme {
        "http://" => false,
        "https://" => true,
        _ => return None,
    };
    rest.bytes().all(is_name).then_some(TargetKind::Rollout { number, is_tls })
}

/// `scheme://authority[uri]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UrlParts {
    /// `name`, `name:port`, `[v6]:port`, or a unix socket's path.
    pub authority: String,
    /// From the first `/` (or, without one, `?`) on.
    pub uri: Option<Bytes>,
    /// The authority is a socket's path.
    pub is_unix: bool,
    /// `https://` or `grpcs://`
    pub is_tls: bool,
    /// gRPC and memcached have no port by default.
    is_grpc: bool,
}

impl UrlParts {
    /// `$proxy_host` and `$proxy_port`.
    pub fn host_and_port(&self) -> (Bytes, Bytes) {
        if self.is_unix {
            return (Bytes::from_static(b"localhost"), Bytes::new());
        }
        let (name, port) = split_port(&self.authority);
        let default = self.default_port().map(|it| it.to_string()).unwrap_or_default();
        let port = port.unwrap_or(&default);
        let host = if port == default { name } else { &self.authority };
        (Bytes::copy_from_slice(host.as_bytes()), Bytes::copy_from_slice(port.as_bytes()))
    }

    fn default_port(&self) -> Option<u16> {
        match (self.is_grpc, self.is_tls) {
            (true, _) => None,
            (_, true) => Some(443),
            (_, false) => Some(80),
        }
    }

    /// The upstream that is meant: a block that is called so, else what [`Self::implicit_name`]
    /// says, whether there is one or not.
    pub fn name_in(&self, snapshot: &Snapshot) -> String {
        self.name_among(|name| snapshot.upstreams.get(name))
    }

    fn name_among<'a>(&self, find: impl FnOnce(&str) -> Option<&'a Upstream>) -> String {
        let name = self.upstream_name();
        let block = find(&name.to_ascii_lowercase());
        if block.is_some_and(|it| it.is_block) { name } else { self.implicit_name() }
    }

    /// The upstream that the authority makes where no block is called so: one name a port.
    pub fn implicit_name(&self) -> String {
        match split_port(&self.authority) {
            (host, None) if self.is_tls && !self.is_unix && !self.is_grpc => format!("{host}:443"),
            _ => self.upstream_name(),
        }
    }

    /// The address of an implicit upstream.
    ///
    /// # Errors
    /// `invalid port in upstream "…"`.
    pub fn address(&self) -> Result<model::PeerAddress, String> {
        if self.is_unix {
            return Ok(model::PeerAddress::Unix(self.authority.clone()));
        }
        let (host, port) = split_port(&self.authority);
        let port = match port {
            None => match self.default_port() {
                Some(port) => port,
                None => return Err(format!("no port in upstream \"{}\"", self.authority)),
            },
            Some(text) => match text.parse() {
                Ok(port) if port != 0 => port,
                _ => return Err(format!("invalid port in upstream \"{}\"", self.authority)),
            },
        };
        if host.is_empty() {
            return Err(format!("no host in upstream \"{}\"", self.authority));
        }
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(model::PeerAddress::Host { host, port })
    }
}

/// Takes a URL of `proxy_pass` apart, or where it is `bare`, of `grpc_pass` or `memc_pass`.
///
/// # Errors
/// `invalid URL prefix`, and what of it is not supported.
pub fn split_url(url: &str, bare: bool) -> Result<UrlParts, String> {
    if bare {
        return split_grpc(url);
    }
    let begins =
        |scheme: &str| url.get(..scheme.len()).is_some_and(|it| it.eq_ignore_ascii_case(scheme));
    let (is_tls, rest) = match (begins("http://"), begins("https://")) {
        (true, _) => (false, &url["http://".len()..]),
        (_, true) => (true, &url["https://".len()..]),
        _ => return Err(format!("invalid URL prefix in \"{url}\"")),
    };
    if let Some(path) = rest.strip_prefix("unix:") {
        let (path, uri) = path.split_once(':').map_or((path, None), |(it, uri)| (it, Some(uri)));
        let uri = uri.filter(|it| !it.is_empty()).map(|it| Bytes::copy_from_slice(it.as_bytes()));
        return Ok(UrlParts { authority: path.into(), uri, is_unix: true, is_tls, is_grpc: false });
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, uri) = rest.split_at(end);
    let uri = match uri.as_bytes().first() {
        None => None,
        Some(b'?') => Some(Bytes::from(format!("/{uri}"))),
        Some(_) => Some(Bytes::copy_from_slice(uri.as_bytes())),
    };
    Ok(UrlParts { authority: authority.into(), uri, is_tls, ..UrlParts::default() })
}

/// `[grpc://]authority` or `grpcs://authority`: nothing of the request's URI is replaced.
fn split_grpc(url: &str) -> Result<UrlParts, String> {
    let behind = |scheme: &str| {
        let begins = url.get(..scheme.len())?.eq_ignore_ascii_case(scheme);
        begins.then(|| &url[scheme.len()..])
    };
    let secure = behind("grpcs://");
    let rest = secure.or_else(|| behind("grpc://")).unwrap_or(url);
    let parts = UrlParts { is_tls: secure.is_some(), is_grpc: true, ..UrlParts::default() };
    match rest.strip_prefix("unix:") {
        Some(path) => Ok(UrlParts { authority: path.into(), is_unix: true, ..parts }),
        None if rest.contains(['/', '?']) => Err(format!("invalid host in upstream \"{rest}\"")),
        None => Ok(UrlParts { authority: rest.into(), ..parts }),
    }
}

/// `name:port`, `[v6]:port`.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

/// Whether TLS is asked for, or may be once variables are known.
pub(super) fn may_be_tls(pass: &model::ProxyPass) -> bool {
    has_variables(&pass.url) || split_url(&pass.url, pass.is_bare()).is_ok_and(|it| it.is_tls)
}

/// Pairs of `proxy_redirect default` for a static target.
pub(super) fn default_redirect(url: &str, prefix: &str) -> (Template, Template) {
    let has_uri = split_url(url, false).is_ok_and(|it| it.uri.is_some());
    if has_uri {
        (Template::literal(url), Template::literal(prefix))
    } else {
        (Template::literal(&format!("{url}/")), Template::literal("/"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_come_apart() {
        let parts = split_url("http://api:8080/v1/?x", false).unwrap();
        assert_eq!(parts.authority, "api:8080");
        assert_eq!(parts.uri.as_deref(), Some(&b"/v1/?x"[..]));
        assert_eq!(parts.host_and_port(), ("api:8080".into(), "8080".into()));
        let parts = split_url("http://api:80", false).unwrap();
        assert_eq!(parts.host_and_port(), ("api".into(), "80".into()));
        assert_eq!(parts.uri, None);
        let parts = split_url("http://[::1]:9000", false).unwrap();
        let v6 = model::PeerAddress::Host { host: "::1".into(), port: 9000 };
        assert_eq!(parts.address(), Ok(v6));
        let parts = split_url("http://unix:/tmp/a.sock:/x", false).unwrap();
        assert_eq!((parts.authority.as_str(), parts.is_unix), ("/tmp/a.sock", true));
        assert!(split_url("ftp://x", false).is_err());
        let parts = split_url("HTTPS://api/", false).unwrap();
        assert_eq!(parts.host_and_port(), ("api".into(), "443".into()));
        assert_eq!((parts.is_tls, parts.implicit_name().as_str()), (true, "api:443"));
        let v4 = model::PeerAddress::Host { host: "api".into(), port: 443 };
        assert_eq!(parts.address(), Ok(v4));
        let parts = split_url("https://api:80", false).unwrap();
        assert_eq!(parts.host_and_port(), ("api:80".into(), "80".into()));
    }

    #[test]
    fn grpc_has_a_port_or_an_upstream_and_no_uri() {
        let parts = split_url("GRPCS://api:9000", true).unwrap();
        assert_eq!((parts.is_tls, parts.authority.as_str()), (true, "api:9000"));
        assert_eq!(parts.host_and_port(), ("api:9000".into(), "9000".into()));
        let parts = split_url("pool", true).unwrap();
        assert_eq!((parts.is_tls, parts.implicit_name().as_str()), (false, "pool"));
        assert_eq!(parts.address(), Err("no port in upstream \"pool\"".to_owned()));
        assert_eq!(parts.host_and_port(), ("pool".into(), "".into()));
        let parts = split_url("grpc://unix:/tmp/a.sock", true).unwrap();
        assert_eq!((parts.authority.as_str(), parts.is_unix), ("/tmp/a.sock", true));
        assert!(split_url("grpc://api:9000/x", true).is_err());
        assert!(split_url("http://api:9000", true).is_err());
    }
}
