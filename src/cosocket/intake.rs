//! Bytes that have arrived, and what `receive` takes of them. Pure: no socket is known here.

use crate::cosocket::until::Limit;
use crate::cosocket::until::Until;
use smallvec::SmallVec;
use std::cell::RefCell;
use std::rc::Rc;

/// Bytes that are given at once where they are no more than that.
const SHORT: usize = 256;

/// Bytes that were received and not taken yet.
#[derive(Debug, Default)]
pub struct Intake {
    buffer: Vec<u8>,
    /// What of it is filled and not taken.
    start: usize,
    end: usize,
}

impl Intake {
    /// What waits to be taken.
    pub fn unread(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Gives `reader` what there is; whether it has all it wanted.
    pub fn feed(&mut self, reader: &mut Reader) -> bool {
        if self.unread().is_empty() {
            return false;
        }
        let (used, done) = reader.feed(&self.buffer[self.start..self.end]);
        self.start += used;
        done
    }

    /// What `reader`, which has got nothing yet, wants, if all of it is there and it is short: a
    /// line, or so many bytes.
    pub fn at_once(&mut self, reader: &Reader) -> Option<SmallVec<[u8; SHORT]>> {
        let unread = self.unread();
        let (length, used) = match reader.wish {
            Wish::Line => memchr::memchr(b'\n', unread).map(|it| (it, it + 1))?,
            Wish::Exactly(count) => (count, count),
            _ => return None,
        };
        let got = unread.get(..length).filter(|it| it.len() <= SHORT)?;
        let mut got = SmallVec::from_slice(got);
        if matches!(reader.wish, Wish::Line) && memchr::memchr(b'\r', &got).is_some() {
            got.retain(|it| *it != b'\r');
        }
        self.start += used;
        Some(got)
    }

    /// Room for the next `size` bytes; only when nothing is unread.
    pub fn room(&mut self, size: usize) -> &mut [u8] {
        self.start = 0;
        self.end = 0;
        if self.buffer.len() != size {
            self.buffer = vec![0; size];
        }
        &mut self.buffer
    }

    /// So many bytes were put into that room.
    pub fn filled(&mut self, count: usize) {
        self.end = count;
    }
}

/// What is wanted.
#[derive(Clone, Debug)]
enum Wish {
    /// `*l`: up to a line feed; carriage returns are left out wherever they are.
    Line,
    /// `*a`: all until the other side closes.
    All,
    /// So many bytes more.
    Exactly(usize),
    /// Whatever comes, but at most so many bytes.
    Any(usize),
    /// Up to a pattern.
    Until(Rc<RefCell<Until>>, Limit),
}

/// A read under way: what is wanted, and what it has got.
#[derive(Clone, Debug)]
pub struct Reader {
    wish: Wish,
    out: Vec<u8>,
}

impl Reader {
    fn new(wish: Wish) -> Self {
        Self { wish, out: Vec::new() }
    }

    /// A line.
    pub fn line() -> Self {
        Self::new(Wish::Line)
    }

    /// Everything until the end.
    pub fn all() -> Self {
        Self::new(Wish::All)
    }

    /// `count` bytes, of which there is one at least.
    pub fn exactly(count: usize) -> Self {
        Self::new(Wish::Exactly(count))
    }

    /// Whatever comes first, at most `most` bytes.
    pub fn any(most: usize) -> Self {
        Self::new(Wish::Any(most))
    }

    /// Up to the pattern of `until`; at most about `size` bytes at a time, if that is not 0.
    pub fn until(until: Rc<RefCell<Until>>, size: usize) -> Self {
        let limit = if size == 0 { Limit::None } else { Limit::Rest(size) };
        Self::new(Wish::Until(until, limit))
    }

    /// What it has got.
    pub fn got(&self) -> &[u8] {
        &self.out
    }

    /// The same, to be kept.
    pub fn into_got(self) -> Vec<u8> {
        self.out
    }

    /// Takes of `input`, which is not empty: how many bytes were used, and whether it is done.
    fn feed(&mut self, input: &[u8]) -> (usize, bool) {
        match &mut self.wish {
            Wish::Line => {
                let end = memchr::memchr(b'\n', input);
                let line = &input[..end.unwrap_or(input.len())];
                if memchr::memchr(b'\r', line).is_none() {
                    self.out.extend_from_slice(line);
                } else {
                    self.out.extend(line.iter().filter(|it| **it != b'\r'));
                }
                (end.map_or(input.len(), |it| it + 1), end.is_some())
            }
            Wish::All => {
                self.out.extend_from_slice(input);
                (input.len(), false)
            }
            Wish::Exactly(rest) => {
                let count = input.len().min(*rest);
                self.out.extend_from_slice(&input[..count]);
                *rest -= count;
                (count, *rest == 0)
            }
            Wish::Any(most) => {
                let count = input.len().min(*most);
                self.out.extend_from_slice(&input[..count]);
                (count, true)
            }
            Wish::Until(until, limit) => until.borrow_mut().feed(input, limit, &mut self.out),
        }
    }

    /// Whether it has all it wanted when nothing follows.
    pub fn ends_with_input(&self) -> bool {
        matches!(self.wish, Wish::All)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `reader` gets of `pieces`, whether it is done, and what is left of the last piece.
    fn feed(mut reader: Reader, pieces: &[&str]) -> (String, bool, String) {
        let mut intake = Intake::default();
        let mut done = false;
        for piece in pieces {
            let bytes = piece.as_bytes();
            intake.room(64)[..bytes.len()].copy_from_slice(bytes);
            intake.filled(bytes.len());
            done = intake.feed(&mut reader);
        }
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (text(reader.got()), done, text(intake.unread()))
    }

    #[test]
    fn lines_have_no_carriage_returns() {
        let is = |got: &str, done, left: &str| (got.to_owned(), done, left.to_owned());
        assert_eq!(feed(Reader::line(), &["ab\r\ncd"]), is("ab", true, "cd"));
        assert_eq!(feed(Reader::line(), &["a\rb", "\r\n"]), is("ab", true, ""));
        assert_eq!(feed(Reader::line(), &["ab\r"]), is("ab", false, ""));
        assert_eq!(feed(Reader::line(), &["\n\n"]), is("", true, "\n"));
    }

    #[test]
    fn what_is_short_and_there_is_given_at_once() {
        let mut intake = Intake::default();
        intake.room(600)[..11].copy_from_slice(b"a\rb\r\n\nlast!");
        intake.filled(11);
        let mut at_once = |reader: &Reader| intake.at_once(reader).map(|it| it.to_vec());
        assert_eq!(at_once(&Reader::line()), Some(b"ab".to_vec()));
        assert_eq!(at_once(&Reader::line()), Some(vec![]));
        assert_eq!((at_once(&Reader::line()), at_once(&Reader::exactly(7))), (None, None));
        assert_eq!((at_once(&Reader::any(1)), at_once(&Reader::all())), (None, None));
        assert_eq!(at_once(&Reader::exactly(5)), Some(b"last!".to_vec()));
        intake.room(600).fill(b'x');
        intake.filled(600);
        assert_eq!(intake.at_once(&Reader::exactly(SHORT + 1)), None, "it is long");
        assert_eq!(intake.unread().len(), 600);
    }

    #[test]
    fn sizes_are_kept() {
        let is = |got: &str, done, left: &str| (got.to_owned(), done, left.to_owned());
        assert_eq!(feed(Reader::exactly(3), &["ab", "cd"]), is("abc", true, "d"));
        assert_eq!(feed(Reader::exactly(3), &["ab"]), is("ab", false, ""));
        assert_eq!(feed(Reader::any(3), &["abcd"]), is("abc", true, "d"));
        assert_eq!(feed(Reader::any(9), &["ab"]), is("ab", true, ""));
        assert_eq!(feed(Reader::all(), &["ab", "cd"]), is("abcd", false, ""));
        assert!(Reader::all().ends_with_input() && !Reader::line().ends_with_input());
    }
}
