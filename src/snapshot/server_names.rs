//! `server_name`: host -> server, in nginx's order of kinds.

use super::ServerId;
use super::program::CapturingRegex;
use foldhash::HashMap;
use foldhash::HashMapExt;

/// Wildcard names: `*.example.org` by suffix and `www.example.*` by prefix.
#[derive(Debug)]
pub struct Wildcards<T> {
    /// `.example.org` -> value.
    suffixes: HashMap<Box<[u8]>, T>,
    /// `www.example.` -> value.
    prefixes: HashMap<Box<[u8]>, T>,
}

impl<T> Default for Wildcards<T> {
    fn default() -> Self {
        Self { suffixes: HashMap::new(), prefixes: HashMap::new() }
    }
}

impl<T> Wildcards<T> {
    /// Adds `.example.org`; `false` if it is there already.
    pub fn add_suffix(&mut self, suffix: &[u8], value: T) -> bool {
        Self::add(&mut self.suffixes, suffix, value)
    }

    /// Adds `www.example.`; `false` if it is there already.
    pub fn add_prefix(&mut self, prefix: &[u8], value: T) -> bool {
        Self::add(&mut self.prefixes, prefix, value)
    }

    /// The first one stays.
    fn add(map: &mut HashMap<Box<[u8]>, T>, text: &[u8], value: T) -> bool {
        let is_new = !map.contains_key(text);
        map.entry(text.into()).or_insert(value);
        is_new
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.suffixes.is_empty() && self.prefixes.is_empty()
    }

    /// The longest matching suffix wildcard, else the longest matching prefix wildcard.
    pub fn find(&self, host: &[u8]) -> Option<&T> {
        let dots = |host: &[u8]| -> Vec<usize> {
            host.iter().enumerate().filter(|(_, it)| **it == b'.').map(|(at, _)| at).collect()
        };
        if self.is_empty() {
            return None;
        }
        let dots = dots(host);
        // A wildcard stands for at least one character.
        let suffix =
            dots.iter().filter(|at| **at > 0).find_map(|at| self.suffixes.get(&host[*at..]));
        suffix.or_else(|| {
            let inner = dots.iter().rev().filter(|at| **at + 1 < host.len());
            inner.into_iter().find_map(|at| self.prefixes.get(&host[..=*at]))
        })
    }
}

/// The servers behind one listener.
#[derive(Debug, Default)]
pub struct ServerNames {
    /// The one for unknown hosts.
    pub default: ServerId,
    /// Exact names, lower case.
    pub exact: HashMap<Box<[u8]>, ServerId>,
    /// Wildcards.
    pub wildcards: Wildcards<ServerId>,
    /// Regexes in order; their named captures become variables once the request exists.
    pub regexes: Vec<(CapturingRegex, ServerId)>,
}

impl ServerNames {
    /// The server for a host (lower case, no port): exact, longest `*.x`, longest `x.*`, first
    /// regex, default. The regex is given back so that the request can take its captures.
    pub fn find(&self, host: &[u8]) -> (ServerId, Option<&CapturingRegex>) {
        if let Some(id) = self.exact.get(host) {
            return (*id, None);
        }
        if let Some(id) = self.wildcards.find(host) {
            return (*id, None);
        }
        if !host.is_empty() {
            let found = self.regexes.iter().find(|(it, _)| it.regex.is_match(host));
            if let Some((regex, id)) = found {
                return (*id, Some(regex));
            }
        }
        (self.default, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_wildcard_wins() {
        let mut names = Wildcards::default();
        names.add_suffix(b".example.org", 1);
        names.add_suffix(b".www.example.org", 2);
        names.add_prefix(b"www.", 3);
        names.add_prefix(b"www.example.", 4);
        assert_eq!(names.find(b"a.www.example.org"), Some(&2));
        assert_eq!(names.find(b"b.example.org"), Some(&1));
        assert_eq!(names.find(b"example.org"), None);
        assert_eq!(names.find(b".example.org"), None);
        assert_eq!(names.find(b"www.example.com"), Some(&4));
        assert_eq!(names.find(b"www.other.com"), Some(&3));
    }
}
