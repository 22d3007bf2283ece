//! Checks of access, compiled.

use super::Build;
use crate::config::diagnostic::At;
use crate::config::model::Settings;
use crate::snapshot::access::{Access, Asked, Basic};
use bytes::Bytes;
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
            asked: self.asked(settings),
        };
        let is_some = access.any
            || !access.rules.is_empty()
            || access.basic.is_some()
            || access.asked.is_some();
        is_some.then(|| Arc::new(access))
    }

    fn asked(&mut self, settings: &Settings) -> Option<Asked> {
        let uri = settings.auth_request.as_ref().filter(|it| *it != "off")?;
        let lines = settings.auth_request_set.iter().flatten();
        let set =
            lines.map(|it| (self.variable(&it.variable, &it.at), self.template(&it.value, &it.at)));
        Some(Asked { uri: Bytes::copy_from_slice(uri.as_bytes()), set: set.collect() })
    }

    /// A path below the folder of the configuration, as nginx has those of certificates.
    fn conf_path(&self, path: &str) -> String {
        if path.starts_with('$') || path.starts_with('/') {
            return path.to_owned();
        }
        self.inputs.base.join(path).display().to_string()
    }
}
