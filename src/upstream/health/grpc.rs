//! A gRPC probe: `grpc.health.v1.Health/Check` over HTTP/2 with prior knowledge.

use super::stream::Io;
use bytes::{BufMut, Bytes, BytesMut};
use h2::client;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};

const PATH: &str = "/grpc.health.v1.Health/Check";
/// The longest answer that is read: one short message.
const MAX_BODY: usize = 4096;
/// `HealthCheckResponse.SERVING`.
const SERVING: u64 = 1;

/// Asks for the health of `service`. Good is SERVING, or the gRPC status `accepted` where one was
/// configured (12, unimplemented, for servers without the health service).
pub(super) async fn probe(
    stream: Box<dyn Io>,
    (scheme, host): (&str, &str),
    service: &str,
    accepted: Option<u32>,
    headers: &[(String, String)],
) -> Result<(), String> {
    let request = request((scheme, host), headers)?;
    let mut builder = client::Builder::new();
    builder.enable_push(false).max_header_list_size(16 * 1024);
    let (sender, connection) = builder.handshake(stream).await.map_err(|it| text(&it))?;
    let ask = async {
        let mut sender = sender.ready().await.map_err(|it| text(&it))?;
        let (response, mut body) = sender.send_request(request, false).map_err(|it| text(&it))?;
        body.send_data(message(service), true).map_err(|it| text(&it))?;
        answer(response.await.map_err(|it| text(&it))?, accepted).await
    };
    tokio::select! {
        biased;
        answer = ask => answer,
        ended = connection => match ended {
            Ok(()) => Err("the connection was closed before the answer".to_owned()),
            Err(error) => Err(text(&error)),
        },
    }
}

fn text(error: &h2::Error) -> String {
    format!("HTTP/2: {error}")
}

fn request(
    (scheme, host): (&str, &str),
    headers: &[(String, String)],
) -> Result<Request<()>, String> {
    let uri = format!("{scheme}://{host}{PATH}");
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(uri)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", "moongate")
        .body(())
        .map_err(|error| error.to_string())?;
    for (name, value) in headers {
        // HTTP/2 has lower-case names only.
        let name = HeaderName::from_bytes(name.as_bytes());
        let value = HeaderValue::from_bytes(value.as_bytes());
        if let (Ok(name), Ok(value)) = (name, value) {
            request.headers_mut().append(name, value);
        } else {
            return Err("invalid metadata in health_check".to_owned());
        }
    }
    Ok(request)
}

/// A length-prefixed `HealthCheckRequest { service = 1 }`.
fn message(service: &str) -> Bytes {
    let mut inner = BytesMut::new();
    if !service.is_empty() {
        inner.put_u8(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            inner.put_u8((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        inner.put_u8(length as u8);
        inner.put_slice(service.as_bytes());
    }
    let mut framed = BytesMut::with_capacity(inner.len() + 5);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(inner.len()).unwrap_or(u32::MAX));
    framed.put(inner);
    framed.freeze()
}

async fn answer(response: Response<h2::RecvStream>, accepted: Option<u32>) -> Result<(), String> {
    let (head, mut body) = response.into_parts();
    if head.status != 200 {
        return Err(head.status.as_u16().to_string());
    }
    let mut message = Vec::new();
    while let Some(part) = body.data().await {
        let part = part.map_err(|it| text(&it))?;
        let _ = body.flow_control().release_capacity(part.len());
        message.extend_from_slice(&part);
        if message.len() > MAX_BODY {
            return Err("the answer is too long".to_owned());
        }
    }
    let trailers = body.trailers().await.map_err(|it| text(&it))?;
    let status = trailers.as_ref().and_then(grpc_status).or_else(|| grpc_status(&head.headers));
    match status {
        Some(0) if accepted != Some(0) => match serving_status(&message) {
            Some(SERVING) => Ok(()),
            Some(other) => Err(format!("serving status {other}")),
            None => Err("invalid HealthCheckResponse".to_owned()),
        },
        Some(status) if Some(status) == accepted => Ok(()),
        Some(status) => Err(format!("grpc-status {status}")),
        None => Err("no grpc-status".to_owned()),
    }
}

fn grpc_status(headers: &HeaderMap) -> Option<u32> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}

/// Field 1 of a framed `HealthCheckResponse`; 0 (UNKNOWN) where it is missing, `None` where the
/// bytes are no such message.
fn serving_status(framed: &[u8]) -> Option<u64> {
    let (prefix, message) = framed.split_at_checked(5)?;
    let length = u32::from_be_bytes(prefix[1..].try_into().ok()?);
    if prefix[0] != 0 || u32::try_from(message.len()).ok()? != length {
        return None;
    }
    let mut rest = message;
    let mut status = 0;
    while !rest.is_empty() {
        let tag = varint(&mut rest)?;
        match tag & 7 {
            0 => {
                let value = varint(&mut rest)?;
                if tag >> 3 == 1 {
                    status = value;
                }
            }
            1 => rest = rest.get(8..)?,
            2 => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                rest = rest.get(length..)?;
            }
            5 => rest = rest.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

/// A protobuf varint of at most ten bytes.
fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, tail) = rest.split_first()?;
        *rest = tail;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
