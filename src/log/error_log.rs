//! Error logs: `2026/11/23 12:00:00 [error] 123#125: *7 message, client: 127.0.0.1, …`.

use super::capture;
use super::level::Level;
use super::line::Line;
use super::ring;
use super::sink::{Pace, Sink};
use super::target::{Error, Target};
use super::writer;
use crate::clock;
use crate::sys;
use arc_swap::ArcSwap;
use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::sync::{Arc, LazyLock};

/// What follows a message: `, client: …, server: …`; asked for only when a line is written.
pub type Context<'a> = Option<&'a dyn Fn(&mut Line)>;

/// The error logs of one place in a configuration; cheap to clone.
#[derive(Clone, Debug)]
pub struct ErrorLog(Arc<Logs>);

#[derive(Debug)]
struct Logs {
    logs: Vec<(Level, Arc<Sink>)>,
    /// The least grave level that any of `logs` takes.
    most: Level,
}

impl ErrorLog {
    /// Opens all `targets`, each taking lines of its level and graver.
    ///
    /// # Errors
    /// `open() "PATH" failed …`, or what is wrong with a syslog target.
    pub fn open(targets: &[(Target, Level)]) -> Result<Self, Error> {
        let open = |(target, level): &(Target, Level)| Ok((*level, sink(target)?));
        let logs = targets.iter().map(open).collect::<Result<Vec<_>, Error>>()?;
        Ok(Self::of(logs))
    }

    /// A log to the standard error stream.
    pub fn stderr(level: Level) -> Self {
        Self::of(sink(&Target::Stderr).map(|it| (level, it)).into_iter().collect())
    }

    /// A log that writes nothing.
    pub fn silent() -> Self {
        Self::of(Vec::new())
    }

    fn of(logs: Vec<(Level, Arc<Sink>)>) -> Self {
        let most = logs.iter().map(|it| it.0).max().unwrap_or(Level::Stderr);
        Self(Arc::new(Logs { logs, most }))
    }

    /// Whether a line of `level` would be written anywhere. Ask before building a message at cost.
    pub fn enabled(&self, level: Level) -> bool {
        level <= self.0.most && !self.0.logs.is_empty()
    }

    /// Writes a line about the server itself, not about a connection.
    pub fn say(&self, level: Level, message: fmt::Arguments<'_>) {
        self.write(level, None, message, None);
    }

    /// Writes a line. `connection` is the client connection's number; `message` may have several
    /// lines (tracebacks), so what it quotes from outside goes through [`super::line::Escaped`].
    /// Cut at [`super::line::MAX_LINE`] bytes as nginx does. Never waits.
    pub fn write(
        &self,
        level: Level,
        connection: Option<u64>,
        message: fmt::Arguments<'_>,
        context: Context<'_>,
    ) {
        self.write_line(level, connection, context, &|line| {
            // Writing to a line cannot fail; a value whose own `Display` fails is cut there.
            let _ = line.write_fmt(message);
        });
    }

    /// [`Self::write`] for a message of any bytes: what a script gave to `ngx.log`.
    pub fn write_bytes(
        &self,
        level: Level,
        connection: Option<u64>,
        message: &[u8],
        context: Context<'_>,
    ) {
        self.write_line(level, connection, context, &|line| {
            line.raw(message);
        });
    }

    fn write_line(
        &self,
        level: Level,
        connection: Option<u64>,
        context: Context<'_>,
        message: &dyn Fn(&mut Line),
    ) {
        let copies = !writer::has_started() && level <= Level::Warn;
        if !self.enabled(level) && !copies {
            return;
        }
        let (pid, tid) = sys::thread::ids();
        let mut line = Line::new();
        line.raw(&clock::log_time());
        let _ = write!(line, " [{level}] {pid}#{tid}: ");
        let from = line.as_bytes().len();
        if let Some(number) = connection {
            let _ = write!(line, "*{number} ");
        }
        message(&mut line);
        if let Some(context) = context {
            context(&mut line);
        }
        let whole = line.finish();
        let text = &whole[..whole.len() - 1];
        ring::note(level, text);
        capture::note(level, text);
        let mut on_stderr = false;
        for (_, sink) in self.0.logs.iter().filter(|it| level <= it.0) {
            on_stderr |= sink.target == Target::Stderr;
            put(sink, level, &whole);
        }
        if copies && !on_stderr {
            copy_to_stderr(level, &text[from..]);
        }
    }
}

fn put(sink: &Sink, level: Level, whole: &[u8]) {
    match sink.syslog() {
        Some(syslog) => {
            let text = &whole[..whole.len() - 1];
            sink.push(syslog.framed_len(text.len()), |queue| syslog.frame(Some(level), text, queue))
        }
        None => sink.push(whole.len(), |queue| queue.extend_from_slice(whole)),
    }
}

/// While the server starts, whoever started it sees what is wrong, as nginx shows it.
fn copy_to_stderr(level: Level, message: &[u8]) {
    let mut copy = format!("moongate: [{level}] ").into_bytes();
    copy.extend_from_slice(message);
    copy.push(b'\n');
    // There is nowhere left to complain to.
    let _ = std::io::stderr().write_all(&copy);
}

/// Written as soon as the writer wakes, in the order of writing whichever thread wrote.
const AT_ONCE: Pace = Pace { bytes: 0, age_ms: Some(0) };

fn sink(target: &Target) -> Result<Arc<Sink>, Error> {
    match writer::known(|it| it.target == *target && it.pace == AT_ONCE) {
        Some(known) => Ok(known),
        None => Sink::open(target, AT_ONCE, 1),
    }
}

static PROCESS: LazyLock<ArcSwap<ErrorLog>> =
    LazyLock::new(|| ArcSwap::from_pointee(ErrorLog::stderr(Level::Notice)));

/// Makes `log` the one of the main level: of start, reload, panics and other crates' records.
pub fn install(log: ErrorLog) {
    super::bridge::follow(&log);
    PROCESS.store(Arc::new(log));
}

/// The error log of the main level; stderr until [`install`] names another.
pub fn main_log() -> ErrorLog {
    PROCESS.load().as_ref().clone()
}
