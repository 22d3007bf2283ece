//! Idle connections to upstreams: one pool a worker, as each `upstream` block's `keepalive*` says.

use super::exchange::{Line, Secured};
use crate::clock::{self, Tick};
use crate::upstream::{Keepalive, PeerAddr};
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::{Rc, Weak};
use std::time::Duration;

/// How often connections that nobody asks for are looked at.
const SWEEP: Duration = Duration::from_secs(1);

/// What is known of a connection beside its stream.
#[derive(Debug)]
pub(super) struct History {
    peer: PeerAddr,
    /// The number of the settings that TLS is spoken by, and the name.
    secured: Option<(u64, Box<str>)>,
    born: Tick,
    requests: u64,
}

impl History {
    /// A connection to `peer` that begins now.
    pub fn new(peer: PeerAddr, secured: Option<&Secured>) -> Self {
        let secured = secured.map(|it| (it.client.number, it.name.clone()));
        Self { peer, secured, born: clock::monotonic(), requests: 0 }
    }

    /// Whether it is what a connection to `peer` would be.
    fn fits(&self, peer: &PeerAddr, secured: Option<&Secured>) -> bool {
        let is_as_secure = match (&self.secured, secured) {
            (None, None) => true,
            (Some((number, name)), Some(wanted)) => {
                *number == wanted.client.number && *name == wanted.name
            }
            _ => false,
        };
        is_as_secure && self.peer == *peer
    }
}

struct Idle {
    line: Line,
    until: Tick,
}

/// The idle connections of one worker by their group's number, the one used last at the end.
#[derive(Default)]
pub(super) struct Pool {
    idle: RefCell<HashMap<u64, VecDeque<Idle>, BuildHasherDefault<Spread>>>,
    sweeping: Cell<bool>,
    /// A buffer that a request was written into, for the next one.
    buffer: Cell<Vec<u8>>,
}

/// A buffer that grew beyond this is not kept.
const LARGEST_BUFFER: usize = 16 << 10;

impl Pool {
    /// An idle connection to `peer` that still stands, the one used last first.
    pub fn take(&self, group: u64, peer: &PeerAddr, secured: Option<&Secured>) -> Option<Line> {
        let mut pools = self.idle.borrow_mut();
        let idle = pools.get_mut(&group)?;
        loop {
            let index = idle.iter_mut().rposition(|it| it.line.history().fits(peer, secured))?;
            let mut found = idle.remove(index)?;
            if found.until > clock::monotonic() && found.line.stands() {
                return Some(found.line);
            }
        }
    }

    /// Keeps a connection whose response was read to its end, if the upstream keeps any and the
    /// connection is neither too old nor used up; the one unused for the longest time gives way.
    pub fn put(self: &Rc<Self>, group: u64, mut line: Line, keep: &Keepalive) {
        let history = line.history();
        history.requests += 1;
        if keep.connections == 0 || history.requests >= keep.requests {
            return;
        }
        let now = clock::monotonic();
        if now.ms_since(history.born) >= keep.time_ms {
            return;
        }
        let mut pools = self.idle.borrow_mut();
        let idle = pools.entry(group).or_default();
        if idle.len() >= keep.connections {
            idle.pop_front();
        }
        idle.push_back(Idle { line, until: now.plus_ms(keep.timeout_ms) });
        drop(pools);
        if !self.sweeping.replace(true) {
            tokio::task::spawn_local(sweep(Rc::downgrade(self)));
        }
    }

    /// An empty buffer to write a request into.
    pub fn buffer(&self) -> Vec<u8> {
        let mut buffer = self.buffer.take();
        buffer.clear();
        buffer
    }

    /// Gives a buffer back.
    pub fn give_buffer(&self, buffer: Vec<u8>) {
        if buffer.capacity() <= LARGEST_BUFFER {
            self.buffer.set(buffer);
        }
    }

    /// Connections that are kept.
    pub fn len(&self) -> usize {
        self.idle.borrow().values().map(VecDeque::len).sum()
    }

    fn drop_dead(&self) {
        let now = clock::monotonic();
        self.idle.borrow_mut().retain(|_, idle| {
            idle.retain_mut(|it| it.until > now && it.line.stands());
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

/// Spreads numbers that we have made ourselves over a table.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        // The golden ratio: neighbours end up far from each other, in the high bits too.
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::exchange::{Connection, Transport};
    use crate::sys::raw_stream::RawStream;
    use tokio::io::AsyncWriteExt;
    use tokio::net::UnixStream;

    const KEEP: Keepalive =
        Keepalive { connections: 2, timeout_ms: 60_000, requests: 3, time_ms: 3_600_000 };

    fn peer(port: u16) -> PeerAddr {
        PeerAddr::Tcp(([127, 0, 0, 1], port).into())
    }

    fn put(pool: &Rc<Pool>, port: u16, keep: &Keepalive) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        put_stream(pool, port, keep, ours);
        theirs
    }

    fn put_stream(pool: &Rc<Pool>, port: u16, keep: &Keepalive, ours: UnixStream) {
        let connection = Connection::new(Transport::Plain(RawStream::Unix(ours)));
        pool.put(7, Line::new(connection, History::new(peer(port), None)), keep);
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
            assert!(pool.take(7, &peer(1), None).is_none(), "it gave way");
            assert!(pool.take(8, &peer(2), None).is_none(), "an upstream has its own");
            assert!(pool.take(7, &peer(2), None).is_some());
            assert_eq!(pool.len(), 1);
        });
    }

    #[test]
    fn dead_connections_and_chatty_ones_are_not_given_out() {
        on_a_worker(async || {
            let pool = Rc::new(Pool::default());
            for said in [&b""[..], b"HTTP/1.1 408"] {
                let (ours, mut theirs) = UnixStream::pair().expect("a pair");
                theirs.write_all(said).await.expect("there is room");
                drop(theirs);
                ours.readable().await.expect("it can be asked");
                put_stream(&pool, 1, &KEEP, ours);
                assert!(pool.take(7, &peer(1), None).is_none(), "{said:?}");
            }
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
            let line = pool.take(7, &peer(1), None).expect("it is kept");
            pool.put(7, line, &KEEP);
            let line = pool.take(7, &peer(1), None).expect("twice is allowed");
            pool.put(7, line, &KEEP);
            assert_eq!(pool.len(), 0, "three requests are the limit");
            let _end = put(&pool, 1, &KEEP);
            clock::testing::advance_ms(60_000);
            assert!(pool.take(7, &peer(1), None).is_none(), "it has expired");
        });
    }
}
