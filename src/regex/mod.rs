//! Regular expressions of the configuration.

/// A compiled regex.
#[derive(Debug)]
pub struct Regex;

/// Why a pattern cannot be compiled.
#[derive(Clone, Debug, thiserror::Error)]
#[error("regular expressions are not compiled in yet")]
pub struct Error;

/// Byte ranges of the groups of a match.
pub type Groups = Vec<Option<(usize, usize)>>;

impl Regex {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// A pattern that is none.
    pub fn new(_pattern: &[u8], _caseless: bool) -> Result<Self, Error> {
        Err(Error)
    }

    /// A regex that matches nothing.
    pub fn nothing() -> Self {
        Self
    }

    /// Whether `subject` matches.
    pub fn is_match(&self, _subject: &[u8]) -> bool {
        false
    }

    /// The groups of the first match, the whole match first.
    pub fn captures(&self, _subject: &[u8]) -> Option<Groups> {
        None
    }

    /// Names and numbers of the named groups.
    pub fn named_groups(&self) -> impl Iterator<Item = (&[u8], u32)> {
        std::iter::empty()
    }
}
