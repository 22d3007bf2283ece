//! `include`: files and globs, read into the tree at their place.

use crate::config::diagnostic::At;
use crate::config::diagnostic::Diagnostics;
use crate::config::nginx::lexer::Lexer;
use crate::config::nginx::tree::{Body, Node, parse};
use std::fs::File;
use std::io;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Files that may include one another in a row.
const DEEPEST: usize = 16;
/// Files that one configuration may have.
const MOST_FILES: usize = 4096;
/// Bytes that one file may have.
const LARGEST_FILE: u64 = 16 << 20;

/// Reads the files of one configuration and remembers them for `-T`.
#[derive(Debug)]
pub struct Sources {
    /// The folder of the configuration file: relative includes start here. None refuses includes.
    base: Option<PathBuf>,
    /// Every file read, in order.
    pub files: Vec<(PathBuf, String)>,
    /// False as soon as a text was broken or missing, so that sections may be absent.
    pub whole: bool,
    open: Vec<PathBuf>,
    refused: bool,
}

impl Sources {
    /// Sources whose relative includes start in `base`; with None no file is ever read.
    pub fn new(base: Option<PathBuf>) -> Self {
        Self { base, files: Vec::new(), whole: true, open: Vec::new(), refused: false }
    }

    /// The tree of the file at `path` with its includes; `at` is where it was asked for.
    pub fn read(&mut self, path: &Path, at: &At, diagnostics: &mut Diagnostics) -> Vec<Node> {
        let text = match read_text(path) {
            Ok(text) => text,
            Err(error) => {
                self.whole = false;
                diagnostics.fault(at, format!("open() \"{}\" failed ({error})", path.display()));
                return Vec::new();
            }
        };
        let name: Arc<str> = path.to_string_lossy().into();
        if text.contains('\u{fffd}') {
            let line = text.split('\u{fffd}').next().map_or(0, |it| it.matches('\n').count());
            let line = u32::try_from(line + 1).unwrap_or(u32::MAX);
            let message = "bytes that are not UTF-8 were replaced by U+FFFD";
            diagnostics.push(crate::config::diagnostic::Diagnostic::warning(
                &At::new(Arc::clone(&name), line),
                message,
            ));
        }
        self.open.push(path.to_owned());
        let nodes = self.parse(&name, Lexer::new(&text), diagnostics);
        self.open.pop();
        nodes
    }

    /// The tree of `lexer`'s text, called `name`, with its includes.
    pub fn parse(
        &mut self,
        name: &Arc<str>,
        lexer: Lexer<'_>,
        diagnostics: &mut Diagnostics,
    ) -> Vec<Node> {
        if let Some(path) = self.open.last() {
            self.files.push((path.clone(), lexer.text().to_owned()));
        }
        let (nodes, whole) = parse(name, lexer, diagnostics);
        self.whole &= whole;
        self.expand(nodes, diagnostics)
    }

    fn expand(&mut self, nodes: Vec<Node>, diagnostics: &mut Diagnostics) -> Vec<Node> {
        let mut expanded = Vec::with_capacity(nodes.len());
        for mut node in nodes {
            if node.name == "include" && node.args.len() == 1 && node.body == Body::None {
                expanded.extend(self.include(&node, diagnostics));
                continue;
            }
            if let Body::Block(inside) = node.body {
                node.body = Body::Block(self.expand(inside, diagnostics));
            }
            expanded.push(node);
        }
        expanded
    }

    fn include(&mut self, node: &Node, diagnostics: &mut Diagnostics) -> Vec<Node> {
        let at = &node.at;
        let Some(base) = &self.base else {
            diagnostics.fault(at, "\"include\" is not possible in a text without a folder");
            return Vec::new();
        };
        let pattern = base.join(node.arg(0));
        let paths =
            if node.arg(0).contains(['*', '?', '[']) { glob(&pattern) } else { vec![pattern] };
        let mut nodes = Vec::new();
        for path in paths {
            if self.open.contains(&path) {
                self.refused = true;
                let message = format!("\"{}\" includes itself", path.display());
                diagnostics.fault(at, message);
            } else if self.open.len() >= DEEPEST {
                let message = format!("files include one another more than {DEEPEST} deep");
                diagnostics.fault(at, message);
            } else if self.files.len() >= MOST_FILES {
                if !self.refused {
                    diagnostics.fault(at, format!("more than {MOST_FILES} files are included"));
                }
                self.refused = true;
            } else {
                nodes.extend(self.read(&path, at, diagnostics));
                continue;
            }
            self.whole = false;
        }
        nodes
    }
}

/// A file's text, its bytes outside UTF-8 replaced.
fn read_text(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(as_nginx_says)?;
    file.take(LARGEST_FILE + 1).read_to_end(&mut bytes).map_err(as_nginx_says)?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(io::Error::other("File too large"));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// `2: No such file or directory` for std's `No such file or directory (os error 2)`.
fn as_nginx_says(error: io::Error) -> io::Error {
    let Some(code) = error.raw_os_error() else { return error };
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    io::Error::new(error.kind(), format!("{code}: {text}"))
}

/// The existing paths that match `pattern` (`* ? [a-z] [!a]` within a component), sorted by bytes;
/// as in glob(3) a leading dot must be written.
pub fn glob(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for component in pattern.components() {
        let name = component.as_os_str().to_string_lossy().into_owned();
        if !name.contains(['*', '?', '[']) {
            for path in &mut found {
                path.push(component);
            }
            continue;
        }
        let mut next = Vec::new();
        for folder in &found {
            let Ok(entries) = std::fs::read_dir(folder) else { continue };
            next.extend(
                entries
                    .flatten()
                    .filter(|entry| {
                        let entry = entry.file_name();
                        let entry = entry.to_string_lossy();
                        entry.starts_with('.') <= name.starts_with('.')
                            && matches(name.as_bytes(), entry.as_bytes())
                    })
                    .map(|entry| entry.path()),
            );
        }
        found = next;
    }
    found.retain(|path| path.exists());
    found.sort_by(|a, b| a.as_os_str().cmp(b.as_os_str()));
    found
}

/// Whether `name` matches `pattern`; linear but for backtracking to the last `*`.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        let step = match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
                continue;
            }
            Some(b'?') => Some(1),
            Some(b'[') => class(&pattern[p..], name[n]),
            Some(byte) => (*byte == name[n]).then_some(1),
            None => None,
        };
        match (step, star) {
            (Some(length), _) => {
                p += length;
                n += 1;
            }
            (None, Some((at, from))) => {
                star = Some((at, from + 1));
                p = at + 1;
                n = from + 1;
            }
            (None, None) => return false,
        }
    }
    pattern[p..].iter().all(|b| *b == b'*')
}

/// The length of the `[…]` at the beginning of `pattern` if it takes `byte`; without a `]` it is a
/// plain bracket.
fn class(pattern: &[u8], byte: u8) -> Option<usize> {
    let negated = matches!(pattern.get(1), Some(b'!' | b'^'));
    let first = 1 + usize::from(negated);
    let Some(length) = pattern.iter().skip(first + 1).position(|b| *b == b']') else {
        return (byte == b'[').then_some(1);
    };
    let end = first + 1 + length;
    let mut taken = false;
    let mut at = first;
    while at < end {
        if pattern[at + 1] == b'-' && at + 2 < end {
            taken |= (pattern[at]..=pattern[at + 2]).contains(&byte);
            at += 3;
        } else {
            taken |= pattern[at] == byte;
            at += 1;
        }
    }
    (taken != negated).then_some(end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, expected) in [
            ("*.conf", "a.conf", true),
            ("*.conf", "a.conf~", false),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
            ("?.conf", "a.conf", true),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]]x", "]x", true),
            ("[x", "[x", true),
            ("[", "", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn files_are_read_in_order_and_cycles_refused() {
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("main.conf", "x { include d*.conf; }\ninclude none*.conf;\ninclude gone.conf;\n");
        write("d2.conf", "two;");
        write("d1.conf", "one;\ninclude main.conf;");
        write(".d3.conf", "hidden;");
        let mut sources = Sources::new(Some(folder.path().to_owned()));
        let mut diagnostics = Diagnostics::default();
        let main = folder.path().join("main.conf");
        let nodes = sources.read(&main, &At::default(), &mut diagnostics);
        let names: Vec<_> = nodes[0].children().iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["one", "two"]);
        assert_eq!(sources.files.len(), 3);
        assert!(!sources.whole);
        let text = diagnostics.to_string();
        let folder = folder.path().display();
        assert!(
            text.contains(&format!("{folder}/d1.conf:2: \"{folder}/main.conf\" includes itself"))
        );
        assert!(text.contains(&format!(
            "{folder}/main.conf:3: open() \"{folder}/gone.conf\" failed (2: No such file or \
             directory)"
        )));
    }
}
