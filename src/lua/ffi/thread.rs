//! Coroutines as the driver uses them: made, loaded with a function, resumed, recycled.

use crate::lua::ffi::heap::State;
use crate::lua::ffi::raw;
use crate::lua::ffi::raw::lua_State;
use crate::lua::ffi::stack::Anchor;
use crate::lua::ffi::stack::Stack;
use crate::lua::ffi::value::Push;
use std::ffi::CString;
use std::ffi::c_int;

/// A coroutine anchored in its VM. Its methods take the VM's state: it must be the one it is of.
#[derive(Debug)]
pub struct Thread {
    raw: *mut lua_State,
    anchor: Anchor,
}

/// How a resume came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resumed {
    /// The function returned; so many results are on the coroutine's stack.
    Finished,
    /// It yielded.
    Yielded,
    /// It failed; the error is on top of its stack. It can be inspected, not resumed.
    Failed,
    /// It failed for want of memory.
    OutOfMemory,
}

impl Push for &Thread {
    fn push(self, stack: &Stack<'_>) -> usize {
        stack.push_anchored(&self.anchor);
        1
    }
}

impl Resumed {
    fn of(code: c_int) -> Self {
        match code {
            raw::LUA_OK => Self::Finished,
            raw::LUA_YIELD => Self::Yielded,
            raw::LUA_ERRMEM => Self::OutOfMemory,
            _ => Self::Failed,
        }
    }
}

/// The stack of the main thread, for code that builds the VM.
pub fn main_stack(state: &State) -> Stack<'_> {
    // SAFETY: the state lives as long as the borrow; outside of resumes its heap is not strict.
    unsafe { Stack::new(state.raw()) }
}

/// Drops what is above the `top` first values of the main thread's stack.
pub fn trim_main(state: &State, top: c_int) {
    // SAFETY: the callers took `top` from this stack before they pushed.
    unsafe { raw::lua_settop(state.raw(), top) }
}

impl Thread {
    /// A new coroutine.
    pub fn new(state: &State) -> Self {
        let stack = main_stack(state);
        // SAFETY: the heap is not strict; room is made by the push before (a state has 20 slots).
        let raw = unsafe { raw::lua_newthread(stack.raw()) };
        Self { raw, anchor: stack.anchor() }
    }

    /// Its stack.
    pub fn stack<'a>(&'a self, _state: &'a State) -> Stack<'a> {
        // SAFETY: the anchor keeps the coroutine alive; outside of resumes the heap is not strict.
        unsafe { Stack::new(self.raw) }
    }

    /// Empties its stack.
    pub fn clear(&self, _state: &State) {
        // SAFETY: nothing borrowed from the stack is alive: those borrow `self`.
        unsafe { raw::lua_settop(self.raw, 0) }
    }

    /// Lets the garbage collector have it.
    pub fn discard(self, state: &State) {
        main_stack(state).release(self.anchor);
    }

    /// Moves the `count` values on top of the main thread's stack onto its own.
    pub fn take_from_main(&self, state: &State, count: usize) {
        let count = count as c_int;
        assert!(main_stack(state).top() >= count, "values to move");
        // SAFETY: so many values are there; room is made for them.
        unsafe {
            raw::lua_checkstack(self.raw, count);
            mlua::ffi::lua_xmove(state.raw(), self.raw, count);
        }
    }

    /// Moves the `count` values on top of `from`, the stack of another coroutine, onto its own.
    pub fn take_from(&self, from: &Stack<'_>, count: usize) {
        let count = count as c_int;
        assert!(from.top() >= count && from.raw() != self.raw, "values to move");
        // SAFETY: so many values are there; room is made for them; both are of one VM.
        unsafe {
            assert!(raw::lua_checkstack(self.raw, count) != 0, "stack overflow");
            mlua::ffi::lua_xmove(from.raw(), self.raw, count);
        }
    }

    /// Moves all its values onto `to`, the stack of another coroutine; gives their number.
    pub fn give_all(&self, to: &Stack<'_>) -> usize {
        assert!(to.raw() != self.raw, "another coroutine");
        // SAFETY: the anchor keeps it alive; it does not run, so that its values are its own.
        unsafe {
            let count = raw::lua_gettop(self.raw);
            assert!(raw::lua_checkstack(to.raw(), count) != 0, "stack overflow");
            mlua::ffi::lua_xmove(self.raw, to.raw(), count);
            count as usize
        }
    }

    /// What tells it from other coroutines, as `Stack::address` of a slot that holds it.
    pub fn address(&self) -> usize {
        self.raw as usize
    }

    /// Starts or continues it with the `arguments` values on top of its stack.
    pub fn resume(&self, state: &State, arguments: usize) -> Resumed {
        let strict = state.heap().set_strict(true);
        // SAFETY: function and arguments are on the stack; errors are caught by the resume.
        let code = unsafe { raw::resume(self.raw, arguments as c_int) };
        state.heap().set_strict(strict);
        Resumed::of(code)
    }

    /// Calls the function below the `arguments` values on top, not to yield. A failure leaves
    /// its message, with the stack traceback appended, on top.
    pub fn call(&self, state: &State, arguments: usize, results: usize) -> Resumed {
        let stack = self.stack(state);
        let base = stack.top() - arguments as c_int;
        // SAFETY: function and arguments are on top; the handler goes below them; errors are
        // caught by the call.
        unsafe {
            raw::lua_pushcclosure(self.raw, with_traceback, 0);
            mlua::ffi::lua_insert(self.raw, base);
            let strict = state.heap().set_strict(true);
            let code = raw::lua_pcall(self.raw, arguments as c_int, results as c_int, base);
            state.heap().set_strict(strict);
            raw::lua_remove(self.raw, base);
            Resumed::of(code)
        }
    }

    /// The call stack of the coroutine, one `\n\t…` a level, without a headline.
    pub fn traceback(&self, state: &State) -> Vec<u8> {
        traceback_of(&main_stack(state), self.raw)
    }
}

/// The call stack of the coroutine at `index` of `stack`, as [`Thread::traceback`] gives it.
pub fn traceback_at(stack: &Stack<'_>, index: c_int) -> Vec<u8> {
    // SAFETY: any acceptable index may be asked for; null is no coroutine.
    let thread = unsafe { mlua::ffi::lua_tothread(stack.raw(), index) };
    if thread.is_null() { Vec::new() } else { traceback_of(stack, thread) }
}

fn traceback_of(stack: &Stack<'_>, thread: *mut lua_State) -> Vec<u8> {
    let top = stack.top();
    // SAFETY: both are live; a string is pushed, copied and popped.
    unsafe {
        raw::traceback(stack.raw(), thread, std::ptr::null(), 0);
        let text = stack.text(-1).unwrap_or_default();
        let text = text.strip_prefix(b"stack traceback:").unwrap_or(text).to_vec();
        raw::lua_settop(stack.raw(), top);
        text
    }
}

/// The message handler of synchronous calls: appends the traceback to a message that is text.
///
/// # Safety
/// Called by LuaJIT with the error as its argument.
unsafe extern "C-unwind" fn with_traceback(state: *mut lua_State) -> c_int {
    // SAFETY: one argument is on the stack; no value with a destructor is alive here.
    unsafe {
        if raw::lua_isstring(state, 1) != 0 {
            let message = raw::lua_tolstring(state, 1, std::ptr::null_mut());
            raw::traceback(state, state, message, 1);
        }
        1
    }
}

/// Compiles text or bytecode; the function is anchored, not run.
///
/// # Errors
/// LuaJIT's message, with chunk name and line.
pub fn load(state: &State, code: &[u8], name: &[u8]) -> Result<Anchor, String> {
    let stack = main_stack(state);
    let name = CString::new(name).map_err(|_| "NUL in a chunk's name".to_owned())?;
    // SAFETY: code and name live through the call, which catches its own errors and pushes either
    // a function or a message.
    let code = unsafe {
        raw::loadbufferx(
            stack.raw(),
            code.as_ptr().cast(),
            code.len(),
            name.as_ptr(),
            c"bt".as_ptr(),
        )
    };
    if code == raw::LUA_OK {
        return Ok(stack.anchor());
    }
    let text = String::from_utf8_lossy(stack.text(-1).unwrap_or_default()).into_owned();
    trim_main(state, stack.top() - 1);
    Err(text)
}

/// Collects all garbage.
pub fn collect_garbage(state: &State) {
    // SAFETY: the state is live; errors of finalizers are not raised by LuaJIT.
    unsafe { raw::lua_gc(state.raw(), raw::LUA_GCCOLLECT, 0) };
}
