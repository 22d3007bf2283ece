//! The ends of a child's streams that are ours: one to write to, two to read from.

use crate::cosocket::Intake;
use crate::cosocket::Reader;
use crate::sys::errno;
use std::cell::Cell;
use std::cell::RefCell;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;
use std::task::ready;
use std::time::Duration;
use tokio::net::unix::pipe::Receiver;
use tokio::net::unix::pipe::Sender;
use tokio::time::Sleep;

/// Why reading or writing ended; reads as lua-nginx-module says it.
#[derive(Debug)]
pub enum Fault {
    /// The child has closed its end, or has ended, or the script has closed ours.
    Closed,
    /// The script has closed our end while it was used.
    Aborted,
    /// It took too long.
    Timeout,
    /// More was said than the VM may hold.
    NoMemory,
    /// The operating system's word.
    System(io::Error),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("closed"),
            Self::Aborted => f.write_str("aborted"),
            Self::Timeout => f.write_str("timeout"),
            Self::NoMemory => f.write_str("no memory"),
            Self::System(error) => f.write_str(&errno::words(error)),
        }
    }
}

/// A pipe as the event loop knows it.
pub trait Pipe: Sized {
    /// Of a descriptor.
    ///
    /// # Errors
    /// The event loop's.
    fn of(fd: OwnedFd) -> io::Result<Self>;
}

impl Pipe for Receiver {
    fn of(fd: OwnedFd) -> io::Result<Self> {
        Self::from_owned_fd(fd)
    }
}

impl Pipe for Sender {
    fn of(fd: OwnedFd) -> io::Result<Self> {
        Self::from_owned_fd(fd)
    }
}

/// A pipe from its making to its closing. The event loop learns of it when it is first used: a
/// phase that starts a child may have none.
#[derive(Debug, Default)]
enum End<P> {
    Fresh(OwnedFd),
    Known(P),
    #[default]
    Closed,
}

/// One end of a stream.
#[derive(Debug)]
pub struct Side<P> {
    end: RefCell<End<P>>,
    is_busy: Cell<bool>,
    /// Why what uses it is to stop.
    stop: RefCell<Option<Fault>>,
    user: RefCell<Option<Waker>>,
}

impl<P: Pipe> Side<P> {
    /// Over `fd`; without one it is closed.
    pub fn new(fd: Option<OwnedFd>) -> Self {
        Self {
            end: RefCell::new(fd.map_or(End::Closed, End::Fresh)),
            is_busy: Cell::new(false),
            stop: RefCell::default(),
            user: RefCell::default(),
        }
    }

    /// Whether it is closed.
    pub fn is_closed(&self) -> bool {
        matches!(*self.end.borrow(), End::Closed)
    }

    /// Whether somebody uses it.
    pub fn is_busy(&self) -> bool {
        self.is_busy.get()
    }

    /// Closes it; whoever uses it is told `why` first.
    pub fn close(&self, why: Fault) {
        if !self.is_busy.get() {
            self.end.replace(End::Closed);
            return;
        }
        self.stop.replace(Some(why));
        if let Some(waker) = self.user.take() {
            waker.wake();
        }
    }

    /// Begins to use it, until what is returned is dropped.
    pub fn begin(&self) -> Busy<'_, P> {
        self.is_busy.set(true);
        Busy(self)
    }

    /// Polls `body` with the pipe; a side that is to stop is closed, and says why.
    fn poll(
        &self,
        cx: &mut Context<'_>,
        mut body: impl FnMut(&P, &mut Context<'_>) -> Poll<Result<usize, Fault>>,
    ) -> Poll<Result<usize, Fault>> {
        if let Some(why) = self.stop.take() {
            self.end.replace(End::Closed);
            return Poll::Ready(Err(why));
        }
        self.user.replace(Some(cx.waker().clone()));
        let mut end = self.end.borrow_mut();
        if let End::Fresh(_) = &*end
            && let End::Fresh(fd) = std::mem::take(&mut *end)
        {
            *end = End::Known(P::of(fd).map_err(Fault::System)?);
        }
        match &*end {
            End::Known(pipe) => body(pipe, cx),
            End::Fresh(_) | End::Closed => Poll::Ready(Err(Fault::Closed)),
        }
    }
}

/// A use of a side; given up, as when a light thread is killed, it leaves the side open.
pub struct Busy<'a, P: Pipe>(&'a Side<P>);

impl<P: Pipe> Drop for Busy<'_, P> {
    fn drop(&mut self) {
        self.0.is_busy.set(false);
        self.0.user.take();
        if self.0.stop.take().is_some() {
            self.0.end.replace(End::Closed);
        }
    }
}

/// What a child says, and what of it was not taken yet.
#[derive(Debug)]
pub struct Inlet {
    /// Our end.
    pub side: Side<Receiver>,
    intake: RefCell<Intake>,
    has_ended: Cell<bool>,
}

impl Inlet {
    /// Over `fd`; without one it is closed.
    pub fn new(fd: Option<OwnedFd>) -> Self {
        Self { side: Side::new(fd), intake: RefCell::default(), has_ended: Cell::new(false) }
    }

    /// Reads, `size` bytes at a time, until `reader` has what it wants, which is never more than
    /// `most` bytes.
    pub fn poll_read(
        &self,
        cx: &mut Context<'_>,
        reader: &mut Reader,
        (size, most): (usize, usize),
    ) -> Poll<Result<(), Fault>> {
        let mut intake = self.intake.borrow_mut();
        loop {
            if intake.feed(reader) {
                return Poll::Ready(Ok(()));
            }
            if self.has_ended.get() {
                let is_done = reader.ends_with_input();
                return Poll::Ready(if is_done { Ok(()) } else { Err(Fault::Closed) });
            }
            if reader.got().len() > most {
                return Poll::Ready(Err(Fault::NoMemory));
            }
            let room = intake.room(size);
            let count = ready!(self.side.poll(cx, |pipe, cx| {
                loop {
                    ready!(pipe.poll_read_ready(cx)).map_err(Fault::System)?;
                    match pipe.try_read(room) {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        result => return Poll::Ready(result.map_err(Fault::System)),
                    }
                }
            }))?;
            intake.filled(count);
            self.has_ended.set(count == 0);
        }
    }
}

/// Writes what is left of `bytes` behind the first `sent` to a child.
pub fn poll_write(
    side: &Side<Sender>,
    cx: &mut Context<'_>,
    bytes: &[u8],
    sent: &mut usize,
) -> Poll<Result<(), Fault>> {
    while *sent < bytes.len() {
        let rest = &bytes[*sent..];
        *sent += ready!(side.poll(cx, |pipe, cx| {
            loop {
                ready!(pipe.poll_write_ready(cx)).map_err(Fault::System)?;
                match pipe.try_write(rest) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                        return Poll::Ready(Err(Fault::Closed));
                    }
                    result => return Poll::Ready(result.map_err(Fault::System)),
                }
            }
        }))?;
    }
    Poll::Ready(Ok(()))
}

/// How long to wait for the next byte.
#[derive(Debug)]
pub struct Patience {
    limit: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
    /// How far things had come when it began to wait.
    mark: usize,
}

impl Patience {
    /// So many milliseconds; 0 is for ever.
    pub fn new(limit_ms: u64) -> Self {
        Self { limit: Duration::from_millis(limit_ms), sleep: None, mark: 0 }
    }

    /// Ready when nothing was gained for so long: `mark` says how far things have come.
    pub fn poll_over(&mut self, cx: &mut Context<'_>, mark: usize) -> Poll<()> {
        if self.limit.is_zero() {
            return Poll::Pending;
        }
        let limit = self.limit;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        if mark != self.mark {
            self.mark = mark;
            sleep.as_mut().reset(tokio::time::Instant::now() + limit);
        }
        sleep.as_mut().poll(cx)
    }
}
