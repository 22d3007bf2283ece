//! Writing to pipes and terminals without ever waiting for their readers.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// A pipe that says it is writable takes at least this many bytes at once (`PIPE_BUF` on Linux).
const PIPE_BUF: usize = 4096;

/// Writes the beginning of `bytes` to `to`, at most 4096 bytes, if it takes them at once; says how
/// many were written, 0 when its reader is behind.
///
/// # Errors
/// What poll(2) or write(2) say, `EPIPE` among it.
pub fn write_ready(to: &impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    let fd = to.as_fd();
    if !is_writable(fd)? {
        return Ok(0);
    }
    write(fd, &bytes[..bytes.len().min(PIPE_BUF)])
}

/// Whether writes to `file` wait for nobody but a disk.
pub fn is_regular(file: &File) -> bool {
    file.metadata().is_ok_and(|it| it.is_file())
}

fn is_writable(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
    // SAFETY: one valid pollfd is passed, and a timeout of 0 makes poll return at once.
    match unsafe { libc::poll(&mut poll, 1, 0) } {
        -1 => Err(io::Error::last_os_error()),
        // An error state counts as writable: write(2) will say what it is.
        ready => Ok(ready > 0),
    }
}

fn write(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: the pointer and the length are those of a live slice, and `fd` is open.
    let written = unsafe { libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) };
    usize::try_from(written).map_err(|_| io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_full_pipe_takes_nothing_and_nobody_waits() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut written = 0;
        loop {
            match write_ready(&writer, &[b'x'; 10_000]).unwrap() {
                0 => break,
                n => written += n,
            }
        }
        assert!(written >= PIPE_BUF);
        let mut taken = vec![0; written];
        reader.read_exact(&mut taken).unwrap();
        assert_eq!(write_ready(&writer, b"more").unwrap(), 4);
    }
}
