//! Where the configuration comes from, so that it can be taken anew.

use crate::config;
use crate::config::Loaded;
use crate::config::diagnostic::{At, Diagnostics};
use crate::config::model::{ErrorLog, ErrorLogTarget, Model};
use std::path::{Path, PathBuf};

/// The text of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A file, relative to the prefix.
    File(PathBuf),
    /// A text that is part of the program, and what to call it.
    Embedded(&'static str, &'static str),
}

/// Everything that the command line says about the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The text.
    pub origin: Origin,
    /// `-p`, absolute: what paths are relative to.
    pub prefix: PathBuf,
    /// `-g`: directives before it.
    pub globals: Option<String>,
    /// `-e`: the error log where `error_log` names none.
    pub error_log: Option<PathBuf>,
}

impl Source {
    /// Reads it.
    ///
    /// # Errors
    /// All its faults.
    pub fn load(&self) -> Result<Loaded, Diagnostics> {
        let globals = self.globals.as_deref();
        let mut loaded = match &self.origin {
            Origin::File(path) => config::load(path, &self.prefix, globals)?,
            Origin::Embedded(name, text) => {
                // On its first line, so that all lines keep their numbers.
                let whole = format!("{} {text}", globals.unwrap_or_default());
                config::load_text(name, &whole, Some(&self.prefix.join("conf")))?
            }
        };
        self.complete(&mut loaded.model);
        Ok(loaded)
    }

    /// What the configuration is called in messages.
    pub fn name(&self) -> String {
        match &self.origin {
            Origin::File(path) => self.prefix.join(path).display().to_string(),
            Origin::Embedded(name, _) => (*name).to_owned(),
        }
    }

    /// Gives `model` the error log that holds where it names none.
    pub fn complete(&self, model: &mut Model) {
        let path = self.error_log.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_ERROR_LOG));
        let target = match path.as_path() {
            it if it == Path::new("stderr") => ErrorLogTarget::Stderr,
            _ => ErrorLogTarget::File(path),
        };
        let default = || vec![ErrorLog { at: At::default(), target, level: ERROR }];
        model.main.error_log.get_or_insert_with(default);
    }
}

/// nginx's default, below the prefix.
pub const DEFAULT_ERROR_LOG: &str = "logs/error.log";
/// nginx's default, below the prefix.
pub const DEFAULT_PID_FILE: &str = "logs/moongate.pid";
/// nginx's number of the level `error`.
const ERROR: u8 = 4;
