//! What single settings hold that are more than a switch, a number or a text.

use super::Text;
use crate::config::diagnostic::At;
use serde::{Deserialize, Serialize};

/// A size with `0` for no limit, as `client_max_body_size` has it.
pub type SizeUnlimited = u64;

/// `error_page CODE… [=[RESPONSE]] URI`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErrorPage {
    /// Where it is written.
    #[serde(default)]
    pub at: At,
    /// The statuses it serves.
    pub statuses: Vec<u16>,
    /// `=200`: `Some(Some(200))`; a bare `=`, what the page answers: `Some(None)`, `null` in JSON.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "written")]
    pub response: Option<Option<u16>>,
    /// A path, a URL or `@name`; with variables.
    pub uri: Text,
}

/// A value that was written, be it `null`: what is absent is the default and never comes here.
fn written<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Option<u16>>, D::Error> {
    Option::deserialize(from).map(Some)
}

/// `add_header NAME VALUE [always]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddHeader {
    /// Where it is written.
    #[serde(default)]
    pub at: At,
    /// The header's name.
    pub name: String,
    /// Its value, with variables.
    pub value: Text,
    /// `always`: on every status, not only 200, 201, 204, 206, 301-304, 307 and 308.
    #[serde(default)]
    pub always: bool,
}

/// `server_tokens`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerTokens {
    /// Name and version.
    On,
    /// The name.
    Off,
    /// Name, version and build.
    Build,
}

/// `large_client_header_buffers NUMBER SIZE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LargeBuffers {
    /// How many.
    pub number: u32,
    /// The size of each.
    pub size_bytes: u64,
}

/// `client_body_in_file_only`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BodyInFile {
    /// Only what is larger than `client_body_buffer_size`.
    #[default]
    Off,
    /// Always; the file goes with its request.
    Clean,
    /// Always; the file stays.
    On,
}

/// `lingering_close`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LingeringClose {
    /// Never.
    Off,
    /// Where the client may send more.
    #[default]
    On,
    /// Always.
    Always,
}

/// `proxy_next_upstream` as a set of causes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
pub struct NextUpstream {
    /// `error`.
    pub error: bool,
    /// `timeout`.
    pub timeout: bool,
    /// `invalid_header`.
    pub invalid_header: bool,
    /// `non_idempotent`.
    pub non_idempotent: bool,
    /// `http_500` and so on.
    pub statuses: Vec<u16>,
    /// `off`: never, whatever else is named.
    pub off: bool,
}

/// The lines of both blocks, the outer one's first.
pub(super) fn joined<T: Clone>(outer: &Option<Vec<T>>, inner: &Option<Vec<T>>) -> Option<Vec<T>> {
    match (outer, inner) {
        (Some(outer), Some(inner)) => Some([outer.as_slice(), inner].concat()),
        (outer, inner) => inner.clone().or_else(|| outer.clone()),
    }
}
