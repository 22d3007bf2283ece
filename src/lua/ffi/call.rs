//! One call of an API function by Lua: its arguments, its results, its errors.
//!
//! A body is a safe `fn(&Call) -> ApiResult`. It reads arguments, answers with `call.reply(…)`,
//! waits with `call.suspend(…)`, or ends the run with `call.end_run(…)`.

use crate::lua::ffi::raw;
use crate::lua::ffi::stack::Stack;
use crate::lua::ffi::stack::Table;
use crate::lua::ffi::value::Kind;
use crate::lua::ffi::value::Push;
use crate::lua::ffi::value::Value;
use crate::lua::ffi::value::Values;
use crate::lua::outcome::Downstream;
use crate::lua::outcome::Finish;
use crate::lua::outcome::Op;
use crate::lua::outcome::Outcome;
use crate::lua::vm::Vm;
use crate::request::Request;
use std::borrow::Cow;
use std::ffi::c_int;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Context;
use std::task::Poll;

/// What Lua says when a wait is asked for inside `table.sort`, `string.gsub` or a sync phase.
pub const CANNOT_YIELD: &str = "attempt to yield across C-call boundary";

/// An error on its way to Lua.
#[derive(Debug, PartialEq, Eq)]
pub enum ApiError {
    /// A message; the caller's script and line are put before it, as `luaL_error` does.
    Text(Cow<'static, [u8]>),
    /// `bad argument #N to 'name' (message)`, as `luaL_argerror` says it.
    Argument(c_int, Cow<'static, [u8]>),
    /// A message without a place.
    Bare(&'static str),
    /// The same, made up.
    Unplaced(String),
    /// The value on top of the stack, raised as it is.
    Thrown,
}

impl From<&'static str> for ApiError {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text.as_bytes()))
    }
}

impl From<String> for ApiError {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text.into_bytes()))
    }
}

impl From<Vec<u8>> for ApiError {
    fn from(text: Vec<u8>) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl ApiError {
    /// `bad argument #index …` with a message.
    pub fn argument(index: c_int, message: impl Into<Cow<'static, str>>) -> Self {
        let bytes = match message.into() {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
        Self::Argument(index, bytes)
    }
}

/// How a body ends when it does not fail.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply {
    /// So many values on top of the stack are the results.
    Values(usize),
    /// The coroutine waits; its run knows what for.
    Suspend,
}

/// What a body returns.
pub type ApiResult = Result<Reply, ApiError>;

/// One running call.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    stack: Stack<'a>,
    vm: &'a Vm,
    count: c_int,
}

impl<'a> Call<'a> {
    pub(in crate::lua::ffi) fn new(stack: Stack<'a>, vm: &'a Vm) -> Self {
        Self { stack, vm, count: stack.top() }
    }

    /// The VM that runs the script.
    pub fn vm(&self) -> &'a Vm {
        self.vm
    }

    /// The current request.
    ///
    /// # Errors
    /// `no request found` where there is none.
    pub fn request(&self) -> Result<Rc<Request>, ApiError> {
        self.vm.request().ok_or(ApiError::from("no request found"))
    }

    /// The number that the function was bound to; 0 for most.
    pub fn bound(&self) -> usize {
        // SAFETY: an upvalue that is not there reads as null.
        unsafe { raw::lua_touserdata(self.stack.raw(), raw::lua_upvalueindex(3)) as usize }
    }

    /// What tells the running coroutine from others.
    pub fn coroutine(&self) -> usize {
        self.stack.raw() as usize
    }

    /// How many arguments were given.
    pub fn count(&self) -> usize {
        self.count as usize
    }

    /// The stack: arguments first, then whatever was pushed.
    pub fn stack(&self) -> Stack<'a> {
        self.stack
    }

    /// The type of argument `index` (from 1).
    pub fn kind(&self, index: c_int) -> Kind {
        if index > self.count { Kind::None } else { self.stack.kind(index) }
    }

    /// Argument `index` as it is.
    pub fn value(&self, index: c_int) -> Value<'a> {
        if index > self.count { Value::Nil } else { self.stack.value(index) }
    }

    /// Whether argument `index` is a function written in Lua.
    pub fn is_lua_function(&self, index: c_int) -> bool {
        // SAFETY: any acceptable index may be asked for.
        let in_c = unsafe { mlua::ffi::lua_iscfunction(self.stack.raw(), index) } != 0;
        self.kind(index) == Kind::Function && !in_c
    }

    /// Whether argument `index` is nil or was not given.
    pub fn is_none(&self, index: c_int) -> bool {
        matches!(self.kind(index), Kind::None | Kind::Nil)
    }

    /// A string, or a number as its text.
    ///
    /// # Errors
    /// `string expected, got …`.
    pub fn bytes(&self, index: c_int) -> Result<&'a [u8], ApiError> {
        if index > self.count {
            return Err(self.expected("string", index));
        }
        self.stack.text(index).ok_or_else(|| self.expected("string", index))
    }

    /// The same, or `None` for nil and nothing.
    ///
    /// # Errors
    /// `string expected, got …`.
    pub fn opt_bytes(&self, index: c_int) -> Result<Option<&'a [u8]>, ApiError> {
        if self.is_none(index) { Ok(None) } else { self.bytes(index).map(Some) }
    }

    /// A number, or a string that spells one.
    ///
    /// # Errors
    /// `number expected, got …`.
    pub fn number(&self, index: c_int) -> Result<f64, ApiError> {
        let found = if index > self.count { None } else { self.stack.number(index) };
        found.ok_or_else(|| self.expected("number", index))
    }

    /// The same, or `None` for nil and nothing.
    ///
    /// # Errors
    /// `number expected, got …`.
    pub fn opt_number(&self, index: c_int) -> Result<Option<f64>, ApiError> {
        if self.is_none(index) { Ok(None) } else { self.number(index).map(Some) }
    }

    /// A number cut to an integer.
    ///
    /// # Errors
    /// `number expected, got …`.
    pub fn integer(&self, index: c_int) -> Result<i64, ApiError> {
        self.number(index)?;
        Ok(self.stack.integer(index).unwrap_or_default())
    }

    /// The same, or `None` for nil and nothing.
    ///
    /// # Errors
    /// `number expected, got …`.
    pub fn opt_integer(&self, index: c_int) -> Result<Option<i64>, ApiError> {
        if self.is_none(index) { Ok(None) } else { self.integer(index).map(Some) }
    }

    /// Whether argument `index` counts as true.
    pub fn boolean(&self, index: c_int) -> bool {
        index <= self.count && self.stack.boolean(index)
    }

    /// A table.
    ///
    /// # Errors
    /// `table expected, got …`.
    pub fn table(&self, index: c_int) -> Result<Table<'a>, ApiError> {
        let found = if index > self.count { None } else { self.stack.as_table(index) };
        found.ok_or_else(|| self.expected("table", index))
    }

    /// Checks the type of argument `index`.
    ///
    /// # Errors
    /// `KIND expected, got …`.
    pub fn check(&self, index: c_int, kind: Kind) -> Result<(), ApiError> {
        if self.kind(index) == kind { Ok(()) } else { Err(self.expected(kind.name(), index)) }
    }

    /// The error for an argument of the wrong type.
    pub fn expected(&self, what: &str, index: c_int) -> ApiError {
        ApiError::argument(index, format!("{what} expected, got {}", self.kind(index).name()))
    }

    /// Argument `index` as `tostring` gives it, metamethods included; pushes one value.
    ///
    /// # Errors
    /// Whatever `__tostring` raises.
    pub fn tostring(&self, index: c_int) -> Result<&'a [u8], ApiError> {
        if let Some(text) = self.stack.text(index) {
            return Ok(text);
        }
        self.stack.push_anchored(self.vm.tostring());
        self.stack.push_copy(index);
        self.invoke(1, 1)?;
        Ok(self.stack.text(-1).unwrap_or_default())
    }

    /// Calls the function that stands below `arguments` values on top; its `results` replace them.
    ///
    /// # Errors
    /// Its error, which is then on top of the stack.
    pub fn invoke(&self, arguments: usize, results: usize) -> Result<(), ApiError> {
        let heap = self.vm.state().heap();
        let strict = heap.set_strict(true);
        // SAFETY: function and arguments are on top, pushed by the body; an error is caught here.
        let code =
            unsafe { raw::lua_pcall(self.stack.raw(), arguments as c_int, results as c_int, 0) };
        heap.set_strict(strict);
        if code == raw::LUA_OK { Ok(()) } else { Err(ApiError::Thrown) }
    }

    /// Replaces the key on top by the value that the table at argument `index` has for it,
    /// metamethods included.
    ///
    /// # Errors
    /// Whatever a metamethod raises.
    pub fn index_with_top(&self, index: c_int) -> Result<(), ApiError> {
        let table = self.table(index)?;
        if table.metatable_address() == 0 {
            let key = self.stack.top();
            table.get(crate::lua::ffi::value::Slot(key));
            return Ok(());
        }
        let key = self.stack.top();
        // SAFETY: two values are pushed into reserved room before a call that catches errors.
        unsafe { raw::lua_pushcclosure(self.stack.raw(), gettable, 0) };
        self.stack.push_copy(table.index());
        self.stack.push_copy(key);
        self.invoke(2, 1)
    }

    /// Pushes the results.
    ///
    /// # Errors
    /// None; the type is that of bodies.
    pub fn reply(&self, values: impl Push) -> ApiResult {
        Ok(Reply::Values(self.stack.push(values)))
    }

    /// Waits for `future`, whose values become the function's results. A future that is ready at
    /// once costs no yield.
    ///
    /// # Errors
    /// [`CANNOT_YIELD`] inside a C function that calls back, and in phases that do not wait.
    pub fn suspend(&self, future: impl Future<Output = Values> + 'static) -> ApiResult {
        let waker = self.vm.waker().ok_or(ApiError::Bare(CANNOT_YIELD))?;
        let mut future: Pin<Box<dyn Future<Output = Values>>> = Box::pin(future);
        if let Poll::Ready(values) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return self.reply(values);
        }
        self.check_yieldable()?;
        self.vm.set_op(Op::Future(future));
        Ok(Reply::Suspend)
    }

    /// Hands `op` to the owner of the client's session and waits for its result.
    ///
    /// # Errors
    /// As `suspend`.
    pub fn downstream(&self, op: Downstream, finish: Finish) -> ApiResult {
        self.check_yieldable()?;
        self.vm.set_op(Op::Downstream(op, finish));
        Ok(Reply::Suspend)
    }

    /// Ends the run here with `outcome`; no `pcall` of the script sees it. In phases that do not
    /// wait only the outcome is set, and the function returns to the script.
    ///
    /// # Errors
    /// As `suspend`.
    pub fn end_run(&self, outcome: Outcome) -> ApiResult {
        if !self.vm.phase().yields() {
            self.vm.set_outcome(outcome);
            return Ok(Reply::Values(0));
        }
        self.check_yieldable()?;
        self.vm.set_outcome(outcome);
        Ok(Reply::Suspend)
    }

    /// Waits for what `op` says.
    ///
    /// # Errors
    /// As `suspend`.
    pub fn wait_for(&self, op: Op) -> ApiResult {
        self.check_yieldable()?;
        self.vm.set_op(op);
        Ok(Reply::Suspend)
    }

    /// # Errors
    /// [`CANNOT_YIELD`].
    pub fn check_yieldable(&self) -> Result<(), ApiError> {
        // SAFETY: the state is live.
        let yieldable = unsafe { raw::isyieldable(self.stack.raw()) } != 0;
        let may = yieldable && self.vm.waker().is_some();
        if may { Ok(()) } else { Err(ApiError::Bare(CANNOT_YIELD)) }
    }

    /// The script and line that called this function: `content_by_lua(nginx.conf:40):3: `, or
    /// nothing when it was called by C.
    pub fn location(&self) -> Vec<u8> {
        // SAFETY: the state is live and not strict; a string is pushed and read before it can go.
        unsafe { raw::luaL_where(self.stack.raw(), 1) };
        self.stack.text(-1).unwrap_or_default().to_vec()
    }

    /// The function that called this one.
    pub fn caller(&self) -> Caller {
        crate::lua::ffi::function::caller(&self.stack)
    }
}

/// `table[key]` with metamethods, to be called protected.
///
/// # Safety
/// Called by LuaJIT with a table and a key.
unsafe extern "C-unwind" fn gettable(state: *mut raw::lua_State) -> c_int {
    // SAFETY: the caller's promise; no value with a destructor is alive here.
    unsafe {
        mlua::ffi::lua_gettable(state, 1);
        1
    }
}

/// Who called an API function: what `ngx.log` puts before a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// The chunk's short name: `content_by_lua(nginx.conf:40)`, or a path.
    pub source: String,
    /// The line, or that of the function's definition.
    pub line: i32,
    /// The function's name, if it is a named Lua function.
    pub name: Option<String>,
}
