//! Where a request's files are: `root`, `alias`, and the URI below them
//! (`ngx_http_map_uri_to_path`).

use super::Request;
use crate::log::Level;
use crate::snapshot::conf::Alias;
use crate::sys::errno::Errno;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A file or a folder by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its path, absolute.
    pub path: Vec<u8>,
    /// How much of it is `root` or `alias`.
    pub root_length: usize,
}

impl Place {
    /// The path as the system takes it.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.path))
    }

    /// The path with `name` in the place of what follows the root.
    #[must_use]
    pub fn with(&self, name: &[u8]) -> Self {
        let path = [&self.path[..self.root_length], name].concat();
        Self { path, root_length: self.root_length }
    }
}

impl Request {
    /// `root`, or `alias`, as an absolute path: `$document_root`.
    pub fn root_path(&self) -> PathBuf {
        let root = self.conf().root.value(self);
        let root = Path::new(OsStr::from_bytes(&root));
        if root.is_absolute() { root.to_owned() } else { self.snapshot.prefix.join(root) }
    }

    /// The same with symbolic links resolved: `$realpath_root`.
    pub(super) fn real_root(&self) -> Option<Vec<u8>> {
        let root = self.root_path();
        match root.canonicalize() {
            Ok(real) => Some(real.into_os_string().into_encoded_bytes()),
            Err(error) => {
                let (root, error) = (root.display(), Errno(&error));
                self.log(Level::Crit, format_args!("realpath() \"{root}\" failed {error}"));
                None
            }
        }
    }

    /// The path that the URI means: `$request_filename`. `None` where `alias` cannot be used, as
    /// the rewrite module has changed the URI.
    pub fn place(&self) -> Option<Place> {
        let uri = self.uri.borrow();
        let conf = self.conf();
        if conf.alias != Alias::None && self.broke_out.get() {
            let name = &self.location().name;
            self.log(
                Level::Alert,
                format_args!(
                    "\"alias\" cannot be used in location \"{name}\" where URI was rewritten"
                ),
            );
            return None;
        }
        let mut path = self.root_path().into_os_string().into_encoded_bytes();
        let root_length = path.len();
        path.extend_from_slice(match conf.alias {
            Alias::None => &uri,
            Alias::Prefix(length) => uri.get(length..).unwrap_or_default(),
            Alias::Whole if self.adds_uri_to_alias.get() => &uri,
            Alias::Whole => b"",
        });
        Some(Place { path, root_length })
    }
}
