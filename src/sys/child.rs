//! Programs that run beside us: started without copying our memory, told by a descriptor when they
//! end, and never left behind: neither running nor as zombies.

use std::ffi::{CStr, CString, c_char};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Between two looks at children that were killed and have not ended yet.
const LOOK: Duration = Duration::from_millis(5);

/// What is to be started.
#[derive(Debug)]
pub struct Program<'a> {
    /// Its name; one without a slash is looked for in our own `PATH`.
    pub file: &'a CStr,
    /// Its arguments, the first of which is what it is called.
    pub arguments: &'a [CString],
    /// `NAME=VALUE`s; without them it gets ours.
    pub environment: Option<&'a [CString]>,
    /// What it reads as standard input.
    pub stdin: BorrowedFd<'a>,
    /// Where it writes.
    pub stdout: BorrowedFd<'a>,
    /// Where it complains.
    pub stderr: BorrowedFd<'a>,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this code.
    Exit(i32),
    /// By this signal.
    Signal(i32),
    /// Nobody knows: somebody else has waited for it.
    Unknown,
}

/// A program that was started. Dropped before it has ended, it is killed.
#[derive(Debug)]
pub struct Child {
    pid: i32,
    ended: Option<Ended>,
}

impl Program<'_> {
    /// Starts it, with all signals as they are by default and nothing but its three streams open.
    ///
    /// # Errors
    /// The operating system's: there is no such program, it is none, no more can be started.
    pub fn start(&self) -> io::Result<Child> {
        reap_ourselves();
        let own;
        let environment = match self.environment {
            Some(given) => given,
            None => {
                own = our_environment();
                &own
            }
        };
        let (arguments, environment) = (pointers(self.arguments), pointers(environment));
        let streams = Streams::new(self)?;
        let attributes = Attributes::new()?;
        let mut pid = 0;
        // SAFETY: the lists end with null and point to strings that live for the call; the actions
        // and attributes were initialised.
        let code = unsafe {
            libc::posix_spawnp(
                &mut pid,
                self.file.as_ptr(),
                streams.0.as_ptr(),
                attributes.0.as_ptr(),
                arguments.as_ptr(),
                environment.as_ptr(),
            )
        };
        checked(code)?;
        Ok(Child { pid, ended: None })
    }
}

impl Child {
    /// Its number.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// A descriptor that is readable once the child has ended, for the event loop that runs.
    ///
    /// # Errors
    /// Linux before 5.3 has none.
    pub fn end(&self) -> io::Result<AsyncFd<OwnedFd>> {
        let fd = self.pidfd()?;
        // SAFETY: an owned descriptor stays open, and the same, for as long as it is owned.
        Ok(unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?)
    }

    fn pidfd(&self) -> io::Result<OwnedFd> {
        // SAFETY: the call takes two numbers; a descriptor that it gives is nobody else's. The
        // child was not reaped, so that its number is its own.
        unsafe {
            let fd = libc::syscall(libc::SYS_pidfd_open, self.pid, 0);
            match i32::try_from(fd) {
                Ok(fd) if fd >= 0 => Ok(OwnedFd::from_raw_fd(fd)),
                _ => Err(io::Error::last_os_error()),
            }
        }
    }

    /// How it ended, once it has; from then on it is no zombie.
    pub fn look(&mut self) -> Option<Ended> {
        if self.ended.is_none() {
            self.ended = reap(self.pid);
        }
        self.ended
    }

    /// Sends it a signal; one that has ended gets none.
    ///
    /// # Errors
    /// `EINVAL` for what is no signal, `ESRCH` for a child that has ended.
    pub fn signal(&self, number: i32) -> io::Result<()> {
        if self.ended.is_some() {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        // SAFETY: the call takes two numbers; the child was not reaped: its number is its own.
        match unsafe { libc::kill(self.pid, number) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.look().is_some() {
            return;
        }
        // It ends; only when is not known.
        let _ = self.signal(libc::SIGKILL);
        if self.look().is_none() {
            bury(self.pid);
        }
    }
}

/// How the child ended, if it has: it may have no other waiter.
fn reap(pid: i32) -> Option<Ended> {
    let mut status = 0;
    // SAFETY: the pointer is to a live local.
    match unsafe { libc::waitpid(pid, &mut status, libc::WNOHANG) } {
        0 => None,
        found if found == pid => Some(match libc::WIFSIGNALED(status) {
            true => Ended::Signal(libc::WTERMSIG(status)),
            false => Ended::Exit(libc::WEXITSTATUS(status)),
        }),
        _ => Some(Ended::Unknown),
    }
}

/// Waits for a child that was killed, on a thread of its own that all such children share.
fn bury(pid: i32) {
    static GRAVE: OnceLock<Option<Sender<i32>>> = OnceLock::new();
    let start = || {
        let (sender, killed) = channel();
        let thread = std::thread::Builder::new().name("reaper".to_owned());
        thread.spawn(move || undertake(&killed)).ok().map(|_| sender)
    };
    if let Some(grave) = GRAVE.get_or_init(start) {
        // The thread never ends.
        let _ = grave.send(pid);
    }
}

fn undertake(killed: &Receiver<i32>) {
    let mut dying: Vec<i32> = Vec::new();
    loop {
        let next = match dying.is_empty() {
            true => killed.recv().map_err(|_| RecvTimeoutError::Disconnected),
            false => killed.recv_timeout(LOOK),
        };
        match next {
            Ok(pid) => dying.push(pid),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        dying.retain(|pid| reap(*pid).is_none());
    }
}

/// Whoever started us may have ignored `SIGCHLD`, which would take the ends of children from us.
fn reap_ourselves() {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        let mut known = MaybeUninit::<libc::sigaction>::uninit();
        // SAFETY: the pointers are to live locals, the first of which is read only when the call
        // has filled it; the default is set only where the signal is ignored, so that nobody's
        // handler goes.
        unsafe {
            if libc::sigaction(libc::SIGCHLD, std::ptr::null(), known.as_mut_ptr()) == 0
                && known.assume_init_ref().sa_sigaction == libc::SIG_IGN
            {
                libc::signal(libc::SIGCHLD, libc::SIG_DFL);
            }
        }
    });
}

fn our_environment() -> Vec<CString> {
    let line = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        let mut line = name.into_vec();
        line.push(b'=');
        line.extend(value.into_vec());
        CString::new(line).ok()
    };
    std::env::vars_os().filter_map(line).collect()
}

/// What C takes for a list of strings.
fn pointers(strings: &[CString]) -> Vec<*mut c_char> {
    let all = strings.iter().map(|it| it.as_ptr().cast_mut());
    all.chain([std::ptr::null_mut()]).collect()
}

fn checked(code: i32) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code)) }
}

/// What becomes of a child's descriptors: three are copies of what it was given, the others are
/// closed as it starts.
struct Streams(Box<MaybeUninit<libc::posix_spawn_file_actions_t>>);

impl Streams {
    fn new(program: &Program<'_>) -> io::Result<Self> {
        let mut actions = Box::new(MaybeUninit::uninit());
        // SAFETY: the memory is there, and is initialised by this call or not used.
        checked(unsafe { libc::posix_spawn_file_actions_init(actions.as_mut_ptr()) })?;
        let mut it = Self(actions);
        for (fd, to) in [(program.stdin, 0), (program.stdout, 1), (program.stderr, 2)] {
            let actions = it.0.as_mut_ptr();
            // SAFETY: the actions were initialised.
            checked(unsafe {
                libc::posix_spawn_file_actions_adddup2(actions, fd.as_raw_fd(), to)
            })?;
        }
        Ok(it)
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        // SAFETY: the actions were initialised, and are not used any more.
        unsafe { libc::posix_spawn_file_actions_destroy(self.0.as_mut_ptr()) };
    }
}

/// No signal is blocked or ignored in a child, whatever we do with it ourselves.
struct Attributes(Box<MaybeUninit<libc::posix_spawnattr_t>>);

impl Attributes {
    fn new() -> io::Result<Self> {
        let mut attributes = Box::new(MaybeUninit::uninit());
        // SAFETY: the memory is there, and is initialised by this call or not used.
        checked(unsafe { libc::posix_spawnattr_init(attributes.as_mut_ptr()) })?;
        let mut it = Self(attributes);
        let mut signals = MaybeUninit::uninit();
        let flags = libc::POSIX_SPAWN_SETSIGDEF | libc::POSIX_SPAWN_SETSIGMASK;
        let attributes = it.0.as_mut_ptr();
        // SAFETY: the attributes were initialised; the set is filled before it is read.
        unsafe {
            libc::sigfillset(signals.as_mut_ptr());
            checked(libc::posix_spawnattr_setsigdefault(attributes, signals.as_ptr()))?;
            libc::sigemptyset(signals.as_mut_ptr());
            checked(libc::posix_spawnattr_setsigmask(attributes, signals.as_ptr()))?;
            checked(libc::posix_spawnattr_setflags(attributes, flags as libc::c_short))?;
        }
        Ok(it)
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: the attributes were initialised, and are not used any more.
        unsafe { libc::posix_spawnattr_destroy(self.0.as_mut_ptr()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write, pipe};
    use std::os::fd::AsFd;

    fn strings(all: &[&str]) -> Vec<CString> {
        all.iter().map(|it| CString::new(*it).unwrap()).collect()
    }

    /// A child whose streams are one pipe each way.
    fn start(arguments: &[&str], environment: Option<&[&str]>) -> io::Result<(Child, Vec<u8>)> {
        let (stdin, mut to) = pipe()?;
        let (mut from, stdout) = pipe()?;
        let arguments = strings(arguments);
        let environment = environment.map(strings);
        let child = Program {
            file: &arguments[0],
            arguments: &arguments,
            environment: environment.as_deref(),
            stdin: stdin.as_fd(),
            stdout: stdout.as_fd(),
            stderr: stdout.as_fd(),
        }
        .start()?;
        drop((stdin, stdout));
        // One that has ended already reads nothing.
        let _ = to.write_all(b"hi");
        drop(to);
        let mut said = Vec::new();
        from.read_to_end(&mut said)?;
        Ok((child, said))
    }

    /// Waits for a child's end as a worker does.
    fn wait(child: &mut Child) -> Ended {
        let end = child.pidfd().unwrap();
        let mut fd = libc::pollfd { fd: end.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one descriptor, which lives.
        assert_eq!(unsafe { libc::poll(&mut fd, 1, -1) }, 1);
        child.look().unwrap()
    }

    fn is_there(pid: i32) -> bool {
        std::path::Path::new(&format!("/proc/{pid}")).exists()
    }

    #[test]
    fn a_child_gets_streams_arguments_and_environment() {
        let (mut child, said) = start(&["sh", "-c", "cat; echo $0 $A >&2", "x"], Some(&["A=b"]))
            .expect("sh is found in our PATH, whatever the child's is");
        assert_eq!((said.as_slice(), wait(&mut child)), (&b"hix b\n"[..], Ended::Exit(0)));
        let (mut child, said) = start(&["sh", "-c", "echo $HOME; exit 3"], None).unwrap();
        let home = std::env::var("HOME").unwrap_or_default();
        assert_eq!(String::from_utf8(said).unwrap().trim_end(), home);
        assert_eq!(wait(&mut child), Ended::Exit(3));
        assert!(!is_there(child.pid()), "a zombie is left");
        assert_eq!(child.signal(0).unwrap_err().raw_os_error(), Some(libc::ESRCH));
    }

    #[test]
    fn signals_are_what_they_are_by_default() {
        // Rust ignores SIGPIPE in this process.
        let (mut child, said) = start(&["sh", "-c", "kill -PIPE $$; echo alive"], None).unwrap();
        assert_eq!((said.as_slice(), wait(&mut child)), (&b""[..], Ended::Signal(libc::SIGPIPE)));
    }

    #[test]
    fn what_cannot_be_started_is_told() {
        let fault = start(&["/nothing/there"], None).unwrap_err();
        assert_eq!(fault.raw_os_error(), Some(libc::ENOENT));
        let fault = start(&["/etc/passwd"], None).unwrap_err();
        assert_eq!(fault.raw_os_error(), Some(libc::EACCES));
    }

    #[test]
    fn a_child_that_is_dropped_is_killed_and_buried() {
        let (stdin, _to) = pipe().unwrap();
        let arguments = strings(&["sleep", "1000"]);
        let child = Program {
            file: &arguments[0],
            arguments: &arguments,
            environment: None,
            stdin: stdin.as_fd(),
            stdout: stdin.as_fd(),
            stderr: stdin.as_fd(),
        }
        .start()
        .unwrap();
        let pid = child.pid();
        assert!(is_there(pid));
        assert_eq!(child.signal(999).unwrap_err().raw_os_error(), Some(libc::EINVAL));
        drop(child);
        while is_there(pid) {
            std::thread::yield_now();
        }
    }
}
