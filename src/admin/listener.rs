//! The socket of the admin listener, and its connections.

use super::head::{Head, MAX_HEAD_BYTES, Malformed};
use super::routes;
use super::routes::{Response, plain};
use crate::config::model::Model;
use crate::control::Handle;
use crate::log::{Level, main_log};
use crate::sys::errno::Failure;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

/// Where it listens unless told.
const DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9180);
/// How long a request may take from its first byte to the end of its answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Connections at the same time; more wait.
const MAX_CONNECTIONS: usize = 32;
/// Pause after a client could not be accepted.
const PAUSE: Duration = Duration::from_millis(500);

/// What `admin_listen` came to.
#[derive(Debug)]
pub enum Bound {
    /// `off`.
    Off,
    /// It listens.
    Listens(TcpListener),
    /// Its default address is taken, which does not keep the gateway from serving: why.
    Without(String),
}

/// Where `model` wants it, and whether it says so itself.
fn wanted(model: &Model) -> Result<Option<(SocketAddr, bool)>, Failure> {
    match model.main.admin_listen.as_deref() {
        None => Ok(Some((DEFAULT, false))),
        Some("off") => Ok(None),
        Some(text) => match text.parse() {
            Ok(address) => Ok(Some((address, true))),
            Err(_) => {
                let attempt = format!("reading \"admin_listen {text}\"");
                Err(Failure::new(attempt, io::ErrorKind::InvalidInput.into()))
            }
        },
    }
}

/// Binds the address that `model` has for it.
///
/// # Errors
/// `bind() to ADDRESS failed …`, for an address that was configured.
pub fn bind(model: &Model) -> Result<Bound, Failure> {
    let Some((address, explicit)) = wanted(model)? else { return Ok(Bound::Off) };
    let bound = TcpListener::bind(address).and_then(|it| it.set_nonblocking(true).map(|()| it));
    match bound {
        Ok(listener) => Ok(Bound::Listens(listener)),
        Err(error) => {
            let failure = Failure::new(format!("bind() to {address}"), error);
            if explicit {
                return Err(failure);
            }
            Ok(Bound::Without(format!(
                "{failure}: there is no admin listener; write \"admin_listen ADDRESS:PORT;\" for \
                 another place or \"admin_listen off;\" for none"
            )))
        }
    }
}

/// Answers at `bound`, and at another address once a configuration says so, for as long as the
/// runtime lives.
pub async fn run(bound: Bound, handle: Handle) {
    let mut snapshots = handle.snapshots();
    let mut place = snapshots.borrow_and_update().model.main.admin_listen.clone();
    let mut bound = bound;
    loop {
        let serving = serve(bound, handle.clone());
        tokio::pin!(serving);
        let next = loop {
            tokio::select! {
                () = &mut serving => return,
                changed = snapshots.changed() => if changed.is_err() { return },
            }
            let model = Arc::clone(&snapshots.borrow_and_update().model);
            if model.main.admin_listen == place {
                continue;
            }
            place = model.main.admin_listen.clone();
            match bind(&model) {
                Ok(bound) => break bound,
                Err(failure) => main_log().say(
                    Level::Emerg,
                    format_args!("{failure}: the admin listener stays where it is"),
                ),
            }
        };
        bound = next;
    }
}

async fn serve(bound: Bound, handle: Handle) {
    let listener = match bound {
        Bound::Listens(listener) => tokio::net::TcpListener::from_std(listener),
        Bound::Off => return std::future::pending().await,
        Bound::Without(text) => {
            main_log().say(Level::Warn, format_args!("{text}"));
            return std::future::pending().await;
        }
    };
    let listener = match listener {
        Ok(listener) => listener,
        Err(error) => {
            let failure = Failure::new("epoll_ctl() for the admin listener", error);
            main_log().say(Level::Emerg, format_args!("{failure}"));
            return std::future::pending().await;
        }
    };
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((client, _)) => {
                let handle = handle.clone();
                tokio::spawn(async move {
                    // A client that is too slow or gone has no claim on an answer.
                    let _ = tokio::time::timeout(TIMEOUT, converse(client, &handle)).await;
                    drop(place);
                });
            }
            Err(error) => {
                let failure = Failure::new("accept4() on the admin listener", error);
                main_log().say(Level::Error, format_args!("{failure}"));
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// One request and its answer.
async fn converse(mut client: TcpStream, handle: &Handle) -> io::Result<()> {
    let bound = client.local_addr()?;
    let mut bytes = Vec::with_capacity(1024);
    let (response, with_body) = loop {
        match Head::parse(&bytes) {
            Ok(Some(head)) => {
                let from = client.peer_addr()?;
                break (routes::answer(handle, &head, bound, from).await, head.method != "HEAD");
            }
            Err(Malformed) => break (plain("400 Bad Request", String::new()), true),
            Ok(None) if bytes.len() >= MAX_HEAD_BYTES => {
                break (plain("431 Request Header Fields Too Large", String::new()), true);
            }
            Ok(None) => {}
        }
        if client.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
    };
    client.write_all(&encode(&response, with_body)).await?;
    client.shutdown().await
}

fn encode(response: &Response, with_body: bool) -> Vec<u8> {
    let Response { status, content_type, field, body } = response;
    let mut bytes = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\
         Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(field.as_deref().unwrap_or_default());
    bytes.extend_from_slice(b"Connection: close\r\n\r\n");
    if with_body {
        bytes.extend_from_slice(body.as_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(admin_listen: Option<&str>) -> Model {
        let mut model = Model::default();
        model.main.admin_listen = admin_listen.map(Into::into);
        model
    }

    #[test]
    fn off_is_off_and_a_busy_configured_address_is_a_fault() {
        assert!(matches!(bind(&model(Some("off"))), Ok(Bound::Off)));
        let Ok(Bound::Listens(busy)) = bind(&model(Some("127.0.0.1:0"))) else { panic!("bound") };
        let address = busy.local_addr().unwrap().to_string();
        let fault = bind(&model(Some(&address))).unwrap_err().to_string();
        assert_eq!(fault, format!("bind() to {address} failed (98: Address already in use)"));
    }

    #[test]
    fn a_head_request_gets_the_length_of_the_body() {
        let response = plain("200 OK", "ok\n".into());
        let head = String::from_utf8(encode(&response, false)).unwrap();
        assert!(head.contains("Content-Length: 3\r\n") && head.ends_with("\r\n\r\n"), "{head}");
        assert!(encode(&response, true).ends_with(b"\r\n\r\nok\n"));
    }
}
