//! Scripts: named as OpenResty names them, compiled once a VM.

use crate::config::model::Chunk;
use crate::config::model::ChunkSource;
use crate::lua::ffi::stack::Anchor;
use crate::lua::ffi::stack::Stack;
use crate::lua::ffi::thread::load;
use crate::lua::vm::Vm;
use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;
use std::path::PathBuf;
use std::rc::Rc;

/// LuaJIT shows names of chunks shorter than this whole (`LUA_IDSIZE`).
const MAX_NAME: usize = 60;

/// Why a script cannot run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// A syntax error in the configuration; the text has chunk name and line.
    #[error("failed to load inlined Lua code: {0}")]
    Inline(String),
    /// A syntax error in a file.
    #[error("failed to load external Lua file \"{path}\": {text}")]
    File {
        /// The file's path.
        path: String,
        /// Path, line and what is wrong.
        text: String,
    },
    /// The file cannot be read: nginx answers 404 where it is missing.
    #[error("failed to load external Lua file \"{path}\": cannot open {path}: {text}")]
    Open {
        /// The file's path.
        path: String,
        /// The system's words.
        text: String,
        /// Whether it does not exist (404, not 500).
        missing: bool,
    },
}

/// A compiled script of one VM.
#[derive(Clone, Debug)]
pub struct Handler {
    anchor: Rc<Anchor>,
}

impl Handler {
    /// Pushes its function.
    pub(in crate::lua) fn push(&self, stack: &Stack<'_>) {
        stack.push_anchored(&self.anchor);
    }
}

/// The scripts that a VM has compiled.
#[derive(Debug, Default)]
pub struct Chunks {
    numbered: RefCell<Vec<Option<Handler>>>,
    inline: RefCell<HashMap<usize, Inline>>,
    files: RefCell<HashMap<PathBuf, Handler>>,
}

/// An inline script, found by the address of its text (a snapshot's does not move) and compared,
/// lest another text came to stand there.
#[derive(Debug)]
struct Inline {
    code: Box<str>,
    line: u32,
    handler: Handler,
}

/// The name of an inline chunk: `=content_by_lua(nginx.conf:40)`. `file` is the configuration's
/// file as it was opened; its last part is shown, and what is too long is cut at its beginning.
pub fn inline_name(directive: &str, file: &Path, line: u32) -> String {
    if directive == "ssl_client_hello_by_lua" {
        // The one that lua-nginx-module names without its place.
        return format!("={directive}");
    }
    let shown = file.to_string_lossy();
    let shown = match shown.rsplit_once("conf/") {
        // Relative to the configuration's folder.
        Some((before, inner)) if before.is_empty() || before.ends_with('/') => inner.to_owned(),
        _ if shown.starts_with('/') => shown.rsplit('/').next().unwrap_or_default().to_owned(),
        _ => shown.into_owned(),
    };
    let room = MAX_NAME - 1 - directive.len() - format!("(:{line})").len();
    if shown.len() <= room {
        return format!("={directive}({shown}:{line})");
    }
    let mut from = shown.len() - room.saturating_sub(3).min(shown.len());
    while !shown.is_char_boundary(from) {
        from += 1;
    }
    format!("={directive}(...{}:{line})", &shown[from..])
}

impl Vm {
    /// The compiled script of `chunk`, the snapshot's chunk `id`: a VM serves one snapshot, so that
    /// the number tells which script it is. A file is read anew where it is not to be cached.
    ///
    /// # Errors
    /// A syntax error, or a file that cannot be read.
    pub fn numbered(&self, id: u32, chunk: &Chunk, is_cached: bool) -> Result<Handler, LoadError> {
        if !is_cached && let ChunkSource::File(path) = &chunk.source {
            return self.file(Path::new(path), false);
        }
        let index = id as usize;
        if let Some(Some(handler)) = self.chunks().numbered.borrow().get(index) {
            return Ok(handler.clone());
        }
        let handler = self.handler(chunk)?;
        let mut numbered = self.chunks().numbered.borrow_mut();
        if numbered.len() <= index {
            numbered.resize(index + 1, None);
        }
        numbered[index] = Some(handler.clone());
        Ok(handler)
    }

    /// The compiled script of `chunk`, whose path (if a file) holds no variable.
    ///
    /// # Errors
    /// A syntax error, or a file that cannot be read.
    pub fn handler(&self, chunk: &Chunk) -> Result<Handler, LoadError> {
        match &chunk.source {
            ChunkSource::Inline(code) => self.inline(chunk, code),
            ChunkSource::File(path) => self.file(Path::new(path), self.options().code_cache),
        }
    }

    fn inline(&self, chunk: &Chunk, code: &str) -> Result<Handler, LoadError> {
        let address = code.as_ptr() as usize;
        if let Some(known) = self.chunks().inline.borrow().get(&address)
            && known.line == chunk.at.line
            && *known.code == *code
        {
            return Ok(known.handler.clone());
        }
        let name = inline_name(&chunk.directive, Path::new(&*chunk.at.file), chunk.at.line);
        let anchor =
            load(self.state(), code.as_bytes(), name.as_bytes()).map_err(LoadError::Inline)?;
        let handler = Handler { anchor: Rc::new(anchor) };
        let known = Inline { code: code.into(), line: chunk.at.line, handler: handler.clone() };
        self.chunks().inline.borrow_mut().insert(address, known);
        Ok(handler)
    }

    /// The compiled script of a file, text or LuaJIT's bytecode; a relative path starts from the
    /// prefix. It is read anew where it is not to be cached.
    ///
    /// # Errors
    /// A syntax error, or a file that cannot be read.
    pub fn file(&self, path: &Path, is_cached: bool) -> Result<Handler, LoadError> {
        let path = self.options().prefix.join(path);
        if is_cached && let Some(handler) = self.chunks().files.borrow().get(&path) {
            return Ok(handler.clone());
        }
        let shown = path.display().to_string();
        let code = std::fs::read(&path).map_err(|error| LoadError::Open {
            path: shown.clone(),
            text: system_text(&error),
            missing: error.kind() == std::io::ErrorKind::NotFound,
        })?;
        let anchor = load(self.state(), skip_shebang(&code), format!("@{shown}").as_bytes())
            .map_err(|text| LoadError::File { path: shown, text })?;
        let handler = Handler { anchor: Rc::new(anchor) };
        if is_cached {
            self.chunks().files.borrow_mut().insert(path, handler.clone());
        }
        Ok(handler)
    }
}

/// Lua passes over a first line that begins with `#`; its line feed stays, for the line numbers.
fn skip_shebang(code: &[u8]) -> &[u8] {
    if code.first() != Some(&b'#') {
        return code;
    }
    let end = code.iter().position(|&byte| byte == b'\n').unwrap_or(code.len());
    &code[end..]
}

/// The system's words without Rust's ` (os error 2)`.
fn system_text(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lua::fixture::block_on;
    use crate::lua::fixture::global;
    use crate::lua::fixture::vm_with;
    use crate::lua::outcome::Step;
    use crate::lua::phase::Phase;

    #[test]
    fn chunks_are_named_as_openresty_names_them() {
        let name = |file: &str| inline_name("content_by_lua", Path::new(file), 40);
        assert_eq!(name("/srv/conf/nginx.conf"), "=content_by_lua(nginx.conf:40)");
        assert_eq!(name("nginx.conf"), "=content_by_lua(nginx.conf:40)");
        assert_eq!(name("/srv/conf/sub/inc.conf"), "=content_by_lua(sub/inc.conf:40)");
        assert_eq!(name("sub/inc.conf"), "=content_by_lua(sub/inc.conf:40)");
        assert_eq!(name("/elsewhere/x.conf"), "=content_by_lua(x.conf:40)");
        let long = name(&format!("/srv/conf/{}/end.conf", "a".repeat(80)));
        assert!(
            long.starts_with("=content_by_lua(...a") && long.ends_with("a/end.conf:40)"),
            "{long}"
        );
        assert_eq!(long.len(), MAX_NAME);
    }

    #[test]
    fn files_are_loaded_once_or_reread_and_their_faults_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.lua");
        let run = |code_cache| {
            let vm = vm_with(|_| {});
            let once = || {
                let handler = vm.file(&path, code_cache).unwrap();
                let mut run = vm.run(&handler, None, Phase::Content);
                assert!(matches!(block_on(run.next()), Step::Done(Ok(_))));
                global(&vm, "rawget(_G, 'OUT')")
            };
            std::fs::write(&path, "#!/usr/bin/lua\nrawset(_G, 'OUT', 1) do return end").unwrap();
            let first = once();
            std::fs::write(&path, "rawset(_G, 'OUT', 2)").unwrap();
            (first, once())
        };
        assert_eq!(run(true), ("1".to_owned(), "1".to_owned()));
        assert_eq!(run(false), ("1".to_owned(), "2".to_owned()));

        let vm = vm_with(|_| {});
        let shown = path.display();
        std::fs::write(&path, "local x = 1\nfoo(\n").unwrap();
        let text = vm.file(&path, true).unwrap_err().to_string();
        assert_eq!(
            text,
            format!(
                "failed to load external Lua file \"{shown}\": {shown}:3: unexpected symbol \
                 near '<eof>'"
            )
        );
        let error = vm.file(Path::new("/nosuch.lua"), true).unwrap_err();
        assert_eq!(
            error.to_string(),
            "failed to load external Lua file \"/nosuch.lua\": cannot open /nosuch.lua: \
             No such file or directory"
        );
        assert!(matches!(error, LoadError::Open { missing: true, .. }));
    }
}
