//! Entries by key and by age: a hash table whose entries are also a list from the one used last to
//! the one not used for longest. Both are links between places in one vector.
//!
//! Zones of limits (`limits/`) are kept in the same way.

use crate::shdict::list::Items;
use crate::shdict::slab::Page;
use std::hash::{BuildHasher, RandomState};

/// Where an entry is; good until the entry is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(u32);

/// No place.
const NONE: u32 = u32::MAX;

/// What an entry holds.
#[derive(Debug, Default)]
pub enum Kind {
    /// A string: what follows the key in the entry's bytes.
    #[default]
    Text,
    /// A number.
    Number(f64),
    /// A boolean.
    Boolean(bool),
    /// A list.
    List(Items),
}

/// What a table can hold.
pub trait Keyed: Default {
    /// What the entry is found by; it stays while the entry is in a table.
    fn key(&self) -> &[u8];
}

/// One entry.
#[derive(Debug, Default)]
pub struct Entry {
    /// The key, and behind it the value if that is a string.
    pub bytes: Box<[u8]>,
    /// Bytes of the key.
    pub key_len: usize,
    /// The value.
    pub kind: Kind,
    /// When it expires; 0 for never.
    pub expires_ms: u64,
    /// The user's flags.
    pub flags: u32,
    /// Where it is in the zone.
    pub page: Page,
}

impl Keyed for Entry {
    fn key(&self) -> &[u8] {
        &self.bytes[..self.key_len]
    }
}

impl Entry {
    /// The value, if it is a string.
    pub fn text(&self) -> &[u8] {
        &self.bytes[self.key_len..]
    }
}

#[derive(Debug)]
struct Slot<E> {
    entry: E,
    hash: u64,
    /// The next entry in the same bucket, or the next free slot.
    next: u32,
    newer: u32,
    older: u32,
}

/// The entries.
#[derive(Debug)]
pub struct Table<E = Entry> {
    slots: Vec<Slot<E>>,
    buckets: Vec<u32>,
    free: u32,
    newest: u32,
    oldest: u32,
    len: usize,
    hasher: RandomState,
}

/// As a place in a vector.
const fn at(index: u32) -> usize {
    index as usize
}

impl<E: Keyed> Default for Table<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E: Keyed> Table<E> {
    /// No entries.
    pub fn new() -> Self {
        Self {
            slots: Vec::new(),
            buckets: vec![NONE; 16],
            free: NONE,
            newest: NONE,
            oldest: NONE,
            len: 0,
            hasher: RandomState::new(),
        }
    }

    fn bucket(&self, hash: u64) -> usize {
        // The number of buckets is a power of two.
        usize::try_from(hash & (self.buckets.len() as u64 - 1)).unwrap_or_default()
    }

    /// Where `key` is.
    pub fn find(&self, key: &[u8]) -> Option<Place> {
        let hash = self.hasher.hash_one(key);
        let mut index = self.buckets[self.bucket(hash)];
        while let Some(slot) = self.slots.get(at(index)) {
            if slot.hash == hash && slot.entry.key() == key {
                return Some(Place(index));
            }
            index = slot.next;
        }
        None
    }

    /// Adds an entry, whose key must not be there, as the newest.
    pub fn insert(&mut self, entry: E) -> Place {
        if self.len == self.buckets.len() {
            self.grow();
        }
        let hash = self.hasher.hash_one(entry.key());
        let bucket = self.bucket(hash);
        let next = self.buckets[bucket];
        let slot = Slot { entry, hash, next, newer: NONE, older: NONE };
        let index = match self.slots.get_mut(at(self.free)) {
            Some(vacant) => {
                let index = self.free;
                self.free = vacant.next;
                *vacant = slot;
                index
            }
            None => {
                self.slots.push(slot);
                u32::try_from(self.slots.len() - 1).unwrap_or(NONE)
            }
        };
        self.buckets[bucket] = index;
        self.len += 1;
        self.link(index);
        Place(index)
    }

    /// Takes an entry out.
    pub fn remove(&mut self, place: Place) -> E {
        let Place(index) = place;
        self.unlink(index);
        let (hash, next) = (self.slots[at(index)].hash, self.slots[at(index)].next);
        let bucket = self.bucket(hash);
        let mut before = self.buckets[bucket];
        if before == index {
            self.buckets[bucket] = next;
        } else {
            while self.slots[at(before)].next != index {
                before = self.slots[at(before)].next;
            }
            self.slots[at(before)].next = next;
        }
        self.len -= 1;
        self.slots[at(index)].next = self.free;
        self.free = index;
        std::mem::take(&mut self.slots[at(index)].entry)
    }

    /// Makes an entry the newest.
    pub fn touch(&mut self, place: Place) {
        if self.newest != place.0 {
            self.unlink(place.0);
            self.link(place.0);
        }
    }

    /// The entry not used for longest.
    pub fn oldest(&self) -> Option<Place> {
        (self.oldest != NONE).then_some(Place(self.oldest))
    }

    /// The entry used next after this one.
    pub fn newer(&self, place: Place) -> Option<Place> {
        let newer = self.slots[at(place.0)].newer;
        (newer != NONE).then_some(Place(newer))
    }

    /// The entry at a place.
    pub fn entry(&self, place: Place) -> &E {
        &self.slots[at(place.0)].entry
    }

    /// The entry at a place; its key must stay.
    pub fn entry_mut(&mut self, place: Place) -> &mut E {
        &mut self.slots[at(place.0)].entry
    }

    fn link(&mut self, index: u32) {
        let second = std::mem::replace(&mut self.newest, index);
        let slot = &mut self.slots[at(index)];
        (slot.newer, slot.older) = (NONE, second);
        match self.slots.get_mut(at(second)) {
            Some(slot) => slot.newer = index,
            None => self.oldest = index,
        }
    }

    fn unlink(&mut self, index: u32) {
        let (newer, older) = (self.slots[at(index)].newer, self.slots[at(index)].older);
        match self.slots.get_mut(at(newer)) {
            Some(slot) => slot.older = older,
            None => self.newest = older,
        }
        match self.slots.get_mut(at(older)) {
            Some(slot) => slot.newer = newer,
            None => self.oldest = newer,
        }
    }

    fn grow(&mut self) {
        self.buckets = vec![NONE; self.buckets.len() * 2];
        let mut index = self.newest;
        while let Some(slot) = self.slots.get(at(index)) {
            let (bucket, older) = (self.bucket(slot.hash), slot.older);
            self.slots[at(index)].next = std::mem::replace(&mut self.buckets[bucket], index);
            index = older;
        }
    }
}
