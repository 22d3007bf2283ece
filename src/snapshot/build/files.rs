//! Files: `root`, `index`, `try_files`, compiled.

use super::Build;
use crate::config::diagnostic::At;
use crate::config::model;
use crate::config::model::Settings;
use crate::snapshot::files::{TriedFile, TryFiles, TryLast};
use crate::vars::Template;
use std::sync::Arc;

impl Build<'_> {
    /// `root`, or `alias`. A `root` does not end in `/`, as URIs begin with one.
    pub(super) fn root(&mut self, settings: &Settings, at: &At) -> Template {
        let text = settings.root.as_deref().unwrap_or("html");
        let text = match settings.alias {
            None => text.strip_suffix('/').unwrap_or(text),
            Some(_) => text,
        };
        if text.starts_with(['$', '/']) || (text.is_empty() && settings.root.is_some()) {
            return self.template(text, at);
        }
        let text = self.inputs.prefix.join(text).display().to_string();
        self.template(&text, at)
    }

    /// `index`
    pub(super) fn index(&mut self, settings: &Settings, at: &At) -> Arc<[Template]> {
        match &settings.index {
            Some(names) => names.iter().map(|it| self.template(it, at)).collect(),
            None => [Template::literal("index.html")].into(),
        }
    }

    /// `try_files`
    pub(super) fn try_files(&mut self, it: Option<&model::TryFiles>) -> Option<Arc<TryFiles>> {
        let it = it?;
        let files = it.files.iter().map(|file| TriedFile {
            path: self.template(&file.path, &it.at),
            is_folder: file.is_folder,
        });
        let files = files.collect();
        let last = match &it.last {
            model::TryLast::Status(status) => TryLast::Status(*status),
            model::TryLast::To(uri) => TryLast::To(self.template(uri, &it.at)),
        };
        Some(Arc::new(TryFiles { files, last }))
    }
}
