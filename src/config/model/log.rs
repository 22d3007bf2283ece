//! Logs: where, in which format, from which level.

use super::Text;
use crate::config::diagnostic::At;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// `error_log TARGET [LEVEL]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErrorLog {
    /// Where it is written.
    #[serde(default)]
    pub at: At,
    /// The target.
    pub target: ErrorLogTarget,
    /// nginx's number: 1 emerg, 2 alert, 3 crit, 4 error (the default), 5 warn, 6 notice, 7 info,
    /// 8 debug.
    pub level: u8,
}

/// Where an error log goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorLogTarget {
    /// A file, relative to the prefix.
    File(PathBuf),
    /// `stderr`.
    Stderr,
    /// `syslog:server=…`, the text behind `syslog:`.
    Syslog(String),
}

/// `access_log TARGET [FORMAT [buffer=SIZE] [flush=TIME] [if=CONDITION]]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessLog {
    /// Where it is written.
    #[serde(default)]
    pub at: At,
    /// The target.
    pub target: AccessLogTarget,
    /// The name of a `log_format`; `combined` and `moongate_json` are predefined.
    pub format: String,
    /// `buffer=`, bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buffer_bytes: Option<usize>,
    /// `flush=`, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flush_ms: Option<u64>,
    /// `if=`: not logged when it gives `""` or `"0"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<Text>,
}

/// Where an access log goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessLogTarget {
    /// A file, relative to the prefix.
    File(PathBuf),
    /// `syslog:server=…`, the text behind `syslog:`.
    Syslog(String),
}

/// `log_format NAME [escape=…] TEXT…`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogFormat {
    /// Where it is written.
    #[serde(default)]
    pub at: At,
    /// Its name.
    pub name: String,
    /// How variables are escaped.
    pub escape: LogFormatEscape,
    /// The texts joined.
    pub text: Text,
}

/// `escape=` of `log_format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormatEscape {
    /// `"`, `\`, and bytes below 32 or above 126 as `\xXX`; an unset variable is `-`.
    #[default]
    Default,
    /// JSON string escapes; an unset variable is empty.
    Json,
    /// Bytes as they are; an unset variable is empty.
    None,
}
