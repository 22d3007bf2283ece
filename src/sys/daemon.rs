//! Going to the background: `daemon on`.
//!
//! The parent stays until the server either serves or has failed, so that whoever started it knows:
//! exit code 0 means that it answers. Until then the server's stderr is the parent's.

use crate::sys::errno::Failure;
use std::fs::{self, File, OpenOptions};
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsRawFd;

/// What the server says once it serves.
const READY: u8 = b'+';

/// The server's word to whoever started it, still to be given. A server that ends without it has
/// failed.
#[derive(Debug)]
pub struct Ready(PipeWriter);

impl Ready {
    /// Tells the parent that the server serves, which ends it with code 0, and lets go of the
    /// terminal: stdin, stdout and stderr become `/dev/null`.
    ///
    /// # Errors
    /// When `/dev/null` cannot be opened; the parent knows by then.
    pub fn tell(mut self) -> Result<(), Failure> {
        // A parent that was killed does not have to know.
        let _ = self.0.write_all(&[READY]);
        let null = OpenOptions::new().read(true).write(true).open("/dev/null");
        let null = null.map_err(|it| Failure::new("open() \"/dev/null\"", it))?;
        (0..=2).try_for_each(|fd| replace(fd, &null))
    }
}

/// Forks twice, so that the server has no terminal and never gets one. Returns in the server only;
/// the parent waits for [`Ready::tell`] and exits, 0 if it came and 1 if it did not.
///
/// # Errors
/// When there is more than one thread (the others would be missing in the server), or
/// `fork() failed …`, `pipe() failed …`.
pub fn detach() -> Result<Ready, Failure> {
    let threads = fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if threads > 1 {
        let reason = io::Error::other(format!("{threads} threads run already"));
        return Err(Failure::new("fork()", reason));
    }
    fork_twice()
}

fn fork_twice() -> Result<Ready, Failure> {
    let (reader, writer) = io::pipe().map_err(|it| Failure::new("pipe()", it))?;
    if fork()? != 0 {
        drop(writer);
        exit(verdict(reader));
    }
    drop(reader);
    // SAFETY: setsid takes nothing; it fails for a leader of a group, which a fresh fork is not.
    if unsafe { libc::setsid() } == -1 {
        return Err(Failure::last("setsid()"));
    }
    if fork()? != 0 {
        exit(0);
    }
    Ok(Ready(writer))
}

fn fork() -> Result<i32, Failure> {
    // SAFETY: `detach` saw that there is one thread: the child lacks nothing that the parent had.
    match unsafe { libc::fork() } {
        -1 => Err(Failure::last("fork()")),
        pid => Ok(pid),
    }
}

/// What the parent exits with: the pipe ends with the server, whether or not it spoke.
fn verdict(mut reader: PipeReader) -> i32 {
    let mut said = [0];
    match reader.read_exact(&mut said) {
        Ok(()) if said[0] == READY => 0,
        _ => 1,
    }
}

/// Ends a parent without its destructors: what it opened is the server's now.
fn exit(code: i32) -> ! {
    // SAFETY: _exit takes a number and does not return.
    unsafe { libc::_exit(code) }
}

fn replace(fd: i32, by: &File) -> Result<(), Failure> {
    // SAFETY: both are descriptors; `fd` is one of the three standard ones, which no File owns.
    match unsafe { libc::dup2(by.as_raw_fd(), fd) } {
        -1 => Err(Failure::last(format!("dup2() to {fd}"))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Output};

    const ROLE: &str = "MOONGATE_TEST_DAEMON";

    /// Runs `part_of_the_daemon` in a process of its own.
    fn start(role: &str) -> Output {
        let own = std::env::current_exe().unwrap();
        let test = "sys::daemon::tests::part_of_the_daemon";
        let args = ["--exact", test, "--test-threads=1", "--nocapture"];
        Command::new(own).args(args).env(ROLE, role).output().unwrap()
    }

    #[test]
    fn part_of_the_daemon() {
        let Ok(role) = std::env::var(ROLE) else { return };
        // The harness has a thread that only waits: it is not missed.
        let ready = fork_twice().unwrap();
        if role.starts_with("fails") {
            eprintln!("moongate: [emerg] it cannot");
            exit(3);
        }
        // SAFETY: take nothing and cannot fail.
        let (own, session) = unsafe { (libc::getpid(), libc::getsid(0)) };
        fs::write(&role, if own == session { "leads" } else { "is detached" }).unwrap();
        ready.tell().unwrap();
        exit(0);
    }

    #[test]
    fn the_parent_ends_well_when_the_server_is_ready() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("said");
        let output = start(path.to_str().unwrap());
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert_eq!(fs::read_to_string(path).unwrap(), "is detached");
    }

    #[test]
    fn the_parent_fails_with_the_server_and_shows_why() {
        let output = start("fails");
        assert_eq!(output.status.code(), Some(1));
        let shown = String::from_utf8(output.stderr).unwrap();
        assert!(shown.contains("moongate: [emerg] it cannot"), "{shown}");
    }

    #[test]
    fn a_process_with_threads_does_not_fork() {
        let (finish, finished) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || finished.recv().is_err());
        let fault = detach().unwrap_err().to_string();
        assert!(fault.starts_with("fork() failed (") && fault.contains("threads run already"));
        drop(finish);
        assert!(other.join().unwrap());
    }
}
