//! What other crates say through the `log` crate, and panics, as lines of the error log.

use super::error_log::{ErrorLog, main_log};
use super::level::Level;
use super::line::Escaped;
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
    "body send error",
    "Upstream h2 body send error",
    "send error, draining read buf",
    "Peer sent more data",
    "Unexpected data read in idle connection",
    "H2 connection Ping",
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
        relay(&main_log(), record);
    }

    fn flush(&self) {}
}

fn relay(log: &ErrorLog, record: &Record<'_>) {
    if !log.enabled(plain_level(record.level())) {
        return;
    }
    // Records quote requests; none has a traceback. So they are one line.
    let message = record.args().to_string();
    let level = level_of(record.level(), &message);
    let source = record.target().split("::").next().unwrap_or_default();
    log.say(level, format_args!("{source}: {}", Escaped(message.as_bytes())));
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
    let is_routine = || {
        // pingora's errors begin with who is to blame, before any text from outside.
        let head = message.split([',', '=']).next().unwrap_or_default();
        let head = head.split(" context: ").next().unwrap_or_default();
        let blames_client = head.starts_with("Downstream ") || head.contains(" Downstream ");
        blames_client || ROUTINE.iter().any(|it| head.starts_with(it))
    };
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
    // A panic's text may quote a request.
    let message = Escaped(message.as_bytes());
    log.say(Level::Alert, format_args!("thread \"{name}\" panicked{place}: {message}"));
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        log.say(Level::Alert, format_args!("stack backtrace:\n{backtrace}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{Target, flush};

    #[test]
    fn routine_of_clients_is_no_error() {
        for gone in [
            "Fail to proxy: Downstream ConnectionClosed, status: 0, tries: 0",
            "Fail to filter request: Downstream ReadError context: x, status: 400",
            "HTTP server fails to read from downstream: Downstream ReadError",
            "TLS shutdown failed, eof",
        ] {
            assert_eq!(level_of(log::Level::Error, gone), Level::Info, "{gone}");
        }
        let ours =
            "Fail to proxy: Upstream ConnectRefused context: Peer: Downstream x, status: 502";
        assert_eq!(level_of(log::Level::Error, ours), Level::Error);
        assert_eq!(level_of(log::Level::Debug, "TLS shutdown failed"), Level::Debug);
    }

    #[test]
    fn records_are_one_line_with_their_crate() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("error.log");
        let log = ErrorLog::open(&[(Target::File(path.clone()), Level::Warn)]).unwrap();
        for (level, target) in
            [(log::Level::Warn, "pingora_proxy::proxy_h1"), (log::Level::Info, "pingora_core")]
        {
            let mut record = Record::builder();
            relay(&log, &record.level(level).target(target).args(format_args!("a\nb")).build());
        }
        flush();
        let written = std::fs::read_to_string(path).unwrap();
        assert_eq!(written.lines().count(), 1, "{written}");
        assert!(written.contains(" [warn] ") && written.ends_with(": pingora_proxy: a\\x0Ab\n"));
    }
}
