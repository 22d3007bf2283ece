//! The rewrite module's directives, compiled; [`crate::proxy`]'s rewrite phase runs them.

use super::{ChunkId, LocationId};
use crate::config::model::RewriteFlag;
use crate::http::setters;
use crate::regex::Regex;
use crate::vars::Template;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

/// Directives in order.
pub type Program = Box<[Op]>;

/// Where `set`, captures and `ngx.var` write.
pub type Assign = crate::vars::Var;

/// A regex and the variables that its named groups set.
#[derive(Clone, Debug)]
pub struct CapturingRegex {
    /// The regex.
    pub regex: Arc<Regex>,
    /// Group number and variable.
    pub named: Box<[(u32, Assign)]>,
}

/// One directive.
#[derive(Debug)]
pub enum Op {
    /// `set`.
    Set {
        /// How the Decision names it: `set at nginx.conf:7`.
        shown: Arc<str>,
        /// The variable.
        target: Assign,
        /// Its value.
        value: Template,
    },
    /// `set_by_lua*`.
    SetByLua {
        /// The variable.
        target: Assign,
        /// The chunk.
        chunk: ChunkId,
        /// `ngx.arg`.
        args: Box<[Template]>,
    },
    /// A directive of set-misc.
    Setter {
        /// How the Decision names it: `set_md5 at nginx.conf:7`.
        shown: Arc<str>,
        /// The variable.
        target: Assign,
        /// What it does.
        verb: Setter,
        /// Its arguments.
        args: Box<[Template]>,
    },
    /// `if`.
    If {
        /// When.
        condition: Condition,
        /// What is done then.
        then: Program,
        /// The nameless location that takes over then; `None` on the server level without settings.
        location: Option<LocationId>,
    },
    /// `rewrite`.
    Rewrite {
        /// What the URI must match.
        regex: CapturingRegex,
        /// What it becomes (before `?`).
        replacement: Template,
        /// New arguments, when the replacement has a `?`.
        args: Option<Template>,
        /// Keep the request's own arguments behind the new ones: the replacement has no `?` last.
        keep_args: bool,
        /// Stop, redirect.
        after: AfterRewrite,
    },
    /// `return`.
    Return {
        /// The status; 444 closes the connection.
        status: u16,
        /// Body or URL.
        text: Option<Template>,
    },
    /// `break`.
    Break,
}

/// What a directive of set-misc does.
#[derive(Debug)]
pub enum Setter {
    /// A function of one argument; the arguments are one or none.
    Function(setters::Function),
    /// `set_if_empty`
    IfEmpty,
    /// `set_hmac_sha1`, `set_hmac_sha256`
    Hmac {
        /// SHA-256 rather than SHA-1.
        sha256: bool,
    },
    /// `set_random`
    Random,
    /// `set_rotate`, with the number that it gave last; `i64::MIN` before.
    Rotate(AtomicI64),
    /// `set_hashed_upstream`, with all lists there are.
    HashedUpstream(Box<[(String, Vec<String>)]>),
}

/// What follows a `rewrite` that matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterRewrite {
    /// The next directive; at the end, a location is looked for again.
    Continue,
    /// `last`.
    Last,
    /// `break`.
    Break,
    /// A redirect: 301 or 302.
    Redirect(u16),
}

impl AfterRewrite {
    /// From the flag, and from a replacement that begins with `http://`, `https://` or `$scheme`.
    pub fn new(flag: Option<RewriteFlag>, absolute: bool) -> Self {
        match flag {
            Some(RewriteFlag::Permanent) => Self::Redirect(301),
            Some(RewriteFlag::Redirect) => Self::Redirect(302),
            _ if absolute => Self::Redirect(302),
            Some(RewriteFlag::Last) => Self::Last,
            Some(RewriteFlag::Break) => Self::Break,
            None => Self::Continue,
        }
    }
}

/// A compiled condition.
#[derive(Debug)]
pub enum Condition {
    /// Neither empty nor `0`.
    True(Assign),
    /// Equal to a text.
    Equals {
        /// The variable.
        variable: Assign,
        /// The text.
        text: Template,
        /// `!=`.
        negated: bool,
    },
    /// Matched by a regex.
    Matches {
        /// The variable.
        variable: Assign,
        /// The regex.
        regex: CapturingRegex,
        /// `!~`.
        negated: bool,
    },
    /// A file test: `f`, `d`, `e`, `x`.
    File {
        /// Which.
        test: char,
        /// The path.
        path: Template,
        /// `!`.
        negated: bool,
    },
}
