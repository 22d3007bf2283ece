//! Locations of a server: a URI's, by nginx's rules, in time that does not grow with their number
//! (regexes aside, which are tried in order as in nginx).

use super::LocationId;
use super::program::CapturingRegex;
use std::collections::HashMap;

/// What a search found.
#[derive(Debug)]
pub enum Found<'a> {
    /// This location.
    Location(LocationId),
    /// This location, by a regex whose captures the request takes.
    Regex(LocationId, &'a CapturingRegex),
    /// The prefix location `/x/` of a proxied `/x`: redirect to it (nginx's auto redirect).
    AddSlash(LocationId),
    /// None.
    Nothing,
}

/// One level of locations: a server's, or those nested in a location.
#[derive(Debug, Default)]
pub struct Router {
    exact: HashMap<Box<[u8]>, LocationId>,
    prefixes: Prefixes,
    regexes: Vec<(CapturingRegex, LocationId)>,
    named: HashMap<Box<[u8]>, LocationId>,
    nested: HashMap<LocationId, Router>,
}

#[derive(Debug, Clone, Copy)]
struct Prefix {
    location: LocationId,
    skips_regexes: bool,
    adds_slash: bool,
}

/// Prefix locations sorted by text; each knows its longest proper prefix among the others.
#[derive(Debug, Default)]
struct Prefixes {
    sorted: Vec<(Box<[u8]>, Prefix)>,
    parents: Vec<Option<u32>>,
}

impl Prefixes {
    fn insert(&mut self, text: &[u8], prefix: Prefix) {
        let at = self.sorted.partition_point(|(it, _)| **it < *text);
        self.sorted.insert(at, (text.into(), prefix));
        self.parents = (0..self.sorted.len())
            .map(|index| {
                let text = &self.sorted[index].0;
                let before = (0..index).rev().find(|it| text.starts_with(&self.sorted[*it].0));
                before.and_then(|it| u32::try_from(it).ok())
            })
            .collect();
    }

    /// The longest prefix of `uri`: the last text not after it, or one of that text's prefixes.
    fn longest(&self, uri: &[u8]) -> Option<&(Box<[u8]>, Prefix)> {
        let mut at = self.sorted.partition_point(|(it, _)| **it <= *uri).checked_sub(1);
        while let Some(index) = at {
            if uri.starts_with(&self.sorted[index].0) {
                return self.sorted.get(index);
            }
            at = self.parents[index].map(|it| it as usize);
        }
        None
    }

    fn get(&self, text: &[u8]) -> Option<&Prefix> {
        let found = self.sorted.binary_search_by(|(it, _)| (**it).cmp(text)).ok()?;
        Some(&self.sorted[found].1)
    }
}

impl Router {
    /// Adds `= URI`.
    pub fn add_exact(&mut self, uri: &[u8], location: LocationId) {
        self.exact.insert(uri.into(), location);
    }

    /// Adds `URI` or `^~ URI`; `adds_slash` for one that ends in `/` and proxies.
    pub fn add_prefix(
        &mut self,
        uri: &[u8],
        location: LocationId,
        skips_regexes: bool,
        adds_slash: bool,
    ) {
        self.prefixes.insert(uri, Prefix { location, skips_regexes, adds_slash });
    }

    /// Adds `~` or `~*`.
    pub fn add_regex(&mut self, regex: CapturingRegex, location: LocationId) {
        self.regexes.push((regex, location));
    }

    /// Adds `@NAME` (without `@`).
    pub fn add_named(&mut self, name: &[u8], location: LocationId) {
        self.named.insert(name.into(), location);
    }

    /// The locations nested in `location`.
    pub fn nest(&mut self, location: LocationId, router: Router) {
        self.nested.insert(location, router);
    }

    /// The location called `@name`.
    pub fn named(&self, name: &[u8]) -> Option<LocationId> {
        self.named.get(name).copied()
    }

    /// The location for a normalised URI.
    pub fn find(&self, uri: &[u8]) -> Found<'_> {
        match self.search(uri) {
            (Found::Nothing, _) => Found::Nothing,
            (found, _) => found,
        }
    }

    /// What was found here or deeper, and whether regexes further out must not be tried.
    fn search(&self, uri: &[u8]) -> (Found<'_>, bool) {
        if let Some(location) = self.exact.get(uri) {
            return (Found::Location(*location), true);
        }
        if let Some(found) = self.slash_for(uri) {
            return (found, true);
        }
        let mut best = Found::Nothing;
        let mut skip = false;
        if let Some((_, prefix)) = self.prefixes.longest(uri) {
            best = Found::Location(prefix.location);
            skip = prefix.skips_regexes;
            if let Some(nested) = self.nested.get(&prefix.location) {
                let (found, settled) = nested.search(uri);
                if !matches!(found, Found::Nothing) {
                    best = found;
                }
                if settled {
                    return (best, true);
                }
            }
        }
        if skip {
            return (best, true);
        }
        match self.regexes.iter().find(|(it, _)| it.regex.is_match(uri)) {
            Some((regex, location)) => (self.within_regex(uri, regex, *location), true),
            None => (best, false),
        }
    }

    /// `/x` where only `/x/` proxies.
    fn slash_for(&self, uri: &[u8]) -> Option<Found<'_>> {
        if self.prefixes.get(uri).is_some() {
            return None;
        }
        let prefix = self.prefixes.get(&[uri, b"/"].concat())?;
        prefix.adds_slash.then_some(Found::AddSlash(prefix.location))
    }

    fn within_regex<'a>(
        &'a self,
        uri: &[u8],
        regex: &'a CapturingRegex,
        location: LocationId,
    ) -> Found<'a> {
        let nested = self.nested.get(&location).map(|it| it.search(uri).0);
        match nested {
            Some(Found::Nothing) | None => Found::Regex(location, regex),
            Some(found) => found,
        }
    }
}
