//! The client's side of a request: pingora's session, and what is to be written to it.

use super::body::{self, Reader};
use super::error::Result;
use super::head;
use crate::request::{Request, Version};
use bytes::Bytes;
use pingora::ErrorType;
use pingora::protocols::http::HttpTask;
use pingora::proxy::Session;
use std::time::Duration;

/// Marks the failure that makes pingora flush.
const FLUSH: &str = "MoongateFlush";

/// The client of one request.
pub(super) struct Client<'a> {
    pub session: &'a mut Session,
    pub reader: Reader,
}

impl<'a> Client<'a> {
    /// The client behind `session`.
    pub fn new(session: &'a mut Session, reader: Reader) -> Self {
        Self { session, reader }
    }

    /// Writes what handlers have produced: the head once it is complete, chunks, the end.
    ///
    /// # Errors
    /// The client's connection is gone.
    pub async fn flush_output(&mut self, request: &Request) -> Result<()> {
        if !request.headers_sent.get() {
            return Ok(());
        }
        let (with_head, chunks, last) = {
            let mut output = request.output.borrow_mut();
            output.pending_bytes = 0;
            let head = std::mem::take(&mut output.head_ready);
            (head, std::mem::take(&mut output.chunks), std::mem::take(&mut output.last))
        };
        let timeout_ms = request.conf().send_timeout_ms;
        request.connection.send_timeout_ms.set(timeout_ms);
        if request.version == Version::Http2 {
            // The socket may take everything while the client's window is shut.
            let timeout = (timeout_ms > 0).then(|| Duration::from_millis(timeout_ms));
            self.session.set_write_timeout(timeout);
        }
        if with_head {
            self.write_head(request).await?;
        }
        if !head::has_body(request) {
            return if last { self.end().await } else { Ok(()) };
        }
        let count = chunks.len();
        for (index, chunk) in chunks.into_iter().enumerate() {
            self.write_chunk(request, chunk, last && index + 1 == count).await?;
        }
        if last && count == 0 {
            self.write_chunk(request, Bytes::new(), true).await?;
        }
        Ok(())
    }

    async fn end(&mut self) -> Result<()> {
        Ok(self.session.downstream_session.write_response_body(Bytes::new(), true).await?)
    }

    async fn write_head(&mut self, request: &Request) -> Result<()> {
        let (head, length) = head::build(request, self.session)?;
        request.bytes_sent.set(request.bytes_sent.get() + length);
        Ok(self.session.downstream_session.write_response_header(Box::new(head)).await?)
    }

    async fn write_chunk(&mut self, request: &Request, chunk: Bytes, last: bool) -> Result<()> {
        let sent = wire_length(&chunk, last, request.response.borrow().chunked);
        request.body_bytes_sent.set(request.body_bytes_sent.get() + sent);
        Ok(self.session.downstream_session.write_response_body(chunk, last).await?)
    }

    /// Pushes what pingora has buffered out to the socket: it does so by itself only at the end of
    /// a response whose length is known.
    ///
    /// # Errors
    /// The client's connection is gone.
    pub async fn flush_socket(&mut self) -> Result<()> {
        // pingora has no call for it; a failed task makes it flush and hands the failure back.
        let marker = pingora::Error::explain(ErrorType::Custom(FLUSH), "flush");
        let tasks = vec![HttpTask::Body(None, false), HttpTask::Failed(marker)];
        match self.session.downstream_session.response_duplex_vec(tasks).await {
            Err(error) if *error.etype() == ErrorType::Custom(FLUSH) => Ok(()),
            Err(error) => Err(error.into()),
            Ok(_) => Ok(()),
        }
    }

    /// Reads the request's body to its end, unless that was done already.
    ///
    /// # Errors
    /// The client's connection is gone.
    pub async fn read_body(&mut self, request: &Request) -> Result<body::Read> {
        self.reader.read(self.session, request).await
    }

    /// Takes what has come of a body that is to be passed on as it comes.
    ///
    /// # Errors
    /// The client's connection is gone.
    pub async fn begin_body(&mut self, request: &Request) -> Result<body::Begun> {
        self.reader.begin(self.session, request).await
    }

    /// The next piece of a body that is passed on as it comes.
    ///
    /// # Errors
    /// The client's connection is gone.
    pub async fn stream_body(&mut self, request: &Request) -> Result<body::Streamed> {
        self.reader.stream(self.session, request).await
    }

    /// Throws the rest of the body away.
    ///
    /// # Errors
    /// The client's connection is gone.
    pub async fn discard_body(&mut self, request: &Request) -> Result<()> {
        self.reader.discard(self.session, request).await
    }

    /// Waits until the client has gone away; for ever if it stays.
    pub async fn gone(&mut self) {
        if self.session.downstream_session.read_body_or_idle(true).await.is_ok() {
            std::future::pending().await
        }
    }
}

/// Bytes that a chunk takes on the wire, framing included: what `$body_bytes_sent` counts.
fn wire_length(chunk: &[u8], last: bool, chunked: bool) -> u64 {
    let framing = match chunk.len() {
        0 => 0,
        length => format!("{length:x}").len() + 4,
    };
    let framing = if chunked { framing + if last { 5 } else { 0 } } else { 0 };
    (chunk.len() + framing) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_count_with_their_framing() {
        assert_eq!(wire_length(b"chunked\n", false, false), 8);
        assert_eq!(wire_length(b"chunked\n", false, true), 13);
        assert_eq!(wire_length(b"", true, true), 5);
        assert_eq!(wire_length(&[0; 16], true, true), 16 + 6 + 5);
    }
}
