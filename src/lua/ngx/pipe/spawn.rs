//! `ngx.pipe.spawn`: what is to be started, and how, in lua-resty-core's words where it cannot be.

use super::Spawned;
use super::TIMEOUTS;
use super::Timeouts;
use super::child::Life;
use super::stream::Inlet;
use super::stream::Side;
use crate::log::Level;
use crate::lua::ffi::call::ApiError;
use crate::lua::ffi::call::ApiResult;
use crate::lua::ffi::call::Call;
use crate::lua::ffi::object::Object;
use crate::lua::ffi::stack::Table;
use crate::lua::ffi::value::Value;
use crate::lua::ngx::socket::close_with_request;
use crate::lua::phase::Phase;
use crate::sys::child::Child;
use crate::sys::child::Program;
use crate::sys::errno;
use crate::sys::errno::Errno;
use std::cell::Cell;
use std::ffi::CStr;
use std::ffi::CString;
use std::io;
use std::io::PipeReader;
use std::io::PipeWriter;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::rc::Weak;

/// The shell that runs what is given as one string.
const SHELL: &CStr = c"/bin/sh";
/// The usual `buffer_size`, and the most that is read at once.
const BUFFER_BYTES: usize = 4096;
const MAX_BUFFER_BYTES: usize = 1 << 20;

/// What a script asks for.
struct Wanted {
    arguments: Vec<CString>,
    merges: bool,
    buffer_size: usize,
    environment: Option<Vec<CString>>,
    timeouts: Timeouts,
}

/// `spawn(methods, args, options?)`: a child, or nil and why there is none.
pub(super) fn spawn(call: &Call<'_>) -> ApiResult {
    if call.vm().phase() == Phase::Init {
        return Err("API disabled in the current context".into());
    }
    let wanted = Wanted::read(call)?;
    let spawned = match wanted.start(call) {
        Ok(spawned) => Rc::new(spawned),
        Err(text) => return call.reply((None::<bool>, text)),
    };
    let weak: Weak<Spawned> = Rc::downgrade(&spawned);
    close_with_request(call, weak);
    tokio::task::spawn_local(Rc::clone(&spawned.life).watch());
    call.vm().trace(format_args!(
        "lua pipe spawn process:{:016X} pid:{} merge_stderr:{} buffer_size:{}",
        Rc::as_ptr(&spawned) as usize,
        spawned.pid,
        u8::from(wanted.merges),
        wanted.buffer_size
    ));
    let methods = call.table(1)?;
    let table = call.stack().new_table(1, 0);
    table.set_index(1, Object(spawned));
    table.set_metatable(&methods);
    call.reply(&table)
}

impl Wanted {
    fn read(call: &Call<'_>) -> Result<Self, ApiError> {
        let mut wanted = Self {
            arguments: arguments(call)?,
            merges: false,
            buffer_size: BUFFER_BYTES,
            environment: None,
            timeouts: Timeouts::default(),
        };
        match call.value(3) {
            Value::Nil | Value::Boolean(false) => {}
            Value::Table(options) => wanted.read_options(&options)?,
            other => {
                let kind = other.kind().name();
                return Err(format!("bad opts arg: table expected, got {kind}").into());
            }
        }
        Ok(wanted)
    }

    fn read_options(&mut self, options: &Table<'_>) -> Result<(), ApiError> {
        self.merges = is_true(&options.get("merge_stderr"));
        if is_true(&options.get("buffer_size")) {
            let stack = options.stack();
            let size = stack.number(stack.top()).filter(|it| *it >= 1.0);
            let size = size.ok_or(ApiError::from("bad buffer_size option"))?;
            self.buffer_size = size as usize;
        }
        self.environment = match options.get("environ") {
            Value::Nil | Value::Boolean(false) => None,
            Value::Table(given) => environment(&given)?,
            other => {
                let kind = other.kind().name();
                return Err(format!("bad environ option: table expected, got {kind}").into());
            }
        };
        for (of, name) in TIMEOUTS {
            self.timeouts.set(of, name, &options.get(name))?;
        }
        Ok(())
    }

    /// Starts it.
    ///
    /// # Errors
    /// What to tell the script.
    fn start(&self, call: &Call<'_>) -> Result<Spawned, String> {
        let failed = |it: io::Error| format!("pipe failed: {}", errno::words(&it));
        let (stdin, to) = io::pipe().map_err(failed)?;
        let (from, stdout) = io::pipe().map_err(failed)?;
        let (complaints, stderr) = match self.merges {
            true => (None, stdout.try_clone().map_err(failed)?),
            false => io::pipe().map(|(reader, writer)| (Some(reader), writer)).map_err(failed)?,
        };
        let streams = Streams { stdin, stdout, stderr };
        let child = self.run(call, &streams);
        let child = child.map_err(|it| format!("fork failed: {}", errno::words(&it)))?;
        Ok(Spawned {
            pid: child.pid(),
            merges: self.merges,
            buffer_size: self.buffer_size.min(MAX_BUFFER_BYTES),
            timeouts: self.timeouts.clone(),
            stdin: Side::new(Some(to.into())),
            stdout: Inlet::new(Some(from.into())),
            stderr: Inlet::new(complaints.map(Into::into)),
            life: Rc::new(Life::new(child)),
            is_waited_for: Cell::new(false),
            is_closed: Cell::new(false),
            is_gone: Cell::new(false),
        })
    }

    /// Starts the program. One that cannot be executed is told to the log and is a child that ends
    /// with 1: what becomes of a child of nginx's, which forks before it knows.
    fn run(&self, call: &Call<'_>, streams: &Streams) -> io::Result<Child> {
        let program = Program {
            file: &self.arguments[0],
            arguments: &self.arguments,
            environment: self.environment.as_deref(),
            stdin: streams.stdin.as_fd(),
            stdout: streams.stdout.as_fd(),
            stderr: streams.stderr.as_fd(),
        };
        let fault = match program.start() {
            Err(fault) if !is_shortage(&fault) => fault,
            result => return result,
        };
        let function = if self.environment.is_some() { "execvpe" } else { "execvp" };
        let file = self.arguments[0].to_string_lossy();
        let text = format!("lua pipe child {function}() failed while executing {file}");
        call.vm().log(Level::Error, format!("{text} {}", Errno(&fault)).as_bytes());
        let stand_in = [SHELL, c"-c", c"exit 1"].map(CStr::to_owned);
        Program { file: SHELL, arguments: &stand_in, ..program }.start()
    }
}

/// A child's ends of its streams.
struct Streams {
    stdin: PipeReader,
    stdout: PipeWriter,
    stderr: PipeWriter,
}

/// Whether nothing could be started now, whatever it is.
fn is_shortage(error: &io::Error) -> bool {
    let codes = [libc::EAGAIN, libc::ENOMEM, libc::EMFILE, libc::ENFILE];
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}

fn is_true(value: &Value<'_>) -> bool {
    !matches!(value, Value::Nil | Value::Boolean(false))
}

/// C ends a string where it holds a NUL; what would be started is not what was meant.
fn string(bytes: &[u8], what: &str) -> Result<CString, ApiError> {
    CString::new(bytes).map_err(|_| format!("bad {what}: it holds a NUL byte").into())
}

/// The program and its arguments: a list, or a line for the shell.
fn arguments(call: &Call<'_>) -> Result<Vec<CString>, ApiError> {
    let list = match call.value(2) {
        Value::Table(list) => list,
        Value::Bytes(line) => {
            let line = string(line, "args arg")?;
            return Ok(vec![SHELL.to_owned(), c"-c".to_owned(), line]);
        }
        other => {
            let kind = other.kind().name();
            return Err(format!("bad args arg: table expected, got {kind}").into());
        }
    };
    let stack = call.stack();
    let mut all = Vec::new();
    loop {
        let base = stack.top();
        if let Value::Nil = list.get((all.len() + 1) as f64) {
            break;
        }
        all.push(string(call.tostring(stack.top())?, "args arg")?);
        stack.trim(base);
    }
    if all.is_empty() {
        return Err("bad args arg: non-empty table expected".into());
    }
    Ok(all)
}

/// `NAME=VALUE`s; an empty list is none.
fn environment(list: &Table<'_>) -> Result<Option<Vec<CString>>, ApiError> {
    let stack = list.stack();
    let mut all = Vec::new();
    loop {
        let base = stack.top();
        let index = all.len() + 1;
        let text = match list.get(index as f64) {
            Value::Nil => break,
            Value::Bytes(text) => text,
            other => {
                let kind = other.kind().name();
                let what = format!("bad value at index {index} of environ option");
                return Err(format!("{what}: string expected, got {kind}").into());
            }
        };
        if !text.iter().skip(1).any(|it| *it == b'=') {
            let mut fault = format!("bad value at index {index} of environ option: ").into_bytes();
            fault.extend_from_slice(b"'name=[value]' format expected, got '");
            fault.extend_from_slice(text);
            fault.push(b'\'');
            return Err(fault.into());
        }
        all.push(string(text, "environ option")?);
        stack.trim(base);
    }
    Ok((!all.is_empty()).then_some(all))
}
