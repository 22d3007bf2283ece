//! A worker's cache of compiled patterns, for the option `o`.

use std::rc::Rc;

/// A bounded cache by option letters and pattern that drops what was not used for longest. Of one
/// VM, so without locks. Looking up allocates nothing.
#[derive(Debug)]
pub struct Cache<T> {
    /// Few sets of letters occur, and each is looked up by its spelling.
    by_letters: Vec<(Box<[u8]>, Patterns<T>)>,
    max_entries: usize,
    len: usize,
    now: u64,
}

type Patterns<T> = foldhash::HashMap<Box<[u8]>, Entry<T>>;

#[derive(Debug)]
struct Entry<T> {
    value: Rc<T>,
    used: u64,
}

impl<T> Cache<T> {
    /// A cache of at most `max_entries` (`lua_regex_cache_max_entries`); 0 keeps nothing.
    pub const fn new(max_entries: usize) -> Self {
        Self { by_letters: Vec::new(), max_entries, len: 0, now: 0 }
    }

    /// What is kept for these option letters and this pattern.
    pub fn get(&mut self, letters: &[u8], pattern: &[u8]) -> Option<Rc<T>> {
        self.now += 1;
        let (_, patterns) = self.by_letters.iter_mut().find(|(it, _)| **it == *letters)?;
        let entry = patterns.get_mut(pattern)?;
        entry.used = self.now;
        Some(Rc::clone(&entry.value))
    }

    /// Keeps `value`, in the place of the entry not used for longest when there is no room.
    /// Returns whether it was kept.
    pub fn insert(&mut self, letters: &[u8], pattern: &[u8], value: Rc<T>) -> bool {
        if self.max_entries == 0 {
            return false;
        }
        self.now += 1;
        let entry = Entry { value, used: self.now };
        let known = self.by_letters.iter().position(|(it, _)| **it == *letters);
        let index = known.unwrap_or_else(|| {
            self.by_letters.push((letters.into(), Patterns::default()));
            self.by_letters.len() - 1
        });
        if self.by_letters[index].1.insert(pattern.into(), entry).is_none() {
            self.len += 1;
            if self.len > self.max_entries {
                self.evict();
            }
        }
        true
    }

    /// Drops the entry that was not used for longest. Walks over all: each walk is paid for by
    /// the compilation before it, which costs more.
    fn evict(&mut self) {
        let all = self.by_letters.iter_mut();
        let oldest = all
            .filter_map(|(_, patterns)| {
                let (pattern, entry) = patterns.iter().min_by_key(|(_, it)| it.used)?;
                Some((entry.used, pattern.clone(), patterns))
            })
            .min_by_key(|(used, ..)| *used);
        if let Some((_, pattern, patterns)) = oldest {
            patterns.remove(&pattern);
            self.len -= 1;
        }
    }

    /// How many entries there are.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_is_used() {
        let mut cache = Cache::new(2);
        assert!(cache.insert(b"jo", b"a", Rc::new(1)));
        cache.insert(b"o", b"a", Rc::new(2));
        assert_eq!(cache.get(b"jo", b"a").as_deref(), Some(&1));
        cache.insert(b"jo", b"b", Rc::new(3));
        assert_eq!(cache.get(b"o", b"a"), None);
        assert_eq!(cache.get(b"jo", b"a").as_deref(), Some(&1));
        assert_eq!(cache.get(b"jo", b"b").as_deref(), Some(&3));
        assert_eq!(cache.len(), 2);
    }

    #[test]
    fn replacing_takes_no_room_and_none_keeps_nothing() {
        let mut cache = Cache::new(1);
        cache.insert(b"o", b"a", Rc::new(1));
        cache.insert(b"o", b"a", Rc::new(2));
        assert_eq!((cache.get(b"o", b"a").as_deref(), cache.len()), (Some(&2), 1));
        let mut none = Cache::new(0);
        assert!(!none.insert(b"o", b"a", Rc::new(1)) && none.is_empty());
    }
}
