//! `expires`, `add_trailer`, `charset`, compiled.

use super::Build;
use crate::config::diagnostic::At;
use crate::config::model;
use crate::config::model::{Lifetime, Settings};
use crate::snapshot::conf::AddHeader;
use crate::snapshot::finishing::{Charset, Expires, Finishing};
use crate::vars::template::has_variables;
use bytes::Bytes;
use std::sync::Arc;

/// nginx's types of `charset`, beside `text/html`.
const CHARSET_TYPES: [&str; 5] =
    ["text/xml", "text/plain", "text/vnd.wap.wml", "application/javascript", "application/rss+xml"];

impl Build<'_> {
    /// What is added on the way out; `None` where that is nothing.
    pub(super) fn finishing(&mut self, settings: &Settings, at: &At) -> Option<Arc<Finishing>> {
        let finishing = Finishing {
            expires: settings.expires.as_ref().and_then(|it| self.expires(it)),
            trailers: self.header_lines(settings.add_trailer.as_ref()),
            charset: self.charset(settings, at),
        };
        let is_some = finishing.expires.is_some()
            || finishing.charset.is_some()
            || !finishing.trailers.is_empty();
        is_some.then(|| Arc::new(finishing))
    }

    /// Lines of `add_header` and of `add_trailer`.
    pub(super) fn header_lines(
        &mut self,
        lines: Option<&Vec<model::AddHeader>>,
    ) -> Arc<[AddHeader]> {
        let lines = lines.into_iter().flatten();
        lines
            .map(|line| AddHeader {
                name: Bytes::copy_from_slice(line.name.as_bytes()),
                value: self.template(&line.value, &line.at),
                always: line.always,
            })
            .collect()
    }

    fn expires(&mut self, expires: &model::Expires) -> Option<Expires> {
        if has_variables(&expires.value) {
            let value = self.template(&expires.value, &expires.at);
            return Some(Expires::Computed(value, expires.modified));
        }
        match Lifetime::parse(&expires.value, expires.modified) {
            Ok(Lifetime::Off) => None,
            Ok(lifetime) => Some(Expires::Fixed(lifetime)),
            Err(message) => {
                self.diagnostics.fault(&expires.at, message);
                None
            }
        }
    }

    fn charset(&mut self, settings: &Settings, at: &At) -> Option<Charset> {
        let name = settings.charset.as_ref().filter(|it| *it != "off")?;
        let types = match &settings.charset_types {
            Some(types) if types.iter().any(|it| it == "*") => Vec::new(),
            Some(types) => types.iter().map(|it| it.to_ascii_lowercase()).collect(),
            None => CHARSET_TYPES.map(str::to_owned).to_vec(),
        };
        let all = settings.charset_types.is_some() && types.is_empty();
        let html = (!all).then(|| "text/html".to_owned());
        let types = types.into_iter().chain(html).map(Bytes::from).collect();
        Some(Charset { name: self.template(name, at), types })
    }
}
