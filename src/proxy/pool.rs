//! Idle connections to upstreams: one pool a worker, as each `upstream` block's `keepalive*` says.

use crate::clock::{self, Tick};
use crate::upstream::{Keepalive, PeerAddr};
use pingora::protocols::Stream;
use std::cell::RefCell;
use std::collections::HashMap;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncRead, ReadBuf};

/// How often connections that nobody asks for are looked at.
const SWEEP: Duration = Duration::from_secs(1);

/// What is known of a connection beside its stream.
#[derive(Clone, Debug)]
pub(super) struct History {
    peer: PeerAddr,
    born: Tick,
    requests: u64,
}

impl History {
    /// A connection to `peer` that begins now.
    pub fn new(peer: PeerAddr) -> Self {
        Self { peer, born: clock::monotonic(), requests: 0 }
    }
}

struct Idle {
    stream: Stream,
    history: History,
    until: Tick,
}

/// The idle connections of one worker by upstream, the one used last at the end.
#[derive(Default)]
pub(super) struct Pool {
    idle: RefCell<HashMap<Arc<str>, Vec<Idle>>>,
    sweeping: std::cell::Cell<bool>,
}

impl Pool {
    /// An idle connection to `peer` that still stands, the one used last first.
    pub fn take(&self, upstream: &str, peer: &PeerAddr) -> Option<(Stream, History)> {
        let mut pools = self.idle.borrow_mut();
        let idle = pools.get_mut(upstream)?;
        while let Some(index) = idle.iter().rposition(|it| it.history.peer == *peer) {
            let mut found = idle.remove(index);
            if found.until > clock::monotonic() && stands(&mut found.stream) {
                return Some((found.stream, found.history));
            }
        }
        None
    }

    /// Keeps a connection whose response was read to its end, if the upstream keeps any and the
    /// connection is neither too old nor used up; the one unused for the longest time gives way.
    pub fn put(
        self: &Rc<Self>,
        upstream: &Arc<str>,
        stream: Stream,
        mut history: History,
        keep: &Keepalive,
    ) {
        history.requests += 1;
        let now = clock::monotonic();
        let spent = history.requests >= keep.requests || now.ms_since(history.born) >= keep.time_ms;
        if keep.connections == 0 || spent {
            return;
        }
        let mut pools = self.idle.borrow_mut();
        let idle = pools.entry(upstream.clone()).or_default();
        if idle.len() >= keep.connections {
            idle.remove(0);
        }
        idle.push(Idle { stream, history, until: now.plus_ms(keep.timeout_ms) });
        drop(pools);
        if !self.sweeping.replace(true) {
            tokio::task::spawn_local(sweep(Rc::downgrade(self)));
        }
    }

    /// Connections that are kept.
    pub fn len(&self) -> usize {
        self.idle.borrow().values().map(Vec::len).sum()
    }

    fn drop_dead(&self) {
        let now = clock::monotonic();
        self.idle.borrow_mut().retain(|_, idle| {
            idle.retain_mut(|it| it.until > now && stands(&mut it.stream));
            !idle.is_empty()
        });
    }
}

/// Closes what has expired or was closed by its peer, as long as there is something to look at.
async fn sweep(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let Some(pool) = pool.upgrade() else { return };
        pool.drop_dead();
        if pool.len() == 0 {
            pool.sweeping.set(false);
            return;
        }
    }
}

/// Whether an idle connection has nothing to read: neither its end nor bytes that nobody asked for.
fn stands(stream: &mut Stream) -> bool {
    let mut byte = [0; 1];
    let mut buffer = ReadBuf::new(&mut byte);
    let mut context = Context::from_waker(Waker::noop());
    matches!(Pin::new(stream).poll_read(&mut context, &mut buffer), Poll::Pending)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

    const KEEP: Keepalive =
        Keepalive { connections: 2, timeout_ms: 60_000, requests: 3, time_ms: 3_600_000 };

    fn peer(port: u16) -> PeerAddr {
        PeerAddr::Tcp(([127, 0, 0, 1], port).into())
    }

    fn put(pool: &Rc<Pool>, port: u16, keep: &Keepalive) -> DuplexStream {
        let (ours, theirs) = duplex(64);
        pool.put(&"up".into(), Box::new(ours), History::new(peer(port)), keep);
        theirs
    }

    /// Runs `body` where a worker's tasks can be spawned.
    fn on_a_worker(body: impl AsyncFnOnce()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let tasks = tokio::task::LocalSet::new();
        tasks.block_on(&runtime.expect("a runtime"), body());
    }

    #[test]
    fn the_oldest_gives_way_and_the_newest_goes_first() {
        on_a_worker(async || {
            let pool = Rc::new(Pool::default());
            let _ends: Vec<_> = [1, 2, 2].map(|port| put(&pool, port, &KEEP)).into();
            assert_eq!(pool.len(), 2);
            assert!(pool.take("up", &peer(1)).is_none(), "it gave way");
            assert!(pool.take("other", &peer(2)).is_none(), "an upstream has its own");
            assert!(pool.take("up", &peer(2)).is_some());
            assert_eq!(pool.len(), 1);
        });
    }

    #[test]
    fn dead_connections_and_chatty_ones_are_not_given_out() {
        on_a_worker(async || {
            let pool = Rc::new(Pool::default());
            drop(put(&pool, 1, &KEEP));
            assert!(pool.take("up", &peer(1)).is_none(), "its peer closed it");
            let mut end = put(&pool, 1, &KEEP);
            end.write_all(b"HTTP/1.1 408").await.expect("there is room");
            assert!(pool.take("up", &peer(1)).is_none(), "it says what nobody asked");
            assert_eq!(pool.len(), 0);
        });
    }

    #[test]
    fn limits_of_the_upstream_hold() {
        on_a_worker(async || {
            clock::testing::freeze(1_000_000);
            let pool = Rc::new(Pool::default());
            let none = Keepalive { connections: 0, ..KEEP };
            let _end = put(&pool, 1, &none);
            assert_eq!(pool.len(), 0);
            let _end = put(&pool, 1, &KEEP);
            let (stream, history) = pool.take("up", &peer(1)).expect("it is kept");
            pool.put(&"up".into(), stream, history, &KEEP);
            let (stream, history) = pool.take("up", &peer(1)).expect("twice is allowed");
            pool.put(&"up".into(), stream, history, &KEEP);
            assert_eq!(pool.len(), 0, "three requests are the limit");
            let _end = put(&pool, 1, &KEEP);
            clock::testing::advance_ms(60_000);
            assert!(pool.take("up", &peer(1)).is_none(), "it has expired");
        });
    }
}
