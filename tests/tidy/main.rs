//! The rules of the codebase that neither rustc nor clippy checks: layers, homes of `unsafe` and of
//! foreign types, sizes, names, dead files, what may not be left behind.
//!
//! It reads text, not syntax: that takes milliseconds, and a rule that needs a parser to be
//! understood would not be a rule for people.

mod rules;
mod sources;

use rules::{Faults, begins_a_path};
use sources::{File, Tree, root, tracked_files};
use std::fs;
use std::path::Path;

/// Top-level modules, lowest first: a module imports only from rows above its own in this table
/// (`src/README.md` says what each is for).
const LAYERS: &[&[&str]] = &[
    &["sys"],
    &["clock"],
    &["metrics", "log"],
    &["http", "regex", "shdict", "config"],
    &["resolver", "vars", "tls"],
    &["cosocket", "upstream", "rollout", "limits"],
    &["snapshot"],
    &["request"],
    &["lua", "downstream"],
    &["proxy"],
    &["worker"],
    &["control"],
    &["admin"],
    &["app"],
    &["cli"],
];

/// Where `unsafe` may be written.
const UNSAFE_HOMES: &[&str] = &["src/lua/ffi/", "src/sys/"];

/// Crates whose types only these modules may know.
const CRATE_HOMES: &[(&str, &[&str])] =
    &[("pingora", &["request", "downstream", "proxy", "worker", "app"]), ("mlua", &["lua"])];

/// The one file that reads std's clocks.
const CLOCK: &str = "src/clock.rs";

/// Lines of code a file may hold; its tests do not count.
const LINES_PER_FILE: usize = 400;
const COLUMNS: usize = 100;

/// Words that say nothing in the name of an item or a file.
const EMPTY_WORDS: &[&str] =
    &["manager", "helper", "util", "utils", "common", "misc", "data", "info", "impl", "process"];

/// These speak OpenResty's own names: `get_body_data`, `get_stale`.
const OPENRESTY_NAMED: &[&str] = &["src/lua/", "src/shdict/"];

/// Text that a finished change does not hold, and what to do instead.
const LEFTOVERS: &[(&str, &str)] = &[
    ("todo!(", "finish it"),
    ("unimplemented!(", "finish it"),
    ("dbg!(", "remove it"),
    ("FIXME", "fix it"),
    ("#[ignore", "a test runs or is not there"),
    ("#[allow(", "say `#[expect(…, reason = \"…\")]`"),
    ("#![allow(", "say `#![expect(…, reason = \"…\")]`"),
];

/// Faults that are forgiven, by how they begin, each with its reason. A row is a debt.
const EXCUSED: &[(&str, &str)] =
    &[("src/worker/digest.rs:", "it implements traits of pingora, whose methods are `get_…`")];

/// What each file is asked.
const FILE_RULES: [fn(&File, &mut Faults); 5] =
    [rules::shape, rules::leftovers, rules::layers, rules::homes, rules::names];

#[test]
fn sources_keep_the_rules() {
    let tree = Tree::read();
    let mut faults = Faults::default();
    for file in tree.files.values() {
        rules::shape(file, &mut faults);
        rules::leftovers(file, &mut faults);
        if file.path.starts_with("src/") && !file.is_test {
            rules::layers(file, &mut faults);
            rules::homes(file, &mut faults);
            rules::names(file, &mut faults);
        }
    }
    rules::dead_files(&tree, &mut faults);
    rules::unused(&tree, &mut faults);
    let map = fs::read_to_string(root().join("src/README.md")).expect("it is UTF-8");
    rules::map(&tree, &map, &mut faults);
    faults.judge();
}

/// What is published must not tell on whose machine it was made, nor pin anybody's mirror.
#[test]
fn tracked_files_name_no_machine() {
    let mut faults = Faults::default();
    let folders = ["work", "root", "home", "Users"].map(|it| format!("/{it}/"));
    // In parts: this file is looked at as well.
    let registries: [&[&str]; 5] = [
        &["index", "crates", "io"],
        &["static", "crates", "io"],
        &["registry", "npmjs", "org"],
        &["pypi", "org"],
        &["proxy", "golang", "org"],
    ];
    let registries = registries.map(|it| it.join("."));
    for path in tracked_files().into_iter().filter(|it| it != Path::new("Cargo.lock")) {
        let Ok(text) = fs::read_to_string(root().join(&path)) else { continue };
        let shown = path.to_string_lossy();
        for (index, line) in text.lines().enumerate() {
            for folder in folders.iter().filter(|it| begins_a_path(line, it)) {
                faults.add(&shown, index, format!("names a folder of one machine, `{folder}`"));
            }
            for host in registries.iter().filter(|it| line.contains(it.as_str())) {
                faults.add(&shown, index, format!("names a package registry, `{host}`"));
            }
        }
    }
    faults.judge();
}

/// The rules find what they are for: each line is a file with one fault.
#[test]
fn rules_find_their_faults() {
    let cases = [
        ("src/vars/x.rs", "//! X.\nuse crate::lua::Vm;\n", "`vars` must not know `lua`"),
        ("src/vars/x.rs", "//! X.\nuse crate::resolver;\n", "`vars` must not know `resolver`"),
        ("src/vars/x.rs", "//! X.\nuse crate::{http, log};\n", "one module a line"),
        ("src/vars/x.rs", "//! X.\nuse super::super::y;\n", "instead of climbing"),
        ("src/vars/x.rs", "//! X.\nfn f() { unsafe { g() } }\n", "`unsafe` lives in"),
        ("src/vars/x.rs", "//! X.\nuse std::time::Instant;\n", "time is read in"),
        ("src/vars/x.rs", "//! X.\nuse mlua::Lua;\n", "`mlua`'s types"),
        ("src/vars/x.rs", "//! X.\nstruct PeerInfo;\n", "`info` says nothing"),
        ("src/vars/x.rs", "//! X.\npub fn get_it() {}\n", "say what it does"),
        ("src/vars/util.rs", "//! X.\n", "`util` says nothing"),
        ("src/vars/x.rs", "fn f() {}\n", "begin with `//!`"),
        ("src/vars/x.rs", "//! X.\nfn f() { dbg!(1); }\n", "`dbg!(` is left"),
    ];
    for (path, text, expected) in cases {
        let file = File { path: path.into(), text: text.into(), is_test: false };
        let mut faults = Faults::default();
        for rule in FILE_RULES {
            rule(&file, &mut faults);
        }
        assert!(
            faults.0.len() == 1 && faults.0[0].contains(expected),
            "{text:?} gave {:?}, expected {expected:?}",
            faults.0
        );
    }
    let fine = "//! X.\nuse crate::http::Uri;\n\n#[cfg(test)]\nmod tests {\n    use super::*;\n}\n";
    let file = File { path: "src/vars/x.rs".into(), text: fine.into(), is_test: false };
    let mut faults = Faults::default();
    for rule in FILE_RULES {
        rule(&file, &mut faults);
    }
    assert!(faults.0.is_empty(), "{:?}", faults.0);
    assert!(begins_a_path("see /etc/x", "/etc/") && !begins_a_path("conf/etc/x", "/etc/"));
}

/// So do those of the tree.
#[test]
fn what_nobody_uses_or_finds_is_told() {
    let file = |path: &str, text: &str| {
        (path.to_owned(), File { path: path.into(), text: text.into(), is_test: false })
    };
    let files = [
        file("src/x.rs", "pub fn dead() {}\npub fn alive() {}\n#[cfg(test)]\npub fn eye() {}\n"),
        file("src/y.rs", "fn f() { alive(); }\n#[cfg(test)]\nmod tests {\n dead(); }\n"),
    ];
    let tree = Tree { files: files.into(), declared: Default::default() };
    let mut faults = Faults::default();
    rules::unused(&tree, &mut faults);
    rules::map(&tree, "`{x,z}.rs` and\n`src/y.rs`, `w.rs`", &mut faults);
    let expected = [
        "src/x.rs:1: nothing but a test uses `dead`",
        "src/README.md:1: there is no `z.rs`",
        "src/README.md:2: there is no `w.rs`",
    ];
    assert_eq!(faults.0, expected);
}
