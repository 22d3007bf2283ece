//! The configuration: nginx.conf as text, its directive table, and the typed model both of its
//! languages (nginx.conf for people, JSON for machines) mean.

mod check;
pub mod diagnostic;
pub mod model;
pub mod nginx;
pub mod units;

use diagnostic::{At, Diagnostics};
use model::{Listen, Model};
use nginx::directive::Directive;
use nginx::include::Sources;
use nginx::lexer::Lexer;
use nginx::tree::Node;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// A configuration that may be used.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What it means.
    pub model: Model,
    /// Notices and warnings.
    pub diagnostics: Diagnostics,
    /// Every file that was read, in order, for `-T`.
    pub files: Vec<(PathBuf, String)>,
}

/// Loads the file at `path` (relative to `prefix`), with the directives of `-g` before it.
///
/// # Errors
/// All faults of all files, with the notices and warnings between them.
pub fn load(path: &Path, prefix: &Path, globals: Option<&str>) -> Result<Loaded, Diagnostics> {
    let path = prefix.join(path);
    let base = path.parent().map_or_else(|| prefix.to_owned(), Path::to_owned);
    finish(Sources::new(Some(base)), globals, |sources, diagnostics| {
        sources.read(&path, &At::new("moongate", 0), diagnostics)
    })
}

/// Loads `text`, called `name` in diagnostics; relative includes start in `base`, without one they
/// are refused and no file is read.
///
/// # Errors
/// All faults, with the notices and warnings between them.
pub fn load_text(name: &str, text: &str, base: Option<&Path>) -> Result<Loaded, Diagnostics> {
    let mut loaded =
        finish(Sources::new(base.map(Path::to_owned)), None, |sources, diagnostics| {
            sources.parse(&name.into(), Lexer::new(text), diagnostics)
        })?;
    loaded.files.insert(0, (PathBuf::from(name), text.to_owned()));
    Ok(loaded)
}

fn finish(
    mut sources: Sources,
    globals: Option<&str>,
    read: impl FnOnce(&mut Sources, &mut Diagnostics) -> Vec<Node>,
) -> Result<Loaded, Diagnostics> {
    let mut diagnostics = Diagnostics::default();
    let mut nodes = match globals {
        Some(text) => {
            sources.parse(&"command line".into(), Lexer::parameter(text), &mut diagnostics)
        }
        None => Vec::new(),
    };
    for node in nodes.iter().filter(|it| it.body != nginx::tree::Body::None) {
        diagnostics.fault(&node.at, "block directives are not supported in -g option");
    }
    nodes.extend(read(&mut sources, &mut diagnostics));
    let mut model = nginx::lower::lower(&nodes, sources.whole, &mut diagnostics);
    fill_listeners(&mut model);
    if sources.whole {
        check::check(&model, &mut diagnostics);
    }
    diagnostics.sort();
    if diagnostics.has_faults() {
        return Err(diagnostics);
    }
    Ok(Loaded { model, diagnostics, files: sources.files })
}

/// A server without a `listen` accepts on `*:80`, or without root's rights on `*:8000`, as in
/// nginx.
fn fill_listeners(model: &mut Model) {
    // The owner of /proc/self is the effective user.
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|it| it.uid() == 0);
    let servers = model.http.iter_mut().flat_map(|it| it.servers.iter_mut());
    for server in servers.filter(|it| it.listen.is_empty()) {
        let address = if is_root { "0.0.0.0:80" } else { "0.0.0.0:8000" };
        server.listen.push(Listen::new(server.at.clone(), address.to_owned()));
    }
}

/// Reads a model from JSON, with the same checks; unknown keys are refused.
///
/// # Errors
/// A syntax error with its line, or the faults of the model.
pub fn from_json(text: &str) -> Result<Model, Diagnostics> {
    let mut diagnostics = Diagnostics::default();
    let mut model: Model = match serde_json::from_str(text) {
        Ok(model) => model,
        Err(error) => {
            let line = u32::try_from(error.line()).unwrap_or(u32::MAX);
            diagnostics.fault(&At::new("json", line), error.to_string());
            return Err(diagnostics);
        }
    };
    fill_listeners(&mut model);
    check::check_unlexed(&model, &mut diagnostics);
    check::check(&model, &mut diagnostics);
    diagnostics.sort();
    if diagnostics.has_faults() { Err(diagnostics) } else { Ok(model) }
}

/// The model as indented JSON, which [`from_json`] reads back.
pub fn to_json(model: &Model) -> String {
    serde_json::to_string_pretty(model).expect("a model has string keys only and no failing parts")
}

/// The directive table.
pub fn directives() -> impl Iterator<Item = &'static Directive> {
    nginx::directives::all()
}

/// The directive reference as Markdown.
pub fn reference() -> String {
    nginx::reference::reference()
}

#[cfg(test)]
mod tests;
