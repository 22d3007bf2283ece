//! Setting a field of the request, and what the request derives from it.

use super::{Request, Version, decimal};
use crate::http::host;
use bytes::Bytes;

/// A `Content-Length` that is no number, or a bad `Host`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadField;

impl Request {
    /// Sets or adds a field as lua-nginx-module and headers-more do; an empty value removes it.
    ///
    /// # Errors
    /// A `Content-Length` that is no number, a bad `Host`.
    pub fn put_field(&self, name: &Bytes, value: Bytes, replace: bool) -> Result<(), BadField> {
        if self.version < Version::Http10 {
            return Ok(());
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            let length = match value.is_empty() {
                true => None,
                false => Some(decimal(&value).ok_or(BadField)?),
            };
            self.content_length.set(length);
        }
        if name.eq_ignore_ascii_case(b"host") {
            let host = match value.is_empty() {
                true => Bytes::new(),
                false => {
                    let host = host::normalise(&value).ok_or(BadField)?;
                    Bytes::copy_from_slice(&host)
                }
            };
            self.host.replace(host);
        }
        let mut headers = self.headers.borrow_mut();
        match (value.is_empty(), replace) {
            (true, true) => {
                headers.remove(name);
            }
            (true, false) => {}
            (false, true) => headers.set(name.clone(), value),
            (false, false) => headers.append(name.clone(), value),
        }
        Ok(())
    }
}
