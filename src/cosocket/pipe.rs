//! The client's own connection as a script's socket. Whoever owns the connection serves the pipe:
//! it brings what the script wants to read, and takes what the script sends.

use bytes::{Buf, Bytes};
use std::cell::{Cell, RefCell};
use std::io;
use std::task::{Context, Poll, Waker};

/// How reading has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// There is no more: the body is complete, or the client has closed.
    Over,
    /// The client left too early.
    Aborted,
    /// The operating system's number of an error.
    Failed(i32),
}

impl End {
    fn read(self) -> io::Result<usize> {
        match self {
            Self::Over => Ok(0),
            Self::Aborted => Err(io::ErrorKind::ConnectionAborted.into()),
            Self::Failed(code) => Err(io::Error::from_raw_os_error(code)),
        }
    }

    /// What `error` of a connection ends.
    pub fn of(error: &io::Error) -> Self {
        error.raw_os_error().map_or(Self::Aborted, Self::Failed)
    }
}

/// Where a send stands.
#[derive(Debug, Default)]
enum Sending {
    #[default]
    Nothing,
    /// These bytes are to be taken.
    Waits(Bytes),
    /// So many bytes were taken, and are on their way.
    Taken(usize),
    /// They are sent, or will not be.
    Over(io::Result<usize>),
}

/// One client's connection between a script and its owner.
#[derive(Debug, Default)]
pub struct Pipe {
    is_raw: bool,
    is_wanted: Cell<bool>,
    input: RefCell<Bytes>,
    end: Cell<Option<End>>,
    sending: RefCell<Sending>,
    /// Who waits for input, and for output to be gone.
    wakers: RefCell<[Option<Waker>; 2]>,
}

impl Pipe {
    /// A pipe for all that comes and goes on the connection, if `is_raw`; else for the request's
    /// body alone, which is only read.
    pub fn new(is_raw: bool) -> Self {
        Self { is_raw, ..Self::default() }
    }

    /// Whether it carries the connection's bytes as they are.
    pub fn is_raw(&self) -> bool {
        self.is_raw
    }

    /// Whether the script waits for input.
    pub fn wants(&self) -> bool {
        self.is_wanted.get()
    }

    /// Whether no input can come any more.
    pub fn is_over(&self) -> bool {
        self.end.get().is_some()
    }

    /// Brings input, which is not empty.
    pub fn give(&self, bytes: Bytes) {
        self.input.replace(bytes);
        self.is_wanted.set(false);
        self.wake(0);
    }

    /// There is no more input.
    pub fn end(&self, end: End) {
        self.end.set(Some(end));
        self.is_wanted.set(false);
        self.wake(0);
    }

    /// Takes what is to be sent; [`Self::sent`] follows.
    pub fn take(&self) -> Option<Bytes> {
        let mut sending = self.sending.borrow_mut();
        let Sending::Waits(bytes) = &mut *sending else { return None };
        let bytes = std::mem::take(bytes);
        *sending = Sending::Taken(bytes.len());
        Some(bytes)
    }

    /// Whether bytes that were taken are on their way.
    pub fn is_sending(&self) -> bool {
        matches!(&*self.sending.borrow(), Sending::Taken(_))
    }

    /// What was taken is sent, or cannot be.
    pub fn sent(&self, result: io::Result<()>) {
        let mut sending = self.sending.borrow_mut();
        let Sending::Taken(count) = *sending else { return };
        *sending = Sending::Over(result.map(|()| count));
        drop(sending);
        self.wake(1);
    }

    /// The script's side: reads what has come; 0 bytes are the end.
    ///
    /// # Errors
    /// How the connection ended.
    pub fn poll_read(&self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut input = self.input.borrow_mut();
        if !input.is_empty() {
            let count = input.len().min(room.len());
            input.copy_to_slice(&mut room[..count]);
            return Poll::Ready(Ok(count));
        }
        if let Some(end) = self.end.get() {
            return Poll::Ready(end.read());
        }
        self.is_wanted.set(true);
        self.park(0, cx);
        Poll::Pending
    }

    /// The script's side: sends all of `bytes`, and is asked again with the same until it has.
    ///
    /// # Errors
    /// How the connection ended; that nothing can be sent, if it is not raw.
    pub fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if !self.is_raw {
            return Poll::Ready(Err(io::ErrorKind::Unsupported.into()));
        }
        let mut sending = self.sending.borrow_mut();
        match &*sending {
            Sending::Nothing => *sending = Sending::Waits(Bytes::copy_from_slice(bytes)),
            Sending::Over(_) => {
                if let Sending::Over(result) = std::mem::take(&mut *sending) {
                    return Poll::Ready(result);
                }
            }
            Sending::Waits(_) | Sending::Taken(_) => {}
        }
        self.park(1, cx);
        Poll::Pending
    }

    fn park(&self, place: usize, cx: &Context<'_>) {
        self.wakers.borrow_mut()[place] = Some(cx.waker().clone());
    }

    fn wake(&self, place: usize) {
        let waker = self.wakers.borrow_mut()[place].take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cx() -> Context<'static> {
        Context::from_waker(Waker::noop())
    }

    #[test]
    fn input_comes_when_it_is_wanted() {
        let pipe = Pipe::new(false);
        let mut room = [0; 3];
        assert!(!pipe.wants());
        assert!(pipe.poll_read(&mut cx(), &mut room).is_pending());
        assert!(pipe.wants());
        pipe.give(Bytes::from_static(b"abcd"));
        assert!(!pipe.wants());
        assert!(matches!(pipe.poll_read(&mut cx(), &mut room), Poll::Ready(Ok(3))));
        assert!(matches!(pipe.poll_read(&mut cx(), &mut room), Poll::Ready(Ok(1))));
        assert!(pipe.poll_read(&mut cx(), &mut room).is_pending());
        pipe.end(End::Over);
        assert!(pipe.is_over() && !pipe.wants());
        assert!(matches!(pipe.poll_read(&mut cx(), &mut room), Poll::Ready(Ok(0))));
        pipe.end(End::Aborted);
        let aborted = pipe.poll_read(&mut cx(), &mut room);
        let Poll::Ready(Err(error)) = aborted else { panic!("{aborted:?}") };
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
    }

    #[test]
    fn output_is_taken_and_answered_for() {
        let pipe = Pipe::new(true);
        assert!(pipe.take().is_none());
        assert!(pipe.poll_write(&mut cx(), b"xy").is_pending());
        assert!(!pipe.is_sending());
        assert_eq!(pipe.take().as_deref(), Some(&b"xy"[..]));
        assert!(pipe.is_sending() && pipe.poll_write(&mut cx(), b"xy").is_pending());
        pipe.sent(Ok(()));
        assert!(matches!(pipe.poll_write(&mut cx(), b"xy"), Poll::Ready(Ok(2))));
        let refused = Pipe::new(false).poll_write(&mut cx(), b"x");
        assert!(matches!(refused, Poll::Ready(Err(_))));
    }
}
