//! Where a request goes: the upstream that `proxy_pass` names, and its peers in turn.

use super::exchange::Secured;
use super::phases::Serving;
use super::worker::WorkerState;
use crate::clock;
use crate::config::units;
use crate::log::Level;
use crate::request::Request;
use crate::snapshot::build::{UrlParts, split_url};
use crate::snapshot::proxy_target::{ProxyTarget, TargetKind};
use crate::snapshot::{ChunkId, Snapshot};
use crate::upstream::balance::{NoPeer, Tried};
use crate::upstream::{ActiveGuard, Group, Peer, PeerAddr, Place};
use crate::vars::Template;
use bytes::Bytes;
use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

/// An upstream, as one request sees it.
pub(super) struct Destination {
    /// Its peers.
    pub group: Arc<Group>,
    /// What of the request's URI is replaced, and by what.
    pub uri: UriPart,
    /// `balancer_by_lua*`.
    pub balancer: Option<ChunkId>,
    /// TLS, if it is spoken.
    pub secured: Option<Secured>,
    /// `proxy_bind`: whence connections to it are made.
    pub local: Option<SocketAddr>,
    /// Its place in the group's queue, until it has a peer.
    pub place: Option<Place>,
    has_waited: bool,
    hash_key: Option<Bytes>,
    tried: Tried,
}

/// What a URL without a path says that a `proxy_pass` with variables has come to.
#[derive(Debug)]
pub(super) struct Target {
    proxy_host: (Bytes, Bytes),
    upstream: Box<str>,
    is_tls: bool,
}

/// The URLs of upstreams that `proxy_pass`es of one generation have come to: a script picks among
/// a few, time and again.
#[derive(Default)]
pub(super) struct Targets {
    known: RefCell<foldhash::HashMap<Bytes, Rc<Target>>>,
    /// Where the URL of a request is written, to be looked up.
    url: Cell<Vec<u8>>,
}

/// URLs remembered; they differ in the letter case of an upstream's name at most.
const MOST_TARGETS: usize = 256;

impl Targets {
    fn find(&self, request: &Request, url: &Template) -> Option<Rc<Target>> {
        let mut text = self.url.take();
        text.clear();
        url.append(request, &mut text);
        let found = self.known.borrow().get(&text[..]).cloned();
        self.url.set(text);
        found
    }

    fn remember(&self, url: Bytes, target: Target) {
        let mut known = self.known.borrow_mut();
        if known.len() < MOST_TARGETS {
            known.insert(url, Rc::new(target));
        }
    }
}

/// How the request's URI becomes the upstream's.
#[derive(Clone)]
pub(super) enum UriPart {
    /// As it came.
    Same,
    /// The location's prefix is replaced by this.
    Prefix(Bytes),
    /// This, whatever the request's was.
    Whole(Bytes),
}

impl Destination {
    /// Finds the upstream of a `proxy_pass`.
    ///
    /// # Errors
    /// The status for the client; why was logged.
    pub async fn find(serving: &Serving<'_>, target: &ProxyTarget) -> Result<Self, u16> {
        let local = serving.request.conf().proxy.bind.as_ref();
        let local = local.and_then(|it| local_address(&serving.request, it));
        Self::of(serving, target).await.map(|it| Self { local, ..it })
    }

    async fn of(serving: &Serving<'_>, target: &ProxyTarget) -> Result<Self, u16> {
        let request = &serving.request;
        match &target.kind {
            TargetKind::Static { upstream, host, port, uri, is_tls } => {
                *request.proxy_host.borrow_mut() = (host.clone(), port.clone());
                let uri = uri.clone().map_or(UriPart::Same, UriPart::Prefix);
                let known = Self::known(&request.snapshot, request, upstream, uri);
                let known = known.map(|it| Self { secured: secured(request, *is_tls), ..it });
                known.ok_or_else(|| {
                    request.log(Level::Error, format_args!("no upstream \"{upstream}\""));
                    502
                })
            }
            TargetKind::Rollout { number, is_tls } => {
                let picked = request.picked(*number);
                let name = picked.and_then(|it| request.variant_upstream(it.rollout));
                let name = name.unwrap_or_default();
                let known = Self::variant(request, &name, *is_tls);
                known.ok_or_else(|| {
                    request.log(Level::Error, format_args!("a rollout gives no upstream"));
                    500
                })
            }
            TargetKind::Variable(url) => Self::by_variable(serving, url).await,
        }
    }

    /// The upstream of a rollout's variant: what `proxy_pass http://NAME` would lead to.
    fn variant(request: &Request, name: &Bytes, is_tls: bool) -> Option<Self> {
        let port = Bytes::from_static(if is_tls { b"443" } else { b"80" });
        *request.proxy_host.borrow_mut() = (name.clone(), port);
        let text = std::str::from_utf8(name).ok()?;
        let known = Self::known(&request.snapshot, request, text, UriPart::Same)?;
        Some(Self { secured: secured(request, is_tls), ..known })
    }

    /// Leads to the upstream of another variant from now on; false where that is none.
    pub fn turn_to(&mut self, request: &Request, name: &Bytes) -> bool {
        let is_tls = request.upstream_is_tls.get();
        let Some(other) = Self::variant(request, name, is_tls) else { return false };
        let uri = std::mem::replace(&mut self.uri, UriPart::Same);
        *self = Self { uri, local: self.local, ..other };
        true
    }

    fn known(snapshot: &Snapshot, request: &Request, name: &str, uri: UriPart) -> Option<Self> {
        let upstream = snapshot.upstream(name)?;
        let hash_key = upstream.hash_key.as_ref().map(|it| it.value(request));
        let balancer = upstream.balancer;
        Some(Self::new(upstream.group.clone(), uri, balancer, hash_key))
    }

    fn new(
        group: Arc<Group>,
        uri: UriPart,
        balancer: Option<ChunkId>,
        hash_key: Option<Bytes>,
    ) -> Self {
        Self {
            group,
            uri,
            balancer,
            secured: None,
            local: None,
            place: None,
            has_waited: false,
            hash_key,
            tried: Tried::default(),
        }
    }

    async fn by_variable(serving: &Serving<'_>, url: &Template) -> Result<Self, u16> {
        let request = &serving.request;
        if let Some(target) = serving.generation.targets.find(request, url) {
            *request.proxy_host.borrow_mut() = target.proxy_host.clone();
            let known = Self::known(&request.snapshot, request, &target.upstream, UriPart::Same);
            if let Some(known) = known {
                return Ok(Self { secured: secured(request, target.is_tls), ..known });
            }
        }
        Box::pin(Self::by_url(serving, url.value(&**request))).await
    }

    async fn by_url(serving: &Serving<'_>, value: Bytes) -> Result<Self, u16> {
        let request = &serving.request;
        let text = String::from_utf8_lossy(&value);
        let proxy = &request.conf().proxy;
        let is_bare = proxy.grpc || proxy.memcached.is_some();
        let parts = split_url(&text, is_bare).map_err(|_| {
            request.log(Level::Error, format_args!("invalid URL prefix in \"{text}\""));
            500u16
        })?;
        *request.proxy_host.borrow_mut() = parts.host_and_port();
        let uri = parts.uri.clone().map_or(UriPart::Same, UriPart::Whole);
        let name = parts.name_in(&request.snapshot);
        if let Some(known) = Self::known(&request.snapshot, request, &name, uri.clone()) {
            if matches!(uri, UriPart::Same) {
                let proxy_host = request.proxy_host.borrow().clone();
                let target = Target { proxy_host, upstream: name.into(), is_tls: parts.is_tls };
                serving.generation.targets.remember(value.clone(), target);
            }
            return Ok(Self { secured: secured(request, parts.is_tls), ..known });
        }
        let addresses = resolve(serving, &parts).await?;
        let group = Arc::new(Group::transient(&name, &addresses));
        let secured = secured(request, parts.is_tls);
        Ok(Self { secured, ..Self::new(group, uri, None, None) })
    }

    /// Whether a request waits before its first peer is picked; asked once. Scripts choose whom
    /// they like.
    pub fn is_to_wait(&mut self) -> bool {
        let is_first = !std::mem::replace(&mut self.has_waited, true);
        is_first
            && self.group.has_queue()
            && self.balancer.is_none()
            && self.group.is_to_wait(clock::monotonic().as_ms())
    }

    /// Counts a connection to `peer`, which ends the wait.
    pub fn connect(&mut self, peer: &Arc<Peer>) -> ActiveGuard {
        let guard = peer.connect_guard();
        self.place = None;
        guard
    }

    /// The last peer may be tried again.
    pub fn forget_last(&mut self) {
        self.tried.forget_last();
    }

    /// The next peer to try.
    pub fn pick(&mut self, worker: &WorkerState, request: &Request) -> Result<Arc<Peer>, NoPeer> {
        let key = self.hash_key.as_deref().unwrap_or_default();
        worker.picker.borrow_mut().pick(
            &self.group,
            key,
            request.client_ip(),
            &mut self.tried,
            clock::monotonic().as_ms(),
        )
    }

    /// The next try may choose any peer again.
    pub(super) fn forget_tried(&mut self) {
        self.tried.forget();
    }
}

/// What `proxy_bind` comes to; one that is none is logged, and any address serves.
fn local_address(request: &Request, bind: &Template) -> Option<SocketAddr> {
    let value = bind.value(request);
    let shown = String::from_utf8_lossy(&value);
    let local = units::local_address(&shown);
    if local.is_none() && !value.is_empty() {
        request.log(Level::Error, format_args!("invalid local address \"{shown}\""));
    }
    local
}

/// How the location talks TLS, where the URL says so.
fn secured(request: &Request, is_tls: bool) -> Option<Secured> {
    request.upstream_is_tls.set(is_tls);
    let proxy = &request.conf().proxy;
    let tls = proxy.tls.as_ref().filter(|_| is_tls)?;
    let name = String::from_utf8_lossy(&tls.name.value(request)).into();
    Some(Secured { client: Arc::clone(&tls.client), name, sends_name: tls.sends_name })
}

/// The addresses that a URL names which no upstream is called.
async fn resolve(serving: &Serving<'_>, parts: &UrlParts) -> Result<Vec<PeerAddr>, u16> {
    let request = &serving.request;
    if parts.is_unix {
        return Ok(vec![PeerAddr::Unix(parts.authority.clone().into())]);
    }
    let (host, port) = match parts.address() {
        Ok(crate::config::model::PeerAddress::Host { host, port }) => (host, port),
        Ok(crate::config::model::PeerAddress::Unix(path)) => {
            return Ok(vec![PeerAddr::Unix(path.into())]);
        }
        Err(message) => {
            request.log(Level::Error, format_args!("{message}"));
            return Err(500);
        }
    };
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![PeerAddr::Tcp((address, port).into())]);
    }
    let Some(resolver) = request.conf().resolver.clone() else {
        request.log(Level::Error, format_args!("no resolver defined to resolve {host}"));
        return Err(502);
    };
    match resolver.resolve(&host).await {
        Ok(found) => {
            let mut peers: Vec<_> =
                found.iter().map(|it| PeerAddr::Tcp((*it, port).into())).collect();
            // As nginx's resolver, which begins at a random one of them.
            if !peers.is_empty() {
                let first = rand::random_range(0..peers.len());
                peers.rotate_left(first);
            }
            Ok(peers)
        }
        Err(error) => {
            request.log(Level::Error, format_args!("{error}"));
            Err(502)
        }
    }
}
