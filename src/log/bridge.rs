//! What other crates say through the `log` crate, and panics, as lines of the error log.

use super::error_log::{ErrorLog, main_log};
use super::level::Level;
use log::{LevelFilter, Log, Metadata, Record};
use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{self, PanicHookInfo};

/// How records begin that report what clients do every day, or what Moongate logs itself with
/// more context: they are of level `info`, whatever pingora thinks of them.
const ROUTINE: &[&str] = &[
    "HTTP server fails to",
    "H2 handshake error",
    "TLS shutdown failed",
    "Clearing dirty TLS error stack",
    "failed to send error response to downstream",
    "Error finish sending body to downstream",
    "Downstream ",
    "body send error",
    "Upstream h2 body send error",
    "send error, draining read buf",
    "Peer sent more data",
    "Unexpected data read in idle connection",
    "H2 connection Ping",
    "Fail to proxy: Downstream",
    "Fail to proxy:  Downstream",
    "Fail to parse accept-encoding",
    "negative content-length header value",
    "invalid content-length header",
];

/// Takes over the records of the `log` crate and the panics of every thread. Once a process;
/// later calls do nothing.
pub fn take_over() {
    static BRIDGE: Bridge = Bridge;
    if log::set_logger(&BRIDGE).is_ok() {
        follow(&main_log());
        panic::set_hook(Box::new(report_panic));
    }
}

/// Lets other crates skip records that `log` would not write.
pub(super) fn follow(log: &ErrorLog) {
    let filters = [
        (Level::Debug, LevelFilter::Debug),
        (Level::Info, LevelFilter::Info),
        (Level::Warn, LevelFilter::Warn),
    ];
    let least = filters.iter().find(|(level, _)| log.enabled(*level));
    log::set_max_level(least.map_or(LevelFilter::Error, |(_, filter)| *filter));
}

struct Bridge;

impl Log for Bridge {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        main_log().enabled(plain_level(metadata.level()))
    }

    fn log(&self, record: &Record<'_>) {
        let log = main_log();
        if !log.enabled(plain_level(record.level())) {
            return;
        }
        // Records quote requests; none has a traceback. So they are one line.
        let message = record.args().to_string();
        let level = level_of(record.level(), &message);
        let source = record.target().split("::").next().unwrap_or_default();
        let escaped = super::line::Escaped(message.as_bytes());
        log.say(level, format_args!("{source}: {escaped}"));
    }

    fn flush(&self) {}
}

fn plain_level(level: log::Level) -> Level {
    match level {
        log::Level::Error => Level::Error,
        log::Level::Warn => Level::Warn,
        log::Level::Info => Level::Info,
        log::Level::Debug | log::Level::Trace => Level::Debug,
    }
}

fn level_of(level: log::Level, message: &str) -> Level {
    let is_routine = || ROUTINE.iter().any(|it| message.trim_start().starts_with(it));
    match plain_level(level) {
        Level::Error | Level::Warn if is_routine() => Level::Info,
        plain => plain,
    }
}

fn report_panic(panic: &PanicHookInfo<'_>) {
    let payload = panic.payload();
    let message = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no text)");
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("unnamed");
    let place = panic.location().map(|it| format!(" at {it}")).unwrap_or_default();
    let log = main_log();
    log.say(Level::Alert, format_args!("thread \"{name}\" panicked{place}: {message}"));
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        log.say(Level::Alert, format_args!("stack backtrace:\n{backtrace}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routine_of_clients_is_no_error() {
        let gone = "Fail to proxy: Downstream ConnectionClosed, status: 0, tries: 0";
        assert_eq!(level_of(log::Level::Error, gone), Level::Info);
        assert_eq!(level_of(log::Level::Error, " Downstream ReadError"), Level::Info);
        assert_eq!(level_of(log::Level::Error, "Bad addr: x"), Level::Error);
        assert_eq!(level_of(log::Level::Debug, "TLS shutdown failed"), Level::Debug);
    }
}
