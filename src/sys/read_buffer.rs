//! Memory that this thread's sockets are read into.
//!
//! A connection that waits holds none. What comes is read into one large piece of memory of the
//! thread's: heads and small bodies are copied from it, so that the same warm memory is read into
//! again and again, and a request that takes long holds no more than its own bytes; large parts are
//! split off it, and a new piece is taken when too little is left.

use bytes::BytesMut;
use std::cell::RefCell;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Bytes of a piece of memory.
const PIECE: usize = 96 << 10;
/// What is not longer is copied.
const SMALL: usize = 2 << 10;
/// Bytes that may come at once, at least: a response of 16 KiB and its head do.
const ROOM: usize = 32 << 10;
/// Behind bytes that wait for the rest of their message there is room for so many, at least.
const LEAST_MORE: usize = 4 << 10;

thread_local! {
    static FREE: RefCell<BytesMut> = RefCell::default();
}

/// Reads once from `source` behind what is in `input`: how many bytes came, 0 at the end.
///
/// # Errors
/// Those of `source`.
pub fn poll_read(
    source: &mut (impl AsyncRead + Unpin),
    cx: &mut Context<'_>,
    input: &mut BytesMut,
) -> Poll<io::Result<usize>> {
    if !input.is_empty() {
        if input.capacity() - input.len() < LEAST_MORE {
            input.reserve(ROOM);
        }
        return pin!(source.read_buf(input)).poll(cx);
    }
    FREE.with_borrow_mut(|free| {
        if free.capacity() < ROOM {
            *free = BytesMut::with_capacity(PIECE);
        }
        let count = ready!(pin!(source.read_buf(free)).poll(cx))?;
        if count <= SMALL {
            *input = BytesMut::from(&free[..]);
            free.clear();
        } else {
            *input = free.split();
        }
        Poll::Ready(Ok(count))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    fn read(mut source: &[u8], input: &mut BytesMut) -> usize {
        let mut cx = Context::from_waker(Waker::noop());
        match poll_read(&mut source, &mut cx, input) {
            Poll::Ready(Ok(count)) => count,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn messages_do_not_touch_each_other() {
        let (mut one, mut two) = (BytesMut::new(), BytesMut::new());
        assert_eq!((read(b"head", &mut one), read(b"other", &mut two)), (4, 5));
        assert!(one.capacity() < 64, "it holds no more than its own bytes");
        assert_eq!(read(b"+rest", &mut one), 5);
        assert_eq!((&one[..], &two[..]), (&b"head+rest"[..], &b"other"[..]));
        assert_eq!((read(b"", &mut one), read(b"", &mut BytesMut::new())), (0, 0));
    }

    #[test]
    fn much_is_read_at_once_and_a_new_piece_follows_a_full_one() {
        let much = vec![b'x'; ROOM];
        let mut kept: Vec<BytesMut> = Vec::new();
        for _ in 0..3 * PIECE / ROOM {
            let mut input = BytesMut::new();
            assert_eq!(read(&much, &mut input), ROOM);
            kept.push(input);
        }
        assert!(kept.iter().all(|it| it[..] == much[..]));
        assert_eq!(kept[1].as_ptr(), kept[0].as_ptr().wrapping_add(ROOM), "they were not copied");
    }
}
