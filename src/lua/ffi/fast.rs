//! Halves of API functions that Lua calls by LuaJIT's ffi (`prelude/fast.lua`): a loop over them
//! becomes one compiled trace, which a call of a C function would end.
//!
//! They take addresses and lengths, never a Lua state, and answer with a code. What they cannot do,
//! and every error, is [`OTHER`]: Lua then calls the function of the API, which says why. So it is
//! with a panic. Their addresses go to the prelude only, which checks what it passes.

use crate::clock;
use crate::http::escape;
use crate::lua::ffi::stack::Table;
use crate::lua::ffi::value::Light;
use crate::lua::ngx::digest;
use crate::lua::ngx::state;
use crate::lua::vm::Vm;
use crate::regex::options::Options;
use crate::shdict::{Dict, Error, Op, Value};
use crate::sys::pcre2::Captures;
use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::slice::from_raw_parts;

/// The API's own function must be called.
const OTHER: c_int = -1;
/// Bytes that are answered at most.
const ROOM: usize = 4096;
/// Groups that are answered at most.
const GROUPS: usize = 32;

/// Where answers are written: `struct moongate_answer` of the prelude.
#[repr(C)]
pub struct Answer {
    number: f64,
    /// Counts what was written, so that Lua sees when a finalizer has written in between.
    serial: u32,
    flags: u32,
    length: u32,
    captures: [i32; 2 * GROUPS],
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
        ("re_exec", re_exec as *const () as usize),
        ("context", context as *const () as usize),
        ("escape_uri", escape_uri as *const () as usize),
        ("unescape_uri", unescape_uri as *const () as usize),
        ("encode_base64", encode_base64 as *const () as usize),
        ("md5", md5 as *const () as usize),
    ];
    for (name, address) in functions {
        fast.set(*name, Light(*address));
    }
}

/// What `body` answers; [`OTHER`] if it panics.
fn guarded(body: impl FnOnce() -> c_int) -> c_int {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or(OTHER)
}

impl Answer {
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

/// `dict:set` and its kin, `operation` as in the prelude; `kind` 1 for `text`, 2 for `number`, 3
/// for false, 4 for true. The answer is 0 for done, 2 for no memory, 4 for one that exists, 6 for
/// one that does not; one more where others were dropped for it.
///
/// # Safety
/// As [`shared_get`]; `text` has so many bytes.
#[expect(clippy::too_many_arguments, reason = "they are the operation's own")]
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
            1 => Value::Text(text),
            2 => Value::Number(number),
            3 | 4 => Value::Boolean(kind == 4),
            _ => return OTHER,
        };
        let ttl_ms = (seconds * 1000.0) as u64;
        let (stored, forcible) = dict.store(op, key, Some(value), ttl_ms, 0, clock::cached_ms());
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

/// `dict:incr` without an initial value: 0, and the number.
///
/// # Safety
/// As [`shared_get`].
unsafe extern "C" fn shared_incr(
    dict: *const Dict,
    key: *const u8,
    length: usize,
    step: f64,
    answer: *mut Answer,
) -> c_int {
    // SAFETY: as `shared_get`.
    let (dict, key, answer) = unsafe { (&*dict, Text { at: key, length }.bytes(), &mut *answer) };
    guarded(|| match dict.incr(key, step, None, clock::cached_ms()) {
        Ok((number, _)) => {
            answer.number = number;
            0
        }
        Err(_) => OTHER,
    })
}

/// Matches a pattern without named groups: how many groups there are, the whole being one, and
/// where each begins and ends, -1 for one that took no part; 0 for no match.
///
/// # Safety
/// `vm` and `answer` are live; the texts have so many bytes.
#[expect(clippy::too_many_arguments, reason = "three texts are six words")]
unsafe extern "C" fn re_exec(
    vm: *const Vm,
    subject: *const u8,
    subject_length: usize,
    pattern: *const u8,
    pattern_length: usize,
    letters: *const u8,
    letters_length: usize,
    answer: *mut Answer,
) -> c_int {
    // SAFETY: the caller's promise: the prelude has them from the VM, and from strings of Lua's.
    let (vm, subject, pattern, letters, answer) = unsafe {
        (
            &*vm,
            Text { at: subject, length: subject_length }.bytes(),
            Text { at: pattern, length: pattern_length }.bytes(),
            Text { at: letters, length: letters_length }.bytes(),
            &mut *answer,
        )
    };
    guarded(|| {
        let Ok(options) = Options::parse(letters) else { return OTHER };
        let Ok(program) = vm.pattern(letters, options, pattern) else { return OTHER };
        let groups = 1 + program.group_count();
        if groups > GROUPS || program.names().next().is_some() {
            return OTHER;
        }
        let mut captures = Captures::new();
        match program.exec(subject, 0, &mut captures) {
            Ok(true) => {}
            Ok(false) => return 0,
            Err(_) => return OTHER,
        }
        answer.serial = answer.serial.wrapping_add(1);
        for (number, place) in answer.captures.chunks_exact_mut(2).take(groups).enumerate() {
            let (from, to) = match captures.get(number) {
                None => (-1, -1),
                Some((from, to)) => match (i32::try_from(from), i32::try_from(to)) {
                    (Ok(from), Ok(to)) => (from, to),
                    _ => return OTHER,
                },
            };
            place.copy_from_slice(&[from, to]);
        }
        groups as c_int
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

/// An answer's code for `text`.
fn put(answer: &mut Answer, text: &[u8]) -> c_int {
    if answer.put(text) { 0 } else { OTHER }
}

macro_rules! encoder {
    ($(#[$doc:meta])* $name:ident($text:ident) $body:expr) => {
        $(#[$doc])*
        ///
        /// # Safety
        /// `text` has `length` bytes, `answer` is live.
        unsafe extern "C" fn $name(text: *const u8, length: usize, answer: *mut Answer) -> c_int {
            // SAFETY: the caller's promise: a string of Lua's, and what the prelude made.
            let ($text, answer) =
                unsafe { (Text { at: text, length }.bytes(), &mut *answer) };
            guarded(|| put(answer, &$body))
        }
    };
}

encoder! {
    /// `ngx.escape_uri` of one argument.
    escape_uri(text) escape::escape(text, &escape::LUA_URI_COMPONENT)
}
encoder! {
    /// `ngx.unescape_uri`.
    unescape_uri(text) escape::unescape_plus(text)
}

/// `ngx.encode_base64` of one argument.
///
/// # Safety
/// `text` has `length` bytes, `answer` is live.
unsafe extern "C" fn encode_base64(text: *const u8, length: usize, answer: *mut Answer) -> c_int {
    // SAFETY: the caller's promise: a string of Lua's, and what the prelude made.
    let (text, answer) = unsafe { (Text { at: text, length }.bytes(), &mut *answer) };
    guarded(|| {
        let Some(count) = digest::base64_into(text, &mut answer.text) else { return OTHER };
        answer.length = count as u32;
        0
    })
}

encoder! {
    /// `ngx.md5`.
    md5(text) digest::md5_text(text)
}

#[cfg(test)]
mod tests {
    use crate::lua::fixture::{eval_in, vm_with};
    use crate::shdict::Dicts;

    /// Each result must be that of the call before: interpreted at first, then from a trace.
    const STEADY: &str = "local function steady(f) local function all(...) local t = {...}
        for i = 1, select('#', ...) do t[i] = tostring(t[i]) end return table.concat(t, ',') end
        local first = all(f()) for i = 1, 300 do local now = all(f())
        if now ~= first then error(i .. ': ' .. now .. ' was ' .. first) end end return first end
        local d = ngx.shared.d ";

    #[test]
    fn a_loop_gets_what_a_single_call_gets() {
        let vm = vm_with(|options| options.dicts = Dicts::default().reloaded([("d", 100 << 10)]));
        let cases = [
            ("return d:set('t', 'text'), steady(function() return d:get('t') end)", "text"),
            ("d:set('n', 1.5) return steady(function() return d:get('n') end)", "1.5"),
            ("d:set('b', false) return steady(function() return d:get('b') end)", "false"),
            ("d:set('f', 1, 0, 7) return steady(function() return d:get('f') end)", "1,7"),
            ("d:set('z', '') return steady(function() return d:get('z') end)", ""),
            ("return steady(function() return d:get('none') end)", "nil"),
            ("return steady(function() return d:get(nil) end)", "nil,nil key"),
            ("return steady(function() return d:get('') end)", "nil,empty key"),
            ("d:set(7, 'x') return steady(function() return d:get(7) end)", "x"),
            (
                "d:lpush('l', 1) return steady(function() return d:get('l') end)",
                "nil,value is a list",
            ),
            (
                "d:set('long', ('x'):rep(5000))
                 return steady(function() return #d:get('long') end)",
                "5000",
            ),
            ("return steady(function() return d:set('s', 'v', 9) end)", "true,nil,false"),
            ("return steady(function() return d:add('s', 1) end)", "false,exists,false"),
            ("return steady(function() return d:replace('-', 1) end)", "false,not found,false"),
            (
                "return steady(function() return d:safe_set('h', ('h'):rep(200000)) end)",
                "false,no memory,false",
            ),
            ("return steady(function() return d:set('nil', nil) end)", "true,nil,false"),
            ("return steady(function() return d:set('t', {}) end)", "nil,bad value type"),
            (
                "return steady(function() return pcall(d.set, d, 'k', 1, -1) end)",
                "false,bad \"exptime\" argument",
            ),
            (
                "return steady(function() return pcall(d.get, {}, 'k') end)",
                "false,bad \"zone\" argument",
            ),
            ("for i = 1, 300 do d:incr('i', 1, 0) end return d:incr('i', 1)", "301"),
            ("d:set('i', 0) for i = 1, 300 do d:incr('i', 2) end return d:get('i')", "600"),
            ("return steady(function() return d:incr('none', 1) end)", "nil,not found"),
            ("return steady(function() return ngx.re.find('ab12', '[0-9]+', 'jo') end)", "3,4"),
            ("return steady(function() return ngx.re.find('ab', '[0-9]') end)", "nil"),
            (
                "return steady(function() local m = ngx.re.match('a1', '(z)?([a-z])([0-9])', 'o')
                 return m[0], m[1], m[2], m[3], #m end)",
                "a1,false,a,1,3",
            ),
            ("return steady(function() return ngx.re.match('a', '(?<n>a)', 'o').n end)", "a"),
            (
                "local p = ('(a)'):rep(40) return steady(function()
                 return #ngx.re.match(('a'):rep(40), p, 'o') end)",
                "40",
            ),
            ("return steady(function() return (ngx.re.match('a', '(', 'o')) end)", "nil"),
            (
                "return steady(function() return pcall(ngx.re.find, 'a', 'a', 'H') end)",
                "false,unknown flag \"H\" (flags \"H\")",
            ),
            ("return steady(function() return ngx.escape_uri('a b/%') end)", "a%20b%2F%25"),
            ("return steady(function() return ngx.unescape_uri('a%20b+c') end)", "a b c"),
            ("return steady(function() return ngx.encode_base64('ab\\0') end)", "YWIA"),
            ("return steady(function() return ngx.encode_base64('a') end)", "YQ=="),
            ("return steady(function() return ngx.encode_base64('a', true) end)", "YQ"),
            ("return steady(function() return #ngx.encode_base64(('x'):rep(6000)) end)", "8000"),
            ("return steady(function() return #ngx.escape_uri((' '):rep(2000)) end)", "6000"),
            (
                "return steady(function() return ngx.md5('hello') end)",
                "5d41402abc4b2a76b9719d911017c592",
            ),
            ("return steady(function() ngx.ctx.a = (ngx.ctx.a or 0) return ngx.ctx.a end)", "0"),
        ];
        for (code, expected) in cases {
            let code = format!("{STEADY} {code}");
            let found = eval_in(&vm, &code);
            assert_eq!(found.rsplit(" | ").next(), Some(expected), "{code}");
        }
    }

    #[test]
    fn a_finalizer_that_matches_in_between_spoils_no_match() {
        let code = "local made = 0
            local function finalize() made = made + 1 ngx.re.match('zz9', '(z)(z)(9)', 'jo') end
            local function litter() for _ = 1, 20 do
                getmetatable(newproxy(true)).__gc = finalize
            end end
            for i = 1, 2000 do litter()
                local m = ngx.re.match('some ' .. i, '([a-z]+) ([0-9]+)', 'jo')
                if m[1] ~= 'some' or m[2] ~= tostring(i) then return i, m[1], m[2] end
            end return made > 0";
        let vm = vm_with(|_| {});
        assert_eq!(eval_in(&vm, code), "true");
    }
}
