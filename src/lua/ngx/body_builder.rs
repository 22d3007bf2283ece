//! A request body that a script builds piece by piece: in memory up to a size, beyond it in a
//! file.

use crate::request::Body;
use crate::request::body::BodyFile;
use bytes::Bytes;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

/// Numbers the files of this process.
static FILES: AtomicU64 = AtomicU64::new(0);

/// A body under way.
#[derive(Debug)]
pub struct BodyBuilder {
    buffer: Vec<u8>,
    /// Bytes kept in memory; 0 writes all to a file.
    room: usize,
    folder: PathBuf,
    spilled: Option<(File, BodyFile)>,
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
        let (file, kept) = match &mut self.spilled {
            Some(spilled) => spilled,
            None => self.spilled.insert(create(&self.folder)?),
        };
        file.write_all(&self.buffer)?;
        file.write_all(bytes)?;
        kept.length += (self.buffer.len() + bytes.len()) as u64;
        self.buffer.clear();
        Ok(())
    }

    /// The whole body.
    pub fn finish(self) -> Body {
        match self.spilled {
            Some((_, kept)) => Body::File(kept),
            None => Body::Memory(Bytes::from(self.buffer)),
        }
    }
}

/// A new file in `folder`, removed with the body.
fn create(folder: &Path) -> io::Result<(File, BodyFile)> {
    std::fs::create_dir_all(folder)?;
    let number = FILES.fetch_add(1, Ordering::Relaxed);
    let path = folder.join(format!("lua-{}-{number:010}", std::process::id()));
    let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
    Ok((file, BodyFile { path, length: 0, temporary: true }))
}
