//! How long a child is waited for.

use crate::lua::ffi::call::ApiError;
use crate::lua::ffi::value::Value;
use std::cell::Cell;

/// What a timeout is of.
#[derive(Clone, Copy, Debug)]
pub enum Wait {
    /// `write`.
    Write,
    /// A read of its output.
    ReadStdout,
    /// A read of its complaints.
    ReadStderr,
    /// `wait`.
    End,
}

/// The timeouts, as options name them and in the order of `set_timeouts`.
pub const TIMEOUTS: [(Wait, &str); 4] = [
    (Wait::Write, "write_timeout"),
    (Wait::ReadStdout, "stdout_read_timeout"),
    (Wait::ReadStderr, "stderr_read_timeout"),
    (Wait::End, "wait_timeout"),
];

/// Times a child is waited for, milliseconds; 0 is for ever.
#[derive(Clone, Debug)]
pub struct Timeouts([Cell<u64>; 4]);

impl Default for Timeouts {
    fn default() -> Self {
        Self([const { Cell::new(10_000) }; 4])
    }
}

impl Timeouts {
    /// The time that `wait` has.
    pub fn of(&self, wait: Wait) -> u64 {
        self.0[wait as usize].get()
    }

    /// Takes `value` over, which nil and false leave as it was.
    ///
    /// # Errors
    /// `bad NAME option`: it is no number, or none that fits.
    pub fn set(&self, wait: Wait, name: &str, value: &Value<'_>) -> Result<(), ApiError> {
        let given = match value {
            Value::Nil | Value::Boolean(false) => return Ok(()),
            Value::Number(given) => *given,
            _ => -1.0,
        };
        if !(0.0..=f64::from(u32::MAX)).contains(&given) {
            return Err(format!("bad {name} option").into());
        }
        self.0[wait as usize].set(given as u64);
        Ok(())
    }
}
