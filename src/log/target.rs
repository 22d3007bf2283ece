//! Where a log goes.

use super::file::LogFile;
use super::syslog::Syslog;
use crate::sys::errno::Failure;
use crate::sys::open;
use crate::sys::stdio;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a configuration names as the place of a log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// The standard error stream.
    Stderr,
    /// A file by its whole path; see [`Target::file`].
    File(PathBuf),
    /// What follows `syslog:`: `server=127.0.0.1:514,facility=local7,tag=moongate`.
    Syslog(String),
}

impl Target {
    /// A file as a directive names it, relative to `prefix` unless absolute.
    pub fn file(prefix: &Path, path: &Path) -> Self {
        Self::File(open::under(prefix, path))
    }
}

/// A log that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused.
    #[error(transparent)]
    Open(#[from] Failure),
    /// The text behind `syslog:` is wrong.
    #[error("{0}")]
    Syslog(String),
}

/// A place of logs that stands open.
#[derive(Debug)]
pub(super) enum Open {
    /// The standard error stream.
    Stderr,
    /// A file that all logs of its path share.
    File(Arc<LogFile>),
    /// A syslog server.
    Syslog(Box<Syslog>),
}

impl Open {
    /// Opens `target`.
    ///
    /// # Errors
    /// `open() "PATH" failed …`, or what is wrong with the text behind `syslog:`.
    pub fn new(target: &Target) -> Result<Self, Error> {
        Ok(match target {
            Target::Stderr => Self::Stderr,
            Target::File(path) => Self::File(LogFile::open(path)?),
            Target::Syslog(text) => Self::Syslog(Box::new(Syslog::new(text)?)),
        })
    }

    /// Writes the beginning of `queued` and says how many bytes of it are done with. 0 means that
    /// the place takes nothing at the moment.
    ///
    /// # Errors
    /// What the operating system says; none of `queued` is done with then.
    pub fn write(&self, queued: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stderr => stdio::write_ready(&io::stderr(), queued),
            Self::File(file) => file.write(queued),
            Self::Syslog(syslog) => syslog.send_first(queued),
        }
    }

    /// How the place is called in a message.
    pub fn name(&self) -> String {
        match self {
            Self::Stderr => "stderr".to_owned(),
            Self::File(file) => format!("\"{}\"", file.path().display()),
            Self::Syslog(syslog) => format!("syslog {}", syslog.server()),
        }
    }
}
