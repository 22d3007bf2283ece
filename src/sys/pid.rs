//! The pid file: who runs, and that nobody else does.

use crate::sys::errno::Failure;
use crate::sys::open;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Why there is no pid file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused.
    #[error(transparent)]
    Os(#[from] Failure),
    /// Another Moongate runs with this pid file.
    #[error("another Moongate (pid {pid}) holds \"{}\"", path.display())]
    Held {
        /// The pid file.
        path: PathBuf,
        /// What it says; `unknown` while it says nothing.
        pid: String,
    },
    /// The file holds something else.
    #[error("invalid PID number \"{text}\" in \"{}\"", path.display())]
    Invalid {
        /// The pid file.
        path: PathBuf,
        /// What it says.
        text: String,
    },
}

/// A pid file that this process holds; it is removed when dropped.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    /// Locked; the lock ends with the process, however it ends.
    file: File,
}

impl PidFile {
    /// Writes this process's id to `path` and locks the file. After daemonising.
    ///
    /// # Errors
    /// [`Error::Held`] when another process has it locked.
    pub fn hold(path: &Path) -> Result<Self, Error> {
        let held = Self { path: path.to_owned(), file: lock(path)? };
        held.write().map_err(|it| Failure::new(format!("write() \"{}\"", path.display()), it))?;
        Ok(held)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn write(&self) -> io::Result<()> {
        let mut file = &self.file;
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if is_at(&self.file, &self.path) {
            // Left behind, it is locked by nobody and harms nobody.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The process that `path` names, for `-s`.
///
/// # Errors
/// `open() "PATH" failed …` or [`Error::Invalid`].
pub fn read(path: &Path) -> Result<i32, Error> {
    let text = String::from_utf8_lossy(&open::contents(path)?).trim_end().to_owned();
    match text.parse::<i32>() {
        Ok(pid) if pid > 0 => Ok(pid),
        _ => Err(Error::Invalid { path: path.to_owned(), text }),
    }
}

fn lock(path: &Path) -> Result<File, Error> {
    loop {
        let mut file = open::lockable(path)?;
        match file.try_lock() {
            // Its last holder may have removed it between our opening and our locking.
            Ok(()) if is_at(&file, path) => return Ok(file),
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                let known = file.read_to_string(&mut pid).is_ok() && !pid.trim().is_empty();
                let pid = if known { pid.trim() } else { "unknown" }.to_owned();
                return Err(Error::Held { path: path.to_owned(), pid });
            }
            Err(TryLockError::Error(error)) => {
                return Err(Failure::new(format!("flock() \"{}\"", path.display()), error).into());
            }
        }
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(ours), Ok(there)) = (file.metadata(), fs::metadata(path)) else { return false };
    (ours.dev(), ours.ino()) == (there.dev(), there.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time_removed_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("moongate.pid");
        fs::write(&path, "a stale one that is longer\n").unwrap();
        let held = PidFile::hold(&path).unwrap();
        let own = std::process::id();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{own}\n"));
        assert_eq!(i64::from(read(&path).unwrap()), i64::from(own));
        let fault = PidFile::hold(&path).unwrap_err().to_string();
        let shown = path.display();
        assert_eq!(fault, format!("another Moongate (pid {own}) holds \"{shown}\""));
        drop(held);
        assert!(!path.exists());
        PidFile::hold(&path).unwrap();
    }

    #[test]
    fn a_successor_s_file_is_not_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("moongate.pid");
        let held = PidFile::hold(&path).unwrap();
        fs::rename(&path, dir.path().join("old")).unwrap();
        fs::write(&path, "1\n").unwrap();
        drop(held);
        assert!(path.exists());
    }

    #[test]
    fn what_is_no_pid_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("moongate.pid");
        let missing = read(&path).unwrap_err().to_string();
        assert!(missing.ends_with("failed (2: No such file or directory)"), "{missing}");
        for text in ["", "x\n", "-5\n", "0\n"] {
            fs::write(&path, text).unwrap();
            assert!(matches!(read(&path), Err(Error::Invalid { .. })), "{text:?}");
        }
    }
}
