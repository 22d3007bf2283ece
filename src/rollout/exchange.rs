//! One HTTP request to another program, and its answer: for webhooks and for evidence from
//! elsewhere.

use crate::resolver::Resolver;
use crate::sys::errno::Errno;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long all of it may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest answer, head included.
const MOST_BYTES: u64 = 8 * 1024 * 1024;
/// The most header fields of an answer.
const MOST_FIELDS: usize = 100;

/// A URL of the scheme `http`, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// `HOST[:PORT]` as it is written.
    pub authority: String,
    host: String,
    port: u16,
    /// With its slash; without a query where the caller adds one.
    pub path: String,
}

impl Url {
    /// Takes `http://HOST[:PORT][/PATH]` apart; none for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("http://")?;
        let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
            _ => (authority, 80),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let is_there = !host.is_empty() && port > 0;
        let (authority, path) = (authority.to_owned(), path.to_owned());
        is_there.then_some(Self { authority, host, port, path })
    }
}

/// Sends `body` as JSON to `url`, or asks for `url` where there is none, and gives status and body.
///
/// # Errors
/// Why there is no answer, in words for a log.
pub async fn exchange(
    resolver: &Resolver,
    url: &Url,
    target: &str,
    body: Option<&str>,
) -> Result<(u16, Vec<u8>), String> {
    let exchange = async {
        let mut stream = connect(resolver, url).await?;
        stream
            .write_all(request(url, target, body).as_bytes())
            .await
            .map_err(|it| failed("send()", &it))?;
        let mut bytes = Vec::new();
        let read = stream.take(MOST_BYTES + 1).read_to_end(&mut bytes).await;
        // What has come counts, even where the connection ended badly behind it.
        match (answer(&bytes), read) {
            (Some(answer), _) => Ok(answer),
            (None, Err(error)) => Err(failed("recv()", &error)),
            (None, Ok(_)) if bytes.is_empty() => Err("the connection was closed".to_owned()),
            (None, Ok(_)) => Err("the answer is no HTTP, or too long".to_owned()),
        }
    };
    let limit = TIMEOUT.as_secs();
    tokio::time::timeout(TIMEOUT, exchange)
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {limit} s")))
}

async fn connect(resolver: &Resolver, url: &Url) -> Result<TcpStream, String> {
    let addresses: Vec<IpAddr> = match url.host.parse() {
        Ok(address) => vec![address],
        Err(_) => match resolver.resolve(&url.host).await {
            Ok(addresses) => addresses.to_vec(),
            Err(error) => return Err(format!("\"{}\" could not be resolved: {error}", url.host)),
        },
    };
    let mut fault = format!("\"{}\" has no address", url.host);
    for address in addresses {
        match TcpStream::connect(SocketAddr::new(address, url.port)).await {
            Ok(stream) => return Ok(stream),
            Err(error) => fault = failed("connect()", &error),
        }
    }
    Err(fault)
}

fn failed(call: &str, error: &std::io::Error) -> String {
    format!("{call} failed {}", Errno(error))
}

/// HTTP/1.0, so that the answer is neither chunked nor followed by another.
fn request(url: &Url, target: &str, body: Option<&str>) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let common = format!(
        "HTTP/1.0\r\nHost: {}\r\nUser-Agent: moongate/{version}\r\nConnection: close\r\n",
        url.authority
    );
    match body {
        None => format!("GET {target} {common}Accept: application/json\r\n\r\n"),
        Some(body) => format!(
            "POST {target} {common}Content-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        ),
    }
}

/// Status and body of a whole answer.
fn answer(bytes: &[u8]) -> Option<(u16, Vec<u8>)> {
    if bytes.len() as u64 > MOST_BYTES {
        return None;
    }
    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    let Ok(httparse::Status::Complete(length)) = response.parse(bytes) else { return None };
    let status = response.code?;
    let body = &bytes[length..];
    let said = response.headers.iter().find(|it| it.name.eq_ignore_ascii_case("content-length"));
    let said = said.and_then(|it| std::str::from_utf8(it.value).ok()?.trim().parse::<usize>().ok());
    match said {
        Some(length) => body.get(..length).map(|it| (status, it.to_vec())),
        None => Some((status, body.to_vec())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let parts = |text: &str| {
            Url::parse(text)
                .map(|it| format!("{} {} {} {}", it.authority, it.host, it.port, it.path))
        };
        for (text, expected) in [
            ("http://hooks.example/a?b=c", Some("hooks.example hooks.example 80 /a?b=c")),
            ("http://127.0.0.1:9090", Some("127.0.0.1:9090 127.0.0.1 9090 /")),
            ("http://[::1]:90/x", Some("[::1]:90 ::1 90 /x")),
            ("http://[::1]", Some("[::1] ::1 80 /")),
            ("https://x/", None),
            ("http://:80/", None),
            ("http://x:0/", None),
            ("http://x:port/", None),
        ] {
            assert_eq!(parts(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn an_answer_is_whole_or_none() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokbeyond";
        assert_eq!(answer(whole), Some((200, b"ok".to_vec())));
        assert_eq!(answer(b"HTTP/1.0 503 No\r\n\r\nall of it"), Some((503, b"all of it".to_vec())));
        assert_eq!(answer(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"), None);
        assert_eq!(answer(b"HTTP/1.1 200 OK\r\nCont"), None);
        assert_eq!(answer(b"SSH-2.0-x\r\n"), None);
    }
}
