//! The journal: every decision of a rollout, on the disk before it takes effect.
//!
//! A file of lines, each `KIND CRC32 JSON`; the first names the rollout and keeps a secret. A line
//! is whole or it is the torn tail of a crash, which is cut off. What was whole and is no longer
//! means that nothing can be known: all traffic goes to stable, the file is put aside.
//!
//! A record that closes a canary begins with another letter than the rest, so that even its first
//! byte is enough: a rollback whose record was torn is still a rollback.

pub(super) mod lines;
pub(super) mod locked;

use super::controller::{Event, Kind};
use super::plan::Plan;
use super::signature::hex;
use super::state::{Phase, State};
use crate::sys::errno::Failure;
use crate::sys::open;
use lines::{CLOSED, Found, HEAD, Head, MAGIC, OPEN, line, parse, read};
pub use locked::{Identity, identity_of};
use locked::{failed, folder_of, lock, replaced, sync_folder};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// A longer journal is written anew with its last record only.
const LONGEST_BYTES: u64 = 256 * 1024;

/// A folder of this name is for journals alone: it is made where it is missing.
pub const FOLDER: &str = "rollouts";

/// The folder of the journal at `path` if it is for journals alone.
pub fn own_folder(path: &Path) -> Option<&Path> {
    path.parent().filter(|it| it.file_name().is_some_and(|it| it == FOLDER))
}

/// One record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// When, milliseconds since 1970.
    pub at_ms: u64,
    /// What happened.
    pub event: Event,
    /// The state behind it.
    pub state: State,
    /// Who owns which bucket: runs of (variant, length).
    pub layout: Vec<(u8, u16)>,
}

/// What a journal told when it was opened.
#[derive(Clone, Debug, PartialEq)]
pub enum Recovered {
    /// It was not there, or empty.
    Nothing,
    /// The last record.
    Record(Box<Record>),
    /// The last record before a rollback whose own record was torn; the rollback stands.
    TornRollback(Option<Box<Record>>),
    /// It cannot be understood; why. The file was put aside.
    Unreadable(String),
}

impl Recovered {
    /// The state to go on from under `plan`.
    pub fn state(&self, plan: &Plan) -> State {
        match self {
            Self::Nothing => State::begin(plan),
            Self::Record(record) => record.state.clone().reconciled(plan),
            Self::TornRollback(record) => {
                let known = record.as_ref().map(|it| it.state.clone());
                let mut state = known.map_or_else(|| State::begin(plan), |it| it.reconciled(plan));
                state.close_all(Phase::RolledBack);
                state
            }
            Self::Unreadable(_) => State::unreadable(plan),
        }
    }
}

/// Why there is no journal.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused.
    #[error(transparent)]
    Os(#[from] Failure),
    /// Another process has it; during an upgrade the old one, until it ends.
    #[error("another process writes the journal \"{}\"", .0.display())]
    Held(PathBuf),
    /// The disk has not answered in time.
    #[error(
        "the disk has not taken what is for the journal \"{}\" within {} s",
        .0.display(),
        super::writer::PATIENCE.as_secs()
    )]
    Slow(PathBuf),
    /// A write failed before, and what it left could not be cut off.
    #[error("the journal \"{}\" has a broken end", .0.display())]
    Broken(PathBuf),
}

/// An open journal, locked for this process. Opening changes nothing in it: the first append does.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    /// The first line.
    head: Vec<u8>,
    /// Whole lines end here.
    length: u64,
    broken: bool,
    /// It is not a row of whole lines yet: what the first append keeps, and does.
    unsettled: Option<Unsettled>,
    /// The last transitions that it had when it was opened.
    recent: Vec<Record>,
}

/// A journal that is new, torn or unreadable. The first append replaces it in one step, so that a
/// crash before leaves what was there, a torn rollback too.
#[derive(Debug)]
struct Unsettled {
    /// Its whole lines.
    lines: Vec<u8>,
    /// What is there cannot be read: it keeps another name.
    aside: bool,
    /// The file was not there: it goes again if nothing is ever appended.
    made: bool,
}

impl Drop for Journal {
    fn drop(&mut self) {
        if self.unsettled.as_ref().is_some_and(|it| it.made) {
            let _ = fs::remove_file(&self.path); // an empty one says as little
        }
    }
}

impl Journal {
    /// Opens the journal at `path` for the rollout `name`; `fresh_secret` is that of a new one. The
    /// third value is its secret.
    ///
    /// # Errors
    /// It cannot be opened, or another process holds it. A journal that cannot be *understood* is
    /// no error: the first append puts it aside as `PATH.unreadable`.
    pub fn open(
        path: &Path,
        name: &str,
        fresh_secret: &[u8; 32],
    ) -> Result<(Self, Recovered, String), Error> {
        let made = !path.exists();
        if let Some(folder) = own_folder(path).filter(|_| made) {
            open::make_private_folder(folder)?;
        }
        let mut file = lock(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|it| failed("read()", path, it))?;
        let Found { head, recovered, recent, length } = read(&bytes, name);
        let is_whole = head.is_some() && length == bytes.len() as u64;
        let aside = matches!(recovered, Recovered::Unreadable(_));
        let head = head.unwrap_or_else(|| Head {
            magic: MAGIC.to_owned(),
            rollout: name.to_owned(),
            secret: hex(fresh_secret),
        });
        let secret = head.secret.clone();
        let head = line(HEAD, &head);
        let mut lines = bytes;
        lines.truncate(usize::try_from(length).unwrap_or(0));
        if lines.is_empty() {
            lines.clone_from(&head);
        }
        let unsettled = (!is_whole).then_some(Unsettled { lines, aside, made });
        let path = path.to_owned();
        let journal = Self { path, file, head, length, broken: false, unsettled, recent };
        Ok((journal, recovered, secret))
    }

    /// What the journal at `path` tells, which is only read: it may be another process's.
    ///
    /// # Errors
    /// It is not there, or cannot be read.
    pub fn look(path: &Path, name: &str) -> Result<Recovered, Failure> {
        Ok(read(&open::contents(path)?, name).recovered)
    }

    /// The secret of the journal at `path`, which is only read; none where it has none yet.
    ///
    /// # Errors
    /// It is another rollout's, it cannot be read, or there is no folder for it.
    pub fn peek(path: &Path, name: &str) -> Result<Option<String>, String> {
        let bytes = match open::contents(path) {
            Ok(bytes) => bytes,
            Err(failure) if failure.errno() == Some(libc::ENOENT) => {
                let folder = own_folder(path).unwrap_or(path);
                return match folder_of(folder).is_dir() {
                    true => Ok(None),
                    false => Err(format!("there is no folder \"{}\"", folder_of(path).display())),
                };
            }
            Err(failure) => return Err(failure.to_string()),
        };
        let first = bytes.split_inclusive(|it| *it == b'\n').next().unwrap_or_default();
        match parse::<Head>(first) {
            Some((HEAD, head)) if head.magic == MAGIC && head.rollout == name => {
                Ok(Some(head.secret))
            }
            Some((HEAD, head)) if head.magic == MAGIC => {
                Err(format!("\"{}\" is that of rollout \"{}\"", path.display(), head.rollout))
            }
            _ => Ok(None),
        }
    }

    /// Appends `record` and waits until it is on the disk.
    ///
    /// # Errors
    /// It is not: what was written of it is cut off, and the next append may succeed.
    pub fn append(&mut self, record: &Record) -> Result<(), Error> {
        let kind = if record.state.is_latched() { CLOSED } else { OPEN };
        let line = line(kind, record);
        if let Some(unsettled) = &self.unsettled {
            if unsettled.aside {
                self.put_aside()?;
            }
            let content = [unsettled.lines.as_slice(), &line].concat();
            self.replace(&content)?;
            self.unsettled = None;
            return Ok(());
        }
        if self.length + line.len() as u64 > LONGEST_BYTES {
            return self.replace(&[self.head.as_slice(), &line].concat());
        }
        if self.broken {
            self.cut()?;
        }
        self.write(&line)
    }

    /// Which file it is; another one after an append that replaced it.
    pub fn identity(&self) -> Identity {
        self.file.metadata().ok().map(|it| (it.dev(), it.ino()))
    }

    /// The last transitions that it had when it was opened, once.
    pub fn take_recent(&mut self) -> Vec<Record> {
        std::mem::take(&mut self.recent)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn write(&mut self, line: &[u8]) -> Result<(), Error> {
        let written = self.file.write_all(line).and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => {
                self.length += line.len() as u64;
                Ok(())
            }
            Err(error) => {
                self.broken = true;
                let _ = self.cut(); // tried again before the next append
                Err(failed("write()", &self.path, error).into())
            }
        }
    }

    /// Cuts off what is behind the last whole line.
    fn cut(&mut self) -> Result<(), Error> {
        let cut = self
            .file
            .set_len(self.length)
            .and_then(|()| self.file.seek(SeekFrom::Start(self.length)))
            .and_then(|_| self.file.sync_data());
        self.broken = cut.is_err();
        cut.map_err(|_| Error::Broken(self.path.clone()))
    }

    /// Makes every write fail.
    #[cfg(test)]
    pub(super) fn break_for_test(&mut self) {
        self.file = File::open(&self.path).expect("it is there");
    }

    /// Makes writes succeed again.
    #[cfg(test)]
    pub(super) fn mend_for_test(&mut self) {
        self.file = open::private(&self.path).expect("it is there");
    }

    /// Gives what cannot be read a second name; the first append takes the first one from it.
    fn put_aside(&self) -> Result<(), Error> {
        let mut aside = self.path.as_os_str().to_owned();
        aside.push(".unreadable");
        match fs::remove_file(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => fs::hard_link(&self.path, &aside),
        }
        .map_err(|it| failed("link()", &self.path, it).into())
    }

    /// Replaces the file by one with `content`, in one step.
    fn replace(&mut self, content: &[u8]) -> Result<(), Error> {
        self.file = replaced(&self.path, content)?;
        (self.length, self.broken) = (content.len() as u64, false);
        sync_folder(&self.path)
    }
}

/// A record of `state` now.
pub fn record(at_ms: u64, event: Event, state: &State, layout: Vec<(u8, u16)>) -> Record {
    Record { at_ms, event, state: state.clone(), layout }
}

/// An event that only keeps the evidence so far.
pub fn checkpoint(state: &State) -> Event {
    let weight = state.weight();
    let canary = state.canaries.first().map_or_else(String::new, |it| it.label.clone());
    let reason = state.canaries.first().map_or_else(String::new, super::controller::numbers);
    Event { kind: Kind::Checkpoint, canary, reason, from: weight, to: weight }
}

#[cfg(test)]
mod tests;
