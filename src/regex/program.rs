//! A pattern of `ngx.re`. OpenResty 0.10.23 compiles them with PCRE1; what PCRE2 refuses and PCRE1
//! took (unknown escapes, `[\w-.]`) is taken here too, and errors read as PCRE1's. What still
//! differs: `a{,3}` is a quantifier, `\8` a reference, a lone `]` is text under `J`, and the place
//! in a few complaints.

use crate::regex::complaint;
use crate::regex::options::Options;
use crate::sys::pcre2::{Captures, Code, CompileError};
use std::borrow::Cow;

/// Why a pattern does not compile; the text is OpenResty's, cut to the 127 bytes that it has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(String);

/// A match that could not be decided, with PCRE1's number; the text is OpenResty's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("pcre_exec() failed: {0}")]
pub struct ExecError(pub i32);

/// A compiled pattern with its options.
#[derive(Debug)]
pub struct Program {
    code: Code,
    options: Options,
    match_limit: u32,
}

/// Bytes of an error's text.
const MAX_ERROR: usize = 127;
const UNKNOWN_ESCAPE: i32 = 103;
const CLASS_INVALID_RANGE: i32 = 150;

impl Program {
    /// Compiles `pattern`; `match_limit` is `lua_regex_match_limit`, 0 for none.
    ///
    /// # Errors
    /// What is wrong with the pattern.
    pub fn compile(pattern: &[u8], options: Options, match_limit: u32) -> Result<Self, Error> {
        let code = compile_leniently(pattern, options).map_err(|error| {
            let (message, offset) = as_pcre1(pattern, &error);
            let mut text =
                format!("pcre_compile() failed: {}", complaint(&message, pattern, offset));
            let mut end = MAX_ERROR.min(text.len());
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            text.truncate(end);
            Error(text)
        })?;
        Ok(Self { code, options, match_limit })
    }

    /// The options it was compiled with.
    pub const fn options(&self) -> Options {
        self.options
    }

    /// How many groups a match may have; none under the DFA algorithm.
    pub const fn group_count(&self) -> usize {
        if self.options.dfa { 0 } else { self.code.group_count() }
    }

    /// The named groups as (name, number), sorted by name; one name may occur more than once.
    pub fn names(&self) -> impl Iterator<Item = (&[u8], usize)> {
        self.code.names()
    }

    /// Looks for a match in `subject` from byte `start` (from 0) on.
    ///
    /// # Errors
    /// Among others -10 (not UTF-8), -11 (`start` within a character), -24 (`start` beyond the
    /// end), -8 (match limit).
    pub fn exec(
        &self,
        subject: &[u8],
        start: usize,
        captures: &mut Captures,
    ) -> Result<bool, ExecError> {
        let matched = if self.options.dfa {
            self.code.exec_dfa(subject, start, captures)
        } else {
            self.code.exec(subject, start, self.match_limit, captures)
        };
        matched.map_err(|code| ExecError(pcre1_code(code)))
    }
}

/// Where to look for the match after this one, as `ngx.re.gmatch` and `gsub` do: at its end, or
/// one byte on when it was empty.
pub fn next_start(captures: &Captures) -> usize {
    match captures.get(0) {
        Some((start, end)) if start == end => end + 1,
        Some((_, end)) => end,
        None => 0,
    }
}

/// Compiles with PCRE1's leniency, granted only where PCRE2 asks for it.
fn compile_leniently(pattern: &[u8], options: Options) -> Result<Code, CompileError> {
    let mut flags = options.flags();
    let mut text = Cow::Borrowed(pattern);
    loop {
        let error = match Code::compile(&text, flags, options.jit) {
            Ok(code) => return Ok(code),
            Err(error) => error,
        };
        // What was inserted so far stands before the place of this error.
        let inserted = text.len() - pattern.len();
        let shown = CompileError { offset: error.offset.saturating_sub(inserted), ..error };
        if error.code == UNKNOWN_ESCAPE && !flags.bad_escape_is_literal {
            flags.bad_escape_is_literal = true;
        } else if error.code == CLASS_INVALID_RANGE {
            // A hyphen beside a class escape is literal: say so.
            let before = &text[..error.offset.min(text.len())];
            let hyphen = memchr::memrchr(b'-', before)
                .filter(|&at| at > 0 && !before[..at].ends_with(b"\\") && at + 3 > before.len());
            let Some(hyphen) = hyphen else { return Err(shown) };
            text.to_mut().insert(hyphen, b'\\');
        } else {
            return Err(shown);
        }
    }
}

/// PCRE1's text and offset for PCRE2's error, where they are known to differ.
fn as_pcre1(pattern: &[u8], error: &CompileError) -> (Cow<'static, str>, usize) {
    let back = |bytes: usize| error.offset.saturating_sub(bytes);
    let (message, offset) = match error.code {
        106 => ("missing terminating ] for character class", pattern.len()),
        108 => ("range out of order in character class", error.offset),
        109 => ("nothing to repeat", error.offset),
        111 => ("unrecognized character after (? or (?-", error.offset),
        114 => ("missing )", error.offset),
        // PCRE1 sees it only at the end.
        115 => ("reference to non-existent subpattern", pattern.len()),
        118 => ("missing ) after comment", error.offset),
        122 => ("unmatched parentheses", error.offset),
        125 => ("lookbehind assertion is not fixed length", error.offset),
        130 => ("unknown POSIX class name", error.offset),
        134 => ("character value in \\x{} or \\o{} is too large", error.offset),
        137 => ("PCRE does not support \\L, \\l, \\N{name}, \\U, or \\u", back(1)),
        142 => ("syntax error in subpattern name (missing terminator)", error.offset),
        143 => ("two named subpatterns have the same name", back(1)),
        144 => ("group name must start with a non-digit", error.offset),
        147 => ("unknown property name after \\P or \\p", back(1)),
        CLASS_INVALID_RANGE => ("invalid range in character class", back(1)),
        158 => ("(?R or (?[+-]digits must be followed by )", error.offset),
        160 => ("(*VERB) not recognized or malformed", error.offset),
        _ => return (Cow::Owned(error.message()), error.offset),
    };
    (Cow::Borrowed(message), offset)
}

/// PCRE1's number of an error that PCRE2's matching gave.
const fn pcre1_code(code: i32) -> i32 {
    match code {
        -23..=-3 => -10,
        -33 => -24,
        -34 => -3,
        -36 => -11,
        -39 => -20,
        -40 => -17,
        -41 | -42 => -16,
        -43 => -19,
        -44 => -14,
        -46 => -27,
        -47 | -63 => -8,
        -48 => -6,
        -51 => -2,
        -52 => -26,
        -53 => -21,
        _ => code,
    }
}

#[cfg(test)]
mod tests;
