//! Who may come in, compiled.

use crate::config::model::AccessRule;
use crate::vars::Template;

/// The checks of a location.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// `allow` and `deny` in order.
    pub rules: Box<[AccessRule]>,
    /// `satisfy any`
    pub any: bool,
    /// `auth_basic` with its user file.
    pub basic: Option<Basic>,
}

/// `auth_basic`
#[derive(Clone, Debug)]
pub struct Basic {
    /// The realm; `off` is off.
    pub realm: Template,
    /// Below the folder of the configuration.
    pub file: Template,
}
