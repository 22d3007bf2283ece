//! `queue`: requests that wait, in their order, until a peer has a connection to spare.
//!
//! A queue is the group's, so that workers and reloads share it. Its first looks for a peer when a
//! connection ends (`ActiveGuard`), and now and then by itself: a peer may come back otherwise.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use tokio::sync::Notify;

/// Those who wait for a peer of one group.
#[derive(Debug, Default)]
pub struct Queue {
    places: Mutex<Places>,
    /// How many there are: asked whenever a connection ends.
    length: AtomicUsize,
}

#[derive(Debug, Default)]
struct Places {
    taken: BTreeMap<u64, Arc<Notify>>,
    next: u64,
}

/// A place in a queue, until it is dropped.
#[derive(Debug)]
pub struct Place {
    queue: Arc<Queue>,
    number: u64,
    called: Arc<Notify>,
}

impl Queue {
    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.length.load(SeqCst) == 0
    }

    /// A place behind all others; `None` where `most` wait already.
    pub fn join(self: &Arc<Self>, most: usize) -> Option<Place> {
        let mut places = self.places.lock();
        if places.taken.len() >= most {
            return None;
        }
        let number = places.next;
        places.next += 1;
        let called = Arc::new(Notify::new());
        places.taken.insert(number, Arc::clone(&called));
        self.length.store(places.taken.len(), SeqCst);
        Some(Place { queue: Arc::clone(self), number, called })
    }

    /// Lets the first look for a peer.
    pub(super) fn call(&self) {
        if !self.is_empty()
            && let Some((_, first)) = self.places.lock().taken.first_key_value()
        {
            first.notify_one();
        }
    }
}

impl Place {
    /// Whether it is the first.
    pub fn is_first(&self) -> bool {
        let places = self.queue.places.lock();
        places.taken.first_key_value().is_some_and(|(number, _)| *number == self.number)
    }

    /// Waits until it is worth looking; once for each reason that came since the last time.
    pub async fn called(&self) {
        self.called.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.queue.places.lock();
        places.taken.remove(&self.number);
        self.queue.length.store(places.taken.len(), SeqCst);
        drop(places);
        self.queue.call();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Waker};

    fn is_called(place: &Place) -> bool {
        pin!(place.called()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn the_first_is_called_and_whoever_leaves_calls_the_next() {
        let queue = Arc::new(Queue::default());
        let [first, second, third] = [(); 3].map(|()| queue.join(3).unwrap());
        assert!(queue.join(3).is_none());
        queue.call();
        assert!(first.is_first() && is_called(&first));
        assert!(!second.is_first() && !is_called(&second) && !is_called(&first));
        drop(second);
        assert!(is_called(&first) && !is_called(&third));
        drop(first);
        assert!(third.is_first() && is_called(&third));
        let late = queue.join(2).unwrap();
        assert!(!late.is_first() && !queue.is_empty());
        drop(third);
        assert!(late.is_first() && is_called(&late));
        drop(late);
        assert!(queue.is_empty());
        // Nobody there: nothing is kept for whoever comes.
        queue.call();
        assert!(!is_called(&queue.join(1).unwrap()));
    }
}
