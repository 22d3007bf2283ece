//! Values: get, set and its kin, incr, ttl.

use crate::shdict::Error;
use crate::shdict::list;
use crate::shdict::slab::Slab;
use crate::shdict::table::{Entry, Kind, Place, Table};

/// A value to store, or one that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// A string.
    Text(&'a [u8]),
    /// A number.
    Number(f64),
    /// A boolean.
    Boolean(bool),
}

impl Value<'_> {
    /// Bytes of the value in a zone.
    const fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Number(_) => 8,
            Self::Boolean(_) => 1,
        }
    }
}

/// Which of the storing operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// `set`; without a value `delete`.
    Set,
    /// `safe_set`: drops nothing to make room.
    SafeSet,
    /// `add`: only if it is not there.
    Add,
    /// `safe_add`.
    SafeAdd,
    /// `replace`: only if it is there.
    Replace,
}

/// What a lookup found.
#[derive(Clone, Copy, Debug)]
pub(super) enum Found {
    Live(Place),
    Expired(Place),
    Nothing,
}

/// Bytes that an entry takes in a zone besides key and value: its node in the tree and its head.
pub(super) const NODE: usize = 68;

/// A dictionary's contents and accounts.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) table: Table,
    pub(super) slab: Slab,
}

impl Store {
    pub(super) fn new(name: &str, capacity: usize) -> Self {
        Self { table: Table::new(), slab: Slab::new(name, capacity) }
    }

    /// Finds `key` and makes it the newest, even if it has expired.
    pub(super) fn lookup(&mut self, key: &[u8], now_ms: u64) -> Found {
        let Some(place) = self.table.find(key) else { return Found::Nothing };
        self.table.touch(place);
        let expires_ms = self.table.entry(place).expires_ms;
        if expires_ms != 0 && expires_ms < now_ms {
            Found::Expired(place)
        } else {
            Found::Live(place)
        }
    }

    /// Takes an entry out and gives its memory back.
    pub(super) fn remove(&mut self, place: Place) {
        let entry = self.table.remove(place);
        match &entry.kind {
            Kind::Text => self.slab.free(NODE + entry.bytes.len(), entry.page),
            Kind::Number(_) => self.slab.free(NODE + entry.key_len + 8, entry.page),
            Kind::Boolean(_) => self.slab.free(NODE + entry.key_len + 1, entry.page),
            Kind::List(items) => {
                items.iter().for_each(|(item, page)| self.slab.free(item.size(), *page));
                self.slab.free(list::entry_size(entry.key_len), entry.page);
            }
        }
    }

    /// See [`crate::shdict::Dict::get_with`].
    pub(super) fn get(
        &mut self,
        key: &[u8],
        now_ms: u64,
    ) -> Result<Option<(Value<'_>, u32)>, Error> {
        self.drop_oldest(false, now_ms);
        match self.lookup(key, now_ms) {
            Found::Live(place) => value_of(self.table.entry(place)).map(Some),
            Found::Expired(_) | Found::Nothing => Ok(None),
        }
    }

    /// See [`crate::shdict::Dict::get_stale_with`].
    pub(super) fn get_stale(
        &mut self,
        key: &[u8],
        now_ms: u64,
    ) -> Result<Option<(Value<'_>, u32, bool)>, Error> {
        let (place, is_stale) = match self.lookup(key, now_ms) {
            Found::Live(place) => (place, false),
            Found::Expired(place) => (place, true),
            Found::Nothing => return Ok(None),
        };
        let (value, flags) = value_of(self.table.entry(place))?;
        Ok(Some((value, flags, is_stale)))
    }

    /// See [`crate::shdict::Dict::store`].
    #[expect(clippy::too_many_arguments, reason = "they are the operation's own")]
    pub(super) fn store(
        &mut self,
        op: Op,
        key: &[u8],
        value: Option<Value<'_>>,
        ttl_ms: u64,
        flags: u32,
        now_ms: u64,
        forcible: &mut bool,
    ) -> Result<(), Error> {
        if value.is_none() && !matches!(op, Op::Set | Op::SafeSet) {
            return Err(Error::NilValue);
        }
        self.drop_oldest(false, now_ms);
        let old = match (op, self.lookup(key, now_ms)) {
            (Op::Replace, Found::Expired(_) | Found::Nothing) => return Err(Error::NotFound),
            (Op::Add | Op::SafeAdd, Found::Live(_)) => return Err(Error::Exists),
            (_, Found::Live(place) | Found::Expired(place)) => Some(place),
            (_, Found::Nothing) => None,
        };
        let expires_ms = expiry(ttl_ms, now_ms);
        if let Some(place) = old {
            if let Some(value) = value
                && overwrite(self.table.entry_mut(place), value)
            {
                let entry = self.table.entry_mut(place);
                (entry.expires_ms, entry.flags) = (expires_ms, flags);
                return Ok(());
            }
            self.remove(place);
        }
        let Some(value) = value else { return Ok(()) };
        let size = NODE + key.len() + value.len();
        let page = if matches!(op, Op::SafeSet | Op::SafeAdd) {
            self.slab.alloc(size)
        } else {
            self.make_room(size, forcible, now_ms)
        };
        let page = page.ok_or(Error::NoMemory)?;
        self.table.insert(Entry { expires_ms, flags, page, ..new_entry(key, value) });
        Ok(())
    }

    /// See [`crate::shdict::Dict::incr`].
    pub(super) fn incr(
        &mut self,
        key: &[u8],
        step: f64,
        init: Option<(f64, u64)>,
        now_ms: u64,
    ) -> Result<(f64, bool), Error> {
        self.drop_oldest(false, now_ms);
        let found = self.lookup(key, now_ms);
        if let Found::Live(place) = found {
            let Kind::Number(number) = &mut self.table.entry_mut(place).kind else {
                return Err(Error::NotANumber);
            };
            *number += step;
            return Ok((*number, false));
        }
        let (init, ttl_ms) = init.ok_or(Error::NotFound)?;
        let number = init + step;
        if let Found::Expired(place) = found {
            self.remove(place);
        }
        let mut forcible = false;
        let size = NODE + key.len() + 8;
        let page = self.make_room(size, &mut forcible, now_ms).ok_or(Error::NoMemory)?;
        let expires_ms = expiry(ttl_ms, now_ms);
        self.table.insert(Entry { expires_ms, page, ..new_entry(key, Value::Number(number)) });
        Ok((number, forcible))
    }

    /// See [`crate::shdict::Dict::ttl_ms`].
    pub(super) fn ttl_ms(&self, key: &[u8], now_ms: u64) -> Result<i64, Error> {
        let place = self.table.find(key).ok_or(Error::NotFound)?;
        match self.table.entry(place).expires_ms {
            0 => Ok(0),
            expires_ms => Ok(expires_ms.wrapping_sub(now_ms).cast_signed()),
        }
    }

    /// See [`crate::shdict::Dict::expire`].
    pub(super) fn expire(&mut self, key: &[u8], ttl_ms: u64, now_ms: u64) -> Result<(), Error> {
        let place = self.table.find(key).ok_or(Error::NotFound)?;
        self.table.entry_mut(place).expires_ms = expiry(ttl_ms, now_ms);
        Ok(())
    }
}

const fn expiry(ttl_ms: u64, now_ms: u64) -> u64 {
    if ttl_ms == 0 { 0 } else { now_ms.saturating_add(ttl_ms) }
}

fn value_of(entry: &Entry) -> Result<(Value<'_>, u32), Error> {
    let value = match entry.kind {
        Kind::Text => Value::Text(entry.text()),
        Kind::Number(number) => Value::Number(number),
        Kind::Boolean(boolean) => Value::Boolean(boolean),
        Kind::List(_) => return Err(Error::ValueIsAList),
    };
    Ok((value, entry.flags))
}

fn new_entry(key: &[u8], value: Value<'_>) -> Entry {
    let (bytes, kind) = match value {
        Value::Text(text) => ([key, text].concat().into(), Kind::Text),
        Value::Number(number) => (key.into(), Kind::Number(number)),
        Value::Boolean(boolean) => (key.into(), Kind::Boolean(boolean)),
    };
    Entry { bytes, key_len: key.len(), kind, ..Entry::default() }
}

/// Puts `value` in the place of one of the same kind and size, without allocating.
fn overwrite(entry: &mut Entry, value: Value<'_>) -> bool {
    match (&mut entry.kind, value) {
        (Kind::Text, Value::Text(text)) if text.len() == entry.bytes.len() - entry.key_len => {
            entry.bytes[entry.key_len..].copy_from_slice(text);
        }
        (Kind::Number(old), Value::Number(number)) => *old = number,
        (Kind::Boolean(old), Value::Boolean(boolean)) => *old = boolean,
        _ => return false,
    }
    true
}
