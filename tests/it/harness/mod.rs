//! What the tests over real sockets and processes share: a gateway under test, nginx with Lua
//! beside it, an origin that writes down what it is sent, a client that believes nothing.
//!
//! Every wait has a deadline and polls; every child and every thread ends with its owner.

pub mod client;
pub mod dns;
pub mod frames;
pub mod h2_origin;
pub mod head;
pub mod load;
pub mod oracle;
pub mod origin;
pub mod ports;
pub mod raw_origin;
pub mod server;
pub mod tls;

use std::fmt::Debug;
use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take that should take milliseconds; generous, for busy machines.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The same for what has ten seconds of CPU time: a busy machine gives few at a time.
pub const LONG_PATIENCE: Duration = Duration::from_secs(120);

/// Asks again and again until there is an answer, and panics with `what` when there never is.
#[track_caller]
pub fn eventually<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    eventually_within(PATIENCE, what, ask)
}

/// The same with a patience of its own.
#[track_caller]
pub fn eventually_within<T>(
    patience: Duration,
    what: &str,
    mut ask: impl FnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within {patience:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Asks again and again until the answer is `expected`; panics with the last one when it never is.
#[track_caller]
pub fn settles<T: PartialEq + Debug>(what: &str, expected: T, mut ask: impl FnMut() -> T) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = ask();
        if answer == expected {
            return;
        }
        assert!(Instant::now() < deadline, "{what}: {answer:?}, expected {expected:?}");
        thread::sleep(Duration::from_millis(5));
    }
}
