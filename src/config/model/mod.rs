//! What a configuration means: plain serde structs, as said by the operator, not yet inherited.
//!
//! Optional settings are `None` where nothing was written; [`Settings::inherit`] fills them from
//! the enclosing block, and the accessors give nginx's defaults. Texts that may hold variables
//! (`"$host:$server_port"`) stay texts here: the snapshot compiles them.

pub mod access;
mod files;
mod finishing;
mod geo;
mod handler;
mod http;
mod inherit;
mod limits;
mod location;
mod log;
mod lua;
mod main;
mod memcached;
mod more_headers;
mod rollout;
mod setting;
mod settings;
mod tls;
mod upstream;

pub use access::{AccessRule, AuthRequestSet, Whom};
pub use files::{Alias, IfModifiedSince, TriedFile, TryFiles, TryLast};
pub use finishing::{Expires, Lifetime};
pub use geo::{Geo, GeoNetwork, GeoProxy, GeoRange};
pub use handler::{EchoCommand, EchoLine, EchoVerb, Handler};
pub use http::{
    Http, Listen, Map, MapEntry, Resolver, Server, ServerName, SplitClients, SplitPart,
};
pub use limits::{LimitConn, LimitConnZone, LimitReq, LimitReqZone};
pub use location::{
    Condition, IfBlock, Location, LocationMatch, ProxyPass, Return, Rewrite, RewriteFlag,
    RewriteOp, Text,
};
pub use log::{AccessLog, AccessLogTarget, ErrorLog, ErrorLogTarget, LogFormat, LogFormatEscape};
pub use lua::{Chunk, ChunkSource, LuaHttp, SharedDict};
pub use main::{Events, Main, Model, ThreadPool, WorkerProcesses};
pub use memcached::{Memcached, MemcachedSettings};
pub use more_headers::{MoreHeader, MoreHeaders};
pub use rollout::{
    Ask, AskSource, Choice, EvidenceSource, FailureLimit, LatencyLimit, OnBreach, OnMissing,
    Prometheus, Rollout, Rule, Step, StickyCookie, StickyKey, Trust, Variant, Webhook,
};
pub use setting::{
    AddHeader, BodyInFile, ErrorPage, LargeBuffers, LingeringClose, NextUpstream, ServerTokens,
    SizeUnlimited,
};
pub use settings::Settings;
pub use tls::{PlacedText, SessionCache, TlsVersion, VerifyClient};
pub use upstream::{
    Balance, HealthCheck, HealthKind, HealthMatch, Peer, PeerAddress, Queue, Upstream,
};
