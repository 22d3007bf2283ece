//! What the process and its threads use: CPU time, memory, descriptors.

use std::fs;
use std::io;
use std::time::Duration;

/// CPU time that all threads of the process have used, ended ones included.
pub fn time_of_all_threads() -> Duration {
    read(libc::CLOCK_PROCESS_CPUTIME_ID).unwrap_or_default()
}

/// The CPU clock of one thread, which any thread may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadClock(libc::clockid_t);

impl ThreadClock {
    /// The clock of the calling thread.
    ///
    /// # Errors
    /// When the system has no such clocks.
    pub fn of_this_thread() -> io::Result<Self> {
        let mut id = 0;
        // SAFETY: the calling thread lives, and the pointer is to a live local.
        match unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &mut id) } {
            0 => Ok(Self(id)),
            code => Err(io::Error::from_raw_os_error(code)),
        }
    }

    /// CPU time that the thread has used; `None` once it has ended.
    pub fn time(self) -> Option<Duration> {
        read(self.0)
    }
}

fn read(clock: libc::clockid_t) -> Option<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live local; an unknown clock is an error, not a fault.
    let code = unsafe { libc::clock_gettime(clock, &mut time) };
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    (code == 0).then(|| Duration::new(seconds.unwrap_or(0), nanos.unwrap_or(0)))
}

/// Bytes of memory that are resident; 0 when /proc is not there.
pub fn resident_bytes() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split(' ').nth(1).and_then(|it| it.parse().ok()).unwrap_or(0);
    // SAFETY: sysconf takes a number and no memory.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    pages * u64::try_from(page).unwrap_or(0)
}

/// When the process started, in milliseconds since 1970; 0 when /proc is not there.
pub fn started_unix_ms() -> u64 {
    let own = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let system = fs::read_to_string("/proc/stat").unwrap_or_default();
    // Field 22, counted from the name in parentheses, which is field 2 and may hold blanks.
    let ticks = own.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(19));
    let boot_s = system.lines().find_map(|it| it.strip_prefix("btime "));
    // SAFETY: sysconf takes a number and no memory.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    let number = |it: Option<&str>| it.and_then(|it| it.trim().parse::<u64>().ok());
    match (number(ticks), number(boot_s), u64::try_from(per_second)) {
        (Some(ticks), Some(boot_s), Ok(hz)) if hz > 0 => boot_s * 1000 + ticks * 1000 / hz,
        _ => 0,
    }
}

/// Descriptors that are open; 0 when /proc is not there.
pub fn open_fds() -> u64 {
    // The one that reads the folder is gone afterwards.
    fs::read_dir("/proc/self/fd").map_or(0, |it| (it.count() as u64).saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Uses `ms` of CPU time on the calling thread; gives its clock and what that shows then.
    fn spin_ms(ms: u64) -> (ThreadClock, Duration) {
        let clock = ThreadClock::of_this_thread().unwrap();
        let until = clock.time().unwrap() + Duration::from_millis(ms);
        loop {
            match clock.time().unwrap() {
                now if now >= until => return (clock, now),
                _ => std::hint::spin_loop(),
            }
        }
    }

    #[test]
    fn a_spinning_thread_s_clock_goes_on_for_others() {
        let (send, receive) = std::sync::mpsc::channel();
        let (finish, finished) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            send.send(spin_ms(3)).unwrap();
            finished.recv().unwrap_err();
        });
        let (clock, then) = receive.recv().unwrap();
        assert!(then >= Duration::from_millis(3));
        assert!(clock.time().unwrap() >= then);
        assert!(time_of_all_threads() >= then);
        drop(finish);
        thread.join().unwrap();
    }

    #[test]
    fn usage_is_plausible() {
        let held = vec![1u8; 8 << 20];
        assert!(resident_bytes() > held.len() as u64);
        let _more = fs::File::open("/dev/null").unwrap();
        assert!(open_fds() >= 3);
        let now = crate::clock::unix_ms();
        // The kernel counts from a boot that it knows to the second.
        assert!((now - 3_600_000..now + 2_000).contains(&started_unix_ms()));
    }
}
