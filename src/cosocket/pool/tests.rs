//! Pools over unix sockets: who gets which connection, who waits, what is closed when.

use super::*;
use crate::sys::raw_stream::RawStream;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    tokio::task::LocalSet::new().block_on(&runtime.unwrap(), future)
}

/// A connection and its other side.
fn pair() -> (Stream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    (Stream::Plain(RawStream::Unix(ours)), theirs)
}

async fn settle() {
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
}

#[test]
fn the_last_one_used_is_the_first_one_taken() {
    block_on(async {
        let pools = Rc::new(Pools::default());
        let pool = pools.open(b"a", 2, None);
        let mut others = Vec::new();
        for reused in 0..3 {
            let (stream, other) = pair();
            others.push(other);
            pools.put(&pool, stream, reused, None, 0).unwrap();
        }
        assert_eq!(pools.idle_count(), 2);
        let Begin::Reused(_, 3, first) = pool.begin(false) else { panic!("reused") };
        let Begin::Reused(_, 2, second) = pool.begin(false) else { panic!("reused") };
        assert!(matches!(pool.begin(false), Begin::Connect(_)));
        drop((first, second));
        assert!(pools.find(b"a").is_none());
    });
}

#[test]
fn idle_connections_go_with_their_time_and_their_peer() {
    block_on(async {
        let pools = Rc::new(Pools::default());
        let pool = pools.open(b"a", 9, None);
        let ((one, _keeps), (two, leaves), (three, mut talks)) = (pair(), pair(), pair());
        pools.put(&pool, one, 0, None, 1000).unwrap();
        pools.put(&pool, two, 0, None, 0).unwrap();
        pools.put(&pool, three, 0, None, 0).unwrap();
        settle().await;
        assert_eq!(pools.idle_count(), 3);
        drop(leaves);
        talks.write_all(b"x").await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(pools.idle_count(), 1);
        tokio::time::sleep(Duration::from_millis(600)).await;
        assert_eq!(pools.idle_count(), 0);
        drop(pool);
        assert!(pools.find(b"a").is_none());
        assert!(!pools.has_janitor.get());
    });
}

#[test]
fn one_with_bytes_or_without_a_peer_is_not_kept() {
    block_on(async {
        let pools = Rc::new(Pools::default());
        let pool = pools.open(b"a", 9, None);
        let ((one, gone), (two, mut talks)) = (pair(), pair());
        drop(gone);
        talks.write_all(b"x").await.unwrap();
        settle().await;
        assert_eq!(pools.put(&pool, one, 0, None, 0), Err(false));
        assert_eq!(pools.put(&pool, two, 0, None, 0), Err(true));
        assert_eq!(pools.idle_count(), 0);
    });
}

#[test]
fn a_backlog_limits_connections_and_queues_the_rest() {
    block_on(async {
        let pools = Rc::new(Pools::default());
        let pool = pools.open(b"a", 1, Some(2));
        let Begin::Connect(first) = pool.begin(false) else { panic!("connect") };
        let Begin::Wait(second) = pool.begin(false) else { panic!("wait") };
        let Begin::Wait(third) = pool.begin(false) else { panic!("wait") };
        assert!(matches!(pool.begin(false), Begin::Full));
        // One that gives up calls nobody: there is no connection more.
        drop(second);
        assert!(!third.ticket.called.get());
        drop(first);
        third.called().await;
        let Some(Begin::Connect(lease)) = third.begin() else { panic!("connect") };
        // A connection that is kept goes to who waits.
        let Begin::Wait(fourth) = pool.begin(false) else { panic!("wait") };
        let (stream, _other) = pair();
        pools.put(&pool, stream, 4, Some(lease), 0).unwrap();
        fourth.called().await;
        assert!(matches!(fourth.begin(), Some(Begin::Reused(_, 5, _))));
    });
}
