//! `receiveuntil`: bytes up to a pattern that may be split between reads in any way.

/// A pattern that is looked for, and how much of it the last bytes matched.
#[derive(Clone, Debug)]
pub struct Until {
    pattern: Box<[u8]>,
    /// For each prefix of the pattern, by its length: the longest shorter one that ends it.
    borders: Box<[usize]>,
    inclusive: bool,
    matched: usize,
    is_over: bool,
}

/// How far a read of so many bytes has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Up to the pattern.
    None,
    /// So many bytes are still wanted.
    Rest(usize),
}

impl Until {
    /// Looks for `pattern`, which is not empty; what is read ends with it when `inclusive`.
    pub fn new(pattern: &[u8], inclusive: bool) -> Self {
        let mut borders = vec![0; pattern.len() + 1];
        let mut border = 0;
        for length in 1..pattern.len() {
            while border > 0 && pattern[border] != pattern[length] {
                border = borders[border];
            }
            border += usize::from(pattern[border] == pattern[length]);
            borders[length + 1] = border;
        }
        Self {
            pattern: pattern.into(),
            borders: borders.into(),
            inclusive,
            matched: 0,
            is_over: false,
        }
    }

    /// Whether the pattern was found by a read with a size: then one answer of nothing says so.
    pub fn take_over(&mut self) -> bool {
        std::mem::take(&mut self.is_over)
    }

    /// Takes bytes of `input` to `out`; gives how many were used, and whether the read is done.
    /// As in lua-nginx-module, a read with a size may give a few bytes more than that: those that
    /// looked like the pattern until then.
    pub fn feed(&mut self, input: &[u8], limit: &mut Limit, out: &mut Vec<u8>) -> (usize, bool) {
        let mut at = 0;
        while at < input.len() {
            if self.matched == 0 {
                at += self.skip(&input[at..], limit, out);
                if matches!(limit, Limit::Rest(0)) {
                    return (at, true);
                }
                if at == input.len() {
                    break;
                }
            }
            let byte = input[at];
            if byte == self.pattern[self.matched] {
                at += 1;
                self.matched += 1;
                if self.matched == self.pattern.len() {
                    self.found(*limit, out);
                    return (at, true);
                }
                continue;
            }
            let before = self.matched;
            let border = self.recover(byte);
            let given_up = match border {
                Some(border) => {
                    at += 1;
                    self.matched = border + 1;
                    before - border
                }
                None => {
                    self.matched = 0;
                    before
                }
            };
            out.extend_from_slice(&self.pattern[..given_up]);
            if let Limit::Rest(rest) = limit {
                *rest = rest.saturating_sub(given_up);
                if *rest == 0 {
                    return (at, true);
                }
            }
        }
        (at, false)
    }

    /// Copies bytes that do not begin the pattern; gives how many.
    fn skip(&self, input: &[u8], limit: &mut Limit, out: &mut Vec<u8>) -> usize {
        let first = memchr::memchr(self.pattern[0], input).unwrap_or(input.len());
        let count = match limit {
            Limit::None => first,
            Limit::Rest(rest) => {
                let count = first.min(*rest);
                *rest -= count;
                count
            }
        };
        out.extend_from_slice(&input[..count]);
        count
    }

    /// The longest shorter match that `byte` continues, if there is one of a byte at least.
    fn recover(&self, byte: u8) -> Option<usize> {
        let mut border = self.borders[self.matched];
        while border > 0 {
            if self.pattern[border] == byte {
                return Some(border);
            }
            border = self.borders[border];
        }
        None
    }

    fn found(&mut self, limit: Limit, out: &mut Vec<u8>) {
        self.matched = 0;
        self.is_over = limit != Limit::None;
        if self.inclusive {
            out.extend_from_slice(&self.pattern);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What is read from `input`, cut into pieces of `step` bytes, and what is left.
    fn read(pattern: &str, inclusive: bool, input: &str, step: usize) -> Option<(String, String)> {
        let mut until = Until::new(pattern.as_bytes(), inclusive);
        let mut out = Vec::new();
        let mut at = 0;
        while at < input.len() {
            let end = (at + step).min(input.len());
            let piece = &input.as_bytes()[at..end];
            let (used, done) = until.feed(piece, &mut Limit::None, &mut out);
            at += used;
            if done {
                return Some((String::from_utf8(out).unwrap(), input[at..].to_owned()));
            }
            assert_eq!(used, piece.len());
        }
        None
    }

    #[test]
    fn patterns_are_found_across_pieces() {
        let cases = [
            ("--", "ab--cd", "ab", "cd"),
            ("abcabd", "abcabcabd!", "abc", "!"),
            ("aaab", "aaaaab", "aa", ""),
            ("\r\n\r\n", "x\r\n\r\r\n\r\ny", "x\r\n\r", "y"),
            ("a", "aa", "", "a"),
            ("ababac", "abababababac", "ababab", ""),
        ];
        for (pattern, input, before, after) in cases {
            for step in 1..=input.len() {
                let expected = Some((before.to_owned(), after.to_owned()));
                assert_eq!(read(pattern, false, input, step), expected, "{pattern:?} by {step}");
                let with = Some((format!("{before}{pattern}"), after.to_owned()));
                assert_eq!(read(pattern, true, input, step), with, "{pattern:?} by {step}");
            }
        }
        assert_eq!(read("abc", false, "ababab", 2), None);
    }

    #[test]
    fn a_size_ends_a_read_early_and_the_end_is_told_once() {
        let mut until = Until::new(b"--", false);
        let input = b"abcdef--x";
        let mut at = 0;
        let mut pieces = Vec::new();
        loop {
            if until.take_over() {
                break;
            }
            let mut out = Vec::new();
            let (used, done) = until.feed(&input[at..], &mut Limit::Rest(4), &mut out);
            assert!(done);
            at += used;
            pieces.push(String::from_utf8(out).unwrap());
        }
        assert_eq!((pieces, at), (vec!["abcd".to_owned(), "ef".to_owned()], 8));
        assert!(!until.take_over());
    }

    proptest! {
        #[test]
        fn it_is_a_search(pattern in "[ab]{1,6}", input in "[abc]{0,60}", step in 1usize..9) {
            let found = input.find(&pattern)
                .map(|at| (input[..at].to_owned(), input[at + pattern.len()..].to_owned()));
            prop_assert_eq!(read(&pattern, false, &input, step), found);
        }
    }
}
