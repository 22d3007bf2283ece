//! What a run of Lua code decides, what it waits for, and how it fails.

use crate::lua::crew::Address;
use crate::lua::crew::Crew;
use crate::lua::ffi::value::Values;
use smallvec::SmallVec;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

/// How a handler ended, as its caller must go on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// It returned: the next phase follows.
    #[default]
    Completed,
    /// `ngx.exit(code)`: 0 (`ngx.OK`) leaves this phase, -5 (`ngx.DECLINED`) likewise, -1
    /// (`ngx.ERROR`) and statuses from 200 on end the request.
    Exit(i32),
    /// `ngx.exec(uri, args)`: start over at another location (`@name` or a URI).
    Exec {
        /// The location's URI, or its name with its `@`.
        uri: Vec<u8>,
        /// The query string; `None` leaves none.
        args: Option<Vec<u8>>,
    },
    /// `ngx.redirect(location, status)`: answer 301, 302, 303, 307 or 308.
    Redirect {
        /// The status.
        status: u16,
        /// The value of the `Location` field.
        location: Vec<u8>,
    },
    /// `ngx.req.set_uri(uri, true)`: the URI is set, look for its location again.
    Jump,
}

/// An operation that only the owner of the client's session can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Downstream {
    /// `ngx.req.read_body()`.
    ReadBody,
    /// `ngx.req.discard_body()`.
    DiscardBody,
    /// `ngx.flush(true)`: until the socket has taken what was said.
    Flush,
}

/// What came of a [`Downstream`] operation: the text goes to Lua as `nil, text`.
pub type DownstreamResult = Result<(), String>;

/// Turns the result of a downstream operation into what the Lua function returns.
pub type Finish = fn(DownstreamResult) -> Values;

/// What a suspended run waits for.
pub enum Op {
    /// A future; its values are what the Lua function returns.
    Future(Pin<Box<dyn Future<Output = Values>>>),
    /// The session's owner.
    Downstream(Downstream, Finish),
    /// The light thread at this address, a new member of the crew: it runs first.
    Spawn(Rc<Crew>, Address),
    /// The first of these light threads to end.
    Threads(SmallVec<[Address; 4]>),
}

impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Future(_) => f.write_str("Future"),
            Self::Downstream(op, _) => write!(f, "Downstream({op:?})"),
            Self::Spawn(_, child) => write!(f, "Spawn({child:#x})"),
            Self::Threads(children) => write!(f, "Threads({})", children.len()),
        }
    }
}

/// The next thing that a run wants of its caller.
#[derive(Debug)]
pub enum Step {
    /// Do this, then call `Run::resume_downstream` with the result.
    Downstream(Downstream),
    /// It has ended.
    Done(Result<Outcome, Failure>),
}

/// Why Lua code was aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// An error that nobody caught.
    Runtime,
    /// The VM's memory limit, or an error of the garbage collector.
    Memory,
    /// The handler's CPU time is used up.
    Timeout,
}

/// An error that ended a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What sort.
    pub kind: FailureKind,
    /// The message, with script and line as Lua put them.
    pub message: Vec<u8>,
    /// The call stacks as OpenResty prints them, beginning with `stack traceback:`; may be empty.
    pub traceback: Vec<u8>,
}

impl Failure {
    /// What goes to the error log for a handler of its own coroutine:
    /// `lua entry thread aborted: runtime error: …` and the stacks.
    pub fn entry_thread_text(&self) -> Vec<u8> {
        self.text_of("lua entry thread aborted")
    }

    /// The same for whatever `what` says.
    pub fn text_of(&self, what: &str) -> Vec<u8> {
        let kind = match self.kind {
            FailureKind::Runtime | FailureKind::Timeout => "runtime error",
            FailureKind::Memory => "memory allocation error",
        };
        let mut text = format!("{what}: {kind}: ").into_bytes();
        self.append_to(&mut text);
        text
    }

    /// What goes to the error log for a phase that runs synchronously:
    /// `failed to run header_filter_by_lua*: …`.
    pub fn sync_text(&self, context: &str) -> Vec<u8> {
        let mut text = format!("failed to run {context}: ").into_bytes();
        self.append_to(&mut text);
        text
    }

    fn append_to(&self, text: &mut Vec<u8>) {
        text.extend_from_slice(&self.message);
        if !self.traceback.is_empty() {
            text.push(b'\n');
            text.extend_from_slice(&self.traceback);
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.message))
    }
}
