//! The rules of the codebase that neither rustc nor clippy checks: layers, homes of `unsafe` and of
//! foreign types, sizes, names, dead files, what may not be left behind.
//!
//! It reads text, not syntax: that takes milliseconds, and a rule that needs a parser to be
//! understood would not be a rule for people.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fmt, fs};

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

#[test]
fn sources_keep_the_rules() {
    let tree = Tree::read();
    let mut faults = Faults::default();
    for file in tree.files.values() {
        shape(file, &mut faults);
        leftovers(file, &mut faults);
        if file.path.starts_with("src/") && !file.is_test {
            layers(file, &mut faults);
            homes(file, &mut faults);
            names(file, &mut faults);
        }
    }
    dead_files(&tree, &mut faults);
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

/// Whether `line` holds an absolute path that begins with `folder`.
fn begins_a_path(line: &str, folder: &str) -> bool {
    let belongs_to_longer_path = |it: char| it.is_alphanumeric() || "_-.)}]>*~/".contains(it);
    line.match_indices(folder)
        .any(|(at, _)| !line[..at].chars().next_back().is_some_and(belongs_to_longer_path))
}

/// Module docs first, no long file, no long line.
fn shape(file: &File, faults: &mut Faults) {
    if !file.text.starts_with("//! ") && !file.text.starts_with("#![doc") {
        faults.add(&file.path, 0, "begin with `//!`: what this file is for");
    }
    let count = file.code().lines().count();
    if file.path.starts_with("src/") && !file.is_test && count > LINES_PER_FILE {
        faults.add(&file.path, 0, format!("{count} lines of code; split at {LINES_PER_FILE}"));
    }
    for (index, line) in file.text.lines().enumerate() {
        let is_comment = line.trim_start().starts_with("//");
        // Elsewhere rustfmt sees to the code, and the texts of configurations are as they are.
        let is_ours = is_comment || file.path.starts_with("src/");
        if is_ours && line.chars().count() > COLUMNS {
            faults.add(&file.path, index, format!("longer than {COLUMNS} columns"));
        }
    }
}

fn leftovers(file: &File, faults: &mut Faults) {
    if file.path == "tests/tidy.rs" {
        return; // the table above names them all
    }
    for (index, line) in file.text.lines().enumerate() {
        for (leftover, advice) in LEFTOVERS.iter().filter(|(it, _)| line.contains(it)) {
            faults.add(&file.path, index, format!("`{leftover}` is left: {advice}"));
        }
    }
}

/// Every `crate::x` points to a lower layer than the file's own, one module an import.
fn layers(file: &File, faults: &mut Faults) {
    let Some(own) = file.module() else { return };
    let Some(rank) = rank(own) else {
        return faults.add(&file.path, 0, format!("`{own}` has no row in LAYERS"));
    };
    for (index, line) in file.statements() {
        for target in line.split("crate::").skip(1) {
            let name = leading_identifier(target);
            if name.is_empty() && target.starts_with('{') {
                faults.add(&file.path, index, "import one module a line, not `crate::{`");
            } else if !name.is_empty() && name != own && self::rank(name).unwrap_or(99) >= rank {
                faults.add(&file.path, index, format!("`{own}` must not know `{name}`"));
            }
        }
        if line.contains("super::super") {
            faults.add(&file.path, index, "say `crate::…` instead of climbing");
        }
        if line.contains("use super::*") {
            faults.add(&file.path, index, "import by name; `*` is for tests");
        }
    }
}

/// `unsafe`, clocks and the types of some crates live in few places.
fn homes(file: &File, faults: &mut Faults) {
    let safe = !UNSAFE_HOMES.iter().any(|home| file.path.starts_with(home));
    for (index, line) in file.statements() {
        if safe
            && ["unsafe {", "unsafe fn", "unsafe impl", "unsafe ext"]
                .iter()
                .any(|it| line.contains(it))
        {
            faults.add(&file.path, index, format!("`unsafe` lives in {UNSAFE_HOMES:?} only"));
        }
        let reads_clock = line.contains("std::time")
            && words(line).any(|it| it == "Instant" || it == "SystemTime");
        if reads_clock && file.path != CLOCK {
            faults.add(&file.path, index, format!("time is read in {CLOCK} only"));
        }
        for (name, homes) in CRATE_HOMES {
            let known = file.module().is_none_or(|own| homes.contains(&own));
            let used = words(line).any(|it| it.split('_').next() == Some(*name));
            if used && !known && line.contains("::") {
                faults.add(&file.path, index, format!("`{name}`'s types are for {homes:?} only"));
            }
        }
    }
}

/// Names of items and files say what a thing is.
fn names(file: &File, faults: &mut Faults) {
    let stem = Path::new(&file.path).file_stem().unwrap_or_default().to_string_lossy();
    if EMPTY_WORDS.contains(&&*stem) {
        faults.add(&file.path, 0, format!("`{stem}` says nothing; name the notion"));
    }
    if OPENRESTY_NAMED.iter().any(|it| file.path.starts_with(it)) {
        return;
    }
    for (index, line) in file.statements() {
        let Some((keyword, name)) = declared(line) else { continue };
        let parts = snake(name);
        if let Some(word) = parts.split('_').find(|it| EMPTY_WORDS.contains(it)) {
            faults.add(&file.path, index, format!("`{name}`: `{word}` says nothing"));
        }
        if keyword == "fn" && (parts.starts_with("get_") || parts.starts_with("handle_")) {
            faults.add(&file.path, index, format!("`{name}`: say what it does or gives"));
        }
    }
}

/// A file that no `mod` names is dead, and rustc is silent about it.
fn dead_files(tree: &Tree, faults: &mut Faults) {
    for file in tree.files.values().filter(|it| it.path.starts_with("src/")) {
        if file.path != "src/lib.rs" && file.path != "src/main.rs" && !tree.declares(&file.path) {
            faults.add(&file.path, 0, "no `mod` names this file");
        }
    }
}

/// The sources, by their path from the package's root.
struct Tree {
    files: BTreeMap<String, File>,
    /// Paths that a `mod` line names, with whether that line is under `#[cfg(test)]`.
    declared: BTreeMap<String, bool>,
}

impl Tree {
    fn read() -> Self {
        let mut tree = Self { files: BTreeMap::new(), declared: BTreeMap::new() };
        for folder in ["src", "tests", "benches", "fuzz/fuzz_targets"] {
            for path in rust_files(&root().join(folder)) {
                let text = fs::read_to_string(&path).expect("sources are UTF-8");
                let path = path.strip_prefix(root()).expect("it is below the root");
                let path = path.to_string_lossy().into_owned();
                tree.files.insert(path.clone(), File { path, text, is_test: false });
            }
        }
        for file in tree.files.values() {
            tree.declared.extend(modules_of(file));
        }
        let declared = tree.declared.iter();
        let tests: Vec<&String> = declared.filter(|it| *it.1).map(|(path, _)| path).collect();
        for file in tree.files.values_mut() {
            file.is_test = tests.iter().any(|test| {
                let folder = test.trim_end_matches("/mod.rs").trim_end_matches(".rs");
                file.path == **test || file.path.starts_with(&format!("{folder}/"))
            });
        }
        tree
    }

    fn declares(&self, path: &str) -> bool {
        self.declared.contains_key(path)
    }
}

/// One source file.
struct File {
    path: String,
    text: String,
    /// Whether its `mod` line is under `#[cfg(test)]`.
    is_test: bool,
}

impl File {
    /// The text before the tests at its end.
    fn code(&self) -> &str {
        let mut from = 0;
        while let Some(at) = self.text[from..].find("#[cfg(test)]\n") {
            let at = from + at;
            let mut rest = self.text[at..].lines().skip_while(|it| it.starts_with("#["));
            let begins_line = at == 0 || self.text[..at].ends_with('\n');
            if begins_line && rest.next().is_some_and(|it| it.starts_with("mod ")) {
                return &self.text[..at];
            }
            from = at + 1;
        }
        &self.text
    }

    /// Lines of code with their index; comment lines are left out.
    fn statements(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code().lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    /// `src/lua/vm.rs` belongs to `lua`, `src/clock.rs` to `clock`, the crate's roots to nobody.
    fn module(&self) -> Option<&str> {
        let name = self.path.strip_prefix("src/")?.split(['/', '.']).next()?;
        (name != "lib" && name != "main").then_some(name)
    }
}

/// The files that `file`'s `mod x;` lines may mean, and whether they are tests.
fn modules_of(file: &File) -> Vec<(String, bool)> {
    let path = Path::new(&file.path);
    let folder = path.parent().unwrap_or(Path::new(""));
    let is_root = path.ends_with("mod.rs") || path == Path::new("src/lib.rs");
    let inner = if is_root { folder.to_owned() } else { path.with_extension("") };
    let mut attributes = Vec::new();
    let mut found = Vec::new();
    for line in file.text.lines().map(str::trim) {
        if line.starts_with("#[") {
            attributes.push(line);
            continue;
        }
        let visible = ["pub ", "pub(crate) ", "pub(super) "];
        let line = visible.iter().find_map(|it| line.strip_prefix(it)).unwrap_or(line);
        if let Some(name) = line.strip_prefix("mod ").and_then(|it| it.strip_suffix(';')) {
            let is_test = attributes.contains(&"#[cfg(test)]");
            let named = attributes.iter().find_map(|it| {
                folder.join(it.strip_prefix("#[path = \"")?.strip_suffix("\"]")?).into()
            });
            let usual = [inner.join(format!("{name}.rs")), inner.join(name).join("mod.rs")];
            let paths: Vec<PathBuf> = named.map_or(usual.to_vec(), |it| vec![it]);
            found.extend(paths.iter().map(|it| (it.to_string_lossy().into_owned(), is_test)));
        }
        attributes.clear();
    }
    found
}

/// What is wrong, each as `file:line: message`.
#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    fn add(&mut self, path: &str, index: usize, message: impl fmt::Display) {
        self.0.push(format!("{path}:{}: {message}", index + 1));
    }

    fn judge(mut self) {
        self.0.retain(|fault| !EXCUSED.iter().any(|(start, _)| fault.starts_with(start)));
        assert!(self.0.is_empty(), "\n{}\n{} faults", self.0.join("\n"), self.0.len());
    }
}

fn rank(module: &str) -> Option<usize> {
    LAYERS.iter().position(|row| row.contains(&module))
}

fn leading_identifier(text: &str) -> &str {
    let end = text.find(|it: char| !it.is_alphanumeric() && it != '_').unwrap_or(text.len());
    &text[..end]
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|it: char| !it.is_alphanumeric() && it != '_').filter(|it| !it.is_empty())
}

/// The keyword and the name of the item that `line` declares.
fn declared(line: &str) -> Option<(&str, &str)> {
    let mut words = words(line).skip_while(|it| {
        ["pub", "crate", "super", "async", "const", "unsafe", "extern", "C"].contains(it)
    });
    let keyword = words.next()?;
    let is_item = ["fn", "struct", "enum", "trait", "mod", "type"].contains(&keyword);
    Some((keyword, words.next().filter(|_| is_item)?))
}

/// `PeerInfo` as `peer_info`.
fn snake(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.extend(letter.to_lowercase());
    }
    text
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|it| it == "rs") {
            found.push(path);
        }
    }
    found
}

/// What git would publish; new files included, ignored ones left out.
fn tracked_files() -> Vec<PathBuf> {
    let listing = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git runs");
    assert!(listing.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listing.stderr));
    String::from_utf8_lossy(&listing.stdout).lines().map(PathBuf::from).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
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
        for rule in [shape, leftovers, layers, homes, names] {
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
    for rule in [shape, leftovers, layers, homes, names] {
        rule(&file, &mut faults);
    }
    assert!(faults.0.is_empty(), "{:?}", faults.0);
    assert!(begins_a_path("see /etc/x", "/etc/") && !begins_a_path("conf/etc/x", "/etc/"));
}
