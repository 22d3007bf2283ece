//! Checks of access, compiled.

use super::Build;
use crate::config::diagnostic::At;
use crate::config::model::Settings;
use crate::snapshot::access::{Access, Basic};
use std::sync::Arc;

impl Build<'_> {
    /// The checks of a location; `None` where nothing was said.
    pub(super) fn access(&mut self, settings: &Settings, at: &At) -> Option<Arc<Access>> {
        let both = settings.auth_basic.as_ref().zip(settings.auth_basic_user_file.as_ref());
        let both = both.filter(|(realm, _)| *realm != "off");
        let access = Access {
            rules: settings.access.clone().unwrap_or_default().into(),
            any: settings.satisfy_any.unwrap_or(false),
            basic: both.map(|(realm, file)| Basic {
                realm: self.template(realm, at),
                file: self.template(&self.conf_path(file), at),
            }),
        };
        let is_some = access.any || !access.rules.is_empty() || access.basic.is_some();
        is_some.then(|| Arc::new(access))
    }

    /// A path below the folder of the configuration, as nginx has those of certificates.
    fn conf_path(&self, path: &str) -> String {
        if path.starts_with('$') || path.starts_with('/') {
            return path.to_owned();
        }
        self.inputs.base.join(path).display().to_string()
    }
}
