//! A request body that a script builds piece by piece: in memory up to a size, beyond it in a
//! file.

use crate::request::Body;
use crate::request::body::BodyFile;
use bytes::Bytes;
use std::fs::File;
use std::io;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;

/// A body under way.
#[derive(Debug)]
pub struct BodyBuilder {
    buffer: Vec<u8>,
    /// Bytes kept in memory; 0 writes all to a file.
    room: usize,
    folder: PathBuf,
    spilled: Option<(BodyFile, File)>,
}

impl BodyBuilder {
    /// An empty body that keeps `room` bytes in memory and spills into a file in `folder`.
    pub fn new(room: usize, folder: &Path) -> Self {
        Self { buffer: Vec::new(), room, folder: folder.to_owned(), spilled: None }
    }

    /// Adds `bytes`.
    ///
    /// # Errors
    /// The file cannot be made or written.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.spilled.is_none() && self.buffer.len() + bytes.len() <= self.room {
            self.buffer.extend_from_slice(bytes);
            return Ok(());
        }
        let (kept, file) = match &mut self.spilled {
            Some(spilled) => spilled,
            None => self.spilled.insert(BodyFile::create(&self.folder)?),
        };
        file.write_all(&self.buffer)?;
        file.write_all(bytes)?;
        kept.length += (self.buffer.len() + bytes.len()) as u64;
        self.buffer.clear();
        Ok(())
    }

    /// The file that it goes to, once it is longer than memory may hold.
    pub fn file(&self) -> Option<&Path> {
        self.spilled.as_ref().map(|(kept, _)| &*kept.path)
    }

    /// The whole body.
    pub fn finish(self) -> Body {
        match self.spilled {
            Some((kept, _)) => Body::File(kept),
            None => Body::Memory(Bytes::from(self.buffer)),
        }
    }
}
