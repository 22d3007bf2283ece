//! Locations of a server: a URI's, by nginx's rules, in time that does not grow with their number
//! (regexes aside, which are tried in order as in nginx).

use super::LocationId;
use super::program::CapturingRegex;
use foldhash::HashMap;

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
    /// Exact locations that end in `/` and proxy, by their URI without it.
    slashed: HashMap<Box<[u8]>, LocationId>,
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

/// Prefix locations sorted by text.
#[derive(Debug, Default)]
struct Prefixes(Vec<(Box<[u8]>, Prefix)>);

impl Prefixes {
    fn insert(&mut self, text: &[u8], prefix: Prefix) {
        let at = self.0.partition_point(|(it, _)| **it < *text);
        self.0.insert(at, (text.into(), prefix));
    }

    /// The longest prefix of `uri`. The last text that is not after `uri` has it for a prefix too,
    /// so what the two have in common is searched next, until one is found.
    fn longest(&self, uri: &[u8]) -> Option<&(Box<[u8]>, Prefix)> {
        let mut left = uri;
        loop {
            let at = self.0.partition_point(|(it, _)| **it <= *left).checked_sub(1)?;
            let (text, _) = &self.0[at];
            let common = text.iter().zip(left).take_while(|(one, other)| one == other).count();
            if common == text.len() {
                return self.0.get(at);
            }
            left = &left[..common];
        }
    }

    fn get(&self, text: &[u8]) -> Option<&Prefix> {
        let found = self.0.binary_search_by(|(it, _)| (**it).cmp(text)).ok()?;
        Some(&self.0[found].1)
    }
}

impl Router {
    /// Adds `= URI`; `adds_slash` as for a prefix.
    pub fn add_exact(&mut self, uri: &[u8], location: LocationId, adds_slash: bool) {
        self.exact.insert(uri.into(), location);
        if adds_slash && let Some(bare) = uri.strip_suffix(b"/") {
            self.slashed.insert(bare.into(), location);
        }
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
        if let Some(location) = self.slashed.get(uri) {
            return Some(Found::AddSlash(*location));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::regex::Regex;
    use std::sync::Arc;

    fn regex(text: &str) -> CapturingRegex {
        let regex = Regex::new(text.as_bytes(), false).expect("a regex of the test");
        CapturingRegex { regex: Arc::new(regex), named: Box::default() }
    }

    /// The number of the location for `uri`; `+` marks a redirect to the slash, `~` a regex.
    fn found(router: &Router, uri: &str) -> String {
        match router.find(uri.as_bytes()) {
            Found::Location(id) => id.to_string(),
            Found::Regex(id, _) => format!("~{id}"),
            Found::AddSlash(id) => format!("+{id}"),
            Found::Nothing => "-".into(),
        }
    }

    #[test]
    fn kinds_win_in_nginx_order() {
        let mut router = Router::default();
        router.add_prefix(b"/", 1, false, false);
        router.add_prefix(b"/images/", 2, true, false);
        router.add_exact(b"/images/logo.png", 3, false);
        router.add_regex(regex(r"\.png$"), 4);
        router.add_regex(regex(r"^/a"), 5);
        router.add_prefix(b"/api", 6, false, false);
        assert_eq!(found(&router, "/x"), "1");
        assert_eq!(found(&router, "/images/a.png"), "2");
        assert_eq!(found(&router, "/images/logo.png"), "3");
        assert_eq!(found(&router, "/b.png"), "~4");
        assert_eq!(found(&router, "/api"), "~5");
        assert_eq!(found(&Router::default(), "/"), "-");
    }

    #[test]
    fn the_longest_prefix_is_found_among_neighbours() {
        let mut router = Router::default();
        for (id, text) in ["/a", "/a/b", "/a/b/c", "/a/c", "/ab"].iter().enumerate() {
            let id = LocationId::try_from(id).expect("few locations");
            router.add_prefix(text.as_bytes(), id, false, false);
        }
        assert_eq!(found(&router, "/a/b/d"), "1");
        assert_eq!(found(&router, "/a/bz"), "1");
        assert_eq!(found(&router, "/a/z"), "0");
        assert_eq!(found(&router, "/a/b/c/d"), "2");
        assert_eq!(found(&router, "/abc"), "4");
        assert_eq!(found(&router, "/b"), "-");
    }

    #[test]
    fn thousands_of_prefixes_are_built_and_found() {
        let mut router = Router::default();
        for id in 0..20_000 {
            router.add_prefix(format!("/api/{id}").as_bytes(), id, false, false);
        }
        router.add_prefix(b"/", 20_000, false, false);
        assert_eq!(found(&router, "/api/19999/x"), "19999");
        assert_eq!(found(&router, "/api/1z"), "1");
        assert_eq!(found(&router, "/api/"), "20000");
        assert_eq!(found(&router, "/zzz"), "20000");
    }

    #[test]
    fn a_proxied_folder_redirects_to_its_slash() {
        let mut router = Router::default();
        router.add_prefix(b"/", 0, false, false);
        router.add_prefix(b"/dir/", 1, false, true);
        router.add_prefix(b"/files/", 2, false, false);
        assert_eq!(found(&router, "/dir"), "+1");
        assert_eq!(found(&router, "/dir/"), "1");
        assert_eq!(found(&router, "/files"), "0");
    }

    #[test]
    fn nested_locations_are_searched_first() {
        let mut inner = Router::default();
        inner.add_regex(regex(r"\.txt$"), 3);
        inner.add_prefix(b"/a/deep", 4, false, false);
        let mut router = Router::default();
        router.add_prefix(b"/a", 1, false, false);
        router.add_regex(regex("^/"), 2);
        router.nest(1, inner);
        assert_eq!(found(&router, "/a/x.txt"), "~3");
        assert_eq!(found(&router, "/a/deep"), "~2");
        assert_eq!(found(&router, "/b"), "~2");
    }
}
