//! The sources as text: which there are, what is test and what is code.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The sources, by their path from the package's root.
pub struct Tree {
    pub files: BTreeMap<String, File>,
    /// Paths that a `mod` line names, with whether that line is under `#[cfg(test)]`.
    pub declared: BTreeMap<String, bool>,
}

impl Tree {
    pub fn read() -> Self {
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

    pub fn declares(&self, path: &str) -> bool {
        self.declared.contains_key(path)
    }
}

/// One source file.
pub struct File {
    pub path: String,
    pub text: String,
    /// Whether its `mod` line is under `#[cfg(test)]`.
    pub is_test: bool,
}

impl File {
    /// The text before the tests at its end.
    pub fn code(&self) -> &str {
        let mut from = 0;
        while let Some(at) = self.text[from..].find("#[cfg(test)]\n") {
            let at = from + at;
            let mut rest = self.text[at..].lines().skip_while(|it| it.starts_with("#["));
            let begins_line = at == 0 || self.text[..at].ends_with('\n');
            if begins_line
                && rest.next().is_some_and(|it| begins_a_block(it) || ends_with_tests(it, rest))
            {
                return &self.text[..at];
            }
            from = at + 1;
        }
        &self.text
    }

    /// Lines of code with their index; comment lines are left out.
    pub fn statements(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code().lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    /// `src/lua/vm.rs` belongs to `lua`, `src/clock.rs` to `clock`, the crate's roots to nobody.
    pub fn module(&self) -> Option<&str> {
        let name = self.path.strip_prefix("src/")?.split(['/', '.']).next()?;
        (name != "lib" && name != "main").then_some(name)
    }
}

/// `mod tests {`, and not `mod tests;`, behind which the code may go on.
fn begins_a_block(line: &str) -> bool {
    line.trim_start_matches("pub ").starts_with("mod ") && line.ends_with('{')
}

/// `mod tests;` as the last line of all.
fn ends_with_tests<'a>(line: &str, mut rest: impl Iterator<Item = &'a str>) -> bool {
    line.starts_with("mod ") && rest.next().is_none()
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
pub fn tracked_files() -> Vec<PathBuf> {
    let listing = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git runs");
    assert!(listing.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listing.stderr));
    String::from_utf8_lossy(&listing.stdout).lines().map(PathBuf::from).collect()
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
