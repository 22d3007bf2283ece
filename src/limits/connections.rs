//! The counters of `limit_conn`: requests that are being served, by key.

use crate::shdict::slab::{Page, Slab};
use crate::shdict::table::{Keyed, Place, Table};
use parking_lot::Mutex;
use std::sync::Arc;

/// Bytes that a key takes in a zone besides itself: its node in the tree and its counter.
const NODE: usize = 36;

/// A `limit_conn_zone`: how many requests of each key are being served.
#[derive(Debug)]
pub struct Connections {
    store: Mutex<Store>,
}

#[derive(Debug)]
struct Store {
    table: Table<Counter>,
    slab: Slab,
}

#[derive(Debug, Default)]
struct Counter {
    key: Box<[u8]>,
    page: Page,
    count: u32,
}

impl Keyed for Counter {
    fn key(&self) -> &[u8] {
        &self.key
    }
}

/// Why a request was not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// As many are being served as may be.
    Full,
    /// The zone has no room for the key.
    NoRoom,
}

/// A request that counts until this is dropped.
#[derive(Debug)]
pub struct Held {
    zone: Arc<Connections>,
    place: Place,
}

impl Connections {
    /// A zone called `name` of `bytes` bytes in which nothing is counted.
    pub fn new(name: &str, bytes: usize) -> Self {
        let store = Store { table: Table::new(), slab: Slab::new(name, bytes) };
        Self { store: Mutex::new(store) }
    }

    /// Counts a request of `key`, of which `limit` may be served at a time.
    ///
    /// # Errors
    /// Why it may not be served.
    pub fn hold(self: &Arc<Self>, key: &[u8], limit: u32) -> Result<Held, Refusal> {
        let store = &mut *self.store.lock();
        let place = match store.table.find(key) {
            Some(place) => {
                let counter = store.table.entry_mut(place);
                if counter.count >= limit {
                    return Err(Refusal::Full);
                }
                counter.count += 1;
                place
            }
            None => {
                let page = store.slab.alloc(NODE + key.len()).ok_or(Refusal::NoRoom)?;
                store.table.insert(Counter { key: key.into(), page, count: 1 })
            }
        };
        Ok(Held { zone: Arc::clone(self), place })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let store = &mut *self.zone.store.lock();
        let counter = store.table.entry_mut(self.place);
        counter.count -= 1;
        if counter.count == 0 {
            let gone = store.table.remove(self.place);
            store.slab.free(NODE + gone.key.len(), gone.page);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_counts_while_its_requests_are_held() {
        let zone = Arc::new(Connections::new("z", 65_536));
        let first = zone.hold(b"a", 2).unwrap();
        let second = zone.hold(b"a", 2).unwrap();
        assert_eq!(zone.hold(b"a", 2).unwrap_err(), Refusal::Full);
        let other = zone.hold(b"b", 2).unwrap();
        drop(first);
        drop(zone.hold(b"a", 2).unwrap());
        drop((second, other));
        // All is given back, whoever came last.
        assert!(zone.store.lock().table.oldest().is_none());
    }

    #[test]
    fn a_full_zone_refuses_new_keys_and_no_other() {
        let zone = Arc::new(Connections::new("z", 32_768));
        let mut held = Vec::new();
        let refusal = loop {
            match zone.hold(&held.len().to_be_bytes(), 9) {
                Ok(it) => held.push(it),
                Err(refusal) => break refusal,
            }
        };
        assert_eq!(refusal, Refusal::NoRoom);
        // 64 bytes each, in the five pages that a zone of 32k has besides its own.
        assert_eq!(held.len(), 5 * 64);
        zone.hold(&0usize.to_be_bytes(), 9).unwrap();
        held.pop();
        zone.hold(b"new", 9).unwrap();
    }
}
