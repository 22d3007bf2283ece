//! The last grave lines of all error logs and how many there were of each level, for `/status`
//! and `/metrics`.

use super::level::Level;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

/// Lines that are kept.
pub const KEPT_LINES: usize = 64;

static LINES: Mutex<VecDeque<Box<[u8]>>> = Mutex::new(VecDeque::new());
static COUNTS: [AtomicU64; 9] = [const { AtomicU64::new(0) }; 9];

/// The last lines of level `warn` or graver, the oldest first, without their line feed.
pub fn recent() -> Vec<String> {
    LINES.lock().iter().map(|it| String::from_utf8_lossy(it).into_owned()).collect()
}

/// Lines written since the process started, by level number.
pub fn counts() -> [u64; 9] {
    std::array::from_fn(|level| COUNTS[level].load(Ordering::Relaxed))
}

pub(super) fn note(level: Level, line: &[u8]) {
    COUNTS[level as usize].fetch_add(1, Ordering::Relaxed);
    if level > Level::Warn {
        return;
    }
    let mut lines = LINES.lock();
    if lines.len() == KEPT_LINES {
        lines.pop_front();
    }
    lines.push_back(line.into());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grave_lines_are_kept_and_all_counted() {
        let before = counts();
        note(Level::Info, b"ring: quiet");
        for number in 0..KEPT_LINES + 3 {
            note(Level::Crit, format!("ring: {number}").as_bytes());
        }
        let lines = recent();
        assert_eq!(lines.len(), KEPT_LINES);
        assert!(!lines.iter().any(|it| it == "ring: quiet" || it == "ring: 0"));
        assert!(counts()[Level::Info as usize] > before[Level::Info as usize]);
    }
}
