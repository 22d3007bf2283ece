//! Signals sent to a running server: `-s stop|quit|reload|reopen`.

use crate::sys::errno::Failure;
use std::str::FromStr;

/// What a running server can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// End at once.
    Stop,
    /// Drain, then end.
    Quit,
    /// Take the configuration anew.
    Reload,
    /// Open the logs anew.
    Reopen,
}

impl Signal {
    /// The signal's number.
    pub const fn number(self) -> i32 {
        match self {
            Self::Stop => libc::SIGTERM,
            Self::Quit => libc::SIGQUIT,
            Self::Reload => libc::SIGHUP,
            Self::Reopen => libc::SIGUSR1,
        }
    }
}

/// A word that `-s` does not take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid option: \"-s {0}\"")]
pub struct Unknown(String);

impl FromStr for Signal {
    type Err = Unknown;

    fn from_str(word: &str) -> Result<Self, Unknown> {
        match word {
            "stop" => Ok(Self::Stop),
            "quit" => Ok(Self::Quit),
            "reload" => Ok(Self::Reload),
            "reopen" => Ok(Self::Reopen),
            _ => Err(Unknown(word.to_owned())),
        }
    }
}

/// Sends `signal` to the process `pid`.
///
/// # Errors
/// `kill(PID, NUMBER) failed (3: No such process)`.
pub fn send(pid: i32, signal: Signal) -> Result<(), Failure> {
    let number = signal.number();
    let attempt = || format!("kill({pid}, {number})");
    // 0 and below would mean whole groups of processes.
    if pid <= 0 {
        let none = std::io::Error::from_raw_os_error(libc::ESRCH);
        return Err(Failure::new(attempt(), none));
    }
    // SAFETY: kill takes two numbers and no memory.
    match unsafe { libc::kill(pid, number) } {
        0 => Ok(()),
        _ => Err(Failure::last(attempt())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    #[test]
    fn a_process_gets_the_signal() {
        let mut child = Command::new("sleep").arg("100").spawn().unwrap();
        send(i32::try_from(child.id()).unwrap(), "stop".parse().unwrap()).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGTERM));
    }

    #[test]
    fn faults_are_nginx_s() {
        let fault = send(0, Signal::Reload).unwrap_err().to_string();
        assert_eq!(fault, "kill(0, 1) failed (3: No such process)");
        let fault = "halt".parse::<Signal>().unwrap_err().to_string();
        assert_eq!(fault, "invalid option: \"-s halt\"");
    }
}
