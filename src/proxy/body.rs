//! Reading a request's body: into memory, or into a file once it is larger than
//! `client_body_buffer_size`.

use super::error::{Error, Result};
use crate::log::Level;
use crate::request::body::{Body, BodyFile};
use crate::request::{Request, Version};
use bytes::{Bytes, BytesMut};
use pingora::ErrorType;
use pingora::proxy::Session;
use std::fs::OpenOptions;
use std::future::poll_fn;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

/// How reading a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// It is in [`Request::body`].
    Done,
    /// It may not go on: 400, 413, 408, 500 (no file can be written).
    Refused(u16),
}

/// What comes next of a body that is passed on as it comes.
#[derive(Debug)]
pub(super) enum Streamed {
    /// A piece of it.
    Chunk(Bytes),
    /// Its end.
    End,
    /// It may not go on: 400, 413, 408.
    Refused(u16),
}

/// What has come of a body when passing it on begins.
#[derive(Debug)]
pub(super) enum Begun {
    /// All of it: it is in [`Request::body`].
    Whole,
    /// These bytes; more follow.
    Part(Bytes),
    /// It may not go on: 400, 413, 408.
    Refused(u16),
}

/// Knows what has been read from the client.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// Bytes that were passed on.
    streamed: u64,
    continued: bool,
    over: bool,
}

static FILES: AtomicU64 = AtomicU64::new(0);

impl Reader {
    /// Reads the body, unless somebody has read, set or discarded it.
    pub async fn read(&mut self, session: &mut Session, request: &Request) -> Result<Read> {
        if request.body.borrow().is_read() {
            return Ok(Read::Done);
        }
        let conf = request.conf().clone();
        let limit = conf.client_max_body_size.unwrap_or(u64::MAX);
        if request.content_length.get().is_some_and(|it| it > limit) {
            return Ok(self.too_large(request));
        }
        if session.downstream_session.is_body_empty() {
            self.over = true;
            *request.body.borrow_mut() = Body::Memory(Bytes::new());
            return Ok(Read::Done);
        }
        self.say_continue(session, request).await?;
        let mut sink = Sink::Memory(BytesMut::new());
        let mut length = 0u64;
        loop {
            let chunk = match self.chunk(session, conf.client_body_timeout_ms).await {
                Ok(chunk) => chunk,
                Err(error) => return refused(request, error),
            };
            let Some(chunk) = chunk else { break };
            length += chunk.len() as u64;
            if length > limit {
                return Ok(self.too_large(request));
            }
            let room = conf.client_body_buffer_size;
            if let Err(error) = sink.push(&chunk, room, &conf.client_body_temp_path) {
                let path = conf.client_body_temp_path.display();
                request.log(
                    Level::Crit,
                    format_args!("cannot keep the request body in \"{path}\": {error}"),
                );
                return Ok(Read::Refused(500));
            }
        }
        self.over = true;
        *request.body.borrow_mut() = sink.finish(length);
        Ok(Read::Done)
    }

    /// The next piece of a body that nobody keeps. May be given up at any time.
    ///
    /// # Errors
    /// The client broke off.
    pub async fn stream(&mut self, session: &mut Session, request: &Request) -> Result<Streamed> {
        let conf = request.conf().clone();
        let limit = conf.client_max_body_size.unwrap_or(u64::MAX);
        self.say_continue(session, request).await?;
        let chunk = match self.chunk(session, conf.client_body_timeout_ms).await {
            Ok(chunk) => chunk,
            Err(error) => {
                let Read::Refused(status) = refused(request, error)? else {
                    return Ok(Streamed::End);
                };
                return Ok(Streamed::Refused(status));
            }
        };
        let Some(chunk) = chunk else {
            self.over = true;
            *request.body.borrow_mut() = Body::Discarded;
            return Ok(Streamed::End);
        };
        self.streamed += chunk.len() as u64;
        if self.streamed > limit {
            let Read::Refused(status) = self.too_large(request) else {
                return Ok(Streamed::End);
            };
            return Ok(Streamed::Refused(status));
        }
        Ok(Streamed::Chunk(chunk))
    }

    /// Takes what has come of a body that is to be passed on as it comes. Where that is all of it,
    /// it is kept like any other, as nginx does.
    ///
    /// # Errors
    /// The client broke off.
    pub async fn begin(&mut self, session: &mut Session, request: &Request) -> Result<Begun> {
        let room = request.conf().client_body_buffer_size;
        let mut taken = BytesMut::new();
        while taken.len() <= room {
            let next = {
                let mut next = pin!(self.stream(session, request));
                poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx))).await
            };
            match next {
                Poll::Pending => break,
                Poll::Ready(next) => match next? {
                    Streamed::Chunk(chunk) => taken.extend_from_slice(&chunk),
                    Streamed::Refused(status) => return Ok(Begun::Refused(status)),
                    Streamed::End => {
                        *request.body.borrow_mut() = Body::Memory(taken.freeze());
                        return Ok(Begun::Whole);
                    }
                },
            }
        }
        Ok(Begun::Part(taken.freeze()))
    }

    /// Reads and drops what is left.
    pub async fn discard(&mut self, session: &mut Session, request: &Request) -> Result<()> {
        if !self.over {
            let timeout_ms = request.conf().client_body_timeout_ms;
            while self.chunk(session, timeout_ms).await?.is_some() {}
            self.over = true;
        }
        *request.body.borrow_mut() = Body::Discarded;
        Ok(())
    }

    async fn chunk(&mut self, session: &mut Session, timeout_ms: u64) -> Result<Option<Bytes>> {
        let timeout = Duration::from_millis(timeout_ms);
        match tokio::time::timeout(timeout, session.downstream_session.read_request_body()).await {
            Ok(Ok(chunk)) => Ok(chunk),
            Ok(Err(error)) if *error.etype() == ErrorType::Custom(INVALID_CHUNK) => {
                Err(Error::BodyInvalid)
            }
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(Error::BodyTimedOut),
        }
    }

    async fn say_continue(&mut self, session: &mut Session, request: &Request) -> Result<()> {
        let expects = request
            .headers
            .borrow()
            .get(b"expect")
            .is_some_and(|it| it.eq_ignore_ascii_case(b"100-continue"));
        // HTTP/1.0 knows no interim answers.
        if expects && !self.continued && request.version >= Version::Http11 {
            self.continued = true;
            session.downstream_session.write_continue_response().await?;
        }
        Ok(())
    }

    fn too_large(&self, request: &Request) -> Read {
        request.log(Level::Error, format_args!("client intended to send too large body"));
        Read::Refused(413)
    }
}

/// What a body that does not come to its end makes of the request.
///
/// # Errors
/// The client is gone: nginx calls that a bad request, which only the log sees.
fn refused(request: &Request, error: Error) -> Result<Read> {
    match error {
        Error::BodyTimedOut => Ok(Read::Refused(408)),
        Error::BodyInvalid => {
            request.log(Level::Error, format_args!("{error}"));
            Ok(Read::Refused(400))
        }
        _ => {
            request.log(Level::Info, format_args!("client prematurely closed connection"));
            request.response.borrow_mut().status = 400;
            Err(error)
        }
    }
}

/// pingora's name for a chunk that is none.
const INVALID_CHUNK: &str = "InvalidChunk";

/// Where a body is collected.
enum Sink {
    Memory(BytesMut),
    /// The file goes with it, should the body never come to its end.
    File(BodyFile, std::fs::File),
}

impl Sink {
    fn push(&mut self, chunk: &[u8], room: usize, folder: &Path) -> std::io::Result<()> {
        match self {
            Self::File(_, file) => file.write_all(chunk),
            Self::Memory(bytes) if bytes.len() + chunk.len() <= room => {
                bytes.extend_from_slice(chunk);
                Ok(())
            }
            Self::Memory(bytes) => {
                std::fs::create_dir_all(folder)?;
                let (path, mut file) = new_file(folder)?;
                let kept = BodyFile { path, length: 0, temporary: true };
                file.write_all(bytes)?;
                file.write_all(chunk)?;
                *self = Self::File(kept, file);
                Ok(())
            }
        }
    }

    fn finish(self, length: u64) -> Body {
        match self {
            Self::Memory(bytes) => Body::Memory(bytes.freeze()),
            Self::File(mut kept, _) => {
                kept.length = length;
                Body::File(kept)
            }
        }
    }
}

/// A file that nobody else reads. One that a process of the same number left behind is not taken.
fn new_file(folder: &Path) -> std::io::Result<(PathBuf, std::fs::File)> {
    loop {
        let number = FILES.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("{:010}-{}", number, std::process::id()));
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        match opened {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn files(folder: &Path) -> Vec<PathBuf> {
        std::fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()).collect()
    }

    #[test]
    fn a_body_that_is_given_up_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut sink = Sink::Memory(BytesMut::new());
        sink.push(b"1234", 4, folder.path()).unwrap();
        assert_eq!(files(folder.path()).len(), 0);
        sink.push(b"5", 4, folder.path()).unwrap();
        let [file] = &files(folder.path())[..] else { panic!("one file") };
        assert_eq!(std::fs::read(file).unwrap(), b"12345");
        assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
        drop(sink);
        assert_eq!(files(folder.path()).len(), 0);
    }

    #[test]
    fn a_file_that_was_left_behind_is_stepped_over() {
        let folder = tempfile::tempdir().unwrap();
        let number = FILES.load(Ordering::Relaxed);
        for number in number..number + 50 {
            let name = format!("{:010}-{}", number, std::process::id());
            std::fs::write(folder.path().join(name), "old").unwrap();
        }
        let mut sink = Sink::Memory(BytesMut::new());
        sink.push(b"new", 0, folder.path()).unwrap();
        let Body::File(body) = sink.finish(3) else { panic!("a file") };
        assert_eq!(std::fs::read(&body.path).unwrap(), b"new");
        assert_eq!(body.length, 3);
    }
}
