//! A request's body: unread, in memory, or in a temporary file.

use bytes::Bytes;
use std::path::PathBuf;

/// Where the body is.
#[derive(Debug, Default)]
pub enum Body {
    /// Nobody has read it.
    #[default]
    Unread,
    /// Read, or set by a script; empty when the request has none.
    Memory(Bytes),
    /// In a file that is removed with the request when it is ours.
    File(BodyFile),
    /// Thrown away.
    Discarded,
}

/// A body in a file.
#[derive(Debug)]
pub struct BodyFile {
    /// The file.
    pub path: PathBuf,
    /// Its length in bytes.
    pub length: u64,
    /// Remove it in the end.
    pub temporary: bool,
}

impl Drop for BodyFile {
    fn drop(&mut self) {
        if self.temporary {
            // A file that somebody else took away is no loss.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Body {
    /// Its length once it was read.
    pub fn length(&self) -> Option<u64> {
        match self {
            Self::Unread => None,
            Self::Memory(bytes) => Some(bytes.len() as u64),
            Self::File(file) => Some(file.length),
            Self::Discarded => Some(0),
        }
    }

    /// Whether it was read, set or thrown away.
    pub fn is_read(&self) -> bool {
        !matches!(self, Self::Unread)
    }
}
