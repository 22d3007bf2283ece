//! Servers under test: Moongate, and Debian's nginx with lua-nginx-module as the oracle, each with
//! a prefix folder of its own.

use super::{LONG_PATIENCE, PATIENCE, eventually, eventually_within, oracle, ports};
use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The gateway; the binary is cargo's, or the one that `MOONGATE_TEST_BINARY` names.
    /// With `MOONGATE_TEST_BINARY=nginx` it is the oracle, to try the tests themselves.
    Moongate,
    /// nginx with Lua.
    Nginx,
}

/// A configuration with its ports, before it runs.
///
/// In the text `$PORT`, `$PORT2`… are free ports, each the same wherever it is named; `$ADMIN` is
/// the admin listener's, `$PREFIX` the folder. Other names come from [`Setup::with`].
pub struct Setup {
    kind: Kind,
    prefix: TempDir,
    names: BTreeMap<String, String>,
    conf_name: String,
    wrapper: Vec<String>,
    has_master: bool,
    small_pages: bool,
}

impl Setup {
    /// A fresh folder with `conf` and `logs`.
    pub fn new(kind: Kind) -> Self {
        let stand_in = std::env::var("MOONGATE_TEST_BINARY").is_ok_and(|it| it == "nginx");
        let prefix = TempDir::with_prefix("moongate-").expect("a temporary folder");
        for folder in ["conf", "logs", "html", "tmp"] {
            fs::create_dir(prefix.path().join(folder)).expect("a folder in it");
        }
        let mut names = BTreeMap::new();
        names.insert("PREFIX".into(), prefix.path().display().to_string());
        let kind = if stand_in { Kind::Nginx } else { kind };
        let conf_name = match kind {
            Kind::Moongate => "moongate.conf".to_owned(),
            Kind::Nginx => "nginx.conf".to_owned(),
        };
        Self {
            kind,
            prefix,
            names,
            conf_name,
            wrapper: Vec::new(),
            has_master: false,
            small_pages: false,
        }
    }

    /// The configuration is called `name`, which messages and the names of Lua chunks show.
    pub fn conf_name(mut self, name: &str) -> Self {
        self.conf_name = name.into();
        self
    }

    /// Its folder.
    pub fn prefix(&self) -> &Path {
        self.prefix.path()
    }

    /// The port that the configuration calls `$name`; a free one when it did not name it yet.
    ///
    /// # Panics
    /// When the name stands for no port.
    pub fn port(&mut self, name: &str) -> u16 {
        self.value(name).and_then(|it| it.parse().ok()).expect("the name of a port")
    }

    /// What will run, which the environment may have changed.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// It may use one CPU core only.
    pub fn pinned(self, core: usize) -> Self {
        self.under(&["taskset", "-c", &core.to_string()])
    }

    /// It is run by `command`, which must become the server, not its parent.
    pub fn under(mut self, command: &[&str]) -> Self {
        self.wrapper.extend(command.iter().map(|it| (*it).to_owned()));
        self
    }

    /// nginx has its master, so that it can have more than one worker.
    pub fn with_master(mut self) -> Self {
        self.has_master = true;
        self
    }

    /// Its memory grows by the page, not by two mebibytes: for tests that measure it.
    pub fn small_pages(mut self) -> Self {
        self.small_pages = true;
        self
    }

    /// `$name` in the text becomes `value`.
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.names.insert(name.into(), value.to_string());
        self
    }

    /// Writes a file below the prefix, names substituted.
    pub fn file(mut self, path: &str, text: &str) -> Self {
        let text = self.substitute(text);
        write(&self.prefix.path().join(path), &text);
        self
    }

    /// Writes the configuration (`conf/moongate.conf`, or `conf/nginx.conf` for nginx): `text` with
    /// names substituted, and on its first line, for lines keep their numbers, what tests need.
    pub fn conf(&mut self, text: &str) -> PathBuf {
        let preamble = match self.kind {
            Kind::Moongate => "pid logs/pid; error_log logs/error.log info; \
                 admin_listen 127.0.0.1:$ADMIN; "
                .to_owned(),
            Kind::Nginx => oracle::modules() + "pid logs/pid; error_log logs/error.log info; ",
        };
        let mut text = self.substitute(&(preamble + text));
        if !text.contains("events") {
            text = text.replacen("http {", "events {} http {", 1);
        }
        if self.kind == Kind::Nginx {
            text = text.replacen("http {", oracle::HTTP, 1);
        }
        let path = self.prefix.path().join("conf").join(&self.conf_name);
        write(&path, &text);
        path
    }

    /// The command that runs `text`, in the foreground.
    pub fn command(&mut self, text: &str) -> Command {
        let conf = self.conf(text);
        let program = match self.kind {
            Kind::Moongate => binary(),
            Kind::Nginx => oracle::program(),
        };
        let mut command = match self.wrapper.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
            None => Command::new(program),
        };
        if self.kind == Kind::Nginx {
            let master = if self.has_master { "on" } else { "off" };
            command.arg("-g").arg(format!("daemon off; master_process {master};"));
        }
        command.arg("-p").arg(self.prefix.path()).arg("-c").arg(conf);
        command.arg("-e").arg(self.prefix.path().join("logs/error.log"));
        command
    }

    /// Runs `text` and waits until all its `$PORT`s accept.
    ///
    /// # Panics
    /// When it exits instead or does not listen in time; with what it said.
    #[track_caller]
    pub fn start(self, text: &str) -> Server {
        self.try_start(text).unwrap_or_else(|exit| panic!("did not start: {exit:?}"))
    }

    /// Runs `text`, which must end by itself, and waits for that.
    #[track_caller]
    pub fn run_to_end(self, text: &str) -> Exit {
        let mut server = self.spawn(text);
        let status = eventually_within(LONG_PATIENCE, "the server exits", || server.exited());
        Exit { status, said: server.said() }
    }

    /// Runs `text` and waits until all its `$PORT`s accept, or it has exited.
    pub fn try_start(self, text: &str) -> Result<Server, Exit> {
        let mut server = self.spawn(text);
        let listening = server.names().filter(|(name, _)| name.starts_with("PORT"));
        let ports: Vec<u16> = listening.filter_map(|(_, it)| it.parse().ok()).collect();
        let deadline = Instant::now() + PATIENCE;
        while !ports.iter().all(|it| TcpStream::connect((Ipv4Addr::LOCALHOST, *it)).is_ok()) {
            if let Ok(Some(status)) = server.child.try_wait() {
                return Err(Exit { status, said: server.said() });
            }
            assert!(Instant::now() < deadline, "listens to no {ports:?}: {}", server.said());
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(server)
    }

    fn spawn(mut self, text: &str) -> Server {
        let mut command = self.command(text);
        let output = fs::File::create(self.prefix.path().join("logs/output")).expect("a log file");
        let errors = output.try_clone().expect("its copy");
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        let huge_pages_off = libc::c_ulong::from(self.small_pages);
        // SAFETY: prctl is async-signal-safe, and both calls touch only the new process.
        unsafe {
            command.pre_exec(move || {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                libc::prctl(libc::PR_SET_THP_DISABLE, huge_pages_off, 0, 0, 0);
                Ok(())
            });
        }
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Server { setup: self, child }
    }

    fn substitute(&mut self, text: &str) -> String {
        with_names(text, |name| self.value(name))
    }

    fn value(&mut self, name: &str) -> Option<String> {
        let is_port = name
            .strip_prefix("PORT")
            .is_some_and(|it| it.bytes().all(|digit| digit.is_ascii_digit()));
        if (is_port || name == "ADMIN") && !self.names.contains_key(name) {
            self.names.insert(name.into(), ports::free().to_string());
        }
        self.names.get(name).cloned()
    }
}

/// Each `$NAME` of capitals and digits by its value, if it has one.
pub fn with_names(text: &str, mut value: impl FnMut(&str) -> Option<String>) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, tail) = rest.split_at(at);
        let tail = &tail[1..];
        let end = tail.find(|it: char| !it.is_ascii_uppercase() && !it.is_ascii_digit());
        let (name, after) = tail.split_at(end.unwrap_or(tail.len()));
        result.push_str(before);
        match value(name) {
            Some(value) => result.push_str(&value),
            None => result.extend(["$", name]),
        }
        rest = after;
    }
    result + rest
}

/// How a server ended that should have started.
#[derive(Debug)]
pub struct Exit {
    /// Its status.
    pub status: ExitStatus,
    /// What it printed and logged.
    pub said: String,
}

/// A running server; it is killed when this goes.
///
/// It dies with the thread that started it, too: do not hand it to a thread that lives longer.
pub struct Server {
    setup: Setup,
    child: Child,
}

impl Server {
    /// Its first port.
    pub fn port(&self) -> u16 {
        self.named_port("PORT")
    }

    /// The port that the configuration calls `$name`.
    #[track_caller]
    pub fn named_port(&self, name: &str) -> u16 {
        let value = self.setup.names.get(name).and_then(|it| it.parse().ok());
        value.unwrap_or_else(|| panic!("the configuration names no ${name}"))
    }

    /// Names and values that were substituted.
    pub fn names(&self) -> impl Iterator<Item = (&str, &str)> {
        self.setup.names.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// What runs.
    pub fn kind(&self) -> Kind {
        self.setup.kind
    }

    /// Its folder.
    pub fn prefix(&self) -> &Path {
        self.setup.prefix.path()
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The text of a file below the prefix; empty when there is none.
    pub fn read(&self, path: &str) -> String {
        fs::read(self.prefix().join(path)).map_or(String::new(), |it| super::head::latin1(&it))
    }

    /// error.log until now.
    pub fn error_log(&self) -> String {
        self.read("logs/error.log")
    }

    /// What it printed and logged.
    pub fn said(&self) -> String {
        self.read("logs/output") + &self.error_log()
    }

    /// Waits until error.log holds `text`.
    #[track_caller]
    pub fn expect_logged(&self, text: &str) {
        self.expect_logged_within(PATIENCE, text);
    }

    /// The same of what takes its time even where nobody else wants the processor.
    #[track_caller]
    pub fn expect_logged_within(&self, patience: Duration, text: &str) {
        let deadline = Instant::now() + patience;
        while !self.error_log().contains(text) {
            assert!(Instant::now() < deadline, "{text:?} is not in error.log:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Writes the configuration anew; it is read by the next `SIGHUP`.
    pub fn rewrite_conf(&mut self, text: &str) {
        self.setup.conf(text);
    }

    /// Sends a signal.
    pub fn signal(&self, signal: libc::c_int) {
        let pid = libc::pid_t::try_from(self.child.id()).expect("a process id");
        // SAFETY: kill(2) takes numbers; the child has not been waited for, so the id is still its.
        let result = unsafe { libc::kill(pid, signal) };
        assert_eq!(result, 0, "kill {pid}: {}", std::io::Error::last_os_error());
    }

    /// Waits until it has exited.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        eventually("the server exits", || self.exited())
    }

    fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it is our child")
    }

    /// Stops it, requests in flight first, and gives what it logged.
    #[track_caller]
    pub fn quit(mut self) -> String {
        self.signal(libc::SIGQUIT);
        let status = self.wait();
        let said = self.said();
        assert!(status.success(), "SIGQUIT ended it with {status}:\n{said}");
        said
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let text = self.said();
            let tail: Vec<&str> = text.lines().rev().take(40).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            eprintln!("--- the server said\n{}\n---", tail.join("\n"));
        }
    }
}

/// Moongate with `text`; see [`Setup`] for its names.
#[track_caller]
pub fn gateway(text: &str) -> Server {
    Setup::new(Kind::Moongate).start(text)
}

/// The binary under test.
pub fn binary() -> PathBuf {
    let named = std::env::var_os("MOONGATE_TEST_BINARY");
    named.map_or_else(|| env!("CARGO_BIN_EXE_moongate").into(), PathBuf::from)
}

fn write(path: &Path, text: &str) {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).expect("the folder of a file");
    }
    fs::write(path, text).expect("a file of the test");
}
