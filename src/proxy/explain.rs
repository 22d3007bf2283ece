//! Why a request is routed as it is: on one that is made up, without asking any upstream, or on a
//! live one that carries the secret of `explain_secret_file`.

use super::admission;
use super::phases::{Flow, Serving};
use super::session::Client;
use super::worker::WorkerState;
use crate::clock;
use crate::http::h1::fault::Fault;
use crate::http::h1::request_head::{Parser, Policy};
use crate::request::connection::Address;
use crate::request::explain::Explanation;
use crate::request::{Body, Connection, Request};
use crate::snapshot::Snapshot;
use bytes::Bytes;
use std::cell::{Cell, OnceCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

/// The field with the secret.
const ASKS: &[u8] = b"x-moongate-explain";
/// The field with the answer: JSON in one line.
const TELLS: &str = "X-Moongate-Decision";
/// The longest such line; where it would be longer, what was read is left out.
const LONGEST: usize = 6 << 10;

/// A request that is made up.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its method.
    pub method: String,
    /// Its target.
    pub uri: String,
    /// Its header fields, `Name: value` each.
    pub fields: Vec<String>,
    /// Its body.
    pub body: Vec<u8>,
    /// Where it comes from.
    pub from: IpAddr,
}

/// Runs the phases of a made-up request up to the choice of a peer, and tells what was decided.
///
/// # Errors
/// The request is none.
pub async fn explain(worker: Rc<WorkerState>, asked: &Asked) -> Result<Explanation, Fault> {
    clock::update();
    let generation = worker.current();
    let snapshot = Arc::clone(&generation.snapshot);
    let has = |name: &str| {
        let is_it = |it: &String| {
            it.split_once(':').is_some_and(|(it, _)| it.trim().eq_ignore_ascii_case(name))
        };
        asked.fields.iter().find(|it| is_it(it))
    };
    let mut raw = format!("{} {} HTTP/1.1\r\n", asked.method, asked.uri);
    if has("host").is_none() {
        raw.push_str("Host: localhost\r\n");
    }
    asked.fields.iter().for_each(|it| raw.extend([it, "\r\n"]));
    if !asked.body.is_empty() && has("content-length").is_none() {
        raw.push_str(&format!("Content-Length: {}\r\n", asked.body.len()));
    }
    raw.push_str("\r\n");
    let policy =
        Policy { bare_lf: false, underscores: false, line_bytes: raw.len(), head_bytes: raw.len() };
    let mut parser = Parser::new(policy);
    if !parser.parse(raw.as_bytes())? {
        return Err(Fault::Left);
    }
    let host = has("host").map_or("localhost", |it| it.split_once(':').map_or("", |it| it.1));
    let connection = Rc::new(connection(&snapshot, host.trim(), asked.from));
    let raw = Bytes::from(raw);
    let admitted = admission::admit_h1(&parser.into_head(), &raw, None, &snapshot, connection);
    let request = admitted.request;
    *request.body.borrow_mut() = Body::Memory(asked.body.clone().into());
    request.begin_trace();
    let client = Client::capturing(&request);
    let mut serving = Serving { client, worker, generation, request: Rc::clone(&request) };
    // How it ends is in the request.
    let _ = serving.run(admitted.refusal.map_or(Flow::Continue, Flow::Status)).await;
    Ok(request.explain())
}

/// A connection to the listener that knows `host`, else to the first.
fn connection(snapshot: &Snapshot, host: &str, from: IpAddr) -> Connection {
    let name = host.rsplit_once(':').map_or(host, |it| it.0).to_ascii_lowercase();
    let knows =
        |it: &&crate::snapshot::Listener| it.names.find(name.as_bytes()).0 != it.names.default;
    let listeners = &snapshot.listeners;
    let listener = listeners.iter().find(knows).or(listeners.first());
    let address = listener.map(|it| Arc::clone(&it.address)).unwrap_or_default();
    let server = address.parse().map_or(Address::Unix, Address::Inet);
    Connection {
        serial: 1,
        client: Address::Inet(SocketAddr::new(from, 0)),
        server,
        listener: address,
        accepted: clock::monotonic(),
        requests: Cell::new(1),
        closing: Cell::new(false),
        send_timeout_ms: Cell::new(0),
        worker: 0,
        tls: OnceCell::new(),
        misses_tls: Cell::new(false),
    }
}

/// Notes from here on what a live request reads, where it carries the secret; nobody behind sees
/// that field.
pub(super) fn watch(request: &Request) {
    let Some(secret) = &request.snapshot.explain_secret else { return };
    let mut headers = request.headers.borrow_mut();
    let Some(given) = headers.get(ASKS) else { return };
    let is_it = is_same(given, secret);
    headers.remove(ASKS);
    drop(headers);
    if is_it {
        request.begin_trace();
    }
}

/// Whether two texts are the same, in a time that does not tell where they differ.
fn is_same(left: &[u8], right: &[u8]) -> bool {
    let differing = left.iter().zip(right).fold(0, |all, (left, right)| all | (left ^ right));
    left.len() == right.len() && differing == 0
}

/// Tells a client who asked what was decided for its request.
pub(super) fn tell(request: &Request) {
    if !request.is_traced() {
        return;
    }
    let mut explanation = request.explain();
    request.pause_trace();
    let mut json = serde_json::to_string(&explanation).unwrap_or_default();
    if json.len() > LONGEST {
        explanation.read.clear();
        json = serde_json::to_string(&explanation).unwrap_or_default();
    }
    if json.len() <= LONGEST {
        request.response.borrow_mut().headers.append(TELLS, json);
    }
}
