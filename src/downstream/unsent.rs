//! Bytes on their way to a client: what is small is collected, what is large is not copied.

use crate::http::h1::chunked::{CHUNK_END, ChunkSize, LAST_CHUNK};
use crate::http::headers::Headers;
use bytes::{Buf, Bytes};
use std::io::IoSlice;

/// A longer chunk is sent from where it is.
const COPIED_BYTES: usize = 4096;

/// So much is sent before the response's end is known.
const ENOUGH_BYTES: usize = 4096;

/// An idle connection keeps no larger buffer.
const KEPT_BYTES: usize = 1024;

/// What was not sent yet, in this order: collected bytes, one large chunk, what frames its end.
#[derive(Debug, Default)]
pub(super) struct Unsent {
    small: Vec<u8>,
    /// How many of `small` are sent.
    at: usize,
    large: Bytes,
    behind: Vec<u8>,
}

impl Unsent {
    /// Where bytes are appended.
    pub fn end(&mut self) -> &mut Vec<u8> {
        if self.large.is_empty() { &mut self.small } else { &mut self.behind }
    }

    /// Adds a part of a body that is not empty. There must be room: see [`Self::is_enough`].
    pub fn push(&mut self, chunk: Bytes, is_framed: bool) {
        if is_framed {
            self.end().extend_from_slice(ChunkSize::of(chunk.len()).as_bytes());
        }
        if chunk.len() > COPIED_BYTES && self.large.is_empty() {
            self.large = chunk;
        } else {
            self.end().extend_from_slice(&chunk);
        }
        if is_framed {
            self.end().extend_from_slice(CHUNK_END);
        }
    }

    /// Adds the end of a body in chunks, with `trailers` if there are any.
    pub fn push_end(&mut self, trailers: &Headers) {
        if trailers.is_empty() {
            return self.end().extend_from_slice(LAST_CHUNK);
        }
        let out = self.end();
        out.extend_from_slice(b"0\r\n");
        for (name, value) in trailers.iter() {
            for part in [&name[..], b": ", value, b"\r\n"] {
                out.extend_from_slice(part);
            }
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Whether it is to be sent before more is added.
    pub fn is_enough(&self) -> bool {
        !self.large.is_empty() || self.small.len() - self.at >= ENOUGH_BYTES
    }

    /// Whether all is sent.
    pub fn is_empty(&self) -> bool {
        self.at == self.small.len() && self.large.is_empty() && self.behind.is_empty()
    }

    /// What comes next, the parts in their order, `most` bytes of it.
    pub fn slices_of(&self, most: u64) -> [IoSlice<'_>; 3] {
        let mut left = usize::try_from(most).unwrap_or(usize::MAX);
        [&self.small[self.at..], &self.large, &self.behind].map(|part| {
            let part = &part[..part.len().min(left)];
            left -= part.len();
            IoSlice::new(part)
        })
    }

    /// `count` bytes are sent.
    pub fn advance(&mut self, count: usize) {
        let mut left = count;
        let of_small = left.min(self.small.len() - self.at);
        self.at += of_small;
        left -= of_small;
        let of_large = left.min(self.large.len());
        self.large.advance(of_large);
        left -= of_large;
        if self.at < self.small.len() || !self.large.is_empty() {
            return;
        }
        self.large = Bytes::new();
        self.small.clear();
        self.at = 0;
        self.small.extend_from_slice(&self.behind[left..]);
        self.behind.clear();
    }

    /// Gives memory back before a wait that may be long.
    pub fn shrink(&mut self) {
        if self.is_empty() && self.small.capacity() > KEPT_BYTES {
            self.small = Vec::new();
        }
        self.behind = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends all, `step` bytes at a time.
    fn sent(unsent: &mut Unsent, step: usize) -> Vec<u8> {
        let mut out = Vec::new();
        while !unsent.is_empty() {
            let all: Vec<u8> =
                unsent.slices_of(u64::MAX).iter().flat_map(|it| it.to_vec()).collect();
            let count = step.min(all.len());
            out.extend_from_slice(&all[..count]);
            unsent.advance(count);
        }
        out
    }

    #[test]
    fn bytes_leave_in_their_order_however_many_the_socket_takes() {
        let large = Bytes::from(vec![b'x'; COPIED_BYTES + 1]);
        let want = [&b"head 3\r\nabc\r\n1001\r\n"[..], &large, b"\r\n1\r\nd\r\n0\r\n\r\n"].concat();
        for step in [1, 7, 4000, 5000, 100_000] {
            let mut unsent = Unsent::default();
            unsent.end().extend_from_slice(b"head ");
            unsent.push(Bytes::from_static(b"abc"), true);
            assert!(!unsent.is_enough());
            unsent.push(large.clone(), true);
            assert!(unsent.is_enough());
            unsent.push(Bytes::from_static(b"d"), true);
            unsent.push_end(&Headers::new());
            assert!(sent(&mut unsent, step) == want, "{step}");
            unsent.shrink();
            assert!(unsent.small.capacity() <= KEPT_BYTES);
        }
    }

    #[test]
    fn two_large_chunks_keep_their_order() {
        let [first, second] = [b'a', b'b'].map(|it| Bytes::from(vec![it; COPIED_BYTES + 1]));
        let mut unsent = Unsent::default();
        unsent.push(first.clone(), false);
        unsent.push(second.clone(), false);
        assert!(sent(&mut unsent, 1000) == [first, second].concat());
    }
}
