//! Who may come in, compiled.

use crate::config::model::AccessRule;
use crate::vars::{Template, Var};
use bytes::Bytes;

/// The checks of a location.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// `allow` and `deny` in order.
    pub rules: Box<[AccessRule]>,
    /// `satisfy any`
    pub any: bool,
    /// `auth_basic` with its user file.
    pub basic: Option<Basic>,
    /// `auth_request`
    pub asked: Option<Asked>,
}

/// `auth_request`
#[derive(Clone, Debug)]
pub struct Asked {
    /// The path of the location that is asked.
    pub uri: Bytes,
    /// `auth_request_set` lines: variables of the request, from those of the subrequest.
    pub set: Box<[(Var, Template)]>,
}

/// `auth_basic`
#[derive(Clone, Debug)]
pub struct Basic {
    /// The realm; `off` is off.
    pub realm: Template,
    /// Below the folder of the configuration.
    pub file: Template,
}
