//! Access logs: lines made by workers, written by the writer.

use super::sink::{Pace, Sink};
use super::target::{Error, Target};
use super::writer;
use std::sync::Arc;

/// Queues of one access log; workers beyond this many share one.
const SHARDS: usize = 16;
/// Without `buffer=`: in the file within 100 ms, in few writes under load.
const UNBUFFERED: Pace = Pace { bytes: 64 << 10, age_ms: Some(50) };

/// `buffer=SIZE [flush=TIME]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffering {
    /// A worker's lines are written when they are this many bytes.
    pub bytes: usize,
    /// They are written when the oldest is this old; `None`: only when the buffer is full, at
    /// reopening and at the end.
    pub flush_ms: Option<u64>,
}

/// An open access log, shared by all that log to its target; cheap to clone.
#[derive(Clone, Debug)]
pub struct AccessSink(Arc<Sink>);

impl AccessSink {
    /// Opens `target`, once for all that name it with the same buffering.
    ///
    /// # Errors
    /// `open() "PATH" failed …`, or what is wrong with a syslog target.
    pub fn open(target: &Target, buffering: Option<Buffering>) -> Result<Self, Error> {
        let pace = buffering.map_or(UNBUFFERED, |it| Pace { bytes: it.bytes, age_ms: it.flush_ms });
        match writer::known(|it| it.target == *target && it.pace == pace) {
            Some(known) => Ok(Self(known)),
            None => Sink::open(target, pace, SHARDS).map(Self),
        }
    }

    /// Writes `line`, which has no line feed. Never waits; a line without room is dropped and
    /// counted.
    pub fn write(&self, line: &[u8]) {
        match self.0.syslog() {
            Some(syslog) => self.0.push(syslog.framed_len(line.len()), |queue| {
                syslog.frame(None, line, queue);
            }),
            None => self.0.push(line.len() + 1, |queue| {
                queue.extend_from_slice(line);
                queue.push(b'\n');
            }),
        }
    }
}
