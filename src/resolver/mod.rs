//! Names to addresses: DNS with TTL, /etc/hosts, nginx's words for what goes wrong.
//!
//! [`Resolver::resolve`] never blocks a thread. Equal questions asked at one time are one query;
//! when a name server is out of order, the last good answer is used on.

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod tests;

use crate::clock;
use crate::config::model;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    LookupIpStrategy, NameServerConfigGroup, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::name_server::TokioConnectionProvider;
use hickory_resolver::proto::ProtoErrorKind;
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::{ResolveError, ResolveErrorKind};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

/// Names whose answers are kept.
const MAX_NAMES: usize = 4096;
/// Addresses of one name that are used.
const MAX_ADDRESSES: usize = 256;
/// An answer is kept at least so long, milliseconds: TTL 0 must not mean a query a request.
const MIN_VALID_MS: u64 = 1000;
/// An answer is kept at most so long, milliseconds: a day.
const MAX_VALID_MS: u64 = 86_400_000;
/// How long the last good answer serves on before the name servers are asked again, milliseconds.
const STALE_MS: u64 = 5000;
/// How long after a server could not be reached it is asked once more.
const ASK_AGAIN: Duration = Duration::from_millis(250);
/// `resolver_timeout`'s default, milliseconds.
pub const TIMEOUT_MS: u64 = 30_000;

/// Why a name has no addresses; reads as in nginx's error log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} could not be resolved ({code}: {reason})")]
pub struct Error {
    /// The name that was asked for.
    pub name: String,
    /// DNS's response code, or 110 for a timeout.
    pub code: u16,
    /// nginx's words for it.
    pub reason: &'static str,
}

/// A `resolver` line that cannot be used: the text that is no IP address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("host not found in resolver \"{0}\"")]
pub struct BadServer(pub String);

/// What a name resolves to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// At least one address.
    pub addresses: Arc<[IpAddr]>,
    /// When it should be asked for again, monotonic milliseconds.
    pub until_ms: u64,
}

/// One name: what is known of it, and whose turn it is to ask.
#[derive(Debug, Default)]
struct Entry {
    asking: tokio::sync::Mutex<()>,
    answer: Mutex<Option<Answer>>,
}

/// A resolver with its cache. Sockets belong to the runtime that asks: make one for each worker.
#[derive(Debug)]
pub struct Resolver {
    servers: TokioResolver,
    /// Names are asked for as they are, without the search list.
    is_absolute: bool,
    valid_ms: Option<u64>,
    timeout_ms: u64,
    entries: Mutex<HashMap<String, Arc<Entry>>>,
}

impl Resolver {
    /// The system's: /etc/hosts and /etc/resolv.conf as they are now. Without a readable
    /// resolv.conf only /etc/hosts and `localhost` resolve.
    pub fn system() -> Self {
        let builder = TokioResolver::builder_tokio().unwrap_or_else(|_| {
            TokioResolver::builder_with_config(ResolverConfig::new(), Default::default())
        });
        let mut builder = builder;
        let options = builder.options_mut();
        limit(options);
        options.use_hosts_file = ResolveHosts::Always;
        options.ip_strategy = strategy(true, has_ipv6());
        Self::over(builder.build(), false, None, TIMEOUT_MS)
    }

    /// The name servers of a `resolver` line (`local` is the system's). `timeout_ms` is
    /// `resolver_timeout`.
    pub fn new(settings: &model::Resolver, timeout_ms: u64) -> Result<Self, BadServer> {
        if settings.servers.iter().any(|server| server == "local") {
            let system = Self::system();
            return Ok(Self { valid_ms: settings.valid_ms, timeout_ms, ..system });
        }
        let mut group = NameServerConfigGroup::new();
        for server in &settings.servers {
            let address = address_of(server).ok_or_else(|| BadServer(server.clone()))?;
            let one = NameServerConfigGroup::from_ips_clear(&[address.ip()], address.port(), true);
            group.merge(one);
        }
        let config = ResolverConfig::from_parts(None, Vec::new(), group);
        let provider = TokioConnectionProvider::default();
        let mut builder = TokioResolver::builder_with_config(config, provider);
        let options = builder.options_mut();
        limit(options);
        options.use_hosts_file = ResolveHosts::Never;
        options.ip_strategy = strategy(settings.ipv4, settings.ipv6);
        Ok(Self::over(builder.build(), true, settings.valid_ms, timeout_ms))
    }

    fn over(
        servers: TokioResolver,
        is_absolute: bool,
        valid_ms: Option<u64>,
        timeout_ms: u64,
    ) -> Self {
        Self { servers, is_absolute, valid_ms, timeout_ms, entries: Mutex::default() }
    }

    /// The addresses of `name`, from the cache while it is valid; an IP address is its own answer.
    pub async fn resolve(&self, name: &str) -> Result<Arc<[IpAddr]>, Error> {
        self.answer(name).await.map(|answer| answer.addresses)
    }

    /// The same with the time until which it is valid.
    pub async fn answer(&self, name: &str) -> Result<Answer, Error> {
        if let Ok(address) = name.parse() {
            return Ok(Answer { addresses: Arc::new([address]), until_ms: u64::MAX });
        }
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let entry = self.entry(&name);
        if let Some(answer) = entry.fresh() {
            return Ok(answer);
        }
        let _turn = entry.asking.lock().await;
        if let Some(answer) = entry.fresh() {
            return Ok(answer);
        }
        let is_known = entry.answer.lock().is_some();
        let asked = self.ask(&name, !is_known && self.is_absolute).await;
        let now_ms = clock::monotonic().as_ms();
        let mut known = entry.answer.lock();
        let answer = match (asked, known.take()) {
            (Ok(answer), _) => answer,
            // The name is gone, not the name server.
            (Err(error), _) if error.code == 3 => return Err(error),
            (Err(_), Some(last)) => Answer { until_ms: now_ms + STALE_MS, ..last },
            (Err(error), None) => return Err(error),
        };
        *known = Some(answer.clone());
        Ok(answer)
    }

    fn entry(&self, name: &str) -> Arc<Entry> {
        let mut entries = self.entries.lock();
        if let Some(entry) = entries.get(name) {
            return Arc::clone(entry);
        }
        if entries.len() >= MAX_NAMES {
            entries.retain(|_, entry| Arc::strong_count(entry) > 1 || entry.fresh().is_some());
        }
        if entries.len() >= MAX_NAMES {
            entries.clear();
        }
        Arc::clone(entries.entry(name.to_owned()).or_default())
    }

    /// Asks; one who is patient goes on asking servers that cannot be reached until
    /// `resolver_timeout`, as nginx does.
    async fn ask(&self, name: &str, is_patient: bool) -> Result<Answer, Error> {
        let asked = if self.is_absolute { format!("{name}.") } else { name.to_owned() };
        let limit = Duration::from_millis(self.timeout_ms);
        let ask = async {
            loop {
                match self.servers.lookup_ip(asked.as_str()).await {
                    Err(error) if is_patient && is_unanswered(&error) => {
                        tokio::time::sleep(ASK_AGAIN).await;
                    }
                    result => return result,
                }
            }
        };
        let looked_up = tokio::time::timeout(limit, ask).await;
        let found = match looked_up {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => return Err(explain(name, &error)),
            Err(_) => return Err(timed_out(name)),
        };
        let addresses: Arc<[IpAddr]> = found.iter().take(MAX_ADDRESSES).collect();
        if addresses.is_empty() {
            return Err(refused(name, 3, "Host not found"));
        }
        let ttl_s = found.as_lookup().record_iter().map(|record| record.ttl()).min();
        let ttl_ms = self.valid_ms.unwrap_or(u64::from(ttl_s.unwrap_or(0)) * 1000);
        let valid_ms = ttl_ms.clamp(MIN_VALID_MS, MAX_VALID_MS);
        Ok(Answer { addresses, until_ms: clock::monotonic().as_ms() + valid_ms })
    }
}

impl Entry {
    fn fresh(&self) -> Option<Answer> {
        let now_ms = clock::monotonic().as_ms();
        self.answer.lock().as_ref().filter(|answer| now_ms < answer.until_ms).cloned()
    }
}

/// Our own cache is in front: no second one.
fn limit(options: &mut ResolverOpts) {
    options.cache_size = 0;
    options.server_ordering_strategy =
        hickory_resolver::config::ServerOrderingStrategy::QueryStatistics;
}

fn strategy(ipv4: bool, ipv6: bool) -> LookupIpStrategy {
    match (ipv4, ipv6) {
        (true, false) => LookupIpStrategy::Ipv4Only,
        (false, true) => LookupIpStrategy::Ipv6Only,
        _ => LookupIpStrategy::Ipv4AndIpv6,
    }
}

/// Whether the host has a way to IPv6 addresses: nginx asks getaddrinfo with AI_ADDRCONFIG. No
/// packet is sent.
fn has_ipv6() -> bool {
    let documentation = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0));
    socket.is_ok_and(|socket| socket.connect((documentation, 53)).is_ok())
}

/// `IP`, `IP:PORT`, `[V6]` or `[V6]:PORT`; port 53 when there is none.
fn address_of(server: &str) -> Option<SocketAddr> {
    if let Ok(address) = server.parse() {
        return Some(address);
    }
    let bare = server.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(server);
    bare.parse().ok().map(|ip| SocketAddr::new(ip, 53))
}

fn refused(name: &str, code: u16, reason: &'static str) -> Error {
    Error { name: name.to_owned(), code, reason }
}

fn timed_out(name: &str) -> Error {
    refused(name, 110, "Operation timed out")
}

/// Whether no server has said anything.
fn is_unanswered(error: &ResolveError) -> bool {
    let ResolveErrorKind::Proto(error) = error.kind() else { return false };
    !matches!(error.kind(), ProtoErrorKind::NoRecordsFound { .. })
}

/// nginx's words; a name server that cannot be reached is a timeout there too.
fn explain(name: &str, error: &ResolveError) -> Error {
    let kind = match error.kind() {
        ResolveErrorKind::Proto(error) => error.kind(),
        _ => return refused(name, 3, "Host not found"),
    };
    let ProtoErrorKind::NoRecordsFound { response_code, .. } = kind else {
        return timed_out(name);
    };
    match *response_code {
        ResponseCode::FormErr => refused(name, 1, "Format error"),
        ResponseCode::ServFail => refused(name, 2, "Server failure"),
        ResponseCode::NotImp => refused(name, 4, "Unimplemented"),
        ResponseCode::Refused => refused(name, 5, "Operation refused"),
        _ => refused(name, 3, "Host not found"),
    }
}
