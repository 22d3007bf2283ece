//! A request's body: unread, in memory, or in a temporary file.

use bytes::Bytes;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// What nginx says when a body goes to a file, whose path follows.
pub const BUFFERED: &str = "a client request body is buffered to a temporary file";

/// Numbers the files of this process.
static FILES: AtomicU64 = AtomicU64::new(0);

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

impl BodyFile {
    /// A new file in `folder`, which nobody else reads, removed in the end. One that another
    /// process left behind is not taken.
    ///
    /// # Errors
    /// The folder or the file cannot be made.
    pub fn create(folder: &Path) -> io::Result<(Self, File)> {
        fs::create_dir_all(folder)?;
        loop {
            let number = FILES.fetch_add(1, Ordering::Relaxed);
            let path = folder.join(format!("{number:010}{:07}", std::process::id()));
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                Ok(file) => return Ok((Self { path, length: 0, temporary: true }, file)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for BodyFile {
    fn drop(&mut self) {
        if self.temporary {
            // A file that somebody else took away is no loss.
            let _ = fs::remove_file(&self.path);
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_is_its_owners_and_goes_with_the_body() {
        let folder = tempfile::tempdir().unwrap();
        let (kept, _) = BodyFile::create(&folder.path().join("made")).unwrap();
        assert_eq!(fs::metadata(&kept.path).unwrap().permissions().mode() & 0o777, 0o600);
        let name = kept.path.file_name().unwrap().to_str().unwrap();
        assert!(name.bytes().all(|it| it.is_ascii_digit()), "{name}");
        let path = kept.path.clone();
        drop(kept);
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_was_left_behind_is_stepped_over() {
        let folder = tempfile::tempdir().unwrap();
        let number = FILES.load(Ordering::Relaxed);
        for number in number..number + 50 {
            let name = format!("{number:010}{:07}", std::process::id());
            fs::write(folder.path().join(name), "old").unwrap();
        }
        let (kept, _) = BodyFile::create(folder.path()).unwrap();
        assert_eq!(fs::read(&kept.path).unwrap(), b"");
    }
}
