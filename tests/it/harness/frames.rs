//! HTTP/2 written by hand: the frames of a peer that does what no library would.

use std::io::{Read, Write};
use std::net::TcpStream;

/// A frame's kind, flags and stream, and what it holds.
#[derive(Debug)]
pub struct Frame {
    /// RFC 9113 section 6: 0 DATA, 1 HEADERS, 3 RST_STREAM, 4 SETTINGS, 7 GOAWAY, …
    pub kind: u8,
    /// END_STREAM is 1, END_HEADERS 4.
    pub flags: u8,
    /// The stream's number.
    pub stream: u32,
    /// The bytes behind its head.
    pub payload: Vec<u8>,
}

/// DATA
pub const DATA: u8 = 0;
/// HEADERS
pub const HEADERS: u8 = 1;
/// RST_STREAM
pub const RST_STREAM: u8 = 3;
/// SETTINGS
pub const SETTINGS: u8 = 4;
/// GOAWAY
pub const GOAWAY: u8 = 7;
/// `:status: 200`, as HPACK's table has it.
pub const STATUS_200: &[u8] = &[0x88];

/// The bytes of a frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// GOAWAY: nothing behind stream `last` is looked at.
pub fn goaway(last: u32, code: u32) -> Vec<u8> {
    frame(GOAWAY, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat())
}

/// A field as HPACK has it without its tables.
pub fn field(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name, value] {
        bytes.push(u8::try_from(text.len()).ok().filter(|it| *it < 127).expect("a short text"));
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes
}

/// Reads the client's preface and answers with empty SETTINGS; `false` where there is none.
pub fn begin(stream: &mut TcpStream) -> bool {
    let mut preface = [0; 24];
    let read = stream.read_exact(&mut preface).is_ok();
    let is_one = read && preface.starts_with(b"PRI * HTTP/2.0");
    is_one && stream.write_all(&frame(SETTINGS, 0, 0, &[])).is_ok()
}

/// The next frame; `None` at the end of the connection.
pub fn read(stream: &mut TcpStream) -> Option<Frame> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).ok()?;
    let number = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
    Some(Frame { kind: head[3], flags: head[4], stream: number, payload })
}

/// The number of the next stream that begins.
pub fn next_request(stream: &mut TcpStream) -> Option<u32> {
    loop {
        let frame = read(stream)?;
        if frame.kind == HEADERS {
            return Some(frame.stream);
        }
    }
}

/// Says 200 and `text` on a stream.
pub fn answer(stream: &mut TcpStream, number: u32, text: &str) {
    let head = frame(HEADERS, 4, number, STATUS_200);
    let body = frame(DATA, 1, number, text.as_bytes());
    // The gateway may have gone.
    let _ = stream.write_all(&[head, body].concat());
}
