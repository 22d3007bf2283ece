//! `Range`: which bytes of a body a client asks for (RFC 9110 section 14.2, as nginx reads it).

use std::ops::Range;

/// What a `Range` field asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The whole body: the field is to be ignored.
    Whole,
    /// These parts, in the order in which they were asked for; at least one, none of them empty.
    Parts(Vec<Range<u64>>),
    /// Nothing that is there (416).
    Nothing,
}

/// The largest number that nginx reads.
const MOST: u64 = i64::MAX as u64;

/// Reads the value of a `Range` for a body of `length` bytes; of more than `most` parts none is
/// sent. A unit other than bytes asks for the whole, and so do parts that overlap so much that
/// they are longer than it.
pub fn parse(value: &[u8], length: u64, most: u64) -> Asked {
    if value.len() < 7 || !value[..6].eq_ignore_ascii_case(b"bytes=") {
        return Asked::Whole;
    }
    let mut cursor = Cursor(&value[6..]);
    let mut parts: Vec<Range<u64>> = Vec::new();
    let mut total = 0_u64;
    loop {
        let Some(part) = cursor.part(length) else { return Asked::Nothing };
        if part.start < part.end {
            total = total.saturating_add(part.end - part.start);
            if total > MOST {
                return Asked::Nothing;
            }
            if parts.len() as u64 >= most {
                return Asked::Whole;
            }
            parts.push(part);
        } else if part.start == 0 {
            return Asked::Whole;
        }
        if !cursor.eat(b',') {
            break;
        }
    }
    match parts.is_empty() {
        true => Asked::Nothing,
        false if total > length => Asked::Whole,
        false => Asked::Parts(parts),
    }
}

struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    /// `FIRST-LAST`, `FIRST-` or `-COUNT`, up to the comma or the end; empty when it lies behind
    /// the body.
    fn part(&mut self, length: u64) -> Option<Range<u64>> {
        self.spaces();
        if self.eat(b'-') {
            let count = self.number()?;
            self.end()?;
            return Some(length.saturating_sub(count)..length);
        }
        let start = self.number()?;
        self.spaces();
        if !self.eat(b'-') {
            return None;
        }
        self.spaces();
        if self.is_end() {
            return Some(start..length);
        }
        let last = self.number()?;
        self.end()?;
        Some(start..if last >= length { length } else { last + 1 })
    }

    fn spaces(&mut self) {
        while self.eat(b' ') {}
    }

    fn eat(&mut self, byte: u8) -> bool {
        match self.0.split_first() {
            Some((first, rest)) if *first == byte => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }

    fn number(&mut self) -> Option<u64> {
        let digits = self.0.iter().take_while(|it| it.is_ascii_digit()).count();
        let (number, rest) = self.0.split_at(digits);
        self.0 = rest;
        // Leading zeros may be as many as they like.
        let number = std::str::from_utf8(number).ok()?.parse().ok()?;
        Some(number).filter(|it| *it <= MOST)
    }

    fn is_end(&self) -> bool {
        self.0.first().is_none_or(|it| *it == b',')
    }

    fn end(&mut self) -> Option<()> {
        self.spaces();
        self.is_end().then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `value` asks of ten bytes.
    fn of_ten(value: &str) -> String {
        match parse(value.as_bytes(), 10, u64::MAX) {
            Asked::Whole => "whole".into(),
            Asked::Nothing => "nothing".into(),
            Asked::Parts(parts) => {
                let parts = parts.iter().map(|it| format!("{}..{}", it.start, it.end));
                parts.collect::<Vec<_>>().join(" ")
            }
        }
    }

    #[test]
    fn the_three_forms_and_their_ends() {
        assert_eq!(of_ten("bytes=0-0"), "0..1");
        assert_eq!(of_ten("Bytes=2-5"), "2..6");
        assert_eq!(of_ten("bytes=7-"), "7..10");
        assert_eq!(of_ten("bytes=7-99"), "7..10");
        assert_eq!(of_ten("bytes=-3"), "7..10");
        assert_eq!(of_ten("bytes=-99"), "0..10");
        assert_eq!(of_ten("bytes= 1 - 2 , -1"), "1..3 9..10");
        assert_eq!(of_ten("bytes=0-1,20-30,4-4"), "0..2 4..5");
    }

    #[test]
    fn what_is_not_there() {
        for value in ["bytes=10-", "bytes=10-12", "bytes=99-100,20-30", "bytes=-0", "bytes=5-4"] {
            assert_eq!(of_ten(value), "nothing", "{value}");
        }
    }

    #[test]
    fn what_is_no_range() {
        for value in ["bytes=a-b", "bytes=1", "bytes=1-2;", "bytes=1-2, ", "bytes=--1"] {
            assert_eq!(of_ten(value), "nothing", "{value}");
        }
        for value in ["bytes=", "items=0-1", "bytes 0-1", "0-1"] {
            assert_eq!(of_ten(value), "whole", "{value}");
        }
        assert_eq!(of_ten("bytes=9223372036854775808-"), "nothing");
        assert_eq!(of_ten("bytes=0-9223372036854775807"), "0..10");
        assert_eq!(of_ten("bytes=0-9223372036854775808"), "nothing");
        assert_eq!(of_ten("bytes=0-99999999999999999999999"), "nothing");
    }

    #[test]
    fn parts_that_are_longer_than_the_body_are_not_cut_out() {
        assert_eq!(of_ten("bytes=0-,0-0"), "whole");
        assert_eq!(of_ten("bytes=0-4,5-9"), "0..5 5..10");
    }

    #[test]
    fn an_empty_body_has_no_parts() {
        assert_eq!(parse(b"bytes=0-", 0, 9), Asked::Whole);
        assert_eq!(parse(b"bytes=-1", 0, 9), Asked::Whole);
        assert_eq!(parse(b"bytes=1-", 0, 9), Asked::Nothing);
    }

    #[test]
    fn too_many_parts_are_none() {
        assert_eq!(parse(b"bytes=0-0,2-2", 9, 1), Asked::Whole);
        let one = parse(b"bytes=0-0,20-22", 9, 1);
        assert!(matches!(one, Asked::Parts(parts) if parts.len() == 1 && parts[0] == (0..1)));
    }
}
