//! Halves of API functions that Lua calls by LuaJIT's ffi (`prelude/fast.lua`): a loop over them
//! becomes one compiled trace, which a call of a C function would end.
//!
//! They take addresses and lengths, never a Lua state, and answer with a code. What they cannot do,
//! and every error, is `OTHER`: Lua then calls the function of the API, which says why. So it is
//! with a panic. Their addresses go to the prelude only, which checks what it passes.

use crate::clock;
use crate::http::args;
use crate::lua::ffi::stack::Table;
use crate::lua::ffi::value::Light;
use crate::lua::ngx::state;
use crate::lua::phase::Phases;
use crate::lua::vm::Vm;
use crate::request::Request;
use crate::shdict::{Dict, Error, Op, Value};
use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::slice::from_raw_parts;

mod fields;
mod lists;
mod patterns;
mod texts;

/// The API's own function must be called.
const OTHER: c_int = -1;
/// Bytes that are answered at most.
const ROOM: usize = 4096;
/// Groups that are answered at most.
const GROUPS: usize = 32;
/// Names with values that are answered at most: as many as scripts get unless they ask for more.
const PAIRS: usize = 100;
/// In the place of a value's length: there is none, `true` stands for it.
const NO_VALUE: u16 = u16::MAX;

/// Where answers are written: `struct moongate_answer` of the prelude.
#[repr(C)]
pub struct Answer {
    number: f64,
    /// Counts what was written, so that Lua sees when a finalizer has written in between.
    serial: u32,
    flags: u32,
    length: u32,
    captures: [i32; 2 * GROUPS],
    /// Of a name and its value in `text`, in turns.
    lengths: [u16; 2 * PAIRS],
    text: [u8; ROOM],
}

/// A text of Lua's, as the ffi passes it.
#[repr(C)]
#[derive(Clone, Copy)]
struct Text {
    at: *const u8,
    length: usize,
}

impl Text {
    /// # Safety
    /// So many bytes can be read there for `'a`.
    unsafe fn bytes<'a>(self) -> &'a [u8] {
        // SAFETY: the caller's promise.
        unsafe { from_raw_parts(self.at, self.length) }
    }
}

/// Gives the prelude what it calls: addresses of functions, and of `vm`.
pub fn fill(vm: &Vm, fast: &Table<'_>) {
    let functions: &[(&str, usize)] = &[
        ("vm", std::ptr::from_ref(vm) as usize),
        ("shared_get", shared_get as *const () as usize),
        ("shared_store", shared_store as *const () as usize),
        ("shared_incr", shared_incr as *const () as usize),
        ("context", context as *const () as usize),
        ("headers", headers as *const () as usize),
        ("arguments", arguments as *const () as usize),
        ("shared_ttl", shared_ttl as *const () as usize),
    ];
    for (name, address) in functions {
        fast.set(*name, Light(*address));
    }
    for (name, address) in patterns::addresses() {
        fast.set(name, Light(address));
    }
    for (name, address) in fields::addresses() {
        fast.set(name, Light(address));
    }
    for (name, address) in lists::addresses() {
        fast.set(name, Light(address));
    }
    for (name, address) in texts::addresses() {
        fast.set(name, Light(address));
    }
}

/// What `body` answers; [`OTHER`] if it panics.
fn guarded(body: impl FnOnce() -> c_int) -> c_int {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or(OTHER)
}

impl Answer {
    /// Takes names with values, and answers how many; or [`OTHER`] where there is no room. Names
    /// are written in `lower` case, or as they are.
    fn put_pairs<N: AsRef<[u8]>, V: AsRef<[u8]>>(
        &mut self,
        pairs: impl Iterator<Item = (N, Option<V>)>,
        lower: bool,
    ) -> c_int {
        self.begin();
        let (mut at, mut count) = (0, 0);
        for (name, value) in pairs {
            let name = name.as_ref();
            let value_length = value.as_ref().map_or(0, |it| it.as_ref().len());
            let end = at + name.len();
            let Some(lengths) = self.lengths.get_mut(2 * count..2 * count + 2) else {
                return OTHER;
            };
            let Some(room) = self.text.get_mut(at..end + value_length) else { return OTHER };
            // Both are below the room's 4096.
            let told = value.as_ref().map_or(NO_VALUE, |_| value_length as u16);
            lengths.copy_from_slice(&[name.len() as u16, told]);
            let (name_room, value_room) = room.split_at_mut(name.len());
            name_room.copy_from_slice(name);
            if lower {
                name_room.make_ascii_lowercase();
            }
            if let Some(value) = value {
                value_room.copy_from_slice(value.as_ref());
            }
            at = end + value_length;
            count += 1;
        }
        count as c_int
    }

    /// Counts what is about to be written: the number has 24 bits.
    fn begin(&mut self) -> u32 {
        self.serial = (self.serial + 1) & 0xff_ffff;
        self.serial
    }

    /// Takes `text`, if there is room for it.
    fn put(&mut self, text: &[u8]) -> bool {
        let Some(room) = self.text.get_mut(..text.len()) else { return false };
        room.copy_from_slice(text);
        self.length = text.len() as u32;
        true
    }
}

/// `dict:get`: 0 for nothing, 1 for a text, 2 for a number, 3 for false, 4 for true.
///
/// # Safety
/// `dict` and `answer` are live, `key` has `length` bytes.
unsafe extern "C" fn shared_get(
    dict: *const Dict,
    key: *const u8,
    length: usize,
    answer: *mut Answer,
) -> c_int {
    // SAFETY: the caller's promise: the prelude has them from the VM, and from a string of Lua's.
    let (dict, key, answer) = unsafe { (&*dict, Text { at: key, length }.bytes(), &mut *answer) };
    guarded(|| {
        let read = |value: Value<'_>, flags| {
            answer.flags = flags;
            match value {
                Value::Text(text) if answer.put(text) => 1,
                Value::Text(_) => OTHER,
                Value::Number(number) => {
                    answer.number = number;
                    2
                }
                Value::Boolean(value) => 3 + c_int::from(value),
            }
        };
        dict.get_with(key, clock::cached_ms(), read).map_or(OTHER, |found| found.unwrap_or(0))
    })
}

/// `dict:set` and its kin, `operation` as in the prelude; `kind` 0 for nothing (which deletes), 1
/// for `text`, 2 for `number`, 3 for false, 4 for true. The answer is 0 for done, 2 for no memory,
/// 4 for one that exists, 6 for one that does not; one more where others were dropped for it.
///
/// # Safety
/// As [`shared_get`]; `text` has so many bytes.
unsafe extern "C" fn shared_store(
    dict: *const Dict,
    key: *const u8,
    key_length: usize,
    operation: c_int,
    kind: c_int,
    text: *const u8,
    text_length: usize,
    number: f64,
    seconds: f64,
) -> c_int {
    // SAFETY: as `shared_get`.
    let (dict, key, text) = unsafe {
        let text = Text { at: text, length: text_length };
        (&*dict, Text { at: key, length: key_length }.bytes(), text.bytes())
    };
    guarded(|| {
        let op = match operation {
            0 => Op::Set,
            1 => Op::SafeSet,
            2 => Op::Add,
            3 => Op::SafeAdd,
            4 => Op::Replace,
            _ => return OTHER,
        };
        let value = match kind {
            0 => None,
            1 => Some(Value::Text(text)),
            2 => Some(Value::Number(number)),
            3 | 4 => Some(Value::Boolean(kind == 4)),
            _ => return OTHER,
        };
        let ttl_ms = (seconds * 1000.0) as u64;
        let (stored, forcible) = dict.store(op, key, value, ttl_ms, 0, clock::cached_ms());
        let code = match stored {
            Ok(()) => 0,
            Err(Error::NoMemory) => 2,
            Err(Error::Exists) => 4,
            Err(Error::NotFound) => 6,
            Err(_) => return OTHER,
        };
        code + c_int::from(forcible)
    })
}

/// `dict:incr`: 0 and the number, one more where others were dropped for it. `init` is the initial
/// value, not a number where there is none, for so many `seconds`.
///
/// # Safety
/// As [`shared_get`].
unsafe extern "C" fn shared_incr(
    dict: *const Dict,
    key: *const u8,
    length: usize,
    step: f64,
    init: f64,
    seconds: f64,
    answer: *mut Answer,
) -> c_int {
    // SAFETY: as `shared_get`.
    let (dict, key, answer) = unsafe { (&*dict, Text { at: key, length }.bytes(), &mut *answer) };
    guarded(|| {
        let init = (!init.is_nan()).then_some((init, (seconds * 1000.0) as u64));
        let Ok((number, forcible)) = dict.incr(key, step, init, clock::cached_ms()) else {
            return OTHER;
        };
        answer.number = number;
        c_int::from(forcible)
    })
}

/// `dict:ttl`: 0, and the seconds.
///
/// # Safety
/// As [`shared_get`].
unsafe extern "C" fn shared_ttl(
    dict: *const Dict,
    key: *const u8,
    length: usize,
    answer: *mut Answer,
) -> c_int {
    // SAFETY: as `shared_get`.
    let (dict, key, answer) = unsafe { (&*dict, Text { at: key, length }.bytes(), &mut *answer) };
    guarded(|| {
        let Ok(ms) = dict.ttl_ms(key, clock::cached_ms()) else { return OTHER };
        answer.number = ms as f64 / 1000.0;
        0
    })
}

/// Where in the registry the `ngx.ctx` of the running request is; 0 where there is none yet.
///
/// # Safety
/// `vm` is live.
unsafe extern "C" fn context(vm: *const Vm) -> c_int {
    // SAFETY: the caller's promise.
    let vm = unsafe { &*vm };
    guarded(|| state::context_place(vm).unwrap_or(0))
}

/// Calls `read` with the client's request that runs in `vm`; [`OTHER`] where that is none.
fn of_client(vm: &Vm, read: impl FnOnce(&Request) -> c_int) -> c_int {
    if !Phases::REQUEST.contains(vm.phase()) {
        return OTHER;
    }
    vm.with_request(|request| request.filter(|it| !it.is_fake).map_or(OTHER, read))
}

/// `ngx.req.get_headers` without arguments: how many fields there are, their names in lower case.
///
/// # Safety
/// `vm` and `answer` are live.
unsafe extern "C" fn headers(vm: *const Vm, answer: *mut Answer) -> c_int {
    // SAFETY: the caller's promise.
    let (vm, answer) = unsafe { (&*vm, &mut *answer) };
    guarded(|| {
        of_client(vm, |request| {
            let headers = request.headers.borrow();
            let pairs = headers.iter().map(|(name, value)| (name, Some(value)));
            // The function itself notes what a script is given.
            if request.is_traced() { -1 } else { answer.put_pairs(pairs, true) }
        })
    })
}

/// `ngx.req.get_uri_args` without arguments: how many there are.
///
/// # Safety
/// As [`headers`].
unsafe extern "C" fn arguments(vm: *const Vm, answer: *mut Answer) -> c_int {
    // SAFETY: the caller's promise.
    let (vm, answer) = unsafe { (&*vm, &mut *answer) };
    guarded(|| {
        of_client(vm, |request| {
            let given = request.args.borrow();
            let given = given.as_deref().unwrap_or_default();
            if args::count(given) > PAIRS {
                return OTHER;
            }
            answer.put_pairs(args::decode(given).flatten(), false)
        })
    })
}

#[cfg(test)]
mod tests;
