//! Log files: one open file a path, whoever logs to it, reopened together.

use crate::sys::errno::Failure;
use crate::sys::open;
use crate::sys::stdio;
use parking_lot::Mutex;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

/// A log file that all sinks of its path share.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    file: Mutex<Opened>,
}

#[derive(Debug)]
struct Opened {
    file: File,
    /// A pipe or a terminal may have a slow reader; a file only a slow disk.
    is_regular: bool,
}

/// Every file that is in use.
static FILES: Mutex<Vec<Weak<LogFile>>> = Mutex::new(Vec::new());

impl LogFile {
    /// The file at `path`, opened unless somebody has it open already.
    ///
    /// # Errors
    /// `open() "PATH" failed (CODE: TEXT)`.
    pub fn open(path: &Path) -> Result<Arc<Self>, Failure> {
        let mut files = FILES.lock();
        files.retain(|it| it.strong_count() > 0);
        if let Some(known) = files.iter().filter_map(Weak::upgrade).find(|it| it.path == path) {
            return Ok(known);
        }
        let file = Mutex::new(Opened::new(path)?);
        let opened = Arc::new(Self { path: path.to_owned(), file });
        files.push(Arc::downgrade(&opened));
        Ok(opened)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends the beginning of `bytes`; says how much, 0 when a pipe's reader is behind.
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut opened = self.file.lock();
        if opened.is_regular {
            opened.file.write(bytes)
        } else {
            stdio::write_ready(&opened.file, bytes)
        }
    }

    fn reopen(&self) -> Result<(), Failure> {
        let opened = Opened::new(&self.path)?;
        *self.file.lock() = opened;
        Ok(())
    }
}

impl Opened {
    fn new(path: &Path) -> Result<Self, Failure> {
        let file = open::append(path)?;
        Ok(Self { is_regular: stdio::is_regular(&file), file })
    }
}

/// Where all log files are that are in use.
pub fn paths() -> Vec<PathBuf> {
    FILES.lock().iter().filter_map(Weak::upgrade).map(|it| it.path.clone()).collect()
}

/// Writes out what is queued, then opens every log file anew by its path, for `-s reopen` and
/// USR1. A file that cannot be opened stays as it is, and its fault is given.
pub fn reopen_all() -> Vec<Failure> {
    super::writer::flush();
    let files: Vec<_> = FILES.lock().iter().filter_map(Weak::upgrade).collect();
    files.iter().filter_map(|it| it.reopen().err()).collect()
}
