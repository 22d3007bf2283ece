//! A client of HTTP/1.1 that sends bytes as they are given and reads answers strictly.

use super::PATIENCE;
use super::head::{Head, latin1, read_chunked, read_exactly};
use std::io::{self, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// Heads of 1xx answers that came before it.
    pub interim: Vec<Head>,
    /// Its head.
    pub head: Head,
    /// Its body, without the chunked framing.
    pub body: Vec<u8>,
}

impl Response {
    /// The status code; 0 when the status line has none.
    pub fn status(&self) -> u16 {
        self.head.start.split(' ').nth(1).and_then(|it| it.parse().ok()).unwrap_or(0)
    }

    /// The first value of a header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.first(name)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        latin1(&self.body)
    }

    /// Whether the server said that the connection ends here.
    pub fn closes(&self) -> bool {
        let said = self.header("connection").map(str::to_ascii_lowercase);
        said.as_deref() == Some("close")
            || (self.head.start.starts_with("HTTP/1.0") && said.as_deref() != Some("keep-alive"))
    }
}

/// One connection.
pub struct Client<S: Read + Write = TcpStream> {
    stream: BufReader<S>,
}

impl Client {
    /// Connects to 127.0.0.1; every read and write on it has a deadline.
    ///
    /// # Errors
    /// As `connect(2)`.
    pub fn connect(port: u16) -> io::Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// The same with another deadline for each read and write.
    pub fn patience(self, limit: Duration) -> io::Result<Self> {
        self.stream.get_ref().set_read_timeout(Some(limit))?;
        self.stream.get_ref().set_write_timeout(Some(limit))?;
        Ok(self)
    }

    /// Says that nothing more will be sent.
    pub fn half_close(&mut self) -> io::Result<()> {
        self.stream.get_ref().shutdown(Shutdown::Write)
    }
}

impl<S: Read + Write> Client<S> {
    /// A client of HTTP/1.1 on a stream that stands.
    pub fn over(stream: S) -> Self {
        Self { stream: BufReader::new(stream) }
    }

    /// The stream alone; what was read ahead is lost.
    pub fn into_stream(self) -> S {
        self.stream.into_inner()
    }

    /// The stream.
    pub fn stream(&mut self) -> &mut S {
        self.stream.get_mut()
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes.as_ref())
    }

    /// Sends a request without a body; `fields` are lines, each ended by CRLF.
    pub fn request(&mut self, method: &str, uri: &str, fields: &str) -> io::Result<Response> {
        self.send(format!("{method} {uri} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"))?;
        self.response(method)
    }

    /// A GET.
    pub fn get(&mut self, uri: &str) -> io::Result<Response> {
        self.request("GET", uri, "")
    }

    /// Reads one answer to a request of `method`.
    ///
    /// # Errors
    /// `UnexpectedEof` when the server closes instead, `InvalidData` when it breaks the protocol.
    pub fn response(&mut self, method: &str) -> io::Result<Response> {
        let mut interim = Vec::new();
        let head = loop {
            let head = Head::read(&mut self.stream)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            let status = head.start.split(' ').nth(1).unwrap_or_default();
            if !status.starts_with('1') || status == "101" {
                break head;
            }
            interim.push(head);
        };
        let response = Response { interim, head, body: Vec::new() };
        let body = self.body(method, &response)?;
        Ok(Response { body, ..response })
    }

    fn body(&mut self, method: &str, response: &Response) -> io::Result<Vec<u8>> {
        let head = &response.head;
        if method == "HEAD" || matches!(response.status(), 101 | 204 | 304) {
            Ok(Vec::new())
        } else if head.is_chunked() {
            read_chunked(&mut self.stream)
        } else if let Some(length) = head.length()? {
            read_exactly(&mut self.stream, length)
        } else {
            self.rest()
        }
    }

    /// Everything until the server closes.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.stream.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Whether the server has closed or does so within the deadline, without another byte.
    pub fn ends(&mut self) -> bool {
        match self.rest() {
            Ok(bytes) => bytes.is_empty(),
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }
}

/// A GET on a connection of its own.
#[track_caller]
pub fn get(port: u16, uri: &str) -> Response {
    request(port, "GET", uri, "")
}

/// A request on a connection of its own; `fields` are lines, each ended by CRLF.
#[track_caller]
pub fn request(port: u16, method: &str, uri: &str, fields: &str) -> Response {
    let answer = Client::connect(port)
        .and_then(|mut it| it.request(method, uri, &format!("{fields}Connection: close\r\n")));
    answer.unwrap_or_else(|error| panic!("{method} {uri}: {error}"))
}
