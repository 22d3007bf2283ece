//! Content handlers other than proxying and Lua, and what the echo module adds to bodies.

use super::Text;
use crate::config::diagnostic::At;
use serde::{Deserialize, Serialize};

/// What answers in a location that neither proxies nor runs Lua.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Handler {
    /// `echo*` directives, in their order.
    Echo(Vec<EchoCommand>),
    /// `empty_gif`
    EmptyGif,
    /// `stub_status`
    StubStatus,
}

impl Handler {
    /// The directive that made it.
    pub fn directive(&self) -> &'static str {
        match self {
            Self::Echo(_) => "echo",
            Self::EmptyGif => "empty_gif",
            Self::StubStatus => "stub_status",
        }
    }
}

/// One directive of echo-nginx-module.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EchoCommand {
    /// Where it is written.
    #[serde(default)]
    pub at: At,
    /// Which.
    pub verb: EchoVerb,
    /// Its arguments, with variables; those that begin with `-` may be options.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<Text>,
}

/// A directive of echo-nginx-module that a content handler runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EchoVerb {
    /// `echo [-n] TEXT…`
    Echo,
    /// `echo_duplicate COUNT TEXT`
    EchoDuplicate,
    /// `echo_flush`
    EchoFlush,
    /// `echo_sleep SECONDS`
    EchoSleep,
    /// `echo_blocking_sleep SECONDS`
    EchoBlockingSleep,
    /// `echo_reset_timer`
    EchoResetTimer,
    /// `echo_read_request_body`
    EchoReadRequestBody,
    /// `echo_request_body`
    EchoRequestBody,
    /// `echo_foreach_split DELIMITER TEXT`
    EchoForeachSplit,
    /// `echo_end`
    EchoEnd,
    /// `echo_exec URI [ARGS]`
    EchoExec,
    /// `echo_location URI [ARGS]`
    EchoLocation,
    /// `echo_location_async URI [ARGS]`
    EchoLocationAsync,
    /// `echo_subrequest METHOD URI [-q ARGS] [-b BODY] [-f FILE]`
    EchoSubrequest,
    /// `echo_subrequest_async METHOD URI [-q ARGS] [-b BODY] [-f FILE]`
    EchoSubrequestAsync,
}

/// `echo_before_body` and `echo_after_body`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EchoLine {
    /// Where it is written.
    #[serde(default)]
    pub at: At,
    /// As those of `echo`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<Text>,
}
