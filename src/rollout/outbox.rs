//! An outbox: messages to webhooks that no receiver has taken yet, in a file beside a journal.
//!
//! Its lines are like a journal's, each with its checksum: a message, that one is taken, up to when
//! transitions are in it. A line that cannot be read is skipped: a torn or damaged outbox may lose
//! or repeat a message, and never keeps a process from starting. What it holds is bounded in number
//! and age.

pub mod keeper;

use super::journal::Error;
use super::journal::lines::{line, parse};
use super::journal::locked::{beside, failed, lock, replaced, sync_folder};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// Messages that an outbox keeps; the oldest make room.
pub const MOST_KEPT: usize = 256;
/// Older messages are not sent any more when a process starts.
pub const LONGEST_AGE_MS: u64 = 24 * 3_600_000;
/// A longer file is written anew with what waits.
const LONGEST_BYTES: u64 = 4 * 1024 * 1024;
/// The kind of all lines.
const KIND: u8 = b'O';

/// A message to one receiver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// Tells a message from others, and the same for all that are told of one transition.
    pub id: String,
    /// To whom.
    pub url: String,
    /// When the transition was, milliseconds since 1970.
    pub at_ms: u64,
    /// JSON.
    pub body: String,
}

/// A message that is not sent any more, and why.
pub type Dropped = (Letter, &'static str);

/// A line.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Entry {
    /// It waits.
    Letter(Letter),
    /// It was taken or given up.
    Taken { id: String, url: String },
    /// All transitions up to this moment were put in.
    Told(u64),
}

/// An open outbox, locked for this process.
#[derive(Debug)]
pub struct Outbox {
    path: PathBuf,
    file: File,
    /// Whole lines end here.
    length: u64,
    letters: Vec<Letter>,
    told_ms: Option<u64>,
    /// The file is not what it should be: it is written anew next.
    is_owed: bool,
}

impl Outbox {
    /// Opens what is at `path`, and makes it where there is none. What is not for one of `urls` any
    /// more, too old at `now_ms` or too much is dropped.
    ///
    /// # Errors
    /// It cannot be opened or written, or another process holds it.
    pub fn open(path: &Path, urls: &[String], now_ms: u64) -> Result<(Self, Vec<Dropped>), Error> {
        let mut file = lock(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|it| failed("read()", path, it))?;
        let (mut letters, told_ms) = read(&bytes);
        let mut dropped = Vec::new();
        let surplus = letters.len().saturating_sub(MOST_KEPT);
        dropped.extend(letters.drain(..surplus).map(|it| (it, "too many wait")));
        let fault = |it: &Letter| match it {
            _ if !urls.contains(&it.url) => Some("the configuration has it no more"),
            _ if now_ms.saturating_sub(it.at_ms) > LONGEST_AGE_MS => Some("it is too old"),
            _ => None,
        };
        letters.retain(|it| {
            let fault = fault(it);
            dropped.extend(fault.map(|why| (it.clone(), why)));
            fault.is_none()
        });
        let path = path.to_owned();
        let mut outbox = Self { path, file, length: 0, letters, told_ms, is_owed: true };
        outbox.settle()?;
        Ok((outbox, dropped))
    }

    /// What waits, in its order.
    pub fn letters(&self) -> &[Letter] {
        &self.letters
    }

    /// The transition of which the last messages were put in; none in a new outbox.
    pub fn told_ms(&self) -> Option<u64> {
        self.told_ms
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts in the messages on the transition at `at_ms`; gives those that had to make room.
    ///
    /// # Errors
    /// They are not on the disk; the next call tries again.
    pub fn keep(&mut self, at_ms: u64, letters: Vec<Letter>) -> (Vec<Letter>, Result<(), Error>) {
        let entries: Vec<Entry> = letters.iter().cloned().map(Entry::Letter).collect();
        self.letters.extend(letters);
        self.told_ms = Some(at_ms);
        let surplus = self.letters.len().saturating_sub(MOST_KEPT);
        let dropped: Vec<Letter> = self.letters.drain(..surplus).collect();
        self.is_owed |= surplus > 0;
        (dropped, self.write(entries.into_iter().chain([Entry::Told(at_ms)])))
    }

    /// Takes out the message `id` to `url`, if it is there.
    ///
    /// # Errors
    /// It is on the disk still, and may be sent again; the next call tries again.
    pub fn take(&mut self, id: &str, url: &str) -> Result<(), Error> {
        let before = self.letters.len();
        self.letters.retain(|it| it.id != id || it.url != url);
        if self.letters.len() == before {
            return self.settle();
        }
        // An outbox with nothing in it is short.
        self.is_owed |= self.letters.is_empty();
        self.write([Entry::Taken { id: id.to_owned(), url: url.to_owned() }])
    }

    /// Writes it anew where it is not what it should be.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn settle(&mut self) -> Result<(), Error> {
        if !self.is_owed {
            return Ok(());
        }
        let entries = self.letters.iter().cloned().map(Entry::Letter);
        let content = lines(entries.chain(self.told_ms.map(Entry::Told)));
        self.file = replaced(&self.path, &content)?;
        (self.length, self.is_owed) = (content.len() as u64, false);
        sync_folder(&self.path)
    }

    fn write(&mut self, entries: impl IntoIterator<Item = Entry>) -> Result<(), Error> {
        let content = lines(entries);
        if self.is_owed || self.length + content.len() as u64 > LONGEST_BYTES {
            self.is_owed = true;
            return self.settle();
        }
        let written = self.file.write_all_at(&content, self.length);
        match written.and_then(|()| self.file.sync_data()) {
            Ok(()) => {
                self.length += content.len() as u64;
                Ok(())
            }
            Err(error) => {
                self.is_owed = true;
                // What is torn is skipped.
                let _ = self.file.set_len(self.length);
                Err(failed("write()", &self.path, error).into())
            }
        }
    }

    /// Makes every write fail, until it is replaced.
    #[cfg(test)]
    fn break_for_test(&mut self) {
        self.file = File::open(&self.path).expect("it is there");
    }
}

/// Where the outbox of the rollout with this journal is.
pub fn beside_journal(journal: &Path) -> PathBuf {
    beside(journal, ".outbox")
}

/// Whether an error may pass by itself soon: another process is about to end.
fn is_held(error: &Error) -> bool {
    matches!(error, Error::Held(_))
}

fn lines(entries: impl IntoIterator<Item = Entry>) -> Vec<u8> {
    entries.into_iter().flat_map(|it| line(KIND, &it)).collect()
}

/// What waits, and the last transition that was put in.
fn read(bytes: &[u8]) -> (Vec<Letter>, Option<u64>) {
    let mut letters: Vec<Letter> = Vec::new();
    let mut told_ms = None;
    for line in bytes.split_inclusive(|it| *it == b'\n') {
        match parse::<Entry>(line) {
            Some((KIND, Entry::Letter(letter))) => letters.push(letter),
            Some((KIND, Entry::Taken { id, url })) => {
                letters.retain(|it| it.id != id || it.url != url);
            }
            Some((KIND, Entry::Told(at_ms))) => told_ms = Some(at_ms),
            _ => {}
        }
    }
    (letters, told_ms)
}

/// Removes the outbox at `path` of a rollout that has no webhook any more; gives what was in it.
fn removed(path: &Path) -> Vec<Letter> {
    match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => vec![],
        read_bytes => {
            // What stays is dropped at the next start.
            let _ = std::fs::remove_file(path);
            read_bytes.map(|it| read(&it).0).unwrap_or_default()
        }
    }
}

#[cfg(test)]
mod tests;
