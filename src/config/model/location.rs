//! Locations, and the rewrite module's directives.

use super::{Chunk, Handler, Memcached, Settings, TryFiles};
use crate::config::diagnostic::At;
use serde::{Deserialize, Serialize};

/// A text that may hold variables (`$name`, `${name}`), as written; compiled by the snapshot.
pub type Text = String;

/// A `location` block.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Location {
    /// Where the block begins.
    #[serde(default)]
    pub at: At,
    /// What it matches.
    pub matches: LocationMatch,
    /// Its settings; what is missing is inherited.
    pub settings: Settings,
    /// `internal`.
    #[serde(default)]
    pub internal: bool,
    /// The rewrite module's directives in order.
    #[serde(default)]
    pub rewrite: Vec<RewriteOp>,
    /// `proxy_pass`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_pass: Option<ProxyPass>,
    /// `content_by_lua*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Chunk>,
    /// A handler of another module.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handler: Option<Handler>,
    /// `metrics;`: this location answers with Prometheus's text.
    #[serde(default)]
    pub metrics: bool,
    /// `try_files`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub try_files: Option<TryFiles>,
    /// Nested locations.
    #[serde(default)]
    pub locations: Vec<Location>,
}

/// What a location matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LocationMatch {
    /// `= URI`.
    Exact(String),
    /// `URI`.
    Prefix(String),
    /// `^~ URI`: as a prefix, and regexes are not tried.
    PrefixNoRegex(String),
    /// `~ REGEX`.
    Regex(String),
    /// `~* REGEX`.
    RegexCaseless(String),
    /// `@NAME`, without the `@`.
    Named(String),
}

/// `proxy_pass URL`, `grpc_pass URL`, `memc_pass ADDRESS` or `memcached_pass ADDRESS`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProxyPass {
    /// Where it is written.
    #[serde(default)]
    pub at: At,
    /// The URL as written: `http://name`, `http://name/uri`, `http://$backend`,
    /// `http://unix:/p:/uri`.
    pub url: Text,
    /// `grpc_pass` has it: `grpc://name`, `grpcs://name` or `name`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub grpc: bool,
    /// memcached answers there: `name`, `name:port` or `unix:PATH`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memcached: Option<Memcached>,
}

impl ProxyPass {
    /// The directive that says so.
    pub fn directive(&self) -> &'static str {
        match self.memcached {
            Some(Memcached::Memc) => "memc_pass",
            Some(Memcached::Memcached) => "memcached_pass",
            None if self.grpc => "grpc_pass",
            None => "proxy_pass",
        }
    }

    /// Whether its URL needs no scheme, and has neither URI nor default port.
    pub fn is_bare(&self) -> bool {
        self.grpc || self.memcached.is_some()
    }
}

/// A directive of the rewrite module (and `set_by_lua`, which runs among them).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RewriteOp {
    /// `set $variable VALUE`.
    Set {
        /// Where it is written.
        #[serde(default)]
        at: At,
        /// Without `$`.
        variable: String,
        /// With variables.
        value: Text,
    },
    /// `set_by_lua* $variable … [ARGS]`.
    SetByLua {
        /// Without `$`.
        variable: String,
        /// The chunk.
        chunk: Chunk,
        /// `ngx.arg[1…]`, with variables.
        args: Vec<Text>,
    },
    /// A directive of set-misc-nginx-module.
    Setter {
        /// Where it is written.
        #[serde(default)]
        at: At,
        /// Its name: `set_escape_uri`.
        directive: String,
        /// Without `$`.
        variable: String,
        /// Its arguments, the variable's own value among them where it is one; with variables.
        args: Vec<Text>,
    },
    /// `if (…) { … }`.
    If(Box<IfBlock>),
    /// `rewrite …`.
    Rewrite(Rewrite),
    /// `return …`.
    Return(Return),
    /// `break`.
    Break {
        /// Where it is written.
        #[serde(default)]
        at: At,
    },
}

/// `if (CONDITION) { … }`: a nameless location that inherits from the one around it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IfBlock {
    /// Where the block begins.
    #[serde(default)]
    pub at: At,
    /// The condition.
    pub condition: Condition,
    /// Settings inside.
    pub settings: Settings,
    /// Rewrite directives inside, in order.
    pub rewrite: Vec<RewriteOp>,
    /// `proxy_pass` inside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_pass: Option<ProxyPass>,
    /// `content_by_lua*` inside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Chunk>,
    /// A handler of another module inside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handler: Option<Handler>,
}

/// The condition of an `if`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// `($variable)`: true unless empty or `0`.
    True(String),
    /// `($variable = TEXT)`, negated by `!=`.
    Equals {
        /// The variable, without `$`.
        variable: String,
        /// The text, with variables.
        text: Text,
        /// `!=`.
        negated: bool,
    },
    /// `($variable ~ REGEX)`, `~*`, `!~`, `!~*`.
    Matches {
        /// The variable, without `$`.
        variable: String,
        /// The regex.
        regex: String,
        /// `~*`.
        caseless: bool,
        /// `!~`.
        negated: bool,
    },
    /// `(-f FILE)`, `-d`, `-e`, `-x`, negated by `!`.
    File {
        /// `f`, `d`, `e` or `x`.
        test: char,
        /// The path, with variables.
        path: Text,
        /// `!`.
        negated: bool,
    },
}

/// `rewrite REGEX REPLACEMENT [FLAG]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rewrite {
    /// Where it is written.
    #[serde(default)]
    pub at: At,
    /// The regex.
    pub regex: String,
    /// The replacement, with variables and captures.
    pub replacement: Text,
    /// The flag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flag: Option<RewriteFlag>,
}

/// The flag of a `rewrite`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RewriteFlag {
    /// Stop here and look for a location again.
    Last,
    /// Stop here.
    Break,
    /// 302.
    Redirect,
    /// 301.
    Permanent,
}

/// `return CODE [TEXT]`, `return CODE URL`, `return URL`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Return {
    /// Where it is written.
    #[serde(default)]
    pub at: At,
    /// The status; 302 for `return URL`.
    pub status: u16,
    /// The body, or for 301, 302, 303, 307 and 308 the URL; with variables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Text>,
}
