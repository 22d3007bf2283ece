//! Reading a request's body: into memory, or into a file once it is larger than
//! `client_body_buffer_size`.

use crate::log::Level;
use crate::request::Request;
use crate::request::body::{Body, BodyFile};
use bytes::{Bytes, BytesMut};
use pingora::proxy::Session;
use pingora::{ErrorType, Result};
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How reading a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// It is in [`Request::body`].
    Done,
    /// It may not go on: 413, 408, 500 (no file can be written).
    Refused(u16),
}

/// Knows what has been read from the client.
#[derive(Debug, Default)]
pub(super) struct Reader {
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
                Err(error) if *error.etype() == ErrorType::ReadTimedout => {
                    return Ok(Read::Refused(408));
                }
                Err(error) => return Err(error),
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
            Ok(read) => read,
            Err(_) => pingora::Error::e_explain(
                ErrorType::ReadTimedout,
                "client timed out while sending its body",
            ),
        }
    }

    async fn say_continue(&mut self, session: &mut Session, request: &Request) -> Result<()> {
        let expects = request
            .headers
            .borrow()
            .get(b"expect")
            .is_some_and(|it| it.eq_ignore_ascii_case(b"100-continue"));
        if expects && !self.continued {
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

/// Where a body is collected.
enum Sink {
    Memory(BytesMut),
    File(PathBuf, std::fs::File),
}

impl Sink {
    fn push(&mut self, chunk: &[u8], room: usize, folder: &std::path::Path) -> std::io::Result<()> {
        match self {
            Self::File(_, file) => file.write_all(chunk),
            Self::Memory(bytes) if bytes.len() + chunk.len() <= room => {
                bytes.extend_from_slice(chunk);
                Ok(())
            }
            Self::Memory(bytes) => {
                std::fs::create_dir_all(folder)?;
                let number = FILES.fetch_add(1, Ordering::Relaxed);
                let path = folder.join(format!("{:010}-{}", number, std::process::id()));
                let mut file = std::fs::File::create_new(&path)?;
                file.write_all(bytes)?;
                file.write_all(chunk)?;
                *self = Self::File(path, file);
                Ok(())
            }
        }
    }

    fn finish(self, length: u64) -> Body {
        match self {
            Self::Memory(bytes) => Body::Memory(bytes.freeze()),
            Self::File(path, _) => Body::File(BodyFile { path, length, temporary: true }),
        }
    }
}
