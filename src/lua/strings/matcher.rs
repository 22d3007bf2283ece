//! Lua 5.1's patterns over bytes, as LuaJIT matches them, with a limit on the work.

/// Groups of a pattern at most.
pub const MAX_CAPTURES: usize = 32;
/// Nested calls at most, as in LuaJIT.
const MAX_DEPTH: usize = 200;
/// Steps of one call of a string function at most: some hundred milliseconds.
pub const MAX_STEPS: u64 = 20_000_000;

const ESCAPE: u8 = b'%';

/// A pattern that means nothing, or one that takes too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Too deep, or too many steps.
    #[error("pattern too complex")]
    Complex,
    /// `%` at the end.
    #[error("malformed pattern (ends with '%')")]
    EndsWithEscape,
    /// `[` without `]`.
    #[error("malformed pattern (missing ']')")]
    MissingBracket,
    /// `%b` without two characters.
    #[error("unbalanced pattern")]
    Unbalanced,
    /// `%f` without a set.
    #[error("missing '[' after '%f' in pattern")]
    Frontier,
    /// `%1` of a group that is not there.
    #[error("invalid capture index")]
    CaptureIndex,
    /// `)` without `(`.
    #[error("invalid pattern capture")]
    CaptureClose,
    /// `(` without `)`.
    #[error("unfinished capture")]
    Unfinished,
    /// More than [`MAX_CAPTURES`] groups.
    #[error("too many captures")]
    TooMany,
}

/// What a group has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capture {
    /// Begun at this byte.
    Open(usize),
    /// `()`: a place.
    Position(usize),
    /// Bytes from here, so many.
    Span(usize, usize),
}

/// One subject and one pattern.
#[derive(Debug)]
pub struct Matcher<'a> {
    subject: &'a [u8],
    pattern: &'a [u8],
    captures: [Capture; MAX_CAPTURES],
    level: usize,
    depth: usize,
    steps: u64,
}

type Matched = Result<Option<usize>, Fault>;

impl<'a> Matcher<'a> {
    /// Without anchor: `pattern` is what follows a `^`.
    pub fn new(subject: &'a [u8], pattern: &'a [u8]) -> Self {
        Self {
            subject,
            pattern,
            captures: [Capture::Open(0); MAX_CAPTURES],
            level: 0,
            depth: 0,
            steps: 0,
        }
    }

    /// Where the match that begins at byte `start` ends.
    ///
    /// # Errors
    /// A pattern that means nothing or takes too long; the steps of all calls count together.
    pub fn match_at(&mut self, start: usize) -> Matched {
        self.level = 0;
        self.depth = 0;
        self.run(start, 0)
    }

    /// The groups of the match.
    pub fn captures(&self) -> &[Capture] {
        &self.captures[..self.level]
    }

    fn step(&mut self) -> Result<(), Fault> {
        self.steps += 1;
        if self.steps > MAX_STEPS { Err(Fault::Complex) } else { Ok(()) }
    }

    fn run(&mut self, mut s: usize, mut p: usize) -> Matched {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Fault::Complex);
        }
        let result = loop {
            self.step()?;
            let Some(&item) = self.pattern.get(p) else { break Some(s) };
            match (item, self.pattern.get(p + 1)) {
                (b'(', Some(b')')) => break self.open(s, p + 2, Capture::Position(s))?,
                (b'(', _) => break self.open(s, p + 1, Capture::Open(s))?,
                (b')', _) => break self.close(s, p + 1)?,
                (b'$', None) => break (s == self.subject.len()).then_some(s),
                (ESCAPE, Some(b'b')) => match self.balance(s, p + 2)? {
                    Some(next) => (s, p) = (next, p + 4),
                    None => break None,
                },
                (ESCAPE, Some(b'f')) => match self.frontier(s, p + 2)? {
                    Some(next) => p = next,
                    None => break None,
                },
                (ESCAPE, Some(digit)) if digit.is_ascii_digit() => {
                    match self.back_reference(s, *digit)? {
                        Some(next) => (s, p) = (next, p + 2),
                        None => break None,
                    }
                }
                _ => {
                    let end = self.class_end(p)?;
                    let matches = self.single(s, p, end);
                    match self.pattern.get(end) {
                        Some(b'?') => {
                            if matches && let Some(found) = self.run(s + 1, end + 1)? {
                                break Some(found);
                            }
                            p = end + 1;
                        }
                        Some(b'*') => break self.max_expand(s, p, end)?,
                        Some(b'+') if matches => break self.max_expand(s + 1, p, end)?,
                        Some(b'+') => break None,
                        Some(b'-') => break self.min_expand(s, p, end)?,
                        _ if matches => (s, p) = (s + 1, end),
                        _ => break None,
                    }
                }
            }
        };
        self.depth -= 1;
        Ok(result)
    }

    fn open(&mut self, s: usize, p: usize, capture: Capture) -> Matched {
        if self.level >= MAX_CAPTURES {
            return Err(Fault::TooMany);
        }
        self.captures[self.level] = capture;
        self.level += 1;
        let found = self.run(s, p)?;
        if found.is_none() {
            self.level -= 1;
        }
        Ok(found)
    }

    fn close(&mut self, s: usize, p: usize) -> Matched {
        let open = |it: &Capture| matches!(it, Capture::Open(_));
        let last = self.captures[..self.level].iter().rposition(open);
        let last = last.ok_or(Fault::CaptureClose)?;
        let Capture::Open(from) = self.captures[last] else { return Err(Fault::CaptureClose) };
        self.captures[last] = Capture::Span(from, s - from);
        let found = self.run(s, p)?;
        if found.is_none() {
            self.captures[last] = Capture::Open(from);
        }
        Ok(found)
    }

    fn balance(&mut self, s: usize, p: usize) -> Matched {
        let (Some(&open), Some(&close)) = (self.pattern.get(p), self.pattern.get(p + 1)) else {
            return Err(Fault::Unbalanced);
        };
        if self.subject.get(s) != Some(&open) {
            return Ok(None);
        }
        let mut depth = 1;
        for (at, &byte) in self.subject.iter().enumerate().skip(s + 1) {
            self.steps += 1;
            if byte == close {
                depth -= 1;
                if depth == 0 {
                    return Ok(Some(at + 1));
                }
            } else if byte == open {
                depth += 1;
            }
        }
        Ok(None)
    }

    /// The pattern's place behind the set, where the border of it is at `s`.
    fn frontier(&mut self, s: usize, p: usize) -> Matched {
        if self.pattern.get(p) != Some(&b'[') {
            return Err(Fault::Frontier);
        }
        let end = self.class_end(p)?;
        let before = s.checked_sub(1).map_or(0, |at| self.subject[at]);
        let here = self.subject.get(s).copied().unwrap_or(0);
        let is_border = !self.in_set(before, p, end - 1) && self.in_set(here, p, end - 1);
        Ok(is_border.then_some(end))
    }

    fn back_reference(&mut self, s: usize, digit: u8) -> Matched {
        let group = usize::from(digit).wrapping_sub(usize::from(b'1'));
        let (from, length) = match self.captures().get(group) {
            Some(&Capture::Span(from, length)) => (from, length),
            // No text is a position.
            Some(Capture::Position(_)) => return Ok(None),
            _ => return Err(Fault::CaptureIndex),
        };
        let same = self.subject[s..].starts_with(&self.subject[from..from + length]);
        self.steps += length as u64 / 8;
        Ok(same.then_some(s + length))
    }

    fn max_expand(&mut self, s: usize, p: usize, end: usize) -> Matched {
        let mut count = 0;
        while self.single(s + count, p, end) {
            self.step()?;
            count += 1;
        }
        loop {
            if let Some(found) = self.run(s + count, end + 1)? {
                return Ok(Some(found));
            }
            if count == 0 {
                return Ok(None);
            }
            count -= 1;
        }
    }

    fn min_expand(&mut self, mut s: usize, p: usize, end: usize) -> Matched {
        loop {
            if let Some(found) = self.run(s, end + 1)? {
                return Ok(Some(found));
            }
            if !self.single(s, p, end) {
                return Ok(None);
            }
            s += 1;
        }
    }

    /// Where the item that begins at `p` ends.
    fn class_end(&self, p: usize) -> Result<usize, Fault> {
        let mut at = p + 1;
        match self.pattern[p] {
            ESCAPE if at >= self.pattern.len() => Err(Fault::EndsWithEscape),
            ESCAPE => Ok(at + 1),
            b'[' => {
                if self.pattern.get(at) == Some(&b'^') {
                    at += 1;
                }
                loop {
                    let byte = *self.pattern.get(at).ok_or(Fault::MissingBracket)?;
                    at += 1;
                    if byte == ESCAPE && at < self.pattern.len() {
                        at += 1;
                    }
                    if self.pattern.get(at) == Some(&b']') {
                        return Ok(at + 1);
                    }
                }
            }
            _ => Ok(at),
        }
    }

    fn single(&self, s: usize, p: usize, end: usize) -> bool {
        let Some(&byte) = self.subject.get(s) else { return false };
        match self.pattern[p] {
            b'.' => true,
            ESCAPE => in_class(byte, self.pattern[p + 1]),
            b'[' => self.in_set(byte, p, end - 1),
            literal => literal == byte,
        }
    }

    /// Whether `byte` is in the set from `[` at `p` to `]` at `end`.
    fn in_set(&self, byte: u8, mut p: usize, end: usize) -> bool {
        let is_in = self.pattern.get(p + 1) != Some(&b'^');
        if !is_in {
            p += 1;
        }
        p += 1;
        while p < end {
            let item = self.pattern[p];
            if item == ESCAPE {
                p += 1;
                if in_class(byte, self.pattern[p]) {
                    return is_in;
                }
            } else if self.pattern[p + 1] == b'-' && p + 2 < end {
                p += 2;
                if item <= byte && byte <= self.pattern[p] {
                    return is_in;
                }
            } else if item == byte {
                return is_in;
            }
            p += 1;
        }
        !is_in
    }
}

/// Whether `byte` is of `%class`; what is no class stands for itself.
fn in_class(byte: u8, class: u8) -> bool {
    let is_in = match class.to_ascii_lowercase() {
        b'a' => byte.is_ascii_alphabetic(),
        b'c' => byte.is_ascii_control(),
        b'd' => byte.is_ascii_digit(),
        b'g' => byte.is_ascii_graphic(),
        b'l' => byte.is_ascii_lowercase(),
        b'p' => byte.is_ascii_punctuation(),
        b's' => byte == b' ' || (9..=13).contains(&byte),
        b'u' => byte.is_ascii_uppercase(),
        b'w' => byte.is_ascii_alphanumeric(),
        b'x' => byte.is_ascii_hexdigit(),
        b'z' => byte == 0,
        _ => return class == byte,
    };
    is_in != class.is_ascii_uppercase()
}
