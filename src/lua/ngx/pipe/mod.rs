//! `ngx.pipe`: programs that scripts start and talk to. A child belongs to the request whose script
//! started it, and is killed with it.

mod child;
mod read;
mod spawn;
mod stream;
#[cfg(test)]
mod tests;
mod timeouts;
mod write;

use crate::log::Level;
use crate::log::main_log;
use crate::lua::ffi::call::ApiError;
use crate::lua::ffi::call::ApiResult;
use crate::lua::ffi::call::Call;
use crate::lua::ffi::function::functions;
use crate::lua::ffi::value::Owned;
use crate::lua::ffi::value::Value;
use crate::lua::ffi::value::Values;
use crate::lua::ngx::socket::Closes;
use crate::request::Request;
use crate::sys::child::Ended;
use crate::sys::errno;
use child::Life;
use smallvec::smallvec;
use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use stream::Fault;
use stream::Inlet;
use stream::Patience;
use stream::Side;
use timeouts::TIMEOUTS;
use timeouts::Timeouts;
use timeouts::Wait;
use tokio::net::unix::pipe::Sender;

functions! {
    /// What the module `ngx.pipe` is made of.
    pub NATIVE "native.pipe" {
        spawn: CHILDREN => spawn::spawn,
    }
}

functions! {
    /// Methods of children.
    pub METHODS "native.pipe.methods" {
        kill: ANY => kill,
        pid: ANY => pid,
        set_timeouts: ANY => set_timeouts,
        shutdown: ANY => shutdown,
        stderr_read_all: YIELDING => read::stderr_read_all,
        stderr_read_any: YIELDING => read::stderr_read_any,
        stderr_read_bytes: YIELDING => read::stderr_read_bytes,
        stderr_read_line: YIELDING => read::stderr_read_line,
        stdout_read_all: YIELDING => read::stdout_read_all,
        stdout_read_any: YIELDING => read::stdout_read_any,
        stdout_read_bytes: YIELDING => read::stdout_read_bytes,
        stdout_read_line: YIELDING => read::stdout_read_line,
        wait: YIELDING => wait,
        write: YIELDING => write::write,
    }
}

/// A child.
#[derive(Debug)]
struct Spawned {
    pid: i32,
    /// Its complaints come with its output.
    merges: bool,
    /// Bytes read at a time.
    buffer_size: usize,
    timeouts: Timeouts,
    stdin: Side<Sender>,
    stdout: Inlet,
    stderr: Inlet,
    life: Rc<Life>,
    is_waited_for: Cell<bool>,
    /// Its end was told, or it is gone.
    is_closed: Cell<bool>,
    /// Its request is over, or no script holds it.
    is_gone: Cell<bool>,
}

impl Spawned {
    fn trace(&self, doing: &str) {
        let (address, pid) = (std::ptr::from_ref(self) as usize, self.pid);
        let text = format_args!("lua pipe {doing} process:{address:016X} pid:{pid}");
        main_log().say(Level::Debug, text);
    }

    /// Closes its streams; whoever uses one is told so.
    fn finish(&self) {
        self.stdin.close(Fault::Closed);
        self.stdout.side.close(Fault::Closed);
        self.stderr.side.close(Fault::Closed);
        self.is_closed.set(true);
    }
}

impl Closes for Spawned {
    fn close(&self) {
        if !self.is_gone.replace(true) {
            self.trace("destroy");
        }
        if self.life.ended().is_none() {
            self.trace("kill");
            // One that ended just now needs no killing.
            let _ = self.life.signal(libc::SIGKILL);
        }
        self.finish();
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        self.close();
    }
}

/// The child in argument 1.
///
/// # Errors
/// `not a process instance`.
fn this(call: &Call<'_>) -> Result<Rc<Spawned>, ApiError> {
    let found = match call.value(1) {
        Value::Table(table) => {
            table.get(1.0);
            call.stack().object(-1)
        }
        _ => None,
    };
    found.ok_or(ApiError::from("not a process instance"))
}

/// The child in argument 1, told to the debug log.
fn traced(call: &Call<'_>, doing: &str) -> Result<Rc<Spawned>, ApiError> {
    let child = this(call)?;
    let (address, pid) = (Rc::as_ptr(&child) as usize, child.pid);
    call.vm().trace(format_args!("lua pipe {doing} process:{address:016X} pid:{pid}"));
    Ok(child)
}

fn refuse(call: &Call<'_>, text: &str) -> ApiResult {
    call.reply((None::<bool>, text))
}

fn failed(fault: &Fault) -> Values {
    smallvec![Owned::Nil, Owned::Bytes(fault.to_string().into_bytes())]
}

/// `pid()`
fn pid(call: &Call<'_>) -> ApiResult {
    call.reply(this(call)?.pid)
}

/// `set_timeouts(write?, stdout_read?, stderr_read?, wait?)`
fn set_timeouts(call: &Call<'_>) -> ApiResult {
    let child = this(call)?;
    for ((wait, name), index) in TIMEOUTS.into_iter().zip(2..) {
        child.timeouts.set(wait, name, &call.value(index))?;
    }
    call.reply(())
}

/// `kill(signal)`: true, or nil and `exited` or `invalid signal`.
fn kill(call: &Call<'_>) -> ApiResult {
    let child = this(call)?;
    let Value::Number(number) = call.value(2) else {
        let given = match call.is_none(2) {
            true => "nil".into(),
            false => String::from_utf8_lossy(call.tostring(2)?).into_owned(),
        };
        return Err(format!("bad signal arg: number expected, got {given}").into());
    };
    if child.is_closed.get() {
        return refuse(call, "exited");
    }
    match child.life.signal(number as i32) {
        Ok(()) => call.reply(true),
        Err(error) => match error.raw_os_error() {
            Some(libc::EINVAL) => refuse(call, "invalid signal"),
            Some(libc::ESRCH) => refuse(call, "exited"),
            _ => refuse(call, &errno::words(&error)),
        },
    }
}

/// `shutdown("stdin" | "stdout" | "stderr")`
fn shutdown(call: &Call<'_>) -> ApiResult {
    let child = this(call)?;
    let direction = call.bytes(2)?;
    if !matches!(direction, b"stdin" | b"stdout" | b"stderr") {
        let text = format!("bad shutdown arg: {}", String::from_utf8_lossy(direction));
        return Err(text.into());
    }
    if child.is_closed.get() {
        return refuse(call, "closed");
    }
    match direction {
        b"stdin" => child.stdin.close(Fault::Aborted),
        b"stdout" => child.stdout.side.close(Fault::Aborted),
        _ if child.merges => return refuse(call, "merged to stdout"),
        _ => child.stderr.side.close(Fault::Aborted),
    }
    call.reply(true)
}

/// `wait()`: whether it has ended with 0, `exit` or `signal`, and the code or number; or nil and
/// why that is not known.
fn wait(call: &Call<'_>) -> ApiResult {
    let child = traced(call, "wait")?;
    if child.is_closed.get() {
        return refuse(call, "exited");
    }
    if child.is_waited_for.get() {
        return refuse(call, "pipe busy waiting");
    }
    child.is_waited_for.set(true);
    let waiting = Waiting(child);
    let trace = Trace::new(call, "wait");
    let mut patience = Patience::new(waiting.0.timeouts.of(Wait::End));
    call.suspend(async move {
        let mut end = std::pin::pin!(waiting.0.life.wait());
        let ended = poll_fn(|cx| match end.as_mut().poll(cx) {
            Poll::Ready(ended) => Poll::Ready(Some(ended)),
            Poll::Pending => patience.poll_over(cx, 0).map(|()| None),
        })
        .await;
        trace.over();
        let Some(ended) = ended else { return failed(&Fault::Timeout) };
        waiting.0.finish();
        let (reason, status) = match ended {
            Ended::Exit(code) => ("exit", code),
            Ended::Signal(number) => ("signal", number),
            Ended::Unknown => ("unknown", -1),
        };
        let status_value = Owned::Number(status.into());
        smallvec![Owned::Boolean(status == 0), Owned::Text(reason), status_value]
    })
}

/// A child whose end a light thread waits for.
struct Waiting(Rc<Spawned>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.is_waited_for.set(false);
    }
}

/// Tells the debug log of an operation that was given up.
struct Trace {
    request: Option<Rc<Request>>,
    doing: &'static str,
    is_over: bool,
}

impl Trace {
    fn new(call: &Call<'_>, doing: &'static str) -> Self {
        let request = call.vm().request().filter(|it| it.logs(Level::Debug));
        Self { request, doing, is_over: false }
    }

    /// It was not given up.
    fn over(mut self) {
        self.is_over = true;
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        if let (Some(request), false) = (&self.request, self.is_over) {
            let doing = self.doing;
            request.log(Level::Debug, format_args!("lua pipe proc {doing} cleanup"));
        }
    }
}
