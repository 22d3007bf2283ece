//! The seam through which every log, key and file that may need privileges is opened.
//!
//! Today each is a plain open(2) of this very process. When a privileged master opens them for a
//! process that dropped to `user`, only this file changes.

use crate::sys::errno::Failure;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Of files that are created: read by all, written by us, whatever the umask adds.
const MODE: u32 = 0o644;

/// Opens a log for appending, creating it with mode 0644.
///
/// # Errors
/// `open() "PATH" failed (CODE: TEXT)`.
pub fn append(path: &Path) -> Result<File, Failure> {
    opened(path, OpenOptions::new().append(true).create(true).mode(MODE).open(path))
}

/// Opens a file for reading and writing as it is, creating it with mode 0644: the pid file.
///
/// # Errors
/// `open() "PATH" failed (CODE: TEXT)`.
pub fn lockable(path: &Path) -> Result<File, Failure> {
    let mut options = OpenOptions::new();
    opened(path, options.read(true).write(true).create(true).mode(MODE).open(path))
}

/// Opens a file for reading and writing that only its owner may read, creating it with mode 0600:
/// the journal of a rollout, which holds a secret.
///
/// # Errors
/// `open() "PATH" failed (CODE: TEXT)`.
pub fn private(path: &Path) -> Result<File, Failure> {
    let mut options = OpenOptions::new();
    opened(path, options.read(true).write(true).create(true).mode(0o600).open(path))
}

/// Makes the folder that private files are in, for its owner alone, where it is missing and the one
/// that it is in is there.
///
/// # Errors
/// `mkdir() "PATH" failed (CODE: TEXT)`.
pub fn make_private_folder(folder: &Path) -> Result<(), Failure> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(Failure::new(format!("mkdir() \"{}\"", folder.display()), error))
        }
        _ => Ok(()),
    }
}

/// Opens a file for reading.
///
/// # Errors
/// `open() "PATH" failed (CODE: TEXT)`.
pub fn read(path: &Path) -> Result<File, Failure> {
    opened(path, File::open(path))
}

/// The bytes of a file: a key, a certificate, a script, a part of the configuration.
///
/// # Errors
/// `open() "PATH" failed (CODE: TEXT)` or `read() …`.
pub fn contents(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut file = read(path)?;
    let mut bytes = Vec::new();
    match io::Read::read_to_end(&mut file, &mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) => Err(Failure::new(format!("read() \"{}\"", path.display()), error)),
    }
}

/// `path` as a directive means it: relative to the prefix unless absolute.
pub fn under(prefix: &Path, path: &Path) -> PathBuf {
    prefix.join(path)
}

fn opened(path: &Path, result: io::Result<File>) -> Result<File, Failure> {
    result.map_err(|error| Failure::new(format!("open() \"{}\"", path.display()), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_name_the_path_and_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("no/such.log");
        let fault = append(&missing).unwrap_err().to_string();
        let path = missing.display();
        assert_eq!(fault, format!("open() \"{path}\" failed (2: No such file or directory)"));
        let directory = contents(dir.path()).unwrap_err().to_string();
        assert!(directory.ends_with("(21: Is a directory)"), "{directory}");
    }

    #[test]
    fn paths_are_relative_to_the_prefix() {
        let prefix = Path::new("/srv/moongate");
        assert_eq!(under(prefix, Path::new("logs/a")), Path::new("/srv/moongate/logs/a"));
        assert_eq!(under(prefix, Path::new("/tmp/a")), Path::new("/tmp/a"));
    }
}
