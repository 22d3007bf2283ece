//! Media types by file name extension: nginx's `types` and `default_type`.

use std::collections::HashMap;

/// What nginx knows when a configuration has no `types` block: (extension, type).
pub const BUILT_IN: [(&str, &str); 3] =
    [("html", "text/html"), ("gif", "image/gif"), ("jpg", "image/jpeg")];

/// A compiled `types` block: lower-case extension to type.
#[derive(Clone, Debug)]
pub struct Types(HashMap<Box<[u8]>, Box<str>>);

impl Types {
    /// The types of a `types` block as (extension, type); a later entry replaces an earlier one.
    pub fn new<E: AsRef<str>, T: AsRef<str>>(entries: impl IntoIterator<Item = (E, T)>) -> Self {
        let entry = |(extension, media): (E, T)| {
            let key = extension.as_ref().to_ascii_lowercase().into_bytes();
            (key.into_boxed_slice(), media.as_ref().into())
        };
        Self(entries.into_iter().map(entry).collect())
    }

    /// The type of `extension` (without the dot, any case).
    pub fn find(&self, extension: &[u8]) -> Option<&str> {
        let found = if extension.iter().any(u8::is_ascii_uppercase) {
            self.0.get(extension.to_ascii_lowercase().as_slice())
        } else {
            self.0.get(extension)
        };
        found.map(|it| &**it)
    }
}

impl Default for Types {
    fn default() -> Self {
        Self::new(BUILT_IN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_have_no_case() {
        let types = Types::default();
        assert_eq!(types.find(b"HTML"), Some("text/html"));
        assert_eq!((types.find(b"css"), types.find(b"")), (None, None));
        let own = Types::new([("CSS", "text/css"), ("css", "text/x-css")]);
        assert_eq!((own.find(b"css"), own.find(b"html")), (Some("text/x-css"), None));
    }
}
