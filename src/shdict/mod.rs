//! `ngx.shared.DICT`: dictionaries that all workers share and that outlive reloads.
//!
//! One dictionary is one lock around a hash table, a list by age and the accounts of a memory zone
//! (`slab`). Every operation but those over all entries takes constant time. The rules, down to
//! which operation drops how many expired entries, are lua-nginx-module 0.10.23's: they decide
//! what `forcible`, `get_keys` and `"no memory"` say.
//!
//! One lock and not several shards: age and room are one per zone there, and scripts see both. An
//! operation holds it for 25 ns (`incr`) to 60 ns (`get`, `set` among 10,000 keys), so that all
//! workers together have some 17 million a second on one dictionary; two threads that do nothing
//! else get as many as one, and lose none by fighting for the lock.

mod evict;
mod list;
pub mod slab;
mod store;
pub mod table;

pub use list::Item;
pub use store::{Op, Value};

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use store::Store;

/// What an operation can fail with; the texts are OpenResty's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no room, and none could be made.
    #[error("no memory")]
    NoMemory,
    /// There is no room for a new list, not even an empty one. The text is the same, but Lua gets
    /// `false` and not nil before it.
    #[error("no memory")]
    NoMemoryForList,
    /// `add` of a key that is there.
    #[error("exists")]
    Exists,
    /// `replace`, `incr`, `ttl` or `expire` of a key that is not there.
    #[error("not found")]
    NotFound,
    /// `incr` of something else.
    #[error("not a number")]
    NotANumber,
    /// `get` of a list.
    #[error("value is a list")]
    ValueIsAList,
    /// A list operation on something else.
    #[error("value not a list")]
    ValueNotAList,
    /// `add` or `replace` with nil.
    #[error("attempt to add or replace nil values")]
    NilValue,
    /// A key without bytes.
    #[error("empty key")]
    EmptyKey,
    /// A key beyond 65535 bytes.
    #[error("key too long")]
    KeyTooLong,
}

/// Which end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// `lpush`, `lpop`.
    Left,
    /// `rpush`, `rpop`.
    Right,
}

/// Whether `key` may be one: 1 to 65535 bytes.
///
/// # Errors
/// [`Error::EmptyKey`], [`Error::KeyTooLong`].
pub const fn check_key(key: &[u8]) -> Result<(), Error> {
    match key.len() {
        0 => Err(Error::EmptyKey),
        1..=65535 => Ok(()),
        _ => Err(Error::KeyTooLong),
    }
}

/// A dictionary. Times are milliseconds since 1970 and come from the caller (`now_ms`, the
/// worker's cached clock); a `ttl_ms` of 0 means for ever.
#[derive(Debug)]
pub struct Dict {
    capacity: usize,
    store: Mutex<Store>,
}

impl Dict {
    /// An empty dictionary called `name` of `capacity` bytes (`lua_shared_dict name capacity`).
    pub fn new(name: &str, capacity: usize) -> Self {
        Self { capacity, store: Mutex::new(Store::new(name, capacity)) }
    }

    /// `dict:get`: what `read(value, flags)` makes of the value; `None` when there is none or it
    /// has expired. `read` runs under the lock and must not use this dictionary.
    ///
    /// # Errors
    /// [`Error::ValueIsAList`], [`Error::EmptyKey`], [`Error::KeyTooLong`].
    pub fn get_with<R>(
        &self,
        key: &[u8],
        now_ms: u64,
        read: impl FnOnce(Value<'_>, u32) -> R,
    ) -> Result<Option<R>, Error> {
        check_key(key)?;
        let mut store = self.store.lock();
        Ok(store.get(key, now_ms)?.map(|(value, flags)| read(value, flags)))
    }

    /// `dict:get_stale`: as [`Dict::get_with`], where `read(value, flags, is_stale)` gets expired
    /// values too.
    ///
    /// # Errors
    /// As [`Dict::get_with`].
    pub fn get_stale_with<R>(
        &self,
        key: &[u8],
        now_ms: u64,
        read: impl FnOnce(Value<'_>, u32, bool) -> R,
    ) -> Result<Option<R>, Error> {
        check_key(key)?;
        let mut store = self.store.lock();
        let found = store.get_stale(key, now_ms)?;
        Ok(found.map(|(value, flags, is_stale)| read(value, flags, is_stale)))
    }

    /// `dict:set`, `safe_set`, `add`, `safe_add`, `replace` by `op`, and `delete` with no value.
    /// Returns also whether entries that had not expired were dropped to make room (`forcible`).
    pub fn store(
        &self,
        op: Op,
        key: &[u8],
        value: Option<Value<'_>>,
        ttl_ms: u64,
        flags: u32,
        now_ms: u64,
    ) -> (Result<(), Error>, bool) {
        if let Err(error) = check_key(key) {
            return (Err(error), false);
        }
        let mut forcible = false;
        let stored = self.store.lock().store(op, key, value, ttl_ms, flags, now_ms, &mut forcible);
        (stored, forcible)
    }

    /// `dict:incr`: adds `step` to a number, or to `init` (initial value, `ttl_ms`) where there is
    /// none. Returns the new value and `forcible`.
    ///
    /// # Errors
    /// [`Error::NotFound`] without `init`, [`Error::NotANumber`], [`Error::NoMemory`], a bad key.
    pub fn incr(
        &self,
        key: &[u8],
        step: f64,
        init: Option<(f64, u64)>,
        now_ms: u64,
    ) -> Result<(f64, bool), Error> {
        check_key(key)?;
        self.store.lock().incr(key, step, init, now_ms)
    }

    /// `dict:lpush`, `rpush`: returns the list's new length. Drops nothing to make room.
    ///
    /// # Errors
    /// [`Error::ValueNotAList`], [`Error::NoMemory`], [`Error::NoMemoryForList`], a bad key.
    pub fn push(&self, key: &[u8], end: End, item: Item, now_ms: u64) -> Result<usize, Error> {
        check_key(key)?;
        self.store.lock().push(key, end, item, now_ms)
    }

    /// `dict:lpop`, `rpop`: a list that becomes empty is deleted.
    ///
    /// # Errors
    /// [`Error::ValueNotAList`], a bad key.
    pub fn pop(&self, key: &[u8], end: End, now_ms: u64) -> Result<Option<Item>, Error> {
        self.pop_if(key, end, now_ms, |_| true)
    }

    /// The same, if the element is wanted: else it stays.
    ///
    /// # Errors
    /// As [`Self::pop`].
    pub fn pop_if(
        &self,
        key: &[u8],
        end: End,
        now_ms: u64,
        is_wanted: impl FnOnce(&Item) -> bool,
    ) -> Result<Option<Item>, Error> {
        check_key(key)?;
        self.store.lock().pop_if(key, end, now_ms, is_wanted)
    }

    /// `dict:llen`: 0 when there is none.
    ///
    /// # Errors
    /// [`Error::ValueNotAList`], a bad key.
    pub fn list_len(&self, key: &[u8], now_ms: u64) -> Result<usize, Error> {
        check_key(key)?;
        self.store.lock().list_len(key, now_ms)
    }

    /// `dict:ttl` in milliseconds: 0 for ever, negative when it has expired and is still there.
    ///
    /// # Errors
    /// [`Error::NotFound`], a bad key.
    pub fn ttl_ms(&self, key: &[u8], now_ms: u64) -> Result<i64, Error> {
        check_key(key)?;
        self.store.lock().ttl_ms(key, now_ms)
    }

    /// `dict:expire`; revives what has expired and is still there.
    ///
    /// # Errors
    /// [`Error::NotFound`], a bad key.
    pub fn expire(&self, key: &[u8], ttl_ms: u64, now_ms: u64) -> Result<(), Error> {
        check_key(key)?;
        self.store.lock().expire(key, ttl_ms, now_ms)
    }

    /// `dict:flush_all`: marks all as expired.
    pub fn flush_all(&self, now_ms: u64) {
        self.store.lock().flush_all(now_ms);
    }

    /// `dict:flush_expired`: frees at most `max` expired entries, 0 for all; returns how many.
    pub fn flush_expired(&self, max: usize, now_ms: u64) -> usize {
        self.store.lock().flush_expired(max, now_ms)
    }

    /// `dict:get_keys`: at most `max` keys, 0 for all, the least recently used first.
    pub fn keys(&self, max: usize, now_ms: u64) -> Vec<Box<[u8]>> {
        self.store.lock().keys(max, now_ms)
    }

    /// `dict:capacity`: bytes as configured.
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// `dict:free_space`: bytes of pages that nothing is in; 0 does not mean that it is full.
    pub fn free_space(&self) -> usize {
        self.store.lock().free_space()
    }
}

/// The dictionaries of a configuration by name.
#[derive(Clone, Debug, Default)]
pub struct Dicts(HashMap<Box<str>, Arc<Dict>>);

impl Dicts {
    /// The dictionaries for a new configuration that wants these (name, capacity). As in nginx, one
    /// of the same name and capacity is the same with its contents; another capacity makes a new,
    /// empty one; one that is not wanted is dropped with the last that uses it. `self` is left as
    /// it is, so that a reload that fails has changed nothing.
    #[must_use]
    pub fn reloaded<'a>(&self, wanted: impl IntoIterator<Item = (&'a str, usize)>) -> Self {
        let dict = |(name, capacity): (&'a str, usize)| {
            let kept = self.0.get(name).filter(|it| it.capacity() == capacity);
            let dict = kept.cloned().unwrap_or_else(|| Arc::new(Dict::new(name, capacity)));
            (name.into(), dict)
        };
        Self(wanted.into_iter().map(dict).collect())
    }

    /// The dictionary called `name`.
    pub fn get(&self, name: &str) -> Option<&Arc<Dict>> {
        self.0.get(name)
    }

    /// All dictionaries with their names, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Arc<Dict>)> {
        self.0.iter().map(|(name, dict)| (&**name, dict))
    }
}

#[cfg(test)]
mod tests;
