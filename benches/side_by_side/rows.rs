//! The rows of the table: what is asked, by which tool, on which stage.

use crate::measure::Tool;

/// The servers' configuration that a row needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// `canary.conf` and its kin.
    Plain,
    /// The same behind TLS; the second port speaks HTTP/2.
    Tls,
    /// `mix.conf`, for those who run OpenResty's Lua.
    Mix,
    /// The first with an origin that speaks HTTP/2, without TLS.
    H2c,
}

/// A row.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// What `--rows` calls it.
    pub name: &'static str,
    /// What the table calls it.
    pub title: &'static str,
    pub stage: Stage,
    pub tool: Tool,
    pub connections: usize,
    pub path: &'static str,
    /// A field besides the browser's.
    pub field: Option<&'static str>,
    /// Only those who run OpenResty's Lua take part.
    pub lua_only: bool,
}

impl Stage {
    /// All of them, in the order in which they are measured.
    pub const ALL: [Self; 4] = [Self::Plain, Self::Mix, Self::H2c, Self::Tls];
}

const GET: Row = Row {
    name: "get",
    title: "GET, 17 bytes",
    stage: Stage::Plain,
    tool: Tool::Wrk(None),
    connections: 50,
    path: "/api/users?id=1",
    field: None,
    lua_only: false,
};

const POST: Tool = Tool::Wrk(Some("post.lua"));
const UPLOAD: Tool = Tool::Wrk(Some("upload.lua"));

/// All rows, in the table's order.
pub const ROWS: &[Row] = &[
    GET,
    Row { name: "get-1000", title: "the same, 1000 connections", connections: 1000, ..GET },
    Row { name: "paced", title: "GET, 17 bytes, 20000 a second", tool: Tool::Paced(20_000), ..GET },
    Row { name: "16k", title: "GET, 16 KiB", path: "/16k", ..GET },
    Row {
        name: "16k-1000",
        title: "the same, 1000 connections",
        path: "/16k",
        connections: 1000,
        ..GET
    },
    Row { name: "chunked", title: "GET, 17 bytes, chunked", path: "/chunked", ..GET },
    Row { name: "chunked-16k", title: "GET, 16 KiB, chunked", path: "/chunked-16k", ..GET },
    Row { name: "post", title: "POST, 1 KiB", tool: POST, ..GET },
    Row {
        name: "post-1000",
        title: "the same, 1000 connections",
        tool: POST,
        connections: 1000,
        ..GET
    },
    Row { name: "10m", title: "GET, 10 MiB, 10 connections", path: "/10m", connections: 10, ..GET },
    Row {
        name: "upload",
        title: "POST, 10 MiB, 10 connections",
        path: "/upload",
        tool: UPLOAD,
        connections: 10,
        ..GET
    },
    Row {
        name: "no-lua",
        title: "GET, 17 bytes, without Lua",
        path: "/no-lua",
        lua_only: true,
        ..GET
    },
    Row {
        name: "mix",
        title: "a mix of requests and scripts",
        path: "/",
        stage: Stage::Mix,
        tool: Tool::Wrk(Some("mix.lua")),
        lua_only: true,
        ..GET
    },
    Row { name: "h2c", title: "GET, 17 bytes, HTTP/2 to the origin", stage: Stage::H2c, ..GET },
    Row { name: "tls", title: "GET, 17 bytes, TLS", stage: Stage::Tls, ..GET },
    Row {
        name: "tls-new",
        title: "the same, new connections",
        stage: Stage::Tls,
        field: Some("Connection: close"),
        ..GET
    },
    Row {
        name: "h2",
        title: "the same, HTTP/2, 10 streams each",
        stage: Stage::Tls,
        tool: Tool::H2load(10),
        ..GET
    },
];

impl Row {
    /// The port's name on its stage, and the scheme.
    pub fn place(&self) -> (&'static str, &'static str) {
        match (self.stage, self.tool) {
            (Stage::Tls, Tool::H2load(_)) => ("PORT2", "https"),
            (Stage::Tls, _) => ("PORT", "https"),
            _ => ("PORT", "http"),
        }
    }
}
