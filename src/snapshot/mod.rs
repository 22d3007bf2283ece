//! A configuration compiled: immutable, numbered, holding everything that can fail, done once.

pub mod access;
pub mod build;
pub mod conf;
pub mod echo;
pub mod files;
pub mod finishing;
pub mod limits;
pub mod location;
pub mod more_headers;
pub mod program;
pub mod proxy_target;
pub mod rollout;
pub mod router;
pub mod server_names;

use crate::config::model::Model;
use crate::tls::Endpoint;
use crate::vars::Names;
use crate::vars::Template;
use crate::vars::split_clients::Split;
use conf::Conf;
use location::Location;
use program::Program;
use router::Router;
use server_names::ServerNames;
use std::path::PathBuf;
use std::sync::Arc;

/// The nginx version whose behaviour is followed; `$nginx_version`, `ngx.config.nginx_version`.
pub const NGINX_VERSION: &str = "1.22.1";

/// Number of a location in [`Snapshot::locations`]; `if` blocks are locations too.
pub type LocationId = u32;
/// Number of a server in [`Snapshot::servers`].
pub type ServerId = u32;
/// Number of a chunk in [`Snapshot::chunks`].
pub type ChunkId = u32;

/// A compiled configuration.
pub struct Snapshot {
    /// Counts from 1 and grows with each reload that succeeds.
    pub generation: u64,
    /// What it was compiled from.
    pub model: Arc<Model>,
    /// The `-p` prefix, absolute, with a trailing slash.
    pub prefix: PathBuf,
    /// This machine's name.
    pub hostname: Box<str>,
    /// Sockets to listen on, each address once.
    pub listeners: Vec<Listener>,
    /// Servers in their order.
    pub servers: Vec<Server>,
    /// Locations, and `if` blocks, by number.
    pub locations: Vec<Location>,
    /// The variables that the configuration declares.
    pub names: Names,
    /// `map` blocks by number.
    pub maps: Vec<Map>,
    /// `geo` blocks by number.
    pub geos: Vec<crate::vars::geo::Geo>,
    /// `split_clients` blocks by number.
    pub splits: Vec<Split>,
    /// `rollout` blocks by number, as requests obey them.
    pub assignments: Vec<rollout::Rollout>,
    /// What a request must show in `X-Moongate-Explain` to be told its Decision.
    pub explain_secret: Option<bytes::Bytes>,
    /// Lua chunks by number.
    pub chunks: Vec<Chunk>,
    /// Chunks that are attached to no location.
    pub lua: LuaHooks,
    /// All groups, to be committed to the registry when this snapshot takes over.
    pub groups: Arc<crate::upstream::Groups>,
    /// All rollouts, brought to life by control when this snapshot takes over.
    pub rollouts: crate::rollout::Rollouts,
    /// Live upstreams by name (lower case), `balancer_by_lua` chunks beside them.
    pub upstreams: foldhash::HashMap<Box<str>, Upstream>,
}

/// A socket address and the servers behind it.
pub struct Listener {
    /// As normalised by the model: `0.0.0.0:8080`, `[::]:80`, `unix:/path`.
    pub address: Arc<str>,
    /// The merged socket options.
    pub listen: crate::config::model::Listen,
    /// Host -> server.
    pub names: Arc<ServerNames>,
    /// `listen … ssl`: connections begin with a handshake.
    pub tls: Option<Endpoint>,
    /// Without TLS: a connection may be HTTP/2, by what it begins with.
    pub http2: bool,
}

/// A compiled `server` block.
pub struct Server {
    /// Its number.
    pub id: ServerId,
    /// The first `server_name`, for `$server_name` and metrics; empty without one.
    pub name: Arc<str>,
    /// Settings of the server level: before a location is found.
    pub conf: Arc<Conf>,
    /// The rewrite module's directives of the server level.
    pub program: Program,
    /// Its locations.
    pub router: Router,
    /// A location that stands for the server level itself, where errors before routing belong.
    pub root: LocationId,
    /// Its certificates and what belongs to them.
    pub tls: Option<Arc<crate::tls::Server>>,
    /// `http2 on`
    pub http2: bool,
    /// `http2_max_concurrent_streams`
    pub http2_streams: u32,
}

/// A compiled upstream.
pub struct Upstream {
    /// Its live peers.
    pub group: Arc<crate::upstream::Group>,
    /// The key of `hash KEY`, compiled.
    pub hash_key: Option<Template>,
    /// `balancer_by_lua*`.
    pub balancer: Option<ChunkId>,
    /// An `upstream` block says so, not the authority of a `proxy_pass`.
    pub is_block: bool,
}

/// A compiled `map` block.
pub struct Map {
    /// What is looked up.
    pub source: Template,
    /// Exact keys (lower case), the commonest case first.
    pub exact: foldhash::HashMap<Box<[u8]>, Template>,
    /// `hostnames` wildcards.
    pub hosts: Option<server_names::Wildcards<Template>>,
    /// Regexes in order.
    pub regexes: Vec<(program::CapturingRegex, Template)>,
    /// `default`.
    pub default: Template,
    /// `volatile`: not remembered.
    pub volatile: bool,
}

/// Chunks of the http level.
#[derive(Clone, Copy, Debug, Default)]
pub struct LuaHooks {
    /// `init_by_lua*`.
    pub init: Option<ChunkId>,
    /// `init_worker_by_lua*`.
    pub init_worker: Option<ChunkId>,
    /// `ssl_session_fetch_by_lua*`.
    pub ssl_session_fetch: Option<ChunkId>,
    /// `ssl_session_store_by_lua*`.
    pub ssl_session_store: Option<ChunkId>,
    /// `exit_worker_by_lua*`.
    pub exit_worker: Option<ChunkId>,
    /// `rewrite_by_lua_no_postpone`
    pub rewrite_first: bool,
    /// `access_by_lua_no_postpone`
    pub access_first: bool,
}

/// A Lua chunk.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// Its number.
    pub id: ChunkId,
    /// How the log and the Decision name it: `access_by_lua(nginx.conf:12)`.
    pub shown: Arc<str>,
    /// What was written, and where.
    pub source: crate::config::model::Chunk,
    /// The path of a file whose name has variables: it is found per request, below the prefix.
    pub path: Option<Template>,
}

impl Snapshot {
    /// The location with this number.
    pub fn location(&self, id: LocationId) -> &Location {
        &self.locations[id as usize]
    }

    /// The server with this number.
    pub fn server(&self, id: ServerId) -> &Server {
        &self.servers[id as usize]
    }

    /// The upstream called `name`, in any letter case.
    pub fn upstream(&self, name: &str) -> Option<&Upstream> {
        self.upstreams.get(name).or_else(|| self.upstreams.get(name.to_ascii_lowercase().as_str()))
    }

    /// The listener with this address.
    pub fn listener(&self, address: &str) -> Option<&Listener> {
        self.listeners.iter().find(|it| &*it.address == address)
    }
}
