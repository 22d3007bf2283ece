//! A fault or a notice with its place: `file:line: message`.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// Where something was written: the file as it was named, and the line from 1.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct At {
    /// The file's name as the operator or an `include` spelled it.
    pub file: Arc<str>,
    /// The line, from 1; 0 where there is no text behind it (JSON, `-g`).
    pub line: u32,
}

impl At {
    /// A place in `file`.
    pub fn new(file: impl Into<Arc<str>>, line: u32) -> Self {
        Self { file: file.into(), line }
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

impl Default for At {
    fn default() -> Self {
        Self::new("", 0)
    }
}

impl Serialize for At {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for At {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let (file, line) = text.rsplit_once(':').unwrap_or((&text, "0"));
        Ok(Self::new(file, line.parse().unwrap_or(0)))
    }
}

/// How grave a diagnostic is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Printed by `-t`; the configuration is used.
    Notice,
    /// Printed and logged; the configuration is used, though something in it has no effect.
    Warning,
    /// The same, and it should not stay so.
    Alert,
    /// The configuration is refused.
    Fault,
}

/// One thing that an operator should know about the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How grave it is.
    pub severity: Severity,
    /// Where it is.
    pub at: At,
    /// What is wrong and, where that is known, what to write instead; no full stop.
    pub message: String,
}

impl Diagnostic {
    /// A fault at `at`.
    pub fn fault(at: &At, message: impl Into<String>) -> Self {
        Self { severity: Severity::Fault, at: at.clone(), message: message.into() }
    }

    /// A notice at `at`.
    pub fn notice(at: &At, message: impl Into<String>) -> Self {
        Self { severity: Severity::Notice, at: at.clone(), message: message.into() }
    }

    /// An alert at `at`.
    pub fn alert(at: &At, message: impl Into<String>) -> Self {
        Self { severity: Severity::Alert, at: at.clone(), message: message.into() }
    }

    /// A warning at `at`.
    pub fn warning(at: &At, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, at: at.clone(), message: message.into() }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.at.file.is_empty(), self.at.line) {
            (true, _) => write!(f, "{}", self.message),
            (false, 0) => write!(f, "{}: {}", self.at.file, self.message),
            (false, _) => write!(f, "{}: {}", self.at, self.message),
        }
    }
}

/// Everything that was found, in the order of the text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// Adds one.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.0.push(diagnostic);
    }

    /// Adds a fault at `at`.
    pub fn fault(&mut self, at: &At, message: impl Into<String>) {
        self.push(Diagnostic::fault(at, message));
    }

    /// Brings them into the order of the text; files come as they were first spoken of.
    pub fn sort(&mut self) {
        let mut files: Vec<Arc<str>> = Vec::new();
        for it in &self.0 {
            if !files.contains(&it.at.file) {
                files.push(Arc::clone(&it.at.file));
            }
        }
        self.0.sort_by_key(|it| (files.iter().position(|file| *file == it.at.file), it.at.line));
    }

    /// Whether the configuration must be refused.
    pub fn has_faults(&self) -> bool {
        self.0.iter().any(|it| it.severity == Severity::Fault)
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|it| writeln!(f, "{it}"))
    }
}
