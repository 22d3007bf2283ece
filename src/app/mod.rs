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

use crate::control::report;
use crate::log::{Level, main_log};

/// Why the process ends with code 1; everything has been said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed;

/// Says why the process ends.
fn fail(reason: impl std::fmt::Display) -> Failed {
    main_log().say(Level::Emerg, format_args!("{reason}"));
    Failed
}
