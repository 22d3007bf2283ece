//! How many files and sockets the process may have open.

use crate::sys::errno::Failure;

/// The limits of open descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nofile {
    /// The one that holds.
    pub soft: u64,
    /// How far `soft` may be raised.
    pub hard: u64,
}

/// The limits that hold now.
///
/// # Errors
/// `getrlimit(RLIMIT_NOFILE) failed …`.
pub fn nofile() -> Result<Nofile, Failure> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a live local.
    match unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } {
        0 => Ok(Nofile { soft: limit.rlim_cur, hard: limit.rlim_max }),
        _ => Err(Failure::last("getrlimit(RLIMIT_NOFILE)")),
    }
}

/// Sets the limits: `worker_rlimit_nofile N` means both.
///
/// # Errors
/// `setrlimit(RLIMIT_NOFILE, N) failed (1: Operation not permitted)` when `hard` is raised without
/// privileges.
pub fn set_nofile(nofile: Nofile) -> Result<(), Failure> {
    let limit = libc::rlimit { rlim_cur: nofile.soft, rlim_max: nofile.hard };
    // SAFETY: the pointer is to a live local.
    match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } {
        0 => Ok(()),
        _ => Err(Failure::last(format!("setrlimit(RLIMIT_NOFILE, {})", nofile.soft))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_can_be_read_and_set_to_what_they_are() {
        let now = nofile().unwrap();
        assert!(now.soft > 0 && now.soft <= now.hard);
        set_nofile(now).unwrap();
        assert_eq!(nofile().unwrap(), now);
    }

    #[test]
    fn a_soft_limit_above_the_hard_one_is_refused() {
        let now = nofile().unwrap();
        let fault = set_nofile(Nofile { soft: 11, hard: 10 }).unwrap_err().to_string();
        assert_eq!(fault, "setrlimit(RLIMIT_NOFILE, 11) failed (22: Invalid argument)");
        assert_eq!(nofile().unwrap(), now);
    }
}
