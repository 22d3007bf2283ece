//! What is added to answers on their way out, compiled.

use super::conf::AddHeader;
use crate::config::model::Lifetime;
use crate::vars::Template;
use bytes::Bytes;
use std::sync::Arc;

/// `expires`, `add_trailer` and `charset` of a location.
#[derive(Clone, Debug, Default)]
pub struct Finishing {
    /// `expires`
    pub expires: Option<Expires>,
    /// `add_trailer` lines.
    pub trailers: Arc<[AddHeader]>,
    /// `charset`
    pub charset: Option<Charset>,
}

/// `expires`
#[derive(Clone, Debug)]
pub enum Expires {
    /// Without variables.
    Fixed(Lifetime),
    /// With them; whether the time counts from that of the file.
    Computed(Template, bool),
}

/// `charset`
#[derive(Clone, Debug)]
pub struct Charset {
    /// Its name; one that comes out empty, or `off`, adds nothing.
    pub name: Template,
    /// The types that get it, lower case; empty is all.
    pub types: Box<[Bytes]>,
}
