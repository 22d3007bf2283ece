//! `-s stop|quit|reload|reopen`: telling the process that runs.

use super::defaults::pid_file;
use super::{Failed, fail, report};
use crate::control::Source;
use crate::log;
use crate::log::ErrorLog;
use crate::sys::pid;
use crate::sys::signal;
use crate::sys::signal::Signal;

/// Sends `signal` to the process whose pid file the configuration names.
///
/// # Errors
/// When there is no such process, or the configuration cannot be read.
pub fn tell(source: &Source, signal: Signal) -> Result<(), Failed> {
    log::install(ErrorLog::silent());
    let loaded = source.load().map_err(|diagnostics| {
        report(&diagnostics);
        Failed
    })?;
    let pid = pid::read(&pid_file(&loaded.model, &source.prefix)).map_err(fail)?;
    signal::send(pid, signal).map_err(fail)
}
