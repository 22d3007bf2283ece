//! Lists: `lpush`, `rpush`, `lpop`, `rpop`, `llen`.

use crate::shdict::slab::Page;
use crate::shdict::store::{Found, NODE, Store};
use crate::shdict::table::{Entry, Kind, Place};
use crate::shdict::{End, Error};
use std::collections::VecDeque;

/// An element of a list.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// A string.
    Text(Box<[u8]>),
    /// A number.
    Number(f64),
}

/// A list's elements, each with where it is in the zone.
pub type Items = VecDeque<(Item, Page)>;

/// Bytes of an element's links, length and type.
const ITEM_HEAD: usize = 21;
/// Bytes of a list's head, behind the key.
const LIST_HEAD: usize = 16;

impl Item {
    /// Bytes that the element takes in a zone.
    pub(super) fn size(&self) -> usize {
        ITEM_HEAD
            + match self {
                Self::Text(text) => text.len(),
                Self::Number(_) => 8,
            }
    }
}

/// Bytes that a list's entry takes in a zone, without elements.
pub(super) const fn entry_size(key_len: usize) -> usize {
    (NODE + key_len + LIST_HEAD).next_multiple_of(8)
}

impl Store {
    /// See [`crate::shdict::Dict::push`].
    pub(super) fn push(
        &mut self,
        key: &[u8],
        end: End,
        item: Item,
        now_ms: u64,
    ) -> Result<usize, Error> {
        self.drop_oldest(false, now_ms);
        let place = match self.lookup(key, now_ms) {
            Found::Live(place) => place,
            Found::Expired(place) => {
                self.remove(place);
                self.new_list(key)?
            }
            Found::Nothing => self.new_list(key)?,
        };
        let Kind::List(items) = &mut self.table.entry_mut(place).kind else {
            return Err(Error::ValueNotAList);
        };
        let Some(page) = self.slab.alloc(item.size()) else {
            if items.is_empty() {
                self.remove(place);
            }
            return Err(Error::NoMemory);
        };
        match end {
            End::Left => items.push_front((item, page)),
            End::Right => items.push_back((item, page)),
        }
        Ok(items.len())
    }

    fn new_list(&mut self, key: &[u8]) -> Result<Place, Error> {
        let page = self.slab.alloc(entry_size(key.len())).ok_or(Error::NoMemoryForList)?;
        let kind = Kind::List(Items::new());
        let entry = Entry { bytes: key.into(), key_len: key.len(), kind, page, ..Entry::default() };
        Ok(self.table.insert(entry))
    }

    /// See [`crate::shdict::Dict::pop_if`].
    pub(super) fn pop_if(
        &mut self,
        key: &[u8],
        end: End,
        now_ms: u64,
        is_wanted: impl FnOnce(&Item) -> bool,
    ) -> Result<Option<Item>, Error> {
        self.drop_oldest(false, now_ms);
        let Found::Live(place) = self.lookup(key, now_ms) else { return Ok(None) };
        let Kind::List(items) = &mut self.table.entry_mut(place).kind else {
            return Err(Error::ValueNotAList);
        };
        let first = match end {
            End::Left => items.front(),
            End::Right => items.back(),
        };
        if !first.is_some_and(|(item, _)| is_wanted(item)) {
            return Ok(None);
        }
        let item = match end {
            End::Left => items.pop_front(),
            End::Right => items.pop_back(),
        };
        let is_empty = items.is_empty();
        if let Some((item, page)) = &item {
            self.slab.free(item.size(), *page);
        }
        if is_empty {
            self.remove(place);
        }
        Ok(item.map(|(item, _)| item))
    }

    /// See [`crate::shdict::Dict::list_len`].
    pub(super) fn list_len(&mut self, key: &[u8], now_ms: u64) -> Result<usize, Error> {
        self.drop_oldest(false, now_ms);
        let Found::Live(place) = self.lookup(key, now_ms) else { return Ok(0) };
        match &self.table.entry(place).kind {
            Kind::List(items) => Ok(items.len()),
            _ => Err(Error::ValueNotAList),
        }
    }
}
