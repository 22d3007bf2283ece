//! `lua_capture_error_log`: the lines that a worker has logged, until a script takes them.

use super::level::Level;
use crate::clock;
use std::cell::RefCell;
use std::collections::VecDeque;

/// A line that was captured.
#[derive(Clone, Debug, PartialEq)]
pub struct Captured {
    /// How grave it is.
    pub level: Level,
    /// When it was written: seconds of unix time.
    pub time_s: f64,
    /// The line without its line feed.
    pub text: Box<[u8]>,
}

/// What one thread has captured. The oldest lines make room for new ones.
#[derive(Debug)]
struct Capture {
    /// Bytes that may be kept.
    room: usize,
    used: usize,
    /// Lines of this level and graver ones are kept.
    filter: Level,
    lines: VecDeque<Captured>,
}

thread_local! {
    static CAPTURE: RefCell<Option<Capture>> = const { RefCell::new(None) };
}

/// Bytes that a line takes beside its text.
const LINE_BYTES: usize = size_of::<Captured>();

/// Keeps up to `room` bytes of what this thread logs from now on; 0 keeps none. What was kept
/// stays as far as there is room.
pub fn install(room: usize) {
    CAPTURE.with_borrow_mut(|capture| {
        if room == 0 {
            *capture = None;
            return;
        }
        let filter = Level::Debug;
        let fresh = || Capture { room, used: 0, filter, lines: VecDeque::new() };
        let capture = capture.get_or_insert_with(fresh);
        capture.room = room;
        capture.make_room(0);
    });
}

/// Keeps lines of `level` and graver ones only; false where nothing is captured.
pub fn set_filter(level: Level) -> bool {
    CAPTURE.with_borrow_mut(|it| it.as_mut().map(|it| it.filter = level).is_some())
}

/// Takes up to `most` lines, the oldest first; `None` where nothing is captured.
pub fn take(most: usize) -> Option<Vec<Captured>> {
    CAPTURE.with_borrow_mut(|capture| {
        let capture = capture.as_mut()?;
        let count = most.min(capture.lines.len());
        let taken: Vec<_> = capture.lines.drain(..count).collect();
        capture.used -= taken.iter().map(Captured::bytes).sum::<usize>();
        Some(taken)
    })
}

/// Keeps a line that was written.
pub(super) fn note(level: Level, text: &[u8]) {
    CAPTURE.with_borrow_mut(|capture| {
        let Some(capture) = capture.as_mut().filter(|it| level <= it.filter) else { return };
        let time_s = clock::cached_ms() as f64 / 1000.0;
        let line = Captured { level, time_s, text: text.into() };
        if line.bytes() <= capture.room {
            capture.make_room(line.bytes());
            capture.used += line.bytes();
            capture.lines.push_back(line);
        }
    });
}

impl Captured {
    fn bytes(&self) -> usize {
        self.text.len() + LINE_BYTES
    }
}

impl Capture {
    fn make_room(&mut self, wanted: usize) {
        while self.used + wanted > self.room
            && let Some(oldest) = self.lines.pop_front()
        {
            self.used -= oldest.bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(most: usize) -> Vec<String> {
        let taken = take(most).unwrap();
        taken.iter().map(|it| String::from_utf8_lossy(&it.text).into_owned()).collect()
    }

    #[test]
    fn lines_are_kept_until_they_are_taken() {
        assert!(take(1).is_none() && !set_filter(Level::Warn));
        install(3 * (LINE_BYTES + 5));
        for text in ["one", "two", "three", "four"] {
            note(Level::Error, text.as_bytes());
        }
        assert_eq!(texts(1), ["two"]);
        assert_eq!(texts(9), ["three", "four"]);
        assert!(set_filter(Level::Warn));
        note(Level::Notice, b"quiet");
        note(Level::Warn, b"loud");
        note(Level::Error, &[b'x'; 4096]);
        assert_eq!(texts(9), ["loud"]);
        install(0);
        assert!(take(1).is_none());
    }
}
