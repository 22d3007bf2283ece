//! Files that one process writes: locked under whatever name they have, replaced in one step.

use super::Error;
use crate::sys::errno::Failure;
use crate::sys::open;
use std::fs::{self, File, TryLockError};
use std::io;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Which file something is, device and inode: the same under each of its names.
pub type Identity = Option<(u64, u64)>;

/// Opens and locks the file that is at `path` once it is locked, and makes it where there is none.
///
/// # Errors
/// It cannot be opened, or another process holds it.
pub fn lock(path: &Path) -> Result<File, Error> {
    loop {
        let file = open::private(path)?;
        match file.try_lock() {
            // Its last holder may have replaced it between our opening and our locking.
            Ok(()) if is_at(&file, path) => return Ok(file),
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Held(path.to_owned())),
            Err(TryLockError::Error(error)) => return Err(failed("flock()", path, error).into()),
        }
    }
}

/// The file that has replaced that at `path` by one with `content`, in one step; it is locked, too.
/// Behind that [`sync_folder`] makes it last.
///
/// # Errors
/// It is not written; what was there is.
pub fn replaced(path: &Path, content: &[u8]) -> Result<File, Error> {
    let new = beside(path, ".new");
    let mut file = open::private(&new)?;
    file.try_lock().map_err(|_| Error::Held(new.clone()))?;
    file.set_len(0)
        .and_then(|()| file.write_all(content))
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&new, path))
        .map_err(|it| failed("write()", &new, it))?;
    Ok(file)
}

/// `path` with something behind it.
pub fn beside(path: &Path, end: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(end);
    PathBuf::from(path)
}

fn is_at(file: &File, path: &Path) -> bool {
    let ours = file.metadata().ok().map(|it| (it.dev(), it.ino()));
    ours.is_some() && ours == identity_of(path)
}

/// Which file is at `path`; none where there is none.
pub fn identity_of(path: &Path) -> Identity {
    fs::metadata(path).ok().map(|it| (it.dev(), it.ino()))
}

/// The folder that `path` is in.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A new or renamed file is safe once its folder is.
///
/// # Errors
/// It is not.
pub fn sync_folder(path: &Path) -> Result<(), Error> {
    let folder = folder_of(path);
    let synced = open::read(folder)?.sync_all();
    synced.map_err(|it| failed("fsync()", folder, it).into())
}

/// What the operating system refused at `path`.
pub fn failed(call: &str, path: &Path, error: io::Error) -> Failure {
    Failure::new(format!("{call} \"{}\"", path.display()), error)
}
