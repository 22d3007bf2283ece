//! The option letters of `ngx.re.match` and its kind.

use crate::sys::pcre2::Flags;

/// What a string of option letters asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Options {
    /// `o`: compile once per worker and cache.
    pub once: bool,
    /// `j`: compile to machine code.
    pub jit: bool,
    /// `d`: match by the DFA algorithm.
    pub dfa: bool,
    /// `D`: several groups may have one name.
    pub dupnames: bool,
    /// `U`: as `u`, and the subject's encoding is not checked.
    pub unchecked: bool,
    /// `u`, `U`: characters, not bytes.
    pub utf: bool,
    /// `a`: match at the start only.
    pub anchored: bool,
    /// `i`: without regard to case.
    pub caseless: bool,
    /// `m`: `^` and `$` match at lines.
    pub multiline: bool,
    /// `s`: `.` matches a newline.
    pub dotall: bool,
    /// `x`: white space and comments in the pattern.
    pub extended: bool,
    /// `J`: JavaScript's syntax where it differs.
    pub javascript: bool,
}

/// A letter that means nothing; the text is OpenResty's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown flag \"{}\" (flags \"{flags}\")", .flag.escape_ascii())]
pub struct UnknownFlag {
    flag: u8,
    flags: bstr::BString,
}

impl Options {
    /// Reads option letters.
    ///
    /// # Errors
    /// The first letter that is none; OpenResty raises it as a Lua error.
    pub fn parse(letters: &[u8]) -> Result<Self, UnknownFlag> {
        let mut this = Self::default();
        for &flag in letters {
            match flag {
                b'o' => this.once = true,
                b'j' => this.jit = true,
                b'd' => this.dfa = true,
                b'D' => this.dupnames = true,
                b'u' => this.utf = true,
                b'U' => (this.utf, this.unchecked) = (true, true),
                b'a' => this.anchored = true,
                b'i' => this.caseless = true,
                b'm' => this.multiline = true,
                b's' => this.dotall = true,
                b'x' => this.extended = true,
                b'J' => this.javascript = true,
                _ => return Err(UnknownFlag { flag, flags: letters.into() }),
            }
        }
        Ok(this)
    }

    /// The flags to compile with. Text that is not UTF-8 matches nothing under `U`, where
    /// OpenResty's behaviour is undefined; the DFA algorithm cannot do so and checks it.
    pub(super) fn flags(self) -> Flags {
        Flags {
            caseless: self.caseless,
            multiline: self.multiline,
            dotall: self.dotall,
            extended: self.extended,
            anchored: self.anchored,
            dupnames: self.dupnames,
            utf: self.utf,
            match_invalid_utf: self.unchecked && !self.dfa,
            javascript: self.javascript,
            bad_escape_is_literal: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_options() {
        let options = Options::parse(b"ijoU").unwrap();
        assert!(options.caseless && options.jit && options.once && options.utf);
        assert!(options.unchecked && !options.dotall);
        assert_eq!(Options::parse(b""), Ok(Options::default()));
    }

    #[test]
    fn an_unknown_letter_is_named() {
        let error = Options::parse(b"iz").unwrap_err();
        assert_eq!(error.to_string(), "unknown flag \"z\" (flags \"iz\")");
    }
}
