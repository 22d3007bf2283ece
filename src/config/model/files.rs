//! Files: where they are, and how they are sent.

use super::Text;
use crate::config::diagnostic::At;
use serde::{Deserialize, Serialize};

/// What `alias` stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Alias {
    /// The first bytes of a URI, as many as the location's prefix has.
    Prefix(usize),
    /// The whole URI: that of a location with a regex.
    Whole,
}

/// `if_modified_since`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IfModifiedSince {
    /// It is ignored.
    Off,
    /// The very same time.
    #[default]
    Exact,
    /// That time or an earlier one.
    Before,
}

/// `try_files FILE… LAST`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TryFiles {
    /// Where it is written.
    #[serde(default)]
    pub at: At,
    /// What is looked for, in its order.
    pub files: Vec<TriedFile>,
    /// What is done where nothing is found.
    pub last: TryLast,
}

/// A file, or a folder, that `try_files` looks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TriedFile {
    /// Below `root`; a folder without the slash behind it.
    pub path: Text,
    /// Whether it must be a folder.
    #[serde(default)]
    pub is_folder: bool,
}

/// The end of `try_files`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TryLast {
    /// `=CODE`
    Status(u16),
    /// An internal redirect: a URI, or `@NAME`.
    To(Text),
}
