//! The rules, each a function of a file or of the tree.

use crate::sources::{File, Tree, root};
use crate::{
    CLOCK, COLUMNS, CRATE_HOMES, EMPTY_WORDS, EXCUSED, LAYERS, LEFTOVERS, LINES_PER_FILE,
    OPENRESTY_NAMED, UNSAFE_HOMES,
};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// Module docs first, no long file, no long line.
pub fn shape(file: &File, faults: &mut Faults) {
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

pub fn leftovers(file: &File, faults: &mut Faults) {
    if file.path == "tests/tidy/main.rs" {
        return; // its table names them all
    }
    for (index, line) in file.text.lines().enumerate() {
        for (leftover, advice) in LEFTOVERS.iter().filter(|(it, _)| line.contains(it)) {
            faults.add(&file.path, index, format!("`{leftover}` is left: {advice}"));
        }
    }
}

/// Every `crate::x` points to a lower layer than the file's own, one module an import.
pub fn layers(file: &File, faults: &mut Faults) {
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
pub fn homes(file: &File, faults: &mut Faults) {
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
pub fn names(file: &File, faults: &mut Faults) {
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
pub fn dead_files(tree: &Tree, faults: &mut Faults) {
    for file in tree.files.values().filter(|it| it.path.starts_with("src/")) {
        if file.path != "src/lib.rs" && file.path != "src/main.rs" && !tree.declares(&file.path) {
            faults.add(&file.path, 0, "no `mod` names this file");
        }
    }
}

/// What is public and used by tests alone, or by nobody, is in nobody's way but the reader's. Lua
/// finds what has no mangled name.
pub fn unused(tree: &Tree, faults: &mut Faults) {
    let mut uses = BTreeMap::<&str, usize>::new();
    for file in tree.files.values().filter(|it| !it.is_test) {
        for word in file.statements().flat_map(|(_, line)| words(line)) {
            *uses.entry(word).or_default() += 1;
        }
    }
    for file in tree.files.values().filter(|it| it.path.starts_with("src/") && !it.is_test) {
        let mut is_excused = false;
        for (index, line) in file.statements() {
            let item = line.trim_start();
            if item.starts_with("#[") {
                is_excused |= item == "#[cfg(test)]" || item.contains("no_mangle");
                continue;
            }
            let name = declared(item).filter(|_| item.starts_with("pub"));
            if let Some((_, name)) = name.filter(|it| !is_excused && uses[it.1] == 1) {
                faults.add(&file.path, index, format!("nothing but a test uses `{name}`"));
            }
            is_excused = false;
        }
    }
}

/// The files that the architecture names are there.
pub fn map(tree: &Tree, text: &str, faults: &mut Faults) {
    for (index, line) in text.lines().enumerate() {
        for named in line.split('`').skip(1).step_by(2).filter(|it| it.ends_with(".rs")) {
            let (before, choice) = named.split_once('{').unwrap_or((named, ""));
            let (choices, after) = choice.split_once('}').unwrap_or(("", ""));
            for choice in choices.split(',') {
                let path = [before, choice, after].concat();
                let is_there = tree.files.contains_key(&path)
                    || tree.files.contains_key(&format!("src/{path}"))
                    || (path.contains('*') || root().join(&path).exists());
                if !is_there {
                    faults.add("src/README.md", index, format!("there is no `{path}`"));
                }
            }
        }
    }
}

/// Whether `line` holds an absolute path that begins with `folder`.
pub fn begins_a_path(line: &str, folder: &str) -> bool {
    let belongs_to_longer_path = |it: char| it.is_alphanumeric() || "_-.)}]>*~/".contains(it);
    line.match_indices(folder)
        .any(|(at, _)| !line[..at].chars().next_back().is_some_and(belongs_to_longer_path))
}

/// What is wrong, each as `file:line: message`.
#[derive(Default)]
pub struct Faults(pub Vec<String>);

impl Faults {
    pub fn add(&mut self, path: &str, index: usize, message: impl fmt::Display) {
        self.0.push(format!("{path}:{}: {message}", index + 1));
    }

    pub fn judge(mut self) {
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
