//! An origin: an HTTP/1.1 server that writes down what it is sent and answers as it is told.

use super::PATIENCE;
use super::head::{Head, latin1, read_chunked, read_exactly};
use std::collections::BTreeMap;
use std::io::{self, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A request as it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Its head.
    pub head: Head,
    /// Its body, without the chunked framing.
    pub body: Vec<u8>,
    /// Which connection brought it, from 0.
    pub connection: usize,
}

impl Received {
    /// The method.
    pub fn method(&self) -> &str {
        self.head.start.split(' ').next().unwrap_or_default()
    }

    /// The request target.
    pub fn target(&self) -> &str {
        self.head.start.split(' ').nth(1).unwrap_or_default()
    }

    /// The first value of a header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.first(name)
    }

    /// Head and body as text.
    pub fn text(&self) -> String {
        format!("{}\n\n{}", self.head.text(), latin1(&self.body))
    }
}

/// What the origin does with a request.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Sends bytes.
    Reply(Reply),
    /// Sends nothing and closes.
    Close,
    /// Sends nothing and resets.
    Reset,
    /// Sends nothing and waits until the other side gives up.
    Hang,
}

/// Bytes to send, and what comes with them.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// Sent one after the other, flushed each, with `pause` between them.
    pub parts: Vec<Vec<u8>>,
    /// Waited before the first part.
    pub delay: Duration,
    /// Waited before each further part.
    pub pause: Duration,
    /// Whether the connection is closed behind the last part.
    pub close: bool,
    /// Whether it is reset there.
    pub reset: bool,
}

impl Answer {
    /// A status line's code and reason, fields each ended by CRLF, and a body with its length.
    pub fn new(status: &str, fields: &str, body: &str) -> Self {
        let length = body.len();
        Self::bytes(format!("HTTP/1.1 {status}\r\n{fields}Content-Length: {length}\r\n\r\n{body}"))
    }

    /// `200 OK` with a text.
    pub fn ok(body: &str) -> Self {
        Self::new("200 OK", "Content-Type: text/plain\r\n", body)
    }

    /// Bytes as they are; the connection stays open.
    pub fn bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self::Reply(Reply { parts: vec![bytes.into()], ..Reply::default() })
    }

    /// The same after a while.
    pub fn after(self, delay: Duration) -> Self {
        match self {
            Self::Reply(reply) => Self::Reply(Reply { delay, ..reply }),
            other => other,
        }
    }
}

/// A running origin; it stops when this goes.
pub struct Origin {
    /// Its port on 127.0.0.1, unless it was told another address.
    pub port: u16,
    ip: Ipv4Addr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

type Script = dyn Fn(&Received) -> Answer + Send + Sync;

struct Shared {
    script: Box<Script>,
    received: Mutex<Vec<Received>>,
    connections: AtomicUsize,
    open: Mutex<BTreeMap<usize, TcpStream>>,
    stopping: AtomicBool,
}

impl Origin {
    /// Starts one that answers each request by `script`.
    pub fn start(script: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST, super::ports::free(), script)
    }

    /// Starts one at an address.
    pub fn start_at(
        ip: Ipv4Addr,
        port: u16,
        script: impl Fn(&Received) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let address = SocketAddr::from((ip, port));
        // A child that another thread is starting may hold the probe of this port until its exec.
        let listener = super::eventually("the port is free", || TcpListener::bind(address).ok());
        let shared = Arc::new(Shared {
            script: Box::new(script),
            received: Mutex::default(),
            connections: AtomicUsize::new(0),
            open: Mutex::default(),
            stopping: AtomicBool::new(false),
        });
        let acceptor = thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.accept(&listener)
        });
        Self { ip, port, shared, acceptor: Some(acceptor) }
    }

    /// Starts one at an address that says `body` to everything.
    pub fn saying_at(ip: Ipv4Addr, port: u16, body: &'static str) -> Self {
        Self::start_at(ip, port, move |_| Answer::ok(body))
    }

    /// Starts one that says `body` to everything.
    pub fn saying(body: &'static str) -> Self {
        Self::start(move |_| Answer::ok(body))
    }

    /// What has come in until now.
    pub fn received(&self) -> Vec<Received> {
        lock(&self.shared.received).clone()
    }

    /// What has come in, which is then forgotten.
    pub fn take_received(&self) -> Vec<Received> {
        std::mem::take(&mut *lock(&self.shared.received))
    }

    /// Connections accepted until now.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        for stream in lock(&self.shared.open).values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        let _ = TcpStream::connect((self.ip, self.port));
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

impl Shared {
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for stream in listener.incoming().flatten() {
            if self.stopping.load(Ordering::SeqCst) {
                return;
            }
            let number = self.connections.fetch_add(1, Ordering::SeqCst);
            if let Ok(copy) = stream.try_clone() {
                lock(&self.open).insert(number, copy);
            }
            let shared = Arc::clone(self);
            thread::spawn(move || {
                let _ = stream.set_read_timeout(Some(PATIENCE * 6));
                let _ = stream.set_nodelay(true);
                let ending = shared.serve(&stream, number);
                if matches!(ending, Ok(Ending::Reset)) {
                    let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
                }
                lock(&shared.open).remove(&number);
            });
        }
    }

    fn serve(&self, stream: &TcpStream, connection: usize) -> io::Result<Ending> {
        let mut input = BufReader::new(stream.try_clone()?);
        while let Some(head) = Head::read(&mut input)? {
            let body = if head.is_chunked() {
                read_chunked(&mut input)?
            } else {
                read_exactly(&mut input, head.length()?.unwrap_or(0))?
            };
            let request = Received { head, body, connection };
            lock(&self.received).push(request.clone());
            match (self.script)(&request) {
                Answer::Reply(reply) => {
                    send(stream, &reply)?;
                    if reply.reset {
                        return Ok(Ending::Reset);
                    } else if reply.close || request.closes() {
                        return Ok(Ending::Close);
                    }
                }
                Answer::Close => return Ok(Ending::Close),
                Answer::Reset => return Ok(Ending::Reset),
                Answer::Hang => drop(Head::read(&mut input)?),
            }
        }
        Ok(Ending::Close)
    }
}

/// How a connection ends: by FIN or by RST.
enum Ending {
    Close,
    Reset,
}

impl Received {
    /// Whether the sender wants the connection closed behind the answer.
    fn closes(&self) -> bool {
        let said = self.header("connection").map(str::to_ascii_lowercase);
        said.as_deref() == Some("close")
            || (self.head.start.ends_with("HTTP/1.0") && said.as_deref() != Some("keep-alive"))
    }
}

fn send(mut stream: &TcpStream, reply: &Reply) -> io::Result<()> {
    thread::sleep(reply.delay);
    for (index, part) in reply.parts.iter().enumerate() {
        if index > 0 {
            thread::sleep(reply.pause);
        }
        stream.write_all(part)?;
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
