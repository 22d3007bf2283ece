//! The lists beside the runner: `reference/SUITE.txt`, the blocks that real nginx passes, and
//! `expected.toml`, those of them that Moongate does not pass, each with its reason.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The suites, by their folders below `target/suites`, and what each is of.
pub const SUITES: [(&str, &str); 8] = [
    ("lua", "lua-nginx-module 0.10.23"),
    ("echo", "echo-nginx-module 0.63"),
    ("headers-more", "headers-more-nginx-module 0.34"),
    ("set-misc", "set-misc-nginx-module 0.33"),
    ("redis", "lua-resty-redis 0.27"),
    ("memcached", "lua-resty-memcached 0.14"),
    ("string", "lua-resty-string 0.11"),
    ("cookie", "lua-resty-cookie 0.1.0"),
];

/// A block: its suite, its file in the suite's `t/`, its name (`TEST 3` is `3`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Block {
    /// As in [`SUITES`].
    pub suite: String,
    /// `002-content.t`
    pub file: String,
    /// `3`, `12a`, or a name without blanks.
    pub name: String,
}

impl std::fmt::Display for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.suite, self.file, self.name)
    }
}

/// The blocks that real nginx passes, each with its tier: `A` and `B` judge the response, `C` asks
/// for words of nginx's debug log, too, `D` and `E` look at logs alone.
pub type Reference = BTreeMap<Block, char>;

/// A row of `expected.toml`.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// Why the blocks do not pass.
    pub reason: String,
    /// They pass at times, by chance: neither is a fault.
    pub sometimes: bool,
    /// The blocks.
    pub blocks: BTreeSet<Block>,
}

/// The folder of this file.
pub fn home() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance")
}

/// Reads `reference/SUITE.txt`: a line a file, `FILE TIER:NAMES TIER:NAMES…`.
pub fn reference(suite: &str) -> Reference {
    let path = reference_path(suite);
    let text = fs::read_to_string(&path).unwrap_or_default();
    let mut blocks = Reference::new();
    for line in text.lines().filter(|it| !it.starts_with('#')) {
        let mut words = line.split_whitespace();
        let Some(file) = words.next() else { continue };
        for word in words {
            let (tier, names) = word.split_once(':').expect("TIER:NAMES");
            let tier = tier.chars().next().expect("a tier is a letter");
            blocks.extend(spread(names).map(|name| (block(suite, file, name), tier)));
        }
    }
    blocks
}

/// Where the reference of a suite is.
pub fn reference_path(suite: &str) -> PathBuf {
    home().join("reference").join(format!("{suite}.txt"))
}

/// Reads `expected.toml`, of whose language it uses three lines: `[[not_passed]]`,
/// `reason = "…"` or `sometimes = true`, and `"SUITE/FILE" = "NAMES"`.
pub fn expected() -> Vec<Group> {
    let path = home().join("expected.toml");
    let text = fs::read_to_string(path).expect("expected.toml is there");
    let mut groups: Vec<Group> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line == "[[not_passed]]" {
            groups.push(Group::default());
            continue;
        }
        let group = groups.last_mut().expect("a line stands below [[not_passed]]");
        let (key, value) = line.split_once(" = ").expect("KEY = VALUE");
        let value = value.trim_matches('"');
        match key {
            "reason" => value.clone_into(&mut group.reason),
            "sometimes" => group.sometimes = value == "true",
            place => {
                let (suite, file) = place
                    .trim_matches('"')
                    .split_once('/')
                    .unwrap_or_else(|| panic!("expected.toml:{}: not \"SUITE/FILE\"", at + 1));
                let names = value.split(' ').flat_map(spread);
                group.blocks.extend(names.map(|name| block(suite, file, name)));
            }
        }
    }
    assert!(groups.iter().all(|it| !it.reason.is_empty()), "a group has no reason");
    groups
}

fn block(suite: &str, file: &str, name: String) -> Block {
    Block { suite: suite.to_owned(), file: file.to_owned(), name }
}

/// The names that `1-3,7a` stands for.
fn spread(names: &str) -> impl Iterator<Item = String> {
    names.split(',').flat_map(|it| {
        let ends = it.split_once('-').and_then(|(a, z)| Some((a.parse().ok()?, z.parse().ok()?)));
        match ends {
            Some((first, last)) => (first..=last).map(|it: u32| it.to_string()).collect(),
            None => vec![it.to_owned()],
        }
    })
}
