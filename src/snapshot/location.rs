//! A compiled location.

use super::conf::Conf;
use super::echo::Step;
use super::files::TryFiles;
use super::program::Program;
use super::proxy_target::ProxyTarget;
use super::{ChunkId, LocationId, ServerId};
use std::sync::Arc;

/// A location, an `if` block, or a server's own level.
pub struct Location {
    /// Its number.
    pub id: LocationId,
    /// Its server.
    pub server: ServerId,
    /// How it was written, for logs and metrics: `/api`, `= /x`, `~ \.php$`, `@canary`.
    pub name: Arc<str>,
    /// Its settings.
    pub conf: Arc<Conf>,
    /// The rewrite module's directives.
    pub program: Program,
    /// What answers; an `if` block without one of its own has its location's.
    pub content: Content,
    /// `try_files`; `if` blocks have none.
    pub try_files: Option<Arc<TryFiles>>,
    /// `internal`.
    pub internal: bool,
    /// The prefix or exact URI that `proxy_pass` with a URI replaces; empty for other kinds.
    pub prefix: Box<[u8]>,
}

/// What answers in a location.
#[derive(Clone)]
pub enum Content {
    /// Nothing was said: files below `root`.
    Files,
    /// `proxy_pass`.
    Proxy(Arc<ProxyTarget>),
    /// `content_by_lua*`.
    Lua(ChunkId),
    /// `echo*`
    Echo(Arc<[Step]>),
    /// `empty_gif`
    EmptyGif,
    /// `stub_status`
    StubStatus,
    /// `metrics;`
    Metrics,
}
