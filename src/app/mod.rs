//! Assembly: what the process does from its start to its end, in order.

mod check;
mod defaults;
mod explain;
pub mod identity;
pub mod rollouts;
mod server;
mod told;

pub use check::{Check, check};
pub use defaults::{DEFAULT_FILE, source};
pub use explain::explain;
pub use server::serve;
pub use told::tell;

use crate::config::diagnostic::{Diagnostics, Severity};
use crate::log::{Level, main_log};

/// Why the process ends with code 1; everything has been said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed;

/// Says every fault and warning, on stderr and in the error log that is installed.
fn report(diagnostics: &Diagnostics) {
    for it in &diagnostics.0 {
        let level = match it.severity {
            Severity::Fault => Level::Emerg,
            Severity::Alert => Level::Alert,
            Severity::Warning => Level::Warn,
            Severity::Notice => Level::Notice,
        };
        main_log().say(level, format_args!("{it}"));
    }
}

/// Says why the process ends.
fn fail(reason: impl std::fmt::Display) -> Failed {
    main_log().say(Level::Emerg, format_args!("{reason}"));
    Failed
}
