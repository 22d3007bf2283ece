//! A sink: a bounded queue of lines in front of one place.
//!
//! The queue has shards, so that workers do not meet on a lock; the writer holds a shard's lock
//! only to swap its buffer for an empty one. Lines of one thread keep their order.

use super::level::Level;
use super::target::{Error, Open, Target};
use super::{error_log, writer};
use crate::clock::{self, Tick};
use crate::sys;
use crate::sys::errno::Errno;
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes that wait in one shard at most, unless `buffer=` asks for more.
pub(super) const SHARD_LIMIT: usize = 1 << 20;
/// A place that failed is left alone this long.
const PAUSE_MS: u64 = 1000;
/// A place that goes on failing is reported this often.
const COMPLAINT_MS: u64 = 60_000;
/// Dropped lines are told of this often at most.
const REPORT_MS: u64 = 1000;
/// A buffer that grew beyond this is given back to the allocator once it is empty.
const KEPT_CAPACITY: usize = 256 << 10;

static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Lines of all logs that were dropped since the process started, because their place failed or
/// was too slow.
pub fn dropped_lines() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// When queued lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    /// As soon as a shard holds this many bytes.
    pub bytes: usize,
    /// As soon as its oldest line is this old; `None`: only by `bytes`.
    pub age_ms: Option<u64>,
}

/// A queue and its place.
#[derive(Debug)]
pub(super) struct Sink {
    place: Open,
    pub pace: Pace,
    pub target: Target,
    shards: Box<[Shard]>,
    output: Mutex<Output>,
    dropped: AtomicU64,
    reported: Mutex<Reported>,
}

/// What was told of [`Sink::dropped`].
#[derive(Debug, Default)]
struct Reported {
    lines: u64,
    at: Option<Tick>,
}

/// Aligned so that two shards share no cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(Mutex<Queue>);

#[derive(Debug, Default)]
struct Queue {
    bytes: Vec<u8>,
    lines: u64,
    /// When the oldest line came.
    since: Tick,
}

/// What was taken out of the shards and is not written yet.
#[derive(Debug, Default)]
struct Output {
    bytes: Vec<u8>,
    written: usize,
    paused_until: Tick,
    complained_at: Option<Tick>,
}

/// What a sink has left after the writer saw to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Left {
    /// Nothing.
    Nothing,
    /// Lines that wait for a full buffer only.
    Untimed,
    /// Lines that will have to be written soon, or something was written just now.
    Timed,
}

impl Sink {
    /// Opens `target` and registers the sink with the writer.
    pub fn open(target: &Target, pace: Pace, shards: usize) -> Result<Arc<Self>, Error> {
        let sink = Arc::new(Self {
            place: Open::new(target)?,
            pace,
            target: target.clone(),
            shards: (0..shards).map(|_| Shard::default()).collect(),
            output: Mutex::default(),
            dropped: AtomicU64::new(0),
            reported: Mutex::default(),
        });
        writer::register(&sink);
        Ok(sink)
    }

    /// The syslog server, if this sink has one: lines for it are whole datagrams.
    pub fn syslog(&self) -> Option<&super::syslog::Syslog> {
        match &self.place {
            Open::Syslog(syslog) => Some(syslog),
            _ => None,
        }
    }

    /// Queues what `add` appends, one line or datagram. Never waits.
    pub fn push(&self, len: usize, add: impl FnOnce(&mut Vec<u8>)) {
        let shard = &self.shards[sys::thread::slot() % self.shards.len()];
        let limit = SHARD_LIMIT.max(self.pace.bytes.saturating_mul(2));
        let mut queue = shard.0.lock();
        if queue.bytes.len() + len > limit {
            drop(queue);
            return self.count_dropped(1);
        }
        if queue.lines == 0 {
            queue.since = clock::monotonic();
        }
        queue.lines += 1;
        let (half, before) = (limit / 2, queue.bytes.len());
        add(&mut queue.bytes);
        let after = queue.bytes.len();
        drop(queue);
        if !writer::is_running() {
            self.drain(true);
        } else if before < half && after >= half {
            writer::hurry();
        } else if self.pace.age_ms.is_some() || after >= self.pace.bytes {
            writer::wake();
        }
    }

    /// Writes what is due, everything when `all`. One thread at a time, so lines keep their order.
    pub fn drain(&self, all: bool) -> Left {
        let (left, fault) = {
            let mut output = self.output.lock();
            let now = clock::monotonic();
            let mut fault = self.write_out(&mut output, now, all);
            let mut left = Left::Nothing;
            for shard in &self.shards {
                let mut taken = false;
                if output.bytes.is_empty() {
                    let queue = &mut *shard.0.lock();
                    taken = queue.lines > 0 && (all || self.is_due(queue, now));
                    if taken {
                        std::mem::swap(&mut queue.bytes, &mut output.bytes);
                        queue.lines = 0;
                    }
                }
                if taken {
                    fault = self.write_out(&mut output, now, all).or(fault);
                    left = Left::Timed;
                } else if shard.0.lock().lines > 0 {
                    left = left.max(self.left_in_shard());
                }
            }
            (if output.bytes.is_empty() { left } else { Left::Timed }, fault)
        };
        // Told with no lock held: the report may come back to this very sink.
        if let Some(text) = fault {
            error_log::main_log().say(Level::Alert, format_args!("{text}"));
        }
        if let Some(count) = self.unreported(all) {
            let place = self.place.name();
            let text = format_args!("{count} lines for {place} were dropped");
            error_log::main_log().say(Level::Alert, text);
        }
        // Somebody has to come back to tell of what is not told yet.
        let untold = self.reported.lock().lines < self.dropped.load(Ordering::Relaxed);
        if untold { Left::Timed } else { left }
    }

    fn left_in_shard(&self) -> Left {
        if self.pace.age_ms.is_some() { Left::Timed } else { Left::Untimed }
    }

    fn is_due(&self, queue: &Queue, now: Tick) -> bool {
        queue.bytes.len() >= self.pace.bytes
            || self.pace.age_ms.is_some_and(|age| now.ms_since(queue.since) >= age)
    }

    /// Writes `output` as far as its place takes it; gives what to complain of.
    fn write_out(&self, output: &mut Output, now: Tick, all: bool) -> Option<String> {
        if now < output.paused_until && !all {
            return None;
        }
        while output.written < output.bytes.len() {
            match self.place.write(&output.bytes[output.written..]) {
                Ok(0) => return None,
                Ok(n) => output.written += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    output.paused_until = now.plus_ms(PAUSE_MS);
                    let quiet = |at: Tick| now.ms_since(at) < COMPLAINT_MS;
                    if output.complained_at.is_some_and(quiet) {
                        return None;
                    }
                    output.complained_at = Some(now);
                    let place = self.place.name();
                    return Some(format!("write() to {place} failed {}", Errno(&error)));
                }
            }
        }
        output.written = 0;
        output.bytes.clear();
        output.bytes.shrink_to(KEPT_CAPACITY);
        None
    }

    /// How many dropped lines are to be told of: once the place takes lines again, and not all the
    /// time.
    fn unreported(&self, all: bool) -> Option<u64> {
        let is_blocked = !self.output.lock().bytes.is_empty();
        let (now, dropped) = (clock::monotonic(), self.dropped.load(Ordering::Relaxed));
        let mut reported = self.reported.lock();
        let is_early = |at: Tick| now.ms_since(at) < REPORT_MS;
        if is_blocked || dropped == reported.lines || !all && reported.at.is_some_and(is_early) {
            return None;
        }
        let count = dropped - reported.lines;
        *reported = Reported { lines: dropped, at: Some(now) };
        Some(count)
    }

    fn count_dropped(&self, lines: u64) {
        self.dropped.fetch_add(lines, Ordering::Relaxed);
        DROPPED.fetch_add(lines, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
