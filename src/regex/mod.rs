//! Regular expressions: nginx's own ([`Regex`]: `location ~`, `rewrite`, `if`, `map`,
//! `server_name`) and `ngx.re`'s ([`program`], with its [`options`], [`cache`] and [`substitute`]).

pub mod cache;
pub mod options;
pub mod program;
pub mod substitute;

pub use crate::sys::pcre2::Captures;

use crate::sys::pcre2::{Code, Flags};
use bstr::BStr;

/// Why a pattern of the configuration is refused; the text is nginx's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("pcre2_compile() failed: {0}")]
pub struct Error(String);

/// A match that could not be decided; nginx logs it and answers 500.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("pcre2_match() failed: {0}")]
pub struct ExecError(pub i32);

/// Start and end of each group of a match, the whole match first; `None` for a group that took no
/// part. Groups after the last that took part are left out.
pub type Groups = Vec<Option<(usize, usize)>>;

/// A pattern of the configuration. It sees bytes, not characters, unless it begins with `(*UTF)`.
#[derive(Debug)]
pub struct Regex(Code);

impl Regex {
    /// Compiles `pattern`; `caseless` is `~*`'s.
    ///
    /// # Errors
    /// What nginx says of a pattern that does not compile.
    pub fn new(pattern: &[u8], caseless: bool) -> Result<Self, Error> {
        let flags = Flags { caseless, ..Flags::default() };
        Code::compile(pattern, flags, true)
            .map(Self)
            .map_err(|error| Error(complaint(&error.message(), pattern, error.offset)))
    }

    /// A regex that matches nothing.
    pub fn nothing() -> Self {
        Self::new(b"(?!)", false).expect("a constant pattern compiles")
    }

    /// How many groups the pattern has, not counting the whole match.
    pub const fn group_count(&self) -> usize {
        self.0.group_count()
    }

    /// The named groups as (name, number): each becomes a variable.
    pub fn named_groups(&self) -> impl Iterator<Item = (&[u8], u32)> {
        self.0.names().map(|(name, number)| (name, u32::try_from(number).unwrap_or(u32::MAX)))
    }

    /// Looks for the first match in `subject`; its groups go to `captures`.
    ///
    /// # Errors
    /// The match limit, or a subject that is not UTF-8 for a `(*UTF)` pattern.
    pub fn exec(&self, subject: &[u8], captures: &mut Captures) -> Result<bool, ExecError> {
        self.0.exec(subject, 0, 0, captures).map_err(ExecError)
    }

    /// Whether there is a match in `subject`; not where [`Regex::exec`] fails.
    pub fn is_match(&self, subject: &[u8]) -> bool {
        self.exec(subject, &mut Captures::new()) == Ok(true)
    }

    /// The groups of the first match in `subject`; none where [`Regex::exec`] fails.
    pub fn captures(&self, subject: &[u8]) -> Option<Groups> {
        let mut captures = Captures::new();
        let matched = self.exec(subject, &mut captures) == Ok(true);
        matched.then(|| (0..captures.len()).map(|group| captures.get(group)).collect())
    }
}

/// `message in "pattern"`, and `at "rest"` unless the fault is at the end.
fn complaint(message: &str, pattern: &[u8], offset: usize) -> String {
    let shown = BStr::new(pattern);
    match pattern.get(offset..) {
        None | Some([]) => format!("{message} in \"{shown}\""),
        Some(rest) => format!("{message} in \"{shown}\" at \"{}\"", BStr::new(rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nginx_s_patterns() {
        let regex = Regex::new(b"^/(?<area>[a-z]+)/(\\d+)(x)?$", true).unwrap();
        let groups = regex.captures(b"/SHOP/12").unwrap();
        assert_eq!(groups, [Some((0, 8)), Some((1, 5)), Some((6, 8))]);
        assert_eq!(regex.named_groups().collect::<Vec<_>>(), [(&b"area"[..], 1)]);
        assert_eq!((regex.captures(b"/shop"), regex.group_count()), (None, 3));
        assert!(!Regex::new(b"a", false).unwrap().is_match(b"A"));
        assert!(Regex::new(b"a", true).unwrap().is_match(b"A"));
        assert!(!Regex::nothing().is_match(b""));
    }

    #[test]
    fn a_match_that_cannot_be_decided_is_told() {
        let regex = Regex::new(b"(*UTF).", false).unwrap();
        let error = regex.exec(b"\xff", &mut Captures::new()).unwrap_err();
        assert!((-23..=-3).contains(&error.0), "{error}");
    }

    #[test]
    fn nginx_s_complaints() {
        let error = |pattern: &str| Regex::new(pattern.as_bytes(), false).unwrap_err().to_string();
        assert_eq!(
            error("(abc"),
            "pcre2_compile() failed: missing closing parenthesis in \"(abc\""
        );
        assert_eq!(
            error("abc)d"),
            "pcre2_compile() failed: unmatched closing parenthesis in \"abc)d\" at \")d\""
        );
    }
}
