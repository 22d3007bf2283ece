//! The lines of a journal, written and understood: `KIND CRC32 JSON`.

use super::{Record, Recovered};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// What the first line begins with.
pub(super) const MAGIC: &str = "moongate-journal-1";
/// Kinds of lines: the first; a state; a state in which something is closed.
pub(super) const HEAD: u8 = b'J';
pub(super) const OPEN: u8 = b'S';
pub(super) const CLOSED: u8 = b'X';

/// Transitions that are remembered: what a process may have decided shortly before it was killed.
const MOST_RECENT: usize = 16;

/// The content of the first line.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Head {
    pub magic: String,
    pub rollout: String,
    pub secret: String,
}

/// What a journal's bytes mean.
pub(super) struct Found {
    pub head: Option<Head>,
    pub recovered: Recovered,
    /// The last transitions.
    pub recent: Vec<Record>,
    /// Where whole lines end.
    pub length: u64,
}

impl Found {
    fn nothing(recovered: Recovered) -> Self {
        Self { head: None, recovered, recent: vec![], length: 0 }
    }
}

/// Understands a journal's content.
pub(super) fn read(bytes: &[u8], name: &str) -> Found {
    let unreadable = |why: String| Found::nothing(Recovered::Unreadable(why));
    let whole = bytes.iter().rposition(|it| *it == b'\n').map_or(0, |it| it + 1);
    let (lines, tail) = bytes.split_at(whole);
    let mut lines = lines.split_inclusive(|it| *it == b'\n');
    let Some(first) = lines.next() else {
        // Not even the first line was written: only its beginning, or what a crash left.
        let started = [HEAD, b' '];
        let is_torn =
            tail.iter().all(|it| *it == 0) || tail.starts_with(&started[..tail.len().min(2)]);
        let recovered = match is_torn {
            true => Recovered::Nothing,
            false => return unreadable("it is no journal".to_owned()),
        };
        return Found::nothing(recovered);
    };
    let head = match parse::<Head>(first) {
        Some((HEAD, head)) if head.magic == MAGIC => head,
        Some((HEAD, head)) => {
            return unreadable(format!("another version wrote it: {}", head.magic));
        }
        _ => return unreadable("its first line is damaged".to_owned()),
    };
    if head.rollout != name {
        return unreadable(format!("it is that of rollout \"{}\"", head.rollout));
    }
    let (mut last, mut recent) = (None, VecDeque::new());
    for (number, line) in lines.enumerate() {
        match parse::<Record>(line) {
            Some((OPEN | CLOSED, record)) => {
                if record.event.kind.is_transition() {
                    recent.push_back(record.clone());
                    recent.drain(..recent.len().saturating_sub(MOST_RECENT));
                }
                last = Some(Box::new(record));
            }
            _ => return unreadable(format!("line {} is damaged", number + 2)),
        }
    }
    let recovered = match (tail.first(), last) {
        (Some(&CLOSED), last) => Recovered::TornRollback(last),
        // What a crash leaves is the beginning of a line, or zeros; anything else was one.
        (Some(&(OPEN | 0)) | None, Some(last)) => Recovered::Record(last),
        (Some(&(OPEN | 0)) | None, None) => Recovered::Nothing,
        (Some(_), _) => return unreadable("its last line is damaged".to_owned()),
    };
    Found { head: Some(head), recovered, recent: recent.into(), length: whole as u64 }
}

/// `KIND CRC32 JSON` and a line end.
pub(in crate::rollout) fn line<T: Serialize>(kind: u8, content: &T) -> Vec<u8> {
    let json = serde_json::to_string(content).expect("records have string keys only");
    let kind = char::from(kind);
    format!("{kind} {:08x} {json}\n", checksum(kind as u8, json.as_bytes())).into_bytes()
}

/// The kind and the content of a whole line.
pub(in crate::rollout) fn parse<T: for<'de> Deserialize<'de>>(line: &[u8]) -> Option<(u8, T)> {
    let line = std::str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
    let (kind, rest) = line.split_once(' ')?;
    let (sum, json) = rest.split_once(' ')?;
    let [kind] = kind.as_bytes() else { return None };
    let is_whole =
        sum.len() == 8 && u32::from_str_radix(sum, 16) == Ok(checksum(*kind, json.as_bytes()));
    is_whole.then(|| serde_json::from_str(json).ok().map(|it| (*kind, it)))?
}

fn checksum(kind: u8, json: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[kind]);
    hasher.update(json);
    hasher.finalize()
}
