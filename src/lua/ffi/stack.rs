//! A Lua stack for safe Rust: each push makes room first, each read looks at the type first.
//!
//! Values are only added above what is there; what a `Stack` handed out stays in its slot until
//! the function that owns the stack returns. Loops reuse two slots of their own.

use crate::lua::ffi::raw;
use crate::lua::ffi::raw::lua_State;
use crate::lua::ffi::value::Kind;
use crate::lua::ffi::value::Push;
use crate::lua::ffi::value::Value;
use std::ffi::c_int;
use std::ffi::c_void;
use std::marker::PhantomData;

/// LuaJIT refuses longer strings by raising an error; we refuse them first.
const MAX_STRING: usize = 0x7fff_ff00;

/// The stack of one running C function, or of the code that builds a VM.
#[derive(Clone, Copy)]
pub struct Stack<'a> {
    raw: *mut lua_State,
    life: PhantomData<&'a ()>,
}

impl<'a> Stack<'a> {
    /// # Safety
    /// `raw` is live for `'a`, nothing else pops its values meanwhile, and its heap is not strict.
    pub(in crate::lua::ffi) unsafe fn new(raw: *mut lua_State) -> Self {
        Self { raw, life: PhantomData }
    }

    pub(in crate::lua::ffi) fn raw(&self) -> *mut lua_State {
        self.raw
    }

    /// How many values stand on it.
    pub fn top(&self) -> c_int {
        // SAFETY: the state is live (`new`).
        unsafe { raw::lua_gettop(self.raw) }
    }

    /// Makes room for `slots` more values.
    ///
    /// # Panics
    /// When Lua's own limit (8000 slots) is passed; a caught panic becomes a Lua error.
    fn reserve(&self, slots: c_int) {
        // SAFETY: the state is live.
        assert!(unsafe { raw::lua_checkstack(self.raw, slots) } != 0, "stack overflow");
    }

    /// The type of the value at `index`.
    pub fn kind(&self, index: c_int) -> Kind {
        // SAFETY: any acceptable index may be asked for; an empty slot is `None`.
        Kind::of(unsafe { raw::lua_type(self.raw, index) })
    }

    /// Pushes anything; gives the number of values pushed.
    pub fn push(&self, value: impl Push) -> usize {
        value.push(self)
    }

    pub(in crate::lua::ffi) fn push_nil(&self) {
        self.reserve(1);
        // SAFETY: there is room.
        unsafe { raw::lua_pushnil(self.raw) }
    }

    pub(in crate::lua::ffi) fn push_bool(&self, value: bool) {
        self.reserve(1);
        // SAFETY: there is room.
        unsafe { raw::lua_pushboolean(self.raw, value.into()) }
    }

    pub(in crate::lua::ffi) fn push_number(&self, value: f64) {
        self.reserve(1);
        // SAFETY: there is room.
        unsafe { raw::lua_pushnumber(self.raw, value) }
    }

    pub(in crate::lua::ffi) fn push_bytes(&self, value: &[u8]) {
        assert!(value.len() < MAX_STRING, "string length overflow");
        self.reserve(1);
        // SAFETY: there is room, and the heap is not strict, so that nothing is raised.
        unsafe { raw::pushlstring(self.raw, value.as_ptr().cast(), value.len()) }
    }

    pub(in crate::lua::ffi) fn push_light(&self, address: usize) {
        self.reserve(1);
        // SAFETY: there is room; the address is only a number to Lua.
        unsafe { raw::lua_pushlightuserdata(self.raw, address as *mut c_void) }
    }

    /// Pushes a copy of the value at `index`.
    pub fn push_copy(&self, index: c_int) {
        self.reserve(1);
        assert!(self.kind(index) != Kind::None, "no value to copy");
        // SAFETY: there is room and a value at `index`.
        unsafe { raw::lua_pushvalue(self.raw, index) }
    }

    /// Pushes a new table with room for `array` and `hash` entries.
    pub fn new_table(&self, array: usize, hash: usize) -> Table<'a> {
        const MOST: usize = 1 << 20;
        self.reserve(1);
        let (array, hash) = (array.min(MOST) as c_int, hash.min(MOST) as c_int);
        // SAFETY: there is room; the sizes are far below those that raise an error.
        unsafe { raw::lua_createtable(self.raw, array, hash) };
        Table { stack: *self, index: self.top() }
    }

    /// The table at `index`, if it is one.
    pub fn as_table(&self, index: c_int) -> Option<Table<'a>> {
        (self.kind(index) == Kind::Table)
            .then(|| Table { stack: *self, index: self.absolute(index) })
    }

    /// The table of globals; takes one slot.
    pub fn globals(&self) -> Table<'a> {
        self.reserve(1);
        // SAFETY: there is room; the globals are a table.
        unsafe { raw::lua_pushvalue(self.raw, mlua::ffi::LUA_GLOBALSINDEX) };
        Table { stack: *self, index: self.top() }
    }

    fn absolute(&self, index: c_int) -> c_int {
        if index < 0 && index > raw::LUA_REGISTRYINDEX { self.top() + index + 1 } else { index }
    }

    /// Pushes the value that `anchor` holds.
    pub fn push_anchored(&self, anchor: &Anchor) {
        self.reserve(1);
        // SAFETY: there is room; the registry is a table.
        unsafe { raw::rawgeti(self.raw, raw::LUA_REGISTRYINDEX, anchor.0) }
    }

    /// Takes the value off the top and keeps it alive until `release`.
    pub fn anchor(&self) -> Anchor {
        assert!(self.top() > 0, "nothing to anchor");
        // SAFETY: a value is on top; the heap is not strict, so that nothing is raised.
        Anchor(unsafe { raw::luaL_ref(self.raw, raw::LUA_REGISTRYINDEX) })
    }

    /// Lets go of what `anchor` kept.
    pub fn release(&self, anchor: Anchor) {
        // SAFETY: the anchor is consumed, so it is released once.
        unsafe { raw::luaL_unref(self.raw, raw::LUA_REGISTRYINDEX, anchor.0) }
    }

    /// The bytes at `index` when a string is there (numbers are not converted).
    pub fn string(&self, index: c_int) -> Option<&'a [u8]> {
        if self.kind(index) == Kind::String { self.text(index) } else { None }
    }

    /// The bytes at `index` when a string or a number is there; a number becomes a string in place.
    pub fn text(&self, index: c_int) -> Option<&'a [u8]> {
        if !matches!(self.kind(index), Kind::String | Kind::Number) {
            return None;
        }
        let mut length = 0;
        // SAFETY: the slot holds a string or a number; the string lives while its slot does.
        unsafe {
            let bytes = raw::lua_tolstring(self.raw, index, &mut length);
            Some(std::slice::from_raw_parts(bytes.cast(), length))
        }
    }

    /// The number at `index`, or the one that the string there spells.
    pub fn number(&self, index: c_int) -> Option<f64> {
        let mut found = 0;
        // SAFETY: any acceptable index may be asked for.
        let number = unsafe { raw::tonumberx(self.raw, index, &mut found) };
        (found != 0).then_some(number)
    }

    /// The number at `index` cut to an integer as LuaJIT does it.
    pub fn integer(&self, index: c_int) -> Option<i64> {
        let mut found = 0;
        // SAFETY: any acceptable index may be asked for.
        let number = unsafe { raw::tointegerx(self.raw, index, &mut found) };
        (found != 0).then_some(number as i64)
    }

    /// Whether the value at `index` counts as true.
    pub fn boolean(&self, index: c_int) -> bool {
        // SAFETY: any acceptable index may be asked for.
        unsafe { raw::lua_toboolean(self.raw, index) != 0 }
    }

    /// The address that tells the object at `index` from others: of a table, function, userdata …
    /// and, as strings are interned, of a string.
    pub fn address(&self, index: c_int) -> usize {
        match self.kind(index) {
            Kind::String => self.text(index).map_or(0, |bytes| bytes.as_ptr() as usize),
            // SAFETY: any acceptable index may be asked for.
            Kind::LightUserdata => unsafe { raw::lua_touserdata(self.raw, index) as usize },
            // SAFETY: as above.
            _ => unsafe { raw::lua_topointer(self.raw, index) as usize },
        }
    }

    /// What is at `index`, read once.
    pub fn value(&self, index: c_int) -> Value<'a> {
        match self.kind(index) {
            Kind::None | Kind::Nil => Value::Nil,
            Kind::Boolean => Value::Boolean(self.boolean(index)),
            Kind::Number => Value::Number(self.number(index).unwrap_or_default()),
            Kind::String => Value::Bytes(self.text(index).unwrap_or_default()),
            Kind::LightUserdata => Value::Light(self.address(index)),
            Kind::Table => Value::Table(Table { stack: *self, index: self.absolute(index) }),
            other => Value::Other(other),
        }
    }

    /// Pops the loop slots from `slot` on, if the visitor left nothing above the last of them that
    /// somebody may still hold.
    fn drop_from(&self, slot: c_int) {
        if self.top() <= slot + 1 {
            // SAFETY: the slots are the loop's own, whose borrows have ended.
            unsafe { raw::lua_settop(self.raw, slot - 1) };
        }
    }

    /// Drops what is above the first `top` values, which the caller pushed and holds no more.
    pub(in crate::lua) fn trim(&self, top: c_int) {
        if self.top() > top {
            // SAFETY: only values above `top` go.
            unsafe { raw::lua_settop(self.raw, top) };
        }
    }

    /// Puts the value on top into `index`, popping it.
    pub(in crate::lua::ffi) fn replace(&self, index: c_int) {
        // SAFETY: the callers in this module give slots of their own.
        unsafe { raw::lua_replace(self.raw, index) }
    }
}

/// A value kept alive in the VM's registry; give it back with `Stack::release`.
#[derive(Debug)]
pub struct Anchor(pub(in crate::lua::ffi) c_int);

impl Anchor {
    /// Its index in the registry.
    pub fn place(&self) -> c_int {
        self.0
    }
}

/// A table in a slot of a stack. Reads and writes are raw: no metamethod runs.
#[derive(Clone, Copy)]
pub struct Table<'a> {
    stack: Stack<'a>,
    index: c_int,
}

impl<'a> Table<'a> {
    /// Its slot.
    pub fn index(&self) -> c_int {
        self.index
    }

    /// The stack it stands on.
    pub fn stack(&self) -> Stack<'a> {
        self.stack
    }

    /// `#table`, without metamethods.
    pub fn len(&self) -> usize {
        // SAFETY: a table is at `index`.
        unsafe { raw::lua_objlen(self.stack.raw, self.index) }
    }

    /// Whether it has neither array nor hash entries.
    pub fn is_empty(&self) -> bool {
        let mut any = false;
        self.each(|_, _| {
            any = true;
            false
        });
        !any
    }

    /// `table[key]`; the value takes one slot of the stack until the function returns.
    pub fn get(&self, key: impl Push) -> Value<'a> {
        assert!(self.stack.push(key) == 1, "one key");
        // SAFETY: a key is on top, which the value replaces; a table is at `index`.
        unsafe { raw::rawget(self.stack.raw, self.index) };
        self.stack.value(-1)
    }

    /// `table[key] = value`.
    ///
    /// # Panics
    /// When the key is nil or NaN.
    pub fn set(&self, key: impl Push, value: impl Push) {
        assert!(self.stack.push(key) == 1, "one key");
        let kind = self.stack.kind(-1);
        let is_nan = kind == Kind::Number && self.stack.number(-1).is_some_and(f64::is_nan);
        assert!(kind != Kind::Nil && !is_nan, "table index is nil or NaN");
        assert!(self.stack.push(value) == 1, "one value");
        // SAFETY: key and value are on top and the key is a fit one; a table is at `index`; the
        // heap is not strict, so that nothing is raised.
        unsafe { raw::lua_rawset(self.stack.raw, self.index) }
    }

    /// `table[n] = value` of an array.
    pub fn set_index(&self, n: usize, value: impl Push) {
        self.set(n as f64, value);
    }

    /// Calls `visit(key, value)` for each entry, as `next` orders them, until it says `false`.
    pub fn each(&self, mut visit: impl for<'v> FnMut(Value<'v>, Value<'v>) -> bool) {
        let stack = self.stack;
        stack.push_nil();
        let key = stack.top();
        stack.push_nil();
        let value = key + 1;
        loop {
            stack.push_copy(key);
            stack.reserve(2);
            // SAFETY: a table is at `index`; the key came from it (or is nil to begin with), so
            // that `lua_next` finds it again: `visit` may clear or set fields that exist.
            if unsafe { raw::lua_next(stack.raw, self.index) } == 0 {
                break;
            }
            stack.replace(value);
            stack.replace(key);
            if !visit(stack.value(key), stack.value(value)) {
                break;
            }
        }
        stack.drop_from(key);
    }

    /// Gives the table the metatable on top of the stack, popping it.
    ///
    /// # Panics
    /// When there is no table on top.
    pub fn take_metatable(&self) {
        assert!(self.stack.kind(-1) == Kind::Table, "a metatable is a table");
        // SAFETY: a table is on top and at `index`.
        unsafe { raw::lua_setmetatable(self.stack.raw, self.index) };
    }

    /// What tells its metatable from others; 0 without one.
    pub fn metatable_address(&self) -> usize {
        self.stack.reserve(1);
        // SAFETY: a table is at `index`; what is pushed is popped again.
        unsafe {
            if raw::lua_getmetatable(self.stack.raw, self.index) == 0 {
                return 0;
            }
            let address = raw::lua_topointer(self.stack.raw, -1) as usize;
            raw::lua_settop(self.stack.raw, -2);
            address
        }
    }

    /// Gives the table the metatable in `meta`'s slot.
    pub fn set_metatable(&self, meta: &Table<'_>) {
        self.stack.push_copy(meta.index);
        // SAFETY: a table is on top and at `index`.
        unsafe { raw::lua_setmetatable(self.stack.raw, self.index) };
    }

    /// Its metatable; takes one slot.
    pub fn metatable(&self) -> Option<Table<'a>> {
        self.stack.reserve(1);
        // SAFETY: a table is at `index`; the metatable is pushed when there is one.
        let found = unsafe { raw::lua_getmetatable(self.stack.raw, self.index) } != 0;
        if found { self.stack.as_table(-1) } else { None }
    }
}
