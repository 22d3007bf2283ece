//! Directives of headers-more-nginx-module.

use super::Text;
use crate::config::diagnostic::At;
use serde::{Deserialize, Serialize};

/// `more_set_headers`, `more_clear_headers`, `more_set_input_headers`, `more_clear_input_headers`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MoreHeaders {
    /// Where it is written.
    pub at: At,
    /// `-s`: only on these statuses; empty is any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub statuses: Vec<u16>,
    /// `-t`: only with these content types; empty is any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
    /// `-a`: adds to the fields of the same name.
    pub append: bool,
    /// `-r`: only replaces fields that are there.
    pub replace: bool,
    /// The fields in order.
    pub headers: Vec<MoreHeader>,
}

/// One field of such a directive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MoreHeader {
    /// Its name; one that ends with `*` stands for all that begin so.
    pub name: String,
    /// Its value, with variables; an empty one removes the field.
    pub value: Text,
}
