//! Making room: what has expired goes, and what was not used for longest when it must.

use crate::shdict::slab::{PAGE, Page};
use crate::shdict::store::Store;
use crate::shdict::table::{Keyed, Place};

/// How often room is made for one entry before the answer is `"no memory"`.
const MAX_ROUNDS: usize = 30;

impl Store {
    /// Drops the oldest entries that have expired, two at most. With `force` the very oldest
    /// goes first, expired or not. Returns whether any went.
    pub(super) fn drop_oldest(&mut self, force: bool, now_ms: u64) -> bool {
        let mut dropped = 0;
        for round in usize::from(!force)..3 {
            let Some(place) = self.table.oldest() else { break };
            let expires_ms = self.table.entry(place).expires_ms;
            if round > 0 && (expires_ms == 0 || expires_ms > now_ms) {
                break;
            }
            self.remove(place);
            dropped += 1;
        }
        dropped > 0
    }

    /// Takes room for `size` bytes, dropping the oldest entries while there is none. Sets
    /// `forcible` when any had to go. `None` when no room could be made.
    pub(super) fn make_room(
        &mut self,
        size: usize,
        forcible: &mut bool,
        now_ms: u64,
    ) -> Option<Page> {
        if let Some(page) = self.slab.alloc(size) {
            return Some(page);
        }
        for _ in 0..MAX_ROUNDS {
            if !self.drop_oldest(true, now_ms) {
                return None;
            }
            *forcible = true;
            if let Some(page) = self.slab.alloc(size) {
                return Some(page);
            }
        }
        None
    }

    /// See [`crate::shdict::Dict::flush_all`].
    pub(super) fn flush_all(&mut self, now_ms: u64) {
        let mut next = self.table.oldest();
        while let Some(place) = next {
            self.table.entry_mut(place).expires_ms = 1;
            next = self.table.newer(place);
        }
        self.drop_oldest(true, now_ms);
    }

    /// See [`crate::shdict::Dict::flush_expired`].
    pub(super) fn flush_expired(&mut self, max: usize, now_ms: u64) -> usize {
        let mut freed = 0;
        let mut next = self.table.oldest();
        while let Some(place) = next {
            next = self.table.newer(place);
            if !self.is_listed(place, now_ms) {
                self.remove(place);
                freed += 1;
                if freed == max {
                    break;
                }
            }
        }
        freed
    }

    /// See [`crate::shdict::Dict::keys`].
    pub(super) fn keys(&self, max: usize, now_ms: u64) -> Vec<Box<[u8]>> {
        let places = std::iter::successors(self.table.oldest(), |it| self.table.newer(*it));
        let listed = places.filter(|it| self.is_listed(*it, now_ms));
        let max = if max == 0 { usize::MAX } else { max };
        listed.take(max).map(|it| self.table.entry(it).key().into()).collect()
    }

    /// Whether an entry has not expired as flushing and listing see it: not at its very
    /// millisecond, in which `get` still finds it.
    fn is_listed(&self, place: Place, now_ms: u64) -> bool {
        let expires_ms = self.table.entry(place).expires_ms;
        expires_ms == 0 || expires_ms > now_ms
    }

    /// See [`crate::shdict::Dict::free_space`].
    pub(super) const fn free_space(&self) -> usize {
        self.slab.free_pages() * PAGE
    }
}
