//! What goes from Rust to Lua and back: `Push` for anything that becomes a Lua value, `Value` for
//! what stands in a slot, `Owned` for what outlives the call that made it.

use crate::lua::ffi::raw;
use crate::lua::ffi::stack::Anchor;
use crate::lua::ffi::stack::Stack;
use crate::lua::ffi::stack::Table;
use bytes::Bytes;
use smallvec::SmallVec;
use std::borrow::Cow;
use std::ffi::c_int;

/// Lua's types, and `None` for a slot that holds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No argument there.
    None,
    /// `nil`.
    Nil,
    /// `true` or `false`.
    Boolean,
    /// A bare address, as `ngx.null` is.
    LightUserdata,
    /// A number.
    Number,
    /// A string.
    String,
    /// A table.
    Table,
    /// A function of Lua or C.
    Function,
    /// A full userdata.
    Userdata,
    /// A coroutine.
    Thread,
    /// An object of LuaJIT's ffi.
    Cdata,
}

impl Kind {
    pub(in crate::lua::ffi) fn of(code: c_int) -> Self {
        match code {
            raw::LUA_TNIL => Self::Nil,
            raw::LUA_TBOOLEAN => Self::Boolean,
            raw::LUA_TLIGHTUSERDATA => Self::LightUserdata,
            raw::LUA_TNUMBER => Self::Number,
            raw::LUA_TSTRING => Self::String,
            raw::LUA_TTABLE => Self::Table,
            raw::LUA_TFUNCTION => Self::Function,
            raw::LUA_TUSERDATA => Self::Userdata,
            raw::LUA_TTHREAD => Self::Thread,
            raw::LUA_TCDATA => Self::Cdata,
            _ => Self::None,
        }
    }

    /// As Lua's messages name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "no value",
            Self::Nil => "nil",
            Self::Boolean => "boolean",
            Self::LightUserdata | Self::Userdata => "userdata",
            Self::Number => "number",
            Self::String => "string",
            Self::Table => "table",
            Self::Function => "function",
            Self::Thread => "thread",
            Self::Cdata => "cdata",
        }
    }
}

/// What a slot holds, borrowed from it.
#[derive(Clone, Copy)]
pub enum Value<'a> {
    /// Nil, or nothing.
    Nil,
    /// A boolean.
    Boolean(bool),
    /// A number.
    Number(f64),
    /// A string.
    Bytes(&'a [u8]),
    /// A bare address; 0 is `ngx.null`.
    Light(usize),
    /// A table.
    Table(Table<'a>),
    /// Anything else.
    Other(Kind),
}

impl Value<'_> {
    /// Its type.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Nil => Kind::Nil,
            Self::Boolean(_) => Kind::Boolean,
            Self::Number(_) => Kind::Number,
            Self::Bytes(_) => Kind::String,
            Self::Light(_) => Kind::LightUserdata,
            Self::Table(_) => Kind::Table,
            Self::Other(kind) => *kind,
        }
    }
}

/// A Lua value that owns what it is made of: the results of a wait, a decoded document.
#[derive(Clone, Debug, PartialEq)]
pub enum Owned {
    /// `nil`.
    Nil,
    /// A boolean.
    Boolean(bool),
    /// A number.
    Number(f64),
    /// A string.
    Bytes(Vec<u8>),
    /// A text known beforehand.
    Text(&'static str),
    /// `ngx.null`.
    Null,
    /// A table `{[1] = …, [2] = …}`.
    Array(Vec<Owned>),
    /// A table of keys and values.
    Map(Vec<(Owned, Owned)>),
}

/// Several values: the results of a function.
pub type Values = SmallVec<[Owned; 2]>;

/// Anything that becomes one or more Lua values.
pub trait Push {
    /// Pushes; gives the number of values.
    fn push(self, stack: &Stack<'_>) -> usize;
}

/// `ngx.null`: the light userdata of address 0.
#[derive(Clone, Copy, Debug)]
pub struct Null;

/// A bare address.
#[derive(Clone, Copy, Debug)]
pub struct Light(pub usize);

/// The value in a slot, once more.
#[derive(Clone, Copy, Debug)]
pub struct Slot(pub c_int);

macro_rules! push_one {
    ($($kind:ty: |$value:ident, $stack:ident| $body:expr;)*) => {
        $(impl Push for $kind {
            fn push(self, $stack: &Stack<'_>) -> usize {
                let $value = self;
                $body;
                1
            }
        })*
    };
}

push_one! {
    bool: |value, stack| stack.push_bool(value);
    f64: |value, stack| stack.push_number(value);
    i32: |value, stack| stack.push_number(value.into());
    u32: |value, stack| stack.push_number(value.into());
    i64: |value, stack| stack.push_number(value as f64);
    u64: |value, stack| stack.push_number(value as f64);
    usize: |value, stack| stack.push_number(value as f64);
    &[u8]: |value, stack| stack.push_bytes(value);
    &Vec<u8>: |value, stack| stack.push_bytes(value);
    Vec<u8>: |value, stack| stack.push_bytes(&value);
    &str: |value, stack| stack.push_bytes(value.as_bytes());
    String: |value, stack| stack.push_bytes(value.as_bytes());
    Bytes: |value, stack| stack.push_bytes(&value);
    Cow<'_, [u8]>: |value, stack| stack.push_bytes(&value);
    Cow<'_, str>: |value, stack| stack.push_bytes(value.as_bytes());
    Null: |_value, stack| stack.push_light(0);
    Light: |value, stack| stack.push_light(value.0);
    Slot: |value, stack| stack.push_copy(value.0);
    &Table<'_>: |value, stack| stack.push_copy(value.index());
    &Anchor: |value, stack| stack.push_anchored(value);
    &Owned: |value, stack| push_owned(value, stack);
    Owned: |value, stack| push_owned(&value, stack);
}

impl<const N: usize> Push for &[u8; N] {
    fn push(self, stack: &Stack<'_>) -> usize {
        self.as_slice().push(stack)
    }
}

impl<T: Push> Push for Option<T> {
    fn push(self, stack: &Stack<'_>) -> usize {
        match self {
            Some(value) => value.push(stack),
            None => {
                stack.push_nil();
                1
            }
        }
    }
}

impl Push for () {
    fn push(self, _: &Stack<'_>) -> usize {
        0
    }
}

impl Push for Values {
    fn push(self, stack: &Stack<'_>) -> usize {
        self.iter().map(|value| value.push(stack)).sum()
    }
}

impl<A: Push, B: Push> Push for (A, B) {
    fn push(self, stack: &Stack<'_>) -> usize {
        self.0.push(stack) + self.1.push(stack)
    }
}

impl<A: Push, B: Push, C: Push> Push for (A, B, C) {
    fn push(self, stack: &Stack<'_>) -> usize {
        self.0.push(stack) + self.1.push(stack) + self.2.push(stack)
    }
}

impl<A: Push, B: Push, C: Push, D: Push> Push for (A, B, C, D) {
    fn push(self, stack: &Stack<'_>) -> usize {
        self.0.push(stack) + self.1.push(stack) + self.2.push(stack) + self.3.push(stack)
    }
}

fn push_owned(value: &Owned, stack: &Stack<'_>) {
    match value {
        Owned::Nil => stack.push_nil(),
        Owned::Boolean(value) => stack.push_bool(*value),
        Owned::Number(value) => stack.push_number(*value),
        Owned::Bytes(value) => stack.push_bytes(value),
        Owned::Text(value) => stack.push_bytes(value.as_bytes()),
        Owned::Null => stack.push_light(0),
        Owned::Array(items) => {
            let table = stack.new_table(items.len(), 0);
            for (i, item) in items.iter().enumerate() {
                table.set_index(i + 1, item);
            }
        }
        Owned::Map(entries) => {
            let table = stack.new_table(0, entries.len());
            for (key, value) in entries {
                table.set(key, value);
            }
        }
    }
}
