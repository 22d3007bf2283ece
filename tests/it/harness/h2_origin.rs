//! An origin that speaks HTTP/2, by prior knowledge or TLS, and counts who comes how.

use bytes::Bytes;
use h2::server::{self, SendResponse};
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request, Response};
use openssl::ssl::{AlpnError, Ssl, SslAcceptor, SslMethod, select_next_proto};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;

use super::tls::Identity;
use moongate::tls::TlsStream;

/// What it has seen of a request.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The connection's number, from 0.
    pub connection: usize,
    /// Method, scheme, authority and path.
    pub line: String,
    /// The fields.
    pub fields: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
    /// How the stream ended: `None` as it should.
    pub reset: Option<Reason>,
}

/// Counts of an origin.
#[derive(Debug, Default)]
struct Counts {
    connections: AtomicUsize,
    open: AtomicUsize,
    streams: AtomicUsize,
    most_streams: AtomicUsize,
    seen: Mutex<Vec<Seen>>,
}

/// An origin; it lives as long as the test's process.
///
/// `/echo` gives the body back, as it comes; `/size/N` so many bytes; `/hang` nothing, until the
/// stream is reset; `/early` a head, and its body when the request's has come; `/status/N` that
/// status; anything else `fine`. All answers but those of HEAD have the trailer `x-end: yes`.
pub struct H2Origin {
    /// Its port on 127.0.0.1.
    pub port: u16,
    counts: Arc<Counts>,
}

impl H2Origin {
    /// One by prior knowledge, that allows `most_streams` on a connection.
    pub fn start(most_streams: u32) -> Self {
        Self::with(most_streams, None)
    }

    /// The same over TLS.
    pub fn secure(identity: &Identity) -> Self {
        let mut builder =
            SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).expect("an acceptor");
        builder.set_certificate(&identity.certificate).expect("a certificate");
        builder.set_private_key(&identity.key).expect("its key");
        builder.set_alpn_select_callback(|_, offered| {
            select_next_proto(b"\x02h2", offered).ok_or(AlpnError::ALERT_FATAL)
        });
        Self::with(100, Some(Arc::new(builder.build())))
    }

    fn with(most_streams: u32, tls: Option<Arc<SslAcceptor>>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        listener.set_nonblocking(true).expect("a socket");
        let port = listener.local_addr().expect("it is bound").port();
        let counts = Arc::new(Counts::default());
        let shared = Arc::clone(&counts);
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("an event loop").block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                while let Ok((stream, _)) = listener.accept().await {
                    let _ = stream.set_nodelay(true);
                    let counts = Arc::clone(&shared);
                    let number = counts.connections.fetch_add(1, SeqCst);
                    let tls = tls.clone();
                    tokio::spawn(async move {
                        counts.open.fetch_add(1, SeqCst);
                        match tls {
                            None => serve(stream, number, most_streams, &counts).await,
                            Some(tls) => {
                                let mut ssl = Ssl::new(tls.context()).expect("memory");
                                ssl.set_accept_state();
                                let stream =
                                    TlsStream::new(ssl, stream, Default::default(), 1 << 14);
                                let mut stream = stream.expect("memory");
                                if poll_fn(|cx| stream.poll_handshake(cx)).await.is_ok() {
                                    serve(stream, number, most_streams, &counts).await;
                                }
                            }
                        }
                        counts.open.fetch_sub(1, SeqCst);
                    });
                }
            });
        });
        Self { port, counts }
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.counts.connections.load(SeqCst)
    }

    /// Connections now.
    pub fn open(&self) -> usize {
        self.counts.open.load(SeqCst)
    }

    /// The most requests that there were at a time.
    pub fn most_streams(&self) -> usize {
        self.counts.most_streams.load(SeqCst)
    }

    /// The requests that have ended.
    pub fn seen(&self) -> Vec<Seen> {
        self.counts.seen.lock().expect("nobody panics").clone()
    }
}

async fn serve(
    stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    number: usize,
    most_streams: u32,
    counts: &Arc<Counts>,
) {
    let mut builder = server::Builder::new();
    builder.max_concurrent_streams(most_streams);
    let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        let counts = Arc::clone(counts);
        tokio::spawn(async move {
            let now = counts.streams.fetch_add(1, SeqCst) + 1;
            counts.most_streams.fetch_max(now, SeqCst);
            let seen = respond_to(number, request, respond).await;
            counts.streams.fetch_sub(1, SeqCst);
            counts.seen.lock().expect("nobody panics").push(seen);
        });
    }
}

async fn respond_to(
    connection: usize,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) -> Seen {
    let (head, mut body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let mut seen = Seen {
        connection,
        line: format!("{} {}", head.method, head.uri),
        fields: head
            .headers
            .iter()
            .map(|(name, value)| {
                (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into())
            })
            .collect(),
        body: Vec::new(),
        reset: None,
    };
    if path == "/hang" {
        seen.reset = poll_fn(|cx| respond.poll_reset(cx)).await.ok();
        return seen;
    }
    let status = path.strip_prefix("/status/").map_or(200, |it| it.parse().expect("a status"));
    let response = Response::builder().status(status).header("x-origin", connection.to_string());
    let response = response.body(()).expect("a head");
    let is_head = head.method == "HEAD";
    let early = ["/echo", "/early"].contains(&path.as_str());
    let mut send = None;
    if early {
        send = respond.send_response(response.clone(), is_head).ok();
    }
    while let Some(Ok(data)) = body.data().await {
        let _ = body.flow_control().release_capacity(data.len());
        seen.body.extend_from_slice(&data);
        if path == "/echo"
            && let Some(send) = &mut send
            && let Err(error) = send_all(send, data).await
        {
            seen.reset = error.reason();
            return seen;
        }
    }
    if send.is_none() {
        send = respond.send_response(response, is_head).ok();
    }
    let Some(mut send) = send.filter(|_| !is_head) else { return seen };
    let text = match path.strip_prefix("/size/") {
        Some(size) => vec![b'x'; size.parse().expect("a number")],
        None if path == "/echo" => Vec::new(),
        None => b"fine".to_vec(),
    };
    if let Err(error) = send_all(&mut send, text.into()).await {
        seen.reset = error.reason();
        return seen;
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("x-end", "yes".parse().expect("a value"));
    let _ = send.send_trailers(trailers);
    seen
}

async fn send_all(send: &mut h2::SendStream<Bytes>, mut data: Bytes) -> Result<(), h2::Error> {
    while !data.is_empty() {
        send.reserve_capacity(data.len());
        let Some(room) = poll_fn(|cx| send.poll_capacity(cx)).await else {
            return Err(Reason::CANCEL.into());
        };
        let part = data.split_to(room?.min(data.len()));
        send.send_data(part, false)?;
    }
    Ok(())
}
