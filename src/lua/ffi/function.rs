//! The table of API functions and the one C function through which Lua calls them all.

use crate::lua::ffi::call::ApiError;
use crate::lua::ffi::call::ApiResult;
use crate::lua::ffi::call::Call;
use crate::lua::ffi::call::Caller;
use crate::lua::ffi::call::Reply;
use crate::lua::ffi::raw;
use crate::lua::ffi::raw::lua_Debug;
use crate::lua::ffi::raw::lua_State;
use crate::lua::ffi::stack::Stack;
use crate::lua::ffi::value::Kind;
use crate::lua::phase::Phase;
use crate::lua::phase::Phases;
use crate::lua::vm::Vm;
use std::ffi::CStr;
use std::ffi::c_int;
use std::ffi::c_void;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;

/// A body: safe Rust over one call.
pub type Body = for<'a> fn(&Call<'a>) -> ApiResult;

/// A row of the API's table.
#[derive(Clone, Copy)]
pub struct Function {
    /// Its name in its table.
    pub name: &'static str,
    /// Where it may run.
    pub phases: Phases,
    /// What it does.
    pub body: Body,
}

/// Functions of one Lua table.
#[derive(Clone, Copy)]
pub struct Library {
    /// The table, as a path of names from the globals: `ngx`, `ngx.req`; `native.…` is seen by our
    /// own preludes only.
    pub path: &'static str,
    /// Its functions.
    pub functions: &'static [Function],
}

/// Declares the functions of a Lua table, one row each:
///
/// ```text
/// functions! { pub NAME "ngx" {
///     sleep: YIELDING => sleep,
/// } }
/// ```
macro_rules! functions {
    ($(#[$doc:meta])* pub $table:ident $path:literal {
        $($name:ident : $phases:ident => $body:path),* $(,)?
    }) => {
        $(#[$doc])*
        pub const $table: crate::lua::ffi::function::Library =
            crate::lua::ffi::function::Library {
                path: $path,
                functions: &[$(crate::lua::ffi::function::Function {
                    name: stringify!($name),
                    phases: crate::lua::phase::Phases::$phases,
                    body: $body,
                }),*],
            };
    };
}
pub(crate) use functions;

/// What a suspended coroutine hands out, so that our `coroutine.resume` knows a wait from a
/// script's own yield.
static SENTINEL: u8 = 0;

/// The sentinel's address.
pub fn sentinel() -> usize {
    std::ptr::from_ref(&SENTINEL) as usize
}

/// Pushes `function` of `vm` as a Lua function.
pub fn push_function(stack: &Stack<'_>, vm: &Vm, function: &'static Function) {
    stack.push_light(std::ptr::from_ref(vm) as usize);
    stack.push_light(std::ptr::from_ref(function) as usize);
    // SAFETY: the two upvalues are on top; `trampoline` knows them.
    unsafe { raw::lua_pushcclosure(stack.raw(), trampoline, 2) }
}

/// The same, bound to a number of its own that `Call::bound` gives.
pub fn push_bound(stack: &Stack<'_>, vm: &Vm, function: &'static Function, number: usize) {
    stack.push_light(std::ptr::from_ref(vm) as usize);
    stack.push_light(std::ptr::from_ref(function) as usize);
    stack.push_light(number);
    // SAFETY: the three upvalues are on top; `trampoline` knows two, `Call::bound` the third.
    unsafe { raw::lua_pushcclosure(stack.raw(), trampoline, 3) }
}

/// How a call ends, once no Rust value is left that would need dropping.
enum End {
    Values(c_int),
    Yield,
    Raise,
}

/// # Safety
/// Called by LuaJIT for a closure that `push_function` made.
unsafe extern "C-unwind" fn trampoline(state: *mut lua_State) -> c_int {
    // SAFETY: the caller's promise; no value with a destructor is alive in this frame when an
    // error or a yield leaves it.
    unsafe {
        match run(state) {
            End::Values(count) => count,
            End::Yield => {
                raw::lua_settop(state, 0);
                raw::lua_pushlightuserdata(state, sentinel() as *mut c_void);
                raw::lua_yield(state, 1)
            }
            End::Raise => raw::lua_error(state),
        }
    }
}

/// Runs the body; a panic becomes an error.
///
/// # Safety
/// As `trampoline`.
unsafe fn run(state: *mut lua_State) -> End {
    // SAFETY: `push_function` put the two addresses there: the VM closes its state before it goes,
    // and the function is static. From here on the heap is not strict.
    let (vm, function, stack, strict) = unsafe {
        let vm = &*raw::lua_touserdata(state, raw::lua_upvalueindex(1)).cast::<Vm>();
        let function = &*raw::lua_touserdata(state, raw::lua_upvalueindex(2)).cast::<Function>();
        (vm, function, Stack::new(state), vm.state().heap().set_strict(false))
    };
    let end = catch_unwind(AssertUnwindSafe(|| {
        let call = Call::new(stack, vm);
        let result = admit(vm.phase(), function).and_then(|()| (function.body)(&call));
        match result {
            Ok(Reply::Values(count)) => End::Values(count as c_int),
            Ok(Reply::Suspend) => End::Yield,
            Err(error) => {
                push_error(&call, error);
                End::Raise
            }
        }
    }));
    let end = end.unwrap_or_else(|panic| {
        let text = panic_text(panic.as_ref());
        // SAFETY: room for one value is made first; the stack may be full, the rest is given up.
        unsafe { raw::lua_settop(state, 0) };
        stack.push_bytes(text.as_bytes());
        End::Raise
    });
    vm.state().heap().set_strict(strict);
    end
}

/// # Errors
/// OpenResty's text when `function` may not run in `phase`.
fn admit(phase: Phase, function: &Function) -> Result<(), ApiError> {
    if function.phases.contains(phase) {
        Ok(())
    } else if phase == Phase::Init {
        Err("no request found".into())
    } else {
        Err(format!("API disabled in the context of {}", phase.context()).into())
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "unknown panic".to_owned())
}

/// Pushes the message that `error` is for Lua.
fn push_error(call: &Call<'_>, error: ApiError) {
    let message = match error {
        ApiError::Thrown => return,
        ApiError::Bare(text) => return call.stack().push_bytes(text.as_bytes()),
        ApiError::Unplaced(text) => return call.stack().push_bytes(text.as_bytes()),
        ApiError::Text(text) => text.into_owned(),
        ApiError::Argument(index, text) => argument_text(call, index, &text),
    };
    let mut full = call.location();
    full.extend_from_slice(&message);
    call.stack().push_bytes(&full);
}

/// `bad argument #1 to 'sleep' (number expected, got nil)`, as luaL_argerror words it.
fn argument_text(call: &Call<'_>, index: c_int, text: &[u8]) -> Vec<u8> {
    let (name, is_method) = called_as(call.stack().raw());
    let index = if is_method { index - 1 } else { index };
    let mut message = if index == 0 {
        format!("calling '{name}' on bad self (")
    } else {
        format!("bad argument #{index} to '{name}' (")
    }
    .into_bytes();
    message.extend_from_slice(text);
    message.push(b')');
    message
}

/// The name by which the script called the running function, and whether with a colon.
fn called_as(state: *mut lua_State) -> (String, bool) {
    // SAFETY: `lua_Debug` is plain; the texts it points to are read before anything else runs.
    unsafe {
        let mut debug: lua_Debug = std::mem::zeroed();
        if raw::lua_getstack(state, 0, &mut debug) == 0 {
            return ("?".to_owned(), false);
        }
        raw::lua_getinfo(state, c"n".as_ptr(), &mut debug);
        if debug.name.is_null() {
            return ("?".to_owned(), false);
        }
        let name = CStr::from_ptr(debug.name).to_string_lossy().into_owned();
        let method = !debug.namewhat.is_null() && CStr::from_ptr(debug.namewhat) == c"method";
        (name, method)
    }
}

/// Where the Lua function in slot `index` is defined: its chunk's whole name and the line.
pub(in crate::lua) fn definition(stack: &Stack<'_>, index: c_int) -> Option<(String, i32)> {
    if stack.kind(index) != Kind::Function {
        return None;
    }
    stack.push_copy(index);
    // SAFETY: a function is on top, which `lua_getinfo` takes; `lua_Debug` is plain, and its text
    // is read before anything else runs.
    unsafe {
        let mut debug: lua_Debug = std::mem::zeroed();
        raw::lua_getinfo(stack.raw(), c">S".as_ptr(), &mut debug);
        let source = CStr::from_ptr(debug.source).to_string_lossy().into_owned();
        Some((source, debug.linedefined))
    }
}

/// The function at level 1 of `stack`.
pub(in crate::lua::ffi) fn caller(stack: &Stack<'_>) -> Caller {
    // SAFETY: `lua_Debug` is plain; the texts it points to are read before anything else runs.
    unsafe {
        let mut debug: lua_Debug = std::mem::zeroed();
        if raw::lua_getstack(stack.raw(), 1, &mut debug) == 0 {
            return Caller::default();
        }
        raw::lua_getinfo(stack.raw(), c"Snl".as_ptr(), &mut debug);
        let text = |text: *const std::ffi::c_char| {
            if text.is_null() {
                String::new()
            } else {
                CStr::from_ptr(text).to_string_lossy().into_owned()
            }
        };
        let is_named = !text(debug.namewhat).is_empty() && text(debug.what).starts_with('L');
        Caller {
            source: text(debug.short_src.as_ptr()),
            line: if debug.currentline > 0 { debug.currentline } else { debug.linedefined },
            name: is_named.then(|| text(debug.name)),
        }
    }
}
