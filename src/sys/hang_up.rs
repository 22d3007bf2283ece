//! The other end of a connection whose bytes nobody reads: whether it is still there, and telling
//! it that this is the end.

use std::io;
use std::os::fd::RawFd;

/// What a socket says of its other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtherEnd {
    /// It may send more.
    Open,
    /// It will send no more than the bytes that wait to be read: so many.
    Ended(usize),
    /// The connection is broken.
    Gone,
}

/// Asks `socket` about its other end; reads nothing.
pub fn other_end(socket: RawFd) -> OtherEnd {
    let mut asked = libc::pollfd { fd: socket, events: libc::POLLRDHUP, revents: 0 };
    // SAFETY: `asked` is one pollfd, and outlives the call, which does not wait.
    let count = unsafe { libc::poll(&mut asked, 1, 0) };
    if count <= 0 {
        return OtherEnd::Open;
    }
    if asked.revents & (libc::POLLERR | libc::POLLHUP | libc::POLLNVAL) != 0 {
        return OtherEnd::Gone;
    }
    let mut waiting: libc::c_int = 0;
    // SAFETY: FIONREAD writes one int, which outlives the call.
    let result = unsafe { libc::ioctl(socket, libc::FIONREAD, &mut waiting) };
    match usize::try_from(waiting) {
        Ok(waiting) if result == 0 => OtherEnd::Ended(waiting),
        _ => OtherEnd::Open,
    }
}

/// Ends the connection in both directions; who reads from `socket` sees its end. What was written
/// is still sent.
///
/// # Errors
/// The connection has ended already, or the number is no socket's.
pub fn hang_up(socket: RawFd) -> io::Result<()> {
    // SAFETY: shutdown(2) touches no memory; a number that is no socket's is an error.
    match unsafe { libc::shutdown(socket, libc::SHUT_RDWR) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (ours, listener.accept().unwrap().0)
    }

    /// Until the kernel has passed on what happened at the other end.
    fn settles(socket: &TcpStream, expected: OtherEnd) {
        let found = (0..10_000).map(|_| other_end(socket.as_raw_fd())).find(|it| {
            std::thread::yield_now();
            *it == expected
        });
        assert_eq!(found, Some(expected));
    }

    #[test]
    fn an_end_is_seen_behind_bytes_that_nobody_reads() {
        let (ours, mut theirs) = pair();
        assert_eq!(other_end(ours.as_raw_fd()), OtherEnd::Open);
        theirs.write_all(b"unread").unwrap();
        assert_eq!(other_end(ours.as_raw_fd()), OtherEnd::Open);
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        settles(&ours, OtherEnd::Ended(6));
        // It closes with something unread: a reset.
        let (mut ours, theirs) = pair();
        ours.write_all(b"unread").unwrap();
        settles(&theirs, OtherEnd::Open);
        let mut byte = [0];
        assert_eq!((&theirs).read(&mut byte).unwrap(), 1);
        drop(theirs);
        settles(&ours, OtherEnd::Gone);
    }

    #[test]
    fn both_ends_see_a_hang_up() {
        let (mut ours, mut theirs) = pair();
        ours.write_all(b"bye").unwrap();
        hang_up(ours.as_raw_fd()).unwrap();
        let mut text = String::new();
        theirs.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), ours.read(&mut [0]).unwrap()), ("bye", 0));
        assert!(hang_up(-1).is_err());
    }
}
